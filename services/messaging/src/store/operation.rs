//! What operators do: requests held up, recipients that failed, and sending to them again.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::{Timestamp, Uuid};

use super::chunk::{self, NewKey};
use super::request::RequestRow;
use super::{ChunkId, RequestId};

/// Keys of recipients that failed stand in this lane, where no one looks for work.
pub(crate) const DEAD_LANE: i64 = -3;

statements! {
    PAUSE_STATE = "SELECT step, paused FROM pause_step WHERE request_id = $1 \
        ORDER BY step DESC LIMIT 1",
    ADD_PAUSE = "INSERT INTO pause_step (request_id, step, paused, at) VALUES ($1, $2, $3, $4)",
    PAUSED = "SELECT p.request_id FROM pause_step p WHERE p.paused \
        AND NOT EXISTS (SELECT 1 FROM pause_step x \
            WHERE x.request_id = p.request_id AND x.step > p.step) \
        AND NOT EXISTS (SELECT 1 FROM completion d WHERE d.request_id = p.request_id)",
    NEWEST = "SELECT request_id, request_uid, n, lane, claimed, received_at, not_before, \
        expires_at, actor, process_id, callback, common FROM request WHERE request_id < $1 \
        ORDER BY request_id DESC LIMIT $2",
    // What is open has a key, and so has what holds recipients that can be sent to again.
    OPEN = "SELECT r.request_id, r.request_uid, r.n, r.lane, r.claimed, r.received_at, \
        r.not_before, r.expires_at, r.actor, r.process_id, r.callback, r.common \
        FROM content_key k JOIN request r ON r.request_id = k.key_id \
        WHERE k.lane = -1 AND r.request_id < $1 ORDER BY r.request_id DESC LIMIT $2",
    INSERT_LETTER = "INSERT INTO dead_letter (letter_id, request_id, root_id, lane, attempt, \
        state, reason, n, created_at, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    GROUPS = "SELECT d.state, d.reason, CAST(SUM(d.n) AS BIGINT) AS n, \
        MIN(k.not_before) AS until FROM dead_letter d \
        JOIN content_key k ON k.key_id = d.letter_id WHERE d.request_id = $1 \
        AND k.not_before > $2 GROUP BY d.state, d.reason ORDER BY d.reason, d.state",
    LETTERS = {
        // An empty list stands for every reason.
        sqlite: "SELECT d.letter_id, d.root_id, d.lane, d.attempt, d.state, d.reason, d.n, \
            d.sealed, k.hour, k.wrapped FROM dead_letter d \
            JOIN content_key k ON k.key_id = d.letter_id WHERE d.request_id = $1 \
            AND k.not_before > $4 AND (json_array_length($2) = 0 \
                OR d.reason IN (SELECT value FROM json_each($2))) ORDER BY d.letter_id LIMIT $3",
        postgres: "SELECT d.letter_id, d.root_id, d.lane, d.attempt, d.state, d.reason, d.n, \
            d.sealed, k.hour, k.wrapped FROM dead_letter d \
            JOIN content_key k ON k.key_id = d.letter_id WHERE d.request_id = $1 \
            AND k.not_before > $4 AND (cardinality($2::TEXT[]) = 0 \
                OR d.reason = ANY($2::TEXT[])) ORDER BY d.letter_id LIMIT $3",
    },
    HAS_LETTERS = "SELECT COUNT(*) FROM (SELECT 1 FROM dead_letter d \
        JOIN content_key k ON k.key_id = d.letter_id WHERE d.request_id = $1 LIMIT 1) AS one",
    ADD_REDRIVE = "INSERT INTO redrive (letter_id, chunk_id, at) VALUES ($1, $2, $3)",
    REDRIVEN = {
        sqlite: "INSERT INTO event (chunk_id, pos, attempt, seq, state, code, reason, at) \
            SELECT chunk_id, pos, attempt, MAX(seq) + 1, 2, 0, 'redriven', $4 FROM event \
            WHERE chunk_id = $1 AND attempt = $2 AND pos IN (SELECT value FROM json_each($3)) \
            GROUP BY chunk_id, pos, attempt",
        postgres: "INSERT INTO event (chunk_id, pos, attempt, seq, state, code, reason, at) \
            SELECT chunk_id, pos, attempt, MAX(seq) + 1, 2, 0, 'redriven', $4 FROM event \
            WHERE chunk_id = $1 AND attempt = $2 AND pos = ANY($3::BIGINT[]) \
            GROUP BY chunk_id, pos, attempt",
    },
    DELETE_LETTERS = "DELETE FROM content_key WHERE lane = -3 AND key_id IN (\
        SELECT letter_id FROM dead_letter WHERE request_id = $1)",
    DELETE_OLD_LETTERS = "DELETE FROM content_key WHERE lane = -3 AND not_before <= $1",
    SPENT = "SELECT k.key_id FROM content_key k \
        JOIN completion f ON f.request_id = k.key_id WHERE k.lane = -1 \
        AND NOT EXISTS (SELECT 1 FROM chunk c JOIN content_key o ON o.key_id = c.chunk_id \
            WHERE c.request_id = k.key_id) \
        AND NOT EXISTS (SELECT 1 FROM dead_letter d \
            JOIN content_key o ON o.key_id = d.letter_id WHERE d.request_id = k.key_id) \
        LIMIT 1000",
}

/// Recipients that failed, of one chunk and for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewLetter {
    pub(crate) letter_id: Uuid,
    pub(crate) request_id: RequestId,
    pub(crate) root_id: Uuid,
    pub(crate) lane: i64,
    pub(crate) attempt: i64,
    pub(crate) state: i64,
    pub(crate) reason: String,
    pub(crate) n: i64,
    pub(crate) created_at: Timestamp,
    /// When its key is destroyed.
    pub(crate) until: Timestamp,
    pub(crate) sealed: Vec<u8>,
    pub(crate) key: NewKey,
}

/// The same as it is read, with its key.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct LetterRow {
    pub(crate) letter_id: Uuid,
    pub(crate) root_id: Uuid,
    pub(crate) lane: i64,
    pub(crate) attempt: i64,
    pub(crate) state: i64,
    pub(crate) reason: String,
    pub(crate) n: i64,
    pub(crate) sealed: Vec<u8>,
    pub(crate) hour: i64,
    pub(crate) wrapped: Vec<u8>,
}

/// Failed recipients of a request that can be sent to again, by state and reason.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct GroupRow {
    pub(crate) state: i64,
    pub(crate) reason: String,
    pub(crate) n: i64,
    /// When the first of them cannot be sent to any more.
    pub(crate) until: Timestamp,
}

/// Where the pauses of a request stand: the last step and whether it paused.
pub(crate) async fn pause_state(
    tx: &mut Tx<'_>,
    request: RequestId,
) -> Result<(i64, bool), StoreError> {
    let row: Option<(i64, bool)> = tx.query(PAUSE_STATE).bind(request).fetch_optional().await?;
    Ok(row.unwrap_or((-1, false)))
}

/// Whether a request is held up.
pub(crate) async fn is_paused(db: &Db, request: RequestId) -> Result<bool, StoreError> {
    let row: Option<(i64, bool)> = db.query(PAUSE_STATE).bind(request).fetch_optional().await?;
    Ok(row.is_some_and(|(_, paused)| paused))
}

/// Adds a pause or its end. A unique violation means that another came first.
pub(crate) async fn add_pause(
    tx: &mut Tx<'_>,
    request: RequestId,
    step: i64,
    paused: bool,
) -> Result<(), StoreError> {
    let now = tx.now();
    tx.query(ADD_PAUSE)
        .bind(request)
        .bind(step)
        .bind(paused)
        .bind(now)
        .execute()
        .await
        .map(|_| ())
}

/// Requests that are held up and not yet over.
pub(crate) async fn paused(db: &Db) -> Result<Vec<RequestId>, StoreError> {
    db.query(PAUSED).fetch_scalars().await
}

/// Requests before a given one, the newest first.
pub(crate) async fn requests(
    db: &Db,
    open: bool,
    before: Uuid,
    limit: i64,
) -> Result<Vec<RequestRow>, StoreError> {
    db.query(if open { OPEN } else { NEWEST })
        .bind(before)
        .bind(limit)
        .fetch_all()
        .await
}

pub(crate) async fn insert_letter(tx: &mut Tx<'_>, new: &NewLetter) -> Result<(), StoreError> {
    tx.query(INSERT_LETTER)
        .bind(new.letter_id)
        .bind(new.request_id)
        .bind(new.root_id)
        .bind(new.lane)
        .bind(new.attempt)
        .bind(new.state)
        .bind(new.reason.as_str())
        .bind(new.n)
        .bind(new.created_at)
        .bind(new.sealed.as_slice())
        .execute()
        .await?;
    chunk::insert_key(tx, new.letter_id, DEAD_LANE, new.until, &new.key).await
}

pub(crate) async fn groups(
    db: &Db,
    request: RequestId,
    now: Timestamp,
) -> Result<Vec<GroupRow>, StoreError> {
    db.query(GROUPS).bind(request).bind(now).fetch_all().await
}

/// Failed recipients of a request, of certain reasons or of all.
pub(crate) async fn letters(
    db: &Db,
    request: RequestId,
    reasons: &[String],
    (now, limit): (Timestamp, i64),
) -> Result<Vec<LetterRow>, StoreError> {
    db.query(LETTERS)
        .bind(request)
        .bind_list(reasons)
        .bind(limit)
        .bind(now)
        .fetch_all()
        .await
}

/// Whether a request has failed recipients that can be sent to again.
pub(crate) async fn has_letters(tx: &mut Tx<'_>, request: RequestId) -> Result<bool, StoreError> {
    let found: i64 = tx.query(HAS_LETTERS).bind(request).fetch_scalar().await?;
    Ok(found > 0)
}

/// Notes that recipients are sent to again. A unique violation means that another came first.
pub(crate) async fn redrive(
    tx: &mut Tx<'_>,
    letter: &LetterRow,
    chunk: ChunkId,
    places: &[i64],
) -> Result<(), StoreError> {
    let now = tx.now();
    tx.query(ADD_REDRIVE)
        .bind(letter.letter_id)
        .bind(chunk)
        .bind(now)
        .execute()
        .await?;
    tx.query(REDRIVEN)
        .bind(letter.root_id)
        .bind(letter.attempt)
        .bind_list(places)
        .bind(now)
        .execute()
        .await
        .map(|_| ())
}

/// Destroys the keys of a request's failed recipients.
pub(crate) async fn delete_letters(tx: &mut Tx<'_>, request: RequestId) -> Result<u64, StoreError> {
    tx.query(DELETE_LETTERS).bind(request).execute().await
}

/// Destroys the keys of failed recipients whose time is over.
pub(crate) async fn delete_old_letters(tx: &mut Tx<'_>, now: Timestamp) -> Result<u64, StoreError> {
    tx.query(DELETE_OLD_LETTERS).bind(now).execute().await
}

/// Requests that are over and of which nothing can be sent again, but which still have a key.
pub(crate) async fn spent(db: &Db) -> Result<Vec<Uuid>, StoreError> {
    db.query(SPENT).fetch_scalars().await
}
