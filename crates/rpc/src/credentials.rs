//! How a block proves itself to its peers.

use std::fmt;

use http::HeaderValue;
use publica_auth::TokenSource;
use publica_types::Tenant;
use tonic::Code;

use crate::Refusal;

/// Proves to a peer who calls.
pub trait Credentials: fmt::Debug + Send + Sync {
    /// The value of the header `authorization` for a call to `peer` in `tenant`.
    fn authorization(&self, peer: &str, tenant: &Tenant) -> Result<HeaderValue, Refusal>;
}

/// Workload tokens of a block. One for a call to `consent` allows `consent:*` and nothing else,
/// so a token that leaks from one peer opens no other.
#[derive(Debug, Clone)]
pub struct WorkloadCredentials {
    tokens: TokenSource,
    subject: String,
}

impl WorkloadCredentials {
    /// Credentials of the named block.
    pub fn new(tokens: TokenSource, block: &str) -> Self {
        Self {
            tokens,
            subject: format!("block:{block}"),
        }
    }
}

impl Credentials for WorkloadCredentials {
    fn authorization(&self, peer: &str, tenant: &Tenant) -> Result<HeaderValue, Refusal> {
        self.tokens
            .bearer(&self.subject, [format!("{peer}:*")], tenant)
            .map_err(|error| {
                tracing::error!(error = %error, "a workload token cannot be minted");
                let message = "This block cannot prove itself to its peers.";
                Refusal::new(Code::Internal, "WORKLOAD_TOKEN_UNAVAILABLE", message)
            })
    }
}
