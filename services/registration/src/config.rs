//! Settings of the block, with defaults that work for a try-out.

use publica_config::{Problems, Settings};
use publica_journal::JournalConfig;
use publica_store::DatabaseConfig;
use serde::Deserialize;

/// The longest time for which an answer of the consent block may be kept.
const MAX_KEEP_SECONDS: u64 = 3_600;

/// The `[registration]` section of the settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrationConfig {
    /// Where the store is.
    pub database: DatabaseConfig,
    /// How the journal signs and delivers.
    pub journal: JournalConfig,
    /// The consumer under which this block asks the consent block; itself, if empty.
    pub consent_consumer: String,
    /// Seconds for which a positive answer of the consent block may be kept; 0 asks each time.
    /// What is kept never outlives a withdrawal, but uses of it are journalled here alone.
    pub consent_keep_seconds: u64,
}

impl Settings for RegistrationConfig {
    fn check(&self, problems: &mut Problems) {
        if self.consent_keep_seconds > MAX_KEEP_SECONDS {
            let text = format!("must be at most {MAX_KEEP_SECONDS}");
            problems.add("consent_keep_seconds", text);
        }
        // An empty URL means a file in the data folder.
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
