//! Batches and their approvals.

use publica_store::{StoreError, Tx, statements};
use publica_types::Timestamp;

use crate::domain::batch::State;
use crate::domain::ids::{AccountId, BatchId, ProgrammeId};
use crate::error::Error;
use crate::store::Ask;

statements! {
    INSERT = "INSERT INTO batch (batch_id, source_no, source_request, source_batch, \
        programme_id, currency, fingerprint, state, state_reason, maker, process_id, \
        expected_count, chunk_rows, received_count, refused_count, accepted_count, \
        accepted_minor, unresolved_count, unresolved_minor, created_at, updated_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', $9, $10, $11, $12, 0, 0, 0, 0, 0, 0, $13, \
        $13) ON CONFLICT DO NOTHING",
    FIND = "SELECT batch_id, source_no, source_request, source_batch, programme_id, currency, \
        fingerprint, state, state_reason, maker, process_id, expected_count, chunk_rows, \
        received_count, refused_count, accepted_count, accepted_minor, unresolved_count, \
        unresolved_minor, root, digest, reconciliation, created_at, updated_at \
        FROM batch WHERE batch_id = $1",
    FIND_BY_REQUEST = "SELECT batch_id, source_no, source_request, source_batch, programme_id, \
        currency, fingerprint, state, state_reason, maker, process_id, expected_count, \
        chunk_rows, received_count, refused_count, accepted_count, accepted_minor, \
        unresolved_count, unresolved_minor, root, digest, reconciliation, created_at, \
        updated_at FROM batch WHERE source_no = $1 AND source_request = $2",
    LIST = "SELECT batch_id, source_no, source_request, source_batch, programme_id, currency, \
        fingerprint, state, state_reason, maker, process_id, expected_count, chunk_rows, \
        received_count, refused_count, accepted_count, accepted_minor, unresolved_count, \
        unresolved_minor, root, digest, reconciliation, created_at, updated_at \
        FROM batch WHERE (created_at, batch_id) < ($1, $2) AND ($3 = 0 OR state = $3) \
        ORDER BY created_at DESC, batch_id DESC LIMIT $4",
    // A unit that reads a batch and then changes it must keep others out meanwhile.
    LOCK = {
        sqlite: "SELECT state FROM batch WHERE batch_id = $1",
        postgres: "SELECT state FROM batch WHERE batch_id = $1 FOR UPDATE",
    },
    ADD_ROWS = "UPDATE batch SET received_count = received_count + $2, \
        refused_count = refused_count + $3, accepted_count = accepted_count + $4, \
        accepted_minor = accepted_minor + $5, unresolved_count = unresolved_count + $6, \
        unresolved_minor = unresolved_minor + $7, updated_at = $8 WHERE batch_id = $1",
    COMPLETE = "UPDATE batch SET root = $2, digest = $3 WHERE batch_id = $1",
    SET_STATE = "UPDATE batch SET state = $3, state_reason = $4, updated_at = $5 \
        WHERE batch_id = $1 AND state = $2",
    RECONCILE = "UPDATE batch SET reconciliation = $2, updated_at = $3 WHERE batch_id = $1",
    // In these states funds are not held yet.
    WAITING = "SELECT CAST(COALESCE(SUM(b.accepted_minor), 0) AS BIGINT) FROM batch b \
        JOIN programme p ON p.programme_id = b.programme_id \
        WHERE p.funding_account_id = $1 AND b.batch_id <> $2 AND b.state IN ($3, $4, $5)",
    APPROVE = "INSERT INTO batch_approval (batch_id, digest, approver, approved_at) \
        VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    APPROVALS = "SELECT approver, approved_at, digest FROM batch_approval \
        WHERE batch_id = $1 AND digest = $2 ORDER BY approved_at, approver",
}

/// A batch as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct BatchRow {
    pub(crate) batch_id: BatchId,
    pub(crate) source_no: i64,
    pub(crate) source_request: String,
    pub(crate) source_batch: String,
    pub(crate) programme_id: ProgrammeId,
    pub(crate) currency: String,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) state: i64,
    pub(crate) state_reason: String,
    pub(crate) maker: String,
    pub(crate) process_id: Option<String>,
    pub(crate) expected_count: i64,
    pub(crate) chunk_rows: i64,
    pub(crate) received_count: i64,
    pub(crate) refused_count: i64,
    pub(crate) accepted_count: i64,
    pub(crate) accepted_minor: i64,
    pub(crate) unresolved_count: i64,
    pub(crate) unresolved_minor: i64,
    pub(crate) root: Option<Vec<u8>>,
    pub(crate) digest: Option<Vec<u8>>,
    pub(crate) reconciliation: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

impl BatchRow {
    pub(crate) fn state(&self) -> Result<State, Error> {
        State::of_code(self.state).ok_or(Error::corrupt("batch state"))
    }
}

/// A batch to announce.
#[derive(Debug, Clone)]
pub(crate) struct NewBatch {
    pub(crate) batch_id: BatchId,
    pub(crate) source_no: i64,
    pub(crate) source_request: String,
    pub(crate) source_batch: String,
    pub(crate) programme_id: ProgrammeId,
    pub(crate) currency: String,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) maker: String,
    pub(crate) process_id: Option<String>,
    pub(crate) expected_count: i64,
    pub(crate) chunk_rows: i64,
}

/// What a chunk adds to its batch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Added {
    pub(crate) received: i64,
    pub(crate) refused: i64,
    pub(crate) accepted: i64,
    pub(crate) accepted_minor: i64,
    pub(crate) unresolved: i64,
    pub(crate) unresolved_minor: i64,
}

/// An approval as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct ApprovalRow {
    pub(crate) approver: String,
    pub(crate) approved_at: Timestamp,
    pub(crate) digest: Vec<u8>,
}

/// True if the batch was new.
pub(crate) async fn insert(tx: &mut Tx<'_>, new: &NewBatch) -> Result<bool, StoreError> {
    let now = tx.now();
    let inserted = tx
        .query(INSERT)
        .bind(new.batch_id)
        .bind(new.source_no)
        .bind(new.source_request.as_str())
        .bind(new.source_batch.as_str())
        .bind(new.programme_id)
        .bind(new.currency.as_str())
        .bind(new.fingerprint.as_slice())
        .bind(State::Received.code())
        .bind(new.maker.as_str())
        .bind(new.process_id.as_deref())
        .bind(new.expected_count)
        .bind(new.chunk_rows)
        .bind(now)
        .execute()
        .await?;
    Ok(inserted == 1)
}

pub(crate) async fn find(ask: &mut impl Ask, id: BatchId) -> Result<Option<BatchRow>, StoreError> {
    ask.ask(FIND).bind(id).fetch_optional().await
}

pub(crate) async fn find_by_request(
    ask: &mut impl Ask,
    source_no: i64,
    source_request: &str,
) -> Result<Option<BatchRow>, StoreError> {
    ask.ask(FIND_BY_REQUEST)
        .bind(source_no)
        .bind(source_request)
        .fetch_optional()
        .await
}

/// Reads a batch and keeps others from changing it until the unit ends.
pub(crate) async fn lock(tx: &mut Tx<'_>, id: BatchId) -> Result<BatchRow, Error> {
    tx.query(LOCK)
        .bind(id)
        .fetch_scalar_optional::<i64>()
        .await?;
    find(tx, id).await?.ok_or(Error::not_found("batch"))
}

/// Batches before a place, newest first. State 0 means any.
pub(crate) async fn list(
    ask: &mut impl Ask,
    before: (Timestamp, BatchId),
    state: i64,
    limit: i64,
) -> Result<Vec<BatchRow>, StoreError> {
    let query = ask.ask(LIST).bind(before.0).bind(before.1);
    query.bind(state).bind(limit).fetch_all().await
}

pub(crate) async fn add_rows(
    tx: &mut Tx<'_>,
    id: BatchId,
    added: &Added,
) -> Result<(), StoreError> {
    let now = tx.now();
    let query = tx
        .query(ADD_ROWS)
        .bind(id)
        .bind(added.received)
        .bind(added.refused);
    let query = query.bind(added.accepted).bind(added.accepted_minor);
    let query = query.bind(added.unresolved).bind(added.unresolved_minor);
    query.bind(now).execute().await.map(drop)
}

pub(crate) async fn complete(
    tx: &mut Tx<'_>,
    id: BatchId,
    root: &[u8],
    digest: &[u8],
) -> Result<(), StoreError> {
    tx.query(COMPLETE)
        .bind(id)
        .bind(root)
        .bind(digest)
        .execute()
        .await
        .map(drop)
}

/// Moves a batch from the state it is in, which must allow it.
pub(crate) async fn set_state(
    tx: &mut Tx<'_>,
    batch: &BatchRow,
    next: State,
    reason: &str,
) -> Result<(), Error> {
    let state = batch.state()?;
    if !state.may_become(next) {
        return Err(Error::BatchState {
            state: state.as_str(),
        });
    }
    let now = tx.now();
    let query = tx.query(SET_STATE).bind(batch.batch_id).bind(state.code());
    let changed = query
        .bind(next.code())
        .bind(reason)
        .bind(now)
        .execute()
        .await?;
    match changed {
        1 => Ok(()),
        _ => Err(Error::BatchState {
            state: state.as_str(),
        }),
    }
}

pub(crate) async fn reconcile(
    tx: &mut Tx<'_>,
    id: BatchId,
    report: &str,
) -> Result<(), StoreError> {
    let now = tx.now();
    tx.query(RECONCILE)
        .bind(id)
        .bind(report)
        .bind(now)
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn approve(
    tx: &mut Tx<'_>,
    id: BatchId,
    digest: &[u8],
    approver: &str,
) -> Result<(), StoreError> {
    let now = tx.now();
    let query = tx.query(APPROVE).bind(id).bind(digest);
    query.bind(approver).bind(now).execute().await.map(drop)
}

pub(crate) async fn approvals(
    ask: &mut impl Ask,
    batch: &BatchRow,
) -> Result<Vec<ApprovalRow>, StoreError> {
    match &batch.digest {
        None => Ok(Vec::new()),
        Some(digest) => {
            ask.ask(APPROVALS)
                .bind(batch.batch_id)
                .bind(digest.as_slice())
                .fetch_all()
                .await
        }
    }
}

/// What batches on a funding account, but for one, may still take from it.
pub(crate) async fn waiting(
    ask: &mut impl Ask,
    account: AccountId,
    but: BatchId,
) -> Result<i64, StoreError> {
    let query = ask.ask(WAITING).bind(account).bind(but);
    let states = [State::PendingApproval, State::Approved, State::Authorising];
    let query = states
        .into_iter()
        .fold(query, |query, state| query.bind(state.code()));
    query.fetch_scalar().await
}
