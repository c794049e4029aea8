//! `pain.001.001.09`: payments that a bank is to make.

use std::fmt::Write as _;

use publica_types::{Currency, Money, Timestamp, Uuid};
use quick_xml::escape::escape;

use super::plain;
use crate::domain::address::{iban, looks_like_iban};

/// The most characters of an account that has no IBAN.
const ACCOUNT_CHARS: usize = 34;
/// Amounts have at most 18 digits.
const MOST_MINOR: i64 = 999_999_999_999_999_999;
const NAME_CHARS: usize = 140;

/// The account that pays, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Debtor {
    pub(crate) name: String,
    pub(crate) account: String,
    /// A BIC, or the bank's number in its clearing system.
    pub(crate) agent: String,
}

/// How payments are made, for all of them alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) debtor: Debtor,
    /// Whether the bank books all of a file as one.
    pub(crate) batch_booking: bool,
    /// What the payments are for, as a code of ISO 20022; empty for none.
    pub(crate) purpose: String,
    /// Who bears charges: `SLEV`, `DEBT`, `CRED` or `SHAR`.
    pub(crate) charge_bearer: String,
}

/// A payment.
#[derive(Debug, Clone)]
pub(crate) struct Payment {
    pub(crate) end_to_end_id: Uuid,
    pub(crate) account: String,
    pub(crate) amount_minor: i64,
}

/// Payments to one institution, in one message.
#[derive(Debug)]
pub(crate) struct Initiation<'a> {
    pub(crate) message_id: Uuid,
    pub(crate) created_at: Timestamp,
    pub(crate) institution: &'a str,
    pub(crate) currency: Currency,
    pub(crate) payments: &'a [Payment],
}

/// An id of ours as it stands in files: 32 characters, where a UUID with hyphens is too long.
pub(crate) fn short(id: Uuid) -> String {
    id.simple().to_string()
}

/// Why a payment cannot stand in a file: a code of ISO 20022.
pub(crate) fn unfit(account: &str, amount_minor: i64) -> Option<&'static str> {
    let other = account.chars().count() <= ACCOUNT_CHARS && plain(account);
    if account.trim().is_empty() || !(other || iban(account)) {
        return Some("AC01");
    }
    (amount_minor > MOST_MINOR).then_some("AM02")
}

/// True for a name that a file can have.
pub(crate) fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= NAME_CHARS && plain(text)
}

/// True for an account that a file can have.
pub(crate) fn is_account(text: &str) -> bool {
    unfit(text, 1).is_none() && (iban(text) || !looks_like_iban(text))
}

/// True for the form of a BIC: bank, country, place and perhaps branch.
pub(crate) fn is_bic(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shouted = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    matches!(bytes.len(), 8 | 11)
        && bytes.iter().all(shouted)
        && bytes[4..6].iter().all(u8::is_ascii_uppercase)
}

/// Writes a message. The same input gives the same bytes.
pub(crate) fn write(terms: &Terms, initiation: &Initiation<'_>) -> String {
    let mut out = Out(String::with_capacity(
        2_000 + initiation.payments.len() * 600,
    ));
    out.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.raw("<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:pain.001.001.09\">");
    out.within("CstmrCdtTrfInitn", |out| {
        out.within("GrpHdr", |out| {
            let moment = Timestamp::from_seconds(initiation.created_at.seconds());
            out.put("MsgId", &short(initiation.message_id));
            out.put("CreDtTm", &moment.to_string());
            totals(out, initiation);
            out.within("InitgPty", |out| out.put("Nm", &terms.debtor.name));
        });
        out.within("PmtInf", |out| {
            order(out, terms, initiation);
            for payment in initiation.payments {
                transfer(out, initiation, payment);
            }
        });
    });
    out.raw("</Document>\n");
    out.0
}

fn totals(out: &mut Out, initiation: &Initiation<'_>) {
    out.put("NbOfTxs", &initiation.payments.len().to_string());
    let amounts = initiation.payments.iter().map(|paid| paid.amount_minor);
    let sum = amounts.fold(0, i64::saturating_add);
    // A sum that has too many digits is left out, which the message allows.
    if sum <= MOST_MINOR {
        let sum = Money::new(sum, initiation.currency);
        out.put("CtrlSum", &sum.decimal());
    }
}

/// What is the same for all payments.
fn order(out: &mut Out, terms: &Terms, initiation: &Initiation<'_>) {
    let debtor = &terms.debtor;
    out.put("PmtInfId", &short(initiation.message_id));
    out.put("PmtMtd", "TRF");
    out.put("BtchBookg", &terms.batch_booking.to_string());
    totals(out, initiation);
    if !terms.purpose.is_empty() {
        out.within("PmtTpInf", |out| {
            out.within("CtgyPurp", |out| out.put("Cd", &terms.purpose));
        });
    }
    let (year, month, day) = initiation.created_at.date();
    let date = format!("{year:04}-{month:02}-{day:02}");
    out.within("ReqdExctnDt", |out| out.put("Dt", &date));
    out.within("Dbtr", |out| out.put("Nm", &debtor.name));
    account(out, "DbtrAcct", &debtor.account);
    out.within("DbtrAgt", |out| agent(out, &debtor.agent));
    out.put("ChrgBr", &terms.charge_bearer);
}

fn transfer(out: &mut Out, initiation: &Initiation<'_>, payment: &Payment) {
    let amount = Money::new(payment.amount_minor, initiation.currency);
    out.within("CdtTrfTxInf", |out| {
        out.within("PmtId", |out| {
            out.put("InstrId", &short(payment.end_to_end_id));
            out.put("EndToEndId", &short(payment.end_to_end_id));
            out.put("UETR", &payment.end_to_end_id.hyphenated().to_string());
        });
        out.within("Amt", |out| {
            let (currency, amount) = (amount.currency.code(), amount.decimal());
            out.raw(&format!("<InstdAmt Ccy=\"{currency}\">{amount}</InstdAmt>"));
        });
        // An IBAN names its bank; the short code that we made of it names none.
        if is_bic(initiation.institution) || !iban(&payment.account) {
            out.within("CdtrAgt", |out| agent(out, initiation.institution));
        }
        account(out, "CdtrAcct", &payment.account);
    });
}

fn account(out: &mut Out, tag: &str, account: &str) {
    out.within(tag, |out| {
        out.within("Id", |out| match iban(account) {
            true => out.put("IBAN", account),
            false => out.within("Othr", |out| out.put("Id", account)),
        });
    });
}

fn agent(out: &mut Out, code: &str) {
    out.within("FinInstnId", |out| match is_bic(code) {
        true => out.put("BICFI", code),
        false => out.within("ClrSysMmbId", |out| out.put("MmbId", code)),
    });
}

/// XML on its way out.
struct Out(String);

impl Out {
    fn raw(&mut self, text: &str) {
        self.0.push_str(text);
    }

    fn put(&mut self, tag: &str, text: &str) {
        // Writing to a text cannot fail.
        let _ = write!(self.0, "<{tag}>{}</{tag}>", escape(text));
    }

    fn within(&mut self, tag: &str, inner: impl FnOnce(&mut Self)) {
        let _ = write!(self.0, "<{tag}>");
        inner(self);
        let _ = write!(self.0, "</{tag}>");
    }
}
