//! The published bodies of bills, payments and requests to pay.

use publica_proto::payments::v1 as pb;
use publica_rpc::from_timestamp;
use serde_json::{Value, json};

use super::shapes::number;
use crate::app::bill::Bill;
use crate::store::bill::{BillerRow, InquiryRow, PayRequestRow, PaymentRow};

const SECOND: i64 = 1_000_000;

fn short(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// That there is no bill.
pub(crate) fn no_bill(row: &InquiryRow, reason: &str) -> Value {
    json!({
        "requestId": row.source_request,
        "code": "01",
        "reason": short(reason, 200),
        "billId": row.bill_id,
        "billDetails": Value::Null,
    })
}

/// A bill, with its due date in seconds since 1970.
pub(crate) fn bill(row: &InquiryRow, biller: &BillerRow, bill: &Bill) -> Value {
    let money = |minor| number(minor, &bill.currency);
    let late = match bill.late_minor {
        0 => bill.amount_minor,
        late => late,
    };
    json!({
        "requestId": row.source_request,
        "code": "00",
        "reason": "found",
        "billId": row.bill_id,
        "billDetails": {
            "billerId": biller.biller_id,
            "billerName": short(&biller.name, 100),
            "billStatus": bill.status,
            "dueDate": bill.due_micros.map(|due| due.div_euclid(SECOND)),
            "amountonDueDate": money(bill.amount_minor),
            "amountAfterDueDate": money(late),
            "currency": bill.currency,
        },
    })
}

/// That a bill was paid, for its biller.
pub(crate) fn advice(payment: &PaymentRow) -> Value {
    json!({
        "requestID": short(&payment.source_request, 12),
        "billId": payment.bill_id,
        "PaymentReferenceID": payment.payment_reference,
    })
}

/// What a biller said about a payment, for the payer's institution.
pub(crate) fn bill_status(payment: &PaymentRow, accepted: bool, reason: &str) -> Value {
    json!({
        "requestId": short(&payment.source_request, 12),
        "billId": payment.bill_id,
        "status": if accepted { "ACK" } else { "RJC" },
        "rejectReason": (!reason.is_empty()).then_some(reason),
    })
}

/// A request to pay, for the payer's institution.
pub(crate) fn request_to_pay(row: &PayRequestRow, biller: &str, amount: &str) -> Value {
    let amount = amount
        .parse::<serde_json::Number>()
        .map_or_else(|_| json!(amount), Value::Number);
    json!({
        "TxnID": row.transaction_id,
        "rTPID": row.rtp_id,
        "billDetails": {"Bill ID": row.bill_id, "Biller Name": biller, "Amount": amount},
    })
}

/// What the payer said, for the biller.
pub(crate) fn request_update(row: &PayRequestRow, accepted: bool, reason: &str) -> Value {
    json!({
        "requestId": row.transaction_id,
        "rtpId": row.rtp_id,
        "billId": row.bill_id,
        "rtpStatus": if accepted { "00" } else { "01" },
        "rejectReason": (!reason.is_empty()).then_some(reason),
    })
}

/// How a request to pay fares, for the biller.
pub(crate) fn transfer_request(
    row: &PayRequestRow,
    request: &str,
    answer: &pb::GetTransferRequestResponse,
) -> Value {
    use pb::TransferRequestStatus as S;
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
        "rtpId": row.rtp_id,
        "RequestId": short(request, 12),
        "requestStatus": status,
        "PaymentReferenceID": answer.payment_reference,
        "lastUpdateDate": time.map(|time| time.micros().div_euclid(SECOND)),
    })
}
