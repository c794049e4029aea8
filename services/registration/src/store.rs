//! SQL, one file an aggregate. Nothing outside this module mentions a table.

pub(crate) mod catalog;
pub(crate) mod document;
pub(crate) mod file;
pub(crate) mod register;
pub(crate) mod task;

#[cfg(test)]
mod tests;

#[cfg(test)]
use publica_store::Sql;
use publica_store::{Db, MigrationSet, StoreError, migration_set};

/// The tables of this block.
pub(crate) static MIGRATIONS: MigrationSet =
    migration_set!("./migrations", append_only: ["service_version", "file_event"]);

/// Every statement of this block, for the test that prepares them on both engines.
#[cfg(test)]
pub(crate) const STATEMENTS: &[&[(&str, Sql)]] = &[
    ALL,
    catalog::ALL,
    document::ALL,
    file::ALL,
    register::ALL,
    task::ALL,
];

publica_store::statements! {
    PING = "SELECT COUNT(*) FROM service WHERE service_id = ''",
}

/// Whether the store answers and has this block's tables.
pub(crate) async fn ping(db: &Db) -> Result<(), StoreError> {
    db.query(PING).fetch_scalar::<i64>().await.map(drop)
}
