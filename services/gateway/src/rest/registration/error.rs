//! Errors of this surface: `systemError`, and the codes of the digest of its edge cases.

use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use serde::Serialize;
use tonic::{Code, Status};

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

#[derive(Debug, Clone, Serialize)]
struct Defect {
    pointer: String,
    message: String,
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
        let text = format!("{pointer}: {message}");
        let mut error = Self::new(StatusCode::BAD_REQUEST, "validation_failed", text);
        error.errors = vec![Defect {
            pointer: pointer.to_owned(),
            message: message.to_owned(),
        }];
        error
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
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(
                axum::http::header::WWW_AUTHENTICATE,
                axum::http::HeaderValue::from_static("Bearer"),
            );
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
            BodyFault::Malformed { member, .. } if !member.is_empty() => {
                (StatusCode::BAD_REQUEST, "validation_failed")
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
            (code, "") => (
                crate::problem::http_status(code),
                format!("{code:?}").to_lowercase(),
            ),
            (code, reason) => (crate::problem::http_status(code), reason.to_lowercase()),
        };
        let mut error = Self::new(http, &code, status.message());
        error.errors = problem
            .fields()
            .iter()
            .map(|field| Defect {
                pointer: format!("/{}", field.pointer.replace('.', "/")),
                message: field.detail.clone(),
            })
            .collect();
        error
    }
}
