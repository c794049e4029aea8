//! What the journal seals, and where it stands.

publica_seal::sealed! {
    /// Seeds of the keys that sign checkpoints.
    SIGNING = "journal.signing" [journal_epoch(epoch: int).sealed_seed],
    /// Secrets that deliveries to subscribers are signed with.
    WEBHOOK = "journal.webhook" [
        webhook(webhook_id: uuid).sealed_secret,
        webhook(webhook_id: uuid).sealed_old_secret,
    ],
    /// Answers that are kept for repeated requests.
    ANSWER = "journal.answer" [
        request_ledger(caller: text, rpc: text, request_id: text).sealed_answer,
    ],
}
