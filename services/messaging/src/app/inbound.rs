//! What comes back: reports correct counters and hold addresses back, answers go to originators.

use publica_journal::{Call, Entry};
use publica_proto::messaging::v1 as api;
use publica_store::{StoreError, Tx};
use publica_types::{Origin, Uuid};
use serde_json::json;

use super::{App, House, Who};
use crate::callbacks;
use crate::domain::address::Mailbox;
use crate::domain::counters::State;
use crate::domain::envelope::{Code, Violation};
use crate::domain::inbound::{self, Action, Fate, Inbound, ReturnPath};
use crate::engine::dead_address;
use crate::error::Error;
use crate::store::inbound::{self as store, Correction};
use crate::store::request::{self, RequestRow};
use crate::store::suppression::SuppressionRow;
use crate::store::{RequestId, SessionId, report, suppression};

const MAIL_MAX: usize = 1024 * 1024;
/// Reports of one message and attempt that are kept; the rest is noise.
const REPORTS_MAX: i64 = 20;
/// A correction that met another one is tried again.
const TRIES: u32 = 5;
/// A complaint; the number is stored.
const COMPLAINT: i64 = 2;

/// What the unit writes.
struct Correcting {
    origin: Origin,
    row: RequestRow,
    path: ReturnPath,
    fates: Vec<Fate>,
    suppressions: Vec<SuppressionRow>,
    kind: api::MailKind,
}

impl Correcting {
    async fn write(&self, tx: &mut Tx<'_>) -> Result<api::ReceiveMailResponse, Error> {
        for fate in &self.fates {
            self.correct(tx, fate).await?;
        }
        for row in &self.suppressions {
            suppression::insert(tx, row).await?;
        }
        Ok(api::ReceiveMailResponse {
            kind: self.kind.into(),
        })
    }

    async fn correct(&self, tx: &mut Tx<'_>, fate: &Fate) -> Result<(), Error> {
        let (root, pos) = (self.path.root, self.path.pos);
        let Some(after) = store::last_event(tx, root, pos).await? else {
            return Ok(());
        };
        let Some(from) = State::from_number(after.state) else {
            return Ok(());
        };
        let Some((to, reason)) = correction(from, fate) else {
            return Ok(());
        };
        if after.seq >= REPORTS_MAX {
            return Ok(());
        }
        let event = Correction {
            root,
            pos,
            after,
            state: to.number(),
            code: 0,
            reason,
            at: tx.now(),
        };
        store::add_event(tx, &event).await?;
        if from == to {
            return Ok(());
        }
        let id = self.row.request_id;
        let session = corrections(id);
        let (step, mut changes) = store::last_tally(tx, id, session).await?;
        changes.shift(from, to, 1);
        report::tally(tx, id, SessionId::from_uuid(session), step + 1, &changes).await?;
        let entry = Entry::new("messaging.delivery.corrected")
            .subject("message_request", &self.row.request_uid)
            .body(json!({ "from": from.name(), "to": to.name(), "reason": reason }));
        publica_journal::append(tx, &self.origin, entry);
        if self.row.callback.is_some() {
            callbacks::enqueue_change(tx, id, &self.origin).await?;
        }
        Ok(())
    }
}

impl App {
    /// Takes in one mail that was sent to a return path.
    pub(crate) async fn receive_mail(
        &self,
        who: &Who,
        message: api::ReceiveMailRequest,
    ) -> Result<api::ReceiveMailResponse, Error> {
        let size = message.message.len();
        if size == 0 || size > MAIL_MAX {
            let why = "must have 1 byte to 1 MiB";
            return Err(Error::Unsound(vec![Violation::new(
                Code::SchemaViolation,
                "message",
                why,
            )]));
        }
        let house = self.house(&who.origin.tenant).await?;
        let kind = |kind: api::MailKind| Ok(api::ReceiveMailResponse { kind: kind.into() });
        let Some((path, row)) = self.owner(&house, &message.recipient).await? else {
            metrics::counter!("publica_messaging_unknown_return_paths_total").increment(1);
            return kind(api::MailKind::Unknown);
        };
        match inbound::read(&message.message) {
            None => kind(api::MailKind::Unknown),
            Some(Inbound::Automatic) => kind(api::MailKind::Automatic),
            Some(Inbound::Reply) => {
                let reply = api::CreateReplyRequest {
                    request_uid: row.request_uid,
                    meta: "message/rfc822".to_owned(),
                    content: message.message,
                    request_id: message.request_id,
                    ..api::CreateReplyRequest::default()
                };
                self.create_reply(who, reply).await?;
                kind(api::MailKind::Reply)
            }
            Some(Inbound::Complaint(addresses)) => {
                let rows = self.held_back(&house, &addresses, Some(COMPLAINT));
                let kind = api::MailKind::Complaint;
                self.apply(who, &house, message, (path, row, Vec::new(), rows, kind))
                    .await
            }
            Some(Inbound::Report(fates)) => {
                let dead: Vec<String> = fates
                    .iter()
                    .filter(|fate| fate.action == Action::Failed && fate.reply().is_hard_bounce())
                    .map(|fate| fate.recipient.clone())
                    .collect();
                let rows = self.held_back(&house, &dead, None);
                let kind = api::MailKind::DeliveryReport;
                self.apply(who, &house, message, (path, row, fates, rows, kind))
                    .await
            }
        }
    }

    /// The request whose message carried a return path, if the path is not forged.
    async fn owner(
        &self,
        house: &House,
        recipient: &str,
    ) -> Result<Option<(ReturnPath, RequestRow)>, Error> {
        let Some(path) = ReturnPath::parse(recipient) else {
            return Ok(None);
        };
        if !house.vault.is_bounce_check(&path.message_id, &path.check) {
            return Ok(None);
        }
        let Some(id) = store::owner(&house.db, path.root).await? else {
            return Ok(None);
        };
        Ok(request::find(&house.db, id).await?.map(|row| (path, row)))
    }

    /// Suppressions for addresses that a mail names; what is no address is left out.
    fn held_back(
        &self,
        house: &House,
        addresses: &[String],
        reason: Option<i64>,
    ) -> Vec<SuppressionRow> {
        let sound = addresses
            .iter()
            .filter_map(|address| Mailbox::parse(address).ok());
        let rows = sound.map(|mailbox| {
            let hash = house.vault.address_hash(mailbox.as_str());
            let mut row = dead_address(self.new_id(), hash, self.now());
            if let Some(reason) = reason {
                row.reason = reason;
                row.expires_at = None;
            }
            row
        });
        rows.collect()
    }

    async fn apply(
        &self,
        who: &Who,
        house: &House,
        message: api::ReceiveMailRequest,
        (path, row, fates, suppressions, kind): (
            ReturnPath,
            RequestRow,
            Vec<Fate>,
            Vec<SuppressionRow>,
            api::MailKind,
        ),
    ) -> Result<api::ReceiveMailResponse, Error> {
        let fingerprint = publica_journal::fingerprint(&message);
        let mut tries = 0;
        loop {
            let call = Call {
                name: "messaging.receive_mail",
                origin: &who.origin,
                rpc: "/publica.messaging.v1.InboundService/ReceiveMail",
                request_id: Some(message.request_id.clone()),
                fingerprint,
            };
            let input = Correcting {
                origin: who.origin.clone(),
                row: row.clone(),
                path: path.clone(),
                fates: fates.clone(),
                suppressions: suppressions.clone(),
                kind,
            };
            let write = publica_journal::write(&house.db, call, input, |tx, input| {
                Box::pin(input.write(tx))
            });
            match write.await {
                Err(Error::Store(StoreError::UniqueViolation { .. })) if tries < TRIES => {
                    tries += 1;
                }
                done => return done,
            }
        }
    }
}

/// Corrections count as a session of their own, for each request.
fn corrections(request: RequestId) -> Uuid {
    Uuid::from_u128(request.as_uuid().as_u128() ^ u128::MAX)
}

/// Where a report leads from where a message stands.
fn correction(from: State, fate: &Fate) -> Option<(State, &'static str)> {
    match (from, fate.action) {
        (State::Delivered, Action::Failed) => Some((State::Bounced, fate.reply().reason())),
        (State::Bounced, Action::Delivered) => Some((State::Delivered, "delivered_after_all")),
        (State::Delivered, Action::Delivered) => Some((State::Delivered, "confirmed")),
        (State::Delivered, Action::Delayed) => Some((State::Delivered, "delayed_on_the_way")),
        _ => None,
    }
}
