//! Asking for consent, with answers that may be kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::consent_service_client::ConsentServiceClient;
use publica_rpc::{Link, from_timestamp, outgoing};
use publica_types::{Origin, SharedClock, Tenant, Timestamp};
use tonic::Status;

use crate::shelf::Shelf;

/// Revocations in one answer.
const PAGE: i32 = 1_000;
/// Answers in a row after which everything is forgotten instead of reading on.
const MAX_PAGES: usize = 20;

/// Settings of a gate.
#[derive(Debug, Clone, Default)]
pub struct GateConfig {
    /// The consumer in whose name the service asks; the service itself, if empty.
    pub consumer: String,
    /// For how long a positive answer may be kept at most. Zero keeps nothing: each use is
    /// decided and journalled by the consent block. Uses of a kept answer rest on its decision.
    pub keep_for: Duration,
}

/// A use of personal data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Use {
    /// Whose data, by the consent block's id.
    pub individual_id: String,
    /// The agreement to judge by; empty to find one by purpose.
    pub data_agreement_id: String,
    /// What for; may be empty when the agreement is named.
    pub purpose: String,
    /// Which attributes; none asks about the agreement as a whole.
    pub attributes: Vec<String>,
    /// How data is going to be used.
    pub access_mode: pb::AccessMode,
    /// Only a completely signed answer will do.
    pub require_signature: bool,
    /// Some of the attributes will do.
    pub allow_partial: bool,
}

/// A use that is allowed now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permit {
    /// The person.
    pub individual_id: String,
    /// The record that allows it; empty when another basis than consent does.
    pub consent_record_id: String,
    /// The agreement that allows it.
    pub data_agreement_id: String,
    /// Attributes that may be used.
    pub granted: Vec<String>,
    /// Attributes that were asked for and may not.
    pub denied: Vec<String>,
    /// The decision, as the consent block's journal knows it.
    pub decision_id: String,
    /// What the service owes.
    pub obligations: Option<pb::Obligations>,
}

/// Why a use is not allowed.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The consent block said no.
    #[error("the use is not allowed")]
    Denied {
        /// Why.
        reasons: Vec<pb::DecisionReason>,
        /// The decision, as the consent block's journal knows it.
        decision_id: String,
    },
    /// The consent block could not be asked, so nothing is allowed.
    #[error("the consent block could not be asked")]
    Unknown(#[source] Status),
}

/// Asks the consent block. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    consent: Box<dyn Fn() -> Link + Send + Sync>,
    clock: SharedClock,
    config: GateConfig,
    shelves: Mutex<HashMap<Tenant, Arc<Place>>>,
}

/// What is kept for one tenant, and how far its revocations were read.
#[derive(Default)]
struct Place {
    shelf: Mutex<Shelf>,
    /// Where the record of revocations was read to; empty before the first reading.
    cursor: tokio::sync::Mutex<String>,
    /// Uses that have arrived.
    arrived: AtomicU64,
    /// Uses that arrived before the last reading began.
    covered: AtomicU64,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate that reaches the consent block by `consent`.
    pub fn new(
        consent: impl Fn() -> Link + Send + Sync + 'static,
        clock: SharedClock,
        config: GateConfig,
    ) -> Self {
        Self(Arc::new(Inner {
            consent: Box::new(consent),
            clock,
            config,
            shelves: Mutex::default(),
        }))
    }

    /// Whether the use is allowed now. A use that begins after a withdrawal was acknowledged is
    /// refused, whether or not an answer was kept.
    pub async fn check(&self, origin: &Origin, wanted: Use) -> Result<Permit, GateError> {
        if self.0.config.keep_for.is_zero() {
            let answer = self.ask(origin, &wanted).await?;
            return Self::judge(&answer);
        }
        let place = self.place(&origin.tenant);
        if let Err(status) = self.catch_up(origin, &place).await {
            // What cannot be confirmed is not used.
            lock(&place.shelf).forget();
            return Err(GateError::Unknown(status));
        }
        let (kept, age) = {
            let shelf = lock(&place.shelf);
            (shelf.find(&wanted, self.0.clock.now()), shelf.age())
        };
        if let Some(permit) = kept {
            return Ok(permit);
        }
        let answer = self.ask(origin, &wanted).await?;
        let permit = Self::judge(&answer)?;
        if let Some(until) = self.keep_until(&answer) {
            lock(&place.shelf).keep(wanted, permit.clone(), until, age);
        }
        Ok(permit)
    }

    fn place(&self, tenant: &Tenant) -> Arc<Place> {
        let mut shelves = lock(&self.0.shelves);
        Arc::clone(shelves.entry(tenant.clone()).or_default())
    }

    /// Asks the consent block.
    async fn ask(
        &self,
        origin: &Origin,
        wanted: &Use,
    ) -> Result<pb::CheckConsentResponse, GateError> {
        let person = pb::person_reference::Person::IndividualId(wanted.individual_id.clone());
        let request = pb::CheckConsentRequest {
            person: Some(pb::PersonReference {
                person: Some(person),
            }),
            consumer: self.0.config.consumer.clone(),
            purpose: wanted.purpose.clone(),
            data_agreement_id: wanted.data_agreement_id.clone(),
            attributes: wanted.attributes.clone(),
            access_mode: wanted.access_mode.into(),
            require_signature: wanted.require_signature,
            allow_partial: wanted.allow_partial,
            ..pb::CheckConsentRequest::default()
        };
        let mut client = ConsentServiceClient::new((self.0.consent)());
        let answer = client.check_consent(outgoing(origin, request)).await;
        Ok(answer.map_err(GateError::Unknown)?.into_inner())
    }

    fn judge(answer: &pb::CheckConsentResponse) -> Result<Permit, GateError> {
        if !answer.allowed {
            return Err(GateError::Denied {
                reasons: answer.reasons().collect(),
                decision_id: answer.decision_id.clone(),
            });
        }
        Ok(Permit {
            individual_id: answer.individual_id.clone(),
            consent_record_id: answer.consent_record_id.clone(),
            data_agreement_id: answer.data_agreement_id.clone(),
            granted: answer.granted_attributes.clone(),
            denied: answer.denied_attributes.clone(),
            decision_id: answer.decision_id.clone(),
            obligations: answer.obligations,
        })
    }

    /// Until when a positive answer may be kept: not at all where uses are counted, and never
    /// beyond its own end.
    fn keep_until(&self, answer: &pb::CheckConsentResponse) -> Option<Timestamp> {
        let counted = answer
            .obligations
            .is_some_and(|one| one.uses_left.is_some());
        if counted || answer.individual_id.is_empty() {
            return None;
        }
        let limit = self.0.clock.now().plus(self.0.config.keep_for);
        match &answer.valid_until_time {
            None => Some(limit),
            Some(end) => {
                let end = from_timestamp("valid_until_time", end).ok()?;
                Some(end.min(limit))
            }
        }
    }

    /// Reads what was revoked up to now. Uses that arrive while one reading is under way share
    /// the next: a reading covers those uses alone that arrived before it began.
    async fn catch_up(&self, origin: &Origin, place: &Place) -> Result<(), Status> {
        let ticket = place.arrived.fetch_add(1, Ordering::SeqCst) + 1;
        let mut cursor = place.cursor.lock().await;
        if place.covered.load(Ordering::SeqCst) >= ticket {
            return Ok(());
        }
        let covers = place.arrived.load(Ordering::SeqCst);
        let mut client = ConsentServiceClient::new((self.0.consent)());
        for _ in 0..MAX_PAGES {
            let request = pb::ListRevocationsRequest {
                cursor: cursor.clone(),
                page_size: PAGE,
            };
            let answer = client.list_revocations(outgoing(origin, request)).await;
            let answer = match answer {
                Ok(answer) => answer.into_inner(),
                Err(status) => {
                    // The next reading starts afresh, with nothing kept.
                    cursor.clear();
                    lock(&place.shelf).forget();
                    return Err(status);
                }
            };
            if cursor.is_empty() {
                // Nothing was read before, so nothing older may have been kept either.
                lock(&place.shelf).forget();
            }
            lock(&place.shelf).revoke(&answer.revocations);
            *cursor = answer.cursor;
            if !answer.more {
                place.covered.store(covers, Ordering::SeqCst);
                return Ok(());
            }
        }
        tracing::info!("too much was revoked to be told apart; all kept answers are forgotten");
        lock(&place.shelf).forget();
        cursor.clear();
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
