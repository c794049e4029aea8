//! What is behind this gateway: the blocks, their health, descriptions of both their faces, and
//! the schemas of what can be brought in.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};
use publica_proto as proto;
use serde_json::{Value, json};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::body::Params;
use crate::problem::Problem;
use crate::rest::{self, SURFACES, Surface};
use crate::state::GatewayState;
use crate::{description, respond};

/// How long a block may take to say how it is. One that hangs must not keep the others from
/// being shown.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

const DESCRIPTORS: HeaderValue = HeaderValue::from_static("application/protobuf");
const SCHEMA_JSON: HeaderValue = HeaderValue::from_static("application/schema+json");

/// Paths of the shared listener.
pub(crate) fn router() -> Router<GatewayState> {
    Router::new()
        .route("/gateway/v1/blocks", get(blocks))
        .route("/gateway/v1/openapi/{block}", get(openapi))
        .route("/gateway/v1/grpc/{block}", get(grpc))
        .route("/gateway/v1/grpc/{block}/descriptors", get(descriptors))
        .route("/gateway/v1/imports", get(imports))
        .route("/gateway/v1/imports/{kind}", get(import_schema))
}

/// The blocks behind this gateway, their health, and where their interfaces are.
async fn blocks(State(state): State<GatewayState>) -> Response {
    let checks = SURFACES
        .iter()
        .filter(|surface| state.blocks().any(|block| block == surface.block))
        .map(|surface| describe(&state, surface));
    let blocks: Vec<Value> = futures::future::join_all(checks).await;
    let body = json!({"profile": state.profile().as_str(), "blocks": blocks});
    respond::json(StatusCode::OK, &body)
}

async fn describe(state: &GatewayState, surface: &Surface) -> Value {
    json!({
        "name": surface.block,
        "health": health(state, surface.block).await,
        "path": format!("/{}/", surface.block),
        "operations": surface.operations.len(),
        "description": format!("/gateway/v1/openapi/{}", surface.block),
        "services": surface.services,
        "grpcDescription": format!("/gateway/v1/grpc/{}", surface.block),
    })
}

async fn health(state: &GatewayState, block: &str) -> String {
    let mut client = HealthClient::new(state.link(block));
    let request = HealthCheckRequest {
        service: String::new(),
    };
    match tokio::time::timeout(HEALTH_LIMIT, client.check(request)).await {
        Ok(Ok(answer)) => answer.into_inner().status().as_str_name().to_owned(),
        Ok(Err(_)) | Err(_) => "UNREACHABLE".to_owned(),
    }
}

/// The OpenAPI document of one block's surface.
async fn openapi(params: Params) -> Response {
    let name = params.get("block").unwrap_or_default();
    match rest::surface(name.strip_suffix(".json").unwrap_or(name)) {
        Some(surface) => respond::json(
            StatusCode::OK,
            &description::openapi(surface.block, surface.operations),
        ),
        None => no_such_block(),
    }
}

/// The gRPC services of one block, by name, with their methods.
async fn grpc(params: Params) -> Response {
    let name = params.get("block").unwrap_or_default();
    let Some((surface, set)) = rest::surface(name).zip(definitions(name)) else {
        return no_such_block();
    };
    let body = json!({
        "block": surface.block,
        "services": services(set, surface.services),
        "descriptors": format!("/gateway/v1/grpc/{}/descriptors", surface.block),
    });
    respond::json(StatusCode::OK, &body)
}

/// The definitions of one block as a `FileDescriptorSet`, which generic clients read.
async fn descriptors(params: Params) -> Response {
    let name = params.get("block").unwrap_or_default();
    let Some(set) = definitions(name) else {
        return no_such_block();
    };
    let mut response = respond::bytes_answer(StatusCode::OK, DESCRIPTORS, set);
    let file = format!("attachment; filename=\"publica-{name}.binpb\"");
    if let Ok(file) = HeaderValue::try_from(file) {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_DISPOSITION, file);
    }
    response
}

/// The kinds of entities that the blocks behind this gateway take in, and where their schemas are.
async fn imports(State(state): State<GatewayState>) -> Response {
    let served = |block: &str| state.blocks().any(|served| served == block);
    let kinds: Vec<Value> = publica_imports::SCHEMAS
        .iter()
        .filter(|schema| served(schema.block()))
        .map(|schema| {
            json!({
                "kind": schema.kind,
                "block": schema.block(),
                "schema": format!("/gateway/v1/imports/{}", schema.kind),
            })
        })
        .collect();
    respond::json(StatusCode::OK, &json!({ "kinds": kinds }))
}

/// The JSON Schema of the lines of one kind.
async fn import_schema(params: Params) -> Response {
    let name = params.get("kind").unwrap_or_default();
    match publica_imports::schema(name.strip_suffix(".json").unwrap_or(name)) {
        Some(schema) => respond::bytes_answer(StatusCode::OK, SCHEMA_JSON, schema.text),
        None => {
            let what = "There is no such kind; /gateway/v1/imports lists them.";
            Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", what).answer()
        }
    }
}

fn definitions(block: &str) -> Option<&'static [u8]> {
    Some(match block {
        "identity" => proto::identity::v1::FILE_DESCRIPTOR_SET,
        "signature" => proto::signature::v1::FILE_DESCRIPTOR_SET,
        "payments" => proto::payments::v1::FILE_DESCRIPTOR_SET,
        "messaging" => proto::messaging::v1::FILE_DESCRIPTOR_SET,
        "registration" => proto::registration::v1::FILE_DESCRIPTOR_SET,
        "consent" => proto::consent::v1::FILE_DESCRIPTOR_SET,
        _ => return None,
    })
}

/// The wanted services as the definitions have them.
fn services(set: &[u8], wanted: &[&str]) -> Vec<Value> {
    let files = FileDescriptorSet::decode(set).unwrap_or_default().file;
    let all = files.iter().flat_map(|file| {
        file.service
            .iter()
            .map(move |service| (format!("{}.{}", file.package(), service.name()), service))
    });
    all.filter(|(name, _)| wanted.contains(&name.as_str()))
        .map(|(name, service)| {
            let methods: Vec<Value> = service.method.iter().map(method).collect();
            json!({ "name": name, "methods": methods })
        })
        .collect()
}

fn method(method: &MethodDescriptorProto) -> Value {
    let bare = |name: &str| name.trim_start_matches('.').to_owned();
    json!({
        "name": method.name(),
        "request": bare(method.input_type()),
        "response": bare(method.output_type()),
        "clientStreaming": method.client_streaming(),
        "serverStreaming": method.server_streaming(),
    })
}

fn no_such_block() -> Response {
    let what = "There is no such block.";
    Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", what).answer()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_service_is_defined() {
        for surface in SURFACES {
            let set = definitions(surface.block).unwrap();
            let found = services(set, surface.services);
            assert_eq!(found.len(), surface.services.len(), "{}", surface.block);
            for service in found {
                let methods = service["methods"].as_array().unwrap();
                assert!(!methods.is_empty(), "{service}");
            }
        }
    }
}
