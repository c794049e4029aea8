//! Notices to people: what they are told, in which language, and where it is sent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod wording;

/// The language of texts that exist in every version of this program.
pub(crate) const FALLBACK: &str = "en";
/// What stands for values in a text.
pub(crate) const PLACES: [&str; 5] = ["controller", "purpose", "date", "link", "reference"];
/// The longest text, in bytes, before values are put in.
pub(crate) const MAX_TEXT: usize = 4_096;
/// The longest subject, in bytes.
pub(crate) const MAX_SUBJECT: usize = 200;
/// The longest value that is put into a text, in characters.
const MAX_VALUE: usize = 300;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// An agreement has a new text that earlier answers do not cover.
    AgreementChanged,
    /// An agreement was terminated.
    AgreementTerminated,
    /// The policy under an agreement changed in a way that matters.
    PolicyChanged,
    /// An answer ends soon.
    Expiring,
    /// What a delegate answered is to be confirmed.
    ReconfirmationDue,
    /// Somebody may act for the person from now on.
    DelegationMade,
    /// Somebody may no longer act for the person.
    DelegationEnded,
    /// Somebody else answered for the person.
    AnsweredForYou,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 8] = [
        Self::AgreementChanged,
        Self::AgreementTerminated,
        Self::PolicyChanged,
        Self::Expiring,
        Self::ReconfirmationDue,
        Self::DelegationMade,
        Self::DelegationEnded,
        Self::AnsweredForYou,
    ];

    /// Its name in settings and in the journal.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AgreementChanged => "agreement_changed",
            Self::AgreementTerminated => "agreement_terminated",
            Self::PolicyChanged => "policy_changed",
            Self::Expiring => "expiring",
            Self::ReconfirmationDue => "reconfirmation_due",
            Self::DelegationMade => "delegation_made",
            Self::DelegationEnded => "delegation_ended",
            Self::AnsweredForYou => "answered_for_you",
        }
    }

    /// The kind of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The words of one notice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wording {
    pub(crate) subject: String,
    pub(crate) text: String,
}

/// All words, by language and kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts(BTreeMap<String, BTreeMap<Kind, Wording>>);

impl Texts {
    /// The words that come with the program.
    pub(crate) fn built_in() -> Self {
        let mut all = Self::default();
        for (language, texts) in wording::ALL {
            for (kind, subject, text) in *texts {
                let words = Wording {
                    subject: (*subject).to_owned(),
                    text: (*text).to_owned(),
                };
                all.set(language, *kind, words);
            }
        }
        all
    }

    /// Puts an operator's words in place of, or beside, those that are there.
    pub(crate) fn set(&mut self, language: &str, kind: Kind, words: Wording) {
        let language = language.to_ascii_lowercase();
        self.0.entry(language).or_default().insert(kind, words);
    }

    /// The words for the first of these languages that has any: each tag itself, then its
    /// shorter forms.
    pub(crate) fn choose(&self, wanted: &[&str], kind: Kind) -> Option<&Wording> {
        let wanted = wanted.iter().copied().chain([FALLBACK]);
        wanted.into_iter().find_map(|tag| {
            let mut tag = tag.to_ascii_lowercase();
            loop {
                if let Some(words) = self.0.get(&tag).and_then(|all| all.get(&kind)) {
                    return Some(words);
                }
                let shorter = tag.rfind('-')?;
                tag.truncate(shorter);
            }
        })
    }
}

/// What is put into a text.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Values<'a> {
    pub(crate) controller: &'a str,
    pub(crate) purpose: &'a str,
    pub(crate) date: &'a str,
    pub(crate) link: &'a str,
    pub(crate) reference: &'a str,
}

impl Values<'_> {
    fn of(&self, place: &str) -> Option<String> {
        let value = match place {
            "controller" => self.controller,
            "purpose" => self.purpose,
            "date" => self.date,
            // A link that is cut leads nowhere.
            "link" => return Some(self.link.to_owned()),
            "reference" => self.reference,
            _ => return None,
        };
        Some(one_line(value))
    }
}

/// A value as one line of bounded length.
fn one_line(value: &str) -> String {
    let plain = value.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = plain.clone().take(MAX_VALUE).collect();
    if plain.count() > MAX_VALUE {
        line.push('…');
    }
    line
}

/// The text with its values. Values are put in once: what looks like a place within a value
/// stays as it is.
pub(crate) fn fill(text: &str, values: &Values<'_>) -> String {
    let mut filled = String::with_capacity(text.len() + 128);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let place = after.split_once('}');
        match place.and_then(|(name, tail)| Some((values.of(name)?, tail))) {
            Some((value, tail)) => {
                filled.push_str(&value);
                rest = tail;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// A place in a text that nothing is put into.
pub(crate) fn unknown_place(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('{') {
        match after.split_once('}') {
            Some((name, tail)) if PLACES.contains(&name) => rest = tail,
            Some((name, _)) => return Some(name),
            None => return Some(after),
        }
    }
    None
}

/// Whether a text is an address that mail can be sent to. Whoever delivers knows more.
pub(crate) fn is_address(text: &str) -> bool {
    let sound = |c: char| !c.is_control() && !c.is_whitespace() && !"<>,;\"()".contains(c);
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    text.len() <= 254
        && !local.is_empty()
        && !local.contains('@')
        && domain.len() >= 3
        && domain.contains('.')
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && text.chars().all(sound)
}

/// Where a person is written to: the contact that was left for it, or an external id that is
/// an address.
pub(crate) fn address<'a>(
    contact: &'a str,
    external_id_type: &str,
    external_id: &'a str,
) -> Option<&'a str> {
    if !contact.is_empty() {
        return Some(contact);
    }
    let kind = external_id_type.trim();
    let mail = kind.eq_ignore_ascii_case("email") || kind.eq_ignore_ascii_case("e-mail");
    (mail && is_address(external_id)).then_some(external_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_all_words_and_sound_places() {
        let texts = Texts::built_in();
        for (language, _) in wording::ALL {
            for kind in Kind::ALL {
                let words = texts.choose(&[language], kind).unwrap();
                let own = texts.0.get(*language).and_then(|all| all.get(&kind));
                assert_eq!(own, Some(words), "{language} {kind:?}");
                assert_eq!(unknown_place(&words.text), None, "{language} {kind:?}");
                assert!(!words.subject.contains('{'), "{language} {kind:?}");
                assert!(words.text.contains("{link}"), "{language} {kind:?}");
                assert!(words.subject.len() <= MAX_SUBJECT);
                assert!(words.text.len() <= MAX_TEXT);
                assert_eq!(Kind::named(kind.name()), Some(kind));
            }
        }
    }

    #[test]
    fn languages_fall_back_step_by_step() {
        let mut texts = Texts::built_in();
        let own = Wording {
            subject: "Habari".to_owned(),
            text: "{link}".to_owned(),
        };
        texts.set("sw-KE", Kind::Expiring, own.clone());
        let found = |wanted: &[&str]| texts.choose(wanted, Kind::Expiring).unwrap();
        assert_eq!(found(&["sw-KE"]), &own);
        assert_eq!(found(&["SW-ke-nairobi", "fr"]), &own);
        assert_eq!(found(&["sw", "fr-CH"]), found(&["fr"]));
        assert_ne!(found(&["fr"]), found(&["en"]));
        assert_eq!(found(&["sw", "", "xx"]), found(&["en"]));
        // A language with some of the words only does not leave people without any.
        assert_eq!(
            texts.choose(&["sw-KE"], Kind::PolicyChanged),
            texts.choose(&["en"], Kind::PolicyChanged)
        );
    }

    #[test]
    fn values_are_put_in_once_and_stay_on_their_line() {
        let long = "x".repeat(500);
        let values = Values {
            controller: "Ministry {link}\r\nBcc: all@example.org",
            purpose: &long,
            link: "https://example.org/privacy",
            ..Values::default()
        };
        let filled = fill("{controller}|{link}|{date}|{other}|{", &values);
        assert_eq!(
            filled,
            "Ministry {link}  Bcc: all@example.org|https://example.org/privacy||{other}|{"
        );
        assert_eq!(fill("{purpose}", &values).chars().count(), MAX_VALUE + 1);
        assert_eq!(unknown_place("{link} {who}"), Some("who"));
        assert_eq!(unknown_place("{link"), Some("link"));
    }

    #[test]
    fn addresses_are_contacts_or_external_ids_that_are_mail() {
        let mail = "ana@example.org";
        assert_eq!(address(mail, "", ""), Some(mail));
        assert_eq!(address("", "email", mail), Some(mail));
        assert_eq!(address("", "E-Mail", mail), Some(mail));
        assert_eq!(
            address("new@example.org", "email", mail),
            Some("new@example.org")
        );
        assert_eq!(address("", "foundational id", mail), None);
        assert_eq!(address("", "email", "12345678"), None);
        for bad in [
            "a@b",
            "@x.org",
            "a@@x.org",
            "a b@x.org",
            "a@x.org, b@x.org",
            "a@.x",
            "a@x.",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
        assert!(!is_address(&format!("{}@x.org", "a".repeat(250))));
    }
}
