//! Callers that prove themselves by a certificate with a SPIFFE id.

use std::sync::Arc;

use publica_types::Tenant;
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::{AuthConfig, Caller, CallerKind, Denial};

/// The verified certificate chain of a connection's peer, its own certificate first. The
/// listener that ended TLS puts it into the extensions of each request; its trust in the
/// chain is the listener's business, what the certificate says is read here.
#[derive(Debug, Clone)]
pub struct PeerCertificates(pub Arc<Vec<CertificateDer<'static>>>);

/// Which workloads are known.
#[derive(Debug)]
pub(crate) struct Workloads {
    domain: Option<String>,
    known: Vec<(String, String, Vec<String>)>,
}

impl Workloads {
    pub(crate) fn new(config: &AuthConfig) -> Self {
        let known = config.workloads.iter();
        Self {
            domain: config.trust_domain.clone(),
            known: known
                .map(|one| (one.path.clone(), one.block.clone(), one.scopes.clone()))
                .collect(),
        }
    }

    /// The block whose certificate this is.
    pub(crate) fn caller(&self, chain: &[CertificateDer<'static>]) -> Result<Caller, Denial> {
        let domain = self.domain.as_deref().ok_or(Denial::WorkloadUnknown)?;
        let leaf = chain.first().ok_or(Denial::WorkloadUnknown)?;
        let certificate =
            EndEntityCert::try_from(leaf).map_err(|_| Denial::CredentialsMalformed)?;
        // The SPIFFE rule: one URI name and no more, or the id would be ambiguous.
        let mut names = certificate.valid_uri_names();
        let (Some(id), None) = (names.next(), names.next()) else {
            return Err(Denial::WorkloadUnknown);
        };
        let path = path_of(id, domain).ok_or(Denial::WorkloadUnknown)?;
        let listed = self.known.iter().find(|(known, ..)| known == path);
        let (block, scopes) = if let Some((_, block, scopes)) = listed {
            (block.as_str(), scopes.clone())
        } else {
            let name = path
                .strip_prefix("/block/")
                .filter(|name| !name.contains('/'));
            (name.ok_or(Denial::WorkloadUnknown)?, vec!["*".to_owned()])
        };
        Ok(Caller {
            subject: format!("block:{block}"),
            issuer: None,
            client_id: Some(id.to_owned()),
            affiliation: None,
            scopes: scopes.into_iter().collect(),
            tenant: Tenant::default(),
            kind: CallerKind::Block,
        })
    }
}

/// The path of a SPIFFE id in this trust domain, if it is well-formed.
fn path_of<'a>(id: &'a str, domain: &str) -> Option<&'a str> {
    let rest = id.strip_prefix("spiffe://")?.strip_prefix(domain)?;
    let segments = rest.strip_prefix('/')?;
    let sound = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    (id.len() <= 2_048 && segments.split('/').all(sound)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;
    use crate::WorkloadConfig;

    fn certificate(uris: &[&str]) -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::new(vec!["payments.internal".to_owned()]).unwrap();
        for uri in uris {
            params
                .subject_alt_names
                .push(SanType::URI((*uri).try_into().unwrap()));
        }
        let key = KeyPair::generate().unwrap();
        vec![params.self_signed(&key).unwrap().der().clone()]
    }

    #[test]
    fn one_id_of_the_domain_names_a_block() {
        let config = AuthConfig {
            trust_domain: Some("gov.example".to_owned()),
            workloads: vec![WorkloadConfig {
                path: "/ns/publica/sa/pay".to_owned(),
                block: "payments".to_owned(),
                scopes: vec!["consent:*".to_owned()],
            }],
            ..AuthConfig::default()
        };
        let workloads = Workloads::new(&config);
        let caller = |uris: &[&str]| workloads.caller(&certificate(uris));
        let block = caller(&["spiffe://gov.example/block/messaging"]).unwrap();
        assert_eq!(
            (block.subject.as_str(), block.kind),
            ("block:messaging", CallerKind::Block)
        );
        assert!(block.allows("consent:record:read"));
        let listed = caller(&["spiffe://gov.example/ns/publica/sa/pay"]).unwrap();
        assert_eq!(listed.subject, "block:payments");
        assert!(!listed.allows("messaging:message:send"));
        for bad in [
            &[][..],
            &[
                "spiffe://gov.example/block/a",
                "spiffe://gov.example/block/b",
            ],
            &["spiffe://gov.example.evil/block/a"],
            &["spiffe://evil/block/a"],
            &["spiffe://gov.example/block/a/b"],
            &["spiffe://gov.example/block/"],
            &["spiffe://gov.example/block/../block/a"],
            &["spiffe://gov.example/ns/publica/sa/other"],
            &["https://gov.example/block/a"],
        ] {
            assert!(caller(bad).is_err(), "{bad:?}");
        }
        assert!(workloads.caller(&[]).is_err());
        assert!(
            workloads
                .caller(&[CertificateDer::from(vec![1, 2, 3])])
                .is_err()
        );
        let none = Workloads::new(&AuthConfig::default());
        assert!(
            none.caller(&certificate(&["spiffe://gov.example/block/a"]))
                .is_err()
        );
    }
}
