//! Batch transactions of version 3, and how batches come along.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header as names};
use axum::response::Response;
use bytes::Bytes;
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::batch_service_client::BatchServiceClient;
use publica_rpc::Link;
use publica_types::{Currency, Money};
use serde_json::{Value, json};

use super::{
    INSTITUTION, Members, PROGRAM, Refusal, TENANT, callback, correlation, header, needed, number,
    open, rows,
};
use crate::body::QueryPairs;
use crate::convert::rfc3339;
use crate::respond;
use crate::rest::payments::pages::{fingerprint, uploads};
use crate::rest::payments::{currency, timed};
use crate::state::{Entry, GatewayState};

/// The most instructions in a request.
const MOST: usize = 100_000;
const TWENTY: usize = 20;
const BATCH_CHARS: usize = 50;

fn client(state: &GatewayState) -> BatchServiceClient<Link> {
    BatchServiceClient::new(state.link("payments"))
}

/// An answer in the only words that these paths have for refusals.
pub(in crate::rest::payments) fn refused(status: StatusCode, text: &str) -> Response {
    respond::json(status, &json!({"message": text}))
}

fn finish(status: StatusCode, result: Result<Value, Refusal>) -> Response {
    match result {
        Ok(body) => respond::json(status, &body),
        Err(refusal) => refused(refusal.status, &refusal.text),
    }
}

/// `POST /batchtransactions?type=raw` or `csv`.
pub(in crate::rest::payments) async fn submit(
    State(state): State<GatewayState>,
    query: QueryPairs,
    request: Request,
) -> Response {
    let taken = async {
        let (entry, headers, bytes) = open(&state, request).await?;
        let instructions = match query.get("type").unwrap_or("raw") {
            "raw" => rows::of_json(&bytes)?,
            "csv" => rows::of_csv(&file(&headers, bytes).await?)?,
            _ => return Err(Refusal::invalid("type must be raw or csv.")),
        };
        if instructions.len() > MOST {
            return Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "There are more than 100,000 rows; split them, or use the native interface.",
            ));
        }
        let batch_id = announce(&state, &entry, &headers, instructions).await?;
        Ok(json!({"batchId": batch_id}))
    };
    finish(StatusCode::ACCEPTED, taken.await)
}

/// The file in a form's field `data`, or the body itself where it is no form.
async fn file(headers: &HeaderMap, bytes: Bytes) -> Result<Bytes, Refusal> {
    let media_type = headers
        .get(names::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let Ok(boundary) = multer::parse_boundary(media_type.unwrap_or_default()) else {
        return Ok(bytes);
    };
    let malformed = |_| Refusal::invalid("The form is malformed.");
    let stream = futures::stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
    let mut form = multer::Multipart::new(stream, boundary);
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        if field.name() == Some("data") {
            return field.bytes().await.map_err(malformed);
        }
    }
    Err(Refusal::invalid("The form has no field data."))
}

async fn announce(
    state: &GatewayState,
    entry: &Entry,
    headers: &HeaderMap,
    instructions: Vec<api::Instruction>,
) -> Result<String, Refusal> {
    let missing = || Refusal::invalid("The header x-correlationid is required.");
    let correlation = correlation(headers)?.ok_or_else(missing)?;
    let tenant = needed(headers, TENANT, TWENTY)?;
    // Who submits; the tenant's own name stands in for an institution.
    let institution = header(headers, INSTITUTION, TWENTY)?.unwrap_or(tenant);
    let message = api::CreateBatchRequest {
        source_id: institution,
        // Version 1 has request numbers of its own.
        source_request: format!("v3:{}", short(&correlation)),
        source_batch: short(&correlation),
        programme: header(headers, PROGRAM, TWENTY)?.unwrap_or_default(),
        fingerprint: fingerprint(&[], &instructions).into(),
        expected_count: i64::try_from(instructions.len()).unwrap_or(i64::MAX),
        callback: Some(callback(headers)?),
    };
    let created = client(state)
        .create_batch(timed(entry.request(message)))
        .await?;
    let batch = created.into_inner().batch.unwrap_or_default();
    if batch.state() != api::BatchState::Received {
        // An equal request was taken before.
        return Ok(batch.batch_id);
    }
    let messages = uploads(batch.batch_id.clone(), instructions);
    let call = timed(entry.request(futures::stream::iter(messages)));
    client(state).upload_instructions(call).await?;
    Ok(batch.batch_id)
}

/// A correlation id as far as a request number has room for it.
fn short(correlation: &str) -> String {
    correlation.chars().take(60).collect()
}

fn batch_id(query: &QueryPairs) -> Result<String, Refusal> {
    let id = query.get("batchId").unwrap_or_default();
    match (1..=BATCH_CHARS).contains(&id.chars().count()) {
        true => Ok(id.to_owned()),
        false => Err(Refusal::invalid("batchId must have 1 to 50 characters.")),
    }
}

/// `GET /api/v1/batch?batchId=…`.
pub(in crate::rest::payments) async fn progress(
    State(state): State<GatewayState>,
    query: QueryPairs,
    headers: HeaderMap,
) -> Response {
    let read = async {
        let entry = state.enter(&headers).await?;
        let batch_id = batch_id(&query)?;
        let request = timed(entry.request(api::GetBatchProgressRequest { batch_id }));
        let answer = client(&state).get_batch_progress(request).await?;
        let asked = correlation(&headers)?;
        let asked = asked.or_else(|| query.get("X-CorrelationID").map(str::to_owned));
        Ok(shape(&answer.into_inner(), asked))
    };
    finish(StatusCode::OK, read.await)
}

fn shape(progress: &api::GetBatchProgressResponse, asked: Option<String>) -> Value {
    let tally = |tally: &Option<api::Tally>| {
        tally
            .as_ref()
            .map_or((0, 0), |tally| (tally.item_count, tally.amount_minor))
    };
    let money = |minor| number(minor, &progress.currency);
    let (total, ongoing) = (tally(&progress.total), tally(&progress.ongoing));
    let (failed, completed) = (tally(&progress.failed), tally(&progress.completed));
    let id = asked.unwrap_or_else(|| progress.source_request.clone());
    json!({
        "requestId": id.chars().take(12).collect::<String>(),
        "batchId": progress.batch_id,
        "TotalTransactions": total.0,
        "ongoing": ongoing.0,
        "failed": failed.0,
        "completed": completed.0,
        "totalAmount": money(total.1),
        "completed_amount": money(completed.1),
        "ongoing_amount": money(ongoing.1),
        "failed_amount": money(failed.1),
        "currency": progress.currency,
        "result_file": Value::Null,
        "resultGeneratedAt": rfc3339(progress.as_of_time.as_ref()),
        "note": progress.note.chars().take(200).collect::<String>(),
    })
}

/// `POST /api/v1/batch?batchId=…`: a bank says how a batch comes along there.
pub(in crate::rest::payments) async fn bank_status(
    State(state): State<GatewayState>,
    query: QueryPairs,
    request: Request,
) -> Response {
    let recorded = async {
        let (entry, _, bytes) = open(&state, request).await?;
        let batch_id = batch_id(&query)?;
        let members = Members::of_body(&bytes)?;
        if members.needed("batchId", BATCH_CHARS)? != batch_id {
            return Err(Refusal::invalid(
                "The ids of the batch in query and body differ.",
            ));
        }
        let code = members.needed("currency", 3)?;
        let known = currency::known(&code);
        let known = known.ok_or_else(|| Refusal::invalid("currency must be of ISO 4217."))?;
        let tally = |count: &str, amount: &str| tally(&members, count, amount, known);
        let message = api::RecordBankStatusRequest {
            batch_id,
            bank_request: members.needed("requestId", 12)?,
            total: Some(tally("TotalTransactions", "totalAmount")?),
            ongoing: Some(tally("ongoing", "ongoing_amount")?),
            completed: Some(tally("completed", "completed_amount")?),
            failed: Some(tally("failed", "failed_amount")?),
        };
        let call = timed(entry.request(message));
        client(&state).record_bank_status(call).await?;
        Ok(json!({"message": "The status was taken."}))
    };
    finish(StatusCode::OK, recorded.await)
}

fn tally(
    members: &Members<'_>,
    count: &str,
    amount: &str,
    currency: Currency,
) -> Result<api::Tally, Refusal> {
    let wrong = |name: &str| Refusal::invalid(format!("{name} is not a number that fits."));
    let literal = members.number(amount)?;
    let zero = literal.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let minor = match zero {
        true => 0,
        false => {
            let plain = currency::amount(literal, currency).ok_or_else(|| wrong(amount))?;
            Money::parse(&plain, currency)
                .map_err(|_| wrong(amount))?
                .amount_minor
        }
    };
    Ok(api::Tally {
        item_count: members.number(count)?.parse().map_err(|_| wrong(count))?,
        amount_minor: minor,
    })
}

/// `GET /api/v1/batch/detail?batchId=…`.
pub(in crate::rest::payments) async fn detail(
    State(state): State<GatewayState>,
    query: QueryPairs,
    headers: HeaderMap,
) -> Response {
    let read = async {
        let entry = state.enter(&headers).await?;
        needed(&headers, TENANT, TWENTY)?;
        let batch_id = batch_id(&query)?;
        let direction = query.get("direction").unwrap_or("OUTGOING").to_uppercase();
        if !matches!(direction.as_str(), "OUTGOING" | "INCOMING") {
            return Err(Refusal::invalid("direction must be OUTGOING or INCOMING."));
        }
        if direction == "INCOMING" {
            // Money that comes in has no batches here.
            return Ok(json!([]));
        }
        let (page, size) = (place(&query, "pageNo", 0)?, place(&query, "pageSize", 100)?);
        if !(1..=1_000).contains(&size) {
            return Err(Refusal::invalid("pageSize must be from 1 to 1000."));
        }
        let message = api::ListTransactionsRequest {
            batch_id: batch_id.clone(),
            first_ordinal: page.saturating_mul(size),
            count: i32::try_from(size).unwrap_or(1_000),
            state: wanted(query.get("status"))?.into(),
        };
        let call = timed(entry.request(message));
        let list = client(&state).list_transactions(call).await?.into_inner();
        let rows = list
            .transactions
            .iter()
            .map(|row| transaction(&list, row, &batch_id));
        Ok(Value::Array(rows.collect()))
    };
    finish(StatusCode::OK, read.await)
}

fn place(query: &QueryPairs, name: &str, usual: i64) -> Result<i64, Refusal> {
    let parsed = query.get(name).map_or(Ok(usual), str::parse);
    let number = parsed.ok().filter(|number| *number >= 0);
    number.ok_or_else(|| Refusal::invalid(format!("{name} must be a number.")))
}

fn wanted(status: Option<&str>) -> Result<api::InstructionState, Refusal> {
    use api::InstructionState as S;
    Ok(match status.map(str::to_uppercase).as_deref() {
        None | Some("") => S::Unspecified,
        Some("COMPLETED") => S::Settled,
        Some("FAILED") => S::Rejected,
        Some("IN_PROGRESS") => S::Dispatched,
        Some("UNKNOWN") => S::Unknown,
        Some("VOUCHER") => S::Voucher,
        Some(_) => {
            return Err(Refusal::invalid(
                "status must be COMPLETED, FAILED, IN_PROGRESS, UNKNOWN or VOUCHER.",
            ));
        }
    })
}

fn status(state: api::InstructionState) -> &'static str {
    use api::InstructionState as S;
    match state {
        S::Settled => "COMPLETED",
        S::Voucher => "VOUCHER",
        S::Unknown => "UNKNOWN",
        S::Rejected | S::Unresolved | S::Returned | S::Cancelled => "FAILED",
        S::Resolved | S::Dispatched | S::Unspecified => "IN_PROGRESS",
    }
}

fn transaction(
    list: &api::ListTransactionsResponse,
    row: &api::Transaction,
    batch_id: &str,
) -> Value {
    let instruction = row.instruction.clone().unwrap_or_default();
    let money = instruction.amount.clone().unwrap_or_default();
    let status = status(instruction.state());
    let completed = match status {
        "IN_PROGRESS" | "UNKNOWN" => None,
        _ => rfc3339(list.update_time.as_ref()),
    };
    let or_null = |text: &str| match text {
        "" => Value::Null,
        text => json!(text),
    };
    json!({
        "workflowInstanceKey": instruction.ordinal,
        "transactionId": instruction.instruction_id,
        "startedAt": rfc3339(list.create_time.as_ref()),
        "completedAt": completed,
        "status": status,
        "statusDetail": instruction.iso_status,
        "payeeDfspId": instruction.institution,
        "payeePartyId": row.functional_id,
        "payeePartyIdType": "PERSONAL_ID",
        "payeeFee": 0,
        "payeeFeeCurrency": money.currency,
        "payerDfspId": Value::Null,
        "payerPartyId": list.funding_account_id,
        "payerPartyIdType": "ACCOUNT_ID",
        "payerFee": 0,
        "payerFeeCurrency": money.currency,
        "amount": number(money.amount_minor, &money.currency),
        "currency": money.currency,
        "direction": "OUTGOING",
        "errorInformation": or_null(&instruction.reason_code),
        "batchId": batch_id,
    })
}
