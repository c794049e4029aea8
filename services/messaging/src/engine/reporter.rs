//! The reporter: makes claims and outcomes durable, many in one transaction, and only then lets
//! connections go on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use publica_seal::SealError;
use publica_store::StoreError;
use publica_types::{Timestamp, new_uuid};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::active::ActiveChunk;
use super::outcome::Outcome;
use super::plan::{Closed, Dead, Ended, Plan, dead_address, letters, retries};
use crate::domain::counters::{Counters, State};
use crate::domain::member::Member;
use crate::domain::retry;
use crate::domain::uid;
use crate::store::report::{NewEvent, StepKind};
use crate::store::{ChunkId, RequestId, report, request};
use crate::vault::Sealer;

/// Most reports of one transaction.
const GROUP_MAX: usize = 512;
/// After its end was asked for, the reporter gives a failing store so many more chances.
const LAST_TRIES: u32 = 10;

/// What the reporter is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// A chunk that was claimed together with its acceptance.
    Adopt { chunk: Arc<ActiveChunk> },
    /// A chunk to be claimed.
    Claim(Claim),
    /// What became of a recipient. True comes back once it is durable, false if the chunk is
    /// somebody else's.
    Outcome {
        chunk: Arc<ActiveChunk>,
        pos: i64,
        outcome: Box<Outcome>,
        done: Option<oneshot::Sender<bool>>,
    },
}

/// A chunk to be claimed.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) chunk: Arc<ActiveChunk>,
    pub(crate) last_step: i64,
    /// Where its messages are counted so far, unless an earlier holder has counted them over.
    pub(crate) from: Option<State>,
    pub(crate) count: i64,
    /// Recipients without an outcome.
    pub(crate) remaining: usize,
    /// Recipients that an earlier holder found to need another attempt.
    pub(crate) later: Vec<(Member, Timestamp)>,
    /// Recipients that failed with an earlier holder and can be sent to again.
    pub(crate) dead: Vec<Dead>,
    pub(crate) done: oneshot::Sender<bool>,
}

pub(crate) struct Reporter {
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Message>,
    chunks: HashMap<ChunkId, ChunkState>,
    tallies: HashMap<RequestId, TallyState>,
}

#[derive(Debug)]
struct ChunkState {
    chunk: Arc<ActiveChunk>,
    step: i64,
    remaining: usize,
    later: Vec<(Member, Timestamp)>,
    dead: Vec<Dead>,
    counts: Counters,
}

#[derive(Debug, Clone, Copy)]
struct TallyState {
    step: i64,
    changes: Counters,
    chunks: usize,
}

/// How a group changes the reporter's memory once it is durable.
#[derive(Debug, Default)]
struct Change {
    steps: Vec<(ChunkId, i64)>,
    progress: BTreeMap<ChunkId, Progress>,
    tallies: BTreeMap<RequestId, TallyState>,
}

#[derive(Debug, Default)]
struct Progress {
    settled: usize,
    later: Vec<(Member, Timestamp)>,
    dead: Vec<Dead>,
    counts: Counters,
    closed: bool,
}

/// Why a group could not be written.
enum Unwritten {
    /// A chunk of the group is somebody else's.
    Fenced,
    /// The store does not work, and the process is ending.
    Lost,
}

impl Reporter {
    pub(crate) fn new(shared: Arc<Shared>, inbox: mpsc::Receiver<Message>) -> Self {
        Self {
            shared,
            inbox,
            chunks: HashMap::new(),
            tallies: HashMap::new(),
        }
    }

    /// Writes reports until `stop`, and then those that are waiting.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        loop {
            let received = stop.run_until_cancelled(self.inbox.recv_many(&mut group, GROUP_MAX));
            match received.await {
                Some(0) => break,
                Some(_) => {}
                None => {
                    self.inbox.close();
                    while group.len() < GROUP_MAX {
                        let Ok(message) = self.inbox.try_recv() else {
                            break;
                        };
                        group.push(message);
                    }
                    if group.is_empty() {
                        break;
                    }
                }
            }
            let messages = std::mem::take(&mut group);
            self.group(messages, &stop).await;
        }
        self.release_all().await;
    }

    /// Gives back what is unfinished, so that whoever comes next need not wait for our death.
    async fn release_all(&mut self) {
        let steps: Vec<(ChunkId, i64)> = self
            .chunks
            .drain()
            .map(|(id, state)| (id, state.step + 1))
            .collect();
        if steps.is_empty() {
            return;
        }
        let input = (self.shared.session, steps);
        let released = self
            .shared
            .db
            .write("messaging.release", input, |tx, (session, steps)| {
                Box::pin(async move {
                    for (id, step) in steps {
                        report::step(tx, *id, *step, *session, StepKind::Released).await?;
                    }
                    Ok(())
                })
            });
        let released: Result<(), StoreError> = released.await;
        if let Err(error) = released {
            tracing::warn!(%error, "chunks could not be given back; their next holder waits");
        }
    }

    async fn group(&mut self, messages: Vec<Message>, stop: &CancellationToken) {
        let mut open = Vec::with_capacity(messages.len());
        for message in messages {
            match message {
                Message::Adopt { chunk } => self.adopt(chunk),
                Message::Claim(claim) => {
                    if self.begin(&claim).await.is_ok() {
                        open.push(Message::Claim(claim));
                    }
                }
                outcome @ Message::Outcome { .. } => open.push(outcome),
            }
        }
        match self.write(&open, stop).await {
            Ok(()) => answer(open, true),
            Err(Unwritten::Lost) => answer(open, false),
            Err(Unwritten::Fenced) => {
                // One chunk must not hold back the others: each on its own.
                let mut by_chunk: BTreeMap<ChunkId, Vec<Message>> = BTreeMap::new();
                for message in open {
                    by_chunk
                        .entry(message.chunk().chunk_id)
                        .or_default()
                        .push(message);
                }
                for messages in by_chunk.into_values() {
                    let done = self.write(&messages, stop).await;
                    if matches!(done, Err(Unwritten::Fenced)) {
                        self.drop_chunk(messages[0].chunk());
                    }
                    answer(messages, done.is_ok());
                }
            }
        }
    }

    fn adopt(&mut self, chunk: Arc<ActiveChunk>) {
        let fresh = TallyState {
            step: -1,
            changes: Counters::default(),
            chunks: 0,
        };
        self.tallies
            .entry(chunk.request.request_id)
            .or_insert(fresh)
            .chunks += 1;
        let state = ChunkState {
            step: 0,
            remaining: chunk.members.len(),
            later: Vec::new(),
            dead: Vec::new(),
            counts: Counters::default(),
            chunk: Arc::clone(&chunk),
        };
        self.chunks.insert(chunk.chunk_id, state);
    }

    /// Gets memory ready for a chunk that is about to be claimed.
    async fn begin(&mut self, claim: &Claim) -> Result<(), StoreError> {
        let id = claim.chunk.request.request_id;
        if !self.tallies.contains_key(&id) {
            let last = request::last_tally(&self.shared.db, id, self.shared.session).await;
            let last = last.inspect_err(|error| {
                tracing::warn!(%error, "a request's tally could not be read");
            })?;
            let (step, changes) = last.unwrap_or((-1, Counters::default()));
            self.tallies.insert(
                id,
                TallyState {
                    step,
                    changes,
                    chunks: 0,
                },
            );
        }
        if let Some(tally) = self.tallies.get_mut(&id) {
            tally.chunks += 1;
        }
        let state = ChunkState {
            step: claim.last_step,
            remaining: claim.remaining,
            later: claim.later.clone(),
            dead: claim.dead.clone(),
            counts: Counters::default(),
            chunk: Arc::clone(&claim.chunk),
        };
        self.chunks.insert(claim.chunk.chunk_id, state);
        Ok(())
    }

    /// Writes a group, for as long as it takes.
    async fn write(&mut self, open: &[Message], stop: &CancellationToken) -> Result<(), Unwritten> {
        if open.is_empty() {
            return Ok(());
        }
        let mut tries = 0;
        loop {
            let failure = match self.try_write(open).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if failure.is_unique() {
                // The answer to an earlier commit may have been lost: then the step is ours.
                return if tries > 0 && self.is_ours(open).await {
                    self.plan(open)
                        .await
                        .map(|(_, change)| self.apply(change))
                        .or(Err(Unwritten::Lost))
                } else {
                    Err(Unwritten::Fenced)
                };
            }
            tries += 1;
            tracing::warn!(error = %failure, tries, "reports could not be written");
            if stop.is_cancelled() && tries > LAST_TRIES {
                return Err(Unwritten::Lost);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn try_write(&mut self, open: &[Message]) -> Result<(), StoreError> {
        let (plan, change) = self.plan(open).await?;
        let retried = !plan.chunks.is_empty();
        let write = self.shared.db.write("messaging.report", plan, |tx, plan| {
            Box::pin(async move { plan.write(tx).await })
        });
        let done: Result<(), StoreError> = write.await;
        done?;
        self.apply(change);
        if retried {
            self.shared.wake.notify_one();
        }
        Ok(())
    }

    /// Whether the first step that a group would write was written by this very session.
    async fn is_ours(&self, open: &[Message]) -> bool {
        let Some(state) = open
            .first()
            .and_then(|one| self.chunks.get(&one.chunk().chunk_id))
        else {
            return false;
        };
        let input = (state.chunk.chunk_id, state.step + 1);
        let owner = self
            .shared
            .db
            .read("messaging.step_owner", input, |tx, (chunk, step)| {
                Box::pin(report::step_owner(tx, *chunk, *step))
            });
        let owner: Result<_, StoreError> = owner.await;
        matches!(owner, Ok(Some(owner)) if owner == self.shared.session)
    }

    async fn plan(&self, open: &[Message]) -> Result<(Plan, Change), StoreError> {
        let now = self.shared.now();
        let mut plan = Plan {
            session: Some(self.shared.session),
            ..Plan::default()
        };
        let mut change = Change::default();
        for message in open {
            match message {
                Message::Adopt { .. } => {}
                Message::Claim(claim) => self.plan_claim(claim, &mut plan, &mut change),
                Message::Outcome {
                    chunk,
                    pos,
                    outcome,
                    ..
                } => {
                    self.plan_outcome((chunk, *pos), outcome, now, &mut plan, &mut change);
                }
            }
        }
        let closing = change.progress.iter().any(|(id, progress)| {
            self.chunks
                .get(id)
                .is_some_and(|state| state.remaining <= progress.settled)
        });
        let sealer = if closing {
            let sealer = self.shared.vault.sealer(now).await;
            Some(sealer.map_err(|error| StoreError::corrupt(error.to_string()))?)
        } else {
            None
        };
        for (id, progress) in &mut change.progress {
            let Some(state) = self.chunks.get(id) else {
                continue;
            };
            let step = state.step + 1;
            change.steps.push((*id, step));
            if state.remaining > progress.settled {
                plan.steps.push((*id, step, StepKind::Reported));
            } else {
                progress.closed = true;
                plan.steps.push((*id, step, StepKind::Closed));
                self.plan_close(state, progress, (sealer.as_ref(), now), &mut plan)?;
            }
        }
        for (id, tally) in &mut change.tallies {
            tally.step += 1;
            plan.tallies.push((*id, tally.step, tally.changes));
        }
        Ok((plan, change))
    }

    fn plan_claim(&self, claim: &Claim, plan: &mut Plan, change: &mut Change) {
        let id = claim.chunk.chunk_id;
        plan.steps
            .push((id, claim.last_step + 1, StepKind::Claimed));
        change.steps.push((id, claim.last_step + 1));
        if let Some(from) = claim.from {
            let tally = self.tally(claim.chunk.request.request_id, change);
            tally.changes.shift(from, State::Processing, claim.count);
        }
    }

    fn plan_outcome(
        &self,
        (chunk, pos): (&Arc<ActiveChunk>, i64),
        outcome: &Outcome,
        now: Timestamp,
        plan: &mut Plan,
        change: &mut Change,
    ) {
        if !self.chunks.contains_key(&chunk.chunk_id) {
            return;
        }
        plan.events.push(NewEvent {
            root_id: chunk.root_id,
            pos,
            attempt: chunk.attempt,
            state: outcome.state.number(),
            code: outcome.code,
            reason: outcome.reason,
            at: now,
        });
        let tally = self.tally(chunk.request.request_id, change);
        tally.changes.shift(State::Processing, outcome.state, 1);
        plan.submitted((chunk, pos), outcome);
        let progress = change.progress.entry(chunk.chunk_id).or_default();
        progress.settled += 1;
        progress.counts.0[outcome.state as usize] += 1;
        progress.later.extend(outcome.again.clone());
        if outcome.again.is_none()
            && retry::may_pass(outcome.state, outcome.reason)
            && let Some(member) = chunk.members.iter().find(|member| member.pos == pos)
        {
            let dead = self.shared.dead(member, outcome.state, outcome.reason);
            progress.dead.extend(dead);
        }
        for address in &outcome.dead {
            let id = new_uuid(self.shared.clock.as_ref(), self.shared.entropy.as_ref());
            let hash = self.shared.vault.address_hash(address);
            plan.suppressions.push(dead_address(id, hash, now));
        }
        if outcome.again.is_none()
            && outcome.until.is_none()
            && chunk.has_cases
            && let Some(member) = chunk.members.iter().find(|member| member.pos == pos)
            && !member.process_id.is_empty()
        {
            plan.ended.push(Ended {
                request: Arc::clone(&chunk.request),
                process_id: member.process_id.clone(),
                message_id: uid::message_id(chunk.root_id, pos),
                state: outcome.state,
                attempt: chunk.attempt,
            });
        }
        if chunk.request.callback
            && !plan
                .told
                .iter()
                .any(|told| told.request_id == chunk.request.request_id)
        {
            plan.told.push(Arc::clone(&chunk.request));
        }
    }

    fn plan_close(
        &self,
        state: &ChunkState,
        progress: &Progress,
        (sealer, now): (Option<&Sealer>, Timestamp),
        plan: &mut Plan,
    ) -> Result<(), StoreError> {
        let sealed = |error: SealError| StoreError::corrupt(error.to_string());
        let ids = (self.shared.clock.as_ref(), self.shared.entropy.as_ref());
        let mut dead = state.dead.clone();
        dead.extend(progress.dead.iter().cloned());
        let kept = !dead.is_empty();
        if let (true, Some(sealer)) = (kept, sealer) {
            let until = now.plus(self.shared.setup.keep_failed);
            let letters = letters(&state.chunk, dead, (sealer, until), now, ids);
            plan.letters.extend(letters.map_err(sealed)?);
        }
        let mut later = state.later.clone();
        later.extend(progress.later.iter().cloned());
        let retried = !later.is_empty();
        if let (true, Some(sealer)) = (retried, sealer) {
            let chunks = retries(&state.chunk, later, sealer, ids);
            plan.chunks.extend(chunks.map_err(sealed)?);
        }
        plan.keys.push(state.chunk.chunk_id.as_uuid());
        let mut counts = state.counts;
        counts.add(&progress.counts);
        plan.closed.push(Closed {
            request: Arc::clone(&state.chunk.request),
            attempt: state.chunk.attempt,
            counts,
            retried,
            kept,
        });
        Ok(())
    }

    /// The tally of a request as this group changes it.
    fn tally<'c>(&self, id: RequestId, change: &'c mut Change) -> &'c mut TallyState {
        let known = self.tallies.get(&id).copied();
        let fresh = TallyState {
            step: -1,
            changes: Counters::default(),
            chunks: 0,
        };
        change
            .tallies
            .entry(id)
            .or_insert_with(|| known.unwrap_or(fresh))
    }

    /// Remembers what has become durable.
    fn apply(&mut self, change: Change) {
        for (id, step) in change.steps {
            if let Some(state) = self.chunks.get_mut(&id) {
                state.step = step;
            }
        }
        for (id, tally) in change.tallies {
            if let Some(known) = self.tallies.get_mut(&id) {
                known.step = tally.step;
                known.changes = tally.changes;
            }
        }
        for (id, progress) in change.progress {
            count(&progress.counts);
            if progress.closed {
                if let Some(state) = self.chunks.remove(&id) {
                    self.release(state.chunk.request.request_id);
                }
            } else if let Some(state) = self.chunks.get_mut(&id) {
                state.remaining -= progress.settled;
                state.later.extend(progress.later);
                state.dead.extend(progress.dead);
                state.counts.add(&progress.counts);
            }
        }
    }

    /// Forgets a chunk that is somebody else's.
    fn drop_chunk(&mut self, chunk: &Arc<ActiveChunk>) {
        chunk.fence();
        if self.chunks.remove(&chunk.chunk_id).is_some() {
            self.release(chunk.request.request_id);
        }
        tracing::info!(chunk.id = %chunk.chunk_id, "a chunk has another holder now");
    }

    fn release(&mut self, id: RequestId) {
        if let Some(tally) = self.tallies.get_mut(&id) {
            tally.chunks = tally.chunks.saturating_sub(1);
            if tally.chunks == 0 {
                self.tallies.remove(&id);
            }
        }
    }
}

impl Message {
    fn chunk(&self) -> &Arc<ActiveChunk> {
        match self {
            Self::Adopt { chunk } | Self::Outcome { chunk, .. } => chunk,
            Self::Claim(claim) => &claim.chunk,
        }
    }
}

/// Counts outcomes for the operator.
fn count(counts: &Counters) {
    for state in State::ALL {
        let number = u64::try_from(counts.of(state)).unwrap_or_default();
        if number > 0 {
            metrics::counter!("publica_messaging_outcomes_total", "state" => state.name())
                .increment(number);
        }
    }
}

/// Tells everybody in a group what became of it. Who does not listen any more does not care.
fn answer(messages: Vec<Message>, durable: bool) {
    for message in messages {
        match message {
            Message::Outcome {
                done: Some(done), ..
            } => {
                let _ = done.send(durable);
            }
            Message::Claim(claim) => {
                let _ = claim.done.send(durable);
            }
            Message::Adopt { .. } | Message::Outcome { done: None, .. } => {}
        }
    }
}
