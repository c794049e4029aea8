//! Transfers that callers make themselves, and the end of holds whose time is over.

use std::sync::PoisonError;

use publica_journal::{Call, Entry, append, write};
use publica_proto::payments::v1 as pb;
use publica_rpc::Invalid;
use publica_store::{Db, Gather, StoreError, Tx};
use publica_types::{Origin, new_uuid};
use serde_json::json;

use crate::app::{App, call, check_short, entry, parse_id, wire};
use crate::domain::ids::{GroupId, TransferId};
use crate::domain::ledger::{Action, Refusal, Transfer};
use crate::error::Error;
use crate::store::ledger::{self, Ending, Made, Order};
use crate::store::period;

const REASON_CHARS: usize = 140;

/// A transfer on its way into a group.
#[derive(Debug)]
pub(crate) struct Asked {
    origin: Origin,
    order: Order,
}

/// Gathers transfers; each gets an answer of its own.
pub(crate) type Gatherer = Gather<Asked, Result<Made, Refusal>>;

impl App {
    pub(crate) async fn create_transfer(
        &self,
        origin: &Origin,
        request: pb::CreateTransferRequest,
    ) -> Result<pb::CreateTransferResponse, Error> {
        const RPC: &str = "/publica.payments.v1.TransferService/CreateTransfer";
        let mut invalid = Invalid::new();
        check_short(&mut invalid, "reason", &request.reason, REASON_CHARS);
        let expires_at = wire::time("expire_time", request.expire_time.as_ref())?;
        if expires_at.is_some() && !request.pending {
            invalid.push("expire_time", "is for holds only");
        }
        if expires_at.is_some_and(|end| end <= self.clock.now()) {
            invalid.push("expire_time", "must be in the future");
        }
        let effective_at = wire::time("effective_time", request.effective_time.as_ref())?;
        if effective_at.is_some() && request.pending {
            invalid.push("effective_time", "is for transfers that move money at once");
        }
        if effective_at.is_some_and(|effective| effective > self.clock.now()) {
            invalid.push("effective_time", "must not be in the future");
        }
        invalid.check()?;
        let call = call(
            "payments.create_transfer",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let action = match request.pending {
            true => Action::Pending { expires_at },
            false => Action::Posted,
        };
        let transfer = Transfer {
            debit: parse_id(&request.debit_account_id, "account")?,
            credit: parse_id(&request.credit_account_id, "account")?,
            amount_minor: request.amount_minor,
            action,
            reason: request.reason,
        };
        let order = match effective_at {
            None => Order::Make(transfer),
            Some(effective_at) => Order::MakeAt(transfer, effective_at),
        };
        let transfer = Some(self.transfer_one(origin, call, order).await?);
        Ok(pb::CreateTransferResponse { transfer })
    }

    pub(crate) async fn resolve_transfer(
        &self,
        origin: &Origin,
        request: pb::ResolveTransferRequest,
    ) -> Result<pb::ResolveTransferResponse, Error> {
        const RPC: &str = "/publica.payments.v1.TransferService/ResolveTransfer";
        let mut invalid = Invalid::new();
        check_short(&mut invalid, "reason", &request.reason, REASON_CHARS);
        if request.void && request.amount_minor.is_some() {
            invalid.push(
                "amount_minor",
                "is for posting only; a void gives everything back",
            );
        }
        if request.amount_minor.is_some_and(|amount| amount <= 0) {
            invalid.push("amount_minor", "must be above zero");
        }
        invalid.check()?;
        let call = call(
            "payments.resolve_transfer",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let ending = match request.void {
            true => Ending::Void,
            false => Ending::Post(request.amount_minor),
        };
        let pending: TransferId = parse_id(&request.pending_id, "hold")?;
        let order = Order::End {
            pending,
            ending,
            reason: request.reason,
        };
        let transfer = Some(self.transfer_one(origin, call, order).await?);
        Ok(pb::ResolveTransferResponse { transfer })
    }

    /// Makes a transfer. Without a request id it shares a transaction with whatever else is
    /// waiting, which is what makes a hot account fast; under a request id it has one of its
    /// own, in which its answer is kept.
    async fn transfer_one(
        &self,
        origin: &Origin,
        call: Call<'_>,
        order: Order,
    ) -> Result<pb::Transfer, Error> {
        let db = self.db(origin).await?;
        if call.request_id.is_none() {
            let asked = Asked {
                origin: origin.clone(),
                order,
            };
            let answer = self.gather(&db).ask(asked).await?;
            let made = answer.map_err(Error::Ledger)?;
            return Ok(wire::made(&made));
        }
        let input = (origin.clone(), self.group(), [order]);
        let answer: pb::CreateTransferResponse =
            write(&db, call, input, |tx, (origin, group, orders)| {
                Box::pin(async move {
                    let made = ledger::post_all(tx, *group, orders).await?;
                    let made = made
                        .first()
                        .ok_or(Error::corrupt("a transfer is missing"))?;
                    append(tx, origin, entry_of(made));
                    let transfer = Some(wire::made(made));
                    Ok::<_, Error>(pb::CreateTransferResponse { transfer })
                })
            })
            .await?;
        answer.transfer.ok_or(Error::corrupt("a kept answer"))
    }

    /// What gathers the transfers of a store. One task for all of them: two on one account
    /// would wait for each other's locks.
    fn gather(&self, db: &Db) -> Gatherer {
        let mut gathers = self.gathers.lock().unwrap_or_else(PoisonError::into_inner);
        let gather = gathers.entry(db.tenant().clone()).or_insert_with(|| {
            let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
            Gather::writes("payments.transfers", db, move |tx, asked: &[Asked]| {
                let group = GroupId::of_uuid(new_uuid(&*clock, &*entropy));
                Box::pin(post_each(tx, group, asked))
            })
        });
        gather.clone()
    }

    pub(crate) async fn get_transfer(
        &self,
        origin: &Origin,
        request: pb::GetTransferRequest,
    ) -> Result<pb::GetTransferResponse, Error> {
        let mut db = self.db(origin).await?;
        let id: TransferId = parse_id(&request.transfer_id, "transfer")?;
        let row = ledger::find_transfer(&mut db, id).await?;
        let row = row.ok_or(Error::not_found("transfer"))?;
        let account = ledger::find(&mut db, row.debit_id).await?;
        let currency = account.map(|account| account.currency).unwrap_or_default();
        let outcome: Option<i64> = db
            .query(ledger::RESOLUTION)
            .bind(id)
            .fetch_scalar_optional()
            .await?;
        let resolution = match (row.kind, outcome) {
            (1, None) => "open",
            (1, Some(ledger::POSTED)) => "posted",
            (1, Some(ledger::VOIDED)) => "voided",
            (1, Some(_)) => "expired",
            _ => "",
        };
        let effective_at = period::effective(&mut db, id).await?;
        let transfer = Some(wire::transfer(row, currency, effective_at));
        Ok(pb::GetTransferResponse {
            transfer,
            resolution: resolution.to_owned(),
        })
    }

    /// Ends holds whose time is over; returns how many. Losing to somebody else is no failure.
    pub(crate) async fn expire_holds(&self, db: &Db) -> Result<usize, Error> {
        const AT_ONCE: i64 = 256;
        let now = self.clock.now();
        let due: Vec<TransferId> = db
            .query(ledger::LIST_DUE)
            .bind(now)
            .bind(AT_ONCE)
            .fetch_scalars()
            .await?;
        if due.is_empty() {
            return Ok(0);
        }
        let count = due.len();
        let origin = Origin::system("payments.expiry").in_tenant(db.tenant().clone());
        let orders: Vec<Order> = due
            .into_iter()
            .map(|pending| Order::End {
                pending,
                ending: Ending::Expire,
                reason: String::new(),
            })
            .collect();
        let input = (origin, self.group(), orders);
        db.write(
            "payments.expire_holds",
            input,
            |tx, (origin, group, orders)| Box::pin(expire(tx, origin, *group, orders)),
        )
        .await?;
        Ok(count)
    }
}

async fn expire(
    tx: &mut Tx<'_>,
    origin: &Origin,
    group: GroupId,
    orders: &[Order],
) -> Result<(), Error> {
    for answer in ledger::post(tx, group, orders).await? {
        match answer {
            Ok(made) => {
                let pending = made.transfer.action.pending().unwrap_or(made.transfer_id);
                let body = json!({"amount_minor": made.transfer.amount_minor});
                append(
                    tx,
                    origin,
                    entry("payments.hold.expired", "transfer", pending, body),
                );
            }
            Err(Refusal::AlreadyResolved) => {}
            Err(refusal) => return Err(Error::Ledger(refusal)),
        }
    }
    Ok(())
}

/// Makes gathered transfers, each with its own entry in the journal.
async fn post_each(
    tx: &mut Tx<'_>,
    group: GroupId,
    asked: &[Asked],
) -> Result<Vec<Result<Made, Refusal>>, StoreError> {
    let orders: Vec<Order> = asked.iter().map(|asked| asked.order.clone()).collect();
    let answers = ledger::post(tx, group, &orders)
        .await
        .map_err(|error| match error {
            Error::Store(error) => error,
            _ => StoreError::Misuse {
                reason: "an account cannot be read",
            },
        })?;
    for (asked, answer) in asked.iter().zip(&answers) {
        if let Ok(made) = answer {
            append(tx, &asked.origin, entry_of(made));
        }
    }
    Ok(answers)
}

fn entry_of(made: &Made) -> Entry {
    let transfer = wire::made(made);
    let mut body = json!({
        "amount_minor": transfer.amount_minor,
        "currency": transfer.currency,
        "debit": transfer.debit_account_id,
        "credit": transfer.credit_account_id,
        "kind": transfer.kind().as_str_name(),
    });
    if let Some(effective_at) = made.effective_at {
        body["effective_at"] = json!(effective_at);
    }
    entry("payments.transfer.made", "transfer", made.transfer_id, body)
}
