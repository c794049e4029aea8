//! What callers see of the journal's errors.

use std::borrow::Cow;

use publica_rpc::Fault;
use tonic::Code;

use crate::error::JournalError;

impl Fault for JournalError {
    fn code(&self) -> Code {
        match self {
            Self::RequestIdReused { .. } | Self::RequestIdInvalid | Self::TreeSize { .. } => {
                Code::InvalidArgument
            }
            Self::InProgress { .. } | Self::IntentLost { .. } => Code::Aborted,
            Self::Store(error) if error.is_retryable() => Code::Unavailable,
            Self::Store(_) | Self::Key { .. } | Self::Answer(_) => Code::Internal,
            Self::Damaged { .. } => Code::DataLoss,
            Self::NotFound { .. } => Code::NotFound,
            Self::NotSequenced | Self::State { .. } | Self::AnswerGone { .. } => {
                Code::FailedPrecondition
            }
            Self::Behind => Code::Unavailable,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::RequestIdReused { .. } => "REQUEST_ID_REUSED",
            Self::RequestIdInvalid => "REQUEST_ID_INVALID",
            Self::InProgress { .. } => "REQUEST_IN_PROGRESS",
            Self::AnswerGone { .. } => "REQUEST_ANSWER_GONE",
            Self::IntentLost { .. } => "INTENT_LOST",
            Self::Store(error) if error.is_retryable() => "STORE_UNAVAILABLE",
            Self::Store(_) => "STORE_FAILED",
            Self::Key { .. } => "JOURNAL_KEY_UNUSABLE",
            Self::Damaged { .. } | Self::Answer(_) => "JOURNAL_DAMAGED",
            Self::NotFound { .. } => "NOT_FOUND",
            Self::NotSequenced => "NOT_SEQUENCED",
            Self::TreeSize { .. } => "TREE_SIZE_OUT_OF_RANGE",
            Self::State { .. } => "STATE_CONFLICT",
            Self::Behind => "JOURNAL_BEHIND",
        }
    }

    fn public_message(&self) -> Cow<'_, str> {
        match self {
            Self::Store(error) if error.is_retryable() => {
                "The store is busy or away; try again.".into()
            }
            Self::Store(_) | Self::Key { .. } | Self::Damaged { .. } | Self::Answer(_) => {
                "Something is wrong on our side.".into()
            }
            other => other.to_string().into(),
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::RequestIdReused { request_id }
            | Self::InProgress { request_id }
            | Self::AnswerGone { request_id }
            | Self::IntentLost { request_id } => vec![("request_id", request_id.clone())],
            Self::NotFound { what } => vec![("what", (*what).to_owned())],
            Self::TreeSize { smallest, largest } => {
                vec![
                    ("smallest", smallest.to_string()),
                    ("largest", largest.to_string()),
                ]
            }
            _ => Vec::new(),
        }
    }
}

impl From<JournalError> for tonic::Status {
    fn from(error: JournalError) -> Self {
        publica_rpc::status_of(&error)
    }
}
