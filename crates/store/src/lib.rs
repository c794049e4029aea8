//! A block's store: one set of SQL over SQLite and PostgreSQL.
//!
//! * [`Stores`] opens one store a tenant; [`Db`] is the way into one of them.
//! * [`Db::write`] runs a named unit of work: a transaction with retries, a time limit and a
//!   [`Tail`] as its last call. On SQLite a group writer gives many units one commit.
//! * [`Db::query`] is a single read; [`Db::read`] is several that must agree.
//! * [`statements!`] declares SQL; [`Query`] binds values and fetches rows on either engine.
//! * [`Gather`] lets calls in flight share a statement, [`leases`] guard background work.
//! * [`Migrations`] brings a store to the schema that the code knows, and refuses others.
//!
//! Leaves out: every table of a block. Its one table is the leases'.

#![warn(missing_docs)]

mod config;
mod connect;
mod db;
mod error;
mod gather;
pub mod leases;
mod lock;
mod measure;
mod migrate;
mod pool;
mod postgres;
mod query;
mod sql;
mod sqlite;
mod stores;
mod tail;
mod tx;
mod unit;
mod value;
mod writer;

pub use config::{DatabaseConfig, StoresConfig};
pub use db::Db;
pub use error::StoreError;
pub use gather::Gather;
pub use leases::Lease;
pub use migrate::{MigrationSet, Migrations};
pub use query::Query;
pub use sql::{Engine, Sql};
pub use stores::Stores;
pub use tail::{NoTail, Tail, TailItem};
pub use tx::Tx;
pub use value::{ListItem, Record, Scalar, Value};

pub use futures::future::BoxFuture;

/// The tables of this crate, for [`Migrations::with`].
pub static MIGRATIONS: MigrationSet = migration_set!("./migrations");

/// Every statement of this crate, for the test that prepares them on both engines.
#[doc(hidden)]
pub const STATEMENTS: &[(&str, Sql)] = leases::ALL;

/// What the macros need where they expand; not for direct use.
#[doc(hidden)]
pub mod macro_support {
    pub use sqlx;
}
