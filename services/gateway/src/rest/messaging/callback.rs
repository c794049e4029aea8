//! `POST /callback/email` and `POST /callback/sms`: answers that belong to a request.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::message_service_client::MessageServiceClient;
use serde_json::json;

use super::error::{Code, Refusal};
use super::shapes::{self, Answer};
use super::{POSTS, enter, request_uid};
use crate::respond;
use crate::state::GatewayState;

pub(super) async fn email(State(state): State<GatewayState>, request: Request) -> Response {
    receive(&state, request, api::MessageChannel::Email).await
}

pub(super) async fn sms(State(state): State<GatewayState>, request: Request) -> Response {
    receive(&state, request, api::MessageChannel::Sms).await
}

async fn receive(state: &GatewayState, request: Request, channel: api::MessageChannel) -> Response {
    let headers = request.headers().clone();
    match try_receive(state, request, &headers, channel).await {
        Ok(()) => respond::json(StatusCode::OK, &json!({})),
        Err(refusal) => refusal.answer(&headers),
    }
}

async fn try_receive(
    state: &GatewayState,
    request: Request,
    headers: &HeaderMap,
    channel: api::MessageChannel,
) -> Result<(), Refusal> {
    let entry = enter(state, headers, POSTS).await?;
    let request_uid = request_uid(headers, POSTS)?;
    let body: Answer = shapes::read(request).await?;
    let refuse = |code: Code, why: &str| {
        Refusal::input(code, format!("content {why}."), POSTS).with("/content", why)
    };
    let content = body
        .content
        .ok_or_else(|| refuse(Code::SchemaViolation, "is required"))?;
    let content =
        shapes::decode(&content).ok_or_else(|| refuse(Code::InvalidBase64, "is no base64"))?;
    let message = api::CreateReplyRequest {
        request_uid,
        meta: body.meta.unwrap_or_default(),
        content: content.into(),
        request_id: String::new(),
        channel: channel.into(),
    };
    let mut client = MessageServiceClient::new(state.link("messaging"));
    let answer = client.create_reply(entry.request(message)).await;
    answer.map_err(|status| Refusal::of_status(&status, POSTS, shapes::pointer))?;
    Ok(())
}
