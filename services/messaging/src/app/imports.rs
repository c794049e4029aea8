//! Bringing in requests, templates and suppressions of an earlier system. Nothing is sent.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message as _;
use publica_journal::Entry;
use publica_json::read_entity;
use publica_proto::imports::v1 as imports;
use publica_proto::messaging::v1 as api;
use publica_store::Tx;
use publica_types::{Origin, Timestamp, Uuid};
use serde::Deserialize;
use serde_json::json;

use super::templates;
use super::{App, House, Who};
use crate::domain::address::Mailbox;
use crate::domain::counters::{Counters, State};
use crate::domain::envelope::is_name;
use crate::domain::uid;
use crate::error::Error;
use crate::sealed::CALLBACK;
use crate::store::request::{self, RequestRow};
use crate::store::suppression::{self, SuppressionRow};
use crate::store::template::{self as template_store, TemplateRow, TemplateState};
use crate::store::{RequestId, SessionId, report};

/// Problems that are listed before an import gives up.
const PROBLEMS_MAX: usize = 1_000;
/// Entities that are stored in one transaction.
const GROUP: usize = 500;

/// A running import.
pub(crate) struct Import {
    app: App,
    origin: Origin,
    house: Arc<House>,
    group: Vec<(u64, Entity)>,
    response: imports::ImportEntitiesResponse,
}

/// One entity, checked.
#[derive(Debug, Clone)]
enum Entity {
    Request {
        row: RequestRow,
        changes: Counters,
    },
    Template {
        row: TemplateRow,
        approved_by: Option<String>,
        retired: bool,
    },
    Suppression {
        row: SuppressionRow,
    },
}

/// What became of an entity.
enum Stored {
    New,
    Repeated,
    Differs,
}

/// A request with its counters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
struct RequestLine {
    request_uid: String,
    #[serde(default)]
    counters: HashMap<String, i64>,
    #[serde(default)]
    received_time: Option<Timestamp>,
    #[serde(default)]
    callback_url: Option<String>,
    #[serde(default)]
    process_id: Option<String>,
}

/// A template with all its languages.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
struct TemplateLine {
    name: String,
    version: i64,
    variants: Vec<VariantLine>,
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
struct VariantLine {
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
struct SuppressionLine {
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

/// Where an entity is at fault, and why.
type Fault = (String, String);

impl App {
    pub(crate) async fn begin_import(&self, who: &Who) -> Result<Import, Error> {
        Ok(Import {
            app: self.clone(),
            origin: who.origin.clone(),
            house: self.house(&who.origin.tenant).await?,
            group: Vec::with_capacity(GROUP),
            response: imports::ImportEntitiesResponse::default(),
        })
    }
}

impl Import {
    /// Takes in one entity.
    pub(crate) async fn add(
        &mut self,
        message: imports::ImportEntitiesRequest,
    ) -> Result<(), Error> {
        match self.entity(&message) {
            Ok(entity) => {
                self.group.push((message.line, entity));
                if self.group.len() >= GROUP {
                    self.flush().await?;
                }
                Ok(())
            }
            Err((field, description)) => self.problem(message.line, field, description),
        }
    }

    /// Stores what is left and tells what became of all.
    pub(crate) async fn finish(mut self) -> Result<imports::ImportEntitiesResponse, Error> {
        self.flush().await?;
        Ok(self.response)
    }

    fn problem(&mut self, line: u64, field: String, description: String) -> Result<(), Error> {
        if self.response.problems.len() >= PROBLEMS_MAX {
            return Err(Error::ImportProblems);
        }
        self.response.problems.push(imports::ImportProblem {
            line,
            field,
            description,
        });
        Ok(())
    }

    fn entity(&self, message: &imports::ImportEntitiesRequest) -> Result<Entity, Fault> {
        match message.kind.as_str() {
            "messaging.request" => self.request(read_entity(&message.json)?),
            "messaging.template" => self.template(read_entity(&message.json)?),
            "messaging.suppression" => self.suppression(read_entity(&message.json)?),
            _ => Err(("kind".to_owned(), "is not a kind of this block".to_owned())),
        }
    }

    fn request(&self, line: RequestLine) -> Result<Entity, Fault> {
        if !uid::is_request_uid(&line.request_uid) {
            return Err(fault(
                "request_uid",
                "must be 1 to 64 letters, digits or -._",
            ));
        }
        let mut reached = Counters::default();
        for (name, count) in &line.counters {
            let state = State::ALL.into_iter().find(|state| state.name() == name);
            let Some(state) = state else {
                return Err(fault("counters", "has a name that is no state"));
            };
            if !(0..=i64::from(i32::MAX)).contains(count) {
                return Err(fault("counters", "must be from 0 to 2147483647"));
            }
            reached.0[state as usize] += count;
        }
        let n = reached.total();
        let mut changes = reached;
        changes.0[State::Scheduled as usize] -= n;
        let at = line.received_time.unwrap_or_else(|| self.app.now());
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
            callback: callback.map(|url| self.house.vault.seal_setting(&CALLBACK, url.as_bytes())),
            common: None,
        };
        Ok(Entity::Request { row, changes })
    }

    fn template(&self, line: TemplateLine) -> Result<Entity, Fault> {
        if line.version < 1 || line.version > i64::from(i32::MAX) {
            return Err(fault("version", "must be at least 1"));
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
        let checked = checked.map_err(|violations| {
            let first = violations.into_iter().next();
            first.map_or_else(|| fault("", "is wrong"), |first| (first.path, first.why))
        })?;
        let row = TemplateRow {
            name: line.name,
            version: line.version,
            author: line.author.unwrap_or_else(|| self.origin.actor.clone()),
            created_at: self.app.now(),
            content: checked.encode_to_vec(),
            state: TemplateState::Draft as i64,
        };
        if line.approved_by.as_ref() == Some(&row.author) {
            return Err(fault("approved_by", "is the author"));
        }
        Ok(Entity::Template {
            row,
            approved_by: line.approved_by,
            retired: line.retired,
        })
    }

    fn suppression(&self, line: SuppressionLine) -> Result<Entity, Fault> {
        let mailbox = Mailbox::parse(&line.address)
            .map_err(|error| ("address".to_owned(), error.to_string()))?;
        if !line.category.is_empty() && !is_name(&line.category, 64) {
            return Err(fault("category", "is no category"));
        }
        let reason = match line.reason.as_str() {
            "hard_bounce" => 1,
            "complaint" => 2,
            "opt_out" => 3,
            "operator" => 4,
            _ => return Err(fault("reason", "is none of those known")),
        };
        let row = SuppressionRow {
            suppression_id: line.suppression_id.unwrap_or_else(|| self.app.new_id()),
            address_hash: self.house.vault.address_hash(mailbox.as_str()),
            category: line.category,
            reason,
            created_at: line.created_time.unwrap_or_else(|| self.app.now()),
            expires_at: line.expire_time,
        };
        Ok(Entity::Suppression { row })
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if self.group.is_empty() {
            return Ok(());
        }
        let group = std::mem::replace(&mut self.group, Vec::with_capacity(GROUP));
        let lines: Vec<u64> = group.iter().map(|(line, _)| *line).collect();
        let entities: Vec<Entity> = group.into_iter().map(|(_, entity)| entity).collect();
        let input = (self.origin.clone(), entities);
        let write = self
            .house
            .db
            .write("messaging.import", input, |tx, (origin, entities)| {
                Box::pin(async move {
                    let mut stored = Vec::with_capacity(entities.len());
                    for entity in entities {
                        stored.push(store(tx, entity).await?);
                    }
                    let new = stored
                        .iter()
                        .filter(|one| matches!(one, Stored::New))
                        .count();
                    if new > 0 {
                        let entry = Entry::new("messaging.imported").body(json!({ "stored": new }));
                        publica_journal::append(tx, origin, entry);
                    }
                    Ok::<_, Error>(stored)
                })
            });
        for (line, stored) in lines.into_iter().zip(write.await?) {
            match stored {
                Stored::New => self.response.accepted += 1,
                Stored::Repeated => self.response.repeated += 1,
                Stored::Differs => {
                    let why = "is already stored with other content";
                    self.problem(line, String::new(), why.to_owned())?;
                }
            }
        }
        Ok(())
    }
}

async fn store(tx: &mut Tx<'_>, entity: &Entity) -> Result<Stored, Error> {
    match entity {
        Entity::Request { row, changes } => {
            if let Some(known) = request::by_uid_in(tx, &row.request_uid).await? {
                let reached = request::changes(tx, known.request_id).await?;
                let same = known.n == row.n && known.common.is_none() && reached == *changes;
                return Ok(if same {
                    Stored::Repeated
                } else {
                    Stored::Differs
                });
            }
            request::insert(tx, row, &[]).await?;
            if changes.0 != [0; 6] {
                let session = SessionId::from_uuid(row.request_id.as_uuid());
                report::tally(tx, row.request_id, session, 0, changes).await?;
            }
            Ok(Stored::New)
        }
        Entity::Template {
            row,
            approved_by,
            retired,
        } => {
            if let Some(known) = template_store::find_in(tx, &row.name, row.version).await? {
                let same = known.content == row.content;
                return Ok(if same {
                    Stored::Repeated
                } else {
                    Stored::Differs
                });
            }
            template_store::insert(tx, row).await?;
            let steps = [
                approved_by
                    .as_ref()
                    .map(|actor| (TemplateState::Approved, actor)),
                retired.then_some((TemplateState::Retired, &row.author)),
            ];
            for (state, actor) in steps.into_iter().flatten() {
                template_store::add_step(tx, &row.name, row.version, state, actor).await?;
            }
            Ok(Stored::New)
        }
        Entity::Suppression { row } => {
            let known = suppression::same(tx, &row.address_hash, &row.category, row.reason).await?;
            if known {
                return Ok(Stored::Repeated);
            }
            suppression::insert(tx, row).await?;
            Ok(Stored::New)
        }
    }
}

fn fault(field: &str, description: &str) -> Fault {
    (field.to_owned(), description.to_owned())
}
