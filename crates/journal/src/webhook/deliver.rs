//! Delivering one entry to one target.

use std::time::Duration;

use publica_jose::{JoseError, JweAlg, JweEnc, Jwk, Protected, Sealing, encrypt};
use publica_outbound::{Call, Client, Limits, Method, Sent, check_url, legacy_signature};
use publica_proto::journal::v1 as proto;
use publica_proto::journal::v1::delivery::State;
use publica_store::StoreError;
use publica_types::{Entropy, Timestamp};
use publica_work::{Backoff, Claimed, Handler, Outcome, Policy};
use reqwest::Url;
use serde_json::json;

use super::event::{Source, cloud_event};
use super::relay::Delivery;
use crate::entry::{Entry, EntryRow};
use crate::error::JournalError;
use crate::journal::Journal;
use crate::sealed::WEBHOOK;
use crate::store::deliveries::{self, DeliveryRow};
use crate::store::entries::{self, Filter};
use crate::store::webhooks::{self as sql, WebhookRow};
use crate::tail::append;

const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";
const ENCRYPTED: &str = "application/jose";
const FORM: &str = "application/x-www-form-urlencoded";

/// An event, readable for the holder of a key alone.
pub(crate) fn encrypted(
    jwk: &str,
    event: &[u8],
    entropy: &dyn Entropy,
) -> Result<String, JoseError> {
    let key = Jwk::from_json(jwk.as_bytes())?;
    let alg = match key.kty() {
        "RSA" => JweAlg::RsaOaep256,
        _ => JweAlg::EcdhEsA256Kw,
    };
    let header = Protected::new().typ("cloudevents+jwe");
    encrypt(
        Sealing::To(&key, alg),
        JweEnc::A256Gcm,
        header,
        event,
        entropy,
    )
}

/// Delivers webhooks.
#[derive(Debug)]
pub(crate) struct Deliverer {
    journal: Journal,
    client: Client,
}

impl Deliverer {
    /// A deliverer with its own connections; they never follow a redirect.
    pub(crate) fn new(journal: Journal) -> Result<Self, reqwest::Error> {
        let config = &journal.config().webhooks;
        let client = Client::new(Limits {
            allow_private: config.allow_private,
            timeout: Duration::from_millis(config.timeout_ms),
            user_agent: "publica-webhooks",
        })?;
        Ok(Self { journal, client })
    }

    /// How deliveries are tried.
    pub(crate) fn policy(&self) -> Policy {
        let config = &self.journal.config().webhooks;
        Policy {
            concurrency: config.concurrency,
            lease: Duration::from_millis(config.timeout_ms) * 3,
            // What ends it is time, not the number of attempts.
            attempts: i64::MAX,
            backoff: Backoff::default(),
        }
    }

    async fn attempt(&self, job: &Claimed) -> Result<Outcome, JournalError> {
        let Ok(delivery) = serde_json::from_slice::<Delivery>(&job.payload) else {
            return Ok(Outcome::dead("the delivery is malformed"));
        };
        let row = sql::find(&job.db, delivery.webhook_id).await?;
        let Some(row) = row.filter(|row| !row.disabled) else {
            return Ok(Outcome::Done);
        };
        let at = delivery.position;
        let placed = entries::list(&job.db, &Filter::default(), at, at + 1, 1).await?;
        let Some(entry) = placed.into_iter().next().and_then(|placed| placed.entry) else {
            return Ok(Outcome::dead("the entry is gone"));
        };
        let source = Source {
            log_name: &self.journal.config().log_name,
            block: self.journal.block(),
            tenant: job.db.tenant().as_str(),
        };
        let body = cloud_event(&source, at, &entry).to_string();
        let allow_private = self.journal.config().webhooks.allow_private;
        let outcome = match check_url(&row.url, allow_private) {
            Ok(url) => {
                let sent = self.client.send(self.call(&row, url, &entry, body)?).await;
                if matches!(sent, Sent::Gone) {
                    self.switch_off(job, &row).await?;
                }
                let give_up = self.journal.config().webhooks.give_up_hours;
                sent.outcome(job.created, self.journal.clock().now(), give_up)
            }
            Err(reason) => Outcome::dead(format!("the target {reason}")),
        };
        // That it cannot be remembered must not make it happen again.
        if let Err(error) = self.remember(job, &row, &entry, &outcome).await {
            tracing::warn!(block = self.journal.block(), %error, "a delivery was not remembered");
        }
        Ok(outcome)
    }

    /// The call that delivers an entry.
    fn call(
        &self,
        row: &WebhookRow,
        url: Url,
        entry: &EntryRow,
        event: String,
    ) -> Result<Call, JournalError> {
        let now = self.journal.clock().now();
        let secrets = self.secrets(row, now)?;
        let (plain_type, event) = match row.encryption_jwk.as_str() {
            "" => (CONTENT_TYPE, event),
            key => {
                let entropy = &**self.journal.entropy();
                let event = encrypted(key, event.as_bytes(), entropy);
                let event = event.map_err(|error| JournalError::Key {
                    reason: error.to_string(),
                })?;
                (ENCRYPTED, event)
            }
        };
        let form = row.content_type == i64::from(proto::ContentType::Form as i32);
        let (content_type, body) = if form {
            let mut form = form_urlencoded::Serializer::new(String::new());
            (FORM, form.append_pair("payload", &event).finish())
        } else {
            (plain_type, event)
        };
        let body = body.into_bytes();
        let mut headers = Vec::new();
        if let Some(secret) = secrets.first().filter(|_| row.legacy_signature) {
            let signed = legacy_signature(secret, now.seconds(), &body);
            headers.push(("x-igrant-signature", signed));
        }
        Ok(Call {
            method: Method::POST,
            url,
            id: entry.entry_id.to_string(),
            now,
            secrets,
            headers,
            content_type,
            body,
        })
    }

    /// Switches off a subscription whose target is gone for good, as Standard Webhooks asks.
    async fn switch_off(&self, job: &Claimed, row: &WebhookRow) -> Result<(), StoreError> {
        tracing::warn!(
            block = self.journal.block(),
            webhook = %row.webhook_id,
            "a target is gone for good, so its webhook was switched off"
        );
        let input = (job.origin.clone(), row.webhook_id);
        let off = job
            .db
            .write("journal.webhook_gone", input, |tx, (origin, id)| {
                Box::pin(async move {
                    if sql::disable(tx, *id).await? {
                        let entry = Entry::new("journal.webhook.disabled").subject("webhook", id);
                        append(
                            tx,
                            origin,
                            entry.body(json!({"reason": "the target answered 410"})),
                        );
                    }
                    Ok(())
                })
            });
        off.await
    }

    /// Keeps what an attempt came to.
    async fn remember(
        &self,
        job: &Claimed,
        row: &WebhookRow,
        entry: &EntryRow,
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        let (state, reason) = match outcome {
            Outcome::Done => (State::Delivered, ""),
            Outcome::Retry { reason, .. } => (State::Retrying, reason.as_str()),
            Outcome::Again { .. } => (State::Retrying, ""),
            Outcome::Dead { reason } => (State::GivenUp, reason.as_str()),
        };
        let now = self.journal.clock().now();
        let tried = DeliveryRow {
            webhook_id: row.webhook_id,
            entry_id: entry.entry_id,
            delivery_id: job.id(),
            action: entry.action.clone(),
            state: i64::from(state as i32),
            attempts: job.attempt,
            reason: reason.to_owned(),
            first_time: now,
            last_time: now,
        };
        let kept = job.db.write("journal.delivery", tried, |tx, tried| {
            Box::pin(async move { deliveries::tried(tx, tried).await })
        });
        kept.await
    }

    fn secrets(&self, row: &WebhookRow, now: Timestamp) -> Result<Vec<Vec<u8>>, JournalError> {
        let open = |sealed: &[u8]| {
            self.journal
                .keyring()
                .open_block(&WEBHOOK, sealed)
                .map_err(|error| JournalError::Key {
                    reason: error.to_string(),
                })
        };
        let mut secrets = vec![open(&row.sealed_secret)?];
        if let Some(old) = &row.sealed_old_secret
            && row.old_secret_until.is_some_and(|until| until > now)
        {
            secrets.push(open(old)?);
        }
        Ok(secrets)
    }
}

impl Handler for Deliverer {
    async fn run(&self, job: Claimed) -> Outcome {
        let outcome = self.attempt(&job).await.unwrap_or_else(|error| {
            tracing::warn!(block = self.journal.block(), %error, "a webhook was not delivered");
            Outcome::retry("it could not be prepared")
        });
        let name = match &outcome {
            Outcome::Done => "done",
            Outcome::Dead { .. } => "dead",
            Outcome::Retry { .. } | Outcome::Again { .. } => "retry",
        };
        let block = self.journal.block();
        metrics::counter!("publica_journal_webhooks_total", "block" => block, "outcome" => name)
            .increment(1);
        outcome
    }
}
