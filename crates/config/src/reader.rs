//! Reads typed settings out of the laid-over layers.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};

use crate::layers::Node;
use crate::{Problems, depth};

/// A settings file has fewer values than this; the bound only keeps the loop below finite.
const MAX_ROUNDS: usize = 1_000;

/// Reads a `T`. A value of the wrong type is reported and left out, and reading begins again,
/// so that all such values are reported in one go.
pub(crate) fn read<T: DeserializeOwned>(mut root: Node, problems: &mut Problems) -> Option<T> {
    for _ in 0..MAX_ROUNDS {
        let unknown = RefCell::new(Vec::new());
        let place = Place {
            node: root.clone(),
            path: String::new(),
            unknown: &unknown,
        };
        match T::deserialize(place) {
            Ok(value) => {
                for (key, what) in unknown.into_inner() {
                    problems.add(key, what);
                }
                return Some(value);
            }
            Err(Wrong { path, what }) => {
                let path = path.unwrap_or_default();
                problems.add(&path, what);
                if !root.remove(&path) {
                    return None;
                }
            }
        }
    }
    None
}

/// What stops reading, and where.
#[derive(Debug)]
struct Wrong {
    path: Option<String>,
    what: String,
}

impl Wrong {
    fn at(mut self, path: &str) -> Self {
        self.path.get_or_insert_with(|| path.to_owned());
        self
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<M: fmt::Display>(what: M) -> Self {
        Self {
            path: None,
            what: what.to_string(),
        }
    }

    /// Says the kind of value, not the value, which may be a secret.
    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = plain(&expected.to_string());
        Self::custom(format!("is {}, but must be {expected}", kind(&unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = plain(&expected.to_string());
        match unexpected {
            Unexpected::Signed(value) => {
                Self::custom(format!("is {value}, but must be {expected}"))
            }
            Unexpected::Unsigned(value) => {
                Self::custom(format!("is {value}, but must be {expected}"))
            }
            Unexpected::Float(value) => Self::custom(format!("is {value}, but must be {expected}")),
            other => Self::custom(format!("is not the right {}: {expected}", kind(&other))),
        }
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format!("must be one of {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("{field} is missing"))
    }
}

/// What is expected, for people: types of the program mean nothing to them.
fn plain(expected: &str) -> String {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a nonzero u16" | "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => {
            "a whole number, 1 or more"
        }
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other if other.starts_with("enum ") => "one of the names listed for it",
        other => other,
    }
    .to_owned()
}

fn kind(unexpected: &Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "a flag",
        Unexpected::Signed(_) | Unexpected::Unsigned(_) => "a whole number",
        Unexpected::Float(_) => "a number",
        Unexpected::Str(_) | Unexpected::Char(_) => "a text",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a table",
        _ => "something else",
    }
}

type Unknown = RefCell<Vec<(String, String)>>;

/// A value and where it stands.
struct Place<'a> {
    node: Node,
    path: String,
    unknown: &'a Unknown,
}

impl<'a> Place<'a> {
    fn below(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let path = self.path.clone();
        let result = match self.node {
            Node::Bool(value) => visitor.visit_bool(value),
            Node::Integer(value) => visitor.visit_i64(value),
            Node::Float(value) => visitor.visit_f64(value),
            Node::Text(text) | Node::Variable { text, .. } => visitor.visit_string(text),
            Node::List(items) => visitor.visit_seq(Items {
                items: items.into_iter().enumerate(),
                path: self.path,
                unknown: self.unknown,
            }),
            Node::Table(table) => visitor.visit_map(Entries {
                entries: table.into_iter(),
                value: None,
                path: self.path,
                unknown: self.unknown,
            }),
        };
        result.map_err(|wrong| wrong.at(&path))
    }

    /// Gives a variable's text the type that is asked for.
    fn typed(mut self, parse: impl FnOnce(&str) -> Option<Node>) -> Self {
        if let Node::Variable { text, .. } = &self.node
            && let Some(node) = parse(text.trim())
        {
            self.node = node;
        }
        self
    }

    /// Replaces `x_file = "name"` by `x = "content"` where the struct has `x` alone, and sets
    /// aside the keys that the struct does not have.
    fn settle(mut self, fields: &[&str]) -> Result<Self, Wrong> {
        let Node::Table(table) = std::mem::replace(&mut self.node, Node::table()) else {
            return Err(Wrong {
                path: Some(self.path),
                what: "must be a table".to_owned(),
            });
        };
        let mut settled = std::collections::BTreeMap::new();
        for (key, node) in table {
            if fields.contains(&key.as_str()) {
                if settled.insert(key.clone(), node).is_some() {
                    return Err(self.given_twice(&key));
                }
                continue;
            }
            match key
                .strip_suffix("_file")
                .filter(|plain| fields.contains(plain))
            {
                Some(plain) => {
                    let content = content_of(&node).map_err(|what| Wrong {
                        path: Some(self.below(&key)),
                        what,
                    })?;
                    if settled
                        .insert(plain.to_owned(), Node::Text(content))
                        .is_some()
                    {
                        return Err(self.given_twice(&key));
                    }
                }
                None => self.set_aside(&key, &node, fields),
            }
        }
        self.node = Node::Table(settled);
        Ok(self)
    }

    fn given_twice(&self, key: &str) -> Wrong {
        Wrong {
            path: Some(self.below(key)),
            what: "is given directly and by file".to_owned(),
        }
    }

    fn set_aside(&self, key: &str, node: &Node, fields: &[&str]) {
        if self.path.is_empty() && matches!(node, Node::Variable { .. }) {
            return;
        }
        let what = match nearest(key, fields) {
            Some(near) => format!("is no known setting; is {near} meant?"),
            None => "is no known setting".to_owned(),
        };
        let what = match node {
            Node::Variable { name, .. } => format!("{what} (from the variable {name})"),
            _ => what,
        };
        self.unknown.borrow_mut().push((self.below(key), what));
    }
}

fn content_of(node: &Node) -> Result<String, String> {
    let (Node::Text(file) | Node::Variable { text: file, .. }) = node else {
        return Err("must be the name of a file".to_owned());
    };
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(error) => Err(format!("names a file that cannot be read: {error}")),
    }
}

/// The field that differs from `key` least, if by no more than two letters.
fn nearest<'f>(key: &str, fields: &[&'f str]) -> Option<&'f str> {
    fields
        .iter()
        .map(|field| (distance(key, field), *field))
        .filter(|(distance, field)| *distance <= 2 && *distance < field.len())
        .min()
        .map(|(_, field)| field)
}

/// The number of letters to insert, leave out or replace.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn integer(text: &str) -> Option<Node> {
    text.replace('_', "").parse().ok().map(Node::Integer)
}

fn float(text: &str) -> Option<Node> {
    text.parse().ok().map(Node::Float)
}

/// A list in a variable: TOML's own form, or items with commas between.
fn list(text: &str) -> Option<Node> {
    if text.starts_with('[') {
        depth::check(text).ok()?;
        let table = format!("list = {text}").parse::<toml::Table>().ok()?;
        return table.get("list").cloned().map(Node::from);
    }
    let item = |text: &str| Node::Variable {
        name: String::new(),
        text: text.trim().to_owned(),
    };
    Some(Node::List(
        text.split(',')
            .filter(|text| !text.trim().is_empty())
            .map(item)
            .collect(),
    ))
}

macro_rules! typed {
    ($($method:ident: $parse:expr;)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            self.typed($parse).visit(visitor)
        }
    )+};
}

impl<'de> Deserializer<'de> for Place<'_> {
    type Error = Wrong;

    typed! {
        deserialize_bool: |text| text.parse().ok().map(Node::Bool);
        deserialize_i8: integer; deserialize_i16: integer;
        deserialize_i32: integer; deserialize_i64: integer;
        deserialize_u8: integer; deserialize_u16: integer;
        deserialize_u32: integer; deserialize_u64: integer;
        deserialize_f32: float; deserialize_f64: float;
        deserialize_seq: list;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.visit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.typed(list).visit(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.settle(fields)?.visit(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let path = self.path.clone();
        let result = match self.node {
            Node::Text(text) | Node::Variable { text, .. } => {
                visitor.visit_enum(text.as_str().into_deserializer() as StrDeserializer<'_, Wrong>)
            }
            Node::Table(table) => visitor.visit_enum(MapAccessDeserializer::new(Entries {
                entries: table.into_iter(),
                value: None,
                path: self.path,
                unknown: self.unknown,
            })),
            _ => Err(de::Error::custom("must be a text")),
        };
        result.map_err(|wrong| wrong.at(&path))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.unknown
            .borrow_mut()
            .push((self.path.clone(), "is no known setting".to_owned()));
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct tuple_struct map identifier
    }
}

struct Entries<'a> {
    entries: std::collections::btree_map::IntoIter<String, Node>,
    value: Option<(String, Node)>,
    path: String,
    unknown: &'a Unknown,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        let Some((key, node)) = self.entries.next() else {
            return Ok(None);
        };
        let read = seed.deserialize(key.as_str().into_deserializer() as StrDeserializer<'_, Wrong>);
        let path = if self.path.is_empty() {
            key
        } else {
            format!("{}.{key}", self.path)
        };
        let read = read.map_err(|wrong| wrong.at(&path))?;
        self.value = Some((path, node));
        Ok(Some(read))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let (path, node) = self
            .value
            .take()
            .expect("a value is asked for after its key");
        seed.deserialize(Place {
            node,
            path: path.clone(),
            unknown: self.unknown,
        })
        .map_err(|wrong| wrong.at(&path))
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::vec::IntoIter<Node>>,
    path: String,
    unknown: &'a Unknown,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        // The list stays one value: it is the list that is reported and left out.
        let place = Place {
            node,
            path: self.path.clone(),
            unknown: self.unknown,
        };
        seed.deserialize(place).map(Some).map_err(|wrong| Wrong {
            what: format!("item {}: {}", index + 1, wrong.what),
            path: Some(self.path.clone()),
        })
    }
}
