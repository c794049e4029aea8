//! A signing key with its successor and its predecessors.

use std::time::Duration;

use publica_types::{Secret, Timestamp};
use serde_json::{Value, json};
use zeroize::Zeroize;

use crate::{JoseError, Jwk, JwkSet, SigningKey, strict};

/// The keys of one issuer and algorithm over time.
///
/// A successor is published before it signs, so that verifiers with a cached set know it; a
/// predecessor stays published until the last token it signed has expired.
#[derive(Debug, Clone)]
pub struct Rotation {
    current: SigningKey,
    next: Option<SigningKey>,
    previous: Vec<Retired>,
}

#[derive(Debug, Clone)]
struct Retired {
    key: Jwk,
    until: Timestamp,
}

impl Rotation {
    /// Starts with one key.
    pub fn new(current: SigningKey) -> Self {
        Self {
            current,
            next: None,
            previous: Vec::new(),
        }
    }

    /// The key that signs now.
    pub fn signing(&self) -> &SigningKey {
        &self.current
    }

    /// The key that will sign next, if one is staged.
    pub fn next(&self) -> Option<&SigningKey> {
        self.next.as_ref()
    }

    /// Publishes the key that will sign after the next [`Rotation::promote`].
    pub fn stage(&mut self, next: SigningKey) {
        self.next = Some(next);
    }

    /// Lets the staged key sign from now on and keeps the old one published for `keep`, which
    /// must be at least the longest life of a token. Without a staged key nothing happens and
    /// the answer is false.
    pub fn promote(&mut self, now: Timestamp, keep: Duration) -> bool {
        let Some(next) = self.next.take() else {
            return false;
        };
        let old = std::mem::replace(&mut self.current, next);
        self.previous.push(Retired {
            key: old.public_jwk().clone(),
            until: now.plus(keep),
        });
        true
    }

    /// Withdraws a key at once, because it leaked: tokens it signed stop being accepted. The
    /// current key cannot be withdrawn before another is promoted. Answers whether a key went.
    pub fn revoke(&mut self, kid: &str) -> bool {
        let staged = self.next.as_ref().is_some_and(|next| next.kid() == kid);
        if staged {
            self.next = None;
        }
        let before = self.previous.len();
        self.previous
            .retain(|retired| retired.key.kid() != Some(kid));
        staged || self.previous.len() < before
    }

    /// Forgets old keys whose time is over; answers how many.
    pub fn prune(&mut self, now: Timestamp) -> usize {
        let before = self.previous.len();
        self.previous.retain(|retired| retired.until > now);
        before - self.previous.len()
    }

    /// The set to publish: the current key, the next one, and old ones that are still needed.
    pub fn published(&self, now: Timestamp) -> JwkSet {
        let old = self.previous.iter().filter(|retired| retired.until > now);
        std::iter::once(self.current.public_jwk())
            .chain(self.next.as_ref().map(SigningKey::public_jwk))
            .chain(old.map(|retired| &retired.key))
            .cloned()
            .collect()
    }

    /// Everything, private keys included, for the owner to seal and store.
    pub fn to_private_json(&self) -> Result<Secret<String>, JoseError> {
        let private = |key: &SigningKey| -> Result<Value, JoseError> {
            strict::parse(key.to_private_jwk()?.expose().as_bytes())
        };
        let previous: Vec<Value> = self
            .previous
            .iter()
            .map(|retired| {
                json!({ "key": retired.key.to_value(), "until_micros": retired.until.micros() })
            })
            .collect();
        let mut value = json!({
            "current": private(&self.current)?,
            "next": self.next.as_ref().map(private).transpose()?,
            "previous": previous,
        });
        let text = value.to_string();
        wipe(&mut value);
        Ok(Secret::new(text))
    }

    /// Reads what [`Rotation::to_private_json`] wrote.
    pub fn from_private_json(json: &[u8]) -> Result<Self, JoseError> {
        let mut value = strict::parse(json)?;
        let rotation = Self::from_value(&value);
        wipe(&mut value);
        rotation
    }

    fn from_value(value: &Value) -> Result<Self, JoseError> {
        const SHAPE: JoseError = JoseError::Malformed("not a stored key rotation");
        let current = SigningKey::from_jwk_value(value.get("current").ok_or(SHAPE)?)?;
        let next = match value.get("next") {
            None | Some(Value::Null) => None,
            Some(next) => Some(SigningKey::from_jwk_value(next)?),
        };
        let mut previous = Vec::new();
        for old in value
            .get("previous")
            .and_then(Value::as_array)
            .ok_or(SHAPE)?
        {
            let until = old
                .get("until_micros")
                .and_then(Value::as_i64)
                .ok_or(SHAPE)?;
            previous.push(Retired {
                key: Jwk::from_value(old.get("key").ok_or(SHAPE)?)?,
                until: Timestamp::from_micros(until),
            });
        }
        Ok(Self {
            current,
            next,
            previous,
        })
    }
}

/// Overwrites every text in a value that held private numbers.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.iter_mut().for_each(|(_, member)| wipe(member)),
        _ => {}
    }
}
