//! Settings of the block, with defaults that work for a try-out.

mod rails;

use std::collections::BTreeMap;
use std::time::Duration;

use publica_config::{Problems, Settings};
use publica_journal::JournalConfig;
use publica_store::DatabaseConfig;
use serde::Deserialize;

pub(crate) use rails::SIMULATED;
pub use rails::{ChargeBearer, FileRailConfig, MobileMoneyConfig, OauthConfig, RailSettings};

/// The `[payments]` section of the settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the store is.
    pub database: DatabaseConfig,
    /// How the journal signs and delivers.
    pub journal: JournalConfig,
    /// Which source blocks may submit.
    pub source_blocks: SourceMode,
    /// Whether anybody with the scope may speak for a partner that was registered without callers
    /// of its own. Unset: not in the production profile. Where callers are named, they alone may.
    pub open_partners: Option<bool>,
    /// The programme, by its code, of batches whose source block has none. Empty: such batches
    /// are refused.
    pub default_programme: String,
    /// Rows in a chunk of a batch: a power of two. A batch that has begun keeps its own.
    pub chunk_rows: i64,
    /// How long an issued voucher waits for activation, in seconds.
    pub voucher_hold_seconds: u64,
    /// How long an activated voucher can be used, in seconds.
    pub voucher_validity_seconds: u64,
    /// So many seconds after its end a period can be closed at the earliest: more than the clocks
    /// of replicas differ, and than a unit of work takes.
    pub period_close_delay_seconds: u64,
    /// How callbacks are delivered.
    pub callbacks: CallbackConfig,
    /// The simulated rail.
    pub rail: RailConfig,
    /// The rails that pay, by name.
    pub rails: BTreeMap<String, RailSettings>,
    /// The rail of institutions that none is for: its name, `simulated`, or empty for none, so
    /// that payments to them are rejected. Unset: the simulated one as long as there is no other,
    /// and none in the production profile.
    pub default_rail: Option<String>,
}

/// How outcomes are delivered to those who asked for them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallbackConfig {
    /// Whether targets may be inside: plain http, and addresses that are not public. Unset:
    /// only in the conformance profile.
    pub allow_private: Option<bool>,
    /// Hosts that may be called; one that begins with a dot stands for all below it. Empty: any.
    pub hosts: Vec<String>,
    /// A target has so many milliseconds to answer.
    pub timeout_ms: u64,
    /// A callback is given up after so many hours.
    pub give_up_hours: u32,
    /// A biller has so many hours to say whether a bill is marked as paid.
    pub advice_hours: u32,
    /// A payer's bank has so many hours to answer what it is asked.
    pub bank_hours: u32,
    /// Callbacks at a time.
    pub concurrency: u32,
    /// How much of a batch is done, in per cent, when its progress is told.
    pub phases: Vec<i64>,
    /// Where banks reach the published interface, such as `https://pay.example/payments`.
    pub public_url: String,
}

/// Which source blocks may submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceMode {
    /// Those that are registered.
    Registered,
    /// Any well-formed id; it is registered when it first submits, without a programme.
    Open,
}

/// How the simulated rail behaves. It is deterministic: seed and address decide.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RailConfig {
    /// Changes which addresses the fractions below hit.
    pub seed: u64,
    /// Time that a message takes, in milliseconds.
    pub latency_ms: u64,
    /// Addresses in a thousand whose payment is rejected.
    pub reject_per_mille: u64,
    /// Addresses in a thousand whose outcome is unknown at first.
    pub unknown_per_mille: u64,
    /// Messages in a thousand whose acknowledgement is lost after they were taken.
    pub lose_per_mille: u64,
    /// Messages in a thousand that never arrive.
    pub drop_per_mille: u64,
    /// Queries after which an unknown outcome becomes known.
    pub unknown_queries: i64,
    /// What a payment costs, in minor units of its currency.
    pub fee_minor: i64,
    /// And thousandths of its amount.
    pub fee_per_mille: i64,
    /// Addresses by their last characters; the first rule that matches wins over the fractions.
    pub rules: Vec<RailRule>,
}

/// What happens to payments to some addresses.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RailRule {
    /// The last characters of the address.
    pub suffix: String,
    /// What becomes of the payment.
    pub outcome: RailOutcome,
    /// ISO 20022 reason of a rejection.
    #[serde(default)]
    pub reason: String,
}

/// What becomes of a payment on the simulated rail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RailOutcome {
    /// The payee's institution takes it.
    Settle,
    /// The payee's institution refuses it.
    Reject,
    /// Nothing is known at first; later it turns out to be settled.
    UnknownThenSettle,
    /// Nothing is known at first; later it turns out to be rejected.
    UnknownThenReject,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database: DatabaseConfig::default(),
            journal: JournalConfig::default(),
            source_blocks: SourceMode::Registered,
            open_partners: None,
            default_programme: String::new(),
            chunk_rows: 16_384,
            voucher_hold_seconds: 30 * 86_400,
            voucher_validity_seconds: 90 * 86_400,
            period_close_delay_seconds: 300,
            callbacks: CallbackConfig::default(),
            rail: RailConfig::default(),
            rails: BTreeMap::new(),
            default_rail: None,
        }
    }
}

impl Default for CallbackConfig {
    fn default() -> Self {
        Self {
            allow_private: None,
            hosts: Vec::new(),
            timeout_ms: 10_000,
            give_up_hours: 24,
            advice_hours: 168,
            bank_hours: 48,
            concurrency: 8,
            phases: vec![20, 40, 60, 80, 100],
            public_url: String::new(),
        }
    }
}

impl CallbackConfig {
    pub(crate) const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub(crate) fn bank_patience(&self) -> Duration {
        Duration::from_hours(u64::from(self.bank_hours))
    }

    fn check(&self, problems: &mut Problems) {
        for (key, value, low, high) in [
            ("callbacks.timeout_ms", self.timeout_ms, 100, 120_000),
            (
                "callbacks.give_up_hours",
                u64::from(self.give_up_hours),
                1,
                720,
            ),
            (
                "callbacks.advice_hours",
                u64::from(self.advice_hours),
                1,
                8_760,
            ),
            ("callbacks.bank_hours", u64::from(self.bank_hours), 1, 720),
            (
                "callbacks.concurrency",
                u64::from(self.concurrency),
                1,
                1_000,
            ),
        ] {
            if !(low..=high).contains(&value) {
                problems.add(key, format!("must be from {low} to {high}"));
            }
        }
        let sound = |phase: &i64| (1..=100).contains(phase);
        if !self.phases.iter().all(sound) || !self.phases.is_sorted() {
            problems.add("callbacks.phases", "must be per cents in ascending order");
        }
        if self
            .hosts
            .iter()
            .any(|host| host.trim_start_matches('.').is_empty())
        {
            problems.add("callbacks.hosts", "a host must not be empty");
        }
    }
}

impl Default for RailConfig {
    fn default() -> Self {
        let rule = |suffix: &str, outcome, reason: &str| RailRule {
            suffix: suffix.to_owned(),
            outcome,
            reason: reason.to_owned(),
        };
        Self {
            seed: 1,
            latency_ms: 2,
            reject_per_mille: 0,
            unknown_per_mille: 0,
            lose_per_mille: 0,
            drop_per_mille: 0,
            unknown_queries: 1,
            fee_minor: 0,
            fee_per_mille: 0,
            rules: vec![
                rule("0000", RailOutcome::Reject, "AC04"),
                rule("1111", RailOutcome::Reject, "AC06"),
                rule("2222", RailOutcome::UnknownThenSettle, ""),
                rule("3333", RailOutcome::UnknownThenReject, "AC03"),
            ],
        }
    }
}

impl Config {
    pub(crate) const fn voucher_hold(&self) -> Duration {
        Duration::from_secs(self.voucher_hold_seconds)
    }

    pub(crate) const fn period_close_delay(&self) -> Duration {
        Duration::from_secs(self.period_close_delay_seconds)
    }

    pub(crate) const fn voucher_validity(&self) -> Duration {
        Duration::from_secs(self.voucher_validity_seconds)
    }
}

impl Settings for Config {
    fn check(&self, problems: &mut Problems) {
        // An empty URL means a file in the data folder.
        if !self.database.url.expose().is_empty() {
            for problem in self.database.problems() {
                problems.add("database", problem);
            }
        }
        for problem in self.journal.problems() {
            problems.add("journal", problem);
        }
        let power = self.chunk_rows > 0 && self.chunk_rows & (self.chunk_rows - 1) == 0;
        if !power || !(64..=65_536).contains(&self.chunk_rows) {
            problems.add("chunk_rows", "must be a power of two from 64 to 65536");
        }
        for (key, seconds) in [
            ("voucher_hold_seconds", self.voucher_hold_seconds),
            ("voucher_validity_seconds", self.voucher_validity_seconds),
        ] {
            if !(60..=10 * 366 * 86_400).contains(&seconds) {
                problems.add(key, "must be from a minute to ten years");
            }
        }
        if self.period_close_delay_seconds > 7 * 86_400 {
            problems.add("period_close_delay_seconds", "must be at most a week");
        }
        self.callbacks.check(problems);
        rails::check(&self.rails, self.default_rail.as_deref(), problems);
        let fractions = [
            ("rail.reject_per_mille", self.rail.reject_per_mille),
            ("rail.unknown_per_mille", self.rail.unknown_per_mille),
            ("rail.lose_per_mille", self.rail.lose_per_mille),
            ("rail.drop_per_mille", self.rail.drop_per_mille),
        ];
        for (key, value) in fractions {
            if value > 1_000 {
                problems.add(key, "must be from 0 to 1000");
            }
        }
        if self.rail.reject_per_mille + self.rail.unknown_per_mille > 1_000 {
            problems.add("rail", "fractions must not exceed 1000 together");
        }
        if self.rail.fee_minor < 0 || !(0..=1_000).contains(&self.rail.fee_per_mille) {
            problems.add(
                "rail",
                "fees must not be negative, nor above 1000 per mille",
            );
        }
        if self.rail.rules.iter().any(|rule| rule.suffix.is_empty()) {
            problems.add("rail.rules", "a suffix must not be empty");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_what_there_is_without_it() {
        let file: toml::Table = include_str!("../config.sample.toml").parse().unwrap();
        let sample: Config = file["payments"].clone().try_into().unwrap();
        let default = Config::default();
        assert_eq!(format!("{sample:?}"), format!("{default:?}"));
        let mut problems = Problems::new();
        sample.check(&mut problems);
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn unsound_settings_are_named() {
        let mut config = Config {
            chunk_rows: 100,
            voucher_hold_seconds: 1,
            period_close_delay_seconds: 1_000_000,
            ..Config::default()
        };
        config.rail.reject_per_mille = 600;
        config.rail.unknown_per_mille = 600;
        let mut problems = Problems::new();
        config.check(&mut problems);
        let text = format!("{problems:?}");
        for key in [
            "chunk_rows",
            "voucher_hold_seconds",
            "period_close_delay_seconds",
            "rail",
        ] {
            assert!(text.contains(key), "{key} in {text}");
        }
        assert!(toml::from_str::<Config>("unheard_of = 1").is_err());
    }
}
