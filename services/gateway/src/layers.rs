//! What every HTTP call passes: a request id, hardening headers, a deadline for the blocks behind
//! it, caught panics, metrics.

use std::any::Any;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::problem::Problem;
use crate::state::GatewayState;

/// The header that carries the id of a request; echoed on every answer.
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Mobile-money clients name a request this way; echoed when it was sent.
static CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlationid");

static PROFILE: HeaderName = HeaderName::from_static("x-publica-profile");

/// The time that published clients wait at most, less what the gateway itself needs.
const EDGE_DEADLINE: Duration = Duration::from_millis(14_500);

/// Gives the request an id and finishes the answer.
pub(crate) async fn edge(
    State(state): State<GatewayState>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = request
        .headers()
        .get(&REQUEST_ID)
        .filter(|value| value.to_str().is_ok_and(publica_rpc::is_sound_id))
        .cloned()
        .unwrap_or_else(|| state.mint_request_id());
    request.headers_mut().insert(REQUEST_ID.clone(), id.clone());
    let correlation = request.headers().get(&CORRELATION_ID).cloned();
    let started = tokio::time::Instant::now();
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();

    let answer = tokio::time::timeout(EDGE_DEADLINE, next.run(request));
    let mut response = match answer.await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "DEADLINE_EXCEEDED",
            "The answer took too long.",
        )
        .answer(),
    };
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID.clone(), id);
    if let Some(correlation) = correlation {
        headers.insert(CORRELATION_ID.clone(), correlation);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if let Some(profile) = state.announced_profile() {
        headers.insert(PROFILE.clone(), profile);
    }
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let took = started.elapsed();
    state
        .durations()
        .record(route, method, response.status(), took);
    response
}

/// Asks the surface for its published form alone, as a client can with the same header.
pub(crate) async fn prefer_strict(mut request: Request) -> Request {
    let strict = HeaderValue::from_static("handling=strict");
    request.headers_mut().append("prefer", strict);
    request
}

/// Metric labels come from a closed list: a client must not be able to invent new ones.
fn method_label(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}

/// The answer to a request whose handler panicked.
pub(crate) fn panicked(_panic: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a handler panicked");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "INTERNAL",
        "Something went wrong here.",
    )
    .answer()
}
