//! Keys for personal data at rest: one a subject, wrapped by a key-encryption key.
//!
//! * [`Keyring`] holds the key-encryption keys, rotates them, and opens subject keys.
//! * [`SubjectKey`] seals and opens fields; erasing it makes them unreadable everywhere.
//! * [`sealed!`] declares what secrets of a block itself are sealed for and where they stand, so
//!   that [`Keyring::rotate`] moves all of them to another key.
//! * [`Keyring::lookup`] gives keyed hashes, so that a value can be found without being readable.
//! * [`name_keys`] gives the forms of a name that are hashed for searching by name.
//!
//! Leaves out: which fields are personal; the block says so.

#![warn(missing_docs)]

mod aead;
mod config;
mod error;
mod keyring;
mod names;
mod purpose;
mod rotate;
mod store;
mod subject;

pub use config::SealConfig;
pub use error::SealError;
pub use keyring::Keyring;
pub use names::name_keys;
pub use purpose::{Column, Purpose};
pub use rotate::{Census, Rotated, Watch};
pub use store::STATEMENTS;
pub use subject::SubjectKey;

use publica_store::{MigrationSet, migration_set};

/// The tables of this crate, for [`publica_store::Migrations::with`].
pub static MIGRATIONS: MigrationSet = migration_set!("./migrations");

/// What the macros need where they expand; not for direct use.
#[doc(hidden)]
pub mod macro_support {
    pub use publica_store::Sql;
}
