//! Validations ahead of payment.

use publica_store::{StoreError, Tx, statements};
use publica_types::Uuid;

use crate::store::Ask;
use crate::store::columns::bind_columns;

statements! {
    INSERT = "INSERT INTO validation (validation_id, source_no, source_request, source_batch, \
        fingerprint, done, instruction_count, failed_count, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7) ON CONFLICT DO NOTHING",
    FIND = "SELECT validation_id, source_no, source_request, source_batch, fingerprint, done, \
        instruction_count, failed_count FROM validation \
        WHERE source_no = $1 AND source_request = $2",
    FIND_BY_ID = "SELECT validation_id, source_no, source_request, source_batch, fingerprint, \
        done, instruction_count, failed_count FROM validation WHERE validation_id = $1",
    FIND_PAIR = "SELECT validation_id, source_no, source_request, source_batch, fingerprint, \
        done, instruction_count, failed_count FROM validation \
        WHERE source_request = $1 AND source_batch = $2 \
        ORDER BY created_at DESC LIMIT 16",
    // What a bank told stays.
    CLEAR = "DELETE FROM validation_failure WHERE validation_id = $1 AND ordinal < 4294967296",
    INSERT_FAILURES = {
        sqlite: "INSERT INTO validation_failure (validation_id, ordinal, instruction_id, \
            reason_code, reason, sealed) SELECT $1, value ->> 0, value ->> 1, value ->> 2, \
            value ->> 3, unhex(value ->> 4) FROM json_each($2)",
        postgres: "INSERT INTO validation_failure (validation_id, ordinal, instruction_id, \
            reason_code, reason, sealed) SELECT $1, a, b, c, d, e FROM UNNEST($2::bigint[], \
            $3::text[], $4::text[], $5::text[], $6::bytea[]) AS v (a, b, c, d, e)",
    },
    CHECKED = "UPDATE validation SET done = $2, instruction_count = $3, \
        failed_count = failed_count + $4, target = $5 WHERE validation_id = $1",
    // A bank may answer before all accounts were looked at here.
    ANSWERED = "UPDATE validation SET \
        done = CASE WHEN instruction_count > 0 THEN $2 ELSE done END, \
        failed_count = failed_count + $3 WHERE validation_id = $1 RETURNING target",
    LAST_ORDINAL = "SELECT ordinal FROM validation_failure WHERE validation_id = $1 \
        ORDER BY ordinal DESC LIMIT 1",
    FAILURES = "SELECT ordinal, instruction_id, reason_code, reason, sealed \
        FROM validation_failure WHERE validation_id = $1 AND ordinal > $2 \
        ORDER BY ordinal LIMIT $3",
}

/// A validation as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct ValidationRow {
    pub(crate) validation_id: Uuid,
    pub(crate) source_no: i64,
    pub(crate) source_request: String,
    pub(crate) source_batch: String,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) done: bool,
    pub(crate) instruction_count: i64,
    pub(crate) failed_count: i64,
}

/// An instruction that would fail.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct FailureRow {
    pub(crate) ordinal: i64,
    pub(crate) instruction_id: String,
    pub(crate) reason_code: String,
    pub(crate) reason: String,
    /// The reason in a bank's own words, in place of ours; empty where it is ours.
    pub(crate) sealed: Vec<u8>,
}

/// The names of a validation request.
#[derive(Debug, Clone)]
pub(crate) struct NewValidation {
    pub(crate) validation_id: Uuid,
    pub(crate) source_no: i64,
    pub(crate) source_request: String,
    pub(crate) source_batch: String,
    pub(crate) fingerprint: Vec<u8>,
}

/// Notes a request; the row that is there afterwards is its own or an earlier one.
pub(crate) async fn begin(
    tx: &mut Tx<'_>,
    new: &NewValidation,
) -> Result<ValidationRow, StoreError> {
    let now = tx.now();
    tx.query(INSERT)
        .bind(new.validation_id)
        .bind(new.source_no)
        .bind(new.source_request.as_str())
        .bind(new.source_batch.as_str())
        .bind(new.fingerprint.as_slice())
        .bind(false)
        .bind(now)
        .execute()
        .await?;
    let query = tx
        .query(FIND)
        .bind(new.source_no)
        .bind(new.source_request.as_str());
    let row: ValidationRow = query.fetch_one().await?;
    if !row.done && row.instruction_count == 0 {
        // What an interrupted run left behind is made again.
        tx.query(CLEAR).bind(row.validation_id).execute().await?;
    }
    Ok(row)
}

pub(crate) async fn insert_failures(
    tx: &mut Tx<'_>,
    validation_id: Uuid,
    rows: &[FailureRow],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let engine = tx.engine();
    let ordinals: Vec<i64> = rows.iter().map(|row| row.ordinal).collect();
    let ids: Vec<&str> = rows.iter().map(|row| row.instruction_id.as_str()).collect();
    let codes: Vec<&str> = rows.iter().map(|row| row.reason_code.as_str()).collect();
    let reasons: Vec<&str> = rows.iter().map(|row| row.reason.as_str()).collect();
    let sealed: Vec<Vec<u8>> = rows.iter().map(|row| row.sealed.clone()).collect();
    let query = tx.query(INSERT_FAILURES).bind(validation_id);
    bind_columns!(engine, query, &ordinals, &ids, &codes, &reasons, &sealed)
        .execute()
        .await
        .map(drop)
}

/// Notes what was found here; `target`, sealed, is told once a bank has answered too.
pub(crate) async fn checked(
    tx: &mut Tx<'_>,
    validation_id: Uuid,
    (instruction_count, failed_count): (i64, i64),
    done: bool,
    target: Option<&[u8]>,
) -> Result<(), StoreError> {
    let query = tx.query(CHECKED).bind(validation_id).bind(done);
    let query = query.bind(instruction_count).bind(failed_count);
    query.bind(target).execute().await.map(drop)
}

/// Notes what a bank found, and gives whom to tell.
pub(crate) async fn answered(
    tx: &mut Tx<'_>,
    validation_id: Uuid,
    failed: i64,
    done: bool,
) -> Result<Option<Vec<u8>>, StoreError> {
    let query = tx.query(ANSWERED).bind(validation_id).bind(done);
    query.bind(failed).fetch_scalar().await
}

/// The place of the last failure.
pub(crate) async fn last_ordinal(
    tx: &mut Tx<'_>,
    validation_id: Uuid,
) -> Result<Option<i64>, StoreError> {
    tx.query(LAST_ORDINAL)
        .bind(validation_id)
        .fetch_scalar_optional()
        .await
}

pub(crate) async fn find(
    ask: &mut impl Ask,
    validation_id: Uuid,
) -> Result<Option<ValidationRow>, StoreError> {
    ask.ask(FIND_BY_ID)
        .bind(validation_id)
        .fetch_optional()
        .await
}

/// The newest validations under a pair of numbers, which several source blocks may have used.
pub(crate) async fn find_pair(
    ask: &mut impl Ask,
    source_request: &str,
    source_batch: &str,
) -> Result<Vec<ValidationRow>, StoreError> {
    ask.ask(FIND_PAIR)
        .bind(source_request)
        .bind(source_batch)
        .fetch_all()
        .await
}

pub(crate) async fn failures(
    ask: &mut impl Ask,
    validation_id: Uuid,
    after: i64,
    limit: i64,
) -> Result<Vec<FailureRow>, StoreError> {
    ask.ask(FAILURES)
        .bind(validation_id)
        .bind(after)
        .bind(limit)
        .fetch_all()
        .await
}
