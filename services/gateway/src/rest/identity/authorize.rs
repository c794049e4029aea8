//! The authorization endpoint: the log-in page, or the way back to the client.

use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::sign_in_service_client::SignInServiceClient;
use serde_json::{Map, Value};
use tonic::Code;

use crate::body::{Params, QueryPairs};
use crate::problem::Problem;
use crate::respond;
use crate::rest::identity::pages;
use crate::state::GatewayState;

const SCRIPT: &str = include_str!("../../../web/login/login.js");

/// `GET /authorize`
pub(super) async fn page(
    State(state): State<GatewayState>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let message = pb::CheckAuthorizationRequest {
        parameters: Some(from_query(&query)),
    };
    let mut service = SignInServiceClient::new(state.own_link("identity"));
    let checked = service
        .check_authorization(state.own_request(&headers, message))
        .await;
    let checked = match checked {
        Ok(checked) => checked.into_inner(),
        // Such a request holds what no parameter can; no address in it is proven good.
        Err(status) if status.code() == Code::InvalidArgument => {
            return pages::broken(state, headers, &uri);
        }
        Err(_) => return pages::trouble(state, headers, &uri),
    };
    let way_back = checked
        .fault
        .as_ref()
        .map(|fault| fault.may_redirect.then(|| back(fault)).flatten());
    match way_back {
        None => {
            let redirect_uri = query.get("redirect_uri").unwrap_or_default();
            pages::first(state, headers, &uri, &checked.client_name, redirect_uri)
        }
        Some(Some(way_back)) => way_back,
        // The address was not proven good, so it is neither followed nor shown.
        Some(None) => pages::broken(state, headers, &uri),
    }
}

/// `GET /login/{file}`: what the pages load, beside them under whatever prefix they are served.
pub(super) async fn asset(params: Params) -> Response {
    match params.get("file").unwrap_or_default() {
        "login.js" => crate::pages::module(SCRIPT),
        "publica.css" => crate::pages::look(),
        _ => {
            let what = "There is nothing at this path.";
            Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", what).answer()
        }
    }
}

/// The way back to the client with an error, if its address can be one.
fn back(fault: &pb::AuthorizationFault) -> Option<Response> {
    let location = with_query(
        &fault.redirect_uri,
        &[
            ("error", &fault.error),
            ("error_description", &fault.error_description),
            ("state", &fault.state),
            ("iss", &fault.issuer),
        ],
    );
    let location = HeaderValue::try_from(location).ok()?;
    let mut response = respond::empty(StatusCode::SEE_OTHER);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    Some(response)
}

/// The way back to the client with a code.
pub(super) fn with_code(issued: &pb::IssueCodeResponse) -> String {
    let parameters = [
        ("code", &*issued.code),
        ("state", &*issued.state),
        ("iss", &*issued.issuer),
    ];
    with_query(&issued.redirect_uri, &parameters)
}

/// The way back to the client of a person who refused.
pub(super) fn with_refusal(ended: &pb::CancelSignInResponse) -> String {
    let parameters = [
        ("error", "access_denied"),
        ("error_description", "the person refused"),
        ("state", &*ended.state),
        ("iss", &*ended.issuer),
    ];
    with_query(&ended.redirect_uri, &parameters)
}

/// An address with further parameters; empty ones are left out.
fn with_query(address: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    let joint = if address.contains('?') { '&' } else { '?' };
    format!("{address}{joint}{}", query.finish())
}

/// The parameters of a query, and the names of those that came more than once.
pub(super) fn from_query(query: &QueryPairs) -> pb::AuthorizationParameters {
    let repeated = query.repeated().into_iter().map(str::to_owned).collect();
    let present = |name: &&str| query.get(name).is_some();
    let refused = ["request", "request_uri"].into_iter().filter(present);
    let value = |name: &str| query.get(name).unwrap_or_default().to_owned();
    pb::AuthorizationParameters {
        client_id: value("client_id"),
        redirect_uri: value("redirect_uri"),
        response_type: value("response_type"),
        scope: value("scope"),
        state: value("state"),
        nonce: value("nonce"),
        display: value("display"),
        prompt: value("prompt"),
        max_age: value("max_age"),
        ui_locales: value("ui_locales"),
        acr_values: value("acr_values"),
        claims_locales: value("claims_locales"),
        claims: value("claims"),
        code_challenge: value("code_challenge"),
        code_challenge_method: value("code_challenge_method"),
        refused_parameters: refused.map(str::to_owned).collect(),
        repeated_parameters: repeated,
    }
}

/// A parameter of the log-in page that has another type than it may, and its published code.
/// Where a parameter is required, one of a wrong type is as good as none.
pub(super) fn mistyped(members: &Map<String, Value>) -> Option<(&'static str, &'static str)> {
    const OPTIONAL: [(&str, &str); 11] = [
        ("state", "invalid_request"),
        ("nonce", "invalid_request"),
        ("display", "invalid_display"),
        ("prompt", "invalid_prompt"),
        ("maxAge", "invalid_request"),
        ("uiLocales", "invalid_request"),
        ("acrValues", "invalid_request"),
        ("claimsLocales", "invalid_request"),
        ("claims", "invalid_request"),
        ("codeChallenge", "invalid_pkce_challenge"),
        ("codeChallengeMethod", "unsupported_pkce_challenge_method"),
    ];
    OPTIONAL
        .into_iter()
        .find(|(name, _)| !match members.get(*name) {
            None | Some(Value::Null | Value::String(_)) => true,
            Some(Value::Number(_)) => *name == "maxAge",
            Some(Value::Object(_)) => *name == "claims",
            Some(_) => false,
        })
}

/// The parameters as the log-in page sends them.
pub(super) fn from_members(members: &Map<String, Value>) -> pb::AuthorizationParameters {
    let value = |name: &str| match members.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(object @ Value::Object(_)) => object.to_string(),
        _ => String::new(),
    };
    pb::AuthorizationParameters {
        client_id: value("clientId"),
        redirect_uri: value("redirectUri"),
        response_type: value("responseType"),
        scope: value("scope"),
        state: value("state"),
        nonce: value("nonce"),
        display: value("display"),
        prompt: value("prompt"),
        max_age: value("maxAge"),
        ui_locales: value("uiLocales"),
        acr_values: value("acrValues"),
        claims_locales: value("claimsLocales"),
        claims: value("claims"),
        code_challenge: value("codeChallenge"),
        code_challenge_method: value("codeChallengeMethod"),
        refused_parameters: Vec::new(),
        repeated_parameters: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_own_query() {
        let parameters = [
            ("code", "a b"),
            ("state", ""),
            ("iss", "https://id.example"),
        ];
        assert_eq!(
            with_query("https://rp.example/back", &parameters),
            "https://rp.example/back?code=a+b&iss=https%3A%2F%2Fid.example"
        );
        assert!(with_query("https://rp.example/?x=1", &parameters).contains("?x=1&code="));
    }

    #[test]
    fn repeats_and_refused_parameters_are_named() {
        let query = QueryPairs::parse("client_id=a&scope=openid&scope=x&request=e30");
        let parameters = from_query(&query);
        assert_eq!(parameters.repeated_parameters, ["scope"]);
        assert_eq!(parameters.refused_parameters, ["request"]);
        assert_eq!(parameters.client_id, "a");
    }
}
