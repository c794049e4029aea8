//! What happens by the passing of time alone: answers end, and delegates' authority does. That is
//! worked out whenever anything is read; here it is only told, each once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use publica_journal::append;
use publica_store::Tx;
use publica_types::{Origin, Tenant, Timestamp};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{App, Shop, entry, notices};
use crate::domain::notice::Kind;
use crate::error::{Error, Why};
use crate::store;
use crate::store::record::Row;
use crate::store::timer::{Due, Mark, Moment, behind};

/// How long the store is left alone where nothing is known to come due.
const REST: Duration = Duration::from_mins(1);
/// How soon to look again after a failure.
const AGAIN: Duration = Duration::from_secs(5);
/// How often the clock is asked.
const TICK: Duration = Duration::from_secs(1);
/// Answers that are told of in one unit.
const BATCH: i64 = 500;
/// How far looks reach back behind what was told of: longer than any unit may take to be stored
/// after the moment that it read from the clock, and than clocks of replicas differ. The migration
/// that began to note what is told of knows it too.
const OVERLAP: Duration = Duration::from_mins(15);
const DAY: Duration = Duration::from_hours(24);

/// What is told: the name of its mark, of which moment, and how long before it; and the
/// journal's action.
type Told = (&'static str, Moment, Duration, &'static str);

const TOLD: [Told; 5] = [
    (
        "expired",
        Moment::End,
        Duration::ZERO,
        "consent.record.expired",
    ),
    ("expiring-1", Moment::End, DAY, "consent.record.expiring"),
    (
        "expiring-7",
        Moment::End,
        Duration::from_hours(7 * 24),
        "consent.record.expiring",
    ),
    (
        "expiring-30",
        Moment::End,
        Duration::from_hours(30 * 24),
        "consent.record.expiring",
    ),
    (
        "reconfirmation",
        Moment::Reconfirmation,
        Duration::ZERO,
        "consent.record.reconfirmation_due",
    ),
];

impl App {
    /// Tells of what has come due, until `stop`. The block's clock says when to look again; how
    /// often it is asked costs the store nothing.
    pub(crate) async fn keep_time(&self, tenants: &[Tenant], stop: &CancellationToken) {
        let mut next: BTreeMap<&Tenant, (Timestamp, Timestamp)> = BTreeMap::new();
        while !stop.is_cancelled() {
            let mut pause = TICK;
            for tenant in tenants {
                let now = self.now();
                let rests =
                    |(looked, until): &(Timestamp, Timestamp)| (*looked..*until).contains(&now);
                if next.get(tenant).is_some_and(rests) {
                    continue;
                }
                match self.tell_due(tenant).await {
                    Ok(until) => {
                        next.insert(tenant, (now, until));
                    }
                    Err(error) => {
                        tracing::warn!(%tenant, %error, "what came due was not told");
                        next.remove(tenant);
                        pause = AGAIN;
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
                () = self.timer().notified() => next.clear(),
            }
        }
    }

    /// Tells of everything that has come due by now; when to look again. Where nothing is due, it
    /// only reads.
    pub(crate) async fn tell_due(&self, tenant: &Tenant) -> Result<Timestamp, Error> {
        let shop = self.shop(tenant).await?;
        let mut until = shop.now().plus(REST);
        for told in TOLD {
            let (name, moment, before, _) = told;
            let mark = store::timer::known(&shop.db, name).await?;
            let next = match &mark {
                Some(mark) => {
                    let from = floor(mark);
                    store::timer::next(&shop.db, moment, name, &from).await?
                }
                None => None,
            };
            match next {
                Some(at) if at > shop.now().plus(before) => until = until.min(at.minus(before)),
                None if mark.is_some() => {}
                _ => self.tell_all(&shop, tenant, told).await?,
            }
        }
        Ok(until)
    }

    /// Tells of everything that is due, and moves all marks to now, so that nothing is told of
    /// what is stored from here on and ended before.
    pub(crate) async fn settle_due(&self, tenant: &Tenant) -> Result<(), Error> {
        let shop = self.shop(tenant).await?;
        for told in TOLD {
            self.tell_all(&shop, tenant, told).await?;
        }
        Ok(())
    }

    /// Tells of everything that is due of one kind.
    async fn tell_all(&self, shop: &Arc<Shop>, tenant: &Tenant, told: Told) -> Result<(), Error> {
        loop {
            let input = (Arc::clone(shop), tenant.clone(), told);
            let unit = shop.db.write("consent.tell_due", input, |tx, input| {
                Box::pin(async move { tell(tx, &input.0, &input.1, input.2).await })
            });
            match unit.await {
                Ok(count) if count == BATCH => {}
                // Another replica was quicker, and tells the rest.
                Ok(_)
                | Err(Error::Refused {
                    why: Why::Conflict, ..
                }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Where a look begins that was told of up to a mark: what is stored late stands before that.
fn floor(mark: &Mark) -> Mark {
    behind(mark.0.minus(OVERLAP))
}

/// Keeps what ended elsewhere, or was to be warned of there, from being told of here.
pub(super) async fn pass_over(tx: &mut Tx<'_>, rows: &[&Row]) -> Result<(), Error> {
    let now = tx.now();
    let moment = |row: &Row, of: Moment| match of {
        Moment::End => row.valid_until,
        Moment::Reconfirmation => row.reconfirm_from,
    };
    let mut passed = Vec::new();
    for row in rows.iter().filter(|row| row.opt_in == Some(true)) {
        for (name, of, before, _) in TOLD {
            let at = moment(row, of).filter(|at| *at <= now.plus(before));
            passed.extend(at.map(|at| (name, at, row.record_id.as_str())));
        }
    }
    if passed.is_empty() {
        return Ok(());
    }
    let marks: BTreeMap<String, Timestamp> = store::timer::marks(tx).await?.into_iter().collect();
    // The rest is behind every look.
    passed.retain(|(name, at, _)| {
        marks
            .get(*name)
            .is_some_and(|mark| *at > mark.minus(OVERLAP))
    });
    store::timer::note(tx, &passed).await?;
    Ok(())
}

/// Tells of one batch; how many there were. Another replica that is quicker moves the mark, and
/// then there is nothing left to tell.
async fn tell(
    tx: &mut Tx<'_>,
    shop: &Shop,
    tenant: &Tenant,
    (name, moment, before, action): Told,
) -> Result<i64, Error> {
    let now = shop.now().plus(before);
    let done = store::timer::mark(tx, name, now).await?;
    if now <= done.0 {
        return Ok(0);
    }
    let due = store::timer::due(tx, (name, moment), &floor(&done), now, BATCH).await?;
    let noted: Vec<_> = due
        .iter()
        .map(|one| (name, one.at, &*one.record_id))
        .collect();
    if store::timer::note(tx, &noted).await? != u64::try_from(noted.len()).unwrap_or(u64::MAX) {
        // Another replica tells of some of them.
        return Err(Why::Conflict.about(name));
    }
    let origin = Origin {
        tenant: tenant.clone(),
        ..Origin::system("consent-timer")
    };
    // An answer that was given within the time of a warning is not warned of.
    let warned = |one: &&Due| one.valid_from.max(one.created) <= one.at.minus(before);
    let mut told = Vec::new();
    for one in due.iter().filter(warned) {
        told.push(one.record_id.clone());
        let body = json!({
            "individual_id": one.individual_id,
            "agreement_id": one.agreement_id,
            "at": one.at,
        });
        append(
            tx,
            &origin,
            entry(action, "consent_record", &one.record_id, body),
        );
    }
    let notice = match moment {
        Moment::Reconfirmation => Some(Kind::ReconfirmationDue),
        Moment::End => (!before.is_zero()).then_some(Kind::Expiring),
    };
    if let Some(kind) = notice {
        let cause = format!("{name}:{}:{}", done.0.micros(), done.1);
        notices::answers(tx, shop, &origin, kind, told, &cause).await?;
    }
    let count = i64::try_from(due.len()).unwrap_or(i64::MAX);
    let reached = match due.last() {
        Some(last) if count == BATCH => done.clone().max((last.at, last.record_id.clone())),
        _ => behind(now),
    };
    store::timer::forget(tx, name, floor(&reached).0).await?;
    if !store::timer::advance(tx, name, &done, &reached).await? {
        return Err(Why::Conflict.about(name));
    }
    Ok(count)
}
