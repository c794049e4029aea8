//! The suite's own issuer.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use publica_auth::{AuthConfig, AuthError, CallerKind, Denial, LOCAL_ISSUER, TokenSource};
use publica_jose::{Alg, Jws};
use publica_types::{SystemEntropy, Tenant};
use serde_json::{Value, json};

use crate::{Hand, ask, key, open, source, token};

#[tokio::test]
async fn blocks_know_each_other_by_its_tokens() {
    let clock = Hand::new();
    let tokens = source(&clock);
    let verifier = open(&AuthConfig::default(), Some(&tokens), &clock);
    let north: Tenant = "north".parse().unwrap();
    let minute = Duration::from_mins(1);
    let minted = tokens
        .mint("block:payments", ["consent:*"], &north, minute)
        .unwrap();
    let caller = ask(&verifier, &minted).await.unwrap();
    assert_eq!(
        (caller.subject.as_str(), caller.kind),
        ("block:payments", CallerKind::Block)
    );
    assert_eq!(caller.tenant, north);
    assert!(caller.allows("consent:record:read") && !caller.allows("payments:batch:write"));
    let admin = tokens
        .mint("administrator", ["*"], &Tenant::default(), minute)
        .unwrap();
    let admin = ask(&verifier, &admin).await.unwrap();
    assert_eq!(admin.kind, CallerKind::Machine);
    clock.forward(91);
    assert_eq!(ask(&verifier, &minted).await, Err(Denial::TokenExpired));
}

#[test]
fn tokens_have_the_members_of_rfc_9068() {
    let clock = Hand::new();
    let tokens = source(&clock);
    let minute = Duration::from_mins(1);
    let minted = tokens
        .mint("block:a", ["x:y:z", "q"], &Tenant::default(), minute)
        .unwrap();
    let jws = Jws::parse(&minted).unwrap();
    assert!(jws.header().is_type("at+jwt"));
    assert_eq!(jws.header().kid(), Some(tokens.key().kid()));
    let claims: Value = serde_json::from_slice(&jws.unverified_payload().unwrap()).unwrap();
    for name in [
        "iss",
        "aud",
        "sub",
        "client_id",
        "scope",
        "jti",
        "iat",
        "exp",
        "tenant",
    ] {
        assert!(!claims[name].is_null(), "{name}");
    }
    assert_eq!(claims["scope"], "x:y:z q");
}

#[tokio::test]
async fn only_its_own_key_speaks_for_blocks() {
    let clock = Hand::new();
    let (ours, theirs) = (source(&clock), source(&clock));
    let verifier = open(&AuthConfig::default(), Some(&ours), &clock);
    let foreign = theirs
        .bearer("block:payments", ["*"], &Tenant::default())
        .unwrap();
    let foreign = foreign.to_str().unwrap().strip_prefix("Bearer ").unwrap();
    assert_eq!(
        ask(&verifier, foreign).await.unwrap_err().reason(),
        "TOKEN_INVALID"
    );
    let claims = json!({
        "iss": LOCAL_ISSUER, "aud": "publica", "sub": "block:payments", "client_id": "block:a",
        "jti": "1", "iat": clock.seconds(), "exp": clock.seconds() + 60, "tenant": "default",
    });
    let forged = token(&key(Alg::EdDsa).with_kid(ours.key().kid()), &claims);
    assert_eq!(
        ask(&verifier, &forged).await.unwrap_err().reason(),
        "TOKEN_INVALID"
    );
    assert!(ask(&verifier, &token(ours.key(), &claims)).await.is_ok());
    let nobody = open(&AuthConfig::default(), None, &clock);
    let own = token(ours.key(), &claims);
    assert_eq!(ask(&nobody, &own).await, Err(Denial::IssuerUntrusted));
}

#[test]
fn a_bearer_is_used_again_for_most_of_its_life() {
    let clock = Hand::new();
    let tokens = source(&clock);
    let bearer = |scope: &str| {
        tokens
            .bearer("block:a", [scope], &Tenant::default())
            .unwrap()
    };
    let first = bearer("x");
    assert!(first.is_sensitive());
    assert_ne!(first, bearer("y"));
    clock.forward(239);
    assert_eq!(first, bearer("x"));
    clock.forward(1);
    assert_ne!(first, bearer("x"));
}

#[test]
fn the_key_file_is_made_once_and_kept_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys/workload.jwk");
    let clock = Arc::new(Hand::new());
    let open = || TokenSource::open(&path, clock.clone(), Arc::new(SystemEntropy));
    let first = open().unwrap();
    assert_eq!(first.public_keys(), open().unwrap().public_keys());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(open(), Err(AuthError::KeyFile { .. })));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();

    let next = key(Alg::Es256).to_private_jwk().unwrap();
    let old = first.key().to_private_jwk().unwrap();
    let both = format!("{{\"keys\":[{},{}]}}", next.expose(), old.expose());
    std::fs::write(&path, both).unwrap();
    let rotated = open().unwrap();
    assert_eq!(rotated.public_keys().keys().len(), 2);
    assert_eq!(rotated.key().alg(), Alg::Es256);
    for bad in ["", "{}", "{\"keys\":[]}", "{\"keys\":[{}]}"] {
        std::fs::write(&path, bad).unwrap();
        assert!(open().is_err(), "{bad}");
    }
}

#[test]
fn those_who_start_together_share_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("workload.jwk");
    let clock = Arc::new(Hand::new());
    let open = || TokenSource::open(&path, clock.clone(), Arc::new(SystemEntropy)).unwrap();
    let keys: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        started.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(
        keys.iter()
            .all(|one| one.public_keys() == keys[0].public_keys())
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
