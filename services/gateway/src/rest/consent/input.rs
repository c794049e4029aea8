//! Reading JSON: strictly as to form, tolerantly as to unknown members.

use std::cell::RefCell;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::{Detail, Fault};

/// How deep a body may nest.
const MAX_DEPTH: usize = 32;

/// A body as an object without repeated members and of bounded depth.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Fault> {
    let Strict(value) = crate::body::parse::<Strict>(bytes)?;
    if depth(&value) > MAX_DEPTH {
        let text = format!("the body nests deeper than {MAX_DEPTH}");
        return Err(Fault::bad("malformed_body", text));
    }
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(Fault::bad(
            "malformed_body",
            "the body must be a JSON object",
        )),
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// JSON that refuses repeated members.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Strict;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_unit<E>(self) -> Result<Strict, E> {
                Ok(Strict(Value::Null))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
                let mut all = Vec::new();
                while let Some(Strict(item)) = items.next_element()? {
                    all.push(item);
                }
                Ok(Strict(Value::Array(all)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Strict, A::Error> {
                let mut all = Map::new();
                while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
                    if all.contains_key(&name) {
                        return Err(A::Error::custom("a member stands there twice"));
                    }
                    all.insert(name, value);
                }
                Ok(Strict(Value::Object(all)))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// An object of the body that is read member by member; faults are collected.
pub(crate) struct Input<'a> {
    members: &'a Map<String, Value>,
    path: String,
    faults: &'a RefCell<Vec<Detail>>,
}

/// Reads the object in the wrapper `name`, then reports everything that was wrong in it.
pub(crate) fn wrapped<T>(
    body: &Map<String, Value>,
    name: &str,
    read: impl FnOnce(&Input<'_>) -> T,
) -> Result<T, Fault> {
    let members = match body.get(name) {
        Some(Value::Object(members)) => members,
        Some(Value::Null) | None => return Err(Fault::member(name, "is required")),
        Some(_) => return Err(Fault::member(name, "must be an object")),
    };
    whole(members, name, read)
}

/// Reads an object that has no wrapper.
pub(crate) fn whole<T>(
    members: &Map<String, Value>,
    path: &str,
    read: impl FnOnce(&Input<'_>) -> T,
) -> Result<T, Fault> {
    let faults = RefCell::new(Vec::new());
    let input = Input {
        members,
        path: path.to_owned(),
        faults: &faults,
    };
    let value = read(&input);
    let faults = faults.into_inner();
    if faults.is_empty() {
        Ok(value)
    } else {
        Err(Fault::members(faults))
    }
}

impl<'a> Input<'a> {
    fn place(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Says that a member is wrong.
    pub(crate) fn fault(&self, name: &str, reason: &str) {
        let detail = Detail {
            path: self.place(name),
            reason: reason.to_owned(),
        };
        self.faults.borrow_mut().push(detail);
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    /// Whether a member is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A text; empty when it is not there.
    pub(crate) fn text(&self, name: &str) -> String {
        match self.get(name) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(_) => {
                self.fault(name, "must be a string");
                String::new()
            }
        }
    }

    /// A text under its name or an older one.
    pub(crate) fn text_or(&self, name: &str, older: &str) -> String {
        let text = self.text(name);
        if text.is_empty() && self.has(older) {
            self.text(older)
        } else {
            text
        }
    }

    /// A flag.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => {
                self.fault(name, "must be true or false");
                None
            }
        }
    }

    /// A member that clients write as a text or as a flag; a flag as its name.
    pub(crate) fn flag_or_text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::Bool(flag) => Some(flag.to_string()),
            _ => Some(self.text(name)),
        }
    }

    /// An integer of 32 bits.
    pub(crate) fn number(&self, name: &str) -> Option<i32> {
        let value = self.get(name)?;
        let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
        if number.is_none() {
            self.fault(name, "must be an integer of 32 bits");
        }
        number
    }

    /// A time.
    pub(crate) fn time(&self, name: &str) -> Option<prost_types::Timestamp> {
        let text = self.text(name);
        if text.is_empty() {
            return None;
        }
        let time = crate::convert::parse_rfc3339(&text);
        if time.is_none() {
            self.fault(name, "must be a time such as 2026-01-31T12:00:00Z");
        }
        time
    }

    /// An object.
    pub(crate) fn child(&self, name: &str) -> Option<Input<'a>> {
        match self.get(name)? {
            Value::Object(members) => Some(Input {
                members,
                path: self.place(name),
                faults: self.faults,
            }),
            _ => {
                self.fault(name, "must be an object");
                None
            }
        }
    }

    /// A list of objects.
    pub(crate) fn children(&self, name: &str) -> Vec<Input<'a>> {
        let Some(value) = self.get(name) else {
            return Vec::new();
        };
        let Some(items) = value.as_array() else {
            self.fault(name, "must be a list");
            return Vec::new();
        };
        let mut all = Vec::with_capacity(items.len());
        for (n, item) in items.iter().enumerate() {
            let place = format!("{name}[{n}]");
            match item {
                Value::Object(members) => {
                    all.push(Input {
                        members,
                        path: self.place(&place),
                        faults: self.faults,
                    });
                }
                _ => self.fault(&place, "must be an object"),
            }
        }
        all
    }

    /// A list of texts.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let Some(value) = self.get(name) else {
            return Vec::new();
        };
        let Some(items) = value.as_array() else {
            self.fault(name, "must be a list");
            return Vec::new();
        };
        let texts: Vec<String> = items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        if texts.len() != items.len() {
            self.fault(name, "must be a list of strings");
        }
        texts
    }

    /// A list of objects, each as its JSON text.
    pub(crate) fn objects(&self, name: &str) -> Vec<String> {
        let children = self.children(name);
        children
            .iter()
            .map(|one| Value::Object(one.members.clone()).to_string())
            .collect()
    }

    /// An object as its JSON text; empty when it is not there.
    pub(crate) fn object(&self, name: &str) -> String {
        let child = self.child(name);
        child.map_or_else(String::new, |one| {
            Value::Object(one.members.clone()).to_string()
        })
    }

    /// The text of a member that may be a string or an object with that member inside.
    pub(crate) fn text_within(&self, name: &str, inner: &str) -> String {
        match self.get(name) {
            Some(Value::Object(_)) => self
                .child(name)
                .map(|child| child.text(inner))
                .unwrap_or_default(),
            _ => self.text(name),
        }
    }
}
