//! The signature surface as GovStack publishes it, and the native paths beside it.

mod certificates;
mod credentials;
mod documents;
mod error;
mod input;
mod signing;
mod verifiers;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::{any, get, post};
use publica_rpc::Link;

use crate::description::Operation;
use crate::rest::Surface;
use crate::state::GatewayState;

use error::SignFault;

/// The surface.
pub(crate) const SURFACE: Surface = Surface {
    block: "signature",
    router,
    operations: OPERATIONS,
    services: &[
        "publica.signature.v1.CredentialService",
        "publica.signature.v1.CertificateService",
        "publica.signature.v1.SigningService",
        "publica.signature.v1.TimestampAuthorityService",
        "publica.signature.v1.ValidationService",
    ],
};

const OPERATIONS: &[Operation] = &[
    Operation::published("POST", "/v1/cert/create", "Certify the key of a device"),
    Operation::published("GET", "/v1/cert/list", "The caller's certificates"),
    Operation::published(
        "PATCH",
        "/v1/cert/{certificateId}",
        "Change a certificate's status",
    ),
    Operation::published(
        "POST",
        "/v1/sign/onetime",
        "Sign a hash with a one-time key",
    ),
    Operation::published(
        "GET",
        "/v1/sign/response/{signatureId}",
        "A finished signature",
    ),
    Operation::published("GET", "/v1/audit/log", "Finished signatures"),
    Operation::native("POST", "/v1/credentials", "Make a seal credential"),
    Operation::native("GET", "/v1/credentials", "The caller's seal credentials"),
    Operation::native(
        "GET",
        "/v1/credentials/{credentialId}",
        "One seal credential",
    ),
    Operation::native(
        "PATCH",
        "/v1/credentials/{credentialId}",
        "Change a seal's status",
    ),
    Operation::native("POST", "/v1/documents:sign", "Seal a PDF document"),
    Operation::native(
        "POST",
        "/v1/documents:batchSign",
        "Seal up to 100 PDF documents",
    ),
    Operation::native(
        "POST",
        "/v1/documents:validate",
        "Judge a PDF document's signatures",
    ),
    Operation::native("POST", "/v1/hashes:batchSign", "Seal up to 1,000 hashes"),
    Operation::native("POST", "/tsa", "Time-stamp (RFC 3161)"),
    Operation::native("GET", "/v1/crl", "Revoked certificates"),
    Operation::native(
        "GET",
        "/v1/ca-certificates",
        "The authorities' certificates, PEM",
    ),
    Operation::native(
        "GET",
        "/v1/ca-certificates/{file}",
        "One authority's certificate, DER",
    ),
];

/// The largest document; the largest batch in base64 and JSON fits below [`MESSAGE_LIMIT`].
const DOCUMENT_LIMIT: usize = 32 * 1024 * 1024;
const MESSAGE_LIMIT: usize = 64 * 1024 * 1024;

fn router(state: GatewayState) -> Router {
    let mut router = Router::new()
        .route("/v1/cert/create", post(certificates::create))
        .route("/v1/cert/list", get(certificates::list))
        .route(
            "/v1/cert/{certificateId}",
            axum::routing::patch(certificates::change),
        )
        .route("/v1/sign/onetime", post(signing::onetime))
        .route("/v1/sign/response/{signatureId}", get(signing::response))
        .route("/v1/audit/log", get(signing::log))
        .route(
            "/v1/credentials",
            get(credentials::list).post(credentials::create),
        )
        .route(
            "/v1/credentials/{credentialId}",
            get(credentials::read).patch(credentials::change),
        )
        .route("/v1/documents:sign", post(documents::sign))
        .route("/v1/documents:batchSign", post(documents::sign_batch))
        .route("/v1/documents:validate", post(documents::validate))
        .route("/v1/hashes:batchSign", post(documents::sign_hashes))
        .route("/tsa", post(verifiers::timestamp))
        .route("/v1/crl", get(verifiers::revocation_list))
        .route("/v1/ca-certificates", get(verifiers::authorities))
        .route("/v1/ca-certificates/{file}", get(verifiers::authority));
    for path in NOT_BUILT {
        router = router.route(path, any(not_built));
    }
    router
        .method_not_allowed_fallback(other_method)
        .fallback(other_path)
        .with_state(state)
}

/// Published paths whose flows, signing on a person's device, are not built.
const NOT_BUILT: &[&str] = &[
    "/v1/token/pseodonym/{pseudonym}",
    "/v1/cert/pseudonym",
    "/v1/sign/certificateId/{certificateId}",
    "/v1/sign/pseudonym",
    "/v1/sign/interactivePseudonym",
    "/v1/sign/interactive",
    "/v1/esignature/callback",
];

async fn other_method(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    method: Method,
) -> Response {
    let message = format!("The method {method} is not offered here.");
    let status = StatusCode::METHOD_NOT_ALLOWED;
    SignFault::new(status, "method_not_allowed", message).answer(&state, &headers)
}

async fn other_path(State(state): State<GatewayState>, headers: HeaderMap) -> Response {
    let message = "There is nothing at this path.";
    SignFault::new(StatusCode::NOT_FOUND, "path_not_found", message).answer(&state, &headers)
}

async fn not_built(State(state): State<GatewayState>, headers: HeaderMap) -> Response {
    let message = "Signing on a person's device is not offered here.";
    SignFault::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", message).answer(&state, &headers)
}

fn link(state: &GatewayState) -> Link {
    state.link("signature")
}
