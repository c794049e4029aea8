//! Reading requests without letting a framework answer for us: every extractor here accepts
//! anything, and the surface decides how to say what is wrong with it.

use std::convert::Infallible;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;

/// The largest body a handler reads whole, in bytes. Bulk uploads stream instead.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// What can be wrong with a body before its members are looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// More than [`BODY_LIMIT`] bytes.
    #[error("the body is larger than {BODY_LIMIT} bytes")]
    TooLarge,
    /// The client went away, or its framing was broken.
    #[error("the body could not be read to its end")]
    Interrupted,
    /// No body, or only white space.
    #[error("a JSON body is required")]
    Missing,
    /// Not UTF-8.
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// Not JSON, or a member of another type than expected.
    #[error("{}{reason}", member_prefix(.member))]
    Malformed {
        /// Path of the offending member, such as `policy.name`; empty for the whole body.
        member: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn member_prefix(member: &str) -> String {
    if member.is_empty() {
        String::new()
    } else {
        format!("{member}: ")
    }
}

/// A whole body, or why there is none.
#[derive(Debug)]
pub struct RawBody(pub Result<Bytes, BodyFault>);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Infallible;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(read(request, BODY_LIMIT).await))
    }
}

impl RawBody {
    /// The body as a value of the expected shape.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, BodyFault> {
        parse(&self.0?)
    }

    /// The body's bytes.
    pub fn bytes(self) -> Result<Bytes, BodyFault> {
        self.0
    }
}

/// Reads a body of at most `limit` bytes.
pub async fn read(request: Request, limit: usize) -> Result<Bytes, BodyFault> {
    match Limited::new(request.into_body(), limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(BodyFault::TooLarge),
        Err(_) => Err(BodyFault::Interrupted),
    }
}

/// Parses a JSON body; the error names the member that does not fit.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BodyFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| BodyFault::NotUtf8)?;
    if text.trim().is_empty() {
        return Err(BodyFault::Missing);
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let member = error.path().to_string();
        BodyFault::Malformed {
            member: if member == "." { String::new() } else { member },
            reason: error.into_inner().to_string(),
        }
    })?;
    reader.end().map_err(|error| BodyFault::Malformed {
        member: String::new(),
        reason: error.to_string(),
    })?;
    Ok(value)
}

/// The parameters of the path, percent-decoded. One that is not UTF-8 counts as absent.
#[derive(Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// The parameter's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(RawPathParams::from_request_parts(parts, state)
            .await
            .map_or_else(
                |_| Self::default(),
                |params| {
                    Self(
                        params
                            .iter()
                            .map(|(key, value)| (key.into(), value.into()))
                            .collect(),
                    )
                },
            ))
    }
}

/// The query's parameters, decoded, in their order.
#[derive(Debug, Default, Clone)]
pub struct QueryPairs(Vec<(String, String)>);

impl QueryPairs {
    /// Parses a query string.
    pub fn parse(query: &str) -> Self {
        Self(
            form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// All pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for QueryPairs {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only the errors are looked at")]
    struct Shape {
        inner: Inner,
    }

    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only the errors are looked at")]
    struct Inner {
        count: i64,
    }

    #[test]
    fn faults_name_the_member() {
        let fault = parse::<Shape>(br#"{"inner":{"count":"x"}}"#).unwrap_err();
        assert!(
            fault.to_string().starts_with("inner.count: invalid type"),
            "{fault}"
        );
        assert_eq!(parse::<Shape>(b"  ").unwrap_err(), BodyFault::Missing);
        assert_eq!(parse::<Shape>(&[0xff]).unwrap_err(), BodyFault::NotUtf8);
        assert!(parse::<Shape>(br#"{"inner":{"count":1}} x"#).is_err());
        let deep = "[".repeat(100_000);
        assert!(parse::<serde_json::Value>(deep.as_bytes()).is_err());
    }

    #[test]
    fn queries_keep_order_and_repeats() {
        let query = QueryPairs::parse("a=1&b=%C3%A9&a=2&c");
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("b"), Some("é"));
        assert_eq!(query.get("c"), Some(""));
        assert_eq!(query.get("d"), None);
    }
}
