//! Use cases: load, decide with the domain, save, journal. The only layer that opens
//! transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use prost::Message;
use publica_host::Env;
use publica_jose::{Alg, JwkSet, SigningKey};
use publica_journal::merkle::{Frontier, leaf_hash};
use publica_journal::{Call, Entry, Journal, fingerprint};
use publica_rpc::{PageToken, Peers, page_size};
use publica_seal::Keyring;
use publica_store::{Db, Gather, Stores};
use publica_types::{SharedClock, SharedEntropy, Tenant, Timestamp, new_uuid};
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use crate::config::Rules;
use crate::domain::snapshot::By;
use crate::domain::violations::Violations;
use crate::error::Error;
use crate::sealed::SEAL_KEY;
use crate::store::{self, Cursor, Page};

mod age;
mod agreements;
mod bulk;
mod chains;
mod changes;
mod decisions;
mod delegations;
mod enrolment;
mod erasure;
mod history;
mod imports;
mod individuals;
mod notices;
mod pairs;
mod people;
mod policies;
mod publication;
mod receipts;
mod record_keys;
mod records;
mod revisions;
mod revocations;
mod seals;
mod shown;
mod signing;
#[cfg(test)]
pub(crate) mod tampering;
#[cfg(test)]
mod tests;
mod texts;
mod timer;

pub(crate) use people::Who;
use revocations::News;
use texts::Texts;

/// Rows of a page when the caller does not say.
const PAGE_DEFAULT: i32 = 100;
/// Rows of a page at most.
const PAGE_MAX: i32 = 1_000;
/// The name of the key that seals revisions, receipts and decisions.
/// Without them detached signatures are refused, and people are told of nothing.
pub(crate) const PEERS: &[&str] = &[signing::PEER, notices::PEER];
/// The name of the key that seals revisions.
const SEAL_KEY_NAME: &str = "consent-seal";

/// All use cases. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

struct Inner {
    stores: Stores,
    keyring: Keyring,
    peers: Peers,
    clock: SharedClock,
    entropy: SharedEntropy,
    rules: Rules,
    journal: Journal,
    shops: RwLock<BTreeMap<Tenant, Arc<Shop>>>,
    opening: tokio::sync::Mutex<()>,
    /// Places of those who follow revocations.
    watchers: Arc<Semaphore>,
    /// Told when somebody begins to follow revocations.
    watching: Notify,
    /// Told when something comes due that the timers may not know of.
    timer: Notify,
    /// Nobody reads revocations for those who follow them any more.
    stopped: CancellationToken,
    /// Objects whose chains were found altered here, and not found whole since.
    altered: Mutex<BTreeSet<(Tenant, String)>>,
}

/// One tenant's store with what its use cases need.
pub(crate) struct Shop {
    pub(crate) db: Db,
    pub(crate) keyring: Keyring,
    /// The way to other blocks.
    pub(crate) peers: Peers,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    pub(crate) rules: Rules,
    /// Seals revisions, receipts and decisions.
    pub(crate) key: SigningKey,
    /// The public half of `key`.
    pub(crate) keys: JwkSet,
    pub(crate) lookups: Gather<store::check::Key, Vec<store::check::Row>>,
    pub(crate) policies: Gather<store::policy::Key, Option<Arc<store::policy::AsOf>>>,
    pub(crate) texts: Texts,
    /// Revocations, to all who follow them.
    news: broadcast::Sender<News>,
}

/// What a unit of work is handed: the shop, the caller and the request.
pub(crate) type Input<R> = (Arc<Shop>, Who, R);

impl App {
    /// The use cases over opened stores.
    pub(crate) fn new(stores: Stores, env: &Env, rules: Rules, journal: Journal) -> Self {
        Self(Arc::new(Inner {
            stores,
            keyring: env.keyring.clone(),
            peers: env.peers.clone(),
            clock: env.clock.clone(),
            entropy: env.entropy.clone(),
            rules,
            journal,
            shops: RwLock::new(BTreeMap::new()),
            opening: tokio::sync::Mutex::new(()),
            watchers: Arc::new(Semaphore::new(revocations::MAX_WATCHERS)),
            watching: Notify::new(),
            timer: Notify::new(),
            stopped: CancellationToken::new(),
            altered: Mutex::default(),
        }))
    }

    /// The journal of this block.
    pub(crate) fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// Places of those who follow revocations.
    fn watchers(&self) -> &Arc<Semaphore> {
        &self.0.watchers
    }

    /// Told when somebody begins to follow revocations.
    fn watching(&self) -> &Notify {
        &self.0.watching
    }

    /// Told when something comes due that the timers may not know of.
    fn timer(&self) -> &Notify {
        &self.0.timer
    }

    /// Fires once nobody reads revocations for those who follow them any more.
    fn stopped(&self) -> &CancellationToken {
        &self.0.stopped
    }

    /// The time.
    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Says at start what cannot be done with the settings at hand.
    pub(crate) fn say_what_is_missing(&self) {
        let peered = self.0.peers.is_configured(notices::PEER);
        if peered && self.0.rules.notices.sender.is_empty() {
            tracing::info!("without a sender of notices, people are told of nothing");
        }
    }

    /// The shop of a tenant, opened at first use.
    pub(crate) async fn shop(&self, tenant: &Tenant) -> Result<Arc<Shop>, Error> {
        if let Some(shop) = self.open_shop(tenant) {
            return Ok(shop);
        }
        let _one_at_a_time = self.0.opening.lock().await;
        if let Some(shop) = self.open_shop(tenant) {
            return Ok(shop);
        }
        // In a box, since every call's future would otherwise have room for it.
        let shop = Arc::new(Box::pin(self.build(tenant)).await?);
        let mut shops = self.0.shops.write().unwrap_or_else(PoisonError::into_inner);
        shops.insert(tenant.clone(), Arc::clone(&shop));
        Ok(shop)
    }

    fn open_shop(&self, tenant: &Tenant) -> Option<Arc<Shop>> {
        self.0
            .shops
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(tenant)
            .cloned()
    }

    async fn build(&self, tenant: &Tenant) -> Result<Shop, Error> {
        let inner = &self.0;
        let db = inner.stores.of(tenant).await?;
        let key = self.seal_key(&db).await?;
        let mut keys = JwkSet::default();
        keys.push(key.public_jwk().clone().with_kid(key.kid()));
        Ok(Shop {
            lookups: Gather::reads("consent.check", &db, |tx, keys| {
                store::check::look_up(tx, keys)
            }),
            policies: Gather::reads("consent.policies", &db, |tx, keys| {
                store::policy::as_of(tx, keys)
            }),
            db,
            keyring: inner.keyring.clone(),
            peers: inner.peers.clone(),
            clock: Arc::clone(&inner.clock),
            entropy: Arc::clone(&inner.entropy),
            rules: inner.rules.clone(),
            key,
            keys,
            texts: Texts::default(),
            news: revocations::channel(),
        })
    }

    /// The key that seals revisions, made when the store has none yet.
    async fn seal_key(&self, db: &Db) -> Result<SigningKey, Error> {
        if store::keys::find(db, SEAL_KEY_NAME).await?.is_none() {
            let fresh = SigningKey::generate(Alg::EdDsa, &*self.0.entropy)?;
            let pkcs8 = fresh.to_pkcs8()?;
            let sealed = self.0.keyring.seal_block(&SEAL_KEY, pkcs8.expose());
            let kept = db.write("consent.keep_key", sealed, |tx, sealed| {
                Box::pin(async move {
                    let now = tx.now();
                    store::keys::insert(tx, SEAL_KEY_NAME, sealed, now).await?;
                    Ok::<(), Error>(())
                })
            });
            kept.await?;
        }
        let sealed = store::keys::find(db, SEAL_KEY_NAME)
            .await?
            .unwrap_or_default();
        let pkcs8 = self.0.keyring.open_block(&SEAL_KEY, &sealed)?;
        Ok(SigningKey::from_pkcs8(Alg::EdDsa, &pkcs8)?)
    }
}

impl Shop {
    /// A fresh id.
    pub(crate) fn id(&self) -> String {
        new_uuid(&*self.clock, &*self.entropy).to_string()
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// How a mutation is known to the request ledger.
pub(crate) fn call<'a>(
    name: &'static str,
    rpc: &'static str,
    who: &'a Who,
    request: &impl Message,
    request_id: &str,
) -> Call<'a> {
    Call {
        name,
        origin: &who.origin,
        rpc,
        request_id: (!request_id.is_empty()).then(|| request_id.to_owned()),
        fingerprint: fingerprint(request),
    }
}

/// Who causes a revision about a person.
pub(crate) fn by<'a>(who: &'a Who, individual_id: &'a str) -> By<'a> {
    if who.is_self(individual_id) {
        By::Individual(individual_id)
    } else {
        By::Other(&who.origin.actor)
    }
}

/// An entry about one object.
pub(crate) fn entry(
    action: &'static str,
    kind: &'static str,
    id: &str,
    body: serde_json::Value,
) -> Entry {
    Entry::new(action).subject(kind, id).body(body)
}

/// What a caller asks of a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paging<'a> {
    pub(crate) size: i32,
    pub(crate) token: &'a str,
    pub(crate) skip: i32,
    pub(crate) ascending: bool,
}

impl Paging<'_> {
    /// The page, one row longer than asked, to learn whether there is a next one. Size 0 is
    /// the default, since protocol buffers cannot tell it from nothing.
    pub(crate) fn page(&self, arguments: &impl serde::Serialize) -> Result<Page, Error> {
        let limit = page_size(self.size, PAGE_DEFAULT, PAGE_MAX)?;
        if self.skip < 0 {
            return Err(Violations::one("skip", "must not be negative").into());
        }
        let after = PageToken::decode::<Cursor>(arguments, self.token)?;
        let (ascending, skip) = (self.ascending, i64::from(self.skip));
        Ok(Page {
            ascending,
            after,
            limit: limit + 1,
            skip,
        })
    }
}

/// Cuts the row too many off and says where the next page begins.
pub(crate) fn next_token<R>(
    rows: &mut Vec<R>,
    page: &Page,
    arguments: &impl serde::Serialize,
    cursor: impl Fn(&R) -> Cursor,
) -> String {
    let limit = usize::try_from(page.limit - 1).unwrap_or(0);
    if rows.len() <= limit {
        return String::new();
    }
    rows.truncate(limit);
    rows.last()
        .map(|row| PageToken::encode(arguments, &cursor(row)))
        .unwrap_or_default()
}

/// A time of a request.
pub(crate) fn time(
    field: &'static str,
    sent: Option<&prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Error> {
    let parsed = sent
        .map(|time| publica_rpc::from_timestamp(field, time))
        .transpose();
    Ok(parsed?)
}

/// The Merkle root of a chunk's items, in hex: an item's receipt is its path to it.
pub(crate) fn root(items: &[&str]) -> String {
    let mut tree = Frontier::default();
    for item in items {
        tree.push(leaf_hash(item.as_bytes()), |_, _| {});
    }
    hex::encode(tree.root())
}
