//! Application files.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use publica_proto::registration::v1 as pb;
use publica_proto::registration::v1::application_service_client::ApplicationServiceClient;
use publica_proto::registration::v1::registry_service_client::RegistryServiceClient;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer;
use super::catalog::finish;
use super::error::SystemError;
use crate::body::{self, Members, Params, QueryPairs, RawBody, is_json};
use crate::convert::{idempotency_key, parse_rfc3339, rfc3339};
use crate::respond;
use crate::state::{Entry, GatewayState};

fn client(state: &GatewayState) -> ApplicationServiceClient<publica_rpc::Link> {
    ApplicationServiceClient::new(state.link("registration"))
}

/// `applicationFileSubmit`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Submit {
    applicant_id: Option<String>,
    application_name: Option<String>,
    created: Option<String>,
    form_data: Option<Members<FormData>>,
    document_urls: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FormData {
    data: Option<Map<String, Value>>,
    #[serde(rename = "eFormId")]
    eform_id: Option<String>,
}

/// The four-part name of a client behind the mediator, checked where it is required.
pub(super) fn mediator_client(
    state: &GatewayState,
    headers: &HeaderMap,
) -> Result<(), SystemError> {
    let Some(value) = headers.get("information-mediator-client") else {
        // A caller with credentials of its own does not come through the mediator.
        let own = headers.contains_key(header::AUTHORIZATION);
        if own && state.profile() != publica_host::Profile::Conformance {
            return Ok(());
        }
        return Err(bad_mediator(
            "the header Information-Mediator-Client is required",
        ));
    };
    let plain = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !part.is_empty() && part.bytes().all(allowed)
    };
    let parts: Vec<&str> = value.to_str().unwrap_or_default().split('/').collect();
    if parts.len() == 4 && parts.iter().all(|part| plain(part)) {
        Ok(())
    } else {
        Err(bad_mediator(
            "Information-Mediator-Client is INSTANCE/CLASS/MEMBER/SUBSYSTEM",
        ))
    }
}

fn bad_mediator(message: &str) -> SystemError {
    SystemError::new(StatusCode::BAD_REQUEST, "invalid_mediator_client", message)
}

/// A body that names its media type must be JSON.
pub(super) fn json_only(headers: &HeaderMap) -> Result<(), SystemError> {
    if is_json(headers) {
        return Ok(());
    }
    Err(SystemError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "application/json is expected",
    ))
}

/// A submission from JSON or from a form of an older client.
fn submission(headers: &HeaderMap, body: RawBody) -> Result<Submit, SystemError> {
    let bytes = body.bytes()?;
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    if content_type.starts_with("application/x-www-form-urlencoded") {
        let text = std::str::from_utf8(&bytes).map_err(|_| body::BodyFault::NotUtf8)?;
        let pairs = QueryPairs::parse(text);
        let take = |name: &str| pairs.get(name).map(str::to_owned);
        return Ok(Submit {
            applicant_id: take("applicantId"),
            application_name: take("applicationName"),
            created: take("created"),
            ..Submit::default()
        });
    }
    json_only(headers)?;
    Ok(body::parse_object(&bytes)?)
}

fn form_json(data: Option<&Members<FormData>>) -> Vec<u8> {
    data.and_then(|data| data.0.data.as_ref())
        .and_then(|data| serde_json::to_vec(data).ok())
        .unwrap_or_default()
}

/// `POST /services/{serviceId}/applications`
pub(super) async fn submit(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    body: RawBody,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        mediator_client(&state, &headers)?;
        let submit = submission(&headers, body)?;
        let applicant_id = submit
            .applicant_id
            .clone()
            .filter(|id| !id.is_empty())
            .ok_or_else(|| SystemError::invalid("/applicantId", "a value is required"))?;
        let create_time = match &submit.created {
            None => None,
            Some(text) => Some(
                parse_rfc3339(text)
                    .ok_or_else(|| SystemError::invalid("/created", "not an RFC 3339 time"))?,
            ),
        };
        let form = submit.form_data.as_ref();
        let request = pb::SubmitApplicationRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            service_id: params.id("serviceId"),
            applicant_id,
            application_name: submit.application_name.clone().unwrap_or_default(),
            create_time,
            eform_id: form
                .and_then(|form| form.0.eform_id.clone())
                .unwrap_or_default(),
            form_json: form_json(form).into(),
            document_urls: submit.document_urls.unwrap_or_default(),
        };
        let done = client(&state)
            .submit_application(entry.request(request))
            .await?;
        Ok(one(done.into_inner().application))
    };
    finish(&headers, work.await)
}

fn one(application: Option<pb::Application>) -> Response {
    let application = application.unwrap_or_default();
    let mut response = respond::json(StatusCode::OK, &answer::application(&application));
    if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", application.etag)) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// The published paging and sorting, checked before the block is asked.
pub(super) struct Page {
    pub(super) first_result: i32,
    pub(super) max_result: i32,
    pub(super) sort_by: String,
    pub(super) sort_order: String,
}

const SORT_KEYS: &[&str] = &[
    "instanceId",
    "caseInstanceId",
    "dueDate",
    "executionId",
    "caseExecutionId",
    "assignee",
    "created",
    "description",
    "id",
    "name",
    "nameCaseInsensitive",
    "priority",
];

pub(super) fn page(query: &QueryPairs) -> Result<Page, SystemError> {
    let number = |name: &str, least: i32, most: i32| match query.get(name) {
        None => Ok(0),
        Some(text) => text
            .parse::<i32>()
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| {
                let expected = format!("{least} to {most} is expected");
                SystemError::invalid(&format!("/{name}"), &expected)
            }),
    };
    let sort_by = query.get("sortBy").unwrap_or_default();
    if !sort_by.is_empty() && !SORT_KEYS.contains(&sort_by) {
        return Err(SystemError::invalid("/sortBy", "an unknown sort key"));
    }
    let sort_order = query.get("sortOrder").unwrap_or_default();
    if !["", "asc", "desc"].contains(&sort_order) {
        return Err(SystemError::invalid(
            "/sortOrder",
            "asc or desc is expected",
        ));
    }
    Ok(Page {
        first_result: number("firstResult", 0, i32::MAX)?,
        max_result: number("maxResult", 1, 500)?,
        sort_by: sort_by.to_owned(),
        sort_order: sort_order.to_owned(),
    })
}

/// A bare array. The total, unless there are too many to count, and the way to the next page
/// stand in headers.
pub(super) fn list_answer(
    query: &QueryPairs,
    page: &Page,
    items: &[Value],
    total: i64,
) -> Response {
    let mut response = respond::json(StatusCode::OK, items);
    let headers = response.headers_mut();
    if total >= 0 {
        headers.insert("x-total-count", HeaderValue::from(total));
    }
    let next = i64::from(page.first_result) + i64::try_from(items.len()).unwrap_or(i64::MAX);
    if !items.is_empty() && (total < 0 || next < total) {
        let mut link = form_urlencoded::Serializer::new(String::new());
        for (name, value) in query.iter().filter(|(name, _)| *name != "firstResult") {
            link.append_pair(name, value);
        }
        link.append_pair("firstResult", &next.to_string());
        if let Ok(link) = HeaderValue::try_from(format!("<?{}>; rel=\"next\"", link.finish())) {
            headers.insert(header::LINK, link);
        }
    }
    response
}

/// `GET /applications`
pub(super) async fn list(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        mediator_client(&state, &headers)?;
        let page = page(&query)?;
        let request = pb::ListApplicationsRequest {
            service_id: query.get("serviceId").unwrap_or_default().to_owned(),
            applicant_id: query.get("applicantId").unwrap_or_default().to_owned(),
            first_result: page.first_result,
            max_result: page.max_result,
            sort_by: page.sort_by.clone(),
            sort_order: page.sort_order.clone(),
            state: 0,
        };
        let found = client(&state)
            .list_applications(entry.request(request))
            .await?
            .into_inner();
        let items: Vec<Value> = found
            .applications
            .iter()
            .map(answer::application_item)
            .collect();
        Ok(list_answer(&query, &page, &items, found.total_size))
    };
    finish(&headers, work.await)
}

async fn find(
    state: &GatewayState,
    entry: &Entry,
    params: &Params,
) -> Result<pb::Application, SystemError> {
    let file_id = params.id("fileId");
    let request = entry.request(pb::GetApplicationRequest { file_id });
    let found = client(state).get_application(request).await?.into_inner();
    Ok(found.application.unwrap_or_default())
}

/// `GET /applications/{fileId}`
pub(super) async fn read(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        mediator_client(&state, &headers)?;
        Ok(one(Some(find(&state, &entry, &params).await?)))
    };
    finish(&headers, work.await)
}

/// `PUT /applications/{fileId}`
pub(super) async fn update(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    body: RawBody,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        mediator_client(&state, &headers)?;
        let submit = submission(&headers, body)?;
        let etag = headers
            .get(header::IF_MATCH)
            .and_then(|value| value.to_str().ok())
            .map(|text| text.trim_matches('"').to_owned())
            .filter(|etag| etag != "*");
        let form = submit.form_data.as_ref();
        let request = pb::UpdateApplicationRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            file_id: params.id("fileId"),
            applicant_id: submit.applicant_id.clone().unwrap_or_default(),
            application_name: submit.application_name.clone().unwrap_or_default(),
            eform_id: form
                .and_then(|form| form.0.eform_id.clone())
                .unwrap_or_default(),
            form_json: form_json(form).into(),
            document_urls: submit.document_urls.unwrap_or_default(),
            etag: etag.clone().unwrap_or_default(),
        };
        let done = client(&state)
            .update_application(entry.request(request))
            .await;
        let done = done.map_err(|status| match SystemError::from(status) {
            // Without a precondition nothing failed that the client asked for.
            error if etag.is_none() && error.is("stale_copy") => {
                error.under(StatusCode::CONFLICT, "changed_meanwhile")
            }
            error => error,
        })?;
        Ok(one(done.into_inner().application))
    };
    finish(&headers, work.await)
}

/// A verb that an item path does not have: 404 wins where the item does not exist.
pub(super) async fn other_method(
    State(state): State<GatewayState>,
    method: Method,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        find(&state, &entry, &params).await?;
        Err(SystemError::method_not_allowed(&method))
    };
    finish(&headers, work.await)
}

/// `POST /api/v1/applications/{fileId}/withdraw`
pub(super) async fn withdraw(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        let request = pb::WithdrawApplicationRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            file_id: params.id("fileId"),
        };
        let done = client(&state)
            .withdraw_application(entry.request(request))
            .await?;
        Ok(one(done.into_inner().application))
    };
    finish(&headers, work.await)
}

/// `GET /api/v1/applications/{fileId}/events`
pub(super) async fn events(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    query: QueryPairs,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        let request = pb::ListFileEventsRequest {
            file_id: params.id("fileId"),
            page_size: query
                .get("pageSize")
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            page_token: query.get("pageToken").unwrap_or_default().to_owned(),
        };
        let found = client(&state)
            .list_file_events(entry.request(request))
            .await?
            .into_inner();
        let events: Vec<Value> = found
            .events
            .iter()
            .map(|event| {
                json!({
                    "sequence": event.sequence,
                    "kind": event.kind,
                    "actor": event.actor,
                    "time": rfc3339(event.event_time.as_ref()),
                    "changedFields": event.changed_fields,
                })
            })
            .collect();
        let body = json!({"events": events, "nextPageToken": found.next_page_token});
        Ok(respond::json(StatusCode::OK, &body))
    };
    finish(&headers, work.await)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadRegister {
    person_id: String,
    data_agreement_id: String,
    fields: Vec<String>,
}

/// `POST /api/v1/registers/{register}/read`: the person is named in the body, not in the URL.
pub(super) async fn read_register(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    body: RawBody,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        let body: ReadRegister = body.parse_object()?;
        let request = pb::ReadEntryRequest {
            register: params.id("register"),
            person_id: body.person_id,
            data_agreement_id: body.data_agreement_id,
            fields: body.fields,
        };
        let mut client = RegistryServiceClient::new(state.link("registration"));
        let found = client
            .read_entry(entry.request(request))
            .await?
            .into_inner();
        let body = json!({
            "fields": answer::object(&found.fields_json),
            "consentRecordId": found.consent_record_id,
            "withheldFields": found.withheld_fields,
        });
        Ok(respond::json(StatusCode::OK, &body))
    };
    finish(&headers, work.await)
}
