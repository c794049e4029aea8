//! Everything about one person, and everything for auditors, to carry away.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::{StreamExt as _, stream};
use publica_proto::consent::v1 as pb;
use publica_proto::journal::v1 as journal;
use serde_json::{Value, json};
use tonic::Status;

use super::call::{Answer, Call};
use super::error::Fault;
use super::{output, verification};
use crate::convert::rfc3339;
use crate::respond;
use crate::state::Entry;

/// Rows that are asked for at a time.
const CHUNK: i32 = 500;
/// Marks the page tokens of delegations that the person holds.
const HELD: &str = "held:";

fn event(one: &pb::ConsentEvent) -> Value {
    let mut shown = json!({ "id": one.entry_id, "action": one.action, "actor": one.actor });
    for (name, value) in [
        ("timestamp", rfc3339(one.time.as_ref()).unwrap_or_default()),
        ("consentRecordId", one.consent_record_id.clone()),
        ("dataAgreementId", one.data_agreement_id.clone()),
        ("consumer", one.consumer.clone()),
        ("byIndividualId", one.by_individual_id.clone()),
        ("delegationId", one.delegation_id.clone()),
        ("delegateIndividualId", one.delegate_individual_id.clone()),
    ] {
        if !value.is_empty() {
            shown[name] = json!(value);
        }
    }
    if let Some(allowed) = one.allowed {
        shown["allowed"] = json!(allowed);
        shown["reasons"] = json!(one.reasons);
    }
    shown
}

/// What happened to a person's consent, and who asked to use their data, newest first.
pub(crate) async fn history(call: Call) -> Answer {
    let entry = call.enter().await?;
    let paging = call.paging()?;
    let message = pb::ListConsentHistoryRequest {
        individual_id: call.individual(&entry)?,
        page_size: paging.size(),
        page_token: paging.cursor.clone(),
    };
    let answer = call
        .records()
        .list_consent_history(entry.request(message))
        .await?
        .into_inner();
    let page = paging.member(&answer.next_page_token, None);
    let events: Vec<Value> = paging.cut(answer.events).iter().map(event).collect();
    let mut body = output::page("events", events, page);
    body["individualId"] = json!(answer.individual_id);
    Ok(respond::json(StatusCode::OK, &body))
}

/// The members of a list as the text of a JSON document takes them: each behind a comma, but for
/// the first of all.
fn members(first: &mut bool, rows: impl Iterator<Item = Value>) -> Bytes {
    let mut text = String::new();
    for row in rows {
        if !std::mem::take(first) {
            text.push(',');
        }
        text.push_str(&row.to_string());
    }
    Bytes::from(text)
}

/// One page of records of a person, with their texts and signatures, and all their revisions.
async fn records(
    call: &Call,
    entry: &Entry,
    id: &str,
    page_token: String,
) -> Result<(Vec<Value>, String), Status> {
    let message = pb::ListConsentRecordsRequest {
        individual_id: id.to_owned(),
        view: pb::RecordView::Full.into(),
        page_size: CHUNK,
        page_token,
        ..pb::ListConsentRecordsRequest::default()
    };
    let answer = call
        .records()
        .list_consent_records(entry.request(message))
        .await?
        .into_inner();
    let mut told = Vec::with_capacity(answer.consent_records.len());
    for record in &answer.consent_records {
        let mut shown = output::record(record);
        let chain = revisions(call, entry, &record.consent_record_id).await?;
        shown["revisions"] = json!(chain);
        told.push(shown);
    }
    Ok((told, answer.next_page_token))
}

/// All revisions of a record, oldest first.
async fn revisions(call: &Call, entry: &Entry, record_id: &str) -> Result<Vec<Value>, Status> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let message = pb::ListRevisionsRequest {
            schema: pb::Schema::ConsentRecord.into(),
            object_id: record_id.to_owned(),
            order: pb::SortOrder::Ascending.into(),
            page_size: CHUNK,
            page_token,
            ..pb::ListRevisionsRequest::default()
        };
        let answer = call
            .revisions()
            .list_revisions(entry.request(message))
            .await?
            .into_inner();
        all.extend(answer.revisions.iter().map(output::revision));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// One page of what happened to a person's consent.
async fn events(
    call: &Call,
    entry: &Entry,
    id: &str,
    page_token: String,
) -> Result<(Vec<Value>, String), Status> {
    let message = pb::ListConsentHistoryRequest {
        individual_id: id.to_owned(),
        page_size: CHUNK,
        page_token,
    };
    let answer = call
        .records()
        .list_consent_history(entry.request(message))
        .await?
        .into_inner();
    let rows = answer.events.iter().map(event).collect();
    Ok((rows, answer.next_page_token))
}

/// One page of the delegations over a person, and behind them of those that they hold.
async fn delegations(
    call: &Call,
    entry: &Entry,
    id: &str,
    page_token: String,
) -> Result<(Vec<Value>, String), Status> {
    let held = page_token.strip_prefix(HELD);
    let (individual, delegate) = match held {
        Some(_) => ("", id),
        None => (id, ""),
    };
    let message = pb::ListDelegationsRequest {
        individual_id: individual.to_owned(),
        delegate_individual_id: delegate.to_owned(),
        page_size: CHUNK,
        page_token: held.unwrap_or(&page_token).to_owned(),
        skip: 0,
    };
    let answer = call
        .delegations()
        .list_delegations(entry.request(message))
        .await?
        .into_inner();
    let rows = answer.delegations.iter().map(output::delegation).collect();
    let next = match (held, answer.next_page_token.as_str()) {
        (Some(_), "") => String::new(),
        (Some(_), next) => format!("{HELD}{next}"),
        (None, "") => HELD.to_owned(),
        (None, next) => next.to_owned(),
    };
    Ok((rows, next))
}

/// Refuses whoever may not see all of it, while that can still be said.
async fn check_all(call: &Call, entry: &Entry, id: &str) -> Result<(), Fault> {
    let message = pb::ListConsentHistoryRequest {
        individual_id: id.to_owned(),
        page_size: 1,
        page_token: String::new(),
    };
    call.records()
        .list_consent_history(entry.request(message))
        .await?;
    let message = pb::ListDelegationsRequest {
        individual_id: id.to_owned(),
        page_size: 1,
        ..pb::ListDelegationsRequest::default()
    };
    call.delegations()
        .list_delegations(entry.request(message))
        .await?;
    Ok(())
}

/// Members of the export that are not lists.
async fn person_alone(call: &Call, entry: &Entry, id: &str) -> Result<(String, Value), Fault> {
    let message = pb::GetIndividualRequest {
        individual_id: id.to_owned(),
    };
    let individual = call
        .people()
        .get_individual(entry.request(message))
        .await?
        .into_inner();
    let individual = individual.individual.unwrap_or_default();
    let id = individual.individual_id.clone();
    let message = pb::ListSigningKeysRequest {
        individual_id: id.clone(),
    };
    let keys = call
        .people()
        .list_signing_keys(entry.request(message))
        .await?
        .into_inner();
    let message = pb::GetNotificationPreferenceRequest {
        individual_id: id.clone(),
    };
    let preference = call
        .people()
        .get_notification_preference(entry.request(message))
        .await?
        .into_inner();
    let body = json!({
        "individual": output::individual(&individual),
        "keys": keys.keys.iter().map(output::key).collect::<Vec<_>>(),
        "notifications": { "enabled": preference.enabled },
    });
    Ok((id, body))
}

/// Writes one list of the export, page by page.
macro_rules! list {
    ($name:literal, $token:ident => $page:expr) => {
        async_stream::try_stream! {
            yield Bytes::from(concat!(",\"", $name, "\":["));
            let (mut first, mut $token) = (true, String::new());
            loop {
                let (rows, next) = $page.await.map_err(broken)?;
                yield members(&mut first, rows.into_iter());
                if next.is_empty() {
                    break;
                }
                $token = next;
            }
            yield Bytes::from_static(b"]");
        }
    };
}

/// The answer has begun; breaking it off is all that is left to say.
fn broken(status: Status) -> std::io::Error {
    std::io::Error::other(status.code().description())
}

/// Everything that is kept about a person, in one document (GDPR articles 15 and 20). It is read
/// page by page while it is sent, and ends with a brace only if nothing is missing.
pub(crate) async fn person(call: Call) -> Answer {
    let entry = call.enter().await?;
    let named = call.individual(&entry)?;
    let (id, alone) = person_alone(&call, &entry, &named).await?;
    check_all(&call, &entry, &id).await?;
    let head = alone.to_string();
    let head = head.strip_suffix('}').unwrap_or(&head).to_owned();
    let shared = Arc::new((call, entry, id));
    let (a, b, c) = (shared.clone(), shared.clone(), shared);
    let body = stream::iter([Ok::<Bytes, std::io::Error>(Bytes::from(head))])
        .chain(list!("consentRecords", token => records(&a.0, &a.1, &a.2, token)))
        .chain(list!("delegations", token => delegations(&b.0, &b.1, &b.2, token)))
        .chain(list!("events", token => events(&c.0, &c.1, &c.2, token)))
        .chain(stream::iter([Ok(Bytes::from_static(b"}"))]));
    let mut response =
        respond::bytes_answer(StatusCode::OK, respond::JSON, Body::from_stream(body));
    let name = HeaderValue::from_static("attachment; filename=\"consent-export.json\"");
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

/// Records that the query asks for, a line each, for tools that read NDJSON. Read page by page
/// while it is sent, so its size does not matter.
pub(crate) async fn audit(call: Call) -> Answer {
    let entry = call.enter().await?;
    let first = verification::request(&call, &entry, false).await?;
    let Some(mut message) = first else {
        return Ok(ndjson(Body::empty()));
    };
    message.page_size = CHUNK;
    // What is wrong with the question is said before the first line.
    let answer = call
        .records()
        .list_consent_records(entry.request(message.clone()))
        .await?;
    let mut page = answer.into_inner();
    let lines = async_stream::stream! {
        loop {
            let mut text = String::new();
            for record in &page.consent_records {
                text.push_str(&output::record(record).to_string());
                text.push('\n');
            }
            yield Ok::<Bytes, std::io::Error>(Bytes::from(text));
            if page.next_page_token.is_empty() {
                break;
            }
            message.page_token.clone_from(&page.next_page_token);
            message.skip = 0;
            let mut records = call.records();
            let next = records.list_consent_records(entry.request(message.clone()));
            match next.await {
                Ok(next) => page = next.into_inner(),
                Err(status) => {
                    yield Err(broken(status));
                    break;
                }
            }
        }
    };
    Ok(ndjson(Body::from_stream(lines)))
}

fn ndjson(body: Body) -> Response {
    let kind = HeaderValue::from_static("application/x-ndjson");
    respond::bytes_answer(StatusCode::OK, kind, body)
}

/// The signed head of the block's log: who keeps it can prove what the log held then.
pub(crate) async fn head(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = journal::GetCheckpointRequest::default();
    let answer = call
        .journal()
        .get_checkpoint(entry.request(message))
        .await?
        .into_inner();
    let note = answer.checkpoint.map(|one| one.note).unwrap_or_default();
    Ok(respond::json(
        StatusCode::OK,
        &json!({ "checkpoint": note }),
    ))
}

/// Entries of the block's log, in order: who did what, administrators and people alike.
pub(crate) async fn log(call: Call) -> Answer {
    let entry = call.enter().await?;
    let paging = call.paging()?;
    let message = journal::ListEntriesRequest {
        page_size: paging.size(),
        page_token: paging.cursor.clone(),
        subject_id: call.query_id("objectId")?,
        from_position: i64::from(paging.offset),
        ..journal::ListEntriesRequest::default()
    };
    let answer = call
        .journal()
        .list_entries(entry.request(message))
        .await?
        .into_inner();
    let page = paging.member(&answer.next_page_token, None);
    let rows: Vec<Value> = paging.cut(answer.entries).iter().map(logged).collect();
    let body = output::page("entries", rows, page);
    Ok(respond::json(StatusCode::OK, &body))
}

fn logged(one: &journal::Entry) -> Value {
    let body = one.body.as_deref();
    let body = body.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let mut shown = json!({
        "id": one.entry_id,
        "position": one.position,
        "actor": one.actor,
        "action": one.action,
        "outcome": one.outcome().as_str_name().trim_start_matches("OUTCOME_").to_ascii_lowercase(),
        "objectKind": one.subject_kind,
        "objectId": one.subject_id,
    });
    for (name, value) in [
        (
            "timestamp",
            rfc3339(one.create_time.as_ref()).unwrap_or_default(),
        ),
        ("onBehalfOf", one.on_behalf_of.clone()),
        ("processId", one.process_id.clone()),
        ("traceId", one.trace_id.clone()),
    ] {
        if !value.is_empty() {
            shown[name] = json!(value);
        }
    }
    if let Some(body) = body {
        shown["body"] = body;
    }
    shown
}
