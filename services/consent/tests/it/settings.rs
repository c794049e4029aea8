//! The sample of settings is read, and unsound settings are refused.

use publica_config::{Problems, Settings as _};
use publica_consent::{ConsentConfig, NoticeText};

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

#[test]
fn unsound_notices_are_all_named() {
    let words = |subject: &str, text: &str| NoticeText {
        subject: subject.to_owned(),
        text: text.to_owned(),
    };
    let mut config = ConsentConfig::default();
    config.notices.sender = "nobody".to_owned();
    config.notices.link = "privacy".to_owned();
    let own = [
        ("expiring", words("Fim", "Termina em {date}: {link}")),
        ("policy_changed", words("Dois\nlinhas", "{who} mudou")),
        ("something", words("", "")),
    ];
    let own = own.map(|(name, words)| (name.to_owned(), words));
    config.notices.texts.insert("pt".to_owned(), own.into());
    let mut problems = Problems::new();
    config.check(&mut problems);
    let said = format!("{problems:?}");
    for key in [
        "notices.sender",
        "notices.link",
        "notices.texts.pt.policy_changed.subject",
        "notices.texts.pt.policy_changed.text",
        "notices.texts.pt.something",
        "notices.texts.pt.something.subject",
        "notices.texts.pt.something.text",
    ] {
        assert!(said.contains(&format!("\"{key}\"")), "{key} in {said}");
    }
    assert_eq!(problems.len(), 7);
}
