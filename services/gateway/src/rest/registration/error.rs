//! Errors of this surface: `systemError`, and the codes of its edge cases.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::body::BodyFault;
use crate::problem::Problem;
use crate::respond;
use crate::state::EntryFault;

/// The published error object, with the status it is sent under.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SystemError {
    #[serde(skip)]
    status: StatusCode,
    #[serde(rename = "traceId")]
    trace_id: String,
    code: String,
    message: String,
    #[serde(rename = "localizedMessage")]
    localized_message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Defect>,
}

/// One thing wrong with one member.
#[derive(Debug, Clone, Serialize)]
struct Defect {
    pointer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    rule: String,
    message: String,
    #[serde(rename = "localizedMessage")]
    localized_message: String,
}

impl Defect {
    fn new(pointer: impl Into<String>, rule: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            pointer: pointer.into(),
            rule: rule.to_owned(),
            localized_message: message.clone(),
            message,
        }
    }
}

/// Where fields of the block stand in the published bodies and queries.
const PLACES: &[(&str, &str)] = &[
    ("applicant_id", "/applicantId"),
    ("application_name", "/applicationName"),
    ("assignee_id", "/assigneeId"),
    ("content", "/file"),
    ("create_time", "/created"),
    ("data_json", "/data"),
    ("document_urls", "/documentUrls"),
    ("eform_id", "/formData/eFormId"),
    ("end_date", "/endDate"),
    ("file_id", "/fileId"),
    ("first_result", "/firstResult"),
    ("form_json", "/formData/data"),
    ("main_task_id", "/mainTaskId"),
    ("marks", "/data/decision/marks"),
    ("max_result", "/maxResult"),
    ("registration_name", "/registrationName"),
    ("request_id", "/Idempotency-Key"),
    ("service_id", "/serviceId"),
    ("sort_by", "/sortBy"),
    ("sort_order", "/sortOrder"),
    ("start_date", "/startDate"),
    ("text", "/data/decision/text"),
    ("timeframe", "/timeframe"),
];

/// The pointer of a path such as `documentUrls[2]`.
fn pointer(path: &str) -> String {
    let mut pointer = String::new();
    for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
        pointer.push('/');
        pointer.push_str(part.trim_end_matches(']'));
    }
    pointer
}

/// Where a field of the block stands; a field of a form is part of the form's data.
fn place(reason: &str, field: &str) -> String {
    let (name, rest) = field.split_at(field.find(['.', '[']).unwrap_or(field.len()));
    match PLACES.iter().find(|(known, _)| *known == name) {
        Some((_, place)) => format!("{place}{}", pointer(rest)),
        None if reason == "SUBMISSION_INVALID" => format!("/formData/data{}", pointer(field)),
        None => pointer(field),
    }
}

/// What was expected of a member, which is named beside it.
fn expectation(reason: &str) -> &str {
    match reason.rfind(", expected ") {
        Some(at) if reason.starts_with("invalid") => &reason[at + 2..],
        _ => reason,
    }
}

impl SystemError {
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            trace_id: String::new(),
            code: code.to_owned(),
            localized_message: message.clone(),
            message,
            errors: Vec::new(),
        }
    }

    pub(crate) fn not_found(code: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            code,
            "There is nothing with this id.",
        )
    }

    pub(crate) fn method_not_allowed(method: &Method) -> Self {
        let message = format!("The method {method} is not offered here.");
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        )
    }

    /// A member that is missing or has the wrong shape.
    pub(crate) fn invalid(pointer: &str, message: &str) -> Self {
        let text = match pointer {
            "" => message.to_owned(),
            pointer => format!("{pointer}: {message}"),
        };
        let mut error = Self::new(StatusCode::BAD_REQUEST, "validation_failed", text);
        error.errors = vec![Defect::new(pointer, "", message)];
        error
    }

    /// The same error under another status.
    pub(crate) fn under(mut self, status: StatusCode, code: &str) -> Self {
        self.status = status;
        code.clone_into(&mut self.code);
        self
    }

    pub(crate) fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// The request's id serves as the trace that support can ask for.
    pub(crate) fn traced(mut self, headers: &HeaderMap) -> Self {
        if let Some(id) = headers
            .get("x-request-id")
            .and_then(|value| value.to_str().ok())
        {
            id.clone_into(&mut self.trace_id);
        }
        self
    }

    pub(crate) fn answer(&self) -> Response {
        let mut response = respond::json(self.status, self);
        let mut say = |name, value| {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        };
        match self.status {
            StatusCode::UNAUTHORIZED => say(header::WWW_AUTHENTICATE, "Bearer"),
            StatusCode::SERVICE_UNAVAILABLE => say(header::RETRY_AFTER, "1"),
            _ => {}
        }
        response
    }
}

impl From<EntryFault> for SystemError {
    fn from(fault: EntryFault) -> Self {
        let status = fault.status();
        Self::new(
            status,
            if status == StatusCode::UNAUTHORIZED {
                "unauthorized"
            } else {
                "unavailable"
            },
            fault.to_string(),
        )
    }
}

impl From<BodyFault> for SystemError {
    fn from(fault: BodyFault) -> Self {
        let (status, code) = match &fault {
            BodyFault::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
            BodyFault::Malformed { member, reason } => {
                return Self::invalid(&pointer(member), expectation(reason));
            }
            _ => (StatusCode::BAD_REQUEST, "malformed_body"),
        };
        Self::new(status, code, fault.to_string())
    }
}

impl From<Status> for SystemError {
    fn from(status: Status) -> Self {
        let problem = Problem::of(&status);
        let reason = problem.code();
        let (http, code) = match (status.code(), reason) {
            (Code::NotFound, _) => (StatusCode::NOT_FOUND, reason.to_lowercase()),
            (_, "SERVICE_NOT_OPEN") => (StatusCode::CONFLICT, "service_not_open".to_owned()),
            (_, "CONSENT_REQUIRED" | "RESULT_MISSING") => {
                (StatusCode::CONFLICT, reason.to_lowercase())
            }
            (
                _,
                "SUBMISSION_INVALID"
                | "DECISION_REQUIRED"
                | "REASON_REQUIRED"
                | "OUTCOME_NOT_OFFERED"
                | "DEFINITION_UNSOUND",
            ) => (StatusCode::UNPROCESSABLE_ENTITY, reason.to_lowercase()),
            (_, "STALE_COPY") => (StatusCode::PRECONDITION_FAILED, "stale_copy".to_owned()),
            (_, "DOCUMENT_TOO_LARGE") => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "document_too_large".to_owned(),
            ),
            (_, "MEDIA_TYPE_NOT_ALLOWED") => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media_type_not_allowed".to_owned(),
            ),
            (Code::InvalidArgument, "REQUEST_ID_REUSED")
            | (Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists, _) => {
                (StatusCode::CONFLICT, reason.to_lowercase())
            }
            (Code::InvalidArgument, "INVALID_FIELDS") => {
                (StatusCode::BAD_REQUEST, "validation_failed".to_owned())
            }
            (code, "") => (
                crate::problem::http_status(code),
                format!("{code:?}").to_lowercase(),
            ),
            (code, reason) => (crate::problem::http_status(code), reason.to_lowercase()),
        };
        let info = status.get_details_error_info();
        let rules = info.as_ref().and_then(|info| info.metadata.get("rules"));
        let rules = rules.map(String::as_str).unwrap_or_default().split(',');
        let mut error = Self::new(http, &code, status.message());
        error.errors = problem
            .fields()
            .iter()
            .zip(rules.chain(std::iter::repeat("")))
            .map(|(field, rule)| Defect::new(place(reason, &field.pointer), rule, &field.detail))
            .collect();
        if code == "validation_failed" {
            // The list is an addition; published clients read the message.
            let named = error.errors.iter();
            let named: Vec<String> = named
                .map(|defect| format!("{}: {}", defect.pointer, defect.message))
                .collect();
            error.message = named.join("; ");
            error.localized_message.clone_from(&error.message);
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_clients_sent_them() {
        assert_eq!(place("INVALID_FIELDS", "applicant_id"), "/applicantId");
        assert_eq!(
            place("SUBMISSION_INVALID", "document_urls[2]"),
            "/documentUrls/2"
        );
        assert_eq!(place("SUBMISSION_INVALID", "a.b"), "/formData/data/a/b");
        assert_eq!(
            place("DEFINITION_UNSOUND", "forms[0].eFormId"),
            "/forms/0/eFormId"
        );
        assert_eq!(pointer(""), "");
    }

    #[test]
    fn what_was_sent_is_not_repeated() {
        let json = br#"{"open":"secret, expected secret at line 1 column 2"}"#;
        let fault = crate::body::parse::<std::collections::BTreeMap<String, bool>>(json);
        let error = SystemError::from(fault.unwrap_err());
        assert_eq!(error.message, "/open: expected a boolean");
        assert_eq!(expectation("missing field `open`"), "missing field `open`");
    }
}
