//! AES-256-GCM with a random nonce in front of the ciphertext.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use aws_lc_rs::hmac;
use publica_types::Entropy;

/// Bytes in a key.
pub(crate) const KEY_LEN: usize = 32;

/// First byte of everything sealed; another layout would get another number.
const VERSION: u8 = 1;

/// A key that seals and opens.
#[derive(Debug)]
pub(crate) struct Aead(LessSafeKey);

impl Aead {
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Self {
        let Ok(key) = UnboundKey::new(&AES_256_GCM, key) else {
            unreachable!("a key of 32 bytes fits AES-256")
        };
        Self(LessSafeKey::new(key))
    }

    /// Version, nonce, ciphertext and tag. Nonces are random: a key that seals 2^32 values keeps
    /// the chance of a repeated one below 2^-32 (NIST SP 800-38D, section 8.3).
    pub(crate) fn seal(&self, context: &[u8], plain: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce);
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        let start = sealed.len();
        sealed.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag =
            self.0
                .seal_in_place_separate_tag(nonce, Aad::from(context), &mut sealed[start..]);
        let Ok(tag) = tag else {
            unreachable!("only values beyond 64 GiB cannot be sealed")
        };
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    pub(crate) fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (version, rest) = sealed.split_first()?;
        if *version != VERSION || rest.len() < NONCE_LEN {
            return None;
        }
        let (nonce, ciphertext) = rest.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut buffer = ciphertext.to_vec();
        let plain = self
            .0
            .open_in_place(nonce, Aad::from(context), &mut buffer)
            .ok()?
            .len();
        buffer.truncate(plain);
        Some(buffer)
    }
}

/// A key of its own for a purpose, derived from a master key (RFC 5869).
pub(crate) fn derive(master: &[u8; KEY_LEN], purpose: &[&[u8]]) -> [u8; KEY_LEN] {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"publica seal").extract(master);
    let mut key = [0; KEY_LEN];
    let filled = extracted
        .expand(purpose, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut key));
    match filled {
        Ok(()) => key,
        Err(_) => unreachable!("HKDF-SHA-256 gives 32 bytes"),
    }
}

/// The keyed hash of a value in a field. The separator keeps (a, bc) apart from (ab, c).
pub(crate) fn keyed_hash(key: &hmac::Key, field: &str, value: &str) -> Vec<u8> {
    let mut context = hmac::Context::with_key(key);
    context.update(field.as_bytes());
    context.update(&[0]);
    context.update(value.as_bytes());
    context.sign().as_ref().to_vec()
}
