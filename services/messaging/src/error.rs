//! What can go wrong, and what callers are told.

use std::borrow::Cow;
use std::time::Duration;

use publica_journal::JournalError;
use publica_rpc::{Fault, Invalid};
use publica_seal::SealError;
use publica_store::StoreError;
use tonic::Code;

use crate::domain::envelope::Violation;

/// An error of this block.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the request has {} faults", .0.len())]
    Unsound(Vec<Violation>),
    #[error("arguments are wrong")]
    Arguments(#[from] Invalid),
    #[error("the batch has no recipients")]
    EmptyBatch,
    #[error("the batch has more than {0} recipients")]
    BatchTooLarge(u64),
    #[error("the stream of the batch is out of order: {0}")]
    Stream(&'static str),
    #[error("the caller may not send as this sender")]
    ForbiddenSender,
    #[error("the scope {0} is missing")]
    MissingScope(&'static str),
    #[error("no request has this handle")]
    UnknownRequest,
    #[error("this channel is not set up here")]
    NotSetUp,
    #[error("every message of the request has come to its end")]
    Finished,
    #[error("no template has this name and version, or it is not approved")]
    UnknownTemplate,
    #[error("the template is not a draft")]
    NotADraft,
    #[error("a template is approved by somebody else than its author")]
    FourEyes,
    #[error("no suppression in force has this id")]
    UnknownSuppression,
    #[error("this is no link of ours")]
    UnknownSubscription,
    #[error("reports cannot be taken now")]
    NotNow,
    #[error("the day's quota is used up")]
    Quota { retry_after: Duration },
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for Error {
    fn code(&self) -> Code {
        match self {
            Self::Unsound(_)
            | Self::Arguments(_)
            | Self::EmptyBatch
            | Self::BatchTooLarge(_)
            | Self::Stream(_) => Code::InvalidArgument,
            Self::ForbiddenSender | Self::MissingScope(_) => Code::PermissionDenied,
            Self::UnknownRequest
            | Self::UnknownTemplate
            | Self::UnknownSuppression
            | Self::UnknownSubscription => Code::NotFound,
            Self::NotADraft | Self::FourEyes | Self::Finished | Self::NotSetUp => {
                Code::FailedPrecondition
            }
            Self::NotNow => Code::Unavailable,
            Self::Quota { .. } => Code::ResourceExhausted,
            Self::Journal(error) => error.code(),
            Self::Seal(SealError::Store(error)) | Self::Store(error) => store_code(error),
            Self::Seal(_) => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Unsound(violations) => violations
                .first()
                .map_or("SCHEMA_VIOLATION", |first| first.code.name()),
            Self::Arguments(_) | Self::Stream(_) => "SCHEMA_VIOLATION",
            Self::EmptyBatch => "EMPTY_BATCH",
            Self::BatchTooLarge(_) => "BATCH_TOO_LARGE",
            Self::ForbiddenSender => "FORBIDDEN_SENDER",
            Self::MissingScope(_) => "SCOPE_MISSING",
            Self::UnknownRequest => "UNKNOWN_REQUEST_UID",
            Self::UnknownTemplate => "UNKNOWN_TEMPLATE",
            Self::NotADraft => "NOT_A_DRAFT",
            Self::Finished => "REQUEST_FINISHED",
            Self::NotSetUp => "POLICY_NOT_CONFIGURED",
            Self::FourEyes => "FOUR_EYES",
            Self::UnknownSuppression => "UNKNOWN_SUPPRESSION",
            Self::UnknownSubscription => "UNKNOWN_SUBSCRIPTION",
            Self::NotNow => "REPORTS_UNAVAILABLE",
            Self::Quota { .. } => "RATE_LIMITED",
            Self::Journal(error) => error.reason(),
            Self::Seal(SealError::Store(error)) | Self::Store(error) => store_reason(error),
            Self::Seal(_) => "SEAL_FAILED",
        }
    }

    fn public_message(&self) -> Cow<'_, str> {
        match self {
            Self::Unsound(violations) => match violations.as_slice() {
                [one] => format!("{} {}.", one.path, one.why).into(),
                many => format!("{} parts of the request are wrong.", many.len()).into(),
            },
            Self::Arguments(invalid) => invalid.public_message(),
            Self::Journal(error) => error.public_message(),
            Self::Store(error) | Self::Seal(SealError::Store(error)) => store_message(error),
            Self::Seal(_) => "Something is wrong on our side.".into(),
            known => {
                let mut text = known.to_string();
                if let Some(first) = text.get_mut(..1) {
                    first.make_ascii_uppercase();
                }
                text.push('.');
                text.into()
            }
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            // One word a violation, in the order of the violations.
            Self::Unsound(violations) => {
                let codes: Vec<&str> = violations.iter().map(|one| one.code.name()).collect();
                vec![("codes", codes.join(","))]
            }
            Self::BatchTooLarge(limit) => vec![("limit", limit.to_string())],
            Self::MissingScope(scope) => vec![("scope", (*scope).to_owned())],
            Self::Journal(error) => error.metadata(),
            _ => Vec::new(),
        }
    }

    fn violations(&self) -> Vec<(String, String)> {
        match self {
            Self::Unsound(violations) => violations
                .iter()
                .map(|one| (one.path.clone(), one.why.clone()))
                .collect(),
            Self::Arguments(invalid) => invalid.violations(),
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Quota { retry_after } => Some(*retry_after),
            Self::NotNow => Some(Duration::from_secs(1)),
            Self::Store(error) if error.is_retryable() => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        publica_rpc::status_of(&error)
    }
}

fn store_code(error: &StoreError) -> Code {
    match error {
        StoreError::Conflict { .. } => Code::Aborted,
        error if error.is_retryable() => Code::Unavailable,
        _ => Code::Internal,
    }
}

fn store_reason(error: &StoreError) -> &'static str {
    match error {
        StoreError::Conflict { .. } => "STORE_CONFLICT",
        error if error.is_retryable() => "STORE_UNAVAILABLE",
        _ => "STORE_FAILED",
    }
}

fn store_message(error: &StoreError) -> Cow<'static, str> {
    match error {
        error if error.is_retryable() => "The store cannot serve now. Try again.".into(),
        _ => "Something is wrong on our side.".into(),
    }
}
