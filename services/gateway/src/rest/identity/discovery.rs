//! What clients read first: metadata and keys.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::provider_service_client::ProviderServiceClient;
use publica_rpc::Link;
use serde_json::{Value, json};

use crate::convert::rfc3339;
use crate::problem::Problem;
use crate::respond;
use crate::rest::identity::envelope::JSON;
use crate::state::GatewayState;

/// Verifiers may keep keys for so long; a key is published longer than that before it signs.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// `GET /.well-known/openid-configuration`
pub(super) async fn metadata(State(state): State<GatewayState>, headers: HeaderMap) -> Response {
    let message = pb::GetMetadataRequest {};
    match service(&state)
        .get_metadata(state.own_request(&headers, message))
        .await
    {
        Ok(answer) => kept(&document(&answer.into_inner())),
        Err(status) => Problem::of(&status).answer(),
    }
}

/// `GET /.well-known/jwks.json`: RSA keys only, as the published schema has it.
pub(super) async fn published_keys(
    State(state): State<GatewayState>,
    headers: HeaderMap,
) -> Response {
    keys(&state, &headers, |key| key["kty"] == "RSA").await
}

/// `GET /oauth2/jwks`: every key.
pub(super) async fn all_keys(State(state): State<GatewayState>, headers: HeaderMap) -> Response {
    keys(&state, &headers, |_| true).await
}

async fn keys(
    state: &GatewayState,
    headers: &HeaderMap,
    wanted: impl Fn(&Value) -> bool,
) -> Response {
    let message = pb::GetKeySetRequest {};
    let answer = service(state)
        .get_key_set(state.own_request(headers, message))
        .await;
    let found = match answer {
        Ok(answer) => answer.into_inner().keys,
        Err(status) => return Problem::of(&status).answer(),
    };
    let key = |key: &pb::PublicKey| {
        let mut value: Value = serde_json::from_str(&key.jwk).ok()?;
        value["exp"] = json!(rfc3339(key.expire_time.as_ref()));
        Some(value)
    };
    let keys: Vec<Value> = found.iter().filter_map(key).filter(wanted).collect();
    kept(&json!({ "keys": keys }))
}

fn service(state: &GatewayState) -> ProviderServiceClient<Link> {
    ProviderServiceClient::new(state.own_link("identity"))
}

fn kept(body: &Value) -> Response {
    let mut response = respond::typed(StatusCode::OK, JSON, body);
    response.headers_mut().insert(header::CACHE_CONTROL, KEPT);
    response
}

fn document(metadata: &pb::GetMetadataResponse) -> Value {
    let at = |path: &str| format!("{}{path}", metadata.issuer);
    let rsa = |alg: &String| matches!(alg.as_str(), "RS256" | "PS256");
    let only_rsa = metadata.signing_algorithms.iter().all(rsa);
    json!({
        "issuer": metadata.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/oauth2/token"),
        "userinfo_endpoint": at("/oidc/userinfo"),
        "jwks_uri": at(if only_rsa { "/.well-known/jwks.json" } else { "/oauth2/jwks" }),
        "registration_endpoint": at("/client-mgmt/oidc-client"),
        "introspection_endpoint": at("/oauth2/introspect"),
        "revocation_endpoint": at("/oauth2/revoke"),
        "scopes_supported": metadata.scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": metadata.grant_types,
        "subject_types_supported": ["pairwise"],
        "acr_values_supported": metadata.acr_values,
        "claims_supported": metadata.claims,
        "claim_types_supported": ["normal"],
        "claims_parameter_supported": true,
        "claims_locales_supported": metadata.ui_locales,
        "ui_locales_supported": metadata.ui_locales,
        "display_values_supported": ["page", "popup", "touch", "wap"],
        "id_token_signing_alg_values_supported": metadata.signing_algorithms,
        "userinfo_signing_alg_values_supported": metadata.signing_algorithms,
        "userinfo_encryption_alg_values_supported": ["RSA-OAEP-256", "ECDH-ES"],
        "userinfo_encryption_enc_values_supported": ["A256GCM"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": metadata.assertion_algorithms,
        "introspection_endpoint_auth_methods_supported": ["private_key_jwt"],
        "revocation_endpoint_auth_methods_supported": ["private_key_jwt"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "require_pushed_authorization_requests": false,
        "backchannel_logout_supported": false,
        "backchannel_logout_session_supported": false,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_what_exists() {
        let metadata = pb::GetMetadataResponse {
            issuer: "https://id.example".to_owned(),
            signing_algorithms: vec!["RS256".to_owned()],
            ..pb::GetMetadataResponse::default()
        };
        let document = document(&metadata);
        assert_eq!(
            document["token_endpoint"],
            "https://id.example/oauth2/token"
        );
        assert_eq!(
            document["jwks_uri"],
            "https://id.example/.well-known/jwks.json"
        );
        assert_eq!(document["request_uri_parameter_supported"], false);
    }
}
