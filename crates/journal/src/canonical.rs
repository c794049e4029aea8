//! Canonical JSON after RFC 8785, for what this journal needs of it.
//!
//! Object members are sorted by their UTF-16 code units, nothing is padded, and strings are
//! escaped as little as possible. Two deliberate departures keep amounts exact: integers of any
//! size are written digit for digit, and a number with a fraction becomes a string.

use serde_json::{Map, Number, Value};

/// The canonical form of `value`.
pub(crate) fn to_vec(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write_value(&mut out, value);
    out
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write_value(out, item);
            }
            out.push(b']');
        }
        Value::Object(members) => write_object(out, members),
    }
}

fn write_object(out: &mut Vec<u8>, members: &Map<String, Value>) {
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    out.push(b'{');
    for (n, (name, value)) in sorted.into_iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_value(out, value);
    }
    out.push(b'}');
}

fn write_number(out: &mut Vec<u8>, number: &Number) {
    let text = number.to_string();
    if number.is_f64() {
        write_string(out, &text);
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

/// Writes a JSON string with the escapes that RFC 8785, section 3.2.2.2 asks for.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    // Nearly all texts need no escape, and are copied as a whole.
    let mut from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x0d => out.extend_from_slice(b"\\r"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn text(value: &Value) -> String {
        String::from_utf8(to_vec(value)).unwrap()
    }

    #[test]
    fn members_sort_by_utf16_code_unit() {
        let value = json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "ö": 6});
        assert_eq!(
            text(&value),
            "{\"\\r\":2,\"1\":4,\"ö\":6,\"€\":1,\"😀\":5,\"\u{fb33}\":3}"
        );
    }

    #[test]
    fn strings_are_escaped_as_little_as_possible() {
        let value = json!("\u{8}\t\n\u{c}\r\"\\/\u{1f}\u{7f}é");
        assert_eq!(text(&value), "\"\\b\\t\\n\\f\\r\\\"\\\\/\\u001f\u{7f}é\"");
    }

    #[test]
    fn numbers_stay_exact() {
        assert_eq!(text(&json!([0, -1, i64::MIN, u64::MAX])), {
            "[0,-1,-9223372036854775808,18446744073709551615]"
        });
        assert_eq!(text(&json!(0.5)), "\"0.5\"");
    }

    proptest! {
        #[test]
        fn strings_read_back(text in ".*") {
            let bytes = to_vec(&Value::String(text.clone()));
            prop_assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), text);
        }
    }
}
