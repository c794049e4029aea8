//! Settings of short messages, the table `[messaging.sms]`.

use std::sync::Arc;
use std::time::Duration;

use publica_config::Problems;
use publica_types::Secret;
use serde::Deserialize;

use super::provider::ProviderConfig;
use crate::domain::receipt::IdForm;
use crate::domain::sms::{PARTS_LIMIT, is_sender};
use crate::engine::Share;
use crate::smpp::{Centre, Credentials};
use crate::smtp::{HopError, connector};

/// Digits behind the point of a price.
const DIGITS: usize = 6;

/// Short messages.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmsConfig {
    /// Who messages come from that name nobody.
    pub sender_id: String,
    /// The country of numbers with a leading 0, such as `254`; empty refuses them.
    pub country_code: String,
    /// Most parts of a message.
    pub max_parts: usize,
    /// A message counts as delivered once receipts of all its parts say so, or when none says
    /// otherwise for so many hours; 0 counts it as delivered once the centre took it.
    pub receipt_hours: u64,
    /// Whole texts by which a person ends what they get, in any case.
    pub stop_words: Vec<String>,
    /// Whole texts by which a person gets it again.
    pub start_words: Vec<String>,
    /// The currency of `prices`, ISO 4217.
    pub currency: String,
    /// What a part costs, by the beginning of the number; the longest that fits counts.
    pub prices: Vec<PriceConfig>,
    /// The centres that take our messages. All of a tier take what waits.
    pub centres: Vec<CentreConfig>,
    /// Providers that speak HTTP and take our messages beside the centres.
    pub providers: Vec<ProviderConfig>,
}

/// What a part costs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PriceConfig {
    /// The beginning of the number, such as `+254`; empty for all.
    pub prefix: String,
    /// A decimal number with up to six digits behind its point.
    pub price: String,
}

/// A message centre that speaks SMPP 3.4.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CentreConfig {
    /// Under which its ids are kept. It must not change while messages wait for receipts.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `implicit`, or `none` within a private network.
    pub tls: String,
    /// Certificates to trust, in PEM; empty for the public ones. May come as `ca_pem_file`.
    pub ca_pem: String,
    /// Who we are to the centre.
    pub system_id: String,
    /// The password. May come as `password_file`.
    pub password: Secret<String>,
    /// The kind of system that we are, where the centre wants one.
    pub system_type: String,
    /// Sessions at a time.
    pub binds: usize,
    /// Submissions of a session that are under way at a time.
    pub window: usize,
    /// How receipts write ids: `same`, or `decimal` or `hexadecimal` where answers write them
    /// the other way.
    pub receipt_ids: String,
    /// The longest to wait for a session, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The longest to wait for an answer, in milliseconds.
    pub answer_timeout_ms: u64,
    /// After so long a silence the centre is asked whether it is there, in milliseconds.
    pub enquire_ms: u64,
    /// Later tiers serve while no centre and no provider of an earlier one answers.
    pub tier: u32,
    /// Its part of the messages of its tier.
    pub weight: u32,
}

impl Default for SmsConfig {
    fn default() -> Self {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        Self {
            sender_id: String::new(),
            country_code: String::new(),
            max_parts: 6,
            receipt_hours: 72,
            stop_words: words(&["STOP", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"]),
            start_words: words(&["START"]),
            currency: String::new(),
            prices: Vec::new(),
            centres: Vec::new(),
            providers: Vec::new(),
        }
    }
}

impl Default for CentreConfig {
    fn default() -> Self {
        Self {
            name: "main".to_owned(),
            host: String::new(),
            port: 2775,
            tls: "implicit".to_owned(),
            ca_pem: String::new(),
            system_id: String::new(),
            password: Secret::default(),
            system_type: String::new(),
            binds: 1,
            window: 10,
            receipt_ids: "same".to_owned(),
            connect_timeout_ms: 30_000,
            answer_timeout_ms: 60_000,
            enquire_ms: 30_000,
            tier: 1,
            weight: 1,
        }
    }
}

/// Checks a place among others.
pub(super) fn check_share(problems: &mut Problems, tier: u32, weight: u32) {
    problems.require((1..=9).contains(&tier), "tier", "must be from 1 to 9");
    let weighs = (1..=1_000).contains(&weight);
    problems.require(weighs, "weight", "must be from 1 to 1000");
}

impl CentreConfig {
    fn ids(&self) -> Option<IdForm> {
        match self.receipt_ids.as_str() {
            "same" => Some(IdForm::Same),
            "decimal" => Some(IdForm::Decimal),
            "hexadecimal" => Some(IdForm::Hexadecimal),
            _ => None,
        }
    }

    pub(crate) fn share(&self) -> Share {
        Share {
            tier: self.tier,
            weight: self.weight,
        }
    }

    /// The centre that these settings describe.
    pub(crate) fn centre(&self) -> Result<Arc<Centre>, HopError> {
        let ca = (!self.ca_pem.is_empty()).then_some(self.ca_pem.as_str());
        Ok(Arc::new(Centre {
            name: self.name.clone(),
            host: self.host.clone(),
            port: self.port,
            connector: match self.tls.as_str() {
                "none" => None,
                _ => Some(connector(ca)?),
            },
            credentials: Credentials {
                system_id: self.system_id.clone(),
                password: self.password.clone(),
                system_type: self.system_type.clone(),
            },
            ids: self.ids().unwrap_or_default(),
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            answer_timeout: Duration::from_millis(self.answer_timeout_ms),
            enquire: Duration::from_millis(self.enquire_ms),
        }))
    }

    fn check(&self, problems: &mut Problems) {
        problems.require(!self.host.is_empty(), "host", "is required");
        let named = (1..=32).contains(&self.name.len())
            && self.name.bytes().all(|byte| byte.is_ascii_graphic());
        problems.require(named, "name", "must have 1 to 32 characters and no spaces");
        let tls = matches!(self.tls.as_str(), "none" | "implicit");
        problems.require(tls, "tls", "is none of implicit, none");
        let ids = self.ids().is_some();
        problems.require(ids, "receipt_ids", "is none of same, decimal, hexadecimal");
        problems.require(
            (1..=64).contains(&self.binds),
            "binds",
            "must be from 1 to 64",
        );
        let window = (1..=1_000).contains(&self.window);
        problems.require(window, "window", "must be from 1 to 1000");
        check_share(problems, self.tier, self.weight);
        for (name, value) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("answer_timeout_ms", self.answer_timeout_ms),
            ("enquire_ms", self.enquire_ms),
        ] {
            let sound = (100..=3_600_000).contains(&value);
            problems.require(sound, name, "must be from 100 to 3600000");
        }
        match self.centre() {
            Err(error) => problems.add("ca_pem", error.to_string()),
            Ok(centre) => {
                if let Err(error) = centre.check() {
                    problems.add("system_id", error.to_string());
                }
            }
        }
    }
}

impl PriceConfig {
    /// The price in millionths.
    pub(crate) fn millionths(&self) -> Option<u64> {
        let (whole, rest) = self.price.split_once('.').unwrap_or((&self.price, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 9 || rest.len() > DIGITS || !digits(whole) {
            return None;
        }
        if !digits(rest) {
            return None;
        }
        format!("{whole}{rest:0<DIGITS$}").parse().ok()
    }
}

impl SmsConfig {
    /// What a part to a number costs, in millionths.
    pub(crate) fn price(&self, number: &str) -> Option<u64> {
        let fitting = self
            .prices
            .iter()
            .filter(|price| number.starts_with(&price.prefix));
        fitting
            .max_by_key(|price| price.prefix.len())
            .and_then(PriceConfig::millionths)
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        let sender = self.sender_id.is_empty() || is_sender(&self.sender_id);
        problems.require(sender, "sender_id", "is neither a number nor a short name");
        let digits = self.country_code.bytes().all(|byte| byte.is_ascii_digit());
        let country = digits && self.country_code.len() <= 3 && !self.country_code.starts_with('0');
        problems.require(country, "country_code", "is no code of up to three digits");
        let parts = (1..=PARTS_LIMIT).contains(&self.max_parts);
        problems.require(parts, "max_parts", "must be from 1 to 255");
        let hours = self.receipt_hours <= 720;
        problems.require(hours, "receipt_hours", "must be from 0 to 720");
        let currency = self.currency.is_empty()
            || (self.currency.len() == 3
                && self.currency.bytes().all(|byte| byte.is_ascii_uppercase()));
        problems.require(currency, "currency", "is no code of three capital letters");
        let priced = self.prices.is_empty() || !self.currency.is_empty();
        problems.require(priced, "currency", "is required where there are prices");
        for (index, price) in self.prices.iter().enumerate() {
            problems.within(format!("prices[{index}]"), |problems| {
                let sound = price.millionths().is_some();
                problems.require(sound, "price", "is no decimal number");
                let digits = price.prefix.strip_prefix('+').unwrap_or_default();
                let prefix = price.prefix.is_empty()
                    || (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
                problems.require(prefix, "prefix", "must be a plus and digits");
            });
        }
        for (index, centre) in self.centres.iter().enumerate() {
            problems.within(format!("centres[{index}]"), |problems| {
                centre.check(problems);
                let twice = self.centres[..index]
                    .iter()
                    .any(|one| one.name == centre.name);
                problems.require(!twice, "name", "is another centre's");
            });
        }
        for (index, provider) in self.providers.iter().enumerate() {
            problems.within(format!("providers[{index}]"), |problems| {
                provider.check(problems);
                // Receipts are told apart by name.
                let centres = self.centres.iter().map(|one| &one.name);
                let before = self.providers[..index].iter().map(|one| &one.name);
                let twice = centres.chain(before).any(|name| *name == provider.name);
                problems.require(!twice, "name", "is another's");
            });
        }
    }

    /// Whether anybody takes our messages.
    pub(crate) fn is_set_up(&self) -> bool {
        !self.centres.is_empty() || !self.providers.is_empty()
    }
}

/// A price in its plain form, without zeros at its end.
pub(crate) fn decimal(millionths: u64) -> String {
    let (whole, rest) = (millionths / 1_000_000, millionths % 1_000_000);
    let rest = format!("{rest:06}");
    let rest = rest.trim_end_matches('0');
    if rest.is_empty() {
        whole.to_string()
    } else {
        format!("{whole}.{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(prefix: &str, price: &str) -> PriceConfig {
        PriceConfig {
            prefix: prefix.to_owned(),
            price: price.to_owned(),
        }
    }

    #[test]
    fn prices_are_exact() {
        for (text, expected) in [
            ("0.8", Some(800_000)),
            ("1", Some(1_000_000)),
            ("12.000001", Some(12_000_001)),
            ("0.0000001", None),
            ("-1", None),
            ("1,5", None),
            (".5", None),
            ("", None),
        ] {
            assert_eq!(price("", text).millionths(), expected, "{text}");
        }
        let written = [800_000, 1_000_000, 2_500_001].map(decimal);
        assert_eq!(written, ["0.8", "1", "2.500001"]);
    }

    #[test]
    fn the_longest_beginning_counts() {
        let config = SmsConfig {
            prices: vec![
                price("", "0.1"),
                price("+254", "0.5"),
                price("+2547", "0.7"),
            ],
            ..SmsConfig::default()
        };
        assert_eq!(config.price("+254722000111"), Some(700_000));
        assert_eq!(config.price("+254122000111"), Some(500_000));
        assert_eq!(config.price("+15550100"), Some(100_000));
        assert_eq!(SmsConfig::default().price("+15550100"), None);
    }

    #[test]
    fn all_problems_are_reported() {
        let config = SmsConfig {
            sender_id: "Ministry of Health".to_owned(),
            country_code: "0254".to_owned(),
            max_parts: 0,
            prices: vec![price("254", "x")],
            centres: vec![CentreConfig {
                tls: "none".to_owned(),
                window: 0,
                receipt_ids: "octal".to_owned(),
                system_id: "longer than sixteen characters".to_owned(),
                ..CentreConfig::default()
            }],
            ..SmsConfig::default()
        };
        let mut problems = Problems::new();
        config.check(&mut problems);
        // Sender, country, parts, currency, price and its prefix; host, window, ids, system id.
        assert_eq!(problems.len(), 10);
        let mut problems = Problems::new();
        SmsConfig::default().check(&mut problems);
        assert!(problems.is_empty());
    }
}
