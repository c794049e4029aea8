//! What one listener serves: gRPC to blocks, health and reflection, and web pages beside them.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::response::IntoResponse as _;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode, header};
use http_body_util::Either;
use hyper::body::Incoming;
use publica_rpc::{BLOCK, Link, Switch};
use tonic::body::Body;
use tonic::service::Routes;
use tower::{Service as _, ServiceExt as _};

/// The body of an answer, whichever side gave it.
pub(crate) type FrontBody = Either<Body, axum::body::Body>;

/// Everything behind one listener.
#[derive(Clone)]
pub struct Front {
    open: Routes,
    blocks: Blocks,
    web: Option<axum::Router>,
}

#[derive(Clone)]
enum Blocks {
    None,
    One(Link),
    Many(Switch),
}

impl Front {
    /// One block alone.
    pub fn block(link: Link) -> Self {
        Self {
            open: Routes::default(),
            blocks: Blocks::One(link),
            web: None,
        }
    }

    /// Several blocks behind one address, and web pages beside them on the same port.
    pub fn gateway(switch: Switch, web: axum::Router) -> Self {
        Self {
            open: Routes::default(),
            blocks: Blocks::Many(switch),
            web: Some(web),
        }
    }

    /// Web pages alone.
    pub fn web(web: axum::Router) -> Self {
        Self {
            open: Routes::default(),
            blocks: Blocks::None,
            web: Some(web),
        }
    }

    /// Services of a gateway itself that need no caller: health and reflection.
    pub fn with_open(mut self, open: Routes) -> Self {
        self.open = open.prepare();
        self
    }

    pub(crate) fn call(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> BoxFuture<'static, Result<Response<FrontBody>, Infallible>> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if grpc && !matches!(self.blocks, Blocks::None) {
            let mut request = request.map(Body::new);
            connection.describe(&mut request);
            return self.grpc(request);
        }
        match &self.web {
            Some(web) => {
                let mut request = request.map(axum::body::Body::new);
                connection.describe(&mut request);
                request
                    .extensions_mut()
                    .insert(ConnectInfo(connection.peer));
                let answer = web.clone().oneshot(request);
                Box::pin(async move { Ok(answer.await?.map(Either::Right)) })
            }
            None => {
                let answer = (
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "This port speaks gRPC.\n",
                );
                let answer = answer.into_response().map(Either::Right);
                Box::pin(std::future::ready(Ok(answer)))
            }
        }
    }

    fn grpc(
        &self,
        request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<FrontBody>, Infallible>> {
        // A block alone has these services behind its link.
        let many = matches!(self.blocks, Blocks::Many(_));
        let own = many && !request.headers().contains_key(BLOCK);
        if own && request.uri().path().starts_with("/grpc.") {
            let answer = self.open.clone().oneshot(request);
            return Box::pin(async move { Ok(answer.await?.map(Either::Left)) });
        }
        match &self.blocks {
            Blocks::One(link) => {
                let answer = link.clone().call(request);
                Box::pin(async move {
                    let answer = answer.await.unwrap_or_else(|error| lost(&*error));
                    Ok(answer.map(Either::Left))
                })
            }
            Blocks::Many(switch) => {
                let answer = switch.clone().call(request);
                Box::pin(async move { Ok(answer.await?.map(Either::Left)) })
            }
            Blocks::None => Box::pin(std::future::ready(Ok(nothing().map(Either::Left)))),
        }
    }
}

/// A local link never fails on its own; this is for one that does all the same.
fn lost(error: &(dyn std::error::Error + 'static)) -> Response<Body> {
    tracing::error!(error = %error, "a call was lost inside the process");
    tonic::Status::internal("Something went wrong on our side.").into_http()
}

fn nothing() -> Response<Body> {
    tonic::Status::unimplemented("There is no such method here.").into_http()
}

/// What is known of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    pub(crate) certificates: Option<publica_auth::PeerCertificates>,
}

impl Connection {
    fn describe<B>(&self, request: &mut Request<B>) {
        // A caller cannot forge these: they are set here and never read from the wire.
        if let Some(certificates) = &self.certificates {
            request.extensions_mut().insert(certificates.clone());
        }
    }
}
