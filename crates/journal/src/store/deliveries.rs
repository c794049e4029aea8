//! What became of deliveries, for a while.

use std::time::Duration;

use publica_store::{Db, StoreError, Tx};
use publica_types::{Timestamp, Uuid};

/// How long a delivery is remembered.
pub(crate) const KEPT: Duration = Duration::from_hours(30 * 24);
/// Deliveries of one subscription that are remembered.
pub(crate) const MOST: i64 = 1_000;

publica_store::statements! {
    // A subscription that was deleted meanwhile leaves nothing behind.
    TRIED = "INSERT INTO webhook_delivery (webhook_id, entry_id, delivery_id, action, state, \
        attempts, reason, first_time, last_time) \
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, $8 \
        WHERE EXISTS (SELECT 1 FROM webhook WHERE webhook_id = $1) \
        ON CONFLICT (webhook_id, entry_id) DO UPDATE SET delivery_id = excluded.delivery_id, \
        state = excluded.state, attempts = excluded.attempts, reason = excluded.reason, \
        last_time = excluded.last_time",
    TRIM = "DELETE FROM webhook_delivery WHERE webhook_id = $1 AND (last_time < $2 \
        OR (last_time, entry_id) < (SELECT last_time, entry_id FROM webhook_delivery \
        WHERE webhook_id = $1 ORDER BY last_time DESC, entry_id DESC LIMIT 1 OFFSET $3))",
    LIST = "SELECT webhook_id, entry_id, delivery_id, action, state, attempts, reason, \
        first_time, last_time FROM webhook_delivery \
        WHERE webhook_id = $1 AND ($2 = 0 OR state = $2) AND last_time >= $3 \
        AND (last_time, entry_id) < ($4, $5) \
        ORDER BY last_time DESC, entry_id DESC LIMIT $6 OFFSET $7",
    COUNT = "SELECT COUNT(*) FROM webhook_delivery \
        WHERE webhook_id = $1 AND ($2 = 0 OR state = $2) AND last_time >= $3",
    FORGET = "DELETE FROM webhook_delivery WHERE webhook_id = $1",
}

/// A delivery as remembered; `state` is that of the wire.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct DeliveryRow {
    pub(crate) webhook_id: Uuid,
    pub(crate) entry_id: Uuid,
    pub(crate) delivery_id: Uuid,
    pub(crate) action: String,
    pub(crate) state: i64,
    pub(crate) attempts: i64,
    pub(crate) reason: String,
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
}

/// Remembers what an attempt came to, and forgets what is too old or too much.
pub(crate) async fn tried(tx: &mut Tx<'_>, row: &DeliveryRow) -> Result<(), StoreError> {
    tx.query(TRIED)
        .bind(row.webhook_id)
        .bind(row.entry_id)
        .bind(row.delivery_id)
        .bind(row.action.as_str())
        .bind(row.state)
        .bind(row.attempts)
        .bind(row.reason.as_str())
        .bind(row.last_time)
        .execute()
        .await?;
    if row.attempts == 1 {
        let query = tx.query(TRIM).bind(row.webhook_id);
        let query = query.bind(row.last_time.minus(KEPT)).bind(MOST - 1);
        query.execute().await?;
    }
    Ok(())
}

/// Deliveries of a subscription before a place, the last tried first; `state` 0 takes all.
pub(crate) async fn list(
    db: &Db,
    webhook_id: Uuid,
    state: i64,
    before: (Timestamp, Uuid),
    limit: i64,
    skip: i64,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let query = db.query(LIST).bind(webhook_id).bind(state);
    let query = query.bind(db.now().minus(KEPT)).bind(before.0);
    let query = query.bind(before.1).bind(limit).bind(skip);
    query.fetch_all().await
}

/// How many deliveries of a subscription are remembered; `state` 0 counts all.
pub(crate) async fn count(db: &Db, webhook_id: Uuid, state: i64) -> Result<i64, StoreError> {
    let query = db.query(COUNT).bind(webhook_id).bind(state);
    query.bind(db.now().minus(KEPT)).fetch_scalar().await
}

/// Forgets a subscription's deliveries.
pub(crate) async fn forget(tx: &mut Tx<'_>, webhook_id: Uuid) -> Result<(), StoreError> {
    tx.query(FORGET).bind(webhook_id).execute().await.map(drop)
}
