//! Sagas and their steps.

use publica_store::{Db, StoreError, Tx};
use publica_types::{Origin, Timestamp, Uuid};

use super::jobs::origin_text;
use crate::saga::{Place, SagaState};
use crate::sagas::Start;

publica_store::statements! {
    INSERT = "INSERT INTO saga (saga_id, kind, key, state, step, attempts, data, origin, \
        deadline, created, updated) VALUES ($1, $2, $3, $4, 0, 0, $5, $6, $7, $8, $8) \
        ON CONFLICT (kind, key) DO NOTHING",
    FIND_BY_KEY = "SELECT saga_id, kind, key, state, step, attempts, data, origin, deadline, \
        last_error, created, updated FROM saga WHERE kind = $1 AND key = $2",
    // A move holds only if nobody, an operator say, moved the saga meanwhile.
    MOVE = "UPDATE saga SET state = $4, step = $5, attempts = $6, data = COALESCE($7, data), \
        last_error = COALESCE($8, last_error), updated = $9 \
        WHERE saga_id = $1 AND state = $2 AND step = $3",
    STEP = "INSERT INTO saga_step (saga_id, seq, name, compensation, attempts, time) \
        SELECT $1, COALESCE(MAX(seq), 0) + 1, $2, $3, $4, $5 FROM saga_step WHERE saga_id = $1",
}

/// A saga as it is stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct SagaRow {
    pub(crate) saga_id: Uuid,
    pub(crate) kind: String,
    pub(crate) key: String,
    pub(crate) state: String,
    pub(crate) step: i64,
    pub(crate) attempts: i64,
    pub(crate) data: Vec<u8>,
    pub(crate) origin: String,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) last_error: Option<String>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

/// A change of a saga's place.
#[derive(Debug, Clone)]
pub(crate) struct Move {
    from: (String, i64),
    pub(crate) state: SagaState,
    step: i64,
    attempts: i64,
    data: Option<Vec<u8>>,
    error: Option<String>,
    ended_step: Option<(&'static str, bool)>,
}

impl Move {
    fn of(row: &SagaRow, state: SagaState, step: i64) -> Self {
        Self {
            from: (row.state.clone(), row.step),
            state,
            step,
            attempts: 0,
            data: None,
            error: None,
            ended_step: None,
        }
    }

    /// The step is done or undone.
    pub(crate) fn next(row: &SagaRow, place: Place, data: Option<Vec<u8>>) -> Self {
        let (state, step) = if place.forward {
            (SagaState::Running, place.index + 1)
        } else {
            (SagaState::Compensating, place.index - 1)
        };
        let attempts = row.attempts + 1;
        let ended_step = Some((place.name, !place.forward));
        Self {
            attempts,
            data,
            ended_step,
            ..Self::of(row, state, step)
        }
    }

    /// The same step once more.
    pub(crate) fn again(row: &SagaRow, reason: &str) -> Self {
        let state = row.state.parse().unwrap_or(SagaState::Running);
        let (attempts, error) = (row.attempts + 1, Some(reason.to_owned()));
        Self {
            attempts,
            error,
            ..Self::of(row, state, row.step)
        }
    }

    /// From going forward to undoing what was done.
    pub(crate) fn turn(row: &SagaRow, reason: &str) -> Self {
        // The step at hand may have had its effect without living to tell, so it is undone too.
        Self {
            error: Some(reason.to_owned()),
            ..Self::of(row, SagaState::Compensating, row.step)
        }
    }

    pub(crate) fn stuck(row: &SagaRow, reason: &str) -> Self {
        Self {
            error: Some(reason.to_owned()),
            ..Self::of(row, SagaState::Stuck, row.step)
        }
    }

    pub(crate) fn end(row: &SagaRow, state: SagaState) -> Self {
        Self::of(row, state, row.step)
    }

    /// An operator ends it as it stands.
    pub(crate) fn abandon(row: &SagaRow, reason: &str) -> Self {
        Self {
            error: Some(reason.to_owned()),
            ..Self::of(row, SagaState::Abandoned, row.step)
        }
    }

    /// An operator lets a stuck saga try once more.
    pub(crate) fn retry(row: &SagaRow) -> Self {
        Self::of(row, SagaState::Compensating, row.step)
    }
}

pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    origin: &Origin,
    start: &Start,
    saga_id: Uuid,
) -> Result<bool, StoreError> {
    let now = tx.now();
    let inserted = tx
        .query(INSERT)
        .bind(saga_id)
        .bind(start.kind)
        .bind(start.key.as_str())
        .bind(SagaState::Running.as_str())
        .bind(start.data.as_slice())
        .bind(origin_text(origin))
        .bind(start.deadline)
        .bind(now)
        .execute()
        .await?;
    Ok(inserted == 1)
}

pub(crate) async fn find_by_key(
    db: &Db,
    kind: &str,
    key: &str,
) -> Result<Option<SagaRow>, StoreError> {
    db.query(FIND_BY_KEY)
        .bind(kind)
        .bind(key)
        .fetch_optional()
        .await
}

/// Applies a move; false if the saga was elsewhere.
pub(crate) async fn apply(tx: &mut Tx<'_>, saga_id: Uuid, next: &Move) -> Result<bool, StoreError> {
    let now = tx.now();
    let attempts = if next.ended_step.is_some() {
        0
    } else {
        next.attempts
    };
    let moved = tx
        .query(MOVE)
        .bind(saga_id)
        .bind(next.from.0.as_str())
        .bind(next.from.1)
        .bind(next.state.as_str())
        .bind(next.step)
        .bind(attempts)
        .bind(next.data.as_deref())
        .bind(next.error.as_deref())
        .bind(now)
        .execute()
        .await?;
    if moved == 0 {
        return Ok(false);
    }
    if let Some((name, compensation)) = next.ended_step {
        tx.query(STEP)
            .bind(saga_id)
            .bind(name)
            .bind(compensation)
            .bind(next.attempts)
            .bind(now)
            .execute()
            .await?;
    }
    Ok(true)
}
