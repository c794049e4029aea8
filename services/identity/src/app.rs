//! What the block does: one method an operation. Loads, decides with the domain, saves, and
//! journals, in one unit of work each.

mod client;
mod code;
mod consent;
mod details;
mod enrol;
mod factor;
mod identifier;
mod import;
mod keys;
mod mail;
mod packet;
mod person;
mod sign_in;
mod token;
mod user_info;

use std::ops::Deref;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use publica_host::Profile;
use publica_jose::base64url;
use publica_journal::{Call, Journal};
use publica_rpc::Peers;
use publica_seal::{Keyring, SealError, SubjectKey};
use publica_store::{Db, StoreError, Stores, Tx};
use publica_types::{Origin, SharedClock, SharedEntropy, Tenant, Timestamp, new_uuid};

pub(crate) use mail::SEND_CODE;

use crate::config::IdentityConfig;
use crate::domain::attributes::Attributes;
use crate::domain::identifier::normalise;
use crate::domain::person::PersonId;
use crate::error::{Error, Refused};
use crate::store;
pub(crate) use keys::Keys;

/// The block's use cases; cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

/// What the use cases need.
pub(crate) struct Parts {
    pub(crate) config: IdentityConfig,
    pub(crate) profile: Profile,
    pub(crate) stores: Stores,
    pub(crate) keyring: Keyring,
    pub(crate) journal: Journal,
    pub(crate) peers: Peers,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    pub(crate) keys: Keys,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// A mutation as it came: who asks, for what, and under which id.
#[derive(Debug, Clone)]
pub(crate) struct Mutation {
    pub(crate) origin: Origin,
    pub(crate) rpc: &'static str,
    pub(crate) request_id: Option<String>,
    pub(crate) fingerprint: [u8; 32],
}

impl Mutation {
    /// What the request is known by in the ledger; `name` is that of the unit of work.
    fn call(&self, name: &'static str) -> Call<'_> {
        Call {
            name,
            origin: &self.origin,
            rpc: self.rpc,
            request_id: self.request_id.clone(),
            fingerprint: self.fingerprint,
        }
    }
}

impl App {
    /// The use cases over their parts.
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The store of a caller's tenant.
    pub(crate) async fn db(&self, origin: &Origin) -> Result<Db, StoreError> {
        self.of(&origin.tenant).await
    }

    /// The store of a tenant.
    pub(crate) async fn of(&self, tenant: &Tenant) -> Result<Db, StoreError> {
        self.stores.of(tenant).await
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether redirect URIs may be plain `http`.
    pub(crate) fn allows_http_redirects(&self) -> bool {
        self.config
            .allow_http_redirects
            .unwrap_or(self.profile != Profile::Production)
    }

    /// By what an identifier is found, or `None` if what was typed cannot be one.
    fn lookup(&self, typed: &str) -> Option<Vec<u8>> {
        Some(
            self.keyring
                .lookup("identity.identifier", &normalise(typed)?),
        )
    }

    /// The bucket of a limit.
    fn bucket(&self, kind: &str, of: &str) -> Vec<u8> {
        self.keyring
            .lookup("identity.limit", &format!("{kind}:{of}"))
    }

    /// The keys by which a name is found: parts and sounds of all its texts.
    fn name_lookups<'a>(&self, texts: impl Iterator<Item = &'a str>) -> Vec<Vec<u8>> {
        let mut keys: Vec<String> = texts.flat_map(publica_seal::name_keys).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.iter()
            .map(|key| self.keyring.lookup("identity.name", key))
            .collect()
    }

    /// A random text of 256 bits.
    fn random_text(&self) -> String {
        let mut bytes = [0_u8; 32];
        self.entropy.fill(&mut bytes);
        base64url(bytes)
    }

    /// A new id.
    fn new_id(&self) -> publica_types::Uuid {
        new_uuid(&*self.clock, &*self.entropy)
    }

    /// The key that a person's data is sealed under.
    async fn subject_key(&self, tx: &mut Tx<'_>, id: PersonId) -> Result<SubjectKey, Error> {
        Ok(self.keyring.subject(tx, &subject(id)).await?)
    }

    /// The key of a person whose data may be gone: `None` after an erasure.
    async fn key_if_any(&self, tx: &mut Tx<'_>, id: PersonId) -> Result<Option<SubjectKey>, Error> {
        match self.keyring.load_in(tx, &subject(id)).await {
            Err(SealError::Erased) => Ok(None),
            found => Ok(found?),
        }
    }

    /// What is known about a person, opened.
    async fn open_attributes(
        &self,
        tx: &mut Tx<'_>,
        person: &store::person::Person,
    ) -> Result<Attributes, Error> {
        let sealed =
            store::person::attributes(tx, person.person_id, person.attribute_version).await?;
        let key = self.key_if_any(tx, person.person_id).await?;
        let text = key
            .ok_or(Refused::PersonUnknown)?
            .open(ATTRIBUTES, &sealed)?;
        serde_json::from_slice(&text).map_err(|_| Error::Record("attributes"))
    }
}

/// Names of sealed fields; part of what is authenticated, so they never change.
const ATTRIBUTES: &str = "attributes";
const IDENTIFIER: &str = "identifier";
const FACTOR: &str = "factor";
const PACKET: &str = "packet";

/// The name under which a person's key is kept.
fn subject(id: PersonId) -> String {
    format!("person:{id}")
}

/// SHA-256, for texts that are random enough to be kept by their hash alone.
fn sha256(text: &str) -> Vec<u8> {
    digest(&SHA256, text.as_bytes()).as_ref().to_vec()
}

/// A person id from the wire; what is no id names nobody.
fn person_id(text: &str) -> Result<PersonId, Error> {
    text.parse()
        .map_err(|_| Error::from(Refused::PersonUnknown))
}
