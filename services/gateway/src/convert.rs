//! Conversions that several surfaces need.

use axum::http::HeaderMap;
use prost_types::Timestamp;

/// A time as RFC 3339 in UTC, if it is there and in range.
pub fn rfc3339(time: Option<&Timestamp>) -> Option<String> {
    publica_rpc::from_timestamp("time", time?)
        .ok()
        .map(|time| time.to_string())
}

/// The caller's own name for a mutation: the header `Idempotency-Key`, quoted or bare.
pub fn idempotency_key(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("idempotency-key")?.to_str().ok()?.trim();
    let bare = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(text);
    (!bare.is_empty()).then(|| bare.to_owned())
}

/// A time from RFC 3339, with any offset.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    text.parse::<publica_types::Timestamp>()
        .ok()
        .map(publica_rpc::timestamp)
}
