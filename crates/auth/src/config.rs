//! Settings: which issuers, workloads and API keys are trusted.

use publica_jose::{Alg, JoseError, JwkSet};
use publica_types::{Secret, Tenant, Timestamp};
use serde::Deserialize;
use url::{Host, Url};

use crate::verifier::is_affiliation;

/// Whom a process trusts, beside the suite's own workload tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// A token must be meant for one of these.
    pub audiences: Vec<String>,
    /// Clocks may differ by so much, up to 60.
    pub leeway_seconds: u64,
    /// So many verified tokens are remembered.
    pub cached_tokens: usize,
    /// Trusted OpenID Connect or OAuth issuers.
    pub issuers: Vec<IssuerConfig>,
    /// The SPIFFE trust domain whose certificates the TLS listener accepts.
    pub trust_domain: Option<String>,
    /// Workloads that prove themselves by a certificate, and what they may do.
    pub workloads: Vec<WorkloadConfig>,
    /// The secret under which API keys are hashed, at least 32 bytes of text.
    pub api_key_secret: Option<Secret<String>>,
    /// API keys, by their hashes.
    pub api_keys: Vec<ApiKeyConfig>,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            audiences: vec!["publica".to_owned()],
            leeway_seconds: 30,
            cached_tokens: 2_048,
            issuers: Vec::new(),
            trust_domain: None,
            workloads: Vec::new(),
            api_key_secret: None,
            api_keys: Vec::new(),
        }
    }
}

/// A trusted issuer. Exactly one of the three sources of keys is given.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssuerConfig {
    /// The issuer's name, exactly as its tokens spell it.
    pub issuer: String,
    /// Where its key set is published.
    pub jwks_url: Option<String>,
    /// Authorities of the certificate at `jwks_url` (PEM), instead of those of the system: for an
    /// issuer inside the same private network.
    pub jwks_authorities: Option<std::path::PathBuf>,
    /// A file with its key set, read again while the process runs.
    pub jwks_file: Option<std::path::PathBuf>,
    /// Its key set as JSON text.
    pub jwks: Option<String>,
    /// Accepted algorithms. RS256 is accepted only where it is named.
    pub algorithms: Vec<String>,
    /// Tenants that the issuer may speak for; none given means `default` alone.
    pub tenants: Vec<Tenant>,
    /// Accepts tokens of the type `JWT` too, for issuers that do not know RFC 9068.
    pub accept_plain_jwt: bool,
}

/// A workload that proves itself by a certificate.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadConfig {
    /// The path of its SPIFFE id, such as `/ns/publica/sa/payments`. `/block/<name>` is
    /// understood without being listed.
    pub path: String,
    /// The block it is.
    pub block: String,
    /// What it may do; everything, unless given.
    #[serde(default = "everything")]
    pub scopes: Vec<String>,
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

/// An API key, as it is stored.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyConfig {
    /// Its public id, which names the caller in records.
    pub id: String,
    /// Its keyed hash in base64url, as [`crate::ApiKeyHasher::hash_text`] writes it.
    pub hash: String,
    /// What its holder may do.
    pub scopes: Vec<String>,
    /// The organisation that its holder belongs to, as records name it.
    #[serde(default)]
    pub affiliation: Option<String>,
    /// The tenant it belongs to.
    #[serde(default)]
    pub tenant: Tenant,
    /// When it stops working.
    #[serde(default)]
    pub expires: Option<Timestamp>,
    /// True once it must not work any more.
    #[serde(default)]
    pub revoked: bool,
}

/// Why authentication cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The settings are wrong; each text names the setting.
    #[error("{}", .0.join("; "))]
    Settings(Vec<String>),
    /// A key file cannot be read, written or trusted.
    #[error("key file {path}: {problem}")]
    KeyFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
        /// What the system says.
        #[source]
        source: Option<std::io::Error>,
    },
    /// A file of authorities cannot be read or holds none.
    #[error("file of authorities {path}: {problem}")]
    Authorities {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
        /// What the system says.
        #[source]
        source: Option<std::io::Error>,
    },
    /// A key is not acceptable.
    #[error("a key is not acceptable")]
    Key(#[from] JoseError),
    /// The HTTP client for key sets cannot be made.
    #[error("the HTTP client for key sets cannot be made: {0}")]
    Client(&'static str),
}

impl AuthConfig {
    /// Everything that is wrong with these settings, a sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut say = |problem: String| problems.push(problem);
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            say("auth.audiences: at least one, none of them empty".to_owned());
        }
        if self.leeway_seconds > 60 {
            say("auth.leeway_seconds: at most 60".to_owned());
        }
        if self.cached_tokens == 0 || self.cached_tokens > 1_000_000 {
            say("auth.cached_tokens: 1 to 1000000".to_owned());
        }
        for (index, issuer) in self.issuers.iter().enumerate() {
            let twin = self.issuers[..index]
                .iter()
                .any(|other| other.issuer == issuer.issuer);
            if twin {
                say(format!("auth.issuers[{index}].issuer: named twice"));
            }
            for problem in issuer.problems() {
                say(format!("auth.issuers[{index}].{problem}"));
            }
        }
        if !self.workloads.is_empty() && self.trust_domain.is_none() {
            say("auth.workloads: need auth.trust_domain".to_owned());
        }
        let secret = self
            .api_key_secret
            .as_ref()
            .map_or(0, |secret| secret.expose().len());
        if !self.api_keys.is_empty() && secret < 32 {
            say("auth.api_key_secret: at least 32 bytes, since there are api_keys".to_owned());
        }
        for key in &self.api_keys {
            let named = key.affiliation.as_deref();
            if named.is_some_and(|named| !is_affiliation(named)) {
                let what = "1 to 255 characters, none of them control characters";
                say(format!("auth.api_keys.{}.affiliation: {what}", key.id));
            }
        }
        problems
    }
}

impl IssuerConfig {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.issuer.is_empty() || self.issuer == crate::LOCAL_ISSUER {
            problems.push("issuer: missing, or the suite's own".to_owned());
        }
        let sources = [
            self.jwks_url.is_some(),
            self.jwks_file.is_some(),
            self.jwks.is_some(),
        ];
        if sources.iter().filter(|given| **given).count() != 1 {
            problems.push("jwks_url, jwks_file, jwks: exactly one is needed".to_owned());
        }
        if let Some(url) = &self.jwks_url
            && !is_safe_url(url)
        {
            problems.push("jwks_url: an https URL without user and fragment".to_owned());
        }
        if self.jwks_authorities.is_some() && self.jwks_url.is_none() {
            problems.push("jwks_authorities: goes with jwks_url".to_owned());
        }
        if let Some(jwks) = &self.jwks
            && JwkSet::from_json_strictly(jwks.as_bytes()).is_err()
        {
            problems.push("jwks: not a key set of public keys".to_owned());
        }
        if self.algorithms().is_err() {
            problems.push("algorithms: of EdDSA, ES256, ES384, PS256, RS256".to_owned());
        }
        problems
    }

    pub(crate) fn algorithms(&self) -> Result<Vec<Alg>, JoseError> {
        if self.algorithms.is_empty() {
            return Ok(vec![Alg::EdDsa, Alg::Es256, Alg::Es384, Alg::Ps256]);
        }
        self.algorithms.iter().map(|name| name.parse()).collect()
    }
}

/// Key sets come over TLS; only the machine itself may be spoken to in the clear.
fn is_safe_url(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return false,
    };
    let scheme = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    scheme && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_every_problem_is_said() {
        assert_eq!(AuthConfig::default().problems(), Vec::<String>::new());
        let bad = AuthConfig {
            audiences: Vec::new(),
            leeway_seconds: 61,
            cached_tokens: 0,
            issuers: vec![IssuerConfig::default(), IssuerConfig::default()],
            workloads: vec![WorkloadConfig {
                path: "/block/a".to_owned(),
                block: "a".to_owned(),
                scopes: everything(),
            }],
            ..AuthConfig::default()
        };
        assert_eq!(bad.problems().len(), 9, "{:?}", bad.problems());
    }

    #[test]
    fn key_set_addresses_are_https_or_loopback() {
        for good in [
            "https://id.example/jwks",
            "http://127.0.0.1:80/k",
            "http://[::1]/k",
        ] {
            assert!(is_safe_url(good), "{good}");
        }
        for bad in [
            "http://id.example/jwks",
            "file:///etc/passwd",
            "https://u:p@id.example/",
            "x",
        ] {
            assert!(!is_safe_url(bad), "{bad}");
        }
    }
}
