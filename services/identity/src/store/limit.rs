//! Counters behind limits.

use publica_store::{StoreError, Tx};
use publica_types::Timestamp;

use crate::domain::sign_in::Counter;

publica_store::statements! {
    FIND = "SELECT count, started, frozen_until FROM limit_counter WHERE bucket = $1",
    // SQLite has one writer and no row locks.
    LOCK = {
        sqlite: "SELECT count, started, frozen_until FROM limit_counter WHERE bucket = $1",
        postgres: "SELECT count, started, frozen_until FROM limit_counter WHERE bucket = $1 \
                 FOR UPDATE",
    },
    UPSERT = "INSERT INTO limit_counter (bucket, count, started, frozen_until, expires) \
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT (bucket) DO UPDATE SET \
            count = EXCLUDED.count, started = EXCLUDED.started, \
            frozen_until = EXCLUDED.frozen_until, expires = EXCLUDED.expires",
    DELETE = "DELETE FROM limit_counter WHERE bucket = $1",
}

type Row = (i64, Timestamp, Option<Timestamp>);

fn counter((count, start, frozen_until): Row) -> Counter {
    Counter {
        count,
        start,
        frozen_until,
    }
}

/// A counter, held until this unit ends.
pub(crate) async fn lock(tx: &mut Tx<'_>, bucket: &[u8]) -> Result<Option<Counter>, StoreError> {
    Ok(tx
        .query(LOCK)
        .bind(bucket)
        .fetch_optional::<Row>()
        .await?
        .map(counter))
}

/// A counter as it stands in this unit.
pub(crate) async fn find(tx: &mut Tx<'_>, bucket: &[u8]) -> Result<Option<Counter>, StoreError> {
    Ok(tx
        .query(FIND)
        .bind(bucket)
        .fetch_optional::<Row>()
        .await?
        .map(counter))
}

/// Keeps a counter until `expires`.
pub(crate) async fn put(
    tx: &mut Tx<'_>,
    bucket: &[u8],
    counter: Counter,
    expires: Timestamp,
) -> Result<(), StoreError> {
    let query = tx
        .query(UPSERT)
        .bind(bucket)
        .bind(counter.count)
        .bind(counter.start);
    query
        .bind(counter.frozen_until)
        .bind(expires)
        .execute()
        .await
        .map(drop)
}

/// Forgets a counter.
pub(crate) async fn delete(tx: &mut Tx<'_>, bucket: &[u8]) -> Result<(), StoreError> {
    tx.query(DELETE).bind(bucket).execute().await.map(drop)
}
