//! What every call passes before and after a block's own code.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderMap, Method as HttpMethod, Request, Response, StatusCode, header};
use metrics::{Counter, Gauge};
use publica_types::Entropy;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::context::{CallContext, TraceContext, TraceIds};
use crate::fault::{Refusal, status_of};
use crate::framework;
use crate::metered::Metered;
use crate::methods::{Method, MethodInfo, Methods};
use crate::peers::TRACEPARENT;
use crate::{DEFAULT_DEADLINE, deadline, origin, span};

/// Bounds that hold for every call to a server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Given to calls that name no deadline.
    pub default_deadline: Duration,
    /// The longest deadline that a caller can ask for.
    pub max_deadline: Duration,
    /// Kept back for answering.
    pub kept_back: Duration,
    /// Work with less time left than this is refused at once.
    pub least_time: Duration,
    /// Calls at work at once; more are shed.
    pub max_in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            default_deadline: DEFAULT_DEADLINE,
            max_deadline: Duration::from_secs(3_600),
            kept_back: Duration::from_millis(20),
            least_time: Duration::from_millis(100),
            max_in_flight: 2_048,
        }
    }
}

/// The layer around a server's routes (and around its authentication): trace, metrics, caught
/// panics, load shedding, deadline, and clean errors in place of the framework's own. It wraps
/// the routes, not the network server, so that a call within the process meets it too.
#[derive(Clone)]
pub struct Guard(Arc<Shared>);

struct Shared {
    methods: Methods,
    limits: Limits,
    in_flight: AtomicUsize,
    in_flight_gauge: Gauge,
    shed: Counter,
    trace_ids: TraceIds,
    stop: CancellationToken,
}

impl Guard {
    /// A guard for the server `block` with the given methods. Once `stop` is cancelled, streams
    /// that are only waiting for something new are ended, so that they do not hold up the end.
    pub fn new(
        block: &'static str,
        methods: Vec<MethodInfo>,
        limits: Limits,
        stop: CancellationToken,
        entropy: &dyn Entropy,
    ) -> Self {
        Self(Arc::new(Shared {
            methods: Methods::new(methods),
            limits,
            in_flight: AtomicUsize::new(0),
            in_flight_gauge: metrics::gauge!("publica_inflight_requests", "block" => block),
            shed: metrics::counter!(
                "publica_shed_total", "block" => block, "reason" => "in_flight"
            ),
            trace_ids: TraceIds::new(entropy),
            stop,
        }))
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            shared: self.0.clone(),
        }
    }
}

/// A service behind a [`Guard`].
#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !is_grpc(&request) {
            return Box::pin(std::future::ready(Ok(not_grpc())));
        }
        // The readiness just polled belongs to this instance, so the clone stays behind.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let call = Call::begin(self.shared.clone(), &request);
        match call.admit(request.headers()) {
            Err(refusal) => {
                let answer = call.finish(status_of(&refusal).into_http());
                Box::pin(std::future::ready(Ok(answer)))
            }
            Ok((context, slot)) => Box::pin(async move {
                let deadline = context.deadline;
                let work = run(&mut inner, request, context, &call);
                let answer = tokio::time::timeout_at(deadline, work).await;
                drop(slot);
                Ok(call.finish(answer.unwrap_or_else(|_| too_late(&call))))
            }),
        }
    }
}

async fn run<S>(
    inner: &mut S,
    request: Request<Body>,
    mut context: CallContext,
    call: &Call,
) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    let traced = span::server(&call.method.name, &mut context);
    // Calling is inside, so that a panic before the first await is caught as well.
    let work = AssertUnwindSafe(async { inner.call(request).await }).catch_unwind();
    let outcome = match traced {
        None => context.scope(work).await,
        Some(span) => span::run(span, context.scope(work)).await,
    };
    match outcome {
        Ok(Ok(response)) => framework::clean(response),
        Ok(Err(never)) => match never {},
        Err(panic) => panicked(&call.method.name, panic.as_ref()),
    }
}

struct Call {
    shared: Arc<Shared>,
    method: Arc<Method>,
    begun: Instant,
}

/// A place among the calls at work, given back when dropped.
struct Slot(Arc<Shared>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.in_flight_gauge.decrement(1.0);
    }
}

impl Call {
    fn begin(shared: Arc<Shared>, request: &Request<Body>) -> Self {
        let method = shared.methods.find(request.uri().path()).clone();
        Self {
            shared,
            method,
            begun: Instant::now(),
        }
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(CallContext, Slot), Refusal> {
        if self.method.is_other() {
            return Err(framework::unknown_method());
        }
        let limits = &self.shared.limits;
        let slot = self.slot().ok_or_else(|| {
            self.shared.shed.increment(1);
            let message = "Too many calls are at work; try again shortly.";
            Refusal::new(Code::ResourceExhausted, "OVERLOADED", message)
                .retry_after(Duration::from_secs(1))
        })?;
        let asked = deadline::timeout_of(headers).unwrap_or(limits.default_deadline);
        if asked < limits.least_time {
            let message = "Too little time is left to begin this call.";
            return Err(Refusal::new(
                Code::DeadlineExceeded,
                "DEADLINE_TOO_SHORT",
                message,
            ));
        }
        let time = asked
            .min(limits.max_deadline)
            .saturating_sub(limits.kept_back);
        let given = headers
            .get(&TRACEPARENT)
            .and_then(|value| value.to_str().ok());
        let given = given.and_then(TraceContext::parse);
        let trace = given.unwrap_or_else(|| self.shared.trace_ids.root());
        let request_id = origin::request_id(headers).cloned();
        Ok((
            CallContext {
                deadline: self.begun + time,
                trace,
                joined: given.is_some(),
                request_id,
            },
            slot,
        ))
    }

    fn slot(&self) -> Option<Slot> {
        let before = self.shared.in_flight.fetch_add(1, Ordering::Relaxed);
        self.shared.in_flight_gauge.increment(1.0);
        let slot = Slot(self.shared.clone());
        (before < self.shared.limits.max_in_flight).then_some(slot)
    }

    /// Counts the call, a stream only once it has ended.
    fn finish(&self, response: Response<Body>) -> Response<Body> {
        match Status::from_header_map(response.headers()) {
            None if self.method.server_streaming => {
                let (method, begun) = (self.method.clone(), self.begun);
                let stop = self.shared.stop.clone();
                response.map(|body| Body::new(Metered::new(body, method, begun, stop)))
            }
            status => {
                let code = status.map_or(Code::Ok, |status| status.code());
                self.method.record(code, self.begun.elapsed());
                response
            }
        }
    }
}

fn is_grpc(request: &Request<Body>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    request.method() == HttpMethod::POST
        && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Browsers and probes that speak no gRPC get an HTTP error without a body.
fn not_grpc() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

fn too_late(call: &Call) -> Response<Body> {
    tracing::warn!(
        rpc.method = call.method.name,
        "the deadline passed before the answer"
    );
    let message = "The deadline passed before the answer was ready.";
    status_of(&Refusal::new(
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        message,
    ))
    .into_http()
}

fn panicked(method: &str, panic: &(dyn Any + Send)) -> Response<Body> {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(rpc.method = method, error = text, "a handler panicked");
    status_of(&framework::internal()).into_http()
}
