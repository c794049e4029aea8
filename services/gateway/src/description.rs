//! Descriptions of the REST surfaces: each block lists its operations, and the OpenAPI document
//! that the gateway serves is made of that list.

use serde_json::{Map, Value, json};

/// One operation of a surface.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// `GET`, `POST` and so on.
    pub method: &'static str,
    /// The path as published, with parameters in braces.
    pub path: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// Whether GovStack publishes it; a native extension if not.
    pub published: bool,
}

impl Operation {
    /// An operation that GovStack publishes.
    pub const fn published(
        method: &'static str,
        path: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            summary,
            published: true,
        }
    }

    /// An operation of the native surface.
    pub const fn native(method: &'static str, path: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            summary,
            published: false,
        }
    }
}

/// The OpenAPI 3.1 document of a block's surface.
pub(crate) fn openapi(block: &str, operations: &[Operation]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let entry = paths.entry(operation.path).or_insert_with(|| json!({}));
        entry[operation.method.to_lowercase()] = describe(block, operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": format!("Publica, {block}"),
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": format!("/{block}")}],
        "paths": paths,
        "components": {"securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        }},
        "security": [{"bearer": []}],
    })
}

fn describe(block: &str, operation: &Operation) -> Value {
    let parameters: Vec<Value> = operation
        .path
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .map(|name| {
            let schema = json!({"type": "string"});
            json!({"name": name, "in": "path", "required": true, "schema": schema})
        })
        .collect();
    let id: String = format!("{}{}", operation.method.to_lowercase(), operation.path)
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let mut described = json!({
        "operationId": id,
        "summary": operation.summary,
        "tags": [if operation.published { "published" } else { "native" }, block],
        "responses": {
            "200": {"description": "Success", "content": {"application/json": {}}},
            "default": {"description": "Error", "content": {"application/json": {}}},
        },
    });
    if !parameters.is_empty() {
        described["parameters"] = Value::Array(parameters);
    }
    if ["POST", "PUT", "PATCH"].contains(&operation.method) {
        described["requestBody"] = json!({"content": {"application/json": {}}});
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_lists_each_operation_once() {
        let document = openapi(
            "payments",
            &[
                Operation::published("GET", "/vouchers/{serial}", "Status"),
                Operation::published("PATCH", "/vouchers/{serial}", "Cancel"),
            ],
        );
        let path = &document["paths"]["/vouchers/{serial}"];
        assert_eq!(path["get"]["parameters"][0]["name"], "serial");
        assert_ne!(path["get"]["operationId"], path["patch"]["operationId"]);
        assert!(path["patch"]["requestBody"].is_object());
    }
}
