//! The way out of a mailing: a page with a button for people, and the post that mail programs
//! send of themselves (RFC 8058). Who holds the link needs no other proof. Following it alone
//! ends nothing, since programs follow links to look at them.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::suppression_service_client::SuppressionServiceClient;
use tonic::Code;

use crate::body::Params;
use crate::pages;
use crate::state::GatewayState;

/// `GET /unsubscribe/{token}`.
pub(super) async fn ask() -> Response {
    pages::html(include_str!("../../../web/unsubscribe/ask.html"))
}

/// `GET /unsubscribe/publica.css`: the look of the page, beside it under whatever prefix it is
/// served.
pub(super) async fn look() -> Response {
    pages::look()
}

/// `POST /unsubscribe/{token}`. The body says nothing that the link does not.
pub(super) async fn end(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let message = api::UnsubscribeRequest {
        token: params.get("token").unwrap_or_default().to_owned(),
    };
    let ended = SuppressionServiceClient::new(state.own_link("messaging"))
        .unsubscribe(state.own_request(&headers, message))
        .await;
    let (status, page) = match ended.map_err(|status| status.code()) {
        Ok(_) => (
            StatusCode::OK,
            include_str!("../../../web/unsubscribe/done.html"),
        ),
        Err(Code::NotFound) => (
            StatusCode::NOT_FOUND,
            include_str!("../../../web/unsubscribe/unknown.html"),
        ),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            include_str!("../../../web/unsubscribe/later.html"),
        ),
    };
    let mut response = pages::html(page);
    *response.status_mut() = status;
    response
}
