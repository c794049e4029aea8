//! Bringing in services, files with their tasks, and register entries from another system: state
//! only, nothing is decided and nobody is told.

use std::collections::BTreeSet;

use publica_journal::{Entry, append};
use publica_rpc::{Fault as _, Invalid};
use publica_store::{Db, Tx};
use publica_types::{Origin, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::app::application::{Content, check_id};
use crate::app::catalog::Published;
use crate::app::{App, Who, is_findable, subject};
use crate::domain::definition::Definition;
use crate::domain::flow::{FileState, Outcome};
use crate::error::Error;
use crate::store::file::{self as files, FileRow};
use crate::store::task::{self as tasks, TaskRow};
use crate::store::{catalog, register};

/// Why an entity was refused.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) field: String,
    pub(crate) description: String,
}

fn problem(field: &str, description: impl Into<String>) -> Problem {
    Problem {
        field: field.to_owned(),
        description: description.into(),
    }
}

/// What became of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Stored,
    Repeated,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImportedFile {
    file_id: String,
    service_id: String,
    applicant_id: String,
    #[serde(default)]
    application_name: String,
    #[serde(default)]
    created: Option<Timestamp>,
    registered: Timestamp,
    status: String,
    #[serde(default)]
    data: Map<String, Value>,
    #[serde(default)]
    document_urls: Vec<String>,
    #[serde(default)]
    decision_text: String,
    #[serde(default)]
    tasks: Vec<ImportedTask>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImportedTask {
    task_id: String,
    role_id: String,
    #[serde(default)]
    assignee_id: String,
    #[serde(default)]
    outcome: String,
    created: Timestamp,
    #[serde(default)]
    completed: Option<Timestamp>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImportedEntry {
    register: String,
    person_id: String,
    #[serde(default)]
    file_id: String,
    fields: Map<String, Value>,
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    publica_json::read_entity(json).map_err(|(field, description)| Problem { field, description })
}

/// Refuses what no store finds again; the ids of another system are taken as they are otherwise.
fn check_ids<const N: usize>(ids: [(&str, &str); N]) -> Result<(), Problem> {
    let mut invalid = Invalid::new();
    for (field, id) in ids {
        check_id(&mut invalid, field, id);
    }
    let found = invalid.check();
    found.map_err(|invalid| refused(invalid.into()))
}

fn check_file(file: &ImportedFile) -> Result<(), Problem> {
    check_ids([
        ("fileId", &file.file_id),
        ("serviceId", &file.service_id),
        ("applicantId", &file.applicant_id),
    ])?;
    let mut known = BTreeSet::new();
    for (at, task) in file.tasks.iter().enumerate() {
        let field = format!("tasks[{at}].taskId");
        check_ids([(field.as_str(), task.task_id.as_str())])?;
        if !known.insert(&task.task_id) {
            return Err(problem(&field, "is the id of another task of the file"));
        }
        if !is_findable(&task.assignee_id) {
            let field = format!("tasks[{at}].assigneeId");
            return Err(problem(&field, "must not have control characters"));
        }
    }
    Ok(())
}

fn refused(error: Error) -> Problem {
    let violation = error.violations().into_iter().next();
    match violation {
        Some((field, description)) => Problem { field, description },
        None => problem("", error.public_message()),
    }
}

impl App {
    /// Stores one entity of a kind that this block owns.
    pub(crate) async fn import_entity(
        &self,
        db: &Db,
        who: &Who,
        kind: &str,
        json: &[u8],
    ) -> Result<Result<Done, Problem>, Error> {
        let done = match kind {
            "registration.service" => self.import_service(db, who, json).await,
            "registration.application" => self.import_file(db, who, json).await,
            "registration.register_entry" => self.import_entry(db, who, json).await,
            _ => return Ok(Err(problem("kind", "this block has no such kind"))),
        };
        match done {
            Ok(done) => Ok(Ok(done)),
            Err(Outcomes::Refused(problem)) => Ok(Err(problem)),
            Err(Outcomes::Failed(error)) => Err(error),
        }
    }

    async fn import_service(&self, db: &Db, who: &Who, json: &[u8]) -> Result<Done, Outcomes> {
        let mut value: Map<String, Value> = read(json)?;
        value.remove("kind");
        let bytes = Value::Object(value).to_string().into_bytes();
        let definition =
            Definition::read(&bytes).map_err(|defects| refused(Error::Definition(defects)))?;
        let known = catalog::find(db, &definition.service_id)
            .await
            .map_err(Error::from)?;
        let input = Published::new(&definition, &bytes, who);
        let before = known.map(|row| row.version);
        let row = db
            .write("registration.import_service", input, |tx, input| {
                Box::pin(input.store(tx))
            })
            .await?;
        Ok(if before == Some(row.version) {
            Done::Repeated
        } else {
            Done::Stored
        })
    }

    async fn import_file(&self, db: &Db, who: &Who, json: &[u8]) -> Result<Done, Outcomes> {
        let imported: ImportedFile = read(json)?;
        check_file(&imported)?;
        let service = catalog::find(db, &imported.service_id)
            .await
            .map_err(Error::from)?;
        let service = service.ok_or_else(|| problem("serviceId", "there is no such service"))?;
        let definition = self
            .definition(db, &service.service_id, service.version)
            .await?;
        let state = imported_state(&imported.status)?;
        let known = files::find(db, &imported.file_id)
            .await
            .map_err(Error::from)?;
        if let Some(row) = known {
            let same = row.service_id == imported.service_id
                && row.applicant_id == imported.applicant_id
                && row.state == state.code();
            return if same {
                Ok(Done::Repeated)
            } else {
                Err(problem("fileId", "is stored already with other content").into())
            };
        }
        let row = self.imported_row(&imported, &service, &definition, state);
        let tasks = imported
            .tasks
            .iter()
            .enumerate()
            .map(|(at, task)| imported_task(&definition, &row, task, at))
            .collect::<Result<Vec<_>, _>>()?;
        let content = Content {
            name: imported.application_name,
            data: imported.data,
            documents: imported.document_urls,
            decision_text: imported.decision_text,
        };
        let input = (
            row,
            tasks,
            content,
            self.keyring.clone(),
            who.origin.clone(),
        );
        let stored = db.write("registration.import_file", input, |tx, input| {
            Box::pin(async move {
                let (row, tasks, content, keyring, origin) = input;
                let key = keyring.subject(tx, &subject(&row.applicant_id)).await?;
                let sealed = content.seal(&key)?;
                store_file(
                    tx,
                    &FileRow {
                        sealed,
                        ..row.clone()
                    },
                    tasks,
                    origin,
                )
                .await
            })
        });
        match stored.await {
            Ok(()) => Ok(Done::Stored),
            Err(Error::Store(error)) if error.is_unique() => {
                let what = "a task of one of these ids is stored already";
                Err(problem("tasks", what).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn imported_row(
        &self,
        imported: &ImportedFile,
        service: &catalog::ServiceRow,
        definition: &Definition,
        state: FileState,
    ) -> FileRow {
        let form = definition.forms.first();
        FileRow {
            file_id: imported.file_id.clone(),
            service_id: service.service_id.clone(),
            service_name: service.name.clone(),
            service_version: service.version,
            applicant_id: imported.applicant_id.clone(),
            eform_id: form.map(|form| form.eform_id.clone()).unwrap_or_default(),
            state: state.code(),
            position: 0,
            main_task_id: format!("main-{}", imported.file_id),
            create_time: imported.created,
            register_time: imported.registered,
            process_id: self.new_id(),
            version: 1,
            marks: "[]".to_owned(),
            rule_trace: "[]".to_owned(),
            sealed: Vec::new(),
        }
    }

    async fn import_entry(&self, db: &Db, who: &Who, json: &[u8]) -> Result<Done, Outcomes> {
        let imported: ImportedEntry = read(json)?;
        check_ids([
            ("register", &imported.register),
            ("personId", &imported.person_id),
        ])?;
        if !imported.file_id.is_empty() {
            check_ids([("fileId", &imported.file_id)])?;
        }
        let known = register::find(db, &imported.register, &imported.person_id);
        let plain = Value::Object(imported.fields.clone())
            .to_string()
            .into_bytes();
        if let Some(sealed) = known.await.map_err(Error::from)? {
            let key = self.keyring.load(db, &subject(&imported.person_id)).await;
            let key = key
                .map_err(Error::from)?
                .ok_or(Error::Corrupt("a person has no key"))?;
            let stored = key
                .open(super::register::FIELD, &sealed)
                .map_err(Error::from)?;
            if stored == plain {
                return Ok(Done::Repeated);
            }
        }
        let input = (imported, plain, self.keyring.clone(), who.origin.clone());
        let stored = db.write("registration.import_entry", input, |tx, input| {
            Box::pin(async move {
                let (imported, plain, keyring, origin) = input;
                let key = keyring.subject(tx, &subject(&imported.person_id)).await?;
                let sealed = key.seal(super::register::FIELD, plain);
                let (register, person) = (&imported.register, &imported.person_id);
                register::put(tx, register, person, &imported.file_id, &sealed).await?;
                let entry = Entry::new("registration.register.imported").subject("person", person);
                append(tx, origin, entry);
                Ok::<_, Error>(())
            })
        });
        stored.await?;
        Ok(Done::Stored)
    }
}

/// A refusal that is reported by line, or a failure that ends the import.
#[derive(Debug)]
enum Outcomes {
    Refused(Problem),
    Failed(Error),
}

impl From<Problem> for Outcomes {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl From<Error> for Outcomes {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn imported_state(status: &str) -> Result<FileState, Problem> {
    match status {
        "PENDING" => Ok(FileState::InProcess),
        "SENDBACK" => Ok(FileState::SentBack),
        "APPROVED" => Ok(FileState::Approved),
        "REJECTED" => Ok(FileState::Rejected),
        "WITHDRAWN" => Ok(FileState::Withdrawn),
        _ => {
            let text = "PENDING, SENDBACK, APPROVED, REJECTED or WITHDRAWN is expected";
            Err(problem("status", text))
        }
    }
}

fn imported_task(
    definition: &Definition,
    row: &FileRow,
    task: &ImportedTask,
    at: usize,
) -> Result<TaskRow, Problem> {
    let role = definition
        .roles
        .iter()
        .position(|role| role.role_id == task.role_id);
    let position =
        role.ok_or_else(|| problem(&format!("tasks[{at}].roleId"), "there is no such role"))?;
    let outcome = match task.outcome.as_str() {
        "" => None,
        "APPROVED" => Some(Outcome::Approved),
        "SENDBACK" => Some(Outcome::SentBack),
        "REJECTED" => Some(Outcome::Rejected),
        _ => {
            let field = format!("tasks[{at}].outcome");
            return Err(problem(
                &field,
                "APPROVED, SENDBACK or REJECTED is expected",
            ));
        }
    };
    let open_state = if task.assignee_id.is_empty() { 1 } else { 2 };
    Ok(TaskRow {
        task_id: task.task_id.clone(),
        main_task_id: row.main_task_id.clone(),
        file_id: row.file_id.clone(),
        service_id: row.service_id.clone(),
        service_name: row.service_name.clone(),
        eform_id: row.eform_id.clone(),
        role_id: task.role_id.clone(),
        role_name: definition.roles[position].name.clone(),
        position: i64::try_from(position).unwrap_or(i64::MAX),
        assignee_id: task.assignee_id.clone(),
        state: if outcome.is_some() { 3 } else { open_state },
        outcome: outcome.map_or(0, Outcome::code),
        create_time: task.created,
        complete_time: task.completed,
        fingerprint: None,
        sealed: None,
    })
}

async fn store_file(
    tx: &mut Tx<'_>,
    row: &FileRow,
    tasks: &[TaskRow],
    origin: &Origin,
) -> Result<(), Error> {
    files::insert(tx, row).await?;
    for task in tasks {
        tasks::insert(tx, task).await?;
        if task.outcome > 0 {
            let decided = tasks::Decided {
                id: &task.task_id,
                day: super::day_number(task.complete_time.unwrap_or(task.create_time)),
                service_id: &task.service_id,
                service_name: &task.service_name,
                role_id: &task.role_id,
                operator: &task.assignee_id,
                outcome: task.outcome,
            };
            tasks::count_decision(tx, &decided).await?;
        }
    }
    files::add_event(tx, &row.file_id, "imported", &origin.actor, b"{}").await?;
    let entry = Entry::new("registration.file.imported")
        .subject("file", &row.file_id)
        .process(row.process_id.clone())
        .body(json!({"state": row.state, "tasks": tasks.len()}));
    append(tx, origin, entry);
    Ok(())
}
