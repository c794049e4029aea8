//! Webhooks: journal entries on their way to other systems.
//!
//! A relay follows the log for each subscription and leaves a job for each entry that it wants;
//! the jobs deliver, in order per subject, with growing pauses, until they are given up.

mod deliver;
mod event;
mod relay;

pub(crate) use deliver::Deliverer;
pub(crate) use relay::relay;

use publica_types::{Entropy, Uuid};

/// Kind of the jobs that deliver.
pub(crate) const KIND: &str = "journal.webhook";
/// What secrets are sealed for.
pub(crate) const PURPOSE: &str = "journal.webhook";

const SECRET_LEN: usize = 24 + 8;

/// A new signing secret.
pub(crate) fn new_secret(entropy: &dyn Entropy) -> [u8; SECRET_LEN] {
    let mut secret = [0; SECRET_LEN];
    entropy.fill(&mut secret);
    secret
}

/// A secret as its subscriber gets it.
pub(crate) fn secret_text(secret: &[u8]) -> String {
    use base64::Engine as _;
    format!(
        "whsec_{}",
        base64::engine::general_purpose::STANDARD.encode(secret)
    )
}

/// Prefix of the keys of a subscription's jobs.
pub(crate) fn key_prefix(webhook_id: Uuid) -> String {
    format!("{webhook_id}/")
}
