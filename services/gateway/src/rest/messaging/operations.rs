//! What operators do about requests: hold them up, let them go on, send again what failed.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::delivery_service_client::DeliveryServiceClient;
use publica_rpc::Link;
use serde::Deserialize;
use serde_json::{Value, json};

use super::native::{counters, enter, finish, problem, state as named, uid};
use crate::body::{BodyFault, Params, QueryPairs, RawBody};
use crate::convert::{idempotency_key, rfc3339};
use crate::problem::Problem;
use crate::state::GatewayState;

/// The body of a call to send again.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Redrive {
    reasons: Vec<String>,
}

pub(super) fn router() -> Router<GatewayState> {
    Router::new()
        .route("/api/v1/requests", get(list))
        .route("/api/v1/requests/{requestUid}/pause", post(pause))
        .route("/api/v1/requests/{requestUid}/resume", post(resume))
        .route(
            "/api/v1/requests/{requestUid}/dead-letters",
            get(dead_letters),
        )
        .route("/api/v1/requests/{requestUid}/redrive", post(redrive))
}

fn client(state: &GatewayState) -> DeliveryServiceClient<Link> {
    DeliveryServiceClient::new(state.link("messaging"))
}

/// `GET /api/v1/requests`.
async fn list(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let read = async {
        let entry = enter(&state, &headers).await?;
        let size = query.get("pageSize").and_then(|size| size.parse().ok());
        let message = api::ListRequestsRequest {
            open_only: query.get("openOnly") == Some("true"),
            page_size: size.unwrap_or_default(),
            page_token: query.get("pageToken").unwrap_or_default().to_owned(),
        };
        let answer = client(&state).list_requests(entry.request(message)).await;
        let answer = answer.map_err(problem)?.into_inner();
        let requests: Vec<Value> = answer.requests.iter().map(summary).collect();
        Ok(json!({ "requests": requests, "nextPageToken": answer.next_page_token }))
    };
    finish(read.await)
}

/// `POST /api/v1/requests/{requestUid}/pause`.
async fn pause(State(state): State<GatewayState>, headers: HeaderMap, params: Params) -> Response {
    let hold = async {
        let entry = enter(&state, &headers).await?;
        let message = api::PauseRequestRequest {
            request_uid: uid(&params),
            request_id: idempotency_key(&headers).unwrap_or_default(),
        };
        let answer = client(&state).pause_request(entry.request(message)).await;
        let answer = answer.map_err(problem)?.into_inner();
        Ok(json!({ "counters": counters(&answer.counters.unwrap_or_default()) }))
    };
    finish(hold.await)
}

/// `POST /api/v1/requests/{requestUid}/resume`.
async fn resume(State(state): State<GatewayState>, headers: HeaderMap, params: Params) -> Response {
    let go_on = async {
        let entry = enter(&state, &headers).await?;
        let message = api::ResumeRequestRequest {
            request_uid: uid(&params),
            request_id: idempotency_key(&headers).unwrap_or_default(),
        };
        let answer = client(&state).resume_request(entry.request(message)).await;
        let answer = answer.map_err(problem)?.into_inner();
        Ok(json!({ "counters": counters(&answer.counters.unwrap_or_default()) }))
    };
    finish(go_on.await)
}

/// `GET /api/v1/requests/{requestUid}/dead-letters`.
async fn dead_letters(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let read = async {
        let entry = enter(&state, &headers).await?;
        let message = api::ListDeadLettersRequest {
            request_uid: uid(&params),
        };
        let answer = client(&state)
            .list_dead_letters(entry.request(message))
            .await;
        let answer = answer.map_err(problem)?.into_inner();
        let groups = answer.groups.iter().map(|group| {
            json!({
                "reason": group.reason,
                "state": named(group.state()),
                "messages": group.message_count,
                "expireTime": rfc3339(group.expire_time.as_ref()),
            })
        });
        Ok(json!({ "groups": groups.collect::<Vec<_>>() }))
    };
    finish(read.await)
}

/// `POST /api/v1/requests/{requestUid}/redrive`; `{"reasons": [...]}` names some.
async fn redrive(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    body: RawBody,
) -> Response {
    let again = async {
        let entry = enter(&state, &headers).await?;
        let wanted = match body.parse_object::<Redrive>() {
            Err(BodyFault::Missing) => Redrive::default(),
            parsed => parsed.map_err(|fault| unreadable(&fault))?,
        };
        let message = api::RedriveRequestRequest {
            request_uid: uid(&params),
            reasons: wanted.reasons,
            request_id: idempotency_key(&headers).unwrap_or_default(),
        };
        let answer = client(&state).redrive_request(entry.request(message)).await;
        let answer = answer.map_err(problem)?.into_inner();
        Ok(json!({
            "messages": answer.message_count,
            "more": answer.more,
            "counters": counters(&answer.counters.unwrap_or_default()),
        }))
    };
    finish(again.await)
}

fn unreadable(fault: &BodyFault) -> Problem {
    let (status, code) = match fault {
        BodyFault::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE"),
        BodyFault::Interrupted => (StatusCode::BAD_REQUEST, "BODY_UNREADABLE"),
        _ => (StatusCode::BAD_REQUEST, "BODY_MALFORMED"),
    };
    Problem::new(status, code, fault.to_string())
}

fn summary(one: &api::RequestSummary) -> Value {
    let priority = match one.priority() {
        api::Priority::Emergency => "emergency",
        api::Priority::Urgent => "urgent",
        api::Priority::Bulk => "bulk",
        api::Priority::Normal | api::Priority::Unspecified => "normal",
    };
    json!({
        "requestUid": one.request_uid,
        "acceptTime": rfc3339(one.accept_time.as_ref()),
        "sendTime": rfc3339(one.send_time.as_ref()),
        "priority": priority,
        "counters": counters(&one.counters.unwrap_or_default()),
        "completed": one.completed,
        "paused": one.paused,
    })
}
