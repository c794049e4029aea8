//! Taking in a batch as it streams in, in flat memory.
//!
//! Chunks are sealed and stored as they fill. They become work only with the request's own row,
//! which is written last: a stream that breaks leaves chunks that nobody sends, and whose keys
//! are destroyed.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use prost::Message as _;
use publica_journal::{Call, JournalError};
use publica_proto::messaging::v1 as api;
use publica_store::{StoreError, Tx};
use publica_types::{Origin, Timestamp, Uuid};

use super::accept::accepted_entry;
use super::{App, House, Who};
use crate::domain::counters::{Counters, State};
use crate::domain::envelope::{self, Channel, Checked, Code, Violation, check_recipient};
use crate::domain::member::{Member, Members};
use crate::error::Error;
use crate::store::chunk::{self, NewChunk, NewKey, REQUEST_LANE};
use crate::store::report::{self, NewEvent};
use crate::store::request::{self, RequestRow};
use crate::store::{ChunkId, RequestId, SessionId};

/// Most recipients of a chunk.
const CHUNK: usize = 500;
/// Chunks that are stored in one transaction.
const STAGED: usize = 50;
/// Most recipients of one part of the stream.
const PART_MAX: usize = 1_000;

/// A recipient in a form that tells repeats, and what checking it gave.
type Entry = (Vec<u8>, Result<Member, Vec<Violation>>);

/// A batch that is being taken in.
pub(crate) struct Batch {
    app: App,
    who: Who,
    house: Arc<House>,
    checked: Checked,
    call_id: String,
    request_id: RequestId,
    now: Timestamp,
    digest: Context,
    members: Vec<Member>,
    /// Places in the chunk that is being filled, refused entries included.
    places: i64,
    chunk_id: ChunkId,
    staged: Staged,
    keys: Vec<Uuid>,
    count: u64,
    rejected: i64,
}

/// What the next transaction stores.
#[derive(Debug, Default)]
struct Staged {
    chunks: Vec<NewChunk>,
    events: Vec<NewEvent>,
}

/// What the last transaction writes.
struct Finishing {
    origin: Origin,
    row: RequestRow,
    mhash: Vec<u8>,
    request_key: NewKey,
    staged: Staged,
    rejected: i64,
    response: api::SendEmailBatchResponse,
}

impl Staged {
    async fn write(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        for new in &self.chunks {
            chunk::insert(tx, new).await?;
        }
        report::events(tx, &self.events).await
    }
}

impl Finishing {
    async fn write(&self, tx: &mut Tx<'_>) -> Result<api::SendEmailBatchResponse, Error> {
        self.staged.write(tx).await?;
        request::insert(tx, &self.row, &self.mhash).await?;
        let id = self.row.request_id.as_uuid();
        chunk::insert_key(tx, id, REQUEST_LANE, self.row.not_before, &self.request_key).await?;
        if self.rejected > 0 {
            // The acceptance counts as a session of its own.
            let mut changes = Counters::default();
            changes.shift(State::Scheduled, State::NotSent, self.rejected);
            let session = SessionId::from_uuid(id);
            report::tally(tx, self.row.request_id, session, 0, &changes).await?;
        }
        publica_journal::append(tx, &self.origin, accepted_entry(&self.row, self.rejected));
        Ok(self.response.clone())
    }
}

impl App {
    /// Begins a batch.
    pub(crate) async fn begin_batch(
        &self,
        who: Who,
        header: api::BatchHeader,
    ) -> Result<Batch, Error> {
        let envelope = header.envelope.unwrap_or_default();
        let checked = envelope::check(envelope, true, self.now()).map_err(Error::Unsound)?;
        self.begin(who, checked, header.request_id).await
    }

    /// Begins a batch of any channel.
    pub(super) async fn begin(
        &self,
        who: Who,
        checked: Checked,
        call_id: String,
    ) -> Result<Batch, Error> {
        let now = self.now();
        let house = self.house(&who.origin.tenant).await?;
        let checked = self.admit(&who, &house, checked).await?;
        let mut digest = Context::new(&SHA256);
        digest.update(&checked.common.as_received());
        Ok(Batch {
            request_id: RequestId::from_uuid(self.new_id()),
            chunk_id: ChunkId::from_uuid(self.new_id()),
            app: self.clone(),
            who,
            house,
            checked,
            call_id,
            now,
            digest,
            members: Vec::with_capacity(CHUNK),
            places: 0,
            staged: Staged::default(),
            keys: Vec::new(),
            count: 0,
            rejected: 0,
        })
    }
}

impl Batch {
    /// Takes in some recipients of e-mail.
    pub(crate) async fn add(&mut self, recipients: Vec<api::Recipient>) -> Result<(), Error> {
        let entries = recipients
            .into_iter()
            .map(|one| (canonical(&one), Member::check(one, "recipient")));
        self.add_entries(entries.collect()).await
    }

    /// Takes in some recipients of short messages.
    pub(crate) async fn add_sms(
        &mut self,
        recipients: Vec<api::SmsRecipient>,
    ) -> Result<(), Error> {
        let rules = self.app.sms_rules();
        let entries = recipients.into_iter().map(|one| {
            let raw = api::Recipient {
                email: one.phone.clone(),
                locale: one.locale.clone(),
                parameters: one.parameters.clone(),
                ..api::Recipient::default()
            };
            (canonical(&raw), check_recipient(one, &rules, "recipient"))
        });
        self.add_entries(entries.collect()).await
    }

    async fn add_entries(&mut self, entries: Vec<Entry>) -> Result<(), Error> {
        if entries.len() > PART_MAX {
            return Err(Error::Stream("a part holds at most 1000 recipients"));
        }
        for (canonical, checked) in entries {
            let limit = self.app.config().limits.batch_recipients;
            if self.count >= limit {
                return Err(Error::BatchTooLarge(limit));
            }
            self.count += 1;
            self.digest.update(&canonical);
            match checked {
                Ok(mut member) => {
                    member.pos = self.places;
                    self.members.push(member);
                }
                Err(violations) => {
                    let reason = reason(violations.first().map(|first| first.code));
                    self.reject(reason);
                }
            }
            self.places += 1;
            if self.places >= i64::try_from(CHUNK).unwrap_or(i64::MAX) {
                self.fill().await?;
            }
        }
        Ok(())
    }

    fn reject(&mut self, reason: &'static str) {
        self.rejected += 1;
        self.staged.events.push(NewEvent {
            root_id: self.chunk_id.as_uuid(),
            pos: self.places,
            attempt: 0,
            state: State::NotSent.number(),
            code: 0,
            reason,
            at: self.now,
        });
    }

    /// Seals the chunk that is full, and stores what has gathered when it is enough.
    async fn fill(&mut self) -> Result<(), Error> {
        let members = std::mem::replace(&mut self.members, Vec::with_capacity(CHUNK));
        let chunk_id = self.chunk_id;
        let n = i64::try_from(members.len()).unwrap_or(i64::MAX);
        let (key, sealed) = if members.is_empty() {
            (None, Vec::new())
        } else {
            let sealer = self.house.vault.sealer(self.now).await?;
            let plain = Members { members }.encode_to_vec();
            let (key, sealed) = sealer.seal(chunk_id.as_uuid(), plain)?;
            self.keys.push(chunk_id.as_uuid());
            (Some(key), sealed)
        };
        self.staged.chunks.push(NewChunk {
            chunk_id,
            request_id: self.request_id,
            root_id: chunk_id.as_uuid(),
            lane: self.checked.slot(),
            attempt: 1,
            not_before: self.checked.not_before,
            n,
            sealed,
            key,
        });
        self.chunk_id = ChunkId::from_uuid(self.app.new_id());
        self.places = 0;
        if self.staged.chunks.len() >= STAGED {
            let staged = std::mem::take(&mut self.staged);
            let write = self
                .house
                .db
                .write("messaging.stage", staged, |tx, staged| {
                    Box::pin(staged.write(tx))
                });
            let written: Result<(), StoreError> = write.await;
            written?;
        }
        Ok(())
    }

    /// Ends the batch: from here on it is accepted.
    pub(crate) async fn finish(mut self) -> Result<api::SendEmailBatchResponse, Error> {
        let done = self.try_finish().await;
        let for_nothing = match &done {
            Ok(response) => response.replayed,
            // After a failure of the store nobody knows whether the batch was committed; if it
            // was not, the sweep destroys the keys.
            Err(error) => matches!(
                error,
                Error::EmptyBatch
                    | Error::Quota { .. }
                    | Error::Journal(JournalError::RequestIdReused { .. })
            ),
        };
        if for_nothing {
            self.discard().await;
        }
        done
    }

    async fn try_finish(&mut self) -> Result<api::SendEmailBatchResponse, Error> {
        if self.count == 0 {
            return Err(Error::EmptyBatch);
        }
        self.app.charge(&self.who, self.count)?;
        if self.places > 0 {
            self.fill().await?;
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(self.digest.clone().finish().as_ref());
        let n = i64::try_from(self.count).unwrap_or(i64::MAX);
        let sealer = self.house.vault.sealer(self.now).await?;
        let id = self.request_id;
        let (request_key, common) =
            sealer.seal(id.as_uuid(), self.checked.common.encode_to_vec())?;
        let row = self.app.request_row(
            &self.who,
            &self.house,
            &self.checked,
            (id, n, false),
            (self.now, Some(common)),
        );
        let response = api::SendEmailBatchResponse {
            request_uid: row.request_uid.clone(),
            message_count: n,
            rejected_count: self.rejected,
            accept_time: Some(publica_rpc::timestamp(self.now)),
            replayed: false,
        };
        let uid = row.request_uid.clone();
        let finishing = Finishing {
            origin: self.who.origin.clone(),
            mhash: self.app.mhash(&self.house, &fingerprint).await?,
            row,
            request_key,
            staged: std::mem::take(&mut self.staged),
            rejected: self.rejected,
            response,
        };
        let (name, rpc) = match self.checked.channel {
            Channel::Email => (
                "messaging.send_email_batch",
                "/publica.messaging.v1.MessageService/SendEmailBatch",
            ),
            Channel::Sms => (
                "messaging.send_sms_batch",
                "/publica.messaging.v1.SmsService/SendSmsBatch",
            ),
        };
        let call = Call {
            name,
            origin: &self.who.origin,
            rpc,
            request_id: Some(self.call_id.clone()),
            fingerprint,
        };
        let write = publica_journal::write(&self.house.db, call, finishing, |tx, input| {
            Box::pin(input.write(tx))
        });
        let mut response: api::SendEmailBatchResponse = write.await?;
        response.replayed = response.request_uid != uid;
        self.house.engine_of(self.checked.channel).wake();
        Ok(response)
    }

    /// Destroys the keys of what was stored for nothing. If this process dies before, the
    /// sweep does it.
    pub(crate) async fn discard(&mut self) {
        let keys = std::mem::take(&mut self.keys);
        for some in keys.chunks(1_000) {
            let write = self
                .house
                .db
                .write("messaging.discard", some.to_vec(), |tx, keys| {
                    Box::pin(chunk::delete_keys(tx, keys))
                });
            let deleted: Result<u64, StoreError> = write.await;
            if let Err(error) = deleted {
                tracing::warn!(%error, "keys of an abandoned batch stay for the sweep");
            }
        }
    }
}

/// A recipient in a form that does not depend on the order of its values.
fn canonical(recipient: &api::Recipient) -> Vec<u8> {
    let raw = Member {
        to: vec![recipient.email.clone()],
        cc: vec![recipient.cc.clone()],
        bcc: vec![recipient.bcc.clone()],
        name: recipient.name.clone(),
        locale: recipient.locale.clone(),
        parameters: recipient.parameters.clone().into_iter().collect(),
        ..Member::default()
    };
    raw.encode_length_delimited_to_vec()
}

fn reason(code: Option<Code>) -> &'static str {
    match code {
        Some(Code::InvalidAddress) => "invalid_address",
        Some(Code::HeaderInjection) => "header_injection",
        _ => "invalid_entry",
    }
}
