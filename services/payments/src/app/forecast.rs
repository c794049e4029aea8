//! What paying a batch would take, and what would come of it. Nothing is written.

use std::collections::BTreeMap;

use publica_proto::payments::v1 as pb;
use publica_rpc::timestamp;
use publica_store::Db;
use publica_types::Origin;

use crate::app::report::by_reason;
use crate::app::{App, wire};
use crate::domain::batch::Total;
use crate::domain::instruction::Verdict;
use crate::error::Error;
use crate::store::batch::{self as batches, BatchRow};
use crate::store::beneficiary::{self as mapper, RouteRow};
use crate::store::chunk as sql;
use crate::store::{exception, programme};

/// Payees whose mapping is not what it was at intake.
#[derive(Default)]
struct Drift {
    lost: i64,
    changed: i64,
}

impl App {
    pub(crate) async fn forecast_batch(
        &self,
        origin: &Origin,
        request: pb::ForecastBatchRequest,
    ) -> Result<pb::ForecastBatchResponse, Error> {
        let mut db = self.db(origin).await?;
        let batch = self.visible_batch(origin, &db, &request.batch_id).await?;
        if batch.digest.is_none() {
            return Err(Error::BatchState {
                state: batch.state()?.as_str(),
            });
        }
        let id = batch.batch_id;
        let paying = programme::find_programme(&mut db, batch.programme_id).await?;
        let paying = paying.ok_or(Error::corrupt("the programme of a batch is missing"))?;
        let account = programme::find_funding(&mut db, paying.funding_account_id).await?;
        let account = account.ok_or(Error::corrupt("a funding account is missing"))?;
        let available = account.credits_posted - account.debits_posted - account.debits_pending;
        let competing = batches::waiting(&mut db, paying.funding_account_id, id).await?;
        let totals = sql::sum_totals(&mut db, id).await?;
        let payable = wire::sum(totals.iter().filter(|total| funded(total)));
        let institutions = self.institutions(&mut db, &batch, &totals).await?;
        let fee_minor = institutions.iter().map(|row| row.fee_minor).sum::<i64>();
        let refused = sql::refused_reasons(&mut db, id).await?;
        let unresolved = totals.iter().filter_map(|total| {
            let reason = Verdict::of_code(total.verdict).reason()?;
            Some((reason.code.to_owned(), total.item_count))
        });
        let drift = self.drift(&db, &batch).await?;
        let needed = payable.amount_minor.saturating_add(fee_minor);
        let missing = |needed: i64| needed.saturating_sub(available).max(0);
        Ok(pb::ForecastBatchResponse {
            as_of_time: Some(timestamp(self.clock.now())),
            payable: Some(payable),
            fee_minor,
            available_minor: available,
            competing_minor: competing,
            shortfall_minor: missing(needed),
            shortfall_with_others_minor: missing(needed.saturating_add(competing)),
            institutions,
            reasons: by_reason(refused.into_iter().chain(unresolved)),
            lost_count: drift.lost,
            changed_count: drift.changed,
        })
    }

    async fn institutions(
        &self,
        db: &mut Db,
        batch: &BatchRow,
        totals: &[Total],
    ) -> Result<Vec<pb::InstitutionForecast>, Error> {
        let (programme_id, id) = (batch.programme_id, batch.batch_id);
        let sent: BTreeMap<String, i64> = exception::past_sent(db, programme_id, id)
            .await?
            .into_iter()
            .collect();
        let rejected: BTreeMap<String, i64> = exception::past_rejected(db, programme_id, id)
            .await?
            .into_iter()
            .collect();
        let by_rail = |total: &&Total| Verdict::of_code(total.verdict) == Verdict::Accepted;
        let forecast = |total: &Total| {
            let of = |past: &BTreeMap<String, i64>| {
                past.get(&total.institution).copied().unwrap_or_default()
            };
            let (past_count, past_rejected) = (of(&sent), of(&rejected));
            pb::InstitutionForecast {
                institution: total.institution.clone(),
                tally: Some(wire::tally(total.item_count, total.amount_minor)),
                fee_minor: self
                    .rails
                    .fee(&total.institution, total.item_count, total.amount_minor),
                past_count,
                past_rejected,
                expected_rejected: share(total.item_count, past_rejected, past_count),
            }
        };
        Ok(totals.iter().filter(by_rail).map(forecast).collect())
    }

    /// Looks every payee up again, a chunk at a time.
    async fn drift(&self, db: &Db, batch: &BatchRow) -> Result<Drift, Error> {
        let mut drift = Drift::default();
        for chunk in sql::all(&mut db.clone(), batch.batch_id).await? {
            let (from, to) = (chunk.first_ordinal, chunk.end());
            let rows = sql::rows(&mut db.clone(), batch.batch_id, from, to).await?;
            let funded = rows
                .into_iter()
                .filter(|row| Verdict::of_code(row.verdict).funded());
            let rows: Vec<_> = funded.filter(|row| row.mapping_version > 0).collect();
            let payees: Vec<Vec<u8>> = rows.iter().map(|row| row.payee.clone()).collect();
            let routes = mapper::routes(&mut db.clone(), batch.source_no, &payees).await?;
            let routes: BTreeMap<Vec<u8>, RouteRow> = routes
                .into_iter()
                .map(|route| (route.payee.clone(), route))
                .collect();
            for row in &rows {
                match routes.get(&row.payee) {
                    Some(route) if !route.active => drift.lost += 1,
                    Some(route) if route.version != row.mapping_version => drift.changed += 1,
                    Some(_) => {}
                    None => drift.lost += 1,
                }
            }
        }
        Ok(drift)
    }
}

fn funded(total: &Total) -> bool {
    Verdict::of_code(total.verdict).funded()
}

/// So many at a rate, rounded up: a forecast errs on the side of care.
fn share(count: i64, part: i64, whole: i64) -> i64 {
    if whole <= 0 {
        return 0;
    }
    let (count, part, whole) = (i128::from(count), i128::from(part), i128::from(whole));
    i64::try_from((count * part + whole - 1) / whole).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_are_rounded_up() {
        for (count, part, whole, expected) in [
            (10, 0, 0, 0),
            (10, 0, 5, 0),
            (10, 1, 3, 4),
            (3, 1, 3, 1),
            (1, 1, 1_000, 1),
        ] {
            assert_eq!(share(count, part, whole), expected);
        }
    }
}
