//! Tokens that were verified a moment ago. The same token comes with every call of a client,
//! and its signature need not be checked again until it expires.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use publica_types::Timestamp;

use crate::Caller;

const SHARDS: usize = 16;

/// The SHA-256 of a token: the cache never holds a token itself.
pub(crate) type TokenHash = [u8; 32];

pub(crate) fn hash(token: &str) -> TokenHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

/// What was found out about a token.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) caller: Arc<Caller>,
    pub(crate) expires: Timestamp,
    /// The certificate the token is bound to, if it is bound to one.
    pub(crate) certificate: Option<[u8; 32]>,
}

/// A bounded table. When a part of it is full, expired tokens go; if none is, that whole part
/// does: its tokens are simply verified again.
#[derive(Debug)]
pub(crate) struct Cache {
    shards: [Mutex<HashMap<TokenHash, Known>>; SHARDS],
    per_shard: usize,
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(HashMap::new())),
            per_shard: capacity.div_ceil(SHARDS),
        }
    }

    fn shard(&self, hash: &TokenHash) -> &Mutex<HashMap<TokenHash, Known>> {
        &self.shards[usize::from(hash[0]) % SHARDS]
    }

    pub(crate) fn find(&self, hash: &TokenHash, now: Timestamp) -> Option<Known> {
        let mut shard = self
            .shard(hash)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = shard.get(hash)?;
        if known.expires > now {
            return Some(known.clone());
        }
        shard.remove(hash);
        None
    }

    pub(crate) fn insert(&self, hash: TokenHash, known: Known, now: Timestamp) {
        let mut shard = self
            .shard(&hash)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= self.per_shard {
            shard.retain(|_, known| known.expires > now);
        }
        if shard.len() >= self.per_shard {
            shard.clear();
        }
        shard.insert(hash, known);
    }

    /// Forgets everything: the keys of an issuer have changed.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap().len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_known_until_they_expire() {
        let cache = Cache::new(64);
        let at = Timestamp::from_seconds;
        let known = |second| Known {
            caller: Arc::new(Caller::anonymous()),
            expires: at(second),
            certificate: None,
        };
        let one = hash("one");
        cache.insert(one, known(10), at(0));
        assert!(cache.find(&one, at(9)).is_some());
        assert!(cache.find(&hash("two"), at(9)).is_none());
        assert!(cache.find(&one, at(10)).is_none());
        assert_eq!(cache.len(), 0);
        for index in 0..1_000 {
            cache.insert(hash(&index.to_string()), known(100), at(0));
        }
        assert!(cache.len() <= 64);
        cache.clear();
        assert_eq!(cache.len(), 0);
    }
}
