//! Puts surfaces, pages and descriptions together into routers for the host to serve.

use std::net::SocketAddr;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde_json::{Value, json};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::{GatewayConfig, SurfaceConfig};
use crate::problem::Problem;
use crate::rest::{self, SURFACES, Surface};
use crate::state::GatewayState;
use crate::{description, layers, pages, respond};

/// The gateway: routers for the shared listener and for surfaces of their own.
#[derive(Clone)]
pub struct Gateway {
    config: GatewayConfig,
    state: GatewayState,
}

impl Gateway {
    /// A gateway in front of the blocks that `state` reaches.
    pub fn new(config: GatewayConfig, state: GatewayState) -> Self {
        Self { config, state }
    }

    /// Everything on the shared listener: `/<block>/…`, pages, descriptions.
    pub fn router(&self) -> Router {
        let mut router: Router<GatewayState> = Router::new()
            .route("/healthcheck", get(health_check))
            .route("/gateway/v1/blocks", get(blocks))
            .route("/gateway/v1/openapi/{block}", get(openapi))
            .merge(pages::router());
        for surface in self.served() {
            let mount = format!("/{}", surface.block);
            router = router.nest_service(&mount, (surface.router)(self.state.clone()));
        }
        self.finish(router.fallback(nowhere))
    }

    /// Surfaces with a listener of their own, at the root, byte for byte as published.
    pub fn surfaces(&self) -> Vec<(SocketAddr, &'static str, Router)> {
        self.config
            .surfaces
            .iter()
            .filter_map(|(block, settings)| {
                let surface = rest::surface(block)?;
                Some((
                    settings.listen,
                    surface.block,
                    self.alone(surface, settings),
                ))
            })
            .collect()
    }

    fn alone(&self, surface: &Surface, settings: &SurfaceConfig) -> Router {
        let prefix = settings.prefix.as_str();
        let mut own = (surface.router)(self.state.clone());
        if settings.strict {
            own = own.layer(middleware::map_request(layers::prefer_strict));
        }
        let router: Router<GatewayState> = Router::new().route("/healthcheck", get(health_check));
        let router = if prefix.is_empty() {
            router.fallback_service(own)
        } else {
            router
                .nest_service(prefix, own.clone())
                .fallback_service(own)
        };
        self.finish(router)
    }

    fn finish(&self, router: Router<GatewayState>) -> Router {
        router
            .layer(Extension(self.config.payments.clone()))
            .layer(CatchPanicLayer::custom(layers::panicked))
            .layer(middleware::from_fn_with_state(
                self.state.clone(),
                layers::edge,
            ))
            .with_state(self.state.clone())
    }

    fn served(&self) -> impl Iterator<Item = &'static Surface> {
        SURFACES
            .iter()
            .filter(|surface| self.state.blocks().any(|block| block == surface.block))
    }
}

/// `GET /healthcheck`, which published suites poll before they start.
async fn health_check(State(state): State<GatewayState>) -> Response {
    let mut body = json!({"status": "UP"});
    if state.announced_profile().is_some() {
        body["profile"] = json!(state.profile().as_str());
    }
    respond::json(StatusCode::OK, &body)
}

/// The blocks behind this gateway, their health, and where their interfaces are.
async fn blocks(State(state): State<GatewayState>) -> Response {
    let checks = SURFACES
        .iter()
        .filter(|surface| state.blocks().any(|block| block == surface.block))
        .map(|surface| describe(&state, surface));
    let blocks: Vec<Value> = futures::future::join_all(checks).await;
    respond::json(
        StatusCode::OK,
        &json!({"profile": state.profile().as_str(), "blocks": blocks}),
    )
}

async fn describe(state: &GatewayState, surface: &Surface) -> Value {
    let mut client = HealthClient::new(state.link(surface.block));
    let health = match client
        .check(HealthCheckRequest {
            service: String::new(),
        })
        .await
    {
        Ok(answer) => answer.into_inner().status().as_str_name().to_owned(),
        Err(_) => "UNREACHABLE".to_owned(),
    };
    json!({
        "name": surface.block,
        "health": health,
        "path": format!("/{}/", surface.block),
        "operations": surface.operations.len(),
        "description": format!("/gateway/v1/openapi/{}", surface.block),
        "services": surface.services,
    })
}

/// The OpenAPI document of one block's surface.
async fn openapi(Path(block): Path<String>) -> Response {
    let name = block.strip_suffix(".json").unwrap_or(&block);
    match rest::surface(name) {
        Some(surface) => {
            Json(description::openapi(surface.block, surface.operations)).into_response()
        }
        None => Problem::new(
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            "There is no such block.",
        )
        .answer(),
    }
}

/// What no route knows.
async fn nowhere() -> Response {
    Problem::new(
        StatusCode::NOT_FOUND,
        "NOT_FOUND",
        "There is nothing at this path.",
    )
    .answer()
}
