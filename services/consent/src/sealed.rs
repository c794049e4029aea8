//! What the block seals with its own keys, and where it stands.

publica_seal::sealed! {
    /// The key that seals revisions.
    SEAL_KEY = "consent-seal" [block_key(name: text).sealed],
}
