//! One connection to the next hop: takes recipients, sends, and waits for durable outcomes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::handover::Handover;
use super::lanes::Item;
use super::outcome::{Outcome, reconnect_pause};
use super::{Health, Shared};
use crate::domain::compose::{Letter, compose};
use crate::domain::counters::State;
use crate::domain::dkim::Key;
use crate::domain::envelope::Common;
use crate::domain::member::Member;
use crate::domain::uid;
use crate::smtp::{Body, Connection, Head, Transaction};

/// A message that is ready to go.
struct Ready {
    message: Vec<u8>,
    envelope_id: String,
    from: String,
    recipients: Vec<String>,
    utf8: bool,
}

/// What to do with an item after an attempt.
enum Next {
    Report(Box<Outcome>),
    /// Nothing was sent; the item goes back.
    PutBack,
    /// Somebody else has the item.
    Drop,
}

/// An outcome to report.
fn report(outcome: Outcome) -> Next {
    Next::Report(Box::new(outcome))
}

struct Sender {
    shared: Arc<Shared>,
    connection: Option<Connection>,
    handover: Handover,
    failures: u32,
}

/// Sends until it is stopped. The message in hand is finished first.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let idle = shared.setup.idle;
    let mut sender = Sender {
        handover: Handover::new(Arc::clone(&shared)),
        shared,
        connection: None,
        failures: 0,
    };
    loop {
        let shared = Arc::clone(&sender.shared);
        let item = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            item = shared.take() => item,
            () = tokio::time::sleep(idle), if sender.connection.is_some() => {
                sender.close().await;
                continue;
            }
        };
        sender.handle(item, &stop).await;
    }
    sender.handover.settle().await;
    sender.close().await;
}

impl Sender {
    async fn handle(&mut self, item: Item, stop: &CancellationToken) {
        let Some(item) = self.handover.admit(item).await else {
            return;
        };
        let ready = match self.prepare(&item).await {
            Ok(ready) => ready,
            Err(reason) => return self.handover.end(&item, reason).await,
        };
        let Some(item) = self.handover.alive(item, stop).await else {
            return;
        };
        if !self.connect(stop).await {
            self.shared.lanes.push_front(item);
            return;
        }
        match self.send(&item, &ready).await {
            Next::Report(outcome) => {
                if outcome.state == State::Delivered {
                    self.shared.sent.fetch_add(1, Ordering::Relaxed);
                }
                self.handover.sent(&item, *outcome).await;
            }
            Next::PutBack => self.handover.put_back(item).await,
            Next::Drop => {}
        }
    }

    /// Renders, writes and signs.
    async fn prepare(&self, item: &Item) -> Result<Ready, &'static str> {
        let (request, member) = (&item.chunk.request, item.member());
        let recipients: Vec<String> = member.pending().into_iter().map(str::to_owned).collect();
        let from = request.from.as_ref().ok_or("sender_unusable")?;
        if recipients.is_empty() {
            return Err("no_recipient_left");
        }
        let (rendered, charset) = request.render(member).map_err(|error| error.reason())?;
        let message_id = uid::message_id(item.chunk.root_id, member.pos);
        let id_with_domain = format!("{message_id}@{}", from.domain());
        let unsubscribe = self.way_out(&request.common, member, &recipients);
        let letter = Letter {
            from,
            from_name: &request.common.from_name,
            organisation: &request.common.organisation,
            reply_to: request.reply_to.as_ref(),
            to: &member.to,
            to_name: &member.name,
            cc: &member.cc,
            subject: &rendered.subject,
            text: &rendered.text,
            html: &rendered.html,
            charset,
            message_id: &id_with_domain,
            feedback_id: &request.request_uid,
            unsubscribe: &unsubscribe,
            date: self.shared.now(),
        };
        let message = compose(&letter).map_err(|_| "content_unusable")?;
        let message = self
            .sign(message, from.domain())
            .await
            .ok_or("signature_failed")?;
        let return_path = match &self.shared.setup.bounce_domain {
            Some(domain) => {
                let check = self.shared.vault.bounce_check(&message_id);
                format!("b+{message_id}-{check}@{domain}")
            }
            None => from.to_string(),
        };
        let utf8 = !return_path.is_ascii() || recipients.iter().any(|one| !one.is_ascii());
        Ok(Ready {
            message,
            envelope_id: message_id,
            from: return_path,
            recipients,
            utf8,
        })
    }

    /// Where the recipient can end messages of this category. Nobody is taken off by a copy
    /// that somebody else got, so an entry with several addresses has no such link, and neither
    /// has what opting out does not stop.
    fn way_out(&self, common: &Common, member: &Member, recipients: &[String]) -> String {
        let alone = member.to.len() == 1 && member.cc.is_empty() && recipients.len() == 1;
        match (&self.shared.setup.unsubscribe_url, recipients) {
            (Some(url), [one]) if alone && !common.mandatory => {
                let token = self.shared.vault.unsubscribe_token(one, &common.category);
                format!("{url}/{token}")
            }
            _ => String::new(),
        }
    }

    /// The message with a signature of each key of its sender's domain.
    async fn sign(&self, message: Vec<u8>, domain: &str) -> Option<Vec<u8>> {
        let now = self.shared.now().micros().div_euclid(1_000_000);
        let mut head = String::new();
        let mut message = message;
        for signer in self
            .shared
            .setup
            .signers
            .iter()
            .filter(|one| one.domain == domain)
        {
            match signer.key {
                Key::Ed25519(_) => head.push_str(&signer.header(&message, now)?),
                Key::Rsa(_) => {
                    // A millisecond of arithmetic would hold up everybody else on this thread.
                    let signer = Arc::clone(signer);
                    let work = tokio::task::spawn_blocking(move || {
                        let header = signer.header(&message, now);
                        (message, header)
                    });
                    let (back, header) = work.await.ok()?;
                    message = back;
                    head.push_str(&header?);
                }
            }
        }
        if head.is_empty() {
            return Some(message);
        }
        let mut signed = Vec::with_capacity(head.len() + message.len());
        signed.extend_from_slice(head.as_bytes());
        signed.extend_from_slice(&message);
        Some(signed)
    }

    /// Makes sure that there is a connection; false when the hop cannot be reached.
    async fn connect(&mut self, stop: &CancellationToken) -> bool {
        if self.connection.as_ref().is_some_and(Connection::is_usable) {
            return true;
        }
        self.close().await;
        let shared = Arc::clone(&self.shared);
        for hop in &shared.setup.hops {
            match hop.open().await {
                Ok(connection) => {
                    self.connection = Some(connection);
                    self.failures = 0;
                    shared.set_health(Health::Up);
                    return true;
                }
                Err(error) => tracing::warn!(relay = ?hop, %error, "no connection to a relay"),
            }
        }
        self.failures += 1;
        shared.set_health(Health::Down);
        let pause = tokio::time::sleep(reconnect_pause(self.failures));
        stop.run_until_cancelled(pause).await;
        false
    }

    async fn send(&mut self, item: &Item, ready: &Ready) -> Next {
        let attempt = self.handover.attempt(item);
        let Some(connection) = self.connection.as_mut() else {
            return Next::PutBack;
        };
        if ready.utf8 && !connection.capabilities.smtputf8 {
            return report(Outcome::unsent(item.member(), "address_needs_smtputf8"));
        }
        if connection
            .capabilities
            .size
            .is_some_and(|size| ready.message.len() > size)
        {
            return report(Outcome::unsent(item.member(), "message_too_large"));
        }
        let recipients: Vec<&str> = ready.recipients.iter().map(String::as_str).collect();
        let transaction = Transaction {
            from: &ready.from,
            recipients: &recipients,
            size: ready.message.len(),
            envelope_id: &ready.envelope_id,
            utf8: ready.utf8,
        };
        let member = item.member().clone();
        let with_answers =
            |replies: Vec<_>| -> Vec<_> { ready.recipients.iter().cloned().zip(replies).collect() };
        let answers = match connection.head(&transaction).await {
            Head::Lost => return Next::PutBack,
            Head::Refused(reply) => {
                return report(Outcome::refused(member, reply, &attempt));
            }
            Head::NoRecipient(replies) => {
                let answers = with_answers(replies);
                return report(Outcome::answered(member, &answers, None, &attempt));
            }
            Head::Ready(replies) => with_answers(replies),
        };
        // The one rule of this engine: no dot before the previous outcome is durable.
        self.handover.settle().await;
        if item.chunk.is_fenced() {
            self.connection = None;
            return Next::Drop;
        }
        if !self.shared.liveness.is_alive() {
            self.connection = None;
            return Next::PutBack;
        }
        let Some(connection) = self.connection.as_mut() else {
            return Next::PutBack;
        };
        match connection.body(&ready.message).await {
            Body::Answered(reply) => {
                report(Outcome::answered(member, &answers, Some(reply), &attempt))
            }
            Body::Lost => Next::PutBack,
            Body::Unknown => report(Outcome::unknown(member, &attempt)),
        }
    }

    async fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = tokio::time::timeout(Duration::from_secs(2), connection.quit()).await;
        }
    }
}
