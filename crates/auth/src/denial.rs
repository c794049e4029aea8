//! Why a call is not let in.

use publica_jose::JoseError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Why a call is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The method needs a caller, and none was named.
    #[error("credentials are required")]
    CredentialsRequired,
    /// The credentials cannot be read, or are of several kinds at once.
    #[error("the credentials are malformed")]
    CredentialsMalformed,
    /// A header that carries credentials comes twice.
    #[error("the header {header} is sent more than once")]
    CredentialsRepeated {
        /// The header.
        header: &'static str,
    },
    /// The token's time is over.
    #[error("the token has expired")]
    TokenExpired,
    /// The token is not acceptable. The cause is for the log, not for the caller.
    #[error("the token is not acceptable")]
    TokenInvalid(#[source] JoseError),
    /// The token's issuer, or the tenant or subject it speaks of, is not trusted to it.
    #[error("the token's issuer is not trusted with what it says")]
    IssuerUntrusted,
    /// The token is bound to a key that the caller did not prove to hold.
    #[error("the token is bound to another key")]
    TokenBound,
    /// The keys of the token's issuer cannot be fetched at present.
    #[error("the issuer's keys are not available")]
    KeysUnavailable,
    /// The API key is unknown, expired or revoked.
    #[error("the API key is not valid")]
    ApiKeyInvalid,
    /// The peer certificate names no workload of this suite.
    #[error("the workload is not known")]
    WorkloadUnknown,
    /// The caller is known but does not hold the scope.
    #[error("the scope {scope} is required")]
    ScopeMissing {
        /// The scope that the method requires.
        scope: &'static str,
    },
    /// The caller's tenant is none of those that are served here.
    #[error("there is no such tenant")]
    TenantUnknown,
    /// No policy lists the method, so nobody may call it.
    #[error("the method is not open to anybody")]
    MethodNotListed,
}

impl Denial {
    /// The gRPC code of the answer.
    pub fn code(&self) -> Code {
        match self {
            Denial::ScopeMissing { .. } | Denial::TenantUnknown | Denial::MethodNotListed => {
                Code::PermissionDenied
            }
            Denial::KeysUnavailable => Code::Unavailable,
            _ => Code::Unauthenticated,
        }
    }

    /// The stable reason of the answer, for `ErrorInfo`.
    pub fn reason(&self) -> &'static str {
        match self {
            Denial::CredentialsRequired => "CREDENTIALS_REQUIRED",
            Denial::CredentialsMalformed | Denial::CredentialsRepeated { .. } => {
                "CREDENTIALS_MALFORMED"
            }
            Denial::TokenExpired => "TOKEN_EXPIRED",
            Denial::TokenInvalid(_) => "TOKEN_INVALID",
            Denial::IssuerUntrusted => "ISSUER_UNTRUSTED",
            Denial::TokenBound => "TOKEN_BOUND",
            Denial::KeysUnavailable => "ISSUER_KEYS_UNAVAILABLE",
            Denial::ApiKeyInvalid => "API_KEY_INVALID",
            Denial::WorkloadUnknown => "WORKLOAD_UNKNOWN",
            Denial::ScopeMissing { .. } => "SCOPE_MISSING",
            Denial::TenantUnknown => "TENANT_UNKNOWN",
            Denial::MethodNotListed => "METHOD_NOT_LISTED",
        }
    }

    /// The answer on the wire. `domain` is `<block>.publica`.
    pub fn status(&self, domain: String) -> Status {
        let metadata = match self {
            Denial::ScopeMissing { scope } => [("scope".to_owned(), (*scope).to_owned())].into(),
            Denial::CredentialsRepeated { header } => {
                [("header".to_owned(), (*header).to_owned())].into()
            }
            _ => std::collections::HashMap::new(),
        };
        let details = ErrorDetails::with_error_info(self.reason(), domain, metadata);
        Status::with_error_details(self.code(), self.to_string(), details)
    }
}

impl From<JoseError> for Denial {
    fn from(error: JoseError) -> Self {
        match error {
            JoseError::Expired => Denial::TokenExpired,
            JoseError::WrongIssuer => Denial::IssuerUntrusted,
            other => Denial::TokenInvalid(other),
        }
    }
}
