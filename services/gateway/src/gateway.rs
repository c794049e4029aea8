//! Puts surfaces, pages and descriptions together into routers for the host to serve.

use std::net::SocketAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use serde_json::json;
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::{GatewayConfig, SurfaceConfig};
use crate::problem::Problem;
use crate::rest::{self, SURFACES, Surface};
use crate::state::GatewayState;
use crate::{catalog, layers, pages, respond, sign_in};

/// The gateway: routers for the shared listener and for surfaces of their own.
#[derive(Clone)]
pub struct Gateway {
    config: GatewayConfig,
    state: GatewayState,
}

impl Gateway {
    /// A gateway in front of the blocks that `state` reaches.
    pub fn new(config: GatewayConfig, state: GatewayState) -> Self {
        let state = state.with_pages(config.pages.clone(), config.privacy.clone());
        Self { config, state }
    }

    /// Everything on the shared listener: `/<block>/…`, pages, descriptions.
    pub fn router(&self) -> Router {
        let mut router: Router<GatewayState> = Router::new()
            .route("/healthcheck", get(health_check))
            .merge(catalog::router())
            .merge(sign_in::router())
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

/// What no route knows.
async fn nowhere() -> Response {
    Problem::new(
        StatusCode::NOT_FOUND,
        "NOT_FOUND",
        "There is nothing at this path.",
    )
    .answer()
}
