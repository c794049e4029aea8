//! What operators see and change.

use publica_store::{Db, StoreError, Tx};
use publica_types::{Timestamp, Uuid};

use super::sagas::SagaRow;

publica_store::statements! {
    JOBS = "SELECT job_id, kind, key, lane, due, attempts, last_error, created, origin FROM job \
        WHERE job_id > $1 AND ($2 = '' OR kind = $2) ORDER BY job_id LIMIT $3",
    DEAD_JOBS = "SELECT job_id, kind, key, lane, dead_time AS due, attempts, last_error, \
        created, origin FROM job_dead \
        WHERE job_id > $1 AND ($2 = '' OR kind = $2) ORDER BY job_id LIMIT $3",
    DEAD_KEYS = "SELECT kind, key FROM job_dead WHERE job_id = $1",
    QUEUED = "SELECT COUNT(*) FROM job WHERE kind = $1 AND key = $2",
    REDRIVE = "INSERT INTO job (job_id, kind, key, lane, due, lease_until, fence, attempts, \
        again, order_key, order_no, payload, origin, last_error, created) \
        SELECT job_id, kind, key, lane, $2, $3, 0, 0, $4, order_key, order_no, payload, origin, \
        last_error, created FROM job_dead WHERE job_id = $1",
    REMOVE_DEAD = "DELETE FROM job_dead WHERE job_id = $1",
    REMOVE_JOB = "DELETE FROM job WHERE job_id = $1",
    REMOVE_LIKE = "DELETE FROM job WHERE kind = $1 AND key >= $2 AND key < $3",
    COUNT_LIKE = "SELECT COUNT(*) FROM job WHERE kind = $1 AND key >= $2 AND key < $3",
    JOB = "SELECT job_id, kind, key, lane, due, attempts, last_error, created, origin FROM job \
        WHERE job_id = $1",
    SAGAS = "SELECT saga_id, kind, key, state, step, attempts, data, origin, deadline, \
        last_error, created, updated FROM saga \
        WHERE saga_id > $1 AND ($2 = '' OR kind = $2) AND ($3 = '' OR state = $3) \
        ORDER BY saga_id LIMIT $4",
    SAGA = "SELECT saga_id, kind, key, state, step, attempts, data, origin, deadline, \
        last_error, created, updated FROM saga WHERE saga_id = $1",
    STEPS = "SELECT name, compensation, attempts, time FROM saga_step WHERE saga_id = $1 \
        ORDER BY seq",
    DEAD_COUNT = "SELECT COUNT(*) FROM job_dead",
    STUCK_COUNT = "SELECT COUNT(*) FROM saga WHERE state = 'stuck'",
}

/// A job as operators see it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct JobRow {
    pub(crate) job_id: Uuid,
    pub(crate) kind: String,
    pub(crate) key: String,
    pub(crate) lane: i64,
    pub(crate) due: Timestamp,
    pub(crate) attempts: i64,
    pub(crate) last_error: Option<String>,
    pub(crate) created: Timestamp,
    pub(crate) origin: String,
}

/// A step of a saga that ended.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct StepView {
    /// Name of the step.
    pub name: String,
    /// Whether it was undone rather than done.
    pub compensation: bool,
    /// Attempts it took.
    pub attempts: i64,
    /// When it ended.
    pub time: Timestamp,
}

/// What waits for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) dead: i64,
    pub(crate) stuck: i64,
}

pub(crate) async fn counts(db: &Db) -> Result<Counts, StoreError> {
    let dead = db.query(DEAD_COUNT).fetch_scalar::<i64>().await?;
    let stuck = db.query(STUCK_COUNT).fetch_scalar::<i64>().await?;
    Ok(Counts { dead, stuck })
}

pub(crate) async fn jobs(
    db: &Db,
    after: Uuid,
    kind: &str,
    limit: i64,
) -> Result<Vec<JobRow>, StoreError> {
    db.query(JOBS)
        .bind(after)
        .bind(kind)
        .bind(limit)
        .fetch_all()
        .await
}

pub(crate) async fn dead_jobs(
    db: &Db,
    after: Uuid,
    kind: &str,
    limit: i64,
) -> Result<Vec<JobRow>, StoreError> {
    db.query(DEAD_JOBS)
        .bind(after)
        .bind(kind)
        .bind(limit)
        .fetch_all()
        .await
}

pub(crate) async fn dead_key(
    tx: &mut Tx<'_>,
    job_id: Uuid,
) -> Result<Option<(String, String)>, StoreError> {
    tx.query(DEAD_KEYS).bind(job_id).fetch_optional().await
}

pub(crate) async fn is_queued(tx: &mut Tx<'_>, kind: &str, key: &str) -> Result<bool, StoreError> {
    Ok(tx
        .query(QUEUED)
        .bind(kind)
        .bind(key)
        .fetch_scalar::<i64>()
        .await?
        > 0)
}

pub(crate) async fn redrive(tx: &mut Tx<'_>, job_id: Uuid) -> Result<(), StoreError> {
    let now = tx.now();
    tx.query(REDRIVE)
        .bind(job_id)
        .bind(now)
        .bind(Timestamp::EPOCH)
        .bind(false)
        .execute()
        .await?;
    tx.query(REMOVE_DEAD).bind(job_id).execute().await.map(drop)
}

pub(crate) async fn job(tx: &mut Tx<'_>, job_id: Uuid) -> Result<Option<JobRow>, StoreError> {
    tx.query(JOB).bind(job_id).fetch_optional().await
}

/// Drops a job, waiting or dead; false if there is none.
pub(crate) async fn drop_job(tx: &mut Tx<'_>, job_id: Uuid) -> Result<bool, StoreError> {
    let dead = tx.query(REMOVE_DEAD).bind(job_id).execute().await?;
    let waiting = tx.query(REMOVE_JOB).bind(job_id).execute().await?;
    Ok(dead + waiting > 0)
}

/// Drops all waiting jobs whose key begins with `prefix`.
pub(crate) async fn drop_like(
    tx: &mut Tx<'_>,
    kind: &str,
    prefix: &str,
) -> Result<u64, StoreError> {
    let end = format!("{prefix}\u{10ffff}");
    tx.query(REMOVE_LIKE)
        .bind(kind)
        .bind(prefix)
        .bind(end)
        .execute()
        .await
}

/// Counts the waiting jobs whose key begins with `prefix`.
pub(crate) async fn count_like(db: &Db, kind: &str, prefix: &str) -> Result<i64, StoreError> {
    let end = format!("{prefix}\u{10ffff}");
    db.query(COUNT_LIKE)
        .bind(kind)
        .bind(prefix)
        .bind(end)
        .fetch_scalar()
        .await
}

pub(crate) async fn sagas(
    db: &Db,
    after: Uuid,
    kind: &str,
    state: &str,
    limit: i64,
) -> Result<Vec<SagaRow>, StoreError> {
    db.query(SAGAS)
        .bind(after)
        .bind(kind)
        .bind(state)
        .bind(limit)
        .fetch_all()
        .await
}

pub(crate) async fn saga(tx: &mut Tx<'_>, saga_id: Uuid) -> Result<Option<SagaRow>, StoreError> {
    tx.query(SAGA).bind(saga_id).fetch_optional().await
}

pub(crate) async fn find_saga(db: &Db, saga_id: Uuid) -> Result<Option<SagaRow>, StoreError> {
    db.query(SAGA).bind(saga_id).fetch_optional().await
}

pub(crate) async fn steps(db: &Db, saga_id: Uuid) -> Result<Vec<StepView>, StoreError> {
    db.query(STEPS).bind(saga_id).fetch_all().await
}
