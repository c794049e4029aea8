//! Batches on the native paths.

mod result;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::batch_service_client::BatchServiceClient;
use publica_rpc::Link;
use serde::Deserialize;
use serde_json::Value;

use super::{Reason, created, enter, listed, ok, open, page, param, problem};
use crate::body::{Params, QueryPairs};
use crate::problem::Problem;
use crate::rest::payments::{shape, timed};
use crate::state::GatewayState;

fn client(state: &GatewayState) -> BatchServiceClient<Link> {
    BatchServiceClient::new(state.link("payments"))
}

fn batch(batch: Option<api::Batch>) -> Value {
    shape::batch(&batch.unwrap_or_default())
}

#[derive(Deserialize)]
struct NewBatch {
    source_id: String,
    source_request: String,
    source_batch: String,
    #[serde(default)]
    programme: String,
    #[serde(default)]
    expected_count: i64,
}

pub(in crate::rest::payments) async fn create(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let create = async {
        let (entry, read, _) = open::<NewBatch>(&state, request).await?;
        let message = api::CreateBatchRequest {
            source_id: read.source_id,
            source_request: read.source_request,
            source_batch: read.source_batch,
            programme: read.programme,
            expected_count: read.expected_count,
            ..api::CreateBatchRequest::default()
        };
        let call = timed(entry.request(message));
        let answer = client(&state).create_batch(call).await.map_err(problem)?;
        Ok(batch(answer.into_inner().batch))
    };
    created(create.await)
}

pub(in crate::rest::payments) async fn list(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let list = async {
        let entry = enter(&state, &headers).await?;
        let (page_size, page_token) = page(&query)?;
        let wanted = match query.get("state") {
            None => api::BatchState::Unspecified,
            Some(name) => {
                let full = format!("BATCH_STATE_{}", name.to_uppercase());
                api::BatchState::from_str_name(&full).ok_or_else(|| {
                    let status = axum::http::StatusCode::BAD_REQUEST;
                    Problem::new(status, "INVALID_FIELDS", "state is not a state of batches")
                })?
            }
        };
        let state_code = wanted.into();
        let message = api::ListBatchesRequest {
            page_size,
            page_token,
            state: state_code,
        };
        let call = timed(entry.request(message));
        let answer = client(&state)
            .list_batches(call)
            .await
            .map_err(problem)?
            .into_inner();
        let items = answer.batches.iter().map(shape::batch).collect();
        Ok(listed("batches", items, &answer.next_page_token))
    };
    ok(list.await)
}

pub(in crate::rest::payments) async fn get(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let get = async {
        let entry = enter(&state, &headers).await?;
        let message = api::GetBatchRequest {
            batch_id: param(&params, "batch"),
        };
        let call = timed(entry.request(message));
        let answer = client(&state).get_batch(call).await.map_err(problem)?;
        Ok(batch(answer.into_inner().batch))
    };
    ok(get.await)
}

pub(in crate::rest::payments) async fn list_instructions(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    query: QueryPairs,
) -> Response {
    let list = async {
        let entry = enter(&state, &headers).await?;
        let (page_size, page_token) = page(&query)?;
        let message = api::ListInstructionsRequest {
            batch_id: param(&params, "batch"),
            page_size,
            page_token,
            exceptions_only: query.get("exceptions_only") == Some("true"),
        };
        let call = timed(entry.request(message));
        let answer = client(&state)
            .list_instructions(call)
            .await
            .map_err(problem)?;
        let answer = answer.into_inner();
        let items = answer.instructions.iter().map(shape::instruction).collect();
        Ok(listed("instructions", items, &answer.next_page_token))
    };
    ok(list.await)
}

pub(in crate::rest::payments) async fn list_refusals(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    query: QueryPairs,
) -> Response {
    let list = async {
        let entry = enter(&state, &headers).await?;
        let (page_size, page_token) = page(&query)?;
        let batch_id = param(&params, "batch");
        let message = api::ListRefusalsRequest {
            batch_id,
            page_size,
            page_token,
        };
        let call = timed(entry.request(message));
        let answer = client(&state)
            .list_refusals(call)
            .await
            .map_err(problem)?
            .into_inner();
        let items = answer.refusals.iter().map(shape::refusal).collect();
        Ok(listed("refusals", items, &answer.next_page_token))
    };
    ok(list.await)
}

#[derive(Deserialize)]
struct Approval {
    digest: String,
}

pub(in crate::rest::payments) async fn approve(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    let approve = async {
        let (entry, read, request_id) = open::<Approval>(&state, request).await?;
        let batch_id = param(&params, "batch");
        let message = api::ApproveBatchRequest {
            batch_id,
            digest: read.digest,
            request_id,
        };
        let call = timed(entry.request(message));
        let answer = client(&state).approve_batch(call).await.map_err(problem)?;
        Ok(batch(answer.into_inner().batch))
    };
    ok(approve.await)
}

pub(in crate::rest::payments) async fn decline(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    let decline = async {
        let (entry, read, request_id) = open::<Reason>(&state, request).await?;
        let batch_id = param(&params, "batch");
        let message = api::DeclineBatchRequest {
            batch_id,
            reason: read.reason,
            request_id,
        };
        let call = timed(entry.request(message));
        let answer = client(&state).decline_batch(call).await.map_err(problem)?;
        Ok(batch(answer.into_inner().batch))
    };
    ok(decline.await)
}

pub(in crate::rest::payments) async fn cancel(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    let cancel = async {
        let (entry, read, request_id) = open::<Reason>(&state, request).await?;
        let batch_id = param(&params, "batch");
        let message = api::CancelBatchRequest {
            batch_id,
            reason: read.reason,
            request_id,
        };
        let call = timed(entry.request(message));
        let answer = client(&state).cancel_batch(call).await.map_err(problem)?;
        Ok(batch(answer.into_inner().batch))
    };
    ok(cancel.await)
}

pub(in crate::rest::payments) async fn pause(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    let pause = async {
        let (entry, read, request_id) = open::<Reason>(&state, request).await?;
        let batch_id = param(&params, "batch");
        let message = api::PauseBatchRequest {
            batch_id,
            reason: read.reason,
            request_id,
        };
        let call = timed(entry.request(message));
        let answer = client(&state).pause_batch(call).await.map_err(problem)?;
        Ok(batch(answer.into_inner().batch))
    };
    ok(pause.await)
}

pub(in crate::rest::payments) async fn resume(
    State(state): State<GatewayState>,
    params: Params,
    headers: HeaderMap,
) -> Response {
    let resume = async {
        let entry = enter(&state, &headers).await?;
        let request_id = crate::convert::idempotency_key(&headers).unwrap_or_default();
        let message = api::ResumeBatchRequest {
            batch_id: param(&params, "batch"),
            request_id,
        };
        let call = timed(entry.request(message));
        let answer = client(&state).resume_batch(call).await.map_err(problem)?;
        Ok(batch(answer.into_inner().batch))
    };
    ok(resume.await)
}

/// `GET /v1/batches/{batch}/forecast`.
pub(in crate::rest::payments) async fn forecast(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let forecast = async {
        let entry = enter(&state, &headers).await?;
        let batch_id = param(&params, "batch");
        let named = api::GetBatchRequest {
            batch_id: batch_id.clone(),
        };
        let named = client(&state).get_batch(timed(entry.request(named))).await;
        let named = named.map_err(problem)?.into_inner().batch;
        let call = timed(entry.request(api::ForecastBatchRequest { batch_id }));
        let answer = client(&state).forecast_batch(call).await.map_err(problem)?;
        let currency = named.unwrap_or_default().currency;
        Ok(shape::forecast(&answer.into_inner(), &currency))
    };
    ok(forecast.await)
}

/// `GET /v1/batches/{batch}/report?format=`: sums as `json` or `pdf`, rows as `csv`.
pub(in crate::rest::payments) async fn report(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    query: QueryPairs,
) -> Response {
    let report = async {
        let entry = enter(&state, &headers).await?;
        let batch_id = param(&params, "batch");
        let format = query.get("format").unwrap_or("json");
        if format == "csv" {
            return result::csv(state.clone(), entry, batch_id).await;
        }
        let message = api::GetBatchReportRequest { batch_id };
        let call = timed(entry.request(message));
        let answer = client(&state)
            .get_batch_report(call)
            .await
            .map_err(problem)?;
        let report = answer.into_inner();
        match format {
            "json" => Ok(ok(Ok(shape::report(&report)))),
            "pdf" => Ok(result::pdf(&report)),
            _ => {
                let detail = "format must be json, csv or pdf";
                let status = StatusCode::BAD_REQUEST;
                Err(Problem::new(status, "INVALID_FIELDS", detail))
            }
        }
    };
    report
        .await
        .unwrap_or_else(|problem: Problem| problem.answer())
}

pub(in crate::rest::payments) async fn receipt(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let receipt = async {
        let entry = enter(&state, &headers).await?;
        let message = api::GetReceiptRequest {
            batch_id: param(&params, "batch"),
            ordinal: 0,
            instruction_id: param(&params, "instruction"),
        };
        let call = timed(entry.request(message));
        let answer = client(&state).get_receipt(call).await.map_err(problem)?;
        Ok(shape::receipt(&answer.into_inner()))
    };
    ok(receipt.await)
}

/// `GET /v1/batches/{batch}/receipts`.
pub(in crate::rest::payments) async fn list_receipts(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    query: QueryPairs,
) -> Response {
    let list = async {
        let entry = enter(&state, &headers).await?;
        let (page_size, page_token) = page(&query)?;
        let message = api::ListReceiptsRequest {
            batch_id: param(&params, "batch"),
            page_size,
            page_token,
        };
        let call = timed(entry.request(message));
        let answer = client(&state).list_receipts(call).await.map_err(problem)?;
        let answer = answer.into_inner();
        let rows = answer.receipts.iter().map(shape::receipt).collect();
        Ok(listed("receipts", rows, &answer.next_page_token))
    };
    ok(list.await)
}

pub(in crate::rest::payments) async fn list_vouchers(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    query: QueryPairs,
) -> Response {
    let list = async {
        let entry = enter(&state, &headers).await?;
        let (page_size, page_token) = page(&query)?;
        let message = api::ListBatchVouchersRequest {
            batch_id: param(&params, "batch"),
            page_size,
            page_token,
            reveal_numbers: query.get("reveal") == Some("true"),
        };
        let call = timed(entry.request(message));
        let answer = client(&state)
            .list_batch_vouchers(call)
            .await
            .map_err(problem)?;
        let answer = answer.into_inner();
        let items = answer.vouchers.iter().map(shape::batch_voucher).collect();
        Ok(listed("vouchers", items, &answer.next_page_token))
    };
    ok(list.await)
}
