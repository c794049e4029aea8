//! What can go wrong with keys.

use publica_store::StoreError;

/// Why something could not be sealed, opened or looked up.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SealError {
    /// The subject was erased: its key is gone, and what it sealed with it.
    #[error("the subject was erased")]
    Erased,
    /// No key was ever made for the subject.
    #[error("the subject has no key")]
    NoKey,
    /// A wrapped key names a key-encryption key that is not configured.
    #[error("the key-encryption key `{0}` is not configured")]
    UnknownKey(String),
    /// Sealed bytes that were changed, or belong to another subject or field.
    #[error("sealed bytes of `{0}` do not open")]
    Unopenable(&'static str),
    /// The key-encryption keys cannot be read.
    #[error("the keys cannot be used: {0}")]
    Keys(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
