//! The request ledger's table.

use std::time::Duration;

use publica_store::{Db, StoreError, Tx};
use publica_types::Timestamp;

use crate::ledger::Key;
use crate::merkle::Hash;

publica_store::statements! {
    FIND = "SELECT fingerprint, sealed_answer, held_until FROM request_ledger \
        WHERE caller = $1 AND rpc = $2 AND request_id = $3",
    HOLD = "INSERT INTO request_ledger \
        (caller, rpc, request_id, fingerprint, attempt, held_until, time) \
        VALUES ($1, $2, $3, $4, 1, $5, $6) \
        ON CONFLICT (caller, rpc, request_id) DO UPDATE \
        SET attempt = request_ledger.attempt + 1, held_until = excluded.held_until \
        WHERE request_ledger.sealed_answer IS NULL AND request_ledger.held_until <= $6 \
        AND request_ledger.fingerprint = excluded.fingerprint RETURNING attempt",
    COMPLETE = "UPDATE request_ledger SET sealed_answer = $5, held_until = NULL, time = $6 \
        WHERE caller = $1 AND rpc = $2 AND request_id = $3 AND attempt = $4 \
        AND sealed_answer IS NULL",
    RENEW = "UPDATE request_ledger SET held_until = $5 \
        WHERE caller = $1 AND rpc = $2 AND request_id = $3 AND attempt = $4 \
        AND sealed_answer IS NULL",
    ABANDON = "DELETE FROM request_ledger \
        WHERE caller = $1 AND rpc = $2 AND request_id = $3 AND attempt = $4 \
        AND sealed_answer IS NULL",
    PRUNE = "DELETE FROM request_ledger WHERE (caller, rpc, request_id) IN \
        (SELECT caller, rpc, request_id FROM request_ledger WHERE time < $1 \
        ORDER BY time LIMIT $2)",
}

/// A row of the ledger.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct LedgerRow {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) sealed_answer: Option<Vec<u8>>,
    pub(crate) held_until: Option<Timestamp>,
}

pub(crate) async fn find(db: &Db, key: &Key) -> Result<Option<LedgerRow>, StoreError> {
    db.query(FIND)
        .bind(key.caller.as_str())
        .bind(key.rpc)
        .bind(key.request_id.as_str())
        .fetch_optional()
        .await
}

/// Takes hold of a request: the attempt's number, or `None` if it is held or answered.
pub(crate) async fn hold(
    db: &Db,
    key: &Key,
    fingerprint: &Hash,
    hold: Duration,
) -> Result<Option<i64>, StoreError> {
    let input = (key.clone(), *fingerprint, hold);
    db.write("journal.intent", input, |tx, (key, fingerprint, hold)| {
        Box::pin(async move {
            let now = tx.now();
            tx.query(HOLD)
                .bind(key.caller.as_str())
                .bind(key.rpc)
                .bind(key.request_id.as_str())
                .bind(fingerprint.as_slice())
                .bind(now.plus(*hold))
                .bind(now)
                .fetch_scalar_optional::<i64>()
                .await
        })
    })
    .await
}

pub(crate) async fn complete(
    tx: &mut Tx<'_>,
    key: &Key,
    attempt: i64,
    sealed_answer: &[u8],
) -> Result<bool, StoreError> {
    let now = tx.now();
    let changed = tx
        .query(COMPLETE)
        .bind(key.caller.as_str())
        .bind(key.rpc)
        .bind(key.request_id.as_str())
        .bind(attempt)
        .bind(sealed_answer)
        .bind(now)
        .execute()
        .await?;
    Ok(changed == 1)
}

pub(crate) async fn renew(
    db: &Db,
    key: &Key,
    attempt: i64,
    hold: Duration,
) -> Result<bool, StoreError> {
    db.write(
        "journal.renew_intent",
        (key.clone(), attempt, hold),
        |tx, (key, attempt, hold)| {
            Box::pin(async move {
                let until = tx.now().plus(*hold);
                let changed = tx
                    .query(RENEW)
                    .bind(key.caller.as_str())
                    .bind(key.rpc)
                    .bind(key.request_id.as_str())
                    .bind(*attempt)
                    .bind(until)
                    .execute()
                    .await?;
                Ok::<_, StoreError>(changed == 1)
            })
        },
    )
    .await
}

pub(crate) async fn abandon(db: &Db, key: &Key, attempt: i64) -> Result<(), StoreError> {
    db.write(
        "journal.abandon_intent",
        (key.clone(), attempt),
        |tx, (key, attempt)| {
            Box::pin(async move {
                tx.query(ABANDON)
                    .bind(key.caller.as_str())
                    .bind(key.rpc)
                    .bind(key.request_id.as_str())
                    .bind(*attempt)
                    .execute()
                    .await
                    .map(drop)
            })
        },
    )
    .await
}

/// Deletes some answers older than `before`; how many.
pub(crate) async fn prune(db: &Db, before: Timestamp, limit: i64) -> Result<u64, StoreError> {
    db.write(
        "journal.prune_ledger",
        (before, limit),
        |tx, (before, limit)| {
            Box::pin(async move { tx.query(PRUNE).bind(*before).bind(*limit).execute().await })
        },
    )
    .await
}
