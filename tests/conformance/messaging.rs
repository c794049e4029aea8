//! The messaging surface: every published path, method, code and body.

mod operations;
mod reports;
mod sms;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use publica_auth::{AnonymousRole, AuthConfig, Verifier};
use publica_gateway::{Gateway, GatewayConfig, GatewayState, Parts};
use publica_host::Profile;
use publica_messaging::sink::{MailSink, SinkOptions};
use publica_messaging::{Messaging, MessagingConfig, RelayConfig};
use publica_testkit::{
    Database, TestBlock, TestDatabase, TestEnv, both_engines, env, eventually, token, tokens,
};
use publica_types::SystemClock;
use serde_json::{Value, json};
use tower::ServiceExt as _;

const SCOPES: &[&str] = &[
    "messaging:message:send",
    "messaging:message:read",
    "messaging:reply:write",
    "messaging:delivery:read",
    "messaging:delivery:hold",
    "messaging:delivery:redrive",
];

struct Suite {
    router: Router,
    sink: MailSink,
    _block: TestBlock<Messaging>,
    _env: TestEnv,
    _gateway: TestEnv,
    _db: TestDatabase,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

async fn suite(db: TestDatabase, profile: Profile) -> Suite {
    suite_with(db, profile, |_| {}).await
}

/// The same, with settings of the test's own.
async fn suite_with(
    db: TestDatabase,
    profile: Profile,
    change: impl FnOnce(&mut MessagingConfig),
) -> Suite {
    let sink = MailSink::start(SinkOptions::default()).await.unwrap();
    let own = env("messaging").with_profile(profile);
    let mut config = MessagingConfig {
        database: db.config(),
        relay: RelayConfig {
            host: "127.0.0.1".to_owned(),
            port: sink.address().port(),
            tls: "none".to_owned(),
            ..RelayConfig::default()
        },
        unsubscribe_url: "https://mail.gov.example/messaging/unsubscribe".to_owned(),
        ..MessagingConfig::default()
    };
    change(&mut config);
    let block = own.open::<Messaging>(config).await.unwrap();
    let gateway = env("gateway").with_peer("messaging", block.link.clone());
    let role = AnonymousRole {
        name: "conformance".to_owned(),
        scopes: SCOPES.iter().map(|scope| (*scope).to_owned()).collect(),
    };
    let verifier = Verifier::open(
        &AuthConfig::default(),
        Some(tokens()),
        Arc::new(SystemClock),
    )
    .unwrap();
    let verifier = match profile {
        Profile::Conformance => verifier.with_anonymous(role),
        _ => verifier,
    };
    let state = GatewayState::new(Parts {
        peers: gateway.peers.clone(),
        verifier: Arc::new(verifier),
        tokens: tokens().clone(),
        profile,
        clock: gateway.clock.clone(),
        entropy: gateway.entropy.clone(),
        blocks: vec!["messaging".to_owned()],
    });
    let router = Gateway::new(GatewayConfig::default(), state).router();
    Suite {
        router,
        sink,
        _block: block,
        _env: own,
        _gateway: gateway,
        _db: db,
    }
}

impl Suite {
    /// A call with a token, at a path of the surface.
    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let bearer = format!("Bearer {}", token(SCOPES));
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        self.bare(method, path, &all, body).await
    }

    /// A call with just these headers.
    async fn bare(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (parts, bytes) = self.raw(method, path, headers, body).await;
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        };
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// Status, content type and text of a page that anybody may call.
    async fn page(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, String, String) {
        let (parts, bytes) = self.raw(method, path, headers, body).await;
        let kind = parts.headers["content-type"].to_str().unwrap().to_owned();
        (
            parts.status,
            kind,
            String::from_utf8(bytes.to_vec()).unwrap(),
        )
    }

    async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (http::response::Parts, axum::body::Bytes) {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/messaging{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(
            "POST",
            path,
            &[("content-type", "application/json")],
            &body.to_string(),
        )
        .await
    }

    async fn counts(&self, uid: &str, query: &str) -> Answer {
        self.call(
            "GET",
            &format!("/status/email?{query}"),
            &[("requestUid", uid)],
            "",
        )
        .await
    }
}

fn single() -> Value {
    json!({
        "callback": {"URI": "https://example.com/callback/emails/requestUid"},
        "senderInfo": {
            "organisationName": "Ministry of Health",
            "organisationRegNr": "70000000",
            "email": "noreply@gov.example",
            "replyTo": "answers@gov.example",
            "name": "Ministry",
        },
        "recipientInfo": {"email": "anna@home.example", "emailCC": "", "name": "Anna"},
        "emailContent": {"encoding": "UTF-8", "title": "Hello", "content": "A text."},
        "somethingElse": [1, 2],
    })
}

fn list(recipients: &Value) -> Value {
    let mut body = single();
    body["callbackURI"] = body["callback"].take();
    body.as_object_mut().unwrap().remove("callback");
    body["recipientInfo"] =
        json!({ "batchEmailAsBase64": STANDARD.encode(recipients.to_string()) });
    body
}

both_engines! {
    async fn messages_are_taken_in_and_counted(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let one = suite.post("/send/email/single", &single()).await;
        assert_eq!(one.status, StatusCode::OK, "{}", one.body);
        assert_eq!(one.header("content-type"), "application/json; charset=utf-8");
        let uid = one.body["requestUid"].as_str().unwrap().to_owned();
        assert_eq!(one.body["requestUID"], uid.as_str());
        assert_eq!(uid.split('-').map(str::len).collect::<Vec<_>>(), [4; 6]);
        assert!(!one.body["response"].as_str().unwrap().is_empty());

        let people = json!([
            {"recipientInfo": {"email": "b@home.example", "name": "B"}},
            {"email": "c@home.example"},
            {"recipientInfo": {"email": "broken"}},
        ]);
        // Each path takes both shapes, at the root and under /v1.
        for path in ["/send/email/batch", "/v1/send/email/single"] {
            let many = suite.post(path, &list(&people)).await;
            assert_eq!(many.status, StatusCode::OK, "{}", many.body);
            let uid = many.body["requestUid"].as_str().unwrap().to_owned();
            eventually(|| async {
                let counts = suite.counts(&uid, "status=delivered&status=notSent").await;
                (counts.body == json!({"delivered": 2, "notSent": 1})).then_some(())
            })
            .await;
        }
        let counts = suite.counts(&uid, "status[]=delivered&status[]=not_sent,bounced").await;
        assert_eq!(counts.status, StatusCode::OK);
        assert_eq!(counts.body, json!({"delivered": 1, "not_sent": 0, "bounced": 0}));
        assert_eq!(suite.sink.mails(), 5);

        let events = suite.call("GET", &format!("/api/v1/requests/{uid}/events"), &[], "").await;
        assert_eq!(events.body["events"][0]["state"], "delivered");
        let stop = suite.call("POST", &format!("/api/v1/requests/{uid}/cancel"), &[], "").await;
        assert_eq!(stop.body["counters"]["delivered"], 1, "{}", stop.body);
    }

    async fn a_mailing_can_be_left(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let sent = suite.post("/send/email/single", &single()).await;
        assert_eq!(sent.status, StatusCode::OK, "{}", sent.body);
        let mail = eventually(|| async { suite.sink.last_to("anna@home.example") }).await;
        let link = mail.header("List-Unsubscribe").unwrap();
        let path = link
            .strip_prefix("<https://mail.gov.example/messaging")
            .and_then(|rest| rest.strip_suffix('>'))
            .unwrap();

        // Programs follow links to look at them; that ends nothing.
        let asked = suite.page("GET", path, &[], "").await;
        assert_eq!((asked.0, asked.1.as_str()), (StatusCode::OK, "text/html; charset=utf-8"));
        assert!(asked.2.contains("<form method=\"post\">"), "{}", asked.2);
        let look = suite.page("GET", "/unsubscribe/publica.css", &[], "").await;
        assert_eq!((look.0, look.1.as_str()), (StatusCode::OK, "text/css; charset=utf-8"));
        let before = suite.post("/send/email/single", &single()).await;
        let uid = before.body["requestUid"].as_str().unwrap().to_owned();
        eventually(|| async {
            let counts = suite.counts(&uid, "status=delivered").await;
            (counts.body == json!({"delivered": 1})).then_some(())
        })
        .await;

        // What a mail program posts of itself.
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let left = suite.page("POST", path, &form, "List-Unsubscribe=One-Click").await;
        assert_eq!((left.0, left.1.as_str()), (StatusCode::OK, "text/html; charset=utf-8"));
        assert!(left.2.contains("have stopped"), "{}", left.2);
        let after = suite.post("/send/email/single", &single()).await;
        let uid = after.body["requestUid"].as_str().unwrap().to_owned();
        eventually(|| async {
            let counts = suite.counts(&uid, "status=notSent").await;
            (counts.body == json!({"notSent": 1})).then_some(())
        })
        .await;

        let wrong = suite.page("POST", "/unsubscribe/abc", &form, "").await;
        assert_eq!(wrong.0, StatusCode::NOT_FOUND);
        assert_eq!(wrong.1, "text/html; charset=utf-8");
        let method = suite.call("PUT", "/unsubscribe/abc", &[], "").await;
        assert_eq!(method.status, StatusCode::METHOD_NOT_ALLOWED);
    }

    async fn repeats_are_answered_as_before(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let key = [
            ("idempotency-key", "caller-key-1"),
            ("content-type", "application/json"),
        ];
        let body = single().to_string();
        let first = suite.call("POST", "/send/email/single", &key, &body).await;
        let second = suite.call("POST", "/send/email/single", &key, &body).await;
        assert_eq!(first.status, StatusCode::OK, "{}", first.body);
        assert_eq!(first.body, second.body);
        assert_eq!(first.header("idempotency-replayed"), "");
        assert_eq!(second.header("idempotency-replayed"), "true");
        let mut other = single();
        other["emailContent"]["title"] = json!("Another");
        let other = suite.call("POST", "/send/email/single", &key, &other.to_string()).await;
        assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(other.code(), "IDEMPOTENCY_MISMATCH");
    }

    async fn answers_are_taken_in(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let uid = suite.post("/send/email/single", &single()).await.body["requestUid"].clone();
        let uid = uid.as_str().unwrap();
        let headers = [("requestUID", uid), ("content-type", "application/json")];
        let body = json!({"meta": "text", "content": STANDARD.encode("I come")}).to_string();
        let taken = suite.call("POST", "/callback/email", &headers, &body).await;
        assert_eq!((taken.status, &taken.body), (StatusCode::OK, &json!({})));
        for (body, code) in [
            (json!({"meta": "m"}).to_string(), "SCHEMA_VIOLATION"),
            (json!({"content": "?"}).to_string(), "INVALID_BASE64"),
            (String::new(), "MISSING_BODY"),
        ] {
            let refused = suite.call("POST", "/callback/email", &headers, &body).await;
            assert_eq!((refused.status.as_u16(), refused.code()), (405, code));
        }
        let headers = [("content-type", "application/json")];
        let refused = suite.call("POST", "/callback/email", &headers, &body).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (405, "MISSING_REQUEST_UID"));
    }
}

/// A sound message with one member replaced.
fn with(path: &[&str], value: Value) -> String {
    let mut body = single();
    let mut place = &mut body;
    for member in path {
        place = &mut place[*member];
    }
    *place = value;
    body.to_string()
}

/// Bodies that no send path takes, and the code that says why.
fn invalid_inputs() -> Vec<(String, &'static str)> {
    let encoded = |text: &str| with(&["recipientInfo"], json!({ "batchEmailAsBase64": text }));
    let deep = format!("{{\"x\": {}{}}}", "[".repeat(40), "]".repeat(40));
    let long = "x".repeat(1_100);
    vec![
        (String::new(), "MISSING_BODY"),
        ("{".to_owned(), "MALFORMED_JSON"),
        (deep, "MALFORMED_JSON"),
        ("[]".to_owned(), "SCHEMA_VIOLATION"),
        ("{}".to_owned(), "SCHEMA_VIOLATION"),
        (with(&["senderInfo"], json!(7)), "SCHEMA_VIOLATION"),
        (
            with(&["senderInfo", "email"], Value::Null),
            "SCHEMA_VIOLATION",
        ),
        (
            with(&["senderInfo", "email"], json!("nobody")),
            "INVALID_ADDRESS",
        ),
        (
            with(&["senderInfo", "name"], json!("a\r\nBcc: b@c.example")),
            "HEADER_INJECTION",
        ),
        (with(&["recipientInfo"], json!({})), "SCHEMA_VIOLATION"),
        (
            with(&["recipientInfo", "email"], json!("a@x.example, nobody")),
            "INVALID_ADDRESS",
        ),
        (
            with(&["emailContent", "title"], json!("")),
            "SCHEMA_VIOLATION",
        ),
        (
            with(&["emailContent", "title"], json!(long)),
            "SCHEMA_VIOLATION",
        ),
        (
            with(&["emailContent", "content"], json!("")),
            "SCHEMA_VIOLATION",
        ),
        (
            with(&["emailContent", "encoding"], json!("klingon")),
            "UNSUPPORTED_CHARSET",
        ),
        (
            with(&["callback"], json!("http://10.0.0.1/")),
            "FORBIDDEN_CALLBACK_URI",
        ),
        (encoded("***"), "INVALID_BASE64"),
        (encoded(&STANDARD.encode("[]")), "EMPTY_BATCH"),
        (encoded(&STANDARD.encode("[3]")), "SCHEMA_VIOLATION"),
        (encoded(&STANDARD.encode("[")), "MALFORMED_JSON"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_input_is_a_405_that_names_the_methods() {
    let suite = suite(Database::sqlite(), Profile::Local).await;
    let cases = invalid_inputs();
    for path in ["/send/email/single", "/send/email/batch"] {
        for (body, code) in &cases {
            let refused = suite
                .call("POST", path, &[("content-type", "application/json")], body)
                .await;
            assert_eq!(
                (refused.status.as_u16(), refused.code()),
                (405, *code),
                "{body:.200}"
            );
            assert_eq!(refused.header("allow"), "POST, OPTIONS");
            assert_eq!(
                refused.header("content-type"),
                "application/json; charset=utf-8"
            );
            assert!(!refused.body["traceId"].as_str().unwrap().is_empty());
            assert!(
                !refused.body.to_string().contains("nobody"),
                "{}",
                refused.body
            );
        }
    }
    let headers = [("content-type", "application/json")];
    let bad = with(&["recipientInfo", "email"], json!("a@x.example, nobody"));
    let named = suite
        .call("POST", "/send/email/single", &headers, &bad)
        .await;
    assert_eq!(named.body["errors"][0]["pointer"], "/recipientInfo/email/1");
    assert_eq!(suite.sink.mails(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_wants_its_header_and_states() {
    let suite = suite(Database::sqlite(), Profile::Local).await;
    let uid = suite.post("/send/email/single", &single()).await.body["requestUid"].clone();
    let uid = uid.as_str().unwrap();
    for (query, code) in [("", "MISSING_STATUS"), ("status=lost", "UNKNOWN_STATUS")] {
        let refused = suite.counts(uid, query).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (405, code));
        assert_eq!(refused.header("allow"), "GET, HEAD, OPTIONS");
    }
    let refused = suite
        .call("GET", "/status/email?status=delivered", &[], "")
        .await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (405, "MISSING_REQUEST_UID")
    );
    for unknown in [
        "UfQK-CPju-Ea5B-6y7X-8A72-VqU5",
        "not a handle",
        &uid.to_lowercase(),
    ] {
        let refused = suite.counts(unknown, "status=delivered").await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (404, "UNKNOWN_REQUEST_UID")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_and_media_are_answered_in_the_same_shape() {
    let suite = suite(Database::sqlite(), Profile::Local).await;
    for (path, allow) in [
        ("/send/email/single", "POST, OPTIONS"),
        ("/v1/send/email/batch", "POST, OPTIONS"),
        ("/callback/email", "POST, OPTIONS"),
        ("/status/email", "GET, HEAD, OPTIONS"),
    ] {
        let wrong = if allow.starts_with("GET") {
            "POST"
        } else {
            "GET"
        };
        for method in [wrong, "DELETE", "PUT", "PATCH"] {
            let refused = suite.call(method, path, &[], "{\"a\": 1}").await;
            assert_eq!(refused.status.as_u16(), 405, "{method} {path}");
            assert_eq!(refused.code(), "METHOD_NOT_ALLOWED");
            assert_eq!(refused.header("allow"), allow);
        }
        let options = suite.call("OPTIONS", path, &[], "").await;
        assert_eq!(
            (options.status.as_u16(), options.header("allow")),
            (204, allow)
        );
    }
    let xml = [("content-type", "text/xml")];
    let refused = suite.call("POST", "/send/email/single", &xml, "<a/>").await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (415, "UNSUPPORTED_MEDIA_TYPE")
    );
    let unknown = suite.call("GET", "/nothing/here", &[], "").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(
        unknown
            .header("content-type")
            .starts_with("application/json")
    );
    let channel = suite.post("/send/push/single", &single()).await;
    assert_eq!(
        (channel.status.as_u16(), channel.code()),
        (501, "POLICY_NOT_CONFIGURED")
    );
    let problem = [("accept", "application/problem+json")];
    let refused = suite.call("GET", "/status/email", &problem, "").await;
    assert!(
        refused
            .header("content-type")
            .starts_with("application/problem+json")
    );
    assert_eq!(refused.body["status"], 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_wanted_and_checked() {
    let suite = suite(Database::sqlite(), Profile::Local).await;
    let json = ("content-type", "application/json");
    let body = single().to_string();
    let refused = suite
        .bare("POST", "/send/email/single", &[json], &body)
        .await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (405, "MISSING_API_KEY")
    );
    for header in ["apiKey", "api_key", "X-API-Key"] {
        let refused = suite
            .bare("POST", "/send/email/single", &[json, (header, "x")], &body)
            .await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (401, "INVALID_API_KEY")
        );
        assert!(!refused.header("www-authenticate").is_empty());
    }
    let weak = format!("Bearer {}", token(&["messaging:message:read"]));
    let headers = [json, ("authorization", weak.as_str())];
    let refused = suite
        .bare("POST", "/send/email/single", &headers, &body)
        .await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (403, "FORBIDDEN_SENDER")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_suites_key_is_enough_under_its_profile() {
    let suite = suite(Database::sqlite(), Profile::Conformance).await;
    let headers = [("api_key", "any"), ("content-type", "application/json")];
    let sent = suite
        .bare(
            "POST",
            "/send/email/single",
            &headers,
            &single().to_string(),
        )
        .await;
    // The block behind the gateway has no anonymous role of its own here; the gateway mints one.
    assert_eq!(sent.status, StatusCode::OK, "{}", sent.body);
    let refused = suite
        .bare("POST", "/send/email/single", &headers[1..], "{}")
        .await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (405, "MISSING_API_KEY")
    );
}
