//! Tokens: the published endpoint with its own errors, and the standards' endpoints with theirs.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::token_service_client::TokenServiceClient;
use publica_rpc::Link;
use serde_json::{Value, json};
use tonic::Status;

use crate::body::{BodyFault, QueryPairs, RawBody};
use crate::respond;
use crate::rest::identity::envelope::JSON;
use crate::state::GatewayState;

const JWT: HeaderValue = HeaderValue::from_static("application/jwt");

/// Whose errors an endpoint speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Published,
    Standard,
}

/// `POST /oauth/token`
pub(super) async fn published(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    token(&state, &headers, body, Dialect::Published).await
}

/// `POST /oauth2/token`
pub(super) async fn standard(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    token(&state, &headers, body, Dialect::Standard).await
}

async fn token(
    state: &GatewayState,
    headers: &HeaderMap,
    body: RawBody,
    dialect: Dialect,
) -> Response {
    let form = match form(headers, body, dialect) {
        Ok(form) => form,
        Err(answer) => return answer,
    };
    let value = |name: &str| form.get(name).unwrap_or_default().to_owned();
    let message = pb::IssueTokenRequest {
        grant_type: value("grant_type"),
        client: Some(assertion(&form)),
        code: value("code"),
        redirect_uri: value("redirect_uri"),
        code_verifier: value("code_verifier"),
        scope: value("scope"),
    };
    let answer = service(state)
        .issue_token(state.own_request(headers, message))
        .await;
    let issued = match answer {
        Ok(answer) => answer.into_inner(),
        Err(status) => return refused(&status, dialect),
    };
    let mut body = json!({
        "access_token": issued.access_token,
        "token_type": issued.token_type,
        "expires_in": issued.expires_in,
        "scope": issued.scope,
    });
    if !issued.id_token.is_empty() {
        body["id_token"] = issued.id_token.into();
    }
    answered(StatusCode::OK, &body)
}

/// `POST /oauth2/revoke`
pub(super) async fn revoke(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let form = match form(&headers, body, Dialect::Standard) {
        Ok(form) => form,
        Err(answer) => return answer,
    };
    let token = form.get("token").unwrap_or_default().to_owned();
    let message = pb::RevokeTokenRequest {
        client: Some(assertion(&form)),
        token,
    };
    match service(&state)
        .revoke_token(state.own_request(&headers, message))
        .await
    {
        Ok(_) => no_store(respond::empty(StatusCode::OK)),
        Err(status) => refused(&status, Dialect::Standard),
    }
}

/// `POST /oauth2/introspect`
pub(super) async fn introspect(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let form = match form(&headers, body, Dialect::Standard) {
        Ok(form) => form,
        Err(answer) => return answer,
    };
    let token = form.get("token").unwrap_or_default().to_owned();
    let message = pb::IntrospectTokenRequest {
        client: Some(assertion(&form)),
        token,
    };
    let answer = service(&state)
        .introspect_token(state.own_request(&headers, message))
        .await;
    match answer {
        Ok(answer) => {
            let told = answer.into_inner();
            let body = match told.active {
                false => json!({ "active": false }),
                true => json!({
                    "active": true,
                    "client_id": told.client_id,
                    "sub": told.sub,
                    "scope": told.scope,
                    "aud": told.aud,
                    "iss": told.iss,
                    "jti": told.jti,
                    "iat": told.issue_time.map(|time| time.seconds),
                    "exp": told.expire_time.map(|time| time.seconds),
                    "token_type": "Bearer",
                }),
            };
            answered(StatusCode::OK, &body)
        }
        Err(status) => refused(&status, Dialect::Standard),
    }
}

/// `GET` and `POST /oidc/userinfo`
pub(super) async fn user_info(State(state): State<GatewayState>, headers: HeaderMap) -> Response {
    let Some(access_token) = bearer(&headers) else {
        return not_authorised("invalid_token", "an access token is required");
    };
    let message = pb::GetUserInfoRequest {
        access_token: access_token.to_owned(),
    };
    // The access token is the request's content here, not the gateway's credential.
    match service(&state)
        .get_user_info(state.own_request(&headers, message))
        .await
    {
        Ok(answer) => {
            let jwt = answer.into_inner().jwt;
            no_store(respond::bytes_answer(StatusCode::OK, JWT, jwt))
        }
        Err(status) => match publica_rpc::reason(&status).as_deref() {
            Some("INSUFFICIENT_SCOPE") => {
                let mut answer = not_authorised("insufficient_scope", status.message());
                *answer.status_mut() = StatusCode::FORBIDDEN;
                answer
            }
            Some("INVALID_TOKEN") => not_authorised("invalid_token", status.message()),
            _ => {
                let text = "the claims cannot be read at present";
                let body = json!({ "error": "unknown_error", "error_description": text });
                no_store(respond::typed(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    JSON,
                    &body,
                ))
            }
        },
    }
}

fn service(state: &GatewayState) -> TokenServiceClient<Link> {
    TokenServiceClient::new(state.own_link("identity"))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let (scheme, token) = sent.next()?.to_str().ok()?.split_once(' ')?;
    let sound = sent.next().is_none() && scheme.eq_ignore_ascii_case("bearer");
    sound
        .then_some(token.trim())
        .filter(|token| !token.is_empty())
}

fn not_authorised(error: &str, description: &str) -> Response {
    let body = json!({ "error": error, "error_description": description });
    let mut response = no_store(respond::typed(StatusCode::UNAUTHORIZED, JSON, &body));
    let challenge = format!("Bearer error=\"{error}\", error_description=\"{description}\"");
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The parameters of a form; a JSON body, an empty one or a repeated parameter is refused.
fn form(headers: &HeaderMap, body: RawBody, dialect: Dialect) -> Result<QueryPairs, Response> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media = content_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let bytes = match body.bytes() {
        Err(BodyFault::TooLarge) => {
            let mut answer = error_answer("invalid_request", "the body is too large");
            *answer.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(answer);
        }
        other => other.unwrap_or_default(),
    };
    let is_form = media.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    if !is_form || text.trim().is_empty() {
        let error = if dialect == Dialect::Published {
            "invalid_payload"
        } else {
            "invalid_request"
        };
        return Err(error_answer(error, "the parameters must come as a form"));
    }
    let form = QueryPairs::parse(text);
    if !form.repeated().is_empty() {
        return Err(error_answer(
            "invalid_request",
            "a parameter came more than once",
        ));
    }
    Ok(form)
}

fn assertion(form: &QueryPairs) -> pb::ClientAssertion {
    let value = |name: &str| form.get(name).unwrap_or_default().to_owned();
    pb::ClientAssertion {
        client_id: value("client_id"),
        assertion_type: value("client_assertion_type"),
        assertion: value("client_assertion"),
    }
}

fn refused(status: &Status, dialect: Dialect) -> Response {
    let reason = publica_rpc::reason(status).unwrap_or_default();
    let (code, error) = match dialect {
        Dialect::Published => (StatusCode::BAD_REQUEST, published_error(&reason)),
        Dialect::Standard => standard_error(&reason),
    };
    let mut response = error_answer(error, status.message());
    *response.status_mut() = code;
    response
}

/// The published codes, which are not those of RFC 6749.
fn published_error(reason: &str) -> &'static str {
    match reason {
        "INVALID_PAYLOAD" => "invalid_payload",
        "INVALID_INPUT" => "invalid_input",
        "INVALID_REDIRECT_URI" => "invalid_redirect_uri",
        "INVALID_ASSERTION_TYPE" => "invalid_assertion_type",
        "INVALID_ASSERTION" => "invalid_assertion",
        "INVALID_GRANT" => "invalid_transaction",
        "INVALID_CLIENT"
        | "UNSUPPORTED_GRANT_TYPE"
        | "UNAUTHORIZED_CLIENT"
        | "INVALID_SCOPE"
        | "INVALID_FIELDS" => "invalid_request",
        _ => "unknown_error",
    }
}

fn standard_error(reason: &str) -> (StatusCode, &'static str) {
    match reason {
        "INVALID_ASSERTION" | "INVALID_CLIENT" => (StatusCode::UNAUTHORIZED, "invalid_client"),
        "INVALID_PAYLOAD"
        | "INVALID_INPUT"
        | "INVALID_REDIRECT_URI"
        | "INVALID_ASSERTION_TYPE"
        | "INVALID_FIELDS" => (StatusCode::BAD_REQUEST, "invalid_request"),
        "INVALID_GRANT" => (StatusCode::BAD_REQUEST, "invalid_grant"),
        "UNSUPPORTED_GRANT_TYPE" => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        "UNAUTHORIZED_CLIENT" => (StatusCode::BAD_REQUEST, "unauthorized_client"),
        "INVALID_SCOPE" => (StatusCode::BAD_REQUEST, "invalid_scope"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
    }
}

fn error_answer(error: &str, description: &str) -> Response {
    answered(
        StatusCode::BAD_REQUEST,
        &json!({ "error": error, "error_description": description }),
    )
}

fn answered(status: StatusCode, body: &Value) -> Response {
    no_store(respond::typed(status, JSON, body))
}

/// Answers that hold tokens are kept by nobody.
fn no_store(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
