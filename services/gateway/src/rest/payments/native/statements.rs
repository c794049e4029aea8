//! Statements of rails and banks, and what does not agree with them.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures::channel::mpsc::{Receiver, channel};
use futures::{SinkExt as _, StreamExt as _};
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::reconciliation_service_client::ReconciliationServiceClient;
use publica_rpc::{Link, timestamp};
use publica_types::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{enter, listed, minor, ok, open, page, param, problem};
use crate::body::{Params, QueryPairs};
use crate::convert::idempotency_key;
use crate::problem::Problem;
use crate::rest::payments::csv::Csv;
use crate::rest::payments::{shape, timed};
use crate::state::{Entry, GatewayState};

/// Columns of a CSV file; the last may be left out.
const COLUMNS: [&str; 5] = [
    "reference",
    "direction",
    "amount",
    "booked",
    "end_to_end_id",
];
const MANDATORY: usize = 4;
/// Lines in one message to the block, and messages under way to it.
const PAGE: usize = 500;
const AHEAD: usize = 2;
/// The block's part of a long upload.
const DEADLINE: Duration = Duration::from_secs(3_600);

fn client(state: &GatewayState) -> ReconciliationServiceClient<Link> {
    ReconciliationServiceClient::new(state.link("payments"))
}

fn wrong(code: &str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, code, detail)
}

/// `POST /v1/statements/{statement}?currency=&from=&to=`, with a CSV file as its body.
pub(in crate::rest::payments) async fn upload(
    State(state): State<GatewayState>,
    params: Params,
    query: QueryPairs,
    request: Request,
) -> Response {
    let taken = async {
        let entry = enter(&state, request.headers()).await?;
        let header = header(&params, &query)?;
        let (mut sender, receiver) = channel(AHEAD);
        let currency = header.currency.clone();
        let first = api::UploadStatementRequest {
            header: Some(header),
            ..api::UploadStatementRequest::default()
        };
        let feed = async move {
            let gone = |_| wrong("UPLOAD_STOPPED", "the block took no more lines");
            sender.send(first).await.map_err(gone)?;
            let mut reader = Csv::new(&COLUMNS, MANDATORY);
            let (mut rows, mut number) = (Vec::new(), 0);
            let mut body = request.into_body().into_data_stream();
            while let Some(piece) = body.next().await {
                let torn = |_| wrong("UPLOAD_TORN", "the body could not be read to its end");
                let taken = reader.take(&piece.map_err(torn)?, &mut rows);
                taken.map_err(|fault| wrong("ROWS_MALFORMED", fault.to_string()))?;
                while rows.len() >= PAGE {
                    let rest = rows.split_off(PAGE);
                    let full = std::mem::replace(&mut rows, rest);
                    let message = message(full, &currency, &mut number, false)?;
                    sender.send(message).await.map_err(gone)?;
                }
            }
            let ended = reader.finish(&mut rows);
            ended.map_err(|fault| wrong("ROWS_MALFORMED", fault.to_string()))?;
            let last = message(rows, &currency, &mut number, true)?;
            sender.send(last).await.map_err(gone)
        };
        let call = send(&state, &entry, receiver);
        let (fed, taken) = futures::join!(feed, call);
        match (fed, taken) {
            // What is wrong with the file weighs more than that the block waited for its end.
            (Err(problem), Err(status)) if status.code() == tonic::Code::InvalidArgument => {
                Err(match problem.code() == "UPLOAD_STOPPED" {
                    true => Problem::of(&status),
                    false => problem,
                })
            }
            (_, Err(status)) => Err(Problem::of(&status)),
            (Err(problem), Ok(_)) => Err(problem),
            (Ok(()), Ok(statement)) => Ok(shape::statement(&statement)),
        }
    };
    ok(taken.await)
}

async fn send(
    state: &GatewayState,
    entry: &Entry,
    receiver: Receiver<api::UploadStatementRequest>,
) -> Result<api::Statement, tonic::Status> {
    let mut call = entry.request(receiver);
    call.set_timeout(DEADLINE);
    let answer = client(state).upload_statement(call).await?;
    Ok(answer.into_inner().statement.unwrap_or_default())
}

fn header(params: &Params, query: &QueryPairs) -> Result<api::StatementHeader, Problem> {
    let time = |name: &str| {
        let text = query.get(name).unwrap_or_default();
        moment(text).ok_or_else(|| wrong("INVALID_FIELDS", format!("{name} must be a time")))
    };
    Ok(api::StatementHeader {
        statement_id: param(params, "statement"),
        currency: query.get("currency").unwrap_or_default().to_owned(),
        from_time: Some(time("from")?),
        to_time: Some(time("to")?),
    })
}

/// A date, or a date and time.
fn moment(text: &str) -> Option<prost_types::Timestamp> {
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        _ => text.to_owned(),
    };
    whole.parse::<Timestamp>().ok().map(timestamp)
}

fn message(
    rows: Vec<Vec<String>>,
    currency: &str,
    number: &mut u64,
    complete: bool,
) -> Result<api::UploadStatementRequest, Problem> {
    let mut lines = Vec::with_capacity(rows.len());
    for fields in rows {
        *number += 1;
        let line = line(fields, currency);
        lines.push(line.map_err(|why| wrong("ROWS_MALFORMED", format!("row {number}: {why}")))?);
    }
    Ok(api::UploadStatementRequest {
        header: None,
        lines,
        complete,
    })
}

fn line(fields: Vec<String>, currency: &str) -> Result<api::StatementLine, String> {
    let mut fields = fields.into_iter();
    let mut field = || fields.next().unwrap_or_default();
    let (reference, direction, amount) = (field(), field(), field());
    let (booked, end_to_end_id) = (field(), field());
    let direction = match direction.to_uppercase().as_str() {
        "DBIT" | "DEBIT" => api::StatementDirection::Debit,
        "CRDT" | "CREDIT" => api::StatementDirection::Credit,
        _ => return Err("direction must be DBIT or CRDT".to_owned()),
    };
    let amount_minor = minor(&amount, currency).map_err(|_| "amount is malformed".to_owned())?;
    let book_time = moment(&booked).ok_or("booked must be a date, or a date and time")?;
    Ok(api::StatementLine {
        reference,
        end_to_end_id,
        direction: direction.into(),
        amount_minor,
        book_time: Some(book_time),
    })
}

/// `GET /v1/statements/{statement}`.
pub(in crate::rest::payments) async fn get(
    State(state): State<GatewayState>,
    params: Params,
    headers: HeaderMap,
) -> Response {
    let get = async {
        let entry = enter(&state, &headers).await?;
        let statement_id = param(&params, "statement");
        let call = timed(entry.request(api::GetStatementRequest { statement_id }));
        let answer = client(&state).get_statement(call).await.map_err(problem)?;
        let statement = answer.into_inner().statement.unwrap_or_default();
        Ok(shape::statement(&statement))
    };
    ok(get.await)
}

/// `GET /v1/statements`.
pub(in crate::rest::payments) async fn list(
    State(state): State<GatewayState>,
    query: QueryPairs,
    headers: HeaderMap,
) -> Response {
    let list = async {
        let entry = enter(&state, &headers).await?;
        let (page_size, page_token) = page(&query)?;
        let message = api::ListStatementsRequest {
            page_size,
            page_token,
        };
        let call = timed(entry.request(message));
        let answer = client(&state)
            .list_statements(call)
            .await
            .map_err(problem)?;
        let answer = answer.into_inner();
        let rows = answer.statements.iter().map(shape::statement).collect();
        Ok(listed("statements", rows, &answer.next_page_token))
    };
    ok(list.await)
}

/// `GET /v1/reconciliation/items?state=&kind=`.
pub(in crate::rest::payments) async fn list_items(
    State(state): State<GatewayState>,
    query: QueryPairs,
    headers: HeaderMap,
) -> Response {
    let list = async {
        let entry = enter(&state, &headers).await?;
        let (page_size, page_token) = page(&query)?;
        let named = |name: &str, prefix: &str| {
            let text = query.get(name);
            text.map(|text| format!("{prefix}{}", text.to_uppercase()))
        };
        let unknown = |name: &str| wrong("INVALID_FIELDS", format!("{name} is not known"));
        let state_filter = match named("state", "RECONCILIATION_STATE_") {
            None => api::ReconciliationState::Unspecified,
            Some(name) => {
                api::ReconciliationState::from_str_name(&name).ok_or_else(|| unknown("state"))?
            }
        };
        let kind = match named("kind", "RECONCILIATION_KIND_") {
            None => api::ReconciliationKind::Unspecified,
            Some(name) => {
                api::ReconciliationKind::from_str_name(&name).ok_or_else(|| unknown("kind"))?
            }
        };
        let message = api::ListReconciliationItemsRequest {
            page_size,
            page_token,
            state: state_filter.into(),
            kind: kind.into(),
        };
        let call = timed(entry.request(message));
        let answer = client(&state)
            .list_reconciliation_items(call)
            .await
            .map_err(problem)?;
        let answer = answer.into_inner();
        let rows = answer.items.iter().map(shape::item).collect();
        Ok(listed("items", rows, &answer.next_page_token))
    };
    ok(list.await)
}

/// `GET /v1/reconciliation/ageing?currency=`.
pub(in crate::rest::payments) async fn ageing(
    State(state): State<GatewayState>,
    query: QueryPairs,
    headers: HeaderMap,
) -> Response {
    let read = async {
        let entry = enter(&state, &headers).await?;
        let currency = query.get("currency").unwrap_or_default().to_owned();
        let message = api::GetReconciliationAgeingRequest {
            currency: currency.clone(),
        };
        let call = timed(entry.request(message));
        let answer = client(&state)
            .get_reconciliation_ageing(call)
            .await
            .map_err(problem)?;
        let buckets = answer.into_inner().buckets;
        let buckets: Vec<Value> = buckets
            .iter()
            .map(|bucket| shape::ageing(bucket, &currency))
            .collect();
        Ok(json!({"currency": currency, "buckets": buckets}))
    };
    ok(read.await)
}

#[derive(Deserialize)]
struct Resolution {
    resolution: String,
    reason: String,
}

/// `POST /v1/reconciliation/items/{item}/resolve`.
pub(in crate::rest::payments) async fn resolve(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    let done = async {
        let (entry, read, request_id) = open::<Resolution>(&state, request).await?;
        let resolution = match read.resolution.as_str() {
            "accept" => api::ReconciliationResolution::Accept,
            "post" => api::ReconciliationResolution::Post,
            _ => return Err(wrong("INVALID_FIELDS", "resolution must be accept or post")),
        };
        let message = api::ResolveReconciliationItemRequest {
            item_id: param(&params, "item"),
            resolution: resolution.into(),
            reason: read.reason,
            request_id,
        };
        let call = timed(entry.request(message));
        let answer = client(&state)
            .resolve_reconciliation_item(call)
            .await
            .map_err(problem)?;
        Ok(shape::item(&answer.into_inner().item.unwrap_or_default()))
    };
    ok(done.await)
}

/// `POST /v1/reconciliation/items/{item}/approve`.
pub(in crate::rest::payments) async fn approve(
    State(state): State<GatewayState>,
    params: Params,
    headers: HeaderMap,
) -> Response {
    let done = async {
        let entry = enter(&state, &headers).await?;
        let message = api::ApproveReconciliationItemRequest {
            item_id: param(&params, "item"),
            request_id: idempotency_key(&headers).unwrap_or_default(),
        };
        let call = timed(entry.request(message));
        let answer = client(&state)
            .approve_reconciliation_item(call)
            .await
            .map_err(problem)?;
        Ok(shape::item(&answer.into_inner().item.unwrap_or_default()))
    };
    ok(done.await)
}

/// `POST /v1/reconciliation/items/{item}/decline`.
pub(in crate::rest::payments) async fn decline(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    let done = async {
        let (entry, read, request_id) = open::<super::Reason>(&state, request).await?;
        let message = api::DeclineReconciliationItemRequest {
            item_id: param(&params, "item"),
            reason: read.reason,
            request_id,
        };
        let call = timed(entry.request(message));
        let answer = client(&state)
            .decline_reconciliation_item(call)
            .await
            .map_err(problem)?;
        Ok(shape::item(&answer.into_inner().item.unwrap_or_default()))
    };
    ok(done.await)
}
