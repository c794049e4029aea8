//! Encryption.

use publica_jose::{
    Alg, Curve, DecryptionKey, JoseError, JweAlg, JweEnc, Protected, Sealing, base64url,
    base64url_decode, decrypt, encrypt,
};
use publica_types::SystemEntropy;
use serde_json::json;

use crate::key;

const ALGS: [JweAlg; 5] = [
    JweAlg::RsaOaep256,
    JweAlg::EcdhEs,
    JweAlg::EcdhEsA128Kw,
    JweAlg::EcdhEsA256Kw,
    JweAlg::Direct,
];
const ENCS: [JweEnc; 2] = [JweEnc::A128Gcm, JweEnc::A256Gcm];

fn rsa() -> DecryptionKey {
    DecryptionKey::from_rsa_pkcs8(key(Alg::Rs256).to_pkcs8().unwrap().expose()).unwrap()
}

fn seal(key: &DecryptionKey, alg: JweAlg, enc: JweEnc, header: Protected) -> String {
    let sealing = Sealing::To(key.public_jwk().unwrap(), alg);
    encrypt(sealing, enc, header, b"a secret", &SystemEntropy).unwrap()
}

#[test]
fn every_algorithm_round_trips() {
    let p256 = DecryptionKey::generate(Curve::P256, &SystemEntropy).unwrap();
    let p384 = DecryptionKey::generate(Curve::P384, &SystemEntropy).unwrap();
    let rsa = rsa();
    let keys = [&p256, &p384, &rsa];
    for enc in ENCS {
        for (key, alg) in [
            (&rsa, JweAlg::RsaOaep256),
            (&p256, JweAlg::EcdhEs),
            (&p384, JweAlg::EcdhEs),
            (&p256, JweAlg::EcdhEsA128Kw),
            (&p384, JweAlg::EcdhEsA256Kw),
        ] {
            let header = Protected::new().typ("JWT").member("apv", json!("Qm9i"));
            let token = seal(key, alg, enc, header);
            let opened = decrypt(&token, &keys, &[alg], &[enc]).unwrap();
            assert_eq!(opened.plaintext, b"a secret");
            assert_eq!(opened.header.kid(), key.kid());
            assert!(decrypt(&token, &keys, &[JweAlg::Direct], &[enc]).is_err());
        }
    }
}

#[test]
fn shared_keys_encrypt_directly() {
    let secret = [9_u8; 32];
    let key = DecryptionKey::shared(&secret).unwrap();
    let sealing = Sealing::Shared(&secret);
    let token = encrypt(
        sealing,
        JweEnc::A256Gcm,
        Protected::new(),
        b"x",
        &SystemEntropy,
    )
    .unwrap();
    let open = |key| decrypt(&token, &[key], &ALGS, &ENCS).map(|opened| opened.plaintext);
    assert_eq!(open(&key), Ok(b"x".to_vec()));
    let other = DecryptionKey::shared(&[8_u8; 32]).unwrap();
    assert_eq!(open(&other), Err(JoseError::Undecryptable));
    assert!(DecryptionKey::shared(&[1_u8; 24]).is_err());
}

#[test]
fn changed_tokens_do_not_open() {
    let ec = DecryptionKey::generate(Curve::P256, &SystemEntropy).unwrap();
    let rsa = rsa();
    for (key, alg) in [
        (&ec, JweAlg::EcdhEsA256Kw),
        (&ec, JweAlg::EcdhEs),
        (&rsa, ALGS[0]),
    ] {
        let token = seal(key, alg, JweEnc::A256Gcm, Protected::new());
        let parts: Vec<&str> = token.split('.').collect();
        for index in 0..5 {
            let mut bytes = base64url_decode(parts[index]).unwrap();
            let Some(last) = bytes.last_mut() else {
                continue;
            };
            *last ^= 1;
            let changed = base64url(&bytes);
            let mut other = parts.clone();
            other[index] = &changed;
            assert!(
                decrypt(&other.join("."), &[key], &ALGS, &ENCS).is_err(),
                "{index}"
            );
        }
        let mut foreign = parts.clone();
        foreign[1] = if parts[1].is_empty() { "AAAA" } else { "" };
        let refused = decrypt(&foreign.join("."), &[key], &ALGS, &ENCS);
        assert_eq!(refused.err(), Some(JoseError::Undecryptable));
    }
}

#[test]
fn dangerous_headers_are_refused() {
    let key = DecryptionKey::generate(Curve::P256, &SystemEntropy).unwrap();
    let refused = |header: Protected| {
        let token = seal(&key, JweAlg::EcdhEs, JweEnc::A128Gcm, header);
        decrypt(&token, &[&key], &ALGS, &ENCS).err()
    };
    assert_eq!(refused(Protected::new()), None);
    let zip = Protected::new().member("zip", json!("DEF"));
    assert_eq!(refused(zip), Some(JoseError::AlgorithmNotAllowed));
    let crit = Protected::new()
        .member("crit", json!(["x"]))
        .member("x", json!(1));
    assert_eq!(refused(crit), Some(JoseError::UnsupportedCritical));
    let foreign = Protected::new().member("kid", json!("other"));
    assert_eq!(refused(foreign), Some(JoseError::UnknownKey));
    let point_elsewhere = {
        let token = seal(&key, JweAlg::EcdhEs, JweEnc::A128Gcm, Protected::new());
        let (header, rest) = token.split_once('.').unwrap();
        let mut header: serde_json::Value =
            serde_json::from_slice(&base64url_decode(header).unwrap()).unwrap();
        header["epk"]["y"] = header["epk"]["x"].clone();
        format!("{}.{rest}", base64url(header.to_string()))
    };
    let opened = decrypt(&point_elsewhere, &[&key], &ALGS, &ENCS);
    assert_eq!(opened.err(), Some(JoseError::Undecryptable));
}

#[test]
fn private_keys_can_be_stored() {
    let ec = DecryptionKey::generate(Curve::P384, &SystemEntropy)
        .unwrap()
        .with_kid("enc-1");
    let copy = DecryptionKey::from_jwk(ec.to_private_bytes().unwrap().expose()).unwrap();
    assert_eq!(copy.kid(), Some("enc-1"));
    let token = seal(&ec, JweAlg::EcdhEs, JweEnc::A256Gcm, Protected::new());
    assert!(decrypt(&token, &[&copy], &ALGS, &ENCS).is_ok());

    let signing = key(Alg::Rs256);
    let jwk = signing.to_private_jwk().unwrap();
    let rsa = DecryptionKey::from_jwk(jwk.expose().as_bytes()).unwrap();
    let token = seal(&rsa, JweAlg::RsaOaep256, JweEnc::A256Gcm, Protected::new());
    let bytes = rsa.to_private_bytes().unwrap();
    let copy = DecryptionKey::from_rsa_pkcs8(bytes.expose()).unwrap();
    let copy = copy.with_kid(rsa.kid().unwrap());
    assert!(decrypt(&token, &[&copy], &ALGS, &ENCS).is_ok());
    assert!(
        DecryptionKey::from_jwk(
            key(Alg::EdDsa)
                .to_private_jwk()
                .unwrap()
                .expose()
                .as_bytes()
        )
        .is_err()
    );
}
