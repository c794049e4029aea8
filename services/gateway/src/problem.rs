//! Problem documents (RFC 9457) for the native surface, from the `Status` of a block.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::respond;

/// A problem document.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    code: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    domain: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
}

/// What is wrong with one member.
#[derive(Debug, Clone, Serialize)]
pub struct FieldProblem {
    /// Path of the member.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Problem {
    /// A problem that the gateway itself found.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
            domain: "gateway.publica".to_owned(),
            errors: Vec::new(),
        }
    }

    /// The problem a block reported.
    pub fn of(status: &tonic::Status) -> Self {
        let http = http_status(status.code());
        let details = status.get_error_details();
        let mut problem = Self::new(http, "", status.message());
        if let Some(info) = details.error_info() {
            problem.code.clone_from(&info.reason);
            problem.domain.clone_from(&info.domain);
        }
        if let Some(bad) = details.bad_request() {
            problem.errors = bad
                .field_violations
                .iter()
                .map(|violation| FieldProblem {
                    pointer: violation.field.clone(),
                    detail: violation.description.clone(),
                })
                .collect();
        }
        problem
    }

    /// What is wrong with single members.
    pub fn fields(&self) -> &[FieldProblem] {
        &self.errors
    }

    /// The stable reason, such as `REQUEST_ID_REUSED`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The answer.
    pub fn answer(&self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = respond::typed(status, respond::PROBLEM_JSON, self);
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6750 section 3: a refused bearer token is told which scheme to use.
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The HTTP status that stands for a gRPC code on the native surface.
pub fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
