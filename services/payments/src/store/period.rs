//! Accounting periods, their balances, and transfers that took effect before they were made.

use std::collections::BTreeMap;

use publica_store::{StoreError, Tx, statements};
use publica_types::{Timestamp, Uuid};

use crate::domain::ids::{AccountId, TransferId};
use crate::domain::ledger::Counters;
use crate::domain::merkle::Hash;
use crate::domain::period::{Balance, PAGE, state};
use crate::error::Error;
use crate::store::Ask;
use crate::store::columns::bind_columns;
use crate::store::ledger::{AccountRow, CurrencyRow, Made, Order};

statements! {
    INSERT = "INSERT INTO ledger_period (period_id, period_no, starts_at, ends_at, state, \
        account_count, page_count) VALUES ($1, $2, $3, $4, 1, 0, 0)",
    FIND = "SELECT period_id, period_no, starts_at, ends_at, state, cursor_id, account_count, \
        page_count, root, closed_at FROM ledger_period WHERE period_id = $1",
    // Whoever takes a step of the close must be alone with it.
    LOCK = {
        sqlite: "SELECT period_id, period_no, starts_at, ends_at, state, cursor_id, \
            account_count, page_count, root, closed_at FROM ledger_period WHERE period_id = $1",
        postgres: "SELECT period_id, period_no, starts_at, ends_at, state, cursor_id, \
            account_count, page_count, root, closed_at FROM ledger_period WHERE period_id = $1 \
            FOR UPDATE",
    },
    LAST = "SELECT period_id, period_no, starts_at, ends_at, state, cursor_id, account_count, \
        page_count, root, closed_at FROM ledger_period ORDER BY period_no DESC LIMIT 1",
    LIST = "SELECT period_id, period_no, starts_at, ends_at, state, cursor_id, account_count, \
        page_count, root, closed_at FROM ledger_period WHERE period_no > $1 \
        ORDER BY period_no LIMIT $2",
    COUNT_UNCLOSED = "SELECT COUNT(*) FROM ledger_period WHERE period_no < $1 AND state <> 4",
    FRONTIER = "SELECT ends_at FROM ledger_period WHERE state <> 1 \
        ORDER BY period_no DESC LIMIT 1",
    ADVANCE = "UPDATE ledger_period SET state = $2, cursor_id = $3, \
        account_count = account_count + $4, page_count = page_count + $5 WHERE period_id = $1",
    SET_CLOSED = "UPDATE ledger_period SET state = 4, cursor_id = NULL, root = $2, \
        closed_at = $3 WHERE period_id = $1",
    // Accounts that the period has no balance of yet.
    LOCK_PAGE = {
        sqlite: "SELECT account_id, code, currency, kind, debits_pending, debits_posted, \
            credits_pending, credits_posted, floor_minor, closed, version, moved_at, closed_to \
            FROM ledger_account WHERE account_id > $1 \
            AND (closed_to IS NULL OR closed_to < $2) ORDER BY account_id LIMIT $3",
        postgres: "SELECT account_id, code, currency, kind, debits_pending, debits_posted, \
            credits_pending, credits_posted, floor_minor, closed, version, moved_at, closed_to \
            FROM ledger_account WHERE account_id > $1 \
            AND (closed_to IS NULL OR closed_to < $2) ORDER BY account_id LIMIT $3 FOR UPDATE",
    },
    // The last movement of each account before a moment: one step of the index an account.
    BEFORE = {
        sqlite: "SELECT m.account_id, m.debits_pending, m.debits_posted, m.credits_pending, \
            m.credits_posted FROM json_each($1) j JOIN account_movement m ON m.rowid = \
            (SELECT n.rowid FROM account_movement n WHERE n.account_id = unhex(j.value) \
            AND n.moved_at < $2 ORDER BY n.moved_at DESC, n.version DESC LIMIT 1)",
        postgres: "SELECT m.account_id, m.debits_pending, m.debits_posted, m.credits_pending, \
            m.credits_posted FROM UNNEST($1::uuid[]) AS v (id) CROSS JOIN LATERAL \
            (SELECT n.account_id, n.debits_pending, n.debits_posted, n.credits_pending, \
            n.credits_posted FROM account_movement n WHERE n.account_id = v.id \
            AND n.moved_at < $2 ORDER BY n.moved_at DESC, n.version DESC LIMIT 1) AS m",
    },
    // What took effect before a moment but was made later, by side and account.
    LATE_DEBITS = "SELECT debit_id AS account_id, \
        CAST(SUM(amount_minor) AS BIGINT) AS amount_minor FROM transfer_effective \
        WHERE made_at >= $1 AND effective_at < $1 AND debit_id >= $2 AND debit_id <= $3 \
        GROUP BY debit_id",
    LATE_CREDITS = "SELECT credit_id AS account_id, \
        CAST(SUM(amount_minor) AS BIGINT) AS amount_minor FROM transfer_effective \
        WHERE made_at >= $1 AND effective_at < $1 AND credit_id >= $2 AND credit_id <= $3 \
        GROUP BY credit_id",
    INSERT_BALANCES = {
        sqlite: "INSERT INTO period_balance (period_id, account_id, debits_pending, \
            debits_posted, credits_pending, credits_posted) SELECT $1, unhex(value ->> 0), \
            value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each($2)",
        postgres: "INSERT INTO period_balance (period_id, account_id, debits_pending, \
            debits_posted, credits_pending, credits_posted) SELECT $1, a, b, c, d, e \
            FROM UNNEST($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) \
            AS v (a, b, c, d, e)",
    },
    MARK = {
        sqlite: "UPDATE ledger_account SET closed_to = $1 \
            WHERE account_id IN (SELECT unhex(value) FROM json_each($2))",
        postgres: "UPDATE ledger_account SET closed_to = $1 WHERE account_id = ANY($2::uuid[])",
    },
    AFTER = "SELECT b.account_id, a.code, a.currency, b.debits_pending, b.debits_posted, \
        b.credits_pending, b.credits_posted FROM period_balance b \
        JOIN ledger_account a ON a.account_id = b.account_id \
        WHERE b.period_id = $1 AND b.account_id > $2 ORDER BY b.account_id LIMIT $3",
    PAGE_ROWS = "SELECT b.account_id, a.code, a.currency, b.debits_pending, b.debits_posted, \
        b.credits_pending, b.credits_posted FROM period_balance b \
        JOIN ledger_account a ON a.account_id = b.account_id \
        WHERE b.period_id = $1 AND b.account_id >= $2 ORDER BY b.account_id LIMIT $3",
    INSERT_PAGE = "INSERT INTO period_page (period_id, page_no, first_id, root) \
        VALUES ($1, $2, $3, $4)",
    PAGES = "SELECT first_id, root FROM period_page WHERE period_id = $1 ORDER BY page_no",
    SUMS = "SELECT a.currency, CAST(SUM(b.debits_posted) AS BIGINT) AS debits_posted, \
        CAST(SUM(b.credits_posted) AS BIGINT) AS credits_posted, \
        CAST(SUM(b.debits_pending) AS BIGINT) AS debits_pending, \
        CAST(SUM(b.credits_pending) AS BIGINT) AS credits_pending, \
        COUNT(*) AS account_count FROM period_balance b \
        JOIN ledger_account a ON a.account_id = b.account_id WHERE b.period_id = $1 \
        GROUP BY a.currency ORDER BY a.currency",
    INSERT_EFFECTIVE = "INSERT INTO transfer_effective (transfer_id, debit_id, credit_id, \
        amount_minor, effective_at, made_at) VALUES ($1, $2, $3, $4, $5, $6)",
    EFFECTIVE = "SELECT effective_at FROM transfer_effective WHERE transfer_id = $1",
}

/// A period as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct PeriodRow {
    pub(crate) period_id: String,
    pub(crate) period_no: i64,
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Timestamp,
    pub(crate) state: i64,
    pub(crate) cursor_id: Option<AccountId>,
    pub(crate) account_count: i64,
    pub(crate) page_count: i64,
    pub(crate) root: Option<Vec<u8>>,
    pub(crate) closed_at: Option<Timestamp>,
}

impl PeriodRow {
    /// The account after which the next step goes on.
    fn cursor(&self) -> AccountId {
        self.cursor_id.unwrap_or(AccountId::from_uuid(Uuid::nil()))
    }
}

/// What an account held at the end of a period.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct BalanceRow {
    pub(crate) account_id: AccountId,
    pub(crate) code: String,
    pub(crate) currency: String,
    pub(crate) debits_pending: i64,
    pub(crate) debits_posted: i64,
    pub(crate) credits_pending: i64,
    pub(crate) credits_posted: i64,
}

impl BalanceRow {
    pub(crate) fn leaf(&self, period_id: &str) -> Hash {
        let balance = Balance {
            account_id: self.account_id,
            code: &self.code,
            currency: &self.currency,
            counters: Counters {
                debits_pending: self.debits_pending,
                debits_posted: self.debits_posted,
                credits_pending: self.credits_pending,
                credits_posted: self.credits_posted,
            },
        };
        balance.leaf(period_id)
    }
}

#[derive(Debug, sqlx::FromRow)]
struct CountersRow {
    account_id: AccountId,
    debits_pending: i64,
    debits_posted: i64,
    credits_pending: i64,
    credits_posted: i64,
}

/// The first of a page's accounts, and the page's root.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct PageRow {
    pub(crate) first_id: AccountId,
    pub(crate) root: Vec<u8>,
}

#[derive(Debug, sqlx::FromRow)]
struct LateRow {
    account_id: AccountId,
    amount_minor: i64,
}

pub(crate) async fn find(ask: &mut impl Ask, id: &str) -> Result<Option<PeriodRow>, StoreError> {
    ask.ask(FIND).bind(id).fetch_optional().await
}

pub(crate) async fn lock(tx: &mut Tx<'_>, id: &str) -> Result<Option<PeriodRow>, StoreError> {
    tx.query(LOCK).bind(id).fetch_optional().await
}

pub(crate) async fn last(tx: &mut Tx<'_>) -> Result<Option<PeriodRow>, StoreError> {
    tx.query(LAST).fetch_optional().await
}

pub(crate) async fn list(
    ask: &mut impl Ask,
    after: i64,
    limit: i64,
) -> Result<Vec<PeriodRow>, StoreError> {
    ask.ask(LIST).bind(after).bind(limit).fetch_all().await
}

/// Adds a period. Two at once would have one number: one of them fails.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    id: &str,
    number: i64,
    (starts_at, ends_at): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    let query = tx.query(INSERT).bind(id).bind(number);
    query
        .bind(starts_at)
        .bind(ends_at)
        .execute()
        .await
        .map(drop)
}

/// How many periods before this one are not closed.
pub(crate) async fn unclosed_before(tx: &mut Tx<'_>, number: i64) -> Result<i64, StoreError> {
    tx.query(COUNT_UNCLOSED).bind(number).fetch_scalar().await
}

/// Goes to a state and a place in it.
pub(crate) async fn set_state(
    tx: &mut Tx<'_>,
    id: &str,
    state: i64,
    cursor: Option<AccountId>,
    (accounts, pages): (i64, i64),
) -> Result<(), StoreError> {
    let query = tx.query(ADVANCE).bind(id).bind(state).bind(cursor);
    query.bind(accounts).bind(pages).execute().await.map(drop)
}

pub(crate) async fn set_closed(tx: &mut Tx<'_>, id: &str, root: &Hash) -> Result<(), StoreError> {
    let now = tx.now();
    let query = tx.query(SET_CLOSED).bind(id).bind(root.as_slice());
    query.bind(now).execute().await.map(drop)
}

/// The moment before which nothing takes effect any more, for orders that would take effect in
/// the past. Asked under the accounts' locks.
pub(crate) async fn frontier(tx: &mut Tx<'_>, orders: &[Order]) -> Result<Timestamp, StoreError> {
    if !orders
        .iter()
        .any(|order| matches!(order, Order::MakeAt(..)))
    {
        return Ok(Timestamp::FIRST);
    }
    let end: Option<Timestamp> = tx.query(FRONTIER).fetch_scalar_optional().await?;
    Ok(end.unwrap_or(Timestamp::FIRST))
}

/// Keeps when a transfer took effect, if that was before it was made.
pub(crate) async fn insert_effective(tx: &mut Tx<'_>, made: &Made) -> Result<(), StoreError> {
    let Some(effective_at) = made.effective_at else {
        return Ok(());
    };
    let query = tx.query(INSERT_EFFECTIVE).bind(made.transfer_id);
    let query = query.bind(made.transfer.debit).bind(made.transfer.credit);
    let query = query.bind(made.transfer.amount_minor).bind(effective_at);
    query.bind(made.made_at).execute().await.map(drop)
}

pub(crate) async fn effective(
    ask: &mut impl Ask,
    id: TransferId,
) -> Result<Option<Timestamp>, StoreError> {
    ask.ask(EFFECTIVE).bind(id).fetch_scalar_optional().await
}

/// Copies the balances of the next accounts. False if there were none.
///
/// Their locks keep transfers out; the mark that is left makes sure that none comes later with an
/// earlier time.
pub(crate) async fn copy_page(tx: &mut Tx<'_>, period: &PeriodRow) -> Result<bool, Error> {
    let page = tx
        .query(LOCK_PAGE)
        .bind(period.cursor())
        .bind(period.ends_at);
    let accounts: Vec<AccountRow> = page.bind(PAGE).fetch_all().await?;
    let (Some(first), Some(last)) = (accounts.first(), accounts.last()) else {
        return Ok(false);
    };
    let (first, last) = (first.account_id, last.account_id);
    let mut balances = before(tx, &accounts, period.ends_at).await?;
    add_late(tx, &mut balances, (first, last), period.ends_at).await?;
    let ids: Vec<Uuid> = balances.keys().map(AccountId::as_uuid).collect();
    let column = |pick: fn(&Counters) -> i64| -> Vec<i64> { balances.values().map(pick).collect() };
    let debits_pending = column(|c| c.debits_pending);
    let debits_posted = column(|c| c.debits_posted);
    let credits_pending = column(|c| c.credits_pending);
    let credits_posted = column(|c| c.credits_posted);
    let engine = tx.engine();
    let insert = tx.query(INSERT_BALANCES).bind(period.period_id.as_str());
    bind_columns!(
        engine,
        insert,
        &ids,
        &debits_pending,
        &debits_posted,
        &credits_pending,
        &credits_posted
    )
    .execute()
    .await?;
    let mark = tx.query(MARK).bind(period.ends_at);
    mark.bind_list(&ids).execute().await?;
    let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let id = period.period_id.as_str();
    set_state(tx, id, state::COPYING, Some(last), (count, 0)).await?;
    Ok(true)
}

/// The counters of locked accounts as they were before a moment.
async fn before(
    tx: &mut Tx<'_>,
    accounts: &[AccountRow],
    end: Timestamp,
) -> Result<BTreeMap<AccountId, Counters>, StoreError> {
    let mut balances = BTreeMap::new();
    let mut moved = Vec::new();
    for account in accounts {
        let since = account.moved_at.is_some_and(|moved_at| moved_at >= end);
        // One that did not move since is what it was.
        let counters = match since {
            true => Counters::default(),
            false => account.counters(),
        };
        if since {
            moved.push(account.account_id.as_uuid());
        }
        balances.insert(account.account_id, counters);
    }
    if moved.is_empty() {
        return Ok(balances);
    }
    let rows = tx.query(BEFORE).bind_list(&moved).bind(end);
    for row in rows.fetch_all::<CountersRow>().await? {
        let counters = Counters {
            debits_pending: row.debits_pending,
            debits_posted: row.debits_posted,
            credits_pending: row.credits_pending,
            credits_posted: row.credits_posted,
        };
        balances.insert(row.account_id, counters);
    }
    Ok(balances)
}

/// Adds transfers that were made after a moment but took effect before it.
async fn add_late(
    tx: &mut Tx<'_>,
    balances: &mut BTreeMap<AccountId, Counters>,
    (first, last): (AccountId, AccountId),
    end: Timestamp,
) -> Result<(), Error> {
    for (statement, credit) in [(LATE_DEBITS, false), (LATE_CREDITS, true)] {
        let rows = tx.query(statement).bind(end).bind(first).bind(last);
        for row in rows.fetch_all::<LateRow>().await? {
            // Between first and last are accounts that were copied before, too.
            let Some(counters) = balances.get_mut(&row.account_id) else {
                continue;
            };
            let counter = match credit {
                true => &mut counters.credits_posted,
                false => &mut counters.debits_posted,
            };
            let sum = counter.checked_add(row.amount_minor);
            *counter = sum.ok_or(Error::corrupt("a counter exceeds 64 bits"))?;
        }
    }
    Ok(())
}

/// The next balances, in order of their accounts.
pub(crate) async fn balances_after(
    ask: &mut impl Ask,
    period: &PeriodRow,
    after: Option<AccountId>,
    limit: i64,
) -> Result<Vec<BalanceRow>, StoreError> {
    let after = after.unwrap_or(AccountId::from_uuid(Uuid::nil()));
    let query = ask.ask(AFTER).bind(period.period_id.as_str()).bind(after);
    query.bind(limit).fetch_all().await
}

/// The balances of a page.
pub(crate) async fn page_rows(
    ask: &mut impl Ask,
    period: &PeriodRow,
    first: AccountId,
) -> Result<Vec<BalanceRow>, StoreError> {
    let query = ask.ask(PAGE_ROWS).bind(period.period_id.as_str());
    query.bind(first).bind(PAGE).fetch_all().await
}

pub(crate) async fn insert_page(
    tx: &mut Tx<'_>,
    period: &PeriodRow,
    first: AccountId,
    root: &Hash,
) -> Result<(), StoreError> {
    let query = tx.query(INSERT_PAGE).bind(period.period_id.as_str());
    let query = query.bind(period.page_count).bind(first);
    query.bind(root.as_slice()).execute().await.map(drop)
}

pub(crate) async fn pages(ask: &mut impl Ask, id: &str) -> Result<Vec<PageRow>, StoreError> {
    ask.ask(PAGES).bind(id).fetch_all().await
}

/// The sums of a period's balances, by currency.
pub(crate) async fn sums(ask: &mut impl Ask, id: &str) -> Result<Vec<CurrencyRow>, StoreError> {
    ask.ask(SUMS).bind(id).fetch_all().await
}
