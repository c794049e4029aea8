//! The append-only journal of a block: audit trail, outbox and change feed in one table, written
//! in the same transaction as the effect, under a Merkle tree that anyone can check.
//!
//! * [`append`] adds an [`Entry`] to a unit of work; [`JournalTail`] writes it as the unit's last
//!   call, together with the answer that [`write()`] keeps for repeated requests.
//! * [`intent`] protects work outside the store under a request id.
//! * [`Journal`] sequences, signs, serves and delivers what was written, and records reads and
//!   refusals.
//! * [`export`] writes a trail, from the store or as a client; [`verify`] checks an exported
//!   [`trail`] with no network and no database.
//!
//! Leaves out: what a block's events say. Entries hold opaque ids and states, never personal data.

#![warn(missing_docs)]

mod canonical;
mod config;
mod entry;
mod epoch;
mod error;
pub mod export;
mod fault;
mod grpc;
mod inbox;
mod journal;
mod ledger;
pub mod merkle;
pub mod note;
mod policy;
mod sealed;
mod sequencer;
mod store;
mod tail;
#[cfg(test)]
mod tests;
pub mod trail;
mod tree;
pub mod verify;
mod webhook;

pub use config::{JournalConfig, WebhookConfig};
pub use entry::{Entry, EntryRow, Outcome, OutcomeError};
pub use epoch::{RESTORED_CURSOR, mark_restored};
pub use error::JournalError;
pub use grpc::{LogService, Webhooks, Work};
pub use inbox::{Cursor, cursor, first_time, move_cursor};
pub use journal::Journal;
pub use ledger::{Begun, Call, Intent, fingerprint, intent, write};
pub use store::entries::{about, latest};
/// What every journal seals, for a change of keys.
pub static SEALED: &[&publica_seal::Purpose] = sealed::SEALED;

pub use tail::{JournalTail, append};

use publica_store::{MigrationSet, migration_set};

/// The tables of this crate, for [`publica_store::Migrations::with`].
pub static MIGRATIONS: MigrationSet = migration_set!(
    "./migrations",
    append_only: ["journal", "journal_leaf", "journal_checkpoint", "journal_epoch"]
);

/// Every statement of this crate, for the test that prepares them on both engines.
#[doc(hidden)]
pub const STATEMENTS: &[&[(&str, publica_store::Sql)]] = &[
    store::entries::ALL,
    store::ledger::ALL,
    store::log::ALL,
    store::tail::ALL,
    store::webhooks::ALL,
    store::deliveries::ALL,
    store::cursors::ALL,
];

/// What the macros need where they expand; not for direct use.
#[doc(hidden)]
pub mod macro_support {
    pub use publica_auth::Access;
}
