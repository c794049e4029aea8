//! A provider of short messages that speaks HTTP: what it is called with, and what it answers.
//!
//! Unlike a message centre it takes a text as a whole and cuts it by itself. What is called is
//! kept out of the inside of the network by crate `outbound`, unless the settings allow it in.

use std::borrow::Cow;
use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_outbound::{Client, Limits, Method, Question, Silence};
use publica_types::Secret;

use crate::domain::provider::{
    AnswerRules, Body, Heard, ReportError, ReportRules, Template, Values,
};
use crate::domain::receipt::Receipt;

/// The most bytes of an answer that are read.
const ANSWER_MAX: usize = 64 * 1024;

/// How reports prove that they are the provider's.
pub(crate) enum Proof {
    /// A header has a secret.
    Token {
        header: String,
        secret: Secret<String>,
    },
    /// A header has the HMAC-SHA-256 of the body, in hexadecimal digits or base64, after a
    /// prefix such as `sha256=`.
    Signature {
        header: String,
        prefix: String,
        secret: Secret<String>,
    },
}

/// What a provider tells later.
pub(crate) struct Reports {
    pub(crate) proof: Proof,
    pub(crate) rules: ReportRules,
}

/// A provider.
pub(crate) struct Provider {
    /// Under which its ids are kept.
    pub(crate) name: String,
    pub(crate) url: reqwest::Url,
    pub(crate) method: Method,
    pub(crate) client: Client,
    /// Their values may hold secrets.
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) body: Body,
    pub(crate) secret: Secret<String>,
    pub(crate) answers: AnswerRules,
    pub(crate) reports: Option<Reports>,
}

/// One message on its way.
pub(crate) struct Letter<'a> {
    pub(crate) to: &'a str,
    pub(crate) from: &'a str,
    pub(crate) text: &'a str,
    /// The same at each attempt, so that a provider knows a repeat.
    pub(crate) id: &'a str,
    pub(crate) parts: usize,
    /// The provider may try for so long.
    pub(crate) validity: Duration,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The provider answered with this status of HTTP.
    Answered {
        status: u16,
        heard: Heard,
        /// The pause that it asks for.
        after: Option<Duration>,
    },
    /// Nothing was sent.
    Unreached,
    /// It may have been taken.
    Unknown,
}

/// The client of a provider.
pub(crate) fn client(allow_private: bool, timeout: Duration) -> Result<Client, reqwest::Error> {
    Client::new(Limits {
        allow_private,
        timeout,
        user_agent: "publica-messaging",
    })
}

impl Provider {
    /// Hands one message over.
    pub(crate) async fn submit(&self, letter: &Letter<'_>) -> Reply {
        let values = Values {
            to: letter.to,
            from: letter.from,
            text: letter.text,
            id: letter.id,
            parts: letter.parts,
            validity_seconds: letter.validity.as_secs().max(60),
            secret: self.secret.expose(),
        };
        let kind = (
            Cow::Borrowed("content-type"),
            self.body.content_type().to_owned(),
        );
        let own = self
            .headers
            .iter()
            .map(|(name, value)| (Cow::Owned(name.clone()), value.render(&values)));
        let question = Question {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: std::iter::once(kind).chain(own).collect(),
            body: self.body.render(&values),
            most: ANSWER_MAX,
        };
        match self.client.ask(question).await {
            Ok(answer) => Reply::Answered {
                status: answer.status,
                heard: self.answers.judge(answer.status, &answer.body),
                after: answer.retry_after,
            },
            Err(Silence::Unreached) => Reply::Unreached,
            Err(Silence::Unanswered | Silence::TooLong) => Reply::Unknown,
        }
    }

    /// Whether a report is the provider's own; `header` gives a header of the call by its name
    /// in small letters.
    pub(crate) fn is_genuine<'a>(
        &self,
        body: &[u8],
        header: impl Fn(&str) -> Option<&'a str>,
    ) -> bool {
        match self.reports.as_ref().map(|reports| &reports.proof) {
            None => false,
            Some(Proof::Token {
                header: name,
                secret,
            }) => header(name).is_some_and(|given| {
                let wanted = secret.expose().as_bytes();
                constant_time::verify_slices_are_equal(given.as_bytes(), wanted).is_ok()
            }),
            Some(Proof::Signature {
                header: name,
                prefix,
                secret,
            }) => {
                let given = header(name).and_then(|given| given.strip_prefix(prefix.as_str()));
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
                let tag = given.and_then(|text| {
                    let digits = hex::decode(text).ok().filter(|tag| tag.len() == 32);
                    digits.or_else(|| STANDARD.decode(text).ok())
                });
                tag.is_some_and(|tag| hmac::verify(&key, body, &tag).is_ok())
            }
        }
    }

    /// What a genuine report tells.
    pub(crate) fn receipts(&self, body: &[u8], form: bool) -> Result<Vec<Receipt>, ReportError> {
        let reports = self.reports.as_ref();
        reports.map_or_else(|| Ok(Vec::new()), |one| one.rules.read(body, form))
    }
}

// Its headers and its body may hold secrets.
impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider")
            .field("name", &self.name)
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}
