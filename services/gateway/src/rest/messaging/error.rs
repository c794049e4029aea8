//! Errors of this surface: one body for all, and 405 for what the specification calls
//! "Invalid input".

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::respond;

/// The closed list of codes, and one for paths that do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    MethodNotAllowed,
    MissingApiKey,
    InvalidApiKey,
    ForbiddenSender,
    MissingRequestUid,
    UnknownRequestUid,
    MissingBody,
    MalformedJson,
    SchemaViolation,
    InvalidAddress,
    InvalidBase64,
    EmptyBatch,
    BatchTooLarge,
    MissingStatus,
    UnknownStatus,
    UnsupportedCharset,
    HeaderInjection,
    ForbiddenCallbackUri,
    PayloadTooLarge,
    UnsupportedMediaType,
    RateLimited,
    IdempotencyMismatch,
    IdempotencyInProgress,
    PolicyNotConfigured,
    TemporarilyUnavailable,
    Internal,
    UnknownPath,
}

impl Code {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::MissingApiKey => "MISSING_API_KEY",
            Self::InvalidApiKey => "INVALID_API_KEY",
            Self::ForbiddenSender => "FORBIDDEN_SENDER",
            Self::MissingRequestUid => "MISSING_REQUEST_UID",
            Self::UnknownRequestUid => "UNKNOWN_REQUEST_UID",
            Self::MissingBody => "MISSING_BODY",
            Self::MalformedJson => "MALFORMED_JSON",
            Self::SchemaViolation => "SCHEMA_VIOLATION",
            Self::InvalidAddress => "INVALID_ADDRESS",
            Self::InvalidBase64 => "INVALID_BASE64",
            Self::EmptyBatch => "EMPTY_BATCH",
            Self::BatchTooLarge => "BATCH_TOO_LARGE",
            Self::MissingStatus => "MISSING_STATUS",
            Self::UnknownStatus => "UNKNOWN_STATUS",
            Self::UnsupportedCharset => "UNSUPPORTED_CHARSET",
            Self::HeaderInjection => "HEADER_INJECTION",
            Self::ForbiddenCallbackUri => "FORBIDDEN_CALLBACK_URI",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Self::RateLimited => "RATE_LIMITED",
            Self::IdempotencyMismatch => "IDEMPOTENCY_MISMATCH",
            Self::IdempotencyInProgress => "IDEMPOTENCY_IN_PROGRESS",
            Self::PolicyNotConfigured => "POLICY_NOT_CONFIGURED",
            Self::TemporarilyUnavailable => "TEMPORARILY_UNAVAILABLE",
            Self::Internal => "INTERNAL",
            Self::UnknownPath => "UNKNOWN_PATH",
        }
    }

    /// The code that a block's reason becomes, where the request itself is at fault.
    fn of_reason(reason: &str) -> Self {
        [
            Self::InvalidAddress,
            Self::EmptyBatch,
            Self::BatchTooLarge,
            Self::UnsupportedCharset,
            Self::HeaderInjection,
            Self::ForbiddenCallbackUri,
        ]
        .into_iter()
        .find(|code| code.name() == reason)
        .unwrap_or(Self::SchemaViolation)
    }
}

/// A place in the request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Defect {
    pub(super) pointer: String,
    pub(super) code: String,
    pub(super) detail: String,
}

/// A refusal on its way out.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: Code,
    message: String,
    defects: Vec<Defect>,
    allow: &'static str,
    retry_after: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            code,
            message,
            defects: Vec::new(),
            allow: "",
            retry_after: None,
        }
    }

    /// What the specification calls "Invalid input": a 405, which must name the methods that
    /// the path does have (RFC 9110, 15.5.6).
    pub(super) fn input(code: Code, message: impl Into<String>, allow: &'static str) -> Self {
        Self {
            allow,
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, code, message)
        }
    }

    pub(super) fn method(method: &Method, allow: &'static str) -> Self {
        let message = format!("The method {method} is not offered here.");
        Self::input(Code::MethodNotAllowed, message, allow)
    }

    /// A channel that this installation does not have.
    pub(super) fn not_set_up(message: &str) -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            Code::PolicyNotConfigured,
            message,
        )
    }

    pub(super) fn unavailable() -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::TemporarilyUnavailable,
                "The service cannot serve now. Try again.",
            )
        }
    }

    pub(super) fn with(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.defects.push(Defect {
            pointer: pointer.into(),
            code: self.code.name().to_owned(),
            detail: detail.into(),
        });
        self
    }

    /// A block's refusal in this specification's words. `pointer` turns a field's path into a
    /// place in the published body.
    pub(super) fn of_status(
        status: &Status,
        allow: &'static str,
        pointer: fn(&str) -> String,
    ) -> Self {
        let reason = publica_rpc::reason(status).unwrap_or_default();
        let message = status.message().to_owned();
        match status.code() {
            tonic::Code::InvalidArgument if reason == "REQUEST_ID_REUSED" => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                Code::IdempotencyMismatch,
                "The idempotency key was used for another request.",
            ),
            tonic::Code::InvalidArgument => {
                let mut refusal = Self::input(Code::of_reason(&reason), message, allow);
                refusal.defects = defects(status, pointer);
                refusal
            }
            tonic::Code::NotFound if reason == "UNKNOWN_REQUEST_UID" => Self::new(
                StatusCode::NOT_FOUND,
                Code::UnknownRequestUid,
                "There is no request with this handle.",
            ),
            tonic::Code::FailedPrecondition if reason == Code::PolicyNotConfigured.name() => {
                Self::not_set_up("This channel is not set up here.")
            }
            tonic::Code::NotFound => Self::input(Code::SchemaViolation, message, allow),
            tonic::Code::Aborted => Self {
                retry_after: Some(1),
                ..Self::new(
                    StatusCode::CONFLICT,
                    Code::IdempotencyInProgress,
                    "The same request is being worked on.",
                )
            },
            tonic::Code::Unauthenticated => Self::new(
                StatusCode::UNAUTHORIZED,
                Code::InvalidApiKey,
                "The credentials are not valid.",
            ),
            tonic::Code::PermissionDenied => Self::new(
                StatusCode::FORBIDDEN,
                Code::ForbiddenSender,
                "The caller may not send as this sender, or not at all.",
            ),
            tonic::Code::ResourceExhausted => Self {
                retry_after: Some(retry_after(status).unwrap_or(1)),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    Code::RateLimited,
                    "The quota is used up.",
                )
            },
            tonic::Code::Unavailable | tonic::Code::DeadlineExceeded => Self {
                retry_after: Some(retry_after(status).unwrap_or(1)),
                ..Self::unavailable()
            },
            _ => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                Code::Internal,
                "Something is wrong on our side.",
            ),
        }
    }

    /// The answer; a problem document for those who ask for one.
    pub(super) fn answer(self, headers: &HeaderMap) -> Response {
        let trace = headers
            .get("x-request-id")
            .and_then(|value| value.to_str().ok());
        let mut body = json!({
            "code": self.code.name(),
            "message": self.message,
            "traceId": trace.unwrap_or_default(),
        });
        if !self.defects.is_empty() {
            let errors = self.defects.iter().map(|defect| {
                json!({
                    "pointer": defect.pointer,
                    "code": defect.code,
                    "detail": defect.detail,
                })
            });
            body["errors"] = Value::Array(errors.collect());
        }
        let accept = headers
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok());
        let problem = accept.is_some_and(|accept| accept.contains("application/problem+json"));
        let mut response = if problem {
            body["type"] = json!("about:blank");
            body["title"] = json!(self.status.canonical_reason().unwrap_or_default());
            body["status"] = json!(self.status.as_u16());
            respond::typed(self.status, respond::PROBLEM_JSON, &body)
        } else {
            respond::json(self.status, &body)
        };
        let answer = response.headers_mut();
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            answer.insert(header::ALLOW, HeaderValue::from_static(self.allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            answer.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("ApiKey realm=\"messaging\", Bearer"),
            );
        }
        if let Some(seconds) = self.retry_after {
            answer.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn retry_after(status: &Status) -> Option<u64> {
    let delay = status.get_details_retry_info()?.retry_delay?;
    Some(delay.as_secs().max(1))
}

/// The block's violations as places in the published body, each with its own code.
fn defects(status: &Status, pointer: fn(&str) -> String) -> Vec<Defect> {
    let codes = status
        .get_details_error_info()
        .and_then(|info| info.metadata.get("codes").cloned())
        .unwrap_or_default();
    let mut codes = codes.split(',');
    let found = status.get_details_bad_request();
    found
        .map(|bad| bad.field_violations)
        .unwrap_or_default()
        .into_iter()
        .map(|violation| Defect {
            pointer: pointer(&violation.field),
            code: codes
                .next()
                .filter(|code| !code.is_empty())
                .unwrap_or(Code::SchemaViolation.name())
                .to_owned(),
            detail: violation.description,
        })
        .collect()
}
