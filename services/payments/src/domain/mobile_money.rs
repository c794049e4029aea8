//! The wire format of the GSMA Mobile Money API: what is said to a provider, and what its answers
//! mean. Where an answer leaves a doubt, the outcome is open.

use publica_types::{Currency, Money, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::iso20022::OTHER_REASON;

/// Amounts have at most 18 digits before the point.
const MOST_DIGITS: usize = 18;
const REFERENCE_CHARS: usize = 256;

/// What a provider says of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It works on it, under an id of its own.
    Working { reference: String },
    /// The transaction stands here.
    At { path: String },
    /// It was made; over this amount, if that is told.
    Settled { amount: Option<Money> },
    /// It was not made, and will not be.
    Rejected { reason_code: String },
    /// It knows of no such request.
    Nothing,
    /// What it says leaves everything open.
    Open,
}

/// Why a payment cannot be said to a provider: a code of ISO 20022.
pub(crate) fn unfit(key: &str, address: &str, amount: &Money) -> Option<&'static str> {
    let digits = address.strip_prefix('+').unwrap_or(address);
    let telephone = (5..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if address.trim().is_empty() || (key == "msisdn" && !telephone) {
        return Some("AC01");
    }
    let whole = amount.decimal();
    let whole = whole.split('.').next().map_or(0, str::len);
    (whole > MOST_DIGITS).then_some("AM02")
}

/// An amount in the form of the interface: no zeros at the end.
pub(crate) fn amount(money: &Money) -> String {
    let text = money.decimal();
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A party as the interface names it: one key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Party<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
}

/// The body of a disbursement.
pub(crate) fn disbursement(
    from: &Party<'_>,
    to: &Party<'_>,
    money: &Money,
    reference: &str,
) -> Value {
    let party = |party: &Party<'_>| json!([{"key": party.key, "value": party.value}]);
    json!({
        "amount": amount(money),
        "currency": money.currency.code(),
        "debitParty": party(from),
        "creditParty": party(to),
        "requestingOrganisationTransactionReference": reference,
    })
}

/// The members of answers that are looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    server_correlation_id: Option<String>,
    status: Option<String>,
    error: Option<Fault>,
    transaction_status: Option<String>,
    amount: Option<String>,
    currency: Option<String>,
    link: Option<String>,
    #[serde(flatten)]
    fault: Fault,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Fault {
    error_category: Option<String>,
    error_code: Option<String>,
}

impl Fault {
    /// The reason, if the request itself is refused for good.
    fn refusal(&self) -> Option<String> {
        let code = self.error_code.as_deref()?;
        let category = self.error_category.as_deref()?;
        let final_ones = ["businessRule", "validation", "identification"];
        let refused = final_ones.contains(&category) && code != "duplicateRequest";
        refused.then(|| reason(code).to_owned())
    }

    /// The reason why a request failed that was taken.
    fn failure(&self) -> String {
        reason(self.error_code.as_deref().unwrap_or_default()).to_owned()
    }
}

/// What ISO 20022 calls the reasons of the interface.
fn reason(code: &str) -> &'static str {
    match code {
        "identifierError" => "BE06",
        "insufficientFunds" => "AM04",
        "duplicateRequest" => "AM05",
        "currencyNotSupported" => "AM03",
        "accountMaxTotalValueExceeded" => "AM14",
        _ => OTHER_REASON,
    }
}

fn read(body: &[u8]) -> Body {
    serde_json::from_slice(body).unwrap_or_default()
}

fn sound(reference: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=REFERENCE_CHARS).contains(&reference.len()) && reference.bytes().all(plain)
}

/// What the answer to an order means.
pub(crate) fn ordered(status: u16, body: &[u8]) -> Heard {
    let body = read(body);
    match status {
        200..=202 if body.transaction_status.is_some() => transaction(&body),
        200..=202 => state(&body),
        // A repeat that it refuses says nothing of the first.
        400 | 404 | 422 => match body.fault.refusal() {
            Some(reason_code) => Heard::Rejected { reason_code },
            None => Heard::Open,
        },
        _ => Heard::Open,
    }
}

/// What the answer about a request means that the provider took.
pub(crate) fn request_state(status: u16, body: &[u8]) -> Heard {
    let body = read(body);
    match status {
        200 => state(&body),
        404 => nothing(&body),
        _ => Heard::Open,
    }
}

/// What the answer about our own id of a request means.
pub(crate) fn response(status: u16, body: &[u8]) -> Heard {
    let body = read(body);
    let place = body.link.as_deref().and_then(|link| {
        let reference = link.strip_prefix("/transactions/");
        reference.filter(|reference| sound(reference))
    });
    match (status, place) {
        (200, Some(reference)) => Heard::At {
            path: format!("transactions/{reference}"),
        },
        (404, _) => nothing(&body),
        _ => Heard::Open,
    }
}

/// What the answer about a transaction means.
pub(crate) fn transaction_state(status: u16, body: &[u8]) -> Heard {
    match status {
        200 => transaction(&read(body)),
        _ => Heard::Open,
    }
}

/// Only the interface itself can say that there is nothing; whatever stands before it cannot.
fn nothing(body: &Body) -> Heard {
    match body.fault.error_category.as_deref() {
        Some("identification") => Heard::Nothing,
        _ => Heard::Open,
    }
}

fn state(body: &Body) -> Heard {
    let reference = body.server_correlation_id.clone();
    let reference = reference.filter(|reference| sound(reference));
    match (body.status.as_deref(), reference) {
        (Some("pending"), Some(reference)) => Heard::Working { reference },
        (Some("completed"), _) => Heard::Settled { amount: None },
        (Some("failed"), _) => Heard::Rejected {
            reason_code: body
                .error
                .as_ref()
                .map_or_else(|| OTHER_REASON.to_owned(), Fault::failure),
        },
        _ => Heard::Open,
    }
}

fn transaction(body: &Body) -> Heard {
    match body.transaction_status.as_deref() {
        Some("completed") => {
            let currency = body
                .currency
                .as_deref()
                .and_then(|c| c.parse::<Currency>().ok());
            let amount = body.amount.as_deref().zip(currency);
            match amount.map(|(amount, currency)| Money::parse(amount, currency)) {
                Some(Ok(amount)) => Heard::Settled {
                    amount: Some(amount),
                },
                Some(Err(_)) => Heard::Open,
                None => Heard::Settled { amount: None },
            }
        }
        Some("failed" | "declined" | "rejected" | "reversed") => Heard::Rejected {
            reason_code: OTHER_REASON.to_owned(),
        },
        _ => Heard::Open,
    }
}

/// A moment as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn http_date(at: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    const DAY_SECONDS: i64 = 86_400;
    let pick = |names: &'static [&'static str], at: i64| {
        let at = usize::try_from(at).ok().and_then(|at| names.get(at));
        at.copied().unwrap_or_default()
    };
    let seconds = at.seconds();
    // The first day of the epoch was a Thursday.
    let weekday = pick(&DAYS, seconds.div_euclid(DAY_SECONDS).rem_euclid(7));
    let (year, month, day) = at.date();
    let month = pick(&MONTHS, i64::from(month) - 1);
    let second = seconds.rem_euclid(DAY_SECONDS);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn money(minor: i64, currency: &str) -> Money {
        Money::new(minor, currency.parse().unwrap())
    }

    #[test]
    fn amounts_have_no_zeros_at_the_end() {
        for (minor, currency, text) in [
            (1_000, "USD", "10"),
            (1_050, "USD", "10.5"),
            (1, "USD", "0.01"),
            (1_000, "JPY", "1000"),
            (1_234, "KWD", "1.234"),
        ] {
            assert_eq!(amount(&money(minor, currency)), text);
        }
    }

    #[test]
    fn moments_are_those_of_http() {
        let at = Timestamp::from_seconds(784_111_777);
        assert_eq!(http_date(at), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(Timestamp::EPOCH), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn what_cannot_be_said_is_rejected() {
        let ten = money(1_000, "USD");
        for (key, address, code) in [
            ("msisdn", "+31612345678", None),
            ("msisdn", "31612345678", None),
            ("msisdn", "1234", Some("AC01")),
            ("msisdn", "12345678901234567", Some("AC01")),
            ("msisdn", "wallet", Some("AC01")),
            ("walletid", "wallet", None),
            ("walletid", " ", Some("AC01")),
        ] {
            assert_eq!(unfit(key, address, &ten), code, "{key} {address}");
        }
        assert_eq!(
            unfit("msisdn", "31612345678", &money(i64::MAX, "JPY")),
            Some("AM02")
        );
    }

    #[test]
    fn answers_to_orders() {
        let rejected = |code: &str| Heard::Rejected {
            reason_code: code.to_owned(),
        };
        let fault = |category: &str, code: &str| {
            format!("{{\"errorCategory\": \"{category}\", \"errorCode\": \"{code}\"}}")
        };
        let pending = r#"{"serverCorrelationId": "a-1", "status": "pending"}"#.to_owned();
        let working = Heard::Working {
            reference: "a-1".to_owned(),
        };
        for (status, body, heard) in [
            (202, pending.clone(), working.clone()),
            (202, pending.replace("a-1", "../a"), Heard::Open),
            (202, "{}".to_owned(), Heard::Open),
            (202, "no json".to_owned(), Heard::Open),
            (
                201,
                r#"{"transactionStatus": "completed"}"#.to_owned(),
                Heard::Settled { amount: None },
            ),
            (
                400,
                fault("businessRule", "insufficientFunds"),
                rejected("AM04"),
            ),
            (
                404,
                fault("identification", "identifierError"),
                rejected("BE06"),
            ),
            (400, fault("businessRule", "duplicateRequest"), Heard::Open),
            (400, fault("validation", "formatError"), rejected("MS03")),
            (400, fault("authorization", "x"), Heard::Open),
            (400, "{}".to_owned(), Heard::Open),
            (404, "<html>".to_owned(), Heard::Open),
            (401, fault("businessRule", "x"), Heard::Open),
            (409, fault("businessRule", "x"), Heard::Open),
            (500, fault("internal", "x"), Heard::Open),
            (503, fault("businessRule", "x"), Heard::Open),
        ] {
            assert_eq!(ordered(status, body.as_bytes()), heard, "{status} {body}");
        }
        let failed = r#"{"status": "failed", "error": {"errorCode": "identifierError"}}"#;
        assert_eq!(request_state(200, failed.as_bytes()), rejected("BE06"));
        assert_eq!(request_state(200, pending.as_bytes()), working);
        assert_eq!(
            request_state(200, b"{\"status\": \"completed\"}"),
            Heard::Settled { amount: None }
        );
    }

    #[test]
    fn only_the_interface_says_that_there_is_nothing() {
        let nothing = r#"{"errorCategory": "identification", "errorCode": "identifierError"}"#;
        assert_eq!(response(404, nothing.as_bytes()), Heard::Nothing);
        assert_eq!(request_state(404, nothing.as_bytes()), Heard::Nothing);
        assert_eq!(response(404, b"<html>not found</html>"), Heard::Open);
        assert_eq!(response(500, nothing.as_bytes()), Heard::Open);
        let at = response(200, br#"{"link": "/transactions/T-1"}"#);
        assert_eq!(
            at,
            Heard::At {
                path: "transactions/T-1".to_owned()
            }
        );
        for away in [
            "//evil",
            "/transactions/../x",
            "https://evil/transactions/1",
            "/transactions/",
        ] {
            let body = json!({"link": away}).to_string();
            assert_eq!(response(200, body.as_bytes()), Heard::Open, "{away}");
        }
        let done = br#"{"transactionStatus": "completed", "amount": "10.5", "currency": "USD"}"#;
        let settled = Heard::Settled {
            amount: Some(money(1_050, "USD")),
        };
        assert_eq!(transaction_state(200, done), settled);
        let strange = br#"{"transactionStatus": "completed", "amount": "x", "currency": "USD"}"#;
        assert_eq!(transaction_state(200, strange), Heard::Open);
    }

    proptest! {
        #[test]
        fn any_answer_is_read(
            status in 100_u16..600,
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = ordered(status, &body);
            let _ = request_state(status, &body);
            let _ = response(status, &body);
            let _ = transaction_state(status, &body);
        }
    }
}
