//! Whatever bytes arrive, they are refused or read, never a panic, and never believed.

use std::sync::LazyLock;

use proptest::prelude::*;
use publica_jose::{
    Alg, Claims, Curve, DecryptionKey, JweAlg, JweEnc, Jwk, JwkSet, Jws, Protected, Rotation,
    Sealing, SigningKey, base64url, base64url_decode, decrypt, encrypt, parse_json, sign_jws,
    verify_jws,
};
use publica_types::SystemEntropy;

use crate::key;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| key(Alg::EdDsa));
static SET: LazyLock<JwkSet> = LazyLock::new(|| KEY.public_jwk().clone().into());
static BOX: LazyLock<DecryptionKey> =
    LazyLock::new(|| DecryptionKey::generate(Curve::P256, &SystemEntropy).unwrap());

fn open(token: &str) -> bool {
    let algs = [
        JweAlg::EcdhEs,
        JweAlg::EcdhEsA256Kw,
        JweAlg::RsaOaep256,
        JweAlg::Direct,
    ];
    decrypt(token, &[&BOX], &algs, &[JweEnc::A128Gcm, JweEnc::A256Gcm]).is_ok()
}

/// A payload, and where and how its token is changed.
fn change() -> impl Strategy<Value = (Vec<u8>, u16, u8)> {
    (any::<Vec<u8>>(), any::<u16>(), 1_u8..=255)
}

proptest! {
    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(verify_jws(&text, &SET, Alg::ALL).is_err());
        prop_assert!(!open(&text));
        prop_assert!(Jwk::from_json(&bytes).is_err());
        prop_assert!(JwkSet::from_json(&bytes).is_err());
        prop_assert!(Rotation::from_private_json(&bytes).is_err());
        prop_assert!(SigningKey::from_jwk(&bytes).is_err());
        prop_assert!(DecryptionKey::from_jwk(&bytes).is_err());
        for alg in Alg::ALL {
            prop_assert!(SigningKey::from_pkcs8(*alg, &bytes).is_err());
        }
        let _ = Claims::from_json(&bytes);
    }

    #[test]
    fn dotted_text_is_refused(text in "[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){1,6}") {
        prop_assert!(Jws::parse(&text).and_then(|jws| jws.verify(&SET, Alg::ALL)).is_err());
        prop_assert!(!open(&text));
    }

    #[test]
    fn a_changed_signature_is_refused((payload, at, flip) in change()) {
        let token = sign_jws(&KEY, Protected::new(), &payload).unwrap();
        prop_assert_eq!(verify_jws(&token, &SET, Alg::ALL).unwrap().payload, payload);
        let mut bytes = token.into_bytes();
        let at = usize::from(at) % bytes.len();
        bytes[at] ^= flip;
        let changed = String::from_utf8_lossy(&bytes);
        prop_assert!(verify_jws(&changed, &SET, Alg::ALL).is_err());
    }

    #[test]
    fn a_changed_encryption_is_refused((payload, at, flip) in change()) {
        let sealing = Sealing::To(BOX.public_jwk().unwrap(), JweAlg::EcdhEs);
        let header = Protected::new();
        let token = encrypt(sealing, JweEnc::A128Gcm, header, &payload, &SystemEntropy).unwrap();
        prop_assert!(open(&token));
        let mut bytes = token.into_bytes();
        let at = usize::from(at) % bytes.len();
        bytes[at] ^= flip;
        prop_assert!(!open(&String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn base64url_has_one_spelling(text in "[A-Za-z0-9_=+/-]{0,24}") {
        if let Ok(bytes) = base64url_decode(&text) {
            prop_assert_eq!(base64url(bytes), text);
        }
    }

    #[test]
    fn json_is_read_as_serde_reads_it(text in "[\\[\\]{}\",:0-9a-c. e+-]{0,40}") {
        if let Ok(value) = parse_json(text.as_bytes()) {
            prop_assert_eq!(value, serde_json::from_str::<serde_json::Value>(&text).unwrap());
        }
    }
}
