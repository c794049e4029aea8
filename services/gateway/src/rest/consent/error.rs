//! The error body of this surface: every client error is 400, with a machine code.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use tonic::{Code, Status};

use crate::body::BodyFault;
use crate::problem::Problem;
use crate::respond;
use crate::state::EntryFault;

/// Why a request is not answered with what it asked for.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    status: StatusCode,
    code: String,
    text: String,
    details: Vec<Detail>,
}

/// What is wrong with one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Detail {
    /// Where it stands in the request.
    pub(crate) path: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    error_code: u16,
    error_description: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "<[Detail]>::is_empty")]
    details: &'a [Detail],
    trace_id: &'a str,
}

/// The request's id serves as the trace that support can ask for.
pub(crate) fn trace_id(headers: &HeaderMap) -> String {
    let id = headers
        .get("x-request-id")
        .and_then(|value| value.to_str().ok());
    id.unwrap_or_default().to_owned()
}

impl Fault {
    pub(crate) fn new(status: StatusCode, code: &str, text: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            text: text.into(),
            details: Vec::new(),
        }
    }

    /// A bad request.
    pub(crate) fn bad(code: &str, text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, text)
    }

    /// A bad request for the sake of one member.
    pub(crate) fn member(path: &str, reason: &str) -> Self {
        let mut fault = Self::bad("invalid_fields", format!("{path} {reason}"));
        fault.details = vec![Detail {
            path: path.to_owned(),
            reason: reason.to_owned(),
        }];
        fault
    }

    /// A bad request for the sake of several members.
    pub(crate) fn members(details: Vec<Detail>) -> Self {
        let text = match details.as_slice() {
            [one] => format!("{} {}", one.path, one.reason),
            several => format!("{} members are invalid", several.len()),
        };
        Self {
            details,
            ..Self::bad("invalid_fields", text)
        }
    }

    /// The same, with a member of the block under this surface's name.
    pub(crate) fn renamed(mut self, from: &str, to: &str) -> Self {
        for detail in &mut self.details {
            if detail.path.trim_start_matches('/') == from {
                to.clone_into(&mut detail.path);
                self.text = format!("{to} {}", detail.reason);
            }
        }
        self
    }

    /// The same as a problem document, for native paths.
    pub(crate) fn problem(&self) -> Problem {
        let code = self.code.to_ascii_uppercase();
        Problem::new(self.status, &code, self.text.clone())
    }

    /// The answer.
    pub(crate) fn answer(&self, trace_id: &str) -> Response {
        let body = Body {
            error_code: self.status.as_u16(),
            error_description: &self.text,
            code: &self.code,
            details: &self.details,
            trace_id,
        };
        let mut response = respond::json(self.status, &body);
        let mut say = |name, value| response.headers_mut().insert(name, value);
        if self.status == StatusCode::UNAUTHORIZED {
            say(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            say(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<EntryFault> for Fault {
    fn from(fault: EntryFault) -> Self {
        let status = fault.status();
        let refused = status == StatusCode::UNAUTHORIZED;
        let code = if refused {
            "unauthorized"
        } else {
            "unavailable"
        };
        Self::new(status, code, fault.to_string())
    }
}

impl From<BodyFault> for Fault {
    fn from(fault: BodyFault) -> Self {
        let text = fault.to_string();
        match fault {
            BodyFault::TooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", text)
            }
            _ => Self::bad("malformed_body", text),
        }
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        let problem = Problem::of(&status);
        let http = match status.code() {
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::Internal | Code::Unknown | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        let reason = problem.code().to_ascii_lowercase();
        let code = match (problem.code(), http) {
            ("", _) => format!("{:?}", status.code()).to_ascii_lowercase(),
            ("RECORD_NOT_CURRENT", _) => "revision_superseded".to_owned(),
            _ => reason,
        };
        let mut fault = Self::new(http, &code, status.message());
        fault.details = problem
            .fields()
            .iter()
            .map(|field| Detail {
                path: field.pointer.clone(),
                reason: field.detail.clone(),
            })
            .collect();
        fault
    }
}
