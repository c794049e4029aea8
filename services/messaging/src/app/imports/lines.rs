//! Lines of an import: their shapes, and all that can be said about them without the store.

use prost::Message as _;
use publica_imports::Problem;
use publica_json::read_entity;
use publica_proto::messaging::v1 as api;
use publica_rpc::{Fault as _, Invalid};
use publica_types::{Timestamp, Uuid};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Import, RequestLine, SuppressionLine, TemplateLine};
use crate::app::templates;
use crate::domain::address::Mailbox;
use crate::domain::counters::{Counters, State};
use crate::domain::envelope::is_name;
use crate::domain::uid;
use crate::sealed::CALLBACK;
use crate::store::RequestId;
use crate::store::request::RequestRow;
use crate::store::suppression::SuppressionRow;
use crate::store::template::{TemplateRow, TemplateState};

const MAX_URL: usize = 2_048;

/// A line of good form.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(super) entity: Entity,
}

/// What a line tells.
#[derive(Debug, Clone)]
pub(super) enum Entity {
    Request(Box<RequestLine>),
    Template(Box<TemplateLine>),
    Suppression(Box<SuppressionLine>),
}

/// A request with its counters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
    request_uid: String,
    #[serde(default)]
    counters: RawCounters,
    #[serde(default)]
    received_time: Option<Timestamp>,
    #[serde(default)]
    callback_url: Option<String>,
    #[serde(default)]
    process_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawCounters {
    scheduled: i64,
    processing: i64,
    deferred: i64,
    bounced: i64,
    not_sent: i64,
    delivered: i64,
}

/// A template with all its languages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTemplate {
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
    name: String,
    version: i64,
    variants: Vec<RawVariant>,
    #[serde(default)]
    variables: Vec<String>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default)]
    approved_by: Option<String>,
    #[serde(default)]
    retired: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVariant {
    locale: String,
    subject: String,
    text: String,
    #[serde(default)]
    html: String,
    #[serde(default)]
    charset: String,
}

/// A suppressed address.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSuppression {
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
    #[serde(default)]
    suppression_id: Option<Uuid>,
    address: String,
    #[serde(default)]
    category: String,
    reason: String,
    #[serde(default)]
    created_time: Option<Timestamp>,
    #[serde(default)]
    expire_time: Option<Timestamp>,
}

type Read<T> = Result<T, Vec<Problem>>;

fn read<T: DeserializeOwned>(json: &[u8]) -> Read<T> {
    read_entity(json).map_err(|problem| vec![problem])
}

fn told(invalid: Invalid) -> Read<()> {
    invalid.check().map_err(|invalid| invalid.violations())
}

impl Line {
    /// What the journal's root covers: what kind of entity, and which one.
    pub(super) fn leaf(&self) -> String {
        match &self.entity {
            Entity::Request(one) => format!("messaging.request {}", one.row.request_uid),
            Entity::Template(one) => {
                format!("messaging.template {}/{}", one.row.name, one.row.version)
            }
            Entity::Suppression(one) => {
                format!("messaging.suppression {}", one.row.suppression_id)
            }
        }
    }
}

impl Import {
    /// Reads a line of a kind, or says all that is wrong with it.
    pub(crate) fn read(&self, kind: &str, json: &[u8]) -> Read<Line> {
        let entity = match kind {
            "messaging.request" => Entity::Request(Box::new(self.request(read(json)?)?)),
            "messaging.template" => Entity::Template(Box::new(self.template(read(json)?)?)),
            "messaging.suppression" => {
                Entity::Suppression(Box::new(self.suppression(read(json)?)?))
            }
            _ => {
                let what = "is not a kind of this block";
                return Err(vec![("kind".to_owned(), what.to_owned())]);
            }
        };
        Ok(Line { entity })
    }

    fn request(&self, line: RawRequest) -> Read<RequestLine> {
        let mut invalid = Invalid::new();
        if !uid::is_request_uid(&line.request_uid) {
            let what = "must be 1 to 64 letters, digits or -._";
            invalid.push("request_uid", what);
        }
        let reached = counters(&mut invalid, &line.counters);
        let long = |url: &String| url.is_empty() || url.chars().count() > MAX_URL;
        if line.callback_url.as_ref().is_some_and(long) {
            invalid.push("callback_url", "must have 1 to 2048 characters");
        }
        let unsound = |id: &String| !publica_rpc::is_sound_id(id);
        if line.process_id.as_ref().is_some_and(unsound) {
            invalid.push("process_id", publica_rpc::SOUND_ID);
        }
        told(invalid)?;
        let n = reached.total();
        let mut changes = reached;
        changes.0[State::Scheduled as usize] -= n;
        let at = line.received_time.unwrap_or_else(|| self.now());
        let vault = &self.house.vault;
        let callback = line.callback_url.as_ref();
        let row = RequestRow {
            request_id: RequestId::from_uuid(self.app.new_id()),
            request_uid: line.request_uid,
            n,
            lane: 2,
            claimed: false,
            received_at: at,
            not_before: at,
            expires_at: at,
            actor: self.origin.actor.clone(),
            process_id: line.process_id,
            callback: callback.map(|url| vault.seal_setting(&CALLBACK, url.as_bytes())),
            common: None,
        };
        Ok(RequestLine {
            row,
            changes,
            callback_url: line.callback_url,
            told_time: line.received_time.is_some(),
        })
    }

    fn template(&self, line: RawTemplate) -> Read<TemplateLine> {
        let mut invalid = Invalid::new();
        if line.version < 1 || line.version > i64::from(i32::MAX) {
            invalid.push("version", "must be at least 1");
        }
        let told_author = line.author.is_some();
        let author = line.author.unwrap_or_else(|| self.origin.actor.clone());
        if line.approved_by.as_ref() == Some(&author) {
            invalid.push("approved_by", "is the author");
        }
        let variants = line
            .variants
            .into_iter()
            .map(|variant| api::TemplateVariant {
                locale: variant.locale,
                content: Some(api::Content {
                    subject: variant.subject,
                    text: variant.text,
                    html: variant.html,
                    charset: variant.charset,
                }),
            });
        let checked = templates::check(api::CreateTemplateRequest {
            name: line.name.clone(),
            variants: variants.collect(),
            variables: line.variables,
            request_id: String::new(),
        });
        let content = match checked {
            Ok(checked) => checked.encode_to_vec(),
            Err(violations) => {
                for one in violations {
                    invalid.push(one.path, one.why);
                }
                Vec::new()
            }
        };
        told(invalid)?;
        let row = TemplateRow {
            name: line.name,
            version: line.version,
            author,
            created_at: self.now(),
            content,
            state: TemplateState::Draft as i64,
        };
        Ok(TemplateLine {
            row,
            approved_by: line.approved_by,
            retired: line.retired,
            told_author,
        })
    }

    fn suppression(&self, line: RawSuppression) -> Read<SuppressionLine> {
        let mut invalid = Invalid::new();
        let mailbox = invalid.parse("address", Mailbox::parse(&line.address));
        if !line.category.is_empty() && !is_name(&line.category, 64) {
            invalid.push("category", "is no category");
        }
        let reason = match line.reason.as_str() {
            "hard_bounce" => 1,
            "complaint" => 2,
            "opt_out" => 3,
            "operator" => 4,
            _ => {
                let what = "must be hard_bounce, complaint, opt_out or operator";
                invalid.push("reason", what);
                0
            }
        };
        let Some(mailbox) = mailbox else {
            return Err(invalid.violations());
        };
        told(invalid)?;
        let row = SuppressionRow {
            suppression_id: line.suppression_id.unwrap_or_else(|| self.app.new_id()),
            address_hash: self.house.vault.address_hash(mailbox.as_str()),
            category: line.category,
            reason,
            created_at: line.created_time.unwrap_or_else(|| self.now()),
            expires_at: line.expire_time,
        };
        Ok(SuppressionLine {
            row,
            told_id: line.suppression_id.is_some(),
            told_created: line.created_time.is_some(),
        })
    }
}

fn counters(invalid: &mut Invalid, line: &RawCounters) -> Counters {
    let mut reached = Counters::default();
    for (state, count) in [
        (State::Scheduled, line.scheduled),
        (State::Processing, line.processing),
        (State::Deferred, line.deferred),
        (State::Bounced, line.bounced),
        (State::NotSent, line.not_sent),
        (State::Delivered, line.delivered),
    ] {
        if (0..=i64::from(i32::MAX)).contains(&count) {
            reached.0[state as usize] = count;
        } else {
            let field = format!("counters.{}", state.name());
            invalid.push(field, "must be from 0 to 2147483647");
        }
    }
    reached
}
