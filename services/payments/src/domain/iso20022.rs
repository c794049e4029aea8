//! Files of ISO 20022: payments that are ordered, what became of them, and what an account saw.
//!
//! Written are `pain.001.001.09`; read are `pain.002`, `camt.053` and `camt.054` of any version,
//! since what is taken from them stands in the same places, or in places that are told apart.

pub(crate) mod account;
pub(crate) mod initiation;
pub(crate) mod status;
mod xml;

#[cfg(test)]
mod tests;

use publica_types::{Currency, Money, Timestamp};

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Document {
    /// `pain.002`: what a bank says of payments that it was sent.
    Status(status::Report),
    /// `camt.054`: what was booked, told at once.
    Notice(account::Notice),
    /// `camt.053`: what was booked in some time, told completely.
    Statement(account::Notice),
}

impl Document {
    /// The kind of message, as ISO 20022 names it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Status(_) => "pain.002",
            Self::Notice(_) => "camt.054",
            Self::Statement(_) => "camt.053",
        }
    }

    /// The sender's id of the message.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Status(report) => &report.id,
            Self::Notice(notice) | Self::Statement(notice) => &notice.id,
        }
    }
}

/// Why a file is refused. Nothing of it is repeated, since it is about people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the file is not in UTF-8")]
    Encoding,
    #[error("the file is not well-formed XML near byte {0}")]
    Malformed(u64),
    #[error("the file has a document type or an entity of its own, which is not read")]
    Entity,
    #[error("elements are nested more than {} deep", xml::MOST_LEVELS)]
    Deep,
    #[error("a text is longer than {} bytes", xml::LONGEST_TEXT)]
    Long,
    #[error("the file is of no message that is read here: pain.002, camt.053 or camt.054")]
    Kind,
    #[error("{field}: {what}")]
    Field {
        field: &'static str,
        what: &'static str,
    },
}

const fn wrong(field: &'static str, what: &'static str) -> Fault {
    Fault::Field { field, what }
}

/// Reads a file.
pub(crate) fn read(bytes: &[u8]) -> Result<Document, Fault> {
    match xml::message(bytes)? {
        "pain.002" => status::read(bytes).map(Document::Status),
        "camt.053" => account::read(bytes).map(Document::Statement),
        "camt.054" => account::read(bytes).map(Document::Notice),
        _ => Err(Fault::Kind),
    }
}

/// The most characters of most ids.
pub(crate) const ID_CHARS: usize = 35;

/// An id as ISO 20022 has them.
fn id(field: &'static str, text: &str) -> Result<String, Fault> {
    match (1..=ID_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(wrong(field, "must have 1 to 35 characters")),
    }
}

/// The code of a reason: one of ISO 20022's, or that of other reasons.
fn reason(code: &str) -> String {
    match (1..=4).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => code.to_owned(),
        false => OTHER_REASON.to_owned(),
    }
}

/// A reason that has no code of its own.
pub(crate) const OTHER_REASON: &str = "MS03";

/// An amount with its currency.
fn money(field: &'static str, text: &str, currency: &str) -> Result<Money, Fault> {
    let currency: Currency = currency
        .parse()
        .map_err(|_| wrong(field, "has no currency"))?;
    let money = Money::parse(text, currency).map_err(|_| wrong(field, "is no amount"))?;
    match money.amount_minor >= 0 {
        true => Ok(money),
        false => Err(wrong(field, "is no amount")),
    }
}

/// A count of what a file says it holds.
fn count(field: &'static str, text: &str) -> Result<usize, Fault> {
    let digits = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let count = digits.then(|| text.parse().ok()).flatten();
    count.ok_or(wrong(field, "is no count"))
}

/// A time; without an offset it is taken as UTC.
fn time(field: &'static str, text: &str) -> Result<Timestamp, Fault> {
    let read = text.parse().or_else(|_| format!("{text}Z").parse());
    read.map_err(|_| wrong(field, "is no time"))
}

/// A day, with or without an offset, which changes nothing about which day it is.
fn day(field: &'static str, text: &str) -> Result<Timestamp, Fault> {
    let date = text.get(..10).unwrap_or_default();
    let midnight = format!("{date}T00:00:00Z").parse();
    midnight.map_err(|_| wrong(field, "is no date"))
}

/// Whether all banks can read a text: the Latin letters, digits and signs that all of them take.
pub(crate) fn plain(text: &str) -> bool {
    let sign = |byte: u8| b"/-?:().,'+ ".contains(&byte);
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || sign(byte))
        && !text.starts_with('/')
        && !text.ends_with('/')
        && !text.contains("//")
}
