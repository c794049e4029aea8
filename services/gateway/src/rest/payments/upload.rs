//! Streaming upload of instructions: what comes in goes on to the block, a page at a time.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use futures::{SinkExt as _, StreamExt as _};
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::batch_service_client::BatchServiceClient;

use super::rows::Reader;
use super::shape;
use crate::body::{Params, QueryPairs};
use crate::problem::Problem;
use crate::respond;
use crate::state::{Entry, GatewayState};

/// Instructions in one message to the block.
const PAGE: usize = 500;
/// Messages under way to the block.
const AHEAD: usize = 2;
/// The block's part of a long upload.
const DEADLINE: Duration = Duration::from_secs(3_600);

/// `POST /v1/batches/{batch}/instructions?first_ordinal=0&complete=true`.
///
/// An upload that was cut short goes on with `first_ordinal` set to the batch's
/// `received_count`; `complete=false` leaves the batch open for more.
pub(super) async fn instructions(
    State(state): State<GatewayState>,
    params: Params,
    query: QueryPairs,
    request: Request,
) -> Response {
    match upload(&state, &params, &query, request).await {
        Ok(batch) => respond::json(StatusCode::OK, &shape::batch(&batch)),
        Err(problem) => problem.answer(),
    }
}

fn bad_request(code: &str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, code, detail)
}

async fn upload(
    state: &GatewayState,
    params: &Params,
    query: &QueryPairs,
    request: Request,
) -> Result<api::Batch, Problem> {
    let entry = super::native::enter(state, request.headers()).await?;
    let first_ordinal = match query.get("first_ordinal") {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| bad_request("INVALID_FIELDS", "first_ordinal must be a number"))?,
    };
    let complete = match query.get("complete") {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => {
            return Err(bad_request(
                "INVALID_FIELDS",
                "complete must be true or false",
            ));
        }
    };
    let media_type = request.headers().get(header::CONTENT_TYPE);
    let media_type = media_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut reader = Reader::new(media_type);
    let (mut sender, receiver) = futures::channel::mpsc::channel(AHEAD);
    let batch_id = params.get("batch").unwrap_or_default().to_owned();
    let head = api::UploadInstructionsRequest {
        batch_id,
        first_ordinal,
        ..api::UploadInstructionsRequest::default()
    };
    let feed = async move {
        let mut body = request.into_body().into_data_stream();
        let mut rows = Vec::new();
        let gone = |_| bad_request("UPLOAD_STOPPED", "the block took no more rows");
        sender.send(head).await.map_err(gone)?;
        while let Some(piece) = body.next().await {
            let piece = piece
                .map_err(|_| bad_request("UPLOAD_TORN", "the body could not be read to its end"))?;
            reader
                .take(&piece, &mut rows)
                .map_err(|fault| malformed(&fault))?;
            while rows.len() >= PAGE {
                let rest = rows.split_off(PAGE);
                let page = std::mem::replace(&mut rows, rest);
                sender.send(message(page, false)).await.map_err(gone)?;
            }
        }
        reader
            .finish(&mut rows)
            .map_err(|fault| malformed(&fault))?;
        sender.send(message(rows, complete)).await.map_err(gone)
    };
    let call = send(state, &entry, receiver);
    let (fed, taken) = futures::join!(feed, call);
    match (fed, taken) {
        // What the block says weighs more than that it would not listen any longer.
        (_, Err(status)) => Err(Problem::of(&status)),
        (Err(problem), Ok(_)) => Err(problem),
        (Ok(()), Ok(batch)) => Ok(batch),
    }
}

fn malformed(fault: &super::rows::RowFault) -> Problem {
    bad_request("ROWS_MALFORMED", fault.to_string())
}

fn message(instructions: Vec<api::Instruction>, complete: bool) -> api::UploadInstructionsRequest {
    let head = api::UploadInstructionsRequest::default();
    api::UploadInstructionsRequest {
        instructions,
        complete,
        ..head
    }
}

async fn send(
    state: &GatewayState,
    entry: &Entry,
    receiver: futures::channel::mpsc::Receiver<api::UploadInstructionsRequest>,
) -> Result<api::Batch, tonic::Status> {
    let mut call = entry.request(receiver);
    call.set_timeout(DEADLINE);
    let mut client = BatchServiceClient::new(state.link("payments"));
    let answer = client.upload_instructions(call).await?;
    Ok(answer.into_inner().batch.unwrap_or_default())
}
