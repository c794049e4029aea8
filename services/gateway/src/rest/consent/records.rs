//! Consent records, as the person or an application on the person's behalf sees them.

use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use publica_proto::consent::v1 as pb;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::error::Fault;
use super::{delegations, input, output, reading};
use crate::respond;
use crate::state::Entry;

/// A record that names its person, checked against the person of the call.
fn of_person(
    call: &Call,
    entry: &Entry,
    mut record: pb::ConsentRecord,
) -> Result<pb::ConsentRecord, Fault> {
    match call.individual(entry) {
        Ok(id) if record.individual_id.is_empty() => record.individual_id = id,
        Ok(id) if id == record.individual_id => {}
        Ok(_) => {
            let text = "the record names another individual than the call";
            return Err(Fault::bad("individual_mismatch", text));
        }
        Err(fault) if record.individual_id.is_empty() => return Err(fault),
        Err(_) => {}
    }
    Ok(record)
}

/// The person that the call names, if it names one; the block knows whose the record is.
fn named(call: &Call, entry: &Entry) -> Result<String, Fault> {
    let header = call.headers.contains_key("x-consentbb-individualid");
    if header || call.query.get("individualId").is_some() {
        return call.individual(entry);
    }
    Ok(String::new())
}

/// The choices that a body holds, by themselves or within a record; a body is not needed.
fn choices(call: &Call) -> Result<Vec<pb::AttributeChoice>, Fault> {
    let body = call.optional_object()?;
    if body.contains_key("consentRecord") {
        return input::wrapped(&body, "consentRecord", reading::choices);
    }
    input::whole(&body, "", reading::choices)
}

pub(crate) async fn opt_in(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = pb::CreateConsentRecordRequest {
        attributes: choices(&call)?,
        individual_id: call.individual(&entry)?,
        data_agreement_id: call.id("dataAgreementId")?,
        data_agreement_revision_id: call.query_id("revisionId")?,
        language: call.text("language"),
        request_id: call.request_id(),
        delegate_individual_id: delegations::named(&call)?,
        ..pb::CreateConsentRecordRequest::default()
    };
    let answer = call
        .records()
        .create_consent_record(entry.request(message))
        .await?;
    let answer = answer.into_inner();
    let body = json!({
        "consentRecord": answer.consent_record.as_ref().map(output::record),
        "revision": output::maybe_revision(answer.revision.as_ref()),
    });
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn current(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = pb::GetConsentRecordRequest {
        individual_id: call.individual(&entry)?,
        data_agreement_id: call.id("dataAgreementId")?,
        view: pb::RecordView::Full.into(),
        ..pb::GetConsentRecordRequest::default()
    };
    let found = call
        .records()
        .get_consent_record(entry.request(message))
        .await;
    let found = match found {
        Ok(found) => found.into_inner(),
        // No answer yet is an answer.
        Err(status) if status.code() == tonic::Code::NotFound => {
            return Ok(respond::json(StatusCode::OK, &json!({})));
        }
        Err(status) => return Err(status.into()),
    };
    let record = found.consent_record.as_ref().map(output::record);
    Ok(respond::json(
        StatusCode::OK,
        &json!({ "consentRecord": record }),
    ))
}

pub(crate) async fn draft(call: Call) -> Answer {
    let entry = call.enter().await?;
    let data_agreement_id = call.query_id("dataAgreementId")?;
    if data_agreement_id.is_empty() {
        return Err(Fault::member("dataAgreementId", "is required"));
    }
    let message = pb::DraftConsentRecordRequest {
        individual_id: call.individual(&entry)?,
        data_agreement_id,
        data_agreement_revision_id: call.query_id("revisionId")?,
        opt_in: call.flag("optIn")?,
        attributes: choices(&call)?,
        language: call.text("language"),
        delegate_individual_id: delegations::named(&call)?,
        verification_method: call.text("verificationMethod"),
        ..pb::DraftConsentRecordRequest::default()
    };
    let answer = call
        .records()
        .draft_consent_record(entry.request(message))
        .await?;
    let answer = answer.into_inner();
    let body = json!({
        "consentRecord": answer.consent_record.as_ref().map(output::record),
        "signature": answer.signature.as_ref().map(output::signature),
    });
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn sign(call: Call) -> Answer {
    let entry = call.enter().await?;
    let body = call.object()?;
    let record = input::wrapped(&body, "consentRecord", reading::record)?;
    let signature = input::wrapped(&body, "signature", reading::signature)?;
    let message = pb::SignConsentRecordRequest {
        consent_record: Some(of_person(&call, &entry, record)?),
        signature: Some(signature),
        request_id: call.request_id(),
    };
    let answer = call
        .records()
        .sign_consent_record(entry.request(message))
        .await?;
    let answer = answer.into_inner();
    let body = json!({
        "consentRecord": answer.consent_record.as_ref().map(output::record),
        "revision": output::maybe_revision(answer.revision.as_ref()),
        "signature": answer.signature.as_ref().map(output::signature),
    });
    Ok(respond::json(StatusCode::OK, &body))
}

/// The person's records, as a page.
async fn page(call: &Call, data_agreement_id: String, current_only: bool) -> Answer {
    let entry = call.enter().await?;
    let paging = call.paging()?;
    let message = pb::ListConsentRecordsRequest {
        individual_id: call.individual(&entry)?,
        data_agreement_id,
        current_only,
        view: pb::RecordView::Full.into(),
        page_size: paging.size(),
        page_token: paging.cursor.clone(),
        skip: paging.offset,
        include_total: paging.count,
        ..pb::ListConsentRecordsRequest::default()
    };
    let answer = call
        .records()
        .list_consent_records(entry.request(message))
        .await?;
    let answer = answer.into_inner();
    let page = paging.member(&answer.next_page_token, answer.total_size);
    let rows: Vec<Value> = paging
        .cut(answer.consent_records)
        .iter()
        .map(output::record)
        .collect();
    let body = output::page("consentRecords", rows, page);
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn list(call: Call) -> Answer {
    page(&call, String::new(), true).await
}

pub(crate) async fn all_of_agreement(call: Call) -> Answer {
    let id = call.id("dataAgreementId")?;
    page(&call, id, false).await
}

pub(crate) async fn change(call: Call) -> Answer {
    let entry = call.enter().await?;
    let consent_record_id = call.id("consentRecordId")?;
    let (sent, grant_all) = changed(&call)?;
    let named = named(&call, &entry)?;
    let message = pb::ChangeConsentRecordRequest {
        consent_record_id: consent_record_id.clone(),
        individual_id: named,
        opt_in: sent.opt_in,
        attributes: sent.attributes.clone(),
        etag: call.etag(),
        request_id: call.request_id(),
        known: Some(sent),
        delegate_individual_id: delegations::named(&call)?,
        grant_all,
    };
    let answer = call
        .records()
        .change_consent_record(entry.request(message))
        .await?;
    let answer = answer.into_inner();
    let body = json!({
        "consentRecord": answer.consent_record.as_ref().map(output::record),
        "revision": output::maybe_revision(answer.revision.as_ref()),
    });
    Ok(respond::json(StatusCode::OK, &body))
}

/// The new answer: wrapped, bare, or as a form. Only the answer can be changed. A list of
/// attributes that is sent empty grants them all; without one the choices stay as they are.
fn changed(call: &Call) -> Result<(pb::ConsentRecord, bool), Fault> {
    if let Some(form) = call.form() {
        let opt_in = match form.get("optIn").map(str::to_ascii_lowercase).as_deref() {
            Some("true") => true,
            Some("false") => false,
            _ => return Err(Fault::member("optIn", "must be true or false")),
        };
        let sent = pb::ConsentRecord {
            opt_in: Some(opt_in),
            ..Default::default()
        };
        return Ok((sent, false));
    }
    let body = call.object()?;
    let wrapped = body.contains_key("consentRecord");
    let read = |input: &input::Input<'_>| pb::ConsentRecord {
        consent_record_id: input.text("id"),
        ..reading::record(input)
    };
    let (sent, under) = if wrapped {
        let sent = input::wrapped(&body, "consentRecord", read)?;
        (sent, body.get("consentRecord"))
    } else {
        (input::whole(&body, "", read)?, None)
    };
    if sent.opt_in.is_none() {
        return Err(Fault::member("consentRecord.optIn", "is required"));
    }
    let listed = match under {
        Some(record) => record.get("attributes"),
        None => body.get("attributes"),
    };
    let grant_all = listed.and_then(Value::as_array).is_some_and(Vec::is_empty);
    Ok((sent, grant_all))
}

pub(crate) async fn draft_signature(call: Call) -> Answer {
    let entry = call.enter().await?;
    let consent_record_id = call.id("consentRecordId")?;
    let body = call.optional_object()?;
    let known = match body.get("signature") {
        Some(_) => Some(input::wrapped(&body, "signature", reading::signature)?),
        None => None,
    };
    let message = pb::DraftSignatureRequest {
        consent_record_id,
        individual_id: named(&call, &entry)?,
        signature: known,
    };
    let answer = call
        .records()
        .draft_signature(entry.request(message))
        .await?
        .into_inner();
    let signature = answer.signature.as_ref().map(output::signature);
    Ok(respond::json(
        StatusCode::OK,
        &json!({ "signature": signature }),
    ))
}

pub(crate) async fn attach(call: Call) -> Answer {
    let entry = call.enter().await?;
    let consent_record_id = call.id("consentRecordId")?;
    let signature = input::wrapped(&call.object()?, "signature", reading::signature)?;
    let message = pb::AttachSignatureRequest {
        consent_record_id,
        individual_id: named(&call, &entry)?,
        signature: Some(signature),
        request_id: call.request_id(),
    };
    let answer = call
        .records()
        .attach_signature(entry.request(message))
        .await?
        .into_inner();
    let body = json!({
        "signature": answer.signature.as_ref().map(output::signature),
        "consentRecord": answer.consent_record.as_ref().map(output::record),
        "revision": output::maybe_revision(answer.revision.as_ref()),
    });
    Ok(respond::json(StatusCode::OK, &body))
}

/// Repeating it, and asking it for somebody without records, are both answered alike.
pub(crate) async fn erase(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = pb::EraseConsentRecordsRequest {
        individual_id: call.individual(&entry)?,
        request_id: call.request_id(),
    };
    let answer = call
        .records()
        .erase_consent_records(entry.request(message))
        .await?;
    let answer = answer.into_inner();
    let mut response = respond::json(StatusCode::OK, &json!({}));
    tell_counts(&mut response, answer.erased, answer.retained);
    Ok(response)
}

/// Says in the headers how many records were erased, and how many had to be kept.
pub(crate) fn tell_counts(response: &mut Response, erased: i64, retained: i64) {
    for (name, count) in [
        ("x-consent-deleted", erased),
        ("x-consent-retained", retained),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from(count));
    }
}

pub(crate) async fn receipt(call: Call) -> Answer {
    let entry = call.enter().await?;
    let format = match call.text("format").to_ascii_lowercase().as_str() {
        "" | "iso27560" => pb::ReceiptFormat::Iso27560,
        "kantara" => pb::ReceiptFormat::Kantara,
        "fhir" => pb::ReceiptFormat::Fhir,
        "dpv" => pb::ReceiptFormat::Dpv,
        "pdf" => pb::ReceiptFormat::Pdf,
        _ => {
            let known = "must be iso27560, kantara, fhir, dpv or pdf";
            return Err(Fault::member("format", known));
        }
    };
    let message = pb::GetConsentReceiptRequest {
        consent_record_id: call.id("consentRecordId")?,
        individual_id: named(&call, &entry)?,
        format: format.into(),
    };
    let answer = call
        .records()
        .get_consent_receipt(entry.request(message))
        .await?;
    let answer = answer.into_inner();
    if !answer.document.is_empty() {
        let kind = HeaderValue::from_static("application/pdf");
        let mut response = respond::bytes_answer(StatusCode::OK, kind, answer.document);
        let name = HeaderValue::from_static("attachment; filename=\"consent-receipt.pdf\"");
        response.headers_mut().insert("content-disposition", name);
        return Ok(response);
    }
    let receipt: Value = serde_json::from_str(&answer.receipt).unwrap_or_default();
    let body = json!({
        "receipt": receipt,
        "signedReceipt": answer.signed_receipt,
        "contentType": answer.content_type,
    });
    Ok(respond::json(StatusCode::OK, &body))
}
