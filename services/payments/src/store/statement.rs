//! Statements, their lines, and which payments they were met with.

use publica_store::{StoreError, Tx, statements};
use publica_types::{Timestamp, Uuid};

use crate::domain::ids::BatchId;
use crate::store::Ask;
use crate::store::columns::bind_columns;

/// States of a statement before it is done.
pub(crate) const RECEIVING: i64 = 0;
pub(crate) const MATCHING: i64 = 1;
/// States of a line.
pub(crate) const NEW: i64 = 0;
pub(crate) const MATCHED: i64 = 1;
pub(crate) const ITEM: i64 = 2;
/// Directions of a line.
pub(crate) const DEBIT: i64 = 1;
pub(crate) const CREDIT: i64 = 2;

statements! {
    INSERT = "INSERT INTO statement (statement_id, currency, from_at, to_at, state, attempt, \
        debit_count, debit_minor, credit_count, credit_minor, matched_count, item_count, \
        created_at) VALUES ($1, $2, $3, $4, 0, 0, 0, 0, 0, 0, 0, 0, $5) ON CONFLICT DO NOTHING",
    FIND = "SELECT statement_id, currency, from_at, to_at, state, attempt, fingerprint, \
        debit_count, debit_minor, credit_count, credit_minor, matched_count, item_count, \
        created_at FROM statement \
        WHERE statement_id = $1",
    LIST = "SELECT statement_id, currency, from_at, to_at, state, attempt, fingerprint, \
        debit_count, debit_minor, credit_count, credit_minor, matched_count, item_count, \
        created_at FROM statement \
        WHERE statement_id > $1 ORDER BY statement_id LIMIT $2",
    BEGIN = "UPDATE statement SET attempt = attempt + 1, currency = $2, from_at = $3, \
        to_at = $4, debit_count = 0, debit_minor = 0, credit_count = 0, credit_minor = 0 \
        WHERE statement_id = $1 AND state = 0",
    CLEAR = "DELETE FROM statement_line WHERE statement_id = $1 AND line_no < $2",
    ADD = "UPDATE statement SET debit_count = debit_count + $3, debit_minor = debit_minor + $4, \
        credit_count = credit_count + $5, credit_minor = credit_minor + $6 \
        WHERE statement_id = $1 AND attempt = $2 AND state = 0",
    INSERT_LINES = {
        sqlite: "INSERT INTO statement_line (statement_id, line_no, reference, end_to_end, \
            direction, amount_minor, booked_at, state) SELECT $1, value ->> 0, value ->> 1, \
            NULLIF(unhex(value ->> 2), x'00000000000000000000000000000000'), value ->> 3, \
            value ->> 4, value ->> 5, 0 FROM json_each($2) WHERE true ON CONFLICT DO NOTHING",
        postgres: "INSERT INTO statement_line (statement_id, line_no, reference, end_to_end, \
            direction, amount_minor, booked_at, state) SELECT $1, a, b, \
            NULLIF(c, '00000000-0000-0000-0000-000000000000'::uuid), d, e, f, 0 \
            FROM UNNEST($2::bigint[], $3::text[], $4::uuid[], $5::bigint[], $6::bigint[], \
            $7::timestamptz[]) AS v (a, b, c, d, e, f) ON CONFLICT DO NOTHING",
    },
    COMPLETE = "UPDATE statement SET state = 1, fingerprint = $3 \
        WHERE statement_id = $1 AND attempt = $2 AND state = 0",
    FINISH = "UPDATE statement SET state = 2, matched_count = $2, item_count = $3 \
        WHERE statement_id = $1 AND state = 1",
    // Chunks that were sent and have instructions that no statement showed yet.
    NEXT_CHUNK = "SELECT c.batch_id, c.chunk_no, c.settled_at FROM batch_chunk c \
        JOIN batch b ON b.batch_id = c.batch_id WHERE b.currency = $1 AND c.state >= 3 \
        AND (c.batch_id, c.chunk_no) > ($2, $3) AND NOT EXISTS (SELECT 1 FROM chunk_match m \
        WHERE m.batch_id = c.batch_id AND m.chunk_no = c.chunk_no AND m.open_count = 0) \
        ORDER BY c.batch_id, c.chunk_no LIMIT 1",
    LINES_OF = {
        sqlite: "SELECT statement_id, line_no, end_to_end, direction, amount_minor, booked_at, \
            state, batch_id, ordinal FROM statement_line \
            WHERE end_to_end IN (SELECT unhex(value) FROM json_each($1)) \
            ORDER BY booked_at, statement_id, line_no",
        postgres: "SELECT statement_id, line_no, end_to_end, direction, amount_minor, \
            booked_at, state, batch_id, ordinal FROM statement_line \
            WHERE end_to_end = ANY($1::uuid[]) ORDER BY booked_at, statement_id, line_no",
    },
    NEW_LINES = "SELECT statement_id, line_no, end_to_end, direction, amount_minor, booked_at, \
        state, batch_id, ordinal FROM statement_line WHERE statement_id = $1 AND state = 0 \
        ORDER BY line_no LIMIT $2",
    SET_LINE = "UPDATE statement_line SET state = $3, batch_id = $4, ordinal = $5 \
        WHERE statement_id = $1 AND line_no = $2",
    MATCHED_COUNT = "SELECT COUNT(*) FROM statement_line WHERE statement_id = $1 AND state = 1",
    MARKS = "SELECT marks FROM chunk_match WHERE batch_id = $1 AND chunk_no = $2",
    // Whoever changes marks must keep others out until they are written.
    LOCK_MARKS = {
        sqlite: "SELECT marks FROM chunk_match WHERE batch_id = $1 AND chunk_no = $2",
        postgres: "SELECT marks FROM chunk_match WHERE batch_id = $1 AND chunk_no = $2 \
            FOR UPDATE",
    },
    DROP_OPEN = "UPDATE chunk_match SET marks = $3, open_count = open_count - 1 \
        WHERE batch_id = $1 AND chunk_no = $2",
    SET_MATCHED = {
        sqlite: "UPDATE statement_line SET state = 1, batch_id = $2, \
            ordinal = v.value ->> 1 FROM json_each($3) AS v \
            WHERE statement_id = $1 AND line_no = v.value ->> 0",
        postgres: "UPDATE statement_line SET state = 1, batch_id = $2, ordinal = v.b \
            FROM UNNEST($3::bigint[], $4::bigint[]) AS v (a, b) \
            WHERE statement_id = $1 AND line_no = v.a",
    },
    PUT_MARKS = "INSERT INTO chunk_match (batch_id, chunk_no, marks, open_count) \
        VALUES ($1, $2, $3, $4) ON CONFLICT (batch_id, chunk_no) DO UPDATE \
        SET marks = excluded.marks, open_count = excluded.open_count",
}

/// A statement as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct StatementRow {
    pub(crate) statement_id: String,
    pub(crate) currency: String,
    pub(crate) from_at: Timestamp,
    pub(crate) to_at: Timestamp,
    pub(crate) state: i64,
    pub(crate) attempt: i64,
    pub(crate) fingerprint: Option<Vec<u8>>,
    pub(crate) debit_count: i64,
    pub(crate) debit_minor: i64,
    pub(crate) credit_count: i64,
    pub(crate) credit_minor: i64,
    /// What came of its lines, once all are matched or items.
    pub(crate) matched_count: i64,
    pub(crate) item_count: i64,
    pub(crate) created_at: Timestamp,
}

/// What a statement is about.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) statement_id: String,
    pub(crate) currency: String,
    pub(crate) from_at: Timestamp,
    pub(crate) to_at: Timestamp,
}

/// A line to store.
#[derive(Debug, Clone)]
pub(crate) struct NewLine {
    pub(crate) line_no: i64,
    pub(crate) reference: String,
    /// The nil id where there is none that could be ours.
    pub(crate) end_to_end: Uuid,
    pub(crate) direction: i64,
    pub(crate) amount_minor: i64,
    pub(crate) booked_at: Timestamp,
}

/// A line as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct LineRow {
    pub(crate) statement_id: String,
    pub(crate) line_no: i64,
    pub(crate) end_to_end: Option<Uuid>,
    pub(crate) direction: i64,
    pub(crate) amount_minor: i64,
    pub(crate) booked_at: Timestamp,
    pub(crate) state: i64,
    pub(crate) batch_id: Option<Uuid>,
    pub(crate) ordinal: Option<i64>,
}

/// A chunk that statements are held against, and when it was settled.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct SentChunk {
    pub(crate) batch_id: BatchId,
    pub(crate) chunk_no: i64,
    pub(crate) settled_at: Option<Timestamp>,
}

/// Announces a statement, or begins one anew that was cut short; the row that is there then.
pub(crate) async fn begin(tx: &mut Tx<'_>, header: &Header) -> Result<StatementRow, StoreError> {
    let now = tx.now();
    let id = header.statement_id.as_str();
    let query = tx.query(INSERT).bind(id).bind(header.currency.as_str());
    let query = query.bind(header.from_at).bind(header.to_at).bind(now);
    query.execute().await?;
    let query = tx.query(BEGIN).bind(id).bind(header.currency.as_str());
    let query = query.bind(header.from_at).bind(header.to_at);
    query.execute().await?;
    tx.query(FIND).bind(id).fetch_one().await
}

pub(crate) async fn find(
    ask: &mut impl Ask,
    statement_id: &str,
) -> Result<Option<StatementRow>, StoreError> {
    ask.ask(FIND).bind(statement_id).fetch_optional().await
}

pub(crate) async fn list(
    ask: &mut impl Ask,
    after: &str,
    limit: i64,
) -> Result<Vec<StatementRow>, StoreError> {
    ask.ask(LIST).bind(after).bind(limit).fetch_all().await
}

/// Removes the lines below a place that an upload that was cut short left.
pub(crate) async fn clear(
    tx: &mut Tx<'_>,
    statement_id: &str,
    below: i64,
) -> Result<u64, StoreError> {
    let query = tx.query(CLEAR).bind(statement_id).bind(below);
    query.execute().await
}

/// Adds lines; false if another upload of the statement has begun meanwhile.
pub(crate) async fn add_lines(
    tx: &mut Tx<'_>,
    (statement_id, attempt): (&str, i64),
    lines: &[NewLine],
) -> Result<Option<u64>, StoreError> {
    let sum = |direction: i64| {
        let of = lines.iter().filter(move |line| line.direction == direction);
        let minor: i64 = of.clone().map(|line| line.amount_minor).sum();
        (i64::try_from(of.count()).unwrap_or(i64::MAX), minor)
    };
    let (debit, credit) = (sum(DEBIT), sum(CREDIT));
    let query = tx.query(ADD).bind(statement_id).bind(attempt);
    let query = query.bind(debit.0).bind(debit.1);
    if query.bind(credit.0).bind(credit.1).execute().await? == 0 {
        return Ok(None);
    }
    let engine = tx.engine();
    let numbers: Vec<i64> = lines.iter().map(|line| line.line_no).collect();
    let references: Vec<&str> = lines.iter().map(|line| line.reference.as_str()).collect();
    let ids: Vec<Uuid> = lines.iter().map(|line| line.end_to_end).collect();
    let directions: Vec<i64> = lines.iter().map(|line| line.direction).collect();
    let amounts: Vec<i64> = lines.iter().map(|line| line.amount_minor).collect();
    let times: Vec<Timestamp> = lines.iter().map(|line| line.booked_at).collect();
    let query = tx.query(INSERT_LINES).bind(statement_id);
    let inserted = bind_columns!(
        engine,
        query,
        &numbers,
        &references,
        &ids,
        &directions,
        &amounts,
        &times
    );
    inserted.execute().await.map(Some)
}

/// Ends an upload; false if another one has begun meanwhile.
pub(crate) async fn complete(
    tx: &mut Tx<'_>,
    (statement_id, attempt): (&str, i64),
    fingerprint: &[u8],
) -> Result<bool, StoreError> {
    let query = tx.query(COMPLETE).bind(statement_id).bind(attempt);
    Ok(query.bind(fingerprint).execute().await? == 1)
}

/// Notes that each line is matched or an item, and how many are; true if that is new.
pub(crate) async fn finish(
    tx: &mut Tx<'_>,
    statement_id: &str,
    item_count: i64,
) -> Result<bool, StoreError> {
    let query = tx.query(MATCHED_COUNT).bind(statement_id);
    let matched: i64 = query.fetch_scalar().await?;
    let query = tx.query(FINISH).bind(statement_id).bind(matched);
    Ok(query.bind(item_count).execute().await? == 1)
}

/// The next chunk after one that statements are held against.
pub(crate) async fn next_chunk(
    ask: &mut impl Ask,
    currency: &str,
    (batch_id, chunk_no): (BatchId, i64),
) -> Result<Option<SentChunk>, StoreError> {
    let query = ask.ask(NEXT_CHUNK).bind(currency).bind(batch_id);
    query.bind(chunk_no).fetch_optional().await
}

/// The lines of all statements about some payments, in order of booking.
pub(crate) async fn lines_of(
    ask: &mut impl Ask,
    end_to_end: &[Uuid],
) -> Result<Vec<LineRow>, StoreError> {
    ask.ask(LINES_OF).bind_list(end_to_end).fetch_all().await
}

/// Lines of a statement that are neither matched nor items.
pub(crate) async fn new_lines(
    ask: &mut impl Ask,
    statement_id: &str,
    limit: i64,
) -> Result<Vec<LineRow>, StoreError> {
    let query = ask.ask(NEW_LINES).bind(statement_id);
    query.bind(limit).fetch_all().await
}

/// Says what a line turned out to be, and about which payment.
pub(crate) async fn set_line(
    tx: &mut Tx<'_>,
    (statement_id, line_no): (&str, i64),
    state: i64,
    payment: Option<(BatchId, i64)>,
) -> Result<(), StoreError> {
    let query = tx.query(SET_LINE).bind(statement_id).bind(line_no);
    let query = query.bind(state).bind(payment.map(|payment| payment.0));
    let query = query.bind(payment.map(|payment| payment.1));
    query.execute().await.map(drop)
}

/// The marks of a chunk, if it has any.
pub(crate) async fn marks(
    ask: &mut impl Ask,
    batch_id: BatchId,
    chunk_no: i64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let query = ask.ask(MARKS).bind(batch_id).bind(chunk_no);
    query.fetch_scalar_optional().await
}

/// The same, for whoever is going to change them.
pub(crate) async fn lock_marks(
    tx: &mut Tx<'_>,
    batch_id: BatchId,
    chunk_no: i64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let query = tx.query(LOCK_MARKS).bind(batch_id).bind(chunk_no);
    query.fetch_scalar_optional().await
}

/// Changes a mark by which one instruction less is open.
pub(crate) async fn drop_open(
    tx: &mut Tx<'_>,
    (batch_id, chunk_no): (BatchId, i64),
    marks: &[u8],
) -> Result<(), StoreError> {
    let query = tx.query(DROP_OPEN).bind(batch_id).bind(chunk_no);
    query.bind(marks).execute().await.map(drop)
}

/// Says of lines that they agree with payments of a batch: number and place.
pub(crate) async fn set_matched(
    tx: &mut Tx<'_>,
    statement_id: &str,
    batch_id: BatchId,
    lines: &[(i64, i64)],
) -> Result<(), StoreError> {
    if lines.is_empty() {
        return Ok(());
    }
    let engine = tx.engine();
    let numbers: Vec<i64> = lines.iter().map(|line| line.0).collect();
    let places: Vec<i64> = lines.iter().map(|line| line.1).collect();
    let query = tx.query(SET_MATCHED).bind(statement_id).bind(batch_id);
    let set = bind_columns!(engine, query, &numbers, &places);
    set.execute().await.map(drop)
}

pub(crate) async fn put_marks(
    tx: &mut Tx<'_>,
    (batch_id, chunk_no): (BatchId, i64),
    marks: &[u8],
    open_count: i64,
) -> Result<(), StoreError> {
    let query = tx.query(PUT_MARKS).bind(batch_id).bind(chunk_no);
    query.bind(marks).bind(open_count).execute().await.map(drop)
}
