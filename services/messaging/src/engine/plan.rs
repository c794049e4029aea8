//! What one group of reports writes, and the unit that writes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use publica_journal::Entry;
use publica_seal::SealError;
use publica_store::{StoreError, Tx};
use publica_types::{Clock, Entropy, Timestamp, Uuid, new_uuid};
use serde_json::json;

use super::active::{ActiveChunk, ActiveRequest};
use super::outcome::Outcome;
use crate::callbacks;
use crate::domain::counters::{Counters, State};
use crate::domain::member::{Member, Members};
use crate::store::chunk::NewChunk;
use crate::store::operation::{self, NewLetter};
use crate::store::report::{NewEvent, StepKind};
use crate::store::sms::{self, NewPart, NewWait};
use crate::store::suppression::SuppressionRow;
use crate::store::{ChunkId, RequestId, SessionId, chunk, report, request, suppression};
use crate::vault::Sealer;

/// Most recipients of a chunk.
pub(crate) const CHUNK_MAX: usize = 500;
/// An address that does not exist is not written to for so long.
const DEAD_FOR: Duration = Duration::from_hours(24 * 90);
/// Suppressions by hard bounce; the number is stored.
const HARD_BOUNCE: i64 = 1;

/// Everything that a group writes, in one transaction.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) session: Option<SessionId>,
    pub(crate) events: Vec<NewEvent>,
    pub(crate) steps: Vec<(ChunkId, i64, StepKind)>,
    pub(crate) tallies: Vec<(RequestId, i64, Counters)>,
    pub(crate) chunks: Vec<NewChunk>,
    pub(crate) letters: Vec<NewLetter>,
    /// Parts of short messages that a centre took, and messages that wait for receipts.
    pub(crate) parts: Vec<NewPart>,
    pub(crate) waits: Vec<NewWait>,
    pub(crate) keys: Vec<Uuid>,
    pub(crate) suppressions: Vec<SuppressionRow>,
    pub(crate) closed: Vec<Closed>,
    pub(crate) ended: Vec<Ended>,
    /// Requests whose originator wants to hear of changes.
    pub(crate) told: Vec<Arc<ActiveRequest>>,
}

/// A chunk whose last recipient has an outcome.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) request: Arc<ActiveRequest>,
    pub(crate) attempt: i64,
    pub(crate) counts: Counters,
    pub(crate) retried: bool,
    /// Some of its recipients failed and can be sent to again.
    pub(crate) kept: bool,
}

/// A recipient that failed for a reason which may pass.
#[derive(Debug, Clone)]
pub(crate) struct Dead {
    pub(crate) member: Member,
    pub(crate) state: State,
    pub(crate) reason: String,
}

/// A message that has come to its end, in a case of its own.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) request: Arc<ActiveRequest>,
    pub(crate) process_id: String,
    pub(crate) message_id: String,
    pub(crate) state: State,
    pub(crate) attempt: i64,
}

impl Plan {
    /// Writes everything. A unique violation among the steps means that a chunk of the group
    /// is somebody else's by now.
    pub(crate) async fn write(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let session = self.session.ok_or(StoreError::Misuse {
            reason: "a plan without a session",
        })?;
        for (chunk, step, kind) in &self.steps {
            report::step(tx, *chunk, *step, session, *kind).await?;
        }
        report::events(tx, &self.events).await?;
        for (request, step, changes) in &self.tallies {
            report::tally(tx, *request, session, *step, changes).await?;
        }
        for new in &self.chunks {
            chunk::insert(tx, new).await?;
        }
        for new in &self.letters {
            operation::insert_letter(tx, new).await?;
        }
        sms::parts(tx, &self.parts, tx.now()).await?;
        sms::waits(tx, &self.waits).await?;
        for row in &self.suppressions {
            suppression::insert(tx, row).await?;
        }
        for ended in &self.ended {
            let body = json!({
                "request": ended.request.request_uid,
                "outcome": ended.state.name(),
                "attempt": ended.attempt,
            });
            let entry = Entry::new("messaging.message.ended")
                .subject("message", &ended.message_id)
                .process(&ended.process_id)
                .body(body);
            publica_journal::append(tx, &ended.request.origin(), entry);
        }
        let mut keys = self.keys.clone();
        for closed in &self.closed {
            self.close(tx, closed, &mut keys).await?;
        }
        chunk::delete_keys(tx, &keys).await?;
        for request in &self.told {
            callbacks::enqueue_state(tx, request).await?;
        }
        Ok(())
    }

    /// Notes what a centre took of a message, and whether receipts decide about it.
    pub(crate) fn submitted(&mut self, (chunk, pos): (&ActiveChunk, i64), outcome: &Outcome) {
        let request_id = chunk.request.request_id;
        self.parts.extend(outcome.parts.iter().map(|sent| NewPart {
            root_id: chunk.root_id,
            pos,
            attempt: chunk.attempt,
            part: sent.part,
            parts: sent.parts,
            request_id,
            centre: sent.centre.clone(),
            centre_id: sent.centre_id.clone(),
        }));
        if let Some(until) = outcome.until {
            let member = chunk.members.iter().find(|member| member.pos == pos);
            let process_id = member.map(|member| member.process_id.clone());
            self.waits.push(NewWait {
                root_id: chunk.root_id,
                pos,
                attempt: chunk.attempt,
                request_id,
                until,
                process_id: process_id.filter(|id| !id.is_empty()),
            });
        }
    }

    async fn close(
        &self,
        tx: &mut Tx<'_>,
        closed: &Closed,
        keys: &mut Vec<Uuid>,
    ) -> Result<(), StoreError> {
        let request = &closed.request;
        if request.n > 1 || closed.retried {
            let entry = Entry::new("messaging.chunk.closed")
                .subject("message_request", &request.request_uid)
                .body(json!({ "attempt": closed.attempt, "outcomes": named(&closed.counts) }));
            publica_journal::append(tx, &request.origin(), entry);
        }
        if closed.retried {
            return Ok(());
        }
        let counters = if request.n == 1 {
            closed.counts
        } else {
            let mut counters = start(request);
            counters.add(&request::changes(tx, request.request_id).await?);
            counters
        };
        if !counters.is_complete() {
            return Ok(());
        }
        if request::complete(tx, request.request_id).await? {
            finish(tx, request, &counters).await?;
        }
        // What failed can be sent again only as long as its content can be read. A request of
        // one message has no other failures than those just seen.
        let alone = request.n == 1 && closed.attempt == 1;
        let kept =
            closed.kept || (!alone && operation::has_letters(tx, request.request_id).await?);
        if !kept {
            keys.push(request.request_id.as_uuid());
        }
        Ok(())
    }
}

/// Tells the journal and the originator that no message of a request can change any more.
pub(crate) async fn finish(
    tx: &mut Tx<'_>,
    request: &ActiveRequest,
    counters: &Counters,
) -> Result<(), StoreError> {
    let entry = Entry::new("messaging.request.completed")
        .subject("message_request", &request.request_uid)
        .body(json!({ "outcomes": named(counters) }));
    publica_journal::append(tx, &request.origin(), entry);
    if request.callback {
        callbacks::enqueue_completed(tx, request).await?;
    }
    Ok(())
}

/// The counters of a request before any change.
pub(crate) fn start(request: &ActiveRequest) -> Counters {
    let state = if request.claimed {
        State::Processing
    } else {
        State::Scheduled
    };
    Counters::all_in(state, request.n)
}

fn named(counters: &Counters) -> serde_json::Value {
    let members = State::ALL
        .into_iter()
        .filter(|state| counters.of(*state) != 0)
        .map(|state| (state.name().to_owned(), counters.of(state).into()));
    serde_json::Value::Object(members.collect())
}

/// Retry chunks for those of a closed chunk that get another attempt, grouped by the minute
/// in which they are due.
pub(crate) fn retries(
    chunk: &ActiveChunk,
    later: Vec<(Member, Timestamp)>,
    sealer: &Sealer,
    ids: (&dyn Clock, &dyn Entropy),
) -> Result<Vec<NewChunk>, SealError> {
    let mut minutes: BTreeMap<i64, (Timestamp, Vec<Member>)> = BTreeMap::new();
    for (member, due) in later {
        let minute = due.micros().div_euclid(60_000_000);
        let group = minutes.entry(minute).or_insert_with(|| (due, Vec::new()));
        group.0 = group.0.max(due);
        group.1.push(member);
    }
    let mut chunks = Vec::new();
    for (_, (due, members)) in minutes {
        for part in members.chunks(CHUNK_MAX) {
            let chunk_id = ChunkId::from_uuid(new_uuid(ids.0, ids.1));
            let sealed = Members {
                members: part.to_vec(),
            }
            .encode_to_vec();
            let (key, sealed) = sealer.seal(chunk_id.as_uuid(), sealed)?;
            chunks.push(NewChunk {
                chunk_id,
                request_id: chunk.request.request_id,
                root_id: chunk.root_id,
                lane: chunk.slot,
                attempt: chunk.attempt + 1,
                not_before: due,
                n: i64::try_from(part.len()).unwrap_or(i64::MAX),
                sealed,
                key: Some(key),
            });
        }
    }
    Ok(chunks)
}

/// Failed recipients of a closed chunk, a reason each, sealed apart from it.
pub(crate) fn letters(
    chunk: &ActiveChunk,
    dead: Vec<Dead>,
    (sealer, until): (&Sealer, Timestamp),
    now: Timestamp,
    ids: (&dyn Clock, &dyn Entropy),
) -> Result<Vec<NewLetter>, SealError> {
    let mut reasons: BTreeMap<(i64, String), Vec<Member>> = BTreeMap::new();
    for one in dead {
        let group = reasons.entry((one.state.number(), one.reason)).or_default();
        group.push(one.member);
    }
    let mut letters = Vec::new();
    for ((state, reason), members) in reasons {
        let letter_id = new_uuid(ids.0, ids.1);
        let n = i64::try_from(members.len()).unwrap_or(i64::MAX);
        let sealed = Members { members }.encode_to_vec();
        let (key, sealed) = sealer.seal(letter_id, sealed)?;
        letters.push(NewLetter {
            letter_id,
            request_id: chunk.request.request_id,
            root_id: chunk.root_id,
            lane: chunk.slot,
            attempt: chunk.attempt,
            state,
            reason,
            n,
            created_at: now,
            until,
            sealed,
            key,
        });
    }
    Ok(letters)
}

/// A suppression for an address that does not exist.
pub(crate) fn dead_address(id: Uuid, address_hash: Vec<u8>, now: Timestamp) -> SuppressionRow {
    SuppressionRow {
        suppression_id: id,
        address_hash,
        category: String::new(),
        reason: HARD_BOUNCE,
        created_at: now,
        expires_at: Some(now.plus(DEAD_FOR)),
    }
}
