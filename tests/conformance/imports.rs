//! The schemas of what can be brought in, where the gateway publishes them.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use publica_auth::{AuthConfig, Verifier};
use publica_gateway::{Gateway, GatewayConfig, GatewayState, Parts};
use publica_host::Profile;
use publica_testkit::{env, tokens};
use publica_types::SystemClock;
use serde_json::Value;
use tower::ServiceExt as _;

/// A gateway in front of two blocks, neither of which is asked anything.
fn gateway() -> Router {
    let own = env("gateway");
    let verifier = Verifier::open(
        &AuthConfig::default(),
        Some(tokens()),
        Arc::new(SystemClock),
    )
    .unwrap();
    let state = GatewayState::new(Parts {
        peers: own.peers.clone(),
        verifier: Arc::new(verifier),
        tokens: tokens().clone(),
        profile: Profile::Local,
        clock: own.clock.clone(),
        entropy: own.entropy.clone(),
        blocks: vec!["payments".to_owned(), "consent".to_owned()],
    });
    Gateway::new(GatewayConfig::default(), state).router()
}

async fn get(gateway: &Router, path: &str) -> (StatusCode, String, Value) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = gateway.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let media_type = parts.headers["content-type"].to_str().unwrap().to_owned();
    (
        parts.status,
        media_type,
        serde_json::from_slice(&bytes).unwrap(),
    )
}

#[tokio::test]
async fn every_kind_of_the_blocks_behind_it_has_its_schema() {
    let gateway = gateway();
    let (status, media_type, list) = get(&gateway, "/gateway/v1/imports").await;
    assert_eq!(
        (status, media_type.starts_with("application/json")),
        (StatusCode::OK, true)
    );
    let kinds = list["kinds"].as_array().unwrap();
    assert_eq!(kinds.len(), 13, "{list}");
    for kind in kinds {
        assert!(matches!(
            kind["block"].as_str(),
            Some("payments" | "consent")
        ));
        let path = kind["schema"].as_str().unwrap();
        let (status, media_type, schema) = get(&gateway, path).await;
        assert_eq!(
            (status, media_type.as_str()),
            (StatusCode::OK, "application/schema+json")
        );
        assert_eq!(schema["properties"]["kind"]["const"], kind["kind"]);
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
    }
    let (status, media_type, problem) = get(&gateway, "/gateway/v1/imports/payments.coin").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(media_type.starts_with("application/problem+json"));
    assert_eq!(problem["code"], "NOT_FOUND");
}
