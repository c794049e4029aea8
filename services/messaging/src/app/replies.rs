//! Answers to requests: stored encrypted, unread, and passed on to the originator.

use publica_journal::{Call, Entry};
use publica_proto::messaging::v1 as api;
use publica_types::{Origin, Tenant, Uuid};

use super::{App, Who};
use crate::callbacks;
use crate::domain::envelope::{Code, Violation};
use crate::error::Error;
use crate::store::chunk::{self, NewKey, REPLY_LANE};
use crate::store::request::{self, RequestRow};

const META_MAX: usize = 4 * 1024;
const CONTENT_MAX: usize = 1024 * 1024;

/// What the unit writes.
struct Replying {
    origin: Origin,
    row: RequestRow,
    reply: Uuid,
    key: NewKey,
    sealed: Vec<u8>,
}

impl App {
    /// Takes an answer that belongs to a request.
    pub(crate) async fn create_reply(
        &self,
        who: &Who,
        message: api::CreateReplyRequest,
    ) -> Result<api::CreateReplyResponse, Error> {
        check(&message)?;
        let fingerprint = publica_journal::fingerprint(&message);
        let house = self.house(&who.origin.tenant).await?;
        let channel = message.channel();
        let row = self.find_on(who, &message.request_uid, channel).await?;
        let reply = self.new_id();
        let body = callbacks::reply_body(&message.meta, &message.content);
        let sealer = house.vault.sealer(self.now()).await?;
        let (key, sealed) = sealer.seal(reply, body.into_bytes())?;
        let call = Call {
            name: "messaging.create_reply",
            origin: &who.origin,
            rpc: "/publica.messaging.v1.MessageService/CreateReply",
            request_id: Some(message.request_id),
            fingerprint,
        };
        let input = Replying {
            origin: who.origin.clone(),
            row,
            reply,
            key,
            sealed,
        };
        publica_journal::write(&house.db, call, input, |tx, input| {
            Box::pin(async move {
                let id = input.row.request_id;
                let now = tx.now();
                request::insert_reply(tx, input.reply, id, &input.sealed).await?;
                chunk::insert_key(tx, input.reply, REPLY_LANE, now, &input.key).await?;
                if input.row.callback.is_some() {
                    let job = callbacks::reply_job(id, input.reply);
                    publica_work::enqueue(tx, &input.origin, job).await?;
                }
                let entry = Entry::new("messaging.reply.received")
                    .subject("message_request", &input.row.request_uid)
                    .body(serde_json::json!({ "reply": input.reply.to_string() }));
                publica_journal::append(tx, &input.origin, entry);
                Ok::<_, Error>(api::CreateReplyResponse {
                    reply_id: input.reply.to_string(),
                })
            })
        })
        .await
    }

    /// An answer in its published shape, for as long as it can be read.
    pub(crate) async fn open_reply(
        &self,
        tenant: &Tenant,
        reply: Uuid,
    ) -> Result<Option<String>, Error> {
        let house = self.house(tenant).await?;
        let Some(sealed) = request::find_reply(&house.db, reply).await? else {
            return Ok(None);
        };
        let Some(key) = chunk::find_key(&house.db, reply).await? else {
            return Ok(None);
        };
        let plain = house.vault.open(reply, &key, &sealed).await?;
        Ok(String::from_utf8(plain.to_vec()).ok())
    }
}

fn check(message: &api::CreateReplyRequest) -> Result<(), Error> {
    let mut violations = Vec::new();
    let mut refuse = |path: &str, why: &str| {
        violations.push(Violation::new(Code::SchemaViolation, path, why));
    };
    if message.content.is_empty() {
        refuse("content", "is required");
    } else if message.content.len() > CONTENT_MAX {
        refuse("content", "is larger than 1 MiB");
    }
    if message.meta.len() > META_MAX {
        refuse("meta", "is larger than 4 KiB");
    }
    if violations.is_empty() {
        Ok(())
    } else {
        Err(Error::Unsound(violations))
    }
}
