//! The odd block on a socket, and what a test needs around it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use publica_auth::{AuthConfig, TokenSource, Verifier};
use publica_host::{
    Block as _, Ending, Front, Listener, Mounted, Readiness, Requests, Stages, StopTimes,
    TlsConfig, admin, mount, reflect, serve, stop_in_order,
};
use publica_rpc::Limits;
use publica_types::{SystemClock, SystemEntropy, Tenant};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tower::ServiceExt as _;

use crate::odd::Odd;

pub(crate) struct Stage {
    pub(crate) block: Odd,
    pub(crate) readiness: Readiness,
    pub(crate) requests: mpsc::Sender<()>,
    received: Option<mpsc::Receiver<()>>,
    address: SocketAddr,
    tokens: TokenSource,
    stages: Stages,
    tracker: TaskTracker,
    authority: Option<Authority>,
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Stage {
    pub(crate) async fn plain() -> Self {
        Self::start(None).await
    }

    pub(crate) async fn encrypted() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self::start(Some(Authority { issuer, folder })).await
    }

    async fn start(authority: Option<Authority>) -> Self {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let tokens = TokenSource::ephemeral(clock.clone(), entropy.clone()).unwrap();
        let trust_domain = Some("gov.example".to_owned());
        let config = AuthConfig {
            trust_domain,
            ..AuthConfig::default()
        };
        let verifier = Arc::new(Verifier::open(&config, Some(&tokens), clock).unwrap());
        let (block, stages, tracker) = (Odd::default(), Stages::new(), TaskTracker::new());
        let (readiness, health) = Readiness::new();
        let open = reflect(health, Odd::descriptors()).unwrap();
        let mounted = mount(
            &block,
            open,
            verifier,
            &[],
            Limits::default(),
            &stages,
            &*entropy,
        );
        ready(&readiness, &mounted, &block).await;
        let tls = authority
            .as_ref()
            .map(|authority| authority.tls().acceptor().unwrap().0);
        let here = (Ipv4Addr::LOCALHOST, 0).into();
        let listener = Listener::bind(here, tls).await.unwrap();
        let address = listener.address().unwrap();
        let (running, stop) = (block.clone(), stages.stop_token());
        tracker.spawn(async move { running.run(stop).await });
        let (front, watched, all) = (Front::block(mounted.link), stages.clone(), tracker.clone());
        tracker.spawn(async move { serve(listener, front, &watched, &all).await });
        let (requests, received) = mpsc::channel(2);
        let received = Some(received);
        Self {
            block,
            readiness,
            requests,
            received,
            address,
            tokens,
            stages,
            tracker,
            authority,
        }
    }

    pub(crate) fn token(&self, subject: &str, scopes: &[&str]) -> String {
        let (tenant, life) = (Tenant::default(), Duration::from_secs(60));
        self.tokens.mint(subject, scopes, &tenant, life).unwrap()
    }

    pub(crate) async fn channel(&self) -> Channel {
        self.try_channel().await.unwrap()
    }

    pub(crate) async fn try_channel(&self) -> Result<Channel, tonic::transport::Error> {
        Endpoint::from_shared(format!("http://{}", self.address))?
            .connect()
            .await
    }

    pub(crate) async fn probe(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = admin(self.readiness.clone(), None)
            .oneshot(request)
            .await
            .unwrap();
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), 64 * 1024)
            .await
            .unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Asks to stop as soon as a call is at work, and waits for the end.
    pub(crate) async fn stop(&mut self, times: StopTimes) -> Ending {
        let requests = Requests::Channel(self.received.take().unwrap());
        let stopping = stop_in_order(
            requests,
            &self.readiness,
            &self.stages,
            &self.tracker,
            times,
        );
        let asking = async {
            self.block.busy().await;
            self.requests.send(()).await.unwrap();
        };
        tokio::join!(stopping, asking).0
    }

    pub(crate) async fn secure_channel(
        &self,
        uri: Option<&str>,
    ) -> Result<Channel, tonic::transport::Error> {
        let authority = self.authority.as_ref().unwrap();
        let root = Certificate::from_pem(authority.issuer.pem());
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(root)
            .domain_name("localhost");
        if let Some(uri) = uri {
            let (certificate, key) = authority.issue(&[SanType::URI(uri.try_into().unwrap())]);
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address))?;
        endpoint.tls_config(tls)?.connect().await
    }

    pub(crate) async fn handshake(
        &self,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> std::io::Result<()> {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(self.authority.as_ref().unwrap().issuer.der().clone())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map(drop)
    }
}

async fn ready(readiness: &Readiness, mounted: &Mounted, block: &Odd) {
    let checked = block.clone();
    readiness
        .add(mounted, move || {
            let block = checked.clone();
            Box::pin(async move { publica_host::Block::check(&block).await })
        })
        .await;
    for peer in mounted.optional_peers {
        readiness.missing_peer(mounted.name, peer);
    }
    readiness.started().await;
}

impl Authority {
    fn issue(&self, names: &[SanType]) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names.to_vec();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn tls(&self) -> TlsConfig {
        let (certificate, key) = self.issue(&[SanType::DnsName("localhost".try_into().unwrap())]);
        let folder = self.folder.path();
        let file = |name: &str, content: String| {
            std::fs::write(folder.join(name), content).unwrap();
            folder.join(name)
        };
        TlsConfig {
            certificates: file("server.pem", certificate),
            key: file("server.key", key),
            client_authorities: Some(file("ca.pem", self.issuer.pem())),
            client_required: false,
        }
    }
}
