//! TLS of listeners.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use publica_config::Problems;
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Renewed certificates are taken up within this time.
const RELOAD_INTERVAL: Duration = Duration::from_secs(60);

/// Files of a TLS listener, in PEM.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub struct TlsConfig {
    /// The certificate chain, the server's own certificate first.
    pub certificates: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// Authorities of client certificates. With it, a client that shows a certificate must show
    /// one of theirs; without it, none is asked for.
    pub client_authorities: Option<PathBuf>,
    /// Refuses clients without a certificate.
    pub client_required: bool,
}

/// TLS that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file does not hold what it should.
    #[error("{} holds no usable {what}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why it does not.
        #[source]
        source: Option<rustls_pki_types::pem::Error>,
    },
    /// Certificate and key do not go together, or an algorithm is unsupported.
    #[error("the certificate and its key cannot be used")]
    Unusable(#[source] rustls::Error),
    /// The client authorities cannot be used.
    #[error("the client authorities cannot be used")]
    Authorities(#[source] rustls::server::VerifierBuilderError),
}

impl TlsConfig {
    /// Reports files that are not named.
    pub fn check(&self, problems: &mut Problems) {
        for (key, file) in [("certificates", &self.certificates), ("key", &self.key)] {
            problems.require(!file.as_os_str().is_empty(), key, "must name a PEM file");
        }
        let authorities = self.client_authorities.is_some() || !self.client_required;
        problems.require(
            authorities,
            "client_authorities",
            "is needed to require certificates",
        );
    }

    /// TLS 1.3 alone, for gRPC and HTTP/1.1; and the certificates in use, for reloading.
    pub fn acceptor(&self) -> Result<(TlsAcceptor, Arc<Certificates>), TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Unusable)?;
        let builder = match &self.client_authorities {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let roots = Arc::new(roots(file)?);
                let mut verifier =
                    WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
                if !self.client_required {
                    verifier = verifier.allow_unauthenticated();
                }
                builder.with_client_cert_verifier(verifier.build().map_err(TlsError::Authorities)?)
            }
        };
        let certificates = Arc::new(Certificates::read(self.clone(), provider)?);
        let mut config = builder.with_cert_resolver(certificates.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok((TlsAcceptor::from(Arc::new(config)), certificates))
    }
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::File {
        file: file.to_owned(),
        what: "certificate",
        source,
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file)
        .map_err(|error| wrong(Some(error)))?
        .collect();
    let chain = chain.map_err(|error| wrong(Some(error)))?;
    if chain.is_empty() {
        Err(wrong(None))
    } else {
        Ok(chain)
    }
}

fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(file)? {
        roots.add(certificate).map_err(TlsError::Unusable)?;
    }
    Ok(roots)
}

/// The certificate in use. It is read again while serving, so that a renewed one needs no
/// restart.
#[derive(Debug)]
pub struct Certificates {
    config: TlsConfig,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificates {
    fn read(config: TlsConfig, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(certified(&config, &provider)?));
        Ok(Self {
            config,
            provider,
            current,
        })
    }

    /// Reads the files again from time to time, until `stop`. Files that cannot be used are
    /// reported, and the certificate in use stays.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RELOAD_INTERVAL) => self.reload(),
            }
        }
    }

    fn reload(&self) {
        match certified(&self.config, &self.provider) {
            Ok(certified) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                if current.cert != certified.cert {
                    tracing::info!("a renewed certificate is in use");
                    *current = Arc::new(certified);
                }
            }
            Err(error) => tracing::error!(error = %error, "the certificate cannot be renewed"),
        }
    }
}

fn certified(config: &TlsConfig, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(|error| TlsError::File {
        file: config.key.clone(),
        what: "private key",
        source: Some(error),
    })?;
    CertifiedKey::from_der(chain(&config.certificates)?, key, provider).map_err(TlsError::Unusable)
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(
            self.current
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }
}
