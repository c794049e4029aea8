//! Settings of the block.

use std::time::Duration;

use publica_config::{Problems, Settings};
use publica_journal::JournalConfig;
use publica_store::DatabaseConfig;
use serde::Deserialize;

use crate::domain::identifier;
use crate::domain::sign_in::{AttemptPolicy, Lifetimes};
use crate::domain::uri;

/// The section `[identity]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    /// Where the block keeps its data.
    pub database: DatabaseConfig,
    /// The OpenID Connect issuer, and the address below which its endpoints are reached.
    pub issuer: String,
    /// Further audiences that client assertions may name, for gateways with other addresses.
    pub assertion_audiences: Vec<String>,
    /// The audience of access tokens that machines get, as the other blocks expect it.
    pub access_audience: String,
    /// Further audiences of the access tokens that people's clients get. None by default: such
    /// a token then opens nothing but the claims about the person.
    pub person_audiences: Vec<String>,
    /// How long access and ID tokens are good.
    pub token_seconds: u64,
    /// Whether redirect URIs may be plain `http`; by default everywhere but in production.
    pub allow_http_redirects: Option<bool>,
    /// Languages that the log-in pages speak.
    pub ui_locales: Vec<String>,
    /// How long sign-ins may take.
    pub sign_in: SignInConfig,
    /// One-time codes.
    pub code: CodeConfig,
    /// The message that carries a code.
    pub mail: MailConfig,
    /// Keys that sign tokens.
    pub keys: KeyConfig,
    /// The journal.
    pub journal: JournalConfig,
}

/// The section `[identity.sign_in]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignInConfig {
    /// A whole sign-in, in seconds.
    pub whole_seconds: u64,
    /// A page without anything done on it, in seconds.
    pub step_seconds: u64,
    /// An authorization code, in seconds.
    pub code_seconds: u64,
}

/// The section `[identity.code]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodeConfig {
    /// Digits of a code.
    pub length: usize,
    /// How long a code is good.
    pub lifetime_seconds: u64,
    /// Wrong codes before a pause.
    pub max_failures: i64,
    /// Length of that pause.
    pub freeze_seconds: u64,
    /// Codes sent to one person within the window.
    pub max_sends: i64,
    /// Codes asked for from one address within the window.
    pub max_sends_from_address: i64,
    /// The window.
    pub window_seconds: u64,
    /// What the page waits before it offers another code.
    pub resend_seconds: u64,
}

/// The section `[identity.mail]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailConfig {
    /// The sender's address; the messaging block must let this block use it.
    pub sender: String,
    /// The sender's name.
    pub sender_name: String,
    /// An approved template of the messaging block with the variables `code` and `minutes`;
    /// empty uses the texts below.
    pub template: String,
    /// The subject, when no template is named.
    pub subject: String,
    /// The text, when no template is named.
    pub text: String,
}

/// The section `[identity.keys]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyConfig {
    /// `RS256`, `PS256`, `ES256` or `EdDSA`.
    pub algorithm: String,
    /// Days after which the next key takes over.
    pub rotate_days: u32,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            database: DatabaseConfig::default(),
            issuer: "http://127.0.0.1:8080/identity".to_owned(),
            assertion_audiences: Vec::new(),
            access_audience: "publica".to_owned(),
            person_audiences: Vec::new(),
            token_seconds: 900,
            allow_http_redirects: None,
            ui_locales: ["en", "fr", "ar"].map(str::to_owned).to_vec(),
            sign_in: SignInConfig::default(),
            code: CodeConfig::default(),
            mail: MailConfig::default(),
            keys: KeyConfig::default(),
            journal: JournalConfig::default(),
        }
    }
}

impl Default for SignInConfig {
    fn default() -> Self {
        Self {
            whole_seconds: 1_800,
            step_seconds: 300,
            code_seconds: 60,
        }
    }
}

impl Default for CodeConfig {
    fn default() -> Self {
        Self {
            length: 6,
            lifetime_seconds: 180,
            max_failures: 5,
            freeze_seconds: 1_800,
            max_sends: 5,
            max_sends_from_address: 100,
            window_seconds: 900,
            resend_seconds: 30,
        }
    }
}

impl Default for MailConfig {
    fn default() -> Self {
        Self {
            sender: "no-reply@identity.example.org".to_owned(),
            sender_name: "Identity service".to_owned(),
            template: String::new(),
            subject: "Your sign-in code".to_owned(),
            text: "Your code is {{ code }}\n\n\
                   It is good for {{ minutes }} minutes. If you did not ask for it, you need not \
                   do anything; nobody can sign in without it.\n"
                .to_owned(),
        }
    }
}

impl Default for KeyConfig {
    fn default() -> Self {
        Self {
            algorithm: "RS256".to_owned(),
            rotate_days: 90,
        }
    }
}

impl SignInConfig {
    pub(crate) fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            whole: Duration::from_secs(self.whole_seconds),
            step: Duration::from_secs(self.step_seconds),
            code: Duration::from_secs(self.code_seconds),
        }
    }
}

impl CodeConfig {
    pub(crate) fn attempts(&self) -> AttemptPolicy {
        AttemptPolicy {
            failures: self.max_failures,
            freeze: Duration::from_secs(self.freeze_seconds),
            sends: self.max_sends,
            window: Duration::from_secs(self.window_seconds),
        }
    }

    pub(crate) fn address_attempts(&self) -> AttemptPolicy {
        AttemptPolicy {
            sends: self.max_sends_from_address,
            ..self.attempts()
        }
    }
}

impl IdentityConfig {
    pub(crate) fn token_lifetime(&self) -> Duration {
        Duration::from_secs(self.token_seconds)
    }

    /// Every audience that a client assertion may name: the issuer and its token endpoints.
    pub(crate) fn all_assertion_audiences(&self) -> Vec<String> {
        let mut bases = vec![self.issuer.clone()];
        bases.extend(self.assertion_audiences.iter().cloned());
        let endpoints = [
            "",
            "/oauth/token",
            "/oauth2/token",
            "/v1/esignet/oauth/v2/token",
        ];
        bases
            .iter()
            .flat_map(|base| {
                endpoints
                    .iter()
                    .map(move |endpoint| format!("{base}{endpoint}"))
            })
            .collect()
    }
}

impl Settings for IdentityConfig {
    fn check(&self, problems: &mut Problems) {
        if !uri::is_web_uri(&self.issuer) || self.issuer.ends_with('/') {
            problems.add("issuer", "must be a web address without a slash at its end");
        }
        if !identifier::is_email(&self.mail.sender) {
            problems.add("mail.sender", "must be an e-mail address");
        }
        if !matches!(
            self.keys.algorithm.as_str(),
            "RS256" | "PS256" | "ES256" | "EdDSA"
        ) {
            problems.add("keys.algorithm", "must be RS256, PS256, ES256 or EdDSA");
        }
        let ranges = [
            ("token_seconds", self.token_seconds, 60, 3_600),
            (
                "sign_in.whole_seconds",
                self.sign_in.whole_seconds,
                60,
                7_200,
            ),
            ("sign_in.step_seconds", self.sign_in.step_seconds, 20, 3_600),
            ("sign_in.code_seconds", self.sign_in.code_seconds, 5, 300),
            (
                "code.length",
                u64::try_from(self.code.length).unwrap_or(0),
                6,
                10,
            ),
            ("code.lifetime_seconds", self.code.lifetime_seconds, 30, 900),
            (
                "code.max_failures",
                u64::try_from(self.code.max_failures).unwrap_or(0),
                1,
                20,
            ),
            ("code.freeze_seconds", self.code.freeze_seconds, 1, 86_400),
            (
                "code.max_sends",
                u64::try_from(self.code.max_sends).unwrap_or(0),
                1,
                100,
            ),
            ("code.window_seconds", self.code.window_seconds, 1, 86_400),
            ("code.resend_seconds", self.code.resend_seconds, 1, 600),
            (
                "keys.rotate_days",
                u64::from(self.keys.rotate_days),
                1,
                3_650,
            ),
        ];
        for (name, value, low, high) in ranges {
            if value < low || value > high {
                problems.add(name, format!("must be from {low} to {high}, not {value}"));
            }
        }
        // Without an address the store is a file in the data folder.
        if !self.database.url.expose().is_empty() {
            for problem in self.database.problems() {
                problems.add("database", problem);
            }
        }
        for problem in self.journal.problems() {
            problems.add("journal", problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        identity: IdentityConfig,
    }

    impl Settings for File {
        fn check(&self, problems: &mut Problems) {
            self.identity.check(problems);
        }
    }

    #[test]
    fn the_sample_is_sound() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config.sample.toml");
        let file = publica_config::load::<File>(
            Some(std::path::Path::new(path)),
            std::iter::empty(),
            "PUBLICA",
        )
        .unwrap();
        let usual = IdentityConfig::default();
        assert_eq!(file.identity.issuer, usual.issuer);
        assert_eq!(file.identity.code.max_failures, usual.code.max_failures);
        assert_eq!(file.identity.mail.sender, usual.mail.sender);
    }

    #[test]
    fn unsound_settings_are_all_named() {
        let config = IdentityConfig {
            issuer: "identity/".to_owned(),
            token_seconds: 1,
            keys: KeyConfig {
                algorithm: "HS256".to_owned(),
                rotate_days: 0,
            },
            ..IdentityConfig::default()
        };
        let mut problems = Problems::new();
        config.check(&mut problems);
        assert_eq!(problems.len(), 4, "{problems}");
    }

    #[test]
    fn assertions_may_name_issuer_or_endpoint() {
        let config = IdentityConfig {
            assertion_audiences: vec!["https://id.example.org".to_owned()],
            ..IdentityConfig::default()
        };
        let audiences = config.all_assertion_audiences();
        assert!(audiences.contains(&"http://127.0.0.1:8080/identity".to_owned()));
        assert!(audiences.contains(&"https://id.example.org/oauth/token".to_owned()));
    }
}
