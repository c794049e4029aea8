//! The block's tables: statements and the functions that run them, a file an aggregate.

pub(crate) mod bulk;
pub(crate) mod client;
pub(crate) mod consent;
pub(crate) mod enrolment;
pub(crate) mod factor;
pub(crate) mod identifier;
pub(crate) mod limit;
pub(crate) mod person;
pub(crate) mod sign_in;
pub(crate) mod signing_key;
pub(crate) mod sweep;
pub(crate) mod token;

#[cfg(test)]
use publica_store::Sql;
use publica_store::{Db, MigrationSet, StoreError, migration_set};

/// The block's own tables.
pub(crate) static MIGRATIONS: MigrationSet = migration_set!("./migrations");

#[cfg(test)]
mod tests;

/// Every statement of the block, for the test that prepares them on both engines.
#[cfg(test)]
pub(crate) const STATEMENTS: &[&[(&str, Sql)]] = &[
    bulk::ALL,
    client::ALL,
    consent::ALL,
    enrolment::ALL,
    factor::ALL,
    identifier::ALL,
    limit::ALL,
    person::ALL,
    sign_in::ALL,
    signing_key::ALL,
    sweep::ALL,
    token::ALL,
    ALL,
];

publica_store::statements! {
    PING = "SELECT COUNT(*) FROM signing_key WHERE state = 'active'",
}

/// Whether the store answers.
pub(crate) async fn ping(db: &Db) -> Result<(), StoreError> {
    db.query(PING).fetch_scalar::<i64>().await.map(drop)
}

/// A stored value that the code does not understand.
pub(crate) fn corrupt(what: &'static str) -> StoreError {
    StoreError::corrupt(what)
}

/// A stored list.
pub(crate) fn list(text: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(text).map_err(|_| corrupt("a stored list is not one"))
}

/// A list to be stored.
pub(crate) fn list_text(list: &[String]) -> String {
    serde_json::Value::from(list).to_string()
}
