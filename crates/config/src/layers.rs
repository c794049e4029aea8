//! The layers of settings, laid over each other before anything is read from them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::{Problems, depth};

/// A value in a settings file, or one from the environment, whose type is not known yet.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
    Variable { name: String, text: String },
}

impl Node {
    pub(crate) fn table() -> Self {
        Self::Table(BTreeMap::new())
    }

    /// Takes out the value at a dotted path.
    pub(crate) fn remove(&mut self, path: &str) -> bool {
        let Self::Table(table) = self else {
            return false;
        };
        match path.split_once('.') {
            None => table.remove(path).is_some(),
            Some((first, rest)) => table.get_mut(first).is_some_and(|node| node.remove(rest)),
        }
    }
}

impl From<toml::Value> for Node {
    fn from(value: toml::Value) -> Self {
        match value {
            toml::Value::Boolean(value) => Self::Bool(value),
            toml::Value::Integer(value) => Self::Integer(value),
            toml::Value::Float(value) => Self::Float(value),
            toml::Value::String(value) => Self::Text(value),
            toml::Value::Datetime(value) => Self::Text(value.to_string()),
            toml::Value::Array(values) => Self::List(values.into_iter().map(Self::from).collect()),
            toml::Value::Table(table) => table.into(),
        }
    }
}

impl From<toml::Table> for Node {
    fn from(table: toml::Table) -> Self {
        Self::Table(
            table
                .into_iter()
                .map(|(key, value)| (key, value.into()))
                .collect(),
        )
    }
}

pub(crate) fn read_file(file: &Path, root: &mut Node, problems: &mut Problems) {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            return problems.add("", format!("{} cannot be read: {error}", file.display()));
        }
    };
    if let Err(line) = depth::check(&text) {
        let what = format!("line {line}: {}", depth::TOO_DEEP);
        return problems.add("", format!("{}: {what}", file.display()));
    }
    match text.parse::<toml::Table>() {
        Ok(table) => *root = table.into(),
        Err(error) => problems.add(
            "",
            format!("{}: {}", file.display(), at_line(&text, &error)),
        ),
    }
}

/// The parser shows the offending line, which may hold a secret; its number is enough.
fn at_line(text: &str, error: &toml::de::Error) -> String {
    let offset = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..offset]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1;
    format!("line {line}: {}", error.message())
}

pub(crate) fn overlay(
    env: impl Iterator<Item = (String, String)>,
    prefix: &str,
    root: &mut Node,
    problems: &mut Problems,
) {
    let mut variables: Vec<_> = env
        .filter_map(|(name, text)| {
            let rest = name.strip_prefix(prefix)?.strip_prefix('_')?.to_lowercase();
            (!rest.is_empty()).then_some((rest, name, text))
        })
        .collect();
    variables.sort();
    for (path, name, text) in variables {
        let parts: Vec<&str> = path.split("__").collect();
        if parts.iter().any(|part| part.is_empty()) {
            problems.add("", format!("the variable {name} names no setting"));
        } else if parts.len() > depth::MAX {
            problems.add("", format!("the variable {name} {}", depth::TOO_DEEP));
        } else if !insert(
            root,
            &parts,
            Node::Variable {
                name: name.clone(),
                text,
            },
        ) {
            problems.add(
                "",
                format!("the variable {name} leads below a value that is no table"),
            );
        }
    }
}

fn insert(node: &mut Node, path: &[&str], value: Node) -> bool {
    let Node::Table(table) = node else {
        return false;
    };
    match path {
        [] => false,
        [last] => {
            // The text itself and the file that holds it are the same setting.
            let twin = match last.strip_suffix("_file") {
                Some(plain) => plain.to_owned(),
                None => format!("{last}_file"),
            };
            if !matches!(table.get(&twin), Some(Node::Variable { .. })) {
                table.remove(&twin);
            }
            table.insert((*last).to_owned(), value);
            true
        }
        [first, rest @ ..] => insert(
            table.entry((*first).to_owned()).or_insert_with(Node::table),
            rest,
            value,
        ),
    }
}
