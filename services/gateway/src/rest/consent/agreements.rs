//! Data agreements.

use axum::http::StatusCode;
use publica_proto::consent::v1 as pb;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::error::Fault;
use super::policies::list_revisions;
use super::{input, output, reading};
use crate::respond;

fn shown(agreement: Option<&pb::DataAgreement>, revision: Option<&pb::Revision>) -> Value {
    json!({
        "dataAgreement": agreement.map(|one| output::agreement(one, false)),
        "revision": output::maybe_revision(revision),
    })
}

fn with_notes(mut body: Value, warnings: &[String], superseded: i64, material: &[String]) -> Value {
    if !material.is_empty() {
        body["materialChanges"] = json!(material);
    }
    if !warnings.is_empty() {
        body["warnings"] = json!(warnings);
    }
    if superseded > 0 {
        body["supersededRecords"] = json!(superseded);
    }
    body
}

pub(crate) async fn create(call: Call) -> Answer {
    let entry = call.enter().await?;
    let (agreement, publish) =
        input::wrapped(&call.object()?, "dataAgreement", reading::agreement)?;
    let message = pb::CreateDataAgreementRequest {
        data_agreement: Some(agreement),
        publish,
        request_id: call.request_id(),
    };
    let answer = call
        .agreements()
        .create_data_agreement(entry.request(message))
        .await?
        .into_inner();
    let body = shown(answer.data_agreement.as_ref(), answer.revision.as_ref());
    Ok(respond::json(
        StatusCode::OK,
        &with_notes(body, &answer.warnings, 0, &[]),
    ))
}

async fn find(call: &Call, published: bool) -> Result<pb::GetDataAgreementResponse, Fault> {
    let entry = call.enter().await?;
    let message = pb::GetDataAgreementRequest {
        data_agreement_id: call.id("dataAgreementId")?,
        revision_id: call.query_id("revisionId")?,
        published,
    };
    Ok(call
        .agreements()
        .get_data_agreement(entry.request(message))
        .await?
        .into_inner())
}

pub(crate) async fn read(call: Call) -> Answer {
    let answer = find(&call, false).await?;
    let body = shown(answer.data_agreement.as_ref(), answer.revision.as_ref());
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn read_published(call: Call) -> Answer {
    let answer = find(&call, true).await?;
    let body = shown(answer.data_agreement.as_ref(), answer.revision.as_ref());
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn attributes(call: Call) -> Answer {
    let answer = find(&call, false).await?;
    let all = answer
        .data_agreement
        .map(|one| one.attributes)
        .unwrap_or_default();
    let all: Vec<Value> = all.iter().map(output::attribute).collect();
    Ok(respond::json(
        StatusCode::OK,
        &json!({ "dataAttributes": all }),
    ))
}

/// What differs between two revisions: the published and the latest unless `from` and `to` name
/// others.
pub(crate) async fn compare(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = pb::CompareDataAgreementRevisionsRequest {
        data_agreement_id: call.id("dataAgreementId")?,
        from_revision_id: call.query_id("from")?,
        to_revision_id: call.query_id("to")?,
    };
    let answer = call
        .agreements()
        .compare_data_agreement_revisions(entry.request(message))
        .await?
        .into_inner();
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    let differences: Vec<Value> = answer
        .differences
        .iter()
        .map(|one| {
            let mut shown = json!({ "path": one.path });
            for (name, value) in [("before", read(&one.before)), ("after", read(&one.after))] {
                if let Some(value) = value {
                    shown[name] = value;
                }
            }
            shown
        })
        .collect();
    let body = json!({
        "from": answer.from_revision_id,
        "to": answer.to_revision_id,
        "differences": differences,
        "materialChanges": answer.material_changes,
    });
    Ok(respond::json(StatusCode::OK, &body))
}

/// What publication, and each kind of receipt, still lacks in the latest content.
pub(crate) async fn gaps(call: Call) -> Answer {
    let answer = find(&call, false).await?;
    let body = json!({
        "publication": answer.publication_gaps,
        "iso27560": answer.iso27560_gaps,
        "kantara": answer.kantara_gaps,
    });
    Ok(respond::json(StatusCode::OK, &body))
}

/// Stages of an agreement's life, as reference data.
pub(crate) async fn lifecycles(call: Call) -> Answer {
    call.enter().await?;
    let all: Vec<Value> = output::LIFECYCLES
        .iter()
        .map(|(_, id, name)| json!({ "id": id, "name": name }))
        .collect();
    Ok(respond::json(StatusCode::OK, &json!({ "lifecycles": all })))
}

pub(crate) async fn lifecycle(call: Call) -> Answer {
    call.enter().await?;
    let wanted = call.id("lifecycleId")?;
    let found = output::LIFECYCLES.iter().find(|(_, id, _)| *id == wanted);
    let (_, id, name) = found.ok_or_else(|| {
        let text = "there is no such lifecycle";
        Fault::bad("lifecycle_not_found", text)
    })?;
    let body = json!({ "lifecycle": { "id": id, "name": name } });
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn replace(call: Call) -> Answer {
    let entry = call.enter().await?;
    let data_agreement_id = call.id("dataAgreementId")?;
    let (agreement, publish) =
        input::wrapped(&call.object()?, "dataAgreement", reading::agreement)?;
    let message = pb::ReplaceDataAgreementRequest {
        data_agreement: Some(pb::DataAgreement {
            data_agreement_id,
            ..agreement
        }),
        publish,
        etag: call.etag(),
        request_id: call.request_id(),
    };
    let answer = call
        .agreements()
        .replace_data_agreement(entry.request(message))
        .await?
        .into_inner();
    let body = shown(answer.data_agreement.as_ref(), answer.revision.as_ref());
    let (superseded, material) = (answer.superseded_records, &answer.material_changes);
    let body = with_notes(body, &answer.warnings, superseded, material);
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn end(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = pb::TerminateDataAgreementRequest {
        data_agreement_id: call.id("dataAgreementId")?,
        request_id: call.request_id(),
    };
    let answer = call
        .agreements()
        .terminate_data_agreement(entry.request(message))
        .await?
        .into_inner();
    Ok(respond::json(
        StatusCode::OK,
        &output::deleted(answer.revision.as_ref()),
    ))
}

pub(crate) async fn revisions(call: Call) -> Answer {
    let entry = call.enter().await?;
    let id = call.id("dataAgreementId")?;
    let message = pb::GetDataAgreementRequest {
        data_agreement_id: id.clone(),
        ..pb::GetDataAgreementRequest::default()
    };
    let found = call
        .agreements()
        .get_data_agreement(entry.request(message))
        .await?
        .into_inner();
    let mut body = list_revisions(&call, &entry, pb::Schema::DataAgreement, id).await?;
    body["dataAgreement"] = json!(
        found
            .data_agreement
            .as_ref()
            .map(|one| output::agreement(one, false))
    );
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn publish(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = pb::PublishDataAgreementRequest {
        data_agreement_id: call.id("dataAgreementId")?,
        etag: call.etag(),
        request_id: call.request_id(),
    };
    let answer = call
        .agreements()
        .publish_data_agreement(entry.request(message))
        .await?
        .into_inner();
    let body = shown(answer.data_agreement.as_ref(), answer.revision.as_ref());
    let (superseded, material) = (answer.superseded_records, &answer.material_changes);
    let body = with_notes(body, &answer.warnings, superseded, material);
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn approve(call: Call) -> Answer {
    let entry = call.enter().await?;
    let id = call.id("dataAgreementId")?;
    let body = call.optional_object()?;
    let revision_id = match body.get("revisionId").and_then(Value::as_str) {
        Some(id) => id.to_owned(),
        None => call.query_id("revisionId")?,
    };
    let message = pb::ApproveDataAgreementRequest {
        data_agreement_id: id,
        revision_id,
        request_id: call.request_id(),
    };
    let answer = call
        .agreements()
        .approve_data_agreement(entry.request(message))
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

/// The agreements that the query asks for, with what is said about the page.
pub(crate) async fn page(call: &Call, published: bool) -> Result<(Vec<Value>, Value), Fault> {
    let entry = call.enter().await?;
    let paging = call.paging()?;
    let lifecycle = reading::lifecycle_in_query(&call.text("lifecycle"))
        .ok_or_else(|| Fault::member("lifecycle", "must be Draft, Complete or Terminated"))?;
    let purpose = match call.text("purpose") {
        text if text.is_empty() => call.text("name"),
        text => text,
    };
    let message = pb::ListDataAgreementsRequest {
        lifecycle,
        active: call.flag("active")?,
        policy_id: call.query_id("policyId")?,
        purpose,
        from_time: call.time("from")?,
        to_time: call.time("to")?,
        published,
        order: call.order()?,
        page_size: paging.size(),
        page_token: paging.cursor.clone(),
        skip: paging.offset,
        include_total: paging.count,
    };
    let answer = call
        .agreements()
        .list_data_agreements(entry.request(message))
        .await?
        .into_inner();
    let page = paging.member(&answer.next_page_token, answer.total_size);
    let rows = paging.cut(answer.data_agreements);
    Ok((
        rows.iter()
            .map(|one| output::agreement(one, false))
            .collect(),
        page,
    ))
}

/// The published document prints the key in the singular here; both are sent.
pub(crate) async fn list(call: Call) -> Answer {
    let (rows, page) = page(&call, false).await?;
    let body = json!({ "dataAgreement": rows, "dataAgreements": rows, "pagination": page });
    Ok(respond::json(StatusCode::OK, &body))
}
