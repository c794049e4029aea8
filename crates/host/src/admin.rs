//! The admin port: probes and metrics, apart from the service itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::BoxFuture;
use http::{StatusCode, header};
use publica_telemetry::Telemetry;
use serde_json::json;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::Mounted;

const STARTING: u8 = 0;
const READY: u8 = 1;
const STOPPING: u8 = 2;
const CHECK_LIMIT: Duration = Duration::from_secs(2);

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;
type Concern = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// What the probes say, and the gRPC health service with it.
#[derive(Clone)]
pub struct Readiness(Arc<Inner>);

struct Inner {
    phase: AtomicU8,
    checks: Mutex<BTreeMap<String, Check>>,
    concerns: Mutex<BTreeMap<String, Concern>>,
    missing_peers: Mutex<BTreeMap<String, Vec<String>>>,
    health: HealthReporter,
    services: Mutex<Vec<String>>,
}

impl Readiness {
    /// Starting, with nothing to check yet; and the gRPC health service it feeds.
    pub fn new() -> (Self, Routes) {
        let (health, server) = tonic_health::server::health_reporter();
        let state = Inner {
            phase: AtomicU8::new(STARTING),
            checks: Mutex::default(),
            concerns: Mutex::default(),
            missing_peers: Mutex::default(),
            health,
            services: Mutex::default(),
        };
        (Self(Arc::new(state)), Routes::new(server))
    }

    /// Adds a block: its services become healthy once everything is ready.
    pub async fn add(
        &self,
        block: &Mounted,
        check: impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    ) {
        lock(&self.0.checks).insert(block.name.to_owned(), Arc::new(check));
        let services: Vec<String> = block.services().into_iter().collect();
        lock(&self.0.services).extend(services.iter().cloned());
        for service in services {
            self.0
                .health
                .set_service_status(service, ServingStatus::NotServing)
                .await;
        }
    }

    /// Asks a block what an operator must look into.
    pub fn watch(&self, block: &str, concern: impl Fn() -> Option<String> + Send + Sync + 'static) {
        lock(&self.0.concerns).insert(block.to_owned(), Arc::new(concern));
    }

    /// What blocks say that an operator must look into.
    fn concerns(&self) -> BTreeMap<String, String> {
        let concerns = lock(&self.0.concerns).clone();
        let told = concerns.into_iter();
        told.filter_map(|(name, concern)| Some((name, concern()?)))
            .collect()
    }

    /// Notes a peer that a block would like and does not have.
    pub fn missing_peer(&self, block: &str, peer: &str) {
        lock(&self.0.missing_peers)
            .entry(block.to_owned())
            .or_default()
            .push(peer.to_owned());
    }

    /// Everything is open.
    pub async fn started(&self) {
        self.0.phase.store(READY, Ordering::Release);
        self.report(ServingStatus::Serving).await;
    }

    /// No more work should be sent here.
    pub async fn stopping(&self) {
        self.0.phase.store(STOPPING, Ordering::Release);
        self.report(ServingStatus::NotServing).await;
    }

    async fn report(&self, status: ServingStatus) {
        let services = lock(&self.0.services).clone();
        for service in services.into_iter().chain([String::new()]) {
            self.0.health.set_service_status(service, status).await;
        }
    }

    fn phase(&self) -> u8 {
        self.0.phase.load(Ordering::Acquire)
    }

    /// What every block says of its own store; peers do not count.
    async fn blocks(&self) -> BTreeMap<String, Result<(), String>> {
        let checks = lock(&self.0.checks).clone();
        let mut answers = BTreeMap::new();
        for (name, check) in checks {
            let answer = tokio::time::timeout(CHECK_LIMIT, check()).await;
            answers.insert(
                name,
                answer.unwrap_or_else(|_| Err("no answer in time".to_owned())),
            );
        }
        answers
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The routes of the admin port.
pub fn admin(readiness: Readiness, telemetry: Option<Telemetry>) -> Router {
    let metrics = move || {
        let telemetry = telemetry.clone();
        async move { render(telemetry.as_ref()) }
    };
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/startupz", get(startup))
        .route("/readyz", get(ready))
        .with_state(readiness)
        .route("/metrics", get(metrics))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") })
        .method_not_allowed_fallback(|| async { (StatusCode::METHOD_NOT_ALLOWED, "use GET\n") })
}

fn render(telemetry: Option<&Telemetry>) -> Response {
    let text = telemetry.map(Telemetry::render).unwrap_or_default();
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
        .into_response()
}

async fn startup(State(readiness): State<Readiness>) -> Response {
    match readiness.phase() {
        STARTING => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
        _ => "started\n".into_response(),
    }
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let phase = readiness.phase();
    let blocks = readiness.blocks().await;
    let ready = phase == READY && blocks.values().all(Result::is_ok);
    let concerns = readiness.concerns();
    let state = match phase {
        STARTING => "starting",
        READY if ready && !concerns.is_empty() => "degraded",
        READY if ready => "ready",
        READY => "unready",
        _ => "stopping",
    };
    let blocks: BTreeMap<_, _> = blocks
        .into_iter()
        .map(|(name, answer)| (name, answer.err().unwrap_or_else(|| "ready".to_owned())))
        .collect();
    let missing = lock(&readiness.0.missing_peers).clone();
    let mut body = json!({ "state": state, "blocks": blocks, "missing_peers": missing });
    if !concerns.is_empty() {
        body["concerns"] = json!(concerns);
    }
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, axum::Json(body)).into_response()
}
