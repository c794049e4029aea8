//! Settings of the block, with defaults that work for a try-out.

use publica_config::{Problems, Settings};
use publica_journal::JournalConfig;
use publica_store::DatabaseConfig;
use serde::Deserialize;

/// The `[signature]` section of the settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignatureConfig {
    /// Where the store is.
    pub database: DatabaseConfig,
    /// How the journal signs and delivers.
    pub journal: JournalConfig,
    /// Name of the operator in the authorities' certificates.
    pub operator: String,
    /// Country of the operator, two upper-case letters.
    pub country: String,
    /// Where verifiers reach the signature surface; certificates name it.
    pub public_url: String,
    /// Days that a seal or device certificate is valid.
    pub certificate_days: u32,
    /// Minutes after which a revocation list must be fetched again.
    pub crl_minutes: u32,
}

impl Default for SignatureConfig {
    fn default() -> Self {
        Self {
            database: DatabaseConfig::default(),
            journal: JournalConfig::default(),
            operator: "Publica".to_owned(),
            country: "XX".to_owned(),
            public_url: "http://127.0.0.1:8080/signature".to_owned(),
            certificate_days: 730,
            crl_minutes: 1_440,
        }
    }
}

impl Settings for SignatureConfig {
    fn check(&self, problems: &mut Problems) {
        // Without an address the store is a file in the data folder.
        if !self.database.url.expose().is_empty() {
            for problem in self.database.problems() {
                problems.add("database", problem);
            }
        }
        for problem in self.journal.problems() {
            problems.add("journal", problem);
        }
        if self.operator.is_empty() || self.operator.chars().count() > 40 {
            problems.add("operator", "must have 1 to 40 characters");
        }
        if !is_country(&self.country) {
            problems.add("country", "must be two upper-case letters");
        }
        if !self.public_url.is_ascii() || self.public_url.len() > 200 {
            problems.add("public_url", "must be ASCII and at most 200 characters");
        }
        if !(1..=1_825).contains(&self.certificate_days) {
            problems.add("certificate_days", "must lie between 1 and 1825");
        }
        if !(5..=43_200).contains(&self.crl_minutes) {
            problems.add("crl_minutes", "must lie between 5 and 43200");
        }
    }
}

/// Whether a text is a country code as certificates carry it.
pub(crate) fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}
