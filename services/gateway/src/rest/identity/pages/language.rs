//! Languages of the log-in pages: their texts, their plural forms, and which one a person gets.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::{HeaderMap, header};
use serde::Deserialize;

/// The texts of one language.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Language {
    /// Its code, as browsers and clients name it.
    #[serde(skip)]
    pub(super) code: &'static str,
    /// What it calls itself.
    pub(super) language: String,
    /// `ltr` or `rtl`.
    pub(super) direction: String,
    minutes: BTreeMap<String, String>,
    seconds: BTreeMap<String, String>,
    digits: BTreeMap<String, String>,
    claims: BTreeMap<String, String>,
    #[serde(flatten)]
    texts: BTreeMap<String, String>,
}

/// Something that is counted in a text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Counted {
    Minutes,
    Seconds,
    Digits,
}

const SOURCES: [(&str, &str); 3] = [
    ("en", include_str!("../../../../web/login/texts/en.json")),
    ("fr", include_str!("../../../../web/login/texts/fr.json")),
    ("ar", include_str!("../../../../web/login/texts/ar.json")),
];

/// All languages; the first is spoken to those who speak none of them.
static LANGUAGES: LazyLock<[Language; SOURCES.len()]> = LazyLock::new(|| {
    SOURCES.map(|(code, source)| {
        // A test reads every one of them.
        let language: Language = serde_json::from_str(source).unwrap_or_default();
        Language { code, ..language }
    })
});

impl Language {
    /// Every language.
    pub(super) fn all() -> &'static [Self] {
        &*LANGUAGES
    }

    /// The language of a code such as `fr` or `fr-CA`.
    pub(super) fn of(code: &str) -> Option<&'static Self> {
        let primary = code.split(['-', '_']).next().unwrap_or_default();
        Self::all()
            .iter()
            .find(|language| language.code.eq_ignore_ascii_case(primary))
    }

    /// The language for somebody: what the request asks for, then what was chosen earlier, then
    /// what the browser prefers.
    pub(super) fn choose(ui_locales: &str, chosen: &str, headers: &HeaderMap) -> &'static Self {
        let accepted = headers
            .get(header::ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        ui_locales
            .split_ascii_whitespace()
            .find_map(Self::of)
            .or_else(|| Self::of(chosen))
            .or_else(|| preferred(accepted))
            .unwrap_or_else(|| Self::first())
    }

    /// The language spoken to those who speak none of them.
    pub(super) fn first() -> &'static Self {
        &LANGUAGES[0]
    }

    /// A text by its key.
    pub(super) fn text(&self, key: &str) -> &str {
        self.texts.get(key).map_or("", String::as_str)
    }

    /// What a claim is called; its own name if it is not a standard one.
    pub(super) fn claim<'a>(&'a self, name: &'a str) -> &'a str {
        self.claims.get(name).map_or(name, String::as_str)
    }

    /// A number of something in words.
    pub(super) fn count(&self, what: Counted, number: u64) -> String {
        let forms = match what {
            Counted::Minutes => &self.minutes,
            Counted::Seconds => &self.seconds,
            Counted::Digits => &self.digits,
        };
        let form = forms
            .get(category(self.code, number))
            .or_else(|| forms.get("other"));
        form.map_or("{n}", String::as_str)
            .replace("{n}", &number.to_string())
    }
}

/// The plural category of a whole number, by the rules of Unicode CLDR.
fn category(language: &str, number: u64) -> &'static str {
    match (language, number) {
        ("ar", 0) => "zero",
        ("fr", 0) | (_, 1) => "one",
        ("ar", 2) => "two",
        ("ar", _) if (3..=10).contains(&(number % 100)) => "few",
        ("ar", _) if (11..=99).contains(&(number % 100)) => "many",
        _ => "other",
    }
}

/// The best of a list of languages with weights (RFC 9110, section 12.5.4).
fn preferred(accepted: &str) -> Option<&'static Language> {
    let mut best: Option<(&'static Language, u16)> = None;
    for part in accepted.split(',') {
        let (code, weight) = part.split_once(';').unwrap_or((part, ""));
        let weight = match weight.trim().strip_prefix("q=") {
            None => 1_000,
            Some(text) => thousandths(text),
        };
        let Some(language) = Language::of(code.trim()).filter(|_| weight > 0) else {
            continue;
        };
        if best.is_none_or(|(_, best)| weight > best) {
            best = Some((language, weight));
        }
    }
    best.map(|(language, _)| language)
}

/// A weight of at most three decimals; nonsense weighs nothing.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    match (whole, digits.parse::<u16>()) {
        ("0", Ok(fraction)) => fraction,
        ("1", Ok(_)) => 1_000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_every_text_with_the_same_parameters() {
        let parameters = |text: &str| {
            let mut names: Vec<String> = text
                .split('{')
                .skip(1)
                .filter_map(|rest| Some(rest.split_once('}')?.0.to_owned()))
                .collect();
            names.sort();
            names
        };
        assert_eq!(Language::all().len(), SOURCES.len());
        let english = Language::first();
        for language in Language::all() {
            let keys = |language: &'static Language| language.texts.keys().collect::<Vec<_>>();
            assert_eq!(keys(language), keys(english), "{}", language.code);
            for (key, text) in &language.texts {
                assert!(!text.trim().is_empty(), "{} {key}", language.code);
                assert_eq!(
                    parameters(text),
                    parameters(english.text(key)),
                    "{} {key}",
                    language.code
                );
            }
            let claims = |language: &'static Language| language.claims.keys().collect::<Vec<_>>();
            assert_eq!(claims(language), claims(english), "{}", language.code);
        }
    }

    #[test]
    fn numbers_agree_with_their_words() {
        let count = |code: &str, number| {
            let language = Language::of(code).unwrap();
            language.count(Counted::Minutes, number)
        };
        assert_eq!(count("en", 1), "1 minute");
        assert_eq!(count("en", 0), "0 minutes");
        assert_eq!(count("fr", 0), "0 minute");
        assert_eq!(count("fr", 3), "3 minutes");
        assert_eq!(count("ar", 2), "دقيقتين");
        assert_eq!(count("ar", 3), "3 دقائق");
        assert_eq!(count("ar", 30), "30 دقيقة");
        assert_eq!(category("ar", 100), "other");
        assert_eq!(category("ar", 103), "few");
    }

    #[test]
    fn the_request_comes_before_the_choice_and_both_before_the_browser() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT_LANGUAGE,
            "km, ar;q=0.8, fr-CA;q=0.9, en;q=0".parse().unwrap(),
        );
        let code = |ui: &str, chosen: &str| Language::choose(ui, chosen, &headers).code;
        assert_eq!(code("km ar-EG en", "fr"), "ar");
        assert_eq!(code("km", "en"), "en");
        assert_eq!(code("", "xx"), "fr");
        assert_eq!(Language::choose("", "", &HeaderMap::new()).code, "en");
        assert_eq!(thousandths("0.5"), 500);
        assert_eq!(thousandths("nan"), 0);
    }
}
