//! What a provider of short messages that speaks HTTP is told, and what its answers and reports
//! mean: all of it by settings, since each provider has words of its own.

mod answer;
mod template;

pub(crate) use answer::{AnswerRules, Heard, Means, ReportError, ReportRules, Rule, Statuses};
pub(crate) use template::{Body, Template, Values};

/// The longest id of a provider that is kept.
const ID_MAX: usize = 128;

/// A scalar in a JSON value as a text; `pointer` is one of RFC 6901.
fn text_at(value: &serde_json::Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        serde_json::Value::String(text) => Some(text.trim().to_owned()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// An id that can be kept.
fn id(text: String) -> Option<String> {
    let sound = (1..=ID_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    sound.then_some(text)
}

/// Whether a text points into a JSON value.
pub(crate) fn is_pointer(text: &str) -> bool {
    text.is_empty() || (text.starts_with('/') && text.len() <= 256)
}
