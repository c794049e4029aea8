//! What auditors see: records, agreements, revisions, and whether chains are intact.

use axum::http::StatusCode;
use publica_proto::consent::v1 as pb;
use serde_json::json;

use super::call::{Answer, Call};
use super::error::Fault;
use super::policies::list_revisions;
use super::{agreements, output, verification};
use crate::respond;

pub(crate) async fn records(call: Call) -> Answer {
    if call.query_id("id")?.is_empty() {
        return verification::page(&call, false).await;
    }
    let record = verification::by_id(&call, call.query_id("id")?).await?;
    let rows: Vec<_> = record.iter().map(output::record).collect();
    let page = call.paging()?.member("", None);
    let body = output::page("consentRecords", rows, page);
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn record(call: Call) -> Answer {
    let found = verification::find(&call).await?;
    let record = found.consent_record.as_ref().map(output::record);
    Ok(respond::json(
        StatusCode::OK,
        &json!({ "consentRecord": record }),
    ))
}

pub(crate) async fn agreements(call: Call) -> Answer {
    let (rows, page) = agreements::page(&call, false).await?;
    let body = output::page("dataAgreements", rows, page);
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn agreement(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = pb::GetDataAgreementRequest {
        data_agreement_id: call.id("dataAgreementId")?,
        revision_id: call.query_id("revisionId")?,
        published: false,
    };
    let answer = call
        .agreements()
        .get_data_agreement(entry.request(message))
        .await?
        .into_inner();
    let agreement = answer
        .data_agreement
        .as_ref()
        .map(|one| output::agreement(one, false));
    Ok(respond::json(
        StatusCode::OK,
        &json!({ "dataAgreement": agreement }),
    ))
}

fn schema(name: &str) -> Result<pb::Schema, Fault> {
    match name.to_ascii_lowercase().as_str() {
        "" => Ok(pb::Schema::Unspecified),
        "policy" => Ok(pb::Schema::Policy),
        "dataagreement" => Ok(pb::Schema::DataAgreement),
        "consentrecord" => Ok(pb::Schema::ConsentRecord),
        "delegation" => Ok(pb::Schema::Delegation),
        _ => Err(Fault::member(
            "schemaName",
            "must be Policy, DataAgreement, ConsentRecord or Delegation",
        )),
    }
}

pub(crate) async fn revisions(call: Call) -> Answer {
    let entry = call.enter().await?;
    let schema = schema(&call.text("schemaName"))?;
    let object_id = call.query_id("objectId")?;
    let body = list_revisions(&call, &entry, schema, object_id).await?;
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn verify_revision(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = pb::VerifyChainRequest {
        revision_id: call.id("revisionId")?,
        ..pb::VerifyChainRequest::default()
    };
    let answer = call
        .revisions()
        .verify_chain(entry.request(message))
        .await?
        .into_inner();
    Ok(respond::json(StatusCode::OK, &output::chain(&answer)))
}

/// Proves that a record exists, was signed and is untouched, without disclosing its content.
pub(crate) async fn verify_record(call: Call) -> Answer {
    let entry = call.enter().await?;
    let object_id = call.id("consentRecordId")?;
    let message = pb::VerifyChainRequest {
        schema: pb::Schema::ConsentRecord.into(),
        object_id: object_id.clone(),
        ..pb::VerifyChainRequest::default()
    };
    let answer = call
        .revisions()
        .verify_chain(entry.request(message))
        .await?
        .into_inner();
    let mut body = output::chain(&answer);
    body["consentRecordId"] = json!(object_id);
    Ok(respond::json(StatusCode::OK, &body))
}
