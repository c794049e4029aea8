//! Signatures that were made.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;

statements! {
    INSERT = "INSERT INTO signature (signature_id, owner, kind, format, hash_type, hash, \
              certificate_id, sign_time, sealed_value, sealed_display) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    FIND = "SELECT signature_id, owner, kind, format, hash_type, hash, certificate_id, \
            sign_time, sealed_value, sealed_display FROM signature WHERE signature_id = $1",
    OWN = "SELECT signature_id, owner, kind, format, hash_type, hash, certificate_id, sign_time, \
           sealed_value, sealed_display FROM signature WHERE kind = 1 AND owner = $1 \
           AND sign_time >= $2 AND sign_time < $3 AND (sign_time, signature_id) > ($4, $5) \
           ORDER BY sign_time, signature_id LIMIT $6",
    EVERY = "SELECT signature_id, owner, kind, format, hash_type, hash, certificate_id, \
             sign_time, sealed_value, sealed_display FROM signature WHERE kind = 1 \
             AND sign_time >= $1 AND sign_time < $2 AND (sign_time, signature_id) > ($3, $4) \
             ORDER BY sign_time, signature_id LIMIT $5",
}

/// A signature as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct SignatureRow {
    pub(crate) signature_id: String,
    pub(crate) owner: String,
    pub(crate) kind: i64,
    pub(crate) format: i64,
    pub(crate) hash_type: i64,
    pub(crate) hash: Vec<u8>,
    pub(crate) certificate_id: String,
    pub(crate) sign_time: Timestamp,
    pub(crate) sealed_value: Option<Vec<u8>>,
    pub(crate) sealed_display: Option<Vec<u8>>,
}

pub(crate) async fn insert(tx: &mut Tx<'_>, row: &SignatureRow) -> Result<(), StoreError> {
    let insert = tx
        .query(INSERT)
        .bind(&*row.signature_id)
        .bind(&*row.owner)
        .bind(row.kind);
    let insert = insert.bind(row.format).bind(row.hash_type).bind(&*row.hash);
    let insert = insert.bind(&*row.certificate_id).bind(row.sign_time);
    let insert = insert
        .bind(row.sealed_value.as_deref())
        .bind(row.sealed_display.as_deref());
    insert.execute().await.map(drop)
}

pub(crate) async fn find(db: &Db, id: &str) -> Result<Option<SignatureRow>, StoreError> {
    db.query(FIND).bind(id).fetch_optional().await
}

/// One-time signatures in a span of time: an owner's, or everybody's.
pub(crate) async fn list(
    db: &Db,
    owner: Option<&str>,
    span: (Timestamp, Timestamp),
    after: &(Timestamp, String),
    limit: i64,
) -> Result<Vec<SignatureRow>, StoreError> {
    let list = match owner {
        Some(owner) => db.query(OWN).bind(owner),
        None => db.query(EVERY),
    };
    let list = list.bind(span.0).bind(span.1).bind(after.0).bind(&*after.1);
    list.bind(limit).fetch_all().await
}
