//! Bills and requests to pay, of version 3.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::bill_service_client::BillServiceClient;
use publica_rpc::{Link, from_timestamp, timestamp};
use publica_types::{Money, Timestamp};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{INSTITUTION, Members, NO_ID, Refusal, TENANT, correlation, header, needed, open};
use crate::body::{Params, QueryPairs};
use crate::respond;
use crate::rest::payments::{currency, timed};
use crate::state::GatewayState;

const ID_CHARS: usize = 12;
const PARTY_CHARS: usize = 20;
const BILL_CHARS: usize = 20;
const SECOND: i64 = 1_000_000;
const PAYER: &[&str] = &[
    "payerfi-id",
    "x-payerfi-id",
    "payer-fsp-id",
    "x-payerfsp-id",
];
const BILLER: &[&str] = &["x-billerid", "x-biller-id"];

fn client(state: &GatewayState) -> BillServiceClient<Link> {
    BillServiceClient::new(state.link("payments"))
}

/// The acknowledgement of these paths; refusals have their code under both published names.
fn acknowledge(status: StatusCode, text: &str, request_id: Option<&str>) -> Response {
    let code = if status.is_success() { "00" } else { "01" };
    let text: String = text.chars().take(200).collect();
    let id = request_id.unwrap_or(NO_ID);
    let mut body = json!({"responseCode": code, "reason": text, "requestID": id});
    if !status.is_success() {
        body["code"] = json!(code);
    }
    respond::json(status, &body)
}

/// The same for a method that a path does not have.
pub(in crate::rest::payments) fn refused(status: StatusCode, text: &str) -> Response {
    acknowledge(status, text, None)
}

fn finish(status: StatusCode, done: Result<(), Refusal>, id: Option<&str>) -> Response {
    match done {
        Ok(()) => acknowledge(status, "The request was taken.", id),
        Err(refusal) => acknowledge(refusal.status, &refusal.text, id),
    }
}

fn common(headers: &HeaderMap) -> Result<String, Refusal> {
    needed(headers, TENANT, PARTY_CHARS)?;
    let missing = || Refusal::invalid("The header x-correlationid is required.");
    correlation(headers)?.ok_or_else(missing)
}

/// `GET /bills/{billId}?fields=inquiry`: asks for a bill, which comes later.
pub(in crate::rest::payments) async fn inquire(
    State(state): State<GatewayState>,
    params: Params,
    query: QueryPairs,
    headers: HeaderMap,
) -> Response {
    let mut id = None;
    let done = async {
        let entry = state.enter(&headers).await?;
        let correlation = common(&headers)?;
        // Whoever follows the file puts it into the body of a GET, which is not read.
        let given = query.get("requestId").map(str::to_owned);
        let given = given.or(header(&headers, &["requestid", "x-request-id"], 64)?);
        let number = given.unwrap_or(correlation);
        id = Some(number.chars().take(ID_CHARS).collect::<String>());
        if query
            .get("fields")
            .is_some_and(|fields| fields != "inquiry")
        {
            return Err(Refusal::invalid("fields must be inquiry."));
        }
        let message = api::InquireBillRequest {
            institution_id: needed(&headers, PAYER, PARTY_CHARS)?,
            source_request: number,
            bill_id: params.get("bill").unwrap_or_default().to_owned(),
        };
        client(&state)
            .inquire_bill(timed(entry.request(message)))
            .await?;
        Ok(())
    };
    let done = done.await;
    finish(StatusCode::ACCEPTED, done, id.as_deref())
}

/// `POST /bills/{billId}`: a biller's answer to an inquiry.
pub(in crate::rest::payments) async fn present(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    let mut id = None;
    let done = async {
        let (entry, headers, bytes) = open(&state, request).await?;
        let members = Members::of_body(&bytes)?;
        let number = members.needed("requestID", ID_CHARS)?;
        id = Some(number.clone());
        let biller_id = needed(&headers, BILLER, PARTY_CHARS)?;
        if members.needed("billId", BILL_CHARS)? != params.get("bill").unwrap_or_default() {
            return Err(Refusal::invalid(
                "The ids of the bill in path and body differ.",
            ));
        }
        let reason = members.text("reason", 200)?.unwrap_or_default();
        let (refusal, details) = match members.needed("code", 2)?.as_str() {
            "00" => (String::new(), Some(details(&members)?)),
            _ if reason.is_empty() => ("the biller has no such bill".to_owned(), None),
            _ => (reason.chars().take(100).collect(), None),
        };
        let message = api::RecordBillRequest {
            correlation_id: number,
            refusal,
            details,
            biller_id,
        };
        client(&state)
            .record_bill(timed(entry.request(message)))
            .await?;
        Ok(())
    };
    let done = done.await;
    finish(StatusCode::OK, done, id.as_deref())
}

fn details(members: &Members<'_>) -> Result<api::BillDetails, Refusal> {
    let raw = members.raw("billDetails");
    let details = raw.and_then(|raw| Members::of_text(raw.get()));
    let details = details.ok_or_else(|| Refusal::invalid("billDetails must be an object."))?;
    let code = details.needed("currency", 3)?;
    let known = currency::known(&code);
    let known = known.ok_or_else(|| Refusal::invalid("currency must be of ISO 4217."))?;
    let amount = |name: &str| -> Result<i64, Refusal> {
        let wrong = || Refusal::invalid(format!("{name} must be above zero."));
        let plain = currency::amount(details.number(name)?, known).ok_or_else(wrong)?;
        Money::parse(&plain, known)
            .map(|money| money.amount_minor)
            .map_err(|_| wrong())
    };
    let late = match details.raw("amountAfterDueDate") {
        Some(_) => amount("amountAfterDueDate")?,
        None => 0,
    };
    Ok(api::BillDetails {
        bill_status: details.text("billStatus", 10)?.unwrap_or_default(),
        due_time: details.raw("dueDate").map(due).transpose()?,
        amount: Some(api::Money {
            amount_minor: amount("amountonDueDate")?,
            currency: code,
        }),
        late_amount_minor: late,
    })
}

/// A due date: seconds since 1970 in one file, a date and time in another.
fn due(raw: &RawValue) -> Result<prost_types::Timestamp, Refusal> {
    let wrong = || Refusal::invalid("dueDate must be seconds since 1970 or a date and time.");
    let literal = raw.get();
    let time = match literal.parse::<i64>() {
        Ok(seconds) => seconds.checked_mul(SECOND).map(Timestamp::from_micros),
        Err(_) => {
            let text: String = serde_json::from_str(literal).map_err(|_| wrong())?;
            text.parse::<Timestamp>().ok()
        }
    };
    time.map(timestamp).ok_or_else(wrong)
}

/// `POST /billTransferRequests`: a notice of payment, or a biller's word on one.
pub(in crate::rest::payments) async fn transfer(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let mut id = None;
    let done = async {
        let (entry, headers, bytes) = open(&state, request).await?;
        let members = Members::of_body(&bytes)?;
        let number = members.needed("requestId", ID_CHARS)?;
        id = Some(number.clone());
        common(&headers)?;
        let bill_id = members.needed("billId", BILL_CHARS)?;
        let notice = members.raw("paymentReferenceID").is_some();
        match (notice, members.raw("status").is_some()) {
            (true, false) => {
                let message = api::NotifyBillPaymentRequest {
                    institution_id: needed(&headers, PAYER, PARTY_CHARS)?,
                    source_request: number,
                    inquiry_request: members.needed("billInquiryRequestId", 64)?,
                    bill_id,
                    payment_reference: members.needed("paymentReferenceID", 16)?,
                };
                client(&state)
                    .notify_bill_payment(timed(entry.request(message)))
                    .await?;
            }
            (false, true) => {
                let biller_id = needed(&headers, BILLER, PARTY_CHARS)?;
                let accepted = match members.needed("status", 3)?.as_str() {
                    "ACK" => true,
                    "RJC" => false,
                    _ => return Err(Refusal::invalid("status must be ACK or RJC.")),
                };
                let reason = members.text("rejectReason", 3)?.unwrap_or_default();
                let reject_reason = if accepted { String::new() } else { reason };
                let message = api::RecordBillResultRequest {
                    bill_id,
                    accepted,
                    reject_reason,
                    biller_id,
                };
                client(&state)
                    .record_bill_result(timed(entry.request(message)))
                    .await?;
            }
            _ => {
                let text = "Either paymentReferenceID or status must be there.";
                return Err(Refusal::invalid(text));
            }
        }
        Ok(())
    };
    let done = done.await;
    finish(StatusCode::ACCEPTED, done, id.as_deref())
}

/// `POST /rtpRequest`: a biller asks a payer to pay.
pub(in crate::rest::payments) async fn request_to_pay(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let mut id = None;
    let done = async {
        let (entry, headers, bytes) = open(&state, request).await?;
        let members = Members::of_body(&bytes)?;
        let number = members.needed("requestId", ID_CHARS)?;
        id = Some(number.clone());
        common(&headers)?;
        let (institution_id, alias) = payer(&members)?;
        let raw = members.raw("billDetails");
        let bill = raw.and_then(|raw| Members::of_text(raw.get()));
        let bill = bill.ok_or_else(|| Refusal::invalid("billDetails must be an object."))?;
        let amount = bill.number("amount")?;
        if amount.starts_with('-') || amount.bytes().all(|b| matches!(b, b'0' | b'.')) {
            return Err(Refusal::invalid("amount must be above zero."));
        }
        let message = api::RequestToPayRequest {
            biller_id: needed(&headers, BILLER, PARTY_CHARS)?,
            source_request: number,
            rtp_id: whole(&members, "rtpId")?,
            bill_id: members.needed("billID", 10)?,
            institution_id,
            alias,
            biller_name: bill.text("billerName", 100)?.unwrap_or_default(),
            amount: amount.to_owned(),
        };
        client(&state)
            .request_to_pay(timed(entry.request(message)))
            .await?;
        Ok(())
    };
    let done: Result<(), Refusal> = done.await;
    let (status, text) = match &done {
        Ok(()) => (StatusCode::OK, "The request was taken."),
        Err(refusal) => (refusal.status, refusal.text.as_str()),
    };
    let code = if done.is_ok() { "00" } else { "01" };
    let text: String = text.chars().take(200).collect();
    let mut body = json!({"responseCode": code, "responseDescription": text,
        "requestID": id.as_deref().unwrap_or(NO_ID)});
    if done.is_err() {
        body["code"] = json!(code);
    }
    respond::json(status, &body)
}

/// The payer's institution, or their alias; the type of the request says which.
fn payer(members: &Members<'_>) -> Result<(String, String), Refusal> {
    let object = |name: &str| {
        let raw = members.raw(name);
        raw.map(|raw| {
            let wrong = || Refusal::invalid(format!("{name} must be an object."));
            Members::of_text(raw.get()).ok_or_else(wrong)
        })
        .transpose()
    };
    let (institution, alias) = (object("payerFiDetails")?, object("alias")?);
    match (
        members.needed("requestType", 2)?.as_str(),
        institution,
        alias,
    ) {
        ("00", Some(institution), None) => {
            institution.needed("financialAddress", 34)?;
            Ok((institution.needed("payerFIBIC", 11)?, String::new()))
        }
        ("01", None, Some(alias)) => {
            let kind = alias.needed("aliasType", 2)?;
            if !matches!(kind.as_str(), "00" | "01" | "02") {
                return Err(Refusal::invalid("aliasType must be 00, 01 or 02."));
            }
            Ok((String::new(), alias.needed("aliasId", 30)?))
        }
        ("00" | "01", _, _) => Err(Refusal::invalid(
            "requestType 00 needs payerFiDetails and 01 needs alias, and not the other.",
        )),
        _ => Err(Refusal::invalid("requestType must be 00 or 01.")),
    }
}

fn whole(members: &Members<'_>, name: &str) -> Result<i64, Refusal> {
    let number = members.number(name)?.parse();
    number.map_err(|_| Refusal::invalid(format!("{name} must be a whole number.")))
}

/// `POST /rtpResponse`: what the payer says.
pub(in crate::rest::payments) async fn answer(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let mut id = None;
    let done = async {
        let (entry, headers, bytes) = open(&state, request).await?;
        let members = Members::of_body(&bytes)?;
        id = Some(members.needed("RequestId", ID_CHARS)?);
        common(&headers)?;
        whole(&members, "rtpId")?;
        members.needed("billId", 30)?;
        let accepted = match members.needed("rtpStatus", 2)?.as_str() {
            "00" => true,
            "01" => false,
            _ => return Err(Refusal::invalid("rtpStatus must be 00 or 01.")),
        };
        let message = api::RecordPayerAnswerRequest {
            transaction_id: members.needed("txnId", ID_CHARS)?,
            accepted,
            reject_reason: members.text("rejectReason", 10)?.unwrap_or_default(),
            institution_id: needed(&headers, PAYER, PARTY_CHARS)?,
        };
        client(&state)
            .record_payer_answer(timed(entry.request(message)))
            .await?;
        Ok(())
    };
    let done = done.await;
    finish(StatusCode::ACCEPTED, done, id.as_deref())
}

/// `GET /transferRequests/{transferRequestId}`: how a request to pay fares; it is sent too.
pub(in crate::rest::payments) async fn status(
    State(state): State<GatewayState>,
    params: Params,
    query: QueryPairs,
    headers: HeaderMap,
) -> Response {
    let mut id = None;
    let read = async {
        let entry = state.enter(&headers).await?;
        let correlation = common(&headers)?;
        let number = query.get("RequestId").map_or(correlation, str::to_owned);
        let short: String = number.chars().take(ID_CHARS).collect();
        id = Some(short.clone());
        let rtp_id = params.get("request").unwrap_or_default().parse();
        let rtp_id = rtp_id.map_err(|_| Refusal::invalid("The id must be a whole number."))?;
        let message = api::GetTransferRequestRequest {
            biller_id: needed(&headers, BILLER, PARTY_CHARS)?,
            rtp_id,
            source_request: number,
        };
        let call = timed(entry.request(message));
        let answer = client(&state)
            .get_transfer_request(call)
            .await?
            .into_inner();
        Ok::<Value, Refusal>(standing(rtp_id, &short, &answer))
    };
    match read.await {
        Ok(body) => respond::json(StatusCode::ACCEPTED, &body),
        Err(refusal) => acknowledge(refusal.status, &refusal.text, id.as_deref()),
    }
}

fn standing(rtp_id: i64, request: &str, answer: &api::GetTransferRequestResponse) -> Value {
    use api::TransferRequestStatus as S;
    let status = match answer.status() {
        S::Completed => "COM",
        S::Expired => "EXP",
        S::Rejected => "RJC",
        S::Pending | S::Unspecified => "PND",
    };
    let time = answer
        .update_time
        .as_ref()
        .and_then(|time| from_timestamp("update_time", time).ok());
    json!({
        "responseCode": "00",
        "reason": "The request was taken.",
        "requestID": request,
        "rtpId": rtp_id,
        "RequestId": request,
        "requestStatus": status,
        "PaymentReferenceID": answer.payment_reference,
        "lastUpdateDate": time.map(|time| time.micros().div_euclid(SECOND)),
    })
}

/// `POST /voucherRedemption`: pays a bill with a voucher.
pub(in crate::rest::payments) async fn redeem(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let mut id = None;
    let done = async {
        let (entry, headers, bytes) = open(&state, request).await?;
        let members = Members::of_body(&bytes)?;
        let number = members.needed("requestId", ID_CHARS)?;
        id = Some(number.clone());
        common(&headers)?;
        let message = api::PayBillByVoucherRequest {
            institution_id: needed(&headers, PAYER, PARTY_CHARS)?,
            source_request: number,
            inquiry_request: members.needed("billInquiryRequestId", 64)?,
            bill_id: members.needed("billId", BILL_CHARS)?,
            voucher_number: members.digits("VoucherSecretHash", 44)?,
            calling_block: header(&headers, INSTITUTION, PARTY_CHARS)?.unwrap_or_default(),
        };
        client(&state)
            .pay_bill_by_voucher(timed(entry.request(message)))
            .await?;
        Ok(())
    };
    let done: Result<(), Refusal> = done.await;
    let (status, code, text) = match &done {
        Ok(()) => (StatusCode::ACCEPTED, "00", "The bill is paid."),
        Err(refusal) => (refusal.status, "01", refusal.text.as_str()),
    };
    let text: String = text.chars().take(200).collect();
    let body = json!({"RequestID": id.as_deref().unwrap_or(NO_ID), "code": code,
        "reason": text});
    respond::json(status, &body)
}
