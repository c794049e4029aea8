//! The consent surface: every published path, method, code and body.

mod carrying;
mod detached;
mod finding;
mod fixtures;
mod forms;
mod keeping;
mod notices;
mod parts;
mod telling;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use publica_auth::{AnonymousRole, AuthConfig, Verifier};
use publica_consent::{Consent, ConsentConfig};
use publica_gateway::rest::surface;
use publica_gateway::{Gateway, GatewayConfig, GatewayState, Parts};
use publica_host::Profile;
use publica_jose::{Alg, Protected, SigningKey, sign_jws};
use publica_testkit::{TestBlock, TestDatabase, TestEnv, both_engines, env, token, tokens};
use publica_types::{SystemClock, SystemEntropy};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use fixtures::{agreement, person_token, policy};

struct Suite {
    router: Router,
    token: Option<String>,
    block: TestBlock<Consent>,
    _env: TestEnv,
    _gateway: TestEnv,
    db: TestDatabase,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{:?}", self.body);
        assert_eq!(
            self.headers["content-type"],
            "application/json; charset=utf-8"
        );
        assert!(no_null(&self.body), "a member is null: {}", self.body);
        self.body
    }

    /// The machine code of a refusal, whose body has the published shape.
    #[track_caller]
    fn refused(self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        assert_eq!(self.body["errorCode"], status);
        assert!(self.body["errorDescription"].is_string());
        assert!(self.body["traceId"].is_string());
        self.body["code"].as_str().unwrap_or_default().to_owned()
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

async fn suite(db: TestDatabase, profile: Profile) -> Suite {
    suite_with(db, profile, env("consent"), |_| {}).await
}

async fn suite_with(
    db: TestDatabase,
    profile: Profile,
    own: TestEnv,
    set: impl FnOnce(&mut ConsentConfig),
) -> Suite {
    let own = own.with_profile(profile);
    let mut config = ConsentConfig {
        database: db.config(),
        ..ConsentConfig::default()
    };
    set(&mut config);
    let block = own.open::<Consent>(config).await.unwrap();
    let gateway = env("gateway").with_peer("consent", block.link.clone());
    let clock = Arc::new(SystemClock);
    let mut verifier = Verifier::open(&AuthConfig::default(), Some(tokens()), clock).unwrap();
    if profile == Profile::Conformance {
        let scopes = vec!["consent:*".to_owned()];
        verifier = verifier.with_anonymous(AnonymousRole {
            name: "conformance".into(),
            scopes,
        });
    }
    let state = GatewayState::new(Parts {
        peers: gateway.peers.clone(),
        verifier: Arc::new(verifier),
        tokens: tokens().clone(),
        profile,
        clock: gateway.clock.clone(),
        entropy: gateway.entropy.clone(),
        blocks: vec!["consent".to_owned()],
    });
    let router = Gateway::new(GatewayConfig::default(), state).router();
    let token = (profile != Profile::Conformance).then(|| token(&["consent:*"]));
    Suite {
        router,
        token,
        block,
        _env: own,
        _gateway: gateway,
        db,
    }
}

impl Suite {
    async fn send(
        &self,
        method: &str,
        path: &str,
        edit: impl FnOnce(&mut Request<Body>),
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/consent{path}"))
            .header("x-request-id", "trace-1")
            .body(Body::empty())
            .unwrap();
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        edit(&mut request);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, |_| {}).await
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.send(method, path, |request| {
            *request.body_mut() = body.to_string().into();
        })
        .await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, body).await
    }

    async fn agreement(&self) -> Value {
        let made = self.post(
            "/config/data-agreement/",
            json!({ "dataAgreement": agreement() }),
        );
        made.await.ok()["dataAgreement"].clone()
    }

    async fn person(&self, external_id: &str) -> (String, SigningKey) {
        let body = json!({"individual": {"externalId": external_id,
            "externalIdType": "foundational id", "identityProviderId": "IDBB"}});
        let made = self.post("/service/individual/", body).await.ok();
        let id = text(&made["individual"]["id"]);
        let key = SigningKey::generate(Alg::Es256, &SystemEntropy).unwrap();
        let jwk = json!({ "jwk": key.public_jwk().to_value() });
        self.post(&format!("/service/individual/{id}/keys/"), jwk)
            .await
            .ok();
        (id, key)
    }

    async fn draft(&self, person: &str, agreement: &str) -> Value {
        let path = format!(
            "/service/individual/record/consent-record/draft/?individualId={person}\
             &dataAgreementId={agreement}"
        );
        self.post(&path, json!({})).await.ok()
    }

    async fn signed(&self, person: &str, key: &SigningKey, agreement: &str) -> Value {
        let mut pair = self.draft(person, agreement).await;
        sign(&mut pair["signature"], key);
        self.post("/service/individual/record/consent-record/", pair)
            .await
            .ok()
    }
}

fn sign(signature: &mut Value, key: &SigningKey) {
    let payload = text(&signature["payload"]);
    let token = sign_jws(key, Protected::new(), payload.as_bytes()).unwrap();
    signature["signature"] = json!(token);
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

both_engines! {
    async fn policies(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let made = suite.post("/config/policy/", json!({ "policy": policy() })).await.ok();
        let id = text(&made["policy"]["id"]);
        let first = text(&made["revision"]["id"]);
        assert_eq!(made["revision"]["schemaName"], "Policy");
        assert_eq!(made["revision"]["objectData"]["name"], "Privacy");
        let mut next = policy();
        next["url"] = json!("https://example.com/policy/2.0");
        let path = format!("/config/policy/{id}/");
        let changed = suite.call("PUT", &path, json!({ "policy": next })).await.ok();
        assert_eq!(changed["revision"]["predecessorHash"], made["revision"]["serializedHash"]);
        let old = suite.get(&format!("{path}?revisionId={first}")).await.ok();
        assert_eq!(old["policy"]["url"], "https://example.com/policy/1.0");
        let served = suite.get(&format!("/service/policy/{id}")).await.ok();
        assert_eq!(served["policy"]["url"], "https://example.com/policy/2.0");
        let revisions = suite.get(&format!("{path}revisions/?limit=1")).await.ok();
        assert_eq!(revisions["revisions"].as_array().unwrap().len(), 1);
        assert_eq!(revisions["pagination"]["hasNext"], true);
        assert_eq!(revisions["policy"]["id"], id);
        let one = suite.get(&format!("/config/policies/?revisionId={first}")).await.ok();
        assert_eq!(one["policies"].as_array().unwrap().len(), 1);
        let all = suite.get("/api/config/policies/?limit=0&count=true").await.ok();
        assert_eq!(all["policies"], json!([]));
        assert_eq!(all["pagination"]["totalItems"], 1);
        let none = suite.get("/config/policies/?offset=5").await.ok();
        assert_eq!(none["policies"], json!([]));
        for bad in ["limit=-1", "limit=x", "offset=-1", "revisionId=a%2Fb"] {
            let answer = suite.get(&format!("/config/policies/?{bad}")).await;
            assert_eq!(answer.refused(400), "invalid_fields");
        }
        let gone = suite.call("DELETE", &path, json!({})).await.ok();
        assert_eq!(gone["revision"]["id"], gone["id"]);
        assert_eq!(suite.get(&path).await.refused(400), "policy_not_found");
    }

    async fn agreements(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let made = suite.agreement().await;
        let id = text(&made["id"]);
        assert_eq!(made["lifecycle"], json!({"id": "2", "name": "Complete"}));
        assert_eq!(made["lawfulBasis"], "consent");
        assert_eq!(made["controller"]["name"], "Ministry");
        assert_eq!(made["dataAttributes"][0]["sensitivity"], "sensitive");
        assert_eq!(made["policy"]["jurisdiction"], "EU");
        let path = format!("/config/data-agreement/{id}/");
        let policy_id = text(&made["policyId"]);
        let policy_path = format!("/config/policy/{policy_id}/");
        let in_use = suite.call("DELETE", &policy_path, json!({})).await;
        assert_eq!(in_use.refused(400), "policy_in_use");
        let mut next = agreement();
        next["purpose"] = json!("Another purpose");
        next["policy"] = json!({ "id": policy_id });
        next["lifecycle"] = json!("draft");
        let draft = suite.call("PUT", &path, json!({ "dataAgreement": next })).await.ok();
        assert_eq!(draft["dataAgreement"]["lifecycle"]["name"], "Draft");
        let served = suite.get(&format!("/service/data-agreement/{id}/")).await.ok();
        assert_eq!(served["dataAgreement"]["purpose"], "Registration in Health App");
        suite.post(&format!("{path}publish/"), json!({})).await.ok();
        let served = suite.get(&format!("/service/data-agreement/{id}/")).await.ok();
        assert_eq!(served["dataAgreement"]["purpose"], "Another purpose");
        let listed = suite.get("/config/data-agreements/?lifecycle=Complete").await.ok();
        assert_eq!(listed["dataAgreement"], listed["dataAgreements"]);
        assert_eq!(listed["dataAgreement"].as_array().unwrap().len(), 1);
        for path in ["/service/verification/data-agreements/", "/audit/data-agreements/"] {
            assert_eq!(suite.get(path).await.ok()["dataAgreements"].as_array().unwrap().len(), 1);
        }
        suite.get(&format!("/audit/data-agreement/{id}/")).await.ok();
        suite.get(&format!("{path}attributes/")).await.ok();
        let revisions = suite.get(&format!("{path}revisions/")).await.ok();
        assert_eq!(revisions["revisions"].as_array().unwrap().len(), 3);
        let mut bad = agreement();
        bad["lawfulBasis"] = json!("habit");
        let answer = suite.post("/config/data-agreement/", json!({ "dataAgreement": bad })).await;
        let reason = answer.body["details"][0]["reason"].clone();
        assert_eq!(answer.refused(400), "invalid_fields");
        assert!(text(&reason).contains("legitimate_interest"));
        let ended = suite.call("DELETE", &path, json!({})).await.ok();
        assert_eq!(ended["schemaName"], "DataAgreement");
        let again = suite.call("DELETE", &path, json!({})).await;
        assert_eq!(again.refused(400), "agreement_terminated");
    }

    async fn individuals(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let (id, _) = suite.person("712").await;
        let again = json!({"individual": {"externalId": "712",
            "externalIdType": "foundational id", "identityProviderId": "IDBB"}});
        let twice = suite.post("/config/individual/", again).await;
        assert_eq!(twice.refused(400), "individual_exists");
        for base in ["/config", "/service"] {
            let one = suite.get(&format!("{base}/individual/{id}/")).await.ok();
            assert_eq!(one["individual"]["externalId"], "712");
            let found = suite.get(&format!("{base}/individuals/?externalId=712")).await.ok();
            assert_eq!(found["individuals"][0]["id"], id);
        }
        let body = json!({"individual": {"id": "ignored", "externalId": "713"}});
        let changed = suite.call("PUT", &format!("/service/individual/{id}/"), body).await.ok();
        assert_eq!(changed["individual"]["id"], id);
        assert_eq!(changed["individual"]["externalId"], "713");
        let keys = suite.get(&format!("/service/individual/{id}/keys/")).await.ok();
        let key = text(&keys["keys"][0]["id"]);
        let path = format!("/service/individual/{id}/keys/{key}/");
        let gone = suite.call("DELETE", &path, json!({})).await.ok();
        assert!(gone["key"]["revokedAt"].is_string());
        let path = format!("/service/individual/notifications/?individualId={id}");
        assert_eq!(suite.get(&path).await.ok()["enabled"], true);
        suite.call("PUT", &path, json!({"enabled": false})).await.ok();
        assert_eq!(suite.get(&path).await.ok()["enabled"], false);
    }

    async fn records(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let agreement = text(&suite.agreement().await["id"]);
        let (person, key) = suite.person("712").await;
        let base = "/service/individual/record";
        let own = format!("individualId={person}");
        let under = format!("{base}/data-agreement/{agreement}/");
        assert_eq!(suite.get(&format!("{under}?{own}")).await.ok(), json!({}));
        let mut draft = suite.draft(&person, &agreement).await;
        assert!(draft["consentRecord"].get("id").is_none());
        assert_eq!(draft["consentRecord"]["state"], "unsigned");
        let pair = format!("{base}/consent-record/");
        assert_eq!(suite.post(&pair, draft.clone()).await.refused(400), "signature_invalid");
        sign(&mut draft["signature"], &key);
        let stored = suite.post(&pair, draft.clone()).await.ok();
        assert_eq!(stored["consentRecord"]["state"], "signed");
        assert_eq!(stored["revision"]["signedWithoutObjectId"], true);
        let snapshot = &stored["revision"]["serializedSnapshot"];
        assert_eq!(snapshot, &draft["signature"]["verificationPayload"]);
        let id = text(&stored["consentRecord"]["id"]);
        let again = suite.post(&pair, draft).await.ok();
        assert_eq!(again["consentRecord"]["id"], id);
        let twice = suite.post(&format!("{under}?{own}"), json!({})).await;
        assert_eq!(twice.refused(400), "record_exists");
        let current = suite.get(&format!("{under}?{own}")).await.ok();
        assert_eq!(current["consentRecord"]["dataAgreement"]["id"], agreement);
        assert_eq!(current["consentRecord"]["individual"]["id"], person);
        assert!(current["consentRecord"]["signature"]["payload"].is_string());
        for path in [format!("{under}all/?{own}"), format!("{pair}?{own}")] {
            assert_eq!(suite.get(&path).await.ok()["consentRecords"][0]["id"], id);
        }
        let one = format!("{pair}{id}/");
        let off = suite.call("PUT", &one, json!({"consentRecord": {"optIn": false}})).await.ok();
        assert_eq!(off["consentRecord"]["effectiveStatus"], "withdrawn");
        let bare = suite.call("PUT", &one, json!({"optIn": true})).await.ok();
        assert_eq!(bare["consentRecord"]["optIn"], true);
        let form = suite.send("PUT", &one, |request| {
            let kind = "application/x-www-form-urlencoded".parse().unwrap();
            request.headers_mut().insert("content-type", kind);
            *request.body_mut() = "optIn=FALSE".into();
        });
        assert_eq!(form.await.ok()["consentRecord"]["optIn"], false);
        let signing = format!("{one}signature/");
        let mut drafted = suite.send("POST", &signing, |_| {}).await.ok();
        sign(&mut drafted["signature"], &key);
        let attached = suite.call("PUT", &signing, drafted).await.ok();
        assert_eq!(attached["consentRecord"]["state"], "signed");
        assert_eq!(attached["signature"]["objectType"], "revision");
        let checked = suite.get(&format!("/audit/consent-record/{id}/verify/")).await.ok();
        assert_eq!(checked["intact"], true);
        assert_eq!((&checked["revisions"], &checked["signatures"]), (&json!(4), &json!(2)));
        let erased = suite.call("DELETE", &format!("{base}/?{own}"), json!({})).await;
        assert_eq!(erased.headers["x-consent-deleted"], "1");
        assert_eq!(erased.headers["x-consent-retained"], "0");
        assert_eq!(suite.get(&format!("{pair}?{own}")).await.ok()["consentRecords"], json!([]));
    }

    async fn verification_and_audit(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let agreement = text(&suite.agreement().await["id"]);
        let (person, key) = suite.person("712").await;
        let stored = suite.signed(&person, &key, &agreement).await;
        let id = text(&stored["consentRecord"]["id"]);
        for path in [
            "/service/verification/consent-records/?externalId=712".to_owned(),
            format!("/service/verification/consent-records/?individualId={person}&optIn=true"),
            format!("/audit/consent-records/?dataAgreementId={agreement}&state=signed&sort=asc"),
            "/audit/consent-records/?lawfulBasis=consent&count=true".to_owned(),
        ] {
            let found = suite.get(&path).await.ok();
            assert_eq!(found["consentRecords"][0]["id"], id, "{path}");
        }
        for path in [
            "/service/verification/consent-records/?externalId=999",
            "/service/verification/consent-records/?optIn=false",
            "/audit/consent-records/?from=2999-01-01T00:00:00Z",
        ] {
            assert_eq!(suite.get(path).await.ok()["consentRecords"], json!([]), "{path}");
        }
        let one = suite.get(&format!("/service/verification/consent-record/{id}/")).await.ok();
        let revision = text(&one["revision"]["id"]);
        suite.get(&format!("/audit/consent-record/{id}/")).await.ok();
        let verified = suite.get(&format!("/audit/revision/{revision}/verify/")).await.ok();
        assert_eq!(verified["intact"], true);
        let path = format!("/audit/revisions/?schemaName=ConsentRecord&objectId={id}");
        assert_eq!(suite.get(&path).await.ok()["revisions"][0]["id"], revision);
        let question = json!({"individualId": person, "dataAgreementId": agreement,
            "attributes": ["income"]});
        let yes = suite.post("/service/verification/check/", question.clone()).await.ok();
        assert_eq!((&yes["allowed"], &yes["reasons"]), (&json!(true), &json!([])));
        let native = suite.post("/v1/decisions", question.clone()).await.ok();
        assert_eq!(native["grantedAttributes"], json!(["income"]));
        let both = json!({ "checks": [question, {"individualId": "none",
            "dataAgreementId": agreement}] });
        for path in ["/service/verification/check-batch/", "/v1/decisions"] {
            let answers = suite.post(path, both.clone()).await.ok();
            assert_eq!(answers["decisions"][1]["reasons"], json!(["individual_unknown"]));
        }
        let path = format!("/service/individual/record/consent-record/{id}/receipt/");
        let lacking = suite.get(&path).await;
        assert_eq!(lacking.refused(400), "receipt_incomplete");
    }

    async fn webhooks(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let webhook = |url: &str| json!({"webhook": {"id": "", "payloadUrl": url,
            "contentType": "application/json", "disabled": false, "secretKey": "x",
            "subscribedEvents": ["consent.withdrawn"]}});
        let made = suite.post("/config/webhook/", webhook("https://hooks.example.com/a")).await;
        let made = made.ok();
        let id = text(&made["webhook"]["id"]);
        assert!(text(&made["webhook"]["secretKey"]).starts_with("whsec_"));
        let path = format!("/config/webhook/{id}/");
        let shown = suite.get(&path).await.ok();
        assert_eq!(shown["webhook"]["secretKey"], "********");
        let moved = suite.call("PUT", &path, webhook("https://hooks.example.com/b")).await.ok();
        assert_eq!(moved["webhook"]["payloadUrl"], "https://hooks.example.com/b");
        let all = suite.get("/config/webhooks/").await.ok();
        assert_eq!(all["webhooks"].as_array().unwrap().len(), 1);
        for bad in ["http://hooks.example.com/", "https://127.0.0.1/", "nowhere"] {
            suite.post("/config/webhook/", webhook(bad)).await.refused(400);
        }
        suite.call("DELETE", &path, json!({})).await.ok();
        suite.get(&path).await.refused(400);
    }

    async fn many_people_at_once(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let agreement = text(&suite.agreement().await["id"]);
        let key = SigningKey::generate(Alg::EdDsa, &SystemEntropy).unwrap();
        let jwk = key.public_jwk().to_value();
        let people: Vec<Value> = (0..30)
            .map(|n| json!({"externalId": n.to_string(), "jwks": [jwk]}))
            .collect();
        let made = suite.post("/v1/individuals:batch", json!({ "individuals": people })).await.ok();
        let mut records = Vec::new();
        for one in made["individuals"].as_array().unwrap() {
            let mut pair = suite.draft(&text(&one["id"]), &agreement).await;
            sign(&mut pair["signature"], &key);
            records.push(pair);
        }
        records[4]["signature"]["signature"] = json!("x");
        let done = suite.post("/v1/records:batch", json!({ "records": records })).await.ok();
        assert_eq!(done["stored"], 29);
        assert_eq!(done["results"][4]["code"], "SIGNATURE_INVALID");
        let empty = suite.post("/v1/records:batch", json!({ "records": [] })).await;
        assert_eq!(empty.status, StatusCode::BAD_REQUEST);
        assert_eq!(empty.headers["content-type"], "application/problem+json; charset=utf-8");
    }

    async fn bad_input_is_told(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        for (method, path) in [
            ("GET", "/config/policy/unknown/"),
            ("GET", "/config/policy/%00%ff/"),
            ("GET", "/config/policy/a%2Fb/"),
            ("GET", "/config/individual/unknown/"),
            ("GET", "/service/data-agreement/unknown/"),
            ("GET", "/audit/consent-record/unknown/"),
            ("DELETE", "/config/data-agreement/unknown/"),
            ("GET", "/nowhere/"),
        ] {
            suite.send(method, path, |_| {}).await.refused(400);
        }
        let long = "x".repeat(65);
        suite.get(&format!("/config/policy/{long}/")).await.refused(400);
        for body in [
            "", "{", "[]", "{}", "{\"policy\":[]}", "{\"policy\":null}",
            "{\"policy\":{\"name\":1}}", "{\"policy\":{},\"policy\":{}}",
            "{\"policy\":{\"name\":\"a\",\"name\":\"b\"}}",
        ] {
            let answer = suite.send("POST", "/config/policy/", |request| {
                *request.body_mut() = body.to_owned().into();
            });
            answer.await.refused(400);
        }
        let deep = format!("{{\"policy\":{}1{}}}", "[".repeat(40), "]".repeat(40));
        let answer = suite.send("POST", "/config/policy/", |request| {
            *request.body_mut() = deep.into();
        });
        assert_eq!(answer.await.refused(400), "malformed_body");
        let huge = vec![b' '; 1_100_000];
        let answer = suite.send("POST", "/config/policy/", |request| {
            *request.body_mut() = huge.into();
        });
        assert_eq!(answer.await.refused(413), "payload_too_large");
        let wrong = suite.send("PATCH", "/config/policies/", |_| {}).await;
        assert!(wrong.headers["allow"].to_str().unwrap().contains("GET"));
        assert_eq!(wrong.refused(405), "method_not_allowed");
    }

    async fn callers_are_told_apart(db: TestDatabase) {
        let mut suite = suite(db, Profile::Local).await;
        let agreement = text(&suite.agreement().await["id"]);
        let (person, key) = suite.person("712").await;
        suite.signed(&person, &key, &agreement).await;
        let mine = "/service/individual/record/consent-record/";
        assert_eq!(suite.get(mine).await.refused(400), "individual_required");
        let path = format!("{mine}?individualId=other");
        let both = suite.send("GET", &path, |request| {
            let value = person.parse().unwrap();
            request.headers_mut().insert("X-ConsentBB-IndividualId", value);
        });
        assert_eq!(both.await.refused(400), "individual_mismatch");
        let named = suite.send("GET", mine, |request| {
            let value = person.parse().unwrap();
            request.headers_mut().insert("X-ConsentBB-IndividualId", value);
        });
        assert_eq!(named.await.ok()["consentRecords"].as_array().unwrap().len(), 1);
        suite.token = Some(person_token(&person));
        assert_eq!(suite.get(mine).await.ok()["consentRecords"].as_array().unwrap().len(), 1);
        let other = format!("{mine}?individualId=other");
        assert_eq!(suite.get(&other).await.refused(403), "not_yours");
        suite.get("/config/policies/").await.refused(403);
        suite.token = Some("nonsense".to_owned());
        assert_eq!(suite.get(mine).await.refused(401), "unauthorized");
        suite.token = None;
        let nobody = suite.get(mine).await;
        assert_eq!(nobody.headers["www-authenticate"], "Bearer");
        assert_eq!(nobody.refused(401), "unauthorized");
    }

    async fn the_conformance_profile_needs_no_credentials(db: TestDatabase) {
        let suite = suite(db, Profile::Conformance).await;
        let agreement = text(&suite.agreement().await["id"]);
        let (person, key) = suite.person("712").await;
        suite.signed(&person, &key, &agreement).await;
    }

    async fn every_published_operation_is_routed(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let surface = surface("consent").unwrap();
        let published: Vec<_> = surface.operations.iter().filter(|one| one.published).collect();
        let paths: BTreeSet<&str> = published.iter().map(|one| one.path).collect();
        assert_eq!((published.len(), paths.len()), (42, 32));
        for one in published {
            let path = one.path.replace("Id}", "}").replace(['{', '}'], "");
            for path in [path.as_str(), path.trim_end_matches('/')] {
                let answer = suite.send(one.method, path, |_| {}).await;
                assert!(answer.status.as_u16() < 500, "{path} {:?}", answer.body);
                assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
                assert_ne!(answer.body["code"], "path_not_found", "{path}");
            }
        }
    }
}
