//! What a group of reports writes: outcomes, steps of chunks, tallies.

use std::fmt::Write as _;

use publica_store::{StoreError, Tx, statements};
use publica_types::{Timestamp, Uuid};

use super::{ChunkId, RequestId, SessionId};
use crate::domain::counters::Counters;

statements! {
    // Rows travel as one JSON text, which the engines take apart in their own ways.
    INSERT_EVENTS = {
        sqlite: "INSERT INTO event (chunk_id, pos, attempt, seq, state, code, reason, at) \
            SELECT unhex(value ->> 0), value ->> 1, value ->> 2, 0, value ->> 3, value ->> 4, \
            value ->> 5, value ->> 6 FROM json_each($1)",
        postgres: "INSERT INTO event (chunk_id, pos, attempt, seq, state, code, reason, at) \
            SELECT CAST(e ->> 0 AS UUID), CAST(e ->> 1 AS BIGINT), CAST(e ->> 2 AS BIGINT), 0, \
            CAST(e ->> 3 AS BIGINT), CAST(e ->> 4 AS BIGINT), e ->> 5, \
            TIMESTAMPTZ 'epoch' + CAST(e ->> 6 AS BIGINT) * INTERVAL '1 microsecond' \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS t (e)",
    },
    INSERT_EVENT = "INSERT INTO event (chunk_id, pos, attempt, seq, state, code, reason, at) \
        VALUES ($1, $2, $3, 0, $4, $5, $6, $7)",
    INSERT_STEP = "INSERT INTO chunk_step (chunk_id, step, session_id, kind, at) \
        VALUES ($1, $2, $3, $4, $5)",
    INSERT_TALLY = "INSERT INTO tally (request_id, session_id, step, scheduled, processing, \
        deferred, bounced, not_sent, delivered) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    INSERT_TALLIES = {
        sqlite: "INSERT INTO tally (request_id, session_id, step, scheduled, processing, \
            deferred, bounced, not_sent, delivered) SELECT unhex(value ->> 0), \
            unhex(value ->> 1), 0, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
            value ->> 6, value ->> 7 FROM json_each($1)",
        postgres: "INSERT INTO tally (request_id, session_id, step, scheduled, processing, \
            deferred, bounced, not_sent, delivered) SELECT CAST(e ->> 0 AS UUID), \
            CAST(e ->> 1 AS UUID), 0, CAST(e ->> 2 AS BIGINT), CAST(e ->> 3 AS BIGINT), \
            CAST(e ->> 4 AS BIGINT), CAST(e ->> 5 AS BIGINT), CAST(e ->> 6 AS BIGINT), \
            CAST(e ->> 7 AS BIGINT) \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS t (e)",
    },
    STEP_OWNER = "SELECT session_id FROM chunk_step WHERE chunk_id = $1 AND step = $2",
}

/// What a step of a chunk was. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepKind {
    Claimed = 0,
    Reported = 1,
    Closed = 2,
    /// Given back unfinished at the end of a process.
    Released = 3,
}

/// One outcome of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewEvent {
    pub(crate) root_id: Uuid,
    pub(crate) pos: i64,
    pub(crate) attempt: i64,
    pub(crate) state: i64,
    pub(crate) code: i64,
    pub(crate) reason: &'static str,
    pub(crate) at: Timestamp,
}

pub(crate) async fn events(tx: &mut Tx<'_>, events: &[NewEvent]) -> Result<(), StoreError> {
    match events {
        [] => Ok(()),
        [event] => tx
            .query(INSERT_EVENT)
            .bind(event.root_id)
            .bind(event.pos)
            .bind(event.attempt)
            .bind(event.state)
            .bind(event.code)
            .bind(event.reason)
            .bind(event.at)
            .execute()
            .await
            .map(|_| ()),
        events => {
            let mut rows = String::with_capacity(events.len() * 112);
            for event in events {
                rows.push(if rows.is_empty() { '[' } else { ',' });
                let NewEvent {
                    root_id,
                    pos,
                    attempt,
                    state,
                    code,
                    reason,
                    at,
                } = event;
                // Writing to a string cannot fail, and reasons are plain words.
                let _ = write!(
                    rows,
                    "[\"{}\",{pos},{attempt},{state},{code},\"{reason}\",{}]",
                    root_id.simple(),
                    at.micros(),
                );
            }
            rows.push(']');
            tx.query(INSERT_EVENTS)
                .bind(rows)
                .execute()
                .await
                .map(|_| ())
        }
    }
}

/// Adds a step to a chunk's log. A unique violation means that somebody else holds it.
pub(crate) async fn step(
    tx: &mut Tx<'_>,
    chunk: ChunkId,
    step: i64,
    session: SessionId,
    kind: StepKind,
) -> Result<(), StoreError> {
    let now = tx.now();
    tx.query(INSERT_STEP)
        .bind(chunk)
        .bind(step)
        .bind(session)
        .bind(kind as i64)
        .bind(now)
        .execute()
        .await
        .map(|_| ())
}

/// Adds the first rows of sessions.
pub(crate) async fn tallies(
    tx: &mut Tx<'_>,
    rows: &[(RequestId, SessionId, Counters)],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut text = String::with_capacity(rows.len() * 100);
    for (request, session, changes) in rows {
        text.push(if text.is_empty() { '[' } else { ',' });
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "[\"{}\",\"{}\"",
            request.as_uuid().simple(),
            session.as_uuid().simple(),
        );
        for change in changes.0 {
            let _ = write!(text, ",{change}");
        }
        text.push(']');
    }
    text.push(']');
    let insert = tx.query(INSERT_TALLIES).bind(text);
    insert.execute().await.map(drop)
}

/// Adds a session's next cumulative row of a request's counters.
pub(crate) async fn tally(
    tx: &mut Tx<'_>,
    request: RequestId,
    session: SessionId,
    step: i64,
    changes: &Counters,
) -> Result<(), StoreError> {
    let [
        scheduled,
        processing,
        deferred,
        bounced,
        not_sent,
        delivered,
    ] = changes.0;
    tx.query(INSERT_TALLY)
        .bind(request)
        .bind(session)
        .bind(step)
        .bind(scheduled)
        .bind(processing)
        .bind(deferred)
        .bind(bounced)
        .bind(not_sent)
        .bind(delivered)
        .execute()
        .await
        .map(|_| ())
}

/// Whose a step is.
pub(crate) async fn step_owner(
    tx: &mut Tx<'_>,
    chunk: ChunkId,
    step: i64,
) -> Result<Option<SessionId>, StoreError> {
    tx.query(STEP_OWNER)
        .bind(chunk)
        .bind(step)
        .fetch_scalar_optional()
        .await
}
