//! Settlement: outcomes, vouchers in place of failures, and reconciliation.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};
use publica_journal::append;
use publica_store::{Db, Tx};
use publica_types::{Money, Timestamp, Uuid};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::batch::system;
use crate::app::programme::{NewFunding, open_funding};
use crate::app::release::{
    A_STEP, ABREAST, Progress, abreast, account, open, posted, voucher_institution,
};
use crate::app::{App, callback, entry};
use crate::domain::batch::{State, chunk};
use crate::domain::ids::{AccountId, BatchId, GroupId};
use crate::domain::instruction::Verdict;
use crate::domain::outcome::Outcome;
use crate::domain::voucher::fresh_number;
use crate::error::Error;
use crate::rail::{Report, Status};
use crate::sealed::NUMBER;
use crate::store::batch::{self as batches, BatchRow};
use crate::store::chunk::{self as sql, ChunkRow, InstructionRow};
use crate::store::exception::{self, ExceptionRow};
use crate::store::ledger::{self, Order};
use crate::store::programme;
use crate::store::voucher::{self as vouchers, BatchVoucher, BatchVouchers};

/// What settling changes in one unit.
struct Settling {
    batch: BatchRow,
    chunk_no: i64,
    group: GroupId,
    /// The chunk's state before and after.
    from: i64,
    to: i64,
    outcomes: Vec<u8>,
    exceptions: Vec<ExceptionRow>,
    /// Exceptions that turned out to be settled.
    cleared: Vec<i64>,
    /// By institution: settled and rejected, in minor units.
    sums: BTreeMap<String, (i64, i64)>,
}

/// Vouchers for a chunk.
struct Issuing {
    batch: BatchRow,
    chunk_no: i64,
    group: GroupId,
    vouchers: Vec<BatchVoucher>,
    common: Option<BatchVouchers>,
    outcomes: Vec<u8>,
    /// From the funding account, in place of rejected payments.
    rejected_minor: i64,
    /// From the voucher institution, for payees without an account.
    direct_minor: i64,
}

/// The outcome of reconciling a batch, kept as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reconciliation {
    pub(crate) matched: i64,
    pub(crate) differences: Vec<String>,
}

impl App {
    pub(crate) async fn settle_next(&self, db: &Db, batch: BatchRow) -> Result<Progress, Error> {
        let next = sql::below(&mut db.clone(), batch.batch_id, chunk::DONE, A_STEP).await?;
        if next.is_empty() {
            return self.finish(db, batch).await;
        }
        abreast(next, |next| self.close(db, &batch, next)).await?;
        Ok(Progress::More)
    }

    /// Records what became of a chunk's payments, and gives vouchers for those that failed.
    async fn close(&self, db: &Db, batch: &BatchRow, next: ChunkRow) -> Result<(), Error> {
        if next.state == chunk::SETTLED {
            return self.issue(db, batch, &next).await;
        }
        self.settle(db, batch, &next).await?;
        let settled = sql::find(&mut db.clone(), batch.batch_id, next.chunk_no).await?;
        let settled = settled.ok_or(Error::corrupt("a chunk of a batch is missing"))?;
        self.issue(db, batch, &settled).await
    }

    /// What the rail says about a chunk, by end-to-end id.
    async fn reports(
        &self,
        db: &Db,
        batch: &BatchRow,
        chunk_no: i64,
    ) -> Result<BTreeMap<Uuid, Report>, Error> {
        let mut all = BTreeMap::new();
        for total in sql::totals(&mut db.clone(), batch.batch_id, chunk_no).await? {
            if Verdict::of_code(total.verdict) != Verdict::Accepted {
                continue;
            }
            let id = self.message_id(batch.batch_id, chunk_no, &total.institution);
            let answer = self.rails.query(db.tenant(), id).await?;
            for report in answer.unwrap_or_default() {
                all.insert(report.end_to_end_id, report);
            }
        }
        Ok(all)
    }

    async fn settle(&self, db: &Db, batch: &BatchRow, row: &ChunkRow) -> Result<(), Error> {
        let reports = self.reports(db, batch, row.chunk_no).await?;
        let (from, to) = (row.first_ordinal, row.end());
        let rows = sql::rows(&mut db.clone(), batch.batch_id, from, to).await?;
        let known = exception::exceptions(&mut db.clone(), batch.batch_id, from, to).await?;
        let known: BTreeMap<i64, ExceptionRow> =
            known.into_iter().map(|row| (row.ordinal, row)).collect();
        let mut settling = Settling {
            batch: batch.clone(),
            chunk_no: row.chunk_no,
            group: self.group(),
            from: chunk::SENT,
            to: chunk::SETTLED,
            outcomes: row.outcomes.clone(),
            exceptions: Vec::new(),
            cleared: Vec::new(),
            sums: BTreeMap::new(),
        };
        for instruction in rows {
            if Verdict::of_code(instruction.verdict) != Verdict::Accepted {
                continue;
            }
            let report = reports.get(&self.end_to_end_id(batch.batch_id, instruction.ordinal));
            // One that was never sent was rejected by us.
            let status = match (known.get(&instruction.ordinal), report) {
                (Some(exception), _) => Status::Rejected {
                    reason_code: exception.reason_code.clone(),
                },
                (None, Some(report)) => report.status.clone(),
                (None, None) => Status::Unknown,
            };
            settling.note(row, &instruction, status);
        }
        db.write("payments.settle_chunk", settling, |tx, settling| {
            Box::pin(settle(tx, settling))
        })
        .await
    }

    /// Asks again about what was unknown; true if something is still unknown.
    pub(crate) async fn ask_again(&self, db: &Db, batch: &BatchRow) -> Result<bool, Error> {
        let mut open = false;
        for row in sql::all(&mut db.clone(), batch.batch_id).await? {
            let unknown = Outcome::Unknown.byte();
            if !row.outcomes.contains(&unknown) {
                continue;
            }
            let reports = self.reports(db, batch, row.chunk_no).await?;
            let (from, to) = (row.first_ordinal, row.end());
            let rows = sql::rows(&mut db.clone(), batch.batch_id, from, to).await?;
            let mut settling = Settling {
                batch: batch.clone(),
                chunk_no: row.chunk_no,
                group: self.group(),
                from: chunk::DONE,
                to: chunk::SETTLED,
                outcomes: row.outcomes.clone(),
                exceptions: Vec::new(),
                cleared: Vec::new(),
                sums: BTreeMap::new(),
            };
            let is_unknown = |instruction: &InstructionRow| {
                place(&row, instruction).and_then(|at| row.outcomes.get(at)) == Some(&unknown)
            };
            for instruction in rows.iter().filter(|instruction| is_unknown(instruction)) {
                let id = self.end_to_end_id(batch.batch_id, instruction.ordinal);
                match reports.get(&id).map(|report| report.status.clone()) {
                    None | Some(Status::Unknown) => open = true,
                    Some(Status::Settled) => {
                        settling.cleared.push(instruction.ordinal);
                        settling.note(&row, instruction, Status::Settled);
                    }
                    Some(status) => settling.note(&row, instruction, status),
                }
            }
            if !settling.sums.is_empty() {
                db.write("payments.settle_late", settling, |tx, settling| {
                    Box::pin(settle(tx, settling))
                })
                .await?;
            }
        }
        Ok(open)
    }

    /// Issues vouchers in place of failures and for payees without an account.
    async fn issue(&self, db: &Db, batch: &BatchRow, row: &ChunkRow) -> Result<(), Error> {
        let paying = programme::find_programme(&mut db.clone(), batch.programme_id).await?;
        let paying = paying.ok_or(Error::corrupt("the programme of a batch is missing"))?;
        let mut issuing = Issuing {
            batch: batch.clone(),
            chunk_no: row.chunk_no,
            group: self.group(),
            vouchers: Vec::new(),
            common: None,
            outcomes: row.outcomes.clone(),
            rejected_minor: 0,
            direct_minor: 0,
        };
        if !paying.fallback_group.is_empty() {
            self.plan_vouchers(db, row, &mut issuing).await?;
        }
        if !issuing.vouchers.is_empty() {
            let source = programme::find_source_by_no(&mut db.clone(), batch.source_no).await?;
            let source = source.ok_or(Error::corrupt("the source block of a batch is missing"))?;
            issuing.common = Some(BatchVouchers {
                batch_id: batch.batch_id,
                calling_block: source.source_id,
                voucher_group: paying.fallback_group.clone(),
                currency: batch.currency.clone(),
                hold_until: self.clock.now().plus(self.config.voucher_hold()),
            });
        }
        let phases = self.config.callbacks.phases.clone();
        let input = (issuing, paying, self.keyring.clone(), phases);
        db.write("payments.issue_vouchers", input, |tx, input| {
            Box::pin(async move {
                let (issuing, paying, keyring, phases) = input;
                issue(tx, issuing, paying).await?;
                callback::tell_progress(tx, keyring, phases, &issuing.batch, false).await
            })
        })
        .await
    }

    async fn plan_vouchers(
        &self,
        db: &Db,
        row: &ChunkRow,
        issuing: &mut Issuing,
    ) -> Result<(), Error> {
        let batch_id = issuing.batch.batch_id;
        let (from, to) = (row.first_ordinal, row.end());
        let has = vouchers::ordinals_of_batch(&mut db.clone(), batch_id, from, to).await?;
        let has: std::collections::BTreeSet<i64> = has.into_iter().collect();
        let currency = issuing.batch.currency.parse();
        let currency = currency.map_err(|_| Error::corrupt("batch currency"))?;
        let rows = sql::rows(&mut db.clone(), batch_id, from, to).await?;
        for instruction in rows.iter().filter(|row| !has.contains(&row.ordinal)) {
            let Some(at) = place(row, instruction) else {
                continue;
            };
            let outcome = issuing.outcomes.get(at).copied().map(Outcome::of_byte);
            let direct = Verdict::of_code(instruction.verdict) == Verdict::Voucher;
            match outcome {
                _ if direct => issuing.direct_minor += instruction.amount_minor,
                Some(Outcome::Rejected) => issuing.rejected_minor += instruction.amount_minor,
                _ => continue,
            }
            issuing.outcomes[at] = Outcome::Voucher.byte();
            let number = fresh_number(&*self.entropy);
            issuing.vouchers.push(BatchVoucher {
                // Given out in the unit, where numbers follow one another.
                serial: String::new(),
                number_hash: self.keyring.lookup(NUMBER.name(), &number),
                number_sealed: self.keyring.seal_block(&NUMBER, number.as_bytes()),
                amount_minor: instruction.amount_minor,
                amount_text: Money::new(instruction.amount_minor, currency).decimal(),
                ordinal: instruction.ordinal,
            });
        }
        Ok(())
    }

    /// All chunks are settled: reconcile, and end the batch unless outcomes are still unknown.
    async fn finish(&self, db: &Db, batch: BatchRow) -> Result<Progress, Error> {
        let unknown = self.ask_again(db, &batch).await?;
        let next = sql::below(&mut db.clone(), batch.batch_id, chunk::DONE, 1).await?;
        if !next.is_empty() {
            return Ok(Progress::More);
        }
        if unknown && batch.reconciliation.is_some() {
            // Nothing new to say until the next outcome is known.
            return Ok(Progress::Waiting);
        }
        let found = self.reconcile(db, &batch).await?;
        let text = serde_json::to_string(&found).map_err(|_| Error::corrupt("reconciliation"))?;
        let sums = exception::exception_sums(&mut db.clone(), batch.batch_id).await?;
        let rejected: i64 = sums
            .iter()
            .filter(|sum| sum.state == i64::from(Outcome::Rejected.byte()))
            .map(|sum| sum.item_count)
            .sum();
        let state = match rejected {
            _ if unknown => None,
            0 => Some(State::Completed),
            all if all == batch.accepted_count => Some(State::Failed),
            _ => Some(State::PartiallyCompleted),
        };
        let tell = (self.keyring.clone(), self.config.callbacks.phases.clone());
        let sums = (found.matched, found.differences.len());
        let input = (batch, text, state, sums, tell);
        db.write("payments.finish_batch", input, |tx, input| {
            Box::pin(async move {
                let (batch, text, state, (matched, differences), (keyring, phases)) = input;
                batches::reconcile(tx, batch.batch_id, text).await?;
                if let Some(state) = state {
                    batches::set_state(tx, batch, *state, "").await?;
                    callback::tell_progress(tx, keyring, phases, batch, true).await?;
                }
                let body = json!({
                    "state": state.map_or("in_progress", State::as_str),
                    "matched": matched,
                    "differences": differences,
                });
                let entry = entry("payments.batch.reconciled", "batch", batch.batch_id, body);
                append(tx, &system(batch), entry);
                Ok::<_, Error>(())
            })
        })
        .await?;
        Ok(if unknown {
            Progress::Waiting
        } else {
            Progress::Finished
        })
    }

    /// What the store and the statement of its rails say of a chunk: its rows, and amounts by
    /// end-to-end id.
    async fn facts(
        &self,
        db: &Db,
        batch_id: BatchId,
        row: ChunkRow,
    ) -> Result<(ChunkRow, Vec<InstructionRow>, BTreeMap<Uuid, i64>), Error> {
        let mut lines = BTreeMap::new();
        for total in sql::totals(&mut db.clone(), batch_id, row.chunk_no).await? {
            let id = self.message_id(batch_id, row.chunk_no, &total.institution);
            for line in self.rails.statement(db.tenant(), id).await? {
                lines.insert(line.end_to_end_id, line.amount_minor);
            }
        }
        let (from, to) = (row.first_ordinal, row.end());
        let rows = sql::rows(&mut db.clone(), batch_id, from, to).await?;
        Ok((row, rows, lines))
    }

    /// Lets instructions, ledger and statement meet, chunk by chunk.
    async fn reconcile(&self, db: &Db, batch: &BatchRow) -> Result<Reconciliation, Error> {
        let mut found = Reconciliation::default();
        let mut settled: BTreeMap<String, i64> = BTreeMap::new();
        let chunks = stream::iter(sql::all(&mut db.clone(), batch.batch_id).await?);
        let facts = chunks.map(|row| self.facts(db, batch.batch_id, row));
        let mut facts = std::pin::pin!(facts.buffered(ABREAST));
        while let Some(facts) = facts.next().await {
            let (row, rows, mut lines) = facts?;
            for instruction in rows {
                let byte = place(&row, &instruction).and_then(|at| row.outcomes.get(at));
                let outcome = byte.copied().map_or(Outcome::None, Outcome::of_byte);
                let line = lines.remove(&self.end_to_end_id(batch.batch_id, instruction.ordinal));
                found.compare(&instruction, outcome, line);
                if outcome == Outcome::Settled {
                    *settled.entry(instruction.institution).or_default() +=
                        instruction.amount_minor;
                }
            }
            if !lines.is_empty() {
                let text = format!("chunk {}: {} unknown lines", row.chunk_no, lines.len());
                found.differ(text);
            }
        }
        let moved = sql::ledger_sums(&mut db.clone(), batch.batch_id).await?;
        let settlement = account("settlement", "", &batch.currency);
        for (institution, amount) in settled {
            let debit = account("institution", &institution, &batch.currency);
            let in_ledger: i64 = moved
                .iter()
                .filter(|(from, to, _)| *from == debit && *to == settlement)
                .map(|(_, _, amount)| amount)
                .sum();
            if in_ledger != amount {
                found.differ(format!(
                    "{institution}: ledger {in_ledger}, settled {amount}"
                ));
            }
        }
        Ok(found)
    }
}

impl Reconciliation {
    fn differ(&mut self, text: String) {
        const MOST: usize = 100;
        if self.differences.len() < MOST {
            self.differences.push(text);
        }
    }

    fn compare(&mut self, row: &InstructionRow, outcome: Outcome, line: Option<i64>) {
        match (outcome, line) {
            (Outcome::Settled, Some(amount)) if amount == row.amount_minor => self.matched += 1,
            (Outcome::Settled, Some(_)) => self.differ(format!("row {}: amount", row.ordinal)),
            (Outcome::Settled, None) => self.differ(format!("row {}: missing", row.ordinal)),
            // It will be settled when the next answer is recorded.
            (Outcome::Unknown, Some(_)) => {}
            (_, Some(_)) => self.differ(format!("row {}: paid by the bank only", row.ordinal)),
            (_, None) => {}
        }
    }
}

/// Where an instruction's byte stands in its chunk's outcomes.
pub(crate) fn place(chunk: &ChunkRow, row: &InstructionRow) -> Option<usize> {
    usize::try_from(row.ordinal - chunk.first_ordinal).ok()
}

impl Settling {
    fn note(&mut self, chunk: &ChunkRow, row: &InstructionRow, status: Status) {
        let (outcome, reason_code) = match status {
            Status::Settled => (Outcome::Settled, None),
            Status::Rejected { reason_code } => (Outcome::Rejected, Some(reason_code)),
            Status::Unknown => (Outcome::Unknown, Some(String::new())),
        };
        let Some(byte) = place(chunk, row).and_then(|at| self.outcomes.get_mut(at)) else {
            return;
        };
        if !Outcome::of_byte(*byte).may_become(outcome) {
            return;
        }
        *byte = outcome.byte();
        if let Some(reason_code) = reason_code {
            self.exceptions.push(ExceptionRow {
                ordinal: row.ordinal,
                state: i64::from(outcome.byte()),
                reason_code,
                institution: row.institution.clone(),
                amount_minor: row.amount_minor,
            });
        }
        let sum = self.sums.entry(row.institution.clone()).or_default();
        match outcome {
            Outcome::Settled => sum.0 += row.amount_minor,
            Outcome::Rejected => sum.1 += row.amount_minor,
            _ => {}
        }
    }
}

async fn settle(tx: &mut Tx<'_>, settling: &Settling) -> Result<(), Error> {
    let (batch, chunk_no) = (&settling.batch, settling.chunk_no);
    let batch_id = batch.batch_id;
    sql::advance(tx, batch_id, chunk_no, settling.from, settling.to).await?;
    sql::set_outcomes(tx, batch_id, chunk_no, &settling.outcomes).await?;
    for ordinal in &settling.cleared {
        exception::delete_exception(tx, batch_id, *ordinal).await?;
    }
    exception::put_exceptions(tx, batch_id, &settling.exceptions).await?;
    let paying = programme::find_programme(tx, batch.programme_id).await?;
    let paying = paying.ok_or(Error::corrupt("the programme of a batch is missing"))?;
    let settlement = open(tx, "settlement", "", &batch.currency).await?;
    let mut orders: Vec<Order> = Vec::new();
    for (institution, (settled, rejected)) in &settling.sums {
        let debit = account("institution", institution, &batch.currency);
        if *settled > 0 {
            orders.push(posted(debit, settlement, *settled, "batch settled"));
        }
        if *rejected > 0 {
            orders.push(posted(
                debit,
                paying.funding_account_id,
                *rejected,
                "batch rejected",
            ));
        }
    }
    if settling.sums.values().any(|(settled, _)| *settled > 0) {
        sql::set_settled(tx, batch_id, chunk_no).await?;
    }
    if !orders.is_empty() {
        ledger::post_all(tx, settling.group, &orders).await?;
        sql::insert_group(tx, batch_id, chunk_no, settling.group).await?;
    }
    let sum = |pick: fn(&(i64, i64)) -> i64| -> i64 { settling.sums.values().map(pick).sum() };
    let body = json!({
        "chunk": chunk_no,
        "settled_minor": sum(|sums| sums.0),
        "rejected_minor": sum(|sums| sums.1),
        "exceptions": settling.exceptions.len(),
    });
    append(
        tx,
        &system(batch),
        entry("payments.batch.settled", "batch", batch_id, body),
    );
    Ok(())
}

/// The account that vouchers of a group are paid from, opened with the first of them.
async fn pool(tx: &mut Tx<'_>, batch: &BatchRow, group: &str) -> Result<AccountId, Error> {
    let found = programme::find_funding_of_group(tx, group, &batch.currency).await?;
    if let Some(pool) = found {
        return Ok(pool.account_id);
    }
    let new = NewFunding {
        name: String::new(),
        currency: batch.currency.clone(),
        voucher_group: group.to_owned(),
    };
    let pool = match open_funding(tx, &system(batch), &new.check()?).await {
        // Another chunk's first voucher was a moment sooner.
        Err(Error::Exists { .. }) => {
            let found = programme::find_funding_of_group(tx, group, &batch.currency).await?;
            found.ok_or(Error::corrupt("the pool of a group is missing"))?
        }
        opened => opened?,
    };
    Ok(pool.account_id)
}

async fn issue(
    tx: &mut Tx<'_>,
    issuing: &Issuing,
    paying: &programme::ProgrammeRow,
) -> Result<(), Error> {
    let (batch, chunk_no) = (&issuing.batch, issuing.chunk_no);
    sql::advance(tx, batch.batch_id, chunk_no, chunk::SETTLED, chunk::DONE).await?;
    let Some(common) = &issuing.common else {
        return Ok(());
    };
    sql::set_outcomes(tx, batch.batch_id, chunk_no, &issuing.outcomes).await?;
    let group = &common.voucher_group;
    let pool = pool(tx, batch, group).await?;
    let mut orders = Vec::new();
    if issuing.rejected_minor > 0 {
        let from = paying.funding_account_id;
        orders.push(posted(
            from,
            pool,
            issuing.rejected_minor,
            "vouchers issued",
        ));
    }
    if issuing.direct_minor > 0 {
        let from = voucher_institution(&batch.currency);
        orders.push(posted(from, pool, issuing.direct_minor, "vouchers issued"));
    }
    ledger::post_all(tx, issuing.group, &orders).await?;
    sql::insert_group(tx, batch.batch_id, chunk_no, issuing.group).await?;
    let count = i64::try_from(issuing.vouchers.len()).unwrap_or(i64::MAX);
    let first = vouchers::take_serials(tx, count).await?;
    let numbered: Vec<BatchVoucher> = (first..)
        .zip(&issuing.vouchers)
        .map(|(serial, voucher)| BatchVoucher {
            serial: serial.to_string(),
            ..voucher.clone()
        })
        .collect();
    vouchers::insert_for_batch(tx, common, &numbered).await?;
    let body = json!({
        "chunk": chunk_no,
        "vouchers": count,
        "amount_minor": issuing.rejected_minor + issuing.direct_minor,
    });
    append(
        tx,
        &system(batch),
        entry(
            "payments.batch.vouchers_issued",
            "batch",
            batch.batch_id,
            body,
        ),
    );
    Ok(())
}

/// How long to wait before asking again about unknown outcomes: longer the longer it takes.
pub(crate) fn patience(since: Timestamp, now: Timestamp) -> std::time::Duration {
    const LEAST: std::time::Duration = std::time::Duration::from_millis(500);
    const MOST: std::time::Duration = std::time::Duration::from_secs(900);
    (now.since(since) / 4).clamp(LEAST, MOST)
}
