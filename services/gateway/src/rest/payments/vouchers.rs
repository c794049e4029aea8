//! Vouchers as published. Their refusals have literal, non-standard status codes, and the block
//! decides which of them comes first.

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::voucher_service_client::VoucherServiceClient;
use publica_rpc::Link;
use publica_types::{Timestamp, Uuid};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

use super::{CALLBACK, CORRELATION, callback, strict, timed};
use crate::body::{self, Params};
use crate::convert::rfc3339;
use crate::respond;
use crate::state::{Entry, GatewayState};

const BODY_LIMIT: usize = 64 * 1_024;

/// Why a request is refused.
struct Refusal {
    status: StatusCode,
    text: String,
}

/// A refusal in this surface's shape.
pub(super) fn refused(status: StatusCode, text: &str) -> Response {
    respond::json(status, &json!({"message": text}))
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }
}

/// What the block refused, under the published status.
fn of_block(status: Status) -> Refusal {
    let reason = publica_rpc::reason(&status).unwrap_or_default();
    let code = match (reason.as_str(), status.code()) {
        ("AMOUNT_INVALID", _) => 452,
        ("CURRENCY_INVALID", _) => 453,
        ("GROUP_UNKNOWN", _) => 454,
        ("GROUP_EXHAUSTED", _) => 455,
        ("SERIAL_INVALID", _) => 456,
        ("VOUCHER_CONSUMED", _) => 458,
        ("VOUCHER_EXPIRED", _) => 459,
        ("CALLING_BLOCK_UNKNOWN", _) => 460,
        ("NUMBER_INVALID", _) => 461,
        ("FUNDS_SHORT", _) => 462,
        ("MERCHANT_REFUSED" | "VOUCHER_INVALID", _) => 463,
        ("ALREADY_CANCELLED", _) => 464,
        (_, Code::InvalidArgument | Code::FailedPrecondition | Code::AlreadyExists) => 400,
        (_, Code::Unauthenticated) => 401,
        (_, Code::PermissionDenied) => 403,
        (_, Code::Unavailable | Code::Aborted | Code::ResourceExhausted) => 503,
        (_, Code::DeadlineExceeded) => 503,
        _ => 500,
    };
    let text = match code {
        500 => "Something went wrong here.",
        _ => status.message(),
    };
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Refusal::new(status, text)
}

fn finish(result: Result<Value, Refusal>) -> Response {
    match result {
        Ok(body) => respond::json(StatusCode::OK, &body),
        Err(refusal) => refused(refusal.status, &refusal.text),
    }
}

fn client(state: &GatewayState) -> VoucherServiceClient<Link> {
    VoucherServiceClient::new(state.link("payments"))
}

/// A call with a body, its headers checked.
struct Opened {
    entry: Entry,
    correlation: Option<String>,
    callback: Option<api::Callback>,
    members: Map<String, Value>,
}

async fn enter(state: &GatewayState, headers: &HeaderMap) -> Result<Entry, Refusal> {
    let entered = state.enter(headers).await;
    entered.map_err(|fault| Refusal::new(fault.status(), fault.to_string()))
}

async fn open(
    state: &GatewayState,
    request: Request,
    mandatory: &[&str],
) -> Result<Opened, Refusal> {
    let entry = enter(state, request.headers()).await?;
    let headers = request.headers().clone();
    let (extensions, path) = (
        request.extensions().clone(),
        request.uri().path().to_owned(),
    );
    let bytes = body::read(request, BODY_LIMIT).await;
    let bytes = bytes.map_err(|fault| Refusal::invalid(fault.to_string()))?;
    let correlation = check_headers(&headers, &bytes)?;
    if let Some(date) = date(&headers) {
        let now = state.clock().now();
        strict::check_date(&extensions, date, now).map_err(Refusal::invalid)?;
    }
    strict::check(&extensions, &path, &bytes).map_err(Refusal::invalid)?;
    let members: Map<String, Value> = serde_json::from_slice(&bytes)
        .map_err(|_| Refusal::invalid("The body must be a JSON object."))?;
    match mandatory.iter().find(|name| !members.contains_key(**name)) {
        Some(name) => Err(Refusal::invalid(format!("{name} is required."))),
        None => Ok(Opened {
            entry,
            correlation,
            callback: callback(&headers).map_err(Refusal::invalid)?,
            members,
        }),
    }
}

/// The date that the caller's request has.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    headers.get("x-date")?.to_str().ok()?.trim().parse().ok()
}

/// Looks at the optional headers: one that is present must make sense. Gives the correlation id.
fn check_headers(headers: &HeaderMap, body: &[u8]) -> Result<Option<String>, Refusal> {
    let value = |names: &[&str]| -> Result<Option<String>, Refusal> {
        let Some(value) = names.iter().find_map(|name| headers.get(*name)) else {
            return Ok(None);
        };
        let text = value.to_str().map(str::trim).map(str::to_owned);
        text.map(Some)
            .map_err(|_| Refusal::invalid(format!("{} is malformed.", names[0])))
    };
    let malformed = |name: &str| Err(Refusal::invalid(format!("{name} is malformed.")));
    if value(&CALLBACK)?.is_some_and(|url| url.parse::<axum::http::Uri>().is_err()) {
        return malformed("X-Callback-URL");
    }
    if value(&["x-date"])?.is_some_and(|date| date.parse::<Timestamp>().is_err()) {
        return malformed("X-Date");
    }
    for name in ["x-client-id", "x-channel"] {
        if value(&[name])?.is_some_and(|text| text.chars().count() > 256) {
            return malformed(name);
        }
    }
    if let Some(given) = value(&["x-content-hash"])? {
        let hash: String = digest(&SHA256, body)
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if !given.eq_ignore_ascii_case(&hash) {
            return Err(Refusal::invalid("X-Content-Hash is not the body's."));
        }
    }
    match value(&CORRELATION)? {
        Some(id) if id.len() != 36 || Uuid::parse_str(&id).is_err() => malformed("X-CorrelationID"),
        id => Ok(id),
    }
}

impl Opened {
    /// A text member; anything else counts as empty, which the block refuses by its own code.
    fn text(&self, name: &str) -> String {
        match self.members.get(name) {
            Some(Value::String(text)) => text.clone(),
            _ => String::new(),
        }
    }

    /// A number that clients write as text or as an integer.
    fn digits(&self, name: &str) -> String {
        match self.members.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    /// What makes a repeat of this request known. One correlation id may stand over several
    /// different requests, so the content belongs to it.
    fn request_id(&self) -> String {
        let Some(id) = &self.correlation else {
            return String::new();
        };
        let content = Value::Object(self.members.clone()).to_string();
        let text = format!("{}\n{content}", id.to_ascii_lowercase());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
        Uuid::from_bytes(bytes).to_string()
    }
}

/// `POST /vouchers/voucher_preactivation`.
pub(super) async fn preactivate(State(state): State<GatewayState>, request: Request) -> Response {
    let issue = async {
        let mandatory = [
            "voucher_amount",
            "voucher_currency",
            "voucher_group",
            "Gov_Stack_BB",
        ];
        let opened = open(&state, request, &mandatory).await?;
        let comment = match opened.members.get("voucher_comment") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(_) => return Err(Refusal::invalid("voucher_comment must be a text.")),
        };
        let message = api::PreactivateVoucherRequest {
            amount: opened.text("voucher_amount"),
            currency: opened.text("voucher_currency"),
            voucher_group: opened.text("voucher_group"),
            calling_block: opened.text("Gov_Stack_BB"),
            comment,
            request_id: opened.request_id(),
            callback: opened.callback.clone(),
        };
        let call = timed(opened.entry.request(message));
        let issued = client(&state)
            .preactivate_voucher(call)
            .await
            .map_err(of_block)?;
        let issued = issued.into_inner();
        Ok(json!({
            "voucher_number": issued.voucher_number,
            "voucher_serial_number": issued.serial_number,
            "expiry_date_time": rfc3339(issued.expire_time.as_ref()),
        }))
    };
    finish(issue.await)
}

/// `PATCH /vouchers/voucher_activation`.
pub(super) async fn activate(State(state): State<GatewayState>, request: Request) -> Response {
    let activate = async {
        let mandatory = ["voucher_serial_number", "Gov_Stack_BB"];
        let opened = open(&state, request, &mandatory).await?;
        let message = api::ActivateVoucherRequest {
            serial_number: opened.digits("voucher_serial_number"),
            calling_block: opened.text("Gov_Stack_BB"),
            callback: opened.callback.clone(),
        };
        let call = timed(opened.entry.request(message));
        client(&state)
            .activate_voucher(call)
            .await
            .map_err(of_block)?;
        Ok(json!({"result_status": "The voucher is activated."}))
    };
    finish(activate.await)
}

/// `POST /vouchers/voucher_redemption`.
pub(super) async fn redeem(State(state): State<GatewayState>, request: Request) -> Response {
    let redeem = async {
        let mandatory = [
            "voucher_number",
            "Gov_Stack_BB",
            "merchant_name",
            "merchant_bank_details",
            "merchant_voucher_group",
            "override",
        ];
        let opened = open(&state, request, &mandatory).await?;
        let ignore_group = match opened.members.get("override") {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => true,
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => false,
            _ => return Err(Refusal::invalid("override must be true or false.")),
        };
        let message = api::RedeemVoucherRequest {
            voucher_number: opened.digits("voucher_number"),
            calling_block: opened.text("Gov_Stack_BB"),
            merchant_name: opened.text("merchant_name"),
            merchant_bank_details: opened.text("merchant_bank_details"),
            merchant_voucher_group: opened.text("merchant_voucher_group"),
            r#override: ignore_group,
            callback: opened.callback.clone(),
            ..api::RedeemVoucherRequest::default()
        };
        let call = timed(opened.entry.request(message));
        client(&state)
            .redeem_voucher(call)
            .await
            .map_err(of_block)?;
        Ok(json!({"result_status": "The voucher is redeemed."}))
    };
    finish(redeem.await)
}

fn serial(params: &Params) -> Result<String, Refusal> {
    let serial = params.get("serial").unwrap_or_default();
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match !serial.is_empty() && serial.bytes().all(sound) {
        true => Ok(serial.to_owned()),
        false => Err(Refusal::invalid(
            "The serial number has characters that none can have.",
        )),
    }
}

/// `GET /vouchers/voucherstatuscheck/{voucherserialnumber}`.
pub(super) async fn status(
    State(state): State<GatewayState>,
    params: Params,
    headers: HeaderMap,
) -> Response {
    let read = async {
        let entry = enter(&state, &headers).await?;
        let serial_number = serial(&params)?;
        let call = timed(entry.request(api::GetVoucherStatusRequest {
            serial_number,
            all_states: false,
        }));
        let answer = client(&state)
            .get_voucher_status(call)
            .await
            .map_err(of_block)?;
        let answer = answer.into_inner();
        let status = match answer.state() {
            api::VoucherState::NotPreactivated => "Not Pre-Activated",
            api::VoucherState::Preactivated => "Pre-Activated",
            api::VoucherState::Activated => "Activated",
            api::VoucherState::Suspended => "Suspended",
            // The published list has no word for a cancelled voucher.
            api::VoucherState::Blocked | api::VoucherState::Cancelled => "Blocked",
            api::VoucherState::Purged => "Purged",
            _ => "Not Existing",
        };
        Ok(json!({"voucher_status": status, "voucher_amount": answer.amount_text}))
    };
    finish(read.await)
}

/// `PATCH /vouchers/voucherstatuscheck/{voucherserialnumber}`: cancels.
pub(super) async fn cancel(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    let cancel = async {
        let mandatory = ["voucherserialnumber", "Gov_Stack_BB"];
        let opened = open(&state, request, &mandatory).await?;
        let serial_number = opened.digits("voucherserialnumber");
        if params.get("serial") != Some(&serial_number) {
            return Err(Refusal::invalid(
                "The serial numbers in path and body differ.",
            ));
        }
        let calling_block = opened.text("Gov_Stack_BB");
        let message = api::CancelVoucherRequest {
            serial_number,
            calling_block,
            callback: opened.callback.clone(),
        };
        let call = timed(opened.entry.request(message));
        client(&state)
            .cancel_voucher(call)
            .await
            .map_err(of_block)?;
        Ok(json!({"message": "The voucher is cancelled."}))
    };
    finish(cancel.await)
}
