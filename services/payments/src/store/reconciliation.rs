//! What does not agree between statements and the ledger.

use publica_store::{StoreError, Tx, statements};
use publica_types::{Timestamp, Uuid};

use crate::domain::ids::{BatchId, TransferId};
use crate::store::Ask;

statements! {
    INSERT = "INSERT INTO reconciliation_item (item_id, kind, currency, expected_minor, \
        found_minor, batch_id, ordinal, statement_id, line_no, since, state, resolution, maker, \
        checker) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, 0, '', '') \
        ON CONFLICT DO NOTHING",
    FIND = "SELECT i.item_id, i.kind, i.currency, i.expected_minor, i.found_minor, i.batch_id, \
        i.ordinal, i.statement_id, i.line_no, i.since, i.state, i.resolution, i.maker, i.checker, \
        i.transfer_id, l.reference FROM reconciliation_item i LEFT JOIN statement_line l \
        ON l.statement_id = i.statement_id AND l.line_no = i.line_no WHERE i.item_id = $1",
    // Whoever decides on an item must keep others out until it is written.
    LOCK = {
        sqlite: "SELECT state FROM reconciliation_item WHERE item_id = $1",
        postgres: "SELECT state FROM reconciliation_item WHERE item_id = $1 FOR UPDATE",
    },
    LIST = "SELECT i.item_id, i.kind, i.currency, i.expected_minor, i.found_minor, i.batch_id, \
        i.ordinal, i.statement_id, i.line_no, i.since, i.state, i.resolution, i.maker, i.checker, \
        i.transfer_id, l.reference FROM reconciliation_item i LEFT JOIN statement_line l \
        ON l.statement_id = i.statement_id AND l.line_no = i.line_no \
        WHERE (i.since, i.item_id) > ($1, $2) AND ($3 = 0 OR i.state = $3) \
        AND ($4 = 0 OR i.kind = $4) ORDER BY i.since, i.item_id LIMIT $5",
    SET = "UPDATE reconciliation_item SET state = $3, resolution = $4, maker = $5, \
        checker = $6, transfer_id = $7 WHERE item_id = $1 AND state = $2",
    MISSING = "SELECT item_id, kind, currency, expected_minor, found_minor, batch_id, ordinal, \
        statement_id, line_no, since, state, resolution, maker, checker, transfer_id, \
        CAST(NULL AS TEXT) AS reference FROM reconciliation_item \
        WHERE kind = 1 AND batch_id = $1 AND ordinal >= $2 AND ordinal < $3",
    OF_LINE = "SELECT item_id, kind, currency, expected_minor, found_minor, batch_id, ordinal, \
        statement_id, line_no, since, state, resolution, maker, checker, transfer_id, \
        CAST(NULL AS TEXT) AS reference FROM reconciliation_item \
        WHERE statement_id = $1 AND line_no = $2",
    OPENED_BY = "SELECT COUNT(*) FROM reconciliation_item WHERE statement_id = $1",
    AGES = "SELECT kind, bucket, COUNT(*) AS item_count, \
        CAST(SUM(stake_minor) AS BIGINT) AS amount_minor FROM (SELECT kind, \
        CAST(CASE WHEN since > $2 THEN 0 WHEN since > $3 THEN 1 WHEN since > $4 THEN 2 \
        WHEN since > $5 THEN 3 ELSE 4 END AS BIGINT) AS bucket, \
        CASE WHEN kind = 1 THEN expected_minor WHEN kind = 3 \
        THEN ABS(found_minor - expected_minor) ELSE found_minor END AS stake_minor \
        FROM reconciliation_item WHERE currency = $1 AND state IN (1, 2)) AS open_item \
        GROUP BY kind, bucket ORDER BY kind, bucket",
}

/// An item as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct ItemRow {
    pub(crate) item_id: Uuid,
    pub(crate) kind: i64,
    pub(crate) currency: String,
    pub(crate) expected_minor: i64,
    pub(crate) found_minor: i64,
    pub(crate) batch_id: Option<BatchId>,
    pub(crate) ordinal: Option<i64>,
    /// Whose line it is, or which did not show it.
    pub(crate) statement_id: String,
    pub(crate) line_no: Option<i64>,
    pub(crate) since: Timestamp,
    pub(crate) state: i64,
    pub(crate) resolution: i64,
    pub(crate) maker: String,
    pub(crate) checker: String,
    pub(crate) transfer_id: Option<TransferId>,
    /// The bank's reference of the line, where it was asked for.
    pub(crate) reference: Option<String>,
}

/// An item to open.
#[derive(Debug, Clone)]
pub(crate) struct NewItem {
    pub(crate) kind: i64,
    pub(crate) expected_minor: i64,
    pub(crate) found_minor: i64,
    pub(crate) payment: Option<(BatchId, i64)>,
    pub(crate) line_no: Option<i64>,
    pub(crate) since: Timestamp,
}

/// How an item is changed.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) resolution: i64,
    pub(crate) maker: String,
    pub(crate) checker: String,
    pub(crate) transfer_id: Option<TransferId>,
}

/// What of one kind is in one bucket of age.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct AgeRow {
    pub(crate) kind: i64,
    pub(crate) bucket: i64,
    pub(crate) item_count: i64,
    pub(crate) amount_minor: i64,
}

/// Opens an item; false if it is there already.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    item_id: Uuid,
    (statement_id, currency): (&str, &str),
    item: &NewItem,
) -> Result<bool, StoreError> {
    let query = tx.query(INSERT).bind(item_id).bind(item.kind);
    let query = query.bind(currency).bind(item.expected_minor);
    let query = query.bind(item.found_minor);
    let query = query.bind(item.payment.map(|payment| payment.0));
    let query = query.bind(item.payment.map(|payment| payment.1));
    let query = query.bind(statement_id).bind(item.line_no);
    Ok(query.bind(item.since).execute().await? == 1)
}

pub(crate) async fn find(ask: &mut impl Ask, item_id: Uuid) -> Result<Option<ItemRow>, StoreError> {
    ask.ask(FIND).bind(item_id).fetch_optional().await
}

/// The same, for whoever is going to change it.
pub(crate) async fn lock(tx: &mut Tx<'_>, item_id: Uuid) -> Result<Option<ItemRow>, StoreError> {
    let state: Option<i64> = tx.query(LOCK).bind(item_id).fetch_scalar_optional().await?;
    match state {
        Some(_) => find(tx, item_id).await,
        None => Ok(None),
    }
}

pub(crate) async fn list(
    ask: &mut impl Ask,
    (since, item_id): (Timestamp, Uuid),
    (state, kind): (i64, i64),
    limit: i64,
) -> Result<Vec<ItemRow>, StoreError> {
    let query = ask.ask(LIST).bind(since).bind(item_id);
    query.bind(state).bind(kind).bind(limit).fetch_all().await
}

/// Changes an item; false if it was not in that state.
pub(crate) async fn set(
    tx: &mut Tx<'_>,
    item_id: Uuid,
    change: &Change,
) -> Result<bool, StoreError> {
    let query = tx.query(SET).bind(item_id).bind(change.from);
    let query = query.bind(change.to).bind(change.resolution);
    let query = query
        .bind(change.maker.as_str())
        .bind(change.checker.as_str());
    Ok(query.bind(change.transfer_id).execute().await? == 1)
}

/// What is or was missing of a part of a batch.
pub(crate) async fn missing(
    ask: &mut impl Ask,
    batch_id: BatchId,
    from: i64,
    to: i64,
) -> Result<Vec<ItemRow>, StoreError> {
    let query = ask.ask(MISSING).bind(batch_id);
    query.bind(from).bind(to).fetch_all().await
}

/// The item that a line is.
pub(crate) async fn of_line(
    ask: &mut impl Ask,
    statement_id: &str,
    line_no: i64,
) -> Result<Option<ItemRow>, StoreError> {
    let query = ask.ask(OF_LINE).bind(statement_id).bind(line_no);
    query.fetch_optional().await
}

/// How many items a statement opened.
pub(crate) async fn opened_by(ask: &mut impl Ask, statement_id: &str) -> Result<i64, StoreError> {
    ask.ask(OPENED_BY).bind(statement_id).fetch_scalar().await
}

/// What is not dealt with, by kind and age. The moments are those after which an item is in the
/// first, second, third and fourth bucket.
pub(crate) async fn ages(
    ask: &mut impl Ask,
    currency: &str,
    after: [Timestamp; 4],
) -> Result<Vec<AgeRow>, StoreError> {
    let query = ask.ask(AGES).bind(currency);
    let query = after.into_iter().fold(query, |query, at| query.bind(at));
    query.fetch_all().await
}
