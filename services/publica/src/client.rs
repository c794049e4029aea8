//! The suite as a client sees it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use crate::cli::ClientArgs;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longest call of a journal: it counts a long log before it signs for it.
const CALL_LIMIT: Duration = Duration::from_secs(1_800);
/// Largest answer: a page of entries with long bodies.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A connection to the gateway or to a block, and what to show there.
pub(crate) struct Client {
    channel: Channel,
    authorization: MetadataValue<Ascii>,
}

impl Client {
    /// Opens the connection on first use.
    pub(crate) fn connect(args: &ClientArgs) -> Result<Self> {
        let channel = channel(&args.to, args.authorities.as_deref())?;
        let file = match &args.token_file {
            Some(file) => file.clone(),
            None => args.data.join("admin.token"),
        };
        let token = std::fs::read_to_string(&file).with_context(|| {
            format!(
                "reading the token in {} (see `publica help token`)",
                file.display()
            )
        })?;
        let authorization = format!("Bearer {}", token.trim());
        let authorization = authorization
            .parse()
            .context("the token has odd characters")?;
        Ok(Self {
            channel,
            authorization,
        })
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The journal of a block.
    pub(crate) fn journal(&self, block: &str) -> JournalServiceClient<Journal> {
        let caller = Caller {
            authorization: self.authorization.clone(),
            block: block.parse().ok(),
        };
        let service = InterceptedService::new(self.channel.clone(), caller);
        JournalServiceClient::new(service).max_decoding_message_size(MAX_ANSWER)
    }

    /// Adds who calls, and which block is meant.
    pub(crate) fn address<T>(&self, request: &mut Request<T>, block: &str) {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.authorization.clone());
        if let Ok(block) = block.parse() {
            metadata.insert(publica_rpc::BLOCK, block);
        }
    }
}

/// The way to a journal.
pub(crate) type Journal = InterceptedService<Channel, Caller>;

/// Adds to each call who calls, which block is meant, and how long it may take.
#[derive(Clone)]
pub(crate) struct Caller {
    authorization: MetadataValue<Ascii>,
    block: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.set_timeout(CALL_LIMIT);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.authorization.clone());
        if let Some(block) = &self.block {
            metadata.insert(publica_rpc::BLOCK, block.clone());
        }
        Ok(request)
    }
}

fn channel(to: &str, authorities: Option<&Path>) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(to.to_owned())
        .with_context(|| format!("{to} is no address such as http://127.0.0.1:8080"))?
        .connect_timeout(CONNECT_LIMIT);
    if to.starts_with("http://") {
        if authorities.is_some() {
            bail!("--authorities is for https addresses");
        }
        return Ok(endpoint.connect_lazy());
    }
    let mut tls = ClientTlsConfig::new();
    if let Some(file) = authorities {
        let pem = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        tls = tls.ca_certificate(Certificate::from_pem(pem));
    } else {
        bail!("https addresses need --authorities, the file of authorities to trust");
    }
    Ok(endpoint.tls_config(tls)?.connect_lazy())
}
