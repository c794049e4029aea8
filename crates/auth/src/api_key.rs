//! API keys: long random texts, stored as keyed hashes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use aws_lc_rs::hmac;
use publica_jose::{base64url, base64url_decode};
use publica_types::{Entropy, Secret, Timestamp};
use subtle::ConstantTimeEq;

use crate::{ApiKeyConfig, AuthError, Caller, CallerKind, Denial};

/// The longest key looked at.
const MAX_BYTES: usize = 256;
/// Random bytes in a key.
const RANDOM_BYTES: usize = 32;

/// A new key: the text for its holder, to be shown once, and the hash to store.
#[derive(Debug)]
pub struct ApiKey {
    /// What the holder sends.
    pub text: Secret<String>,
    /// What is stored.
    pub hash: [u8; 32],
}

/// Hashes API keys under a secret, so that a stolen list of hashes cannot be searched.
#[derive(Debug, Clone)]
pub struct ApiKeyHasher(hmac::Key);

impl ApiKeyHasher {
    /// A hasher with the given secret.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Makes a new key with 256 random bits.
    pub fn generate(&self, entropy: &dyn Entropy) -> ApiKey {
        let mut random = [0_u8; RANDOM_BYTES];
        entropy.fill(&mut random);
        let text = format!("pk_{}", base64url(random));
        ApiKey {
            hash: self.hash(&text),
            text: Secret::new(text),
        }
    }

    /// The hash of a key.
    pub fn hash(&self, key: &str) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(hmac::sign(&self.0, key.as_bytes()).as_ref());
        hash
    }

    /// The hash as settings spell it.
    pub fn hash_text(&self, key: &str) -> String {
        base64url(self.hash(key))
    }

    /// Whether a key has this hash, in constant time.
    pub fn matches(&self, key: &str, hash: &[u8]) -> bool {
        key.len() <= MAX_BYTES && self.hash(key).as_slice().ct_eq(hash).into()
    }
}

/// The keys of the settings.
#[derive(Debug)]
pub(crate) struct ApiKeys {
    hasher: ApiKeyHasher,
    records: HashMap<[u8; 32], Record>,
}

#[derive(Debug)]
struct Record {
    caller: Arc<Caller>,
    expires: Option<Timestamp>,
    revoked: bool,
}

impl ApiKeys {
    pub(crate) fn open(secret: &[u8], keys: &[ApiKeyConfig]) -> Result<Self, AuthError> {
        let mut records = HashMap::new();
        for key in keys {
            let hash = base64url_decode(&key.hash).ok();
            let hash = hash
                .and_then(|hash| <[u8; 32]>::try_from(hash).ok())
                .ok_or_else(|| {
                    AuthError::Settings(vec![format!("auth.api_keys.{}.hash: not a hash", key.id)])
                })?;
            let caller = Arc::new(Caller {
                subject: format!("key:{}", key.id),
                issuer: None,
                client_id: Some(key.id.clone()),
                affiliation: key.affiliation.clone(),
                scopes: key.scopes.iter().cloned().collect::<BTreeSet<_>>(),
                tenant: key.tenant.clone(),
                kind: CallerKind::Machine,
            });
            records.insert(
                hash,
                Record {
                    caller,
                    expires: key.expires,
                    revoked: key.revoked,
                },
            );
        }
        Ok(Self {
            hasher: ApiKeyHasher::new(secret),
            records,
        })
    }

    /// The holder of a key. Looking up the keyed hash in a table tells an attacker nothing,
    /// because hashes of chosen keys cannot be computed without the secret.
    pub(crate) fn caller(&self, key: &str, now: Timestamp) -> Result<Arc<Caller>, Denial> {
        if key.len() > MAX_BYTES {
            return Err(Denial::ApiKeyInvalid);
        }
        self.records
            .get(&self.hasher.hash(key))
            .filter(|record| !record.revoked && record.expires.is_none_or(|end| now < end))
            .map(|record| Arc::clone(&record.caller))
            .ok_or(Denial::ApiKeyInvalid)
    }
}

#[cfg(test)]
mod tests {
    use publica_types::SystemEntropy;

    use super::*;

    #[test]
    fn keys_match_their_own_hash_only() {
        let hasher = ApiKeyHasher::new(&[1; 32]);
        let [one, two] = [0; 2].map(|_| hasher.generate(&SystemEntropy));
        assert!(one.text.expose().len() >= 43);
        assert!(hasher.matches(one.text.expose(), &one.hash));
        assert!(!hasher.matches(two.text.expose(), &one.hash));
        assert!(!hasher.matches(one.text.expose(), &one.hash[..31]));
        assert!(!ApiKeyHasher::new(&[2; 32]).matches(one.text.expose(), &one.hash));
        assert!(!hasher.matches(&"x".repeat(10_000), &one.hash));
    }

    #[test]
    fn expired_and_revoked_keys_do_not_work() {
        let hasher = ApiKeyHasher::new(&[1; 32]);
        let config = |id: &str, key: &str| ApiKeyConfig {
            id: id.to_owned(),
            hash: hasher.hash_text(key),
            scopes: vec!["consent:*".to_owned()],
            affiliation: None,
            tenant: publica_types::Tenant::default(),
            expires: None,
            revoked: false,
        };
        let mut ends = config("ends", "b");
        ends.expires = Some(Timestamp::from_seconds(10));
        let mut gone = config("gone", "c");
        gone.revoked = true;
        let keys = ApiKeys::open(&[1; 32], &[config("a", "a"), ends, gone]).unwrap();
        let caller = |key, second| keys.caller(key, Timestamp::from_seconds(second));
        assert_eq!(caller("a", 0).unwrap().subject, "key:a");
        assert_eq!(caller("b", 9).unwrap().client_id.as_deref(), Some("ends"));
        for (key, second) in [("b", 10), ("c", 0), ("d", 0), ("", 0)] {
            assert_eq!(caller(key, second), Err(Denial::ApiKeyInvalid), "{key}");
        }
        let mut bad = config("bad", "e");
        bad.hash.push('x');
        assert!(ApiKeys::open(&[1; 32], &[bad]).is_err());
    }
}
