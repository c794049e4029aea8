//! Settings of telemetry.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use publica_config::{Problems, Settings};
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use crate::Style;

/// The table `[telemetry]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TelemetryConfig {
    /// Log lines on standard output.
    pub log: LogConfig,
    /// Traces sent to a collector.
    pub otlp: OtlpConfig,
}

/// The table `[telemetry.log]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// What is logged: a level (`info`), or levels by target (`warn,publica_payments=debug`).
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Auto,
        }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Human,
}

impl LogConfig {
    pub(crate) fn style(&self) -> Style {
        let terminal = std::io::stdout().is_terminal();
        match self.format {
            LogFormat::Json => Style::Json,
            LogFormat::Auto if !terminal => Style::Json,
            LogFormat::Auto | LogFormat::Human => Style::Human { colour: terminal },
        }
    }
}

/// The table `[telemetry.otlp]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct OtlpConfig {
    /// The collector's gRPC address, such as `http://127.0.0.1:4317`. Without one, no traces
    /// are recorded.
    pub endpoint: Option<String>,
    /// A file of authorities, in PEM, whose certificates a collector on `https://` shows.
    pub authorities: Option<PathBuf>,
    /// The share of traces begun here that is recorded, 0 to 1. Callers' decisions stand.
    pub sample_ratio: f64,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            authorities: None,
            sample_ratio: 0.1,
        }
    }
}

impl Settings for TelemetryConfig {
    fn check(&self, problems: &mut Problems) {
        let level = EnvFilter::try_new(&self.log.level);
        problems.require(
            level.is_ok(),
            "log.level",
            "is no level or list of target=level",
        );
        let ratio = (0.0..=1.0).contains(&self.otlp.sample_ratio);
        problems.require(ratio, "otlp.sample_ratio", "must be between 0 and 1");
        if let Some(endpoint) = &self.otlp.endpoint {
            let encrypted = endpoint.starts_with("https://");
            let sound = encrypted || endpoint.starts_with("http://");
            let what = "must begin with https://, or with http:// for a collector on this machine \
                or in this pod";
            problems.require(sound, "otlp.endpoint", what);
            let authorities = self.otlp.authorities.as_deref();
            let there = authorities.is_some_and(Path::is_file) || !encrypted;
            let what = "must name a file of authorities for https://";
            problems.require(there, "otlp.authorities", what);
            let idle = authorities.is_some() && !encrypted;
            problems.require(!idle, "otlp.authorities", "is for https:// alone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked() {
        let mut problems = Problems::new();
        TelemetryConfig::default().check(&mut problems);
        assert!(problems.is_empty(), "{problems}");
        let wrong = TelemetryConfig {
            log: LogConfig {
                level: "a=b=c".to_owned(),
                ..LogConfig::default()
            },
            otlp: OtlpConfig {
                endpoint: Some("tcp://x".to_owned()),
                sample_ratio: 2.0,
                ..OtlpConfig::default()
            },
        };
        wrong.check(&mut problems);
        assert_eq!(problems.len(), 3, "{problems}");
    }

    #[test]
    fn a_collector_over_tls_needs_authorities_and_no_other_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "").unwrap();
        let table = [
            ("https://collector:4317", Some(file.clone()), 0),
            ("https://collector:4317", None, 1),
            (
                "https://collector:4317",
                Some(folder.path().join("none")),
                1,
            ),
            ("http://127.0.0.1:4317", None, 0),
            ("http://127.0.0.1:4317", Some(file), 1),
        ];
        for (endpoint, authorities, count) in table {
            let mut problems = Problems::new();
            let config = TelemetryConfig {
                otlp: OtlpConfig {
                    endpoint: Some(endpoint.to_owned()),
                    authorities,
                    ..OtlpConfig::default()
                },
                ..TelemetryConfig::default()
            };
            config.check(&mut problems);
            assert_eq!(problems.len(), count, "{endpoint}: {problems}");
        }
    }
}
