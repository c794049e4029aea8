//! Reading requests without letting a framework answer for us: every extractor here accepts
//! anything, and the surface decides how to say what is wrong with it.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt as _, Limited};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

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
    /// No JSON at all.
    #[error("{reason}")]
    NotJson {
        /// What is wrong and where.
        reason: String,
    },
    /// JSON that is missing a member, or has one of another type than expected.
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

    /// The body, an object, as a value of the expected shape, by the rules of [`parse_object`].
    pub fn parse_object<T: DeserializeOwned>(self) -> Result<T, BodyFault> {
        parse_object(&self.0?)
    }

    /// The body's bytes.
    pub fn bytes(self) -> Result<Bytes, BodyFault> {
        self.0
    }
}

/// Whether a body is JSON by its media type: `application/json`, or another one that ends in
/// `+json` (RFC 6839). One that names no media type is read as JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(sent) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let Ok(sent) = sent.to_str() else {
        return false;
    };
    let media = sent.split(';').next().unwrap_or_default().trim();
    let media = media.to_ascii_lowercase();
    media.is_empty() || media == "application/json" || media.ends_with("+json")
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
        let error = error.into_inner();
        if !error.is_data() {
            // Where a text stops being JSON says nothing about the member it happens in.
            return not_json(&error);
        }
        BodyFault::Malformed {
            // A path that ends in something without a name ends at what is around it.
            member: member
                .trim_end_matches(['.', '?'])
                .trim_end_matches("[?]")
                .to_owned(),
            reason: publica_json::shape(&error),
        }
    })?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

fn not_json(error: &serde_json::Error) -> BodyFault {
    BodyFault::NotJson {
        reason: error.to_string(),
    }
}

/// Parses a JSON body like [`parse`], and refuses what readers of JSON do not agree about: a
/// member that comes twice, and nesting beyond [`MAX_DEPTH`].
pub fn parse_strict<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BodyFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| BodyFault::NotUtf8)?;
    if text.trim().is_empty() {
        return Err(BodyFault::Missing);
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    Sound(0)
        .deserialize(&mut reader)
        .and_then(|()| reader.end())
        .map_err(|error| not_json(&error))?;
    parse(bytes)
}

/// Parses a JSON body like [`parse_strict`], which must be an object.
pub fn parse_object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BodyFault> {
    parse_strict::<Members<T>>(bytes).map(|members| members.0)
}

/// A value that is read from an object and from nothing else: by itself a structure also reads
/// the items of an array, as if they were its members in their order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Members<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_map(MembersVisitor(PhantomData))
    }
}

struct MembersVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for MembersVisitor<T> {
    type Value = Members<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Members<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Members)
    }
}

/// The deepest nesting of objects and arrays that [`parse_strict`] takes.
pub const MAX_DEPTH: usize = 64;

/// Reads a value for its form alone, at a depth.
#[derive(Clone, Copy)]
struct Sound(usize);

impl Sound {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.0 == MAX_DEPTH {
            Err(E::custom(format!("nested more than {MAX_DEPTH} deep")))
        } else {
            Ok(Self(self.0 + 1))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Sound {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name) {
                return Err(serde::de::Error::custom("a member comes twice"));
            }
            members.next_value_seed(inner)?;
        }
        Ok(())
    }
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

    /// The parameter as an id; empty, which no id is, where it holds what no id can hold. A
    /// database need not take every character, and must not have to.
    pub fn id(&self, name: &str) -> String {
        self.get(name)
            .filter(|id| !id.chars().any(char::is_control))
            .unwrap_or_default()
            .to_owned()
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

    /// Names that come more than once, each of them once. Anybody may send long lists of names.
    pub fn repeated(&self) -> Vec<&str> {
        let (mut seen, mut told) = (HashSet::new(), HashSet::new());
        let names = self.iter().map(|(name, _)| name);
        names
            .filter(|name| !seen.insert(*name) && told.insert(*name))
            .collect()
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
    use proptest::prelude::*;

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
    fn media_types_say_whether_a_body_is_json() {
        let said = |media: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, media.parse().unwrap());
            is_json(&headers)
        };
        assert!(is_json(&HeaderMap::new()));
        for json in [
            "",
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/a+json",
        ] {
            assert!(said(json), "{json}");
        }
        for other in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonx",
        ] {
            assert!(!said(other), "{other}");
        }
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
    fn what_is_no_json_names_no_member() {
        for text in ["{", "[", r#"{"inner":{"count":"#, r#"{"inner" 1}"#, "x"] {
            let fault = parse::<Shape>(text.as_bytes()).unwrap_err();
            assert!(
                matches!(fault, BodyFault::NotJson { .. }),
                "{text}: {fault:?}"
            );
        }
        for text in ["[]", "7", "null", "{}"] {
            let fault = parse::<Shape>(text.as_bytes()).unwrap_err();
            let BodyFault::Malformed { member, .. } = fault else {
                panic!("{text}: {fault:?}");
            };
            assert_eq!(member, "", "{text}");
        }
    }

    #[test]
    fn what_readers_disagree_about_is_refused() {
        type Any = serde_json::Value;
        assert!(parse_strict::<Any>(br#"{"a":{"b":[1,2.5,-3,true,null,"x"]},"b":1}"#).is_ok());
        assert!(parse_strict::<Any>(br#"{"a":1,"b":{"c":1,"c":2}}"#).is_err());
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse_strict::<Any>(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(parse_strict::<Any>(nested(MAX_DEPTH + 1).as_bytes()).is_err());
        assert_eq!(parse_strict::<Any>(b"").unwrap_err(), BodyFault::Missing);
        assert!(parse_object::<Shape>(br#"{"inner":{"count":1}}"#).is_ok());
        for text in ["[]", "[[1]]", "7"] {
            let fault = parse_object::<Shape>(text.as_bytes()).unwrap_err();
            assert!(fault.to_string().contains("expected an object"), "{fault}");
        }
    }

    #[test]
    fn queries_keep_order_and_repeats() {
        let query = QueryPairs::parse("a=1&b=%C3%A9&a=2&c");
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("b"), Some("é"));
        assert_eq!(query.get("c"), Some(""));
        assert_eq!(query.get("d"), None);
    }

    #[test]
    fn repeated_names_are_told_once_however_many_there_are() {
        let query = QueryPairs::parse("a=1&b=2&a=3&c=4&b=5&a=6");
        assert_eq!(query.repeated(), ["a", "b"]);
        assert!(QueryPairs::parse("a=1&b=1").repeated().is_empty());
        let long: String = (0..100_000).map(|n| format!("{n}&")).collect();
        assert!(QueryPairs::parse(&long).repeated().is_empty());
    }

    /// JSON that is nested, repeated or cut in odd places.
    fn odd_json() -> impl Strategy<Value = String> {
        const PIECES: &[&str] = &[
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"inner\"",
            "\"count\"",
            "\"S3CRET\"",
            "1",
            "-1e999",
            "null",
            "true",
            "\"\\u0000\"",
            "\"\\ud800\"",
            " ",
            "\n",
            "{\"inner\":{\"count\":",
            "é",
            "\"x, expected S3CRET at line 1\"",
        ];
        let piece = (prop::sample::select(PIECES), 1_usize..3).prop_map(|(one, n)| one.repeat(n));
        let deep = (1_usize..300, prop::sample::select(vec!["[", "{\"a\":"]))
            .prop_map(|(depth, open)| open.repeat(depth));
        let any = prop::collection::vec(prop_oneof![9 => piece, 1 => deep], 0..20);
        let wrong = prop::sample::select(PIECES)
            .prop_map(|value| vec![format!("{{\"inner\":{{\"count\":{value}}}}}")]);
        prop_oneof![any, wrong].prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(text in odd_json()) {
            for fault in [
                parse::<Shape>(text.as_bytes()).err(),
                parse_object::<Shape>(text.as_bytes()).err(),
            ].into_iter().flatten() {
                prop_assert!(!fault.to_string().contains("S3CRET") || text.contains("\"S3CRET\":"));
            }
            if let Ok(value) = parse_strict::<serde_json::Value>(text.as_bytes()) {
                let again = parse_strict::<serde_json::Value>(value.to_string().as_bytes());
                prop_assert_eq!(again.ok(), Some(value));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_strict::<serde_json::Value>(&bytes);
        }
    }
}
