//! The way to a block, in this process or across the network.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status, TimeoutExpired};
use tower::util::ServiceExt as _;
use tower::{BoxError, Service};

use crate::fault::{Refusal, status_of};

/// What a call over a link gives.
pub(crate) type Answer = BoxFuture<'static, Result<Response<Body>, BoxError>>;

/// Carries calls to a block. Generated clients are generic over any such service, so it makes
/// no difference to them whether the block lives here or elsewhere. Cloning is cheap.
///
/// ```no_run
/// # use publica_rpc::Link;
/// # fn routes() -> tonic::service::Routes { tonic::service::Routes::default() }
/// # use publica_proto::consent::v1::consent_service_client::ConsentServiceClient;
/// let consent = ConsentServiceClient::new(Link::local(routes()));
/// ```
#[derive(Clone)]
pub struct Link(Arc<dyn Transport>);

pub(crate) trait Transport: Send + Sync {
    fn call(&self, request: Request<Body>) -> Answer;
}

impl Link {
    /// A link to a block in this process. `service` is its routes with all layers around them,
    /// so an in-process call meets the same checks as one from the network.
    pub fn local<S, B>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Arc::new(Local(service)))
    }

    /// A link over a network channel.
    pub fn remote(channel: Channel) -> Self {
        Self(Arc::new(Remote(channel)))
    }

    /// A link that hands each request to `carry`: for decorators, such as those that lose or
    /// delay calls in a test.
    pub fn carried_by<F>(carry: F) -> Self
    where
        F: Fn(Request<Body>) -> BoxFuture<'static, Result<Response<Body>, BoxError>>,
        F: Send + Sync + 'static,
    {
        Self(Arc::new(carry))
    }

    pub(crate) fn over(transport: impl Transport + 'static) -> Self {
        Self(Arc::new(transport))
    }

    pub(crate) fn send(&self, request: Request<Body>) -> Answer {
        self.0.call(request)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

impl Service<Request<Body>> for Link {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        self.0.call(request)
    }
}

struct Local<S>(S);

impl<S, B> Transport for Local<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn call(&self, request: Request<Body>) -> Answer {
        let call = self.0.clone().oneshot(request);
        Box::pin(async move {
            match call.await {
                Ok(response) => Ok(response.map(Body::new)),
                Err(never) => match never {},
            }
        })
    }
}

struct Remote(Channel);

impl Transport for Remote {
    fn call(&self, request: Request<Body>) -> Answer {
        let call = self.0.clone().oneshot(request);
        Box::pin(async move {
            let answer = match call.await {
                Ok(response) => response.map(|body| Body::new(body.map_err(lost))),
                Err(error) => unreachable(error.into()).into_http(),
            };
            Ok(answer)
        })
    }
}

/// What a caller is told when a call did not come to the block, or its answer not back. The
/// caller may try again, under the same request id.
pub(crate) fn unreachable(error: BoxError) -> Status {
    if is_late(&*error) {
        return status_of(&Refusal::new(
            Code::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            "The block did not answer in time.",
        ));
    }
    lost(Status::from_error(error))
}

/// Whether the channel itself gave the call up since its time was over.
fn is_late(error: &(dyn Error + 'static)) -> bool {
    error.is::<TimeoutExpired>() || error.source().is_some_and(is_late)
}

/// The framework has no code of its own for a connection that broke; other codes say more. It
/// calls a call that waited for a connection cancelled when that connection goes away; a caller
/// who had cancelled would not be here to see it.
fn lost(status: Status) -> Status {
    match status.code() {
        Code::Unknown | Code::Internal | Code::Unavailable | Code::Cancelled => {
            tracing::warn!(error = %status.message(), "a block cannot be reached");
            let message = "The block cannot be reached at present.";
            status_of(&Refusal::new(
                Code::Unavailable,
                "PEER_UNREACHABLE",
                message,
            ))
        }
        _ => status,
    }
}

impl<F> Transport for F
where
    F: Fn(Request<Body>) -> Answer + Send + Sync + 'static,
{
    fn call(&self, request: Request<Body>) -> Answer {
        self(request)
    }
}
