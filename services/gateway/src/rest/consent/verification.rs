//! Verification: what consumers of data may know.

use axum::http::StatusCode;
use publica_proto::consent::v1 as pb;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::error::Fault;
use super::{agreements, input, output, reading};
use crate::respond;
use crate::state::Entry;

pub(crate) async fn agreements(call: Call) -> Answer {
    let (rows, page) = agreements::page(&call, true).await?;
    let body = output::page("dataAgreements", rows, page);
    Ok(respond::json(StatusCode::OK, &body))
}

/// The person that the query names, directly or by an external id. None is known when the
/// external id is not.
async fn person(call: &Call, entry: &Entry) -> Result<Option<String>, Fault> {
    let id = call.query_id("individualId")?;
    let external_id = call.text("externalId");
    if !id.is_empty() || external_id.is_empty() {
        return Ok(Some(id));
    }
    let message = pb::ListIndividualsRequest {
        external_id,
        external_id_type: call.text("externalIdType"),
        identity_provider_id: call.text("identityProviderId"),
        page_size: 1,
        ..pb::ListIndividualsRequest::default()
    };
    let answer = call
        .people()
        .list_individuals(entry.request(message))
        .await?
        .into_inner();
    Ok(answer
        .individuals
        .into_iter()
        .next()
        .map(|one| one.individual_id))
}

/// What the query asks for; nothing when it names a person who is not known.
pub(crate) async fn request(
    call: &Call,
    entry: &Entry,
    current_only: bool,
) -> Result<Option<pb::ListConsentRecordsRequest>, Fault> {
    let paging = call.paging()?;
    let state = reading::state_in_query(&call.text("state"));
    let state = state.ok_or_else(|| {
        Fault::member(
            "state",
            "must be unsigned, pending more signatures or signed",
        )
    })?;
    let basis = reading::basis_in_query(&call.text("lawfulBasis"));
    let basis = basis.ok_or_else(|| Fault::member("lawfulBasis", "is not a known value"))?;
    let Some(individual_id) = person(call, entry).await? else {
        return Ok(None);
    };
    Ok(Some(pb::ListConsentRecordsRequest {
        individual_id,
        data_agreement_id: call.query_id("dataAgreementId")?,
        data_agreement_revision_id: call.query_id("revisionId")?,
        opt_in: call.flag("optIn")?,
        state,
        policy_id: call.query_id("policyId")?,
        lawful_basis: basis,
        from_time: call.time("from")?,
        to_time: call.time("to")?,
        current_only,
        view: pb::RecordView::Full.into(),
        order: call.order()?,
        page_size: paging.size(),
        page_token: paging.cursor.clone(),
        skip: paging.offset,
        include_total: paging.count,
    }))
}

/// The records that the query asks for.
pub(crate) async fn page(call: &Call, current_only: bool) -> Answer {
    let entry = call.enter().await?;
    let paging = call.paging()?;
    let Some(message) = request(call, &entry, current_only).await? else {
        let page = paging.member("", paging.count.then_some(0));
        let body = json!({ "consentRecords": [], "pagination": page });
        return Ok(respond::json(StatusCode::OK, &body));
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

pub(crate) async fn records(call: Call) -> Answer {
    page(&call, true).await
}

/// One record with its latest revision.
pub(crate) async fn find(call: &Call) -> Result<pb::GetConsentRecordResponse, Fault> {
    let entry = call.enter().await?;
    let message = pb::GetConsentRecordRequest {
        consent_record_id: call.id("consentRecordId")?,
        view: pb::RecordView::Full.into(),
        ..pb::GetConsentRecordRequest::default()
    };
    Ok(call
        .records()
        .get_consent_record(entry.request(message))
        .await?
        .into_inner())
}

/// The record with this id, if there is one.
pub(crate) async fn by_id(call: &Call, id: String) -> Result<Option<pb::ConsentRecord>, Fault> {
    let entry = call.enter().await?;
    let message = pb::GetConsentRecordRequest {
        consent_record_id: id,
        view: pb::RecordView::Full.into(),
        ..pb::GetConsentRecordRequest::default()
    };
    match call
        .records()
        .get_consent_record(entry.request(message))
        .await
    {
        Ok(found) => Ok(found.into_inner().consent_record),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
        Err(status) => Err(status.into()),
    }
}

pub(crate) async fn record(call: Call) -> Answer {
    let found = find(&call).await?;
    let body = json!({
        "consentRecord": found.consent_record.as_ref().map(output::record),
        "revision": output::maybe_revision(found.revision.as_ref()),
    });
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn check(call: Call) -> Answer {
    let entry = call.enter().await?;
    let question = input::whole(&call.object()?, "", reading::question)?;
    let answer = call
        .decisions()
        .check_consent(entry.request(question))
        .await?
        .into_inner();
    Ok(respond::json(StatusCode::OK, &output::decision(&answer)))
}

pub(crate) async fn check_batch(call: Call) -> Answer {
    let entry = call.enter().await?;
    let checks = input::whole(&call.object()?, "", |input| {
        input
            .children("checks")
            .iter()
            .map(reading::question)
            .collect()
    })?;
    let message = pb::BatchCheckConsentRequest { checks };
    let answer = call
        .decisions()
        .batch_check_consent(entry.request(message))
        .await?;
    let decisions: Vec<Value> = answer
        .into_inner()
        .decisions
        .iter()
        .map(output::decision)
        .collect();
    Ok(respond::json(
        StatusCode::OK,
        &json!({ "decisions": decisions }),
    ))
}
