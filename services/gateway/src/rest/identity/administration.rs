//! Blocking and unblocking as published.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::person_service_client::PersonServiceClient;
use publica_rpc::{Link, timestamp};
use publica_types::Timestamp;
use serde_json::{Map, Value, json};
use tonic::Status;

use crate::body::{self, RawBody};
use crate::convert::{idempotency_key, rfc3339};
use crate::problem::http_status;
use crate::respond;
use crate::rest::identity::envelope::{self, JSON, text};
use crate::state::{Entry, GatewayState};

/// What is to be done with somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Block,
    Unblock,
}

/// `POST /block`
pub(super) async fn block(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    answer(&state, &headers, body, Change::Block).await
}

/// `POST /unblock`
pub(super) async fn unblock(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    answer(&state, &headers, body, Change::Unblock).await
}

async fn answer(
    state: &GatewayState,
    headers: &HeaderMap,
    body: RawBody,
    change: Change,
) -> Response {
    let entry = match state.enter(headers).await {
        Ok(entry) => entry,
        Err(fault) => return envelope::not_entered(&fault),
    };
    if let Err(answer) = envelope::check_scope(&entry, &["identity:person:block"]) {
        return answer;
    }
    let bytes = match envelope::read(headers, body) {
        Ok(bytes) => bytes,
        Err(answer) => return answer,
    };
    let sent: Value = match body::parse_strict(&bytes) {
        Ok(sent) => sent,
        Err(fault) => return failed(state, "invalid_request", &fault.to_string()),
    };
    let Some(request) = sent.get("request").and_then(Value::as_object) else {
        return failed(state, "invalid_request", "request must be an object");
    };
    if let Err(what) = check(request) {
        return failed(state, "invalid_input", &what);
    }
    let end = match request.get("expiryTimestamp").and_then(Value::as_str) {
        None | Some("") => None,
        Some(text) => match text.parse::<Timestamp>() {
            Ok(end) => Some(end),
            Err(_) => return failed(state, "invalid_input", "request.expiryTimestamp is no time"),
        },
    };
    let service = PersonServiceClient::new(state.link("identity"));
    let key = idempotency_key(headers).unwrap_or_default();
    match applied(service, &entry, request, change, end, key).await {
        Ok(Some(person)) => done(state, request, &person),
        Ok(None) => failed(state, "invalid_identifier", "nobody has this identifier"),
        Err(status) if http_status(status.code()) == StatusCode::BAD_REQUEST => {
            let what = format!("request.id: {}", status.message());
            failed(state, "invalid_input", &what)
        }
        Err(status) => envelope::refused(state, json!({}), &status),
    }
}

/// Who is meant, and until when.
fn check(request: &Map<String, Value>) -> Result<(), String> {
    for name in ["id", "idType", "status", "expiryTimestamp"] {
        match request.get(name) {
            None | Some(Value::Null | Value::String(_)) => {}
            Some(_) => return Err(format!("request.{name} must be a text")),
        }
    }
    if text(request, "id").trim().is_empty() {
        return Err("request.id is required".to_owned());
    }
    Ok(())
}

async fn applied(
    mut service: PersonServiceClient<Link>,
    entry: &Entry,
    request: &Map<String, Value>,
    change: Change,
    end: Option<Timestamp>,
    request_id: String,
) -> Result<Option<pb::Person>, Status> {
    let search = pb::SearchPersonsRequest {
        identifier: text(request, "id"),
        name: String::new(),
    };
    let found = service
        .search_persons(entry.request(search))
        .await?
        .into_inner()
        .persons;
    let Some(person) = found.into_iter().next() else {
        return Ok(None);
    };
    let person_id = person.person_id;
    let changed = match change {
        Change::Block => {
            let expire_time = end.map(timestamp);
            let reason = String::new();
            let message = pb::BlockPersonRequest {
                request_id,
                person_id,
                expire_time,
                reason,
            };
            service
                .block_person(entry.request(message))
                .await?
                .into_inner()
                .person
        }
        Change::Unblock => {
            let message = pb::UnblockPersonRequest {
                request_id,
                person_id,
            };
            service
                .unblock_person(entry.request(message))
                .await?
                .into_inner()
                .person
        }
    };
    Ok(changed)
}

fn done(state: &GatewayState, request: &Map<String, Value>, person: &pb::Person) -> Response {
    let blocked = person.state() == pb::PersonState::Blocked;
    let body = json!({
        "id": "govstack.identity",
        "version": "v1",
        "responsetime": envelope::time(state.clock().now()),
        "response": {
            "id": text(request, "id"),
            "idType": text(request, "idType"),
            "status": if blocked { "BLOCKED" } else { "ACTIVE" },
            "expiryTimestamp": rfc3339(person.block_expire_time.as_ref()).unwrap_or_default(),
        },
        "errors": [],
    });
    respond::typed(StatusCode::OK, JSON, &body)
}

fn failed(state: &GatewayState, code: &str, message: &str) -> Response {
    let body = json!({
        "id": "govstack.identity",
        "version": "v1",
        "responsetime": envelope::time(state.clock().now()),
        "response": {},
        "errors": [{ "errorCode": code, "message": message }],
    });
    respond::typed(StatusCode::OK, JSON, &body)
}
