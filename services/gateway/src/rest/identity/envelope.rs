//! The envelope of the published interface: requests with a time, answers with a list of errors.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use publica_types::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tonic::Status;

use crate::body::{self, BodyFault, RawBody, is_json};
use crate::problem::{Problem, http_status};
use crate::respond;
use crate::state::{Entry, EntryFault, GatewayState};

/// This interface is published without a charset parameter.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An error of the published list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: String,
    pub(super) message: String,
}

impl Fault {
    /// An error with a code and a sentence.
    pub(super) fn new(code: &str, message: &str) -> Self {
        Self {
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// The members of `request` of a sound envelope; otherwise the answer, with `echo` as its
/// response.
pub(super) fn open(
    headers: &HeaderMap,
    body: RawBody,
    state: &GatewayState,
    echo: &Value,
) -> Result<Map<String, Value>, Response> {
    opened(&read(headers, body)?, state, echo)
}

/// [`open`] for a body that was read.
pub(super) fn opened(
    bytes: &[u8],
    state: &GatewayState,
    echo: &Value,
) -> Result<Map<String, Value>, Response> {
    let invalid = |text: &str| {
        let fault = Fault::new("invalid_request", text);
        failed(state, echo.clone(), &fault)
    };
    let mut envelope: Map<String, Value> =
        body::parse_strict(bytes).map_err(|fault| match fault {
            BodyFault::Malformed { .. } => invalid("the body is no JSON object"),
            other => invalid(&other.to_string()),
        })?;
    if !envelope
        .get("requestTime")
        .and_then(Value::as_str)
        .is_some_and(is_time)
    {
        return Err(invalid(
            "requestTime must be a time such as 2026-01-31T08:30:00.000Z",
        ));
    }
    match envelope.remove("request") {
        Some(Value::Object(request)) => Ok(request),
        _ => Err(invalid("request must be an object")),
    }
}

/// The body of a JSON request.
pub(super) fn read(headers: &HeaderMap, body: RawBody) -> Result<Bytes, Response> {
    if !is_json(headers) {
        let what = "The body must be application/json.";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Problem::new(status, "UNSUPPORTED_MEDIA_TYPE", what).answer());
    }
    body.bytes().map_err(|fault| match fault {
        BodyFault::TooLarge => {
            let what = "The body is too large.";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", what).answer()
        }
        other => Problem::new(
            StatusCode::BAD_REQUEST,
            "BODY_UNREADABLE",
            other.to_string(),
        )
        .answer(),
    })
}

/// Refuses a caller who holds none of the scopes, before anything is read.
pub(super) fn check_scope(entry: &Entry, scopes: &[&str]) -> Result<(), Response> {
    let allowed = scopes.iter().any(|scope| entry.caller().allows(scope));
    if allowed { Ok(()) } else { Err(forbidden()) }
}

/// The published form of a time: UTC with a `Z`, the fraction of a second optional.
pub(super) fn is_time(text: &str) -> bool {
    text.ends_with('Z')
        && text.as_bytes().get(10) == Some(&b'T')
        && text.parse::<Timestamp>().is_ok()
}

/// A time as the published interface writes it: three digits of the second, always.
pub(super) fn time(time: Timestamp) -> String {
    let text = Timestamp::from_seconds(time.seconds()).to_string();
    let millis = time.micros().rem_euclid(1_000_000) / 1_000;
    format!("{}.{millis:03}Z", text.trim_end_matches('Z'))
}

/// A success.
pub(super) fn done<T: Serialize + ?Sized>(state: &GatewayState, response: &T) -> Response {
    let envelope = Done {
        response_time: time(state.clock().now()),
        response,
        errors: [],
    };
    respond::typed(StatusCode::OK, JSON, &envelope)
}

/// The envelope of a success; its list of errors is there and empty.
#[derive(Serialize)]
struct Done<'a, T: ?Sized> {
    #[serde(rename = "responseTime")]
    response_time: String,
    response: &'a T,
    errors: [(); 0],
}

/// A failure: the published interface answers 200 and one error.
pub(super) fn failed(state: &GatewayState, response: Value, fault: &Fault) -> Response {
    let error = json!({ "errorCode": fault.code, "errorMessage": fault.message });
    let now = time(state.clock().now());
    answer(&json!({ "responseTime": now, "response": response, "errors": [error] }))
}

fn answer(body: &Value) -> Response {
    respond::typed(StatusCode::OK, JSON, body)
}

/// A refusal of the block as an answer: who may not call gets a status, everything else the
/// reason as a published code.
pub(super) fn refused(state: &GatewayState, response: Value, status: &Status) -> Response {
    match http_status(status.code()) {
        StatusCode::UNAUTHORIZED => unauthorised("the token is not acceptable"),
        StatusCode::FORBIDDEN => forbidden(),
        StatusCode::TOO_MANY_REQUESTS => too_many(status),
        code => {
            let fault = fault_of(status);
            let ours = code.is_server_error() && fault.code == UNKNOWN;
            let mut answer = failed(state, response, &fault);
            if ours {
                *answer.status_mut() = code;
            }
            answer
        }
    }
}

/// The code of whatever is not the caller's doing.
const UNKNOWN: &str = "unknown_error";

/// How the published interface calls the fields of a client.
const MEMBERS: [(&str, &str); 13] = [
    ("client_id", "clientId"),
    ("client_name", "clientName"),
    ("relying_party_id", "relyingPartyId"),
    ("logo_uri", "logoUri"),
    ("redirect_uris", "redirectUris"),
    ("acr_values", "authContextRefs"),
    ("public_key_jwk", "publicKey"),
    ("user_claims", "userClaims"),
    ("grant_types", "grantTypes"),
    ("auth_methods", "clientAuthMethods"),
    (
        "consent_expire_minutes",
        "additionalConfig.consent_expire_in_mins",
    ),
    ("user_info_type", "additionalConfig.userinfo_response_type"),
    ("encryption_key_jwk", "additionalConfig.encPublicKey"),
];

/// What a refusal says, with the member at fault called as the caller called it.
fn message_of(status: &Status) -> String {
    let problem = Problem::of(status);
    let Some(field) = problem.fields().first() else {
        return status.message().to_owned();
    };
    let known = MEMBERS.iter().find(|(name, _)| *name == field.pointer);
    let member = known.map_or(field.pointer.as_str(), |(_, member)| member);
    format!("{member} {}", field.detail)
}

/// The published code of a refusal.
pub(super) fn fault_of(status: &Status) -> Fault {
    let reason = publica_rpc::reason(status).unwrap_or_default();
    let code = match reason.as_str() {
        "CLIENT_NOT_FOUND" => "invalid_client_id".to_owned(),
        // Everything that a rule refuses carries the published code in upper case.
        reason if is_published(reason) => reason.to_lowercase(),
        _ => match status.code() {
            tonic::Code::InvalidArgument => "invalid_input".to_owned(),
            _ => UNKNOWN.to_owned(),
        },
    };
    Fault::new(&code, &message_of(status))
}

fn is_published(reason: &str) -> bool {
    const CODES: [&str; 29] = [
        "AUTH_FAILED",
        "AUTH_FACTOR_MISMATCH",
        "DUPLICATE_CLIENT_ID",
        "INVALID_ACCEPTED_CLAIM",
        "INVALID_ACR",
        "INVALID_CHALLENGE_FORMAT",
        "INVALID_CLAIM",
        "INVALID_CLIENT_AUTH",
        "INVALID_CLIENT_ID",
        "INVALID_CLIENT_NAME",
        "INVALID_DISPLAY",
        "INVALID_GRANT_TYPE",
        "INVALID_IDENTIFIER",
        "INVALID_NO_OF_CHALLENGES",
        "INVALID_OTP_CHANNEL",
        "INVALID_PERMITTED_SCOPE",
        "INVALID_PKCE_CHALLENGE",
        "INVALID_PROMPT",
        "INVALID_PUBLIC_KEY",
        "INVALID_REDIRECT_URI",
        "INVALID_REQUEST",
        "INVALID_RESPONSE_TYPE",
        "INVALID_RP_ID",
        "INVALID_SCOPE",
        "INVALID_TRANSACTION",
        "INVALID_URI",
        "NO_ACR_REGISTERED",
        "SEND_OTP_FAILED",
        "USE_PKCE",
    ];
    CODES.contains(&reason) || reason == "UNSUPPORTED_PKCE_CHALLENGE_METHOD"
}

/// The answer to somebody who is not let in.
pub(super) fn not_entered(fault: &EntryFault) -> Response {
    match fault {
        EntryFault::Unavailable => {
            let what = "Credentials cannot be checked at present.";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "KEYS_UNAVAILABLE", what).answer()
        }
        other => unauthorised(&other.to_string()),
    }
}

fn unauthorised(what: &str) -> Response {
    let body = json!({ "error": "invalid_token", "error_description": what });
    let mut response = respond::typed(StatusCode::UNAUTHORIZED, JSON, &body);
    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn forbidden() -> Response {
    let what = "the token does not hold the scope that this needs";
    let body = json!({ "error": "insufficient_scope", "error_description": what });
    let mut response = respond::typed(StatusCode::FORBIDDEN, JSON, &body);
    let challenge = HeaderValue::from_static("Bearer error=\"insufficient_scope\"");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn too_many(status: &Status) -> Response {
    let body = json!({ "error": "too_many_requests", "error_description": status.message() });
    let mut response = respond::typed(StatusCode::TOO_MANY_REQUESTS, JSON, &body);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("900"));
    response
}

/// The answer of an operation that is not built.
pub(super) async fn not_built() -> Response {
    let body = json!({
        "response": {},
        "errors": [{
            "errorCode": UNKNOWN,
            "errorMessage": "This operation is not available in this version.",
            "message": "This operation is not available in this version.",
        }],
    });
    (
        StatusCode::NOT_IMPLEMENTED,
        respond::typed(StatusCode::NOT_IMPLEMENTED, JSON, &body),
    )
        .into_response()
}

/// A text member; anything else is as good as none.
pub(super) fn text(members: &Map<String, Value>, name: &str) -> String {
    members
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// A list of texts; a bare text is a list of one. Members of another type become empty texts,
/// which no check lets pass.
pub(super) fn texts(members: &Map<String, Value>, name: &str) -> Vec<String> {
    match members.get(name) {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(all)) => all
            .iter()
            .map(|one| one.as_str().unwrap_or_default().to_owned())
            .collect(),
        None | Some(Value::Null) => Vec::new(),
        Some(_) => vec![String::new()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_and_whole() {
        for good in ["2011-10-05T14:48:00.000Z", "2026-01-31T08:30:00Z"] {
            assert!(is_time(good), "{good}");
        }
        for bad in [
            "",
            "2026-01-31",
            "2026-01-31T08:30:00",
            "2026-01-31T08:30:00+00:00",
            "2026-13-31T08:30:00Z",
            "2026-01-31 08:30:00Z",
        ] {
            assert!(!is_time(bad), "{bad}");
        }
        let moment = Timestamp::from_micros(1_007_999);
        assert_eq!(time(moment), "1970-01-01T00:00:01.007Z");
    }

    #[test]
    fn a_bare_text_is_a_list_of_one() {
        let members = json!({"a": "x", "b": ["x", 7], "c": {}});
        let members = members.as_object().unwrap();
        assert_eq!(texts(members, "a"), ["x"]);
        assert_eq!(texts(members, "b"), ["x", ""]);
        assert_eq!(texts(members, "c"), [""]);
        assert!(texts(members, "d").is_empty());
        assert_eq!(text(members, "b"), "");
    }
}
