//! Requests of source blocks that were answered, for repeats.

use publica_store::{StoreError, Tx, statements};

use crate::store::Ask;

statements! {
    FIND = "SELECT fingerprint, answer FROM source_request \
        WHERE source_no = $1 AND operation = $2 AND request = $3",
    INSERT = "INSERT INTO source_request (source_no, operation, request, fingerprint, answer, \
        answered_at) VALUES ($1, $2, $3, $4, $5, $6)",
    SWEEP = "DELETE FROM source_request WHERE answered_at < $1",
}

/// What a source block asked, by its own number.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) source_no: i64,
    pub(crate) operation: &'static str,
    pub(crate) request: String,
}

/// An answer that was given.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Answered {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) answer: Vec<u8>,
}

pub(crate) async fn find(ask: &mut impl Ask, key: &Key) -> Result<Option<Answered>, StoreError> {
    let query = ask.ask(FIND).bind(key.source_no).bind(key.operation);
    query.bind(key.request.as_str()).fetch_optional().await
}

pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    key: &Key,
    fingerprint: &[u8],
    answer: &[u8],
) -> Result<(), StoreError> {
    let now = tx.now();
    let query = tx.query(INSERT).bind(key.source_no).bind(key.operation);
    let query = query
        .bind(key.request.as_str())
        .bind(fingerprint)
        .bind(answer)
        .bind(now);
    query.execute().await.map(drop)
}
