//! Asks a running suite how it is, at its admin port.

use std::error::Error as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use publica_host::{Profile, TlsConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use super::Findings;
use crate::settings::Suite;

const PROBE_LIMIT: Duration = Duration::from_secs(3);

/// Asks a running suite how it is.
pub(super) async fn probe(suite: &Suite, findings: &mut Findings) {
    let tls = suite.admin.tls.as_ref();
    let file = tls.map(|tls| tls.certificates.clone()).unwrap_or_default();
    let (scheme, client) = match prober(tls) {
        Ok(prober) => prober,
        Err(error) => return findings.note(format!("no probe: {error:#}")),
    };
    let url = format!("{scheme}://{}/readyz", reachable(suite.admin.listen));
    match client.get(&url).send().await {
        // Another certificate than the one in the settings is another matter than nobody there.
        Err(error) if is_stranger(&error) => findings.bad(format!(
            "{url} shows another certificate than {}",
            file.display()
        )),
        Err(_) => findings.note(format!("nothing answers at {url}")),
        Ok(answer) if answer.status().is_success() => {
            findings.good("the running suite is ready");
            peers(answer, findings).await;
        }
        Ok(answer) => {
            let text = answer.text().await.unwrap_or_default();
            findings.bad(format!("the running suite is not ready: {text}"));
        }
    }
    if suite.profile == Profile::Conformance {
        findings.note("the conformance profile lets anonymous callers in");
    }
}

/// How the admin port is asked: on TLS the program's own certificate is what must be shown there,
/// whatever name it has, since the address is that of this machine.
fn prober(tls: Option<&TlsConfig>) -> Result<(&'static str, reqwest::Client)> {
    let builder = reqwest::Client::builder().timeout(PROBE_LIMIT);
    let Some(tls) = tls else {
        return Ok(("http", builder.no_proxy().build()?));
    };
    ensure!(
        !tls.client_required,
        "the admin port asks for a certificate of whoever probes it"
    );
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let shown = Shown::read(&tls.certificates, provider.clone())?;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(shown))
        .with_no_client_auth();
    let builder = builder.no_proxy().tls_backend_preconfigured(config);
    Ok(("https", builder.build()?))
}

/// Who listens on every address is reached on the loopback one.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listen
}

async fn peers(answer: reqwest::Response, findings: &mut Findings) {
    let Ok(body) = answer.json::<serde_json::Value>().await else {
        return;
    };
    for (block, missing) in body["missing_peers"].as_object().into_iter().flatten() {
        findings.note(format!("{block} runs without these peers: {missing}"));
    }
}

/// The certificate that the settings name, which is all that is accepted.
#[derive(Debug)]
struct Shown {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl Shown {
    fn read(file: &Path, provider: Arc<CryptoProvider>) -> Result<Self> {
        let certificate = CertificateDer::from_pem_file(file);
        let name = || format!("reading {}", file.display());
        Ok(Self {
            certificate: certificate.with_context(name)?,
            provider,
        })
    }
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Whether a probe failed since somebody else answered.
fn is_stranger(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.to_string().contains("ApplicationVerificationFailure") {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_reached_on_loopback() {
        for (listen, reached) in [
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("[::]:9090", "[::1]:9090"),
            ("10.0.0.7:9090", "10.0.0.7:9090"),
        ] {
            let reachable = reachable(listen.parse().unwrap());
            assert_eq!(reachable.to_string(), reached);
        }
    }
}
