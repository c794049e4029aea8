//! Instructions that are not plain success.

use publica_store::{StoreError, Tx, statements};

use crate::domain::ids::{BatchId, ProgrammeId};
use crate::store::Ask;
use crate::store::columns::bind_columns;

statements! {
    INSERT_EXCEPTIONS = {
        sqlite: "INSERT INTO instruction_exception (batch_id, ordinal, state, reason_code, \
            institution, amount_minor) SELECT $1, value ->> 0, value ->> 1, value ->> 2, \
            value ->> 3, value ->> 4 FROM json_each($2) WHERE true \
            ON CONFLICT (batch_id, ordinal) DO UPDATE \
            SET state = excluded.state, reason_code = excluded.reason_code",
        postgres: "INSERT INTO instruction_exception (batch_id, ordinal, state, reason_code, \
            institution, amount_minor) SELECT $1, a, b, c, d, e FROM UNNEST($2::bigint[], \
            $3::bigint[], $4::text[], $5::text[], $6::bigint[]) AS v (a, b, c, d, e) \
            ON CONFLICT (batch_id, ordinal) DO UPDATE \
            SET state = excluded.state, reason_code = excluded.reason_code",
    },
    DELETE_EXCEPTION = "DELETE FROM instruction_exception WHERE batch_id = $1 AND ordinal = $2",
    EXCEPTIONS = "SELECT ordinal, state, reason_code, institution, amount_minor \
        FROM instruction_exception WHERE batch_id = $1 AND ordinal >= $2 AND ordinal < $3 \
        ORDER BY ordinal",
    EXCEPTION_PAGE = "SELECT ordinal, state, reason_code, institution, amount_minor \
        FROM instruction_exception WHERE batch_id = $1 AND ordinal > $2 \
        ORDER BY ordinal LIMIT $3",
    EXCEPTION_SUMS = "SELECT institution, state, reason_code, COUNT(*) AS item_count, \
        CAST(SUM(amount_minor) AS BIGINT) AS amount_minor FROM instruction_exception \
        WHERE batch_id = $1 GROUP BY institution, state, reason_code \
        ORDER BY institution, state, reason_code",
    // Of a programme's last batches but one: what was sent to whom, and what was rejected.
    PAST_SENT = "SELECT t.institution, CAST(SUM(t.item_count) AS BIGINT) FROM batch_chunk c \
        JOIN chunk_total t ON t.batch_id = c.batch_id AND t.chunk_no = c.chunk_no \
        WHERE c.batch_id IN (SELECT batch_id FROM batch WHERE programme_id = $1 \
        AND batch_id <> $2 ORDER BY created_at DESC LIMIT 20) AND t.verdict = 0 \
        AND c.state >= 4 GROUP BY t.institution",
    PAST_REJECTED = "SELECT institution, COUNT(*) FROM instruction_exception \
        WHERE batch_id IN (SELECT batch_id FROM batch WHERE programme_id = $1 \
        AND batch_id <> $2 ORDER BY created_at DESC LIMIT 20) AND state = 3 \
        GROUP BY institution",
}

/// An instruction that is not plain success; its state is an outcome's byte.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct ExceptionRow {
    pub(crate) ordinal: i64,
    pub(crate) state: i64,
    pub(crate) reason_code: String,
    pub(crate) institution: String,
    pub(crate) amount_minor: i64,
}

/// Failures of one kind at one institution.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct ExceptionSum {
    pub(crate) institution: String,
    pub(crate) state: i64,
    pub(crate) reason_code: String,
    pub(crate) item_count: i64,
    pub(crate) amount_minor: i64,
}

/// Notes exceptions; one that is there already moves on.
pub(crate) async fn put_exceptions(
    tx: &mut Tx<'_>,
    batch_id: BatchId,
    rows: &[ExceptionRow],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let engine = tx.engine();
    let ordinals: Vec<i64> = rows.iter().map(|row| row.ordinal).collect();
    let states: Vec<i64> = rows.iter().map(|row| row.state).collect();
    let codes: Vec<&str> = rows.iter().map(|row| row.reason_code.as_str()).collect();
    let institutions: Vec<&str> = rows.iter().map(|row| row.institution.as_str()).collect();
    let amounts: Vec<i64> = rows.iter().map(|row| row.amount_minor).collect();
    let query = tx.query(INSERT_EXCEPTIONS).bind(batch_id);
    bind_columns!(
        engine,
        query,
        &ordinals,
        &states,
        &codes,
        &institutions,
        &amounts
    )
    .execute()
    .await
    .map(drop)
}

pub(crate) async fn delete_exception(
    tx: &mut Tx<'_>,
    batch_id: BatchId,
    ordinal: i64,
) -> Result<(), StoreError> {
    tx.query(DELETE_EXCEPTION)
        .bind(batch_id)
        .bind(ordinal)
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn exceptions(
    ask: &mut impl Ask,
    batch_id: BatchId,
    from: i64,
    to: i64,
) -> Result<Vec<ExceptionRow>, StoreError> {
    ask.ask(EXCEPTIONS)
        .bind(batch_id)
        .bind(from)
        .bind(to)
        .fetch_all()
        .await
}

pub(crate) async fn exception_page(
    ask: &mut impl Ask,
    batch_id: BatchId,
    after: i64,
    limit: i64,
) -> Result<Vec<ExceptionRow>, StoreError> {
    ask.ask(EXCEPTION_PAGE)
        .bind(batch_id)
        .bind(after)
        .bind(limit)
        .fetch_all()
        .await
}

pub(crate) async fn exception_sums(
    ask: &mut impl Ask,
    batch_id: BatchId,
) -> Result<Vec<ExceptionSum>, StoreError> {
    ask.ask(EXCEPTION_SUMS).bind(batch_id).fetch_all().await
}

/// What a programme's last batches, but for one, sent to whom.
pub(crate) async fn past_sent(
    ask: &mut impl Ask,
    programme_id: ProgrammeId,
    but: BatchId,
) -> Result<Vec<(String, i64)>, StoreError> {
    let query = ask.ask(PAST_SENT).bind(programme_id);
    query.bind(but).fetch_all().await
}

/// And what was rejected of it.
pub(crate) async fn past_rejected(
    ask: &mut impl Ask,
    programme_id: ProgrammeId,
    but: BatchId,
) -> Result<Vec<(String, i64)>, StoreError> {
    let query = ask.ask(PAST_REJECTED).bind(programme_id);
    query.bind(but).fetch_all().await
}
