//! Keys of content: one a chunk, wrapped by the key of an hour.
//!
//! A chunk key seals once, so its nonce cannot repeat. The key of an hour is destroyed when
//! nothing that it wraps is open any more: from then on no copy of a wrapped key, in a backup
//! or an old page, opens anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use publica_seal::{Keyring, Purpose, SealError, SubjectKey};
use publica_store::Db;
use publica_types::{SharedEntropy, Timestamp, Uuid};
use zeroize::Zeroizing;

use crate::domain::inbound::CHECK_LEN;
use crate::sealed::UNSUBSCRIBE;
use crate::store::chunk::{self, NewKey};

const FIELD: &str = "content_key";
/// Bytes of a keyed hash.
const ADDRESS_HASH_LEN: usize = 32;
const HOUR: i64 = 3_600_000_000;
/// Keys of hours that are kept ready.
const READY_MAX: usize = 64;

/// The keys of one tenant's store.
#[derive(Clone)]
pub(crate) struct Vault {
    db: Db,
    keyring: Keyring,
    entropy: SharedEntropy,
    ready: Arc<Mutex<BTreeMap<i64, SubjectKey>>>,
}

/// Seals under fresh keys for as long as its hour lasts.
#[derive(Clone)]
pub(crate) struct Sealer {
    hour: i64,
    key: SubjectKey,
    entropy: SharedEntropy,
}

impl Vault {
    pub(crate) fn new(db: Db, keyring: Keyring, entropy: SharedEntropy) -> Self {
        Self {
            db,
            keyring,
            entropy,
            ready: Arc::default(),
        }
    }

    /// The sealer of the present hour.
    pub(crate) async fn sealer(&self, now: Timestamp) -> Result<Sealer, SealError> {
        let hour = hour_of(now);
        if let Some(key) = self.known(hour) {
            return Ok(Sealer {
                hour,
                key,
                entropy: Arc::clone(&self.entropy),
            });
        }
        let input = (self.keyring.clone(), hour);
        let key = self
            .db
            .write("messaging.begin_hour", input, |tx, (keyring, hour)| {
                Box::pin(async move {
                    chunk::note_hour(tx, *hour).await?;
                    keyring.subject(tx, &subject(*hour)).await
                })
            })
            .await?;
        self.keep(hour, &key);
        Ok(Sealer {
            hour,
            key,
            entropy: Arc::clone(&self.entropy),
        })
    }

    /// Opens what was sealed under a content key.
    pub(crate) async fn open(
        &self,
        id: Uuid,
        key: &NewKey,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let hour = if let Some(known) = self.known(key.hour) {
            known
        } else {
            let found = self.keyring.load(&self.db, &subject(key.hour)).await?;
            let found = found.ok_or(SealError::NoKey)?;
            self.keep(key.hour, &found);
            found
        };
        let content = Zeroizing::new(hour.open(FIELD, &key.wrapped)?);
        let unopenable = || SealError::Unopenable(FIELD);
        let content = gcm(&content).ok_or_else(unopenable)?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let length = content
            .open_in_place(nonce(), Aad::from(id.as_bytes()), &mut bytes)
            .map_err(|_| unopenable())?
            .len();
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Destroys the keys of hours that wrap nothing open any more.
    pub(crate) async fn erase_spent(&self, now: Timestamp) -> Result<u64, SealError> {
        let before = hour_of(now) - 25;
        // Hours older than this were looked at by earlier runs, or by the next start.
        let from = before - 24 * 100;
        let mut erased = 0;
        for hour in chunk::spent_hours(&self.db, before, from).await? {
            let input = (self.keyring.clone(), hour);
            let done = self
                .db
                .write("messaging.erase_hour", input, |tx, (keyring, hour)| {
                    Box::pin(async move { keyring.erase(tx, &subject(*hour)).await })
                });
            let done: Result<bool, SealError> = done.await;
            if done? {
                erased += 1;
            }
            self.ready
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&hour);
        }
        Ok(erased)
    }

    /// Seals something that is not content, such as a callback's address.
    pub(crate) fn seal_setting(&self, purpose: &'static Purpose, plain: &[u8]) -> Vec<u8> {
        self.keyring.seal_block(purpose, plain)
    }

    pub(crate) fn open_setting(
        &self,
        purpose: &'static Purpose,
        sealed: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        self.keyring.open_block(purpose, sealed)
    }

    /// The keyed hash under which an address is looked up.
    pub(crate) fn address_hash(&self, address: &str) -> Vec<u8> {
        self.keyring
            .lookup("address", &crate::domain::address::lookup_form(address))
    }

    /// Ties a return path to its message; nobody else can make one.
    pub(crate) fn bounce_check(&self, message_id: &str) -> String {
        let hash = self.keyring.lookup("bounce", message_id);
        hex::encode(&hash[..CHECK_LEN / 2])
    }

    /// Whether a return path is one of ours.
    pub(crate) fn is_bounce_check(&self, message_id: &str, check: &str) -> bool {
        let own = self.bounce_check(message_id);
        aws_lc_rs::constant_time::verify_slices_are_equal(own.as_bytes(), check.as_bytes()).is_ok()
    }

    /// The token of a link that ends what an address gets of a category. It names neither
    /// legibly, and nobody else can make one.
    pub(crate) fn unsubscribe_token(&self, address: &str, category: &str) -> String {
        let mut plain = self.address_hash(address);
        plain.extend_from_slice(category.as_bytes());
        URL_SAFE_NO_PAD.encode(self.keyring.seal_lasting(&UNSUBSCRIBE, &plain))
    }

    /// The keyed hash of the address and the category that a token is about; `None` if it is
    /// not one of ours.
    pub(crate) fn open_unsubscribe_token(&self, token: &str) -> Option<(Vec<u8>, String)> {
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let mut hash = self.keyring.open_block(&UNSUBSCRIBE, &sealed).ok()?;
        if hash.len() < ADDRESS_HASH_LEN {
            return None;
        }
        let category = String::from_utf8(hash.split_off(ADDRESS_HASH_LEN)).ok()?;
        Some((hash, category))
    }

    /// A keyed hash of anything else.
    pub(crate) fn keyed_hash(&self, field: &'static str, text: &str) -> Vec<u8> {
        self.keyring.lookup(field, text)
    }

    fn known(&self, hour: i64) -> Option<SubjectKey> {
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&hour)
            .cloned()
    }

    fn keep(&self, hour: i64, key: &SubjectKey) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        while ready.len() >= READY_MAX {
            ready.pop_first();
        }
        ready.insert(hour, key.clone());
    }
}

impl Sealer {
    /// Seals `plain` under a fresh key.
    pub(crate) fn seal(&self, id: Uuid, plain: Vec<u8>) -> Result<(NewKey, Vec<u8>), SealError> {
        let mut fresh = Zeroizing::new([0_u8; 32]);
        self.entropy.fill(&mut *fresh);
        let unsealable = || SealError::Unopenable(FIELD);
        let content = gcm(&*fresh).ok_or_else(unsealable)?;
        let mut bytes = plain;
        content
            .seal_in_place_append_tag(nonce(), Aad::from(id.as_bytes()), &mut bytes)
            .map_err(|_| unsealable())?;
        let key = NewKey {
            hour: self.hour,
            wrapped: self.key.seal(FIELD, &*fresh),
        };
        Ok((key, bytes))
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

fn gcm(key: &[u8]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key)
        .ok()
        .map(LessSafeKey::new)
}

/// Each key seals one text, so a fixed nonce never meets a second one.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn hour_of(at: Timestamp) -> i64 {
    at.micros().div_euclid(HOUR)
}

fn subject(hour: i64) -> String {
    format!("hour:{hour}")
}
