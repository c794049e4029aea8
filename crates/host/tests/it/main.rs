//! A block behind a real socket: callers, probes, certificates, and stopping in order.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails it by panicking"
)]

mod odd;
mod stage;

use std::time::Duration;

use http::StatusCode;
use publica_host::{Ending, StopTimes};
use publica_proto::imports::v1::ImportEntitiesRequest;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_rpc::reason;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use stage::Stage;

async fn import(channel: &Channel, token: Option<&str>, kind: &str) -> Result<u64, Status> {
    let entity = ImportEntitiesRequest {
        kind: kind.to_owned(),
        ..Default::default()
    };
    let mut request = Request::new(tokio_stream::iter([entity]));
    if let Some(token) = token {
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let mut client = ImportServiceClient::new(channel.clone());
    client
        .import_entities(request)
        .await
        .map(|answer| answer.into_inner().accepted)
}

async fn health(channel: &Channel, service: &str) -> Result<i32, Code> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel.clone()).check(request).await;
    answer
        .map(|answer| answer.into_inner().status)
        .map_err(|status| status.code())
}

#[tokio::test]
async fn only_who_may_call_gets_through() {
    let stage = Stage::plain().await;
    let channel = stage.channel().await;
    let right = stage.token("block:tester", &["odd:import:write"]);
    let wrong = stage.token("block:tester", &["odd:import:read"]);
    assert_eq!(
        import(&channel, Some(&right), "odd.thing").await.unwrap(),
        1
    );
    for (token, code, expected) in [
        (None, Code::Unauthenticated, "CREDENTIALS_REQUIRED"),
        (Some("nonsense"), Code::Unauthenticated, "TOKEN_INVALID"),
        (
            Some(wrong.as_str()),
            Code::PermissionDenied,
            "SCOPE_MISSING",
        ),
    ] {
        let status = import(&channel, token, "odd.thing").await.unwrap_err();
        assert_eq!(status.code(), code);
        assert_eq!(reason(&status).as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn probes_tell_the_phases() {
    let stage = Stage::plain().await;
    let channel = stage.channel().await;
    for service in ["", "publica.imports.v1.ImportService"] {
        assert_eq!(health(&channel, service).await, Ok(1), "{service}");
    }
    assert_eq!(
        health(&channel, "no.such.Service").await,
        Err(Code::NotFound)
    );
    for (path, status, text) in [
        ("/livez", StatusCode::OK, "ok"),
        ("/startupz", StatusCode::OK, "started"),
        ("/readyz", StatusCode::OK, r#""odd":"ready""#),
        (
            "/readyz",
            StatusCode::OK,
            r#""missing_peers":{"odd":["consent"]}"#,
        ),
        ("/metrics", StatusCode::OK, ""),
        ("/other", StatusCode::NOT_FOUND, "not found"),
    ] {
        let (found, body) = stage.probe(path).await;
        assert_eq!(found, status, "{path}");
        assert!(body.contains(text), "{path}: {body}");
    }
    stage.readiness.stopping().await;
    let (status, body) = stage.probe("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("stopping"), "{body}");
    assert_eq!(stage.probe("/livez").await.0, StatusCode::OK);
    assert_eq!(health(&channel, "").await, Ok(2));
}

#[tokio::test]
async fn what_must_be_looked_into_shows_and_keeps_nobody_away() {
    let stage = Stage::plain().await;
    stage.readiness.watch("odd", || None);
    let (status, body) = stage.probe("/readyz").await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        body.contains(r#""state":"ready""#) && !body.contains("concerns"),
        "{body}"
    );
    let concern = || Some("two things are odd".to_owned());
    stage.readiness.watch("odd", concern);
    let (status, body) = stage.probe("/readyz").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains(r#""state":"degraded""#), "{body}");
    assert!(
        body.contains(r#""concerns":{"odd":"two things are odd"}"#),
        "{body}"
    );
    stage.block.break_store();
    let (status, body) = stage.probe("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains(r#""state":"unready""#), "{body}");
}

#[tokio::test]
async fn an_unready_store_shows() {
    let stage = Stage::plain().await;
    stage.block.break_store();
    let (status, body) = stage.probe("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("the store is gone"), "{body}");
}

#[tokio::test]
async fn a_certificate_names_a_block() {
    let stage = Stage::encrypted().await;
    let known = stage
        .secure_channel(Some("spiffe://gov.example/block/messaging"))
        .await
        .unwrap();
    assert_eq!(import(&known, None, "odd.thing").await.unwrap(), 1);
    let unknown = stage
        .secure_channel(Some("spiffe://evil.example/block/messaging"))
        .await;
    let status = import(&unknown.unwrap(), None, "odd.thing")
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let nobody = stage.secure_channel(None).await.unwrap();
    let status = import(&nobody, None, "odd.thing").await.unwrap_err();
    assert_eq!(reason(&status).as_deref(), Some("CREDENTIALS_REQUIRED"));
}

#[tokio::test]
async fn only_tls_1_3_is_spoken() {
    let stage = Stage::encrypted().await;
    assert!(stage.handshake(&rustls::version::TLS13).await.is_ok());
    assert!(stage.handshake(&rustls::version::TLS12).await.is_err());
}

#[tokio::test]
async fn stopping_finishes_what_was_begun() {
    let mut stage = Stage::plain().await;
    let channel = stage.channel().await;
    let token = stage.token("block:tester", &["*"]);
    let stopping = stage.stop(times(0, 60_000));
    let slow = import(&channel, Some(&token), "wait for stop");
    let (ending, answer) = tokio::join!(stopping, slow);
    assert_eq!(answer.unwrap(), 1);
    assert_eq!(ending, Ending::Clean);
    assert!(stage.block.ran_to_its_end());
    assert!(stage.try_channel().await.is_err());
}

#[tokio::test]
async fn the_end_of_the_grace_period_cuts() {
    let mut stage = Stage::plain().await;
    let channel = stage.channel().await;
    let token = stage.token("block:tester", &["*"]);
    let (ending, answer) = tokio::join!(
        stage.stop(times(0, 50)),
        import(&channel, Some(&token), "never")
    );
    assert_eq!(ending, Ending::Cut);
    assert!(answer.is_err());
}

#[tokio::test]
async fn a_second_request_cuts() {
    let mut stage = Stage::plain().await;
    let channel = stage.channel().await;
    let token = stage.token("block:tester", &["*"]);
    let again = stage.requests.clone();
    let second = async {
        let answer = import(&channel, Some(&token), "never");
        let insist = async { again.send(()).await.unwrap() };
        tokio::join!(answer, insist).0
    };
    let (ending, answer) = tokio::join!(stage.stop(times(60_000, 60_000)), second);
    assert_eq!(ending, Ending::Cut);
    assert!(answer.is_err());
}

fn times(drain_delay_ms: u64, grace_ms: u64) -> StopTimes {
    StopTimes {
        drain_delay: Duration::from_millis(drain_delay_ms),
        grace: Duration::from_millis(grace_ms),
    }
}
