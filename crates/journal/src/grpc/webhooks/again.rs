//! Sending again: deliveries that were given up, and what a target lost.

use publica_proto::journal::v1 as proto;
use publica_rpc::{Invalid, PageToken, from_timestamp};
use publica_store::{BoxFuture, Db, Tx};
use publica_types::{Origin, Timestamp, Uuid};
use publica_work::operator;
use serde_json::json;
use tonic::Status;

use super::not_found;
use crate::entry::Entry;
use crate::error::JournalError;
use crate::store::deliveries::KEPT;
use crate::store::entries::{self, Placed};
use crate::store::webhooks as sql;
use crate::tail::append;
use crate::webhook::{KIND, MAX_WAITING, enqueue, is_wanted, key_prefix};

/// Entries that one call sends again at most.
const MAX_REPLAY: usize = 1_000;
/// Entries that are read at a time.
const BATCH: i64 = 500;
/// Entries that one call looks at; a subscription may want few of many.
const MAX_LOOKED: usize = 20_000;

/// What sending again needs: whose deliveries, by the beginning of their keys, and which.
pub(super) struct Redrive {
    pub(super) origin: Origin,
    pub(super) prefix: String,
    pub(super) ids: Vec<Uuid>,
}

pub(super) fn redrive<'a>(
    tx: &'a mut Tx<'_>,
    Redrive {
        origin,
        prefix,
        ids,
    }: &'a Redrive,
) -> BoxFuture<'a, Result<proto::RedriveDeadLettersResponse, JournalError>> {
    Box::pin(async move {
        for id in ids {
            let view = operator::redrive(tx, *id).await?;
            if view.kind != KIND || !view.key.starts_with(prefix.as_str()) {
                return Err(JournalError::NotFound { what: "delivery" });
            }
            let entry = Entry::new("journal.webhook.redriven").subject("delivery", id);
            append(tx, origin, entry);
        }
        let redriven_count = i32::try_from(ids.len()).unwrap_or(i32::MAX);
        Ok(proto::RedriveDeadLettersResponse { redriven_count })
    })
}

/// What sending a stretch of time again needs.
pub(super) struct Replay {
    origin: Origin,
    id: Uuid,
    from: Timestamp,
    to: Timestamp,
    wanted: Vec<Placed>,
    next_page_token: String,
}

/// The smallest id of an entry made at a time, to the millisecond.
fn first_id(time: Timestamp) -> Uuid {
    let millis = u128::try_from(time.micros() / 1_000).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

impl Replay {
    /// Finds what is to be sent again. What is found stays as it is: nothing in a journal changes.
    pub(super) async fn prepare(
        db: &Db,
        origin: &Origin,
        id: Uuid,
        request: &proto::ReplayDeliveriesRequest,
    ) -> Result<Self, Status> {
        let (from, to) = times(db, request)?;
        let arguments = (
            "replay",
            id,
            from.micros(),
            request.to_time.map(|_| to.micros()),
        );
        let after = PageToken::decode::<Uuid>(&arguments, &request.page_token)?;
        let row = sql::find(db, id).await.map_err(JournalError::from)?;
        let row = row.ok_or_else(not_found)?;
        let waiting = operator::count_jobs(db, KIND, &key_prefix(id)).await;
        if waiting.map_err(JournalError::from)? >= MAX_WAITING {
            let message = "too many deliveries of the webhook wait already";
            return Err(JournalError::State { message }.into());
        }
        // The first id behind one is the next number.
        let mut at = after.map_or(first_id(from), |last| Uuid::from_u128(last.as_u128() + 1));
        let end = first_id(to);
        let mut wanted = Vec::new();
        let mut looked = 0;
        let mut next = None;
        while next.is_none() {
            let found = entries::between(db, at, end, BATCH).await;
            let found = found.map_err(JournalError::from)?;
            let full = i64::try_from(found.len()).unwrap_or(0) == BATCH;
            for placed in found {
                at = Uuid::from_u128(placed.entry_id.as_u128() + 1);
                looked += 1;
                let entry = placed.entry.as_ref();
                if entry.is_some_and(|one| is_wanted(&row, &one.action, &one.subject_id)) {
                    wanted.push(placed.clone());
                }
                if wanted.len() == MAX_REPLAY || looked == MAX_LOOKED {
                    next = Some(placed.entry_id);
                    break;
                }
            }
            if !full {
                break;
            }
        }
        let next_page_token = next.map(|next| PageToken::encode(&arguments, &next));
        Ok(Self {
            origin: origin.clone(),
            id,
            from,
            to,
            wanted,
            next_page_token: next_page_token.unwrap_or_default(),
        })
    }
}

/// The stretch of time that is asked for.
fn times(
    db: &Db,
    request: &proto::ReplayDeliveriesRequest,
) -> Result<(Timestamp, Timestamp), Invalid> {
    let mut wrong = Invalid::new();
    let now = db.now();
    let from = match &request.from_time {
        Some(sent) => from_timestamp("from_time", sent)?,
        None => return Err(publica_rpc::invalid("from_time", "is required")),
    };
    let to = match &request.to_time {
        Some(sent) => from_timestamp("to_time", sent)?,
        None => now,
    };
    if from < now.minus(KEPT) {
        wrong.push("from_time", "is more than 30 days ago");
    }
    if to <= from {
        wrong.push("to_time", "is not after from_time");
    }
    wrong.check()?;
    Ok((from, to))
}

pub(super) fn replay<'a>(
    tx: &'a mut Tx<'_>,
    replay: &'a Replay,
) -> BoxFuture<'a, Result<proto::ReplayDeliveriesResponse, JournalError>> {
    Box::pin(async move {
        let row = sql::find_in(tx, replay.id).await?.ok_or_else(not_found)?;
        if row.disabled {
            let message = "the webhook is disabled";
            return Err(JournalError::State { message });
        }
        for placed in &replay.wanted {
            enqueue(tx, &row, placed).await?;
        }
        let entry = Entry::new("journal.webhook.replayed").subject("webhook", replay.id);
        let body = json!({
            "from": replay.from,
            "to": replay.to,
            "count": replay.wanted.len(),
        });
        append(tx, &replay.origin, entry.body(body));
        Ok(proto::ReplayDeliveriesResponse {
            replayed_count: i32::try_from(replay.wanted.len()).unwrap_or(i32::MAX),
            next_page_token: replay.next_page_token.clone(),
        })
    })
}
