//! The directory of blocks that this process can reach.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use http::{HeaderMap, HeaderName, Request, header};
use publica_types::{Origin, SystemEntropy};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::Credentials;
use crate::context::{CallContext, TraceIds};
use crate::fault::{Refusal, status_of};
use crate::link::{Answer, Link, Transport};
use crate::origin::REQUEST_ID;
use crate::{DEFAULT_DEADLINE, deadline};

/// Kept back from the caller's deadline, so that this hop can still say which one was slow.
const KEPT_BACK: Duration = Duration::from_millis(50);
pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static REQUEST_ID_NAME: HeaderName = HeaderName::from_static(REQUEST_ID);

/// The ways to other blocks, by name. Names resolve on first use, so blocks may start in any
/// order and may need each other.
#[derive(Clone)]
pub struct Peers {
    directory: Arc<Directory>,
    credentials: Option<Arc<dyn Credentials>>,
}

struct Directory {
    links: RwLock<BTreeMap<String, Link>>,
    trace_ids: TraceIds,
}

impl Default for Peers {
    fn default() -> Self {
        Self::new()
    }
}

impl Peers {
    /// An empty directory without an identity.
    pub fn new() -> Self {
        let links = RwLock::new(BTreeMap::new());
        let directory = Directory {
            links,
            trace_ids: TraceIds::new(&SystemEntropy),
        };
        Self {
            directory: Arc::new(directory),
            credentials: None,
        }
    }

    /// The same directory, seen by a block that proves itself with `credentials`.
    pub fn identified_by(&self, credentials: Arc<dyn Credentials>) -> Self {
        Self {
            directory: self.directory.clone(),
            credentials: Some(credentials),
        }
    }

    /// Enters the way to a block; a later entry replaces an earlier one that no link has used.
    pub fn register(&self, name: impl Into<String>, link: Link) {
        let mut links = self
            .directory
            .links
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        links.insert(name.into(), link);
    }

    /// True if the block can be reached from here.
    pub fn is_configured(&self, name: &str) -> bool {
        self.directory.find(name).is_some()
    }

    /// Names of all blocks in the directory.
    pub fn names(&self) -> Vec<String> {
        let links = self
            .directory
            .links
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        links.keys().cloned().collect()
    }

    /// The way to a peer. Calls carry this block's own credentials unless the request brings
    /// its own, what is left of the deadline, and the trace. A peer that is not configured
    /// refuses every call with `FAILED_PRECONDITION` and the reason `PEER_NOT_CONFIGURED`.
    pub fn link(&self, name: &str) -> Link {
        self.over(name, self.credentials.clone())
    }

    /// As [`Peers::link`], but never adds credentials: for a gateway that passes on what its
    /// caller sent and must not lend it an identity.
    pub fn forward(&self, name: &str) -> Link {
        self.over(name, None)
    }

    fn over(&self, name: &str, credentials: Option<Arc<dyn Credentials>>) -> Link {
        Link::over(Peer {
            name: name.to_owned(),
            directory: self.directory.clone(),
            credentials,
            resolved: OnceLock::new(),
        })
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Peers").field(&self.names()).finish()
    }
}

impl Directory {
    fn find(&self, name: &str) -> Option<Link> {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        links.get(name).cloned()
    }
}

struct Peer {
    name: String,
    directory: Arc<Directory>,
    credentials: Option<Arc<dyn Credentials>>,
    resolved: OnceLock<Link>,
}

impl Peer {
    fn resolve(&self) -> Result<&Link, Refusal> {
        if let Some(link) = self.resolved.get() {
            return Ok(link);
        }
        let found = self.directory.find(&self.name).ok_or_else(|| {
            let message = format!("The block {} is not configured here.", self.name);
            Refusal::new(Code::FailedPrecondition, "PEER_NOT_CONFIGURED", message)
                .with("peer", self.name.clone())
        })?;
        Ok(self.resolved.get_or_init(|| found))
    }

    fn prepare(&self, request: &mut Request<Body>) -> Result<(), Refusal> {
        if let Some(credentials) = &self.credentials
            && !request.headers().contains_key(header::AUTHORIZATION)
        {
            let origin = request.extensions_mut().remove::<Origin>();
            let tenant = origin.map(|origin| origin.tenant).unwrap_or_default();
            let value = credentials.authorization(&self.name, &tenant)?;
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let headers = request.headers_mut();
        let context = CallContext::current();
        let left = self.time_left(headers, context.as_ref())?;
        headers.insert(deadline::GRPC_TIMEOUT.clone(), deadline::header(left));
        // Outside of a served call the peer begins the trace, and so decides whether to record it.
        if let Some(context) = &context {
            let ids = &self.directory.trace_ids;
            headers
                .entry(&TRACEPARENT)
                .or_insert_with(|| ids.child(&context.trace).header());
        }
        if let Some(id) = context.and_then(|context| context.request_id) {
            headers.entry(&REQUEST_ID_NAME).or_insert(id);
        }
        Ok(())
    }

    /// What the peer may take: the caller's own limit, never more than what is left of the
    /// call being served.
    fn time_left(
        &self,
        headers: &HeaderMap,
        context: Option<&CallContext>,
    ) -> Result<Duration, Refusal> {
        let asked = deadline::timeout_of(headers).unwrap_or(DEFAULT_DEADLINE);
        let Some(context) = context else {
            return Ok(asked);
        };
        let left = context.remaining().saturating_sub(KEPT_BACK).min(asked);
        if left.is_zero() {
            let message = format!("No time was left to ask the block {}.", self.name);
            return Err(
                Refusal::new(Code::DeadlineExceeded, "DEADLINE_TOO_SHORT", message)
                    .with("peer", self.name.clone()),
            );
        }
        Ok(left)
    }
}

impl Transport for Peer {
    fn call(&self, mut request: Request<Body>) -> Answer {
        let ready = self.resolve().and_then(|link| {
            self.prepare(&mut request)?;
            Ok(link)
        });
        match ready {
            Ok(link) => link.send(request),
            Err(refusal) => {
                let response = Status::into_http::<Body>(status_of(&refusal));
                Box::pin(std::future::ready(Ok(response)))
            }
        }
    }
}
