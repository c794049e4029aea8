//! Lines of an import: their shapes, and all that can be said about them without the store.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_imports::Problem;
use publica_json::read_entity;
use publica_rpc::{Fault as _, Invalid};
use publica_types::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::app::application::{MAX_DOCUMENTS, check_id, check_name, is_reference};
use crate::app::document::{MAX_DOCUMENT, media_type};
use crate::app::is_findable;
use crate::domain::definition::Definition;
use crate::domain::flow::{FileState, Outcome};
use crate::error::Error;

const MAX_TASKS: usize = 1_000;
const MAX_DECISION: usize = 10_000;
const MAX_ASSIGNEE: usize = 128;

/// A line of good form.
pub(crate) struct Line {
    pub(super) entity: Entity,
}

/// What a line tells.
pub(super) enum Entity {
    Service(Box<ServiceLine>),
    Document(Box<DocumentLine>),
    File(Box<FileLine>),
    Entry(Box<EntryLine>),
}

pub(super) struct ServiceLine {
    pub(super) definition: Definition,
    /// The definition without the kind, as its hash covers it.
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawDocument {
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
    document_id: String,
    owner_id: String,
    content: String,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    created: Option<Timestamp>,
}

pub(super) struct DocumentLine {
    pub(super) document_id: String,
    pub(super) owner_id: String,
    pub(super) content: Vec<u8>,
    pub(super) media_type: &'static str,
    pub(super) created: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FileLine {
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
    pub(super) file_id: String,
    pub(super) service_id: String,
    pub(super) applicant_id: String,
    #[serde(default)]
    pub(super) application_name: String,
    #[serde(default)]
    pub(super) created: Option<Timestamp>,
    pub(super) registered: Timestamp,
    pub(super) status: String,
    #[serde(default)]
    pub(super) data: Map<String, Value>,
    #[serde(default)]
    pub(super) document_urls: Vec<String>,
    #[serde(default)]
    pub(super) decision_text: String,
    #[serde(default)]
    pub(super) tasks: Vec<TaskLine>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TaskLine {
    pub(super) task_id: String,
    pub(super) role_id: String,
    #[serde(default)]
    pub(super) assignee_id: String,
    #[serde(default)]
    pub(super) outcome: String,
    pub(super) created: Timestamp,
    #[serde(default)]
    pub(super) completed: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EntryLine {
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
    pub(super) register: String,
    pub(super) person_id: String,
    #[serde(default)]
    pub(super) file_id: String,
    pub(super) fields: Map<String, Value>,
}

impl Line {
    /// Reads a line of a kind, or says all that is wrong with it.
    pub(crate) fn read(kind: &str, json: &[u8]) -> Result<Self, Vec<Problem>> {
        let one = |problem| vec![problem];
        let entity = match kind {
            "registration.service" => Entity::Service(Box::new(service(json)?)),
            "registration.document" => {
                let raw = read_entity(json).map_err(one)?;
                Entity::Document(Box::new(document(raw)?))
            }
            "registration.application" => {
                let file: FileLine = read_entity(json).map_err(one)?;
                told(check_file(&file))?;
                Entity::File(Box::new(file))
            }
            "registration.register_entry" => {
                let entry: EntryLine = read_entity(json).map_err(one)?;
                told(check_entry(&entry))?;
                Entity::Entry(Box::new(entry))
            }
            _ => {
                let what = "is not a kind of this block";
                return Err(one(("kind".to_owned(), what.to_owned())));
            }
        };
        Ok(Self { entity })
    }

    /// What the journal's root covers: what kind of entity, and which one.
    pub(super) fn leaf(&self) -> String {
        match &self.entity {
            Entity::Service(one) => format!("registration.service {}", one.definition.service_id),
            Entity::Document(one) => format!("registration.document {}", one.document_id),
            Entity::File(one) => format!("registration.application {}", one.file_id),
            Entity::Entry(one) => {
                let EntryLine {
                    register,
                    person_id,
                    ..
                } = &**one;
                format!("registration.register_entry {register}/{person_id}")
            }
        }
    }
}

fn told(invalid: Invalid) -> Result<(), Vec<Problem>> {
    invalid.check().map_err(|invalid| invalid.violations())
}

fn service(json: &[u8]) -> Result<ServiceLine, Vec<Problem>> {
    let mut value: Map<String, Value> = read_entity(json).map_err(|problem| vec![problem])?;
    value.remove("kind");
    let bytes = Value::Object(value).to_string().into_bytes();
    let definition =
        Definition::read(&bytes).map_err(|defects| Error::Definition(defects).violations())?;
    Ok(ServiceLine { definition, bytes })
}

fn document(raw: RawDocument) -> Result<DocumentLine, Vec<Problem>> {
    let mut invalid = Invalid::new();
    check_id(&mut invalid, "documentId", &raw.document_id);
    if raw.document_id.contains(',') {
        // References name several documents with commas in between.
        invalid.push("documentId", "must not have a comma");
    }
    check_id(&mut invalid, "ownerId", &raw.owner_id);
    let content = STANDARD.decode(&raw.content).unwrap_or_default();
    if content.is_empty() {
        invalid.push("content", "must be base64 of at least one byte");
    } else if content.len() > MAX_DOCUMENT {
        invalid.push("content", format!("must be at most {MAX_DOCUMENT} bytes"));
    }
    let found = media_type(&content).filter(|_| !content.is_empty());
    if found.is_none() && !content.is_empty() {
        invalid.push("content", Error::MediaType.to_string());
    }
    if let (Some(found), Some(said)) = (found, &raw.content_type)
        && found != said
    {
        invalid.push("contentType", "is not what the content looks like");
    }
    told(invalid)?;
    Ok(DocumentLine {
        document_id: raw.document_id,
        owner_id: raw.owner_id,
        content,
        media_type: found.unwrap_or_default(),
        created: raw.created,
    })
}

fn check_file(file: &FileLine) -> Invalid {
    let mut invalid = Invalid::new();
    for (field, id) in [
        ("fileId", &file.file_id),
        ("serviceId", &file.service_id),
        ("applicantId", &file.applicant_id),
    ] {
        check_id(&mut invalid, field, id);
    }
    check_name(&mut invalid, "applicationName", &file.application_name);
    if file.document_urls.len() > MAX_DOCUMENTS {
        invalid.push("documentUrls", format!("must be at most {MAX_DOCUMENTS}"));
    }
    for (at, url) in file.document_urls.iter().enumerate().take(MAX_DOCUMENTS) {
        if !is_reference(url) {
            let field = format!("documentUrls[{at}]");
            invalid.push(field, "must be 1 to 2048 visible characters");
        }
    }
    if file.decision_text.chars().count() > MAX_DECISION {
        let most = format!("must have at most {MAX_DECISION} characters");
        invalid.push("decisionText", most);
    }
    if state(&file.status).is_none() {
        let text = "PENDING, SENDBACK, APPROVED, REJECTED or WITHDRAWN is expected";
        invalid.push("status", text);
    }
    check_tasks(&mut invalid, &file.tasks);
    invalid
}

fn check_tasks(invalid: &mut Invalid, tasks: &[TaskLine]) {
    if tasks.len() > MAX_TASKS {
        invalid.push("tasks", format!("must be at most {MAX_TASKS}"));
    }
    let mut known = BTreeSet::new();
    for (at, task) in tasks.iter().enumerate().take(MAX_TASKS) {
        let field = format!("tasks[{at}].taskId");
        check_id(invalid, &field, &task.task_id);
        if !known.insert(&task.task_id) {
            invalid.push(field, "is the id of another task of the file");
        }
        let assignee = &task.assignee_id;
        if !is_findable(assignee) || assignee.chars().count() > MAX_ASSIGNEE {
            let what = "must have at most 128 characters, and no control characters";
            invalid.push(format!("tasks[{at}].assigneeId"), what);
        }
        if !task.outcome.is_empty() && outcome(&task.outcome).is_none() {
            let what = "APPROVED, SENDBACK or REJECTED is expected";
            invalid.push(format!("tasks[{at}].outcome"), what);
        }
    }
}

fn check_entry(entry: &EntryLine) -> Invalid {
    let mut invalid = Invalid::new();
    check_id(&mut invalid, "register", &entry.register);
    check_id(&mut invalid, "personId", &entry.person_id);
    if !entry.file_id.is_empty() {
        check_id(&mut invalid, "fileId", &entry.file_id);
    }
    invalid
}

/// The state that a status names.
pub(super) fn state(status: &str) -> Option<FileState> {
    Some(match status {
        "PENDING" => FileState::InProcess,
        "SENDBACK" => FileState::SentBack,
        "APPROVED" => FileState::Approved,
        "REJECTED" => FileState::Rejected,
        "WITHDRAWN" => FileState::Withdrawn,
        _ => return None,
    })
}

/// The outcome that a task names, if it has one.
pub(super) fn outcome(name: &str) -> Option<Outcome> {
    match name {
        "APPROVED" => Some(Outcome::Approved),
        "SENDBACK" => Some(Outcome::SentBack),
        "REJECTED" => Some(Outcome::Rejected),
        _ => None,
    }
}
