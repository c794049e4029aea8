//! Signatures over revisions, sealed under their person's key.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;
use serde_json::{Value, json};

statements! {
    INSERT = "INSERT INTO signature (signature_id, record_id, revision_id, signed_as, method, \
              key_id, sealed, created, delegation_id) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
              ON CONFLICT (revision_id, signed_as) DO NOTHING",
    // Signatures of many records at once. One text of rows for both engines: joining lists
    // by position takes SQLite quadratic time.
    INSERT_MANY = {
        sqlite: "INSERT INTO signature (signature_id, record_id, revision_id, signed_as, \
            method, key_id, sealed, created, delegation_id) \
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, \
            value ->> 5, unhex(value ->> 6), value ->> 7, value ->> 8 FROM jsonb_each($1)",
        postgres: "INSERT INTO signature (signature_id, record_id, revision_id, signed_as, \
            method, key_id, sealed, created, delegation_id) \
            SELECT e ->> 0, e ->> 1, e ->> 2, e ->> 3, e ->> 4, e ->> 5, \
            decode(e ->> 6, 'hex'), \
            TIMESTAMPTZ 'epoch' + CAST(e ->> 7 AS BIGINT) * INTERVAL '1 microsecond', \
            e ->> 8 FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e",
    },
    FIND = "SELECT signature_id, record_id, revision_id, signed_as, method, key_id, sealed, \
            created, delegation_id FROM signature WHERE signature_id = $1",
    OF_REVISION = "SELECT signature_id, record_id, revision_id, signed_as, method, key_id, \
            sealed, created, delegation_id FROM signature WHERE revision_id = $1 \
            ORDER BY created, signature_id",
    // Records of a person that were ever signed, whatever their answer is now.
    SIGNED_OF_PERSON = "SELECT DISTINCT s.record_id FROM signature s \
            JOIN consent_record r ON r.record_id = s.record_id WHERE r.individual_id = $1",
    ERASE = "DELETE FROM signature WHERE record_id = $1",
}

/// A signature as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) signature_id: String,
    pub(crate) record_id: String,
    pub(crate) revision_id: String,
    pub(crate) signed_as: String,
    pub(crate) method: String,
    pub(crate) key_id: String,
    pub(crate) sealed: Vec<u8>,
    pub(crate) created: Timestamp,
    /// The delegation by which it was made, where the answer needs a delegate's word.
    pub(crate) delegation_id: String,
}

/// Stores a signature; false when this role signed the revision before.
pub(crate) async fn insert(tx: &mut Tx<'_>, row: &Row) -> Result<bool, StoreError> {
    let added = tx
        .query(INSERT)
        .bind(row.signature_id.as_str())
        .bind(row.record_id.as_str())
        .bind(row.revision_id.as_str())
        .bind(row.signed_as.as_str())
        .bind(row.method.as_str())
        .bind(row.key_id.as_str())
        .bind(row.sealed.as_slice())
        .bind(row.created)
        .bind(row.delegation_id.as_str())
        .execute()
        .await?;
    Ok(added == 1)
}

/// Stores signatures of records that are new.
pub(crate) async fn insert_many(tx: &mut Tx<'_>, rows: &[Row]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let list: Value = rows
        .iter()
        .map(|row| {
            json!([
                row.signature_id,
                row.record_id,
                row.revision_id,
                row.signed_as,
                row.method,
                row.key_id,
                hex::encode(&row.sealed),
                row.created.micros(),
                row.delegation_id,
            ])
        })
        .collect();
    let query = tx.query(INSERT_MANY).bind(list.to_string());
    query.execute().await.map(drop)
}

/// A signature.
pub(crate) async fn find(db: &Db, signature_id: &str) -> Result<Option<Row>, StoreError> {
    db.query(FIND).bind(signature_id).fetch_optional().await
}

/// Signatures of a revision, oldest first.
pub(crate) async fn of_revision(db: &Db, revision_id: &str) -> Result<Vec<Row>, StoreError> {
    db.query(OF_REVISION).bind(revision_id).fetch_all().await
}

/// Signatures of a revision, read within a unit.
pub(crate) async fn of_revision_in(
    tx: &mut Tx<'_>,
    revision_id: &str,
) -> Result<Vec<Row>, StoreError> {
    tx.query(OF_REVISION).bind(revision_id).fetch_all().await
}

/// Records of a person that were signed in any of their revisions.
pub(crate) async fn signed_of_person(
    tx: &mut Tx<'_>,
    individual_id: &str,
) -> Result<Vec<String>, StoreError> {
    tx.query(SIGNED_OF_PERSON)
        .bind(individual_id)
        .fetch_scalars()
        .await
}

/// Removes the signatures of an erased record.
pub(crate) async fn erase(tx: &mut Tx<'_>, record_id: &str) -> Result<u64, StoreError> {
    tx.query(ERASE).bind(record_id).execute().await
}
