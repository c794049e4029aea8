//! Settings of the block.

use std::collections::BTreeMap;
use std::sync::Arc;

use publica_config::{Problems, Settings};
use publica_jose::JwkSet;
use publica_journal::JournalConfig;
use publica_store::DatabaseConfig;
use serde::Deserialize;

use crate::domain::notice::{self, Kind, Texts, Wording};

/// Age of majority in most places.
const MAJORITY: u32 = 18;
/// The longest time for which a positive answer may be reused, in seconds.
const MAX_CACHE_SECONDS: u64 = 3_600;

/// The table `[consent]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsentConfig {
    /// Where the block keeps its data.
    pub database: DatabaseConfig,
    /// The journal.
    pub journal: JournalConfig,
    /// Refuse a policy whose content changes under the same url and version; otherwise only
    /// warn.
    pub strict_policies: bool,
    /// Publish nothing that somebody else than its author has not approved.
    pub require_approval: bool,
    /// Register the key that comes with a person's first signature. For demonstrations only:
    /// whoever signs first is believed. Refused in production.
    pub trust_on_first_use: bool,
    /// Seconds for which consumers may reuse a positive answer. While they do, they do not see
    /// a withdrawal.
    pub cache_seconds: u64,
    /// Age at which the authority of parents and guardians ends; 18 when 0.
    pub majority_age: u32,
    /// Identity providers whose tokens count as signatures.
    pub identity_providers: Vec<ProviderConfig>,
    /// What people are told by mail, and how.
    pub notices: NoticeConfig,
}

/// The table `[consent.notices]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoticeConfig {
    /// The sender's address, which the messaging block must let this block use. Empty tells
    /// nobody anything.
    pub sender: String,
    /// The sender's name.
    pub sender_name: String,
    /// The page where people see their agreements, as their browsers find it.
    pub link: String,
    /// The language for people of whom no other is known.
    pub language: String,
    /// Texts in place of, or beside, those that come with the program: by language (BCP 47), and
    /// by what happened.
    pub texts: BTreeMap<String, BTreeMap<String, NoticeText>>,
}

/// The words of a notice.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoticeText {
    /// The subject, in which nothing is replaced.
    pub subject: String,
    /// The text, in which `{controller}`, `{purpose}`, `{date}`, `{link}` and `{reference}` are.
    pub text: String,
}

impl Default for NoticeConfig {
    fn default() -> Self {
        Self {
            sender: "no-reply@consent.example.org".to_owned(),
            sender_name: "Consent service".to_owned(),
            link: "http://127.0.0.1:8080/privacy".to_owned(),
            language: notice::FALLBACK.to_owned(),
            texts: BTreeMap::new(),
        }
    }
}

impl NoticeConfig {
    fn check(&self, problems: &mut Problems) {
        let sound = self.sender.is_empty() || notice::is_address(&self.sender);
        problems.require(sound, "sender", "is not an e-mail address");
        let web = self.link.starts_with("https://") || self.link.starts_with("http://");
        problems.require(web, "link", "must be a web address");
        for (language, texts) in &self.texts {
            for (name, words) in texts {
                problems.within(format!("texts.{language}.{name}"), |problems| {
                    problems.require(Kind::named(name).is_some(), "", "tells of nothing known");
                    words.check(problems);
                });
            }
        }
    }

    fn texts(&self) -> Texts {
        let mut all = Texts::built_in();
        for (language, texts) in &self.texts {
            for (name, words) in texts {
                let Some(kind) = Kind::named(name) else {
                    continue;
                };
                let words = Wording {
                    subject: words.subject.clone(),
                    text: words.text.clone(),
                };
                all.set(language, kind, words);
            }
        }
        all
    }
}

impl NoticeText {
    fn check(&self, problems: &mut Problems) {
        let subject = self.subject.as_str();
        problems.require(
            !subject.is_empty()
                && subject.len() <= notice::MAX_SUBJECT
                && !subject.chars().any(char::is_control),
            "subject",
            format!("must be one line of at most {} bytes", notice::MAX_SUBJECT),
        );
        problems.require(
            !self.text.is_empty() && self.text.len() <= notice::MAX_TEXT,
            "text",
            format!("must be 1 to {} bytes", notice::MAX_TEXT),
        );
        if let Some(place) = notice::unknown_place(&self.text) {
            let known = notice::PLACES.join(", ");
            problems.add(
                "text",
                format!("nothing is put into {{{place}}}, only: {known}"),
            );
        }
    }
}

/// One identity provider whose tokens count as signatures.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderConfig {
    /// The issuer, as its tokens name it.
    pub issuer: String,
    /// The audience that tokens must be made for.
    pub audience: String,
    /// Its public keys, a JWK set as a JSON text; or `jwks_file`, a file that holds it.
    pub jwks: String,
}

impl Settings for ConsentConfig {
    fn check(&self, problems: &mut Problems) {
        if self.cache_seconds > MAX_CACHE_SECONDS {
            problems.add(
                "cache_seconds",
                format!("must be at most {MAX_CACHE_SECONDS}"),
            );
        }
        if self.majority_age > 30 {
            problems.add("majority_age", "must be at most 30");
        }
        for (n, provider) in self.identity_providers.iter().enumerate() {
            problems.within(format!("identity_providers[{n}]"), |problems| {
                problems.require(!provider.issuer.is_empty(), "issuer", "is required");
                problems.require(!provider.audience.is_empty(), "audience", "is required");
                let keys = JwkSet::from_json(provider.jwks.as_bytes());
                problems.require(keys.is_ok(), "jwks", "is not a JWK set");
            });
        }
        problems.within("notices", |problems| self.notices.check(problems));
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

/// What the use cases need of the settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub(crate) strict_policies: bool,
    pub(crate) require_approval: bool,
    pub(crate) trust_on_first_use: bool,
    pub(crate) cache_seconds: u64,
    pub(crate) majority_age: u32,
    pub(crate) identity_providers: Vec<Provider>,
    pub(crate) notices: Notices,
}

/// How people are told of what concerns them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notices {
    pub(crate) sender: String,
    pub(crate) sender_name: String,
    pub(crate) link: String,
    pub(crate) language: String,
    pub(crate) texts: Arc<Texts>,
}

/// An identity provider with its keys read.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) keys: JwkSet,
}

impl ConsentConfig {
    /// The rules; providers without readable keys were refused when the settings were checked.
    pub(crate) fn rules(&self) -> Rules {
        let providers = self.identity_providers.iter().filter_map(|one| {
            let keys = JwkSet::from_json(one.jwks.as_bytes()).ok()?;
            let (issuer, audience) = (one.issuer.clone(), one.audience.clone());
            Some(Provider {
                issuer,
                audience,
                keys,
            })
        });
        Rules {
            strict_policies: self.strict_policies,
            require_approval: self.require_approval,
            trust_on_first_use: self.trust_on_first_use,
            cache_seconds: self.cache_seconds,
            majority_age: match self.majority_age {
                0 => MAJORITY,
                age => age,
            },
            identity_providers: providers.collect(),
            notices: Notices {
                sender: self.notices.sender.clone(),
                sender_name: self.notices.sender_name.clone(),
                link: self.notices.link.clone(),
                language: self.notices.language.clone(),
                texts: Arc::new(self.notices.texts()),
            },
        }
    }
}
