//! Accounting periods: opening them, closing them step by step, and proving their balances.

use publica_journal::{append, write};
use publica_proto::payments::v1 as pb;
use publica_rpc::{Invalid, PageToken, page_size, timestamp};
use publica_store::{Db, Tx};
use publica_types::{Origin, Timestamp};
use publica_work::{Job, enqueue};
use serde_json::json;

use crate::app::account::next;
use crate::app::intake::hashes;
use crate::app::{App, call, entry, wire};
use crate::domain::ids::AccountId;
use crate::domain::merkle::{self, Hash, Tree};
use crate::domain::period::{PAGE, is_name, state};
use crate::error::Error;
use crate::jobs::CLOSE_PERIOD;
use crate::store::ledger;
use crate::store::period::{self as sql, BalanceRow, PeriodRow};

/// The longest period.
const MOST_DAYS: u64 = 366;

impl App {
    pub(crate) async fn create_period(
        &self,
        origin: &Origin,
        request: pb::CreatePeriodRequest,
    ) -> Result<pb::CreatePeriodResponse, Error> {
        const RPC: &str = "/publica.payments.v1.PeriodService/CreatePeriod";
        self.confine(origin, &[]).await?;
        let mut invalid = Invalid::new();
        if !is_name(&request.period_id) {
            let form = "must have 1 to 32 letters, digits, dots, hyphens and underscores";
            invalid.push("period_id", form);
        }
        if request.end_time.is_none() {
            invalid.push("end_time", "is required");
        }
        invalid.check()?;
        let starts_at = wire::time("start_time", request.start_time.as_ref())?;
        let ends_at = wire::time("end_time", request.end_time.as_ref())?.unwrap_or_default();
        let db = self.db(origin).await?;
        let (id, name) = (request.period_id.clone(), "payments.create_period");
        let call = call(name, RPC, origin, &request.request_id, &request);
        let input = (origin.clone(), id, starts_at, ends_at);
        write(&db, call, input, |tx, (origin, id, starts_at, ends_at)| {
            Box::pin(async move {
                let last = sql::last(tx).await?;
                let span = span(last.as_ref(), *starts_at, *ends_at)?;
                if sql::find(tx, id).await?.is_some() {
                    return Err(Error::Exists { kind: "period" });
                }
                let number = last.map_or(1, |last| last.period_no + 1);
                sql::insert(tx, id, number, span).await?;
                let body = json!({"from": span.0, "to": span.1});
                append(
                    tx,
                    origin,
                    entry("payments.period.created", "period", id, body),
                );
                let row = found(sql::find(tx, id).await?)?;
                let period = Some(on_wire(row));
                Ok(pb::CreatePeriodResponse { period })
            })
        })
        .await
    }

    pub(crate) async fn get_period(
        &self,
        origin: &Origin,
        request: pb::GetPeriodRequest,
    ) -> Result<pb::GetPeriodResponse, Error> {
        self.confine(origin, &[]).await?;
        let mut db = self.db(origin).await?;
        let row = found(sql::find(&mut db, &request.period_id).await?)?;
        let period = Some(on_wire(row));
        Ok(pb::GetPeriodResponse { period })
    }

    pub(crate) async fn list_periods(
        &self,
        origin: &Origin,
        request: pb::ListPeriodsRequest,
    ) -> Result<pb::ListPeriodsResponse, Error> {
        self.confine(origin, &[]).await?;
        let mut db = self.db(origin).await?;
        let limit = page_size(request.page_size, 100, 1_000)?;
        let after: Option<i64> = PageToken::decode(&"periods", &request.page_token)?;
        let mut rows = sql::list(&mut db, after.unwrap_or(0), limit + 1).await?;
        let next_page_token = next(&mut rows, limit, |row: &PeriodRow| {
            PageToken::encode(&"periods", &row.period_no)
        });
        Ok(pb::ListPeriodsResponse {
            periods: rows.into_iter().map(on_wire).collect(),
            next_page_token,
        })
    }

    pub(crate) async fn close_period(
        &self,
        origin: &Origin,
        request: pb::ClosePeriodRequest,
    ) -> Result<pb::ClosePeriodResponse, Error> {
        const RPC: &str = "/publica.payments.v1.PeriodService/ClosePeriod";
        self.confine(origin, &[]).await?;
        let db = self.db(origin).await?;
        let (id, name) = (request.period_id.clone(), "payments.begin_close");
        let call = call(name, RPC, origin, &request.request_id, &request);
        let settled_at = self.clock.now().minus(self.config.period_close_delay());
        let input = (origin.clone(), id, settled_at);
        write(&db, call, input, |tx, (origin, id, settled_at)| {
            Box::pin(async move {
                let row = found(sql::lock(tx, id).await?)?;
                if row.state != state::OPEN {
                    return Err(state_of(&row));
                }
                if sql::unclosed_before(tx, row.period_no).await? > 0 {
                    return Err(Error::PeriodOrder);
                }
                if row.ends_at > *settled_at {
                    return Err(Error::PeriodNotOver);
                }
                sql::set_state(tx, id, state::COPYING, None, (0, 0)).await?;
                let job = Job::new(CLOSE_PERIOD, id.as_str(), id.as_bytes());
                enqueue(tx, origin, job).await?;
                let closing = entry("payments.period.closing", "period", id, json!({}));
                append(tx, origin, closing);
                let row = found(sql::find(tx, id).await?)?;
                let period = Some(on_wire(row));
                Ok(pb::ClosePeriodResponse { period })
            })
        })
        .await
    }

    /// Takes one step of a close; true if it was the last. Steps are committed one by one, and
    /// where the next one goes on stands in the period itself.
    pub(crate) async fn close_step(
        &self,
        db: &Db,
        origin: &Origin,
        id: &str,
    ) -> Result<bool, Error> {
        let input = (origin.clone(), id.to_owned());
        db.write("payments.close_period", input, |tx, (origin, id)| {
            Box::pin(async move {
                let row = found(sql::lock(tx, id).await?)?;
                match row.state {
                    state::COPYING => copy(tx, &row).await,
                    state::ADDING => add_up(tx, origin, &row).await,
                    _ => Ok(true),
                }
            })
        })
        .await
    }

    pub(crate) async fn list_period_balances(
        &self,
        origin: &Origin,
        request: pb::ListPeriodBalancesRequest,
    ) -> Result<pb::ListPeriodBalancesResponse, Error> {
        self.confine(origin, &[]).await?;
        let mut db = self.db(origin).await?;
        let period = closed(&mut db, &request.period_id).await?;
        let limit = page_size(request.page_size, 100, 1_000)?;
        let after: Option<String> = PageToken::decode(&period.period_id, &request.page_token)?;
        let after = after.and_then(|id| id.parse().ok());
        let mut rows = sql::balances_after(&mut db, &period, after, limit + 1).await?;
        let next_page_token = next(&mut rows, limit, |row: &BalanceRow| {
            PageToken::encode(&period.period_id, &row.account_id.to_string())
        });
        Ok(pb::ListPeriodBalancesResponse {
            balances: rows.into_iter().map(balance).collect(),
            next_page_token,
        })
    }

    pub(crate) async fn get_period_balance(
        &self,
        origin: &Origin,
        request: pb::GetPeriodBalanceRequest,
    ) -> Result<pb::GetPeriodBalanceResponse, Error> {
        self.confine(origin, &[]).await?;
        let mut db = self.db(origin).await?;
        let period = closed(&mut db, &request.period_id).await?;
        let id = match request.account.parse::<AccountId>() {
            Ok(id) => id,
            Err(_) => {
                let account = ledger::find_by_code(&mut db, &request.account).await?;
                account.ok_or(Error::not_found("account"))?.account_id
            }
        };
        let missing = || Error::not_found("account in the period");
        let pages = sql::pages(&mut db, &period.period_id).await?;
        let beyond = pages.partition_point(|page| page.first_id <= id);
        let page_no = beyond.checked_sub(1).ok_or_else(missing)?;
        let page = pages.get(page_no).ok_or_else(missing)?;
        let rows = sql::page_rows(&mut db, &period, page.first_id).await?;
        let place = rows.binary_search_by_key(&id, |row| row.account_id);
        let place = place.map_err(|_| missing())?;
        let tree = tree(&period, &rows);
        let leaf = tree.leaf(place).map(hex::encode).unwrap_or_default();
        let roots = hashes(pages.iter().map(|page| page.root.clone()).collect())?;
        let path = tree.path(place).into_iter();
        let path = path.chain(merkle::path(&roots, page_no));
        let index = i64::try_from(page_no).unwrap_or(i64::MAX) * PAGE;
        let row = rows.into_iter().nth(place).ok_or_else(missing)?;
        Ok(pb::GetPeriodBalanceResponse {
            balance: Some(balance(row)),
            leaf,
            leaf_index: index + i64::try_from(place).unwrap_or(i64::MAX),
            path: path.map(hex::encode).collect(),
            period: Some(on_wire(period)),
        })
    }
}

/// Where a period would begin and end.
fn span(
    last: Option<&PeriodRow>,
    starts_at: Option<Timestamp>,
    ends_at: Timestamp,
) -> Result<(Timestamp, Timestamp), Error> {
    let mut invalid = Invalid::new();
    let start = match (last, starts_at) {
        (Some(last), Some(start)) if start != last.ends_at => return Err(Error::PeriodGap),
        (Some(last), _) => last.ends_at,
        (None, Some(start)) => start,
        (None, None) => {
            invalid.push("start_time", "is required of the first period");
            ends_at
        }
    };
    let longest = std::time::Duration::from_hours(MOST_DAYS * 24);
    if start >= ends_at && starts_at.or(last.map(|last| last.ends_at)).is_some() {
        invalid.push("end_time", "must be after the start");
    } else if ends_at.since(start) > longest {
        invalid.push("end_time", "must be at most 366 days after the start");
    }
    invalid.check()?;
    Ok((start, ends_at))
}

/// Copies the balances of one page of accounts.
async fn copy(tx: &mut Tx<'_>, period: &PeriodRow) -> Result<bool, Error> {
    if sql::copy_page(tx, period).await? {
        return Ok(false);
    }
    // An account that was opened meanwhile by a unit that had not seen the close begin may lie
    // before the place reached: look once more from the start.
    let next = match period.cursor_id {
        Some(_) => state::COPYING,
        None => state::ADDING,
    };
    sql::set_state(tx, &period.period_id, next, None, (0, 0)).await?;
    Ok(false)
}

/// Adds a page of balances to the tree, or ends the close if there is none left.
async fn add_up(tx: &mut Tx<'_>, origin: &Origin, period: &PeriodRow) -> Result<bool, Error> {
    let rows = sql::balances_after(tx, period, period.cursor_id, PAGE).await?;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return end(tx, origin, period).await;
    };
    let root = tree(period, &rows).root();
    sql::insert_page(tx, period, first.account_id, &root).await?;
    let (id, cursor) = (&period.period_id, Some(last.account_id));
    sql::set_state(tx, id, state::ADDING, cursor, (0, 1)).await?;
    Ok(false)
}

async fn end(tx: &mut Tx<'_>, origin: &Origin, period: &PeriodRow) -> Result<bool, Error> {
    let id = period.period_id.as_str();
    let pages = sql::pages(tx, id).await?;
    let roots = hashes(pages.into_iter().map(|page| page.root).collect())?;
    let root: Hash = merkle::root(&roots);
    let sums = sql::sums(tx, id).await?;
    let even = sums.iter().all(|sum| {
        sum.debits_posted == sum.credits_posted && sum.debits_pending == sum.credits_pending
    });
    if !even {
        return Err(Error::Altered("debits and credits of a period differ"));
    }
    sql::set_closed(tx, id, &root).await?;
    let currencies: Vec<_> = sums
        .iter()
        .map(|sum| {
            json!([
                sum.currency,
                sum.account_count,
                sum.debits_posted,
                sum.debits_pending
            ])
        })
        .collect();
    let body = json!({
        "root": hex::encode(root),
        "accounts": period.account_count,
        "from": period.starts_at,
        "to": period.ends_at,
        "currencies": currencies,
    });
    append(
        tx,
        origin,
        entry("payments.period.closed", "period", id, body),
    );
    Ok(true)
}

fn tree(period: &PeriodRow, rows: &[BalanceRow]) -> Tree {
    let leaves = rows.iter().map(|row| row.leaf(&period.period_id));
    Tree::new(leaves.collect())
}

fn found(row: Option<PeriodRow>) -> Result<PeriodRow, Error> {
    row.ok_or(Error::not_found("period"))
}

/// A period whose balances stand.
async fn closed(db: &mut Db, id: &str) -> Result<PeriodRow, Error> {
    let row = found(sql::find(db, id).await?)?;
    match row.state {
        state::CLOSED => Ok(row),
        _ => Err(state_of(&row)),
    }
}

fn state_of(row: &PeriodRow) -> Error {
    let state = match row.state {
        state::OPEN => "open",
        state::CLOSED => "closed",
        _ => "being closed",
    };
    Error::PeriodState { state }
}

fn on_wire(row: PeriodRow) -> pb::Period {
    let state = match row.state {
        state::OPEN => pb::PeriodState::Open,
        state::CLOSED => pb::PeriodState::Closed,
        _ => pb::PeriodState::Closing,
    };
    pb::Period {
        period_id: row.period_id,
        start_time: Some(timestamp(row.starts_at)),
        end_time: Some(timestamp(row.ends_at)),
        state: state.into(),
        account_count: row.account_count,
        root: row.root.map(hex::encode).unwrap_or_default(),
        close_time: row.closed_at.map(timestamp),
    }
}

fn balance(row: BalanceRow) -> pb::PeriodBalance {
    pb::PeriodBalance {
        account_id: row.account_id.to_string(),
        code: row.code,
        currency: row.currency,
        debits_pending: row.debits_pending,
        debits_posted: row.debits_posted,
        credits_pending: row.credits_pending,
        credits_posted: row.credits_posted,
    }
}
