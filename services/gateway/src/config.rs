//! The table `[gateway]` of the settings file.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use publica_config::{Problems, Settings};
use serde::Deserialize;

use crate::rest;

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
