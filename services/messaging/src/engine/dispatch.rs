//! The dispatcher: finds chunks, claims them and fills the lanes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use prost::Message as _;
use publica_seal::SealError;
use publica_store::StoreError;
use publica_types::Timestamp;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::active::{ActiveChunk, ActiveRequest};
use super::lanes::{Item, LOW_WATER};
use super::outcome::Outcome;
use super::plan::{self, Dead};
use super::reporter::{Claim, Message};
use crate::domain::counters::State;
use crate::domain::envelope::{Channel, Common, Lane};
use crate::domain::member::{Member, Members};
use crate::store::chunk::{self, DueRow, NewKey};
use crate::store::report::{self, StepKind};
use crate::store::suppression::{COMPLAINT, OPT_OUT};
use crate::store::{RequestId, operation, request, suppression};

/// Chunks fetched at a time: of one recipient each, or of hundreds.
const FETCH_SMALL: i64 = 64;
const FETCH_BULK: i64 = 2;
/// A chunk that was taken up so often and never finished is set aside.
const CLAIMS_MAX: i64 = 5;
/// Answers stay readable for so many hours.
const REPLY_HOURS: i64 = 72;
/// How often forgotten keys are looked for.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// State and reason of those of an attempt that are over, by place.
type Outcomes = HashMap<i64, (i64, String)>;

/// Fills the lanes until it is stopped.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut swept = tokio::time::Instant::now();
    while !stop.is_cancelled() {
        let found = match round(&shared).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "work could not be looked for");
                false
            }
        };
        if !found {
            let pause = async {
                tokio::select! {
                    () = shared.wake.notified() => {}
                    () = tokio::time::sleep(shared.setup.poll) => {}
                }
            };
            stop.run_until_cancelled(pause).await;
        }
        // One engine of a tenant does this for all.
        let sweeps = shared.setup.channel == Channel::Email;
        if sweeps && swept.elapsed() > SWEEP_EVERY {
            swept = tokio::time::Instant::now();
            if let Err(error) = sweep(&shared).await {
                tracing::warn!(%error, "spent keys could not be swept");
            }
        }
    }
}

/// One look at each lane; true when there may be more at once.
async fn round(shared: &Arc<Shared>) -> Result<bool, SealError> {
    refresh_pauses(shared).await?;
    shared
        .lanes
        .unpark_if(|item| !item.chunk.request.is_paused());
    expire(shared).await;
    if !shared.setup.is_complete() {
        // Nothing can be sent: what is due waits in the store, and what is overdue ends.
        return claim_expired(shared).await;
    }
    let mut more = false;
    for lane in Lane::ALL {
        if shared.lanes.len(lane) >= LOW_WATER {
            continue;
        }
        let limit = if lane == Lane::Bulk {
            FETCH_BULK
        } else {
            FETCH_SMALL
        };
        let now = shared.now();
        let holder = shared.holder();
        let slot = shared.setup.channel.slot(lane);
        let rows = chunk::due(&shared.db, slot, (now, now), holder, limit).await?;
        let full = i64::try_from(rows.len()).unwrap_or(limit) == limit;
        let taken = join_all(rows.into_iter().map(|row| take(shared, row))).await;
        more |= full && taken.iter().any(|taken| *taken);
    }
    Ok(more)
}

/// Without a next hop, chunks are still taken up once their time is over.
async fn claim_expired(shared: &Arc<Shared>) -> Result<bool, SealError> {
    let now = shared.now();
    let since = (now.minus(crate::domain::retry::LIFETIME), now);
    let mut more = false;
    for lane in Lane::ALL {
        let holder = shared.holder();
        let slot = shared.setup.channel.slot(lane);
        let rows = chunk::due(&shared.db, slot, since, holder, FETCH_SMALL).await?;
        let taken = join_all(rows.into_iter().map(|row| take(shared, row))).await;
        more |= taken.iter().any(|taken| *taken);
    }
    Ok(more)
}

/// Learns which requests operators hold up.
pub(super) async fn refresh_pauses(shared: &Shared) -> Result<(), StoreError> {
    let _reading = shared.pauses.lock().await;
    let paused = operation::paused(&shared.db).await?;
    shared.requests.set_paused(paused.into_iter().collect());
    Ok(())
}

/// Ends what waits in memory beyond its time, so that a hop that is down cannot keep it.
async fn expire(shared: &Arc<Shared>) {
    let now = shared.now();
    let over = shared
        .lanes
        .remove_if(|item| item.expires() <= now || item.chunk.request.is_cancelled());
    for item in over {
        let cancelled = item.chunk.request.is_cancelled();
        let reason = if cancelled { "cancelled" } else { "expired" };
        settle(shared, &item, reason).await;
    }
}

async fn settle(shared: &Arc<Shared>, item: &Item, reason: &'static str) {
    let message = Message::Outcome {
        chunk: Arc::clone(&item.chunk),
        pos: item.member().pos,
        outcome: Box::new(Outcome::unsent(item.member(), reason)),
        done: None,
    };
    // Without a reporter the process is ending.
    let _ = shared.reports.send(message).await;
}

/// Claims one chunk and puts its open recipients into their lane.
async fn take(shared: &Arc<Shared>, row: DueRow) -> bool {
    let (id, step) = (row.chunk_id, row.step);
    match try_take(shared, row).await {
        Ok(taken) => taken,
        Err(SealError::Store(error)) if error.is_retryable() => {
            tracing::warn!(chunk.id = %id, %error, "a chunk could not be taken up yet");
            false
        }
        Err(error) => {
            // It would stand in the way of its lane for ever; held, it waits for the next
            // process, which may have the key.
            tracing::error!(chunk.id = %id, %error, "a chunk cannot be read and is set aside");
            let input = (shared.session, id, step + 1);
            let held = shared
                .db
                .write("messaging.set_aside", input, |tx, (session, id, step)| {
                    Box::pin(report::step(tx, *id, *step, *session, StepKind::Claimed))
                });
            let held: Result<(), StoreError> = held.await;
            held.is_ok()
        }
    }
}

async fn try_take(shared: &Arc<Shared>, row: DueRow) -> Result<bool, SealError> {
    let Some(request) = active_request(shared, row.request_id).await? else {
        return Ok(false);
    };
    let key = NewKey {
        hour: row.hour,
        wrapped: row.wrapped.clone(),
    };
    let bytes = shared
        .vault
        .open(row.chunk_id.as_uuid(), &key, &row.sealed)
        .await?;
    let mut members = Members::decode(bytes.as_slice())
        .map_err(|_| StoreError::corrupt("a chunk's members"))?
        .members;
    // An earlier holder may have got through some of it.
    let mut outcomes: Outcomes = HashMap::new();
    let mut poison = false;
    if row.step >= 0 {
        let known = chunk::outcomes(&shared.db, row.root_id, row.attempt).await?;
        outcomes.extend(
            known
                .into_iter()
                .map(|(pos, state, why)| (pos, (state, why))),
        );
        poison = chunk::claims(&shared.db, row.chunk_id).await? >= CLAIMS_MAX;
    }
    let blocked = hold_back(shared, &request, &mut members).await?;
    let ids = (row.chunk_id, row.root_id);
    let chunk = ActiveChunk::new(ids, row.lane, row.attempt, request, members);
    let chunk = Arc::new(chunk);
    let (open, later, dead) = split(shared, &chunk, &outcomes);
    let from = match (row.step, row.attempt) {
        (0.., _) => None,
        (_, 1) => Some(State::Scheduled),
        _ => Some(State::Deferred),
    };
    let (done, claimed) = oneshot::channel();
    let claim = Claim {
        chunk: Arc::clone(&chunk),
        last_step: row.step,
        from,
        count: row.n,
        remaining: open.len(),
        later,
        dead,
        done,
    };
    if shared.reports.send(Message::Claim(claim)).await.is_err() || !claimed.await.unwrap_or(false)
    {
        return Ok(false);
    }
    let (unsent, items): (Vec<usize>, Vec<usize>) = open
        .into_iter()
        .partition(|index| poison || blocked[*index]);
    for index in unsent {
        let reason = if poison { "poison" } else { "suppressed" };
        settle(shared, &Item::new(Arc::clone(&chunk), index), reason).await;
    }
    shared.lanes.extend(
        items
            .into_iter()
            .map(|index| Item::new(Arc::clone(&chunk), index))
            .collect(),
    );
    Ok(true)
}

/// Indexes of members without an outcome, those that wait for another attempt, and those that
/// failed but can be sent to again.
fn split(
    shared: &Shared,
    chunk: &ActiveChunk,
    outcomes: &Outcomes,
) -> (Vec<usize>, Vec<(Member, Timestamp)>, Vec<Dead>) {
    let (mut open, mut later, mut dead) = (Vec::new(), Vec::new(), Vec::new());
    for (index, member) in chunk.members.iter().enumerate() {
        match outcomes.get(&member.pos) {
            None => open.push(index),
            Some((state, _)) if *state == State::Deferred.number() => {
                let pause = crate::domain::retry::pause(chunk.attempt, true, shared.noise());
                later.push((member.clone(), shared.now().plus(pause)));
            }
            Some((state, reason)) => {
                let state = State::from_number(*state).unwrap_or(State::Delivered);
                dead.extend(shared.dead(member, state, reason));
            }
        }
    }
    (open, later, dead)
}

/// A request in memory, read and opened if need be.
pub(super) async fn active_request(
    shared: &Arc<Shared>,
    id: RequestId,
) -> Result<Option<Arc<ActiveRequest>>, SealError> {
    if let Some(request) = shared.requests.get(id) {
        return Ok(Some(request));
    }
    let Some(row) = request::find(&shared.db, id).await? else {
        return Ok(None);
    };
    let Some(sealed) = &row.common else {
        return Ok(None);
    };
    let Some(key) = chunk::find_key(&shared.db, id.as_uuid()).await? else {
        return Ok(None);
    };
    let bytes = shared.vault.open(id.as_uuid(), &key, sealed).await?;
    let common = Common::decode(bytes.as_slice())
        .map_err(|_| StoreError::corrupt("a request's common part"))?;
    let request = Arc::new(ActiveRequest::new(&row, common, shared.db.tenant()));
    if request::is_cancelled(&shared.db, id).await? {
        request.cancel();
    }
    shared.requests.put(&request);
    Ok(Some(request))
}

/// Drops addresses that are held back; for each member, whether nobody is left to write to.
async fn hold_back(
    shared: &Arc<Shared>,
    request: &ActiveRequest,
    members: &mut [Member],
) -> Result<Vec<bool>, StoreError> {
    let mut blocked = vec![false; members.len()];
    if !suppression::any(&shared.db).await? {
        return Ok(blocked);
    }
    let mut owners: HashMap<Vec<u8>, Vec<(usize, String)>> = HashMap::new();
    for (index, member) in members.iter().enumerate() {
        for address in member.pending() {
            let hash = shared.vault.address_hash(address);
            owners
                .entry(hash)
                .or_default()
                .push((index, address.to_owned()));
        }
    }
    let hashes: Vec<Vec<u8>> = owners.keys().cloned().collect();
    for row in suppression::in_force(&shared.db, &hashes, shared.now()).await? {
        let concerns = row.category.is_empty() || row.category == request.common.category;
        // What the recipient wants does not stop mandatory messages.
        let overridden = matches!(row.reason, COMPLAINT | OPT_OUT) && request.common.mandatory;
        if concerns && !overridden {
            for (index, address) in owners.get(&row.address_hash).into_iter().flatten() {
                blocked[*index] |= members[*index].hold_back([address.clone()]);
            }
        }
    }
    Ok(blocked)
}

/// Takes up everything of a cancelled request that nobody holds, in order to end it.
pub(super) async fn claim_cancelled(shared: &Arc<Shared>, id: RequestId) -> Result<(), StoreError> {
    loop {
        let rows = chunk::open_of_request(&shared.db, id, shared.holder(), 16).await?;
        let mut taken = false;
        for row in rows {
            taken |= take(shared, row).await;
        }
        if !taken {
            break;
        }
    }
    shared.requests.forget_cancelled(id);
    shared.wake.notify_one();
    Ok(())
}

/// Destroys keys that nothing needs any more: of batches that were never sent to their end, of
/// requests whose last chunks were closed by two processes at once, and of spent hours.
async fn sweep(shared: &Arc<Shared>) -> Result<(), SealError> {
    let hour = shared.now().micros().div_euclid(3_600_000_000);
    let orphans = chunk::orphans(&shared.db, hour - 1).await?;
    if !orphans.is_empty() {
        let deleted = shared.db.write("messaging.sweep", orphans, |tx, orphans| {
            Box::pin(chunk::delete_keys(tx, orphans))
        });
        let deleted: Result<u64, StoreError> = deleted.await;
        deleted?;
    }
    let spent = shared.db.write(
        "messaging.sweep_replies",
        hour - REPLY_HOURS,
        |tx, before| Box::pin(chunk::delete_reply_keys(tx, *before)),
    );
    let spent: Result<u64, StoreError> = spent.await;
    spent?;
    let now = shared.now();
    let old = shared.db.write("messaging.sweep_letters", now, |tx, now| {
        Box::pin(operation::delete_old_letters(tx, *now))
    });
    let old: Result<u64, StoreError> = old.await;
    old?;
    let spent = operation::spent(&shared.db).await?;
    if !spent.is_empty() {
        let deleted = shared
            .db
            .write("messaging.sweep_spent", spent, |tx, spent| {
                Box::pin(chunk::delete_keys(tx, spent))
            });
        let deleted: Result<u64, StoreError> = deleted.await;
        deleted?;
    }
    let mut after = publica_types::Uuid::nil();
    loop {
        let unfinished = chunk::unfinished(&shared.db, after).await?;
        let Some(last) = unfinished.last() else { break };
        after = *last;
        for id in unfinished {
            finish(shared, RequestId::from_uuid(id)).await?;
        }
    }
    shared.vault.erase_spent(shared.now()).await?;
    Ok(())
}

async fn finish(shared: &Arc<Shared>, id: RequestId) -> Result<(), SealError> {
    // Most of them wait for receipts.
    let open = match request::find(&shared.db, id).await? {
        Some(row) => !request::counters(&shared.db, &row).await?.is_complete(),
        None => true,
    };
    if open {
        return Ok(());
    }
    let Some(active) = active_request(shared, id).await? else {
        return Ok(());
    };
    let done = shared
        .db
        .write("messaging.finish_request", active, |tx, active| {
            Box::pin(async move {
                let mut counters = plan::start(active);
                counters.add(&request::changes(tx, active.request_id).await?);
                if counters.is_complete() && request::complete(tx, active.request_id).await? {
                    chunk::delete_keys(tx, &[active.request_id.as_uuid()]).await?;
                    plan::finish(tx, active, &counters).await?;
                }
                Ok(())
            })
        });
    let done: Result<(), StoreError> = done.await;
    Ok(done?)
}
