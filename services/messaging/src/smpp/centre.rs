//! A message centre, and how a session with it begins.

use std::str::FromStr;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use publica_types::Secret;
use rusmpp_core::CommandStatus;
use rusmpp_core::command::owned::Command;
use rusmpp_core::pdus::owned::{BindTransceiver, Pdu};
use rusmpp_core::tokio_codec::CommandCodec;
use rusmpp_core::types::owned::COctetString;
use rusmpp_core::values::InterfaceVersion;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::codec::Framed;

use crate::domain::receipt::IdForm;
use crate::smtp::Io;

/// Largest PDU that is read.
const PDU_MAX: usize = 16 * 1024;

/// The frames of a session.
pub(super) type Frames = Framed<Box<dyn Io>, CommandCodec>;

/// Who we are to a centre.
pub(crate) struct Credentials {
    pub(crate) system_id: String,
    pub(crate) password: Secret<String>,
    pub(crate) system_type: String,
}

/// A message centre.
pub(crate) struct Centre {
    /// Under which its ids are kept.
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Without one the connection is plain.
    pub(crate) connector: Option<TlsConnector>,
    pub(crate) credentials: Credentials,
    pub(crate) ids: IdForm,
    pub(crate) connect_timeout: Duration,
    pub(crate) answer_timeout: Duration,
    pub(crate) enquire: Duration,
}

/// Why no session could begin. Nothing was sent in any of these cases.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CentreError {
    #[error("the message centre cannot be reached")]
    Connect(#[source] std::io::Error),
    #[error("the message centre did not answer in time")]
    Timeout,
    #[error("the message centre broke off or said what is not SMPP")]
    Broken,
    #[error("the message centre refused to bind with status {0:#x}")]
    Refused(u32),
    #[error("the message centre's name is no host name")]
    Name,
    #[error("{0} is too long, or has characters that SMPP does not know")]
    Setting(&'static str),
}

impl Centre {
    /// Begins a session that is bound to send and to receive.
    pub(super) async fn bind(&self) -> Result<Frames, CentreError> {
        let opened = tokio::time::timeout(self.connect_timeout, self.try_bind()).await;
        opened.map_err(|_| CentreError::Timeout)?
    }

    async fn try_bind(&self) -> Result<Frames, CentreError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(CentreError::Connect)?;
        stream.set_nodelay(true).map_err(CentreError::Connect)?;
        let stream: Box<dyn Io> = match &self.connector {
            None => Box::new(stream),
            Some(connector) => {
                let name = ServerName::try_from(self.host.clone());
                let name = name.map_err(|_| CentreError::Name)?;
                let secure = connector.connect(name, stream).await;
                Box::new(secure.map_err(CentreError::Connect)?)
            }
        };
        let mut frames = Framed::new(stream, CommandCodec::new().with_max_length(PDU_MAX));
        let bind = self.request()?;
        let command = Command::new(CommandStatus::EsmeRok, 1, bind);
        frames
            .send(command)
            .await
            .map_err(|_| CentreError::Broken)?;
        loop {
            let Some(Ok(answer)) = frames.next().await else {
                return Err(CentreError::Broken);
            };
            if answer.sequence_number() != 1 {
                continue;
            }
            return match (answer.status(), answer.pdu()) {
                (CommandStatus::EsmeRok, Some(Pdu::BindTransceiverResp(_))) => Ok(frames),
                (CommandStatus::EsmeRok, _) => Err(CentreError::Broken),
                (status, _) => Err(CentreError::Refused(status.into())),
            };
        }
    }

    fn request(&self) -> Result<BindTransceiver, CentreError> {
        let credentials = &self.credentials;
        Ok(BindTransceiver {
            system_id: octets(&credentials.system_id, "system_id")?,
            password: octets(credentials.password.expose(), "password")?,
            system_type: octets(&credentials.system_type, "system_type")?,
            interface_version: InterfaceVersion::Smpp3_4,
            ..BindTransceiver::default()
        })
    }

    /// Whether the settings can be written in SMPP.
    pub(crate) fn check(&self) -> Result<(), CentreError> {
        self.request().map(drop)
    }
}

impl std::fmt::Debug for Centre {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Centre")
            .field("name", &self.name)
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

fn octets<const MAX: usize>(
    text: &str,
    what: &'static str,
) -> Result<COctetString<1, MAX>, CentreError> {
    COctetString::from_str(text).map_err(|_| CentreError::Setting(what))
}
