//! Requests, their counters, and what callers ask about them.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::{Timestamp, Uuid};
use serde_json::{Value, json};

use super::{RequestId, SessionId};
use crate::domain::counters::{Counters, State};

statements! {
    INSERT = "INSERT INTO request (request_id, request_uid, n, lane, claimed, received_at, \
        not_before, expires_at, actor, process_id, mhash, callback, common) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    // Rows travel as one JSON text, which the engines take apart in their own ways. Who imports
    // sends nothing, so what only sending needs is the same for all.
    INSERT_MANY = {
        sqlite: "INSERT INTO request (request_id, request_uid, n, lane, claimed, received_at, \
            not_before, expires_at, actor, process_id, mhash, callback, common) \
            SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, 0, value ->> 4, \
            value ->> 4, value ->> 4, $2, value ->> 5, x'', unhex(value ->> 6), NULL \
            FROM json_each($1) WHERE TRUE ON CONFLICT DO NOTHING RETURNING request_uid",
        postgres: "INSERT INTO request (request_id, request_uid, n, lane, claimed, received_at, \
            not_before, expires_at, actor, process_id, mhash, callback, common) \
            SELECT CAST(e ->> 0 AS UUID), e ->> 1, CAST(e ->> 2 AS BIGINT), \
            CAST(e ->> 3 AS BIGINT), FALSE, t.at, t.at, t.at, $2, e ->> 5, ''::BYTEA, \
            decode(e ->> 6, 'hex'), NULL \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e, \
            LATERAL (SELECT TIMESTAMPTZ 'epoch' \
                + CAST(e ->> 4 AS BIGINT) * INTERVAL '1 microsecond' AS at) t \
            ON CONFLICT DO NOTHING RETURNING request_uid",
    },
    FIND = "SELECT request_id, request_uid, n, lane, claimed, received_at, not_before, \
        expires_at, actor, process_id, callback, common FROM request WHERE request_id = $1",
    BY_UID = "SELECT request_id, request_uid, n, lane, claimed, received_at, not_before, \
        expires_at, actor, process_id, callback, common FROM request WHERE request_uid = $1",
    SAME_HASH = "SELECT COUNT(*) FROM request WHERE mhash = $1",
    // Six numbers from the highest step of each session: seeks, however large the request.
    CHANGES = "SELECT \
        CAST(COALESCE(SUM(t.scheduled), 0) AS BIGINT) AS scheduled, \
        CAST(COALESCE(SUM(t.processing), 0) AS BIGINT) AS processing, \
        CAST(COALESCE(SUM(t.deferred), 0) AS BIGINT) AS deferred, \
        CAST(COALESCE(SUM(t.bounced), 0) AS BIGINT) AS bounced, \
        CAST(COALESCE(SUM(t.not_sent), 0) AS BIGINT) AS not_sent, \
        CAST(COALESCE(SUM(t.delivered), 0) AS BIGINT) AS delivered \
        FROM (SELECT f.session_id AS session_id, (SELECT x.step FROM tally x \
            WHERE x.request_id = $1 AND x.session_id = f.session_id \
            ORDER BY x.step DESC LIMIT 1) AS step \
            FROM tally f WHERE f.request_id = $1 AND f.step = 0) s \
        JOIN tally t ON t.request_id = $1 AND t.session_id = s.session_id AND t.step = s.step",
    LAST_TALLY = "SELECT step, scheduled, processing, deferred, bounced, not_sent, delivered \
        FROM tally WHERE request_id = $1 AND session_id = $2 ORDER BY step DESC LIMIT 1",
    EVENTS = "SELECT e.chunk_id, e.pos, e.attempt, e.seq, e.state, e.code, e.reason, e.at \
        FROM chunk c JOIN event e ON e.chunk_id = c.chunk_id \
        WHERE c.request_id = $1 AND c.attempt = 1 \
        AND (e.chunk_id, e.pos, e.attempt, e.seq) > ($2, $3, $4, $5) \
        ORDER BY e.chunk_id, e.pos, e.attempt, e.seq LIMIT $6",
    CANCEL = "INSERT INTO cancellation (request_id, at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    COMPLETE = "INSERT INTO completion (request_id, at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    IS_CANCELLED = "SELECT COUNT(*) FROM cancellation WHERE request_id = $1",
    INSERT_REPLY = "INSERT INTO reply (reply_id, request_id, received_at, sealed) \
        VALUES ($1, $2, $3, $4)",
    FIND_REPLY = "SELECT sealed FROM reply WHERE reply_id = $1",
}

/// A request as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct RequestRow {
    pub(crate) request_id: RequestId,
    pub(crate) request_uid: String,
    pub(crate) n: i64,
    pub(crate) lane: i64,
    /// The messages began as processing rather than scheduled.
    pub(crate) claimed: bool,
    pub(crate) received_at: Timestamp,
    pub(crate) not_before: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) actor: String,
    pub(crate) process_id: Option<String>,
    pub(crate) callback: Option<Vec<u8>>,
    pub(crate) common: Option<Vec<u8>>,
}

impl RequestRow {
    /// The counters before any change.
    pub(crate) fn start(&self) -> Counters {
        let state = if self.claimed {
            State::Processing
        } else {
            State::Scheduled
        };
        Counters::all_in(state, self.n)
    }
}

#[derive(sqlx::FromRow)]
struct CountersRow {
    scheduled: i64,
    processing: i64,
    deferred: i64,
    bounced: i64,
    not_sent: i64,
    delivered: i64,
}

impl From<CountersRow> for Counters {
    fn from(row: CountersRow) -> Self {
        Self([
            row.scheduled,
            row.processing,
            row.deferred,
            row.bounced,
            row.not_sent,
            row.delivered,
        ])
    }
}

/// One step of one message.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct EventRow {
    pub(crate) chunk_id: Uuid,
    pub(crate) pos: i64,
    pub(crate) attempt: i64,
    pub(crate) seq: i64,
    pub(crate) state: i64,
    pub(crate) code: i64,
    pub(crate) reason: String,
    pub(crate) at: Timestamp,
}

pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    row: &RequestRow,
    mhash: &[u8],
) -> Result<(), StoreError> {
    tx.query(INSERT)
        .bind(row.request_id)
        .bind(row.request_uid.as_str())
        .bind(row.n)
        .bind(row.lane)
        .bind(row.claimed)
        .bind(row.received_at)
        .bind(row.not_before)
        .bind(row.expires_at)
        .bind(row.actor.as_str())
        .bind(row.process_id.as_deref())
        .bind(mhash)
        .bind(row.callback.as_deref())
        .bind(row.common.as_deref())
        .execute()
        .await
        .map(|_| ())
}

/// Stores requests that were served elsewhere, where their handles are free; returns the handles
/// of these.
pub(crate) async fn insert_many(
    tx: &mut Tx<'_>,
    actor: &str,
    rows: &[&RequestRow],
) -> Result<Vec<String>, StoreError> {
    let rows = rows.iter().map(|row| {
        json!([
            row.request_id.as_uuid().simple().to_string(),
            row.request_uid,
            row.n,
            row.lane,
            row.received_at.micros(),
            row.process_id,
            row.callback.as_ref().map(hex::encode)
        ])
    });
    let rows = Value::Array(rows.collect()).to_string();
    let insert = tx.query(INSERT_MANY).bind(rows).bind(actor);
    insert.fetch_scalars().await
}

pub(crate) async fn find(db: &Db, id: RequestId) -> Result<Option<RequestRow>, StoreError> {
    db.query(FIND).bind(id).fetch_optional().await
}

/// A request as a transaction sees it.
pub(crate) async fn find_in(
    tx: &mut Tx<'_>,
    id: RequestId,
) -> Result<Option<RequestRow>, StoreError> {
    tx.query(FIND).bind(id).fetch_optional().await
}

pub(crate) async fn by_uid(db: &Db, uid: &str) -> Result<Option<RequestRow>, StoreError> {
    db.query(BY_UID).bind(uid).fetch_optional().await
}

pub(crate) async fn by_uid_in(
    tx: &mut Tx<'_>,
    uid: &str,
) -> Result<Option<RequestRow>, StoreError> {
    tx.query(BY_UID).bind(uid).fetch_optional().await
}

/// How many requests looked exactly the same.
pub(crate) async fn same_hash(db: &Db, mhash: &[u8]) -> Result<i64, StoreError> {
    db.query(SAME_HASH).bind(mhash).fetch_scalar().await
}

/// The counters of a request, in one snapshot.
pub(crate) async fn counters(db: &Db, row: &RequestRow) -> Result<Counters, StoreError> {
    let changes: CountersRow = db.query(CHANGES).bind(row.request_id).fetch_one().await?;
    let mut counters = row.start();
    counters.add(&changes.into());
    Ok(counters)
}

/// The changes of a request's counters so far, as a transaction sees them.
pub(crate) async fn changes(tx: &mut Tx<'_>, id: RequestId) -> Result<Counters, StoreError> {
    tx.query(CHANGES)
        .bind(id)
        .fetch_one::<CountersRow>()
        .await
        .map(Counters::from)
}

/// Where a session's own tally of a request stands.
pub(crate) async fn last_tally(
    db: &Db,
    request: RequestId,
    session: SessionId,
) -> Result<Option<(i64, Counters)>, StoreError> {
    let row: Option<(i64, i64, i64, i64, i64, i64, i64)> = db
        .query(LAST_TALLY)
        .bind(request)
        .bind(session)
        .fetch_optional()
        .await?;
    Ok(row.map(|(step, a, b, c, d, e, f)| (step, Counters([a, b, c, d, e, f]))))
}

/// The steps of a request's messages after a given one.
pub(crate) async fn events(
    db: &Db,
    request: RequestId,
    after: (Uuid, i64, i64, i64),
    limit: i64,
) -> Result<Vec<EventRow>, StoreError> {
    db.query(EVENTS)
        .bind(request)
        .bind(after.0)
        .bind(after.1)
        .bind(after.2)
        .bind(after.3)
        .bind(limit)
        .fetch_all()
        .await
}

pub(crate) async fn cancel(tx: &mut Tx<'_>, id: RequestId) -> Result<bool, StoreError> {
    let now = tx.now();
    tx.query(CANCEL)
        .bind(id)
        .bind(now)
        .execute()
        .await
        .map(|rows| rows > 0)
}

pub(crate) async fn is_cancelled(db: &Db, id: RequestId) -> Result<bool, StoreError> {
    db.query(IS_CANCELLED)
        .bind(id)
        .fetch_scalar::<i64>()
        .await
        .map(|count| count > 0)
}

/// Notes that no message of a request can change any more; false if that was known.
pub(crate) async fn complete(tx: &mut Tx<'_>, id: RequestId) -> Result<bool, StoreError> {
    let now = tx.now();
    tx.query(COMPLETE)
        .bind(id)
        .bind(now)
        .execute()
        .await
        .map(|rows| rows > 0)
}

pub(crate) async fn insert_reply(
    tx: &mut Tx<'_>,
    reply: Uuid,
    request: RequestId,
    sealed: &[u8],
) -> Result<(), StoreError> {
    let now = tx.now();
    tx.query(INSERT_REPLY)
        .bind(reply)
        .bind(request)
        .bind(now)
        .bind(sealed)
        .execute()
        .await
        .map(|_| ())
}

pub(crate) async fn find_reply(db: &Db, reply: Uuid) -> Result<Option<Vec<u8>>, StoreError> {
    db.query(FIND_REPLY)
        .bind(reply)
        .fetch_scalar_optional()
        .await
}
