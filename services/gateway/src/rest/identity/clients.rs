//! Client management as published.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::client_service_client::ClientServiceClient;
use serde_json::{Map, Value, json};

use crate::body::{Params, RawBody};
use crate::convert::idempotency_key;
use crate::rest::identity::envelope::{self, Fault, failed, text, texts};
use crate::state::GatewayState;

const AUTHORIZATION_CODE: &str = "authorization_code";
const CLIENT_CREDENTIALS: &str = "client_credentials";
/// Scopes that register clients: ours, and that of the published interface.
const CREATE: &[&str] = &["identity:client:write", "add_oidc_client"];
/// Scopes that change clients.
const UPDATE: &[&str] = &["identity:client:write", "update_oidc_client"];

/// `POST /client-mgmt/oidc-client`
pub(super) async fn create(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let entry = match state.enter(&headers).await {
        Ok(entry) => entry,
        Err(fault) => return envelope::not_entered(&fault),
    };
    if let Err(answer) = envelope::check_scope(&entry, CREATE) {
        return answer;
    }
    let request = match envelope::open(&headers, body, &state, &json!({ "clientId": "" })) {
        Ok(request) => request,
        Err(answer) => return answer,
    };
    let client_id = text(&request, "clientId");
    let echo = json!({ "clientId": client_id });
    if let Err(fault) = check_config(&request) {
        return failed(&state, echo, &fault);
    }
    let mut client = client(&request);
    client.client_id = client_id;
    client.relying_party_id = text(&request, "relyingPartyId");
    client.public_key_jwk = request.get("publicKey").unwrap_or(&Value::Null).to_string();
    let message = pb::CreateClientRequest {
        request_id: idempotency_key(&headers).unwrap_or_default(),
        client: Some(client),
    };
    let mut service = ClientServiceClient::new(state.link("identity"));
    match service.create_client(entry.request(message)).await {
        Ok(_) => envelope::done(&state, &echo),
        Err(status) => envelope::refused(&state, echo, &status),
    }
}

/// `PUT /client-mgmt/oidc-client/{client_id}`
pub(super) async fn update(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    body: RawBody,
) -> Response {
    let entry = match state.enter(&headers).await {
        Ok(entry) => entry,
        Err(fault) => return envelope::not_entered(&fault),
    };
    if let Err(answer) = envelope::check_scope(&entry, UPDATE) {
        return answer;
    }
    let client_id = params.id("client_id");
    let echo = json!({ "clientId": client_id });
    let request = match envelope::open(&headers, body, &state, &echo) {
        Ok(request) => request,
        Err(answer) => return answer,
    };
    if let Err(fault) = check_config(&request) {
        return failed(&state, echo, &fault);
    }
    let mut client = client(&request);
    let client_state = match text(&request, "status").to_lowercase().as_str() {
        "active" => pb::ClientState::Active,
        "inactive" => pb::ClientState::Inactive,
        // The name stands before the status, so its fault comes first.
        _ if client.client_name.trim().is_empty() => pb::ClientState::Active,
        _ => {
            let fault = Fault::new("invalid_request", "status must be active or inactive");
            return failed(&state, echo, &fault);
        }
    };
    client.client_id = client_id;
    client.state = client_state.into();
    let message = pb::UpdateClientRequest {
        request_id: idempotency_key(&headers).unwrap_or_default(),
        client: Some(client),
    };
    let mut service = ClientServiceClient::new(state.link("identity"));
    match service.update_client(entry.request(message)).await {
        Ok(_) => envelope::done(&state, &echo),
        Err(status) => envelope::refused(&state, echo, &status),
    }
}

/// Members of `additionalConfig`, which no published code stands for.
fn check_config(request: &Map<String, Value>) -> Result<(), Fault> {
    let invalid = |text: &str| Err(Fault::new("invalid_request", text));
    let Some(extra) = request
        .get("additionalConfig")
        .filter(|extra| !extra.is_null())
    else {
        return Ok(());
    };
    let Some(extra) = extra.as_object() else {
        return invalid("additionalConfig must be an object");
    };
    let minutes = extra.get("consent_expire_in_mins");
    if minutes.is_some_and(|minutes| minutes.as_i64().is_none()) {
        return invalid("additionalConfig.consent_expire_in_mins must be a whole number");
    }
    if extra
        .get("userinfo_response_type")
        .is_some_and(|kind| kind != "JWS" && kind != "JWE")
    {
        return invalid("additionalConfig.userinfo_response_type must be JWS or JWE");
    }
    if extra
        .get("encPublicKey")
        .is_some_and(|key| !key.is_object())
    {
        return invalid("additionalConfig.encPublicKey must be a JSON Web Key");
    }
    if texts(extra, "client_credentials_scopes").contains(&String::new()) {
        return invalid("additionalConfig.client_credentials_scopes must be a list of texts");
    }
    Ok(())
}

/// What both operations carry. Members of a wrong type come out empty, and the block answers
/// them with the field's own code.
fn client(request: &Map<String, Value>) -> pb::Client {
    let empty = Map::new();
    let extra = request
        .get("additionalConfig")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let scopes = texts(extra, "client_credentials_scopes");
    // The published list has one grant; machines ask for theirs beside it.
    let published = |grant: String| {
        if grant == AUTHORIZATION_CODE {
            grant
        } else {
            String::new()
        }
    };
    let mut grant_types: Vec<String> = texts(request, "grantTypes")
        .into_iter()
        .map(published)
        .collect();
    if !grant_types.is_empty() && !scopes.is_empty() {
        grant_types.push(CLIENT_CREDENTIALS.to_owned());
    }
    let minutes = extra.get("consent_expire_in_mins").and_then(Value::as_i64);
    let further = extra.get("encPublicKey").map(Value::to_string);
    pb::Client {
        user_info_type: text(extra, "userinfo_response_type"),
        encryption_key_jwk: further.unwrap_or_default(),
        client_name: text(request, "clientName"),
        logo_uri: text(request, "logoUri"),
        redirect_uris: texts(request, "redirectUris"),
        acr_values: texts(request, "authContextRefs"),
        user_claims: texts(request, "userClaims"),
        grant_types,
        auth_methods: texts(request, "clientAuthMethods"),
        allowed_scopes: scopes,
        consent_expire_minutes: minutes.and_then(|m| i32::try_from(m).ok()).unwrap_or(0),
        ..pb::Client::default()
    }
}
