//! JSON that refuses repeated members at any depth. `serde_json` keeps the last of two, other
//! readers the first, and a signature over both would mean two things.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::JoseError;

/// The text by which the visitor's error is recognised after it passed through `serde_json`.
const DUPLICATE: &str = "repeated member";

/// Parses JSON strictly: one value, no repeated members, nothing after it.
pub fn parse(bytes: &[u8]) -> Result<Value, JoseError> {
    serde_json::from_slice::<Strict>(bytes)
        .map(|strict| strict.0)
        .map_err(|error| {
            if error.to_string().starts_with(DUPLICATE) {
                JoseError::DuplicateMember
            } else {
                JoseError::Malformed("not JSON")
            }
        })
}

/// Parses a JSON object strictly.
pub(crate) fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, JoseError> {
    match parse(bytes)? {
        Value::Object(object) => Ok(object),
        _ => Err(JoseError::Malformed("not a JSON object")),
    }
}

/// A JSON value that was read strictly.
pub(crate) struct Strict(pub(crate) Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let Strict(value) = map.next_value()?;
            if members.insert(name, value).is_some() {
                return Err(de::Error::custom(DUPLICATE));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_json_once() {
        let text = br#"{"a":[1,-2,0.5,null,true,"x"],"b":{"a":1}}"#;
        let value = parse(text).unwrap();
        assert_eq!(value, serde_json::from_slice::<Value>(text).unwrap());
    }

    #[test]
    fn refuses_repeats_at_any_depth() {
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"[{"a":1,"\u0061":2}]"#,
        ] {
            assert_eq!(
                parse(bad.as_bytes()),
                Err(JoseError::DuplicateMember),
                "{bad}"
            );
        }
    }

    #[test]
    fn refuses_what_is_not_json() {
        let deep = "[".repeat(10_000);
        for bad in [
            "",
            "{",
            "{}{}",
            "{'a':1}",
            "{\"a\":01}",
            "\u{feff}{}",
            deep.as_str(),
        ] {
            assert_eq!(parse(bad.as_bytes()), Err(JoseError::Malformed("not JSON")));
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse_object(b"[]").is_err());
    }
}
