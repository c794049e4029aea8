//! The layer: a policy held against callers.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use publica_auth::{
    Access, AnonymousRole, AuthConfig, AuthLayer, Caller, DenialSink, DeniedCall, RefusedCall,
    TokenSource, Verifier,
};
use publica_types::Tenant;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Layer, Service, ServiceExt};

use crate::{Hand, open, source};

const READ: &str = "/publica.consent.v1.RecordService/GetRecord";
const WHO: &str = "/publica.consent.v1.RecordService/Who";
const OPEN: &str = "/publica.consent.v1.InfoService/GetInfo";
const HIDDEN: &str = "/publica.consent.v1.RecordService/DropAll";
const POLICY: &[(&str, Access)] = &[
    (READ, Access::Scope("consent:record:read")),
    (WHO, Access::Authenticated),
    (OPEN, Access::Public),
];

#[derive(Debug, Default)]
struct Notes(Mutex<Vec<(String, String, &'static str)>>);

impl DenialSink for Notes {
    fn denied(&self, call: DeniedCall) -> BoxFuture<'_, ()> {
        async move {
            let note = (
                call.caller.subject.clone(),
                call.method.to_owned(),
                call.denial.reason(),
            );
            self.0.lock().unwrap().push(note);
        }
        .boxed()
    }

    fn refused(&self, call: RefusedCall) -> BoxFuture<'_, ()> {
        async move {
            assert_eq!(call.headers["x-process-id"], "case-7");
            let note = (
                call.caller.subject.clone(),
                call.method.to_owned(),
                "refused",
            );
            self.0.lock().unwrap().push(note);
        }
        .boxed()
    }
}

struct Bench {
    layer: AuthLayer,
    tokens: TokenSource,
    notes: Arc<Notes>,
}

fn bench(verifier: impl FnOnce(Verifier) -> Verifier) -> Bench {
    let clock = Hand::new();
    let tokens = source(&clock);
    let verifier = verifier(open(&AuthConfig::default(), Some(&tokens), &clock));
    let notes = Arc::new(Notes::default());
    let layer = AuthLayer::new(Arc::new(verifier), POLICY).with_sink(notes.clone());
    Bench {
        layer,
        tokens,
        notes,
    }
}

/// The service behind the layer answers with the caller's subject.
async fn behind(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let caller = request.extensions().get::<Arc<Caller>>().unwrap();
    let mut response = Response::new(Body::empty());
    response
        .headers_mut()
        .insert("x-caller", caller.subject.parse().unwrap());
    Ok(response)
}

impl Bench {
    async fn call(&self, path: &str, authorization: Option<String>) -> Result<String, Status> {
        let mut request = Request::builder().uri(path);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let mut service = self.layer.layer(tower::service_fn(behind));
        let service = service.ready().await.unwrap();
        let response = service
            .call(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        match Status::from_header_map(response.headers()) {
            Some(status) => Err(status),
            None => Ok(response.headers()["x-caller"].to_str().unwrap().to_owned()),
        }
    }

    fn bearer(&self, scope: &str) -> String {
        let tenant = Tenant::default();
        let minted = self
            .tokens
            .mint("clerk", [scope], &tenant, Duration::from_mins(1));
        format!("Bearer {}", minted.unwrap())
    }
}

fn reason(status: &Status) -> (Code, String, String) {
    let info = status.get_details_error_info().unwrap();
    (status.code(), info.reason, info.domain)
}

#[tokio::test]
async fn who_holds_the_scope_passes() {
    let bench = bench(|verifier| verifier);
    let token = Some(bench.bearer("consent:record:*"));
    // Twice: the first call verifies the token, the second knows it.
    for _ in 0..2 {
        assert_eq!(bench.call(READ, token.clone()).await.unwrap(), "clerk");
        assert_eq!(bench.call(WHO, token.clone()).await.unwrap(), "clerk");
        assert_eq!(bench.call(OPEN, token.clone()).await.unwrap(), "clerk");
    }
    assert_eq!(bench.call(OPEN, None).await.unwrap(), "anonymous");
    assert!(bench.notes.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn everybody_else_is_denied_with_a_reason() {
    let bench = bench(|verifier| verifier);
    let denied = Code::PermissionDenied;
    let table = [
        (READ, None, Code::Unauthenticated, "CREDENTIALS_REQUIRED"),
        (WHO, None, Code::Unauthenticated, "CREDENTIALS_REQUIRED"),
        (HIDDEN, None, denied, "METHOD_NOT_LISTED"),
        (
            READ,
            Some("Bearer junk".to_owned()),
            Code::Unauthenticated,
            "TOKEN_INVALID",
        ),
        (
            READ,
            Some("Basic eDp5".to_owned()),
            Code::Unauthenticated,
            "CREDENTIALS_MALFORMED",
        ),
        (
            READ,
            Some(bench.bearer("consent:record:write")),
            denied,
            "SCOPE_MISSING",
        ),
        (HIDDEN, Some(bench.bearer("*")), denied, "METHOD_NOT_LISTED"),
    ];
    for (path, authorization, code, expected) in table {
        let status = bench.call(path, authorization).await.unwrap_err();
        let expected = (code, expected.to_owned(), "consent.publica".to_owned());
        assert_eq!(reason(&status), expected, "{path}");
    }
    let notes = bench.notes.0.lock().unwrap();
    let clerk = |method: &str, reason| ("clerk".to_owned(), method.to_owned(), reason);
    assert_eq!(
        *notes,
        [
            clerk(READ, "SCOPE_MISSING"),
            clerk("_OTHER", "METHOD_NOT_LISTED")
        ]
    );
}

#[tokio::test]
async fn other_tenants_than_those_served_are_denied() {
    let mut bench = bench(|verifier| verifier);
    bench.layer = bench.layer.with_tenants(&["health".parse().unwrap()]);
    // The token is for the tenant `default`, and right in all else.
    let token = bench.bearer("consent:*");
    for path in [READ, WHO, OPEN] {
        let status = bench.call(path, Some(token.clone())).await.unwrap_err();
        let (code, found, _) = reason(&status);
        assert_eq!(
            (code, found.as_str()),
            (Code::PermissionDenied, "TENANT_UNKNOWN")
        );
    }
    assert!(bench.notes.0.lock().unwrap().is_empty());
    assert_eq!(bench.call(OPEN, None).await.unwrap(), "anonymous");
    let default = Tenant::default();
    bench.layer = bench
        .layer
        .with_tenants(&["health".parse().unwrap(), default]);
    assert_eq!(bench.call(READ, Some(token)).await.unwrap(), "clerk");
}

#[tokio::test]
async fn a_public_method_ignores_bad_credentials() {
    let bench = bench(|verifier| verifier);
    let junk = Some("Bearer junk".to_owned());
    assert_eq!(bench.call(OPEN, junk).await.unwrap(), "anonymous");
}

#[tokio::test]
async fn the_anonymous_role_may_what_it_may() {
    let role = AnonymousRole {
        name: "suite".to_owned(),
        scopes: vec!["consent:record:read".to_owned()],
    };
    let bench = bench(|verifier| verifier.with_anonymous(role));
    assert_eq!(bench.call(READ, None).await.unwrap(), "role:suite");
    assert!(bench.call(HIDDEN, None).await.is_err());
    assert!(bench.notes.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn further_methods_can_be_listed() {
    let mut bench = bench(|verifier| verifier);
    bench.layer = bench.layer.clone().with(&[(HIDDEN, Access::Public)]);
    assert_eq!(bench.call(HIDDEN, None).await.unwrap(), "anonymous");
}

#[tokio::test]
async fn the_caller_cannot_be_brought_along() {
    let bench = bench(|verifier| verifier);
    let mut forged = Caller::anonymous();
    forged.subject = "block:payments".to_owned();
    forged.scopes.insert("*".to_owned());
    for (path, passes) in [(READ, false), (OPEN, true)] {
        let mut request = Request::builder().uri(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Arc::new(forged.clone()));
        let response = bench
            .layer
            .layer(tower::service_fn(behind))
            .oneshot(request)
            .await
            .unwrap();
        let caller = response.headers().get("x-caller");
        assert_eq!(caller.is_some(), passes);
        assert!(caller.is_none_or(|caller| caller == "anonymous"));
    }
}

/// A service that refuses, or fails, with this code.
async fn answered(bench: &Bench, path: &str, token: Option<String>, code: Code) -> Code {
    let service = tower::service_fn(move |_: Request<Body>| async move {
        Ok::<_, Infallible>(Status::new(code, "so").into_http())
    });
    let mut request = Request::builder()
        .uri(path)
        .header("x-process-id", "case-7");
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let mut service = bench.layer.layer(service);
    let service = service.ready().await.unwrap();
    let request = request.body(Body::empty()).unwrap();
    let response = service.call(request).await.unwrap();
    Status::from_header_map(response.headers()).unwrap().code()
}

#[tokio::test]
async fn refusals_of_known_callers_are_recorded_and_failures_are_not() {
    let bench = bench(|verifier| verifier);
    let token = Some(bench.bearer("consent:record:*"));
    // Twice: the first call verifies the token, the second knows it.
    for _ in 0..2 {
        let code = answered(&bench, READ, token.clone(), Code::NotFound).await;
        assert_eq!(code, Code::NotFound);
        let noted = std::mem::take(&mut *bench.notes.0.lock().unwrap());
        assert_eq!(noted, [("clerk".to_owned(), READ.to_owned(), "refused")]);
    }
    for code in [
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
        Code::Cancelled,
    ] {
        assert_eq!(answered(&bench, READ, token.clone(), code).await, code);
    }
    // What is open to everybody is nobody's refusal, whoever brings the call.
    answered(&bench, OPEN, token, Code::NotFound).await;
    answered(&bench, OPEN, None, Code::NotFound).await;
    assert!(bench.notes.0.lock().unwrap().is_empty());
}
