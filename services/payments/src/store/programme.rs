//! Funding accounts, programmes and source blocks.

use publica_store::{StoreError, Tx, statements};
use publica_types::Timestamp;

use crate::domain::ids::{AccountId, ProgrammeId};
use crate::store::Ask;

statements! {
    INSERT_FUNDING = "INSERT INTO funding_account (account_id, name, currency, voucher_group) \
        VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    FIND_FUNDING = "SELECT f.account_id, f.name, f.currency, f.voucher_group, \
        a.debits_pending, a.debits_posted, a.credits_posted FROM funding_account f \
        JOIN ledger_account a ON a.account_id = f.account_id WHERE f.account_id = $1",
    FIND_FUNDING_BY_NAME = "SELECT f.account_id, f.name, f.currency, f.voucher_group, \
        a.debits_pending, a.debits_posted, a.credits_posted FROM funding_account f \
        JOIN ledger_account a ON a.account_id = f.account_id WHERE f.name = $1",
    FIND_FUNDING_OF_GROUP = "SELECT f.account_id, f.name, f.currency, f.voucher_group, \
        a.debits_pending, a.debits_posted, a.credits_posted FROM funding_account f \
        JOIN ledger_account a ON a.account_id = f.account_id \
        WHERE f.voucher_group = $1 AND f.currency = $2 AND f.voucher_group <> ''",
    LIST_FUNDING = "SELECT f.account_id, f.name, f.currency, f.voucher_group, \
        a.debits_pending, a.debits_posted, a.credits_posted FROM funding_account f \
        JOIN ledger_account a ON a.account_id = f.account_id WHERE f.name > $1 \
        ORDER BY f.name LIMIT $2",
    INSERT_PROGRAMME = "INSERT INTO programme (programme_id, code, name, currency, \
        funding_account_id, fallback_group, approvals_needed, batch_ceiling_minor, stopped, \
        created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
    FIND_PROGRAMME = "SELECT programme_id, code, name, currency, funding_account_id, \
        fallback_group, approvals_needed, batch_ceiling_minor, stopped, created_at \
        FROM programme WHERE programme_id = $1",
    FIND_PROGRAMME_BY_CODE = "SELECT programme_id, code, name, currency, funding_account_id, \
        fallback_group, approvals_needed, batch_ceiling_minor, stopped, created_at \
        FROM programme WHERE code = $1",
    LIST_PROGRAMMES = "SELECT programme_id, code, name, currency, funding_account_id, \
        fallback_group, approvals_needed, batch_ceiling_minor, stopped, created_at \
        FROM programme WHERE code > $1 ORDER BY code LIMIT $2",
    STOP_PROGRAMME = "UPDATE programme SET stopped = $2 WHERE programme_id = $1",
    INSERT_SOURCE = "INSERT INTO source_block (source_no, source_id, name, programme_id, active, \
        created_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    FIND_SOURCE = "SELECT source_no, source_id, name, programme_id, active FROM source_block \
        WHERE source_id = $1",
    FIND_SOURCE_BY_NO = "SELECT source_no, source_id, name, programme_id, active \
        FROM source_block WHERE source_no = $1",
    LIST_SOURCES = "SELECT source_no, source_id, name, programme_id, active FROM source_block \
        WHERE source_id > $1 ORDER BY source_id LIMIT $2",
}

/// A funding account with its counters.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct FundingRow {
    pub(crate) account_id: AccountId,
    pub(crate) name: String,
    pub(crate) currency: String,
    pub(crate) voucher_group: String,
    pub(crate) debits_pending: i64,
    pub(crate) debits_posted: i64,
    pub(crate) credits_posted: i64,
}

/// A programme as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct ProgrammeRow {
    pub(crate) programme_id: ProgrammeId,
    pub(crate) code: String,
    pub(crate) name: String,
    pub(crate) currency: String,
    pub(crate) funding_account_id: AccountId,
    pub(crate) fallback_group: String,
    pub(crate) approvals_needed: i64,
    pub(crate) batch_ceiling_minor: i64,
    pub(crate) stopped: bool,
    pub(crate) created_at: Timestamp,
}

/// A source block as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct SourceRow {
    pub(crate) source_no: i64,
    pub(crate) source_id: String,
    pub(crate) name: String,
    pub(crate) programme_id: Option<ProgrammeId>,
    pub(crate) active: bool,
}

/// True if the account was new.
pub(crate) async fn insert_funding(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    name: &str,
    currency: &str,
    voucher_group: &str,
) -> Result<bool, StoreError> {
    let query = tx
        .query(INSERT_FUNDING)
        .bind(account_id)
        .bind(name)
        .bind(currency);
    Ok(query.bind(voucher_group).execute().await? == 1)
}

pub(crate) async fn find_funding(
    ask: &mut impl Ask,
    id: AccountId,
) -> Result<Option<FundingRow>, StoreError> {
    ask.ask(FIND_FUNDING).bind(id).fetch_optional().await
}

/// Finds a funding account by its id or its name.
pub(crate) async fn find_funding_by(
    ask: &mut impl Ask,
    id_or_name: &str,
) -> Result<Option<FundingRow>, StoreError> {
    match id_or_name.parse::<AccountId>() {
        Ok(id) => find_funding(ask, id).await,
        Err(_) => {
            ask.ask(FIND_FUNDING_BY_NAME)
                .bind(id_or_name)
                .fetch_optional()
                .await
        }
    }
}

pub(crate) async fn find_funding_of_group(
    ask: &mut impl Ask,
    voucher_group: &str,
    currency: &str,
) -> Result<Option<FundingRow>, StoreError> {
    ask.ask(FIND_FUNDING_OF_GROUP)
        .bind(voucher_group)
        .bind(currency)
        .fetch_optional()
        .await
}

pub(crate) async fn list_funding(
    ask: &mut impl Ask,
    after: &str,
    limit: i64,
) -> Result<Vec<FundingRow>, StoreError> {
    ask.ask(LIST_FUNDING)
        .bind(after)
        .bind(limit)
        .fetch_all()
        .await
}

/// True if the programme was new.
pub(crate) async fn insert_programme(
    tx: &mut Tx<'_>,
    row: &ProgrammeRow,
) -> Result<bool, StoreError> {
    let inserted = tx
        .query(INSERT_PROGRAMME)
        .bind(row.programme_id)
        .bind(row.code.as_str())
        .bind(row.name.as_str())
        .bind(row.currency.as_str())
        .bind(row.funding_account_id)
        .bind(row.fallback_group.as_str())
        .bind(row.approvals_needed)
        .bind(row.batch_ceiling_minor)
        .bind(row.stopped)
        .bind(row.created_at)
        .execute()
        .await?;
    Ok(inserted == 1)
}

pub(crate) async fn find_programme(
    ask: &mut impl Ask,
    id: ProgrammeId,
) -> Result<Option<ProgrammeRow>, StoreError> {
    ask.ask(FIND_PROGRAMME).bind(id).fetch_optional().await
}

/// Finds a programme by its id or its code.
pub(crate) async fn find_programme_by(
    ask: &mut impl Ask,
    id_or_code: &str,
) -> Result<Option<ProgrammeRow>, StoreError> {
    match id_or_code.parse::<ProgrammeId>() {
        Ok(id) => find_programme(ask, id).await,
        Err(_) => {
            ask.ask(FIND_PROGRAMME_BY_CODE)
                .bind(id_or_code)
                .fetch_optional()
                .await
        }
    }
}

pub(crate) async fn list_programmes(
    ask: &mut impl Ask,
    after: &str,
    limit: i64,
) -> Result<Vec<ProgrammeRow>, StoreError> {
    ask.ask(LIST_PROGRAMMES)
        .bind(after)
        .bind(limit)
        .fetch_all()
        .await
}

pub(crate) async fn stop_programme(
    tx: &mut Tx<'_>,
    id: ProgrammeId,
    stopped: bool,
) -> Result<(), StoreError> {
    tx.query(STOP_PROGRAMME)
        .bind(id)
        .bind(stopped)
        .execute()
        .await
        .map(drop)
}

/// True if the source block was new.
pub(crate) async fn insert_source(tx: &mut Tx<'_>, row: &SourceRow) -> Result<bool, StoreError> {
    let now = tx.now();
    let inserted = tx
        .query(INSERT_SOURCE)
        .bind(row.source_no)
        .bind(row.source_id.as_str())
        .bind(row.name.as_str())
        .bind(row.programme_id)
        .bind(row.active)
        .bind(now)
        .execute()
        .await?;
    Ok(inserted == 1)
}

pub(crate) async fn find_source(
    ask: &mut impl Ask,
    source_id: &str,
) -> Result<Option<SourceRow>, StoreError> {
    ask.ask(FIND_SOURCE).bind(source_id).fetch_optional().await
}

pub(crate) async fn find_source_by_no(
    ask: &mut impl Ask,
    source_no: i64,
) -> Result<Option<SourceRow>, StoreError> {
    ask.ask(FIND_SOURCE_BY_NO)
        .bind(source_no)
        .fetch_optional()
        .await
}

pub(crate) async fn list_sources(
    ask: &mut impl Ask,
    after: &str,
    limit: i64,
) -> Result<Vec<SourceRow>, StoreError> {
    ask.ask(LIST_SOURCES)
        .bind(after)
        .bind(limit)
        .fetch_all()
        .await
}
