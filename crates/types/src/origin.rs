//! Who and what case a call belongs to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Who acts, for whom, and in which case. It travels with a call from block to block and ends
/// up in every journal entry the call leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The authenticated party that acts, or `system:<component>` for background work.
    pub actor: String,
    /// The organisation that the actor belongs to, where whoever vouches for them says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affiliation: Option<String>,
    /// The person or organisation the actor acts for, when that is somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// The case, minted where it starts and carried to every peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_id: Option<String>,
    /// The caller's id of this request, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The trace that the call is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The tenant whose store is used.
    #[serde(default)]
    pub tenant: Tenant,
}

impl Origin {
    /// The header that carries the case.
    pub const PROCESS_ID: &'static str = "x-process-id";
    /// The header that carries the caller's id of the request.
    pub const REQUEST_ID: &'static str = "x-request-id";
    /// The header that carries the party for whom a block calls another.
    pub const ACTOR: &'static str = "x-actor";

    /// The origin of background work that no caller asked for.
    pub fn system(component: &str) -> Self {
        Self::actor(format!("system:{component}"))
    }

    /// An origin with an actor and nothing else, in the default tenant.
    pub fn actor(actor: impl Into<String>) -> Self {
        Self {
            actor: actor.into(),
            affiliation: None,
            on_behalf_of: None,
            process_id: None,
            request_id: None,
            trace_id: None,
            tenant: Tenant::default(),
        }
    }

    /// The same origin in another tenant.
    pub fn in_tenant(mut self, tenant: Tenant) -> Self {
        self.tenant = tenant;
        self
    }

    /// The same origin as part of a case.
    pub fn in_process(mut self, process_id: impl Into<String>) -> Self {
        self.process_id = Some(process_id.into());
        self
    }
}

/// The name of a tenant, which is a store of its own in each block.
///
/// It becomes part of file and schema names, so it is 1 to 32 lower-case letters, digits and
/// underscores, starting with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tenant(String);

/// A text that is no tenant's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tenant's name is 1 to 32 lower-case letters, digits and underscores, \
     starting with a letter"
)]
pub struct TenantError;

impl Tenant {
    const MAX_LEN: usize = 32;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl FromStr for Tenant {
    type Err = TenantError;

    fn from_str(text: &str) -> Result<Self, TenantError> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Tenant {
    type Error = TenantError;

    fn try_from(text: String) -> Result<Self, TenantError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let sound = text.len() <= Self::MAX_LEN
            && text
                .bytes()
                .next()
                .is_some_and(|byte| byte.is_ascii_lowercase())
            && text.bytes().all(allowed);
        if sound {
            Ok(Self(text))
        } else {
            Err(TenantError)
        }
    }
}

impl From<Tenant> for String {
    fn from(tenant: Tenant) -> Self {
        tenant.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_are_safe_in_file_and_schema_names() {
        for good in ["default", "a", "land_2", &"x".repeat(32)] {
            assert_eq!(good.parse::<Tenant>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "2land",
            "Land",
            "a-b",
            "../etc",
            "a b",
            "é",
            &"x".repeat(33),
        ] {
            assert_eq!(bad.parse::<Tenant>(), Err(TenantError), "{bad}");
        }
    }

    #[test]
    fn origin_survives_json() {
        let origin = Origin::system("sweeper")
            .in_process("case-7")
            .in_tenant("north".parse().unwrap());
        let json = serde_json::to_string(&origin).unwrap();
        assert!(!json.contains("trace_id"), "{json}");
        assert_eq!(serde_json::from_str::<Origin>(&json).unwrap(), origin);
        assert!(serde_json::from_str::<Origin>(r#"{"actor":"a","tenant":"../x"}"#).is_err());
    }
}
