//! Vouchers of version 3: issued, changed, redeemed and read.

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::voucher_service_client::VoucherServiceClient;
use publica_rpc::Link;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{
    Case, INSTITUTION, Members, PROGRAM, Refusal, acknowledge, callback, header, number, open,
    refused,
};
use crate::body::{Params, QueryPairs};
use crate::convert::rfc3339;
use crate::respond;
use crate::rest::payments::{currency, timed};
use crate::state::{Entry, GatewayState};

/// The most vouchers in a request.
const MOST: usize = 2_000;
const ID_CHARS: usize = 12;
const SERIAL_CHARS: usize = 25;
const NUMBER_CHARS: usize = 25;
const GROUP_CHARS: usize = 64;
const MESSAGE_CHARS: usize = 20;

fn client(state: &GatewayState) -> VoucherServiceClient<Link> {
    VoucherServiceClient::new(state.link("payments"))
}

/// The block that asks: the institution, else the programme, else the caller.
fn calling_block(entry: &Entry, headers: &HeaderMap) -> Result<String, Refusal> {
    let named = match header(headers, INSTITUTION, 20)? {
        Some(institution) => Some(institution),
        None => header(headers, PROGRAM, 20)?,
    };
    Ok(named.unwrap_or_else(|| entry.caller().subject.clone()))
}

fn too_many(count: usize) -> Result<(), Refusal> {
    match count > MOST {
        true => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "There are more than 2,000 vouchers; split them.",
        )),
        false => Ok(()),
    }
}

/// `POST /vouchers`: issues, or with `command=cancel` or `redeem` ends.
pub(in crate::rest::payments) async fn post(
    State(state): State<GatewayState>,
    query: QueryPairs,
    request: Request,
) -> Response {
    let (entry, headers, bytes) = match open(&state, request).await {
        Ok(opened) => opened,
        Err(refusal) => return refused(&refusal, None),
    };
    let members = match Members::of_body(&bytes) {
        Ok(members) => members,
        Err(refusal) => return refused(&refusal, None),
    };
    // The files know one command only and use it for both.
    let secret = members.raw("voucherSecretNumber").is_some();
    match (query.get("command"), secret) {
        (None, _) => issue(&state, &entry, &headers, &members).await,
        (Some("redeem"), _) | (Some("cancel"), true) => {
            redeem(&state, &entry, &headers, &members).await
        }
        (Some("cancel"), false) => {
            let command = api::VoucherCommand::Cancel;
            let id = members.needed("requestID", ID_CHARS).ok();
            let done = change(&state, &entry, &headers, &members, command).await;
            taken(done, Case::Lower, id.as_deref())
        }
        (Some(_), _) => {
            let refusal = Refusal::invalid("command must be cancel or redeem.");
            refused(
                &refusal,
                members.needed("requestID", ID_CHARS).ok().as_deref(),
            )
        }
    }
}

/// `PUT /vouchers?command=activate`, `suspend` or `reactivate`.
pub(in crate::rest::payments) async fn put(
    State(state): State<GatewayState>,
    query: QueryPairs,
    request: Request,
) -> Response {
    let mut id = None;
    let done = async {
        let (entry, headers, bytes) = open(&state, request).await?;
        let members = Members::of_body(&bytes)?;
        id = members.needed("RequestID", ID_CHARS).ok();
        let command = match query.get("command") {
            Some("activate") => api::VoucherCommand::Activate,
            Some("suspend") => api::VoucherCommand::Suspend,
            Some("reactivate") => api::VoucherCommand::Reactivate,
            _ => {
                let text = "command must be activate, suspend or reactivate.";
                return Err(Refusal::invalid(text));
            }
        };
        change(&state, &entry, &headers, &members, command).await
    };
    let done = done.await;
    taken(done, Case::Upper, id.as_deref())
}

fn taken(done: Result<(), Refusal>, case: Case, id: Option<&str>) -> Response {
    match done {
        Ok(()) => acknowledge(StatusCode::OK, case, "00", "The request was taken.", id),
        Err(refusal) => refused(&refusal, id),
    }
}

async fn issue(
    state: &GatewayState,
    entry: &Entry,
    headers: &HeaderMap,
    members: &Members<'_>,
) -> Response {
    let id = members.needed("requestID", ID_CHARS).ok();
    let done = async {
        let items = members.list("voucherInstructions")?;
        too_many(items.len())?;
        let instructions = items.iter().map(instruction).collect::<Result<_, _>>()?;
        let message = api::IssueVouchersRequest {
            calling_block: calling_block(entry, headers)?,
            source_request: members.needed("requestID", ID_CHARS)?,
            source_batch: members.needed("batchID", ID_CHARS)?,
            instructions,
            callback: Some(callback(headers)?),
        };
        let call = timed(entry.request(message));
        client(state).issue_vouchers(call).await?;
        Ok(())
    };
    taken(done.await, Case::Upper, id.as_deref())
}

fn instruction(item: &Members<'_>) -> Result<api::VoucherInstruction, Refusal> {
    let code = item.needed("currency", 3)?;
    let literal = item.number("amount")?;
    let plain = currency::known(&code).and_then(|known| currency::amount(literal, known));
    Ok(api::VoucherInstruction {
        instruction_id: item.needed("instructionID", 16)?,
        voucher_group: item.needed("groupCode", GROUP_CHARS)?,
        currency: code,
        amount: plain.unwrap_or_else(|| literal.to_owned()),
        functional_id: item.needed("payeeFunctionalID", 20)?,
        narration: item.text("narration", 50)?.unwrap_or_default(),
    })
}

async fn change(
    state: &GatewayState,
    entry: &Entry,
    headers: &HeaderMap,
    members: &Members<'_>,
    command: api::VoucherCommand,
) -> Result<(), Refusal> {
    let items = members.list("voucherInstructions")?;
    too_many(items.len())?;
    let serial = |item: &Members<'_>| item.digits("serialNumber", SERIAL_CHARS);
    let serial_numbers = items.iter().map(serial).collect::<Result<_, _>>()?;
    members.needed("batchID", ID_CHARS)?;
    let message = api::ChangeVouchersRequest {
        calling_block: calling_block(entry, headers)?,
        source_request: members.needed("requestID", ID_CHARS)?,
        command: command.into(),
        serial_numbers,
        callback: Some(callback(headers)?),
    };
    let call = timed(entry.request(message));
    client(state).change_vouchers(call).await?;
    Ok(())
}

async fn redeem(
    state: &GatewayState,
    entry: &Entry,
    headers: &HeaderMap,
    members: &Members<'_>,
) -> Response {
    let serial = members
        .digits("voucherSerialNumber", SERIAL_CHARS)
        .unwrap_or_default();
    let read = || -> Result<api::RedeemVoucherRequest, Refusal> {
        members.needed("requestID", ID_CHARS)?;
        Ok(api::RedeemVoucherRequest {
            voucher_number: members.digits("voucherSecretNumber", NUMBER_CHARS)?,
            calling_block: calling_block(entry, headers)?,
            agent_id: members.needed("agentID", 10)?,
            serial_number: members.digits("voucherSerialNumber", SERIAL_CHARS)?,
            ..api::RedeemVoucherRequest::default()
        })
    };
    let message = match read() {
        Ok(message) => message,
        Err(refusal) => return failed(refusal.status, "malformed request", &serial),
    };
    let call = timed(entry.request(message));
    match client(state).redeem_voucher(call).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            let money = answer.amount.unwrap_or_default();
            let body = json!({
                "status": 1,
                "message": "redeemed",
                "serialNumber": answer.serial_number,
                "value": number(money.amount_minor, &money.currency),
                "timestamp": rfc3339(answer.redeem_time.as_ref()),
                "transactionId": transaction_id(&answer.transfer_id),
            });
            respond::json(StatusCode::OK, &body)
        }
        Err(status) => {
            let (code, text) = outcome(&status);
            failed(code, text, &serial)
        }
    }
}

/// Twelve characters that stand for a transfer of the ledger.
fn transaction_id(transfer_id: &str) -> String {
    let hash = digest(&SHA256, transfer_id.as_bytes());
    let bytes = hash.as_ref().iter().take(6);
    bytes.map(|byte| format!("{byte:02X}")).collect()
}

/// A redemption that did not succeed: a refusal is an answer like any other.
fn outcome(status: &Status) -> (StatusCode, &'static str) {
    let reason = publica_rpc::reason(status).unwrap_or_default();
    let text = match reason.as_str() {
        "VOUCHER_CONSUMED" => "already used",
        "VOUCHER_EXPIRED" => "expired",
        "NUMBER_INVALID" => "invalid number",
        "FUNDS_SHORT" => "funds short",
        "MERCHANT_REFUSED" => "agent refused",
        "CALLING_BLOCK_UNKNOWN" => "caller unknown",
        _ => "",
    };
    match (text, status.code()) {
        ("", Code::PermissionDenied) => (StatusCode::FORBIDDEN, "not allowed"),
        ("", Code::Unauthenticated) => (StatusCode::UNAUTHORIZED, "not allowed"),
        ("", Code::ResourceExhausted) => (StatusCode::TOO_MANY_REQUESTS, "too many attempts"),
        ("", Code::InvalidArgument) => (StatusCode::BAD_REQUEST, "malformed request"),
        ("", Code::Internal | Code::Unknown) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        ("", _) => (StatusCode::SERVICE_UNAVAILABLE, "try again"),
        (text, _) => (StatusCode::OK, text),
    }
}

fn failed(status: StatusCode, text: &str, serial: &str) -> Response {
    let body = json!({
        "status": 0,
        "message": text.chars().take(MESSAGE_CHARS).collect::<String>(),
        "serialNumber": serial,
        "value": 0,
        "timestamp": Value::Null,
        "transactionId": Value::Null,
    });
    respond::json(status, &body)
}

/// `GET /vouchers/{serialNumber}?fields=status`.
pub(in crate::rest::payments) async fn status(
    State(state): State<GatewayState>,
    params: Params,
    query: QueryPairs,
    headers: HeaderMap,
) -> Response {
    let serial = params.get("serial").unwrap_or_default().to_owned();
    let read = async {
        let entry = state.enter(&headers).await?;
        if query.get("fields").is_some_and(|fields| fields != "status") {
            return Err(Refusal::invalid("fields must be status."));
        }
        if serial.chars().count() > SERIAL_CHARS {
            return Err(Refusal::invalid("The serial number is too long."));
        }
        let message = api::GetVoucherStatusRequest {
            serial_number: serial.clone(),
            all_states: true,
        };
        let answer = client(&state)
            .get_voucher_status(timed(entry.request(message)))
            .await?;
        let answer = answer.into_inner();
        let code = code(answer.state());
        let code = code.ok_or_else(|| Refusal::invalid("There is no such voucher."))?;
        let money = answer.amount.unwrap_or_default();
        Ok(json!({
            "status": code,
            "serialNumber": serial,
            "value": number(money.amount_minor, &money.currency),
        }))
    };
    match read.await {
        Ok(body) => respond::json(StatusCode::OK, &body),
        Err(refusal) => unread(refusal.status, &refusal.text, &serial),
    }
}

/// An answer without a voucher.
pub(in crate::rest::payments) fn unread(status: StatusCode, text: &str, serial: &str) -> Response {
    let body = json!({"status": 9, "message": text, "serialNumber": serial, "value": 0.0});
    respond::json(status, &body)
}

/// The published numbers, of which only 3 is named: our reading of the others.
fn code(state: api::VoucherState) -> Option<i32> {
    use api::VoucherState as S;
    match state {
        S::NotPreactivated | S::Preactivated => Some(1),
        S::Activated => Some(2),
        S::Cancelled => Some(3),
        S::Expired => Some(4),
        S::Consumed => Some(5),
        S::Suspended | S::Blocked => Some(6),
        S::Purged | S::NotExisting | S::Unspecified => None,
    }
}
