//! Carrying out what the flow decided: the next task, the end, or back to the applicant.

use std::sync::Arc;

use publica_journal::{Entry, append};
use publica_proto::registration::v1 as pb;
use publica_seal::{Keyring, SubjectKey};
use publica_store::Tx;
use publica_types::Origin;
use serde_json::{Map, Value, json};

use super::{Content, message, state_body};
use crate::app::{day_number, subject};
use crate::domain::definition::Definition;
use crate::domain::flow::{FileState, Next, Outcome, Routed};
use crate::error::Error;
use crate::store::file::{self as files, FileRow};
use crate::store::register;
use crate::store::task::{self as tasks, Decided, TaskRow};

/// The role under which decisions of the rules are counted.
const RULES: &str = "rules";

/// A file on its way to where the flow sends it.
pub(crate) struct Routing {
    pub(crate) origin: Origin,
    pub(crate) keyring: Keyring,
    pub(crate) definition: Arc<Definition>,
    pub(crate) row: FileRow,
    pub(crate) content: Content,
    pub(crate) routed: Routed,
    pub(crate) next_task_id: String,
    pub(crate) noted: Noted,
}

/// What the history of a file remembers of a change, without any value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noted {
    /// Fields of the form that changed, as `container.key`.
    pub(crate) changed: Vec<String>,
    /// How many members were dropped, because the form does not know or does not show them.
    /// Unknown names are not kept: a client can write anything into one.
    pub(crate) dropped: usize,
}

/// What follows for a file, worked out.
struct Step {
    row: FileRow,
    content: Content,
    task: Option<TaskRow>,
}

impl Routing {
    /// Stores a new file.
    pub(crate) async fn submit(&self, tx: &mut Tx<'_>) -> Result<pb::Application, Error> {
        let key = self
            .keyring
            .subject(tx, &subject(&self.row.applicant_id))
            .await?;
        let mut step = self.step(tx);
        step.row.sealed = step.content.seal(&key)?;
        files::insert(tx, &step.row).await?;
        self.follow(tx, &step, &key).await?;
        self.record(tx, &step, "submitted", "registration.file.submitted")
            .await?;
        self.count_rules(tx, &step).await?;
        Ok(message(&step.row, &step.content, step.task.as_ref()))
    }

    /// Stores a changed file; one that was sent back is on its way again.
    pub(crate) async fn update(&self, tx: &mut Tx<'_>) -> Result<pb::Application, Error> {
        let was_back = self.row.state == FileState::SentBack.code();
        let key = self
            .keyring
            .subject(tx, &subject(&self.row.applicant_id))
            .await?;
        let mut step = if was_back {
            self.step(tx)
        } else {
            Step {
                row: self.row.clone(),
                content: self.content.clone(),
                task: None,
            }
        };
        step.row.sealed = step.content.seal(&key)?;
        if !files::update(tx, &step.row).await? {
            return Err(Error::StaleCopy);
        }
        step.row.version += 1;
        if was_back {
            self.follow(tx, &step, &key).await?;
            self.record(tx, &step, "resubmitted", "registration.file.resubmitted")
                .await?;
            self.count_rules(tx, &step).await?;
        } else {
            self.record(tx, &step, "changed", "registration.file.changed")
                .await?;
        }
        Ok(message(&step.row, &step.content, step.task.as_ref()))
    }

    /// Carries out a role's decision; the task itself was completed before.
    pub(crate) async fn decided(
        &self,
        tx: &mut Tx<'_>,
        key: &SubjectKey,
        marks: &[String],
        text: &str,
    ) -> Result<FileRow, Error> {
        let mut step = self.step(tx);
        step.row.marks = json!(marks).to_string();
        text.clone_into(&mut step.content.decision_text);
        step.row.sealed = step.content.seal(key)?;
        if !files::update(tx, &step.row).await? {
            return Err(Error::StaleCopy);
        }
        step.row.version += 1;
        self.follow(tx, &step, key).await?;
        self.record(tx, &step, "decided", "registration.task.completed")
            .await?;
        Ok(step.row)
    }

    fn step(&self, tx: &Tx<'_>) -> Step {
        let mut row = self.row.clone();
        let mut content = self.content.clone();
        let mut trace: Vec<String> = serde_json::from_str(&row.rule_trace).unwrap_or_default();
        trace.extend(self.routed.trace.iter().cloned());
        row.rule_trace = json!(trace).to_string();
        row.marks = "[]".to_owned();
        let mut task = None;
        match &self.routed.next {
            Next::Task(position) => {
                row.state = FileState::InProcess.code();
                row.position = i64::try_from(*position).unwrap_or(i64::MAX);
                task = self.definition.roles.get(*position).map(|role| TaskRow {
                    task_id: self.next_task_id.clone(),
                    main_task_id: row.main_task_id.clone(),
                    file_id: row.file_id.clone(),
                    service_id: row.service_id.clone(),
                    service_name: row.service_name.clone(),
                    eform_id: row.eform_id.clone(),
                    role_id: role.role_id.clone(),
                    role_name: role.name.clone(),
                    position: row.position,
                    assignee_id: String::new(),
                    state: 1,
                    outcome: 0,
                    create_time: tx.now(),
                    complete_time: None,
                    fingerprint: None,
                    sealed: None,
                });
            }
            Next::Ended(state, reason) => {
                row.state = state.code();
                content.decision_text.clone_from(reason);
            }
            Next::Back => row.state = FileState::SentBack.code(),
        }
        Step { row, content, task }
    }

    /// Opens the next task, or writes the register entry of an approved file.
    async fn follow(&self, tx: &mut Tx<'_>, step: &Step, key: &SubjectKey) -> Result<(), Error> {
        if let Some(task) = &step.task {
            tasks::insert(tx, task).await?;
        }
        if step.row.state == FileState::Approved.code()
            && let Some(target) = &self.definition.register
        {
            let mut entry: Map<String, Value> = Map::new();
            for path in &target.fields {
                let Some((group, field)) = path.split_once('.') else {
                    continue;
                };
                let value = step
                    .content
                    .data
                    .get(group)
                    .and_then(|group| group.get(field));
                if let Some(value) = value {
                    entry.insert(path.clone(), value.clone());
                }
            }
            let plain = Value::Object(entry).to_string();
            let sealed = key.seal(super::super::register::FIELD, plain.as_bytes());
            let person = &step.row.applicant_id;
            register::put(tx, &target.name, person, &step.row.file_id, &sealed).await?;
        }
        Ok(())
    }

    async fn record(
        &self,
        tx: &mut Tx<'_>,
        step: &Step,
        kind: &str,
        action: &'static str,
    ) -> Result<(), Error> {
        let body = state_body(&step.row);
        let mut remembered = body.clone();
        if !self.noted.changed.is_empty() {
            remembered["changed"] = json!(self.noted.changed);
        }
        if self.noted.dropped > 0 {
            remembered["dropped"] = json!(self.noted.dropped);
        }
        let actor = self
            .origin
            .on_behalf_of
            .as_deref()
            .unwrap_or(&self.origin.actor);
        let bytes = remembered.to_string().into_bytes();
        files::add_event(tx, &step.row.file_id, kind, actor, &bytes).await?;
        let entry = Entry::new(action)
            .subject("file", &step.row.file_id)
            .process(step.row.process_id.clone())
            .body(body);
        append(tx, &self.origin, entry);
        Ok(())
    }

    /// A decision of the rules counts like one of a role.
    async fn count_rules(&self, tx: &mut Tx<'_>, step: &Step) -> Result<(), Error> {
        let outcome = match &self.routed.next {
            Next::Ended(FileState::Approved, _) => Outcome::Approved,
            Next::Ended(_, _) => Outcome::Rejected,
            _ => return Ok(()),
        };
        let decided = Decided {
            id: &self.next_task_id,
            day: day_number(tx.now()),
            service_id: &step.row.service_id,
            service_name: &step.row.service_name,
            role_id: RULES,
            operator: RULES,
            outcome: outcome.code(),
        };
        Ok(tasks::count_decision(tx, &decided).await?)
    }
}
