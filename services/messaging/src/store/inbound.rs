//! Corrections that come after an outcome.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::{Timestamp, Uuid};

use super::RequestId;
use crate::domain::counters::Counters;

statements! {
    OWNER = "SELECT request_id FROM chunk WHERE chunk_id = $1 AND attempt = 1",
    LAST_EVENT = "SELECT attempt, seq, state FROM event WHERE chunk_id = $1 AND pos = $2 \
        ORDER BY attempt DESC, seq DESC LIMIT 1",
    ADD_EVENT = "INSERT INTO event (chunk_id, pos, attempt, seq, state, code, reason, at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    LAST_TALLY = "SELECT step, scheduled, processing, deferred, bounced, not_sent, delivered \
        FROM tally WHERE request_id = $1 AND session_id = $2 ORDER BY step DESC LIMIT 1",
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct LastEvent {
    pub(crate) attempt: i64,
    pub(crate) seq: i64,
    pub(crate) state: i64,
}

/// One more event of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Correction {
    pub(crate) root: Uuid,
    pub(crate) pos: i64,
    pub(crate) after: LastEvent,
    pub(crate) state: i64,
    pub(crate) code: i64,
    pub(crate) reason: &'static str,
    pub(crate) at: Timestamp,
}

/// The request to which a chunk belongs.
pub(crate) async fn owner(db: &Db, root: Uuid) -> Result<Option<RequestId>, StoreError> {
    db.query(OWNER).bind(root).fetch_scalar_optional().await
}

pub(crate) async fn last_event(
    tx: &mut Tx<'_>,
    root: Uuid,
    pos: i64,
) -> Result<Option<LastEvent>, StoreError> {
    tx.query(LAST_EVENT)
        .bind(root)
        .bind(pos)
        .fetch_optional()
        .await
}

/// Adds an event after the last one. A unique violation means that another came first.
pub(crate) async fn add_event(tx: &mut Tx<'_>, event: &Correction) -> Result<(), StoreError> {
    tx.query(ADD_EVENT)
        .bind(event.root)
        .bind(event.pos)
        .bind(event.after.attempt)
        .bind(event.after.seq + 1)
        .bind(event.state)
        .bind(event.code)
        .bind(event.reason)
        .bind(event.at)
        .execute()
        .await
        .map(|_| ())
}

/// The cumulative row of a request's corrections so far, and its step.
pub(crate) async fn last_tally(
    tx: &mut Tx<'_>,
    request: RequestId,
    session: Uuid,
) -> Result<(i64, Counters), StoreError> {
    let row: Option<(i64, i64, i64, i64, i64, i64, i64)> = tx
        .query(LAST_TALLY)
        .bind(request)
        .bind(session)
        .fetch_optional()
        .await?;
    Ok(
        row.map_or((-1, Counters::default()), |(step, a, b, c, d, e, f)| {
            (step, Counters([a, b, c, d, e, f]))
        }),
    )
}
