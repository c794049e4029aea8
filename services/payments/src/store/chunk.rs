//! The rows of batches, a chunk at a time.
//!
//! Statements name their rows by key or by key range: a batch arrives faster than the planner's
//! statistics do, and a plan made for an empty table must still be a good one.

use std::collections::BTreeMap;

use publica_store::{StoreError, Tx, statements};
use publica_types::Uuid;

use crate::domain::batch::Total;
use crate::domain::ids::{AccountId, BatchId, GroupId};
use crate::error::Error;
use crate::store::Ask;
use crate::store::columns::bind_columns;

statements! {
    // Lists: an array on PostgreSQL, JSON on SQLite.
    USED = {
        sqlite: "SELECT instruction_id FROM instruction WHERE source_no = $1 \
            AND instruction_id IN (SELECT value FROM json_each($2))",
        postgres: "SELECT instruction_id FROM instruction WHERE source_no = $1 \
            AND instruction_id = ANY($2::text[])",
    },
    INSERT_INSTRUCTIONS = {
        sqlite: "INSERT INTO instruction (batch_id, source_no, ordinal, instruction_id, payee, \
            amount_minor, institution, verdict, narration_no, mapping_version) SELECT $1, $2, \
            value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5, \
            value ->> 6, value ->> 7 FROM json_each($3)",
        postgres: "INSERT INTO instruction (batch_id, source_no, ordinal, instruction_id, \
            payee, amount_minor, institution, verdict, narration_no, mapping_version) \
            SELECT $1, $2, a, b, c, d, e, f, g, h FROM UNNEST($3::bigint[], $4::text[], \
            $5::bytea[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[]) \
            AS v (a, b, c, d, e, f, g, h)",
    },
    INSERT_REFUSED = {
        sqlite: "INSERT INTO instruction_refused (batch_id, ordinal, instruction_id, \
            reason_code, reason) SELECT $1, value ->> 0, value ->> 1, value ->> 2, value ->> 3 \
            FROM json_each($2)",
        postgres: "INSERT INTO instruction_refused (batch_id, ordinal, instruction_id, \
            reason_code, reason) SELECT $1, a, b, c, d FROM UNNEST($2::bigint[], $3::text[], \
            $4::text[], $5::text[]) AS v (a, b, c, d)",
    },
    INSERT_CHUNK = "INSERT INTO batch_chunk (batch_id, chunk_no, first_ordinal, row_count, \
        content, root, narrations, state, outcomes) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8)",
    INSERT_TOTALS = {
        sqlite: "INSERT INTO chunk_total (batch_id, chunk_no, institution, verdict, item_count, \
            amount_minor) SELECT $1, $2, value ->> 0, value ->> 1, value ->> 2, value ->> 3 \
            FROM json_each($3)",
        postgres: "INSERT INTO chunk_total (batch_id, chunk_no, institution, verdict, \
            item_count, amount_minor) SELECT $1, $2, a, b, c, d FROM UNNEST($3::text[], \
            $4::bigint[], $5::bigint[], $6::bigint[]) AS v (a, b, c, d)",
    },
    CHUNKS = "SELECT chunk_no, first_ordinal, row_count, content, root, hold_id, state, \
        outcomes, intent FROM batch_chunk WHERE batch_id = $1 ORDER BY chunk_no",
    CHUNK = "SELECT chunk_no, first_ordinal, row_count, content, root, hold_id, state, \
        outcomes, intent FROM batch_chunk WHERE batch_id = $1 AND chunk_no = $2",
    BELOW = "SELECT chunk_no, first_ordinal, row_count, content, root, hold_id, state, \
        outcomes, intent FROM batch_chunk WHERE batch_id = $1 AND state < $2 \
        ORDER BY chunk_no LIMIT $3",
    ROOTS = "SELECT root FROM batch_chunk WHERE batch_id = $1 ORDER BY chunk_no",
    TOTALS = "SELECT institution, verdict, item_count, amount_minor FROM chunk_total \
        WHERE batch_id = $1 AND chunk_no = $2 ORDER BY institution, verdict",
    SUM_TOTALS = "SELECT institution, verdict, \
        CAST(SUM(item_count) AS BIGINT) AS item_count, \
        CAST(SUM(amount_minor) AS BIGINT) AS amount_minor FROM chunk_total \
        WHERE batch_id = $1 GROUP BY institution, verdict ORDER BY institution, verdict",
    // Of chunks whose outcomes are on record: verdict 0 was sent, verdict 1 got vouchers.
    SENT_TOTALS = "SELECT t.institution, t.verdict, \
        CAST(SUM(t.item_count) AS BIGINT) AS item_count, \
        CAST(SUM(t.amount_minor) AS BIGINT) AS amount_minor FROM batch_chunk c \
        JOIN chunk_total t ON t.batch_id = c.batch_id AND t.chunk_no = c.chunk_no \
        WHERE c.batch_id = $1 \
        AND ((t.verdict = 0 AND c.state >= 4) OR (t.verdict = 1 AND c.state >= 5)) \
        GROUP BY t.institution, t.verdict ORDER BY t.institution, t.verdict",
    FUNDED = "SELECT chunk_no, CAST(SUM(amount_minor) AS BIGINT) AS amount_minor \
        FROM chunk_total WHERE batch_id = $1 AND verdict IN (0, 1) \
        GROUP BY chunk_no ORDER BY chunk_no",
    SET_HOLD = "UPDATE batch_chunk SET hold_id = $3 WHERE batch_id = $1 AND chunk_no = $2",
    ADVANCE = "UPDATE batch_chunk SET state = $4 \
        WHERE batch_id = $1 AND chunk_no = $2 AND state = $3",
    SET_SETTLED = "UPDATE batch_chunk SET settled_at = $3 \
        WHERE batch_id = $1 AND chunk_no = $2",
    SET_INTENT = "UPDATE batch_chunk SET intent = $3 WHERE batch_id = $1 AND chunk_no = $2",
    INSERT_RESOLVED = {
        sqlite: "INSERT INTO instruction_resolved (batch_id, ordinal, mapping_version) \
            SELECT $1, value ->> 0, value ->> 1 FROM json_each($2)",
        postgres: "INSERT INTO instruction_resolved (batch_id, ordinal, mapping_version) \
            SELECT $1, a, b FROM UNNEST($2::bigint[], $3::bigint[]) AS v (a, b)",
    },
    RESOLVED = "SELECT ordinal, mapping_version FROM instruction_resolved \
        WHERE batch_id = $1 AND ordinal >= $2 AND ordinal < $3",
    INSERT_GROUP = "INSERT INTO chunk_group (batch_id, chunk_no, first_id, last_id) \
        VALUES ($1, $2, $3, $4)",
    LEDGER_SUMS = "SELECT t.debit_id, t.credit_id, \
        CAST(SUM(t.amount_minor) AS BIGINT) AS amount_minor FROM chunk_group g \
        JOIN transfer t ON t.transfer_id >= g.first_id AND t.transfer_id <= g.last_id \
        WHERE g.batch_id = $1 AND t.kind IN (0, 2) GROUP BY t.debit_id, t.credit_id",
    SET_OUTCOMES = "UPDATE batch_chunk SET outcomes = $3 WHERE batch_id = $1 AND chunk_no = $2",
    ROWS = "SELECT ordinal, instruction_id, payee, amount_minor, institution, verdict, \
        narration_no, mapping_version FROM instruction \
        WHERE batch_id = $1 AND ordinal >= $2 AND ordinal < $3 \
        ORDER BY ordinal",
    PAGE = "SELECT ordinal, instruction_id, payee, amount_minor, institution, verdict, \
        narration_no, mapping_version FROM instruction WHERE batch_id = $1 AND ordinal > $2 \
        ORDER BY ordinal LIMIT $3",
    FIND_ROW = "SELECT ordinal, instruction_id, payee, amount_minor, institution, verdict, \
        narration_no, mapping_version FROM instruction WHERE batch_id = $1 AND ordinal = $2",
    FIND_BY_ID = "SELECT ordinal, instruction_id, payee, amount_minor, institution, verdict, \
        narration_no, mapping_version FROM instruction WHERE batch_id = $1 AND source_no = $2 \
        AND instruction_id = $3",
    REFUSED = "SELECT ordinal, instruction_id, reason_code, reason FROM instruction_refused \
        WHERE batch_id = $1 AND ordinal > $2 AND ordinal < $3 ORDER BY ordinal LIMIT $4",
    REFUSED_REASONS = "SELECT reason_code, COUNT(*) AS item_count FROM instruction_refused \
        WHERE batch_id = $1 GROUP BY reason_code ORDER BY reason_code",
}

/// A chunk as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct ChunkRow {
    pub(crate) chunk_no: i64,
    pub(crate) first_ordinal: i64,
    pub(crate) row_count: i64,
    pub(crate) content: Vec<u8>,
    pub(crate) root: Vec<u8>,
    pub(crate) hold_id: Option<Uuid>,
    pub(crate) state: i64,
    pub(crate) outcomes: Vec<u8>,
    pub(crate) intent: Option<Vec<u8>>,
}

impl ChunkRow {
    /// One beyond its last row.
    pub(crate) const fn end(&self) -> i64 {
        self.first_ordinal + self.row_count
    }
}

/// A chunk to store.
#[derive(Debug, Clone)]
pub(crate) struct NewChunk {
    pub(crate) chunk_no: i64,
    pub(crate) first_ordinal: i64,
    pub(crate) row_count: i64,
    pub(crate) content: Vec<u8>,
    pub(crate) root: Vec<u8>,
    pub(crate) narrations: Vec<u8>,
    pub(crate) totals: Vec<Total>,
}

/// An instruction as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct InstructionRow {
    pub(crate) ordinal: i64,
    pub(crate) instruction_id: String,
    pub(crate) payee: Vec<u8>,
    pub(crate) amount_minor: i64,
    pub(crate) institution: String,
    pub(crate) verdict: i64,
    pub(crate) narration_no: i64,
    /// The version of the payee's mapping when the row came in; 0 if there was none.
    pub(crate) mapping_version: i64,
}

/// A row that did not become an instruction.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct RefusedRow {
    pub(crate) ordinal: i64,
    pub(crate) instruction_id: String,
    pub(crate) reason_code: String,
    pub(crate) reason: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct TotalRow {
    pub(crate) institution: String,
    pub(crate) verdict: i64,
    pub(crate) item_count: i64,
    pub(crate) amount_minor: i64,
}

impl From<TotalRow> for Total {
    fn from(row: TotalRow) -> Self {
        Self {
            institution: row.institution,
            verdict: row.verdict,
            item_count: row.item_count,
            amount_minor: row.amount_minor,
        }
    }
}

/// Which of these ids the source block has used.
pub(crate) async fn used(
    tx: &mut Tx<'_>,
    source_no: i64,
    ids: &[&str],
) -> Result<Vec<String>, StoreError> {
    tx.query(USED)
        .bind(source_no)
        .bind_list(ids)
        .fetch_scalars()
        .await
}

pub(crate) async fn insert_instructions(
    tx: &mut Tx<'_>,
    batch_id: BatchId,
    source_no: i64,
    rows: &[InstructionRow],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let engine = tx.engine();
    let ordinals: Vec<i64> = rows.iter().map(|row| row.ordinal).collect();
    let ids: Vec<&str> = rows.iter().map(|row| row.instruction_id.as_str()).collect();
    let payees: Vec<&[u8]> = rows.iter().map(|row| row.payee.as_slice()).collect();
    let amounts: Vec<i64> = rows.iter().map(|row| row.amount_minor).collect();
    let institutions: Vec<&str> = rows.iter().map(|row| row.institution.as_str()).collect();
    let verdicts: Vec<i64> = rows.iter().map(|row| row.verdict).collect();
    let texts: Vec<i64> = rows.iter().map(|row| row.narration_no).collect();
    let versions: Vec<i64> = rows.iter().map(|row| row.mapping_version).collect();
    let query = tx.query(INSERT_INSTRUCTIONS).bind(batch_id).bind(source_no);
    bind_columns!(
        engine,
        query,
        &ordinals,
        &ids,
        &payees,
        &amounts,
        &institutions,
        &verdicts,
        &texts,
        &versions
    )
    .execute()
    .await
    .map(drop)
}

pub(crate) async fn insert_refused(
    tx: &mut Tx<'_>,
    batch_id: BatchId,
    rows: &[RefusedRow],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let engine = tx.engine();
    let ordinals: Vec<i64> = rows.iter().map(|row| row.ordinal).collect();
    let ids: Vec<&str> = rows.iter().map(|row| row.instruction_id.as_str()).collect();
    let codes: Vec<&str> = rows.iter().map(|row| row.reason_code.as_str()).collect();
    let reasons: Vec<&str> = rows.iter().map(|row| row.reason.as_str()).collect();
    let query = tx.query(INSERT_REFUSED).bind(batch_id);
    bind_columns!(engine, query, &ordinals, &ids, &codes, &reasons)
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    batch_id: BatchId,
    new: &NewChunk,
) -> Result<(), StoreError> {
    let engine = tx.engine();
    let length = usize::try_from(new.row_count).unwrap_or(0);
    tx.query(INSERT_CHUNK)
        .bind(batch_id)
        .bind(new.chunk_no)
        .bind(new.first_ordinal)
        .bind(new.row_count)
        .bind(new.content.as_slice())
        .bind(new.root.as_slice())
        .bind(new.narrations.as_slice())
        .bind(vec![0_u8; length])
        .execute()
        .await?;
    let institutions: Vec<&str> = new.totals.iter().map(|t| t.institution.as_str()).collect();
    let verdicts: Vec<i64> = new.totals.iter().map(|t| t.verdict).collect();
    let counts: Vec<i64> = new.totals.iter().map(|t| t.item_count).collect();
    let amounts: Vec<i64> = new.totals.iter().map(|t| t.amount_minor).collect();
    let query = tx.query(INSERT_TOTALS).bind(batch_id).bind(new.chunk_no);
    bind_columns!(engine, query, &institutions, &verdicts, &counts, &amounts)
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn find(
    ask: &mut impl Ask,
    batch_id: BatchId,
    chunk_no: i64,
) -> Result<Option<ChunkRow>, StoreError> {
    ask.ask(CHUNK)
        .bind(batch_id)
        .bind(chunk_no)
        .fetch_optional()
        .await
}

pub(crate) async fn all(
    ask: &mut impl Ask,
    batch_id: BatchId,
) -> Result<Vec<ChunkRow>, StoreError> {
    ask.ask(CHUNKS).bind(batch_id).fetch_all().await
}

/// The first chunks that have not come as far as `state`, at most so many.
pub(crate) async fn below(
    ask: &mut impl Ask,
    batch_id: BatchId,
    state: i64,
    most: i64,
) -> Result<Vec<ChunkRow>, StoreError> {
    ask.ask(BELOW)
        .bind(batch_id)
        .bind(state)
        .bind(most)
        .fetch_all()
        .await
}

pub(crate) async fn roots(
    ask: &mut impl Ask,
    batch_id: BatchId,
) -> Result<Vec<Vec<u8>>, StoreError> {
    ask.ask(ROOTS).bind(batch_id).fetch_scalars().await
}

pub(crate) async fn totals(
    ask: &mut impl Ask,
    batch_id: BatchId,
    chunk_no: i64,
) -> Result<Vec<Total>, StoreError> {
    let rows = ask
        .ask(TOTALS)
        .bind(batch_id)
        .bind(chunk_no)
        .fetch_all::<TotalRow>()
        .await?;
    Ok(rows.into_iter().map(Total::from).collect())
}

pub(crate) async fn sum_totals(
    ask: &mut impl Ask,
    batch_id: BatchId,
) -> Result<Vec<Total>, StoreError> {
    let rows = ask
        .ask(SUM_TOTALS)
        .bind(batch_id)
        .fetch_all::<TotalRow>()
        .await?;
    Ok(rows.into_iter().map(Total::from).collect())
}

/// Sums of what was sent, or replaced by vouchers, in the chunks whose outcomes are on record.
pub(crate) async fn sent_totals(
    ask: &mut impl Ask,
    batch_id: BatchId,
) -> Result<Vec<Total>, StoreError> {
    let rows = ask
        .ask(SENT_TOTALS)
        .bind(batch_id)
        .fetch_all::<TotalRow>()
        .await?;
    Ok(rows.into_iter().map(Total::from).collect())
}

/// What each chunk needs from the funding account.
pub(crate) async fn funded(
    ask: &mut impl Ask,
    batch_id: BatchId,
) -> Result<BTreeMap<i64, i64>, StoreError> {
    let rows = ask
        .ask(FUNDED)
        .bind(batch_id)
        .fetch_all::<(i64, i64)>()
        .await?;
    Ok(rows.into_iter().collect())
}

pub(crate) async fn set_hold(
    tx: &mut Tx<'_>,
    batch_id: BatchId,
    chunk_no: i64,
    hold: Uuid,
) -> Result<(), StoreError> {
    tx.query(SET_HOLD)
        .bind(batch_id)
        .bind(chunk_no)
        .bind(hold)
        .execute()
        .await
        .map(drop)
}

/// Moves a chunk on; an error if somebody else did.
pub(crate) async fn advance(
    tx: &mut Tx<'_>,
    batch_id: BatchId,
    chunk_no: i64,
    from: i64,
    to: i64,
) -> Result<(), Error> {
    let query = tx
        .query(ADVANCE)
        .bind(batch_id)
        .bind(chunk_no)
        .bind(from)
        .bind(to);
    match query.execute().await? {
        1 => Ok(()),
        _ => Err(Error::Store(StoreError::Conflict { source: None })),
    }
}

/// Notes that money of a chunk reached its payees now.
pub(crate) async fn set_settled(
    tx: &mut Tx<'_>,
    batch_id: BatchId,
    chunk_no: i64,
) -> Result<(), StoreError> {
    let now = tx.now();
    let query = tx.query(SET_SETTLED).bind(batch_id).bind(chunk_no);
    query.bind(now).execute().await.map(drop)
}

/// Keeps what a chunk's intent to send was recorded for: its keyed hash, and the versions of
/// mappings that changed after intake.
pub(crate) async fn set_intent(
    tx: &mut Tx<'_>,
    batch_id: BatchId,
    chunk_no: i64,
    intent: &[u8],
    resolved: &[(i64, i64)],
) -> Result<(), StoreError> {
    let query = tx.query(SET_INTENT).bind(batch_id).bind(chunk_no);
    query.bind(intent).execute().await?;
    if resolved.is_empty() {
        return Ok(());
    }
    let engine = tx.engine();
    let ordinals: Vec<i64> = resolved.iter().map(|row| row.0).collect();
    let versions: Vec<i64> = resolved.iter().map(|row| row.1).collect();
    let query = tx.query(INSERT_RESOLVED).bind(batch_id);
    bind_columns!(engine, query, &ordinals, &versions)
        .execute()
        .await
        .map(drop)
}

/// Versions of mappings that an intent to send was recorded for, where they are not those of
/// intake, by ordinal.
pub(crate) async fn resolved(
    ask: &mut impl Ask,
    batch_id: BatchId,
    from: i64,
    to: i64,
) -> Result<BTreeMap<i64, i64>, StoreError> {
    let query = ask.ask(RESOLVED).bind(batch_id).bind(from).bind(to);
    let rows = query.fetch_all::<(i64, i64)>().await?;
    Ok(rows.into_iter().collect())
}

/// Notes which transfers a chunk caused.
pub(crate) async fn insert_group(
    tx: &mut Tx<'_>,
    batch_id: BatchId,
    chunk_no: i64,
    group: GroupId,
) -> Result<(), StoreError> {
    let query = tx.query(INSERT_GROUP).bind(batch_id).bind(chunk_no);
    let query = query.bind(group.transfer(0)).bind(group.transfer(u16::MAX));
    query.execute().await.map(drop)
}

/// What moved in the ledger for a batch, by pair of accounts.
pub(crate) async fn ledger_sums(
    ask: &mut impl Ask,
    batch_id: BatchId,
) -> Result<Vec<(AccountId, AccountId, i64)>, StoreError> {
    ask.ask(LEDGER_SUMS).bind(batch_id).fetch_all().await
}

pub(crate) async fn set_outcomes(
    tx: &mut Tx<'_>,
    batch_id: BatchId,
    chunk_no: i64,
    outcomes: &[u8],
) -> Result<(), StoreError> {
    let query = tx
        .query(SET_OUTCOMES)
        .bind(batch_id)
        .bind(chunk_no)
        .bind(outcomes);
    query.execute().await.map(drop)
}

/// The instructions of a range of rows, in order.
pub(crate) async fn rows(
    ask: &mut impl Ask,
    batch_id: BatchId,
    from: i64,
    to: i64,
) -> Result<Vec<InstructionRow>, StoreError> {
    ask.ask(ROWS)
        .bind(batch_id)
        .bind(from)
        .bind(to)
        .fetch_all()
        .await
}

pub(crate) async fn page(
    ask: &mut impl Ask,
    batch_id: BatchId,
    after: i64,
    limit: i64,
) -> Result<Vec<InstructionRow>, StoreError> {
    ask.ask(PAGE)
        .bind(batch_id)
        .bind(after)
        .bind(limit)
        .fetch_all()
        .await
}

pub(crate) async fn find_row(
    ask: &mut impl Ask,
    batch_id: BatchId,
    ordinal: i64,
) -> Result<Option<InstructionRow>, StoreError> {
    ask.ask(FIND_ROW)
        .bind(batch_id)
        .bind(ordinal)
        .fetch_optional()
        .await
}

pub(crate) async fn find_by_id(
    ask: &mut impl Ask,
    batch_id: BatchId,
    source_no: i64,
    instruction_id: &str,
) -> Result<Option<InstructionRow>, StoreError> {
    let query = ask.ask(FIND_BY_ID).bind(batch_id).bind(source_no);
    query.bind(instruction_id).fetch_optional().await
}

/// Refusals after one row and before another.
pub(crate) async fn refused(
    ask: &mut impl Ask,
    batch_id: BatchId,
    after: i64,
    before: i64,
    limit: i64,
) -> Result<Vec<RefusedRow>, StoreError> {
    ask.ask(REFUSED)
        .bind(batch_id)
        .bind(after)
        .bind(before)
        .bind(limit)
        .fetch_all()
        .await
}

pub(crate) async fn refused_reasons(
    ask: &mut impl Ask,
    batch_id: BatchId,
) -> Result<Vec<(String, i64)>, StoreError> {
    ask.ask(REFUSED_REASONS).bind(batch_id).fetch_all().await
}
