//! Snapshots: the canonical text of an object at one moment, and its hashes.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA256_OUTPUT_LEN, digest};
use publica_proto::consent::v1 as pb;
use publica_types::Timestamp;
use serde_json::{Map, Value, json};

/// A locked text with its hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The text, byte for byte.
    pub(crate) text: String,
    /// SHA-1 in hex, which the specification demands.
    pub(crate) sha1: String,
    /// SHA-256 in hex, on which proofs rest.
    pub(crate) sha256: String,
}

impl Snapshot {
    /// Takes a text as it is.
    pub(crate) fn of(text: String) -> Self {
        let (sha1, sha256) = (sha1_hex(text.as_bytes()), sha256_hex(text.as_bytes()));
        Self { text, sha1, sha256 }
    }
}

/// SHA-1 in lower-case hex.
pub(crate) fn sha1_hex(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes))
}

/// SHA-256 in lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(sha256(bytes))
}

/// SHA-256 itself.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Who caused a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By<'a> {
    /// The person, by id.
    Individual(&'a str),
    /// An administrator or a client.
    Other(&'a str),
}

/// The snapshot of an object.
pub(crate) fn snapshot(
    schema: pb::Schema,
    object_id: Option<&str>,
    object_data: Value,
    time: Timestamp,
    by: By<'_>,
) -> Snapshot {
    let mut members = Map::new();
    members.insert("objectData".to_owned(), object_data);
    members.insert("schemaName".to_owned(), json!(schema_name(schema)));
    if let Some(id) = object_id {
        members.insert("objectId".to_owned(), json!(id));
    }
    members.insert(
        "signedWithoutObjectId".to_owned(),
        json!(object_id.is_none()),
    );
    members.insert("timestamp".to_owned(), json!(time));
    match by {
        By::Individual(id) => {
            members.insert("authorizedByIndividual".to_owned(), json!({ "id": id }));
        }
        By::Other(name) => {
            members.insert("authorizedByOther".to_owned(), json!(name));
        }
    }
    Snapshot::of(canonical(&Value::Object(members)))
}

/// RFC 8785 text of a value that has no fractions.
pub(crate) fn canonical(value: &Value) -> String {
    let mut out = String::with_capacity(512);
    write_value(&mut out, value);
    out
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (n, (name, value)) in sorted.into_iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                // A plain JSON string is already in the form that RFC 8785 asks for.
                out.push_str(&json!(name).to_string());
                out.push(':');
                write_value(out, value);
            }
            out.push('}');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// The name of a schema, as the specification spells it.
pub(crate) fn schema_name(schema: pb::Schema) -> &'static str {
    match schema {
        pb::Schema::Unspecified => "",
        pb::Schema::Policy => "Policy",
        pb::Schema::DataAgreement => "DataAgreement",
        pb::Schema::ConsentRecord => "ConsentRecord",
        pb::Schema::Delegation => "Delegation",
    }
}

/// The schema of that name; names differ in case only by mistake.
pub(crate) fn schema_of(name: &str) -> Option<pb::Schema> {
    [
        pb::Schema::Policy,
        pb::Schema::DataAgreement,
        pb::Schema::ConsentRecord,
        pb::Schema::Delegation,
    ]
    .into_iter()
    .find(|schema| schema_name(*schema).eq_ignore_ascii_case(name))
}

/// Members of an object that are only written when they say something.
#[derive(Debug, Default)]
pub(crate) struct Members(Map<String, Value>);

impl Members {
    /// No members yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A text, unless it is empty.
    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.0.insert(name.to_owned(), json!(value));
        }
        self
    }

    /// A value, if there is one.
    pub(crate) fn maybe<T: Into<Value>>(mut self, name: &str, value: Option<T>) -> Self {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    /// A list, unless it is empty.
    pub(crate) fn list<T>(mut self, name: &str, items: &[T], each: impl Fn(&T) -> Value) -> Self {
        if !items.is_empty() {
            self.0
                .insert(name.to_owned(), items.iter().map(each).collect());
        }
        self
    }

    /// The object.
    pub(crate) fn done(self) -> Value {
        Value::Object(self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn canonical_text_is_sorted_and_tight() {
        let value = json!({"b": [1, {"z": null, "a": true}], "a": "é\"\u{1f}\n"});
        assert_eq!(
            canonical(&value),
            "{\"a\":\"é\\\"\\u001f\\n\",\"b\":[1,{\"a\":true,\"z\":null}]}"
        );
    }

    #[test]
    fn names_sort_by_utf16() {
        let value = json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5});
        let text = canonical(&value);
        let place = |name: &str| text.find(name).unwrap();
        assert!(place("\u{20ac}") < place("\u{1f600}"), "{text}");
        assert!(place("\u{1f600}") < place("\u{fb33}"), "{text}");
    }

    #[test]
    fn a_snapshot_says_whether_it_has_an_id() {
        let at = Timestamp::from_seconds(1_700_000_000);
        let data = json!({"optIn": true});
        let draft = snapshot(
            pb::Schema::ConsentRecord,
            None,
            data.clone(),
            at,
            By::Individual("7"),
        );
        assert_eq!(
            draft.text,
            "{\"authorizedByIndividual\":{\"id\":\"7\"},\"objectData\":{\"optIn\":true},\
             \"schemaName\":\"ConsentRecord\",\"signedWithoutObjectId\":true,\
             \"timestamp\":\"2023-11-14T22:13:20Z\"}"
        );
        assert_eq!(draft.sha1, sha1_hex(draft.text.as_bytes()));
        let stored = snapshot(
            pb::Schema::ConsentRecord,
            Some("r"),
            data,
            at,
            By::Other("admin"),
        );
        assert!(stored.text.contains("\"objectId\":\"r\",\"schemaName\""));
        assert!(stored.text.contains("\"authorizedByOther\":\"admin\""));
    }

    #[test]
    fn known_hashes() {
        assert_eq!(sha1_hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert!(sha256_hex(b"abc").starts_with("ba7816bf8f01cfea414140de5dae2223"));
    }

    proptest! {
        #[test]
        fn canonical_text_reads_back(names in prop::collection::btree_map(".*", ".*", 0..8)) {
            let value = json!(names);
            let back: Value = serde_json::from_str(&canonical(&value)).unwrap();
            prop_assert_eq!(back, value);
        }
    }
}
