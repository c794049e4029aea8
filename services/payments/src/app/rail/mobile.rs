//! Paying by mobile money, one payment a call. A payment is marked before its first call, and
//! from then on asked about before it is ordered again, always under the same id: a provider that
//! has it does not make it twice, and one that does not answer leaves its outcome unknown.

use std::collections::BTreeSet;

use futures::future::join_all;
use publica_outbound::{Answer, Client, Method, Question, check_url};
use publica_store::{Db, Tx};
use publica_types::{Money, Timestamp, Uuid};
use serde_json::Value;

use super::wake;
use crate::app::App;
use crate::config::MobileMoneyConfig;
use crate::domain::iso20022::initiation::short;
use crate::domain::mobile_money::{
    Heard, Party, disbursement, http_date, ordered, request_state, response, transaction_state,
};
use crate::error::Error;
use crate::rail::Tokens;
use crate::store::outbox::{self as sql, ItemRow, MessageRow};

/// The most bytes of an answer.
const MOST_BYTES: usize = 64 << 10;

/// What calls to a provider need.
struct Caller<'a> {
    client: &'a Client,
    settings: &'a MobileMoneyConfig,
    tokens: Option<&'a Tokens>,
    now: Timestamp,
}

/// A payment and where it goes.
struct Payment {
    item: ItemRow,
    address: String,
    money: Money,
}

/// What became of a payment in one go.
#[derive(Debug, Clone)]
struct Change {
    end_to_end: Uuid,
    state: i64,
    reason_code: String,
    reference: String,
}

impl App {
    /// Orders what was not ordered, and asks about the rest; true if something is still open.
    pub(super) async fn call_out(
        &self,
        db: &Db,
        row: &MessageRow,
        settings: &MobileMoneyConfig,
    ) -> Result<bool, Error> {
        let client = self.rails.client(&row.rail).ok_or(Error::RailMissing)?;
        let caller = Caller {
            client,
            settings,
            tokens: self.rails.tokens(&row.rail),
            now: self.clock.now(),
        };
        let mut payments = self.payments(db, row).await?;
        let mut open = false;
        while !payments.is_empty() {
            let rest = payments.split_off(payments.len().min(settings.concurrency));
            let part = std::mem::replace(&mut payments, rest);
            self.mark(db, &part).await?;
            let heard = join_all(part.iter().map(|payment| caller.advance(payment))).await;
            let silent = heard.iter().all(|heard| *heard == Heard::Open);
            let changes: Vec<Change> = part
                .iter()
                .zip(heard)
                .map(|(payment, heard)| payment.change(heard))
                .collect();
            open |= changes.iter().any(|change| change.state < sql::SETTLED);
            self.note_heard(db, row, changes).await?;
            // A provider that answers nothing is not asked for all the rest.
            if silent && !payments.is_empty() {
                return Ok(true);
            }
        }
        Ok(open)
    }

    /// The payments of a message that have not ended.
    async fn payments(&self, db: &Db, row: &MessageRow) -> Result<Vec<Payment>, Error> {
        let items = sql::items(&mut db.clone(), row.message_id).await?;
        let addresses = self.addresses_of(row, items.len())?;
        let currency = row.currency.parse();
        let currency = currency.map_err(|_| Error::corrupt("the currency of a message"))?;
        let open = items.into_iter().zip(addresses);
        let open = open.filter(|(item, _)| item.state < sql::SETTLED);
        let payment = |(item, address): (ItemRow, String)| Payment {
            money: Money::new(item.amount_minor, currency),
            item,
            address,
        };
        Ok(open.map(payment).collect())
    }

    /// Notes what is ordered for the first time, before it is.
    async fn mark(&self, db: &Db, part: &[Payment]) -> Result<(), Error> {
        let fresh = part.iter().filter(|payment| payment.item.state == sql::NEW);
        let fresh: Vec<Change> = fresh
            .map(|payment| Change {
                end_to_end: payment.item.end_to_end,
                state: sql::ORDERED,
                reason_code: String::new(),
                reference: String::new(),
            })
            .collect();
        if fresh.is_empty() {
            return Ok(());
        }
        db.write("payments.rail_order", fresh, |tx, fresh| {
            Box::pin(async move { Ok(set(tx, fresh).await?) })
        })
        .await
    }

    async fn note_heard(
        &self,
        db: &Db,
        row: &MessageRow,
        changes: Vec<Change>,
    ) -> Result<(), Error> {
        let ended = changes.iter().any(|change| change.state >= sql::SETTLED);
        let batches: BTreeSet<_> = ended.then_some(row.batch_id).into_iter().collect();
        let input = (changes, batches);
        db.write("payments.rail_heard", input, |tx, (changes, batches)| {
            Box::pin(async move {
                set(tx, changes).await?;
                wake(tx, batches).await
            })
        })
        .await
    }
}

async fn set(tx: &mut Tx<'_>, changes: &[Change]) -> Result<(), publica_store::StoreError> {
    let changes: Vec<sql::Progress<'_>> = changes
        .iter()
        .map(|change| sql::Progress {
            end_to_end: change.end_to_end,
            state: change.state,
            reason_code: &change.reason_code,
            reference: &change.reference,
        })
        .collect();
    sql::set_progress(tx, &changes).await
}

impl Payment {
    /// The same id at each attempt, by which a provider knows a repeat.
    fn correlation_id(&self) -> String {
        self.item.end_to_end.hyphenated().to_string()
    }

    fn change(&self, heard: Heard) -> Change {
        let reference = self.item.reference.clone();
        let (state, reason_code, reference) = match heard {
            Heard::Working { reference } => (sql::ACCEPTED, String::new(), reference),
            // What was paid is not what was ordered: somebody has to look.
            Heard::Settled { amount } if amount.is_some_and(|paid| paid != self.money) => {
                (sql::ORDERED, String::new(), reference)
            }
            Heard::Settled { .. } => (sql::SETTLED, String::new(), reference),
            Heard::Rejected { reason_code } => (sql::REJECTED, reason_code, reference),
            Heard::Nothing | Heard::Open | Heard::At { .. } => {
                let state = self.item.state.max(sql::ORDERED);
                (state, String::new(), reference)
            }
        };
        Change {
            end_to_end: self.item.end_to_end,
            state,
            reason_code,
            reference,
        }
    }
}

impl Caller<'_> {
    /// Takes a payment as far as one look at it does.
    async fn advance(&self, payment: &Payment) -> Heard {
        match payment.item.state {
            sql::NEW => self.order(payment).await,
            sql::ACCEPTED => {
                let path = format!("requeststates/{}", payment.item.reference);
                match self.get(&path, request_state).await {
                    Heard::Nothing => self.look_up(payment).await,
                    heard => heard,
                }
            }
            // It was ordered, and what the provider said is not known.
            _ => self.look_up(payment).await,
        }
    }

    /// Asks by our own id, and orders again what never arrived.
    async fn look_up(&self, payment: &Payment) -> Heard {
        let path = format!("responses/{}", payment.correlation_id());
        match self.get(&path, response).await {
            Heard::At { path } => self.get(&path, transaction_state).await,
            Heard::Nothing => self.order(payment).await,
            heard => heard,
        }
    }

    async fn order(&self, payment: &Payment) -> Heard {
        let (from, to) = (
            Party {
                key: &self.settings.debit_key,
                value: &self.settings.debit_value,
            },
            Party {
                key: &self.settings.credit_key,
                value: &payment.address,
            },
        );
        let reference = short(payment.item.end_to_end);
        let body = disbursement(&from, &to, &payment.money, &reference);
        let headers = vec![("x-correlationid", payment.correlation_id())];
        let path = "transactions/type/disbursement";
        match self.call(Method::POST, path, headers, Some(body)).await {
            Some(answer) => ordered(answer.status, &answer.body),
            None => Heard::Open,
        }
    }

    async fn get(&self, path: &str, read: fn(u16, &[u8]) -> Heard) -> Heard {
        match self.call(Method::GET, path, Vec::new(), None).await {
            Some(answer) => read(answer.status, &answer.body),
            None => Heard::Open,
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        mut headers: Vec<(&'static str, String)>,
        body: Option<Value>,
    ) -> Option<Answer> {
        let settings = self.settings;
        let url = format!("{}/{path}", settings.url.trim_end_matches('/'));
        let url = check_url(&url, settings.allow_private).ok()?;
        headers.push(("date", http_date(self.now)));
        headers.push(("accept", "application/json".to_owned()));
        for (name, secret) in [
            ("x-api-key", &settings.api_key),
            ("authorization", &settings.authorization),
        ] {
            if !secret.expose().is_empty() {
                headers.push((name, secret.expose().clone()));
            }
        }
        let token = match (self.tokens, &settings.oauth) {
            (Some(tokens), Some(oauth)) => {
                let private = settings.allow_private;
                let token = tokens.token(self.client, oauth, private, self.now).await?;
                headers.push(("authorization", format!("Bearer {}", token.expose())));
                Some((tokens, token))
            }
            _ => None,
        };
        if body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        let question = Question {
            method,
            url,
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.into(), value))
                .collect(),
            body: body
                .map(|body| body.to_string().into_bytes())
                .unwrap_or_default(),
            most: MOST_BYTES,
        };
        let answer = self.client.ask(question).await;
        // It may have ended before its time. The next look at the payment fetches another.
        if let (Some((tokens, token)), Ok(Answer { status: 401, .. })) = (token, &answer) {
            tokens.refused(&token).await;
        }
        answer
            .inspect_err(|silence| tracing::debug!(?silence, "a provider did not answer"))
            .ok()
    }
}
