//! Chunks of recipients, their keys, and the sessions that deliver them.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::{Timestamp, Uuid};

use super::{ChunkId, RequestId, SessionId};

/// Keys of requests stand in this lane, where no one looks for work.
pub(crate) const REQUEST_LANE: i64 = -1;
/// Keys of answers stand in this one.
pub(crate) const REPLY_LANE: i64 = -2;

statements! {
    INSERT_CHUNK = "INSERT INTO chunk (chunk_id, request_id, root_id, lane, attempt, \
        not_before, n, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    INSERT_KEY = "INSERT INTO content_key (key_id, lane, not_before, hour, wrapped) \
        VALUES ($1, $2, $3, $4, $5)",
    FIND_KEY = "SELECT hour, wrapped FROM content_key WHERE key_id = $1",
    DELETE_KEYS = {
        // Lists travel as JSON to one engine and as arrays to the other.
        sqlite: "DELETE FROM content_key \
            WHERE key_id IN (SELECT unhex(value) FROM json_each($1))",
        postgres: "DELETE FROM content_key WHERE key_id = ANY($1::UUID[])",
    },
    NOTE_HOUR = "INSERT INTO wrapping_hour (hour) VALUES ($1) ON CONFLICT DO NOTHING",
    SPENT_HOURS = "SELECT h.hour FROM wrapping_hour h WHERE h.hour < $1 AND h.hour >= $2 \
        AND NOT EXISTS (SELECT 1 FROM content_key k WHERE k.hour = h.hour) ORDER BY h.hour",
    // An open chunk has a key. It can be had when its last step is of no living session; a
    // batch that was not sent to its end has no request and is no work. What is held up is none
    // either, until its time is over.
    DUE = "SELECT c.chunk_id, c.request_id, c.root_id, c.lane, c.attempt, c.n, \
        c.sealed, k.hour, k.wrapped, \
        COALESCE((SELECT s.step FROM chunk_step s WHERE s.chunk_id = c.chunk_id \
            ORDER BY s.step DESC LIMIT 1), -1) AS step \
        FROM content_key k JOIN chunk c ON c.chunk_id = k.key_id \
        JOIN request r ON r.request_id = c.request_id \
        WHERE k.lane = $1 AND k.not_before <= $2 AND (r.expires_at <= $6 OR NOT EXISTS (\
            SELECT 1 FROM pause_step p WHERE p.request_id = r.request_id AND p.paused \
            AND NOT EXISTS (SELECT 1 FROM pause_step y \
                WHERE y.request_id = p.request_id AND y.step > p.step))) AND NOT EXISTS (\
            SELECT 1 FROM chunk_step l WHERE l.chunk_id = c.chunk_id AND l.step = (\
                SELECT MAX(x.step) FROM chunk_step x WHERE x.chunk_id = c.chunk_id) \
            AND l.kind <> 3 AND (l.session_id = $3 OR EXISTS (SELECT 1 FROM beat b \
                WHERE b.session_id = l.session_id AND b.at > $4))) \
        ORDER BY k.not_before, k.key_id LIMIT $5",
    OPEN_OF_REQUEST = "SELECT c.chunk_id, c.request_id, c.root_id, c.lane, c.attempt, \
        c.n, c.sealed, k.hour, k.wrapped, \
        COALESCE((SELECT s.step FROM chunk_step s WHERE s.chunk_id = c.chunk_id \
            ORDER BY s.step DESC LIMIT 1), -1) AS step \
        FROM chunk c JOIN content_key k ON k.key_id = c.chunk_id \
        WHERE c.request_id = $1 AND NOT EXISTS (\
            SELECT 1 FROM chunk_step l WHERE l.chunk_id = c.chunk_id AND l.step = (\
                SELECT MAX(x.step) FROM chunk_step x WHERE x.chunk_id = c.chunk_id) \
            AND l.kind <> 3 AND (l.session_id = $2 OR EXISTS (SELECT 1 FROM beat b \
                WHERE b.session_id = l.session_id AND b.at > $3))) LIMIT $4",
    OUTCOMES = "SELECT pos, state, reason FROM event WHERE chunk_id = $1 AND attempt = $2 \
        ORDER BY pos, seq",
    // A chunk that was given back in good order was no failure.
    CLAIMS = "SELECT CAST(COALESCE(SUM(CASE kind WHEN 0 THEN 1 WHEN 3 THEN -1 ELSE 0 END), 0) \
        AS BIGINT) FROM chunk_step WHERE chunk_id = $1",
    ORPHANS = "SELECT k.key_id FROM content_key k LEFT JOIN chunk c ON c.chunk_id = k.key_id \
        WHERE k.hour < $1 AND k.lane >= -1 AND NOT EXISTS (SELECT 1 FROM request r \
            WHERE r.request_id = COALESCE(c.request_id, k.key_id)) LIMIT 1000",
    UNFINISHED = "SELECT k.key_id FROM content_key k WHERE k.lane = -1 AND k.key_id > $1 \
        AND NOT EXISTS (SELECT 1 FROM completion d WHERE d.request_id = k.key_id) \
        AND NOT EXISTS (SELECT 1 FROM chunk c JOIN content_key o ON o.key_id = c.chunk_id \
            WHERE c.request_id = k.key_id) ORDER BY k.key_id LIMIT 500",
    DELETE_REPLY_KEYS = "DELETE FROM content_key WHERE lane = -2 AND hour < $1",
    START_SESSION = "INSERT INTO session (session_id, started_at) VALUES ($1, $2)",
    BEAT = "INSERT INTO beat (session_id, step, at) VALUES ($1, $2, $3)",
}

/// A chunk that can be worked on.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct DueRow {
    pub(crate) chunk_id: ChunkId,
    pub(crate) request_id: RequestId,
    pub(crate) root_id: Uuid,
    pub(crate) lane: i64,
    pub(crate) attempt: i64,
    pub(crate) n: i64,
    pub(crate) sealed: Vec<u8>,
    pub(crate) hour: i64,
    pub(crate) wrapped: Vec<u8>,
    /// The number of the last step, -1 before the first.
    pub(crate) step: i64,
}

/// A new chunk with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewChunk {
    pub(crate) chunk_id: ChunkId,
    pub(crate) request_id: RequestId,
    pub(crate) root_id: Uuid,
    pub(crate) lane: i64,
    pub(crate) attempt: i64,
    pub(crate) not_before: Timestamp,
    pub(crate) n: i64,
    pub(crate) sealed: Vec<u8>,
    /// A chunk of which nothing can be sent has no key.
    pub(crate) key: Option<NewKey>,
}

/// A key as it is stored: wrapped by the key of an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewKey {
    pub(crate) hour: i64,
    pub(crate) wrapped: Vec<u8>,
}

pub(crate) async fn insert(tx: &mut Tx<'_>, chunk: &NewChunk) -> Result<(), StoreError> {
    tx.query(INSERT_CHUNK)
        .bind(chunk.chunk_id)
        .bind(chunk.request_id)
        .bind(chunk.root_id)
        .bind(chunk.lane)
        .bind(chunk.attempt)
        .bind(chunk.not_before)
        .bind(chunk.n)
        .bind(chunk.sealed.as_slice())
        .execute()
        .await?;
    match &chunk.key {
        Some(key) => {
            let id = chunk.chunk_id.as_uuid();
            insert_key(tx, id, chunk.lane, chunk.not_before, key).await
        }
        None => Ok(()),
    }
}

pub(crate) async fn insert_key(
    tx: &mut Tx<'_>,
    id: Uuid,
    lane: i64,
    not_before: Timestamp,
    key: &NewKey,
) -> Result<(), StoreError> {
    tx.query(INSERT_KEY)
        .bind(id)
        .bind(lane)
        .bind(not_before)
        .bind(key.hour)
        .bind(key.wrapped.as_slice())
        .execute()
        .await
        .map(|_| ())
}

pub(crate) async fn find_key(db: &Db, id: Uuid) -> Result<Option<NewKey>, StoreError> {
    let row: Option<(i64, Vec<u8>)> = db.query(FIND_KEY).bind(id).fetch_optional().await?;
    Ok(row.map(|(hour, wrapped)| NewKey { hour, wrapped }))
}

/// Destroys keys: what they seal can never be read again.
pub(crate) async fn delete_keys(tx: &mut Tx<'_>, ids: &[Uuid]) -> Result<u64, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    tx.query(DELETE_KEYS).bind_list(ids).execute().await
}

pub(crate) async fn note_hour(tx: &mut Tx<'_>, hour: i64) -> Result<(), StoreError> {
    tx.query(NOTE_HOUR).bind(hour).execute().await.map(|_| ())
}

/// Hours before `before` whose key wraps nothing any more.
pub(crate) async fn spent_hours(db: &Db, before: i64, from: i64) -> Result<Vec<i64>, StoreError> {
    db.query(SPENT_HOURS)
        .bind(before)
        .bind(from)
        .fetch_scalars()
        .await
}

/// Who asks for work, and since when other sessions must have given a sign of life to keep
/// what they hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder {
    pub(crate) session: SessionId,
    pub(crate) alive: Timestamp,
}

/// Chunks of a lane that are due since `since` at the latest and can be worked on `now`.
pub(crate) async fn due(
    db: &Db,
    lane: i64,
    (since, now): (Timestamp, Timestamp),
    holder: Holder,
    limit: i64,
) -> Result<Vec<DueRow>, StoreError> {
    db.query(DUE)
        .bind(lane)
        .bind(since)
        .bind(holder.session)
        .bind(holder.alive)
        .bind(limit)
        .bind(now)
        .fetch_all()
        .await
}

/// Open chunks of one request that no living session holds, whenever they are due.
pub(crate) async fn open_of_request(
    db: &Db,
    request: RequestId,
    holder: Holder,
    limit: i64,
) -> Result<Vec<DueRow>, StoreError> {
    db.query(OPEN_OF_REQUEST)
        .bind(request)
        .bind(holder.session)
        .bind(holder.alive)
        .bind(limit)
        .fetch_all()
        .await
}

/// Outcomes that an attempt already has: place, state and reason.
pub(crate) async fn outcomes(
    db: &Db,
    root: Uuid,
    attempt: i64,
) -> Result<Vec<(i64, i64, String)>, StoreError> {
    db.query(OUTCOMES)
        .bind(root)
        .bind(attempt)
        .fetch_all()
        .await
}

/// How often a chunk was taken up.
pub(crate) async fn claims(db: &Db, chunk: ChunkId) -> Result<i64, StoreError> {
    db.query(CLAIMS).bind(chunk).fetch_scalar().await
}

/// Keys of batches that were never sent to their end.
pub(crate) async fn orphans(db: &Db, before_hour: i64) -> Result<Vec<Uuid>, StoreError> {
    db.query(ORPHANS).bind(before_hour).fetch_scalars().await
}

/// Requests that still have a key although no chunk of theirs is open.
pub(crate) async fn unfinished(db: &Db, after: Uuid) -> Result<Vec<Uuid>, StoreError> {
    db.query(UNFINISHED).bind(after).fetch_scalars().await
}

pub(crate) async fn start_session(tx: &mut Tx<'_>, id: SessionId) -> Result<(), StoreError> {
    let now = tx.now();
    tx.query(START_SESSION)
        .bind(id)
        .bind(now)
        .execute()
        .await
        .map(|_| ())
}

pub(crate) async fn beat(tx: &mut Tx<'_>, id: SessionId, step: i64) -> Result<(), StoreError> {
    let now = tx.now();
    tx.query(BEAT)
        .bind(id)
        .bind(step)
        .bind(now)
        .execute()
        .await
        .map(|_| ())
}

/// Destroys the keys of answers of earlier hours.
pub(crate) async fn delete_reply_keys(tx: &mut Tx<'_>, before: i64) -> Result<u64, StoreError> {
    tx.query(DELETE_REPLY_KEYS).bind(before).execute().await
}
