//! The signature surface: published paths, methods, codes and bodies, and the native paths that
//! take whole documents.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use publica_auth::{AuthConfig, Verifier};
use publica_gateway::{Gateway, GatewayConfig, GatewayState, Parts};
use publica_host::Profile;
use publica_signature::{Signature, SignatureConfig};
use publica_testkit::{TestBlock, TestDatabase, TestEnv, both_engines, env, token_for, tokens};
use publica_types::{SystemClock, Tenant};
use serde_json::{Value, json};
use tower::ServiceExt as _;

struct Suite {
    router: Router,
    _block: TestBlock<Signature>,
    _env: TestEnv,
    _gateway: TestEnv,
    _db: TestDatabase,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Vec<u8>,
    body: Value,
}

async fn suite(db: TestDatabase) -> Suite {
    let own = env("signature");
    let config = SignatureConfig {
        database: db.config(),
        ..SignatureConfig::default()
    };
    let block = own.open::<Signature>(config).await.unwrap();
    let gateway = env("gateway").with_peer("signature", block.link.clone());
    let clock = Arc::new(SystemClock);
    let verifier = Verifier::open(&AuthConfig::default(), Some(tokens()), clock).unwrap();
    let state = GatewayState::new(Parts {
        peers: gateway.peers.clone(),
        verifier: Arc::new(verifier),
        tokens: tokens().clone(),
        profile: Profile::Local,
        clock: gateway.clock.clone(),
        entropy: gateway.entropy.clone(),
        blocks: vec!["signature".to_owned()],
    });
    let router = Gateway::new(GatewayConfig::default(), state).router();
    Suite {
        router,
        _block: block,
        _env: own,
        _gateway: gateway,
        _db: db,
    }
}

impl Suite {
    async fn bare(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let uri = format!("/signature{path}");
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
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

    async fn call(&self, method: &str, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        let token = token_for("person-1", &["signature:*"], &Tenant::default());
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer), ("content-type", kind)];
        self.bare(method, path, &headers, body).await
    }

    async fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.call(method, path, "application/json", body.to_string())
            .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "application/json", Body::empty())
            .await
    }
}

/// The members of an error body.
fn assert_error(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    assert_eq!(answer.body["code"], code, "{}", answer.body);
    assert_eq!(answer.body["status"]["code"], "ERROR");
    assert!(answer.body["status"]["message"].is_string());
    assert!(answer.body["responseTimestamp"].is_string());
    assert!(answer.body["traceId"].is_string());
}

fn onetime() -> Value {
    json!({
        "format": "CAdES", "hash": STANDARD.encode([7; 32]), "hashType": "SHA2-256",
        "dataToBeDisplayed": "I agree",
    })
}

/// A document of one empty page.
fn document() -> Vec<u8> {
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] >>",
    ];
    let mut text = String::from("%PDF-1.7\n");
    let mut table = String::from("xref\n0 4\n0000000000 65535 f\r\n");
    for (at, object) in objects.iter().enumerate() {
        table.push_str(&format!("{:010} 00000 n\r\n", text.len()));
        text.push_str(&format!("{} 0 obj\n{object}\nendobj\n", at + 1));
    }
    let start = text.len();
    let tail = format!("trailer\n<< /Size 4 /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n");
    (text + &table + &tail).into_bytes()
}

both_engines! {
    async fn one_time_signatures_are_made_and_collected(db: TestDatabase) {
        let suite = suite(db).await;
        let signed = suite.json("POST", "/v1/sign/onetime", &onetime()).await;
        assert_eq!(signed.status, StatusCode::OK, "{}", signed.body);
        assert_eq!(signed.body["status"]["code"], "OK");
        for member in ["signature", "signatureTimestamp"] {
            let text = signed.body[member].as_str().unwrap();
            assert_eq!(STANDARD.decode(text).unwrap()[0], 0x30, "{member}");
        }
        let pem = signed.body["certificate"].as_str().unwrap();
        assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"));
        let id = signed.body["signatureId"].as_str().unwrap();
        assert_eq!(id.len(), 64);
        let again = suite.get(&format!("/v1/sign/response/{id}")).await;
        assert_eq!(again.body["signature"], signed.body["signature"]);
        let log = suite.get("/v1/audit/log?start=2020-01-01T00:00:00Z").await;
        assert_eq!(log.body[0]["signatureType"], "ONETIME");
        assert_eq!(log.body[0]["signatureId"], id);
        let unknown = suite.get("/v1/sign/response/none").await;
        assert_error(&unknown, 404, "signature_not_found");
        let turned = "/v1/audit/log?start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z";
        assert_eq!(suite.get(turned).await.status, StatusCode::BAD_REQUEST);
    }

    async fn refusals_come_in_the_order_of_the_specification(db: TestDatabase) {
        let suite = suite(db).await;
        let path = "/v1/sign/onetime";
        assert_error(&suite.json("POST", "/v2/sign/onetime", &onetime()).await, 404,
            "path_not_found");
        let wrong = suite.get(path).await;
        assert_error(&wrong, 405, "method_not_allowed");
        assert!(wrong.headers.contains_key("allow"));
        assert_error(&suite.bare("POST", path, &[], "junk").await, 401, "unauthorized");
        let token = token_for("person-1", &["signature:signature:read"], &Tenant::default());
        let govstack = [("x-govstack-authenticationtoken", &*token)];
        assert_error(&suite.bare("POST", path, &govstack, "junk").await, 403, "forbidden");
        let two = [govstack[0], ("authorization", "Bearer other")];
        assert_error(&suite.bare("POST", path, &two, "junk").await, 400, "two_tokens");
        let junk = suite.call("POST", path, "application/json", "junk").await;
        assert_error(&junk, 400, "malformed_body");
        let cases = [
            ("format", json!("PDF"), 400, "validation_failed"),
            ("hash", json!("AAAA"), 400, "validation_failed"),
            ("hash", json!(5), 400, "validation_failed"),
            ("requestTimestamp", json!("2020-01-01T00:00:00Z"), 400, "validation_failed"),
            ("hash", Value::Null, 422, "mandatory_field_missing"),
            ("format", Value::Null, 422, "mandatory_field_missing"),
            ("hashType", Value::Null, 422, "mandatory_field_missing"),
            ("format", json!("XAdES"), 400, "unsupported_combination"),
            ("hashType", json!("SHA3-256"), 400, "unsupported_combination"),
        ];
        for (member, value, status, code) in cases {
            let mut body = onetime();
            body[member] = value;
            assert_error(&suite.json("POST", path, &body).await, status, code);
        }
        // What is malformed counts before what is missing.
        let body = json!({"format": "PDF"});
        assert_error(&suite.json("POST", path, &body).await, 400, "validation_failed");
        let unbuilt = suite.json("POST", "/v1/sign/pseudonym", &json!({})).await;
        assert_error(&unbuilt, 501, "not_implemented");
    }

    async fn certificates_have_a_status(db: TestDatabase) {
        let suite = suite(db).await;
        let path = "/v1/cert/create";
        let missing = suite.json("POST", path, &json!({"SCDType": "REMOTE_SCD_SIM"})).await;
        assert_error(&missing, 422, "mandatory_field_missing");
        let body = json!({
            "CSR": STANDARD.encode([0x30, 0]), "SCDType": "REMOTE_SCD_SIM",
            "SCDRemoteId": "+100200", "SCDKeyId": 0,
        });
        assert_error(&suite.json("POST", path, &body).await, 400, "csr_refused");
        let list = suite.get("/v1/cert/list?filter=ACTIVATED").await;
        assert_eq!((list.status, list.body), (StatusCode::OK, json!([])));
        assert_error(&suite.get("/v1/cert/list?filter=X").await, 400, "validation_failed");
        let change = json!({"status": {"code": "SUSPEND", "message": "lost"}});
        let unknown = suite.json("PATCH", "/v1/cert/none", &change).await;
        assert_error(&unknown, 404, "certificate_not_found");

        let made = suite.json("POST", "/v1/credentials",
            &json!({"organization": "Office", "country": "XX"})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        let id = made.body["certificateId"].as_str().unwrap();
        let path = format!("/v1/cert/{id}");
        let done = suite.json("PATCH", &path, &change).await;
        assert_eq!(done.body["status"]["code"], "SUSPENDED", "{}", done.body);
        let revoke = json!({"status": {"code": "REVOKE"}, "reason": "keyCompromise"});
        assert_eq!(suite.json("PATCH", &path, &revoke).await.body["status"]["code"], "REVOKED");
        let back = json!({"status": {"code": "ACTIVATE"}});
        let refused = suite.json("PATCH", &path, &back).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.body["status"]["code"], "REVOKED");
        let list = suite.get("/v1/cert/list?filter=REVOKED").await;
        assert_eq!(list.body[0]["status"]["code"], "REVOKED");
        let crl = suite.bare("GET", "/v1/crl", &[], Body::empty()).await;
        assert_eq!(crl.headers["content-type"], "application/pkix-crl");
    }

    async fn documents_are_sealed_and_judged(db: TestDatabase) {
        let suite = suite(db).await;
        let none = suite.call("POST", "/v1/documents:sign", "application/pdf", document()).await;
        assert_eq!(none.status, StatusCode::NOT_FOUND, "{}", none.body);
        let new = json!({"organization": "Office", "country": "XX"});
        suite.json("POST", "/v1/credentials", &new).await;
        let path = "/v1/documents:sign?reason=Decision";
        let signed = suite.call("POST", path, "application/pdf", document()).await;
        assert_eq!(signed.status, StatusCode::OK, "{}", signed.body);
        assert_eq!(signed.headers["content-type"], "application/pdf");
        assert_eq!(signed.headers["x-signature-id"].len(), 64);
        let path = "/v1/documents:validate";
        let judged = suite.call("POST", path, "application/pdf", signed.bytes).await;
        assert_eq!(judged.body["signatureCount"], 1, "{}", judged.body);
        assert_eq!(judged.body["validSignatureCount"], 1, "{}", judged.body);
        let report = &judged.body["signatures"][0];
        assert_eq!(report["indication"], "TOTAL-PASSED", "{report}");
        assert_eq!(report["level"], "B-T");
        let wrong = suite.call("POST", path, "text/plain", "x").await;
        assert_eq!(wrong.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let junk = suite.call("POST", path, "application/pdf", "x").await;
        assert_eq!(junk.status.as_u16(), 400);
        assert_eq!(junk.body["code"], "DOCUMENT_UNREADABLE");

        let batch = json!({"documents": [
            {"id": "a", "content": STANDARD.encode(document())},
            {"id": "b", "content": STANDARD.encode("x")},
        ]});
        let done = suite.json("POST", "/v1/documents:batchSign", &batch).await;
        assert_eq!(done.body["documents"][0]["status"]["code"], "OK", "{}", done.body);
        assert_eq!(done.body["documents"][0]["id"], "a");
        assert_eq!(done.body["documents"][1]["status"]["message"], "DOCUMENT_UNREADABLE");
        let authorities = suite.bare("GET", "/v1/ca-certificates", &[], Body::empty()).await;
        let text = String::from_utf8(authorities.bytes).unwrap();
        assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 3);
        let junk = suite.call("POST", "/tsa", "application/timestamp-query", "junk").await;
        assert_eq!(junk.status, StatusCode::OK);
        assert_eq!(junk.headers["content-type"], "application/timestamp-reply");
    }
}
