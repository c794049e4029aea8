//! The layer that holds each call against a block's policy.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::future::{BoxFuture, Either};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use publica_types::{Origin, Tenant};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::security_log::SecurityLog;
use crate::{Caller, CallerKind, Denial, Verifier};

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody. Credentials are read if they are good, and ignored if they are not.
    Public,
    /// Anybody who is known.
    Authenticated,
    /// Whoever holds this scope.
    Scope(&'static str),
}

/// A call of a known caller that was denied.
#[derive(Debug, Clone)]
pub struct DeniedCall {
    /// Who called.
    pub caller: Arc<Caller>,
    /// The method, `/publica.<block>.v1.<Service>/<Method>`, or `_OTHER` for one that is not
    /// served: a caller's own text does not go into records.
    pub method: &'static str,
    /// Why it was denied.
    pub denial: Denial,
    /// The headers that say in which case, under which id and for whom.
    pub headers: HeaderMap,
}

/// A call of a known caller that passed the policy and was refused by the block.
#[derive(Debug, Clone)]
pub struct RefusedCall {
    /// Who called.
    pub caller: Arc<Caller>,
    /// The method, `/publica.<block>.v1.<Service>/<Method>`.
    pub method: &'static str,
    /// What the block answers.
    pub status: Status,
    /// The headers that say in which case, under which id and for whom.
    pub headers: HeaderMap,
}

/// Where denials and refusals of known callers are recorded before the answer leaves. Those of
/// unknown callers are only counted: a flood must not fill a store.
pub trait DenialSink: std::fmt::Debug + Send + Sync {
    /// Records a denial. The caller learns of it only afterwards.
    fn denied(&self, call: DeniedCall) -> BoxFuture<'_, ()>;

    /// Records a refusal. The caller learns of it only afterwards.
    fn refused(&self, call: RefusedCall) -> BoxFuture<'_, ()>;
}

/// Lets a call pass if the policy and the caller's scopes allow it, with an `Arc` of the
/// [`Caller`] in the request's extensions. A method that no policy lists is denied to everybody.
#[derive(Debug, Clone)]
pub struct AuthLayer {
    shared: Arc<Shared>,
}

#[derive(Debug, Clone)]
struct Shared {
    verifier: Arc<Verifier>,
    methods: HashMap<&'static str, Access>,
    /// The tenants that are served; every one, if none is named.
    tenants: Vec<Tenant>,
    sink: Option<Arc<dyn DenialSink>>,
    log: Arc<SecurityLog>,
}

impl AuthLayer {
    /// A layer for the methods of `policy`.
    pub fn new(verifier: Arc<Verifier>, policy: &[(&'static str, Access)]) -> Self {
        let methods = policy.iter().copied().collect();
        let log = Arc::new(SecurityLog::default());
        Self {
            shared: Arc::new(Shared {
                verifier,
                methods,
                tenants: Vec::new(),
                sink: None,
                log,
            }),
        }
    }

    /// Lists further methods, such as those of health checks and the journal.
    pub fn with(mut self, policy: &[(&'static str, Access)]) -> Self {
        Arc::make_mut(&mut self.shared)
            .methods
            .extend(policy.iter().copied());
        self
    }

    /// Denies callers of other tenants than these, before anything looks for their store.
    pub fn with_tenants(mut self, tenants: &[Tenant]) -> Self {
        Arc::make_mut(&mut self.shared).tenants = tenants.to_vec();
        self
    }

    /// Records denials and refusals of known callers.
    pub fn with_sink(mut self, sink: Arc<dyn DenialSink>) -> Self {
        Arc::make_mut(&mut self.shared).sink = Some(sink);
        self
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = AuthService<S>;

    fn layer(&self, inner: S) -> AuthService<S> {
        AuthService {
            inner,
            shared: self.shared.clone(),
        }
    }
}

/// A service behind an [`AuthLayer`].
#[derive(Debug, Clone)]
pub struct AuthService<S> {
    inner: S,
    shared: Arc<Shared>,
}

type Answer<S, B> = Result<Response<Body>, <S as Service<Request<B>>>::Error>;

impl<S, B> Service<Request<B>> for AuthService<S>
where
    S: Service<Request<B>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    /// The first arm is taken when nothing has to be awaited before the call.
    type Future = Either<Watching<S::Future>, BoxFuture<'static, Answer<S, B>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let found = self
            .shared
            .verifier
            .quick(request.headers(), request.extensions());
        if let Some(found) = found {
            return match self.shared.judge(request.uri().path(), found) {
                Ok(caller) => {
                    let path = request.uri().path();
                    let watched = self.shared.watch(path, &caller, request.headers());
                    request.extensions_mut().insert(caller);
                    Either::Left(Watching::new(self.inner.call(request), watched))
                }
                Err(refused) => {
                    let shared = self.shared.clone();
                    let (parts, _) = request.into_parts();
                    Either::Right(Box::pin(async move {
                        Ok(shared
                            .refuse(refused, parts.uri.path(), parts.headers)
                            .await)
                    }))
                }
            };
        }
        // The readiness just polled belongs to this instance, so the clone stays behind.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let shared = self.shared.clone();
        Either::Right(Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let found = shared.verifier.caller(&parts).await;
            match shared.judge(parts.uri.path(), found) {
                Ok(caller) => {
                    let watched = shared.watch(parts.uri.path(), &caller, &parts.headers);
                    parts.extensions.insert(caller);
                    let call = inner.call(Request::from_parts(parts, body));
                    Watching::new(call, watched).await
                }
                Err(refused) => Ok(shared
                    .refuse(refused, parts.uri.path(), parts.headers)
                    .await),
            }
        }))
    }
}

/// Headers that a record of a refusal is made from.
const KEPT_HEADERS: [&str; 3] = [Origin::PROCESS_ID, Origin::REQUEST_ID, Origin::ACTOR];

/// A call of a known caller whose refusal would be recorded. Nearly all calls succeed, so this
/// holds no more than it must.
#[derive(Debug)]
struct Watched {
    sink: Arc<dyn DenialSink>,
    caller: Arc<Caller>,
    method: &'static str,
    kept: [Option<HeaderValue>; KEPT_HEADERS.len()],
}

impl Watched {
    fn refused(self, status: Status) -> BoxFuture<'static, ()> {
        let named = KEPT_HEADERS.into_iter().zip(self.kept);
        let headers = named
            .filter_map(|(name, value)| Some((HeaderName::from_static(name), value?)))
            .collect();
        let call = RefusedCall {
            caller: self.caller,
            method: self.method,
            status,
            headers,
        };
        let sink = self.sink;
        Box::pin(async move { sink.refused(call).await })
    }
}

pin_project! {
    /// A call whose answer leaves only after its refusal, if it is one, was recorded.
    #[derive(Debug)]
    pub struct Watching<F> {
        #[pin]
        call: F,
        watched: Option<Watched>,
        recording: Option<Recording>,
    }
}

/// A refusal that is being recorded.
struct Recording {
    answer: Option<Response<Body>>,
    work: BoxFuture<'static, ()>,
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recording")
    }
}

impl<F> Watching<F> {
    fn new(call: F, watched: Option<Watched>) -> Self {
        Self {
            call,
            watched,
            recording: None,
        }
    }
}

impl<F, E> Future for Watching<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.recording.is_none() {
            let answer = ready!(this.call.poll(cx))?;
            let Some((watched, status)) = this.watched.take().zip(refusal(&answer)) else {
                return Poll::Ready(Ok(answer));
            };
            *this.recording = Some(Recording {
                answer: Some(answer),
                work: watched.refused(status),
            });
        }
        if let Some(recording) = this.recording {
            ready!(recording.work.as_mut().poll(cx));
            if let Some(answer) = recording.answer.take() {
                return Poll::Ready(Ok(answer));
            }
        }
        // Only a future that is polled after its end comes here.
        Poll::Pending
    }
}

/// The refusal that an answer is. A call that fails before its first message has its status among
/// the headers; what breaks off a stream later is none.
fn refusal(answer: &Response<Body>) -> Option<Status> {
    Status::from_header_map(answer.headers()).filter(|status| is_refusal(status.code()))
}

/// Whether a block decided so, rather than failed to.
fn is_refusal(code: Code) -> bool {
    match code {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => true,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => false,
    }
}

/// A denial, and the caller if it is known.
type Refused = (Denial, Option<Arc<Caller>>);

impl Shared {
    fn judge(
        &self,
        path: &str,
        found: Result<Arc<Caller>, Denial>,
    ) -> Result<Arc<Caller>, Refused> {
        let Some(access) = self.methods.get(path) else {
            let known = found
                .ok()
                .filter(|caller| caller.kind != CallerKind::Anonymous);
            return Err((Denial::MethodNotListed, known));
        };
        let caller = match (access, found) {
            // Its sink would look for the tenant's journal, so this denial has no known caller.
            (_, Ok(caller)) if !self.serves(&caller) => return Err((Denial::TenantUnknown, None)),
            (Access::Public, found) => {
                return Ok(found.unwrap_or_else(|_| Arc::new(Caller::anonymous())));
            }
            (_, Err(denial)) => return Err((denial, None)),
            (_, Ok(caller)) => caller,
        };
        // The anonymous role of the conformance profile has scopes; nobody else unknown has.
        let nobody = caller.kind == CallerKind::Anonymous && caller.scopes.is_empty();
        match access {
            _ if nobody => Err((Denial::CredentialsRequired, None)),
            Access::Scope(scope) if !caller.allows(scope) => {
                let known = (caller.kind != CallerKind::Anonymous).then_some(caller);
                Err((Denial::ScopeMissing { scope }, known))
            }
            _ => Ok(caller),
        }
    }

    /// Whether the caller's tenant is served. Whoever is nobody has none.
    fn serves(&self, caller: &Caller) -> bool {
        caller.kind == CallerKind::Anonymous
            || self.tenants.is_empty()
            || self.tenants.contains(&caller.tenant)
    }

    /// What to remember of a call for the record of its refusal. Whoever brings a call that is
    /// open to everybody asked for nothing itself, so that its refusal is none of theirs.
    fn watch(&self, path: &str, caller: &Arc<Caller>, headers: &HeaderMap) -> Option<Watched> {
        let sink = self.sink.as_ref()?;
        let (method, access) = self.methods.get_key_value(path)?;
        if *access == Access::Public || caller.kind == CallerKind::Anonymous {
            return None;
        }
        Some(Watched {
            sink: Arc::clone(sink),
            caller: Arc::clone(caller),
            method,
            kept: KEPT_HEADERS.map(|name| headers.get(name).cloned()),
        })
    }

    async fn refuse(
        &self,
        (denial, caller): Refused,
        path: &str,
        headers: HeaderMap,
    ) -> Response<Body> {
        self.log.denied(
            self.verifier.now(),
            self.known_path(path),
            caller.as_deref(),
            &denial,
        );
        let status = denial.status(domain(path));
        if let (Some(sink), Some(caller)) = (&self.sink, caller) {
            sink.denied(DeniedCall {
                caller,
                method: self.known_path(path),
                denial,
                headers,
            })
            .await;
        }
        status.into_http()
    }

    /// The path, if it is one of ours; a caller's own text goes neither into logs nor records.
    fn known_path(&self, path: &str) -> &'static str {
        self.methods
            .get_key_value(path)
            .map_or("_OTHER", |(path, _)| path)
    }
}

/// The domain of an error: `payments.publica` for `/publica.payments.v1.AccountService/…`.
fn domain(path: &str) -> String {
    let block = path
        .strip_prefix("/publica.")
        .and_then(|rest| rest.split('.').next());
    let block = block.filter(|block| block.bytes().all(|b| b.is_ascii_lowercase()));
    format!(
        "{}.publica",
        block.filter(|block| block.len() <= 32).unwrap_or("auth")
    )
}

#[cfg(test)]
mod tests {
    use super::domain;

    #[test]
    fn the_domain_names_the_block() {
        assert_eq!(
            domain("/publica.payments.v1.AccountService/Open"),
            "payments.publica"
        );
        for other in [
            "/grpc.health.v1.Health/Check",
            "/publica.X.v1.Y/Z",
            "/publica.",
            "",
        ] {
            assert!(
                ["auth.publica", ".publica"].contains(&domain(other).as_str()),
                "{other}"
            );
        }
    }
}
