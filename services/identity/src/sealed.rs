//! What the block seals with its own keys, and where it stands.

publica_seal::sealed! {
    /// Keys that sign tokens.
    SIGNING_KEY = "identity.signing_key" [signing_key(kid: text).sealed],
    /// Codes on their way to people.
    CODE_MESSAGE = "identity.code_message" [
        job(job_id: uuid).payload where "kind = 'identity.send_code'",
        job_dead(job_id: uuid).payload where "kind = 'identity.send_code'",
    ],
}
