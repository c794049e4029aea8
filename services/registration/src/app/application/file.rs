//! What a file holds sealed, and its messages.

use publica_proto::registration::v1 as pb;
use publica_rpc::timestamp;
use publica_seal::SubjectKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::store::file::FileRow;
use crate::store::task::TaskRow;

const FIELD: &str = "registration.file";

/// What the applicant wrote and was told; sealed under the applicant's key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) name: String,
    pub(crate) data: Map<String, Value>,
    pub(crate) documents: Vec<String>,
    pub(crate) decision_text: String,
}

impl Content {
    pub(crate) fn seal(&self, key: &SubjectKey) -> Result<Vec<u8>, Error> {
        let plain = serde_json::to_vec(self).map_err(|_| Error::Corrupt("a file's content"))?;
        Ok(key.seal(FIELD, &plain))
    }

    pub(crate) fn open(key: &SubjectKey, sealed: &[u8]) -> Result<Self, Error> {
        let plain = key.open(FIELD, sealed)?;
        serde_json::from_slice(&plain).map_err(|_| Error::Corrupt("a file's content"))
    }

    /// The form data as JSON.
    pub(crate) fn data_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.data).unwrap_or_default()
    }
}

/// A file as callers see it.
pub(crate) fn message(row: &FileRow, content: &Content, task: Option<&TaskRow>) -> pb::Application {
    pb::Application {
        file_id: row.file_id.clone(),
        service_id: row.service_id.clone(),
        service_name: row.service_name.clone(),
        service_version: row.service_version,
        applicant_id: row.applicant_id.clone(),
        application_name: content.name.clone(),
        state: i32::try_from(row.state).unwrap_or_default(),
        create_time: row.create_time.map(timestamp),
        register_time: Some(timestamp(row.register_time)),
        eform_id: row.eform_id.clone(),
        form_json: content.data_json().into(),
        document_urls: content.documents.clone(),
        main_task_id: row.main_task_id.clone(),
        current_task: task.map(|task| task_message(task, None)),
        decision_text: content.decision_text.clone(),
        marks: serde_json::from_str(&row.marks).unwrap_or_default(),
        etag: row.version.to_string(),
        rule_trace: serde_json::from_str(&row.rule_trace).unwrap_or_default(),
        process_id: row.process_id.clone(),
    }
}

/// A task as callers see it, with the file's data where that is wanted.
pub(crate) fn task_message(row: &TaskRow, content: Option<(&Content, Vec<u8>)>) -> pb::Task {
    let (form_json, data_json) = content.map_or_else(Default::default, |(content, data)| {
        (content.data_json(), data)
    });
    pb::Task {
        task_id: row.task_id.clone(),
        main_task_id: row.main_task_id.clone(),
        name: row.role_name.clone(),
        role_id: row.role_id.clone(),
        role_name: row.role_name.clone(),
        assignee_id: row.assignee_id.clone(),
        file_id: row.file_id.clone(),
        service_id: row.service_id.clone(),
        service_name: row.service_name.clone(),
        eform_id: row.eform_id.clone(),
        description: String::new(),
        create_time: Some(timestamp(row.create_time)),
        state: i32::try_from(row.state).unwrap_or_default(),
        outcome: i32::try_from(row.outcome).unwrap_or_default(),
        form_json: form_json.into(),
        data_json: data_json.into(),
    }
}
