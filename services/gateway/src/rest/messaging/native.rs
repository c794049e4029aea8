//! The native paths: true status codes, problem documents.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::message_service_client::MessageServiceClient;
use publica_rpc::Link;
use serde_json::{Value, json};
use tonic::Status;

use crate::body::{Params, QueryPairs};
use crate::convert::{idempotency_key, rfc3339};
use crate::problem::Problem;
use crate::respond;
use crate::state::{Entry, GatewayState};

fn client(state: &GatewayState) -> MessageServiceClient<Link> {
    MessageServiceClient::new(state.link("messaging"))
}

pub(super) async fn enter(state: &GatewayState, headers: &HeaderMap) -> Result<Entry, Problem> {
    state
        .enter(headers)
        .await
        .map_err(|fault| Problem::new(fault.status(), "CREDENTIALS_REFUSED", fault.to_string()))
}

pub(super) fn uid(params: &Params) -> String {
    params.get("requestUid").unwrap_or_default().to_owned()
}

pub(super) fn finish(result: Result<Value, Problem>) -> Response {
    match result {
        Ok(body) => respond::json(StatusCode::OK, &body),
        Err(problem) => problem.answer(),
    }
}

pub(super) fn problem(status: Status) -> Problem {
    Problem::of(&status)
}

/// `GET /api/v1/requests/{requestUid}`.
pub(super) async fn status(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let read = async {
        let entry = enter(&state, &headers).await?;
        let message = api::GetStatusRequest {
            request_uid: uid(&params),
            ..api::GetStatusRequest::default()
        };
        let answer = client(&state)
            .get_status(entry.request(message))
            .await
            .map_err(problem)?;
        let answer = answer.into_inner();
        let counters = counters(&answer.counters.unwrap_or_default());
        Ok(json!({
            "counters": counters,
            "completed": answer.completed,
            "paused": answer.paused,
        }))
    };
    finish(read.await)
}

/// `GET /api/v1/requests/{requestUid}/events`.
pub(super) async fn events(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    query: QueryPairs,
) -> Response {
    let read = async {
        let entry = enter(&state, &headers).await?;
        let size = query.get("pageSize").and_then(|size| size.parse().ok());
        let message = api::ListEventsRequest {
            request_uid: uid(&params),
            page_size: size.unwrap_or_default(),
            page_token: query.get("pageToken").unwrap_or_default().to_owned(),
        };
        let answer = client(&state)
            .list_events(entry.request(message))
            .await
            .map_err(problem)?;
        let answer = answer.into_inner();
        let events: Vec<Value> = answer.events.iter().map(event).collect();
        Ok(json!({ "events": events, "nextPageToken": answer.next_page_token }))
    };
    finish(read.await)
}

/// `POST /api/v1/requests/{requestUid}/cancel`.
pub(super) async fn cancel(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let stop = async {
        let entry = enter(&state, &headers).await?;
        let message = api::CancelRequestRequest {
            request_uid: uid(&params),
            request_id: idempotency_key(&headers).unwrap_or_default(),
        };
        let answer = client(&state)
            .cancel_request(entry.request(message))
            .await
            .map_err(problem)?;
        let counters = counters(&answer.into_inner().counters.unwrap_or_default());
        Ok(json!({ "counters": counters }))
    };
    finish(stop.await)
}

pub(super) fn counters(counters: &api::Counters) -> Value {
    json!({
        "scheduled": counters.scheduled,
        "processing": counters.processing,
        "deferred": counters.deferred,
        "bounced": counters.bounced,
        "notSent": counters.not_sent,
        "delivered": counters.delivered,
        "total": counters.total,
    })
}

/// The published name of a state.
pub(super) fn state(state: api::MessageState) -> &'static str {
    match state {
        api::MessageState::Scheduled => "scheduled",
        api::MessageState::Processing => "processing",
        api::MessageState::Deferred => "deferred",
        api::MessageState::Bounced => "bounced",
        api::MessageState::NotSent => "notSent",
        api::MessageState::Delivered => "delivered",
        api::MessageState::Unspecified => "unknown",
    }
}

fn event(event: &api::MessageEvent) -> Value {
    json!({
        "messageId": event.message_id,
        "attempt": event.attempt,
        "state": state(event.state()),
        "code": event.code,
        "reason": event.reason,
        "time": rfc3339(event.event_time.as_ref()),
    })
}
