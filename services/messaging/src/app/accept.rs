//! Taking in one message.

use std::sync::Arc;

use prost::Message as _;
use publica_journal::{Call, Entry};
use publica_proto::messaging::v1 as api;
use publica_store::Tx;
use publica_types::{Origin, Timestamp};
use serde_json::json;

use super::{App, House, Who};
use crate::callbacks;
use crate::domain::envelope::{self, Channel, Checked, Code, Lane, Violation};
use crate::domain::member::{Member, Members};
use crate::domain::template::{Compiled, Rendered};
use crate::domain::uid;
use crate::engine::{ActiveRequest, Adopted};
use crate::error::Error;
use crate::sealed::CALLBACK;
use crate::store::chunk::{self, NewChunk, NewKey, REQUEST_LANE};
use crate::store::report::{self, StepKind};
use crate::store::request::{self, RequestRow};
use crate::store::{ChunkId, RequestId, SessionId, suppression};

/// A request and its content in one text, to tell a repeat from another request.
#[derive(Clone, PartialEq, prost::Message)]
struct Fingerprint {
    #[prost(message, optional, tag = "1")]
    envelope: Option<api::Envelope>,
    #[prost(message, optional, tag = "2")]
    member: Option<Member>,
    #[prost(message, optional, tag = "3")]
    sms: Option<api::SmsEnvelope>,
}

/// The call that brings one message.
pub(super) struct Taking {
    pub(super) name: &'static str,
    pub(super) rpc: &'static str,
    pub(super) request_id: String,
}

/// What the unit that accepts one message writes.
struct Accepting {
    origin: Origin,
    row: RequestRow,
    mhash: Vec<u8>,
    request_key: NewKey,
    chunk: NewChunk,
    /// The session that takes the message up at once.
    session: Option<SessionId>,
    response: api::SendEmailResponse,
}

impl Accepting {
    async fn write(&self, tx: &mut Tx<'_>) -> Result<api::SendEmailResponse, Error> {
        request::insert(tx, &self.row, &self.mhash).await?;
        let id = self.row.request_id.as_uuid();
        chunk::insert_key(tx, id, REQUEST_LANE, self.row.not_before, &self.request_key).await?;
        chunk::insert(tx, &self.chunk).await?;
        if let Some(session) = self.session {
            report::step(tx, self.chunk.chunk_id, 0, session, StepKind::Claimed).await?;
        }
        let entry = accepted_entry(&self.row, 0);
        publica_journal::append(tx, &self.origin, entry);
        Ok(self.response.clone())
    }
}

/// The journal's word on an accepted request.
pub(super) fn accepted_entry(row: &RequestRow, rejected: i64) -> Entry {
    Entry::new("messaging.request.accepted")
        .subject("message_request", &row.request_uid)
        .body(json!({
            "channel": Channel::of_slot(row.lane).name(),
            "lane": Lane::of_slot(row.lane).number(),
            "messages": row.n,
            "rejected": rejected,
            "planned": row.not_before > row.received_at,
        }))
}

impl App {
    /// Queues one e-mail.
    pub(crate) async fn send_email(
        &self,
        who: &Who,
        message: api::SendEmailRequest,
    ) -> Result<api::SendEmailResponse, Error> {
        let now = self.now();
        let envelope = message.envelope.unwrap_or_default();
        let checked = envelope::check(envelope, false, now);
        let member = Member::check(message.recipient.unwrap_or_default(), "recipient");
        let (checked, member) = both(checked, member)?;
        let house = self.house(&who.origin.tenant).await?;
        let checked = self.admit(who, &house, checked).await?;
        values_of(&checked, &member)?;
        let taking = Taking {
            name: "messaging.send_email",
            rpc: "/publica.messaging.v1.MessageService/SendEmail",
            request_id: message.request_id,
        };
        self.take_in(who, &house, (checked, member), taking).await
    }

    /// Stores one message of any channel, and takes it up where nothing stands in its way.
    pub(super) async fn take_in(
        &self,
        who: &Who,
        house: &House,
        (checked, member): (Checked, Member),
        taking: Taking,
    ) -> Result<api::SendEmailResponse, Error> {
        let now = self.now();
        self.charge(who, 1)?;
        let engine = house.engine_of(checked.channel);
        let fingerprint = Fingerprint {
            envelope: checked.common.received.clone(),
            member: Some(member.clone()),
            sms: checked.common.received_sms.clone(),
        };
        let fingerprint = publica_journal::fingerprint(&fingerprint);
        let adopts = self.adopts(house, &checked, &member, now).await?;
        let prepared = self
            .prepare(who, house, &checked, &member, (now, adopts), &fingerprint)
            .await?;
        let (uid, row, chunk_id) = (
            prepared.response.request_uid.clone(),
            prepared.row.clone(),
            prepared.chunk.chunk_id,
        );
        let call = Call {
            name: taking.name,
            origin: &who.origin,
            rpc: taking.rpc,
            request_id: Some(taking.request_id),
            fingerprint,
        };
        let write = publica_journal::write(&house.db, call, prepared, |tx, input| {
            Box::pin(input.write(tx))
        });
        let mut response: api::SendEmailResponse = write.await?;
        if response.request_uid != uid {
            response.replayed = true;
            return Ok(response);
        }
        if adopts {
            let tenant = &who.origin.tenant;
            let request = Arc::new(ActiveRequest::new(&row, checked.common, tenant));
            engine.requests().put(&request);
            let adopted = Adopted {
                chunk_id,
                request,
                slot: row.lane,
                member,
            };
            engine.adopt(adopted).await;
        } else {
            engine.wake();
        }
        Ok(response)
    }

    /// What needs more than the envelope itself: rights, the callback, a stored template.
    pub(super) async fn admit(
        &self,
        who: &Who,
        house: &House,
        mut checked: Checked,
    ) -> Result<Checked, Error> {
        const EMERGENCY: &str = "messaging:emergency:send";
        if checked.lane == Lane::Emergency && !who.allows(EMERGENCY) {
            return Err(Error::MissingScope(EMERGENCY));
        }
        if let Some(url) = &checked.callback {
            callbacks::check_url(url, self.rules()).map_err(|found| Error::Unsound(vec![found]))?;
        }
        self.check_sender(who, &checked)?;
        if let Some(reference) = checked.template.take() {
            checked.common.variants = self.resolve(&house.db, &reference).await?;
        }
        Ok(checked)
    }

    /// Whether this call may take the message up itself: nothing stands in its way.
    async fn adopts(
        &self,
        house: &House,
        checked: &Checked,
        member: &Member,
        now: Timestamp,
    ) -> Result<bool, Error> {
        if checked.planned || !house.engine_of(checked.channel).can_adopt(checked.lane) {
            return Ok(false);
        }
        if !suppression::any(&house.db).await? {
            return Ok(true);
        }
        let hashes: Vec<Vec<u8>> = member
            .to
            .iter()
            .map(|address| house.vault.address_hash(address))
            .collect();
        // Whether a suppression applies is the dispatcher's to say.
        Ok(suppression::in_force(&house.db, &hashes, now)
            .await?
            .is_empty())
    }

    async fn prepare(
        &self,
        who: &Who,
        house: &House,
        checked: &Checked,
        member: &Member,
        (now, adopts): (Timestamp, bool),
        fingerprint: &[u8],
    ) -> Result<Accepting, Error> {
        let (request_id, chunk_id) = (
            RequestId::from_uuid(self.new_id()),
            ChunkId::from_uuid(self.new_id()),
        );
        let sealer = house.vault.sealer(now).await?;
        let (request_key, common) =
            sealer.seal(request_id.as_uuid(), checked.common.encode_to_vec())?;
        let members = Members {
            members: vec![member.clone()],
        };
        let (key, sealed) = sealer.seal(chunk_id.as_uuid(), members.encode_to_vec())?;
        let row = self.request_row(
            who,
            house,
            checked,
            (request_id, 1, adopts),
            (now, Some(common)),
        );
        let mhash = self.mhash(house, fingerprint).await?;
        let chunk = NewChunk {
            chunk_id,
            request_id,
            root_id: chunk_id.as_uuid(),
            lane: row.lane,
            attempt: 1,
            not_before: row.not_before,
            n: 1,
            sealed,
            key: Some(key),
        };
        let response = api::SendEmailResponse {
            request_uid: row.request_uid.clone(),
            message_id: uid::message_id(chunk_id.as_uuid(), 0),
            accept_time: Some(publica_rpc::timestamp(now)),
            replayed: false,
        };
        Ok(Accepting {
            origin: who.origin.clone(),
            row,
            mhash,
            request_key,
            chunk,
            session: adopts.then(|| house.engine_of(checked.channel).session()),
            response,
        })
    }

    pub(super) fn request_row(
        &self,
        who: &Who,
        house: &House,
        checked: &Checked,
        (request_id, n, claimed): (RequestId, i64, bool),
        (now, common): (Timestamp, Option<Vec<u8>>),
    ) -> RequestRow {
        let callback = checked.callback.as_ref();
        RequestRow {
            request_id,
            request_uid: self.new_request_uid(),
            n,
            lane: checked.slot(),
            claimed,
            received_at: now,
            not_before: checked.not_before,
            expires_at: checked.expires,
            actor: who.origin.actor.clone(),
            process_id: who.origin.process_id.clone(),
            callback: callback.map(|url| house.vault.seal_setting(&CALLBACK, url.as_bytes())),
            common,
        }
    }

    /// The hash by which equal requests are noticed. They are counted, not refused: a reminder
    /// is the same text twice.
    pub(super) async fn mhash(&self, house: &House, fingerprint: &[u8]) -> Result<Vec<u8>, Error> {
        let text = hex::encode(fingerprint);
        let mhash = house.vault.keyed_hash("request", &text);
        if request::same_hash(&house.db, &mhash).await? > 0 {
            metrics::counter!("publica_messaging_duplicate_suspected_total").increment(1);
        }
        Ok(mhash)
    }
}

/// An envelope and its recipient, or everything that is wrong with either.
pub(super) fn both(
    checked: Result<Checked, Vec<Violation>>,
    member: Result<Member, Vec<Violation>>,
) -> Result<(Checked, Member), Error> {
    match (checked, member) {
        (Ok(checked), Ok(member)) => Ok((checked, member)),
        (checked, member) => {
            let mut violations = checked.err().unwrap_or_default();
            violations.extend(member.err().unwrap_or_default());
            Err(Error::Unsound(violations))
        }
    }
}

/// What the recipient of a single message reads; one whose template lacks a value is refused at
/// the door.
pub(super) fn values_of(checked: &Checked, member: &Member) -> Result<Rendered, Error> {
    let locales: Vec<&str> = checked
        .common
        .variants
        .iter()
        .map(|variant| variant.locale.as_str())
        .collect();
    let index = crate::domain::template::choose(&locales, &member.locale);
    let variant = checked.common.variants.get(index).cloned();
    let variant = variant.unwrap_or_default();
    if !checked.common.templated {
        return Ok(Rendered {
            subject: variant.subject,
            text: variant.text,
            html: variant.html,
        });
    }
    let rendered = Compiled::new(&variant).and_then(|compiled| compiled.render(&member.parameters));
    rendered.map_err(|error| {
        Error::Unsound(vec![Violation::new(
            Code::SchemaViolation,
            "recipient.parameters",
            error.to_string(),
        )])
    })
}
