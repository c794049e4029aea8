//! Signatures.

use publica_jose::{
    Alg, JoseError, Jwk, JwkSet, Jws, Protected, SigningKey, base64url, sign_detached, sign_jws,
    verify_detached, verify_jws, verify_jws_with,
};
use serde_json::{Value, json};

use crate::key;

const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9p\
                   c19yb290Ijp0cnVlfQ";

#[test]
fn rfc_8037_ed25519() {
    let key = br#"{"kty":"OKP","crv":"Ed25519",
        "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let key = SigningKey::from_jwk(key).unwrap();
    let token = sign_jws(
        &key,
        Protected::new().without_kid(),
        b"Example of Ed25519 signing",
    )
    .unwrap();
    assert_eq!(
        token,
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-\
         09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
    let set = JwkSet::from(key.public_jwk().clone());
    let verified = verify_jws(&token, &set, &[Alg::EdDsa]).unwrap();
    assert_eq!(verified.payload, b"Example of Ed25519 signing");
}

#[test]
fn rfc_7515_a3_es256() {
    let key = br#"{"kty":"EC","crv":"P-256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    let token = format!(
        "eyJhbGciOiJFUzI1NiJ9.{JOE}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8I\
         SlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    let set = JwkSet::from(Jwk::from_json(key).unwrap());
    assert!(
        verify_jws(&token, &set, &[Alg::Es256])
            .unwrap()
            .payload
            .starts_with(b"{\"iss\"")
    );
    let refused = verify_jws(&token, &set, &[Alg::EdDsa, Alg::Es384]);
    assert_eq!(refused.err(), Some(JoseError::AlgorithmNotAllowed));
}

/// Signed with the OpenSSL command line, an implementation other than ours.
#[test]
fn signatures_of_openssl_verify() {
    let cases: Value = serde_json::from_str(include_str!("openssl.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let alg: Alg = case["alg"].as_str().unwrap().parse().unwrap();
        let set = JwkSet::from(Jwk::from_value(&case["key"]).unwrap());
        let token = case["token"].as_str().unwrap();
        let verified = verify_jws(token, &set, &[alg]).unwrap();
        assert_eq!(verified.payload, br#"{"made_with":"OpenSSL"}"#);
        let claimed = token.replacen("eyJhbGciOiJSUzI1NiJ9", "eyJhbGciOiJQUzI1NiJ9", 1);
        assert_eq!(
            verify_jws(&claimed, &set, Alg::ALL).is_ok(),
            alg != Alg::Rs256
        );
    }
}

#[test]
fn every_algorithm_round_trips() {
    for alg in Alg::ALL {
        let key = key(*alg);
        let set = JwkSet::from(key.public_jwk().clone());
        let token = sign_jws(&key, Protected::new().typ("JOSE"), b"payload").unwrap();
        let verified = verify_jws(&token, &set, &[*alg]).unwrap();
        assert_eq!(verified.payload, b"payload");
        assert_eq!(verified.header.kid(), Some(key.kid()));
        assert_eq!(&verified.key, key.public_jwk());
        assert!(verified.header.is_type("application/jose"));
    }
}

#[test]
fn unsigned_and_symmetric_tokens_are_refused() {
    let set = JwkSet::from(key(Alg::Es256).public_jwk().clone());
    for alg in ["none", "None", "HS256", "ES256K", "ES512", ""] {
        let header = base64url(json!({ "alg": alg }).to_string());
        for signature in ["", "AAAA"] {
            let token = format!("{header}.{JOE}.{signature}");
            let refused = verify_jws(&token, &set, Alg::ALL);
            assert_eq!(refused.err(), Some(JoseError::AlgorithmNotAllowed), "{alg}");
        }
    }
    let nameless = format!("{}.{JOE}.AAAA", base64url("{}"));
    assert!(verify_jws(&nameless, &set, Alg::ALL).is_err());
}

#[test]
fn keys_are_chosen_by_id_and_algorithm() {
    let (one, two) = (key(Alg::Es256), key(Alg::Es256));
    let token = sign_jws(&one, Protected::new(), b"x").unwrap();
    let verify = |keys: Vec<Jwk>| verify_jws(&token, &JwkSet::new(keys), Alg::ALL).map(|_| ());
    let (one, two) = (one.public_jwk(), two.public_jwk());
    assert_eq!(verify(vec![two.clone(), one.clone()]), Ok(()));
    assert_eq!(verify(vec![two.clone()]), Err(JoseError::UnknownKey));
    let impostor = two.clone().with_kid(one.kid().unwrap());
    assert_eq!(verify(vec![impostor.clone()]), Err(JoseError::BadSignature));
    assert_eq!(verify(vec![impostor, one.clone()]), Ok(()));
    let nameless = Jwk::from_value(&{
        let mut value = one.to_value();
        value.as_object_mut().unwrap().remove("kid");
        value
    });
    assert_eq!(verify(vec![nameless.unwrap()]), Ok(()));
    assert!(verify_jws_with(&token, one, &[Alg::Es256]).is_ok());
    assert!(verify_jws_with(&token, two, &[Alg::Es256]).is_err());
}

#[test]
fn headers_are_read_strictly() {
    let key = key(Alg::EdDsa);
    let set = JwkSet::from(key.public_jwk().clone());
    let forge = |header: &str| {
        let input = format!("{}.{}", base64url(header), base64url("x"));
        let signature = base64url(key.sign(input.as_bytes()).unwrap());
        verify_jws(&format!("{input}.{signature}"), &set, Alg::ALL).map(|_| ())
    };
    assert_eq!(forge(r#"{"alg":"EdDSA"}"#), Ok(()));
    assert_eq!(forge(r#"{"alg":"Ed25519","x":[1]}"#), Ok(()));
    assert_eq!(
        forge(r#"{"alg":"EdDSA","alg":"none"}"#),
        Err(JoseError::DuplicateMember)
    );
    let critical = r#"{"alg":"EdDSA","crit":["exp"],"exp":1}"#;
    assert_eq!(forge(critical), Err(JoseError::UnsupportedCritical));
    for bad in [
        r#"{"alg":"EdDSA","crit":[]}"#,
        r#"{"alg":"EdDSA","crit":"b64"}"#,
        r#"{"alg":"EdDSA","crit":["b64"],"b64":false}"#,
        r#"{"alg":"EdDSA","kid":1}"#,
        r#"{"alg":["EdDSA"]}"#,
        r#"["EdDSA"]"#,
        "",
    ] {
        assert!(forge(bad).is_err(), "{bad}");
    }
}

#[test]
fn payloads_can_stand_elsewhere() {
    let key = key(Alg::Ps256);
    let set = JwkSet::from(key.public_jwk().clone());
    for unencoded in [false, true] {
        let header = Protected::new().member("sigT", json!("2026-01-01T00:00:00Z"));
        let header = if unencoded {
            header.member("crit", json!(["sigT"]))
        } else {
            header
        };
        let token = sign_detached(&key, header, b"a.b\xff", unencoded).unwrap();
        let check = |payload: &[u8], understood: &[&str]| {
            verify_detached(&token, payload, &set, Alg::ALL, understood).map(|_| ())
        };
        assert_eq!(check(b"a.b\xff", &["sigT"]), Ok(()));
        assert_eq!(check(b"a.b", &["sigT"]), Err(JoseError::BadSignature));
        assert_eq!(check(b"a.b\xff", &[]).is_err(), unencoded);
        assert!(verify_jws(&token, &set, Alg::ALL).is_err());
    }
    let attached = sign_jws(&key, Protected::new(), b"x").unwrap();
    assert!(verify_detached(&attached, b"x", &set, Alg::ALL, &[]).is_err());
}

#[test]
fn size_is_limited() {
    let key = key(Alg::EdDsa);
    let token = sign_jws(&key, Protected::new(), &vec![b'x'; 64 * 1024]).unwrap();
    assert!(matches!(
        Jws::parse(&token),
        Err(JoseError::TooLarge { .. })
    ));
    let set = JwkSet::from(key.public_jwk().clone());
    assert!(
        Jws::parse_limited(&token, 1 << 20)
            .unwrap()
            .verify(&set, Alg::ALL)
            .is_ok()
    );
}
