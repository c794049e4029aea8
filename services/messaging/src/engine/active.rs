//! Chunks and requests that are being worked on, decrypted, in memory.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use publica_types::{Origin, Tenant, Timestamp, Uuid};
use zeroize::Zeroize as _;

use super::Adopted;
use crate::domain::address::Mailbox;
use crate::domain::encode::Charset;
use crate::domain::envelope::{Common, Lane};
use crate::domain::member::Member;
use crate::domain::template::{self, Compiled, Rendered, TemplateError};
use crate::store::request::RequestRow;
use crate::store::{ChunkId, RequestId};

/// A request whose messages are being sent.
#[derive(Debug)]
pub(crate) struct ActiveRequest {
    pub(crate) request_id: RequestId,
    pub(crate) request_uid: String,
    pub(crate) n: i64,
    pub(crate) claimed: bool,
    pub(crate) expires: Timestamp,
    pub(crate) callback: bool,
    pub(crate) from: Option<Mailbox>,
    pub(crate) reply_to: Option<Mailbox>,
    pub(crate) common: Common,
    origin: Origin,
    compiled: Vec<Result<Compiled, TemplateError>>,
    cancelled: AtomicBool,
    paused: AtomicBool,
}

impl ActiveRequest {
    pub(crate) fn new(row: &RequestRow, common: Common, tenant: &Tenant) -> Self {
        let mut origin = Origin::actor(row.actor.clone()).in_tenant(tenant.clone());
        origin.process_id.clone_from(&row.process_id);
        let compiled = if common.templated {
            common.variants.iter().map(Compiled::new).collect()
        } else {
            Vec::new()
        };
        Self {
            request_id: row.request_id,
            request_uid: row.request_uid.clone(),
            n: row.n,
            claimed: row.claimed,
            expires: row.expires_at,
            callback: row.callback.is_some(),
            from: Mailbox::parse(&common.from).ok(),
            reply_to: Mailbox::parse(&common.reply_to).ok(),
            common,
            origin,
            compiled,
            cancelled: AtomicBool::new(false),
            paused: AtomicBool::new(false),
        }
    }

    /// Who asked for it, in which case; the acting party is this block.
    pub(crate) fn origin(&self) -> Origin {
        let mut origin = self.origin.clone();
        origin.on_behalf_of = Some(std::mem::take(&mut origin.actor));
        "system:delivery".clone_into(&mut origin.actor);
        origin
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether an operator holds the request up.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// What a recipient reads, and in which charset it is written.
    pub(crate) fn render(&self, member: &Member) -> Result<(Rendered, Charset), TemplateError> {
        let locales: Vec<&str> = self
            .common
            .variants
            .iter()
            .map(|variant| variant.locale.as_str())
            .collect();
        let index = template::choose(&locales, &member.locale);
        let variant = self
            .common
            .variants
            .get(index)
            .ok_or(TemplateError::Failed)?;
        let charset = Charset::parse(&variant.charset).unwrap_or(Charset::UTF_8);
        if !self.common.templated {
            let rendered = Rendered {
                subject: variant.subject.clone(),
                text: variant.text.clone(),
                html: variant.html.clone(),
            };
            return Ok((rendered, charset));
        }
        match self.compiled.get(index) {
            Some(Ok(compiled)) => Ok((compiled.render(&member.parameters)?, charset)),
            Some(Err(error)) => Err(error.clone()),
            None => Err(TemplateError::Failed),
        }
    }
}

/// A claimed chunk. Its contacts are wiped from memory when nobody holds it any more.
#[derive(Debug)]
pub(crate) struct ActiveChunk {
    pub(crate) chunk_id: ChunkId,
    pub(crate) root_id: Uuid,
    /// The number under which its lane is stored.
    pub(crate) slot: i64,
    pub(crate) lane: Lane,
    pub(crate) attempt: i64,
    pub(crate) request: Arc<ActiveRequest>,
    pub(crate) members: Vec<Member>,
    /// Whether any member has a case of its own, which most requests give none of.
    pub(crate) has_cases: bool,
    fenced: AtomicBool,
}

impl ActiveChunk {
    pub(crate) fn new(
        ids: (ChunkId, Uuid),
        slot: i64,
        attempt: i64,
        request: Arc<ActiveRequest>,
        members: Vec<Member>,
    ) -> Self {
        let fenced = AtomicBool::new(false);
        let has_cases = members.iter().any(|member| !member.process_id.is_empty());
        Self {
            chunk_id: ids.0,
            root_id: ids.1,
            slot,
            lane: Lane::of_slot(slot),
            attempt,
            request,
            members,
            has_cases,
            fenced,
        }
    }

    pub(crate) fn single(adopted: Adopted) -> Self {
        let ids = (adopted.chunk_id, adopted.chunk_id.as_uuid());
        Self::new(ids, adopted.slot, 1, adopted.request, vec![adopted.member])
    }

    /// Somebody else holds the chunk: nothing more is sent from here.
    pub(crate) fn fence(&self) {
        self.fenced.store(true, Ordering::Release);
    }

    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(crate) fn for_tests(lane: Lane) -> Self {
        use publica_types::{SystemClock, SystemEntropy};
        let chunk_id = ChunkId::new(&SystemClock, &SystemEntropy);
        let row = RequestRow {
            request_id: RequestId::new(&SystemClock, &SystemEntropy),
            request_uid: "test".to_owned(),
            n: 1,
            lane: lane.number(),
            claimed: false,
            received_at: Timestamp::EPOCH,
            not_before: Timestamp::EPOCH,
            expires_at: Timestamp::EPOCH,
            actor: "test".to_owned(),
            process_id: None,
            callback: None,
            common: None,
        };
        let request = ActiveRequest::new(&row, Common::default(), &Tenant::default());
        let members = vec![Member::default()];
        Self::new(
            (chunk_id, chunk_id.as_uuid()),
            lane.number(),
            1,
            Arc::new(request),
            members,
        )
    }
}

impl Drop for ActiveChunk {
    fn drop(&mut self) {
        for member in &mut self.members {
            wipe(member);
        }
    }
}

/// Overwrites what is personal in a member.
pub(crate) fn wipe(member: &mut Member) {
    let Member {
        to,
        cc,
        bcc,
        served,
        dropped,
        ..
    } = member;
    for list in [to, cc, bcc, served, dropped] {
        list.zeroize();
    }
    member.name.zeroize();
    for value in member.parameters.values_mut() {
        value.zeroize();
    }
}

/// Requests in memory, each once.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    requests: HashMap<RequestId, Weak<ActiveRequest>>,
    cancelled: HashSet<RequestId>,
    paused: HashSet<RequestId>,
    prune_at: usize,
}

impl Requests {
    pub(crate) fn get(&self, id: RequestId) -> Option<Arc<ActiveRequest>> {
        self.lock().requests.get(&id).and_then(Weak::upgrade)
    }

    /// Keeps a request for as long as somebody holds it.
    pub(crate) fn put(&self, request: &Arc<ActiveRequest>) {
        let mut known = self.lock();
        if known.requests.len() >= known.prune_at.max(256) {
            known
                .requests
                .retain(|_, request| request.strong_count() > 0);
            known.prune_at = known.requests.len() * 2;
        }
        if known.cancelled.contains(&request.request_id) {
            request.cancel();
        }
        let paused = known.paused.contains(&request.request_id);
        request.paused.store(paused, Ordering::Relaxed);
        known
            .requests
            .insert(request.request_id, Arc::downgrade(request));
    }

    /// Marks a request; its messages in memory see it before they are sent.
    pub(crate) fn cancel(&self, id: RequestId) {
        let mut known = self.lock();
        match known.requests.get(&id).and_then(Weak::upgrade) {
            Some(request) => request.cancel(),
            None => {
                known.cancelled.insert(id);
            }
        }
    }

    /// Says which requests are held up; all others go on.
    pub(crate) fn set_paused(&self, paused: HashSet<RequestId>) {
        let mut known = self.lock();
        for id in known.paused.symmetric_difference(&paused) {
            if let Some(request) = known.requests.get(id).and_then(Weak::upgrade) {
                request.paused.store(paused.contains(id), Ordering::Relaxed);
            }
        }
        known.paused = paused;
    }

    pub(crate) fn forget_cancelled(&self, id: RequestId) {
        self.lock().cancelled.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
