//! Settings of the journal, the table `[journal]` of a block's settings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// How a block's journal signs and delivers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// Who keeps the log: first part of the name in its checkpoints, a domain name at best.
    pub log_name: String,
    /// A new tree is signed after so many milliseconds at the latest.
    pub checkpoint_ms: u64,
    /// Another replica takes over the sequencing after so many seconds of silence.
    pub lease_seconds: u64,
    /// A folder outside the store that keeps the last checkpoint of each log, so that a store
    /// that came back from a backup is noticed. The suite's folder of witnesses unless named.
    pub witness_dir: Option<PathBuf>,
    /// Answers to requests are kept so many days.
    pub answers_days: u32,
    /// Webhooks.
    pub webhooks: WebhookConfig,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            log_name: "publica.local".to_owned(),
            checkpoint_ms: 1_000,
            lease_seconds: 15,
            witness_dir: None,
            answers_days: 30,
            webhooks: WebhookConfig::default(),
        }
    }
}

/// How webhooks are delivered.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookConfig {
    /// Whether targets may be inside: plain http, and addresses that are not public. For a
    /// network of one's own, and for tests.
    pub allow_private: bool,
    /// A target has so many milliseconds to answer.
    pub timeout_ms: u64,
    /// A delivery is given up after so many hours.
    pub give_up_hours: u32,
    /// Deliveries at a time.
    pub concurrency: u32,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            allow_private: false,
            timeout_ms: 15_000,
            give_up_hours: 24,
            concurrency: 8,
        }
    }
}

impl JournalConfig {
    /// The same, with witnesses in this folder unless the settings name another.
    pub fn witnessed_in(&self, folder: &Path) -> Self {
        let mut config = self.clone();
        config.witness_dir.get_or_insert_with(|| folder.to_owned());
        config
    }

    /// All that is wrong with these settings, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let name = self.log_name.as_str();
        let sound = |c: char| c.is_ascii_alphanumeric() || ".-_/:".contains(c);
        if name.is_empty() || name.len() > 200 || !name.chars().all(sound) {
            problems.push("log_name must be 1 to 200 letters, digits and . - _ / :".to_owned());
        }
        for (name, value, low, high) in [
            ("checkpoint_ms", self.checkpoint_ms, 10, 60_000),
            ("lease_seconds", self.lease_seconds, 1, 600),
            ("answers_days", u64::from(self.answers_days), 1, 3_650),
            (
                "webhooks.timeout_ms",
                self.webhooks.timeout_ms,
                100,
                120_000,
            ),
            (
                "webhooks.give_up_hours",
                u64::from(self.webhooks.give_up_hours),
                1,
                720,
            ),
            (
                "webhooks.concurrency",
                u64::from(self.webhooks.concurrency),
                1,
                1_000,
            ),
        ] {
            if value < low || value > high {
                problems.push(format!("{name} must be from {low} to {high}, not {value}"));
            }
        }
        problems
    }

    pub(crate) fn checkpoint_every(&self) -> Duration {
        Duration::from_millis(self.checkpoint_ms)
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }
}
