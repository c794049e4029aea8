//! The next hop, and how a connection to it is opened.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use publica_types::Secret;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::connection::{Capabilities, Connection};
use crate::domain::reply::{Class, Reply};

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TlsMode {
    /// Not at all; only for a relay on the same machine.
    None,
    /// Upgraded before anything is said (RFC 3207). A relay that does not offer it is refused.
    #[default]
    StartTls,
    /// From the first byte (RFC 8314).
    Implicit,
}

/// The server that takes our mail.
pub(crate) struct Hop {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: TlsMode,
    pub(crate) helo: String,
    pub(crate) credentials: Option<(String, Secret<String>)>,
    pub(crate) connect_timeout: Duration,
    pub(crate) command_timeout: Duration,
    pub(crate) answer_timeout: Duration,
    connector: TlsConnector,
}

/// Why no connection could be opened. Nothing was sent in any of these cases.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HopError {
    #[error("the relay cannot be reached")]
    Connect(#[source] std::io::Error),
    #[error("the relay did not answer in time")]
    Timeout,
    #[error("the relay broke off or said what is not SMTP")]
    Broken,
    #[error("the relay refused with {}", .0.code)]
    Refused(Reply),
    #[error("the relay does not offer STARTTLS")]
    NoTls,
    #[error("the relay does not offer AUTH PLAIN over TLS")]
    NoAuth,
    #[error("the relay's name is no host name")]
    Name,
    #[error("the trusted certificates cannot be read: {0}")]
    Roots(String),
}

impl Hop {
    /// A hop that trusts the certificates in `ca_pem`, or the public roots when there are none.
    pub(crate) fn new(
        host: String,
        port: u16,
        tls: TlsMode,
        ca_pem: Option<&str>,
    ) -> Result<Self, HopError> {
        Ok(Self {
            host,
            port,
            tls,
            helo: "localhost".to_owned(),
            credentials: None,
            connect_timeout: Duration::from_secs(30),
            command_timeout: Duration::from_mins(5),
            answer_timeout: Duration::from_mins(10),
            connector: connector(ca_pem)?,
        })
    }

    /// Opens a connection that is ready for its first transaction.
    pub(crate) async fn open(&self) -> Result<Connection, HopError> {
        let opened = tokio::time::timeout(self.connect_timeout, self.try_open()).await;
        opened.map_err(|_| HopError::Timeout)?
    }

    async fn try_open(&self) -> Result<Connection, HopError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(HopError::Connect)?;
        stream.set_nodelay(true).map_err(HopError::Connect)?;
        let timeouts = (self.command_timeout, self.answer_timeout);
        let mut connection = match self.tls {
            TlsMode::Implicit => Connection::new(self.secure(stream).await?, timeouts),
            TlsMode::None => Connection::new(Box::new(stream), timeouts),
            TlsMode::StartTls => {
                let mut plain = Connection::new(Box::new(stream), timeouts);
                greeting(&mut plain).await?;
                let offered = self.hello(&mut plain).await?;
                if !offered.starttls {
                    return Err(HopError::NoTls);
                }
                expect(plain.command("STARTTLS").await)?;
                let stream = plain.into_plain().ok_or(HopError::Broken)?;
                let mut secure = Connection::new(self.secure(stream).await?, timeouts);
                secure.capabilities = self.hello(&mut secure).await?;
                self.login(&mut secure).await?;
                return Ok(secure);
            }
        };
        greeting(&mut connection).await?;
        connection.capabilities = self.hello(&mut connection).await?;
        self.login(&mut connection).await?;
        Ok(connection)
    }

    async fn secure(&self, stream: TcpStream) -> Result<Box<dyn Io>, HopError> {
        let name = ServerName::try_from(self.host.clone()).map_err(|_| HopError::Name)?;
        let stream = self
            .connector
            .connect(name, stream)
            .await
            .map_err(HopError::Connect)?;
        Ok(Box::new(stream))
    }

    async fn hello(&self, connection: &mut Connection) -> Result<Capabilities, HopError> {
        let hello = format!("EHLO {}", self.helo);
        let (reply, lines) = connection
            .command(&hello)
            .await
            .map_err(|()| HopError::Broken)?;
        if reply.class() == Class::Success {
            return Ok(Capabilities::read(&lines));
        }
        // A server of before 2001; it gets the plain protocol.
        expect(connection.command(&format!("HELO {}", self.helo)).await)?;
        Ok(Capabilities::default())
    }

    async fn login(&self, connection: &mut Connection) -> Result<(), HopError> {
        let Some((user, password)) = &self.credentials else {
            return Ok(());
        };
        if !connection.capabilities.auth_plain || self.tls == TlsMode::None {
            return Err(HopError::NoAuth);
        }
        let secret = format!("\0{user}\0{}", password.expose());
        let secret = base64::engine::general_purpose::STANDARD.encode(secret);
        expect(connection.command(&format!("AUTH PLAIN {secret}")).await)
    }
}

impl std::fmt::Debug for Hop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hop")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// TLS that trusts the certificates in `ca_pem`, or the public roots when there are none.
pub(crate) fn connector(ca_pem: Option<&str>) -> Result<TlsConnector, HopError> {
    let roots = |error: &dyn std::fmt::Display| HopError::Roots(error.to_string());
    let mut store = rustls::RootCertStore::empty();
    if let Some(pem) = ca_pem {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| roots(&error))?;
            store.add(certificate).map_err(|error| roots(&error))?;
        }
    } else {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| roots(&error))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn greeting(connection: &mut Connection) -> Result<(), HopError> {
    expect(connection.answer().await)
}

fn expect(answer: Result<(Reply, Vec<String>), ()>) -> Result<(), HopError> {
    match answer {
        Ok((reply, _)) if reply.class() == Class::Success => Ok(()),
        Ok((reply, _)) => Err(HopError::Refused(reply)),
        Err(()) => Err(HopError::Broken),
    }
}

/// A byte stream to the hop.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send + Sync {
    /// The bare connection, where there is nothing around it.
    fn plain(self: Box<Self>) -> Option<TcpStream> {
        None
    }
}

impl Io for TcpStream {
    fn plain(self: Box<Self>) -> Option<TcpStream> {
        Some(*self)
    }
}

impl Io for tokio_rustls::client::TlsStream<TcpStream> {}
