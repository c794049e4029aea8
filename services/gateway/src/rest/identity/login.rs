//! What other log-in pages than ours call. Each call carries the token against forged requests; the
//! transaction id is the right to go on with a sign-in.

use axum::extract::{ConnectInfo, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use publica_host::Profile;
use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::sign_in_service_client::SignInServiceClient;
use publica_rpc::Link;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::body::RawBody;
use crate::problem::Problem;
use crate::respond;
use crate::rest::identity::authorize::{from_members, mistyped, with_code, with_refusal};
use crate::rest::identity::envelope::{self, JSON, text, texts};
use crate::rest::identity::pages::flow;
use crate::state::GatewayState;

const COOKIE: &str = "XSRF-TOKEN";
const HEADER: &str = "x-xsrf-token";
const KEY_HEADER: &str = "oauth-details-key";
const HASH_HEADER: &str = "oauth-details-hash";

/// `GET /csrf/token`
pub(super) async fn csrf(State(state): State<GatewayState>) -> Response {
    let token = flow::new_token(&state);
    let body = json!({ "token": token, "headerName": "X-XSRF-TOKEN", "parameterName": "_csrf" });
    let mut response = respond::typed(StatusCode::OK, JSON, &body);
    let secure = if state.profile() == Profile::Production {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!("{COOKIE}={token}; Path=/; SameSite=Lax{secure}");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// `POST /authorization/oauth-details`
pub(super) async fn start(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let request = match opened(&state, &headers, body) {
        Ok(request) => request,
        Err(answer) => return answer,
    };
    if let Some((name, code)) = mistyped(&request) {
        let fault = envelope::Fault::new(code, &format!("{name} must be a text"));
        return envelope::failed(&state, json!({}), &fault);
    }
    let message = pb::StartSignInRequest {
        parameters: Some(from_members(&request)),
    };
    let answer = service(&state)
        .start_sign_in(state.own_request(&headers, message))
        .await;
    let begun = match answer {
        Ok(answer) => answer.into_inner(),
        Err(status) => return envelope::refused(&state, json!({}), &status),
    };
    // As the block wrote it: later steps name it by its hash.
    match RawValue::from_string(begun.details_json) {
        Ok(details) => envelope::done(&state, &*details),
        Err(_) => {
            let fault = envelope::Fault::new("unknown_error", "the sign-in did not begin");
            envelope::failed(&state, json!({}), &fault)
        }
    }
}

/// `POST /authorization/send-otp`
pub(super) async fn send_code(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    extensions: Extensions,
    body: RawBody,
) -> Response {
    let request = match continued(&state, &headers, body) {
        Ok(request) => request,
        Err(answer) => return answer,
    };
    let transaction_id = text(&request, "transactionId");
    let message = pb::SendCodeRequest {
        transaction_id: transaction_id.clone(),
        individual_id: text(&request, "individualId"),
        channels: texts(&request, "otpChannels"),
        client_address: address(&extensions),
        details_hash: details_hash(&headers),
    };
    match service(&state)
        .send_code(state.own_request(&headers, message))
        .await
    {
        Ok(answer) => {
            let masked = answer.into_inner().masked_email;
            let response = json!({
                "transactionId": transaction_id, "maskedEmail": masked, "maskedMobile": null,
            });
            envelope::done(&state, &response)
        }
        Err(status) => envelope::refused(&state, json!({}), &status),
    }
}

/// `POST /authorization/authenticate`
pub(super) async fn authenticate(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    extensions: Extensions,
    body: RawBody,
) -> Response {
    let request = match continued(&state, &headers, body) {
        Ok(request) => request,
        Err(answer) => return answer,
    };
    let transaction_id = text(&request, "transactionId");
    let message = pb::AuthenticateRequest {
        transaction_id: transaction_id.clone(),
        individual_id: text(&request, "individualId"),
        challenges: challenges(&request),
        client_address: address(&extensions),
        details_hash: details_hash(&headers),
    };
    match service(&state)
        .authenticate(state.own_request(&headers, message))
        .await
    {
        Ok(answer) => {
            let consent = consent_action(answer.into_inner().consent_needed);
            let response = json!({ "transactionId": transaction_id, "consentAction": consent });
            envelope::done(&state, &response)
        }
        Err(status) => envelope::refused(&state, json!({}), &status),
    }
}

/// `GET /authorization/claim-details`
pub(super) async fn claim_details(
    State(state): State<GatewayState>,
    headers: HeaderMap,
) -> Response {
    let transaction_id = key(&headers).unwrap_or_default().to_owned();
    let message = pb::GetConsentDetailsRequest {
        transaction_id: transaction_id.clone(),
        details_hash: details_hash(&headers),
    };
    match service(&state)
        .get_consent_details(state.own_request(&headers, message))
        .await
    {
        Ok(answer) => {
            let details = answer.into_inner();
            let claim = |claim: &pb::RequestedClaim| {
                json!({
                    "claim": claim.name,
                    "essential": claim.essential,
                    "available": claim.available,
                    "verified": false,
                })
            };
            let response = json!({
                "transactionId": transaction_id,
                "consentAction": consent_action(details.consent_needed),
                "clientName": details.client_name,
                "claimStatus": details.claims.iter().map(claim).collect::<Vec<_>>(),
                "authorizeScopes": details.authorize_scopes,
                "profileUpdateRequired": false,
            });
            envelope::done(&state, &response)
        }
        Err(status) => envelope::refused(&state, json!({}), &status),
    }
}

/// `POST /authorization/auth-code`
pub(super) async fn auth_code(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let request = match continued(&state, &headers, body) {
        Ok(request) => request,
        Err(answer) => return answer,
    };
    let message = pb::IssueCodeRequest {
        transaction_id: text(&request, "transactionId"),
        accepted_claims: texts(&request, "acceptedClaims"),
        permitted_scopes: texts(&request, "permittedAuthorizeScopes"),
        details_hash: details_hash(&headers),
    };
    match service(&state)
        .issue_code(state.own_request(&headers, message))
        .await
    {
        Ok(answer) => {
            let issued = answer.into_inner();
            let response = json!({
                "code": issued.code,
                "redirectUri": issued.redirect_uri,
                "state": optional(&issued.state),
                "nonce": optional(&issued.nonce),
                "iss": issued.issuer,
                "location": with_code(&issued),
            });
            envelope::done(&state, &response)
        }
        Err(status) => envelope::refused(&state, json!({}), &status),
    }
}

/// `POST /authorization/cancel`
pub(super) async fn cancel(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let request = match continued(&state, &headers, body) {
        Ok(request) => request,
        Err(answer) => return answer,
    };
    let message = pb::CancelSignInRequest {
        transaction_id: text(&request, "transactionId"),
        details_hash: details_hash(&headers),
    };
    match service(&state)
        .cancel_sign_in(state.own_request(&headers, message))
        .await
    {
        Ok(answer) => {
            let ended = answer.into_inner();
            envelope::done(&state, &json!({ "location": with_refusal(&ended) }))
        }
        Err(status) => envelope::refused(&state, json!({}), &status),
    }
}

fn service(state: &GatewayState) -> SignInServiceClient<Link> {
    SignInServiceClient::new(state.own_link("identity"))
}

fn optional(text: &str) -> Value {
    if text.is_empty() {
        Value::Null
    } else {
        text.into()
    }
}

fn consent_action(needed: bool) -> &'static str {
    if needed { "CAPTURE" } else { "NOCAPTURE" }
}

fn challenges(request: &Map<String, Value>) -> Vec<pb::AuthChallenge> {
    let list = request.get("challengeList").and_then(Value::as_array);
    let challenge = |one: &Value| {
        let empty = Map::new();
        let members = one.as_object().unwrap_or(&empty);
        pb::AuthChallenge {
            factor_type: text(members, "authFactorType"),
            challenge: text(members, "challenge"),
            format: text(members, "format"),
        }
    };
    list.into_iter().flatten().map(challenge).collect()
}

/// The first call: the token against forged requests, then the envelope.
fn opened(
    state: &GatewayState,
    headers: &HeaderMap,
    body: RawBody,
) -> Result<Map<String, Value>, Response> {
    let bytes = envelope::read(headers, body)?;
    if !is_genuine(headers) {
        let what = "The header X-XSRF-TOKEN must repeat the cookie XSRF-TOKEN.";
        return Err(Problem::new(StatusCode::FORBIDDEN, "CSRF_MISMATCH", what).answer());
    }
    envelope::opened(&bytes, state, &json!({}))
}

/// Each further call: where the browser names the transaction in a header too, both must agree.
fn continued(
    state: &GatewayState,
    headers: &HeaderMap,
    body: RawBody,
) -> Result<Map<String, Value>, Response> {
    let request = opened(state, headers, body)?;
    let named = key(headers);
    if named.is_some_and(|key| key != text(&request, "transactionId")) {
        let fault = envelope::Fault::new("invalid_transaction", "the transactions differ");
        return Err(envelope::failed(state, json!({}), &fault));
    }
    Ok(request)
}

fn key(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(KEY_HEADER)
        .and_then(|value| value.to_str().ok())
}

/// By what the page names the details that it was shown. One that no hash can be is one that
/// does not match.
fn details_hash(headers: &HeaderMap) -> String {
    match headers.get(HASH_HEADER) {
        None => String::new(),
        Some(sent) => sent
            .to_str()
            .ok()
            .filter(|sent| !sent.is_empty())
            .unwrap_or("?")
            .to_owned(),
    }
}

/// A forged request cannot read the cookie, and so cannot repeat it. Without a cookie the header
/// must still be there, which a form of another site cannot send.
fn is_genuine(headers: &HeaderMap) -> bool {
    let Some(sent) = headers.get(HEADER).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let cookie = flow::cookie(headers, COOKIE);
    !sent.is_empty() && cookie.is_none_or(|cookie| cookie == sent)
}

/// Where the call came from, for limits. Only the connection is believed.
pub(super) fn address(extensions: &Extensions) -> String {
    extensions
        .get::<ConnectInfo<std::net::SocketAddr>>()
        .map(|info| info.0.ip().to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn forged_requests_are_told_from_genuine_ones() {
        assert!(is_genuine(&headers(&[
            (HEADER, "a"),
            ("cookie", "x=1; XSRF-TOKEN=a")
        ])));
        assert!(is_genuine(&headers(&[(HEADER, "a")])));
        assert!(!is_genuine(&headers(&[("cookie", "XSRF-TOKEN=a")])));
        assert!(!is_genuine(&headers(&[
            (HEADER, "b"),
            ("cookie", "XSRF-TOKEN=a")
        ])));
        assert!(!is_genuine(&headers(&[(HEADER, "")])));
    }
}
