//! Settings of providers of short messages that speak HTTP, `[[messaging.sms.providers]]`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use publica_config::Problems;
use publica_outbound::{Method, check_url};
use publica_types::Secret;
use serde::Deserialize;

use crate::domain::provider::{
    AnswerRules, Body, Means, ReportRules, Rule, Statuses, Template, is_pointer,
};
use crate::domain::receipt::Fate;
use crate::engine::Share;
use crate::provider::{Proof, Provider, Reports, client};

/// Headers and rules of a provider.
const LIST_MAX: usize = 64;
/// Headers that are made, or that would change how a call is read.
const MADE: &[&str] = &[
    "content-type",
    "content-length",
    "connection",
    "host",
    "transfer-encoding",
    "upgrade",
];
/// Words that a rule may give as its reason.
const REASONS: &[&str] = &[
    "no_such_number",
    "sender_unusable",
    "message_too_large",
    "refused_by_policy",
    "refused_for_now",
    "throttled",
    "refused",
];

/// A provider of short messages that speaks HTTP.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderConfig {
    /// Under which its ids are kept, and where reports come in. It must not change while messages
    /// wait for reports.
    pub name: String,
    /// What is called.
    pub url: String,
    /// `POST` or `PUT`.
    pub method: String,
    /// Whether it may be inside: plain http, and addresses that are not public.
    pub allow_private: bool,
    /// The body, as JSON whose texts have places such as `{{ to }}`.
    pub json: String,
    /// The fields of a body that is a form, in place of `json`.
    pub form: BTreeMap<String, String>,
    /// Further headers; their values have places too.
    pub headers: Vec<HeaderConfig>,
    /// What stands in the place `{{ secret }}`. May come as `secret_file`.
    pub secret: Secret<String>,
    /// Where an answer has the provider's id of a message (RFC 6901); empty: reports have ours.
    pub answer_id: String,
    /// What answers mean; the first that fits counts.
    pub answers: Vec<AnswerConfig>,
    /// What the provider tells later. Without, what it took counts as delivered.
    pub reports: Option<ReportConfig>,
    /// Calls that are under way at a time.
    pub window: usize,
    /// The longest to wait for an answer, in milliseconds.
    pub answer_timeout_ms: u64,
    /// Later tiers serve while no centre and no provider of an earlier one answers.
    pub tier: u32,
    /// Its part of the messages of its tier.
    pub weight: u32,
}

/// A header.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderConfig {
    /// Its name.
    pub name: String,
    /// Its value. May come as `value_file`.
    pub value: Secret<String>,
}

/// What an answer means.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerConfig {
    /// A status of HTTP, or the first and the last of several: `200-299`.
    pub status: String,
    /// Where to look in the answer (RFC 6901); empty for an answer that is a bare text.
    pub pointer: String,
    /// What stands there; empty: whatever does.
    pub values: Vec<String>,
    /// `accepted`, `refused`, `later` or `unknown`.
    pub means: String,
    /// Why, for `refused` and `later`.
    pub reason: String,
}

/// What a provider tells later.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportConfig {
    /// The header by which a report proves itself.
    pub header: String,
    /// What it has: `token` for the secret, `hmac-sha256` for the signature of the body.
    pub proof: String,
    /// What stands in front of a signature, such as `sha256=`.
    pub prefix: String,
    /// The secret. May come as `secret_file`.
    pub secret: Secret<String>,
    /// Where the list of reports is; empty: the body is one report.
    pub items: String,
    /// Where a report has the id of its message.
    pub id: String,
    /// Where it has the word for the state.
    pub status: String,
    /// Where it has a number for an error; may be empty.
    pub error: String,
    /// Words for messages that arrived.
    pub delivered: Vec<String>,
    /// Words for messages whose time ran out.
    pub expired: Vec<String>,
    /// Words for messages that cannot arrive.
    pub undeliverable: Vec<String>,
    /// Words for messages that were refused.
    pub rejected: Vec<String>,
}

impl Default for ProviderConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            method: "POST".to_owned(),
            allow_private: false,
            json: String::new(),
            form: BTreeMap::new(),
            headers: Vec::new(),
            secret: Secret::default(),
            answer_id: String::new(),
            answers: Vec::new(),
            reports: None,
            window: 10,
            answer_timeout_ms: 15_000,
            tier: 1,
            weight: 1,
        }
    }
}

impl Default for AnswerConfig {
    fn default() -> Self {
        Self {
            status: "200-299".to_owned(),
            pointer: String::new(),
            values: Vec::new(),
            means: String::new(),
            reason: "refused".to_owned(),
        }
    }
}

/// A problem with a setting: its name and what is wrong.
type Wrong = (String, String);

fn wrong(name: impl Into<String>, why: impl Into<String>) -> Wrong {
    (name.into(), why.into())
}

impl AnswerConfig {
    fn statuses(&self) -> Option<Statuses> {
        let (first, last) = self
            .status
            .split_once('-')
            .unwrap_or((&self.status, &self.status));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let known = 100..=599;
        (known.contains(&first) && known.contains(&last) && first <= last).then_some(first..=last)
    }

    fn rule(&self) -> Result<Rule, Wrong> {
        let statuses = self.statuses();
        let statuses = statuses.ok_or_else(|| wrong("status", "is no status or two with a -"))?;
        if !is_pointer(&self.pointer) {
            return Err(wrong("pointer", "must begin with /"));
        }
        let means = Means::parse(&self.means);
        let means =
            means.ok_or_else(|| wrong("means", "is none of accepted, refused, later, unknown"))?;
        let reason = REASONS.iter().find(|known| **known == self.reason);
        let reason =
            reason.ok_or_else(|| wrong("reason", format!("is none of {}", REASONS.join(", "))))?;
        Ok(Rule {
            statuses,
            pointer: self.pointer.clone(),
            values: self.values.clone(),
            means,
            reason,
        })
    }
}

impl ReportConfig {
    fn reports(&self) -> Result<Reports, Wrong> {
        if !is_header(&self.header) {
            return Err(wrong("header", "is no name of a header"));
        }
        if self.secret.expose().len() < 16 {
            return Err(wrong("secret", "must have 16 characters or more"));
        }
        let (header, secret) = (self.header.to_ascii_lowercase(), self.secret.clone());
        let proof = match self.proof.as_str() {
            "token" => Proof::Token { header, secret },
            "hmac-sha256" => Proof::Signature {
                header,
                prefix: self.prefix.clone(),
                secret,
            },
            _ => return Err(wrong("proof", "is none of token, hmac-sha256")),
        };
        for (name, pointer) in [("id", &self.id), ("status", &self.status)] {
            if pointer.is_empty() || !is_pointer(pointer) {
                return Err(wrong(name, "must begin with /"));
            }
        }
        for (name, pointer) in [("items", &self.items), ("error", &self.error)] {
            if !is_pointer(pointer) {
                return Err(wrong(name, "must begin with /"));
            }
        }
        if self.delivered.is_empty() {
            return Err(wrong("delivered", "must have a word"));
        }
        let pointer = |text: &String| (!text.is_empty()).then(|| text.clone());
        let words = [
            (&self.delivered, Fate::Delivered),
            (&self.expired, Fate::Expired),
            (&self.undeliverable, Fate::Undeliverable),
            (&self.rejected, Fate::Rejected),
        ];
        let words = words
            .into_iter()
            .flat_map(|(words, fate)| words.iter().map(move |word| (word.clone(), fate)));
        Ok(Reports {
            proof,
            rules: ReportRules {
                items: pointer(&self.items),
                id: self.id.clone(),
                status: self.status.clone(),
                error: pointer(&self.error),
                words: words.collect(),
            },
        })
    }
}

impl ProviderConfig {
    pub(crate) fn share(&self) -> Share {
        Share {
            tier: self.tier,
            weight: self.weight,
        }
    }

    /// The provider that these settings describe.
    pub(crate) fn provider(&self) -> Result<Arc<Provider>, String> {
        let made = self.make();
        made.map(Arc::new)
            .map_err(|(name, why)| format!("{name} {why}"))
    }

    fn make(&self) -> Result<Provider, Wrong> {
        let url = check_url(&self.url, self.allow_private).map_err(|why| wrong("url", why))?;
        let method = match self.method.as_str() {
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            _ => return Err(wrong("method", "is none of POST, PUT")),
        };
        let body = match (self.json.is_empty(), self.form.is_empty()) {
            (false, true) => Body::json(&self.json).map_err(|why| wrong("json", why))?,
            (true, false) => {
                let fields = self
                    .form
                    .iter()
                    .map(|(name, text)| (name.as_str(), text.as_str()));
                Body::form(fields).map_err(|why| wrong("form", why))?
            }
            _ => return Err(wrong("json", "or form is required, one of them")),
        };
        if self.headers.len() > LIST_MAX || self.answers.len() > LIST_MAX {
            return Err(wrong("headers", "or answers are more than 64"));
        }
        let mut headers = Vec::new();
        for (index, header) in self.headers.iter().enumerate() {
            let at = format!("headers[{index}]");
            let name = header.name.to_ascii_lowercase();
            if !is_header(&name) || MADE.contains(&name.as_str()) {
                return Err(wrong(format!("{at}.name"), "is no name of a header to set"));
            }
            let value = header.value.expose().trim();
            if value.chars().any(char::is_control) {
                return Err(wrong(format!("{at}.value"), "must have no line breaks"));
            }
            let value = Template::parse(value);
            headers.push((
                name,
                value.map_err(|why| wrong(format!("{at}.value"), why))?,
            ));
        }
        if !is_pointer(&self.answer_id) && self.answer_id != "." {
            return Err(wrong(
                "answer_id",
                "must begin with /, or be a dot for the whole answer",
            ));
        }
        let id = match self.answer_id.as_str() {
            "" => None,
            "." => Some(String::new()),
            at => Some(at.to_owned()),
        };
        let mut rules = Vec::new();
        for (index, answer) in self.answers.iter().enumerate() {
            let rule = answer.rule();
            rules.push(rule.map_err(|(name, why)| (format!("answers[{index}].{name}"), why))?);
        }
        let reports = self.reports.as_ref().map(ReportConfig::reports).transpose();
        let reports = reports.map_err(|(name, why)| (format!("reports.{name}"), why))?;
        let timeout = Duration::from_millis(self.answer_timeout_ms);
        let client = client(self.allow_private, timeout);
        Ok(Provider {
            name: self.name.clone(),
            url,
            method,
            client: client.map_err(|_| wrong("url", "cannot be called: no client"))?,
            headers,
            body,
            secret: self.secret.clone(),
            answers: AnswerRules { id, rules },
            reports,
        })
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        let named = (1..=32).contains(&self.name.len())
            && self
                .name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        problems.require(
            named,
            "name",
            "must have 1 to 32 small letters, digits and hyphens",
        );
        let window = (1..=1_000).contains(&self.window);
        problems.require(window, "window", "must be from 1 to 1000");
        let timeout = (100..=3_600_000).contains(&self.answer_timeout_ms);
        problems.require(timeout, "answer_timeout_ms", "must be from 100 to 3600000");
        super::sms::check_share(problems, self.tier, self.weight);
        if let Err((name, why)) = self.make() {
            problems.add(name, why);
        }
    }
}

/// A name that HTTP knows for a header.
fn is_header(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> ProviderConfig {
        ProviderConfig {
            name: "sms-hub".to_owned(),
            url: "https://sms.example/v1/messages".to_owned(),
            json: r#"{"to": "{{ to }}", "text": "{{ text }}"}"#.to_owned(),
            headers: vec![HeaderConfig {
                name: "Authorization".to_owned(),
                value: Secret::new("Bearer s3cret".to_owned()),
            }],
            answers: vec![AnswerConfig {
                means: "later".to_owned(),
                ..AnswerConfig::default()
            }],
            reports: Some(ReportConfig {
                header: "X-Token".to_owned(),
                proof: "token".to_owned(),
                secret: Secret::new("0123456789abcdef".to_owned()),
                id: "/id".to_owned(),
                status: "/status".to_owned(),
                delivered: vec!["DELIVERED".to_owned()],
                ..ReportConfig::default()
            }),
            ..ProviderConfig::default()
        }
    }

    fn told(config: &ProviderConfig) -> String {
        let mut problems = Problems::new();
        config.check(&mut problems);
        format!("{problems:?}")
    }

    #[test]
    fn sound_settings_make_a_provider() {
        let provider = sound().provider().unwrap();
        assert!(provider.reports.is_some());
        // Neither secret is shown.
        let shown = format!("{provider:?} {:?}", sound());
        assert!(
            !shown.contains("s3cret") && !shown.contains("0123456789"),
            "{shown}"
        );
        let mut problems = Problems::new();
        sound().check(&mut problems);
        assert!(problems.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Change = fn(&mut ProviderConfig);
        let cases: [(Change, &str); 16] = [
            (|one| one.name = "SMS hub".to_owned(), "name"),
            (|one| one.url = "http://sms.example/".to_owned(), "https://"),
            (
                |one| one.url = "https://10.0.0.1/".to_owned(),
                "public address",
            ),
            (|one| one.method = "GET".to_owned(), "POST, PUT"),
            (|one| one.json = String::new(), "one of them"),
            (|one| one.json = "{}".to_owned(), "no place for the number"),
            (
                |one| one.headers[0].name = "Host".to_owned(),
                "headers[0].name",
            ),
            (
                |one| one.headers[0].value = Secret::new("a\r\nb".to_owned()),
                "line breaks",
            ),
            (|one| one.answer_id = "id".to_owned(), "answer_id"),
            (
                |one| one.answers[0].status = "299-200".to_owned(),
                "answers[0].status",
            ),
            (
                |one| one.answers[0].means = "perhaps".to_owned(),
                "answers[0].means",
            ),
            (
                |one| one.answers[0].reason = "a secret".to_owned(),
                "answers[0].reason",
            ),
            (
                |one| one.reports.as_mut().unwrap().secret = Secret::default(),
                "reports.secret",
            ),
            (
                |one| one.reports.as_mut().unwrap().proof = String::new(),
                "reports.proof",
            ),
            (
                |one| one.reports.as_mut().unwrap().id = String::new(),
                "reports.id",
            ),
            (|one| one.weight = 0, "weight"),
        ];
        for (change, expected) in cases {
            let mut config = sound();
            change(&mut config);
            let told = told(&config);
            assert!(told.contains(expected), "{expected}: {told}");
        }
    }
}
