//! Sets of public keys.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::strict::Strict;
use crate::{Alg, Header, JoseError, Jwk, strict};

/// No key set is longer than this.
const MAX_SET_BYTES: usize = 512 * 1024;
/// No more keys than this are read from one set.
const MAX_KEYS: usize = 256;
/// So many keys are tried for a token that names none.
const MAX_TRIED: usize = 16;

/// A set of public keys, as issuers publish it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JwkSet {
    keys: Vec<Jwk>,
}

impl JwkSet {
    /// A set of these keys.
    pub fn new(keys: Vec<Jwk>) -> Self {
        Self { keys }
    }

    /// Reads a published set. As RFC 7517 section 5 asks, keys that are not understood are
    /// left out; [`JwkSet::from_json_strictly`] refuses them.
    pub fn from_json(json: &[u8]) -> Result<Self, JoseError> {
        Self::read(json, |_| Ok(()))
    }

    /// Reads a set in which every key must be good, as an operator's settings should be.
    pub fn from_json_strictly(json: &[u8]) -> Result<Self, JoseError> {
        Self::read(json, Err)
    }

    fn read(
        json: &[u8],
        refused: impl Fn(JoseError) -> Result<(), JoseError>,
    ) -> Result<Self, JoseError> {
        if json.len() > MAX_SET_BYTES {
            return Err(JoseError::TooLarge {
                limit: MAX_SET_BYTES,
            });
        }
        Self::from_value_with(&strict::parse(json)?, refused)
    }

    /// Reads a set from parsed JSON, leaving out keys that are not understood.
    pub fn from_value(value: &Value) -> Result<Self, JoseError> {
        Self::from_value_with(value, |_| Ok(()))
    }

    fn from_value_with(
        value: &Value,
        refused: impl Fn(JoseError) -> Result<(), JoseError>,
    ) -> Result<Self, JoseError> {
        let keys = value
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(JoseError::Malformed("a key set has a list named keys"))?;
        if keys.len() > MAX_KEYS {
            return Err(JoseError::Malformed("the key set has too many keys"));
        }
        let mut set = Self::default();
        for key in keys {
            match Jwk::from_value(key) {
                Ok(key) => set.keys.push(key),
                Err(error) => refused(error)?,
            }
        }
        Ok(set)
    }

    /// Adds a key.
    pub fn push(&mut self, key: Jwk) {
        self.keys.push(key);
    }

    /// The keys, in their published order.
    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The first key with this id.
    pub fn find(&self, kid: &str) -> Option<&Jwk> {
        self.keys.iter().find(|key| key.kid() == Some(kid))
    }

    /// The set as JSON.
    pub fn to_value(&self) -> Value {
        json!({ "keys": self.keys })
    }

    /// The keys worth trying for a token: those it names, or, when it names none or the set
    /// gives no ids, those that can do its algorithm.
    pub(crate) fn candidates(&self, header: &Header, alg: Alg) -> Vec<&Jwk> {
        let fit = |key: &&Jwk| key.allows(alg);
        let Some(kid) = header.kid() else {
            return self.keys.iter().filter(fit).take(MAX_TRIED).collect();
        };
        let named: Vec<&Jwk> = self
            .keys
            .iter()
            .filter(|key| key.kid() == Some(kid))
            .filter(fit)
            .collect();
        if named.is_empty() {
            let nameless = self.keys.iter().filter(|key| key.kid().is_none());
            return nameless.filter(fit).take(MAX_TRIED).collect();
        }
        named
    }
}

impl FromIterator<Jwk> for JwkSet {
    fn from_iter<I: IntoIterator<Item = Jwk>>(keys: I) -> Self {
        Self::new(keys.into_iter().collect())
    }
}

impl From<Jwk> for JwkSet {
    fn from(key: Jwk) -> Self {
        Self::new(vec![key])
    }
}

impl<'de> Deserialize<'de> for JwkSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Strict(value) = Strict::deserialize(deserializer)?;
        Self::from_value(&value).map_err(serde::de::Error::custom)
    }
}
