//! The work of operators.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use publica_proto::registration::v1 as pb;
use publica_proto::registration::v1::task_service_client::TaskServiceClient;
use serde_json::{Map, Value};

use super::answer;
use super::applications::{list_answer, page};
use super::catalog::finish;
use super::error::SystemError;
use crate::body::{BodyFault, Params, QueryPairs, RawBody};
use crate::convert::idempotency_key;
use crate::respond;
use crate::state::{Entry, GatewayState};

fn client(state: &GatewayState) -> TaskServiceClient<publica_rpc::Link> {
    TaskServiceClient::new(state.link("registration"))
}

/// `GET /tasks`
pub(super) async fn list(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        let page = page(&query)?;
        let request = pb::ListTasksRequest {
            main_task_id: query.get("mainTaskId").unwrap_or_default().to_owned(),
            file_id: query.get("fileId").unwrap_or_default().to_owned(),
            assignee_id: query.get("assigneeId").unwrap_or_default().to_owned(),
            first_result: page.first_result,
            max_result: page.max_result,
            sort_by: page.sort_by,
            sort_order: page.sort_order,
            open_only: query.get("open") == Some("true"),
        };
        let found = client(&state)
            .list_tasks(entry.request(request))
            .await?
            .into_inner();
        let items: Vec<Value> = found.tasks.iter().map(answer::task_item).collect();
        Ok(list_answer(&items, found.total_size))
    };
    finish(&headers, work.await)
}

async fn find(
    state: &GatewayState,
    entry: &Entry,
    params: &Params,
) -> Result<pb::Task, SystemError> {
    let task_id = params.get("taskId").unwrap_or_default().to_owned();
    let found = client(state)
        .get_task(entry.request(pb::GetTaskRequest { task_id }))
        .await?;
    Ok(found.into_inner().task.unwrap_or_default())
}

/// `GET /tasks/{taskId}`
pub(super) async fn read(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        Ok(respond::json(
            StatusCode::OK,
            &answer::task(&find(&state, &entry, &params).await?),
        ))
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
        let mut response = SystemError::method_not_allowed(&method)
            .traced(&headers)
            .answer();
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET,HEAD,POST"));
        Ok(response)
    };
    finish(&headers, work.await)
}

/// `POST /tasks/{taskId}/complete`: the decision travels in `data.decision`.
pub(super) async fn complete(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    body: RawBody,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        // Without a body the role's default outcome is meant.
        let body: Map<String, Value> = match body.parse() {
            Err(BodyFault::Missing) => Map::new(),
            other => other?,
        };
        let mut data = match body.get("data") {
            None => Map::new(),
            Some(Value::Object(data)) => data.clone(),
            Some(_) => return Err(SystemError::invalid("/data", "an object is expected")),
        };
        let decision = data.remove("decision").unwrap_or_default();
        let text = |name: &str| {
            decision
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let outcome = match text("code") {
            "" => pb::Outcome::Unspecified,
            "APPROVED" => pb::Outcome::Approved,
            "SENDBACK" => pb::Outcome::SentBack,
            "REJECTED" => pb::Outcome::Rejected,
            _ => {
                let expected = "APPROVED, SENDBACK or REJECTED is expected";
                return Err(SystemError::invalid("/data/decision/code", expected));
            }
        };
        let marks = decision.get("marks").and_then(Value::as_array);
        let request = pb::CompleteTaskRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            task_id: params.get("taskId").unwrap_or_default().to_owned(),
            outcome: outcome.into(),
            text: text("text").to_owned(),
            marks: marks
                .into_iter()
                .flatten()
                .filter_map(|mark| mark.as_str().map(str::to_owned))
                .collect(),
            data_json: serde_json::to_vec(&data).unwrap_or_default().into(),
        };
        let done = client(&state)
            .complete_task(entry.request(request))
            .await?
            .into_inner();
        Ok(respond::json(
            StatusCode::OK,
            &answer::completed(&done.task.unwrap_or_default()),
        ))
    };
    finish(&headers, work.await)
}

/// `POST /api/v1/tasks/{taskId}/claim`; `{"release": true}` gives it back.
pub(super) async fn claim(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    body: RawBody,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        let body: Map<String, Value> = match body.parse() {
            Err(BodyFault::Missing) => Map::new(),
            other => other?,
        };
        let request = pb::ClaimTaskRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            task_id: params.get("taskId").unwrap_or_default().to_owned(),
            release: body
                .get("release")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        };
        let done = client(&state)
            .claim_task(entry.request(request))
            .await?
            .into_inner();
        Ok(respond::json(
            StatusCode::OK,
            &answer::task_item(&done.task.unwrap_or_default()),
        ))
    };
    finish(&headers, work.await)
}
