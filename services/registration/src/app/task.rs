//! The work of operators.

use publica_journal::{Entry, append, write};
use publica_proto::registration::v1 as pb;
use publica_rpc::Invalid;
use publica_store::Db;
use serde_json::{Map, Value, json};

use crate::app::application::{Noted, Routing, sorting, task_message, window};
use crate::app::{App, Who, call, day_number, is_findable, subject};
use crate::domain::flow::{self, Outcome};
use crate::domain::form::FileFacts;
use crate::error::Error;
use crate::store::file as files;
use crate::store::task::{self as tasks, Decided, TaskRow};
use crate::store::task_list::{self, Filter, Order};

const FIELD: &str = "registration.task";
const MAX_TEXT: usize = 2_000;
const MAX_MARKS: usize = 100;

const CLAIM: &str = "/publica.registration.v1.TaskService/ClaimTask";
const COMPLETE: &str = "/publica.registration.v1.TaskService/CompleteTask";

impl App {
    pub(crate) async fn list_tasks(
        &self,
        who: &Who,
        request: pb::ListTasksRequest,
    ) -> Result<pb::ListTasksResponse, Error> {
        let window = window(request.first_result, request.max_result)?;
        let order = match sorting(&request.sort_by, &request.sort_order)? {
            (None, descending) => Order::Created { descending },
            (Some(key), descending) => Order::Key { key, descending },
        };
        let roles = who.roles();
        let named = [
            &request.main_task_id,
            &request.file_id,
            &request.assignee_id,
        ];
        let nothing = roles.as_ref().is_some_and(Vec::is_empty);
        if nothing || named.iter().any(|name| !is_findable(name)) {
            return Ok(pb::ListTasksResponse::default());
        }
        let filter = Filter {
            main_task_id: &request.main_task_id,
            file_id: &request.file_id,
            assignee_id: &request.assignee_id,
            open_only: request.open_only,
            party: who.party(),
            roles: roles.as_deref(),
        };
        let db = self.db(&who.origin).await?;
        let (rows, total) = task_list::list(&db, filter, order, window).await?;
        let tasks = rows.iter().map(|row| task_message(row, None)).collect();
        Ok(pb::ListTasksResponse {
            tasks,
            total_size: total,
        })
    }

    pub(crate) async fn get_task(
        &self,
        who: &Who,
        request: pb::GetTaskRequest,
    ) -> Result<pb::GetTaskResponse, Error> {
        let db = self.db(&who.origin).await?;
        let row = self.task(&db, &request.task_id).await?;
        if !who.holds_role(&row.role_id) {
            return Err(Error::not_found("task"));
        }
        let task = self.full_task(&db, &row).await?;
        let entry = Entry::new("registration.task.read").subject("task", &row.task_id);
        self.journal.record(&who.origin, entry).await?;
        Ok(pb::GetTaskResponse { task: Some(task) })
    }

    async fn task(&self, db: &Db, task_id: &str) -> Result<TaskRow, Error> {
        let row = match is_findable(task_id) {
            true => tasks::find(db, task_id).await?,
            false => None,
        };
        row.ok_or(Error::not_found("task"))
    }

    /// A task for somebody who wants to work on it. Who does not hold its role is told so, unless
    /// not even its file is theirs to see.
    async fn task_for(&self, db: &Db, who: &Who, task_id: &str) -> Result<TaskRow, Error> {
        let row = self.task(db, task_id).await?;
        if who.holds_role(&row.role_id) {
            return Ok(row);
        }
        let file = files::find(db, &row.file_id).await?;
        let file = file.ok_or(Error::Corrupt("a task's file"))?;
        if self.sees(db, who, &file).await? {
            Err(Error::RoleRequired { role: row.role_id })
        } else {
            Err(Error::not_found("task"))
        }
    }

    async fn full_task(&self, db: &Db, row: &TaskRow) -> Result<pb::Task, Error> {
        let file = files::find(db, &row.file_id)
            .await?
            .ok_or(Error::Corrupt("a task's file"))?;
        let key = self.keyring.load(db, &subject(&file.applicant_id)).await?;
        let key = key.ok_or(Error::Corrupt("an applicant has no key"))?;
        let content = self.open(db, &file).await?;
        let data = match &row.sealed {
            Some(sealed) => key.open(FIELD, sealed)?,
            None => b"{}".to_vec(),
        };
        Ok(task_message(row, Some((&content, data))))
    }

    pub(crate) async fn claim_task(
        &self,
        who: &Who,
        request: pb::ClaimTaskRequest,
    ) -> Result<pb::ClaimTaskResponse, Error> {
        let db = self.db(&who.origin).await?;
        let row = self.task_for(&db, who, &request.task_id).await?;
        let call = call(
            "registration.claim",
            CLAIM,
            &who.origin,
            &request.request_id,
            &request,
        );
        let me = who.party().to_owned();
        let input = (row, request.release, me, who.origin.clone());
        write(&db, call, input, |tx, (row, release, me, origin)| {
            Box::pin(async move {
                let (state, assignee) = match (row.state, *release) {
                    (3 | 4, _) => return Err(Error::TaskClosed),
                    (2, _) if row.assignee_id != *me => return Err(Error::TaskClaimed),
                    (1, true) | (2, false) => (row.state, row.assignee_id.as_str()),
                    (_, true) => (1, ""),
                    (_, false) => (2, me.as_str()),
                };
                if !tasks::claim(tx, row, state, assignee).await? {
                    return Err(Error::TaskClaimed);
                }
                let action = if *release {
                    "registration.task.released"
                } else {
                    "registration.task.claimed"
                };
                append(tx, origin, Entry::new(action).subject("task", &row.task_id));
                let row = TaskRow {
                    state,
                    assignee_id: assignee.to_owned(),
                    ..row.clone()
                };
                Ok(pb::ClaimTaskResponse {
                    task: Some(task_message(&row, None)),
                })
            })
        })
        .await
    }

    pub(crate) async fn complete_task(
        &self,
        who: &Who,
        request: pb::CompleteTaskRequest,
    ) -> Result<pb::CompleteTaskResponse, Error> {
        let data = checked_data(&request)?;
        let db = self.db(&who.origin).await?;
        let row = self.task_for(&db, who, &request.task_id).await?;
        let fingerprint = decision_fingerprint(&request);
        if row.state == 3 {
            return self.completed_before(&db, &row, &fingerprint).await;
        }
        let call = call(
            "registration.complete",
            COMPLETE,
            &who.origin,
            &request.request_id,
            &request,
        );
        let input = self
            .completion(&db, who, row, &request, data, fingerprint.clone())
            .await?;
        let task_id = request.task_id.clone();
        let done = write(&db, call, input, |tx, input| Box::pin(input.run(tx))).await;
        match done {
            // Somebody was faster: with the same decision that is the answer.
            Err(Error::TaskClosed | Error::StaleCopy) => {
                let row = tasks::find(&db, &task_id)
                    .await?
                    .ok_or(Error::not_found("task"))?;
                if row.state != 3 {
                    return Err(Error::TaskClosed);
                }
                self.completed_before(&db, &row, &fingerprint).await
            }
            other => other,
        }
    }

    /// The same decision again gives the first answer; another one loses.
    async fn completed_before(
        &self,
        db: &Db,
        row: &TaskRow,
        fingerprint: &[u8],
    ) -> Result<pb::CompleteTaskResponse, Error> {
        if row.fingerprint.as_deref() != Some(fingerprint) {
            let outcome = match Outcome::from_code(row.outcome) {
                Some(Outcome::Approved) => "APPROVED",
                Some(Outcome::SentBack) => "SENDBACK",
                _ => "REJECTED",
            };
            return Err(Error::TaskCompleted { outcome });
        }
        let file = files::find(db, &row.file_id)
            .await?
            .ok_or(Error::Corrupt("a task's file"))?;
        Ok(pb::CompleteTaskResponse {
            task: Some(self.full_task(db, row).await?),
            file_state: i32::try_from(file.state).unwrap_or_default(),
        })
    }

    async fn completion(
        &self,
        db: &Db,
        who: &Who,
        mut row: TaskRow,
        request: &pb::CompleteTaskRequest,
        data: Vec<u8>,
        fingerprint: Vec<u8>,
    ) -> Result<Completion, Error> {
        may_decide(who, &row)?;
        let file = files::find(db, &row.file_id)
            .await?
            .ok_or(Error::Corrupt("a task's file"))?;
        if file.applicant_id == who.party() {
            return Err(Error::OwnApplication);
        }
        let definition = self
            .definition(db, &file.service_id, file.service_version)
            .await?;
        let position = usize::try_from(row.position).unwrap_or(usize::MAX);
        let role = definition
            .roles
            .get(position)
            .ok_or(Error::Corrupt("a task's role"))?;
        let outcome = match request.outcome() {
            pb::Outcome::Approved => Outcome::Approved,
            pb::Outcome::SentBack => Outcome::SentBack,
            pb::Outcome::Rejected => Outcome::Rejected,
            pb::Outcome::Unspecified => role.default_outcome.ok_or(Error::DecisionRequired)?,
        };
        let content = self.open(db, &file).await?;
        let today = self.today();
        let facts = FileFacts::new(&definition, &content.data, &today);
        let routed = flow::decide(
            &definition,
            &facts,
            position,
            role,
            outcome,
            &request.text,
            &request.marks,
        )?;
        row.outcome = outcome.code();
        row.assignee_id = who.party().to_owned();
        row.complete_time = Some(self.clock.now());
        row.fingerprint = Some(fingerprint);
        Ok(Completion {
            routing: Routing {
                origin: publica_types::Origin {
                    process_id: Some(file.process_id.clone()),
                    ..who.origin.clone()
                },
                keyring: self.keyring.clone(),
                definition: definition.clone(),
                row: file,
                content,
                routed,
                next_task_id: self.new_id(),
                noted: Noted::default(),
            },
            task: row,
            data,
            text: request.text.clone(),
            marks: request.marks.clone(),
        })
    }
}

/// Whether the caller may decide a task that has not been decided yet.
fn may_decide(who: &Who, row: &TaskRow) -> Result<(), Error> {
    if row.state == 4 {
        return Err(Error::TaskClosed);
    }
    if row.state == 2 && row.assignee_id != who.party() {
        return Err(Error::TaskClaimed);
    }
    Ok(())
}

/// A decision on its way into the store.
struct Completion {
    routing: Routing,
    task: TaskRow,
    data: Vec<u8>,
    text: String,
    marks: Vec<String>,
}

impl Completion {
    async fn run(&self, tx: &mut publica_store::Tx<'_>) -> Result<pb::CompleteTaskResponse, Error> {
        let applicant = subject(&self.routing.row.applicant_id);
        let key = self.routing.keyring.subject(tx, &applicant).await?;
        let mut task = self.task.clone();
        task.state = 3;
        task.sealed = Some(key.seal(FIELD, &self.data));
        if !tasks::complete(tx, &task).await? {
            return Err(Error::TaskClosed);
        }
        let decided = Decided {
            id: &task.task_id,
            day: day_number(tx.now()),
            service_id: &task.service_id,
            service_name: &task.service_name,
            role_id: &task.role_id,
            operator: &task.assignee_id,
            outcome: task.outcome,
        };
        tasks::count_decision(tx, &decided).await?;
        let row = self
            .routing
            .decided(tx, &key, &self.marks, &self.text)
            .await?;
        Ok(pb::CompleteTaskResponse {
            task: Some(task_message(
                &task,
                Some((&self.routing.content, self.data.clone())),
            )),
            file_state: i32::try_from(row.state).unwrap_or_default(),
        })
    }
}

/// What the role recorded, as a JSON object.
fn checked_data(request: &pb::CompleteTaskRequest) -> Result<Vec<u8>, Error> {
    let mut invalid = Invalid::new();
    if request.text.chars().count() > MAX_TEXT {
        invalid.push("text", format!("must have at most {MAX_TEXT} characters"));
    }
    if request.marks.len() > MAX_MARKS {
        invalid.push("marks", format!("must be at most {MAX_MARKS}"));
    }
    let data = match request.data_json.is_empty() {
        true => Some(Map::new()),
        false => serde_json::from_slice::<Map<String, Value>>(&request.data_json).ok(),
    };
    if data.is_none() {
        invalid.push("data_json", "must be a JSON object");
    }
    invalid.check()?;
    Ok(Value::Object(data.unwrap_or_default())
        .to_string()
        .into_bytes())
}

/// Tells a repeated decision from another one.
fn decision_fingerprint(request: &pb::CompleteTaskRequest) -> Vec<u8> {
    let parts = json!([
        request.outcome,
        request.text,
        request.marks,
        String::from_utf8_lossy(&request.data_json),
    ]);
    let bytes = parts.to_string();
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes.as_bytes())
        .as_ref()
        .to_vec()
}
