//! The published schemas of imports, held against the block that reads the lines.

use std::collections::BTreeSet;

use publica_imports::SCHEMAS;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_proto::imports::v1::{ImportEntitiesRequest, ImportEntitiesResponse};
use publica_rpc::Link;
use serde_json::{Value, json};

/// What no line has.
const STRANGER: &str = "unheardOf";

/// Imports the examples of every schema of a block through `link`, and holds the schemas against
/// what the block says: the members that it knows at every depth, and those that it misses when
/// they are left out. Each example is stored once, and repeated when it comes again.
///
/// `adapt` changes an example of a kind where it depends on the store.
///
/// # Panics
///
/// Where schema and block differ.
pub async fn schemas_hold(link: &Link, block: &str, adapt: impl Fn(&str, &mut Value)) {
    let mut stored = Vec::new();
    for schema in SCHEMAS.iter().filter(|schema| schema.block() == block) {
        let kind = schema.kind;
        let read: Value = serde_json::from_str(schema.text).expect("a schema is JSON");
        let mut examples = read["examples"].as_array().cloned().unwrap_or_default();
        for example in &mut examples {
            adapt(kind, example);
        }
        let example = examples.first().expect("a schema has an example");
        let mut objects = Vec::new();
        collect(&read, example, "", &mut objects);
        assert_eq!(
            objects.len(),
            closed(&read),
            "the first example of {kind} shows every object that the schema describes"
        );
        for object in &objects {
            strangers_are_told(link, kind, example, object).await;
            gaps_are_told(link, kind, example, object).await;
        }
        for example in examples {
            let answer = import(link, kind, &example).await;
            assert_eq!(answer.problems, [], "{kind}");
            assert_eq!((answer.accepted, answer.repeated), (1, 0), "{kind}");
            stored.push((kind, example));
        }
    }
    assert!(!stored.is_empty(), "{block} has kinds");
    for (kind, example) in stored {
        let answer = import(link, kind, &example).await;
        assert_eq!(answer.problems, [], "{kind}");
        assert_eq!((answer.accepted, answer.repeated), (0, 1), "{kind}");
    }
}

/// An object that a schema describes, and where the example has it.
struct Object {
    pointer: String,
    names: BTreeSet<String>,
    required: Vec<String>,
}

fn collect(schema: &Value, value: &Value, pointer: &str, objects: &mut Vec<Object>) {
    if let Some(properties) = schema["properties"].as_object() {
        let required = schema["required"].as_array();
        let required = required.into_iter().flatten().filter_map(Value::as_str);
        objects.push(Object {
            pointer: pointer.to_owned(),
            names: properties.keys().cloned().collect(),
            required: required.map(str::to_owned).collect(),
        });
        for (name, inner) in properties {
            if let Some(value) = value.get(name) {
                collect(inner, value, &format!("{pointer}/{name}"), objects);
            }
        }
    }
    if let Some(first) = value.get(0) {
        collect(&schema["items"], first, &format!("{pointer}/0"), objects);
    }
}

/// How many objects with named members a schema describes.
fn closed(schema: &Value) -> usize {
    let inner = |value: &Value| {
        value
            .as_object()
            .map_or(0, |all| all.values().map(closed).sum())
    };
    let own = usize::from(schema["properties"].is_object());
    own + inner(&schema["properties"]) + schema.get("items").map_or(0, closed)
}

/// A member that nobody knows is refused, and the answer names those that are known.
async fn strangers_are_told(link: &Link, kind: &str, example: &Value, object: &Object) {
    let mut odd = example.clone();
    let place = odd.pointer_mut(&object.pointer).expect("it is there");
    place[STRANGER] = json!(1);
    let answer = import(link, kind, &odd).await;
    let [problem] = answer.problems.as_slice() else {
        panic!("{kind}{}: {answer:?}", object.pointer);
    };
    let said = problem.description.split_once(", expected ");
    let (given, expected) = said.unwrap_or((&problem.description, ""));
    assert_eq!(given, format!("unknown field `{STRANGER}`"), "{kind}");
    let mut told: BTreeSet<String> = expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    let mut names = object.names.clone();
    if object.pointer.is_empty() {
        // Whoever reads a line knows its kind already.
        told.remove("kind");
        names.remove("kind");
    }
    assert_eq!(told, names, "{kind}{}", object.pointer);
}

/// A required member that is left out is missed by name.
async fn gaps_are_told(link: &Link, kind: &str, example: &Value, object: &Object) {
    for name in &object.required {
        if object.pointer.is_empty() && name == "kind" {
            continue;
        }
        let mut short = example.clone();
        let place = short.pointer_mut(&object.pointer).expect("it is there");
        place
            .as_object_mut()
            .and_then(|members| members.remove(name))
            .expect("an example has what is required");
        let answer = import(link, kind, &short).await;
        let missed = answer.problems.iter().any(|problem| {
            let last = problem.field.rsplit('.').next().unwrap_or_default();
            let last = last.split('[').next().unwrap_or_default();
            last == name || problem.description.contains(&format!("`{name}`"))
        });
        assert!(missed, "{kind}{}: {name}: {answer:?}", object.pointer);
    }
}

async fn import(link: &Link, kind: &str, entity: &Value) -> ImportEntitiesResponse {
    let line = ImportEntitiesRequest {
        kind: kind.to_owned(),
        json: entity.to_string().into_bytes().into(),
        line: 1,
    };
    ImportServiceClient::new(link.clone())
        .import_entities(futures::stream::iter([line]))
        .await
        .expect("an import is answered")
        .into_inner()
}
