//! Use cases: load, decide with the domain, save, append to the journal.

mod accept;
mod batch;
mod channels;
mod imports;
mod inbound;
mod operations;
mod replies;
mod reports;
mod sms;
mod status;
mod suppressions;
mod templates;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use publica_auth::Caller;
use publica_journal::Journal;
use publica_seal::Keyring;
use publica_store::{Db, Stores};
use publica_types::{Origin, SharedClock, SharedEntropy, Tenant, Timestamp, Uuid, new_uuid};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::callbacks::Rules;
use crate::config::{MessagingConfig, SenderConfig, SigningConfig};
use crate::domain::address::ascii_domain;
use crate::domain::dkim::{Key, Signer};
use crate::domain::envelope::{Channel, Checked};
use crate::domain::uid;
use crate::engine::{CentreLine, Engine, ProviderLine, Setup};
use crate::error::Error;
use crate::sealed::SIGNING_KEY;
use crate::smtp::Hop;
use crate::store::template as keys;
use crate::vault::Vault;

pub(crate) use batch::Batch;

/// A day in microseconds.
const DAY: i64 = 86_400_000_000;
/// The longest to wait for the stores to close.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// What an [`App`] is made of.
pub(crate) struct Parts {
    pub(crate) stores: Stores,
    pub(crate) keyring: Keyring,
    pub(crate) journal: Journal,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    pub(crate) config: MessagingConfig,
    pub(crate) rules: Rules,
    pub(crate) hops: Vec<Arc<Hop>>,
    pub(crate) centres: Vec<CentreLine>,
    pub(crate) providers: Vec<ProviderLine>,
}

/// The use cases of this block. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    tenants: tokio::sync::Mutex<HashMap<Tenant, Arc<House>>>,
    quota: Mutex<HashMap<String, (i64, u64)>>,
}

/// What belongs to one tenant.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) db: Db,
    pub(crate) vault: Vault,
    /// Delivers e-mail, and looks after what all channels have in common.
    pub(crate) engine: Engine,
    /// Delivers short messages.
    pub(crate) sms: Engine,
}

impl House {
    /// Has all engines learn which requests are held up.
    pub(crate) async fn refresh_pauses(&self) -> Result<(), Error> {
        self.engine.refresh_pauses().await?;
        self.sms.refresh_pauses().await?;
        Ok(())
    }

    /// The engine of a channel.
    pub(crate) fn engine_of(&self, channel: Channel) -> &Engine {
        match channel {
            Channel::Email => &self.engine,
            Channel::Sms => &self.sms,
        }
    }
}

/// On whose behalf a use case runs.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) origin: Origin,
    pub(crate) caller: Option<Arc<Caller>>,
}

impl Who {
    /// Whether the caller holds a scope beyond the one that let it in.
    fn allows(&self, scope: &str) -> bool {
        self.caller
            .as_ref()
            .is_some_and(|caller| caller.allows(scope))
    }
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        let inner = Inner {
            parts,
            tenants: tokio::sync::Mutex::default(),
            quota: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// What belongs to a tenant; made on first use.
    pub(crate) async fn house(&self, tenant: &Tenant) -> Result<Arc<House>, Error> {
        let mut tenants = self.inner.tenants.lock().await;
        if let Some(house) = tenants.get(tenant) {
            return Ok(Arc::clone(house));
        }
        let parts = &self.inner.parts;
        let db = parts.stores.of(tenant).await?;
        let vault = Vault::new(
            db.clone(),
            parts.keyring.clone(),
            Arc::clone(&parts.entropy),
        );
        let (relay, short) = (&parts.config.relay, &parts.config.sms);
        let receipts = short.receipt_hours;
        let setup = Setup {
            channel: Channel::Email,
            hops: parts.hops.clone(),
            connections: relay.connections,
            signers: self.signers(&db, &vault).await?,
            bounce_domain: (!relay.bounce_domain.is_empty()).then(|| relay.bounce_domain.clone()),
            unsubscribe_url: parts.config.unsubscribe_link(),
            poll: Duration::from_millis(parts.config.poll_ms),
            idle: Duration::from_millis(relay.idle_ms),
            keep_failed: Duration::from_hours(parts.config.limits.keep_failed_hours),
            centres: parts.centres.clone(),
            providers: parts.providers.clone(),
            parts: short.max_parts,
            receipts: (receipts > 0).then(|| Duration::from_hours(receipts)),
            stop_words: short.stop_words.clone(),
            start_words: short.start_words.clone(),
        };
        let engine = |setup: Setup| {
            let (clock, entropy) = (Arc::clone(&parts.clock), Arc::clone(&parts.entropy));
            Engine::new(db.clone(), vault.clone(), setup, clock, entropy)
        };
        let sms = engine(Setup {
            channel: Channel::Sms,
            ..setup.clone()
        });
        let engine = engine(setup);
        let house = Arc::new(House {
            db,
            vault,
            engine,
            sms,
        });
        tenants.insert(tenant.clone(), Arc::clone(&house));
        Ok(house)
    }

    /// Closes the stores. Calls still in hand may hold on to them for a moment; what they were
    /// promised is durable either way, so nothing waits for long.
    pub(crate) async fn close(&self) {
        self.inner.tenants.lock().await.clear();
        let closing = tokio::time::timeout(CLOSE_MAX, self.inner.parts.stores.close());
        if closing.await.is_err() {
            tracing::warn!("the stores are still in use at the end");
        }
    }

    pub(crate) async fn vault(&self, tenant: &Tenant) -> Result<Vault, Error> {
        Ok(self.house(tenant).await?.vault.clone())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.parts.clock.now()
    }

    pub(crate) fn stores(&self) -> &Stores {
        &self.inner.parts.stores
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.inner.parts.journal
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.inner.parts.rules
    }

    pub(crate) fn clock(&self) -> SharedClock {
        Arc::clone(&self.inner.parts.clock)
    }

    pub(crate) fn entropy(&self) -> SharedEntropy {
        Arc::clone(&self.inner.parts.entropy)
    }

    pub(crate) fn has_hop(&self) -> bool {
        !self.inner.parts.hops.is_empty()
    }

    fn config(&self) -> &MessagingConfig {
        &self.inner.parts.config
    }

    fn new_id(&self) -> Uuid {
        let parts = &self.inner.parts;
        new_uuid(parts.clock.as_ref(), parts.entropy.as_ref())
    }

    fn new_request_uid(&self) -> String {
        loop {
            let mut random = [0; 48];
            self.inner.parts.entropy.fill(&mut random);
            if let Some(uid) = uid::request_uid(&random) {
                return uid;
            }
        }
    }

    /// Whether the caller may send as the sender it names.
    fn check_sender(&self, who: &Who, checked: &Checked) -> Result<(), Error> {
        let senders = &self.config().senders;
        if senders.is_empty() {
            return Ok(());
        }
        let common = &checked.common;
        let behalf = common.on_behalf_of();
        let granted = |grant: &SenderConfig| match checked.channel {
            Channel::Email => grant.has_domain(common.from.rsplit('@').next().unwrap_or_default()),
            Channel::Sms => grant.has_sender_id(&common.from),
        };
        let actor = &who.origin.actor;
        let organisation = &common.organisation;
        if senders
            .iter()
            .any(|grant| granted(grant) && grant.allows(actor, organisation, behalf))
        {
            Ok(())
        } else {
            Err(Error::ForbiddenSender)
        }
    }

    /// Counts messages against the caller's quota of the day. Each replica counts for itself.
    fn charge(&self, who: &Who, messages: u64) -> Result<(), Error> {
        let limit = self.config().limits.daily_messages;
        if limit == 0 {
            return Ok(());
        }
        let now = self.now().micros();
        let today = now.div_euclid(DAY);
        let mut quota = self
            .inner
            .quota
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let used = quota.entry(who.origin.actor.clone()).or_insert((today, 0));
        if used.0 != today {
            *used = (today, 0);
        }
        if used.1.saturating_add(messages) > limit {
            let rest = u64::try_from(DAY - now.rem_euclid(DAY)).unwrap_or_default();
            return Err(Error::Quota {
                retry_after: Duration::from_micros(rest),
            });
        }
        used.1 += messages;
        Ok(())
    }

    /// The keys that sign this tenant's mail; those without a file are made once and kept
    /// sealed.
    async fn signers(&self, db: &Db, vault: &Vault) -> Result<Vec<Arc<Signer>>, Error> {
        let mut signers = Vec::new();
        for setting in &self.config().signing {
            let key = if setting.key_pem.expose().is_empty() {
                self.stored_key(db, vault, setting).await?
            } else {
                key_of(setting)?
            };
            let domain = ascii_domain(&setting.domain).unwrap_or_else(|_| setting.domain.clone());
            signers.push(Arc::new(Signer {
                domain,
                selector: setting.selector.clone(),
                key,
            }));
        }
        Ok(signers)
    }

    async fn stored_key(
        &self,
        db: &Db,
        vault: &Vault,
        setting: &SigningConfig,
    ) -> Result<Key, Error> {
        let (domain, selector) = (setting.domain.clone(), setting.selector.clone());
        if keys::signing_key(db, &domain, &selector).await?.is_none() {
            let mut seed = zeroize::Zeroizing::new([0_u8; 32]);
            self.inner.parts.entropy.fill(&mut *seed);
            let sealed = vault.seal_setting(&SIGNING_KEY, &*seed);
            let input = (domain.clone(), selector.clone(), sealed);
            let kept = db.write("messaging.keep_signing_key", input, |tx, input| {
                let (domain, selector, sealed) = input;
                Box::pin(keys::add_signing_key(tx, domain, selector, sealed))
            });
            let kept: Result<(), Error> = async { Ok(kept.await?) }.await;
            kept?;
        }
        // Another replica may have been first; what is stored counts.
        let sealed = keys::signing_key(db, &domain, &selector)
            .await?
            .unwrap_or_default();
        let seed = vault.open_setting(&SIGNING_KEY, &sealed)?;
        let seed: [u8; 32] = seed.try_into().map_err(|_| corrupt("a signing key"))?;
        Key::from_seed(&seed).map_err(|_| corrupt("a signing key"))
    }
}

/// The key in a setting.
pub(crate) fn key_of(setting: &SigningConfig) -> Result<Key, Error> {
    let pem = setting.key_pem.expose();
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| corrupt("the key in a setting"))?;
    Key::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| corrupt("the key in a setting"))
}

fn corrupt(what: &str) -> Error {
    Error::Store(publica_store::StoreError::corrupt(what))
}
