//! `POST /send/email/single` and `POST /send/email/batch`.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::message_service_client::MessageServiceClient;
use publica_proto::messaging::v1::send_email_batch_request::Part;
use serde_json::json;

use super::error::{Code, Refusal};
use super::shapes::{self, Send};
use super::{POSTS, enter};
use crate::respond;
use crate::state::{Entry, GatewayState};

/// Recipients in one part of a stream.
pub(super) const PART: usize = 1_000;
/// A long list takes its time.
pub(super) const BATCH_DEADLINE: Duration = Duration::from_secs(60);

/// What was accepted.
pub(super) struct Accepted {
    pub(super) request_uid: String,
    pub(super) replayed: bool,
    pub(super) messages: i64,
}

pub(super) async fn single(state: State<GatewayState>, request: Request) -> Response {
    send(state, request).await
}

pub(super) async fn batch(state: State<GatewayState>, request: Request) -> Response {
    send(state, request).await
}

async fn send(State(state): State<GatewayState>, request: Request) -> Response {
    let headers = request.headers().clone();
    answer(try_send(&state, request, &headers).await, &headers)
}

async fn try_send(
    state: &GatewayState,
    request: Request,
    headers: &HeaderMap,
) -> Result<Accepted, Refusal> {
    let entry = enter(state, headers, POSTS).await?;
    let mut body: Send = shapes::read(request).await?;
    let request_id = request_id(headers, body.transaction_id.as_deref())?;
    let envelope = body.envelope()?;
    let recipient = body.recipient.take();
    let recipient = recipient.ok_or_else(|| shapes::missing("/recipientInfo"))?;
    match &recipient.list {
        Some(list) => {
            let recipients = shapes::recipients(list)?;
            send_list(state, &entry, (envelope, request_id), recipients).await
        }
        None => {
            let message = api::SendEmailRequest {
                envelope: Some(envelope),
                recipient: Some(recipient.into_recipient()),
                request_id,
            };
            let mut client = MessageServiceClient::new(state.link("messaging"));
            let answer = client
                .send_email(entry.request(message))
                .await
                .map_err(refused)?;
            let answer = answer.into_inner();
            Ok(Accepted {
                request_uid: answer.request_uid,
                replayed: answer.replayed,
                messages: 1,
            })
        }
    }
}

async fn send_list(
    state: &GatewayState,
    entry: &Entry,
    (envelope, request_id): (api::Envelope, String),
    recipients: Vec<api::Recipient>,
) -> Result<Accepted, Refusal> {
    let header = api::BatchHeader {
        envelope: Some(envelope),
        request_id,
    };
    let mut parts = Vec::with_capacity(recipients.len() / PART + 2);
    parts.push(api::SendEmailBatchRequest {
        part: Some(Part::Header(header)),
    });
    let mut recipients = recipients.into_iter();
    loop {
        let some: Vec<_> = recipients.by_ref().take(PART).collect();
        if some.is_empty() {
            break;
        }
        let list = api::RecipientList { recipients: some };
        parts.push(api::SendEmailBatchRequest {
            part: Some(Part::Recipients(list)),
        });
    }
    let mut request = entry.request(tokio_stream::iter(parts));
    request.set_timeout(BATCH_DEADLINE);
    let mut client = MessageServiceClient::new(state.link("messaging"));
    let answer = client
        .send_email_batch(request)
        .await
        .map_err(refused)?
        .into_inner();
    Ok(Accepted {
        request_uid: answer.request_uid,
        replayed: answer.replayed,
        messages: answer.message_count,
    })
}

/// The answer of all sending paths.
pub(super) fn answer(sent: Result<Accepted, Refusal>, headers: &HeaderMap) -> Response {
    let accepted = match sent {
        Ok(accepted) => accepted,
        Err(refusal) => return refusal.answer(headers),
    };
    let text = match accepted.messages {
        1 => "Message received".to_owned(),
        count => format!("{count} messages received"),
    };
    let body = json!({
        "response": text,
        // One document says Uid, the other UID.
        "requestUid": accepted.request_uid,
        "requestUID": accepted.request_uid,
    });
    let mut response = respond::json(StatusCode::OK, &body);
    if accepted.replayed {
        let headers = response.headers_mut();
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}

pub(super) fn refused(status: tonic::Status) -> Refusal {
    Refusal::of_status(&status, POSTS, shapes::pointer)
}

/// The id under which a repeat is recognised: of the header, else of the transaction.
pub(super) fn request_id(
    headers: &HeaderMap,
    transaction: Option<&str>,
) -> Result<String, Refusal> {
    let key = match headers.get("idempotency-key") {
        Some(value) => {
            let text = value
                .to_str()
                .unwrap_or_default()
                .trim()
                .trim_matches('"')
                .to_owned();
            let sound =
                (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
            if !sound {
                return Err(Refusal::input(
                    Code::SchemaViolation,
                    "The header Idempotency-Key must have 1 to 255 visible characters.",
                    POSTS,
                ));
            }
            Some(format!("key:{text}"))
        }
        None => transaction
            .filter(|text| !text.is_empty())
            .map(|text| format!("transaction:{text}")),
    };
    // Keys may be longer than ids, so an id is made of each.
    Ok(key.map_or_else(String::new, |key| {
        let hash = digest(&SHA256, key.as_bytes());
        hash.as_ref()
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }))
}
