//! Beneficiaries, validation and bulk payment as published: one acknowledgement for all, whose
//! `ResponseCode` says whether the request was taken, not that each item succeeded.

use aws_lc_rs::digest::{Context, SHA256};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::batch_service_client::BatchServiceClient;
use publica_proto::payments::v1::beneficiary_service_client::BeneficiaryServiceClient;
use publica_rpc::Link;
use serde_json::json;
use tonic::{Code, Status};

use super::input::{Fault, Payment, Poll, Registration, SoundPayment};
use super::{callback, strict, timed};
use crate::body::{self, BodyFault};
use crate::respond;
use crate::state::{Entry, EntryFault, GatewayState};

/// The largest body, and the most items in it.
const BODY_LIMIT: usize = 64 << 20;
const MOST_ITEMS: usize = 100_000;
/// Instructions in one message to the block.
const PAGE: usize = 1_000;
/// Stands for the id of a request that has no usable one.
const NO_ID: &str = "000000000000";

fn acknowledge(status: StatusCode, code: &str, text: &str, request_id: &str) -> Response {
    let body = json!({
        "ResponseCode": code,
        "ResponseDescription": text.chars().take(200).collect::<String>(),
        "RequestID": request_id,
    });
    respond::json(status, &body)
}

fn taken(request_id: &str) -> Response {
    acknowledge(StatusCode::OK, "00", "The request was taken.", request_id)
}

/// An answer that the request was not taken.
pub(super) fn refused(status: StatusCode, text: &str, request_id: Option<&str>) -> Response {
    acknowledge(status, "01", text, request_id.unwrap_or(NO_ID))
}

/// Why a request is not taken.
struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    /// Something wrong with what the body says. A validation tells so under status 200.
    fn content(lenient: bool, text: impl Into<String>) -> Self {
        let status = if lenient {
            StatusCode::OK
        } else {
            StatusCode::BAD_REQUEST
        };
        Self::new(status, text)
    }

    fn answer(&self, request_id: Option<&str>) -> Response {
        refused(self.status, &self.text, request_id)
    }
}

impl From<EntryFault> for Refusal {
    fn from(fault: EntryFault) -> Self {
        Self::new(fault.status(), fault.to_string())
    }
}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body is larger than 64 MiB; split it, or stream it to the native interface.",
            ),
            fault => Self::new(StatusCode::BAD_REQUEST, fault.to_string()),
        }
    }
}

/// What the block refused, as this interface says it.
fn of_block(status: &Status, lenient: bool) -> Refusal {
    let text = status.message();
    match status.code() {
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::AlreadyExists
        | Code::OutOfRange => Refusal::content(lenient, text),
        Code::Unauthenticated => Refusal::new(StatusCode::UNAUTHORIZED, text),
        Code::PermissionDenied => Refusal::new(StatusCode::FORBIDDEN, text),
        Code::NotFound => Refusal::new(StatusCode::NOT_FOUND, text),
        Code::Unavailable | Code::Aborted | Code::ResourceExhausted | Code::DeadlineExceeded => {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
        }
        _ => Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong here.",
        ),
    }
}

/// A request that came in.
struct Opened {
    entry: Entry,
    bytes: Bytes,
    callback: Option<api::Callback>,
}

/// Lets the caller in and reads the body.
async fn open(state: &GatewayState, request: Request) -> Result<Opened, Refusal> {
    let entry = state.enter(request.headers()).await?;
    let callback =
        callback(request.headers()).map_err(|text| Refusal::new(StatusCode::BAD_REQUEST, text))?;
    let (extensions, path) = (
        request.extensions().clone(),
        request.uri().path().to_owned(),
    );
    let bytes = body::read(request, BODY_LIMIT).await?;
    strict::check(&extensions, &path, &bytes)
        .map_err(|text| Refusal::new(StatusCode::BAD_REQUEST, text))?;
    Ok(Opened {
        entry,
        bytes,
        callback,
    })
}

/// An object of this shape; its members are looked at later.
fn object<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Refusal> {
    let malformed = || Refusal::new(StatusCode::BAD_REQUEST, "The body must be a JSON object.");
    let text = std::str::from_utf8(bytes).map_err(|_| malformed())?;
    // A sequence would be read as the members in their order.
    if !text.trim_start().starts_with('{') {
        return Err(malformed());
    }
    serde_json::from_str(text).map_err(|_| malformed())
}

fn beneficiaries(state: &GatewayState) -> BeneficiaryServiceClient<Link> {
    BeneficiaryServiceClient::new(state.link("payments")).max_encoding_message_size(BODY_LIMIT)
}

fn too_many(count: usize) -> Result<(), Refusal> {
    match count > MOST_ITEMS {
        true => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "There are more than 100,000 items; split them, or use the native interface.",
        )),
        false => Ok(()),
    }
}

/// `POST /register-beneficiary`.
pub(super) async fn register(State(state): State<GatewayState>, request: Request) -> Response {
    registered(&state, request, true).await
}

/// `POST /update-beneficiary-details`.
pub(super) async fn update(State(state): State<GatewayState>, request: Request) -> Response {
    registered(&state, request, false).await
}

async fn registered(state: &GatewayState, request: Request, fresh: bool) -> Response {
    let opened = match open(state, request).await {
        Ok(opened) => opened,
        Err(refusal) => return refusal.answer(None),
    };
    let (entry, bytes, callback) = (opened.entry, opened.bytes, opened.callback);
    let read = match object::<Registration<'_>>(&bytes) {
        Ok(read) => read,
        Err(refusal) => return refusal.answer(None),
    };
    let request_id = read.request_id();
    match register_all(state, &entry, &read, fresh, callback).await {
        Ok(()) => taken(request_id.as_deref().unwrap_or(NO_ID)),
        Err(refusal) => refusal.answer(request_id.as_deref()),
    }
}

async fn register_all(
    state: &GatewayState,
    entry: &Entry,
    read: &Registration<'_>,
    fresh: bool,
    callback: Option<api::Callback>,
) -> Result<(), Refusal> {
    let sound = read
        .check()
        .map_err(|fault| Refusal::content(false, fault))?;
    too_many(sound.beneficiaries.len())?;
    let list = sound
        .beneficiaries
        .into_iter()
        .map(
            |(functional_id, modality, financial_address)| api::Beneficiary {
                functional_id,
                modality,
                financial_address,
                ..api::Beneficiary::default()
            },
        )
        .collect();
    let (source_id, source_request) = (sound.source_id, sound.request_id);
    let done = if fresh {
        let message = api::RegisterBeneficiariesRequest {
            source_id,
            source_request,
            beneficiaries: list,
            callback,
        };
        let call = timed(entry.request(message));
        beneficiaries(state)
            .register_beneficiaries(call)
            .await
            .map(drop)
    } else {
        let message = api::UpdateBeneficiariesRequest {
            source_id,
            source_request,
            beneficiaries: list,
            callback,
        };
        let call = timed(entry.request(message));
        beneficiaries(state)
            .update_beneficiaries(call)
            .await
            .map(drop)
    };
    done.map_err(|status| of_block(&status, false))
}

/// `POST /prepayment-validation`.
pub(super) async fn validate(State(state): State<GatewayState>, request: Request) -> Response {
    payment(&state, request, true).await
}

/// `POST /bulk-payment`.
pub(super) async fn pay(State(state): State<GatewayState>, request: Request) -> Response {
    payment(&state, request, false).await
}

async fn payment(state: &GatewayState, request: Request, validation: bool) -> Response {
    let opened = match open(state, request).await {
        Ok(opened) => opened,
        Err(refusal) => return refusal.answer(None),
    };
    let (entry, bytes, callback) = (opened.entry, opened.bytes, opened.callback);
    let read = match object::<Payment<'_>>(&bytes) {
        Ok(read) => read,
        Err(refusal) => return refusal.answer(None),
    };
    let request_id = read.request_id();
    let sound = read
        .check(validation)
        .map_err(|fault: Fault| Refusal::content(validation, fault));
    let done = match sound {
        Err(refusal) => Err(refusal),
        Ok(sound) => {
            drop(bytes);
            match (too_many(sound.instructions.len()), validation) {
                (Err(refusal), _) => Err(refusal),
                (Ok(()), true) => validate_all(state, &entry, sound, callback).await,
                (Ok(()), false) => pay_all(state, &entry, sound, callback).await,
            }
        }
    };
    match done {
        Ok(()) => taken(request_id.as_deref().unwrap_or(NO_ID)),
        Err(refusal) => refusal.answer(request_id.as_deref()),
    }
}

/// What tells an equal repeat from a changed one.
fn fingerprint(payment: &SoundPayment) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    let mut put = |text: &str| {
        context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(text.as_bytes());
    };
    put(&payment.batch_id);
    for row in &payment.instructions {
        for text in [
            &row.instruction_id,
            &row.functional_id,
            &row.amount,
            &row.currency,
            &row.narration,
        ] {
            put(text);
        }
        if !row.process_id.is_empty() {
            put(&row.process_id);
        }
    }
    context.finish().as_ref().to_vec()
}

/// Pages of instructions; true with the last.
fn pages(rows: Vec<api::Instruction>) -> impl Iterator<Item = (Vec<api::Instruction>, bool)> {
    let mut rows = rows.into_iter().peekable();
    std::iter::from_fn(move || {
        let page: Vec<api::Instruction> = rows.by_ref().take(PAGE).collect();
        (!page.is_empty()).then(|| {
            let last = rows.peek().is_none();
            (page, last)
        })
    })
}

async fn validate_all(
    state: &GatewayState,
    entry: &Entry,
    sound: SoundPayment,
    callback: Option<api::Callback>,
) -> Result<(), Refusal> {
    let key = api::ValidationKey {
        fingerprint: fingerprint(&sound).into(),
        source_id: sound.source_id,
        source_request: sound.request_id,
        source_batch: sound.batch_id,
        callback,
    };
    let first = api::ValidateInstructionsRequest {
        key: Some(key),
        ..Default::default()
    };
    let rest = pages(sound.instructions).map(|(instructions, complete)| {
        api::ValidateInstructionsRequest {
            key: None,
            instructions,
            complete,
        }
    });
    let stream = futures::stream::iter(std::iter::once(first).chain(rest));
    let call = timed(entry.request(stream));
    let done = beneficiaries(state).validate_instructions(call).await;
    done.map(drop).map_err(|status| of_block(&status, true))
}

async fn pay_all(
    state: &GatewayState,
    entry: &Entry,
    sound: SoundPayment,
    callback: Option<api::Callback>,
) -> Result<(), Refusal> {
    let mut client = BatchServiceClient::new(state.link("payments"));
    let expected_count = i64::try_from(sound.instructions.len()).unwrap_or(i64::MAX);
    let message = api::CreateBatchRequest {
        fingerprint: fingerprint(&sound).into(),
        source_id: sound.source_id,
        source_request: sound.request_id,
        source_batch: sound.batch_id,
        programme: String::new(),
        expected_count,
        callback,
    };
    let created = client.create_batch(timed(entry.request(message))).await;
    let created = created
        .map_err(|status| of_block(&status, false))?
        .into_inner();
    let batch = created.batch.unwrap_or_default();
    if batch.state() != api::BatchState::Received {
        // An equal request was taken before.
        return Ok(());
    }
    let id = batch.batch_id;
    let messages =
        pages(sound.instructions)
            .enumerate()
            .map(
                move |(page, (instructions, complete))| api::UploadInstructionsRequest {
                    batch_id: if page == 0 { id.clone() } else { String::new() },
                    first_ordinal: 0,
                    instructions,
                    complete,
                },
            );
    let call = timed(entry.request(futures::stream::iter(messages)));
    let done = client.upload_instructions(call).await;
    done.map(drop).map_err(|status| of_block(&status, false))
}

/// `POST /prepayment-validation-response`.
pub(super) async fn validation_result(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let opened = match open(&state, request).await {
        Ok(opened) => opened,
        Err(refusal) => return refusal.answer(None),
    };
    let (entry, bytes) = (opened.entry, opened.bytes);
    let read = match object::<Poll<'_>>(&bytes) {
        Ok(read) => read,
        Err(refusal) => return refusal.answer(None),
    };
    let request_id = read.request_id();
    match result(&state, &entry, &read).await {
        Ok(body) => respond::json(StatusCode::OK, &body),
        Err(refusal) => refusal.answer(request_id.as_deref()),
    }
}

async fn result(
    state: &GatewayState,
    entry: &Entry,
    read: &Poll<'_>,
) -> Result<serde_json::Value, Refusal> {
    let (request_id, batch_id) = read
        .check()
        .map_err(|fault| Refusal::content(false, fault))?;
    let mut message = api::GetValidationRequest {
        source_request: request_id.clone(),
        source_batch: batch_id.clone(),
        page_size: 10_000,
        ..api::GetValidationRequest::default()
    };
    let mut failed = Vec::new();
    loop {
        let call = timed(entry.request(message.clone()));
        let answer = beneficiaries(state).get_validation(call).await;
        let answer = answer
            .map_err(|status| of_block(&status, false))?
            .into_inner();
        if !answer.done {
            return Ok(json!({"RequestID": request_id, "Source_BatchID": batch_id}));
        }
        failed.extend(answer.failures.into_iter().map(|failure| {
            json!({"InstructionID": failure.instruction_id, "FailureReason": failure.reason})
        }));
        message.page_token = answer.next_page_token;
        if message.page_token.is_empty() {
            return Ok(json!({
                "RequestID": request_id,
                "Source_BatchID": batch_id,
                "NumberFailedCases": failed.len(),
                "FailedAccounts": failed,
            }));
        }
    }
}
