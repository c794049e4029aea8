//! A gate in front of a service, for HTTP and for gRPC.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use publica_rpc::Refusal;
use publica_types::Origin;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{BoxError, Layer, Service};

use crate::DECISION;
use crate::gate::{Gate, GateError, Permit, Use};

/// The largest message that an interceptor looks into, in bytes.
const MAX_MESSAGE: usize = 4 * 1_024 * 1_024;
/// Bytes before a gRPC message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// What a request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// It uses no personal data.
    Nothing,
    /// It uses personal data, which must be allowed.
    Consent(Box<Use>),
    /// It does not say whose data it is about, and so is refused.
    Unclear(&'static str),
}

/// Rules of an HTTP service: what a request needs, by its head.
type HttpRules = dyn Fn(&http::request::Parts) -> Demand + Send + Sync;
/// The methods of a gRPC service whose calls need looking into.
type Methods = dyn Fn(&str) -> bool + Send + Sync;
/// Rules of a gRPC service: what a call needs, by its method and its message.
type GrpcRules = dyn Fn(&str, &[u8]) -> Demand + Send + Sync;
/// In whose name the consent block is asked.
type Asker = dyn Fn(&http::Extensions) -> Origin + Send + Sync;

/// Lets HTTP requests pass that need no consent or have it. The service finds the [`Permit`] in
/// the extensions of the request.
#[derive(Clone)]
pub struct HttpFilter {
    gate: Gate,
    rules: Arc<HttpRules>,
    asker: Arc<Asker>,
}

impl HttpFilter {
    /// A filter by `rules`; `asker` says in whose name the consent block is asked.
    pub fn new(
        gate: Gate,
        rules: impl Fn(&http::request::Parts) -> Demand + Send + Sync + 'static,
        asker: impl Fn(&http::Extensions) -> Origin + Send + Sync + 'static,
    ) -> Self {
        Self {
            gate,
            rules: Arc::new(rules),
            asker: Arc::new(asker),
        }
    }
}

/// Lets unary gRPC calls pass that need no consent or have it, by what their messages say. Calls
/// of methods that it does not cover pass untouched, whatever they stream.
#[derive(Clone)]
pub struct GrpcInterceptor {
    gate: Gate,
    covers: Arc<Methods>,
    rules: Arc<GrpcRules>,
    asker: Arc<Asker>,
}

impl GrpcInterceptor {
    /// An interceptor of the methods that `covers` names, as `/package.Service/Method`, by
    /// `rules`, which are given the method and the encoded message; `asker` says in whose name
    /// the consent block is asked.
    pub fn new(
        gate: Gate,
        covers: impl Fn(&str) -> bool + Send + Sync + 'static,
        rules: impl Fn(&str, &[u8]) -> Demand + Send + Sync + 'static,
        asker: impl Fn(&http::Extensions) -> Origin + Send + Sync + 'static,
    ) -> Self {
        Self {
            gate,
            covers: Arc::new(covers),
            rules: Arc::new(rules),
            asker: Arc::new(asker),
        }
    }
}

impl fmt::Debug for HttpFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFilter").finish_non_exhaustive()
    }
}

impl fmt::Debug for GrpcInterceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcInterceptor").finish_non_exhaustive()
    }
}

/// A service behind a filter or an interceptor.
#[derive(Debug, Clone)]
pub struct Intercepted<S, I> {
    inner: S,
    by: I,
}

impl<S> Layer<S> for HttpFilter {
    type Service = Intercepted<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Intercepted {
            inner,
            by: self.clone(),
        }
    }
}

impl<S> Layer<S> for GrpcInterceptor {
    type Service = Intercepted<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Intercepted {
            inner,
            by: self.clone(),
        }
    }
}

/// Notes the decision in an answer.
fn marked<B>(mut response: Response<B>, decision_id: &str) -> Response<B> {
    if let Ok(value) = HeaderValue::from_str(decision_id) {
        response.headers_mut().insert(DECISION, value);
    }
    response
}

/// How reasons are told to people and programs alike.
fn told(error: &GateError) -> (StatusCode, Code, &'static str, String, String) {
    match error {
        GateError::Denied {
            reasons,
            decision_id,
        } => {
            let names: Vec<String> = reasons
                .iter()
                .map(|reason| {
                    let name = reason.as_str_name();
                    name.trim_start_matches("DECISION_REASON_")
                        .to_ascii_lowercase()
                })
                .collect();
            (
                StatusCode::FORBIDDEN,
                Code::PermissionDenied,
                "CONSENT_REQUIRED",
                names.join(" "),
                decision_id.clone(),
            )
        }
        GateError::Unknown(status) => {
            tracing::warn!(
                code = ?status.code(),
                "the consent block did not decide; if permission was denied, this service \
                 needs the scope consent:decision:check"
            );
            (
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Unavailable,
                "CONSENT_UNKNOWN",
                String::new(),
                String::new(),
            )
        }
    }
}

/// A refusal as a problem document (RFC 9457).
fn problem(status: StatusCode, code: &str, reasons: &str, decision_id: &str) -> Response<Body> {
    let mut body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "code": code,
    });
    if !reasons.is_empty() {
        body["reasons"] = reasons.split(' ').collect();
    }
    let text = Full::new(Bytes::from(body.to_string()));
    let mut response = Response::new(Body::new(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let soon = HeaderValue::from_static("1");
        response.headers_mut().insert(header::RETRY_AFTER, soon);
    }
    marked(response, decision_id)
}

impl<S, B, R> Service<Request<B>> for Intercepted<S, HttpFilter>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let fresh = self.inner.clone();
        // The one that was ready takes the call.
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let filter = self.by.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let demand = (filter.rules)(&parts);
            let wanted = match demand {
                Demand::Nothing => {
                    let answer = inner.call(Request::from_parts(parts, body)).await?;
                    return Ok(answer.map(Body::new));
                }
                Demand::Unclear(_) => {
                    let status = StatusCode::BAD_REQUEST;
                    return Ok(problem(status, "CONSENT_SUBJECT_UNCLEAR", "", ""));
                }
                Demand::Consent(wanted) => wanted,
            };
            let origin = (filter.asker)(&parts.extensions);
            match filter.gate.check(&origin, *wanted).await {
                Ok(permit) => {
                    let decision_id = permit.decision_id.clone();
                    parts.extensions.insert(permit);
                    let answer = inner.call(Request::from_parts(parts, body)).await?;
                    Ok(marked(answer.map(Body::new), &decision_id))
                }
                Err(error) => {
                    let (status, _, code, reasons, decision_id) = told(&error);
                    Ok(problem(status, code, &reasons, &decision_id))
                }
            }
        })
    }
}

/// A refusal as gRPC answers it.
fn refused(error: &GateError) -> Response<Body> {
    let (_, code, reason, reasons, decision_id) = told(error);
    let message = match code {
        Code::Unavailable => "the consent block could not be asked",
        _ => "the person has not consented to this use",
    };
    let mut refusal = Refusal::new(code, reason, message);
    if !reasons.is_empty() {
        refusal = refusal.with("reasons", reasons);
    }
    let status: Status = publica_rpc::status_of(&refusal);
    marked(status.into_http(), &decision_id)
}

/// The message of a unary call without its prefix; none when it cannot be read here.
fn message(body: &Bytes) -> Option<Bytes> {
    let mut rest = body.clone();
    if rest.len() < PREFIX || rest.get_u8() != 0 {
        return None;
    }
    let length = usize::try_from(rest.get_u32()).ok()?;
    (rest.len() == length).then_some(rest)
}

impl<S, B, R> Service<Request<B>> for Intercepted<S, GrpcInterceptor>
where
    S: Service<Request<Body>, Response = Response<R>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let fresh = self.inner.clone();
        // The one that was ready takes the call.
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let interceptor = self.by.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            if !(interceptor.covers)(parts.uri.path()) {
                let request = Request::from_parts(parts, Body::new(body));
                return Ok(inner.call(request).await?.map(Body::new));
            }
            let Ok(body) = Limited::new(body, MAX_MESSAGE).collect().await else {
                let status = Status::resource_exhausted("the message is too large");
                return Ok(status.into_http());
            };
            let body = body.to_bytes();
            let demand = match message(&body) {
                Some(message) => (interceptor.rules)(parts.uri.path(), &message),
                None => Demand::Unclear("the message is compressed or not a single one"),
            };
            let decision_id = match demand {
                Demand::Nothing => None,
                Demand::Unclear(why) => return Ok(Status::invalid_argument(why).into_http()),
                Demand::Consent(wanted) => {
                    let origin = (interceptor.asker)(&parts.extensions);
                    match interceptor.gate.check(&origin, *wanted).await {
                        Ok(permit) => {
                            let decision_id = permit.decision_id.clone();
                            parts.extensions.insert(permit);
                            Some(decision_id)
                        }
                        Err(error) => return Ok(refused(&error)),
                    }
                }
            };
            let body = Body::new(Full::new(body));
            let answer = inner.call(Request::from_parts(parts, body)).await?;
            let answer = answer.map(Body::new);
            Ok(match decision_id {
                Some(decision_id) => marked(answer, &decision_id),
                None => answer,
            })
        })
    }
}

/// The permit under which a request was let through.
impl Permit {
    /// The permit of a request, if it needed one.
    pub fn of(extensions: &http::Extensions) -> Option<&Self> {
        extensions.get::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_from_their_prefix() {
        let framed = |flag: u8, length: u32, bytes: &[u8]| {
            let mut all = vec![flag];
            all.extend(length.to_be_bytes());
            all.extend(bytes);
            Bytes::from(all)
        };
        assert_eq!(
            message(&framed(0, 2, b"ab")).unwrap(),
            Bytes::from_static(b"ab")
        );
        assert_eq!(message(&framed(0, 0, b"")).unwrap(), Bytes::new());
        for bad in [
            framed(1, 2, b"ab"),
            framed(0, 3, b"ab"),
            framed(0, 1, b"ab"),
            Bytes::from_static(b"\0\0"),
        ] {
            assert!(message(&bad).is_none());
        }
    }
}
