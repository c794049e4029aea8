//! Webhooks: journal entries on their way to other systems.
//!
//! A relay follows the log for each subscription and leaves a job for each entry that it wants;
//! the jobs deliver, in order per subject, with growing pauses, until they are given up.

mod deliver;
mod event;
mod relay;

pub(crate) use deliver::{Deliverer, encrypted};
pub(crate) use relay::{MAX_WAITING, enqueue, is_wanted, relay};

use publica_types::{Entropy, Uuid};

/// Kind of the jobs that deliver.
pub(crate) const KIND: &str = "journal.webhook";
/// The action by which a subscription is tried.
pub(crate) const PINGED: &str = "journal.webhook.pinged";

/// The shortest secret that is one, in bytes.
const MIN_SECRET: usize = 24;
const SECRET_LEN: usize = MIN_SECRET + 8;

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

/// Whether a text is too short to be meant as a secret.
pub(crate) fn is_short(text: &str) -> bool {
    !text.starts_with("whsec_") && text.len() < MIN_SECRET
}

/// A secret of the subscriber's own: `whsec_` and the base64 of 24 to 64 bytes, or a text of 24 to
/// 256 visible ASCII characters.
pub(crate) fn read_secret(text: &str) -> Result<Vec<u8>, &'static str> {
    use base64::Engine as _;
    let Some(encoded) = text.strip_prefix("whsec_") else {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        return match visible && (MIN_SECRET..=256).contains(&text.len()) {
            true => Ok(text.as_bytes().to_vec()),
            false => Err("must be 24 to 256 visible ASCII characters"),
        };
    };
    let secret = base64::engine::general_purpose::STANDARD.decode(encoded);
    match secret {
        Ok(secret) if (MIN_SECRET..=64).contains(&secret.len()) => Ok(secret),
        _ => Err("must be whsec_ and the base64 of 24 to 64 bytes"),
    }
}

/// Prefix of the keys of a subscription's jobs.
pub(crate) fn key_prefix(webhook_id: Uuid) -> String {
    format!("{webhook_id}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_enough() {
        let made = new_secret(&publica_types::SystemEntropy);
        assert_eq!(read_secret(&secret_text(&made)).unwrap(), made);
        let own = "a secret-of-one's-own-24".replace(' ', "-");
        assert_eq!(read_secret(&own).unwrap(), own.as_bytes());
        for bad in [
            "",
            "short",
            "whsec_",
            "whsec_c2hvcnQ=",
            "whsec_!!!",
            "with a space in it, long",
        ] {
            assert!(read_secret(bad).is_err(), "{bad}");
        }
        for (text, short) in [
            ("********", true),
            ("", true),
            ("whsec_x", false),
            (&own, false),
        ] {
            assert_eq!(is_short(text), short, "{text}");
        }
        assert!(read_secret(&"x".repeat(257)).is_err());
        assert!(read_secret(&secret_text(&[0; 65])).is_err());
    }
}
