//! Release: reserve funds, post a chunk, send it. Each step commits by itself and finds its
//! place again after a crash.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use publica_journal::append;
use publica_proto::payments::v1 as pb;
use publica_store::{Db, Tx};
use serde_json::json;

use crate::app::batch::system;
use crate::app::intake::VOUCHER_INSTITUTION;
use crate::app::{App, entry, wire};
use crate::domain::batch::{State, Total, chunk};
use crate::domain::ids::{AccountId, BatchId, GroupId, TransferId};
use crate::domain::instruction::{Verdict, instruction_leaf, refusal_leaf};
use crate::domain::ledger::{Action, Refusal, Transfer};
use crate::domain::merkle;
use crate::error::Error;
use crate::store::batch::{self as batches, BatchRow};
use crate::store::chunk::{self as sql, ChunkRow, InstructionRow};
use crate::store::ledger::{self, Ending, Opening, Order};
use crate::store::programme;

/// Chunks in work at a time; the rows of each are held in memory.
pub(crate) const ABREAST: usize = 3;
/// Chunks that are taken on before the batch is looked at again.
pub(crate) const A_STEP: i64 = 12;

/// How far a run of background work came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is more to do at once.
    More,
    /// Nothing to do until outcomes become known.
    Waiting,
    /// Nothing more to do.
    Finished,
}

/// Accounts that are opened when they are first used.
pub(crate) fn account(kind: &str, name: &str, currency: &str) -> AccountId {
    AccountId::of_code(&code(kind, name, currency))
}

fn code(kind: &str, name: &str, currency: &str) -> String {
    match name {
        "" => format!("{kind}:{currency}"),
        name => format!("{kind}:{name}:{currency}"),
    }
}

/// Opens such an account unless it is there.
pub(crate) async fn open(
    tx: &mut Tx<'_>,
    kind: &str,
    name: &str,
    currency: &str,
) -> Result<AccountId, Error> {
    let account_kind = match kind {
        "clearing" => pb::AccountKind::Clearing,
        "institution" => pb::AccountKind::Institution,
        "settlement" => pb::AccountKind::Settlement,
        "merchant" | "biller" => pb::AccountKind::Merchant,
        _ => pb::AccountKind::General,
    };
    let code = code(kind, name, currency);
    let opening = Opening {
        account_id: AccountId::of_code(&code),
        code,
        currency: currency.to_owned(),
        kind: wire::account_kind(account_kind),
        floor: None,
    };
    ledger::open(tx, &opening).await?;
    Ok(opening.account_id)
}

pub(crate) fn posted(
    debit: AccountId,
    credit: AccountId,
    amount_minor: i64,
    reason: &str,
) -> Order {
    let reason = reason.to_owned();
    Order::Make(Transfer {
        debit,
        credit,
        amount_minor,
        action: Action::Posted,
        reason,
    })
}

/// A step's share of what it needs to know.
pub(crate) struct Step {
    pub(crate) batch: BatchRow,
    pub(crate) chunk_no: i64,
    pub(crate) group: GroupId,
}

impl App {
    /// Takes a batch one step further.
    pub(crate) async fn advance(&self, db: &Db, id: BatchId) -> Result<Progress, Error> {
        let batch = batches::find(&mut db.clone(), id).await?;
        let batch = batch.ok_or(Error::not_found("batch"))?;
        match batch.state()? {
            State::Approved => match self.authorise(db, &batch).await? {
                Some(progress) => Ok(progress),
                None => self.reserve(db, batch).await,
            },
            State::Authorising => self.go_on(db, batch).await,
            State::FundsReserved => self.begin_dispatch(db, batch).await,
            State::Dispatching => self.dispatch_next(db, batch).await,
            State::InProgress => self.settle_next(db, batch).await,
            _ => Ok(Progress::Finished),
        }
    }

    fn step(&self, batch: BatchRow, chunk_no: i64) -> Step {
        Step {
            batch,
            chunk_no,
            group: self.group(),
        }
    }

    async fn reserve(&self, db: &Db, batch: BatchRow) -> Result<Progress, Error> {
        let step = self.step(batch.clone(), 0);
        let reserved = db.write("payments.reserve", step, |tx, step| {
            Box::pin(reserve(tx, step))
        });
        match reserved.await {
            Ok(()) => Ok(Progress::More),
            // The unit was undone: nothing happened but this.
            Err(Error::Ledger(Refusal::FundsShort)) => {
                let why = "the funding account does not cover it";
                self.put_state(db, batch, State::FundsRefused, why).await?;
                Ok(Progress::Finished)
            }
            Err(error) => Err(error),
        }
    }

    /// Goes on with a batch whose bank has answered, or did not in time.
    async fn go_on(&self, db: &Db, batch: BatchRow) -> Result<Progress, Error> {
        match self.authorised(db, &batch).await? {
            None => Ok(Progress::Finished),
            Some(answer) if answer.accepted => self.reserve(db, batch).await,
            Some(answer) => {
                let why = match answer.silent {
                    true => "the payer's bank did not answer in time",
                    false => "the payer's bank refused it",
                };
                self.put_state(db, batch, State::FundsRefused, why).await?;
                Ok(Progress::Finished)
            }
        }
    }

    async fn begin_dispatch(&self, db: &Db, batch: BatchRow) -> Result<Progress, Error> {
        self.put_state(db, batch, State::Dispatching, "").await?;
        Ok(Progress::More)
    }

    /// Moves a batch on. Losing to somebody else who moved it is no failure.
    pub(crate) async fn put_state(
        &self,
        db: &Db,
        batch: BatchRow,
        next: State,
        reason: &'static str,
    ) -> Result<(), Error> {
        let input = (batch, next, reason);
        let moved = db.write("payments.put_state", input, |tx, (batch, next, reason)| {
            Box::pin(async move {
                batches::set_state(tx, batch, *next, reason).await?;
                let body = json!({"state": next.as_str(), "reason": reason});
                append(
                    tx,
                    &system(batch),
                    entry("payments.batch.moved", "batch", batch.batch_id, body),
                );
                Ok::<_, Error>(())
            })
        });
        match moved.await {
            Err(Error::BatchState { .. }) => Ok(()),
            other => other,
        }
    }

    async fn dispatch_next(&self, db: &Db, batch: BatchRow) -> Result<Progress, Error> {
        let next = sql::below(&mut db.clone(), batch.batch_id, chunk::SENT, A_STEP).await?;
        if next.is_empty() {
            self.put_state(db, batch, State::InProgress, "").await?;
            return Ok(Progress::More);
        }
        match abreast(next, |next| self.dispatch(db, &batch, next)).await {
            Err(error @ Error::Altered(_)) => {
                let why = "stored rows are not those that were approved";
                self.put_state(db, batch, State::Paused, why).await?;
                Err(error)
            }
            sent => sent.map(|()| Progress::More),
        }
    }

    /// Posts a chunk and sends it.
    async fn dispatch(&self, db: &Db, batch: &BatchRow, next: ChunkRow) -> Result<(), Error> {
        if next.state != chunk::STORED {
            return self.send_chunk(db, batch, &next).await;
        }
        let step = self.step(batch.clone(), next.chunk_no);
        db.write("payments.post_chunk", step, |tx, step| {
            Box::pin(post(tx, step))
        })
        .await?;
        match sql::find(&mut db.clone(), batch.batch_id, next.chunk_no).await? {
            Some(posted) if posted.state != chunk::STORED => {
                self.send_chunk(db, batch, &posted).await
            }
            // Somebody has stopped the batch.
            _ => Ok(()),
        }
    }
}

/// Takes chunks on, some of them at a time: while one waits for the store or for its rail,
/// another computes. None is begun after a failure, and those that were begun come to their end.
pub(crate) async fn abreast<F>(
    chunks: Vec<ChunkRow>,
    take_on: impl Fn(ChunkRow) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>>,
{
    let mut waiting = chunks.into_iter();
    let first = waiting.by_ref().take(ABREAST).map(&take_on);
    let mut begun: FuturesUnordered<F> = first.collect();
    let mut all = Ok(());
    while let Some(done) = begun.next().await {
        all = all.and(done);
        if all.is_ok() {
            begun.extend(waiting.next().map(&take_on));
        }
    }
    all
}

/// The hashes of all rows of a chunk, refused ones included, in order.
pub(crate) async fn leaves(
    db: &Db,
    batch: &BatchRow,
    chunk_row: &ChunkRow,
    rows: &[InstructionRow],
) -> Result<Vec<merkle::Hash>, Error> {
    let (from, to) = (chunk_row.first_ordinal, chunk_row.end());
    let all = to - from;
    let refused = sql::refused(&mut db.clone(), batch.batch_id, from - 1, to, all).await?;
    let mut leaves: BTreeMap<i64, merkle::Hash> = refused
        .into_iter()
        .map(|row| (row.ordinal, refusal_leaf(row.ordinal, &row.reason_code)))
        .collect();
    for row in rows {
        let id = &row.instruction_id;
        let leaf = instruction_leaf(id, &row.payee, row.amount_minor, &batch.currency);
        leaves.insert(row.ordinal, leaf);
    }
    Ok(leaves.into_values().collect())
}

async fn reserve(tx: &mut Tx<'_>, step: &Step) -> Result<(), Error> {
    let batch = batches::lock(tx, step.batch.batch_id).await?;
    if !matches!(batch.state()?, State::Approved | State::Authorising) {
        return Ok(());
    }
    let paying = programme::find_programme(tx, batch.programme_id).await?;
    let paying = paying.ok_or(Error::corrupt("the programme of a batch is missing"))?;
    if paying.stopped {
        return Err(Error::ProgrammeStopped);
    }
    let clearing = open(tx, "clearing", "", &batch.currency).await?;
    let funded = sql::funded(tx, batch.batch_id).await?;
    let orders: Vec<Order> = funded
        .values()
        .map(|amount_minor| {
            Order::Make(Transfer {
                debit: paying.funding_account_id,
                credit: clearing,
                amount_minor: *amount_minor,
                action: Action::Pending { expires_at: None },
                reason: "batch reserved".to_owned(),
            })
        })
        .collect();
    let made = ledger::post_all(tx, step.group, &orders).await?;
    for (chunk_no, made) in funded.keys().zip(&made) {
        let hold = made.transfer_id.as_uuid();
        sql::set_hold(tx, batch.batch_id, *chunk_no, hold).await?;
    }
    batches::set_state(tx, &batch, State::FundsReserved, "").await?;
    let body = json!({"amount_minor": batch.accepted_minor, "holds": made.len()});
    append(
        tx,
        &system(&batch),
        entry("payments.batch.reserved", "batch", batch.batch_id, body),
    );
    Ok(())
}

/// Posts a chunk's part of the hold and spreads it over the institutions.
async fn post(tx: &mut Tx<'_>, step: &Step) -> Result<(), Error> {
    let (batch, chunk_no) = (&step.batch, step.chunk_no);
    let current = batches::lock(tx, batch.batch_id).await?;
    if current.state()? != State::Dispatching {
        return Ok(());
    }
    let paying = programme::find_programme(tx, batch.programme_id).await?;
    if paying.is_none_or(|paying| paying.stopped) {
        // The emergency stop holds what was not posted yet.
        return Err(Error::ProgrammeStopped);
    }
    sql::advance(tx, batch.batch_id, chunk_no, chunk::STORED, chunk::POSTED).await?;
    let stored = sql::find(tx, batch.batch_id, chunk_no).await?;
    let Some(hold) = stored.and_then(|stored| stored.hold_id) else {
        // Nothing in this chunk is paid.
        return Ok(());
    };
    let clearing = account("clearing", "", &batch.currency);
    let mut orders = vec![Order::End {
        pending: TransferId::from_uuid(hold),
        ending: Ending::Post(None),
        reason: "batch posted".to_owned(),
    }];
    for total in funded_totals(sql::totals(tx, batch.batch_id, chunk_no).await?) {
        let institution = open(tx, "institution", &total.institution, &batch.currency).await?;
        orders.push(posted(
            clearing,
            institution,
            total.amount_minor,
            "batch posted",
        ));
    }
    ledger::post_all(tx, step.group, &orders).await?;
    sql::insert_group(tx, batch.batch_id, chunk_no, step.group).await?;
    let body = json!({"chunk": chunk_no, "transfers": orders.len()});
    append(
        tx,
        &system(batch),
        entry("payments.batch.posted", "batch", batch.batch_id, body),
    );
    Ok(())
}

fn funded_totals(totals: Vec<Total>) -> impl Iterator<Item = Total> {
    totals
        .into_iter()
        .filter(|total| Verdict::of_code(total.verdict).funded())
}

/// The account on which money for vouchers waits until they are issued.
pub(crate) fn voucher_institution(currency: &str) -> AccountId {
    account("institution", VOUCHER_INSTITUTION, currency)
}
