//! What the block seals with its own keys, and where it stands.

publica_seal::sealed! {
    /// Keys of seals.
    SEAL_KEY = "signature.seal" [credential(credential_id: text).sealed_key],
    /// Keys of the block's certificate authority and of its clock.
    AUTHORITY = "signature.authority" [authority(role: text).sealed_key],
}
