//! What operators do about delivery: hold a request up, let it go on, send again what failed.

use std::sync::Arc;

use prost::Message as _;
use publica_journal::{Call, Entry};
use publica_proto::messaging::v1 as api;
use publica_rpc::{PageToken, page_size, timestamp};
use publica_store::{StoreError, Tx};
use publica_types::{Origin, Uuid};
use serde_json::json;

use super::status::{state, to_proto};
use super::{App, House, Who};
use crate::callbacks;
use crate::domain::counters::{Counters, State};
use crate::domain::envelope::{Channel, Code, Lane, Violation};
use crate::domain::member::Members;
use crate::domain::retry;
use crate::error::Error;
use crate::store::chunk::{self, NewChunk, NewKey};
use crate::store::operation::{self, LetterRow};
use crate::store::request::{self, RequestRow};
use crate::store::{ChunkId, SessionId, inbound, report};

const REQUESTS_DEFAULT: i32 = 20;
const REQUESTS_MAX: i32 = 100;
/// Chunks of failed recipients that one call sends to again, of up to 500 each.
const LETTERS_MAX: usize = 200;
const REASONS_MAX: usize = 32;
/// Another change may come first; then the case is looked at anew.
const TRIES: u32 = 5;

/// Failed recipients, the chunk that sends to them again, and their places.
type Anew = (LetterRow, NewChunk, Vec<i64>);

/// What pauses or resumes a request.
struct Holding {
    origin: Origin,
    row: RequestRow,
    paused: bool,
}

/// What sends to failed recipients again.
struct Redriving {
    origin: Origin,
    row: RequestRow,
    letters: Vec<Anew>,
    more: bool,
}

impl Holding {
    /// The counters at that moment.
    async fn write(&self, tx: &mut Tx<'_>) -> Result<api::Counters, Error> {
        let id = self.row.request_id;
        let mut counters = self.row.start();
        counters.add(&request::changes(tx, id).await?);
        let (step, paused) = operation::pause_state(tx, id).await?;
        if paused == self.paused {
            return Ok(to_proto(&counters));
        }
        if self.paused && counters.is_complete() {
            return Err(Error::Finished);
        }
        operation::add_pause(tx, id, step + 1, self.paused).await?;
        let action = if self.paused {
            "messaging.request.paused"
        } else {
            "messaging.request.resumed"
        };
        let entry = Entry::new(action).subject("message_request", &self.row.request_uid);
        publica_journal::append(tx, &self.origin, entry);
        Ok(to_proto(&counters))
    }
}

impl Redriving {
    async fn write(&self, tx: &mut Tx<'_>) -> Result<api::RedriveRequestResponse, Error> {
        let id = self.row.request_id;
        let mut changes = Counters::default();
        let mut reasons: Vec<&str> = Vec::new();
        let mut keys = Vec::with_capacity(self.letters.len());
        for (letter, new, places) in &self.letters {
            operation::redrive(tx, letter, new.chunk_id, places).await?;
            chunk::insert(tx, new).await?;
            let from = State::from_number(letter.state).unwrap_or(State::NotSent);
            changes.shift(from, State::Deferred, letter.n);
            keys.push(letter.letter_id);
            if !reasons.contains(&letter.reason.as_str()) {
                reasons.push(&letter.reason);
            }
        }
        if chunk::delete_keys(tx, &keys).await? != u64::try_from(keys.len()).unwrap_or_default() {
            // Their time was over, or they were cancelled, between reading and now.
            return Err(Error::Store(StoreError::Conflict { source: None }));
        }
        let count: i64 = self.letters.iter().map(|(letter, ..)| letter.n).sum();
        if count > 0 {
            let session = redrives(&self.row);
            let (step, mut tally) = inbound::last_tally(tx, id, session).await?;
            tally.add(&changes);
            report::tally(tx, id, SessionId::from_uuid(session), step + 1, &tally).await?;
            let entry = Entry::new("messaging.request.redriven")
                .subject("message_request", &self.row.request_uid)
                .body(json!({ "messages": count, "reasons": reasons }));
            publica_journal::append(tx, &self.origin, entry);
            if self.row.callback.is_some() {
                callbacks::enqueue_change(tx, id, &self.origin).await?;
            }
        }
        let mut counters = self.row.start();
        counters.add(&request::changes(tx, id).await?);
        Ok(api::RedriveRequestResponse {
            message_count: count,
            more: self.more,
            counters: Some(to_proto(&counters)),
        })
    }
}

impl App {
    /// Requests with their counters, the newest first.
    pub(crate) async fn requests(
        &self,
        who: &Who,
        message: &api::ListRequestsRequest,
    ) -> Result<api::ListRequestsResponse, Error> {
        let size = page_size(message.page_size, REQUESTS_DEFAULT, REQUESTS_MAX)?;
        let list = if message.open_only { "open" } else { "all" };
        let before: Option<Uuid> = PageToken::decode(&list, &message.page_token)?;
        let house = self.house(&who.origin.tenant).await?;
        let before = before.unwrap_or(Uuid::max());
        let open = message.open_only;
        let mut rows = operation::requests(&house.db, open, before, size + 1).await?;
        let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > size;
        rows.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        let next_page_token = match rows.last() {
            Some(last) if more => PageToken::encode(&list, &last.request_id.as_uuid()),
            _ => String::new(),
        };
        let mut requests = Vec::with_capacity(rows.len());
        for row in rows {
            requests.push(summary(&house, &row).await?);
        }
        Ok(api::ListRequestsResponse {
            requests,
            next_page_token,
        })
    }

    /// Holds a request up.
    pub(crate) async fn pause(
        &self,
        who: &Who,
        message: api::PauseRequestRequest,
    ) -> Result<api::PauseRequestResponse, Error> {
        let fingerprint = publica_journal::fingerprint(&message);
        let call = Call {
            name: "messaging.pause_request",
            origin: &who.origin,
            rpc: "/publica.messaging.v1.DeliveryService/PauseRequest",
            request_id: Some(message.request_id),
            fingerprint,
        };
        let counters = Some(self.hold(who, &message.request_uid, call, true).await?);
        Ok(api::PauseRequestResponse { counters })
    }

    /// Lets a request go on.
    pub(crate) async fn resume(
        &self,
        who: &Who,
        message: api::ResumeRequestRequest,
    ) -> Result<api::ResumeRequestResponse, Error> {
        let fingerprint = publica_journal::fingerprint(&message);
        let call = Call {
            name: "messaging.resume_request",
            origin: &who.origin,
            rpc: "/publica.messaging.v1.DeliveryService/ResumeRequest",
            request_id: Some(message.request_id),
            fingerprint,
        };
        let counters = Some(self.hold(who, &message.request_uid, call, false).await?);
        Ok(api::ResumeRequestResponse { counters })
    }

    async fn hold(
        &self,
        who: &Who,
        request_uid: &str,
        call: Call<'_>,
        paused: bool,
    ) -> Result<api::Counters, Error> {
        let (row, house) = self.held(who, request_uid).await?;
        let input = Holding {
            origin: who.origin.clone(),
            row,
            paused,
        };
        let write = publica_journal::write(&house.db, call, input, |tx, input| {
            Box::pin(input.write(tx))
        });
        let counters = write.await?;
        house.refresh_pauses().await?;
        Ok(counters)
    }

    /// Whether a request is held up.
    pub(crate) async fn is_paused(&self, who: &Who, request_uid: &str) -> Result<bool, Error> {
        let (row, house) = self.held(who, request_uid).await?;
        Ok(operation::is_paused(&house.db, row.request_id).await?)
    }

    /// Failed messages of a request that can be sent again.
    pub(crate) async fn dead_letters(
        &self,
        who: &Who,
        message: &api::ListDeadLettersRequest,
    ) -> Result<api::ListDeadLettersResponse, Error> {
        let (row, house) = self.held(who, &message.request_uid).await?;
        let groups = operation::groups(&house.db, row.request_id, self.now()).await?;
        let groups = groups.into_iter().map(|group| api::DeadLetters {
            reason: group.reason,
            state: state(group.state).into(),
            message_count: group.n,
            expire_time: Some(timestamp(group.until)),
        });
        Ok(api::ListDeadLettersResponse {
            groups: groups.collect(),
        })
    }

    /// Sends failed messages of a request again.
    pub(crate) async fn redrive(
        &self,
        who: &Who,
        message: api::RedriveRequestRequest,
    ) -> Result<api::RedriveRequestResponse, Error> {
        if message.reasons.len() > REASONS_MAX {
            return Err(Error::Unsound(vec![Violation::new(
                Code::SchemaViolation,
                "reasons",
                "names more than 32 reasons",
            )]));
        }
        let fingerprint = publica_journal::fingerprint(&message);
        let (row, house) = self.held(who, &message.request_uid).await?;
        let mut tries = 0;
        loop {
            let (letters, more) = self.sealed_anew(&house, &row, &message.reasons).await?;
            let call = Call {
                name: "messaging.redrive_request",
                origin: &who.origin,
                rpc: "/publica.messaging.v1.DeliveryService/RedriveRequest",
                request_id: Some(message.request_id.clone()),
                fingerprint,
            };
            let input = Redriving {
                origin: who.origin.clone(),
                row: row.clone(),
                letters,
                more,
            };
            let write = publica_journal::write(&house.db, call, input, |tx, input| {
                Box::pin(input.write(tx))
            });
            match write.await {
                Err(Error::Store(
                    StoreError::UniqueViolation { .. } | StoreError::Conflict { .. },
                )) if tries < TRIES => tries += 1,
                done => {
                    house.engine_of(Channel::of_slot(row.lane)).wake();
                    return done;
                }
            }
        }
    }

    /// Failed recipients under fresh keys, ready for another attempt, and whether there are
    /// more.
    async fn sealed_anew(
        &self,
        house: &House,
        row: &RequestRow,
        reasons: &[String],
    ) -> Result<(Vec<Anew>, bool), Error> {
        let now = self.now();
        let limit = i64::try_from(LETTERS_MAX + 1).unwrap_or(i64::MAX);
        let id = row.request_id;
        let mut found = operation::letters(&house.db, id, reasons, (now, limit)).await?;
        let more = found.len() > LETTERS_MAX;
        found.truncate(LETTERS_MAX);
        let sealer = house.vault.sealer(now).await?;
        let mut letters = Vec::with_capacity(found.len());
        for letter in found {
            let key = NewKey {
                hour: letter.hour,
                wrapped: letter.wrapped.clone(),
            };
            let bytes = house
                .vault
                .open(letter.letter_id, &key, &letter.sealed)
                .await?;
            let mut members = Members::decode(bytes.as_slice())
                .map_err(|_| StoreError::corrupt("failed recipients"))?
                .members;
            for member in &mut members {
                // What was refused gets another chance; dead addresses are suppressed anyway.
                member.dropped.clear();
                member.unknown = 0;
                member.parts.clear();
                member.expires = now.plus(retry::LIFETIME).micros();
            }
            let places = members.iter().map(|member| member.pos).collect();
            let chunk_id = ChunkId::from_uuid(self.new_id());
            let plain = Members { members }.encode_to_vec();
            let (key, sealed) = sealer.seal(chunk_id.as_uuid(), plain)?;
            let chunk = NewChunk {
                chunk_id,
                request_id: row.request_id,
                root_id: letter.root_id,
                lane: letter.lane,
                attempt: letter.attempt + 1,
                not_before: now,
                n: letter.n,
                sealed,
                key: Some(key),
            };
            letters.push((letter, chunk, places));
        }
        Ok((letters, more))
    }

    async fn held(&self, who: &Who, request_uid: &str) -> Result<(RequestRow, Arc<House>), Error> {
        let row = self.find(who, request_uid).await?;
        Ok((row, self.house(&who.origin.tenant).await?))
    }
}

/// What is sent again counts as a session of its own, for each request.
fn redrives(row: &RequestRow) -> Uuid {
    Uuid::from_u128(row.request_id.as_uuid().as_u128() ^ (u128::MAX >> 1))
}

async fn summary(house: &House, row: &RequestRow) -> Result<api::RequestSummary, Error> {
    let counters = request::counters(&house.db, row).await?;
    let priority = match Lane::of_slot(row.lane) {
        Lane::Emergency => api::Priority::Emergency,
        Lane::Urgent => api::Priority::Urgent,
        Lane::Normal => api::Priority::Normal,
        Lane::Bulk => api::Priority::Bulk,
    };
    let planned = row.not_before > row.received_at;
    Ok(api::RequestSummary {
        request_uid: row.request_uid.clone(),
        accept_time: Some(timestamp(row.received_at)),
        priority: priority.into(),
        counters: Some(to_proto(&counters)),
        completed: counters.is_complete(),
        paused: operation::is_paused(&house.db, row.request_id).await?,
        send_time: planned.then(|| timestamp(row.not_before)),
    })
}
