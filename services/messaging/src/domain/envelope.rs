//! What the messages of a request have in common: checked, and in the form that is sealed.

mod sms;

use std::time::Duration;

use prost::Message as _;
use publica_proto::messaging::v1 as api;
use publica_types::Timestamp;

use super::address::Mailbox;
use super::encode::Charset;
use super::member;
use super::retry;
use super::template::{CONTENT_MAX, Compiled, Variant};

pub(crate) use sms::{SmsRules, check_recipient, check_sms};

/// How far ahead a message may be planned.
const PLAN_MAX: Duration = Duration::from_hours(24 * 90);
/// A time that lies so little in the past means now.
const SKEW: Duration = Duration::from_mins(5);

/// The closed list of words for what is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    SchemaViolation,
    InvalidAddress,
    HeaderInjection,
    UnsupportedCharset,
    ForbiddenCallbackUri,
}

impl Code {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SchemaViolation => "SCHEMA_VIOLATION",
            Self::InvalidAddress => "INVALID_ADDRESS",
            Self::HeaderInjection => "HEADER_INJECTION",
            Self::UnsupportedCharset => "UNSUPPORTED_CHARSET",
            Self::ForbiddenCallbackUri => "FORBIDDEN_CALLBACK_URI",
        }
    }
}

/// One thing that is wrong with a request. It never repeats what was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) code: Code,
    pub(crate) path: String,
    pub(crate) why: String,
}

impl Violation {
    pub(crate) fn new(code: Code, path: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            code,
            path: path.into(),
            why: why.into(),
        }
    }
}

/// A lane: smaller goes first. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lane {
    Emergency = 0,
    Urgent = 1,
    Normal = 2,
    Bulk = 3,
}

impl Lane {
    pub(crate) const ALL: [Self; 4] = [Self::Emergency, Self::Urgent, Self::Normal, Self::Bulk];

    pub(crate) fn number(self) -> i64 {
        self as i64
    }

    /// A lane by its number, whatever the channel.
    pub(crate) fn of_slot(slot: i64) -> Self {
        Self::ALL
            .into_iter()
            .find(|lane| lane.number() == slot.rem_euclid(10))
            .unwrap_or(Self::Bulk)
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// A way to reach people. The numbers are stored, as tens of the number of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    Email = 0,
    Sms = 1,
}

impl Channel {
    /// The number under which a lane of this channel is stored.
    pub(crate) fn slot(self, lane: Lane) -> i64 {
        self as i64 * 10 + lane.number()
    }

    pub(crate) fn of_slot(slot: i64) -> Self {
        if slot.div_euclid(10) == 1 {
            Self::Sms
        } else {
            Self::Email
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
        }
    }
}

/// The common part of a request in the form that is sealed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Common {
    #[prost(string, tag = "1")]
    pub(crate) from: String,
    #[prost(string, tag = "2")]
    pub(crate) from_name: String,
    #[prost(string, tag = "3")]
    pub(crate) organisation: String,
    #[prost(string, tag = "4")]
    pub(crate) reply_to: String,
    /// The content in each language; one when it is not a stored template.
    #[prost(message, repeated, tag = "5")]
    pub(crate) variants: Vec<Variant>,
    /// Braces have a meaning.
    #[prost(bool, tag = "6")]
    pub(crate) templated: bool,
    #[prost(string, tag = "7")]
    pub(crate) category: String,
    #[prost(bool, tag = "8")]
    pub(crate) mandatory: bool,
    /// The request exactly as it came.
    #[prost(message, optional, tag = "9")]
    pub(crate) received: Option<api::Envelope>,
    /// The same of short messages.
    #[prost(message, optional, tag = "10")]
    pub(crate) received_sms: Option<api::SmsEnvelope>,
}

impl Common {
    /// The request as it came, in one form for all channels.
    pub(crate) fn as_received(&self) -> Vec<u8> {
        match (&self.received, &self.received_sms) {
            (Some(envelope), _) => envelope.encode_to_vec(),
            (None, Some(envelope)) => envelope.encode_to_vec(),
            (None, None) => Vec::new(),
        }
    }

    /// The organisation on whose behalf the request was made; may be empty.
    pub(crate) fn on_behalf_of(&self) -> &str {
        let mail = self.received.as_ref().and_then(|one| one.sender.as_ref());
        let short = self
            .received_sms
            .as_ref()
            .and_then(|one| one.sender.as_ref());
        match (mail, short) {
            (Some(sender), _) => &sender.on_behalf_of_name,
            (None, Some(sender)) => &sender.on_behalf_of_name,
            (None, None) => "",
        }
    }
}

/// A checked envelope.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) channel: Channel,
    pub(crate) common: Common,
    pub(crate) lane: Lane,
    pub(crate) not_before: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) callback: Option<String>,
    /// A stored template still to be resolved.
    pub(crate) template: Option<api::TemplateReference>,
    pub(crate) planned: bool,
}

impl Checked {
    /// The number under which its lane is stored.
    pub(crate) fn slot(&self) -> i64 {
        self.channel.slot(self.lane)
    }
}

/// Checks everything that can be known without the store.
pub(crate) fn check(
    mut envelope: api::Envelope,
    batch: bool,
    now: Timestamp,
) -> Result<Checked, Vec<Violation>> {
    let mut violations = Vec::new();
    let received = envelope.clone();
    let from = envelope.sender.take().unwrap_or_default();
    let mut common = sender(&mut violations, from);
    let template = body(&mut violations, &mut common, envelope.body.take());
    common.received = Some(received);
    let found = (violations, common, template);
    finish(found, envelope, Channel::Email, batch, now)
}

/// Checks what envelopes of all channels have in common.
fn finish(
    (mut violations, mut common, template): (
        Vec<Violation>,
        Common,
        Option<api::TemplateReference>,
    ),
    envelope: api::Envelope,
    channel: Channel,
    batch: bool,
    now: Timestamp,
) -> Result<Checked, Vec<Violation>> {
    let lane = lane(envelope.priority(), batch);
    let (not_before, expires, planned) = times(&mut violations, &envelope, now);
    if !envelope.category.is_empty() && !is_name(&envelope.category, 64) {
        violations.push(Violation::new(
            Code::SchemaViolation,
            "envelope.category",
            "is more than lower-case letters, digits, dots and underscores",
        ));
    }
    member::text(
        &mut violations,
        "envelope.transaction_id",
        &envelope.transaction_id,
        255,
    );
    common.category = envelope.category;
    common.mandatory = envelope.mandatory;
    if !violations.is_empty() {
        return Err(violations);
    }
    let callback = envelope
        .callback
        .map(|callback| callback.url)
        .filter(|url| !url.is_empty());
    Ok(Checked {
        channel,
        common,
        lane,
        not_before,
        expires,
        callback,
        template,
        planned,
    })
}

/// Reads the body into `common`; returns the stored template that it names.
fn body(
    violations: &mut Vec<Violation>,
    common: &mut Common,
    body: Option<api::envelope::Body>,
) -> Option<api::TemplateReference> {
    let mut template = None;
    match body {
        None => violations.push(Violation::new(
            Code::SchemaViolation,
            "envelope.content",
            "is required",
        )),
        Some(api::envelope::Body::Content(content)) => {
            common
                .variants
                .push(variant(violations, "envelope.content", "", content));
        }
        Some(api::envelope::Body::InlineTemplate(content)) => {
            let path = "envelope.inline_template";
            let variant = variant(violations, path, "", content);
            if let Err(error) = Compiled::new(&variant) {
                violations.push(Violation::new(
                    Code::SchemaViolation,
                    path,
                    error.to_string(),
                ));
            }
            common.templated = true;
            common.variants.push(variant);
        }
        Some(api::envelope::Body::Template(reference)) => {
            common.templated = true;
            if !is_name(&reference.name, 128) {
                violations.push(Violation::new(
                    Code::SchemaViolation,
                    "envelope.template.name",
                    "is no name of a template",
                ));
            }
            template = Some(reference);
        }
    }
    template
}

fn lane(priority: api::Priority, batch: bool) -> Lane {
    match priority {
        api::Priority::Emergency => Lane::Emergency,
        api::Priority::Urgent => Lane::Urgent,
        api::Priority::Normal => Lane::Normal,
        api::Priority::Bulk => Lane::Bulk,
        api::Priority::Unspecified if batch => Lane::Bulk,
        api::Priority::Unspecified => Lane::Normal,
    }
}

fn times(
    violations: &mut Vec<Violation>,
    envelope: &api::Envelope,
    now: Timestamp,
) -> (Timestamp, Timestamp, bool) {
    let mut read = |field: &str, time: Option<&prost_types::Timestamp>| {
        let time = time?;
        let micros = time
            .seconds
            .checked_mul(1_000_000)
            .and_then(|micros| micros.checked_add(i64::from(time.nanos) / 1_000));
        if micros.is_none() {
            violations.push(Violation::new(Code::SchemaViolation, field, "is no time"));
        }
        micros.map(Timestamp::from_micros)
    };
    let send = read("envelope.send_time", envelope.send_time.as_ref());
    let expire = read("envelope.expire_time", envelope.expire_time.as_ref());
    let mut refuse = |field: &str, why: &str| {
        violations.push(Violation::new(Code::SchemaViolation, field, why));
    };
    let mut planned = false;
    let not_before = match send {
        Some(at) if at > now.plus(PLAN_MAX) => {
            refuse("envelope.send_time", "is more than 90 days ahead");
            now
        }
        Some(at) if at.plus(SKEW) < now => {
            refuse("envelope.send_time", "is in the past");
            now
        }
        Some(at) if at > now => {
            planned = true;
            at
        }
        _ => now,
    };
    let latest = not_before.plus(retry::LIFETIME);
    let expires = match expire {
        Some(at) if at <= not_before => {
            refuse("envelope.expire_time", "is not after the time of sending");
            latest
        }
        Some(at) => at.min(latest),
        None => latest,
    };
    (not_before, expires, planned)
}

fn sender(violations: &mut Vec<Violation>, sender: api::Sender) -> Common {
    for (field, text, max) in [
        ("name", &sender.name, 200),
        ("organisation_name", &sender.organisation_name, 255),
        ("organisation_number", &sender.organisation_number, 64),
        ("on_behalf_of_name", &sender.on_behalf_of_name, 255),
        ("on_behalf_of_number", &sender.on_behalf_of_number, 64),
    ] {
        member::text(violations, &format!("envelope.sender.{field}"), text, max);
    }
    let mut mailbox = |field: &str, text: &str, required: bool| {
        if text.trim().is_empty() && !required {
            return String::new();
        }
        match Mailbox::parse(text) {
            Ok(mailbox) => mailbox.to_string(),
            Err(error) => {
                let code = if text.trim().is_empty() {
                    Code::SchemaViolation
                } else if text.chars().any(char::is_control) {
                    Code::HeaderInjection
                } else {
                    Code::InvalidAddress
                };
                let path = format!("envelope.sender.{field}");
                violations.push(Violation::new(code, path, error.to_string()));
                String::new()
            }
        }
    };
    let from = mailbox("email", &sender.email, true);
    let reply_to = mailbox("reply_to", &sender.reply_to, false);
    let names = [
        &sender.name,
        &sender.on_behalf_of_name,
        &sender.organisation_name,
    ];
    let from_name = names
        .into_iter()
        .find(|name| !name.is_empty())
        .cloned()
        .unwrap_or_default();
    Common {
        from,
        from_name,
        organisation: sender.organisation_name,
        reply_to,
        ..Common::default()
    }
}

/// Checks the parts of a subject and body.
pub(crate) fn variant(
    violations: &mut Vec<Violation>,
    path: &str,
    locale: &str,
    content: api::Content,
) -> Variant {
    let mut refuse = |code: Code, field: &str, why: &str| {
        violations.push(Violation::new(code, format!("{path}.{field}"), why));
    };
    if content.subject.trim().is_empty() {
        refuse(Code::SchemaViolation, "subject", "is required");
    } else if content.subject.chars().any(char::is_control) {
        refuse(
            Code::HeaderInjection,
            "subject",
            "must not contain line breaks",
        );
    } else if super::encode::header_text(&content.subject, 9).len() > super::compose::SUBJECT_MAX {
        refuse(
            Code::SchemaViolation,
            "subject",
            "is longer than 998 octets on the wire",
        );
    }
    if content.text.is_empty() {
        refuse(Code::SchemaViolation, "text", "is required");
    }
    for (field, text) in [("text", &content.text), ("html", &content.html)] {
        if text.len() > CONTENT_MAX {
            refuse(Code::SchemaViolation, field, "is larger than 1 MiB");
        } else if text.contains('\0') {
            refuse(Code::SchemaViolation, field, "must not contain NUL");
        }
    }
    match Charset::parse(&content.charset) {
        None => refuse(Code::UnsupportedCharset, "charset", "is not known"),
        Some(charset) => {
            if charset.encode(&content.text).is_none() || charset.encode(&content.html).is_none() {
                refuse(Code::UnsupportedCharset, "charset", "cannot write the text");
            }
        }
    }
    Variant {
        locale: locale.to_owned(),
        subject: content.subject,
        text: content.text,
        html: content.html,
        charset: content.charset,
    }
}

/// Lower-case letters, digits, dots and underscores.
pub(crate) fn is_name(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000)
    }

    fn at(offset_s: i64) -> prost_types::Timestamp {
        prost_types::Timestamp {
            seconds: 1_800_000_000 + offset_s,
            nanos: 0,
        }
    }

    fn envelope() -> api::Envelope {
        api::Envelope {
            sender: Some(api::Sender {
                email: "noreply@gov.example".to_owned(),
                ..api::Sender::default()
            }),
            body: Some(api::envelope::Body::Content(api::Content {
                subject: "Hello".to_owned(),
                text: "Braces {{ stay }}.".to_owned(),
                ..api::Content::default()
            })),
            ..api::Envelope::default()
        }
    }

    #[test]
    fn a_sound_envelope_gets_lane_and_times() {
        let checked = check(envelope(), false, now()).unwrap();
        assert_eq!(checked.lane, Lane::Normal);
        assert_eq!(checked.not_before, now());
        assert_eq!(checked.expires, now().plus(retry::LIFETIME));
        assert!(!checked.planned && !checked.common.templated);
        assert_eq!(check(envelope(), true, now()).unwrap().lane, Lane::Bulk);
    }

    #[test]
    fn times_are_bounded() {
        let planned = api::Envelope {
            send_time: Some(at(3_600)),
            expire_time: Some(at(7_200)),
            ..envelope()
        };
        let checked = check(planned, false, now()).unwrap();
        assert!(checked.planned);
        assert_eq!(
            checked.expires.since(checked.not_before),
            Duration::from_hours(1)
        );
        let late = api::Envelope {
            send_time: Some(at(-60)),
            ..envelope()
        };
        assert_eq!(check(late, false, now()).unwrap().not_before, now());
        for (send, expire, path) in [
            (Some(at(-3_600)), None, "envelope.send_time"),
            (Some(at(91 * 86_400)), None, "envelope.send_time"),
            (Some(at(60)), Some(at(30)), "envelope.expire_time"),
        ] {
            let bad = api::Envelope {
                send_time: send,
                expire_time: expire,
                ..envelope()
            };
            assert_eq!(check(bad, false, now()).unwrap_err()[0].path, path);
        }
    }

    #[test]
    fn everything_wrong_is_named_at_once() {
        let bad = api::Envelope {
            sender: Some(api::Sender {
                email: "nobody".to_owned(),
                name: "a\nb".to_owned(),
                ..api::Sender::default()
            }),
            body: Some(api::envelope::Body::Content(api::Content {
                subject: "x\r\nBcc: y@z.example".to_owned(),
                text: "€".to_owned(),
                charset: "us-ascii".to_owned(),
                ..api::Content::default()
            })),
            category: "Not A Name".to_owned(),
            ..api::Envelope::default()
        };
        let violations = check(bad, false, now()).unwrap_err();
        let found: Vec<_> = violations
            .iter()
            .map(|one| (one.code.name(), one.path.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("HEADER_INJECTION", "envelope.sender.name"),
                ("INVALID_ADDRESS", "envelope.sender.email"),
                ("HEADER_INJECTION", "envelope.content.subject"),
                ("UNSUPPORTED_CHARSET", "envelope.content.charset"),
                ("SCHEMA_VIOLATION", "envelope.category"),
            ]
        );
    }

    #[test]
    fn broken_inline_templates_are_refused_at_the_door() {
        let bad = api::Envelope {
            body: Some(api::envelope::Body::InlineTemplate(api::Content {
                subject: "x".to_owned(),
                text: "{{ open".to_owned(),
                ..api::Content::default()
            })),
            ..envelope()
        };
        assert_eq!(
            check(bad, false, now()).unwrap_err()[0].path,
            "envelope.inline_template"
        );
    }
}
