//! The way to a block elsewhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use publica_config::Problems;
use publica_rpc::Link;
use serde::Deserialize;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::Profile;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(10);

/// The table `[peers.<block>]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PeerConfig {
    /// Address, such as `https://consent:7006`.
    pub endpoint: String,
    /// Authorities of the peer's certificate (PEM).
    pub authorities: Option<PathBuf>,
    /// Name in the peer's certificate, where it differs from the address.
    pub server_name: Option<String>,
    /// Our certificate chain, to prove who calls (PEM).
    pub certificates: Option<PathBuf>,
    /// The key of that certificate (PEM).
    pub key: Option<PathBuf>,
}

/// A peer that cannot be reached as configured.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// A file cannot be read.
    #[error("{} cannot be read", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The address or the certificates cannot be used.
    #[error("the address or the certificates cannot be used")]
    Transport(#[from] tonic::transport::Error),
}

impl PeerConfig {
    fn is_plaintext(&self) -> bool {
        self.endpoint.starts_with("http://")
    }

    /// Reports what is missing, and what the profile does not allow.
    pub fn check(&self, profile: Profile, problems: &mut Problems) {
        let address = Endpoint::from_shared(self.endpoint.clone());
        let known = self.is_plaintext() || self.endpoint.starts_with("https://");
        if address.is_err() || !known {
            problems.add(
                "endpoint",
                "must be an address such as https://consent:7006",
            );
            return;
        }
        let host = self.endpoint.split("://").nth(1).unwrap_or_default();
        let near = ["127.", "localhost", "[::1]"]
            .iter()
            .any(|start| host.starts_with(start));
        if profile == Profile::Production && self.is_plaintext() && !near {
            let what = "must begin with https:// in the production profile";
            problems.add("endpoint", what);
        }
        if !self.is_plaintext() {
            let what = "must name the authorities of the peer's certificate";
            problems.require(self.authorities.is_some(), "authorities", what);
        }
        let both = self.certificates.is_some() == self.key.is_some();
        problems.require(both, "key", "certificates and key go together");
    }

    /// The link; it connects on first use and again whenever the connection is lost.
    pub fn link(&self) -> Result<Link, PeerError> {
        let mut endpoint = Endpoint::from_shared(self.endpoint.clone())?
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_LIMIT)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        if !self.is_plaintext() {
            let mut tls = ClientTlsConfig::new();
            if let Some(file) = &self.authorities {
                tls = tls.ca_certificate(Certificate::from_pem(read(file)?));
            }
            if let Some(name) = &self.server_name {
                tls = tls.domain_name(name);
            }
            if let (Some(certificates), Some(key)) = (&self.certificates, &self.key) {
                tls = tls.identity(Identity::from_pem(read(certificates)?, read(key)?));
            }
            endpoint = endpoint.tls_config(tls)?;
        }
        Ok(Link::remote(endpoint.connect_lazy()))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, PeerError> {
    std::fs::read(file).map_err(|source| PeerError::File {
        file: file.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(profile: Profile, endpoint: &str) -> usize {
        let config = PeerConfig {
            endpoint: endpoint.to_owned(),
            authorities: Some("ca.pem".into()),
            ..PeerConfig::default()
        };
        let mut problems = Problems::new();
        config.check(profile, &mut problems);
        problems.len()
    }

    #[test]
    fn plaintext_stays_on_this_machine_in_production() {
        assert_eq!(problems(Profile::Production, "https://consent:1"), 0);
        assert_eq!(problems(Profile::Production, "http://127.0.0.1:1"), 0);
        assert_eq!(problems(Profile::Production, "http://consent:1"), 1);
        assert_eq!(problems(Profile::Local, "http://consent:1"), 0);
        assert_eq!(problems(Profile::Local, "consent:1"), 1);
        assert_eq!(problems(Profile::Local, ""), 1);
    }
}
