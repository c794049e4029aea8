//! What can be wrong with a key or a token.

/// Why a key or a token was refused. The text is safe to log: it never repeats the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoseError {
    /// The text is not what it should be; the field says in which respect.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// The text is longer than the limit.
    #[error("longer than the limit of {limit} bytes")]
    TooLarge {
        /// The limit that applied.
        limit: usize,
    },
    /// A JSON object repeats a member, which two readers could read differently.
    #[error("a member is repeated in a JSON object")]
    DuplicateMember,
    /// The algorithm is unknown or not on the caller's list.
    #[error("the algorithm is not allowed")]
    AlgorithmNotAllowed,
    /// The token demands an extension that is not understood here.
    #[error("a critical header parameter is not understood")]
    UnsupportedCritical,
    /// No key of the set fits the token.
    #[error("no key fits the token")]
    UnknownKey,
    /// A key fits, but the signature is not its.
    #[error("the signature is wrong")]
    BadSignature,
    /// The key is not acceptable; the field says why.
    #[error("unacceptable key: {0}")]
    InvalidKey(&'static str),
    /// The token could not be decrypted. Deliberately says no more.
    #[error("the token cannot be decrypted")]
    Undecryptable,
    /// The cryptographic library refused an operation that should succeed.
    #[error("the cryptographic operation failed")]
    Crypto,
    /// The token has the wrong type.
    #[error("the token's type is not the expected one")]
    WrongType,
    /// A claim that must be there is missing.
    #[error("the claim {0} is missing")]
    MissingClaim(String),
    /// A claim has the wrong JSON type or an impossible value.
    #[error("the claim {0} is malformed")]
    MalformedClaim(&'static str),
    /// The issuer is not an accepted one.
    #[error("the issuer is not accepted")]
    WrongIssuer,
    /// The token is meant for somebody else.
    #[error("the audience is not accepted")]
    WrongAudience,
    /// The subject is not the expected one.
    #[error("the subject is not accepted")]
    WrongSubject,
    /// The token's time is over.
    #[error("the token has expired")]
    Expired,
    /// The token's time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The token claims to be issued in the future.
    #[error("the token is issued in the future")]
    IssuedInFuture,
    /// The token was issued too long ago, or lives longer than accepted.
    #[error("the token is too old or lives too long")]
    TooOld,
}
