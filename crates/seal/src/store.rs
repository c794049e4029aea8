//! The table of subject keys.

use publica_store::{Db, Sql, StoreError, Tx, statements};
use serde_json::{Value, json};

statements! {
    FIND = "SELECT subject, wrapped FROM subject_key WHERE subject = $1",
    // A list is a JSON array on SQLite and an array on PostgreSQL.
    FIND_MANY = {
        sqlite: "SELECT subject, wrapped FROM subject_key \
                 WHERE subject IN (SELECT value FROM jsonb_each($1))",
        postgres: "SELECT subject, wrapped FROM subject_key WHERE subject = ANY($1::text[])",
    },
    INSERT = "INSERT INTO subject_key (subject, wrapped, kek_id, create_time) \
              VALUES ($1, $2, $3, $4) ON CONFLICT (subject) DO NOTHING",
    // One text of pairs for both: joining two lists by position takes SQLite quadratic time.
    INSERT_MANY = {
        sqlite: "INSERT INTO subject_key (subject, wrapped, kek_id, create_time) \
                 SELECT value ->> 0, unhex(value ->> 1), $2, $3 \
                 FROM jsonb_each($1) WHERE true ON CONFLICT (subject) DO NOTHING",
        postgres: "INSERT INTO subject_key (subject, wrapped, kek_id, create_time) \
                   SELECT e ->> 0, decode(e ->> 1, 'hex'), $2, $3 \
                   FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e \
                   ON CONFLICT (subject) DO NOTHING",
    },
    ERASE = "UPDATE subject_key SET wrapped = NULL, erase_time = $2 \
             WHERE subject = $1 AND erase_time IS NULL",
    STALE = "SELECT subject, wrapped, kek_id FROM subject_key \
             WHERE kek_id <> $1 AND (kek_id, subject) > ($2, $3) AND wrapped IS NOT NULL \
             ORDER BY kek_id, subject LIMIT $4",
    WRAPPED = "SELECT subject, wrapped, kek_id FROM subject_key \
               WHERE subject > $1 AND wrapped IS NOT NULL ORDER BY subject LIMIT $2",
    REWRAP = "UPDATE subject_key SET wrapped = $2, kek_id = $3 \
              WHERE subject = $1 AND wrapped = $4",
}

/// Every statement of this crate, for the test that prepares them on both engines.
#[doc(hidden)]
pub const STATEMENTS: &[(&str, Sql)] = ALL;

/// The key of a subject as it is stored; without one, the subject was erased.
#[derive(sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) subject: String,
    pub(crate) wrapped: Option<Vec<u8>>,
}

pub(crate) async fn find(db: &Db, subject: &str) -> Result<Option<Row>, StoreError> {
    db.query(FIND).bind(subject).fetch_optional().await
}

pub(crate) async fn find_in(tx: &mut Tx<'_>, subject: &str) -> Result<Option<Row>, StoreError> {
    tx.query(FIND).bind(subject).fetch_optional().await
}

pub(crate) async fn find_many(db: &Db, subjects: &[&str]) -> Result<Vec<Row>, StoreError> {
    db.query(FIND_MANY).bind_list(subjects).fetch_all().await
}

pub(crate) async fn find_many_in(
    tx: &mut Tx<'_>,
    subjects: &[&str],
) -> Result<Vec<Row>, StoreError> {
    tx.query(FIND_MANY).bind_list(subjects).fetch_all().await
}

/// False if the subject has a key already, or had one.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    subject: &str,
    wrapped: Vec<u8>,
    kek: &str,
) -> Result<bool, StoreError> {
    let now = tx.now();
    let insert = tx.query(INSERT).bind(subject).bind(wrapped);
    Ok(insert.bind(kek).bind(now).execute().await? == 1)
}

/// Stores subjects with their wrapped keys; returns how many had none yet.
pub(crate) async fn insert_many<'a>(
    tx: &mut Tx<'_>,
    keys: impl Iterator<Item = (&'a str, &'a [u8])>,
    kek: &str,
) -> Result<u64, StoreError> {
    let pairs: Vec<_> = keys
        .map(|(subject, wrapped)| json!([subject, hex::encode(wrapped)]))
        .collect();
    let now = tx.now();
    let insert = tx.query(INSERT_MANY).bind(Value::from(pairs).to_string());
    insert.bind(kek).bind(now).execute().await
}

/// False if there was nothing to erase.
pub(crate) async fn erase(tx: &mut Tx<'_>, subject: &str) -> Result<bool, StoreError> {
    let now = tx.now();
    Ok(tx.query(ERASE).bind(subject).bind(now).execute().await? == 1)
}

/// A key that is there, and what it is wrapped under.
#[derive(sqlx::FromRow)]
pub(crate) struct Wrapped {
    pub(crate) subject: String,
    pub(crate) wrapped: Vec<u8>,
    pub(crate) kek_id: String,
}

/// Keys that are not wrapped under `kek`, after that of the page before.
pub(crate) async fn stale(
    db: &Db,
    kek: &str,
    (after_kek, after): &(String, String),
    limit: i64,
) -> Result<Vec<Wrapped>, StoreError> {
    let query = db.query(STALE).bind(kek).bind(after_kek.as_str());
    query.bind(after.as_str()).bind(limit).fetch_all().await
}

/// Keys that are there, after that of the page before.
pub(crate) async fn wrapped(db: &Db, after: &str, limit: i64) -> Result<Vec<Wrapped>, StoreError> {
    db.query(WRAPPED).bind(after).bind(limit).fetch_all().await
}

/// Puts a key that was wrapped anew in the place of the old one, if that is still there.
pub(crate) async fn rewrap(
    tx: &mut Tx<'_>,
    row: &Wrapped,
    new: &[u8],
    kek: &str,
) -> Result<u64, StoreError> {
    let update = tx.query(REWRAP).bind(row.subject.as_str()).bind(new);
    update.bind(kek).bind(&*row.wrapped).execute().await
}
