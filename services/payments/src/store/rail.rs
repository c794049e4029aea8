//! What the simulated rail remembers. It stands for a system outside, so nothing else reads it.

use publica_store::{StoreError, Tx, statements};
use publica_types::Uuid;

use crate::store::Ask;

statements! {
    INSERT = "INSERT INTO simulated_message (message_id, received_at, query_count, items) \
        VALUES ($1, $2, 0, $3) ON CONFLICT DO NOTHING",
    FIND = "SELECT query_count, items FROM simulated_message WHERE message_id = $1",
    COUNT_QUERY = "UPDATE simulated_message SET query_count = query_count + 1 \
        WHERE message_id = $1",
}

/// A message as the simulated rail keeps it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct MessageRow {
    pub(crate) query_count: i64,
    pub(crate) items: Vec<u8>,
}

/// Keeps a message; one that is known already changes nothing.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    message_id: Uuid,
    items: &[u8],
) -> Result<(), StoreError> {
    let now = tx.now();
    tx.query(INSERT)
        .bind(message_id)
        .bind(now)
        .bind(items)
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn find(
    ask: &mut impl Ask,
    message_id: Uuid,
) -> Result<Option<MessageRow>, StoreError> {
    ask.ask(FIND).bind(message_id).fetch_optional().await
}

pub(crate) async fn count_query(tx: &mut Tx<'_>, message_id: Uuid) -> Result<(), StoreError> {
    tx.query(COUNT_QUERY)
        .bind(message_id)
        .execute()
        .await
        .map(drop)
}
