//! One gRPC address for many blocks.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::Code;
use tonic::body::Body;
use tower::Service;

use crate::fault::{Refusal, status_of};
use crate::link::unreachable;
use crate::{Link, Peers};

/// Names the block that a call is for, where the service alone does not tell: each block
/// serves the journal, work, import and health services.
pub const BLOCK: &str = "x-publica-block";

/// Hands each gRPC call to the block it is for, and adds no credentials of its own. The
/// package `publica.<block>.v1` names the block; for the services that every block offers, the
/// header [`BLOCK`] does.
#[derive(Debug, Clone)]
pub struct Switch {
    links: std::sync::Arc<Vec<(String, Link)>>,
}

impl Switch {
    /// A switch to the named blocks of a directory.
    pub fn new(peers: &Peers, blocks: impl IntoIterator<Item = String>) -> Self {
        let links = blocks.into_iter().map(|name| {
            let link = peers.forward(&name);
            (name, link)
        });
        Self {
            links: std::sync::Arc::new(links.collect()),
        }
    }

    fn find(&self, request: &Request<Body>) -> Result<&Link, Refusal> {
        let of = |wanted: &str| self.links.iter().find(|(name, _)| name == wanted);
        let package = request
            .uri()
            .path()
            .strip_prefix("/publica.")
            .unwrap_or_default();
        let package = package.split('.').next().unwrap_or_default();
        let named = request
            .headers()
            .get(BLOCK)
            .and_then(|value| value.to_str().ok());
        if let Some((_, link)) = of(package).or_else(|| of(named?)) {
            return Ok(link);
        }
        Err(match named {
            Some(_) => Refusal::new(
                Code::Unimplemented,
                "BLOCK_UNKNOWN",
                "The header x-publica-block names no block that is served here.",
            ),
            None => Refusal::new(
                Code::Unimplemented,
                "METHOD_UNKNOWN",
                "No block served here has this method; for a service that every block has, \
                 name the block in the header x-publica-block.",
            ),
        })
    }
}

impl Service<Request<Body>> for Switch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.find(&request) {
            Ok(link) => {
                let answer = link.send(request);
                Box::pin(async move {
                    Ok(answer
                        .await
                        .unwrap_or_else(|error| unreachable(error).into_http()))
                })
            }
            Err(refusal) => Box::pin(std::future::ready(Ok(status_of(&refusal).into_http()))),
        }
    }
}
