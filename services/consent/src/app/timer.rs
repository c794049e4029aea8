//! What happens by the passing of time alone: answers end, and delegates' authority does. That is
//! worked out whenever anything is read; here it is only told, each once.

use std::sync::Arc;
use std::time::Duration;

use publica_journal::append;
use publica_store::Tx;
use publica_types::{Origin, Tenant};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{App, Shop, entry};
use crate::error::{Error, Why};
use crate::store;
use crate::store::timer::{Moment, behind};

/// How often to look.
const EVERY: Duration = Duration::from_secs(5);
/// Answers that are told of in one unit.
const BATCH: i64 = 500;
const DAY: Duration = Duration::from_hours(24);

/// What is told, and how long before the moment that is stored.
const TOLD: [(&str, Moment, Duration, &str); 5] = [
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
    /// Tells of what has come due, until `stop`.
    pub(crate) async fn keep_time(&self, tenants: Vec<Tenant>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            for tenant in &tenants {
                if let Err(error) = self.tell_due(tenant).await {
                    tracing::warn!(%tenant, %error, "what came due was not told");
                }
            }
            let _ = stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
        }
    }

    /// Tells of everything that has come due by now.
    pub(crate) async fn tell_due(&self, tenant: &Tenant) -> Result<(), Error> {
        let shop = self.shop(tenant).await?;
        for told in TOLD {
            loop {
                let input = (Arc::clone(&shop), tenant.clone(), told);
                let unit = shop.db.write("consent.tell_due", input, |tx, input| {
                    Box::pin(async move { tell(tx, &input.0, &input.1, input.2).await })
                });
                match unit.await {
                    Ok(count) if count == BATCH => {}
                    // Another replica was quicker, and tells the rest.
                    Ok(_)
                    | Err(Error::Refused {
                        why: Why::Conflict, ..
                    }) => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// Tells of one batch; how many there were. Another replica that is quicker moves the mark, and
/// then there is nothing left to tell.
async fn tell(
    tx: &mut Tx<'_>,
    shop: &Shop,
    tenant: &Tenant,
    (name, moment, before, action): (&'static str, Moment, Duration, &'static str),
) -> Result<i64, Error> {
    let now = shop.now().plus(before);
    let done = store::timer::mark(tx, name, now).await?;
    if now <= done.0 {
        return Ok(0);
    }
    let due = store::timer::due(tx, moment, &done, now, BATCH).await?;
    let origin = Origin {
        tenant: tenant.clone(),
        ..Origin::system("consent-timer")
    };
    for one in &due {
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
    let count = i64::try_from(due.len()).unwrap_or(i64::MAX);
    let reached = match due.last() {
        Some(last) if count == BATCH => (last.at, last.record_id.clone()),
        _ => behind(now),
    };
    if !store::timer::advance(tx, name, &done, &reached).await? {
        return Err(Why::Conflict.about(name));
    }
    Ok(count)
}
