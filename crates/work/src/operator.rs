//! What an operator sees of jobs and sagas, and may do about them. Changes run in the unit that
//! the caller gives, so that they are recorded together with who made them.

use publica_store::{Db, StoreError, Tx};
use publica_types::{Origin, Timestamp, Uuid};

pub use crate::store::views::StepView;

use crate::saga::SagaState;
use crate::store::jobs::{self, origin_from};
use crate::store::sagas::{self as saga_sql, Move, SagaRow};
use crate::store::views::{self as sql, JobRow};
use crate::wake;

/// Why an operator's change was refused.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// There is no such job or saga.
    #[error("no such {what}")]
    NotFound {
        /// A job or a saga.
        what: &'static str,
    },
    /// Its present state does not allow it.
    #[error("{reason}")]
    State {
        /// What stands in the way.
        reason: &'static str,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// A job, waiting or given up.
#[derive(Debug, Clone)]
pub struct JobView {
    /// Identifier.
    pub job_id: Uuid,
    /// Kind of work.
    pub kind: String,
    /// Key within the kind.
    pub key: String,
    /// Lane.
    pub lane: i64,
    /// When it may run next, or its lease ends, or when it was given up.
    pub time: Timestamp,
    /// Attempts made.
    pub attempts: i64,
    /// Why the last one failed.
    pub last_error: Option<String>,
    /// When it was enqueued.
    pub created: Timestamp,
    /// Who asked for it.
    pub origin: Origin,
}

/// A saga.
#[derive(Debug, Clone)]
pub struct SagaView {
    /// Identifier.
    pub saga_id: Uuid,
    /// Kind of saga.
    pub kind: String,
    /// Key within the kind.
    pub key: String,
    /// Where it stands.
    pub state: SagaState,
    /// Number of the step at which it stands, from 0.
    pub step: i64,
    /// When it must be done.
    pub deadline: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it started.
    pub created: Timestamp,
    /// When it last moved.
    pub updated: Timestamp,
    /// Who started it.
    pub origin: Origin,
}

impl TryFrom<JobRow> for JobView {
    type Error = StoreError;

    fn try_from(row: JobRow) -> Result<Self, StoreError> {
        Ok(Self {
            job_id: row.job_id,
            kind: row.kind,
            key: row.key,
            lane: row.lane,
            time: row.due,
            attempts: row.attempts,
            last_error: row.last_error,
            created: row.created,
            origin: origin_from(&row.origin)?,
        })
    }
}

impl TryFrom<SagaRow> for SagaView {
    type Error = StoreError;

    fn try_from(row: SagaRow) -> Result<Self, StoreError> {
        Ok(Self {
            saga_id: row.saga_id,
            state: row.state.parse()?,
            kind: row.kind,
            key: row.key,
            step: row.step,
            deadline: row.deadline,
            last_error: row.last_error,
            created: row.created,
            updated: row.updated,
            origin: origin_from(&row.origin)?,
        })
    }
}

/// Waiting and running jobs after an id, oldest first; `kind` empty takes all.
pub async fn jobs(
    db: &Db,
    after: Uuid,
    kind: &str,
    limit: i64,
) -> Result<Vec<JobView>, StoreError> {
    sql::jobs(db, after, kind, limit)
        .await?
        .into_iter()
        .map(JobView::try_from)
        .collect()
}

/// Jobs that were given up, after an id, oldest first; `kind` empty takes all.
pub async fn dead_jobs(
    db: &Db,
    after: Uuid,
    kind: &str,
    limit: i64,
) -> Result<Vec<JobView>, StoreError> {
    sql::dead_jobs(db, after, kind, limit)
        .await?
        .into_iter()
        .map(JobView::try_from)
        .collect()
}

/// Number of waiting jobs of a kind whose key begins with `prefix`.
pub async fn count_jobs(db: &Db, kind: &str, prefix: &str) -> Result<i64, StoreError> {
    sql::count_like(db, kind, prefix).await
}

/// Puts a job that was given up back into the queue.
pub async fn redrive(tx: &mut Tx<'_>, job_id: Uuid) -> Result<JobView, OperatorError> {
    let found = sql::dead_key(tx, job_id).await?;
    let (kind, key) = found.ok_or(OperatorError::NotFound {
        what: "job that was given up",
    })?;
    if sql::is_queued(tx, &kind, &key).await? {
        let reason = "the same work is queued again already";
        return Err(OperatorError::State { reason });
    }
    sql::redrive(tx, job_id).await?;
    let row = sql::job(tx, job_id)
        .await?
        .ok_or(OperatorError::NotFound { what: "job" })?;
    wake::wake(&kind);
    Ok(row.try_into()?)
}

/// Drops a waiting or given-up job for good. One that is running is not interrupted, but what it
/// answers is not kept.
pub async fn abandon_job(tx: &mut Tx<'_>, job_id: Uuid) -> Result<(), OperatorError> {
    if sql::drop_job(tx, job_id).await? {
        Ok(())
    } else {
        Err(OperatorError::NotFound { what: "job" })
    }
}

/// Drops all waiting jobs of a kind whose key begins with `prefix`; how many.
pub async fn drop_jobs(tx: &mut Tx<'_>, kind: &str, prefix: &str) -> Result<u64, StoreError> {
    sql::drop_like(tx, kind, prefix).await
}

/// Sagas after an id, oldest first; `kind` empty and `state` absent take all.
pub async fn sagas(
    db: &Db,
    after: Uuid,
    kind: &str,
    state: Option<SagaState>,
    limit: i64,
) -> Result<Vec<SagaView>, StoreError> {
    let state = state.map_or("", SagaState::as_str);
    let rows = sql::sagas(db, after, kind, state, limit).await?;
    rows.into_iter().map(SagaView::try_from).collect()
}

/// One saga with the steps that ended.
pub async fn saga(db: &Db, saga_id: Uuid) -> Result<Option<(SagaView, Vec<StepView>)>, StoreError> {
    let Some(row) = sql::find_saga(db, saga_id).await? else {
        return Ok(None);
    };
    let steps = sql::steps(db, saga_id).await?;
    Ok(Some((row.try_into()?, steps)))
}

/// Lets a stuck saga try its step once more.
pub async fn retry_saga(tx: &mut Tx<'_>, saga_id: Uuid) -> Result<SagaView, OperatorError> {
    let row = found(tx, saga_id).await?;
    if row.state != SagaState::Stuck.as_str() {
        return Err(OperatorError::State {
            reason: "the saga is not stuck",
        });
    }
    moved(tx, &row, Move::retry(&row)).await
}

/// Stops a saga going forward and undoes what was done.
pub async fn compensate_saga(
    tx: &mut Tx<'_>,
    saga_id: Uuid,
    reason: &str,
) -> Result<SagaView, OperatorError> {
    let row = found(tx, saga_id).await?;
    if row.state != SagaState::Running.as_str() {
        return Err(OperatorError::State {
            reason: "the saga is not going forward",
        });
    }
    moved(tx, &row, Move::turn(&row, reason)).await
}

/// Ends a saga as it stands.
pub async fn abandon_saga(
    tx: &mut Tx<'_>,
    saga_id: Uuid,
    reason: &str,
) -> Result<SagaView, OperatorError> {
    let row = found(tx, saga_id).await?;
    let state: SagaState = row.state.parse()?;
    if state.has_ended() {
        return Err(OperatorError::State {
            reason: "the saga has ended",
        });
    }
    moved(tx, &row, Move::abandon(&row, reason)).await
}

async fn found(tx: &mut Tx<'_>, saga_id: Uuid) -> Result<SagaRow, OperatorError> {
    sql::saga(tx, saga_id)
        .await?
        .ok_or(OperatorError::NotFound { what: "saga" })
}

async fn moved(tx: &mut Tx<'_>, row: &SagaRow, next: Move) -> Result<SagaView, OperatorError> {
    if !saga_sql::apply(tx, row.saga_id, &next).await? {
        return Err(OperatorError::State {
            reason: "the saga moved meanwhile",
        });
    }
    if !next.state.has_ended() {
        jobs::restart(tx, row).await?;
        wake::wake(&row.kind);
    }
    Ok(found(tx, row.saga_id).await?.try_into()?)
}
