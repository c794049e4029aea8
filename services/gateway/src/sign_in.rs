//! Signing in to a page of this gateway.
//!
//! A page does what any client does, on the published paths: it makes the request with PKCE,
//! sends the browser to the log-in pages and gets a code back. Only what a page cannot do, since
//! it can keep no key, is done here: proving to the identity block that the client is genuine.
//! Nothing is kept; the token lives in the page, and ends with it.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use publica_jose::sign_jwt;
use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::client_service_client::ClientServiceClient;
use publica_proto::identity::v1::provider_service_client::ProviderServiceClient;
use publica_proto::identity::v1::token_service_client::TokenServiceClient;
use publica_types::new_uuid;
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::body::RawBody;
use crate::problem::Problem;
use crate::respond;
use crate::state::GatewayState;

const BLOCK: &str = "identity";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ASSERTION_SECONDS: i64 = 60;
/// The one way to sign in that the identity block offers today.
const ACR: &str = "idbb:acr:generated-code";
/// Where the log-in pages stand below the identity surface.
const AUTHORIZE: &str = "/authorize";

/// Paths of the shared listener.
pub(crate) fn router() -> Router<GatewayState> {
    Router::new()
        .route("/gateway/v1/sign-in", get(offer))
        .route("/gateway/v1/sign-in/token", post(token))
}

/// The client that the page of a person's consents is.
struct PageClient {
    client_id: String,
    issuer: String,
    redirect_uri: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Exchange {
    code: String,
    code_verifier: String,
}

/// `GET /gateway/v1/sign-in`: whether people can sign in to the page, and as which client.
async fn offer(State(state): State<GatewayState>, headers: HeaderMap) -> Response {
    match client(&state, &headers).await {
        Ok(None) => respond::json(StatusCode::OK, &json!({ "available": false })),
        Ok(Some(client)) => {
            let body = json!({
                "available": true,
                "authorizationEndpoint": format!("{}{AUTHORIZE}", client.issuer),
                "clientId": client.client_id,
                "redirectUri": client.redirect_uri,
                "acrValues": ACR,
            });
            respond::json(StatusCode::OK, &body)
        }
        Err(status) => Problem::of(&status).answer(),
    }
}

/// `POST /gateway/v1/sign-in/token`: the token for a code, which only the page that made the
/// request can exchange, since only it has the verifier.
async fn token(State(state): State<GatewayState>, headers: HeaderMap, body: RawBody) -> Response {
    let exchange: Exchange = match body.parse() {
        Ok(exchange) => exchange,
        Err(fault) => {
            let text = fault.to_string();
            return Problem::new(StatusCode::BAD_REQUEST, "BODY_MALFORMED", text).answer();
        }
    };
    match exchanged(&state, &headers, exchange).await {
        Ok(Some(body)) => {
            let mut response = respond::json(StatusCode::OK, &body);
            let none = HeaderValue::from_static("no-store");
            response.headers_mut().insert(header::CACHE_CONTROL, none);
            response
        }
        Ok(None) => {
            let what = "Signing in to this gateway's pages is not set up.";
            Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", what).answer()
        }
        Err(status) => Problem::of(&status).answer(),
    }
}

async fn exchanged(
    state: &GatewayState,
    headers: &HeaderMap,
    exchange: Exchange,
) -> Result<Option<Value>, Status> {
    let Some(client) = client(state, headers).await? else {
        return Ok(None);
    };
    let assertion = assertion(state, &client)?;
    let message = pb::IssueTokenRequest {
        grant_type: "authorization_code".to_owned(),
        client: Some(pb::ClientAssertion {
            client_id: client.client_id,
            assertion_type: ASSERTION_TYPE.to_owned(),
            assertion,
        }),
        code: exchange.code,
        redirect_uri: client.redirect_uri,
        code_verifier: exchange.code_verifier,
        scope: String::new(),
    };
    let issued = TokenServiceClient::new(state.own_link(BLOCK))
        .issue_token(state.own_request(headers, message))
        .await?
        .into_inner();
    Ok(Some(json!({
        "accessToken": issued.access_token,
        "expiresIn": issued.expires_in,
    })))
}

fn assertion(state: &GatewayState, client: &PageClient) -> Result<String, Status> {
    let now = state.clock().now().seconds();
    let claims = json!({
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": client.issuer,
        "iat": now,
        "exp": now + ASSERTION_SECONDS,
        "jti": new_uuid(&**state.clock(), &**state.entropy()),
    });
    sign_jwt(state.tokens().key(), "JWT", &claims)
        .map_err(|_| Status::internal("the assertion of the page's client cannot be signed"))
}

/// The client, registered if it was not yet. Its id follows from all that cannot be changed of
/// it, so that another key or another address is another client.
async fn client(state: &GatewayState, headers: &HeaderMap) -> Result<Option<PageClient>, Status> {
    let settings = state.privacy();
    let served = state.blocks().any(|block| block == BLOCK);
    if settings.relying_party_id.is_empty() || !served {
        return Ok(None);
    }
    let issuer = ProviderServiceClient::new(state.own_link(BLOCK))
        .get_metadata(state.own_request(headers, pb::GetMetadataRequest {}))
        .await?
        .into_inner()
        .issuer;
    let base = match settings.base_url.as_str() {
        "" => issuer
            .strip_suffix("/identity")
            .unwrap_or(&issuer)
            .to_owned(),
        base => base.to_owned(),
    };
    let redirect_uri = format!("{base}/privacy");
    let key = state.tokens().key().public_jwk();
    let party = &settings.relying_party_id;
    let seed = format!("{party}\n{redirect_uri}\n{}", key.thumbprint());
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, seed.as_bytes());
    let client = PageClient {
        client_id: format!("privacy-{}", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..18])),
        issuer,
        redirect_uri,
    };
    register(state, headers, &client, &base).await?;
    Ok(Some(client))
}

async fn register(
    state: &GatewayState,
    headers: &HeaderMap,
    client: &PageClient,
    base: &str,
) -> Result<(), Status> {
    let mut service = ClientServiceClient::new(state.own_link(BLOCK));
    let asked = pb::GetClientRequest {
        client_id: client.client_id.clone(),
    };
    match service.get_client(state.own_request(headers, asked)).await {
        Ok(_) => return Ok(()),
        Err(status) if status.code() == Code::NotFound => {}
        Err(status) => return Err(status),
    }
    let settings = state.privacy();
    let list = |text: &str| vec![text.to_owned()];
    let new = pb::Client {
        client_id: client.client_id.clone(),
        client_name: settings.client_name.clone(),
        relying_party_id: settings.relying_party_id.clone(),
        logo_uri: format!("{base}/web/logo.svg"),
        redirect_uris: list(&client.redirect_uri),
        acr_values: list(ACR),
        public_key_jwk: state.tokens().key().public_jwk().to_value().to_string(),
        // Of which the page asks for none.
        user_claims: list("name"),
        grant_types: list("authorization_code"),
        auth_methods: list("private_key_jwt"),
        ..pb::Client::default()
    };
    let message = pb::CreateClientRequest {
        request_id: String::new(),
        client: Some(new),
    };
    match service
        .create_client(state.own_request(headers, message))
        .await
    {
        Ok(_) => Ok(()),
        // Somebody else was faster, with the same client.
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) => Err(status),
    }
}
