//! Tokens of configured issuers, API keys and certificates.

use std::sync::Arc;

use http::{Extensions, HeaderMap, HeaderValue};
use publica_auth::{
    AnonymousRole, ApiKeyConfig, ApiKeyHasher, AuthConfig, CallerKind, Denial, IssuerConfig,
    LOCAL_ISSUER, PeerCertificates, Verifier,
};
use publica_jose::{Alg, base64url, sign_jwt};
use publica_types::{Secret, Tenant};
use rcgen::{CertificateParams, KeyPair, SanType};
use serde_json::{Value, json};

use crate::{Hand, ISSUER, ask, bearer, claims, inline, key, open, token, trusting};

#[tokio::test]
async fn persons_and_machines_are_told_apart() {
    let (clock, key) = (Hand::new(), key(Alg::Es256));
    let verifier = open(&trusting(inline(&[&key])), None, &clock);
    let person = ask(&verifier, &token(&key, &claims(&clock))).await.unwrap();
    assert_eq!(
        (person.subject.as_str(), person.kind),
        ("person-7", CallerKind::Person)
    );
    assert_eq!(person.client_id.as_deref(), Some("portal"));
    assert!(person.allows("consent:record:write") && !person.allows("payments:account:read"));
    let mut machine = claims(&clock);
    machine["sub"] = json!("portal");
    let machine = ask(&verifier, &token(&key, &machine)).await.unwrap();
    assert_eq!(machine.kind, CallerKind::Machine);
}

#[tokio::test]
async fn a_token_may_say_where_its_subject_belongs() {
    let (clock, key) = (Hand::new(), key(Alg::Es256));
    let verifier = open(&trusting(inline(&[&key])), None, &clock);
    for (said, known) in [
        (json!("Ministry of Health"), Some("Ministry of Health")),
        (json!("a\nb"), None),
        (json!(""), None),
        (json!("x".repeat(256)), None),
        (json!(["Ministry of Health"]), None),
        (Value::Null, None),
    ] {
        let mut own = claims(&clock);
        own["affiliation"] = said;
        let caller = ask(&verifier, &token(&key, &own)).await.unwrap();
        assert_eq!(caller.affiliation.as_deref(), known, "{own}");
    }
}

#[tokio::test]
async fn a_token_works_until_it_expires() {
    let (clock, key) = (Hand::new(), key(Alg::EdDsa));
    let verifier = open(&trusting(inline(&[&key])), None, &clock);
    let token = token(&key, &claims(&clock));
    for _ in 0..2 {
        assert!(ask(&verifier, &token).await.is_ok());
    }
    assert!(verifier.verify_token(&token).await.is_ok());
    clock.forward(3_600);
    // Within the leeway the signature and the claims are looked at again.
    assert!(ask(&verifier, &token).await.is_ok());
    clock.forward(30);
    assert_eq!(ask(&verifier, &token).await, Err(Denial::TokenExpired));
}

#[tokio::test]
async fn what_an_issuer_may_not_say_is_refused() {
    let (clock, key, other) = (Hand::new(), key(Alg::Es256), key(Alg::Es256));
    let verifier = open(&trusting(inline(&[&key])), None, &clock);
    let changes: [(&str, Value, &str); 19] = [
        ("iss", json!("https://evil.example"), "ISSUER_UNTRUSTED"),
        ("iss", json!(LOCAL_ISSUER), "ISSUER_UNTRUSTED"),
        ("iss", Value::Null, "ISSUER_UNTRUSTED"),
        ("aud", json!("other"), "TOKEN_INVALID"),
        ("aud", Value::Null, "TOKEN_INVALID"),
        ("sub", json!("block:payments"), "ISSUER_UNTRUSTED"),
        ("sub", json!("person\n7"), "TOKEN_INVALID"),
        ("sub", json!("person\u{0}7"), "TOKEN_INVALID"),
        ("sub", json!("system:sweeper"), "ISSUER_UNTRUSTED"),
        ("sub", json!("key:1"), "ISSUER_UNTRUSTED"),
        ("sub", json!(""), "TOKEN_INVALID"),
        ("sub", json!("x".repeat(300)), "TOKEN_INVALID"),
        ("sub", Value::Null, "TOKEN_INVALID"),
        ("exp", json!(1), "TOKEN_EXPIRED"),
        ("exp", Value::Null, "TOKEN_INVALID"),
        ("nbf", json!(clock.seconds() + 61), "TOKEN_INVALID"),
        ("tenant", json!("north"), "ISSUER_UNTRUSTED"),
        ("tenant", json!("../x"), "ISSUER_UNTRUSTED"),
        ("cnf", json!({"jkt": "x"}), "TOKEN_BOUND"),
    ];
    for (name, value, reason) in changes {
        let mut changed = claims(&clock);
        changed[name] = value;
        let denial = ask(&verifier, &token(&key, &changed)).await.unwrap_err();
        assert_eq!(denial.reason(), reason, "{changed}");
    }
    let forged = ask(&verifier, &token(&other, &claims(&clock)))
        .await
        .unwrap_err();
    assert_eq!(forged.reason(), "TOKEN_INVALID");
    let forged = token(&other.with_kid(key.kid()), &claims(&clock));
    assert_eq!(
        ask(&verifier, &forged).await.unwrap_err().reason(),
        "TOKEN_INVALID"
    );
    for junk in ["x", "a.b.c", "..", &"a".repeat(20_000)] {
        assert_eq!(
            ask(&verifier, junk).await.unwrap_err().reason(),
            "TOKEN_INVALID"
        );
    }
}

#[tokio::test]
async fn types_and_algorithms_are_those_agreed_on() {
    let (clock, key) = (Hand::new(), key(Alg::Rs256));
    let token = sign_jwt(&key, "JWT", &claims(&clock)).unwrap();
    let with = |algorithms: &[&str], accept_plain_jwt| IssuerConfig {
        algorithms: algorithms.iter().map(|name| (*name).to_owned()).collect(),
        accept_plain_jwt,
        ..inline(&[&key])
    };
    for (config, good) in [
        (with(&["RS256"], true), true),
        (with(&["RS256"], false), false),
        (with(&["ES256"], true), false),
        (with(&[], true), false),
    ] {
        let verifier = open(&trusting(config), None, &clock);
        assert_eq!(ask(&verifier, &token).await.is_ok(), good);
    }
}

#[tokio::test]
async fn an_issuer_speaks_for_its_tenants() {
    let (clock, key) = (Hand::new(), key(Alg::EdDsa));
    let tenant = |name: &str| name.parse::<Tenant>().unwrap();
    let of = |tenants: &[&str], claimed: Option<&str>| {
        let mut issuer = inline(&[&key]);
        issuer.tenants = tenants.iter().map(|name| tenant(name)).collect();
        let mut claims = claims(&clock);
        if let Some(claimed) = claimed {
            claims["tenant"] = json!(claimed);
        }
        (open(&trusting(issuer), None, &clock), token(&key, &claims))
    };
    for (tenants, claimed, expected) in [
        (&[][..], None, Some("default")),
        (&["north"][..], None, Some("north")),
        (&["north", "south"], Some("south"), Some("south")),
        (&["north", "south"], None, None),
        (&["north"], Some("default"), None),
    ] {
        let (verifier, token) = of(tenants, claimed);
        let caller = ask(&verifier, &token).await.ok();
        assert_eq!(
            caller.map(|caller| caller.tenant.clone()),
            expected.map(tenant),
            "{tenants:?}"
        );
    }
}

fn certificate(uri: &str) -> PeerCertificates {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .subject_alt_names
        .push(SanType::URI(uri.try_into().unwrap()));
    let key = KeyPair::generate().unwrap();
    PeerCertificates(Arc::new(vec![
        params.self_signed(&key).unwrap().der().clone(),
    ]))
}

#[tokio::test]
async fn certificates_prove_blocks_and_bound_tokens() {
    let (clock, key) = (Hand::new(), key(Alg::EdDsa));
    let mut config = trusting(inline(&[&key]));
    config.trust_domain = Some("gov.example".to_owned());
    let verifier = open(&config, None, &clock);
    let mine = certificate("spiffe://gov.example/block/gateway");
    let thumbprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &mine.0[0]);
    let with = |chain: Option<&PeerCertificates>| {
        let mut extensions = Extensions::new();
        if let Some(chain) = chain {
            extensions.insert(chain.clone());
        }
        extensions
    };
    let block = verifier
        .caller_of(&HeaderMap::new(), &with(Some(&mine)))
        .await
        .unwrap();
    assert_eq!(
        (block.subject.as_str(), block.kind),
        ("block:gateway", CallerKind::Block)
    );
    let stranger = certificate("spiffe://elsewhere/block/gateway");
    let denied = verifier
        .caller_of(&HeaderMap::new(), &with(Some(&stranger)))
        .await;
    assert_eq!(denied, Err(Denial::WorkloadUnknown));

    let mut claims = claims(&clock);
    claims["cnf"] = json!({ "x5t#S256": base64url(thumbprint) });
    let headers = bearer(&token(&key, &claims));
    let other = certificate("spiffe://gov.example/block/gateway");
    // Twice: the second time the token is known already.
    for _ in 0..2 {
        let ask = async |chain| verifier.caller_of(&headers, &with(chain)).await;
        assert_eq!(ask(None).await, Err(Denial::TokenBound));
        assert_eq!(ask(Some(&other)).await, Err(Denial::TokenBound));
        assert_eq!(ask(Some(&mine)).await.unwrap().subject, "person-7");
    }
}

#[tokio::test]
async fn api_keys_come_in_either_spelling() {
    let clock = Hand::new();
    let hasher = ApiKeyHasher::new(&[7; 32]);
    let config = AuthConfig {
        api_key_secret: Some(Secret::new(String::from_utf8(vec![7; 32]).unwrap())),
        api_keys: vec![ApiKeyConfig {
            id: "portal".to_owned(),
            hash: hasher.hash_text("pk_secret"),
            scopes: vec!["messaging:*".to_owned()],
            affiliation: Some("Ministry of Health".to_owned()),
            tenant: Tenant::default(),
            expires: None,
            revoked: false,
        }],
        ..AuthConfig::default()
    };
    let verifier = open(&config, None, &clock);
    let mut own = HeaderMap::new();
    own.append("apikey", HeaderValue::from_static("pk_secret"));
    let caller = verifier.caller_of(&own, &Extensions::new()).await;
    let affiliation = caller.unwrap().affiliation.clone();
    assert_eq!(affiliation.as_deref(), Some("Ministry of Health"));
    let ask = async |pairs: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let caller = verifier.caller_of(&headers, &Extensions::new()).await;
        caller
            .map(|caller| caller.subject.clone())
            .map_err(|denial| denial.reason())
    };
    for name in ["apikey", "api_key", "x-api-key"] {
        assert_eq!(
            ask(&[(name, "pk_secret")]).await,
            Ok("key:portal".to_owned())
        );
    }
    assert_eq!(ask(&[("apikey", "pk_wrong")]).await, Err("API_KEY_INVALID"));
    let malformed = Err("CREDENTIALS_MALFORMED");
    assert_eq!(
        ask(&[("apikey", "pk_secret"), ("x-api-key", "pk_secret")]).await,
        malformed
    );
    assert_eq!(
        ask(&[("apikey", "pk_secret"), ("authorization", "Bearer x")]).await,
        malformed
    );
    assert_eq!(
        ask(&[("authorization", "Bearer x"), ("authorization", "Bearer x")]).await,
        malformed
    );
    for header in ["authorization", "apikey", "api_key", "x-api-key"] {
        let mut headers = HeaderMap::new();
        headers.append(header, HeaderValue::from_static("pk_secret"));
        headers.append(header, HeaderValue::from_static("pk_secret"));
        let denied = verifier.caller_of(&headers, &Extensions::new()).await;
        assert_eq!(denied, Err(Denial::CredentialsRepeated { header }));
    }
    for odd in ["Basic eDp5", "Bearer", "Bearer ", "Bearer a b", "x"] {
        assert_eq!(ask(&[("authorization", odd)]).await, malformed, "{odd}");
    }
    assert_eq!(ask(&[]).await, Ok("anonymous".to_owned()));
    let without = open(&AuthConfig::default(), None, &clock);
    let mut headers = HeaderMap::new();
    headers.insert("apikey", HeaderValue::from_static("pk_secret"));
    let denied = without.caller_of(&headers, &Extensions::new()).await;
    assert_eq!(denied, Err(Denial::ApiKeyInvalid));
}

#[tokio::test]
async fn the_conformance_profile_names_anonymous_callers() {
    let clock = Hand::new();
    let role = AnonymousRole {
        name: "suite".to_owned(),
        scopes: vec!["*".to_owned()],
    };
    let verifier = open(&AuthConfig::default(), None, &clock).with_anonymous(role);
    let caller = verifier
        .caller_of(&HeaderMap::new(), &Extensions::new())
        .await
        .unwrap();
    assert_eq!(
        (caller.subject.as_str(), caller.kind),
        ("role:suite", CallerKind::Anonymous)
    );
    assert!(caller.allows("consent:record:read"));
    assert!(ask(&verifier, "junk").await.is_err());
}

#[test]
fn settings_are_judged_before_they_are_used() {
    let clock = Arc::new(Hand::new());
    let unsafe_url = IssuerConfig {
        issuer: ISSUER.to_owned(),
        jwks_url: Some("http://id.example/jwks".to_owned()),
        ..IssuerConfig::default()
    };
    assert!(Verifier::open(&trusting(unsafe_url), None, clock.clone()).is_err());
    let ours = IssuerConfig {
        issuer: LOCAL_ISSUER.to_owned(),
        ..inline(&[&key(Alg::EdDsa)])
    };
    assert!(Verifier::open(&trusting(ours), None, clock).is_err());
    let text = r#"{"issuers": [{"issuer": "a", "jwks_uri": "https://a"}]}"#;
    assert!(
        serde_json::from_str::<AuthConfig>(text).is_err(),
        "unknown settings are refused"
    );
}
