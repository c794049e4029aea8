//! What can go wrong with the journal and the request ledger.

use publica_store::StoreError;

use crate::note::NoteError;

/// An error of the journal. Its code and reason are what a caller sees.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The same request id came with another request.
    #[error("the request id {request_id} was used for another request")]
    RequestIdReused {
        /// The id.
        request_id: String,
    },
    /// A request id that is too long, or holds unprintable characters.
    #[error("the request id is not 1 to 64 printable characters")]
    RequestIdInvalid,
    /// The same request is still being worked on.
    #[error("the request {request_id} is still in progress")]
    InProgress {
        /// The id.
        request_id: String,
    },
    /// The request took effect before, and its answer is no longer kept.
    #[error("the request {request_id} took effect before, and its answer is no longer kept")]
    AnswerGone {
        /// The id.
        request_id: String,
    },
    /// The intent was taken over by a repeat of the request, or given up.
    #[error("the intent of the request {request_id} is no longer held")]
    IntentLost {
        /// The id.
        request_id: String,
    },
    /// The store refused.
    #[error("the journal's store failed")]
    Store(#[from] StoreError),
    /// A sealed key or secret could not be opened or made.
    #[error("a key of the journal could not be used: {reason}")]
    Key {
        /// What happened, for the log.
        reason: String,
    },
    /// What is stored contradicts itself.
    #[error("the journal is damaged: {reason}")]
    Damaged {
        /// What was found.
        reason: String,
    },
    /// No such entry, checkpoint, subscription or delivery.
    #[error("no such {what}")]
    NotFound {
        /// What was asked for.
        what: &'static str,
    },
    /// The entry has no place in the tree of that size yet.
    #[error("the entry is not sequenced below that tree size")]
    NotSequenced,
    /// A tree size that the log does not have.
    #[error("the tree size must be from {smallest} to {largest}")]
    TreeSize {
        /// The smallest allowed.
        smallest: i64,
        /// The largest allowed.
        largest: i64,
    },
    /// Something cannot be done in its present state.
    #[error("{message}")]
    State {
        /// What stands in the way.
        message: &'static str,
    },
    /// Waited too long for the log to catch up.
    #[error("the log did not catch up in time")]
    Behind,
    /// The answer kept in the ledger cannot be read.
    #[error("a kept answer cannot be read")]
    Answer(#[source] prost::DecodeError),
}

impl From<NoteError> for JournalError {
    fn from(error: NoteError) -> Self {
        Self::Damaged {
            reason: error.to_string(),
        }
    }
}
