//! SQL, a file an aggregate; the only place that mentions it.

pub(crate) mod chunk;
pub(crate) mod inbound;
pub(crate) mod operation;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod sms;
pub(crate) mod suppression;
pub(crate) mod template;

#[cfg(test)]
mod tests;

use publica_store::{MigrationSet, migration_set};

publica_types::typed_id! {
    /// Names an accepted request inside the block.
    pub(crate) struct RequestId;
    /// Names a chunk of recipients.
    pub(crate) struct ChunkId;
    /// Names one start of a process.
    pub(crate) struct SessionId;
}

/// The block's own tables. The role that serves may delete from `content_key` alone.
pub(crate) static MIGRATIONS: MigrationSet = migration_set!(
    "./migrations",
    append_only: [
        "request", "chunk", "wrapping_hour", "session", "beat", "chunk_step", "event", "tally",
        "cancellation", "completion", "reply", "template_version", "template_step",
        "suppression", "suppression_lift", "signing_key", "pause_step", "dead_letter", "redrive",
        "sms_part", "sms_wait", "sms_receipt",
    ],
);
