//! The work of operators.

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use publica_proto::registration::v1 as pb;
use publica_proto::registration::v1::task_service_client::TaskServiceClient;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::answer;
use super::applications::{json_only, list_answer, page};
use super::catalog::finish;
use super::error::SystemError;
use crate::body::{self, BodyFault, Params, QueryPairs, RawBody};
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
            sort_by: page.sort_by.clone(),
            sort_order: page.sort_order.clone(),
            open_only: query.get("open") == Some("true"),
        };
        let found = client(&state)
            .list_tasks(entry.request(request))
            .await?
            .into_inner();
        let items: Vec<Value> = found.tasks.iter().map(answer::task_item).collect();
        Ok(list_answer(&query, &page, &items, found.total_size))
    };
    finish(&headers, work.await)
}

async fn find(
    state: &GatewayState,
    entry: &Entry,
    params: &Params,
) -> Result<pb::Task, SystemError> {
    let task_id = params.id("taskId");
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
        Err(SystemError::method_not_allowed(&method))
    };
    finish(&headers, work.await)
}

/// `additionalData`, whose values are objects.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Complete {
    data: Option<Map<String, Value>>,
}

/// The decision as it travels in `data.decision`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Decision {
    code: Option<String>,
    text: Option<String>,
    marks: Option<Vec<String>>,
}

/// Where members go that are no containers.
const CONTAINER: &str = "form";

/// What a role decided and recorded. Without a body the role's default outcome is meant.
fn decision(headers: &HeaderMap, body: RawBody) -> Result<pb::CompleteTaskRequest, SystemError> {
    json_only(headers)?;
    let body: Complete = match body.parse_object() {
        Err(BodyFault::Missing) => Complete::default(),
        other => other?,
    };
    let mut data = body.data.unwrap_or_default();
    let decision = match data.remove("decision") {
        None | Some(Value::Null) => Decision::default(),
        Some(decision) => {
            let bytes = decision.to_string().into_bytes();
            body::parse_object(&bytes).map_err(|fault| match fault {
                BodyFault::Malformed { member, reason } => BodyFault::Malformed {
                    member: format!("data.decision.{member}"),
                    reason,
                },
                other => other,
            })?
        }
    };
    let outcome = match decision.code.as_deref().unwrap_or_default() {
        "" => pb::Outcome::Unspecified,
        "APPROVED" => pb::Outcome::Approved,
        "SENDBACK" => pb::Outcome::SentBack,
        "REJECTED" => pb::Outcome::Rejected,
        _ => {
            let expected = "APPROVED, SENDBACK or REJECTED is expected";
            return Err(SystemError::invalid("/data/decision/code", expected));
        }
    };
    Ok(pb::CompleteTaskRequest {
        outcome: outcome.into(),
        text: decision.text.unwrap_or_default(),
        marks: decision.marks.unwrap_or_default(),
        data_json: serde_json::to_vec(&contained(data))
            .unwrap_or_default()
            .into(),
        ..pb::CompleteTaskRequest::default()
    })
}

/// Puts members that are no containers into one; absent ones are dropped.
fn contained(data: Map<String, Value>) -> Map<String, Value> {
    let mut grouped = Map::new();
    let mut loose = Map::new();
    for (name, value) in data {
        match value {
            Value::Null => {}
            Value::Object(_) => {
                grouped.insert(name, value);
            }
            value => {
                loose.insert(name, value);
            }
        }
    }
    if !loose.is_empty() {
        let group = grouped
            .entry(CONTAINER)
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(group) = group {
            for (name, value) in loose {
                group.entry(name).or_insert(value);
            }
        }
    }
    grouped
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
        let request = pb::CompleteTaskRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            task_id: params.id("taskId"),
            ..decision(&headers, body)?
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

#[derive(Default, Deserialize)]
#[serde(default)]
struct Claim {
    release: bool,
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
        json_only(&headers)?;
        let body: Claim = match body.parse_object() {
            Err(BodyFault::Missing) => Claim::default(),
            other => other?,
        };
        let request = pb::ClaimTaskRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            task_id: params.id("taskId"),
            release: body.release,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_always_objects() {
        let data = json!({"form": {"a": 1}, "a": 2, "note": "x", "other": {"b": []}, "c": null});
        let grouped = contained(data.as_object().unwrap().clone());
        let expected = json!({"form": {"a": 1, "note": "x"}, "other": {"b": []}});
        assert_eq!(Value::Object(grouped), expected);
    }
}
