//! `POST /send/sms/single` and `POST /send/sms/batch`: short messages, by the rules of e-mail.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::send_sms_batch_request::Part;
use publica_proto::messaging::v1::sms_service_client::SmsServiceClient;

use super::error::Refusal;
use super::send::{Accepted, BATCH_DEADLINE, PART, answer, refused, request_id};
use super::shapes::{self, Recipients, SendSms};
use super::{POSTS, enter};
use crate::state::{Entry, GatewayState};

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
    let mut body: SendSms = shapes::read(request).await?;
    let request_id = request_id(headers, body.transaction_id.as_deref())?;
    let envelope = body.envelope()?;
    match body.recipients()? {
        Recipients::List(list) => send_list(state, &entry, (envelope, request_id), list).await,
        Recipients::One(recipient) => {
            let message = api::SendSmsRequest {
                envelope: Some(envelope),
                recipient: Some(recipient),
                request_id,
            };
            let mut client = SmsServiceClient::new(state.link("messaging"));
            let sent = client.send_sms(entry.request(message)).await;
            let sent = sent.map_err(refused)?.into_inner();
            Ok(Accepted {
                request_uid: sent.request_uid,
                replayed: sent.replayed,
                messages: 1,
            })
        }
    }
}

async fn send_list(
    state: &GatewayState,
    entry: &Entry,
    (envelope, request_id): (api::SmsEnvelope, String),
    recipients: Vec<api::SmsRecipient>,
) -> Result<Accepted, Refusal> {
    let header = api::SmsBatchHeader {
        envelope: Some(envelope),
        request_id,
    };
    let mut parts = vec![Part::Header(header)];
    let mut recipients = recipients.into_iter();
    loop {
        let recipients: Vec<_> = recipients.by_ref().take(PART).collect();
        if recipients.is_empty() {
            break;
        }
        parts.push(Part::Recipients(api::SmsRecipientList { recipients }));
    }
    let parts = parts
        .into_iter()
        .map(|part| api::SendSmsBatchRequest { part: Some(part) });
    let parts: Vec<_> = parts.collect();
    let mut request = entry.request(tokio_stream::iter(parts));
    request.set_timeout(BATCH_DEADLINE);
    let mut client = SmsServiceClient::new(state.link("messaging"));
    let sent = client.send_sms_batch(request).await;
    let sent = sent.map_err(refused)?.into_inner();
    Ok(Accepted {
        request_uid: sent.request_uid,
        replayed: sent.replayed,
        messages: sent.message_count,
    })
}
