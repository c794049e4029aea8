//! Keys, key sets and rotation.

use std::time::Duration;

use publica_jose::{
    Alg, JoseError, Jwk, JwkSet, KeyUse, Protected, Rotation, SigningKey, sign_jws, verify_jws,
};
use publica_types::{Entropy, SystemEntropy, Timestamp};
use serde_json::{Value, json};

use crate::key;

const RFC7638_RSA: &str = concat!(
    r#"{"kty":"RSA","e":"AQAB","alg":"RS256","kid":"2011-04-29","n":""#,
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxu",
    "hDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN",
    "5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5",
    "hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBni",
    "Iqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    r#""}"#,
);

#[derive(Debug)]
struct Sevens;

impl Entropy for Sevens {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

#[test]
fn thumbprints_are_those_of_the_rfcs() {
    let rsa = Jwk::from_json(RFC7638_RSA.as_bytes()).unwrap();
    assert_eq!(
        rsa.thumbprint(),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
    let okp = br#"{"kty":"OKP","crv":"Ed25519",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let okp = Jwk::from_json(okp).unwrap();
    assert_eq!(
        okp.thumbprint(),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
}

#[test]
fn keys_survive_pkcs8_and_private_jwk() {
    for alg in Alg::ALL {
        let original = key(*alg);
        let pkcs8 = original.to_pkcs8().unwrap();
        let copy = SigningKey::from_pkcs8(*alg, pkcs8.expose()).unwrap();
        let private = original.clone().with_kid("mine").to_private_jwk().unwrap();
        let other = SigningKey::from_jwk(private.expose().as_bytes()).unwrap();
        assert_eq!(copy.kid(), original.kid(), "{alg}");
        assert_eq!((other.kid(), other.alg()), ("mine", *alg));
        for key in [&original, &copy, &other] {
            let signature = key.sign(b"message").unwrap();
            let public = original.public_jwk();
            assert_eq!(public.verify(*alg, b"message", &signature), Ok(()));
            assert_eq!(
                public.verify(*alg, b"messagf", &signature),
                Err(JoseError::BadSignature)
            );
        }
        let text = format!("{original:?}");
        assert!(text.contains(original.kid()) && text.len() < 160, "{text}");
    }
}

#[test]
fn elliptic_keys_follow_their_entropy() {
    for alg in [Alg::EdDsa, Alg::Es256, Alg::Es384] {
        let [one, two] = [0; 2].map(|_| SigningKey::generate(alg, &Sevens).unwrap());
        assert_eq!(one.kid(), two.kid());
        assert_ne!(one.kid(), key(alg).kid());
    }
}

#[test]
fn a_key_does_one_algorithm_only() {
    let public = key(Alg::Es256).public_jwk().clone();
    for alg in Alg::ALL {
        assert_eq!(public.allows(*alg), *alg == Alg::Es256);
    }
    let encryption = public.clone().with_use(KeyUse::Encryption);
    assert!(!encryption.allows(Alg::Es256));
    let mut value = public.to_value();
    value["key_ops"] = json!(["encrypt"]);
    assert!(!Jwk::from_value(&value).unwrap().allows(Alg::Es256));
    let rsa = Jwk::from_json(RFC7638_RSA.as_bytes()).unwrap();
    assert!(rsa.allows(Alg::Rs256) && !rsa.allows(Alg::Ps256));
}

#[test]
fn unacceptable_public_keys_are_refused() {
    let good: Value = serde_json::from_str(RFC7638_RSA).unwrap();
    let ec = key(Alg::Es256).public_jwk().to_value();
    let with = |base: &Value, name: &str, value: Value| {
        let mut changed = base.clone();
        changed[name] = value;
        changed
    };
    let short = publica_jose::base64url([0xff_u8; 128]);
    let even_modulus = publica_jose::base64url([0xfe_u8; 256]);
    let bad = [
        with(&good, "d", json!("AQAB")),
        with(&good, "e", json!("Ag")),
        with(&good, "e", json!("AQ")),
        with(&good, "e", json!("AQABAQAB")),
        with(&good, "e", json!("AAEAAQ")),
        with(&good, "e", json!("AQAB=")),
        with(&good, "n", json!(short)),
        with(&good, "n", json!(even_modulus)),
        with(&good, "n", json!("")),
        with(&good, "n", Value::Null),
        with(&good, "kty", json!("oct")),
        with(&good, "use", json!("both")),
        with(&good, "kid", json!(7)),
        with(&good, "kid", json!("k".repeat(600))),
        with(&ec, "x", ec["y"].clone()),
        with(&ec, "x", json!("AQAB")),
        with(&ec, "crv", json!("P-521")),
        with(&ec, "crv", json!("P-384")),
        json!([]),
        json!({"kty": "EC"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAB"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AQAB"}),
    ];
    for bad in bad {
        assert!(Jwk::from_value(&bad).is_err(), "{bad}");
    }
    let twice = br#"{"kty":"EC","kty":"RSA"}"#;
    assert_eq!(Jwk::from_json(twice), Err(JoseError::DuplicateMember));
    let long = vec![b' '; 70_000];
    assert!(matches!(
        Jwk::from_json(&long),
        Err(JoseError::TooLarge { .. })
    ));
}

#[test]
fn mismatched_private_keys_are_refused() {
    for alg in [Alg::EdDsa, Alg::Es256, Alg::Rs256] {
        let private = key(alg).to_private_jwk().unwrap();
        let mut value: Value = serde_json::from_str(private.expose()).unwrap();
        let other = key(alg).to_private_jwk().unwrap();
        let other: Value = serde_json::from_str(other.expose()).unwrap();
        value["d"] = other["d"].clone();
        assert!(SigningKey::from_jwk_value(&value).is_err(), "{alg}");
        value["d"] = Value::Null;
        assert!(SigningKey::from_jwk_value(&value).is_err(), "{alg}");
        let mut wrong: Value = serde_json::from_str(private.expose()).unwrap();
        wrong["alg"] = json!(if alg == Alg::Es256 { "EdDSA" } else { "ES256" });
        assert!(SigningKey::from_jwk_value(&wrong).is_err(), "{alg}");
    }
    let ed = key(Alg::EdDsa).to_pkcs8().unwrap();
    assert!(SigningKey::from_pkcs8(Alg::Es256, ed.expose()).is_err());
}

#[test]
fn sets_leave_out_what_they_do_not_know() {
    let good = key(Alg::EdDsa).public_jwk().to_value();
    let foreign = json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AQAB"});
    let text = json!({ "keys": [foreign, good] }).to_string();
    assert_eq!(JwkSet::from_json(text.as_bytes()).unwrap().keys().len(), 1);
    assert!(JwkSet::from_json_strictly(text.as_bytes()).is_err());
    for bad in ["[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(JwkSet::from_json(bad.as_bytes()).is_err(), "{bad}");
    }
    let many = json!({ "keys": vec![good; 300] }).to_string();
    assert!(JwkSet::from_json(many.as_bytes()).is_err());
}

#[test]
fn rotation_publishes_before_and_after() {
    let at = Timestamp::from_seconds;
    let (first, second) = (key(Alg::EdDsa), key(Alg::EdDsa));
    let token = sign_jws(&first, Protected::new(), b"x").unwrap();
    let mut rotation = Rotation::new(first.clone());
    assert!(!rotation.promote(at(0), Duration::from_secs(10)));
    rotation.stage(second.clone());
    assert_eq!(rotation.published(at(0)).keys().len(), 2);
    assert_eq!(rotation.signing().kid(), first.kid());
    assert!(rotation.promote(at(100), Duration::from_secs(10)));
    assert_eq!(rotation.signing().kid(), second.kid());

    let json = rotation.to_private_json().unwrap();
    let mut rotation = Rotation::from_private_json(json.expose().as_bytes()).unwrap();
    assert_eq!(rotation.signing().kid(), second.kid());
    assert!(verify_jws(&token, &rotation.published(at(109)), Alg::ALL).is_ok());
    let late = verify_jws(&token, &rotation.published(at(110)), Alg::ALL);
    assert_eq!(late.err(), Some(JoseError::UnknownKey));
    assert_eq!(rotation.prune(at(110)), 1);
    assert_eq!(rotation.prune(at(110)), 0);
}

#[test]
fn a_leaked_key_goes_at_once() {
    let mut rotation = Rotation::new(key(Alg::Es256));
    let leaked = rotation.signing().kid().to_owned();
    assert!(!rotation.revoke(&leaked));
    rotation.stage(SigningKey::generate(Alg::Es256, &SystemEntropy).unwrap());
    rotation.promote(Timestamp::EPOCH, Duration::from_hours(1));
    assert!(rotation.revoke(&leaked));
    assert!(rotation.published(Timestamp::EPOCH).find(&leaked).is_none());
    let next = key(Alg::Es256);
    rotation.stage(next.clone());
    assert!(rotation.revoke(next.kid()));
    assert!(rotation.next().is_none());
}
