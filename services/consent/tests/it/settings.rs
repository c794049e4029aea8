//! The sample of settings is read, and unsound settings are refused.

use publica_config::{Problems, Settings as _};
use publica_consent::ConsentConfig;

#[derive(serde::Deserialize)]
struct Sample {
    consent: ConsentConfig,
}

#[test]
fn the_sample_is_sound() {
    let text = include_str!("../../config.sample.toml");
    let sample: Sample = toml::from_str(text).unwrap();
    let mut problems = Problems::new();
    sample.consent.check(&mut problems);
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn unsound_settings_are_all_named() {
    let mut config = ConsentConfig {
        cache_seconds: 100_000,
        ..ConsentConfig::default()
    };
    config
        .identity_providers
        .push(publica_consent::ProviderConfig::default());
    let mut problems = Problems::new();
    config.check(&mut problems);
    assert_eq!(problems.len(), 4);
}
