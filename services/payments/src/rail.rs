//! Rails: the way to the institutions that hold payees' accounts.
//!
//! A message has an id that follows from what it carries, so it can be asked about, and sent
//! again, under the same id after any crash. What a rail has not definitely refused may have
//! been paid.

pub(crate) mod folder;
mod outbox;
mod simulated;
mod token;

use outbox::Outbox;
use simulated::Simulated;
pub(crate) use token::Tokens;

use std::collections::BTreeMap;

use publica_host::Profile;
use publica_outbound::{Client, Limits};
use publica_seal::Keyring;
use publica_store::{BoxFuture, StoreError, Stores};
use publica_types::{Currency, Secret, Tenant, Uuid};

use crate::config::{Config, RailSettings, SIMULATED};
use crate::domain::ids::BatchId;
use crate::error::Error;

/// One payment on its way.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) end_to_end_id: Uuid,
    pub(crate) address: Secret<String>,
    pub(crate) amount_minor: i64,
}

/// Payments to the customers of one institution.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) message_id: Uuid,
    pub(crate) batch_id: BatchId,
    pub(crate) institution: String,
    pub(crate) currency: Currency,
    pub(crate) items: Vec<Item>,
}

/// What a rail says about a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    Settled,
    Rejected {
        reason_code: String,
    },
    /// It cannot say yet.
    Unknown,
}

/// What a rail says about an item that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) end_to_end_id: Uuid,
    pub(crate) amount_minor: i64,
    pub(crate) status: Status,
}

/// Why a rail did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RailError {
    /// No acknowledgement came. The message may have arrived.
    #[error("the rail did not acknowledge the message")]
    NoAnswer,
    #[error("no rail serves the institution")]
    NoRail,
    #[error("the rail's store failed")]
    Store(#[from] StoreError),
}

impl From<RailError> for Error {
    fn from(error: RailError) -> Self {
        match error {
            RailError::Store(error) => Self::Store(error),
            RailError::NoAnswer => Self::RailSilent,
            RailError::NoRail => Self::RailMissing,
        }
    }
}

/// All rails, and which of them serves whom. Where a message went is remembered, so a change of
/// settings sends nothing a second time over another rail.
pub(crate) struct Rails {
    simulated: Simulated,
    outboxes: BTreeMap<String, Outbox>,
    /// Knows the messages of all rails but the simulated one.
    memory: Outbox,
    settings: BTreeMap<String, RailSettings>,
    /// What calls rails that are called.
    clients: BTreeMap<String, Client>,
    /// Their tokens, where they want any.
    tokens: BTreeMap<String, Tokens>,
    /// Names of rails by institution.
    routes: BTreeMap<String, String>,
    default: Option<String>,
}

impl Rails {
    pub(crate) fn new(
        stores: &Stores,
        keyring: &Keyring,
        config: &Config,
        profile: Profile,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let outbox = |name: &str, rail: &RailSettings| {
            let (stores, keyring) = (stores.clone(), keyring.clone());
            Outbox::new(stores, keyring, name.to_owned(), rail.clone())
        };
        let (mut routes, mut clients) = (BTreeMap::new(), BTreeMap::new());
        let mut tokens = BTreeMap::new();
        for (name, rail) in &config.rails {
            if let Some(mobile) = &rail.mobile_money {
                let limits = Limits {
                    allow_private: mobile.allow_private,
                    timeout: mobile.timeout(),
                    user_agent: "publica-payments",
                };
                clients.insert(name.clone(), Client::new(limits)?);
                if mobile.oauth.is_some() {
                    tokens.insert(name.clone(), Tokens::default());
                }
            }
            let served = rail.institutions.iter();
            routes.extend(served.map(|institution| (institution.clone(), name.clone())));
        }
        let default = match &config.default_rail {
            Some(name) => Some(name.clone()).filter(|name| !name.is_empty()),
            // A payment that counts as made must have been made, unless somebody asked for less.
            None if profile == Profile::Production => None,
            None => config.rails.is_empty().then(|| SIMULATED.to_owned()),
        };
        if default.is_none() && routes.is_empty() {
            tracing::warn!("no rail is set up: every payment of a batch will be rejected");
        }
        let named = config.rails.iter();
        Ok(Self {
            simulated: Simulated::new(stores.clone(), config.rail.clone()),
            outboxes: named
                .map(|(name, rail)| (name.clone(), outbox(name, rail)))
                .collect(),
            memory: outbox("", &RailSettings::default()),
            settings: config.rails.clone(),
            clients,
            tokens,
            routes,
            default,
        })
    }

    fn of(&self, institution: &str) -> Option<&dyn Rail> {
        let name = self.routes.get(institution).or(self.default.as_ref())?;
        match self.outboxes.get(name) {
            Some(outbox) => Some(outbox),
            None => Some(&self.simulated),
        }
    }

    /// Whether payments to an institution can be sent.
    pub(crate) fn serves(&self, institution: &str) -> bool {
        self.of(institution).is_some()
    }

    /// What calls a rail, if it is one that is called.
    pub(crate) fn client(&self, rail: &str) -> Option<&Client> {
        self.clients.get(rail)
    }

    /// The tokens to call a rail with, if it wants any.
    pub(crate) fn tokens(&self, rail: &str) -> Option<&Tokens> {
        self.tokens.get(rail)
    }

    pub(crate) fn settings(&self) -> &BTreeMap<String, RailSettings> {
        &self.settings
    }

    pub(crate) async fn submit(&self, tenant: &Tenant, message: &Message) -> Result<(), RailError> {
        let rail = self.of(&message.institution).ok_or(RailError::NoRail)?;
        rail.submit(tenant, message).await
    }

    /// What became of a message, wherever it went.
    pub(crate) async fn query(
        &self,
        tenant: &Tenant,
        message_id: Uuid,
    ) -> Result<Option<Vec<Report>>, RailError> {
        match self.memory.query(tenant, message_id).await? {
            Some(reports) => Ok(Some(reports)),
            None => self.simulated.query(tenant, message_id).await,
        }
    }

    pub(crate) fn fee(&self, institution: &str, item_count: i64, amount_minor: i64) -> i64 {
        let rail = self.of(institution);
        rail.map_or(0, |rail| rail.fee(item_count, amount_minor))
    }

    pub(crate) async fn statement(
        &self,
        tenant: &Tenant,
        message_id: Uuid,
    ) -> Result<Vec<Report>, RailError> {
        let mut lines = self.memory.statement(tenant, message_id).await?;
        lines.extend(self.simulated.statement(tenant, message_id).await?);
        Ok(lines)
    }
}

/// A fee an item and a share of the whole.
fn fee((each_minor, per_mille): (i64, i64), item_count: i64, amount_minor: i64) -> i64 {
    let each = item_count.saturating_mul(each_minor);
    let share = i128::from(amount_minor) * i128::from(per_mille) / 1_000;
    each.saturating_add(i64::try_from(share).unwrap_or(i64::MAX))
}

/// A way to pay.
trait Rail: Send + Sync {
    /// Hands over a message. A message that the rail has already has no second effect.
    fn submit<'a>(
        &'a self,
        tenant: &'a Tenant,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), RailError>>;

    /// What became of a message, in the order of its items; `None` if it never arrived.
    fn query<'a>(
        &'a self,
        tenant: &'a Tenant,
        message_id: Uuid,
    ) -> BoxFuture<'a, Result<Option<Vec<Report>>, RailError>>;

    /// What so many payments of so much together cost, in minor units.
    fn fee(&self, item_count: i64, amount_minor: i64) -> i64;

    /// What the institution's statement shows for a message: settled payments only.
    fn statement<'a>(
        &'a self,
        tenant: &'a Tenant,
        message_id: Uuid,
    ) -> BoxFuture<'a, Result<Vec<Report>, RailError>>;
}
