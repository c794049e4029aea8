//! What can go wrong, and the one place where codes and reasons are chosen.

use std::borrow::Cow;

use publica_journal::JournalError;
use publica_rpc::Fault;
use publica_seal::SealError;
use publica_store::StoreError;
use tonic::{Code, Status};

use crate::domain::signature::Misfit;
use crate::domain::violations::Violations;

/// An error of this block.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Fields of the request are wrong.
    #[error("invalid fields: {0:?}")]
    Invalid(Violations),
    /// A rule says no; the text names what it is about.
    #[error("{}: {about}", .why.row().1)]
    Refused {
        /// Which rule.
        why: Why,
        /// What it is about: an id, or a list of fields.
        about: String,
    },
    /// A signature does not fit.
    #[error("a signature does not fit: {0}")]
    Signature(#[from] Misfit),
    /// A page token, a page size or the like.
    #[error(transparent)]
    Page(#[from] publica_rpc::Invalid),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A key of a person or of the block could not be used.
    #[error("a sealed field could not be used")]
    Seal(#[from] SealError),
    /// The journal or the request ledger refused.
    #[error("the journal refused")]
    Journal(#[from] JournalError),
    /// A peer could not be asked.
    #[error("a peer did not answer")]
    Peer(#[source] Status),
    /// The block's own key could not be used.
    #[error("the block's key could not be used")]
    Key(#[from] publica_jose::JoseError),
}

/// Rules that say no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    PolicyNotFound,
    PolicyExists,
    PolicyInUse,
    PolicyUrlReused,
    AgreementNotFound,
    AgreementExists,
    AgreementIncomplete,
    AgreementInactive,
    AgreementTerminated,
    ApprovalRequired,
    ApproverIsAuthor,
    BasisNotConsent,
    RevisionNotFound,
    RevisionMismatch,
    RevisionSuperseded,
    RevisionAltered,
    ObjectNotFound,
    HashMismatch,
    IndividualNotFound,
    IndividualExists,
    KeyInvalid,
    KeyNotFound,
    RecordNotFound,
    RecordExists,
    RecordNotCurrent,
    AlreadySigned,
    NotYours,
    Conflict,
    ReceiptIncomplete,
    DelegationForbidden,
    TooManyKeys,
    ImmutableField,
    TooManyWatchers,
    DelegationNotFound,
    DelegationInvalid,
    TooManyDelegations,
    UnderAge,
    ReconsentNeeded,
    PeerNotConfigured,
}

impl Why {
    /// Code, reason and message of a rule.
    const fn row(self) -> (Code, &'static str, &'static str) {
        use Code::{AlreadyExists, FailedPrecondition, NotFound, PermissionDenied};
        match self {
            Self::PolicyNotFound => (NotFound, "POLICY_NOT_FOUND", "there is no such policy"),
            Self::PolicyExists => (AlreadyExists, "POLICY_EXISTS", "the policy id is in use"),
            Self::PolicyInUse => (
                FailedPrecondition,
                "POLICY_IN_USE",
                "active agreements refer to the policy",
            ),
            Self::PolicyUrlReused => (
                FailedPrecondition,
                "POLICY_URL_REUSED",
                "content that changes needs a new url or version",
            ),
            Self::AgreementNotFound => (
                NotFound,
                "AGREEMENT_NOT_FOUND",
                "there is no such data agreement",
            ),
            Self::AgreementExists => (
                AlreadyExists,
                "AGREEMENT_EXISTS",
                "the data agreement id is in use",
            ),
            Self::AgreementIncomplete => (
                FailedPrecondition,
                "AGREEMENT_INCOMPLETE",
                "the data agreement lacks what publication needs",
            ),
            Self::AgreementInactive => (
                FailedPrecondition,
                "AGREEMENT_INACTIVE",
                "the data agreement takes no answers now",
            ),
            Self::AgreementTerminated => (
                FailedPrecondition,
                "AGREEMENT_TERMINATED",
                "the data agreement has ended",
            ),
            Self::ApprovalRequired => (
                FailedPrecondition,
                "APPROVAL_REQUIRED",
                "publication needs an approval of this very text",
            ),
            Self::ApproverIsAuthor => (
                PermissionDenied,
                "APPROVER_IS_AUTHOR",
                "whoever wrote the draft may not approve it",
            ),
            Self::BasisNotConsent => (
                FailedPrecondition,
                "BASIS_NOT_CONSENT",
                "the data agreement does not rest on consent",
            ),
            other => other.row_of_revisions(),
        }
    }

    /// What is said about revisions.
    const fn row_of_revisions(self) -> (Code, &'static str, &'static str) {
        use Code::{DataLoss, FailedPrecondition, InvalidArgument, NotFound};
        match self {
            Self::RevisionNotFound => (NotFound, "REVISION_NOT_FOUND", "there is no such revision"),
            Self::RevisionMismatch => (
                InvalidArgument,
                "REVISION_MISMATCH",
                "the revision belongs to something else",
            ),
            Self::RevisionSuperseded => (
                FailedPrecondition,
                "REVISION_SUPERSEDED",
                "the revision is no longer the latest",
            ),
            Self::RevisionAltered => (
                DataLoss,
                "REVISION_ALTERED",
                "the stored revision does not match its hash",
            ),
            Self::ObjectNotFound => (NotFound, "OBJECT_NOT_FOUND", "it has no revisions"),
            Self::HashMismatch => (
                InvalidArgument,
                "HASH_MISMATCH",
                "dataAgreementRevisionHash is not that of the revision",
            ),
            other => other.row_of_people(),
        }
    }

    /// The rest of the table.
    const fn row_of_people(self) -> (Code, &'static str, &'static str) {
        use Code::{
            Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied,
        };
        match self {
            Self::IndividualNotFound => (
                NotFound,
                "INDIVIDUAL_NOT_FOUND",
                "there is no such individual",
            ),
            Self::IndividualExists => (
                AlreadyExists,
                "INDIVIDUAL_EXISTS",
                "an individual with this id or external identity exists",
            ),
            Self::KeyInvalid => (InvalidArgument, "KEY_INVALID", "the key is no public JWK"),
            Self::KeyNotFound => (NotFound, "KEY_NOT_FOUND", "there is no such key"),
            Self::RecordNotFound => (
                NotFound,
                "RECORD_NOT_FOUND",
                "there is no such consent record",
            ),
            Self::RecordExists => (
                AlreadyExists,
                "RECORD_EXISTS",
                "the individual has answered this revision of the data agreement",
            ),
            Self::RecordNotCurrent => (
                FailedPrecondition,
                "RECORD_NOT_CURRENT",
                "a later answer took the place of this record",
            ),
            Self::AlreadySigned => (
                AlreadyExists,
                "ALREADY_SIGNED",
                "this role has signed the revision",
            ),
            Self::NotYours => (
                PermissionDenied,
                "NOT_YOURS",
                "the caller may not act for this individual",
            ),
            Self::Conflict => (Aborted, "CONFLICT", "it has changed meanwhile"),
            Self::ReceiptIncomplete => (
                FailedPrecondition,
                "RECEIPT_INCOMPLETE",
                "the data agreement lacks what the receipt needs",
            ),
            Self::DelegationForbidden => (
                PermissionDenied,
                "CONSUMER_NOT_YOURS",
                "the caller may not ask on behalf of another consumer",
            ),
            Self::ImmutableField => (
                InvalidArgument,
                "IMMUTABLE_FIELD",
                "only the answer can be changed",
            ),
            Self::TooManyWatchers => (
                Code::ResourceExhausted,
                "TOO_MANY_WATCHERS",
                "as many callers follow revocations as may",
            ),
            Self::TooManyKeys => (
                FailedPrecondition,
                "TOO_MANY_KEYS",
                "the individual has as many keys as may be",
            ),
            other => other.row_of_delegations(),
        }
    }

    /// What is said about those who act for others.
    const fn row_of_delegations(self) -> (Code, &'static str, &'static str) {
        use Code::{FailedPrecondition, NotFound, PermissionDenied};
        match self {
            Self::DelegationNotFound => (
                NotFound,
                "DELEGATION_NOT_FOUND",
                "there is no such delegation",
            ),
            Self::DelegationInvalid => (
                PermissionDenied,
                "DELEGATION_INVALID",
                "no delegation lets the delegate do this now",
            ),
            Self::TooManyDelegations => (
                FailedPrecondition,
                "TOO_MANY_DELEGATIONS",
                "the individual has as many delegations as may be",
            ),
            Self::UnderAge => (
                FailedPrecondition,
                "UNDER_AGE",
                "the individual is too young to say yes without a delegate",
            ),
            Self::ReconsentNeeded => (
                FailedPrecondition,
                "RECONSENT_NEEDED",
                "earlier answers cannot carry over, since what matters changed",
            ),
            Self::PeerNotConfigured => (
                FailedPrecondition,
                "PEER_NOT_CONFIGURED",
                "this needs a peer that is not configured",
            ),
            _ => (Code::Internal, "INTERNAL", "something is wrong on our side"),
        }
    }

    /// The refusal, and what it is about.
    pub(crate) fn about(self, about: impl Into<String>) -> Error {
        Error::Refused {
            why: self,
            about: about.into(),
        }
    }

    /// The stable reason.
    pub(crate) const fn reason(self) -> &'static str {
        self.row().1
    }
}

impl From<Violations> for Error {
    fn from(found: Violations) -> Self {
        Self::Invalid(found)
    }
}

impl Error {
    /// Whether there is no such revision, which not everybody may learn.
    pub(crate) fn is_unknown_revision(&self) -> bool {
        let Self::Refused { why, .. } = self else {
            return false;
        };
        *why == Why::RevisionNotFound
    }

    /// Whether the refusal is one that a caller brought about, and so belongs in the journal.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Invalid(_) | Self::Refused { .. } | Self::Signature(_)
        )
    }
}

/// Whether a peer refused what this service asked of it. No caller can help that, and no further
/// attempt: the operator must grant a scope, or run versions that understand each other.
fn refuses(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::PermissionDenied
            | Code::Unauthenticated
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::NotFound
    )
}

impl Fault for Error {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) | Self::Signature(_) => Code::InvalidArgument,
            Self::Refused { why, .. } => why.row().0,
            Self::Page(invalid) => invalid.code(),
            Self::Store(error) if error.is_retryable() => Code::Unavailable,
            Self::Store(StoreError::Corrupt { .. }) => Code::DataLoss,
            Self::Journal(error) => error.code(),
            Self::Peer(status) if refuses(status) => Code::FailedPrecondition,
            Self::Peer(_) => Code::Unavailable,
            // The person was erased between a look and the unit.
            Self::Seal(SealError::Erased) => Code::NotFound,
            Self::Store(_) | Self::Seal(_) | Self::Key(_) => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELDS",
            Self::Signature(_) => "SIGNATURE_INVALID",
            Self::Refused { why, .. } => why.reason(),
            Self::Page(invalid) => invalid.reason(),
            Self::Store(error) if error.is_retryable() => "STORE_UNAVAILABLE",
            Self::Journal(error) => error.reason(),
            Self::Peer(status) if refuses(status) => "PEER_REFUSED",
            Self::Peer(_) => "PEER_UNREACHABLE",
            Self::Seal(SealError::Erased) => Why::IndividualNotFound.reason(),
            Self::Store(_) | Self::Seal(_) | Self::Key(_) => "INTERNAL",
        }
    }

    fn public_message(&self) -> Cow<'_, str> {
        match self {
            Self::Invalid(found) => match found.pairs() {
                [(field, description)] => format!("{field} {description}").into(),
                several => format!("{} fields are invalid", several.len()).into(),
            },
            Self::Signature(misfit) => format!("the signature is invalid: {misfit}").into(),
            Self::Refused { why, about } if about.is_empty() => why.row().2.into(),
            Self::Refused { why, about } => format!("{}: {about}", why.row().2).into(),
            Self::Page(invalid) => invalid.public_message(),
            Self::Journal(error) => error.public_message(),
            Self::Store(error) if error.is_retryable() => {
                "the store is not available, try again".into()
            }
            Self::Peer(status) if refuses(status) => {
                "a peer refuses this service, which its operator must put right".into()
            }
            Self::Peer(_) => "a peer that this needs does not answer, try again".into(),
            Self::Store(_) | Self::Seal(_) | Self::Key(_) => {
                "something is wrong on our side".into()
            }
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Signature(misfit) => vec![("step", misfit.step.to_owned())],
            Self::Refused { about, .. } if !about.is_empty() => vec![("about", about.clone())],
            Self::Journal(error) => error.metadata(),
            _ => Vec::new(),
        }
    }

    fn violations(&self) -> Vec<(String, String)> {
        match self {
            Self::Invalid(found) => found.pairs().to_vec(),
            Self::Signature(misfit) => {
                vec![(
                    "signature".to_owned(),
                    format!("{}: {}", misfit.step, misfit.what),
                )]
            }
            Self::Page(invalid) => invalid.violations(),
            _ => Vec::new(),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        publica_rpc::status_of(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_its_row() {
        for why in [
            Why::PolicyNotFound,
            Why::PolicyUrlReused,
            Why::HashMismatch,
            Why::IndividualNotFound,
            Why::TooManyKeys,
            Why::DelegationForbidden,
            Why::Conflict,
        ] {
            let error = why.about("x");
            assert_ne!(error.code(), Code::Internal, "{why:?}");
            assert!(error.reason().len() <= 63);
        }
    }

    #[test]
    fn peers_that_refuse_are_told_from_those_that_are_away() {
        for (code, told) in [
            (Code::Unavailable, (Code::Unavailable, "PEER_UNREACHABLE")),
            (
                Code::DeadlineExceeded,
                (Code::Unavailable, "PEER_UNREACHABLE"),
            ),
            (Code::Internal, (Code::Unavailable, "PEER_UNREACHABLE")),
            (
                Code::PermissionDenied,
                (Code::FailedPrecondition, "PEER_REFUSED"),
            ),
            (
                Code::Unauthenticated,
                (Code::FailedPrecondition, "PEER_REFUSED"),
            ),
            (
                Code::InvalidArgument,
                (Code::FailedPrecondition, "PEER_REFUSED"),
            ),
            (
                Code::Unimplemented,
                (Code::FailedPrecondition, "PEER_REFUSED"),
            ),
        ] {
            let error = Error::Peer(Status::new(code, "secret"));
            assert_eq!((error.code(), error.reason()), told, "{code:?}");
            assert!(!error.public_message().contains("secret"));
        }
    }

    #[test]
    fn internals_are_not_told() {
        let error = Error::from(StoreError::corrupt("row 7"));
        assert!(!error.public_message().contains("row 7"));
    }
}
