//! Accounts of the ledger: opening, reading, adding up.

use publica_journal::{append, write};
use publica_proto::payments::v1 as pb;
use publica_rpc::{Invalid, PageToken, page_size};
use publica_types::{Origin, Timestamp};
use serde_json::json;

use crate::app::{App, call, check_text, entry, parse_id, wire};
use crate::domain::currency;
use crate::domain::ids::AccountId;
use crate::error::Error;
use crate::store::ledger::{self, AccountRow, CurrencyRow, MovementRow, Opening};

const CODE_CHARS: usize = 120;

impl App {
    pub(crate) async fn open_account(
        &self,
        origin: &Origin,
        request: pb::OpenAccountRequest,
    ) -> Result<pb::OpenAccountResponse, Error> {
        const RPC: &str = "/publica.payments.v1.AccountService/OpenAccount";
        let mut invalid = Invalid::new();
        check_text(&mut invalid, "code", &request.code, CODE_CHARS);
        if currency::known(&request.currency).is_none() {
            invalid.push("currency", "is not a currency that can be paid");
        }
        if request.floor_minor.is_some_and(|floor| floor > 0) {
            invalid.push(
                "floor_minor",
                "must not be above zero, where the account begins",
            );
        }
        invalid.check()?;
        let db = self.db(origin).await?;
        let call = call(
            "payments.open_account",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let opening = Opening {
            account_id: AccountId::new(&*self.clock, &*self.entropy),
            code: request.code,
            currency: request.currency,
            kind: wire::account_kind(pb::AccountKind::General),
            floor: request.floor_minor,
        };
        write(
            &db,
            call,
            (origin.clone(), opening),
            |tx, (origin, opening)| {
                Box::pin(async move {
                    if !ledger::open(tx, opening).await? {
                        return Err(Error::Exists { kind: "account" });
                    }
                    let body = json!({"code": opening.code, "currency": opening.currency});
                    append(
                        tx,
                        origin,
                        entry(
                            "payments.account.opened",
                            "account",
                            opening.account_id,
                            body,
                        ),
                    );
                    let row = ledger::find(tx, opening.account_id).await?;
                    let row = row.ok_or(Error::corrupt("a new account is missing"))?;
                    Ok(pb::OpenAccountResponse {
                        account: Some(wire::account(row)),
                    })
                })
            },
        )
        .await
    }

    pub(crate) async fn get_account(
        &self,
        origin: &Origin,
        request: pb::GetAccountRequest,
    ) -> Result<pb::GetAccountResponse, Error> {
        let mut db = self.db(origin).await?;
        let as_of = wire::time("as_of_time", request.as_of_time.as_ref())?;
        let found = match request.account.parse::<AccountId>() {
            Ok(id) => ledger::find(&mut db, id).await?,
            Err(_) => ledger::find_by_code(&mut db, &request.account).await?,
        };
        let mut row = found.ok_or(Error::not_found("account"))?;
        if let Some(as_of) = as_of {
            let moved = db.query(ledger::AS_OF).bind(row.account_id).bind(as_of);
            row = as_it_was(row, moved.fetch_optional::<MovementRow>().await?);
        }
        Ok(pb::GetAccountResponse {
            account: Some(wire::account(row)),
        })
    }

    pub(crate) async fn list_accounts(
        &self,
        origin: &Origin,
        request: pb::ListAccountsRequest,
    ) -> Result<pb::ListAccountsResponse, Error> {
        let db = self.db(origin).await?;
        let limit = page_size(request.page_size, 100, 1_000)?;
        let after: Option<String> = PageToken::decode(&request.code_prefix, &request.page_token)?;
        let after = after.unwrap_or_default();
        let query = db.query(ledger::LIST).bind(after.as_str());
        let query = query.bind(request.code_prefix.as_str()).bind(limit + 1);
        let mut rows = query.fetch_all::<AccountRow>().await?;
        let next_page_token = next(&mut rows, limit, |row: &AccountRow| {
            PageToken::encode(&request.code_prefix, &row.code)
        });
        let accounts = rows.into_iter().map(wire::account).collect();
        Ok(pb::ListAccountsResponse {
            accounts,
            next_page_token,
        })
    }

    pub(crate) async fn list_movements(
        &self,
        origin: &Origin,
        request: pb::ListMovementsRequest,
    ) -> Result<pb::ListMovementsResponse, Error> {
        let mut db = self.db(origin).await?;
        let account: AccountId = parse_id(&request.account_id, "account")?;
        ledger::find(&mut db, account)
            .await?
            .ok_or(Error::not_found("account"))?;
        let limit = page_size(request.page_size, 100, 1_000)?;
        let after: Option<(i64, i64)> = PageToken::decode(&account, &request.page_token)?;
        let (time, version) = after.unwrap_or((i64::MIN / 4, 0));
        // The earliest time that both engines can compare with.
        let time = Timestamp::from_micros(time.max(-62_135_596_800_000_000));
        let query = db
            .query(ledger::MOVEMENTS)
            .bind(account)
            .bind(time)
            .bind(version);
        let mut rows = query.bind(limit + 1).fetch_all::<MovementRow>().await?;
        let next_page_token = next(&mut rows, limit, |row: &MovementRow| {
            PageToken::encode(&account, &(row.moved_at.micros(), row.version))
        });
        let movements = rows.into_iter().map(wire::movement).collect();
        Ok(pb::ListMovementsResponse {
            movements,
            next_page_token,
        })
    }

    pub(crate) async fn check_ledger(
        &self,
        origin: &Origin,
        _request: pb::CheckLedgerRequest,
    ) -> Result<pb::CheckLedgerResponse, Error> {
        let db = self.db(origin).await?;
        // One state of the store for all sums, or a transfer between two of them would show.
        db.read("payments.check_ledger", (), |tx, ()| {
            Box::pin(async move {
                let currencies: Vec<CurrencyRow> =
                    tx.query(ledger::CHECK_CURRENCIES).fetch_all().await?;
                let mismatched: Vec<String> =
                    tx.query(ledger::CHECK_ACCOUNTS).fetch_scalars().await?;
                let transfer_count: i64 = tx.query(ledger::COUNT_TRANSFERS).fetch_scalar().await?;
                let even = currencies.iter().all(|sums| {
                    sums.debits_posted == sums.credits_posted
                        && sums.debits_pending == sums.credits_pending
                });
                Ok::<_, Error>(pb::CheckLedgerResponse {
                    balanced: even && mismatched.is_empty(),
                    account_count: currencies.iter().map(|sums| sums.account_count).sum(),
                    currencies: currencies.into_iter().map(currency_check).collect(),
                    mismatched_accounts: mismatched,
                    transfer_count,
                })
            })
        })
        .await
    }
}

/// An account with the counters of its last movement up to a moment.
fn as_it_was(row: AccountRow, moved: Option<MovementRow>) -> AccountRow {
    let counters = moved.as_ref();
    let pick = |pick: fn(&MovementRow) -> i64| counters.map_or(0, pick);
    AccountRow {
        debits_pending: pick(|m| m.debits_pending),
        debits_posted: pick(|m| m.debits_posted),
        credits_pending: pick(|m| m.credits_pending),
        credits_posted: pick(|m| m.credits_posted),
        version: pick(|m| m.version),
        moved_at: counters.map(|m| m.moved_at),
        ..row
    }
}

fn currency_check(row: CurrencyRow) -> pb::CurrencyCheck {
    pb::CurrencyCheck {
        currency: row.currency,
        debits_posted: row.debits_posted,
        credits_posted: row.credits_posted,
        debits_pending: row.debits_pending,
        credits_pending: row.credits_pending,
    }
}

/// Cuts a list that was fetched with one row too many, and makes the token of the next page.
pub(crate) fn next<T>(rows: &mut Vec<T>, limit: i64, token: impl FnOnce(&T) -> String) -> String {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if rows.len() <= limit {
        return String::new();
    }
    rows.truncate(limit);
    rows.last().map(token).unwrap_or_default()
}
