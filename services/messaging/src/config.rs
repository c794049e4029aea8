//! Settings of the block, the table `[messaging]`.

mod provider;
mod sms;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use publica_config::{Problems, Settings};
use publica_journal::JournalConfig;
use publica_store::DatabaseConfig;
use publica_types::Secret;
use serde::Deserialize;

pub use provider::{AnswerConfig, HeaderConfig, ProviderConfig, ReportConfig};
pub(crate) use sms::decimal;
pub use sms::{CentreConfig, PriceConfig, SmsConfig};

use crate::domain::address::{Mailbox, ascii_domain};
use crate::smtp::{Hop, HopError, TlsMode};

/// Settings of the messaging block.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MessagingConfig {
    /// Its store.
    pub database: DatabaseConfig,
    /// Its journal.
    pub journal: JournalConfig,
    /// The server that takes our mail. Without a host, messages are accepted and wait.
    pub relay: RelayConfig,
    /// Takes over while the first relay cannot be reached. Its `connections` and
    /// `bounce_domain` are the first one's.
    pub second_relay: RelayConfig,
    /// Keys that sign mail, for the domains in From.
    pub signing: Vec<SigningConfig>,
    /// Who may send as whom. Empty: everybody who may send at all, as anybody.
    pub senders: Vec<SenderConfig>,
    /// Short messages.
    pub sms: SmsConfig,
    /// Callbacks to originators.
    pub callbacks: CallbackConfig,
    /// Bounds.
    pub limits: LimitConfig,
    /// The public address of the gateway's `/messaging/unsubscribe`, which mail programs offer
    /// as a way out of what is not mandatory (RFC 8058). Empty: mails carry none.
    pub unsubscribe_url: String,
    /// How often to look for work that other processes left, in milliseconds.
    pub poll_ms: u64,
}

/// The next hop.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelayConfig {
    /// Host name or address; empty for none.
    pub host: String,
    /// Port: 587 with `starttls`, 465 with `implicit`, 25 within a machine.
    pub port: u16,
    /// `starttls`, `implicit`, or `none` for a relay on the same machine.
    pub tls: String,
    /// Certificates to trust, in PEM; empty for the public ones. May come as `ca_pem_file`.
    pub ca_pem: String,
    /// User for AUTH PLAIN; empty for none. Only over TLS.
    pub username: String,
    /// The user's password. May come as `password_file`.
    pub password: Secret<String>,
    /// The name we greet with.
    pub helo: String,
    /// Connections at a time.
    pub connections: usize,
    /// Domain of return paths, `b+<token>@<domain>`; empty returns bounces to the sender.
    pub bounce_domain: String,
    /// The longest to wait for a connection, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The longest to wait for the answer to a command, in milliseconds.
    pub command_timeout_ms: u64,
    /// The longest to wait for the verdict on a message, in milliseconds.
    pub answer_timeout_ms: u64,
    /// A connection without work is closed after so many milliseconds.
    pub idle_ms: u64,
}

/// A key that signs mail.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SigningConfig {
    /// The domain in From.
    pub domain: String,
    /// The selector under which the public half is published.
    pub selector: String,
    /// PKCS#8 in PEM, Ed25519 or RSA. May come as `key_pem_file`. Empty: an Ed25519 key that
    /// the block makes and keeps sealed in its store.
    pub key_pem: Secret<String>,
}

/// Who may send as whom.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SenderConfig {
    /// Subjects of tokens, such as `client:tax-portal` or `block:identity`; `*` for all.
    pub callers: Vec<String>,
    /// Domains they may use in From; `*` for all.
    pub domains: Vec<String>,
    /// Senders they may use in short messages; `*` for all.
    pub sender_ids: Vec<String>,
    /// Organisations they may name; empty for all.
    pub organisations: Vec<String>,
    /// Organisations on whose behalf they may send.
    pub on_behalf_of: Vec<String>,
}

/// Callbacks to originators.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallbackConfig {
    /// Whether plain http and private addresses are allowed.
    pub allow_private: bool,
    /// Signs events: `whsec_` and 24 to 64 bytes in base64. May come as `secret_file`. Empty:
    /// derived from the key-encryption key.
    pub secret: Secret<String>,
}

/// Bounds.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitConfig {
    /// Most recipients of a batch.
    pub batch_recipients: u64,
    /// Most messages a caller may have accepted in a day; 0 for no limit.
    pub daily_messages: u64,
    /// Recipients that failed for a reason which may pass can be sent to again for so many
    /// hours, during which their contacts and the content stay sealed in the store; 0 for never.
    pub keep_failed_hours: u64,
}

impl Default for MessagingConfig {
    fn default() -> Self {
        Self {
            database: DatabaseConfig::default(),
            journal: JournalConfig::default(),
            relay: RelayConfig::default(),
            second_relay: RelayConfig::default(),
            signing: Vec::new(),
            senders: Vec::new(),
            sms: SmsConfig::default(),
            callbacks: CallbackConfig::default(),
            limits: LimitConfig::default(),
            unsubscribe_url: String::new(),
            poll_ms: 1_000,
        }
    }
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 587,
            tls: "starttls".to_owned(),
            ca_pem: String::new(),
            username: String::new(),
            password: Secret::default(),
            helo: "localhost".to_owned(),
            connections: 16,
            bounce_domain: String::new(),
            connect_timeout_ms: 30_000,
            command_timeout_ms: 300_000,
            answer_timeout_ms: 600_000,
            idle_ms: 15_000,
        }
    }
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            batch_recipients: 10_000_000,
            daily_messages: 0,
            keep_failed_hours: 24,
        }
    }
}

impl RelayConfig {
    fn mode(&self) -> Option<TlsMode> {
        match self.tls.as_str() {
            "none" => Some(TlsMode::None),
            "starttls" => Some(TlsMode::StartTls),
            "implicit" => Some(TlsMode::Implicit),
            _ => None,
        }
    }

    /// The hop that these settings describe, if they name one.
    pub(crate) fn hop(&self) -> Result<Option<Arc<Hop>>, HopError> {
        if self.host.is_empty() {
            return Ok(None);
        }
        let ca = (!self.ca_pem.is_empty()).then_some(self.ca_pem.as_str());
        let mode = self.mode().unwrap_or_default();
        let mut hop = Hop::new(self.host.clone(), self.port, mode, ca)?;
        hop.helo.clone_from(&self.helo);
        if !self.username.is_empty() {
            hop.credentials = Some((self.username.clone(), self.password.clone()));
        }
        hop.connect_timeout = Duration::from_millis(self.connect_timeout_ms);
        hop.command_timeout = Duration::from_millis(self.command_timeout_ms);
        hop.answer_timeout = Duration::from_millis(self.answer_timeout_ms);
        Ok(Some(Arc::new(hop)))
    }

    fn check(&self, problems: &mut Problems) {
        let loopback = matches!(self.host.as_str(), "localhost" | "127.0.0.1" | "::1");
        let mode = self.mode();
        problems.require(mode.is_some(), "tls", "is none of starttls, implicit, none");
        if !self.host.is_empty() {
            let plain = mode == Some(TlsMode::None);
            problems.require(
                !plain || loopback,
                "tls",
                "may be none on this machine alone",
            );
            if let Err(error) = self.hop() {
                problems.add("ca_pem", error.to_string());
            }
        }
        problems.require(
            (1..=1_000).contains(&self.connections),
            "connections",
            "must be from 1 to 1000",
        );
        let sound = !self.helo.is_empty() && self.helo.bytes().all(|byte| byte.is_ascii_graphic());
        problems.require(sound, "helo", "is no host name");
        if !self.bounce_domain.is_empty() && ascii_domain(&self.bounce_domain).is_err() {
            problems.add("bounce_domain", "is no domain");
        }
    }
}

impl CallbackConfig {
    /// The bytes of the secret, if one was given.
    pub(crate) fn secret_bytes(&self) -> Result<Option<Vec<u8>>, &'static str> {
        let text = self.secret.expose();
        if text.is_empty() {
            return Ok(None);
        }
        let digits = text
            .strip_prefix("whsec_")
            .ok_or("must begin with whsec_")?;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(digits)
            .map_err(|_| "is no base64 after whsec_")?;
        if (24..=64).contains(&bytes.len()) {
            Ok(Some(bytes))
        } else {
            Err("must hold 24 to 64 bytes")
        }
    }
}

impl Settings for MessagingConfig {
    fn check(&self, problems: &mut Problems) {
        if !self.database.url.expose().is_empty() {
            problems.within("database", |problems| {
                for problem in self.database.problems() {
                    problems.add("", problem);
                }
            });
        }
        for problem in self.journal.problems() {
            problems.add("journal", problem);
        }
        problems.within("relay", |problems| self.relay.check(problems));
        problems.within("second_relay", |problems| self.second_relay.check(problems));
        for (index, signing) in self.signing.iter().enumerate() {
            problems.within(format!("signing[{index}]"), |problems| {
                let domain = Mailbox::parse(&format!("a@{}", signing.domain)).is_ok();
                problems.require(domain, "domain", "is no domain");
                let selector = !signing.selector.is_empty()
                    && signing
                        .selector
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
                problems.require(selector, "selector", "is no selector");
            });
        }
        problems.within("sms", |problems| self.sms.check(problems));
        if let Err(why) = self.callbacks.secret_bytes() {
            problems.add("callbacks.secret", why);
        }
        problems.require(
            (1..=100_000_000).contains(&self.limits.batch_recipients),
            "limits.batch_recipients",
            "must be from 1 to 100000000",
        );
        problems.require(
            self.limits.keep_failed_hours <= 720,
            "limits.keep_failed_hours",
            "must be from 0 to 720",
        );
        if !self.unsubscribe_url.is_empty() {
            let url = self.unsubscribe_url.as_str();
            let rest = url.strip_prefix("https://").unwrap_or_default();
            let sound = url
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"<>?#".contains(&byte));
            // The token and the angle brackets have to fit on one line of a header.
            problems.require(
                !rest.is_empty() && sound && url.len() <= 255,
                "unsubscribe_url",
                "must be an https address of at most 255 characters without a query",
            );
        }
        problems.require(
            (10..=60_000).contains(&self.poll_ms),
            "poll_ms",
            "must be from 10 to 60000",
        );
    }
}

impl MessagingConfig {
    /// What the tokens of unsubscribe links are appended to.
    pub(crate) fn unsubscribe_link(&self) -> Option<String> {
        let url = self.unsubscribe_url.trim_end_matches('/');
        (!url.is_empty()).then(|| url.to_owned())
    }
}

impl SenderConfig {
    /// Whether mail may come from this domain.
    pub(crate) fn has_domain(&self, domain: &str) -> bool {
        any(&self.domains, domain)
    }

    /// Whether short messages may come from this sender.
    pub(crate) fn has_sender_id(&self, sender_id: &str) -> bool {
        any(&self.sender_ids, sender_id)
    }

    /// Whether this grant lets a caller send for these organisations.
    pub(crate) fn allows(&self, caller: &str, organisation: &str, on_behalf_of: &str) -> bool {
        any(&self.callers, caller)
            && (organisation.is_empty()
                || self.organisations.is_empty()
                || any(&self.organisations, organisation))
            && (on_behalf_of.is_empty() || any(&self.on_behalf_of, on_behalf_of))
    }
}

fn any(list: &[String], value: &str) -> bool {
    list.iter()
        .any(|one| one == "*" || one.eq_ignore_ascii_case(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_sound() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config.sample.toml");
        let text = std::fs::read_to_string(file).unwrap();
        let whole: toml::Value = toml::from_str(&text).unwrap();
        let table = whole.get("messaging").cloned().unwrap();
        let config: MessagingConfig = table.try_into().unwrap();
        let mut problems = Problems::new();
        config.check(&mut problems);
        assert!(
            problems.is_empty(),
            "{:?}",
            problems.iter().collect::<Vec<_>>()
        );
    }

    #[test]
    fn all_problems_are_reported() {
        let config = MessagingConfig {
            relay: RelayConfig {
                host: "mx.example".to_owned(),
                tls: "none".to_owned(),
                connections: 0,
                helo: String::new(),
                ..RelayConfig::default()
            },
            signing: vec![SigningConfig::default()],
            callbacks: CallbackConfig {
                secret: Secret::new("whsec_AAAA".to_owned()),
                ..CallbackConfig::default()
            },
            ..MessagingConfig::default()
        };
        let mut problems = Problems::new();
        config.check(&mut problems);
        assert_eq!(problems.len(), 6);
        let mut problems = Problems::new();
        MessagingConfig::default().check(&mut problems);
        assert!(problems.is_empty());
    }

    #[test]
    fn grants_bind_callers_to_domains_and_organisations() {
        let grant = SenderConfig {
            callers: vec!["client:portal".to_owned()],
            domains: vec!["gov.example".to_owned()],
            sender_ids: vec!["Ministry".to_owned()],
            organisations: vec!["Ministry".to_owned()],
            on_behalf_of: vec!["Agency".to_owned()],
        };
        assert!(grant.has_domain("gov.example") && !grant.has_domain("evil.example"));
        assert!(grant.has_sender_id("Ministry") && !grant.has_sender_id("Other"));
        assert!(grant.allows("client:portal", "Ministry", ""));
        assert!(grant.allows("client:portal", "", "Agency"));
        for (caller, organisation, behalf) in [
            ("client:other", "", ""),
            ("client:portal", "Other", ""),
            ("client:portal", "", "Other"),
        ] {
            assert!(!grant.allows(caller, organisation, behalf));
        }
    }
}
