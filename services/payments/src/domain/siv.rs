//! AES-SIV (RFC 5297) over one block without further data: how voucher numbers travel.
//!
//! It is deterministic, so a voucher's number always has the same 44 characters of base64, and a
//! changed one does not open.

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::cmac;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::iv::FixedLength;

/// Bytes of a block, which is what is encrypted.
pub(crate) const BLOCK: usize = 16;
/// Bytes of a key: one for the tag and one for the text.
pub(crate) const KEY: usize = 64;

/// Encrypts a block: its tag, then its text.
pub(crate) fn seal(key: &[u8; KEY], plain: &[u8; BLOCK]) -> Result<[u8; 2 * BLOCK], Unspecified> {
    let (mac, encrypt) = key.split_at(KEY / 2);
    let mac = cmac::Key::new(cmac::AES_256, mac)?;
    let mut last = [0; BLOCK];
    last.copy_from_slice(cmac::sign(&mac, &[0; BLOCK])?.as_ref());
    for (byte, plain) in last.iter_mut().zip(plain) {
        *byte ^= plain;
    }
    let mut tag = [0; BLOCK];
    tag.copy_from_slice(cmac::sign(&mac, &last)?.as_ref());
    // Two bits are cleared, so that adding to the counter never carries beyond 32 bits.
    let mut counter = tag;
    counter[8] &= 0x7f;
    counter[12] &= 0x7f;
    let mut text = *plain;
    let encrypt = EncryptingKey::ctr(UnboundCipherKey::new(&AES_256, encrypt)?)?;
    let context = EncryptionContext::Iv128(FixedLength::from(counter));
    encrypt.less_safe_encrypt(&mut text, context)?;
    let mut sealed = [0; 2 * BLOCK];
    sealed[..BLOCK].copy_from_slice(&tag);
    sealed[BLOCK..].copy_from_slice(&text);
    Ok(sealed)
}

/// Decrypts a block, if its tag is right.
pub(crate) fn open(key: &[u8; KEY], sealed: &[u8; 2 * BLOCK]) -> Result<[u8; BLOCK], Unspecified> {
    let (tag, text) = sealed.split_at(BLOCK);
    let (_, encrypt) = key.split_at(KEY / 2);
    let mut counter = [0; BLOCK];
    counter.copy_from_slice(tag);
    counter[8] &= 0x7f;
    counter[12] &= 0x7f;
    let mut plain = [0; BLOCK];
    plain.copy_from_slice(text);
    // The counter mode is its own inverse.
    let encrypt = EncryptingKey::ctr(UnboundCipherKey::new(&AES_256, encrypt)?)?;
    let context = EncryptionContext::Iv128(FixedLength::from(counter));
    encrypt.less_safe_encrypt(&mut plain, context)?;
    let again = seal(key, &plain)?;
    aws_lc_rs::constant_time::verify_slices_are_equal(&again, sealed)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_another_implementation() {
        let mut key = [0; KEY];
        for (byte, value) in key.iter_mut().zip(0..) {
            *byte = value;
        }
        for (plain, sealed) in [
            (
                b"1234567890123456",
                "349029e3a800bd485d7f22213451148372eefbf37c7d98981afd6292fefd8f6e",
            ),
            (
                b"8999999999999999",
                "e205cdcd9730aeb5683c2f520b8abbe5c39586568c823a407e829a3b7c2b47b5",
            ),
        ] {
            let mut own = seal(&key, plain).unwrap();
            assert_eq!(hex::encode(own), sealed);
            assert_eq!(&open(&key, &own).unwrap(), plain);
            own[20] ^= 1;
            assert!(open(&key, &own).is_err());
        }
    }
}
