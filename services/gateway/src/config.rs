//! The table `[gateway]` of the settings file.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use publica_config::{Problems, Settings};
use serde::Deserialize;

use crate::rest;

const MAX_NAME: usize = 100;
const MAX_HELP: usize = 500;

/// Settings of the gateway.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Surfaces with a listener of their own, byte for byte as published, by block.
    pub surfaces: BTreeMap<String, SurfaceConfig>,
    /// How strictly the payments surface reads.
    pub payments: PaymentsConfig,
    /// Scopes of anonymous callers, in the conformance profile only.
    pub anonymous_scopes: Vec<String>,
    /// What pages say about whoever runs them.
    pub pages: PagesConfig,
    /// How people sign in to the page of their consents.
    pub privacy: PrivacyConfig,
}

/// How people sign in to the page of their consents, `/privacy`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacyConfig {
    /// The relying party that the page belongs to; nobody can sign in to it while this is
    /// empty. People are known to one relying party under one pseudonym, so it is that of the
    /// services whose consents the page shows.
    pub relying_party_id: String,
    /// Where browsers find this gateway; by default where they find the identity block.
    pub base_url: String,
    /// What the log-in pages call the page.
    pub client_name: String,
}

impl Default for PrivacyConfig {
    fn default() -> Self {
        Self {
            relying_party_id: String::new(),
            base_url: String::new(),
            client_name: "What you agreed to".to_owned(),
        }
    }
}

/// What pages say about whoever runs them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PagesConfig {
    /// The name at the top of the log-in pages.
    pub issuer_name: String,
    /// How to get help, at the foot of each log-in page: phone, hours, offices.
    pub help: String,
}

impl Default for PagesConfig {
    fn default() -> Self {
        Self {
            issuer_name: "Identity service".to_owned(),
            help: String::new(),
        }
    }
}

/// How strictly the payments surface reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PaymentsConfig {
    /// Whether members that the published bodies do not have are refused instead of ignored.
    pub strict_fields: bool,
    /// How far the header `X-Date` may be from now, in seconds; 0 means that nobody looks.
    pub date_skew_seconds: u64,
}

/// A surface with a listener of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SurfaceConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Put in front of every path, such as `/api`; nothing by default.
    #[serde(default)]
    pub prefix: String,
    /// Answers hold published members alone, where the surface has a form with more of them.
    #[serde(default)]
    pub strict: bool,
}

impl Settings for GatewayConfig {
    fn check(&self, problems: &mut Problems) {
        let (name, help) = (&self.pages.issuer_name, &self.pages.help);
        let named = !name.trim().is_empty() && name.chars().count() <= MAX_NAME;
        let what = "must be 1 to 100 characters";
        problems.require(named, "pages.issuer_name", what);
        let short = help.chars().count() <= MAX_HELP;
        problems.require(short, "pages.help", "must be at most 500 characters");
        let base = &self.privacy.base_url;
        let web = base.starts_with("http://") || base.starts_with("https://");
        problems.require(
            base.is_empty() || (web && !base.ends_with('/')),
            "privacy.base_url",
            "must be a web address without a slash at its end",
        );
        for (block, surface) in &self.surfaces {
            if rest::surface(block).is_none() {
                problems.add(format!("surfaces.{block}"), "there is no such block");
            }
            let sound = surface.prefix.is_empty()
                || (surface.prefix.starts_with('/') && !surface.prefix.ends_with('/'));
            if !sound {
                problems.add(
                    format!("surfaces.{block}.prefix"),
                    "a prefix starts with `/` and does not end with one",
                );
            }
        }
    }
}
