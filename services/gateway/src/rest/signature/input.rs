//! Reading what callers of the published paths send.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::error::SignFault;
use crate::body::RawBody;
use crate::state::{Entry, GatewayState};

const TOKEN: &str = "x-govstack-authenticationtoken";
/// How far a caller's clock may be off, in seconds.
const SKEW: i64 = 300;

/// Lets a caller in who holds a scope. The token may come in GovStack's header or in HTTP's own;
/// two different ones are refused.
pub(super) async fn enter(
    state: &GatewayState,
    headers: &HeaderMap,
    scope: &str,
) -> Result<Entry, SignFault> {
    let mut headers = headers.clone();
    if let Some(token) = headers.get(TOKEN).cloned() {
        let text = token.to_str().unwrap_or_default().trim();
        let bearer = HeaderValue::try_from(format!("Bearer {text}"))
            .map_err(|_| SignFault::malformed(TOKEN, "is not a token"))?;
        match headers.get(header::AUTHORIZATION) {
            Some(other) if *other != bearer => {
                let message = "Two different tokens were sent.";
                return Err(SignFault::new(
                    StatusCode::BAD_REQUEST,
                    "two_tokens",
                    message,
                ));
            }
            _ => {
                headers.insert(header::AUTHORIZATION, bearer);
            }
        }
    }
    let entry = state.enter(&headers).await?;
    if !entry.caller().allows(scope) {
        let message = format!("The scope {scope} is required.");
        return Err(SignFault::new(StatusCode::FORBIDDEN, "forbidden", message));
    }
    Ok(entry)
}

/// The answer, or the error in its published shape.
pub(super) fn finish(
    state: &GatewayState,
    headers: &HeaderMap,
    done: Result<Response, SignFault>,
) -> Response {
    done.unwrap_or_else(|fault| fault.answer(state, headers))
}

/// Members of a body. What is present must be sound before anything counts as missing.
pub(super) struct Members(Map<String, Value>);

impl Members {
    pub(super) fn read(body: RawBody) -> Result<Self, SignFault> {
        Ok(Self(body.parse::<Map<String, Value>>()?))
    }

    fn present(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text, if it is there.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, SignFault> {
        match self.present(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(SignFault::malformed(name, "a text is expected")),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, SignFault> {
        let Some(value) = self.present(name) else {
            return Ok(None);
        };
        let number = value.as_i64().filter(|number| *number >= 0);
        number
            .map(Some)
            .ok_or_else(|| SignFault::malformed(name, "a whole number is expected"))
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<Self>, SignFault> {
        match self.present(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self(map.clone()))),
            Some(_) => Err(SignFault::malformed(name, "an object is expected")),
        }
    }

    /// One of several texts, and what it stands for.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, SignFault> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let found = choices
            .iter()
            .find(|(known, _)| *known == text)
            .map(|(_, value)| *value);
        found
            .map(Some)
            .ok_or_else(|| SignFault::malformed(name, "is not one of the values"))
    }

    /// The time of the request, which must be near ours.
    pub(super) fn check_time(&self, state: &GatewayState) -> Result<(), SignFault> {
        let Some(text) = self.text("requestTimestamp")? else {
            return Ok(());
        };
        let time: publica_types::Timestamp = text.parse().map_err(|_| {
            SignFault::malformed("requestTimestamp", "an RFC 3339 time is expected")
        })?;
        let distance = state.clock().now().seconds().abs_diff(time.seconds());
        if distance > SKEW.unsigned_abs() {
            let message = "is more than 5 minutes off";
            return Err(SignFault::malformed("requestTimestamp", message));
        }
        Ok(())
    }
}

/// Base64, or hexadecimal where the length says so.
pub(super) fn hash_bytes(text: &str, length: usize) -> Option<Vec<u8>> {
    let bytes = if text.len() == length * 2 {
        from_hex(text)
    } else {
        STANDARD.decode(text).ok()
    };
    bytes.filter(|bytes| bytes.len() == length)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let read = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if digits {
        pairs.map(read).collect()
    } else {
        None
    }
}

/// A certification request: PEM, or base64 alone.
pub(super) fn request_bytes(text: &str) -> Option<Vec<u8>> {
    let inner = text
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect::<String>();
    let plain: String = inner
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .collect();
    STANDARD
        .decode(plain)
        .ok()
        .filter(|bytes| !bytes.is_empty())
}

/// A certificate as PEM.
pub(super) fn pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).unwrap_or_default());
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_have_one_reading() {
        let hex = "00".repeat(32);
        assert_eq!(hash_bytes(&hex, 32), Some(vec![0; 32]));
        assert_eq!(hash_bytes(&STANDARD.encode([1; 32]), 32), Some(vec![1; 32]));
        // 64 characters of base64 are 48 bytes.
        assert_eq!(hash_bytes(&hex, 48).map(|bytes| bytes.len()), Some(48));
        assert_eq!(hash_bytes("+0", 1), None);
        assert_eq!(hash_bytes("AAAA", 32), None);
    }

    #[test]
    fn requests_are_pem_or_base64() {
        let pem =
            "-----BEGIN CERTIFICATE REQUEST-----\r\nMAA=\r\n-----END CERTIFICATE REQUEST-----";
        assert_eq!(request_bytes(pem), Some(vec![0x30, 0]));
        assert_eq!(request_bytes("MAA="), Some(vec![0x30, 0]));
        assert_eq!(request_bytes("%%"), None);
    }
}
