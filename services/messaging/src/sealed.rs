//! What the block seals with its own keys, and where it stands.

publica_seal::sealed! {
    /// Keys that sign mail.
    SIGNING_KEY = "signing_key" [signing_key(domain: text, selector: text).sealed],
    /// Whom to tell about a message.
    CALLBACK = "callback" [request(request_id: uuid).callback],
    /// Links that end what an address gets. They stand in mails, not in the store.
    UNSUBSCRIBE = "messaging.unsubscribe" [],
}
