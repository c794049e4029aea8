//! What handlers are given: who calls, and the way to a block.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use publica_auth::{Caller, CallerKind, Denial, TokenSource, Verifier};
use publica_host::Profile;
use publica_rpc::{Link, PROCESS_ID, Peers, REQUEST_ID, is_sound_id};
use publica_seal::Keyring;
use publica_types::{SharedClock, SharedEntropy, new_uuid};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};

use crate::config::{PagesConfig, PrivacyConfig};
use crate::durations::Durations;

/// Shared by all handlers; cloning is cheap.
#[derive(Debug, Clone)]
pub struct GatewayState(Arc<Shared>, Arc<Pages>);

/// The parts, and what is made of them once for all calls.
#[derive(Debug)]
struct Shared {
    parts: Parts,
    links: BTreeMap<String, Link>,
    durations: Durations,
}

/// What a gateway is made of.
#[derive(Debug)]
pub struct Parts {
    /// The way to blocks, with the gateway's own identity.
    pub peers: Peers,
    /// Finds out who calls.
    pub verifier: Arc<Verifier>,
    /// Mints tokens for callers who came with something else than a token.
    pub tokens: TokenSource,
    /// Which rules of caution hold.
    pub profile: Profile,
    /// The only source of time.
    pub clock: SharedClock,
    /// The only source of randomness.
    pub entropy: SharedEntropy,
    /// Blocks that are served here.
    pub blocks: Vec<String>,
}

/// What pages need besides.
#[derive(Debug, Clone)]
struct Pages {
    /// Seals what pages hand to a browser to keep.
    keyring: Keyring,
    config: PagesConfig,
    privacy: PrivacyConfig,
}

/// Why a caller does not get past the gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// Nobody was named.
    #[error("credentials are required")]
    Missing,
    /// The credentials are no good; the text says why, without repeating them.
    #[error("{0}")]
    Refused(String),
    /// Whether they are good cannot be found out at present.
    #[error("credentials cannot be checked at present")]
    Unavailable,
}

impl EntryFault {
    /// The status on surfaces that do not prescribe another.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Missing | Self::Refused(_) => StatusCode::UNAUTHORIZED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A caller who was let in, and what goes along with each call made for them.
#[derive(Debug, Clone)]
pub struct Entry {
    caller: Arc<Caller>,
    authorization: MetadataValue<Ascii>,
    carried: Vec<(&'static str, MetadataValue<Ascii>)>,
}

impl Entry {
    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// A call to a block on the caller's behalf; send it over [`GatewayState::link`].
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.authorization.clone());
        for (name, value) in &self.carried {
            metadata.insert(*name, value.clone());
        }
        request
    }
}

impl GatewayState {
    /// The state of a gateway. What its pages hand to a browser is good at this gateway alone.
    pub fn new(parts: Parts) -> Self {
        let pages = Pages {
            keyring: Keyring::ephemeral(parts.entropy.clone()),
            config: PagesConfig::default(),
            privacy: PrivacyConfig::default(),
        };
        let links = parts.blocks.iter();
        let links = links.map(|block| (block.clone(), parts.peers.forward(block)));
        let shared = Shared {
            links: links.collect(),
            durations: Durations::default(),
            parts,
        };
        Self(Arc::new(shared), Arc::new(pages))
    }

    /// The same, where gateways with the same keyring stand beside each other: a browser may go
    /// on at any of them.
    #[must_use]
    pub fn with_keyring(self, keyring: Keyring) -> Self {
        let pages = Pages {
            keyring,
            ..(*self.1).clone()
        };
        Self(self.0, Arc::new(pages))
    }

    /// The same, with the settings of its pages.
    #[must_use]
    pub(crate) fn with_pages(self, config: PagesConfig, privacy: PrivacyConfig) -> Self {
        let pages = Pages {
            keyring: self.1.keyring.clone(),
            config,
            privacy,
        };
        Self(self.0, Arc::new(pages))
    }

    /// The way to a block for calls that carry their caller's credentials.
    pub fn link(&self, block: &str) -> Link {
        let known = self.0.links.get(block).cloned();
        known.unwrap_or_else(|| self.0.parts.peers.forward(block))
    }

    /// The way to a block for calls that the gateway makes in its own name: what an
    /// unauthenticated browser or client starts, such as a login.
    pub fn own_link(&self, block: &str) -> Link {
        self.0.parts.peers.link(block)
    }

    /// Finds out who calls. A call without credentials is refused, unless the profile gives
    /// anonymous callers a role.
    pub async fn enter(&self, headers: &HeaderMap) -> Result<Entry, EntryFault> {
        let caller = self
            .0
            .parts
            .verifier
            .caller_of(headers, &Extensions::new())
            .await;
        let caller = caller.map_err(|denial| match denial {
            Denial::CredentialsRequired => EntryFault::Missing,
            Denial::KeysUnavailable => EntryFault::Unavailable,
            other => EntryFault::Refused(other.to_string()),
        })?;
        if caller.kind == CallerKind::Anonymous && caller.scopes.is_empty() {
            return Err(EntryFault::Missing);
        }
        let authorization = match headers.get(header::AUTHORIZATION) {
            // The block verifies the caller's own token again.
            Some(sent) if is_bearer(sent) => sent.clone(),
            // An API key means nothing to a block, so it gets a token that says the same.
            _ => self
                .0
                .parts
                .tokens
                .bearer(&caller.subject, &caller.scopes, &caller.tenant)
                .map_err(|_| EntryFault::Unavailable)?,
        };
        let authorization = MetadataValue::try_from(authorization.as_bytes())
            .map_err(|_| EntryFault::Refused("the credentials are malformed".to_owned()))?;
        Ok(Entry {
            caller,
            authorization,
            carried: carried(headers),
        })
    }

    /// A call in the gateway's own name, with the ids of the request it serves; send it over
    /// [`GatewayState::own_link`].
    pub fn own_request<T>(&self, headers: &HeaderMap, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in carried(headers) {
            request.metadata_mut().insert(name, value);
        }
        request
    }

    /// Finds out who calls; see [`Verifier`].
    pub fn verifier(&self) -> &Verifier {
        &self.0.parts.verifier
    }

    /// The way to blocks.
    pub fn peers(&self) -> &Peers {
        &self.0.parts.peers
    }

    /// Which rules of caution hold.
    pub fn profile(&self) -> Profile {
        self.0.parts.profile
    }

    /// The only source of time.
    pub fn clock(&self) -> &SharedClock {
        &self.0.parts.clock
    }

    /// The only source of randomness.
    pub fn entropy(&self) -> &SharedEntropy {
        &self.0.parts.entropy
    }

    /// Names of the blocks that are served here.
    pub fn blocks(&self) -> impl Iterator<Item = &str> {
        self.0.parts.blocks.iter().map(String::as_str)
    }

    /// Seals what pages hand to a browser to keep.
    pub fn keyring(&self) -> &Keyring {
        &self.1.keyring
    }

    /// What pages say about whoever runs them.
    pub fn pages(&self) -> &PagesConfig {
        &self.1.config
    }

    /// How people sign in to the page of their consents.
    pub(crate) fn privacy(&self) -> &PrivacyConfig {
        &self.1.privacy
    }

    /// How long calls take.
    pub(crate) fn durations(&self) -> &Durations {
        &self.0.durations
    }

    /// Mints tokens in the gateway's own name.
    pub(crate) fn tokens(&self) -> &TokenSource {
        &self.0.parts.tokens
    }

    /// The profile's name, where every answer must say it.
    pub(crate) fn announced_profile(&self) -> Option<HeaderValue> {
        (self.0.parts.profile == Profile::Conformance)
            .then(|| HeaderValue::from_static(Profile::Conformance.as_str()))
    }

    pub(crate) fn mint_request_id(&self) -> HeaderValue {
        let id = new_uuid(&*self.0.parts.clock, &*self.0.parts.entropy).to_string();
        HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("none"))
    }
}

fn is_bearer(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"bearer "))
}

/// The ids that travel with a call; unsound ones stay behind.
fn carried(headers: &HeaderMap) -> Vec<(&'static str, MetadataValue<Ascii>)> {
    [REQUEST_ID, PROCESS_ID, "traceparent"]
        .into_iter()
        .filter_map(|name| {
            let value = headers.get(name)?;
            let sound = value.to_str().is_ok_and(is_sound_id);
            sound
                .then(|| MetadataValue::try_from(value.as_bytes()).ok())
                .flatten()
                .map(|value| (name, value))
        })
        .collect()
}
