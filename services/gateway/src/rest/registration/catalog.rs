//! Services and their forms.

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use publica_proto::registration::v1 as pb;
use publica_proto::registration::v1::catalog_service_client::CatalogServiceClient;
use serde::Deserialize;
use serde_json::Value;

use super::answer;
use super::error::SystemError;
use crate::body::{Params, QueryPairs, RawBody};
use crate::convert::idempotency_key;
use crate::respond;
use crate::state::{Entry, GatewayState};

const BLOCK: &str = "registration";

fn client(state: &GatewayState) -> CatalogServiceClient<publica_rpc::Link> {
    CatalogServiceClient::new(state.link(BLOCK))
}

/// Turns the result of a handler into its answer.
pub(super) fn finish(headers: &HeaderMap, result: Result<Response, SystemError>) -> Response {
    result.unwrap_or_else(|error| error.traced(headers).answer())
}

/// `GET /services`
pub(super) async fn list(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        let mut services: Vec<pb::Service> = Vec::new();
        let mut request = pb::ListServicesRequest {
            name: query.get("name").unwrap_or_default().to_owned(),
            page_size: 1_000,
            page_token: String::new(),
        };
        loop {
            let page = client(&state)
                .list_services(entry.request(request.clone()))
                .await?;
            let page = page.into_inner();
            services.extend(page.services);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        let shown: Vec<_> = services.iter().map(answer::service).collect();
        Ok(respond::json(StatusCode::OK, &shown))
    };
    finish(&headers, work.await)
}

async fn find_service(
    state: &GatewayState,
    entry: &Entry,
    params: &Params,
) -> Result<pb::Service, SystemError> {
    let service_id = params.id("serviceId");
    let request = entry.request(pb::GetServiceRequest { service_id });
    let found = client(state).get_service(request).await?.into_inner();
    Ok(found.service.unwrap_or_default())
}

async fn find_form(
    state: &GatewayState,
    entry: &Entry,
    params: &Params,
) -> Result<pb::EForm, SystemError> {
    let eform_id = params.id("eFormId");
    let request = entry.request(pb::GetEFormRequest { eform_id });
    let found = client(state).get_e_form(request).await?.into_inner();
    Ok(found.eform.unwrap_or_default())
}

/// `GET /services/{serviceId}`
pub(super) async fn read(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        let found = find_service(&state, &entry, &params).await?;
        Ok(respond::json(StatusCode::OK, &answer::service(&found)))
    };
    finish(&headers, work.await)
}

/// `GET /services/{serviceId}/eForms`
pub(super) async fn forms(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        let service_id = params.id("serviceId");
        let request = entry.request(pb::ListEFormsRequest { service_id });
        let found = client(&state).list_e_forms(request).await?.into_inner();
        let forms: Vec<Value> = found.eforms.iter().map(answer::eform_item).collect();
        Ok(respond::json(StatusCode::OK, &forms))
    };
    finish(&headers, work.await)
}

/// `GET /eForms/{eFormId}`
pub(super) async fn form(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        let found = find_form(&state, &entry, &params).await?;
        Ok(respond::json(StatusCode::OK, &answer::eform(&found)))
    };
    finish(&headers, work.await)
}

/// A verb that a path under a service does not have: 404 wins where there is no such service.
pub(super) async fn other_method_of_service(
    State(state): State<GatewayState>,
    method: Method,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        find_service(&state, &entry, &params).await?;
        Err(SystemError::method_not_allowed(&method))
    };
    finish(&headers, work.await)
}

/// A verb that a form does not have: 404 wins where there is no such form.
pub(super) async fn other_method_of_form(
    State(state): State<GatewayState>,
    method: Method,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        find_form(&state, &entry, &params).await?;
        Err(SystemError::method_not_allowed(&method))
    };
    finish(&headers, work.await)
}

/// `POST /api/v1/services`: the definition as its body.
pub(super) async fn publish(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        let request = pb::PublishServiceRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            definition_json: body.bytes()?,
        };
        let found = client(&state)
            .publish_service(entry.request(request))
            .await?
            .into_inner();
        Ok(respond::json(
            StatusCode::OK,
            &answer::service(&found.service.unwrap_or_default()),
        ))
    };
    finish(&headers, work.await)
}

#[derive(Deserialize)]
struct Open {
    open: bool,
}

/// `POST /api/v1/services/{serviceId}/open`
pub(super) async fn open(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    body: RawBody,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        let body: Open = body.parse_object()?;
        let request = pb::SetServiceOpenRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            service_id: params.id("serviceId"),
            open: body.open,
        };
        let found = client(&state)
            .set_service_open(entry.request(request))
            .await?
            .into_inner();
        Ok(respond::json(
            StatusCode::OK,
            &answer::service(&found.service.unwrap_or_default()),
        ))
    };
    finish(&headers, work.await)
}
