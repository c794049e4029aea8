//! The published shapes, from the block's messages. Absent members are left out, never null.

use publica_proto::registration::v1 as pb;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::convert::rfc3339;

/// `statusModel`.
#[derive(Debug, Serialize)]
pub(crate) struct StatusModel {
    code: &'static str,
    title: &'static str,
}

pub(crate) fn file_status(state: pb::FileState) -> StatusModel {
    let (code, title) = match state {
        pb::FileState::Approved => ("APPROVED", "Approved"),
        pb::FileState::Rejected => ("REJECTED", "Rejected"),
        pb::FileState::Withdrawn => ("REJECTED", "Withdrawn"),
        pb::FileState::SentBack => ("SENDBACK", "Sent back"),
        pb::FileState::InProcess | pb::FileState::Unspecified => ("PENDING", "Pending"),
    };
    StatusModel { code, title }
}

fn task_status(task: &pb::Task) -> StatusModel {
    let (code, title) = match task.outcome() {
        pb::Outcome::Approved => ("APPROVED", "Approved"),
        pb::Outcome::SentBack => ("SENDBACK", "Sent back"),
        pb::Outcome::Rejected => ("REJECTED", "Rejected"),
        pb::Outcome::Unspecified if task.state() == pb::TaskState::Cancelled => {
            ("REJECTED", "Cancelled")
        }
        pb::Outcome::Unspecified => ("PENDING", "Pending"),
    };
    StatusModel { code, title }
}

/// A JSON object from a block's bytes; what is not one shows as empty.
pub(crate) fn object(bytes: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// A service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceModel<'s> {
    id: &'s str,
    name: &'s str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'s str,
    version: String,
    r#type: &'s str,
    is_executable: bool,
    is_closed: bool,
    service_body: Vec<PropertyModel<'s>>,
}

#[derive(Debug, Serialize)]
struct PropertyModel<'s> {
    code: &'s str,
    value: &'s str,
}

pub(crate) fn service(service: &pb::Service) -> ServiceModel<'_> {
    ServiceModel {
        id: &service.service_id,
        name: &service.name,
        description: &service.description,
        version: service.version.to_string(),
        r#type: &service.r#type,
        is_executable: service.is_executable,
        is_closed: service.is_closed,
        service_body: service.properties.iter().map(PropertyModel::of).collect(),
    }
}

impl<'s> PropertyModel<'s> {
    fn of(one: &'s pb::Property) -> Self {
        Self {
            code: &one.code,
            value: &one.value,
        }
    }
}

pub(crate) fn eform_item(eform: &pb::EForm) -> Value {
    let mut body = json!({
        "eFormId": eform.eform_id,
        "name": eform.name,
        "version": eform.version,
        "latest": eform.latest,
    });
    put(&mut body, "description", &eform.description);
    body
}

pub(crate) fn eform(eform: &pb::EForm) -> Value {
    let mut body = eform_item(eform);
    body["schema"] = Value::Object(object(&eform.schema_json));
    body
}

/// `applicationFileResponse`.
pub(crate) fn application(file: &pb::Application) -> Value {
    let mut data = json!({
        "applicantId": file.applicant_id,
        "formData": {"data": object(&file.form_json), "eFormId": file.eform_id},
        "documentUrls": file.document_urls,
    });
    put(&mut data, "applicationName", &file.application_name);
    if let Some(created) = rfc3339(file.create_time.as_ref()) {
        data["created"] = json!(created);
    }
    let mut body = json!({
        "serviceId": file.service_id,
        "serviceName": file.service_name,
        "applicantId": file.applicant_id,
        "fileId": file.file_id,
        "status": file_status(file.state()),
        "ended": matches!(
            file.state(),
            pb::FileState::Approved | pb::FileState::Rejected | pb::FileState::Withdrawn
        ),
        "applicationData": data,
    });
    if let Some(registered) = rfc3339(file.register_time.as_ref()) {
        body["registered"] = json!(registered);
    }
    put(&mut body, "decisionText", &file.decision_text);
    put(&mut body, "processId", &file.process_id);
    if !file.marks.is_empty() {
        body["marks"] = json!(file.marks);
    }
    if let Some(task) = &file.current_task {
        body["currentTaskId"] = json!(task.task_id);
    }
    body
}

/// An item of `GET /applications`; `eformId` is spelt with a small f here.
pub(crate) fn application_item(file: &pb::Application) -> Value {
    let mut body = json!({
        "fileId": file.file_id,
        "mainTaskId": file.main_task_id,
        "applicantId": file.applicant_id,
        "serviceId": file.service_id,
        "serviceName": file.service_name,
        "eformId": file.eform_id,
        "status": file_status(file.state()),
        "documentUrls": file.document_urls,
    });
    put(&mut body, "description", &file.application_name);
    if let Some(task) = &file.current_task {
        for (name, value) in [
            ("taskTitle", &task.name),
            ("roleId", &task.role_id),
            ("roleName", &task.role_name),
            ("assigneeId", &task.assignee_id),
            ("operatorName", &task.assignee_id),
        ] {
            put(&mut body, name, value);
        }
    }
    if let Some(created) = rfc3339(file.create_time.as_ref()) {
        body["created"] = json!(created);
    }
    if let Some(registered) = rfc3339(file.register_time.as_ref()) {
        body["registered"] = json!(registered);
    }
    body
}

fn task_common(task: &pb::Task, label: &str) -> Value {
    let mut body = json!({
        "taskId": task.task_id,
        "roleId": task.role_id,
        "serviceId": task.service_id,
        "serviceName": task.service_name,
        "fileId": task.file_id,
        "eFormId": task.eform_id,
        "status": task_status(task),
    });
    body[label] = json!(task.name);
    put(&mut body, "assigneeId", &task.assignee_id);
    put(&mut body, "description", &task.description);
    if let Some(created) = rfc3339(task.create_time.as_ref()) {
        body["created"] = json!(created);
    }
    body
}

/// `userTaskResponse`.
pub(crate) fn task_item(task: &pb::Task) -> Value {
    let mut body = task_common(task, "name");
    body["mainTaskId"] = json!(task.main_task_id);
    body
}

/// `dataUserTaskResponse`, whose label is `taskName`.
pub(crate) fn task(task: &pb::Task) -> Value {
    let mut body = task_common(task, "taskName");
    body["formVariables"] = Value::Object(object(&task.form_json));
    body["data"] = Value::Object(object(&task.data_json));
    body
}

/// `completedTaskResponse`.
pub(crate) fn completed(task: &pb::Task) -> Value {
    json!({
        "taskId": task.task_id,
        "fileId": task.file_id,
        "serviceId": task.service_id,
        "status": task_status(task),
        "variables": {"data": {"data": object(&task.data_json)}},
    })
}

fn put(body: &mut Value, name: &str, value: &str) {
    if !value.is_empty() {
        body[name] = json!(value);
    }
}
