//! Authentication through its public face.

#![cfg(test)]

mod issuer_keys;
mod layer;
mod local;
mod verifier;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http::{Extensions, HeaderMap, HeaderValue, header};
use publica_auth::{AuthConfig, Caller, Denial, IssuerConfig, TokenSource, Verifier};
use publica_jose::{Alg, JwkSet, SigningKey, sign_jwt};
use publica_types::{Clock, SystemEntropy, Timestamp};
use serde_json::{Value, json};

const ISSUER: &str = "https://id.example";
const START: i64 = 1_800_000_000;

/// A clock that stands still until it is moved.
#[derive(Debug, Clone)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(START)))
    }

    fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    fn seconds(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.seconds())
    }
}

fn key(alg: Alg) -> SigningKey {
    SigningKey::generate(alg, &SystemEntropy).unwrap()
}

fn set_of(keys: &[&SigningKey]) -> JwkSet {
    keys.iter().map(|key| key.public_jwk().clone()).collect()
}

fn source(clock: &Hand) -> TokenSource {
    TokenSource::ephemeral(Arc::new(clock.clone()), Arc::new(SystemEntropy)).unwrap()
}

fn inline(keys: &[&SigningKey]) -> IssuerConfig {
    IssuerConfig {
        issuer: ISSUER.to_owned(),
        jwks: Some(set_of(keys).to_value().to_string()),
        ..IssuerConfig::default()
    }
}

fn trusting(issuer: IssuerConfig) -> AuthConfig {
    AuthConfig {
        issuers: vec![issuer],
        ..AuthConfig::default()
    }
}

fn open(config: &AuthConfig, local: Option<&TokenSource>, clock: &Hand) -> Verifier {
    Verifier::open(config, local, Arc::new(clock.clone())).unwrap()
}

/// Claims of a person, good for an hour.
fn claims(clock: &Hand) -> Value {
    json!({
        "iss": ISSUER,
        "aud": "publica",
        "sub": "person-7",
        "client_id": "portal",
        "scope": "consent:record:read consent:record:write",
        "iat": clock.seconds(),
        "exp": clock.seconds() + Duration::from_hours(1).as_secs().cast_signed(),
    })
}

fn token(key: &SigningKey, claims: &Value) -> String {
    sign_jwt(key, "at+jwt", claims).unwrap()
}

fn bearer(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    headers.insert(header::AUTHORIZATION, value);
    headers
}

async fn ask(verifier: &Verifier, token: &str) -> Result<Arc<Caller>, Denial> {
    verifier.caller_of(&bearer(token), &Extensions::new()).await
}
