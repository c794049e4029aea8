//! Settings of the rails that pay, and of which institutions each of them serves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use publica_config::Problems;
use publica_types::{Money, Secret};
use serde::Deserialize;

use crate::domain::iso20022::initiation::{self, Debtor, Terms, is_account, is_bic, is_name};
use crate::domain::mobile_money;

/// The name of the simulated rail, which no other may have.
pub(crate) const SIMULATED: &str = "simulated";
const NAME_CHARS: usize = 20;
const INSTITUTION_CHARS: usize = 11;

/// One rail: whom it serves, what it charges, and the way it pays, of which there is one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RailSettings {
    /// The institutions that it serves.
    pub institutions: Vec<String>,
    /// What a payment costs, in minor units of its currency.
    pub fee_minor: i64,
    /// And thousandths of its amount.
    pub fee_per_mille: i64,
    /// It pays by files of ISO 20022.
    pub files: Option<FileRailConfig>,
    /// It pays by mobile money.
    pub mobile_money: Option<MobileMoneyConfig>,
}

/// A rail that pays by the GSMA Mobile Money API, one payment a call.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MobileMoneyConfig {
    /// Where the provider's interface is, such as `https://api.provider.example/v1.2/mm`.
    pub url: String,
    /// Whether it may be inside: plain http, and addresses that are not public.
    pub allow_private: bool,
    /// It has so many milliseconds to answer.
    pub timeout_ms: u64,
    /// Calls at a time for one message; four messages are worked on at a time.
    pub concurrency: usize,
    /// What the account is called by that pays.
    pub debit_key: String,
    /// The account that pays.
    pub debit_value: String,
    /// What payees' addresses are: `msisdn` for telephone numbers, or another key.
    pub credit_key: String,
    /// Sent as `X-API-Key`, if there is one.
    pub api_key: Secret<String>,
    /// Sent as `Authorization`, if there is one.
    pub authorization: Secret<String>,
    /// Where tokens come from that are sent as `Authorization`, if the provider wants them.
    pub oauth: Option<OauthConfig>,
}

/// Client credentials of OAuth 2.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OauthConfig {
    /// Where tokens are given, such as `https://api.provider.example/oauth/token`.
    pub token_url: String,
    /// Who we are.
    pub client_id: String,
    /// And the proof of it.
    pub client_secret: Secret<String>,
    /// What the token is for; empty for whatever the provider gives.
    pub scope: String,
}

/// A rail that orders payments by `pain.001` and learns of them by `pain.002`, `camt.053` and
/// `camt.054`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileRailConfig {
    /// Where files are: in it a folder a tenant, and in that `outgoing`, `incoming`, `done`,
    /// `refused` and `staging`. All replicas share it.
    pub folder: PathBuf,
    /// How often it looks for files, in milliseconds.
    pub poll_ms: u64,
    /// The largest file that is read, in bytes.
    pub max_file_bytes: u64,
    /// Who pays.
    pub debtor_name: String,
    /// From which account: an IBAN, or the bank's own number.
    pub debtor_account: String,
    /// At which bank: a BIC, or its number in its clearing system.
    pub debtor_agent: String,
    /// Whether the bank is asked to book a file as one.
    pub batch_booking: bool,
    /// What the payments are for, as a category purpose of ISO 20022; empty for none.
    pub category_purpose: String,
    /// Who bears the bank's charges.
    pub charge_bearer: ChargeBearer,
}

/// Who bears a bank's charges, as ISO 20022 names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ChargeBearer {
    /// As the scheme says.
    Slev,
    /// Who pays.
    Debt,
    /// Who is paid.
    Cred,
    /// Each their own.
    Shar,
}

impl ChargeBearer {
    const fn code(self) -> &'static str {
        match self {
            Self::Slev => "SLEV",
            Self::Debt => "DEBT",
            Self::Cred => "CRED",
            Self::Shar => "SHAR",
        }
    }
}

impl Default for FileRailConfig {
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
            poll_ms: 10_000,
            max_file_bytes: 64 << 20,
            debtor_name: String::new(),
            debtor_account: String::new(),
            debtor_agent: String::new(),
            batch_booking: false,
            category_purpose: String::new(),
            charge_bearer: ChargeBearer::Slev,
        }
    }
}

impl Default for MobileMoneyConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            allow_private: false,
            timeout_ms: 30_000,
            concurrency: 16,
            debit_key: "accountid".to_owned(),
            debit_value: String::new(),
            credit_key: "msisdn".to_owned(),
            api_key: String::new().into(),
            authorization: String::new().into(),
            oauth: None,
        }
    }
}

impl MobileMoneyConfig {
    pub(crate) const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    fn check(&self, key: &str, problems: &mut Problems) {
        let mut add = |name: &str, what: &str| problems.add(format!("{key}.{name}"), what);
        if let Err(why) = publica_outbound::check_url(&self.url, self.allow_private) {
            add("url", why);
        }
        if self.url.contains(['?', '#']) {
            add("url", "must have no query");
        }
        if !(100..=300_000).contains(&self.timeout_ms) {
            add("timeout_ms", "must be from 100 to 300000");
        }
        if !(1..=256).contains(&self.concurrency) {
            add("concurrency", "must be from 1 to 256");
        }
        let plain = |text: &str| {
            let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
            (1..=256).contains(&text.len()) && visible
        };
        for (name, text) in [
            ("debit_key", &self.debit_key),
            ("debit_value", &self.debit_value),
            ("credit_key", &self.credit_key),
        ] {
            if !plain(text) {
                add(name, "must have 1 to 256 visible characters");
            }
        }
        let header = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        for (name, secret) in [
            ("api_key", &self.api_key),
            ("authorization", &self.authorization),
        ] {
            if !header(secret.expose()) {
                add(name, "must be fit for a header");
            }
        }
        if let Some(oauth) = &self.oauth {
            if !self.authorization.expose().is_empty() {
                add(
                    "authorization",
                    "must be empty where tokens are sent instead",
                );
            }
            oauth.check(&format!("{key}.oauth"), self.allow_private, problems);
        }
    }
}

impl OauthConfig {
    fn check(&self, key: &str, allow_private: bool, problems: &mut Problems) {
        let mut add = |name: &str, what: &str| problems.add(format!("{key}.{name}"), what);
        if let Err(why) = publica_outbound::check_url(&self.token_url, allow_private) {
            add("token_url", why);
        }
        let plain = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let sized = |text: &str| (1..=256).contains(&text.len()) && plain(text);
        for (name, sound) in [
            ("client_id", sized(&self.client_id)),
            ("client_secret", sized(self.client_secret.expose())),
        ] {
            if !sound {
                add(name, "must have 1 to 256 plain characters");
            }
        }
        if self.scope.len() > 1_024 || !plain(&self.scope) {
            add("scope", "must have at most 1024 plain characters");
        }
    }
}

impl RailSettings {
    /// Why a payment cannot be made by this rail: a code of ISO 20022.
    pub(crate) fn unfit(&self, address: &str, money: &Money) -> Option<&'static str> {
        match (&self.files, &self.mobile_money) {
            (Some(_), _) => initiation::unfit(address, money.amount_minor),
            (None, Some(mobile)) => mobile_money::unfit(&mobile.credit_key, address, money),
            (None, None) => None,
        }
    }
}

impl FileRailConfig {
    pub(crate) const fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    pub(crate) fn terms(&self) -> Terms {
        Terms {
            debtor: Debtor {
                name: self.debtor_name.clone(),
                account: self.debtor_account.clone(),
                agent: self.debtor_agent.clone(),
            },
            batch_booking: self.batch_booking,
            purpose: self.category_purpose.clone(),
            charge_bearer: self.charge_bearer.code().to_owned(),
        }
    }

    fn check(&self, key: &str, problems: &mut Problems) {
        let mut add = |name: &str, what: &str| problems.add(format!("{key}.{name}"), what);
        if self.folder.as_os_str().is_empty() {
            add("folder", "is required");
        }
        if !(100..=3_600_000).contains(&self.poll_ms) {
            add("poll_ms", "must be from 100 to 3600000");
        }
        if !(1_024..=1 << 30).contains(&self.max_file_bytes) {
            add("max_file_bytes", "must be from 1024 to 1073741824");
        }
        if !is_name(&self.debtor_name) {
            add("debtor_name", "must have 1 to 140 plain Latin characters");
        }
        if !is_account(&self.debtor_account) {
            add(
                "debtor_account",
                "must be an IBAN or at most 34 plain characters",
            );
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric();
        let agent = &self.debtor_agent;
        let is_number = (1..=35).contains(&agent.len()) && agent.bytes().all(plain);
        if !is_bic(agent) && !is_number {
            add(
                "debtor_agent",
                "must be a BIC or at most 35 letters and digits",
            );
        }
        let purpose = &self.category_purpose;
        if purpose.len() > 4 || !purpose.bytes().all(plain) {
            add("category_purpose", "must have at most 4 letters and digits");
        }
    }
}

/// Checks all rails together: an institution has one.
pub(super) fn check(
    rails: &BTreeMap<String, RailSettings>,
    default_rail: Option<&str>,
    problems: &mut Problems,
) {
    let mut served = BTreeSet::new();
    for (name, rail) in rails {
        let key = format!("rails.{name}");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !(1..=NAME_CHARS).contains(&name.len()) || !name.bytes().all(plain) || name == SIMULATED
        {
            let sound = "a name has at most 20 small letters, digits and underscores, and is not \
                         \"simulated\"";
            problems.add(key.clone(), sound);
        }
        for institution in &rail.institutions {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            let length = (1..=INSTITUTION_CHARS).contains(&institution.len());
            if !length || !institution.chars().all(plain) {
                let sound = "an institution has at most 11 letters, digits, hyphens, underscores";
                problems.add(format!("{key}.institutions"), sound);
            }
            if !served.insert(institution.as_str()) {
                let twice = format!("{institution} is served twice");
                problems.add(format!("{key}.institutions"), twice);
            }
        }
        if rail.fee_minor < 0 || !(0..=1_000).contains(&rail.fee_per_mille) {
            let sound = "fees must not be negative, nor above 1000 per mille";
            problems.add(key.clone(), sound);
        }
        match (&rail.files, &rail.mobile_money) {
            (Some(files), None) => files.check(&format!("{key}.files"), problems),
            (None, Some(mobile)) => mobile.check(&format!("{key}.mobile_money"), problems),
            _ => problems.add(key, "must say one way how it pays: files or mobile_money"),
        }
    }
    let known = |name: &str| name.is_empty() || name == SIMULATED || rails.contains_key(name);
    if default_rail.is_some_and(|name| !known(name)) {
        problems.add("default_rail", "is no rail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let config: crate::config::Config = toml::from_str(text).unwrap();
        let mut problems = Problems::new();
        check(&config.rails, config.default_rail.as_deref(), &mut problems);
        format!("{problems:?}")
    }

    const SOUND: &str = "
        default_rail = 'treasury'
        [rails.treasury]
        institutions = ['BANK', 'COBADEFFXXX']
        [rails.treasury.files]
        folder = '/var/lib/publica/treasury'
        debtor_name = 'Ministry of Welfare'
        debtor_account = 'DE89370400440532013000'
        debtor_agent = 'COBADEFFXXX'
        charge_bearer = 'SHAR'
    ";

    #[test]
    fn sound_rails_pass() {
        let none = format!("{:?}", Problems::new());
        assert_eq!(problems(SOUND), none);
        assert_eq!(problems(""), none);
        assert_eq!(problems("default_rail = ''"), none);
    }

    #[test]
    fn unsound_tokens_are_named() {
        let sound = "
            [rails.wallets.mobile_money]
            url = 'https://api.provider.example/v1.2/mm'
            debit_value = '100'
            [rails.wallets.mobile_money.oauth]
            token_url = 'https://api.provider.example/oauth/token'
            client_id = 'ministry'
            client_secret = 'secret'
        ";
        assert_eq!(problems(sound), format!("{:?}", Problems::new()));
        for (from, to, key) in [
            (
                "https://api.provider.example/oauth",
                "http://10.0.0.1",
                "oauth.token_url",
            ),
            ("'ministry'", "''", "oauth.client_id"),
            ("'secret'", "''", "oauth.client_secret"),
            (
                "debit_value = '100'",
                "debit_value = '100'\nauthorization = 'x'",
                "authorization",
            ),
            (
                "client_id = 'ministry'",
                "client_id = 'a'\nscope = \"\\u0007\"",
                "oauth.scope",
            ),
        ] {
            let found = problems(&sound.replace(from, to));
            assert!(found.contains(key), "{key} in {found}");
        }
    }

    #[test]
    fn unsound_rails_are_named() {
        let twice = format!("{SOUND}\n[rails.other]\ninstitutions = ['BANK']\n");
        for (text, key) in [
            (
                SOUND.replace("= 'treasury'", "= 'unheard_of'"),
                "default_rail",
            ),
            (SOUND.replace("/var/lib/publica/treasury", ""), "folder"),
            (SOUND.replace("'BANK'", "'A BANK'"), "institutions"),
            (SOUND.replace("Ministry", "Min\u{3a9}stry"), "debtor_name"),
            (SOUND.replace("DE89", "DE88"), "debtor_account"),
            (
                SOUND.replace("agent = 'COBADEFFXXX'", "agent = 'a bank'"),
                "debtor_agent",
            ),
            (SOUND.replace("treasury", "Treasury"), "rails.Treasury"),
            (SOUND.replace("treasury", "simulated"), "rails.simulated"),
            ("[rails.empty]".to_owned(), "rails.empty"),
            (twice, "BANK is served twice"),
        ] {
            let found = problems(&text);
            assert!(found.contains(key), "{key} in {found}");
        }
        assert!(toml::from_str::<crate::config::Config>("[rails.x]\nunheard_of = 1").is_err());
    }
}
