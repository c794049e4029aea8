//! Funding accounts and programmes.

use publica_journal::{append, write};
use publica_proto::payments::v1 as pb;
use publica_rpc::{Invalid, PageToken, page_size};
use publica_store::Tx;
use publica_types::Origin;
use serde_json::json;

use crate::app::account::next;
use crate::app::{App, call, check_reason, check_short, check_text, entry, parse_id, wire};
use crate::domain::currency;
use crate::domain::ids::{AccountId, GroupId, ProgrammeId};
use crate::domain::ledger::{Action, Transfer};
use crate::error::Error;
use crate::store::ledger::{self, Made, Opening, Order};
use crate::store::programme::{self as sql, FundingRow, ProgrammeRow};
use crate::store::voucher;

const NAME_CHARS: usize = 64;
const CODE_CHARS: usize = 20;
const TITLE_CHARS: usize = 200;
const MOST_APPROVALS: i32 = 9;

/// A funding account to open.
#[derive(Debug, Clone)]
pub(crate) struct NewFunding {
    pub(crate) name: String,
    pub(crate) currency: String,
    pub(crate) voucher_group: String,
}

impl NewFunding {
    pub(crate) fn check(mut self) -> Result<Self, Error> {
        if self.name.is_empty() && !self.voucher_group.is_empty() {
            self.name = format!("{} {}", self.voucher_group, self.currency);
        }
        let mut invalid = Invalid::new();
        check_text(&mut invalid, "name", &self.name, NAME_CHARS + 4);
        check_short(
            &mut invalid,
            "voucher_group",
            &self.voucher_group,
            NAME_CHARS,
        );
        if currency::known(&self.currency).is_none() {
            invalid.push("currency", "is not a currency that can be paid");
        }
        invalid.check()?;
        Ok(self)
    }

    fn opening(&self) -> Opening {
        let kind = match self.voucher_group.is_empty() {
            true => pb::AccountKind::Funding,
            false => pb::AccountKind::VoucherPool,
        };
        let code = format!("funding:{}", self.name);
        Opening {
            account_id: AccountId::of_code(&code),
            code,
            currency: self.currency.clone(),
            kind: wire::account_kind(kind),
            floor: Some(0),
        }
    }
}

/// Opens a funding account; an error if its name or its voucher group has one.
pub(crate) async fn open_funding(
    tx: &mut Tx<'_>,
    origin: &Origin,
    new: &NewFunding,
) -> Result<FundingRow, Error> {
    let opening = new.opening();
    ledger::open(tx, &opening).await?;
    let id = opening.account_id;
    let (name, group) = (new.name.as_str(), new.voucher_group.as_str());
    if !sql::insert_funding(tx, id, name, &new.currency, group).await? {
        return Err(Error::Exists {
            kind: "funding account",
        });
    }
    let body = json!({"name": new.name, "currency": new.currency, "voucher_group": group});
    append(
        tx,
        origin,
        entry("payments.funding_account.created", "account", id, body),
    );
    sql::find_funding(tx, id)
        .await?
        .ok_or(Error::corrupt("a new funding account is missing"))
}

/// Records money that came from outside.
pub(crate) async fn deposit(
    tx: &mut Tx<'_>,
    origin: &Origin,
    group: GroupId,
    account: &FundingRow,
    amount_minor: i64,
    reason: &str,
) -> Result<Made, Error> {
    let code = format!("external:{}", account.currency);
    let outside = Opening {
        account_id: AccountId::of_code(&code),
        code,
        currency: account.currency.clone(),
        kind: wire::account_kind(pb::AccountKind::External),
        floor: None,
    };
    ledger::open(tx, &outside).await?;
    let order = Order::Make(Transfer {
        debit: outside.account_id,
        credit: account.account_id,
        amount_minor,
        action: Action::Posted,
        reason: reason.to_owned(),
    });
    let mut made = ledger::post_all(tx, group, &[order]).await?;
    let made = made.pop().ok_or(Error::corrupt("a transfer is missing"))?;
    let body = json!({"amount_minor": amount_minor, "transfer": made.transfer_id});
    append(
        tx,
        origin,
        entry(
            "payments.funds.deposited",
            "account",
            account.account_id,
            body,
        ),
    );
    Ok(made)
}

/// A programme to create.
#[derive(Debug, Clone)]
pub(crate) struct NewProgramme {
    pub(crate) programme_id: ProgrammeId,
    pub(crate) code: String,
    pub(crate) name: String,
    pub(crate) currency: String,
    pub(crate) funding_account: String,
    pub(crate) fallback_group: String,
    pub(crate) approvals_needed: i32,
    pub(crate) batch_ceiling_minor: i64,
}

impl NewProgramme {
    pub(crate) fn check(self) -> Result<Self, Error> {
        let mut invalid = Invalid::new();
        check_text(&mut invalid, "code", &self.code, CODE_CHARS);
        check_text(&mut invalid, "name", &self.name, TITLE_CHARS);
        check_text(
            &mut invalid,
            "funding_account",
            &self.funding_account,
            NAME_CHARS + 4,
        );
        check_short(
            &mut invalid,
            "fallback_voucher_group",
            &self.fallback_group,
            NAME_CHARS,
        );
        if currency::known(&self.currency).is_none() {
            invalid.push("currency", "is not a currency that can be paid");
        }
        if !(0..=MOST_APPROVALS).contains(&self.approvals_needed) {
            invalid.push("approvals_needed", "must be from 0 to 9");
        }
        if self.batch_ceiling_minor < 0 {
            invalid.push("batch_ceiling_minor", "must not be negative");
        }
        if self.code.parse::<ProgrammeId>().is_ok() {
            invalid.push("code", "must not look like an id");
        }
        invalid.check()?;
        Ok(self)
    }
}

/// Creates a programme.
pub(crate) async fn create_programme(
    tx: &mut Tx<'_>,
    origin: &Origin,
    new: &NewProgramme,
) -> Result<ProgrammeRow, Error> {
    let funding = sql::find_funding_by(tx, &new.funding_account).await?;
    let funding = funding.ok_or(Error::not_found("funding account"))?;
    if funding.currency != new.currency {
        let wrong = Invalid::new().add("currency", "is not the funding account's");
        return Err(wrong.into());
    }
    if !new.fallback_group.is_empty() {
        voucher::find_group(tx, &new.fallback_group)
            .await?
            .ok_or(Error::not_found("voucher group"))?;
    }
    let row = ProgrammeRow {
        programme_id: new.programme_id,
        code: new.code.clone(),
        name: new.name.clone(),
        currency: new.currency.clone(),
        funding_account_id: funding.account_id,
        fallback_group: new.fallback_group.clone(),
        approvals_needed: i64::from(new.approvals_needed.max(1)),
        batch_ceiling_minor: new.batch_ceiling_minor,
        stopped: false,
        created_at: tx.now(),
    };
    if !sql::insert_programme(tx, &row).await? {
        return Err(Error::Exists { kind: "programme" });
    }
    let body = json!({"code": row.code, "currency": row.currency});
    append(
        tx,
        origin,
        entry(
            "payments.programme.created",
            "programme",
            row.programme_id,
            body,
        ),
    );
    Ok(row)
}

impl App {
    pub(crate) async fn create_funding_account(
        &self,
        origin: &Origin,
        request: pb::CreateFundingAccountRequest,
    ) -> Result<pb::CreateFundingAccountResponse, Error> {
        const RPC: &str = "/publica.payments.v1.ProgrammeService/CreateFundingAccount";
        let call = call(
            "payments.create_funding",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let (name, voucher_group) = (request.name, request.voucher_group);
        let new = NewFunding {
            name,
            currency: request.currency,
            voucher_group,
        }
        .check()?;
        let db = self.db(origin).await?;
        write(&db, call, (origin.clone(), new), |tx, (origin, new)| {
            Box::pin(async move {
                let row = open_funding(tx, origin, new).await?;
                let funding_account = Some(wire::funding(row));
                Ok(pb::CreateFundingAccountResponse { funding_account })
            })
        })
        .await
    }

    pub(crate) async fn get_funding_account(
        &self,
        origin: &Origin,
        request: pb::GetFundingAccountRequest,
    ) -> Result<pb::GetFundingAccountResponse, Error> {
        let mut db = self.db(origin).await?;
        let row = sql::find_funding_by(&mut db, &request.funding_account).await?;
        let row = row.ok_or(Error::not_found("funding account"))?;
        Ok(pb::GetFundingAccountResponse {
            funding_account: Some(wire::funding(row)),
        })
    }

    pub(crate) async fn list_funding_accounts(
        &self,
        origin: &Origin,
        request: pb::ListFundingAccountsRequest,
    ) -> Result<pb::ListFundingAccountsResponse, Error> {
        let mut db = self.db(origin).await?;
        let limit = page_size(request.page_size, 100, 1_000)?;
        let after: Option<String> = PageToken::decode(&"funding", &request.page_token)?;
        let after = after.unwrap_or_default();
        let mut rows = sql::list_funding(&mut db, &after, limit + 1).await?;
        let token = |row: &FundingRow| PageToken::encode(&"funding", &row.name);
        let next_page_token = next(&mut rows, limit, token);
        let funding_accounts = rows.into_iter().map(wire::funding).collect();
        Ok(pb::ListFundingAccountsResponse {
            funding_accounts,
            next_page_token,
        })
    }

    pub(crate) async fn deposit_funds(
        &self,
        origin: &Origin,
        request: pb::DepositFundsRequest,
    ) -> Result<pb::DepositFundsResponse, Error> {
        const RPC: &str = "/publica.payments.v1.ProgrammeService/DepositFunds";
        let mut invalid = Invalid::new();
        check_short(&mut invalid, "reference", &request.reference, 140);
        if request.amount_minor <= 0 {
            invalid.push("amount_minor", "must be above zero");
        }
        invalid.check()?;
        let id: AccountId = parse_id(&request.funding_account_id, "funding account")?;
        let call = call(
            "payments.deposit",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let db = self.db(origin).await?;
        let input = (
            origin.clone(),
            self.group(),
            id,
            request.amount_minor,
            request.reference,
        );
        write(
            &db,
            call,
            input,
            |tx, (origin, group, id, amount, reference)| {
                Box::pin(async move {
                    let account = sql::find_funding(tx, *id).await?;
                    let account = account.ok_or(Error::not_found("funding account"))?;
                    let made = deposit(tx, origin, *group, &account, *amount, reference).await?;
                    let account = sql::find_funding(tx, *id).await?;
                    Ok(pb::DepositFundsResponse {
                        funding_account: account.map(wire::funding),
                        transfer_id: made.transfer_id.to_string(),
                    })
                })
            },
        )
        .await
    }

    pub(crate) async fn create_programme(
        &self,
        origin: &Origin,
        request: pb::CreateProgrammeRequest,
    ) -> Result<pb::CreateProgrammeResponse, Error> {
        const RPC: &str = "/publica.payments.v1.ProgrammeService/CreateProgramme";
        let call = call(
            "payments.create_programme",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let new = NewProgramme {
            programme_id: ProgrammeId::new(&*self.clock, &*self.entropy),
            code: request.code,
            name: request.name,
            currency: request.currency,
            funding_account: request.funding_account,
            fallback_group: request.fallback_voucher_group,
            approvals_needed: request.approvals_needed,
            batch_ceiling_minor: request.batch_ceiling_minor,
        }
        .check()?;
        let db = self.db(origin).await?;
        write(&db, call, (origin.clone(), new), |tx, (origin, new)| {
            Box::pin(async move {
                let row = create_programme(tx, origin, new).await?;
                Ok(pb::CreateProgrammeResponse {
                    programme: Some(wire::programme(row)),
                })
            })
        })
        .await
    }

    pub(crate) async fn get_programme(
        &self,
        origin: &Origin,
        request: pb::GetProgrammeRequest,
    ) -> Result<pb::GetProgrammeResponse, Error> {
        let mut db = self.db(origin).await?;
        let row = sql::find_programme_by(&mut db, &request.programme).await?;
        let row = row.ok_or(Error::not_found("programme"))?;
        Ok(pb::GetProgrammeResponse {
            programme: Some(wire::programme(row)),
        })
    }

    pub(crate) async fn list_programmes(
        &self,
        origin: &Origin,
        request: pb::ListProgrammesRequest,
    ) -> Result<pb::ListProgrammesResponse, Error> {
        let mut db = self.db(origin).await?;
        let limit = page_size(request.page_size, 100, 1_000)?;
        let after: Option<String> = PageToken::decode(&"programmes", &request.page_token)?;
        let mut rows = sql::list_programmes(&mut db, &after.unwrap_or_default(), limit + 1).await?;
        let token = |row: &ProgrammeRow| PageToken::encode(&"programmes", &row.code);
        let next_page_token = next(&mut rows, limit, token);
        let programmes = rows.into_iter().map(wire::programme).collect();
        Ok(pb::ListProgrammesResponse {
            programmes,
            next_page_token,
        })
    }

    pub(crate) async fn set_programme_state(
        &self,
        origin: &Origin,
        request: pb::SetProgrammeStateRequest,
    ) -> Result<pb::SetProgrammeStateResponse, Error> {
        const RPC: &str = "/publica.payments.v1.ProgrammeService/SetProgrammeState";
        check_reason(&request.reason)?;
        let stopped = match request.state() {
            pb::ProgrammeState::Active => false,
            pb::ProgrammeState::Stopped => true,
            pb::ProgrammeState::Unspecified => {
                return Err(Invalid::new().add("state", "is required").into());
            }
        };
        let call = call(
            "payments.set_programme",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let db = self.db(origin).await?;
        let input = (origin.clone(), request.programme, stopped, request.reason);
        write(
            &db,
            call,
            input,
            |tx, (origin, programme, stopped, reason)| {
                Box::pin(async move {
                    let row = sql::find_programme_by(tx, programme).await?;
                    let mut row = row.ok_or(Error::not_found("programme"))?;
                    sql::stop_programme(tx, row.programme_id, *stopped).await?;
                    row.stopped = *stopped;
                    let action = match stopped {
                        true => "payments.programme.stopped",
                        false => "payments.programme.resumed",
                    };
                    let body = json!({"reason": reason});
                    append(
                        tx,
                        origin,
                        entry(action, "programme", row.programme_id, body),
                    );
                    Ok(pb::SetProgrammeStateResponse {
                        programme: Some(wire::programme(row)),
                    })
                })
            },
        )
        .await
    }
}
