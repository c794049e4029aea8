//! What answers and reports of a provider mean.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::{id, text_at};
use crate::domain::receipt::{Fate, Receipt};

/// Reports of one call.
const REPORTS_MAX: usize = 1_000;
/// The longest text of an answer that is no JSON and still looked at.
const TEXT_MAX: usize = 1_024;

/// What an answer can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    Accepted,
    Refused,
    Later,
    Unknown,
}

impl Means {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "accepted" => Some(Self::Accepted),
            "refused" => Some(Self::Refused),
            "later" => Some(Self::Later),
            "unknown" => Some(Self::Unknown),
            _ => None,
        }
    }
}

/// The statuses of HTTP for which a rule holds.
pub(crate) type Statuses = RangeInclusive<u16>;

/// One rule: if the status is among these, and one of these values stands there, the answer
/// means that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) statuses: Statuses,
    /// Where in the answer; with no values, nothing needs to stand there.
    pub(crate) pointer: String,
    pub(crate) values: Vec<String>,
    pub(crate) means: Means,
    pub(crate) reason: &'static str,
}

/// How answers are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AnswerRules {
    /// Where the provider's id of the message stands; without, reports have ours.
    pub(crate) id: Option<String>,
    /// The first rule that fits counts.
    pub(crate) rules: Vec<Rule>,
}

/// What an answer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It took the message, under its id if it has one.
    Accepted { id: Option<String> },
    /// It will not take this message.
    Refused { reason: &'static str },
    /// It does not take this message now.
    Later { reason: &'static str },
    /// It takes no message now, or none from us: nothing is wrong with this one.
    Closed,
    /// It may have taken the message.
    Unknown,
}

impl AnswerRules {
    /// Reads an answer.
    pub(crate) fn judge(&self, status: u16, body: &[u8]) -> Heard {
        let body = value(body);
        let fits = |rule: &&Rule| {
            let there = || text_at(&body, &rule.pointer);
            let among = |text: String| rule.values.contains(&text);
            rule.statuses.contains(&status)
                && (rule.values.is_empty() || there().is_some_and(among))
        };
        let accepted = || Heard::Accepted {
            id: self
                .id
                .as_ref()
                .and_then(|at| text_at(&body, at))
                .and_then(id),
        };
        if let Some(rule) = self.rules.iter().find(fits) {
            return match rule.means {
                Means::Accepted => accepted(),
                Means::Refused => Heard::Refused {
                    reason: rule.reason,
                },
                Means::Later => Heard::Later {
                    reason: rule.reason,
                },
                Means::Unknown => Heard::Unknown,
            };
        }
        match status {
            200..=299 => accepted(),
            // Too much at once, or out of order before it began.
            429 | 503 => Heard::Closed,
            // The address or the credentials are wrong, or the provider has moved.
            300..=399 | 401..=407 => Heard::Closed,
            // It broke while it had the message in hand, or somebody between us did.
            408 | 500..=599 => Heard::Unknown,
            _ => Heard::Refused { reason: "refused" },
        }
    }
}

/// How reports of deliveries are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReportRules {
    /// Where the list of reports stands; without one, the body is a single report.
    pub(crate) items: Option<String>,
    /// Where in a report the id stands that the answer gave.
    pub(crate) id: String,
    /// Where its word for the state stands.
    pub(crate) status: String,
    /// Where its number for an error stands, if it has one.
    pub(crate) error: Option<String>,
    /// Its words for states that are final. All others say that the message is on its way.
    pub(crate) words: Vec<(String, Fate)>,
}

/// Why a report cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReportError {
    #[error("the report is neither JSON nor a form")]
    Form,
    #[error("there is no list of reports where it should be")]
    NoList,
    #[error("there are more than 1000 reports")]
    TooMany,
}

impl ReportRules {
    /// Reads the reports of one call; those without an id are left out.
    pub(crate) fn read(&self, body: &[u8], form: bool) -> Result<Vec<Receipt>, ReportError> {
        let body = if form {
            fields(body)
        } else {
            serde_json::from_slice(body).map_err(|_| ReportError::Form)?
        };
        let items = match &self.items {
            None => std::slice::from_ref(&body),
            Some(at) => {
                let list = body.pointer(at).and_then(Value::as_array);
                list.ok_or(ReportError::NoList)?.as_slice()
            }
        };
        if items.len() > REPORTS_MAX {
            return Err(ReportError::TooMany);
        }
        Ok(items.iter().filter_map(|item| self.one(item)).collect())
    }

    fn one(&self, item: &Value) -> Option<Receipt> {
        let id = text_at(item, &self.id).and_then(id)?;
        let word = text_at(item, &self.status)?;
        let known = self
            .words
            .iter()
            .find(|(one, _)| one.eq_ignore_ascii_case(&word));
        let code = self.error.as_ref().and_then(|at| text_at(item, at));
        Some(Receipt {
            id,
            fate: known.map(|(_, fate)| *fate),
            code: code.and_then(|code| code.parse().ok()).unwrap_or_default(),
        })
    }
}

/// An answer as a value; one that is no JSON is a text.
fn value(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(body);
        Value::String(text.trim().chars().take(TEXT_MAX).collect())
    })
}

/// The fields of a form as an object.
fn fields(body: &[u8]) -> Value {
    form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules() -> AnswerRules {
        let rule = |pointer: &str, values: &[&str], means, reason| Rule {
            statuses: 200..=499,
            pointer: pointer.to_owned(),
            values: values.iter().map(|one| (*one).to_owned()).collect(),
            means,
            reason,
        };
        AnswerRules {
            id: Some("/messages/0/id".to_owned()),
            rules: vec![
                rule(
                    "/messages/0/status",
                    &["4", "5"],
                    Means::Refused,
                    "no_such_number",
                ),
                rule(
                    "/messages/0/status",
                    &["1"],
                    Means::Later,
                    "refused_for_now",
                ),
                rule("", &["BUSY"], Means::Later, "throttled"),
                rule("/lost", &["true"], Means::Unknown, ""),
            ],
        }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let accepted = |id: Option<&str>| Heard::Accepted {
            id: id.map(str::to_owned),
        };
        let refused = |reason| Heard::Refused { reason };
        for (status, body, expected) in [
            (
                200,
                r#"{"messages": [{"id": 17, "status": 0}]}"#,
                accepted(Some("17")),
            ),
            (
                202,
                r#"{"messages": [{"id": " a ", "status": "0"}]}"#,
                accepted(Some("a")),
            ),
            (
                200,
                r#"{"messages": [{"status": 4}]}"#,
                refused("no_such_number"),
            ),
            (
                400,
                r#"{"messages": [{"status": "5"}]}"#,
                refused("no_such_number"),
            ),
            (
                200,
                r#"{"messages": [{"status": 1}]}"#,
                Heard::Later {
                    reason: "refused_for_now",
                },
            ),
            (
                200,
                " BUSY\n",
                Heard::Later {
                    reason: "throttled",
                },
            ),
            (200, r#"{"lost": true}"#, Heard::Unknown),
            // What was taken is not sent again because its id cannot be read.
            (200, "OK", accepted(None)),
            (200, r#"{"messages": [{"id": ""}]}"#, accepted(None)),
            (422, "{}", refused("refused")),
            (429, "", Heard::Closed),
            (503, "", Heard::Closed),
            (401, "", Heard::Closed),
            (302, "", Heard::Closed),
            (500, r#"{"messages": [{"status": 4}]}"#, Heard::Unknown),
            (504, "", Heard::Unknown),
            (408, "", Heard::Unknown),
        ] {
            assert_eq!(
                rules().judge(status, body.as_bytes()),
                expected,
                "{status} {body}"
            );
        }
    }

    #[test]
    fn a_bare_answer_may_be_the_id() {
        let rules = AnswerRules {
            id: Some(String::new()),
            rules: Vec::new(),
        };
        let id = |body: &str| rules.judge(200, body.as_bytes());
        assert_eq!(
            id("a-1\r\n"),
            Heard::Accepted {
                id: Some("a-1".to_owned())
            }
        );
        assert_eq!(id(&"x".repeat(200)), Heard::Accepted { id: None });
    }

    fn reports(items: Option<&str>) -> ReportRules {
        ReportRules {
            items: items.map(str::to_owned),
            id: "/id".to_owned(),
            status: "/state".to_owned(),
            error: Some("/error".to_owned()),
            words: vec![
                ("DELIVERED".to_owned(), Fate::Delivered),
                ("FAILED".to_owned(), Fate::Undeliverable),
            ],
        }
    }

    #[test]
    fn reports_are_read_in_each_form() {
        let found = reports(Some("/results")).read(
            br#"{"results": [{"id": "a", "state": "delivered"}, {"state": "FAILED"},
                {"id": 7, "state": "FAILED", "error": 27}, {"id": "b", "state": "QUEUED"}]}"#,
            false,
        );
        let found: Vec<_> = found
            .unwrap()
            .into_iter()
            .map(|one| (one.id, one.fate, one.code))
            .collect();
        let expected = [
            ("a".to_owned(), Some(Fate::Delivered), 0),
            ("7".to_owned(), Some(Fate::Undeliverable), 27),
            ("b".to_owned(), None, 0),
        ];
        assert_eq!(found, expected);
        let form = reports(None)
            .read(b"id=a%2B1&state=FAILED&error=x", true)
            .unwrap();
        assert_eq!(
            (form[0].id.as_str(), form[0].fate),
            ("a+1", Some(Fate::Undeliverable))
        );
    }

    #[test]
    fn what_is_no_report_is_refused() {
        let read = |items, body: &str| reports(items).read(body.as_bytes(), false);
        assert_eq!(read(None, "{"), Err(ReportError::Form));
        assert_eq!(read(Some("/x"), "{}"), Err(ReportError::NoList));
        let many = format!("[{}{{}}]", "{},".repeat(REPORTS_MAX));
        assert_eq!(read(Some(""), &many), Err(ReportError::TooMany));
        assert_eq!(read(None, "[]"), Ok(Vec::new()));
    }

    /// Arbitrary input, and sound input with a piece cut out and another put in.
    fn damaged() -> impl Strategy<Value = Vec<u8>> {
        const SOUND: &[&[u8]] = &[
            br#"{"messages": [{"id": 17, "status": "4"}], "lost": true}"#,
            br#"{"results": [{"id": "a", "state": "DELIVERED", "error": 27}]}"#,
            b"id=a%2B1&state=FAILED&error=9",
        ];
        let piece = proptest::collection::vec(any::<u8>(), 0..8);
        let cut = (
            0..SOUND.len(),
            any::<prop::sample::Index>(),
            0..9_usize,
            piece,
        );
        let changed = cut.prop_map(|(which, at, length, piece)| {
            let mut text = SOUND[which].to_vec();
            let start = at.index(text.len());
            let end = text.len().min(start + length);
            text.splice(start..end, piece);
            text
        });
        prop_oneof![proptest::collection::vec(any::<u8>(), 0..200), changed]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_answer_is_read(status in 100..600_u16, body in damaged()) {
            if let Heard::Accepted { id: Some(id) } = rules().judge(status, &body) {
                prop_assert!((1..=128).contains(&id.len()) && !id.contains(char::is_control));
            }
        }

        #[test]
        fn any_report_is_read_or_refused(body in damaged(), form: bool, listed: bool) {
            let items = listed.then_some("/results");
            for receipt in reports(items).read(&body, form).into_iter().flatten() {
                prop_assert!((1..=128).contains(&receipt.id.len()));
            }
        }
    }
}
