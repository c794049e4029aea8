//! Jobs. `due` of a claimed job is the end of its lease, so that one index tells both what may
//! run and what was lost by a worker that died.

use std::time::Duration;

use publica_store::{Db, StoreError, Tx};
use publica_types::{Origin, Timestamp, Uuid};

use super::sagas::SagaRow;
use crate::job::{Job, LANES, Ticket, derived_id};

publica_store::statements! {
    INSERT = "INSERT INTO job (job_id, kind, key, lane, due, lease_until, fence, attempts, again, \
        order_key, order_no, payload, origin, created) \
        VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7, $8, $9, $10, $11, $12) \
        ON CONFLICT (kind, key) DO NOTHING",
    RESTART = "INSERT INTO job (job_id, kind, key, lane, due, lease_until, fence, attempts, \
        again, order_no, payload, origin, created) \
        VALUES ($1, $2, $3, 1, $4, $5, 0, 0, $6, 0, $7, $8, $4) \
        ON CONFLICT (kind, key) DO NOTHING",
    MERGE = "UPDATE job SET \
        again = CASE WHEN lease_until > $3 THEN $4 ELSE again END, \
        due = CASE WHEN lease_until <= $3 AND due > $5 THEN $5 ELSE due END \
        WHERE kind = $1 AND key = $2",
    PEEK = "SELECT \
        (SELECT MIN(due) FROM job WHERE kind = $1 AND lane = 0), \
        (SELECT MIN(due) FROM job WHERE kind = $1 AND lane = 1), \
        (SELECT MIN(due) FROM job WHERE kind = $1 AND lane = 2), \
        (SELECT MIN(due) FROM job WHERE kind = $1 AND lane = 3)",
    // FOR UPDATE is a syntax error on SQLite, which has one writer anyway.
    CLAIM = {
        sqlite: "UPDATE job SET due = $1, lease_until = $1, fence = fence + 1, \
            attempts = attempts + 1 WHERE job_id IN (SELECT ready.job_id FROM job AS ready \
            WHERE ready.kind = $2 AND ready.lane = $3 AND ready.due <= $4 \
            AND (ready.order_key IS NULL OR NOT EXISTS (SELECT 1 FROM job AS before \
            WHERE before.kind = ready.kind AND before.order_key = ready.order_key \
            AND before.order_no < ready.order_no)) \
            ORDER BY ready.due LIMIT $5) \
            RETURNING job_id, key, payload, origin, attempts, fence, created",
        postgres: "UPDATE job SET due = $1, lease_until = $1, fence = fence + 1, \
            attempts = attempts + 1 WHERE job_id IN (SELECT ready.job_id FROM job AS ready \
            WHERE ready.kind = $2 AND ready.lane = $3 AND ready.due <= $4 \
            AND (ready.order_key IS NULL OR NOT EXISTS (SELECT 1 FROM job AS before \
            WHERE before.kind = ready.kind AND before.order_key = ready.order_key \
            AND before.order_no < ready.order_no)) \
            ORDER BY ready.due LIMIT $5 FOR UPDATE OF ready SKIP LOCKED) \
            RETURNING job_id, key, payload, origin, attempts, fence, created",
    },
    // The row stays locked until the transaction ends, so no other worker takes the job.
    HELD = {
        sqlite: "SELECT fence FROM job WHERE job_id = $1 AND fence = $2",
        postgres: "SELECT fence FROM job WHERE job_id = $1 AND fence = $2 FOR SHARE",
    },
    RENEW = "UPDATE job SET due = $3, lease_until = $3 WHERE job_id = $1 AND fence = $2",
    DONE = "DELETE FROM job WHERE job_id = $1 AND fence = $2 AND NOT again",
    ONCE_MORE = "UPDATE job SET due = $3, lease_until = $4, attempts = 0, again = $5 \
        WHERE job_id = $1 AND fence = $2",
    // The last branch is never taken; it tells PostgreSQL the type of the others.
    LATER = "UPDATE job SET \
        due = CASE WHEN again THEN $3 WHEN NOT again THEN $4 ELSE due END, lease_until = $5, \
        again = $6, attempts = CASE WHEN $7 THEN 0 ELSE attempts END, \
        last_error = COALESCE($8, last_error) WHERE job_id = $1 AND fence = $2",
    BURY = "INSERT INTO job_dead (job_id, kind, key, lane, attempts, order_key, order_no, \
        payload, origin, last_error, created, dead_time) \
        SELECT job_id, kind, key, lane, attempts, order_key, order_no, payload, origin, $3, \
        created, $4 FROM job WHERE job_id = $1 AND fence = $2",
    REMOVE = "DELETE FROM job WHERE job_id = $1 AND fence = $2",
}

pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    origin: &Origin,
    job: &Job,
    job_id: Uuid,
    order: Option<(&str, i64)>,
) -> Result<bool, StoreError> {
    let now = tx.now();
    let due = job.due.max(now);
    let inserted = tx
        .query(INSERT)
        .bind(job_id)
        .bind(job.kind)
        .bind(job.key.as_str())
        .bind(i64::from(job.lane.clamp(0, LANES - 1)))
        .bind(due)
        .bind(Timestamp::EPOCH)
        .bind(false)
        .bind(order.map(|(key, _)| key))
        .bind(order.map_or(0, |(_, number)| number))
        .bind(job.payload.as_slice())
        .bind(origin_text(origin))
        .bind(now)
        .execute()
        .await?;
    if inserted == 1 {
        return Ok(true);
    }
    merge(tx, job.kind, &job.key, due).await?;
    Ok(false)
}

/// Looks again at a saga whose job may have ended.
pub(crate) async fn restart(tx: &mut Tx<'_>, saga: &SagaRow) -> Result<(), StoreError> {
    let now = tx.now();
    let inserted = tx
        .query(RESTART)
        .bind(derived_id(&saga.kind, &saga.key, now))
        .bind(saga.kind.as_str())
        .bind(saga.key.as_str())
        .bind(now)
        .bind(Timestamp::EPOCH)
        .bind(false)
        .bind([].as_slice())
        .bind(saga.origin.as_str())
        .execute()
        .await?;
    if inserted == 0 {
        merge(tx, &saga.kind, &saga.key, now).await?;
    }
    Ok(())
}

/// Makes a job that is there already due, or run once more if it is running.
async fn merge(tx: &mut Tx<'_>, kind: &str, key: &str, due: Timestamp) -> Result<(), StoreError> {
    let now = tx.now();
    let merged = tx
        .query(MERGE)
        .bind(kind)
        .bind(key)
        .bind(now)
        .bind(true)
        .bind(due);
    merged.execute().await.map(drop)
}

pub(crate) fn origin_text(origin: &Origin) -> String {
    // An origin holds texts alone, which always have a JSON form.
    serde_json::to_string(origin).unwrap_or_default()
}

pub(crate) fn origin_from(text: &str) -> Result<Origin, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::corrupt(format!("an origin: {error}")))
}

/// When the next job of each lane is due.
pub(crate) async fn peek(db: &Db, kind: &str) -> Result<[Option<Timestamp>; 4], StoreError> {
    type Dues = (
        Option<Timestamp>,
        Option<Timestamp>,
        Option<Timestamp>,
        Option<Timestamp>,
    );
    let (zero, one, two, three) = db.query(PEEK).bind(kind).fetch_one::<Dues>().await?;
    Ok([zero, one, two, three])
}

/// A job as it is claimed.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct ClaimRow {
    pub(crate) job_id: Uuid,
    pub(crate) key: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) origin: String,
    pub(crate) attempts: i64,
    pub(crate) fence: i64,
    pub(crate) created: Timestamp,
}

pub(crate) async fn claim(
    db: &Db,
    kind: &'static str,
    lane: i64,
    limit: i64,
    lease: Duration,
) -> Result<Vec<ClaimRow>, StoreError> {
    db.write(
        "work.claim",
        (kind, lane, limit, lease),
        |tx, (kind, lane, limit, lease)| {
            Box::pin(async move {
                let now = tx.now();
                tx.query(CLAIM)
                    .bind(now.plus(*lease))
                    .bind(*kind)
                    .bind(*lane)
                    .bind(now)
                    .bind(*limit)
                    .fetch_all()
                    .await
            })
        },
    )
    .await
}

pub(crate) async fn held(tx: &mut Tx<'_>, ticket: Ticket) -> Result<bool, StoreError> {
    let held = tx.query(HELD).bind(ticket.job_id).bind(ticket.fence);
    Ok(held.fetch_scalar_optional::<i64>().await?.is_some())
}

/// Keeps the job for longer; false if it was lost.
pub(crate) async fn renew(db: &Db, ticket: Ticket, lease: Duration) -> Result<bool, StoreError> {
    db.write("work.renew", (ticket, lease), |tx, (ticket, lease)| {
        Box::pin(async move {
            let until = tx.now().plus(*lease);
            let renewed = tx
                .query(RENEW)
                .bind(ticket.job_id)
                .bind(ticket.fence)
                .bind(until);
            Ok::<_, StoreError>(renewed.execute().await? == 1)
        })
    })
    .await
}

/// Ends a job, or lets it run once more if that was asked for meanwhile; false if it was lost.
pub(crate) async fn done(tx: &mut Tx<'_>, ticket: Ticket) -> Result<bool, StoreError> {
    let now = tx.now();
    let gone = tx
        .query(DONE)
        .bind(ticket.job_id)
        .bind(ticket.fence)
        .execute()
        .await?;
    if gone == 1 {
        return Ok(true);
    }
    let kept = tx
        .query(ONCE_MORE)
        .bind(ticket.job_id)
        .bind(ticket.fence)
        .bind(now)
        .bind(Timestamp::EPOCH)
        .bind(false)
        .execute()
        .await?;
    Ok(kept == 1)
}

/// Puts a job back for later.
pub(crate) async fn later(
    tx: &mut Tx<'_>,
    ticket: Ticket,
    after: Duration,
    failure: Option<&str>,
) -> Result<(), StoreError> {
    let now = tx.now();
    tx.query(LATER)
        .bind(ticket.job_id)
        .bind(ticket.fence)
        .bind(now)
        .bind(now.plus(after))
        .bind(Timestamp::EPOCH)
        .bind(false)
        .bind(failure.is_none())
        .bind(failure)
        .execute()
        .await
        .map(drop)
}

/// Sets a job aside.
pub(crate) async fn bury(tx: &mut Tx<'_>, ticket: Ticket, reason: &str) -> Result<(), StoreError> {
    let now = tx.now();
    tx.query(BURY)
        .bind(ticket.job_id)
        .bind(ticket.fence)
        .bind(reason)
        .bind(now)
        .execute()
        .await?;
    tx.query(REMOVE)
        .bind(ticket.job_id)
        .bind(ticket.fence)
        .execute()
        .await
        .map(drop)
}
