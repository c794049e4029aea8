//! Puts a block behind its layers.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use publica_auth::{AuthLayer, Verifier};
use publica_rpc::{Guard, Guarded, Limits, Link, MethodInfo, methods_of};
use publica_types::{Entropy, Tenant};
use tonic::body::Body;
use tonic::service::Routes;
use tower::{Layer as _, Service, ServiceExt as _};

use crate::{Block, Stages};

/// A block behind its layers, ready for a listener or for peers in the same process.
#[derive(Debug, Clone)]
pub struct Mounted {
    /// The block's name.
    pub name: &'static str,
    /// The way to it. Every call passes trace, metrics, caught panics, load shedding, deadline
    /// and authentication, from whichever side it comes.
    pub link: Link,
    /// The compiled definitions of its services.
    pub descriptors: &'static [&'static [u8]],
    /// What its services offer.
    pub methods: Vec<MethodInfo>,
    /// Peers without which some calls are refused.
    pub optional_peers: &'static [&'static str],
}

impl Mounted {
    /// Full names of the services.
    pub fn services(&self) -> BTreeSet<String> {
        let of = |method: &MethodInfo| {
            let path = method.path.trim_start_matches('/');
            path.split('/').next().unwrap_or_default().to_owned()
        };
        self.methods.iter().map(of).collect()
    }
}

/// Puts the layers around a block's routes. `open` holds what needs no caller: health and
/// reflection. Callers of other tenants than `tenants` are denied.
pub fn mount<B: Block>(
    block: &B,
    open: Routes,
    verifier: Arc<Verifier>,
    tenants: &[Tenant],
    limits: Limits,
    stages: &Stages,
    entropy: &dyn Entropy,
) -> Mounted {
    let methods = methods_of(B::descriptors());
    for (path, _) in B::policy() {
        if !methods.iter().any(|method| method.path == *path) {
            tracing::error!(
                block = B::NAME,
                path,
                "the policy names a method that is not served"
            );
        }
    }
    let mut auth = AuthLayer::new(verifier, B::policy()).with_tenants(tenants);
    if let Some(sink) = block.denial_sink() {
        auth = auth.with_sink(sink);
    }
    let authorised = auth.layer(block.routes().prepare());
    let guard = Guard::new(
        B::NAME,
        methods.clone(),
        limits,
        stages.stop_token(),
        entropy,
    );
    let doors = Doors {
        open: open.prepare(),
        guarded: guard.layer(authorised),
    };
    Mounted {
        name: B::NAME,
        link: Link::local(doors),
        descriptors: B::descriptors(),
        methods,
        optional_peers: B::optional_peers(),
    }
}

/// A block's two entrances.
#[derive(Clone)]
struct Doors<S> {
    open: Routes,
    guarded: Guarded<S>,
}

impl<S> Service<Request<Body>> for Doors<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.guarded.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path().starts_with("/grpc.") {
            Box::pin(self.open.clone().oneshot(request))
        } else {
            self.guarded.call(request)
        }
    }
}
