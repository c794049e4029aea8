//! What became of a batch: pages of instructions, sums, receipts and vouchers.

use std::collections::BTreeMap;

use publica_proto::payments::v1 as pb;
use publica_rpc::{PageToken, page_size, timestamp};
use publica_store::Db;
use publica_types::Origin;
use serde_json::json;

use crate::app::account::next;
use crate::app::batch::on_wire;
use crate::app::settle::{Reconciliation, place};
use crate::app::voucher::open_number;
use crate::app::{App, beneficiary, entry, wire};
use crate::domain::batch::{State, chunk as chunk_state};
use crate::domain::instruction::Verdict;
use crate::domain::iso20022::initiation::short;
use crate::domain::outcome::Outcome;
use crate::error::Error;
use crate::store::batch::BatchRow;
use crate::store::chunk::{self as sql, ChunkRow, InstructionRow};
use crate::store::exception::{self, ExceptionRow, ExceptionSum};
use crate::store::ledger::{CHECK_CURRENCIES, CurrencyRow};
use crate::store::{beneficiary as mapper, voucher};

impl App {
    pub(crate) async fn list_instructions(
        &self,
        origin: &Origin,
        request: pb::ListInstructionsRequest,
    ) -> Result<pb::ListInstructionsResponse, Error> {
        let db = self.db(origin).await?;
        let batch = self.visible_batch(origin, &db, &request.batch_id).await?;
        let limit = page_size(request.page_size, 100, 10_000)?;
        let bound = (&request.batch_id, request.exceptions_only);
        let after: Option<i64> = PageToken::decode(&bound, &request.page_token)?;
        let after = after.unwrap_or(-1);
        let id = batch.batch_id;
        let (mut rows, next_page_token) = if request.exceptions_only {
            let mut page = exception::exception_page(&mut db.clone(), id, after, limit + 1).await?;
            let token = |row: &ExceptionRow| PageToken::encode(&bound, &row.ordinal);
            let next_page_token = next(&mut page, limit, token);
            let mut rows = Vec::with_capacity(page.len());
            for exception in page {
                rows.extend(sql::find_row(&mut db.clone(), id, exception.ordinal).await?);
            }
            (rows, next_page_token)
        } else {
            let mut rows = sql::page(&mut db.clone(), id, after, limit + 1).await?;
            let token = |row: &InstructionRow| PageToken::encode(&bound, &row.ordinal);
            let next_page_token = next(&mut rows, limit, token);
            (rows, next_page_token)
        };
        rows.sort_by_key(|row| row.ordinal);
        let instructions = self.statuses(&db, &batch, rows).await?;
        Ok(pb::ListInstructionsResponse {
            instructions,
            next_page_token,
        })
    }

    /// Instructions with what became of each.
    pub(crate) async fn statuses(
        &self,
        db: &Db,
        batch: &BatchRow,
        rows: Vec<InstructionRow>,
    ) -> Result<Vec<pb::InstructionStatus>, Error> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(Vec::new());
        };
        let (from, to) = (first.ordinal, last.ordinal + 1);
        let reasons = exception::exceptions(&mut db.clone(), batch.batch_id, from, to).await?;
        let reasons: BTreeMap<i64, String> = reasons
            .into_iter()
            .map(|row| (row.ordinal, row.reason_code))
            .collect();
        let cancelled = batch.state()? == State::Cancelled;
        let mut chunk_row: Option<ChunkRow> = None;
        let mut statuses = Vec::with_capacity(rows.len());
        for row in rows {
            let chunk_no = row.ordinal / batch.chunk_rows;
            if chunk_row
                .as_ref()
                .is_none_or(|known| known.chunk_no != chunk_no)
            {
                chunk_row = sql::find(&mut db.clone(), batch.batch_id, chunk_no).await?;
            }
            let known = chunk_row
                .as_ref()
                .ok_or(Error::corrupt("a chunk is missing"))?;
            let state = state(known, &row, cancelled);
            statuses.push(self.status(batch, row, state, &reasons));
        }
        Ok(statuses)
    }

    fn status(
        &self,
        batch: &BatchRow,
        row: InstructionRow,
        state: pb::InstructionState,
        reasons: &BTreeMap<i64, String>,
    ) -> pb::InstructionStatus {
        let verdict = Verdict::of_code(row.verdict);
        let unresolved = verdict.reason().map(|reason| reason.code.to_owned());
        let reason_code = unresolved.or_else(|| reasons.get(&row.ordinal).cloned());
        let sent = verdict == Verdict::Accepted
            && !matches!(
                state,
                pb::InstructionState::Resolved | pb::InstructionState::Cancelled
            );
        let end_to_end_id = match sent {
            true => short(self.end_to_end_id(batch.batch_id, row.ordinal)),
            false => String::new(),
        };
        let (currency, amount_minor) = (batch.currency.clone(), row.amount_minor);
        pb::InstructionStatus {
            ordinal: row.ordinal,
            instruction_id: row.instruction_id,
            amount: Some(pb::Money {
                currency,
                amount_minor,
            }),
            institution: row.institution,
            state: state.into(),
            iso_status: iso_status(state).to_owned(),
            reason_code: reason_code.unwrap_or_default(),
            end_to_end_id,
        }
    }

    pub(crate) async fn list_refusals(
        &self,
        origin: &Origin,
        request: pb::ListRefusalsRequest,
    ) -> Result<pb::ListRefusalsResponse, Error> {
        let mut db = self.db(origin).await?;
        let batch = self.visible_batch(origin, &db, &request.batch_id).await?;
        let limit = page_size(request.page_size, 100, 10_000)?;
        let after: Option<i64> = PageToken::decode(&request.batch_id, &request.page_token)?;
        let (id, after) = (batch.batch_id, after.unwrap_or(-1));
        let mut rows = sql::refused(&mut db, id, after, i64::MAX, limit + 1).await?;
        let token = |row: &sql::RefusedRow| PageToken::encode(&request.batch_id, &row.ordinal);
        let next_page_token = next(&mut rows, limit, token);
        let refusals = rows.into_iter().map(|row| pb::Refusal {
            ordinal: row.ordinal,
            instruction_id: row.instruction_id,
            reason_code: row.reason_code,
            reason: row.reason,
        });
        Ok(pb::ListRefusalsResponse {
            refusals: refusals.collect(),
            next_page_token,
        })
    }

    pub(crate) async fn get_batch_report(
        &self,
        origin: &Origin,
        request: pb::GetBatchReportRequest,
    ) -> Result<pb::GetBatchReportResponse, Error> {
        let db = self.db(origin).await?;
        let batch = self.visible_batch(origin, &db, &request.batch_id).await?;
        self.report(&db, batch).await
    }

    pub(crate) async fn report(
        &self,
        db: &Db,
        batch: BatchRow,
    ) -> Result<pb::GetBatchReportResponse, Error> {
        let mut db = db.clone();
        let id = batch.batch_id;
        let sums = exception::exception_sums(&mut db, id).await?;
        let outcomes = outcomes(&mut db, &batch, &sums).await?;
        let refused = sql::refused_reasons(&mut db, id).await?;
        let totals = sql::sum_totals(&mut db, id).await?;
        let unresolved = totals.iter().filter_map(|total| {
            let reason = Verdict::of_code(total.verdict).reason()?;
            Some((reason.code.to_owned(), total.item_count))
        });
        let failures = sums
            .iter()
            .filter(|sum| !sum.reason_code.is_empty())
            .map(|sum| (sum.reason_code.clone(), sum.item_count));
        let reasons = by_reason(refused.into_iter().chain(unresolved).chain(failures));
        let found: Option<Reconciliation> = batch
            .reconciliation
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok());
        let currencies: Vec<CurrencyRow> = db.query(CHECK_CURRENCIES).fetch_all().await?;
        let ledger_balanced = currencies
            .iter()
            .filter(|row| row.currency == batch.currency)
            .all(|row| {
                row.debits_posted == row.credits_posted && row.debits_pending == row.credits_pending
            });
        let reconciled = found
            .as_ref()
            .is_some_and(|found| found.differences.is_empty());
        Ok(pb::GetBatchReportResponse {
            batch: Some(on_wire(&mut db, batch).await?),
            settled: Some(outcomes.settled),
            rejected: Some(outcomes.rejected),
            replaced: Some(outcomes.replaced),
            unknown: Some(outcomes.unknown),
            vouchers: Some(outcomes.vouchers),
            open: Some(outcomes.open),
            institutions: outcomes.institutions,
            reasons,
            reconciled,
            matched_count: found.as_ref().map_or(0, |found| found.matched),
            differences: found.map(|found| found.differences).unwrap_or_default(),
            ledger_balanced,
        })
    }

    pub(crate) async fn list_batch_vouchers(
        &self,
        origin: &Origin,
        request: pb::ListBatchVouchersRequest,
    ) -> Result<pb::ListBatchVouchersResponse, Error> {
        let db = self.db(origin).await?;
        let batch = self.visible_batch(origin, &db, &request.batch_id).await?;
        let limit = page_size(request.page_size, 100, 1_000)?;
        let after: Option<i64> = PageToken::decode(&request.batch_id, &request.page_token)?;
        let id = batch.batch_id;
        let mut rows =
            voucher::of_batch(&mut db.clone(), id, after.unwrap_or(-1), limit + 1).await?;
        let next_page_token = next(&mut rows, limit, |row: &voucher::VoucherRow| {
            PageToken::encode(&request.batch_id, &row.ordinal)
        });
        if request.reveal_numbers && !rows.is_empty() {
            // On record before the answer leaves.
            let body = json!({"count": rows.len()});
            let entry = entry("payments.vouchers.revealed", "batch", id, body);
            self.journal.record(origin, entry).await?;
        }
        let vouchers = self
            .vouchers(&db, &batch, rows, request.reveal_numbers)
            .await?;
        Ok(pb::ListBatchVouchersResponse {
            vouchers,
            next_page_token,
        })
    }

    async fn vouchers(
        &self,
        db: &Db,
        batch: &BatchRow,
        rows: Vec<voucher::VoucherRow>,
        reveal: bool,
    ) -> Result<Vec<pb::BatchVoucher>, Error> {
        let mut instructions = Vec::with_capacity(rows.len());
        for ordinal in rows.iter().filter_map(|row| row.ordinal) {
            instructions.extend(sql::find_row(&mut db.clone(), batch.batch_id, ordinal).await?);
        }
        let ids = match reveal {
            false => BTreeMap::new(),
            true => {
                let payees: Vec<Vec<u8>> =
                    instructions.iter().map(|row| row.payee.clone()).collect();
                let mappings = mapper::find_many(&mut db.clone(), batch.source_no, &payees).await?;
                beneficiary::functional_ids(&self.keyring, db, batch.source_no, &mappings).await?
            }
        };
        let instructions: BTreeMap<i64, InstructionRow> = instructions
            .into_iter()
            .map(|row| (row.ordinal, row))
            .collect();
        let mut vouchers = Vec::with_capacity(rows.len());
        for row in rows {
            let ordinal = row.ordinal.unwrap_or_default();
            let instruction = instructions.get(&ordinal);
            let number = match (&row.number_sealed, reveal) {
                (Some(sealed), true) => open_number(&self.keyring, sealed)?,
                _ => String::new(),
            };
            let functional_id = instruction.and_then(|row| ids.get(&row.payee));
            vouchers.push(pb::BatchVoucher {
                ordinal,
                instruction_id: instruction
                    .map(|r| r.instruction_id.clone())
                    .unwrap_or_default(),
                serial_number: row.serial,
                voucher_number: number,
                amount: Some(pb::Money {
                    currency: row.currency,
                    amount_minor: row.amount_minor,
                }),
                voucher_group: row.voucher_group,
                expire_time: row.expires_at.or(row.hold_until).map(timestamp),
                functional_id: functional_id.cloned().unwrap_or_default(),
            });
        }
        Ok(vouchers)
    }
}

/// What became of a batch so far, in numbers and amounts.
pub(crate) struct Outcomes {
    pub(crate) settled: pb::Tally,
    /// Rejected and not replaced by a voucher.
    pub(crate) rejected: pb::Tally,
    pub(crate) replaced: pb::Tally,
    pub(crate) unknown: pb::Tally,
    pub(crate) vouchers: pb::Tally,
    pub(crate) open: pb::Tally,
    pub(crate) institutions: Vec<pb::InstitutionReport>,
}

/// Sums up outcomes: as many reads, however large the batch is.
pub(crate) async fn outcomes(
    db: &mut Db,
    batch: &BatchRow,
    sums: &[ExceptionSum],
) -> Result<Outcomes, Error> {
    let id = batch.batch_id;
    let (mut sent, mut direct) = (BTreeMap::new(), wire::tally(0, 0));
    for total in sql::sent_totals(db, id).await? {
        match Verdict::of_code(total.verdict) {
            Verdict::Accepted => {
                let sum = (total.item_count, total.amount_minor);
                sent.insert(total.institution, sum);
            }
            _ => {
                let more = wire::tally(total.item_count, total.amount_minor);
                direct = wire::sum_of([Some(&direct), Some(&more)]);
            }
        }
    }
    let (voucher_count, voucher_minor) = voucher::sum_of_batch(db, id).await?;
    let institutions = by_institution(&sent, sums);
    let settled = total(&institutions, |row| row.settled.as_ref());
    let rejected = total(&institutions, |row| row.rejected.as_ref());
    let unknown = total(&institutions, |row| row.unknown.as_ref());
    let replaced = wire::tally(
        voucher_count - direct.item_count,
        voucher_minor - direct.amount_minor,
    );
    let closed = [&settled, &rejected, &unknown, &direct];
    let open = wire::tally(
        batch.accepted_count - closed.iter().map(|sum| sum.item_count).sum::<i64>(),
        batch.accepted_minor - closed.iter().map(|sum| sum.amount_minor).sum::<i64>(),
    );
    Ok(Outcomes {
        rejected: wire::tally(
            rejected.item_count - replaced.item_count,
            rejected.amount_minor - replaced.amount_minor,
        ),
        settled,
        replaced,
        unknown,
        vouchers: wire::tally(voucher_count, voucher_minor),
        open,
        institutions,
    })
}

/// Counts under one reason code each, in the codes' order.
pub(crate) fn by_reason(counts: impl Iterator<Item = (String, i64)>) -> Vec<pb::ReasonCount> {
    let mut reasons: BTreeMap<String, i64> = BTreeMap::new();
    for (code, count) in counts {
        *reasons.entry(code).or_default() += count;
    }
    let named = |(reason_code, item_count)| pb::ReasonCount {
        reason_code,
        item_count,
    };
    reasons.into_iter().map(named).collect()
}

fn by_institution(
    sent: &BTreeMap<String, (i64, i64)>,
    sums: &[ExceptionSum],
) -> Vec<pb::InstitutionReport> {
    let of = |institution: &str, outcome: Outcome| {
        let code = i64::from(outcome.byte());
        let mine = sums
            .iter()
            .filter(|sum| sum.institution == institution && sum.state == code);
        mine.fold((0, 0), |(count, minor), sum| {
            (count + sum.item_count, minor + sum.amount_minor)
        })
    };
    let report = |(institution, (count, minor)): (&String, &(i64, i64))| {
        let rejected = of(institution, Outcome::Rejected);
        let unknown = of(institution, Outcome::Unknown);
        pb::InstitutionReport {
            institution: institution.clone(),
            settled: Some(wire::tally(
                count - rejected.0 - unknown.0,
                minor - rejected.1 - unknown.1,
            )),
            rejected: Some(wire::tally(rejected.0, rejected.1)),
            unknown: Some(wire::tally(unknown.0, unknown.1)),
        }
    };
    sent.iter().map(report).collect()
}

fn total(
    rows: &[pb::InstitutionReport],
    pick: impl Fn(&pb::InstitutionReport) -> Option<&pb::Tally>,
) -> pb::Tally {
    rows.iter()
        .filter_map(pick)
        .fold(wire::tally(0, 0), |sum, tally| {
            wire::tally(
                sum.item_count + tally.item_count,
                sum.amount_minor + tally.amount_minor,
            )
        })
}

fn state(chunk_row: &ChunkRow, row: &InstructionRow, cancelled: bool) -> pb::InstructionState {
    use pb::InstructionState as S;
    let verdict = Verdict::of_code(row.verdict);
    if !verdict.funded() {
        return S::Unresolved;
    }
    if cancelled {
        return S::Cancelled;
    }
    let byte = place(chunk_row, row).and_then(|at| chunk_row.outcomes.get(at));
    match byte.copied().map_or(Outcome::None, Outcome::of_byte) {
        Outcome::Settled => S::Settled,
        Outcome::Rejected => S::Rejected,
        Outcome::Unknown => S::Unknown,
        Outcome::Returned => S::Returned,
        Outcome::Voucher => S::Voucher,
        Outcome::None if chunk_row.state < chunk_state::INTENT => S::Resolved,
        Outcome::None if verdict == Verdict::Voucher => S::Resolved,
        Outcome::None => S::Dispatched,
    }
}

/// The same in ISO 20022.
fn iso_status(state: pb::InstructionState) -> &'static str {
    use pb::InstructionState as S;
    match state {
        S::Unspecified => "",
        S::Resolved => "ACTC",
        S::Dispatched => "ACSP",
        S::Settled | S::Voucher => "ACSC",
        S::Unknown => "PDNG",
        S::Unresolved | S::Rejected | S::Returned => "RJCT",
        S::Cancelled => "CANC",
    }
}
