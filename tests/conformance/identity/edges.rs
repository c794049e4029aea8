//! What is no request of the published kind: no framework answers for us.

use super::*;

const PATHS: &[(&str, &str)] = &[
    ("POST", "/client-mgmt/oidc-client"),
    ("PUT", "/client-mgmt/oidc-client/portal"),
    ("GET", "/authorize"),
    ("POST", "/oauth/token"),
    ("GET", "/oidc/userinfo"),
    ("GET", "/.well-known/openid-configuration"),
    ("GET", "/.well-known/jwks.json"),
    ("PUT", "/enrollment"),
    ("POST", "/block"),
    ("POST", "/unblock"),
    ("POST", "/authorization/oauth-details"),
    ("POST", "/authorization/send-otp"),
    ("POST", "/authorization/authenticate"),
    ("POST", "/authorization/auth-code"),
    ("POST", "/linked-authorization/link-code"),
    ("POST", "/linked-authorization/link-status"),
    ("POST", "/linked-authorization/link-transaction"),
    ("POST", "/linked-authorization/authenticate"),
    ("POST", "/linked-authorization/consent"),
    ("POST", "/linked-authorization/link-auth-code"),
    ("POST", "/wallet-binding"),
    ("POST", "/v1/esignet/oauth/v2/token"),
];

/// Calls whose body is JSON in the published envelope.
fn enveloped() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let others = ["/oauth/token", "/v1/esignet/oauth/v2/token"];
    PATHS.iter().filter(move |(method, path)| {
        *method != "GET"
            && !others.contains(path)
            && !path.starts_with("/linked-authorization")
            && *path != "/wallet-binding"
    })
}

#[track_caller]
fn is_a_document(answer: &Answer, of: &str) {
    let kind = answer.headers["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/"), "{of}: {kind}");
    assert!(
        answer.body.is_object(),
        "{of}: {}",
        String::from_utf8_lossy(&answer.bytes)
    );
}

both_engines! {
    async fn other_methods_and_paths(db: TestDatabase) {
        let suite = suite(db).await;
        for (known, path) in PATHS {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"] {
                let both = *path == "/oidc/userinfo" && method == "POST";
                if method == *known || both {
                    continue;
                }
                let answer = suite.send(method, path, |_| {}).await;
                assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
                is_a_document(&answer, path);
                let allowed = answer.headers["allow"].to_str().unwrap();
                assert!(allowed.contains(known), "{path}: {allowed}");
            }
        }
        for path in ["/", "/nothing", "/authorize/", "/oauth", "/client-mgmt/oidc-client/a/b",
            "/%", "/%ff", "/oauth/%00", "/..%2Fetc", "/.well-known/none", "/v1/esignet/none",
            "/login/none", "/login/%ff"] {
            for method in ["GET", "POST", "DELETE", "OPTIONS"] {
                let answer = suite.send(method, path, |_| {}).await;
                let status = answer.status.as_u16();
                let asset = path.starts_with("/login/") && method != "GET";
                assert_eq!(status, if asset { 405 } else { 404 }, "{method} {path}");
                is_a_document(&answer, path);
            }
        }
        for path in ["/.well-known/openid-configuration", "/.well-known/jwks.json", "/authorize"] {
            let head = suite.send("HEAD", path, |_| {}).await;
            assert_eq!(head.status, StatusCode::OK, "{path}");
            assert!(head.bytes.is_empty());
        }
        for path in ["/authorize?%", "/authorize?client_id=%ff", "/authorize?=&&="] {
            assert_eq!(suite.get(path).await.status, StatusCode::OK, "{path}");
        }
    }

    async fn bodies_that_are_none(db: TestDatabase) {
        let suite = suite(db).await;
        let json = "application/json";
        for (method, path) in enveloped() {
            for kind in ["text/plain", "application/xml", "application/x-www-form-urlencoded"] {
                let answer = suite.raw(method, path, kind, "{}").await;
                assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
                is_a_document(&answer, path);
            }
            let answer = suite.raw(method, path, json, vec![b' '; 1024 * 1024 + 1]).await;
            assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
            is_a_document(&answer, path);
            let cases: [&[u8]; 9] = [b"", b" ", b"{", b"[]", b"null", b"\xff", b"{\"a\":1,\"a\":1}",
                b"{} x", b"{\"requestTime\":"];
            for body in cases {
                let answer = suite.raw(method, path, json, body.to_vec()).await;
                assert_eq!(answer.code(), "invalid_request", "{path} {body:?}");
            }
        }
        for (method, path) in enveloped().filter(|(_, path)| {
            path.starts_with("/client-mgmt") || path.starts_with("/authorization")
        }) {
            for (body, named) in [
                (json!({"request": {}}), "requestTime"),
                (json!({"requestTime": null, "request": {}}), "requestTime"),
                (json!({"requestTime": "2026-01-31", "request": {}}), "requestTime"),
                (json!({"requestTime": "2026-01-31T08:30:00+00:00", "request": {}}), "requestTime"),
                (json!({"requestTime": "2026-13-31T08:30:00.000Z", "request": {}}), "requestTime"),
                (json!({"requestTime": TIME}), "request"),
                (json!({"requestTime": TIME, "request": []}), "request"),
                (json!({"requestTime": TIME, "request": null}), "request"),
            ] {
                let answer = suite.call(method, path, &body).await;
                let (code, message) = answer.fault();
                assert_eq!(code, "invalid_request", "{path} {body}");
                assert!(message.starts_with(named), "{message}");
            }
        }
    }

    async fn who_may_not_call(db: TestDatabase) {
        let mut suite = suite(db).await;
        let guarded = ["/client-mgmt/oidc-client", "/client-mgmt/oidc-client/portal",
            "/enrollment", "/block", "/unblock"];
        for (method, path) in PATHS.iter().filter(|(_, path)| guarded.contains(path)) {
            for sent in ["", "Bearer", "Bearer x", "Basic eDp5"] {
                let answer = suite.send(method, path, |request| {
                    request.headers_mut().insert("authorization", sent.parse().unwrap());
                    *request.body_mut() = wrap(&json!({})).to_string().into();
                }).await;
                assert_eq!(answer.oauth(401), "invalid_token", "{path} {sent}");
                let challenge = answer.headers["www-authenticate"].to_str().unwrap();
                assert!(challenge.starts_with("Bearer"), "{challenge}");
            }
        }
        suite.token = Some(token(&["payments:*"]));
        for (method, path) in PATHS.iter().filter(|(_, path)| guarded.contains(path)) {
            let answer = suite.call(method, path, &wrap(&json!({}))).await;
            assert_eq!(answer.oauth(403), "insufficient_scope", "{path}");
        }
        suite.token = None;
        // The log-in page proves that it is no other site's page.
        for (header, cookie) in [(None, Some("x")), (Some("y"), Some("x")), (Some(""), None)] {
            let answer = suite.send("POST", "/authorization/oauth-details", |request| {
                let headers = request.headers_mut();
                if let Some(sent) = header {
                    headers.insert("x-xsrf-token", sent.parse().unwrap());
                }
                if let Some(sent) = cookie {
                    headers.insert("cookie", format!("XSRF-TOKEN={sent}").parse().unwrap());
                }
                *request.body_mut() = wrap(&json!({})).to_string().into();
            }).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN);
            is_a_document(&answer, "oauth-details");
        }
    }
}
