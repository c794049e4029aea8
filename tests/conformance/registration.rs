//! The registration surface: every published path, method, code and body.

mod edges;
mod lists;
mod work;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use publica_auth::{AnonymousRole, AuthConfig, Verifier};
use publica_gateway::{Gateway, GatewayConfig, GatewayState, Parts, SurfaceConfig};
use publica_host::Profile;
use publica_jose::{Jws, Protected, sign_jws};
use publica_registration::{Registration, RegistrationConfig};
use publica_testkit::{
    Database, TestBlock, TestDatabase, TestEnv, both_engines, env, token_for, tokens,
};
use publica_types::{SystemClock, Tenant};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const MEDIATOR: &str = "information-mediator-client";
const CLIENT: &str = "eGovStack/GOV/90000009/digitalregistries";

struct Suite {
    router: Router,
    alone: Router,
    token: Option<String>,
    _block: TestBlock<Registration>,
    _env: TestEnv,
    _gateway: TestEnv,
    _db: TestDatabase,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Vec<u8>,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.json();
        assert!(no_null(&self.body), "a member is null: {}", self.body);
        self.body
    }

    #[track_caller]
    fn json(&self) {
        let kind = self.headers["content-type"].to_str().unwrap();
        assert_eq!(kind, "application/json; charset=utf-8");
    }

    /// The machine code of a refusal, whose body is a `systemError` and nothing else.
    #[track_caller]
    fn refused(&self, status: u16) -> &str {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.json();
        assert_eq!(self.body["traceId"], "trace-1", "{}", self.body);
        for member in ["code", "message", "localizedMessage"] {
            assert!(self.body[member].is_string(), "{member}: {}", self.body);
        }
        self.body["code"].as_str().unwrap()
    }

    /// Where the defects of a refusal are.
    #[track_caller]
    fn pointers(&self, status: u16, code: &str) -> Vec<String> {
        assert_eq!(self.refused(status), code);
        let defects = self.body["errors"].as_array().unwrap();
        assert!(defects.iter().all(|defect| defect["message"].is_string()));
        defects
            .iter()
            .map(|defect| text(&defect["pointer"]))
            .collect()
    }
}

fn no_null(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => items.iter().all(no_null),
        Value::Object(members) => members.values().all(no_null),
        _ => true,
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

/// The names of an object's members.
fn names(value: &Value) -> Vec<&str> {
    let members = value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"));
    members.keys().map(String::as_str).collect()
}

async fn suite(db: TestDatabase, profile: Profile) -> Suite {
    let own = env("registration").with_profile(profile);
    let config = RegistrationConfig {
        database: db.config(),
        ..RegistrationConfig::default()
    };
    let block = own.open::<Registration>(config).await.unwrap();
    let gateway = env("gateway").with_peer("registration", block.link.clone());
    let clock = Arc::new(SystemClock);
    let mut verifier = Verifier::open(&AuthConfig::default(), Some(tokens()), clock).unwrap();
    if profile == Profile::Conformance {
        verifier = verifier.with_anonymous(AnonymousRole {
            name: "conformance".into(),
            scopes: vec!["registration:*".to_owned()],
        });
    }
    let state = GatewayState::new(Parts {
        peers: gateway.peers.clone(),
        verifier: Arc::new(verifier),
        tokens: tokens().clone(),
        profile,
        clock: gateway.clock.clone(),
        entropy: gateway.entropy.clone(),
        blocks: vec!["registration".to_owned()],
    });
    let mut config = GatewayConfig::default();
    let listen = "127.0.0.1:0".parse().unwrap();
    let surface = SurfaceConfig {
        listen,
        prefix: String::new(),
        strict: false,
    };
    config.surfaces.insert("registration".to_owned(), surface);
    let gateway_itself = Gateway::new(config, state);
    let token = (profile != Profile::Conformance).then(|| machine("admin", &["registration:*"]));
    Suite {
        router: gateway_itself.router(),
        alone: gateway_itself.surfaces().remove(0).2,
        token,
        _block: block,
        _env: own,
        _gateway: gateway,
        _db: db,
    }
}

/// A token of another system.
fn machine(subject: &str, scopes: &[&str]) -> String {
    token_for(subject, scopes, &Tenant::default())
}

/// A token that a person got by way of a portal.
fn person(subject: &str, scopes: &[&str]) -> String {
    let payload = Jws::parse(&machine(subject, scopes))
        .unwrap()
        .unverified_payload()
        .unwrap();
    let mut claims: Value = serde_json::from_slice(&payload).unwrap();
    claims["client_id"] = json!("portal");
    let header = Protected::new().typ("at+jwt");
    sign_jws(tokens().key(), header, claims.to_string().as_bytes()).unwrap()
}

const APPLICANT: &[&str] = &[
    "registration:service:read",
    "registration:application:read",
    "registration:application:write",
    "registration:document:read",
    "registration:document:write",
    "registration:task:read",
];

/// What an operator of one role holds.
fn operator(subject: &str, role: &str) -> String {
    let role = format!("registration:role:{role}");
    person(
        subject,
        &[
            "registration:application:read",
            "registration:application:write",
            "registration:document:read",
            "registration:task:read",
            "registration:task:write",
            &role,
        ],
    )
}

async fn answer_of(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes().to_vec();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer {
        status: parts.status,
        headers: parts.headers,
        bytes,
        body,
    }
}

impl Suite {
    fn request(&self, method: &str, path: &str) -> Request<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("x-request-id", "trace-1")
            .header(MEDIATOR, CLIENT)
            .body(Body::empty())
            .unwrap();
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        request
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        edit: impl FnOnce(&mut Request<Body>),
    ) -> Answer {
        let mut request = self.request(method, &format!("/registration{path}"));
        edit(&mut request);
        answer_of(&self.router, request).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, |_| {}).await
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.raw(method, path, "application/json", body.to_string())
            .await
    }

    async fn raw(&self, method: &str, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        self.send(method, path, |request| {
            let kind = kind.parse().unwrap();
            request.headers_mut().insert("content-type", kind);
            *request.body_mut() = body.into();
        })
        .await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, body).await
    }

    /// The same suite for another caller.
    async fn as_caller(&mut self, token: &str) {
        self.token = Some(token.to_owned());
    }

    async fn publish(&self, definition: &Value) {
        self.post("/api/v1/services", definition).await.ok();
    }

    async fn submit(&self, applicant: &str, income: i64) -> Value {
        self.post(
            "/services/support/applications",
            &submission(applicant, income),
        )
        .await
        .ok()
    }
}

/// Low income is approved, high income refused, the rest is looked at by two roles.
fn support() -> Value {
    json!({
        "serviceId": "support", "name": "Household support", "description": "For households",
        "properties": [{"code": "sector", "value": "social"}],
        "forms": [{"eFormId": "household-form", "name": "Household", "version": "2",
            "containers": [{"key": "household", "fields": [
                {"key": "members", "type": "integer", "required": true, "min": 1, "max": 50},
                {"key": "income", "type": "number", "required": true, "min": 0},
                {"key": "note", "type": "text", "maxLength": 20},
                {"key": "due", "type": "date",
                 "visibleWhen": {">": [{"var": "household.members"}, 9]}},
            ]}]}],
        "determinants": {"poor": {"<": [{"var": "household.income"}, 100]}},
        "decisions": [
            {"when": {"determinant": "poor"}, "outcome": "APPROVED", "reason": "Low income."},
            {"when": {">": [{"var": "household.income"}, 1000]}, "outcome": "REJECTED",
             "reason": "High income."},
        ],
        "roles": [{"id": "clerk", "name": "Clerk"},
            {"id": "head", "name": "Head", "outcomes": ["APPROVED", "REJECTED"],
             "defaultOutcome": "APPROVED",
             "when": {">": [{"var": "household.income"}, 700]}}],
    })
}

/// A service that asks for nothing and takes references to documents elsewhere.
fn simple() -> Value {
    json!({
        "serviceId": "simple", "name": "Simple", "type": "None", "externalDocuments": true,
        "forms": [{"eFormId": "simple-form", "name": "Simple", "containers": [
            {"key": "form", "fields": [{"key": "note", "type": "text"}]}]}],
        "roles": [{"id": "clerk", "name": "Clerk"}],
    })
}

fn submission(applicant: &str, income: i64) -> Value {
    json!({"applicantId": applicant, "applicationName": "Amya Yuko",
        "created": "2000-10-23T00:00:00.000Z",
        "formData": {"data": {"household": {"members": 3, "income": income}},
            "eFormId": "household-form"},
        "documentUrls": []})
}

both_engines! {
    async fn services(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        assert_eq!(suite.get("/services").await.ok(), json!([]));
        suite.publish(&support()).await;
        suite.publish(&simple()).await;
        let all = suite.get("/services").await.ok();
        assert_eq!(all.as_array().unwrap().len(), 2);
        assert_eq!(all[0], json!({"id": "support", "name": "Household support", "version": "1",
            "type": "Public", "isExecutable": true, "isClosed": false,
            "description": "For households",
            "serviceBody": [{"code": "sector", "value": "social"}]}));
        let mandatory = ["id", "isClosed", "isExecutable", "name", "serviceBody", "type",
            "version"];
        assert_eq!(names(&all[1]), mandatory);
        assert_eq!(suite.get("/services/support").await.ok(), all[0]);
        let named = suite.get("/services?name=Household%20support").await.ok();
        assert_eq!(named.as_array().unwrap().len(), 1);
        for other in ["household%20support", "Household", "%01", "%F0%9F%98%80"] {
            let found = suite.get(&format!("/services?name={other}")).await.ok();
            assert_eq!(found, json!([]), "{other}");
        }
        assert_eq!(suite.get("/services?name=%00").await.refused(400), "validation_failed");
        let forms = suite.get("/services/support/eForms").await.ok();
        assert_eq!(forms, json!([{"eFormId": "household-form", "name": "Household",
            "version": "2", "latest": true}]));
        let form = suite.get("/eForms/household-form").await.ok();
        assert_eq!(names(&form), ["eFormId", "latest", "name", "schema", "version"]);
        let household = &form["schema"]["properties"]["household"];
        assert_eq!(household["required"], json!(["members", "income"]));
        for path in ["/services/none", "/services/none/eForms"] {
            assert_eq!(suite.get(path).await.refused(404), "service_not_found");
        }
        assert_eq!(suite.get("/eForms/none").await.refused(404), "eform_not_found");
    }

    async fn submissions(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        suite.publish(&support()).await;
        let sent = submission("p1", 500);
        let file = suite.submit("p1", 500).await;
        for member in ["fileId", "registered", "serviceId", "serviceName", "applicantId"] {
            assert!(file[member].is_string(), "{member}");
        }
        assert_eq!(file["status"], json!({"code": "PENDING", "title": "Pending"}));
        assert_eq!(file["ended"], false);
        let echo = &file["applicationData"];
        assert_eq!(echo["formData"], sent["formData"]);
        assert_eq!(echo["created"], "2000-10-23T00:00:00Z");
        for member in ["applicantId", "applicationName", "documentUrls"] {
            assert_eq!(echo[member], sent[member], "{member}");
        }
        let path = format!("/applications/{}", text(&file["fileId"]));
        assert_eq!(suite.get(&path).await.ok()["applicationData"], *echo);
        let approved = suite.submit("p2", 50).await;
        assert_eq!(approved["status"], json!({"code": "APPROVED", "title": "Approved"}));
        assert_eq!(approved["ended"], true);
        let refused = suite.submit("p3", 5_000).await;
        assert_eq!(refused["status"]["code"], "REJECTED");
        // Flat members, fields that are hidden and fields that nobody knows.
        let flat = json!({"applicantId": "p4", "formData": {"data":
            {"members": 3, "income": 500, "due": "2026-13-45", "colour": "red"}}});
        let file = suite.post("/services/support/applications", &flat).await.ok();
        assert_eq!(file["applicationData"]["formData"]["data"],
            json!({"household": {"members": 3, "income": 500}}));
        suite.publish(&simple()).await;
        let kind = "application/x-www-form-urlencoded";
        let form = "applicantId=p5&applicationName=A+B&created=2000-10-23T00%3A00%3A00.000Z";
        let path = "/services/simple/applications";
        let file = suite.raw("POST", path, kind, form).await.ok();
        assert_eq!(file["applicationData"]["applicationName"], "A B");
        assert_eq!(file["applicationData"]["formData"]["data"], json!({}));
        let elsewhere = json!({"applicantId": "p5", "documentUrls": ["https://example.org/x"]});
        let file = suite.post(path, &elsewhere).await.ok();
        assert_eq!(file["applicationData"]["documentUrls"], elsewhere["documentUrls"]);
    }

    async fn what_is_wrong_with_a_submission(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        suite.publish(&support()).await;
        let path = "/services/support/applications";
        let cases = [
            (json!({}), "/applicantId"),
            (json!({"applicantId": ""}), "/applicantId"),
            (json!({"applicantId": "a/b"}), "/applicantId"),
            (json!({"applicantId": "a\u{0}"}), "/applicantId"),
            (json!({"applicantId": "a".repeat(129)}), "/applicantId"),
            (json!({"applicantId": 7}), "/applicantId"),
            (json!({"applicantId": "p", "created": "yesterday"}), "/created"),
            (json!({"applicantId": "p", "created": 1}), "/created"),
            (json!({"applicantId": "p", "applicationName": []}), "/applicationName"),
            (json!({"applicantId": "p", "applicationName": "x".repeat(257)}), "/applicationName"),
            (json!({"applicantId": "p", "formData": 1}), "/formData"),
            (json!({"applicantId": "p", "formData": []}), "/formData"),
            (json!({"applicantId": "p", "formData": {"data": [1]}}), "/formData/data"),
            (json!({"applicantId": "p", "formData": {"eFormId": 1}}), "/formData/eFormId"),
            (json!({"applicantId": "p", "documentUrls": "x"}), "/documentUrls"),
            (json!({"applicantId": "p", "documentUrls": ["x", 1]}), "/documentUrls/1"),
            (json!({"applicantId": "p", "documentUrls": ["x", "\u{0}"]}), "/documentUrls/1"),
            (json!([]), ""),
            (json!("secret"), ""),
        ];
        for (body, pointer) in cases {
            let answer = suite.post(path, &body).await;
            assert_eq!(answer.pointers(400, "validation_failed"), [pointer], "{body}");
            assert!(!answer.body.to_string().contains("secret"));
        }
        let mut bad = submission("p", -5);
        bad["formData"]["data"]["household"]["members"] = json!(99);
        bad["formData"]["data"]["household"]["note"] = json!("x".repeat(21));
        let answer = suite.post(path, &bad).await;
        let at = |field: &str| format!("/formData/data/household/{field}");
        assert_eq!(answer.pointers(422, "submission_invalid"),
            [at("members"), at("income"), at("note")]);
        let rules: Vec<&str> = answer.body["errors"].as_array().unwrap().iter()
            .map(|defect| defect["rule"].as_str().unwrap()).collect();
        assert_eq!(rules, ["maximum", "minimum", "maxLength"]);
        let mut bad = submission("p", 5);
        bad["formData"]["eFormId"] = json!("other");
        let answer = suite.post(path, &bad).await;
        assert_eq!(answer.pointers(422, "submission_invalid"), ["/formData/eFormId"]);
        for reference in ["/documents/none", "https://example.org/x", "", "/documents/%00", "\u{1}"] {
            let mut bad = submission("p", 5);
            bad["documentUrls"] = json!([reference]);
            let answer = suite.post(path, &bad).await;
            assert_eq!(answer.pointers(422, "submission_invalid"), ["/documentUrls/0"]);
        }
        assert_eq!(suite.get("/applications").await.ok(), json!([]));
        let unknown = suite.post("/services/none/applications", &submission("p", 5)).await;
        assert_eq!(unknown.refused(404), "service_not_found");
        suite.post("/api/v1/services/support/open", &json!({"open": false})).await.ok();
        assert_eq!(suite.get("/services/support").await.ok()["isExecutable"], false);
        let closed = suite.post(path, &submission("p", 5)).await;
        assert_eq!(closed.refused(409), "service_not_open");
    }

    async fn a_submission_is_made_once(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        suite.publish(&support()).await;
        let send = async |income: i64| {
            let body = submission("p", income).to_string();
            suite.send("POST", "/services/support/applications", |request| {
                let key = "\"11111111-1111-4111-8111-111111111111\"".parse().unwrap();
                request.headers_mut().insert("idempotency-key", key);
                *request.body_mut() = body.into();
            }).await
        };
        let first = send(500).await.ok();
        let again = send(500).await.ok();
        assert_eq!(first, again);
        assert_eq!(send(501).await.refused(409), "request_id_reused");
        assert_eq!(suite.get("/applications").await.headers["x-total-count"], "1");
    }
}

#[tokio::test]
async fn the_conformance_profile_needs_no_credentials() {
    let suite = suite(Database::sqlite(), Profile::Conformance).await;
    suite.publish(&support()).await;
    let answer = suite.get("/services").await;
    assert_eq!(answer.headers["x-publica-profile"], "conformance");
    assert_eq!(answer.ok().as_array().unwrap().len(), 1);
    suite.submit("p", 500).await;
    assert_eq!(suite.get("/tasks").await.ok().as_array().unwrap().len(), 1);
    for (method, path) in [
        ("GET", "/applications"),
        ("GET", "/applications/none"),
        ("PUT", "/applications/none"),
        ("POST", "/services/support/applications"),
        ("GET", "/data/statistics"),
        ("GET", "/data/statistics/1.0"),
    ] {
        for sent in [
            None,
            Some(""),
            Some("a/b/c"),
            Some("a/b/c/"),
            Some("a/b/c/d e"),
        ] {
            let answer = suite.send(method, path, |request| {
                request.headers_mut().remove(MEDIATOR);
                if let Some(sent) = sent {
                    request
                        .headers_mut()
                        .insert(MEDIATOR, sent.parse().unwrap());
                }
            });
            assert_eq!(
                answer.await.refused(400),
                "invalid_mediator_client",
                "{path} {sent:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_surface_stands_alone_as_published() {
    let suite = suite(Database::sqlite(), Profile::Local).await;
    suite.publish(&support()).await;
    let all = answer_of(&suite.alone, suite.request("GET", "/services"))
        .await
        .ok();
    assert_eq!(all[0]["id"], "support");
    let health = answer_of(&suite.alone, suite.request("GET", "/healthcheck"))
        .await
        .ok();
    assert_eq!(health, json!({"status": "UP"}));
    let answer = answer_of(&suite.alone, suite.request("GET", "/nothing")).await;
    assert_eq!(answer.refused(404), "path_not_found");
}
