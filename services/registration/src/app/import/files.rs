//! Application files from another system, with their tasks and the decisions of these.

use std::collections::BTreeSet;

use publica_imports::{Outcome, Problem};
use publica_seal::SubjectKey;
use publica_store::Tx;

use super::lines::{FileLine, TaskLine, outcome, state};
use super::{Chunk, ERASED, Services};
use crate::app::application::Content;
use crate::app::day_number;
use crate::domain::definition::Definition;
use crate::domain::flow;
use crate::error::Error;
use crate::store::catalog::ServiceRow;
use crate::store::file::{self as files, FileRow};
use crate::store::task::{self as tasks, TaskRow};

impl Chunk {
    /// Stores a file, once.
    pub(super) async fn file(
        &self,
        tx: &mut Tx<'_>,
        services: &mut Services,
        line: &FileLine,
    ) -> Result<Outcome, Error> {
        let Some((service, definition)) = self.named(tx, services, &line.service_id).await? else {
            return Ok(Outcome::refused("serviceId", "there is no such service"));
        };
        let content = Content {
            name: line.application_name.clone(),
            data: line.data.clone(),
            documents: line.document_urls.clone(),
            decision_text: line.decision_text.clone(),
        };
        let row = self.row(line, &service, &definition)?;
        let mut problems = Vec::new();
        let mut wanted = Vec::with_capacity(line.tasks.len());
        for (at, task) in line.tasks.iter().enumerate() {
            match task_row(&definition, &row, task, at) {
                Ok(task) => wanted.push(task),
                Err(problem) => problems.push(problem),
            }
        }
        if let Some(known) = files::find_in(tx, &line.file_id).await? {
            let same = problems.is_empty()
                && is_of(&known, &row)
                && self.holds(tx, &known, &content, &wanted).await?;
            return Ok(if same {
                Outcome::Repeated
            } else {
                Outcome::differs("fileId")
            });
        }
        let ids: Vec<&str> = wanted.iter().map(|task| task.task_id.as_str()).collect();
        let taken: BTreeSet<String> = tasks::known(tx, &ids).await?.into_iter().collect();
        for (at, task) in line.tasks.iter().enumerate() {
            if taken.contains(&task.task_id) {
                let field = format!("tasks[{at}].taskId");
                problems.push((field, "is the id of a task that is stored".to_owned()));
            }
        }
        if !problems.is_empty() {
            return Ok(Outcome::Refused(problems));
        }
        let Some(key) = self.key(tx, &line.applicant_id).await? else {
            return Ok(Outcome::refused("applicantId", ERASED));
        };
        self.put(tx, row, &wanted, &content, &key).await?;
        Ok(Outcome::Stored)
    }

    fn row(
        &self,
        line: &FileLine,
        service: &ServiceRow,
        definition: &Definition,
    ) -> Result<FileRow, Error> {
        let form = definition.forms.first();
        let state = state(&line.status).ok_or(Error::Corrupt("the status of a line"))?;
        Ok(FileRow {
            file_id: line.file_id.clone(),
            service_id: service.service_id.clone(),
            service_name: service.name.clone(),
            service_version: service.version,
            applicant_id: line.applicant_id.clone(),
            eform_id: form.map(|form| form.eform_id.clone()).unwrap_or_default(),
            state: state.code(),
            position: 0,
            main_task_id: format!("main-{}", line.file_id),
            create_time: line.created,
            register_time: line.registered,
            process_id: self.app.new_id(),
            version: 1,
            marks: "[]".to_owned(),
            rule_trace: "[]".to_owned(),
            sealed: Vec::new(),
        })
    }

    /// Whether a stored file holds this content and these tasks.
    async fn holds(
        &self,
        tx: &mut Tx<'_>,
        known: &FileRow,
        content: &Content,
        wanted: &[TaskRow],
    ) -> Result<bool, Error> {
        let Some(key) = self.key(tx, &known.applicant_id).await? else {
            return Ok(false);
        };
        if Content::open(&key, &known.sealed)? != *content {
            return Ok(false);
        }
        let stored = tasks::of_file(tx, &known.file_id).await?;
        let mut stored: Vec<Facts<'_>> = stored.iter().map(facts).collect();
        let mut wanted: Vec<Facts<'_>> = wanted.iter().map(facts).collect();
        stored.sort_unstable();
        wanted.sort_unstable();
        Ok(stored == wanted)
    }

    async fn put(
        &self,
        tx: &mut Tx<'_>,
        row: FileRow,
        tasks: &[TaskRow],
        content: &Content,
        key: &SubjectKey,
    ) -> Result<(), Error> {
        let row = FileRow {
            sealed: content.seal(key)?,
            ..row
        };
        files::insert(tx, &row).await?;
        for task in tasks {
            tasks::insert(tx, task).await?;
            if task.outcome > 0 {
                let decided = tasks::Decided {
                    id: &task.task_id,
                    day: day_number(task.complete_time.unwrap_or(task.create_time)),
                    service_id: &task.service_id,
                    service_name: &task.service_name,
                    role_id: &task.role_id,
                    operator: &task.assignee_id,
                    outcome: task.outcome,
                };
                tasks::count_decision(tx, &decided).await?;
            }
        }
        let actor = &self.who.origin.actor;
        files::add_event(tx, &row.file_id, "imported", actor, b"{}").await?;
        Ok(())
    }
}

/// What a line tells of a file outside its sealed content.
fn is_of(known: &FileRow, row: &FileRow) -> bool {
    known.service_id == row.service_id
        && known.applicant_id == row.applicant_id
        && known.state == row.state
        && known.create_time == row.create_time
        && known.register_time == row.register_time
}

/// What a line tells of a task.
type Facts<'t> = (&'t str, &'t str, &'t str, i64, i64, Option<i64>);

fn facts(task: &TaskRow) -> Facts<'_> {
    (
        &task.task_id,
        &task.role_id,
        &task.assignee_id,
        task.outcome,
        task.create_time.micros(),
        task.complete_time.map(|time| time.micros()),
    )
}

fn task_row(
    definition: &Definition,
    row: &FileRow,
    task: &TaskLine,
    at: usize,
) -> Result<TaskRow, Problem> {
    let role = definition
        .roles
        .iter()
        .position(|role| role.role_id == task.role_id);
    let position = role.ok_or_else(|| {
        let field = format!("tasks[{at}].roleId");
        (field, "there is no such role".to_owned())
    })?;
    let outcome = outcome(&task.outcome);
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
        outcome: outcome.map_or(0, flow::Outcome::code),
        create_time: task.created,
        complete_time: task.completed,
        fingerprint: None,
        sealed: None,
    })
}
