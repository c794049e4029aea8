//! The published bodies of callbacks.

use publica_proto::payments::v1 as pb;
use publica_types::{Currency, Money};
use serde_json::{Value, json};

use super::Form;
use crate::domain::address::Modality;
use crate::domain::ids::named;
use crate::store::validation::{FailureRow, ValidationRow};

/// Characters of the id of a callback.
const ID_CHARS: usize = 12;
/// The longest reason of a failure.
const REASON_CHARS: usize = 100;

/// A callback's own id: the same at each attempt.
fn own_id(name: &str) -> String {
    let id = named("callback", name.as_bytes()).simple().to_string();
    id[..ID_CHARS].to_uppercase()
}

fn reason(text: &str) -> String {
    text.chars().take(REASON_CHARS).collect()
}

/// An amount as a number with the currency's decimals.
pub(crate) fn number(minor: i64, currency: &str) -> Value {
    let text = match currency.parse::<Currency>() {
        Ok(currency) => Money::new(minor, currency).decimal(),
        Err(_) => minor.to_string(),
    };
    // JSON numbers are doubles to most readers: what one cannot hold exactly goes as text.
    match text.parse::<serde_json::Number>() {
        Ok(number) if plain(&number.to_string()) == plain(&text) => Value::Number(number),
        _ => Value::String(text),
    }
}

/// A decimal without zeros at the end of its fraction.
fn plain(text: &str) -> &str {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

/// Whether beneficiaries were registered or changed.
pub(crate) fn beneficiaries(
    form: Form,
    changed: bool,
    request: &str,
    failed: &[pb::FailedCase],
) -> Value {
    let payee = match (form, changed) {
        (Form::V3, false) => "payeeIdentity",
        (Form::V3, true) => "payeeFunctionalID",
        (Form::V1, _) => "PayeeFunctionalID",
    };
    let case = |case: &pb::FailedCase| {
        let modality = Modality::parse(&case.modality)
            .unwrap_or(Modality::Bank)
            .code();
        match form {
            Form::V3 => json!({
                payee: case.functional_id,
                "bankingInstitutionCode": case.institution,
                "paymentModality": modality,
                "failureReason": reason(&case.reason),
            }),
            Form::V1 => json!({
                payee: case.functional_id,
                "PaymentModality": modality,
                "FailureReason": reason(&case.reason),
            }),
        }
    };
    let cases: Vec<Value> = failed.iter().map(case).collect();
    match form {
        Form::V3 => json!({
            "requestID": own_id(request),
            "registerRequestID": request,
            "numberFailedCases": cases.len(),
            "failedCases": cases,
        }),
        Form::V1 => json!({
            "RequestID": request,
            "NumberFailedCases": cases.len(),
            "FailedCases": cases,
        }),
    }
}

/// Whom a validation found not payable.
pub(crate) fn validation(row: &ValidationRow, failures: &[FailureRow]) -> Value {
    let accounts: Vec<Value> = failures
        .iter()
        .map(|row| {
            json!({"InstructionID": row.instruction_id, "FailureReason": reason(&row.reason)})
        })
        .collect();
    json!({
        "RequestID": row.source_request,
        "Source_BatchID": row.source_batch,
        "NumberFailedCases": accounts.len(),
        "FailedAccounts": accounts,
    })
}

/// How far a batch has come.
pub(crate) fn progress(progress: &pb::GetBatchProgressResponse) -> Value {
    let tally = |tally: &Option<pb::Tally>| {
        tally
            .as_ref()
            .map_or((0, 0), |tally| (tally.item_count, tally.amount_minor))
    };
    let money = |minor| number(minor, &progress.currency);
    let (total, ongoing) = (tally(&progress.total), tally(&progress.ongoing));
    let (failed, completed) = (tally(&progress.failed), tally(&progress.completed));
    let time = progress
        .as_of_time
        .as_ref()
        .and_then(|time| publica_rpc::from_timestamp("as_of_time", time).ok());
    json!({
        "requestId": own_id(&progress.batch_id),
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
        "resultGeneratedAt": time.map(|time| time.to_string()),
        "note": progress.note.chars().take(200).collect::<String>(),
    })
}

/// A voucher that was issued, its number encrypted for the calling block.
pub(crate) struct IssuedVoucher {
    pub(crate) instruction_id: String,
    pub(crate) serial: String,
    pub(crate) number: String,
    pub(crate) currency: String,
    pub(crate) amount_minor: i64,
    pub(crate) narration: String,
}

/// Vouchers that were issued. What could not be issued is listed beside them, if there is any:
/// the published shape has no place for it.
pub(crate) fn vouchers(
    request: &str,
    batch: &str,
    issued: &[IssuedVoucher],
    failures: &[pb::VoucherFailure],
) -> Value {
    let list: Vec<Value> = issued
        .iter()
        .map(|voucher| {
            json!({
                "instructionID": voucher.instruction_id,
                "serialNumber": voucher.serial,
                "voucherNumber": voucher.number,
                "currency": voucher.currency,
                "amount": number(voucher.amount_minor, &voucher.currency),
                "narration": voucher.narration,
            })
        })
        .collect();
    let mut body = json!({"requestID": request, "batchID": batch, "voucherInstructions": list});
    if !failures.is_empty() {
        let cases: Vec<Value> = failures
            .iter()
            .map(|case| json!({"instructionID": case.id, "failureReason": reason(&case.reason)}))
            .collect();
        body["numberFailedCases"] = json!(cases.len());
        body["failedCases"] = json!(cases);
    }
    body
}

/// A voucher issued by version 1, as its caller got it.
pub(crate) fn preactivated(answer: &pb::PreactivateVoucherResponse) -> Value {
    let time = answer
        .expire_time
        .as_ref()
        .and_then(|time| publica_rpc::from_timestamp("expire_time", time).ok());
    json!({
        "voucher_number": answer.voucher_number,
        "voucher_serial_number": answer.serial_number,
        "expiry_date_time": time.map(|time| time.to_string()),
    })
}

/// What was done to a voucher of version 1.
pub(crate) fn voucher_done(what: &str, serial: &str) -> Value {
    json!({
        "voucher_serial_number": serial,
        "result_status": format!("The voucher is {what}."),
    })
}

/// Whether vouchers were changed.
pub(crate) fn changed_vouchers(request: &str, failures: &[pb::VoucherFailure]) -> Value {
    let cases: Vec<Value> = failures
        .iter()
        .map(|case| json!({"serialNumber": case.id, "failureReason": reason(&case.reason)}))
        .collect();
    json!({
        "requestID": own_id(request),
        "registerRequestID": request,
        "numberFailedCases": cases.len(),
        "failedCases": cases,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_numbers_with_their_decimals() {
        for (minor, currency, text) in [
            (12_050, "USD", "120.5"),
            (10, "JPY", "10"),
            (1, "BHD", "0.001"),
            (123_456_789_012_345, "USD", "1234567890123.45"),
            (1_200, "USD", "12.0"),
            (i64::MAX, "USD", "\"92233720368547758.07\""),
        ] {
            assert_eq!(number(minor, currency).to_string(), text);
        }
    }

    #[test]
    fn failed_cases_have_a_modality_of_the_list() {
        let case = pb::FailedCase {
            functional_id: "PAYEE".to_owned(),
            reason: "x".repeat(200),
            modality: "zz".to_owned(),
            institution: String::new(),
        };
        let body = beneficiaries(Form::V3, false, "REQUEST00001", &[case]);
        assert_eq!(body["registerRequestID"], "REQUEST00001");
        assert_eq!(body["requestID"].as_str().unwrap().len(), 12);
        assert_eq!(body["numberFailedCases"], 1);
        assert_eq!(body["failedCases"][0]["paymentModality"], "00");
        let text = body["failedCases"][0]["failureReason"].as_str().unwrap();
        assert_eq!(text.len(), 100);
    }
}
