//! The schemas: a file a kind, in the folder of its block.

/// The schema of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// The kind, such as `payments.voucher`.
    pub kind: &'static str,
    /// A JSON Schema of the draft 2020-12, with examples that the block takes.
    pub text: &'static str,
}

impl Schema {
    /// The block that the kind belongs to.
    pub fn block(&self) -> &'static str {
        self.kind.split_once('.').map_or("", |(block, _)| block)
    }
}

macro_rules! schemas {
    ($($block:literal: $($entity:literal),+;)+) => {
        /// Every kind, block by block, each after the kinds that it may refer to.
        pub const SCHEMAS: &[Schema] = &[$($(
            Schema {
                kind: concat!($block, ".", $entity),
                text: include_str!(concat!("../schemas/", $block, "/", $entity, ".json")),
            },
        )+)+];
    };
}

schemas! {
    "identity": "person", "factor", "relying_party";
    "signature": "credential", "certificate";
    "payments": "calling_block", "voucher_group", "funding_account", "programme", "source_block",
        "merchant", "voucher", "beneficiary";
    "messaging": "request", "template", "suppression";
    "registration": "service", "document", "application", "register_entry";
    "consent": "policy", "agreement", "individual", "delegation", "record";
}

/// The largest entity of any kind.
pub const MOST_BYTES: usize = 5 * 1_024 * 1_024;

/// The largest entity of a kind: 5 MiB of one that holds a document, 1 MiB of others.
pub fn most_bytes(kind: &str) -> usize {
    match kind {
        "registration.document" => MOST_BYTES,
        _ => 1_024 * 1_024,
    }
}

/// The schema of a kind.
pub fn schema(kind: &str) -> Option<&'static Schema> {
    SCHEMAS.iter().find(|schema| schema.kind == kind)
}

/// Every kind in words, for whoever named one that there is not.
pub fn kinds() -> String {
    let kinds: Vec<&str> = SCHEMAS.iter().map(|schema| schema.kind).collect();
    kinds.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    /// What is wrong with a value. Every keyword that the schemas use is known here, so that none
    /// is believed to say something that nobody checks.
    fn faults(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
        let Value::Object(words) = schema else {
            return;
        };
        for (word, said) in words {
            let sound = match word.as_str() {
                "$schema" | "$id" | "$comment" | "title" | "description" | "examples"
                | "default" | "format" | "deprecated" | "contentEncoding" => true,
                "type" => match said {
                    Value::Array(types) => types.iter().any(|one| is(one, value)),
                    one => is(one, value),
                },
                "const" => said == value,
                "enum" => said.as_array().unwrap().contains(value),
                "required" => said.as_array().unwrap().iter().all(|name| {
                    let name = name.as_str().unwrap();
                    value.as_object().is_none_or(|all| all.contains_key(name))
                }),
                "additionalProperties" => additional(words, said, value, path, found),
                "properties" => {
                    for (name, inner) in value.as_object().unwrap_or(&Map::new()) {
                        if let Some(schema) = said.get(name) {
                            faults(schema, inner, &format!("{path}.{name}"), found);
                        }
                    }
                    true
                }
                "items" => {
                    for inner in value.as_array().unwrap_or(&Vec::new()) {
                        faults(said, inner, &format!("{path}[]"), found);
                    }
                    true
                }
                "minLength" => length(value).is_none_or(|length| length >= number(said)),
                "maxLength" => length(value).is_none_or(|length| length <= number(said)),
                "minItems" => items(value).is_none_or(|count| count >= number(said)),
                "maxItems" => items(value).is_none_or(|count| count <= number(said)),
                "minProperties" => {
                    let count = value.as_object().map(Map::len);
                    count.is_none_or(|count| count as u64 >= number(said))
                }
                "minimum" => value.as_f64().is_none_or(|it| it >= said.as_f64().unwrap()),
                "maximum" => value.as_f64().is_none_or(|it| it <= said.as_f64().unwrap()),
                other => panic!("{path}: nobody knows {other}"),
            };
            if !sound {
                found.push(format!("{path}: {word}"));
            }
        }
    }

    fn is(name: &Value, value: &Value) -> bool {
        match name.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "null" => value.is_null(),
            other => panic!("no type {other}"),
        }
    }

    fn additional(
        words: &Map<String, Value>,
        said: &Value,
        value: &Value,
        path: &str,
        found: &mut Vec<String>,
    ) -> bool {
        let known = words.get("properties");
        let mut sound = true;
        for (name, inner) in value.as_object().unwrap_or(&Map::new()) {
            if known.is_some_and(|known| known.get(name).is_some()) {
                continue;
            }
            match said {
                Value::Bool(allowed) => sound &= allowed,
                schema => faults(schema, inner, &format!("{path}.{name}"), found),
            }
        }
        sound
    }

    fn number(said: &Value) -> u64 {
        said.as_u64().unwrap()
    }

    fn length(value: &Value) -> Option<u64> {
        value.as_str().map(|text| text.chars().count() as u64)
    }

    fn items(value: &Value) -> Option<u64> {
        value.as_array().map(|all| all.len() as u64)
    }

    /// Objects with named members take no others.
    fn closed(schema: &Value, path: &str) {
        if let Some(properties) = schema.get("properties") {
            assert_eq!(schema["additionalProperties"], json!(false), "{path}");
            for required in schema["required"].as_array().unwrap_or(&Vec::new()) {
                assert!(
                    properties.get(required.as_str().unwrap()).is_some(),
                    "{path}: {required}"
                );
            }
        }
        let named = schema["properties"].as_object().into_iter().flatten();
        for (name, inner) in named {
            closed(inner, &format!("{path}.{name}"));
        }
        for word in ["items", "additionalProperties"] {
            if let Some(inner) = schema.get(word) {
                closed(inner, &format!("{path}.{word}"));
            }
        }
    }

    #[test]
    fn every_schema_is_sound_and_its_examples_keep_to_it() {
        assert_eq!(SCHEMAS.len(), 25);
        for schema in SCHEMAS {
            let kind = schema.kind;
            let value: Value = serde_json::from_str(schema.text).expect(kind);
            assert_eq!(
                value["$schema"],
                "https://json-schema.org/draft/2020-12/schema"
            );
            assert_eq!(value["$id"], format!("urn:publica:import:{kind}"));
            assert_eq!(
                value["properties"]["kind"],
                json!({"const": kind}),
                "{kind}"
            );
            for told in ["title", "description"] {
                assert!(
                    value[told].as_str().is_some_and(|text| !text.is_empty()),
                    "{kind}"
                );
            }
            closed(&value, kind);
            let examples = value["examples"].as_array().expect(kind);
            assert!(!examples.is_empty(), "{kind}");
            for example in examples {
                let mut found = Vec::new();
                faults(&value, example, kind, &mut found);
                assert_eq!(found, Vec::<String>::new());
                assert!(example.to_string().len() < most_bytes(kind), "{kind}");
            }
            // What nobody may leave out is missed.
            for required in value["required"].as_array().expect(kind) {
                let mut example = examples[0].clone();
                example
                    .as_object_mut()
                    .unwrap()
                    .remove(required.as_str().unwrap());
                let mut found = Vec::new();
                faults(&value, &example, kind, &mut found);
                assert_eq!(found, [format!("{kind}: required")]);
            }
        }
    }

    #[test]
    fn kinds_are_found_by_name() {
        assert_eq!(schema("payments.voucher").unwrap().block(), "payments");
        assert_eq!(schema("payments.vouchers"), None);
        assert!(kinds().contains("consent.policy, consent.agreement"));
    }

    #[test]
    fn every_file_is_listed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");
        let mut files = 0;
        for block in std::fs::read_dir(folder).unwrap() {
            files += std::fs::read_dir(block.unwrap().path()).unwrap().count();
        }
        assert_eq!(files, SCHEMAS.len());
    }
}
