//! Who is told about a batch.

use publica_store::{StoreError, Tx, statements};

use crate::domain::ids::BatchId;
use crate::store::Ask;

statements! {
    INSERT = "INSERT INTO batch_callback (batch_id, target, phase) VALUES ($1, $2, 0) \
        ON CONFLICT DO NOTHING",
    FIND = "SELECT target, phase FROM batch_callback WHERE batch_id = $1",
    SET_PHASE = "UPDATE batch_callback SET phase = $2 WHERE batch_id = $1 AND phase < $2",
    DONE = "SELECT CAST(COALESCE(SUM(row_count), 0) AS BIGINT) FROM batch_chunk \
        WHERE batch_id = $1 AND state = 5",
}

/// Who is told, sealed, and the last phase that they were told of.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct BatchCallback {
    pub(crate) target: Vec<u8>,
    pub(crate) phase: i64,
}

pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    batch_id: BatchId,
    target: &[u8],
) -> Result<(), StoreError> {
    let query = tx.query(INSERT).bind(batch_id).bind(target);
    query.execute().await.map(drop)
}

pub(crate) async fn find(
    ask: &mut impl Ask,
    batch_id: BatchId,
) -> Result<Option<BatchCallback>, StoreError> {
    ask.ask(FIND).bind(batch_id).fetch_optional().await
}

/// True if this phase had not been reached before.
pub(crate) async fn set_phase(
    tx: &mut Tx<'_>,
    batch_id: BatchId,
    phase: i64,
) -> Result<bool, StoreError> {
    let query = tx.query(SET_PHASE).bind(batch_id).bind(phase);
    Ok(query.execute().await? == 1)
}

/// Rows of chunks in which nothing is left to do.
pub(crate) async fn rows_done(tx: &mut Tx<'_>, batch_id: BatchId) -> Result<i64, StoreError> {
    tx.query(DONE).bind(batch_id).fetch_scalar().await
}
