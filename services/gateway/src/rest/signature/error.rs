//! Errors of the published paths: the shape of their answers, with `status.code` `ERROR`.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::json;
use tonic::{Code, Status};

use crate::body::BodyFault;
use crate::problem::{Problem, http_status};
use crate::respond;
use crate::state::{EntryFault, GatewayState};

/// Why a call to a published path is refused.
#[derive(Debug)]
pub(super) struct SignFault {
    status: StatusCode,
    code: String,
    message: String,
    /// `status.code`, where it is another than `ERROR`.
    shown: &'static str,
}

impl SignFault {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
            shown: "ERROR",
        }
    }

    /// A member of the wrong type, length or format.
    pub(super) fn malformed(member: &str, message: &str) -> Self {
        let text = format!("{member}: {message}");
        Self::new(StatusCode::BAD_REQUEST, "validation_failed", text)
    }

    /// A mandatory member that is absent or null.
    pub(super) fn missing(member: &str) -> Self {
        let text = format!("Mandatory field not present: {member}");
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "mandatory_field_missing",
            text,
        )
    }

    pub(super) fn answer(&self, state: &GatewayState, headers: &HeaderMap) -> Response {
        let trace = headers
            .get("x-request-id")
            .and_then(|value| value.to_str().ok());
        let body = json!({
            "responseTimestamp": state.clock().now().to_string(),
            "status": {"code": self.shown, "message": self.message},
            "code": self.code,
            "traceId": trace.unwrap_or_default(),
        });
        let mut response = respond::json(self.status, &body);
        let extra = match self.status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::TOO_MANY_REQUESTS => Some((header::RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = extra {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl From<EntryFault> for SignFault {
    fn from(fault: EntryFault) -> Self {
        let status = fault.status();
        if status == StatusCode::UNAUTHORIZED {
            let message = format!("ID BB Authentication required: {fault}");
            return Self::new(status, "unauthorized", message);
        }
        Self::new(status, "unavailable", fault.to_string())
    }
}

impl From<BodyFault> for SignFault {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                fault.to_string(),
            ),
            other => Self::new(StatusCode::BAD_REQUEST, "malformed_body", other.to_string()),
        }
    }
}

impl From<Status> for SignFault {
    fn from(status: Status) -> Self {
        let problem = Problem::of(&status);
        // A state that does not allow it is 400 on these paths.
        let http = match status.code() {
            Code::Aborted | Code::AlreadyExists => StatusCode::BAD_REQUEST,
            other => http_status(other),
        };
        let code = match problem.code() {
            "" => format!("{:?}", status.code()).to_lowercase(),
            reason => reason.to_lowercase(),
        };
        let mut fault = Self::new(http, &code, status.message());
        if code == "status_change_refused" {
            fault.shown = if status.message().contains("revoked") {
                "REVOKED"
            } else {
                "EXPIRED"
            };
        }
        fault
    }
}
