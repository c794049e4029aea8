//! Short messages: parts that a centre took, messages that wait for receipts, and receipts.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::{Timestamp, Uuid};
use serde_json::{Value, json};

use super::RequestId;

statements! {
    // Rows travel as one JSON text, which the engines take apart in their own ways.
    INSERT_PARTS = {
        sqlite: "INSERT INTO sms_part (root_id, pos, attempt, part, parts, request_id, centre, \
            centre_id, at) SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, \
            value ->> 4, unhex(value ->> 5), value ->> 6, value ->> 7, $2 FROM json_each($1)",
        postgres: "INSERT INTO sms_part (root_id, pos, attempt, part, parts, request_id, \
            centre, centre_id, at) SELECT CAST(e ->> 0 AS UUID), CAST(e ->> 1 AS BIGINT), \
            CAST(e ->> 2 AS BIGINT), CAST(e ->> 3 AS BIGINT), CAST(e ->> 4 AS BIGINT), \
            CAST(e ->> 5 AS UUID), e ->> 6, e ->> 7, $2 \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS t (e)",
    },
    INSERT_WAITS = {
        sqlite: "INSERT INTO sms_wait (root_id, pos, attempt, request_id, until, process_id) \
            SELECT unhex(value ->> 0), value ->> 1, value ->> 2, unhex(value ->> 3), \
            value ->> 4, value ->> 5 FROM json_each($1)",
        postgres: "INSERT INTO sms_wait (root_id, pos, attempt, request_id, until, process_id) \
            SELECT CAST(e ->> 0 AS UUID), CAST(e ->> 1 AS BIGINT), CAST(e ->> 2 AS BIGINT), \
            CAST(e ->> 3 AS UUID), \
            TIMESTAMPTZ 'epoch' + CAST(e ->> 4 AS BIGINT) * INTERVAL '1 microsecond', e ->> 5 \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS t (e)",
    },
    INSERT_RECEIPT = "INSERT INTO sms_receipt (receipt_id, centre, centre_id, fate, code, at) \
        VALUES ($1, $2, $3, $4, $5, $6)",
    // A centre may begin anew with its ids; the newest part is meant.
    OWNER = "SELECT root_id, pos, request_id FROM sms_part WHERE centre = $1 AND centre_id = $2 \
        ORDER BY at DESC LIMIT 1",
    TOLD = "SELECT p.part, p.parts, p.at AS sent_at, r.fate, r.code, r.at AS told_at \
        FROM sms_part p LEFT JOIN sms_receipt r \
        ON r.centre = p.centre AND r.centre_id = p.centre_id \
        WHERE p.root_id = $1 AND p.pos = $2",
    PROCESS = "SELECT process_id FROM sms_wait WHERE root_id = $1 AND pos = $2 \
        AND process_id IS NOT NULL ORDER BY attempt DESC LIMIT 1",
    OVERDUE = "SELECT w.root_id, w.pos, w.request_id, w.until FROM sms_wait w \
        WHERE w.until > $1 AND w.until <= $2 AND NOT EXISTS (SELECT 1 FROM event e \
            WHERE e.chunk_id = w.root_id AND e.pos = w.pos AND e.attempt = w.attempt \
            AND e.seq > 0) ORDER BY w.until LIMIT $3",
}

/// A part that a centre took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewPart {
    pub(crate) root_id: Uuid,
    pub(crate) pos: i64,
    pub(crate) attempt: i64,
    pub(crate) part: i64,
    pub(crate) parts: i64,
    pub(crate) request_id: RequestId,
    pub(crate) centre: String,
    pub(crate) centre_id: String,
}

/// A message whose parts were all taken and which waits for receipts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewWait {
    pub(crate) root_id: Uuid,
    pub(crate) pos: i64,
    pub(crate) attempt: i64,
    pub(crate) request_id: RequestId,
    pub(crate) until: Timestamp,
    pub(crate) process_id: Option<String>,
}

/// A receipt that tells how a part ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewReceipt {
    pub(crate) receipt_id: Uuid,
    pub(crate) centre: String,
    pub(crate) centre_id: String,
    pub(crate) fate: i64,
    pub(crate) code: i64,
}

/// The message of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct OwnerRow {
    pub(crate) root_id: Uuid,
    pub(crate) pos: i64,
    pub(crate) request_id: RequestId,
}

/// A message that waits for receipts no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct OverdueRow {
    pub(crate) root_id: Uuid,
    pub(crate) pos: i64,
    pub(crate) request_id: RequestId,
    pub(crate) until: Timestamp,
}

/// What is known of one submission of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct ToldRow {
    pub(crate) part: i64,
    pub(crate) parts: i64,
    pub(crate) sent_at: Timestamp,
    pub(crate) fate: Option<i64>,
    pub(crate) code: Option<i64>,
    pub(crate) told_at: Option<Timestamp>,
}

pub(crate) async fn parts(
    tx: &mut Tx<'_>,
    parts: &[NewPart],
    now: Timestamp,
) -> Result<(), StoreError> {
    if parts.is_empty() {
        return Ok(());
    }
    let rows = parts.iter().map(|part| {
        json!([
            part.root_id.simple().to_string(),
            part.pos,
            part.attempt,
            part.part,
            part.parts,
            part.request_id.as_uuid().simple().to_string(),
            part.centre,
            part.centre_id
        ])
    });
    let rows = Value::Array(rows.collect()).to_string();
    let insert = tx.query(INSERT_PARTS).bind(rows).bind(now);
    insert.execute().await.map(drop)
}

pub(crate) async fn waits(tx: &mut Tx<'_>, waits: &[NewWait]) -> Result<(), StoreError> {
    if waits.is_empty() {
        return Ok(());
    }
    let rows = waits.iter().map(|wait| {
        json!([
            wait.root_id.simple().to_string(),
            wait.pos,
            wait.attempt,
            wait.request_id.as_uuid().simple().to_string(),
            wait.until.micros(),
            wait.process_id
        ])
    });
    let rows = Value::Array(rows.collect()).to_string();
    tx.query(INSERT_WAITS).bind(rows).execute().await.map(drop)
}

pub(crate) async fn receipt(tx: &mut Tx<'_>, new: &NewReceipt) -> Result<(), StoreError> {
    let now = tx.now();
    tx.query(INSERT_RECEIPT)
        .bind(new.receipt_id)
        .bind(new.centre.as_str())
        .bind(new.centre_id.as_str())
        .bind(new.fate)
        .bind(new.code)
        .bind(now)
        .execute()
        .await
        .map(drop)
}

/// The message to which a centre's id belongs.
pub(crate) async fn owner(
    tx: &mut Tx<'_>,
    centre: &str,
    centre_id: &str,
) -> Result<Option<OwnerRow>, StoreError> {
    tx.query(OWNER)
        .bind(centre)
        .bind(centre_id)
        .fetch_optional()
        .await
}

/// Everything that is known of the parts of a message.
pub(crate) async fn told(
    tx: &mut Tx<'_>,
    root: Uuid,
    pos: i64,
) -> Result<Vec<ToldRow>, StoreError> {
    tx.query(TOLD).bind(root).bind(pos).fetch_all().await
}

/// The case that a message belongs to, where it has one of its own.
pub(crate) async fn process(
    tx: &mut Tx<'_>,
    root: Uuid,
    pos: i64,
) -> Result<Option<String>, StoreError> {
    tx.query(PROCESS)
        .bind(root)
        .bind(pos)
        .fetch_scalar_optional()
        .await
}

/// Messages whose time for receipts ended after `from` and by now.
pub(crate) async fn overdue(
    db: &Db,
    from: Timestamp,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<OverdueRow>, StoreError> {
    db.query(OVERDUE)
        .bind(from)
        .bind(now)
        .bind(limit)
        .fetch_all()
        .await
}
