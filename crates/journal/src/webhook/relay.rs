//! The relay: follows the log for each subscription and leaves a job for each entry it wants.

use std::time::Duration;

use publica_store::{Db, Lease, StoreError, leases};
use publica_types::{Origin, Uuid};
use publica_work::{Job, enqueue_ordered, operator};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{KIND, PINGED, key_prefix};
use crate::error::JournalError;
use crate::grpc::resume;
use crate::journal::Journal;
use crate::store::entries::{self, Filter, Placed};
use crate::store::log as log_sql;
use crate::store::webhooks::{self as sql, WebhookRow};

const LEASE: &str = "journal.webhooks";
const BATCH: i64 = 256;
/// Deliveries of one subscription that may wait; beyond, its cursor stays where it is.
pub(crate) const MAX_WAITING: i64 = 1_000;
const MAX_SUBSCRIPTIONS: i64 = 10_000;
const POLL: Duration = Duration::from_secs(2);

/// What a delivery needs to know.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Delivery {
    pub(crate) webhook_id: Uuid,
    pub(crate) position: i64,
}

/// Relays one tenant's log until `stop`.
pub(crate) async fn relay(journal: &Journal, db: &Db, stop: &CancellationToken) {
    let holder = journal.holder();
    let span = journal.config().lease();
    let mut grown = journal.grown(db);
    let mut held: Option<(Lease, Instant)> = None;
    while !stop.is_cancelled() {
        grown.mark_unchanged();
        let round = async {
            held = keep(db, held.take(), &holder, span).await?;
            match &held {
                Some((lease, _)) => round(db, lease).await,
                None => Ok(false),
            }
        };
        let more = round.await.unwrap_or_else(|error| {
            tracing::warn!(block = journal.block(), %error, "webhooks could not be relayed");
            false
        });
        if !more {
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                _ = grown.changed() => {}
                () = stop.cancelled() => {}
            }
        }
    }
    if let Some((lease, _)) = held
        && let Err(error) = lease.release(db).await
    {
        tracing::debug!(%error, "the relay's lease was not given back");
    }
}

async fn keep(
    db: &Db,
    held: Option<(Lease, Instant)>,
    holder: &str,
    span: Duration,
) -> Result<Option<(Lease, Instant)>, JournalError> {
    if let Some((lease, renewed)) = held {
        if renewed.elapsed() < span / 3 {
            return Ok(Some((lease, renewed)));
        }
        if lease.renew(db, span).await? {
            return Ok(Some((lease, Instant::now())));
        }
    }
    let taken = leases::acquire(db, LEASE, holder, span).await?;
    Ok(taken.map(|lease| (lease, Instant::now())))
}

/// Moves each subscription on by a batch; whether one may have more.
async fn round(db: &Db, lease: &Lease) -> Result<bool, JournalError> {
    let mut more = false;
    for row in sql::list(db, Uuid::nil(), MAX_SUBSCRIPTIONS).await? {
        if !row.disabled {
            more |= advance(db, lease, row).await?;
        }
    }
    Ok(more)
}

async fn advance(db: &Db, lease: &Lease, row: WebhookRow) -> Result<bool, JournalError> {
    let epoch = log_sql::last_epoch(db)
        .await?
        .map_or(row.epoch, |epoch| epoch.epoch);
    let from = resume(db, row.epoch, row.position).await?;
    let placed = entries::list(db, &Filter::default(), from, i64::MAX, BATCH).await?;
    let Some(last) = placed.last() else {
        return Ok(false);
    };
    let next = last.position + 1;
    if operator::count_jobs(db, KIND, &key_prefix(row.webhook_id)).await? >= MAX_WAITING {
        return Ok(false);
    }
    let full = i64::try_from(placed.len()).unwrap_or(0) == BATCH;
    let input = (lease.clone(), row, placed, epoch, next);
    db.write(
        "journal.relay_webhooks",
        input,
        |tx, (lease, row, placed, epoch, next)| {
            Box::pin(async move {
                tx.fence(lease).await?;
                if !sql::advance(tx, row, *epoch, *next).await? {
                    return Ok::<_, StoreError>(());
                }
                for placed in placed {
                    enqueue(tx, row, placed).await?;
                }
                Ok(())
            })
        },
    )
    .await?;
    Ok(full)
}

/// Whether an entry goes to a subscription: what it asked for, and its own pings alone.
pub(crate) fn is_wanted(row: &WebhookRow, action: &str, subject_id: &str) -> bool {
    if action == PINGED {
        subject_id == row.webhook_id.to_string()
    } else {
        row.wants(action)
    }
}

pub(crate) async fn enqueue(
    tx: &mut publica_store::Tx<'_>,
    row: &WebhookRow,
    placed: &Placed,
) -> Result<(), StoreError> {
    let Some(entry) = placed
        .entry
        .as_ref()
        .filter(|entry| is_wanted(row, &entry.action, &entry.subject_id))
    else {
        return Ok(());
    };
    let prefix = key_prefix(row.webhook_id);
    let delivery = Delivery {
        webhook_id: row.webhook_id,
        position: placed.position,
    };
    let payload =
        serde_json::to_vec(&delivery).map_err(|error| StoreError::corrupt(error.to_string()))?;
    let job = Job::new(KIND, format!("{prefix}{}", placed.entry_id), payload);
    let mut origin = Origin::system("journal");
    origin.process_id.clone_from(&entry.process_id);
    let order = format!("{prefix}{}", entry.subject_id);
    enqueue_ordered(tx, &origin, job, &order, placed.position)
        .await
        .map(drop)
}
