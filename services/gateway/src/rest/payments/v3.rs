//! Version 3 of the published interface: account mapper, batch transactions and vouchers.
//!
//! Its files disagree on the case of members, so members are found whatever their case; answers
//! have the case that is published.

pub(super) mod banks;
pub(super) mod batches;
pub(super) mod bills;
pub(super) mod mapper;
pub(super) mod rows;
pub(super) mod vouchers;

use std::collections::BTreeMap;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use publica_proto::payments::v1 as api;
use publica_types::{Currency, Money};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::body::{self, BodyFault};
use crate::respond;
use crate::rest::payments::{CALLBACK, CORRELATION, strict};
use crate::state::{Entry, EntryFault, GatewayState};

/// The largest body.
const BODY_LIMIT: usize = 64 << 20;
/// Characters of a callback's target.
const URL_CHARS: usize = 100;
/// Characters of a correlation id.
const CORRELATION_CHARS: usize = 64;
/// Stands for the id of a request that has no usable one.
const NO_ID: &str = "000000000000";

/// Why a request is not taken.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }
}

impl From<EntryFault> for Refusal {
    fn from(fault: EntryFault) -> Self {
        Self::new(fault.status(), fault.to_string())
    }
}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body is larger than 64 MiB; split it, or stream it to the native interface.",
            ),
            fault => Self::invalid(fault.to_string()),
        }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let reason = publica_rpc::reason(&status).unwrap_or_default();
        let code = match (reason.as_str(), status.code()) {
            ("SOURCE_REQUEST_REUSED", _) => StatusCode::CONFLICT,
            (_, Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange) => {
                StatusCode::BAD_REQUEST
            }
            (_, Code::AlreadyExists) => StatusCode::CONFLICT,
            (_, Code::NotFound) => StatusCode::NOT_FOUND,
            (_, Code::Unauthenticated) => StatusCode::UNAUTHORIZED,
            (_, Code::PermissionDenied) => StatusCode::FORBIDDEN,
            (
                _,
                Code::Unavailable
                | Code::Aborted
                | Code::ResourceExhausted
                | Code::DeadlineExceeded,
            ) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        match code {
            StatusCode::INTERNAL_SERVER_ERROR => Self::new(code, "Something went wrong here."),
            _ => Self::new(code, said(&status)),
        }
    }
}

/// What the block says is wrong, with the member if it names one.
fn said(status: &Status) -> String {
    use tonic_types::StatusExt as _;
    let details = status.get_details_bad_request();
    let violation = details.and_then(|details| details.field_violations.into_iter().next());
    match violation {
        Some(violation) if violation.field.starts_with("callback.url") => {
            format!("X-Callback-URL {}.", violation.description)
        }
        Some(violation) => format!("{} {}.", violation.field, violation.description),
        None => status.message().to_owned(),
    }
}

/// The acknowledgement, in lower or upper case: the files use both.
#[derive(Debug, Clone, Copy)]
enum Case {
    Lower,
    Upper,
}

fn acknowledge(
    status: StatusCode,
    case: Case,
    code: &str,
    text: &str,
    request_id: Option<&str>,
) -> Response {
    let text: String = text.chars().take(200).collect();
    let id = request_id.unwrap_or(NO_ID);
    let body = match case {
        Case::Lower => {
            json!({"responseCode": code, "responseDescription": text, "requestID": id})
        }
        Case::Upper => {
            json!({"ResponseCode": code, "ResponseDescription": text, "RequestID": id})
        }
    };
    respond::json(status, &body)
}

/// An answer that a request was not taken.
pub(super) fn refused(refusal: &Refusal, request_id: Option<&str>) -> Response {
    acknowledge(refusal.status, Case::Upper, "01", &refusal.text, request_id)
}

/// The same for a method that a path does not have.
pub(super) fn other_method(status: StatusCode, text: &str) -> Response {
    refused(&Refusal::new(status, text), None)
}

/// Lets the caller in and reads the body.
async fn open(
    state: &GatewayState,
    request: axum::extract::Request,
) -> Result<(Entry, HeaderMap, Bytes), Refusal> {
    let headers = request.headers().clone();
    let entry = state.enter(&headers).await?;
    let (extensions, path) = (
        request.extensions().clone(),
        request.uri().path().to_owned(),
    );
    let bytes = body::read(request, BODY_LIMIT).await?;
    strict::check(&extensions, &path, &bytes).map_err(Refusal::invalid)?;
    Ok((entry, headers, bytes))
}

/// A header under any of its spellings: trimmed, not empty, and not too long.
fn header(headers: &HeaderMap, names: &[&str], most: usize) -> Result<Option<String>, Refusal> {
    let Some(value) = names.iter().find_map(|name| headers.get(*name)) else {
        return Ok(None);
    };
    let text = value.to_str().map(str::trim).unwrap_or_default();
    match (1..=most).contains(&text.chars().count()) {
        true => Ok(Some(text.to_owned())),
        false => {
            let name = names.first().copied().unwrap_or_default();
            Err(Refusal::invalid(format!(
                "{name} must have 1 to {most} characters."
            )))
        }
    }
}

fn needed(headers: &HeaderMap, names: &[&str], most: usize) -> Result<String, Refusal> {
    let missing = || {
        let name = names.first().copied().unwrap_or_default();
        Refusal::invalid(format!("The header {name} is required."))
    };
    header(headers, names, most)?.ok_or_else(missing)
}

const TENANT: &[&str] = &["platform-tenantid", "x-platform-tenantid"];
const INSTITUTION: &[&str] = &["x-registering-institution-id", "registeringinstitutionid"];
const PROGRAM: &[&str] = &["x-program-id"];

/// The caller's correlation id, if there is one: visible characters of ASCII.
fn correlation(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let id = header(headers, &CORRELATION, CORRELATION_CHARS)?;
    match id {
        Some(id) if !id.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(Refusal::invalid("x-correlationid is malformed."))
        }
        id => Ok(id),
    }
}

/// Where the outcome goes, which version 3 always wants to know.
fn callback(headers: &HeaderMap) -> Result<api::Callback, Refusal> {
    Ok(api::Callback {
        url: needed(headers, &CALLBACK, URL_CHARS)?,
        correlation_id: correlation(headers)?.unwrap_or_default(),
        form: api::CallbackForm::V3.into(),
    })
}

/// The members of an object, found whatever their case.
pub(super) struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    /// Reads a body.
    pub(super) fn of_body(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        Self::of_text(text).ok_or_else(|| Refusal::invalid("The body must be a JSON object."))
    }

    fn of_text(text: &'a str) -> Option<Self> {
        let members: BTreeMap<String, &'a RawValue> = serde_json::from_str(text).ok()?;
        let lower = |(name, value): (String, &'a RawValue)| (name.to_lowercase(), value);
        Some(Self(members.into_iter().map(lower).collect()))
    }

    /// A member as it stands there; null is as good as absent.
    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.0.get(&name.to_lowercase()).copied();
        found.filter(|raw| raw.get() != "null")
    }

    /// A text of at most so many characters, none of them a control.
    fn text(&self, name: &str, most: usize) -> Result<Option<String>, Refusal> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        let text: String = serde_json::from_str(raw.get())
            .map_err(|_| Refusal::invalid(format!("{name} must be a text.")))?;
        match text.chars().count() > most || text.chars().any(char::is_control) {
            true => Err(Refusal::invalid(format!(
                "{name} must have at most {most} characters."
            ))),
            false => Ok(Some(text)),
        }
    }

    /// A text that must be there and not be blank.
    fn needed(&self, name: &str, most: usize) -> Result<String, Refusal> {
        let text = self
            .text(name, most)?
            .filter(|text| !text.trim().is_empty());
        text.ok_or_else(|| Refusal::invalid(format!("{name} is required.")))
    }

    /// Digits, as a text or as a number.
    fn digits(&self, name: &str, most: usize) -> Result<String, Refusal> {
        let number = self.raw(name).map(RawValue::get).filter(|literal| {
            literal.len() <= most && literal.bytes().all(|byte| byte.is_ascii_digit())
        });
        match number {
            Some(literal) => Ok(literal.to_owned()),
            None => self.needed(name, most),
        }
    }

    /// A list of objects that is not empty.
    fn list(&self, name: &str) -> Result<Vec<Members<'a>>, Refusal> {
        let wrong = || Refusal::invalid(format!("{name} must be a list of objects."));
        let raw = self.raw(name);
        let raw = raw.ok_or_else(|| Refusal::invalid(format!("{name} is required.")))?;
        let items = objects(raw.get()).ok_or_else(wrong)?;
        match items.is_empty() {
            true => Err(Refusal::invalid(format!("{name} must not be empty."))),
            false => Ok(items),
        }
    }

    /// A number's literal.
    fn number(&self, name: &str) -> Result<&'a str, Refusal> {
        let literal = self.raw(name).map(RawValue::get);
        let literal = literal.ok_or_else(|| Refusal::invalid(format!("{name} is required.")))?;
        match literal.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
            true => Ok(literal),
            false => Err(Refusal::invalid(format!("{name} must be a number."))),
        }
    }
}

/// A JSON array of objects.
fn objects(text: &str) -> Option<Vec<Members<'_>>> {
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    items
        .into_iter()
        .map(|item| Members::of_text(item.get()))
        .collect()
}

/// An amount as a number with the currency's decimals; what a double cannot hold exactly goes as
/// text.
fn number(minor: i64, currency: &str) -> Value {
    let text = match currency.parse::<Currency>() {
        Ok(currency) => Money::new(minor, currency).decimal(),
        Err(_) => minor.to_string(),
    };
    let plain = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    match text.parse::<serde_json::Number>() {
        Ok(number) if plain(&number.to_string()) == plain(&text) => Value::Number(number),
        _ => Value::String(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_in_any_case() {
        let members = Members::of_text(r#"{"RequestID":"R","AMOUNT":1.50,"none":null}"#).unwrap();
        assert_eq!(members.needed("requestId", 12).unwrap(), "R");
        assert_eq!(members.number("amount").unwrap(), "1.50");
        assert!(members.needed("none", 12).is_err() && members.number("requestid").is_err());
        assert!(members.text("requestid", 0).is_err());
        for wrong in ["[]", "7", "\"x\"", "", "{\"a\":"] {
            assert!(Members::of_text(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn headers_have_aliases() {
        let mut headers = HeaderMap::new();
        headers.insert("x-callback_url", "https://example.org/a".parse().unwrap());
        assert_eq!(callback(&headers).unwrap().url, "https://example.org/a");
        headers.insert("x-callback_url", "x".repeat(101).parse().unwrap());
        assert!(callback(&headers).is_err());
        assert!(callback(&HeaderMap::new()).is_err());
    }
}
