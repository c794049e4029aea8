//! The identity surface: the identity provider and enrolment as GovStack publishes them, the
//! log-in pages and the interface they call, and the native paths beside them.

mod administration;
mod authorize;
mod clients;
mod discovery;
mod enrolment;
mod envelope;
mod login;
mod native;
mod pages;
mod token;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, post, put};

use crate::description::Operation;
use crate::problem::Problem;
use crate::rest::Surface;
use crate::state::GatewayState;

/// The surface.
pub(crate) const SURFACE: Surface = Surface {
    block: "identity",
    router,
    operations: OPERATIONS,
    services: &[
        "publica.identity.v1.PersonService",
        "publica.identity.v1.IdentifierService",
        "publica.identity.v1.FactorService",
        "publica.identity.v1.EnrolmentService",
        "publica.identity.v1.ClientService",
        "publica.identity.v1.SignInService",
        "publica.identity.v1.TokenService",
        "publica.identity.v1.ProviderService",
    ],
};

const OPERATIONS: &[Operation] = &[
    Operation::published("POST", "/client-mgmt/oidc-client", "Register a client"),
    Operation::published(
        "PUT",
        "/client-mgmt/oidc-client/{client_id}",
        "Change a client",
    ),
    Operation::published("GET", "/authorize", "The log-in page"),
    Operation::published("POST", "/oauth/token", "Exchange a code for tokens"),
    Operation::published("GET", "/oidc/userinfo", "Claims about the person, signed"),
    Operation::published(
        "GET",
        "/.well-known/openid-configuration",
        "Provider metadata",
    ),
    Operation::published("GET", "/.well-known/jwks.json", "Signing keys"),
    Operation::published("PUT", "/enrollment", "Enrol or update a person"),
    Operation::published("POST", "/block", "Keep a person from signing in"),
    Operation::published("POST", "/unblock", "Lift a block"),
    Operation::native("GET", "/csrf/token", "A token against forged requests"),
    Operation::native("POST", "/authorization/oauth-details", "Begin a sign-in"),
    Operation::native("POST", "/authorization/send-otp", "Send a one-time code"),
    Operation::native(
        "POST",
        "/authorization/authenticate",
        "Check a one-time code",
    ),
    Operation::native(
        "GET",
        "/authorization/claim-details",
        "What the client wants to know",
    ),
    Operation::native("POST", "/authorization/auth-code", "Share claims and go on"),
    Operation::native("POST", "/authorization/cancel", "Refuse and go back"),
    Operation::native(
        "POST",
        "/oauth2/token",
        "Tokens, with the errors of RFC 6749",
    ),
    Operation::native("POST", "/oauth2/revoke", "Revoke a token (RFC 7009)"),
    Operation::native("POST", "/oauth2/introspect", "Ask about a token (RFC 7662)"),
    Operation::native("GET", "/oauth2/jwks", "All signing keys"),
    Operation::native("POST", "/v1/persons:batchEnrol", "Enrol up to 1,000 people"),
    Operation::native(
        "POST",
        "/v1/persons:search",
        "Find people by identifier or name",
    ),
    Operation::native(
        "GET",
        "/v1/persons/{person_id}",
        "One person with all attributes",
    ),
    Operation::native(
        "POST",
        "/v1/persons/{person_id}/vids",
        "Make a virtual identifier",
    ),
    Operation::native(
        "POST",
        "/v1/clients",
        "Register any client, machines included",
    ),
    Operation::native("GET", "/v1/clients/{client_id}", "One client"),
];

/// A thousand people in one body.
const BATCH_LIMIT: usize = 4 * 1024 * 1024;

fn router(state: GatewayState) -> Router {
    published()
        .nest("/v1/esignet", published().merge(spellings()))
        .route(
            "/v1/persons:batchEnrol",
            post(native::batch_enrol).layer(DefaultBodyLimit::max(BATCH_LIMIT)),
        )
        .route("/v1/persons:search", post(native::search))
        .route("/v1/persons/{person_id}", get(native::person))
        .route("/v1/persons/{person_id}/vids", post(native::create_vid))
        .route("/v1/clients", post(native::create_client))
        .route("/v1/clients/{client_id}", get(native::client))
        .method_not_allowed_fallback(|| async {
            let what = "The path does not know this method.";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", what).answer()
        })
        .fallback(|| async {
            let what = "There is nothing at this path.";
            Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", what).answer()
        })
        .with_state(state)
}

/// The published paths, the log-in interface and the standards' own endpoints.
fn published() -> Router<GatewayState> {
    Router::new()
        .route("/client-mgmt/oidc-client", post(clients::create))
        .route("/client-mgmt/oidc-client/{client_id}", put(clients::update))
        .route("/enrollment", put(enrolment::enrol))
        .route("/block", post(administration::block))
        .route("/unblock", post(administration::unblock))
        .route("/authorize", get(authorize::page))
        .route("/login/start", post(pages::start))
        .route("/login/{file}", get(authorize::asset))
        .route("/login/{flow}/{step}", get(pages::step).post(pages::act))
        .route("/csrf/token", get(login::csrf))
        .route("/authorization/oauth-details", post(login::start))
        .route("/authorization/v2/oauth-details", post(login::start))
        .route("/authorization/v3/oauth-details", post(login::start))
        .route("/authorization/send-otp", post(login::send_code))
        .route("/authorization/authenticate", post(login::authenticate))
        .route("/authorization/v3/authenticate", post(login::authenticate))
        .route("/authorization/claim-details", get(login::claim_details))
        .route("/authorization/auth-code", post(login::auth_code))
        .route("/authorization/cancel", post(login::cancel))
        .route("/oauth/token", post(token::published))
        .route("/oauth2/token", post(token::standard))
        .route("/oauth2/revoke", post(token::revoke))
        .route("/oauth2/introspect", post(token::introspect))
        .route(
            "/oidc/userinfo",
            get(token::user_info).post(token::user_info),
        )
        .route(
            "/.well-known/openid-configuration",
            get(discovery::metadata),
        )
        .route(
            "/.well-known/oauth-authorization-server",
            get(discovery::metadata),
        )
        .route("/.well-known/jwks.json", get(discovery::published_keys))
        .route("/oauth2/jwks", get(discovery::all_keys))
        .merge(absent())
}

/// What the drop-in paths of another product are called there.
fn spellings() -> Router<GatewayState> {
    Router::new()
        .route(
            "/oidc/.well-known/openid-configuration",
            get(discovery::metadata),
        )
        .route(
            "/oauth/.well-known/oauth-authorization-server",
            get(discovery::metadata),
        )
        .route(
            "/oauth/.well-known/jwks.json",
            get(discovery::published_keys),
        )
        .route("/oauth/v2/token", post(token::published))
}

/// Published operations that are not built: they say so, and do nothing.
fn absent() -> Router<GatewayState> {
    const POSTS: [&str; 11] = [
        "/linked-authorization/link-code",
        "/linked-authorization/link-status",
        "/linked-authorization/link-auth-code",
        "/linked-authorization/link-transaction",
        "/linked-authorization/authenticate",
        "/linked-authorization/consent",
        "/wallet-binding",
        "/binding-otp",
        "/share-credential",
        "/download/personalized-card",
        "/update-uin",
    ];
    POSTS
        .into_iter()
        .fold(Router::new(), |router, path| {
            router.route(path, post(envelope::not_built))
        })
        .route("/events/{event_id}", get(envelope::not_built))
        .route("/service-history/{language}", get(envelope::not_built))
        .route("/updateIdentity", axum::routing::patch(envelope::not_built))
}
