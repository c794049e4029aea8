//! How far a batch has come, as its source block sees it, and what its bank says.

use std::collections::BTreeMap;

use publica_journal::append;
use publica_proto::payments::v1 as pb;
use publica_rpc::{Invalid, timestamp};
use publica_store::Db;
use publica_types::Origin;
use serde_json::json;

use crate::app::report::outcomes;
use crate::app::{App, beneficiary, check_short, entry, wire};
use crate::domain::batch::State;
use crate::error::Error;
use crate::store::batch::BatchRow;
use crate::store::chunk as sql;
use crate::store::{beneficiary as mapper, exception, programme};

/// Places in one list of transactions.
const MOST: i32 = 1_000;
const USUAL: i32 = 100;
const NUMBER_CHARS: usize = 64;

impl App {
    pub(crate) async fn get_batch_progress(
        &self,
        origin: &Origin,
        request: pb::GetBatchProgressRequest,
    ) -> Result<pb::GetBatchProgressResponse, Error> {
        let db = self.db(origin).await?;
        let batch = self.visible_batch(origin, &db, &request.batch_id).await?;
        self.progress(&db, batch).await
    }

    /// The same for a callback.
    pub(crate) async fn progress(
        &self,
        db: &Db,
        batch: BatchRow,
    ) -> Result<pb::GetBatchProgressResponse, Error> {
        let state = batch.state()?;
        let mut reads = db.clone();
        let sums = exception::exception_sums(&mut reads, batch.batch_id).await?;
        let outcomes = outcomes(&mut reads, &batch, &sums).await?;
        let sum = |a: &pb::Tally, b: &pb::Tally| wire::sum_of([Some(a), Some(b)]);
        let total = wire::tally(
            batch.received_count,
            batch.accepted_minor + batch.unresolved_minor,
        );
        let completed = sum(&outcomes.settled, &outcomes.vouchers);
        let unpaid = wire::tally(
            batch.refused_count + batch.unresolved_count,
            batch.unresolved_minor,
        );
        let failed = sum(&unpaid, &outcomes.rejected);
        let rest = wire::tally(
            total.item_count - completed.item_count - failed.item_count,
            total.amount_minor - completed.amount_minor - failed.amount_minor,
        );
        let never = matches!(state, State::Rejected | State::Declined | State::Cancelled);
        let (ongoing, failed) = match never {
            // Nothing of it will be paid any more.
            true => (wire::tally(0, 0), sum(&failed, &rest)),
            false => (rest, failed),
        };
        Ok(pb::GetBatchProgressResponse {
            batch_id: batch.batch_id.to_string(),
            source_request: batch.source_request,
            currency: batch.currency,
            total: Some(total),
            ongoing: Some(ongoing),
            completed: Some(completed),
            failed: Some(failed),
            state: wire::small(state.code()),
            note: match batch.state_reason.is_empty() {
                true => state.as_str().replace('_', " "),
                false => batch.state_reason,
            },
            as_of_time: Some(timestamp(self.clock.now())),
        })
    }

    pub(crate) async fn record_bank_status(
        &self,
        origin: &Origin,
        request: pb::RecordBankStatusRequest,
    ) -> Result<pb::RecordBankStatusResponse, Error> {
        let mut invalid = Invalid::new();
        let number = &request.bank_request;
        check_short(&mut invalid, "bank_request", number, NUMBER_CHARS);
        let tallies = [
            ("total", &request.total),
            ("ongoing", &request.ongoing),
            ("completed", &request.completed),
            ("failed", &request.failed),
        ];
        let mut sums = serde_json::Map::new();
        for (field, tally) in tallies {
            match tally {
                Some(tally) if tally.item_count >= 0 && tally.amount_minor >= 0 => {
                    let (count, minor) = (tally.item_count, tally.amount_minor);
                    sums.insert(field.to_owned(), json!([count, minor]));
                }
                Some(_) => invalid.push(field, "must not be negative"),
                None => invalid.push(field, "is required"),
            }
        }
        invalid.check()?;
        let db = self.db(origin).await?;
        let batch = self.batch(&db, &request.batch_id).await?;
        self.speak_for_bank(origin, batch.programme_id, "").await?;
        let body = json!({"bank_request": request.bank_request, "sums": sums});
        let input = (origin.clone(), batch.batch_id, body);
        db.write("payments.bank_status", input, |tx, (origin, id, body)| {
            Box::pin(async move {
                let entry = entry("payments.batch.bank_status", "batch", id, body.clone());
                append(tx, origin, entry);
                Ok::<_, Error>(pb::RecordBankStatusResponse {})
            })
        })
        .await
    }

    pub(crate) async fn list_transactions(
        &self,
        origin: &Origin,
        request: pb::ListTransactionsRequest,
    ) -> Result<pb::ListTransactionsResponse, Error> {
        let count = match request.count {
            0 => USUAL,
            count => count,
        };
        let mut invalid = Invalid::new();
        if !(1..=MOST).contains(&count) {
            invalid.push("count", "must be from 1 to 1000");
        }
        if request.first_ordinal < 0 {
            invalid.push("first_ordinal", "must not be negative");
        }
        invalid.check()?;
        let db = self.db(origin).await?;
        let batch = self.visible_batch(origin, &db, &request.batch_id).await?;
        let from = request.first_ordinal;
        let to = from.saturating_add(i64::from(count));
        let rows = sql::rows(&mut db.clone(), batch.batch_id, from, to).await?;
        let payees: BTreeMap<i64, Vec<u8>> = rows
            .iter()
            .map(|row| (row.ordinal, row.payee.clone()))
            .collect();
        let names = self.names(&db, &batch, payees.values()).await?;
        let wanted = request.state();
        let any = wanted == pb::InstructionState::Unspecified;
        let statuses = self.statuses(&db, &batch, rows).await?;
        let transactions: Vec<pb::Transaction> = statuses
            .into_iter()
            .filter(|status| any || status.state() == wanted)
            .map(|status| {
                let payee = payees.get(&status.ordinal);
                let name = payee.and_then(|payee| names.get(payee));
                pb::Transaction {
                    instruction: Some(status),
                    functional_id: name.cloned().unwrap_or_default(),
                }
            })
            .collect();
        // On record before the answer leaves.
        let body = json!({"count": transactions.len()});
        let read = entry("payments.batch.payees_read", "batch", batch.batch_id, body);
        self.journal.record(origin, read).await?;
        let paying = programme::find_programme(&mut db.clone(), batch.programme_id).await?;
        let paying = paying.ok_or(Error::corrupt("the programme of a batch is missing"))?;
        Ok(pb::ListTransactionsResponse {
            transactions,
            create_time: Some(timestamp(batch.created_at)),
            update_time: Some(timestamp(batch.updated_at)),
            funding_account_id: paying.funding_account_id.to_string(),
        })
    }

    /// Functional ids in clear, by keyed hash.
    async fn names(
        &self,
        db: &Db,
        batch: &BatchRow,
        payees: impl Iterator<Item = &Vec<u8>>,
    ) -> Result<BTreeMap<Vec<u8>, String>, Error> {
        let payees: Vec<Vec<u8>> = payees.cloned().collect();
        let mappings = mapper::find_many(&mut db.clone(), batch.source_no, &payees).await?;
        beneficiary::functional_ids(&self.keyring, db, batch.source_no, &mappings).await
    }
}
