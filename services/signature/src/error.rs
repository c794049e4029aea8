//! What can go wrong in this block, and the one place where codes are chosen.

use std::borrow::Cow;

use publica_journal::JournalError;
use publica_rpc::{Fault, Invalid};
use publica_seal::SealError;
use publica_store::StoreError;
use tonic::Code;

use crate::domain::csr::CsrError;
use crate::domain::der::DerError;
use crate::domain::key::KeyError;
use crate::domain::pdf::PdfError;

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
    #[error("signing failed")]
    Key(#[from] KeyError),
    #[error("there is no such {kind}")]
    NotFound { kind: &'static str },
    #[error("the certification request {0}")]
    Csr(#[from] CsrError),
    #[error("the pseudonym is taken")]
    PseudonymTaken,
    #[error("the key has a certificate already")]
    KeyTaken,
    #[error("a certificate that is {status} cannot get this status")]
    StatusChange { status: &'static str },
    #[error("the credential is not active")]
    CredentialNotActive,
    #[error("this format is not offered with this hash")]
    UnsupportedCombination,
    #[error(transparent)]
    Pdf(#[from] PdfError),
    #[error("the work was interrupted")]
    Interrupted,
    #[error("stored data makes no sense: {0}")]
    Corrupt(&'static str),
}

impl From<DerError> for Error {
    fn from(_: DerError) -> Self {
        Self::Corrupt("an encoding")
    }
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
            Self::Key(_) => (Code::Internal, "SIGNING_FAILED"),
            Self::NotFound { kind: "credential" } => (Code::NotFound, "CREDENTIAL_NOT_FOUND"),
            Self::NotFound {
                kind: "certificate",
            } => (Code::NotFound, "CERTIFICATE_NOT_FOUND"),
            Self::NotFound { .. } => (Code::NotFound, "SIGNATURE_NOT_FOUND"),
            Self::Csr(_) => (Code::InvalidArgument, "CSR_REFUSED"),
            Self::PseudonymTaken => (Code::AlreadyExists, "PSEUDONYM_TAKEN"),
            Self::KeyTaken => (Code::AlreadyExists, "KEY_TAKEN"),
            Self::StatusChange { .. } => (Code::FailedPrecondition, "STATUS_CHANGE_REFUSED"),
            Self::CredentialNotActive => (Code::FailedPrecondition, "CREDENTIAL_NOT_ACTIVE"),
            Self::UnsupportedCombination => (Code::InvalidArgument, "UNSUPPORTED_COMBINATION"),
            Self::Pdf(error) => (Code::InvalidArgument, error.name()),
            Self::Interrupted => (Code::Internal, "INTERRUPTED"),
            Self::Corrupt(_) => (Code::Internal, "STORE_CORRUPT"),
        }
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
            Self::StatusChange { status } => vec![("status", (*status).to_owned())],
            Self::Journal(error) => error.metadata(),
            _ => Vec::new(),
        }
    }

    fn violations(&self) -> Vec<(String, String)> {
        match self {
            Self::Invalid(invalid) => invalid.violations(),
            Self::Csr(error) => vec![("csr".to_owned(), error.to_string())],
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
