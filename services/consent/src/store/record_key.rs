//! Keys of records, each wrapped by the key of the record's person.

use publica_store::{Db, StoreError, Tx, statements};
use serde_json::{Value, json};

statements! {
    INSERT = "INSERT INTO record_key (record_id, wrapped, created) VALUES ($1, $2, $3)",
    // Keys of many records at once. One text of rows for both engines: joining lists by position
    // takes SQLite quadratic time.
    INSERT_MANY = {
        sqlite: "INSERT INTO record_key (record_id, wrapped, created) \
            SELECT value ->> 0, unhex(value ->> 1), $2 FROM jsonb_each($1)",
        postgres: "INSERT INTO record_key (record_id, wrapped, created) \
            SELECT e ->> 0, decode(e ->> 1, 'hex'), $2 \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e",
    },
    FIND = "SELECT record_id, wrapped FROM record_key WHERE record_id = $1",
    // Each engine unpacks lists in its own way.
    FIND_MANY = {
        sqlite: "SELECT record_id, wrapped FROM record_key \
            WHERE record_id IN (SELECT value FROM jsonb_each($1))",
        postgres: "SELECT record_id, wrapped FROM record_key \
            WHERE record_id = ANY ($1::TEXT[])",
    },
    ERASE = "UPDATE record_key SET wrapped = NULL, erased = $2 \
             WHERE record_id = $1 AND erased IS NULL",
}

/// The key of a record as stored; an empty one was destroyed.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) record_id: String,
    pub(crate) wrapped: Option<Vec<u8>>,
}

/// Stores the key of a new record.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    record_id: &str,
    wrapped: Vec<u8>,
) -> Result<(), StoreError> {
    let now = tx.now();
    let query = tx.query(INSERT).bind(record_id).bind(wrapped).bind(now);
    query.execute().await.map(drop)
}

/// Stores keys of records that are new.
pub(crate) async fn insert_many(
    tx: &mut Tx<'_>,
    keys: &[(String, Vec<u8>)],
) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let list: Value = keys
        .iter()
        .map(|(record_id, wrapped)| json!([record_id, hex::encode(wrapped)]))
        .collect();
    let now = tx.now();
    let query = tx.query(INSERT_MANY).bind(list.to_string()).bind(now);
    query.execute().await.map(drop)
}

/// The key of a record, if it has one of its own.
pub(crate) async fn find(tx: &mut Tx<'_>, record_id: &str) -> Result<Option<Row>, StoreError> {
    tx.query(FIND).bind(record_id).fetch_optional().await
}

/// Keys of records that have one of their own.
pub(crate) async fn find_many(db: &Db, records: &[&str]) -> Result<Vec<Row>, StoreError> {
    db.query(FIND_MANY).bind_list(records).fetch_all().await
}

/// Destroys the key of an erased record.
pub(crate) async fn erase(tx: &mut Tx<'_>, record_id: &str) -> Result<u64, StoreError> {
    let now = tx.now();
    tx.query(ERASE).bind(record_id).bind(now).execute().await
}
