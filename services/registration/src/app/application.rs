//! Application files, from submission to decision.

mod file;
mod list;
mod route;

use publica_gate::{GateError, Permit, Use};
use publica_journal::{Entry, append, write};
use publica_proto::registration::v1 as pb;
use publica_rpc::{Invalid, PageToken, from_timestamp, page_size, timestamp};
use publica_store::Db;
use serde_json::{Map, Value, json};

pub(crate) use file::{Content, message, task_message};
pub(crate) use list::{sorting, window};
pub(crate) use route::{Noted, Routing};

use crate::app::{App, Who, call, is_findable, subject};
use crate::domain::definition::Definition;
use crate::domain::flow::{self, FileState};
use crate::domain::form::{self, FileFacts};
use crate::error::Error;
use crate::store::file::{self as files, FileRow};
use crate::store::{catalog, document, task as tasks};

const MAX_NAME: usize = 256;
const MAX_ID: usize = 128;
pub(crate) const MAX_DOCUMENTS: usize = 100;
const MAX_FORM: usize = 1024 * 1024;
const MAX_REFERENCE: usize = 2_048;

const SUBMIT: &str = "/publica.registration.v1.ApplicationService/SubmitApplication";
const UPDATE: &str = "/publica.registration.v1.ApplicationService/UpdateApplication";
const WITHDRAW: &str = "/publica.registration.v1.ApplicationService/WithdrawApplication";

/// Form data as JSON: an object, or nothing.
fn form_data(bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    let mut invalid = Invalid::new();
    if bytes.len() > MAX_FORM {
        invalid.push("form_json", format!("at most {MAX_FORM} bytes are taken"));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(data)) if invalid.is_empty() => return Ok(data),
        Ok(Value::Object(_)) => {}
        _ => invalid.push("form_json", "must be a JSON object"),
    }
    Err(invalid.into())
}

/// An id that somebody else made: visible, short, without a slash.
pub(crate) fn check_id(invalid: &mut Invalid, field: &str, id: &str) {
    let visible = |c: char| !c.is_control() && !c.is_whitespace() && c != '/';
    if id.is_empty() || id.chars().count() > MAX_ID || !id.chars().all(visible) {
        invalid.push(field, "must be 1 to 128 visible characters without a slash");
    }
}

/// What an applicant calls an application.
pub(crate) fn check_name(invalid: &mut Invalid, field: &str, name: &str) {
    if name.chars().count() > MAX_NAME {
        invalid.push(field, format!("must have at most {MAX_NAME} characters"));
    }
}

/// What can be said about a submission without looking anything up.
fn check_submission(request: &pb::SubmitApplicationRequest) -> Result<(), Error> {
    let mut invalid = Invalid::new();
    check_id(&mut invalid, "applicant_id", &request.applicant_id);
    check_name(&mut invalid, "application_name", &request.application_name);
    if request.document_urls.len() > MAX_DOCUMENTS {
        invalid.push("document_urls", format!("must be at most {MAX_DOCUMENTS}"));
    }
    Ok(invalid.check()?)
}

impl App {
    pub(crate) async fn submit_application(
        &self,
        who: &Who,
        request: pb::SubmitApplicationRequest,
    ) -> Result<pb::SubmitApplicationResponse, Error> {
        check_submission(&request)?;
        if !who.may_act_for(&request.applicant_id) {
            return Err(Error::NotTheApplicant);
        }
        let db = self.db(&who.origin).await?;
        let service = self.service(&db, &request.service_id).await?;
        if !service.is_executable {
            return Err(Error::ServiceNotOpen);
        }
        let definition = self
            .definition(&db, &service.service_id, service.version)
            .await?;
        let checked = self.checked(&definition, &request.eform_id, &request.form_json)?;
        let data = checked.data;
        self.check_documents(
            &db,
            who,
            &definition,
            &request.applicant_id,
            &request.document_urls,
        )
        .await?;
        if let Some(agreement) = &definition.consent_agreement {
            self.require_consent(who, &request.applicant_id, agreement, &[])
                .await?;
        }
        let today = self.today();
        let routed = flow::arrive(&definition, &FileFacts::new(&definition, &data, &today))?;
        let input = Routing {
            row: self.new_file(who, &request, &service, &definition)?,
            origin: who.origin.clone(),
            keyring: self.keyring.clone(),
            definition,
            content: Content {
                name: request.application_name.clone(),
                data,
                documents: request.document_urls.clone(),
                decision_text: String::new(),
            },
            routed,
            next_task_id: self.new_id(),
            noted: Noted {
                changed: Vec::new(),
                dropped: checked.dropped.len(),
            },
        };
        let call = call(
            "registration.submit",
            SUBMIT,
            &who.origin,
            &request.request_id,
            &request,
        );
        write(&db, call, input, |tx, input| {
            Box::pin(async move {
                let application = input.submit(tx).await?;
                Ok(pb::SubmitApplicationResponse {
                    application: Some(application),
                })
            })
        })
        .await
    }

    /// The row of a file that begins now, in the caller's case or in one of its own.
    fn new_file(
        &self,
        who: &Who,
        request: &pb::SubmitApplicationRequest,
        service: &catalog::ServiceRow,
        definition: &Definition,
    ) -> Result<FileRow, Error> {
        let form = definition
            .form(&request.eform_id)
            .ok_or(Error::not_found("form"))?;
        let created = request.create_time.as_ref();
        let case = who.origin.process_id.clone();
        Ok(FileRow {
            file_id: self.new_id(),
            service_id: service.service_id.clone(),
            service_name: service.name.clone(),
            service_version: service.version,
            applicant_id: request.applicant_id.clone(),
            eform_id: form.eform_id.clone(),
            state: FileState::InProcess.code(),
            position: 0,
            main_task_id: self.new_id(),
            create_time: created
                .map(|time| from_timestamp("create_time", time))
                .transpose()?,
            register_time: self.clock.now(),
            process_id: case.unwrap_or_else(|| self.new_id()),
            version: 1,
            marks: "[]".to_owned(),
            rule_trace: "[]".to_owned(),
            sealed: Vec::new(),
        })
    }

    /// Form data that the form takes, in canonical shape.
    fn checked(
        &self,
        definition: &Definition,
        eform_id: &str,
        bytes: &[u8],
    ) -> Result<form::Checked, Error> {
        let Some(form) = definition.form(eform_id) else {
            return Err(Error::Submission(vec![form::Defect {
                field: "eform_id".to_owned(),
                rule: "form",
                reason: "this form does not belong to the service".to_owned(),
            }]));
        };
        let data = form_data(bytes)?;
        let checked = form::check(definition, form, &data, &self.today());
        checked.map_err(Error::Submission)
    }

    /// Documents must be the applicant's own, or uploaded by whoever acts for the applicant.
    async fn check_documents(
        &self,
        db: &Db,
        who: &Who,
        definition: &Definition,
        applicant_id: &str,
        urls: &[String],
    ) -> Result<(), Error> {
        let mut defects = Vec::new();
        for (at, url) in urls.iter().enumerate() {
            let mut known = true;
            // A reference to several documents names them all in its last part.
            for id in url.rsplit('/').next().unwrap_or_default().split(',') {
                let owner = match is_findable(id) {
                    true => document::owner(db, id).await?,
                    false => None,
                };
                known &= owner.is_some_and(|owner| owner == applicant_id || owner == who.party());
            }
            let foreign = definition.external_documents && is_reference(url);
            if !known && !foreign {
                defects.push(form::Defect {
                    field: format!("document_urls[{at}]"),
                    rule: "document",
                    reason: "no document of the applicant is known under this reference".into(),
                });
            }
        }
        if defects.is_empty() {
            Ok(())
        } else {
            Err(Error::Submission(defects))
        }
    }

    /// Asks the consent block, at each use; returns what it allows. Of fields, some are enough:
    /// an agreement lets those be used that it names and that the person did not leave out.
    pub(crate) async fn require_consent(
        &self,
        who: &Who,
        person_id: &str,
        agreement_id: &str,
        fields: &[String],
    ) -> Result<Permit, Error> {
        let wanted = Use {
            individual_id: person_id.to_owned(),
            data_agreement_id: agreement_id.to_owned(),
            attributes: fields.to_vec(),
            allow_partial: !fields.is_empty(),
            ..Use::default()
        };
        match self.gate.check(&who.origin, wanted).await {
            Ok(permit) => Ok(permit),
            Err(GateError::Unknown(status)) => Err(Error::ConsentUnknown(status)),
            Err(GateError::Denied { reasons, .. }) => Err(Error::ConsentRequired {
                reason: reasons
                    .first()
                    .copied()
                    .unwrap_or_default()
                    .as_str_name()
                    .to_owned(),
            }),
        }
    }

    pub(crate) async fn get_application(
        &self,
        who: &Who,
        request: pb::GetApplicationRequest,
    ) -> Result<pb::GetApplicationResponse, Error> {
        let db = self.db(&who.origin).await?;
        let row = self.visible(&db, who, &request.file_id).await?;
        let content = self.open(&db, &row).await?;
        let task = tasks::open_of(&db, &row.file_id).await?;
        let entry = Entry::new("registration.file.read")
            .subject("file", &row.file_id)
            .process(row.process_id.clone());
        self.journal.record(&who.origin, entry).await?;
        Ok(pb::GetApplicationResponse {
            application: Some(message(&row, &content, task.as_ref())),
        })
    }

    /// A file that the caller may see; to anybody else it does not exist.
    async fn visible(&self, db: &Db, who: &Who, file_id: &str) -> Result<FileRow, Error> {
        if !is_findable(file_id) {
            return Err(Error::not_found("file"));
        }
        let row = files::find(db, file_id)
            .await?
            .ok_or(Error::not_found("file"))?;
        if self.sees(db, who, &row).await? {
            Ok(row)
        } else {
            Err(Error::not_found("file"))
        }
    }

    /// Whether the caller sees a file: it is theirs, or is or was on one of their roles.
    pub(crate) async fn sees(&self, db: &Db, who: &Who, row: &FileRow) -> Result<bool, Error> {
        if who.party() == row.applicant_id {
            return Ok(true);
        }
        match who.sees_files_of() {
            None => Ok(true),
            Some(roles) if roles.is_empty() => Ok(false),
            Some(roles) => Ok(tasks::worked_on(db, &row.file_id, &roles).await?),
        }
    }

    pub(crate) async fn open(&self, db: &Db, row: &FileRow) -> Result<Content, Error> {
        let key = self.keyring.load(db, &subject(&row.applicant_id)).await?;
        Content::open(
            &key.ok_or(Error::Corrupt("an applicant has no key"))?,
            &row.sealed,
        )
    }

    pub(crate) async fn update_application(
        &self,
        who: &Who,
        request: pb::UpdateApplicationRequest,
    ) -> Result<pb::UpdateApplicationResponse, Error> {
        let db = self.db(&who.origin).await?;
        let row = self.visible(&db, who, &request.file_id).await?;
        if !request.applicant_id.is_empty() && request.applicant_id != row.applicant_id {
            return Err(Error::ApplicantChanged);
        }
        let call = call(
            "registration.update",
            UPDATE,
            &who.origin,
            &request.request_id,
            &request,
        );
        let input = (self.resubmission(&db, who, row, &request).await, ());
        write(&db, call, input, |tx, (routing, ())| {
            Box::pin(async move {
                let routing = routing.as_ref().map_err(clone_refusal)?;
                let application = routing.update(tx).await?;
                Ok(pb::UpdateApplicationResponse {
                    application: Some(application),
                })
            })
        })
        .await
    }

    /// Whether the caller may change a file as it stands, and where it stands.
    async fn changeable(
        &self,
        db: &Db,
        who: &Who,
        row: &FileRow,
        request: &pb::UpdateApplicationRequest,
    ) -> Result<FileState, Error> {
        let state = FileState::from_code(row.state).ok_or(Error::Corrupt("a file's state"))?;
        if state.ended() {
            return Err(Error::FileEnded);
        }
        if !request.etag.is_empty() && request.etag != row.version.to_string() {
            return Err(Error::StaleCopy);
        }
        // Between the roles only the operator whose turn it is changes a file.
        if state == FileState::InProcess {
            if !who.works_on_files() {
                return Err(Error::NotSentBack);
            }
            let open = tasks::open_of(db, &row.file_id).await?;
            let role = open.map(|task| task.role_id).unwrap_or_default();
            if !who.holds_role(&role) {
                return Err(Error::RoleRequired { role });
            }
        }
        if !request.eform_id.is_empty() && request.eform_id != row.eform_id {
            return Err(Error::Submission(vec![form::Defect {
                field: "eform_id".to_owned(),
                rule: "form",
                reason: "the file was begun with another form".to_owned(),
            }]));
        }
        Ok(state)
    }

    /// Merges what was sent into the file, and routes it again if it is with its applicant.
    async fn resubmission(
        &self,
        db: &Db,
        who: &Who,
        row: FileRow,
        request: &pb::UpdateApplicationRequest,
    ) -> Result<Routing, Error> {
        let state = self.changeable(db, who, &row, request).await?;
        let definition = self
            .definition(db, &row.service_id, row.service_version)
            .await?;
        let mut content = self.open(db, &row).await?;
        let form = definition
            .form(&row.eform_id)
            .ok_or(Error::Corrupt("a file's form"))?;
        let sent = form_data(&request.form_json)?;
        let (sent, unknown) =
            form::canonical(form, &sent).map_err(|defect| Error::Submission(vec![defect]))?;
        if definition.strict && !unknown.is_empty() {
            return Err(Error::Submission(form::unknown_fields(unknown)));
        }
        let changed = merge(&mut content.data, sent);
        let today = self.today();
        let checked = form::check(&definition, form, &content.data, &today);
        let checked = checked.map_err(Error::Submission)?;
        content.data = checked.data;
        if !request.application_name.is_empty() {
            content.name.clone_from(&request.application_name);
        }
        if !request.document_urls.is_empty() {
            let documents = &request.document_urls;
            self.check_documents(db, who, &definition, &row.applicant_id, documents)
                .await?;
            content.documents.clone_from(&request.document_urls);
        }
        let routed = if state == FileState::SentBack {
            flow::arrive(
                &definition,
                &FileFacts::new(&definition, &content.data, &today),
            )?
        } else {
            let position = usize::try_from(row.position).unwrap_or_default();
            flow::Routed {
                next: flow::Next::Task(position),
                trace: Vec::new(),
            }
        };
        Ok(Routing {
            origin: publica_types::Origin {
                process_id: Some(row.process_id.clone()),
                ..who.origin.clone()
            },
            keyring: self.keyring.clone(),
            definition,
            row,
            content,
            routed,
            next_task_id: self.new_id(),
            noted: Noted {
                changed,
                dropped: unknown.len() + checked.dropped.len(),
            },
        })
    }

    pub(crate) async fn withdraw_application(
        &self,
        who: &Who,
        request: pb::WithdrawApplicationRequest,
    ) -> Result<pb::WithdrawApplicationResponse, Error> {
        let db = self.db(&who.origin).await?;
        let row = self.visible(&db, who, &request.file_id).await?;
        let content = self.open(&db, &row).await?;
        let call = call(
            "registration.withdraw",
            WITHDRAW,
            &who.origin,
            &request.request_id,
            &request,
        );
        let input = (row, content, who.origin.clone());
        write(&db, call, input, |tx, (row, content, origin)| {
            Box::pin(async move {
                let state = FileState::from_code(row.state).ok_or(Error::Corrupt("state"))?;
                if state.ended() {
                    return Err(Error::FileEnded);
                }
                let mut row = row.clone();
                row.state = FileState::Withdrawn.code();
                if !files::update(tx, &row).await? {
                    return Err(Error::StaleCopy);
                }
                row.version += 1;
                tasks::cancel_open(tx, &row.file_id).await?;
                files::add_event(tx, &row.file_id, "withdrawn", &origin.actor, b"{}").await?;
                let entry = Entry::new("registration.file.withdrawn")
                    .subject("file", &row.file_id)
                    .process(row.process_id.clone());
                append(tx, origin, entry);
                let application = Some(message(&row, content, None));
                Ok(pb::WithdrawApplicationResponse { application })
            })
        })
        .await
    }

    pub(crate) async fn list_file_events(
        &self,
        who: &Who,
        request: pb::ListFileEventsRequest,
    ) -> Result<pb::ListFileEventsResponse, Error> {
        let db = self.db(&who.origin).await?;
        self.visible(&db, who, &request.file_id).await?;
        let size = page_size(request.page_size, 50, 1_000)?;
        let after: i64 =
            PageToken::decode(&request.file_id, &request.page_token)?.unwrap_or_default();
        let rows = files::events(&db, &request.file_id, after, size).await?;
        let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) == size;
        let next = rows
            .last()
            .filter(|_| full)
            .map(|row| PageToken::encode(&request.file_id, &row.sequence));
        let events = rows
            .into_iter()
            .map(|row| pb::FileEvent {
                sequence: row.sequence,
                kind: row.kind,
                actor: row.actor,
                event_time: Some(timestamp(row.event_time)),
                hash: row.hash.into(),
                changed_fields: changed_fields(&row.body),
            })
            .collect();
        Ok(pb::ListFileEventsResponse {
            events,
            next_page_token: next.unwrap_or_default(),
        })
    }
}

/// A refusal found before the unit ran, given again by the unit: the ledger then still answers a
/// repeated request with its first answer.
fn clone_refusal(error: &Error) -> Error {
    match error {
        Error::FileEnded => Error::FileEnded,
        Error::StaleCopy => Error::StaleCopy,
        Error::NotSentBack => Error::NotSentBack,
        Error::RoleRequired { role } => Error::RoleRequired { role: role.clone() },
        Error::Submission(defects) => Error::Submission(defects.clone()),
        Error::Invalid(invalid) => Error::Invalid(invalid.clone()),
        Error::Store(error) => Error::Store(error.clone()),
        Error::Seal(error) => Error::Seal(error.clone()),
        Error::Flow(error) => Error::Flow(error.clone()),
        _ => Error::Corrupt("a file cannot be changed"),
    }
}

/// Later members win, container by container; tells which fields changed.
fn merge(data: &mut Map<String, Value>, sent: Map<String, Value>) -> Vec<String> {
    let mut changed = Vec::new();
    for (container, group) in sent {
        let (Value::Object(known), Value::Object(group)) = (
            data.entry(container.clone())
                .or_insert_with(|| Value::Object(Map::new())),
            group,
        ) else {
            continue;
        };
        for (key, value) in group {
            if known.get(&key) != Some(&value) {
                changed.push(format!("{container}.{key}"));
                known.insert(key, value);
            }
        }
    }
    changed
}

/// The fields that an event of the history names.
fn changed_fields(body: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let named = body["changed"].as_array().into_iter().flatten();
    named
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

/// Whether a text can stand as a reference to a document elsewhere, which is never fetched.
pub(crate) fn is_reference(url: &str) -> bool {
    let visible = |c: char| !c.is_control() && !c.is_whitespace();
    !url.is_empty() && url.len() <= MAX_REFERENCE && url.chars().all(visible)
}

/// What is told about a file in the journal: states and ids only.
pub(crate) fn state_body(row: &FileRow) -> Value {
    json!({"state": row.state, "service": row.service_id, "version": row.version})
}
