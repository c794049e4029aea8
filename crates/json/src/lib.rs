//! What is wrong with a JSON document from outside, without repeating what it holds.
//!
//! [`shape()`] says it of a document that did not read, [`read_entity`] reads the entities of
//! imports.
//!
//! Leaves out: the form of any document, and whether members may repeat, which the gateway and the
//! crate `jose` see to where it matters.

#![warn(missing_docs)]

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

/// Characters of a member's name that are repeated.
const NAME_MAX: usize = 64;
/// A type's own message may quote the value in any way.
const OTHER: &str = "a value has the wrong form";

/// Reads an entity of an import, or says which member is at fault and why; the member is empty
/// for the whole entity.
///
/// No text may hold the character NUL, which not every store takes: without this, one entity
/// would fail all that are stored together with it.
pub fn read_entity<T: DeserializeOwned>(json: &[u8]) -> Result<T, (String, String)> {
    let escape = b"\\u0000";
    if json.windows(escape.len()).any(|bytes| bytes == escape)
        && let Ok(value) = serde_json::from_slice::<Value>(json)
        && let Some(member) = member_with_nul(&value)
    {
        return Err((member, "must not contain NUL".to_owned()));
    }
    serde_json::from_slice(json).map_err(|error| {
        let why = shape(&error);
        (place::<T>(json, &why), why)
    })
}

/// The path of the member that did not read. Reading keeps no track of it, so this reads once
/// more; a name that is not plain is not repeated, nor what is below it.
fn place<T: DeserializeOwned>(json: &[u8], why: &str) -> String {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut reader) else {
        return String::new();
    };
    if !error.inner().is_data() {
        return String::new();
    }
    let mut place = String::new();
    for segment in error.path() {
        match segment {
            Segment::Seq { index } => place.push_str(&format!("[{index}]")),
            Segment::Map { key } if is_plain(key) => {
                let point = if place.is_empty() { "" } else { "." };
                place.push_str(point);
                place.push_str(key);
            }
            _ => return place,
        }
    }
    // A member that is missing, unknown or there twice is named by the words alone.
    if let Some(name) = member_of(why)
        && place != name
        && !place.ends_with(&format!(".{name}"))
    {
        let point = if place.is_empty() { "" } else { "." };
        place.push_str(point);
        place.push_str(name);
    }
    place
}

/// The member that [`shape()`] names.
fn member_of(why: &str) -> Option<&str> {
    let of = ["missing field `", "duplicate field `", "unknown field `"];
    let rest = of.iter().find_map(|words| why.strip_prefix(words))?;
    rest.split_once('`').map(|(name, _)| name)
}

/// The path of the first text with a NUL, such as `rows[2].name`; the parser bounds the depth.
fn member_with_nul(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => items.iter().enumerate().find_map(|(at, item)| {
            let inner = member_with_nul(item)?;
            Some(format!("[{at}]{}{inner}", point(&inner)))
        }),
        Value::Object(members) => members.iter().find_map(|(name, member)| {
            if name.contains('\0') {
                // The name is not repeated: it holds what it must not.
                return Some(String::new());
            }
            let inner = member_with_nul(member)?;
            Some(format!("{name}{}{inner}", point(&inner)))
        }),
        _ => None,
    }
}

/// What stands between a member and what is below it.
fn point(inner: &str) -> &'static str {
    match inner.is_empty() || inner.starts_with('[') {
        true => "",
        false => ".",
    }
}

/// Why a document was not read, in words that are fit for an answer or a log.
///
/// The parser's own message quotes the value it did not like, which may be about a person. Of
/// what was sent, only the name of an unknown member is repeated, and only if it looks like one.
pub fn shape(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if !error.is_data() {
        // What is no JSON is described by its place alone.
        return text;
    }
    // The place stands at the very end, and is known: a value may well contain `at line`.
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    // What was expected is the program's own text, so the last one is it: a value may well
    // contain `, expected`.
    let (given, expected) = match text.rfind(", expected ") {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    if let Some(name) = given.strip_prefix("unknown field ") {
        let name = name.trim_matches('`');
        return match is_plain(name) {
            true => format!("unknown field `{name}`{expected}"),
            false => format!("unknown field{expected}"),
        };
    }
    if given.starts_with("missing field ") || given.starts_with("duplicate field ") {
        return given.to_owned();
    }
    // The value follows the words.
    [
        "invalid type",
        "invalid value",
        "invalid length",
        "unknown variant",
    ]
    .into_iter()
    .find(|words| given.starts_with(words) && !expected.is_empty())
    .map_or_else(|| OTHER.to_owned(), |words| format!("{words}{expected}"))
}

fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "what matters is how reading it fails")]
    struct Person {
        name: String,
        #[serde(default)]
        age: u8,
        #[serde(default)]
        state: State,
        #[serde(default)]
        id: Option<publica_types::Uuid>,
        #[serde(default)]
        more: BTreeMap<String, u8>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum State {
        #[default]
        Open,
        Shut,
    }

    fn refused(json: &str) -> String {
        shape(&serde_json::from_str::<Person>(json).unwrap_err())
    }

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        for (json, expected) in [
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("{}", "missing field `name`"),
            (r#"{"name":"a","name":"b"}"#, "duplicate field `name`"),
            (
                r#"{"name":"a","nmae":"b"}"#,
                "unknown field `nmae`, expected one of `name`, `age`, `state`, `id`, `more`",
            ),
            (
                r#"{"name":"a","Anna, expected x":1}"#,
                "unknown field, expected one of `name`, `age`, `state`, `id`, `more`",
            ),
            (r#"{"name":1}"#, "invalid type, expected a string"),
            (r#"{"name":"a","age":300}"#, "invalid value, expected u8"),
            (
                r#"{"name":"a","age":"x, expected secret at line 1 column 2"}"#,
                "invalid type, expected u8",
            ),
            (
                r#"{"name":"a","age":"missing field `secret`"}"#,
                "invalid type, expected u8",
            ),
            (
                r#"{"name":"a","state":"`secret`, expected secret"}"#,
                "unknown variant, expected `open` or `shut`",
            ),
            (r#"{"name":"a","id":"secret"}"#, OTHER),
        ] {
            assert_eq!(refused(json), expected, "{json}");
        }
        // Read from a value, an error has no place of its own, but may quote one.
        let value = serde_json::json!({ "name": "a", "age": "x, expected y at line 1 column 0" });
        let error = serde_json::from_value::<Person>(value).unwrap_err();
        assert_eq!(shape(&error), "invalid type, expected u8");
    }

    #[test]
    fn texts_with_nul_are_named() {
        let nul = |json: &str| read_entity::<Value>(json.as_bytes()).map_err(|(member, _)| member);
        for (json, member) in [
            (r#"{"a":"x\u0000"}"#, "a"),
            (r#"{"a":{"b":[1,"x",{"c":"\u0000"}]}}"#, "a.b[2].c"),
            (r#"{"a":["\u0000"]}"#, "a[0]"),
            (r#"{"a":{"\u0000":1}}"#, "a"),
            (r#"["\u0000"]"#, "[0]"),
        ] {
            assert_eq!(nul(json), Err(member.to_owned()), "{json}");
        }
        // A backslash before it makes it six letters.
        assert!(nul(r#"{"a":"\\u0000"}"#).is_ok());
        let found = read_entity::<Person>(br#"{"name":["\\u0000"]}"#).unwrap_err();
        assert_eq!(found.0, "name");
        assert_eq!(found.1, "invalid type, expected a string");
        assert!(nul(&"[".repeat(100_000)).is_err());
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "what matters is how reading it fails")]
    struct House {
        people: Vec<Person>,
    }

    #[test]
    fn the_member_at_fault_is_named() {
        for (json, member) in [
            (r#"{"people":[{"name":"a"},{"name":1}]}"#, "people[1].name"),
            (r#"{"people":[{"age":1}]}"#, "people[0].name"),
            (r#"{"people":[{"name":"a","nmae":1}]}"#, "people[0].nmae"),
            (
                r#"{"people":[{"name":"a","more":{"b":"c"}}]}"#,
                "people[0].more.b",
            ),
            (
                r#"{"people":[{"name":"a","more":{"Anna B.":"c"}}]}"#,
                "people[0].more",
            ),
            (r#"{"people":[{"name":"a","id":"c"}]}"#, "people[0].id"),
            (r#"{"people":[],"people":[]}"#, "people"),
            (r#"{"Anna B.":1}"#, ""),
            ("{}", "people"),
            ("[]", ""),
            ("{", ""),
            (r#"{"people":[]} x"#, ""),
        ] {
            let found = read_entity::<House>(json.as_bytes()).unwrap_err();
            assert_eq!(found.0, member, "{json}");
        }
    }

    proptest! {
        #[test]
        fn no_value_is_repeated(
            before in "([`\", ]|expected|at line|missing field|unknown field|invalid){0,6}",
            after in "([`\", ]|, expected |at line 1 column 1|secret){0,6}",
            member in prop::sample::select(vec!["age", "state", "id", "more", "name"]),
            nested in any::<bool>(),
        ) {
            let secret = serde_json::json!(format!("{before}S3CRET{after}"));
            let value = if nested { serde_json::json!([secret]) } else { secret };
            let json = serde_json::json!({ member: value }).to_string();
            if let Err(error) = serde_json::from_str::<Person>(&json) {
                prop_assert!(!shape(&error).contains("S3CRET"), "{}", shape(&error));
            }
        }
    }
}
