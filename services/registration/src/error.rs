//! What can go wrong in this block, and the one place where codes are chosen.

use std::borrow::Cow;

use publica_journal::JournalError;
use publica_rpc::{Fault, Invalid};
use publica_seal::SealError;
use publica_store::StoreError;
use tonic::Code;

use crate::domain::flow::FlowError;
use crate::domain::{definition, form};

/// The most defects told at once: details of a refusal travel in a header.
const MAX_TOLD: usize = 100;

/// A refusal or a failure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("sealing or opening failed")]
    Seal(#[from] SealError),
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("there is no such {kind}")]
    NotFound { kind: &'static str },
    #[error("the service takes no new files")]
    ServiceNotOpen,
    #[error("another version of the service was published first")]
    PublishedMeanwhile,
    #[error("the definition is not sound")]
    Definition(Vec<definition::Defect>),
    #[error("the submission is not sound")]
    Submission(Vec<form::Defect>),
    #[error("the file has ended")]
    FileEnded,
    #[error("the file is not with its applicant")]
    NotSentBack,
    #[error("the file was changed meanwhile")]
    StaleCopy,
    #[error("a file stays with its applicant")]
    ApplicantChanged,
    #[error("only the applicant may do this")]
    NotTheApplicant,
    #[error("the task is closed")]
    TaskClosed,
    #[error("somebody else has taken the task")]
    TaskClaimed,
    #[error("the task was decided already: {outcome}")]
    TaskCompleted { outcome: &'static str },
    #[error("a decision is required")]
    DecisionRequired,
    #[error("the role {role} is required")]
    RoleRequired { role: String },
    #[error("nobody decides on an application of their own")]
    OwnApplication,
    #[error(transparent)]
    Flow(#[from] FlowError),
    #[error("the person has not consented to this use")]
    ConsentRequired { reason: String },
    #[error("the consent block could not be asked")]
    ConsentUnknown(#[source] tonic::Status),
    #[error("documents of this kind are not taken")]
    MediaType,
    #[error("the document is larger than {limit} bytes")]
    DocumentTooLarge { limit: usize },
    #[error("stored data makes no sense: {0}")]
    Corrupt(&'static str),
}

impl Error {
    pub(crate) const fn not_found(kind: &'static str) -> Self {
        Self::NotFound { kind }
    }

    fn kind(&self) -> (Code, &'static str) {
        match self {
            Self::Store(error) => store_reason(error),
            Self::Journal(error) => (error.code(), error.reason()),
            Self::Seal(SealError::Erased) => (Code::NotFound, "SUBJECT_ERASED"),
            Self::Seal(SealError::Store(error)) => store_reason(error),
            Self::Seal(_) => (Code::Internal, "SEAL_FAILED"),
            Self::Invalid(invalid) => (invalid.code(), invalid.reason()),
            Self::NotFound { kind } => (Code::NotFound, not_found_reason(kind)),
            Self::ServiceNotOpen => (Code::FailedPrecondition, "SERVICE_NOT_OPEN"),
            Self::PublishedMeanwhile => (Code::Aborted, "PUBLISHED_MEANWHILE"),
            Self::Definition(_) => (Code::InvalidArgument, "DEFINITION_UNSOUND"),
            Self::Submission(_) => (Code::InvalidArgument, "SUBMISSION_INVALID"),
            Self::FileEnded => (Code::FailedPrecondition, "FILE_ENDED"),
            Self::NotSentBack => (Code::FailedPrecondition, "FILE_NOT_SENT_BACK"),
            Self::StaleCopy => (Code::Aborted, "STALE_COPY"),
            Self::ApplicantChanged => (Code::PermissionDenied, "APPLICANT_CHANGED"),
            Self::NotTheApplicant => (Code::PermissionDenied, "NOT_THE_APPLICANT"),
            Self::TaskClosed => (Code::FailedPrecondition, "TASK_CLOSED"),
            Self::TaskClaimed => (Code::Aborted, "TASK_CLAIMED"),
            Self::TaskCompleted { .. } => (Code::Aborted, "TASK_ALREADY_COMPLETED"),
            Self::DecisionRequired => (Code::InvalidArgument, "DECISION_REQUIRED"),
            Self::RoleRequired { .. } => (Code::PermissionDenied, "ROLE_REQUIRED"),
            Self::OwnApplication => (Code::PermissionDenied, "OWN_APPLICATION"),
            Self::Flow(FlowError::OutcomeNotOffered) => {
                (Code::InvalidArgument, "OUTCOME_NOT_OFFERED")
            }
            Self::Flow(FlowError::ReasonRequired) => (Code::InvalidArgument, "REASON_REQUIRED"),
            Self::Flow(FlowError::Rule(_)) => (Code::FailedPrecondition, "RULE_UNDECIDABLE"),
            Self::ConsentRequired { .. } => (Code::PermissionDenied, "CONSENT_REQUIRED"),
            Self::ConsentUnknown(status) if status.code() == Code::FailedPrecondition => {
                (Code::FailedPrecondition, "PEER_NOT_CONFIGURED")
            }
            Self::ConsentUnknown(_) => (Code::Unavailable, "CONSENT_UNKNOWN"),
            Self::MediaType => (Code::InvalidArgument, "MEDIA_TYPE_NOT_ALLOWED"),
            Self::DocumentTooLarge { .. } => (Code::InvalidArgument, "DOCUMENT_TOO_LARGE"),
            Self::Corrupt(_) => (Code::Internal, "STORE_CORRUPT"),
        }
    }
}

fn not_found_reason(kind: &str) -> &'static str {
    match kind {
        "service" => "SERVICE_NOT_FOUND",
        "form" => "EFORM_NOT_FOUND",
        "file" => "FILE_NOT_FOUND",
        "task" => "TASK_NOT_FOUND",
        "document" => "DOCUMENT_NOT_FOUND",
        "registration" => "REGISTRATION_NOT_FOUND",
        _ => "ENTRY_NOT_FOUND",
    }
}

fn store_reason(error: &StoreError) -> (Code, &'static str) {
    match error {
        StoreError::Unavailable { .. } => (Code::Unavailable, "STORE_UNAVAILABLE"),
        StoreError::Timeout => (Code::Unavailable, "STORE_TIMEOUT"),
        StoreError::Conflict { .. } | StoreError::UniqueViolation { .. } => {
            (Code::Aborted, "CONFLICT")
        }
        _ => (Code::Internal, "STORE_FAILED"),
    }
}

impl Fault for Error {
    fn code(&self) -> Code {
        self.kind().0
    }

    fn reason(&self) -> &'static str {
        self.kind().1
    }

    fn public_message(&self) -> Cow<'_, str> {
        match self {
            Self::Invalid(invalid) => invalid.public_message(),
            Self::Journal(error) => error.public_message(),
            other => match other.code() {
                Code::Internal => "Something is wrong on our side.".into(),
                Code::Unavailable => "This cannot be done now; try again.".into(),
                _ => sentence(other),
            },
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::TaskCompleted { outcome } => vec![("outcome", (*outcome).to_owned())],
            Self::RoleRequired { role } => vec![("role", role.clone())],
            Self::ConsentRequired { reason } => vec![("decision", reason.clone())],
            Self::DocumentTooLarge { limit } => vec![("limit", limit.to_string())],
            Self::Submission(defects) => {
                let told = defects.iter().take(MAX_TOLD);
                let rules: Vec<&str> = told.map(|defect| defect.rule).collect();
                vec![("rules", rules.join(","))]
            }
            Self::Journal(error) => error.metadata(),
            _ => Vec::new(),
        }
    }

    fn violations(&self) -> Vec<(String, String)> {
        match self {
            Self::Invalid(invalid) => invalid.violations(),
            Self::Definition(defects) => defects
                .iter()
                .map(|defect| (defect.path.clone(), defect.reason.clone()))
                .collect(),
            Self::Submission(defects) => defects
                .iter()
                .take(MAX_TOLD)
                .map(|defect| (defect.field.clone(), defect.reason.clone()))
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// An error's text as a sentence.
fn sentence(error: &Error) -> Cow<'static, str> {
    let text = error.to_string();
    let mut letters = text.chars();
    let first: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    format!("{first}{}.", letters.as_str()).into()
}
