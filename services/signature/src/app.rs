//! Use cases: load, decide with the domain, save, and leave an entry in the journal.

mod audit;
mod authority;
mod certificate;
mod credential;
pub(crate) mod import;
mod onetime;
mod seal;
mod timestamp;
mod validation;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use publica_auth::Caller;
use publica_journal::{Call, Journal};
use publica_proto::signature::v1 as pb;
use publica_seal::Keyring;
use publica_store::{Db, Stores};
use publica_types::{Origin, SharedClock, SharedEntropy, Tenant, Timestamp};
use tonic::Request;

use crate::app::authority::Authorities;
use crate::config::SignatureConfig;
use crate::domain::cms::Signer;
use crate::domain::x509::to_serial;
use crate::error::Error;

/// Page sizes of every list.
const PAGE: i32 = 100;
const MAX_PAGE: i32 = 1_000;

/// What every use case works with.
pub(crate) struct App {
    pub(crate) stores: Stores,
    pub(crate) keyring: Keyring,
    pub(crate) journal: Journal,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    pub(crate) config: SignatureConfig,
    pub(crate) authorities: Mutex<HashMap<Tenant, Arc<Authorities>>>,
    /// Revocation lists that were made lately.
    pub(crate) lists: Mutex<HashMap<Tenant, (Timestamp, pb::GetRevocationListResponse)>>,
    pub(crate) seals: Mutex<HashMap<(Tenant, String), Arc<Signer>>>,
}

/// Who calls, as far as the rules of this block care.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) origin: Origin,
    caller: Arc<Caller>,
}

impl Who {
    /// Reads it from a request that passed the layers.
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        let caller = publica_rpc::caller(request)
            .cloned()
            .unwrap_or_else(|| Arc::new(Caller::anonymous()));
        Self {
            origin: publica_rpc::origin(request),
            caller,
        }
    }

    /// The party that acts.
    pub(crate) fn party(&self) -> &str {
        self.origin
            .on_behalf_of
            .as_deref()
            .unwrap_or(&self.origin.actor)
    }

    /// The client by way of which the party acts; empty if there is none.
    pub(crate) fn client(&self) -> &str {
        self.caller.client_id.as_deref().unwrap_or_default()
    }

    /// Whether the caller may learn whom certificates were issued to.
    pub(crate) fn sees_holders(&self) -> bool {
        self.caller.allows("signature:holder:read")
    }

    /// Whether the caller may see that others signed, though not their signatures.
    pub(crate) fn audits(&self) -> bool {
        self.caller.allows("signature:audit:read")
    }
}

/// A mutation under the caller's request id.
pub(crate) fn call<'a>(
    name: &'static str,
    rpc: &'static str,
    origin: &'a Origin,
    request_id: &str,
    request: &impl prost::Message,
) -> Call<'a> {
    let request_id = (!request_id.is_empty()).then(|| request_id.to_owned());
    Call {
        name,
        origin,
        rpc,
        request_id,
        fingerprint: publica_journal::fingerprint(request),
    }
}

/// The name under which a signer's key is kept.
pub(crate) fn subject(owner: &str) -> String {
    format!("signer:{owner}")
}

impl App {
    /// The caller's store.
    pub(crate) async fn db(&self, origin: &Origin) -> Result<Db, Error> {
        Ok(self.stores.of(&origin.tenant).await?)
    }

    /// An id that nobody can guess: 32 random octets.
    pub(crate) fn new_id(&self) -> String {
        let mut bytes = [0_u8; 32];
        self.entropy.fill(&mut bytes);
        hex::encode(bytes)
    }

    /// A serial number that no other replica makes.
    pub(crate) fn new_serial(&self) -> Vec<u8> {
        let mut bytes = [0_u8; 16];
        self.entropy.fill(&mut bytes);
        to_serial(bytes)
    }
}
