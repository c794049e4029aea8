//! The suite's own issuer: short-lived tokens by which blocks prove themselves to each other.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use publica_jose::{Alg, JwkSet, SigningKey, parse_json, sign_jwt};
use publica_types::{Secret, SharedClock, SharedEntropy, Tenant, Timestamp, new_uuid};
use serde_json::{Value, json};

use crate::{AuthError, key_file};

/// The name of the suite's own issuer. No other issuer can be configured under it.
pub const LOCAL_ISSUER: &str = "urn:publica:workload";
/// The audience that workload tokens are meant for.
const AUDIENCE: &str = "publica";
/// How long the tokens of [`TokenSource::bearer`] live.
const LIFETIME: Duration = Duration::from_mins(5);
/// A remembered token is used until this much of its life is left.
const SPARE: Duration = Duration::from_mins(1);
/// No more tokens than this are remembered.
const MAX_REMEMBERED: usize = 4_096;

/// Mints tokens from the suite's own key (`<data>/keys/workload.jwk`, mode 0600). Every block
/// that shares the file trusts the others.
#[derive(Clone)]
pub struct TokenSource(Arc<Shared>);

struct Shared {
    key: SigningKey,
    published: JwkSet,
    clock: SharedClock,
    entropy: SharedEntropy,
    remembered: Mutex<HashMap<Wanted, (HeaderValue, Timestamp)>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Wanted {
    subject: String,
    scopes: BTreeSet<String>,
    tenant: Tenant,
}

impl TokenSource {
    /// Opens the key file, and creates it with a new Ed25519 key if there is none. The file
    /// holds a private JWK, or a set of them: the first signs, all are trusted, so a key is
    /// exchanged by putting the new one first and removing the old one later.
    pub fn open(
        path: &Path,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Result<Self, AuthError> {
        let text = key_file::read_or_create(path, || {
            let key = SigningKey::generate(Alg::EdDsa, &*entropy)?;
            let key = key.to_private_jwk()?;
            Ok(Secret::new(format!("{{\"keys\":[{}]}}\n", key.expose())))
        })?;
        let value = parse_json(text.expose().as_bytes())?;
        let keys = match value.get("keys").and_then(Value::as_array) {
            Some(keys) => keys
                .iter()
                .map(SigningKey::from_jwk_value)
                .collect::<Result<Vec<_>, _>>()?,
            None => vec![SigningKey::from_jwk_value(&value)?],
        };
        Self::with_keys(keys, clock, entropy)
    }

    /// A source whose key lives and dies with the process, for tests and try-outs.
    pub fn ephemeral(clock: SharedClock, entropy: SharedEntropy) -> Result<Self, AuthError> {
        let key = SigningKey::generate(Alg::EdDsa, &*entropy)?;
        Self::with_keys(vec![key], clock, entropy)
    }

    fn with_keys(
        keys: Vec<SigningKey>,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Result<Self, AuthError> {
        let published = keys.iter().map(|key| key.public_jwk().clone()).collect();
        let key = keys
            .into_iter()
            .next()
            .ok_or(publica_jose::JoseError::UnknownKey)?;
        let remembered = Mutex::new(HashMap::new());
        Ok(Self(Arc::new(Shared {
            key,
            published,
            clock,
            entropy,
            remembered,
        })))
    }

    /// The public halves of the keys.
    pub fn public_keys(&self) -> &JwkSet {
        &self.0.published
    }

    /// The key that signs.
    pub fn key(&self) -> &SigningKey {
        &self.0.key
    }

    /// Mints an RFC 9068 access token. `subject` is `block:<name>` for a block, and any other
    /// id for a machine; both are their own client.
    pub fn mint<S: AsRef<str>>(
        &self,
        subject: &str,
        scopes: impl IntoIterator<Item = S>,
        tenant: &Tenant,
        lifetime: Duration,
    ) -> Result<String, AuthError> {
        let scopes: Vec<String> = scopes
            .into_iter()
            .map(|scope| scope.as_ref().to_owned())
            .collect();
        let now = self.0.clock.now();
        self.sign(subject, &scopes.join(" "), tenant, now, now.plus(lifetime))
    }

    fn sign(
        &self,
        subject: &str,
        scope: &str,
        tenant: &Tenant,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<String, AuthError> {
        let claims = json!({
            "iss": LOCAL_ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "client_id": subject,
            "scope": scope,
            "jti": new_uuid(&*self.0.clock, &*self.0.entropy),
            "iat": now.seconds(),
            "exp": expires.seconds(),
            "tenant": tenant,
        });
        Ok(sign_jwt(&self.0.key, "at+jwt", &claims)?)
    }

    /// The value of an `authorization` header for a call to a peer. The token is used again
    /// for most of its five minutes, so that neither side pays for a signature a call.
    pub fn bearer<S: AsRef<str>>(
        &self,
        subject: &str,
        scopes: impl IntoIterator<Item = S>,
        tenant: &Tenant,
    ) -> Result<HeaderValue, AuthError> {
        let wanted = Wanted {
            subject: subject.to_owned(),
            scopes: scopes
                .into_iter()
                .map(|scope| scope.as_ref().to_owned())
                .collect(),
            tenant: tenant.clone(),
        };
        let now = self.0.clock.now();
        let mut remembered = self
            .0
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((value, until)) = remembered.get(&wanted)
            && now < *until
        {
            return Ok(value.clone());
        }
        let scope: Vec<&str> = wanted.scopes.iter().map(String::as_str).collect();
        let expires = now.plus(LIFETIME);
        let token = self.sign(subject, &scope.join(" "), tenant, now, expires)?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| publica_jose::JoseError::Malformed("the token does not fit a header"))?;
        value.set_sensitive(true);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(wanted, (value.clone(), expires.minus(SPARE)));
        Ok(value)
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource")
            .field("key", &self.0.key)
            .finish_non_exhaustive()
    }
}
