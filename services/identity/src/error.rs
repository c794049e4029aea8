//! The block's errors, and the one place where their codes are chosen.

use std::borrow::Cow;

use publica_jose::JoseError;
use publica_journal::JournalError;
use publica_rpc::{Fault, Invalid};
use publica_seal::SealError;
use publica_store::StoreError;
use publica_types::Timestamp;
use tonic::{Code, Status};

use crate::domain::authorization::AuthorizationFault;
use crate::domain::client::ClientFault;
use crate::domain::person::PersonState;

/// Why a call was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the store failed")]
    Store(#[source] StoreError),
    #[error("sealed data failed")]
    Seal(#[source] SealError),
    #[error("the journal failed")]
    Journal(#[source] JournalError),
    #[error("a key or a token failed")]
    Jose(#[source] JoseError),
    #[error("a stored record cannot be read: {0}")]
    Record(&'static str),
    #[error(transparent)]
    Invalid(Invalid),
    #[error("a client is faulty: {0:?}")]
    Client(ClientFault),
    #[error("an authorization request is faulty: {}", .0.reason)]
    Authorization(AuthorizationFault),
    #[error("the state {} forbids it", .0.name())]
    State(PersonState),
    #[error("the person could not be authenticated")]
    Authentication {
        /// Until when even a right code is of no use.
        frozen_until: Option<Timestamp>,
    },
    #[error("refused: {0:?}")]
    Refused(Refused),
}

/// Refusals that need no more than their name. Where the published interface has a code for
/// one, the reason in lower case is that code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    PersonUnknown,
    PersonNotActive,
    Etag,
    IdentifierUnknown,
    IdentifierTaken,
    NumbersUsedUp,
    TooManyVids,
    FactorUnknown,
    EnrolmentUnknown,
    PacketConflict,
    PacketClosed,
    PacketTooLarge,
    ClientUnknown,
    ClientExists,
    ScopeNotHeld,
    Transaction,
    Identifier,
    Channel,
    TooManyCodes,
    Send,
    ChallengeCount,
    ChallengeFormat,
    Factor,
    AcceptedClaim,
    PermittedScope,
    Input,
    RedirectUri,
    AssertionType,
    Assertion,
    Client,
    GrantType,
    GrantNotAllowed,
    Grant,
    Scope,
    Token,
    InsufficientScope,
    TooEarly,
}

impl Refused {
    /// Code, stable reason and public message.
    fn row(self) -> (Code, &'static str, &'static str) {
        use Code::{
            Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound,
            PermissionDenied, ResourceExhausted, Unauthenticated, Unavailable,
        };
        match self {
            Self::PersonUnknown => (NotFound, "PERSON_NOT_FOUND", "There is no such person."),
            Self::PersonNotActive => (
                FailedPrecondition,
                "PERSON_NOT_ACTIVE",
                "The identity is not in use.",
            ),
            Self::Etag => (
                Aborted,
                "ETAG_MISMATCH",
                "The record has changed since it was read.",
            ),
            Self::IdentifierUnknown => (
                NotFound,
                "IDENTIFIER_NOT_FOUND",
                "There is no such identifier in use.",
            ),
            Self::NumbersUsedUp => (
                ResourceExhausted,
                "NUMBERS_USED_UP",
                "There are not enough permanent numbers left for so many people at once.",
            ),
            Self::IdentifierTaken => (
                AlreadyExists,
                "IDENTIFIER_TAKEN",
                "The identifier is in use already.",
            ),
            Self::TooManyVids => (
                FailedPrecondition,
                "TOO_MANY_VIDS",
                "The person has as many virtual identifiers of this kind as the policy allows.",
            ),
            Self::FactorUnknown => (NotFound, "FACTOR_NOT_FOUND", "There is no such factor."),
            Self::EnrolmentUnknown => (
                NotFound,
                "ENROLMENT_NOT_FOUND",
                "There is no such enrolment.",
            ),
            Self::PacketConflict => (
                AlreadyExists,
                "PACKET_CONFLICT",
                "The enrolment is complete and the packet has other content.",
            ),
            Self::PacketClosed => (
                FailedPrecondition,
                "PACKET_CLOSED",
                "The enrolment takes no further packet.",
            ),
            Self::PacketTooLarge => (
                InvalidArgument,
                "PACKET_TOO_LARGE",
                "The packet is larger than 1 MiB.",
            ),
            Self::ClientUnknown => (NotFound, "CLIENT_NOT_FOUND", "There is no such client."),
            Self::ClientExists => (
                AlreadyExists,
                "DUPLICATE_CLIENT_ID",
                "The client id is taken.",
            ),
            Self::ScopeNotHeld => (
                PermissionDenied,
                "SCOPE_NOT_HELD",
                "A client cannot be given a scope that the caller does not hold.",
            ),
            Self::Transaction => (
                FailedPrecondition,
                "INVALID_TRANSACTION",
                "The sign-in is unknown, over, or at another step.",
            ),
            Self::Identifier => (
                InvalidArgument,
                "INVALID_IDENTIFIER",
                "An identifier is required.",
            ),
            Self::Channel => (
                InvalidArgument,
                "INVALID_OTP_CHANNEL",
                "The only channel is email.",
            ),
            Self::TooManyCodes => (
                ResourceExhausted,
                "TOO_MANY_CODES",
                "Too many codes were asked for; try again later.",
            ),
            Self::Send => (
                Unavailable,
                "SEND_OTP_FAILED",
                "Codes cannot be sent at the moment.",
            ),
            Self::ChallengeCount => (
                InvalidArgument,
                "INVALID_NO_OF_CHALLENGES",
                "Exactly one challenge of each factor is required.",
            ),
            Self::ChallengeFormat => (
                InvalidArgument,
                "INVALID_CHALLENGE_FORMAT",
                "The challenge has a wrong format.",
            ),
            Self::Factor => (
                InvalidArgument,
                "AUTH_FACTOR_MISMATCH",
                "The factor is none of those that were offered.",
            ),
            Self::AcceptedClaim => (
                InvalidArgument,
                "INVALID_ACCEPTED_CLAIM",
                "A claim was not asked for, or a needed one is missing.",
            ),
            Self::PermittedScope => (
                InvalidArgument,
                "INVALID_PERMITTED_SCOPE",
                "A scope was not asked for.",
            ),
            Self::Input => (InvalidArgument, "INVALID_INPUT", "A parameter is missing."),
            Self::RedirectUri => (
                InvalidArgument,
                "INVALID_REDIRECT_URI",
                "redirect_uri is missing.",
            ),
            Self::AssertionType => (
                InvalidArgument,
                "INVALID_ASSERTION_TYPE",
                "client_assertion_type is not that of RFC 7523.",
            ),
            Self::Assertion => (
                Unauthenticated,
                "INVALID_ASSERTION",
                "The client assertion is not acceptable.",
            ),
            Self::Client => (
                Unauthenticated,
                "INVALID_CLIENT",
                "The client is not known here.",
            ),
            Self::GrantType => (
                InvalidArgument,
                "UNSUPPORTED_GRANT_TYPE",
                "The grant type is not supported.",
            ),
            Self::GrantNotAllowed => (
                FailedPrecondition,
                "UNAUTHORIZED_CLIENT",
                "The client is not registered for this grant type.",
            ),
            Self::Grant => (
                FailedPrecondition,
                "INVALID_GRANT",
                "The code is unknown, over, used, or another client's.",
            ),
            Self::Scope => (
                InvalidArgument,
                "INVALID_SCOPE",
                "The client may not have this scope.",
            ),
            Self::Token => (
                Unauthenticated,
                "INVALID_TOKEN",
                "The access token is not good.",
            ),
            Self::InsufficientScope => (
                PermissionDenied,
                "INSUFFICIENT_SCOPE",
                "The token lacks the scope openid.",
            ),
            Self::TooEarly => (
                FailedPrecondition,
                "ROTATION_TOO_EARLY",
                "The next key was published too recently for verifiers to know it.",
            ),
        }
    }
}

const OWN_FAULT: &str = "Something is wrong on our side.";

impl Fault for Error {
    fn code(&self) -> Code {
        match self {
            Self::Store(error) if error.is_retryable() => Code::Unavailable,
            Self::Store(_) | Self::Jose(_) | Self::Record(_) | Self::Seal(_) => Code::Internal,
            Self::Journal(error) => error.code(),
            Self::Invalid(invalid) => invalid.code(),
            Self::Client(_) | Self::Authorization(_) => Code::InvalidArgument,
            Self::State(_) | Self::Authentication { .. } => Code::FailedPrecondition,
            Self::Refused(refused) => refused.row().0,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Store(error) if error.is_retryable() => "STORE_UNAVAILABLE",
            Self::Store(_) => "STORE_FAILED",
            Self::Seal(_) | Self::Jose(_) | Self::Record(_) => "INTERNAL",
            Self::Journal(error) => error.reason(),
            Self::Invalid(invalid) => invalid.reason(),
            Self::Client(fault) => fault.reason(),
            Self::Authorization(fault) => fault.reason,
            Self::State(_) => "STATE_FORBIDS",
            Self::Authentication { .. } => "AUTH_FAILED",
            Self::Refused(refused) => refused.row().1,
        }
    }

    fn public_message(&self) -> Cow<'_, str> {
        match self {
            Self::Store(error) if error.is_retryable() => "Try again shortly.".into(),
            Self::Store(_) | Self::Seal(_) | Self::Jose(_) | Self::Record(_) => OWN_FAULT.into(),
            Self::Journal(error) => error.public_message(),
            Self::Invalid(invalid) => invalid.public_message(),
            Self::Client(fault) => {
                let (field, description) = fault.describe();
                format!("{field} {description}").into()
            }
            Self::Authorization(fault) => fault.description.into(),
            Self::State(state) => {
                format!("An identity that is {} cannot be changed so.", state.name()).into()
            }
            Self::Authentication { .. } => "The person could not be authenticated.".into(),
            Self::Refused(refused) => refused.row().2.into(),
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::State(state) => vec![("state", state.name().to_owned())],
            Self::Authentication {
                frozen_until: Some(end),
            } => vec![("frozen_until", end.to_string())],
            _ => Vec::new(),
        }
    }

    fn violations(&self) -> Vec<(String, String)> {
        match self {
            Self::Invalid(invalid) => invalid.violations(),
            Self::Client(fault) => {
                let (field, description) = fault.describe();
                vec![(field.to_owned(), description.to_owned())]
            }
            _ => Vec::new(),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        publica_rpc::status_of(&error)
    }
}

macro_rules! from {
    ($($source:ty => $variant:ident),+) => {$(
        impl From<$source> for Error {
            fn from(source: $source) -> Self {
                Self::$variant(source)
            }
        }
    )+};
}

from!(
    StoreError => Store,
    SealError => Seal,
    JournalError => Journal,
    JoseError => Jose,
    Invalid => Invalid,
    ClientFault => Client,
    AuthorizationFault => Authorization,
    Refused => Refused
);
