//! Data agreements.

use std::collections::BTreeMap;

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

/// The earlier text whose answers an agreement says it takes over, if it says so.
async fn compatible_with(
    call: &Call,
    one: &pb::DataAgreement,
    published: bool,
) -> Result<Option<Value>, Fault> {
    let declared = !one.compatible_with_version_id.is_empty();
    let Some(revision_id) = one.compatible_revision_ids.first().filter(|_| declared) else {
        return Ok(None);
    };
    let entry = call.enter().await?;
    let message = pb::GetDataAgreementRequest {
        data_agreement_id: one.data_agreement_id.clone(),
        revision_id: revision_id.clone(),
        published,
    };
    let answer = call
        .agreements()
        .get_data_agreement(entry.request(message))
        .await?
        .into_inner();
    let earlier = answer.data_agreement.as_ref();
    Ok(earlier.map(|one| output::agreement(one, true)))
}

async fn read_as(call: Call, published: bool) -> Answer {
    let answer = find(&call, published).await?;
    let mut body = shown(answer.data_agreement.as_ref(), answer.revision.as_ref());
    if let Some(one) = &answer.data_agreement
        && let Some(earlier) = compatible_with(&call, one, published).await?
    {
        body["dataAgreement"]["compatibleWithVersion"] = earlier;
    }
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn read(call: Call) -> Answer {
    read_as(call, false).await
}

pub(crate) async fn read_published(call: Call) -> Answer {
    read_as(call, true).await
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

/// Adds an attribute to the latest content, as a draft.
pub(crate) async fn add_attribute(call: Call) -> Answer {
    let entry = call.enter().await?;
    let attribute = input::wrapped(&call.object()?, "dataAttribute", reading::attribute)?;
    let mut agreement = find(&call, false).await?.data_agreement.unwrap_or_default();
    let etag = match call.etag() {
        // Whoever writes meanwhile is not overwritten.
        sent if sent.is_empty() => agreement.revision_id.clone(),
        sent => sent,
    };
    let name = attribute.name.clone();
    agreement.attributes.push(attribute);
    let message = pb::ReplaceDataAgreementRequest {
        data_agreement: Some(agreement),
        publish: false,
        etag,
        request_id: call.request_id(),
    };
    let answer = call
        .agreements()
        .replace_data_agreement(entry.request(message))
        .await?
        .into_inner();
    let agreement = answer.data_agreement.unwrap_or_default();
    let added = agreement.attributes.iter().find(|one| one.name == name);
    let body = json!({
        "dataAttribute": added.map(output::attribute),
        "revision": output::maybe_revision(answer.revision.as_ref()),
    });
    Ok(respond::json(StatusCode::OK, &body))
}

/// Agreements that are looked through for the organisations that they name.
const MAX_AGREEMENTS: usize = 20_000;

/// The organisations that agreements name, each as the newest agreement tells of it.
async fn all_controllers(call: &Call) -> Result<Vec<pb::Controller>, Fault> {
    let entry = call.enter().await?;
    let mut found = BTreeMap::new();
    let (mut page_token, mut looked) = (String::new(), 0);
    loop {
        let message = pb::ListDataAgreementsRequest {
            page_size: 1_000,
            page_token,
            ..pb::ListDataAgreementsRequest::default()
        };
        let answer = call
            .agreements()
            .list_data_agreements(entry.request(message))
            .await?
            .into_inner();
        looked += answer.data_agreements.len();
        let named = answer.data_agreements.into_iter();
        for one in named.filter_map(|agreement| agreement.controller) {
            found.entry(one.controller_id.clone()).or_insert(one);
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() || looked >= MAX_AGREEMENTS {
            return Ok(found.into_values().collect());
        }
    }
}

pub(crate) async fn controllers(call: Call) -> Answer {
    let paging = call.paging()?;
    let all = all_controllers(&call).await?;
    let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
    let skip = usize::try_from(paging.offset).unwrap_or(usize::MAX);
    let rows = paging.cut(all.into_iter().skip(skip).collect());
    let rows: Vec<Value> = rows.iter().map(output::controller).collect();
    let shown_to = i64::from(paging.offset) + i64::try_from(rows.len()).unwrap_or(0);
    let mut page = paging.member("", paging.count.then_some(total));
    page["hasNext"] = json!(shown_to < total);
    let body = output::page("controllers", rows, page);
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn controller(call: Call) -> Answer {
    let wanted = call.id("controllerId")?;
    let all = all_controllers(&call).await?;
    let found = all.iter().find(|one| one.controller_id == wanted);
    let found = found.ok_or_else(|| {
        let text = "no agreement names such an organisation";
        Fault::bad("controller_not_found", text)
    })?;
    let body = json!({ "controller": output::controller(found) });
    Ok(respond::json(StatusCode::OK, &body))
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
