//! The payments surface: every published path, method, code and body, and the native paths.

mod bills;
mod edges;
mod endings;
mod help;
mod partners;
mod periods;
mod results;
mod statements;
mod v3;
mod vouchers;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use publica_auth::{AnonymousRole, AuthConfig, Verifier};
use publica_gateway::{Gateway, GatewayConfig, GatewayState, Parts};
use publica_host::Profile;
use publica_payments::{Config, Payments};
use publica_proto::imports::v1 as imports;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_testkit::{
    Database, TestBlock, TestDatabase, TestEnv, both_engines, env, eventually, token_for, tokens,
};
use publica_types::{SystemClock, Tenant};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use self::help::{entries, id, suite_at, with};

const SCOPES: &[&str] = &["payments:*"];
const SOURCE: &str = "SOURCEBLOCK1";

struct Suite {
    router: Router,
    block: TestBlock<Payments>,
    _env: TestEnv,
    _gateway: TestEnv,
    _db: TestDatabase,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

async fn suite(db: TestDatabase, profile: Profile) -> Suite {
    suite_with(db, profile, GatewayConfig::default()).await
}

async fn suite_with(db: TestDatabase, profile: Profile, settings: GatewayConfig) -> Suite {
    suite_of(db, env("payments").with_profile(profile), settings).await
}

async fn suite_of(db: TestDatabase, own: TestEnv, settings: GatewayConfig) -> Suite {
    let profile = own.profile;
    let database = match profile {
        Profile::Production => db.production_config().await,
        _ => db.config(),
    };
    let mut config = Config {
        database,
        ..Config::default()
    };
    config.rail.latency_ms = 0;
    // Whom the tests are called back by is on this machine.
    config.callbacks.allow_private = Some(true);
    let block = own.open::<Payments>(config).await.unwrap();
    let gateway = env("gateway").with_peer("payments", block.link.clone());
    let role = AnonymousRole {
        name: "conformance".to_owned(),
        scopes: SCOPES.iter().map(|scope| (*scope).to_owned()).collect(),
    };
    let clock = Arc::new(SystemClock);
    let verifier = Verifier::open(&AuthConfig::default(), Some(tokens()), clock).unwrap();
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
        blocks: vec!["payments".to_owned()],
    });
    let router = Gateway::new(settings, state).router();
    Suite {
        router,
        block,
        _env: own,
        _gateway: gateway,
        _db: db,
    }
}

/// A suite with the data that published suites expect.
async fn filled(db: TestDatabase) -> Suite {
    let suite = suite(db, Profile::Local).await;
    suite.fill().await;
    suite
}

impl Suite {
    async fn fill(&self) {
        let mut lines = vec![
            ("payments.voucher_group", json!({"name": "FOOD"})),
            ("payments.voucher_group", json!({"name": "FUEL"})),
            (
                "payments.voucher_group",
                json!({"name": "NONE", "stock": 0}),
            ),
            ("payments.calling_block", json!({"name": "BB"})),
            ("payments.calling_block", json!({"name": "OTHER"})),
            (
                "payments.funding_account",
                json!({"voucher_group": "FOOD", "currency": "USD", "balance": "100.00"}),
            ),
            (
                "payments.funding_account",
                json!({"name": "main", "currency": "USD", "balance": "1000000.00"}),
            ),
            (
                "payments.programme",
                json!({"code": "CASH", "name": "Cash", "currency": "USD",
                    "funding_account": "main", "fallback_voucher_group": "FOOD"}),
            ),
            (
                "payments.source_block",
                json!({"source_id": SOURCE, "programme": "CASH"}),
            ),
            (
                "payments.merchant",
                json!({"merchant_name": "Shop", "merchant_bank_details": "bank",
                    "merchant_voucher_group": "FOOD"}),
            ),
            (
                "payments.merchant",
                json!({"merchant_name": "Shop", "merchant_bank_details": "bank",
                    "merchant_voucher_group": "FUEL"}),
            ),
            (
                "payments.merchant",
                json!({"merchant_name": "Barred", "merchant_bank_details": "bank",
                    "merchant_voucher_group": "FOOD", "status": "blocked"}),
            ),
        ];
        for (serial, status) in (101..).zip([
            "Not Pre-Activated",
            "Pre-Activated",
            "Activated",
            "Suspended",
            "Blocked",
            "Purged",
            "Consumed",
            "Expired",
            "Cancelled",
        ]) {
            lines.push(("payments.voucher", voucher(serial, status, "25.00")));
        }
        lines.push(("payments.voucher", voucher(200, "Activated", "100.01")));
        let messages: Vec<imports::ImportEntitiesRequest> = (1..)
            .zip(lines)
            .map(|(line, (kind, entity))| imports::ImportEntitiesRequest {
                kind: kind.to_owned(),
                json: entity.to_string().into_bytes().into(),
                line,
            })
            .collect();
        let mut client = ImportServiceClient::new(self.block.as_caller(SCOPES));
        let answer = client
            .import_entities(tokio_stream::iter(messages))
            .await
            .unwrap();
        assert_eq!(answer.into_inner().problems, vec![]);
    }

    /// A call with a token, at a path of the surface.
    async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.call_as("tester", method, path, &[], body).await
    }

    async fn call_as(
        &self,
        subject: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let bearer = format!("Bearer {}", token_for(subject, SCOPES, &Tenant::default()));
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        self.bare(method, path, &all, body).await
    }

    /// A call with just these headers.
    async fn bare(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/payments{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).unwrap(),
        };
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, &body.to_string()).await
    }

    async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call("PATCH", path, &body.to_string()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "").await
    }
}

impl Answer {
    /// Status, and that the body is a message and nothing else.
    fn message(&self) -> u16 {
        let members: Vec<&String> = self.body.as_object().unwrap().keys().collect();
        assert_eq!(members, ["message"], "{}", self.body);
        assert!(self.body["message"].is_string());
        self.is_json();
        self.status
    }

    /// Status and response code of an acknowledgement, whose shape is checked.
    fn acknowledged(&self) -> (u16, String) {
        let body = self.body.as_object().unwrap();
        assert_eq!(body.len(), 3, "{}", self.body);
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        assert_eq!(text("RequestID").chars().count(), 12);
        assert!((1..=200).contains(&text("ResponseDescription").chars().count()));
        self.is_json();
        (self.status, text("ResponseCode"))
    }

    fn is_json(&self) {
        let media_type = self.headers["content-type"].to_str().unwrap();
        assert!(media_type.starts_with("application/json"), "{media_type}");
    }
}

fn voucher(serial: u32, status: &str, amount: &str) -> Value {
    json!({"voucher_number": (serial + 9_000).to_string(), "voucher_serial_number": serial,
        "Gov_Stack_BB": "BB", "voucher_status": status, "voucher_amount": amount,
        "currency": "USD", "voucher_group": "FOOD"})
}

fn registration(request: &str, payees: &[(&str, &str)]) -> Value {
    let list: Vec<Value> = payees
        .iter()
        .map(|(payee, address)| {
            json!({"PayeeFunctionalID": payee, "PaymentModality": "00",
                "FinancialAddress": address})
        })
        .collect();
    json!({"RequestID": request, "SourceBBID": SOURCE, "Beneficiaries": list})
}

const PAYEE: &str = "PAYEE000000000000001";
const CLOSED: &str = "PAYEE000000000000002";

fn payment(request: &str, batch: &str) -> Value {
    json!({"RequestID": request, "SourceBBID": SOURCE, "BatchID": batch,
        "CreditInstructions": [
            {"InstructionID": "INSTR00000000001", "PayeeFunctionalID": PAYEE, "Amount": 100.25,
                "Currency": "USD", "Narration": "March"},
            {"InstructionID": "INSTR00000000002", "PayeeFunctionalID": CLOSED, "Amount": 1e1,
                "Currency": "USD", "Narration": "March"}]})
}

both_engines! {
    async fn registration_and_update(db: TestDatabase) {
        let suite = filled(db).await;
        for path in ["/register-beneficiary", "/update-beneficiary-details"] {
            for body in ["", "  ", "not json", "[]", "7", "\"x\""] {
                let answer = suite.call("POST", path, body).await;
                assert_eq!(answer.acknowledged(), (400, "01".to_owned()), "{path} {body}");
                assert_eq!(answer.body["RequestID"], "000000000000");
            }
            let sound = registration("REQUEST00001", &[(PAYEE, "1234567")]);
            for (pointer, value) in [
                ("/RequestID", None), ("/RequestID", id(11)), ("/RequestID", id(13)),
                ("/RequestID", Some(Value::Null)), ("/RequestID", Some(json!(123_456_789_012_i64))),
                ("/SourceBBID", None), ("/SourceBBID", id(11)), ("/SourceBBID", id(12)),
                ("/Beneficiaries", None), ("/Beneficiaries", Some(json!([]))),
                ("/Beneficiaries", Some(json!({}))),
                ("/Beneficiaries/0/PayeeFunctionalID", None),
                ("/Beneficiaries/0/PayeeFunctionalID", id(19)),
                ("/Beneficiaries/0/PayeeFunctionalID", id(21)),
                ("/Beneficiaries/0/PaymentModality", id(1)),
                ("/Beneficiaries/0/FinancialAddress", id(31)),
                ("/Beneficiaries/0/FinancialAddress", Some(json!(7))),
            ] {
                let body = with(sound.clone(), pointer, value.clone());
                let answer = suite.post(path, &body).await;
                assert_eq!(answer.acknowledged(), (400, "01".to_owned()), "{pointer} {value:?}");
            }
            let answer = suite.post(path, &sound).await;
            assert_eq!(answer.acknowledged(), (200, "00".to_owned()));
            assert_eq!(answer.body["RequestID"], "REQUEST00001");
            let again = suite.post(path, &with(sound.clone(), "/Unheard", Some(json!(1)))).await;
            assert_eq!(again.acknowledged(), (200, "00".to_owned()));
            let other = registration("REQUEST00001", &[(CLOSED, "1")]);
            let reused = suite.post(path, &other).await;
            assert_eq!(reused.acknowledged(), (400, "01".to_owned()));
            for method in ["GET", "PUT", "DELETE", "PATCH"] {
                let answer = suite.call(method, path, "").await;
                assert_eq!(answer.acknowledged(), (405, "01".to_owned()), "{method} {path}");
                assert_eq!(answer.headers["allow"], "POST");
            }
        }
    }

    async fn validation_answers_under_200_but_for_what_cannot_be_parsed(db: TestDatabase) {
        let suite = filled(db).await;
        let path = "/prepayment-validation";
        suite.post("/register-beneficiary", &registration("REQUEST00001", &[(PAYEE, "1")])).await;
        for body in ["", "not json", "[]"] {
            let answer = suite.call("POST", path, body).await;
            assert_eq!(answer.acknowledged(), (400, "01".to_owned()), "{body}");
        }
        let sound = payment("REQUEST00001", "BATCH0000001");
        let first = "/CreditInstructions/0";
        for (pointer, value) in [
            ("/RequestID".to_owned(), id(13)), ("/SourceBBID".to_owned(), id(12)),
            ("/BatchID".to_owned(), None), ("/CreditInstructions".to_owned(), Some(json!([]))),
            (format!("{first}/InstructionID"), id(15)),
            (format!("{first}/PayeeFunctionalID"), None),
            (format!("{first}/Amount"), Some(json!(0))),
            (format!("{first}/Amount"), Some(json!(-1))),
            (format!("{first}/Amount"), Some(json!("100"))),
            (format!("{first}/Amount"), Some(json!(10.005))),
            (format!("{first}/Amount"), Some(Value::Null)),
            (format!("{first}/Currency"), Some(json!("usd"))),
            (format!("{first}/Currency"), Some(json!("US"))),
            (format!("{first}/Currency"), Some(json!("AAA"))),
            (format!("{first}/Narration"), None),
            (format!("{first}/Narration"), id(51)),
        ] {
            let answer = suite.post(path, &with(sound.clone(), &pointer, value)).await;
            assert_eq!(answer.acknowledged(), (200, "01".to_owned()), "{pointer}");
        }
        assert_eq!(suite.post(path, &json!({})).await.acknowledged(), (200, "01".to_owned()));
        for body in [&sound, &sound] {
            assert_eq!(suite.post(path, body).await.acknowledged(), (200, "00".to_owned()));
        }
        let other = with(sound, "/BatchID", Some(json!("BATCH0000002")));
        assert_eq!(suite.post(path, &other).await.acknowledged(), (200, "01".to_owned()));

        let path = "/prepayment-validation-response";
        let poll = json!({"RequestID": "REQUEST00001", "Source_BatchID": "BATCH0000001"});
        let answer = suite.post(path, &poll).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, json!({
            "RequestID": "REQUEST00001", "Source_BatchID": "BATCH0000001",
            "NumberFailedCases": 1,
            "FailedAccounts": [
                {"InstructionID": "INSTR00000000002", "FailureReason": "payee is not known"}],
        }));
        let unknown = with(poll.clone(), "/Source_BatchID", Some(json!("BATCH0000009")));
        assert_eq!(suite.post(path, &unknown).await.acknowledged(), (404, "01".to_owned()));
        let short = with(poll, "/RequestID", id(11));
        assert_eq!(suite.post(path, &short).await.acknowledged(), (400, "01".to_owned()));
        assert_eq!(suite.call("POST", path, "").await.acknowledged(), (400, "01".to_owned()));
    }

    async fn a_published_batch_is_approved_and_paid(db: TestDatabase) {
        let suite = filled(db).await;
        let payees = [(PAYEE, "1234567"), (CLOSED, "9990000")];
        suite.post("/register-beneficiary", &registration("REQUEST00001", &payees)).await;
        let sound = payment("REQUEST00001", "BATCH0000001");
        let path = "/bulk-payment";
        for body in ["", "not json", "[]", "{}"] {
            let answer = suite.call("POST", path, body).await;
            assert_eq!(answer.acknowledged(), (400, "01".to_owned()), "{body}");
        }
        for (pointer, value) in [
            ("/RequestID", id(11)), ("/SourceBBID", id(12)), ("/BatchID", id(13)),
            ("/CreditInstructions/0/Narration", id(51)),
            ("/CreditInstructions/0/Narration", Some(json!(""))),
            ("/CreditInstructions/0/Amount", Some(json!(0))),
        ] {
            let answer = suite.post(path, &with(sound.clone(), pointer, value)).await;
            assert_eq!(answer.acknowledged(), (400, "01".to_owned()), "{pointer}");
        }
        let sound = with(sound, "/CreditInstructions/1/Narration", Some(Value::Null));
        for _ in 0..2 {
            assert_eq!(suite.post(path, &sound).await.acknowledged(), (200, "00".to_owned()));
        }
        let other = with(sound, "/CreditInstructions/0/Amount", Some(json!(100.26)));
        assert_eq!(suite.post(path, &other).await.acknowledged(), (400, "01".to_owned()));

        let list = suite.get("/v1/batches?state=pending_approval").await;
        assert_eq!(list.body["batches"].as_array().unwrap().len(), 1);
        let batch = &list.body["batches"][0];
        assert_eq!(batch["accepted"], json!({"count": 2, "amount": "110.25"}));
        let path = format!("/v1/batches/{}", batch["batch_id"].as_str().unwrap());
        let approval = json!({"digest": batch["digest"]}).to_string();
        let own = suite.call("POST", &format!("{path}/approve"), &approval).await;
        assert_eq!((own.status, own.body["code"].as_str()), (403, Some("APPROVER_IS_MAKER")));
        let approve = format!("{path}/approve");
        let approved = suite.call_as("checker", "POST", &approve, &[], &approval).await;
        assert_eq!(approved.status, 200, "{}", approved.body);
        eventually(|| async {
            let batch = suite.get(&path).await.body;
            (batch["state"] == "partially_completed").then_some(())
        })
        .await;
        let report = suite.get(&format!("{path}/report")).await.body;
        assert_eq!(report["settled"], json!({"count": 1, "amount": "100.25"}));
        assert_eq!(report["vouchers"], json!({"count": 1, "amount": "10.00"}));
        assert_eq!(report["rejected"]["count"], 0);
        assert_eq!(report["reconciled"], true);
        assert_eq!(report["ledger_balanced"], true);
        let receipt = suite.get(&format!("{path}/receipts/INSTR00000000001")).await;
        assert_eq!(receipt.body["instruction"]["state"], "settled");
        let vouchers = suite.get(&format!("{path}/vouchers?reveal=true")).await.body;
        assert_eq!(vouchers["vouchers"][0]["functional_id"], CLOSED);
        assert_eq!(suite.get("/v1/ledger/check").await.body["balanced"], true);
    }

    async fn vouchers_are_issued_with_literal_codes(db: TestDatabase) {
        let suite = filled(db).await;
        let path = "/vouchers/voucher_preactivation";
        let sound = json!({"voucher_amount": "10.50", "voucher_currency": "USD",
            "voucher_group": "FOOD", "Gov_Stack_BB": "BB", "voucher_comment": "x"});
        for body in ["", "{}", "[]", "not json"] {
            assert_eq!(suite.call("POST", path, body).await.message(), 400, "{body}");
        }
        for (pointer, value, code) in [
            ("/voucher_amount", None, 400), ("/voucher_currency", None, 400),
            ("/voucher_group", None, 400), ("/Gov_Stack_BB", None, 400),
            ("/voucher_amount", Some(Value::Null), 452), ("/voucher_amount", Some(json!(10)), 452),
            ("/voucher_amount", Some(json!("abc")), 452),
            ("/voucher_amount", Some(json!("0")), 452),
            ("/voucher_amount", Some(json!("10.005")), 452),
            ("/voucher_currency", Some(Value::Null), 453),
            ("/voucher_currency", Some(json!("usd")), 453),
            ("/voucher_currency", Some(json!("US")), 453),
            ("/voucher_group", Some(Value::Null), 454), ("/voucher_group", Some(json!(7)), 454),
            ("/voucher_group", Some(json!("UNHEARD")), 454),
            ("/voucher_group", Some(json!("NONE")), 455),
            ("/Gov_Stack_BB", Some(json!("UNHEARD")), 460),
            ("/Gov_Stack_BB", Some(Value::Null), 460),
        ] {
            let answer = suite.post(path, &with(sound.clone(), pointer, value.clone())).await;
            assert_eq!(answer.message(), code, "{pointer} {value:?}");
        }
        let answer = suite.post(path, &sound).await;
        assert_eq!(answer.status, 200);
        for name in ["voucher_number", "voucher_serial_number"] {
            assert_eq!(answer.body[name].as_str().unwrap().len(), 16);
        }
        assert!(answer.body["expiry_date_time"].as_str().unwrap().ends_with('Z'));
        let id = ("x-correlationid", "2f9e3ba2-9a5e-4b52-8e0c-d2f6fbc9a3a1");
        let repeat = async |body: &Value| {
            suite.call_as("tester", "POST", path, &[id], &body.to_string()).await.body
        };
        let first = repeat(&sound).await;
        assert_eq!(repeat(&sound).await, first);
        let other = with(sound.clone(), "/voucher_amount", Some(json!("11")));
        assert_ne!(repeat(&other).await["voucher_number"], first["voucher_number"]);
        for header in [
            ("x-correlationid", "no uuid"), ("x-date", "yesterday"),
            ("x-content-hash", "00"), ("x-callback-url", "http://[bad"),
        ] {
            let answer =
                suite.call_as("tester", "POST", path, &[header], &sound.to_string()).await;
            assert_eq!(answer.message(), 400, "{header:?}");
        }
    }

    async fn vouchers_are_activated_and_cancelled(db: TestDatabase) {
        let suite = filled(db).await;
        let path = "/vouchers/voucher_activation";
        let body = |serial: Value, block: &str| {
            json!({"voucher_serial_number": serial, "Gov_Stack_BB": block})
        };
        assert_eq!(suite.call("PATCH", path, "").await.message(), 400);
        assert_eq!(suite.patch(path, &json!({"Gov_Stack_BB": "BB"})).await.message(), 400);
        assert_eq!(suite.patch(path, &body(json!("x"), "UNHEARD")).await.message(), 460);
        for serial in [json!("4x"), json!(4_711), json!(101), json!(104), json!(107), json!(null)] {
            let answer = suite.patch(path, &body(serial.clone(), "BB")).await;
            assert_eq!(answer.message(), 456, "{serial}");
        }
        assert_eq!(suite.patch(path, &body(json!(102), "OTHER")).await.message(), 456);
        for serial in [json!(102), json!("102"), json!(103)] {
            let answer = suite.patch(path, &body(serial, "BB")).await;
            assert_eq!((answer.status, answer.body["result_status"].is_string()), (200, true));
        }

        let cancel = |path: &str, serial: Value, block: &str| {
            let body = json!({"voucherserialnumber": serial, "Gov_Stack_BB": block});
            let path = format!("/vouchers/voucherstatuscheck/{path}");
            let suite = &suite;
            async move { suite.patch(&path, &body).await }
        };
        let nobody = suite.call("PATCH", "/vouchers/voucherstatuscheck/102", "").await;
        assert_eq!(nobody.message(), 400);
        assert_eq!(cancel("102", json!("103"), "BB").await.message(), 400);
        assert_eq!(cancel("102", json!("102"), "UNHEARD").await.message(), 463);
        for serial in ["4x", "4711", "107", "108", "104"] {
            assert_eq!(cancel(serial, json!(serial), "BB").await.message(), 463, "{serial}");
        }
        assert_eq!(cancel("102", json!("102"), "OTHER").await.message(), 463);
        assert_eq!(cancel("109", json!("109"), "BB").await.message(), 464);
        for serial in ["102", "105"] {
            assert_eq!(cancel(serial, json!(serial), "BB").await.message(), 200, "{serial}");
            assert_eq!(cancel(serial, json!(serial), "BB").await.message(), 464, "{serial}");
        }
    }

    async fn vouchers_are_redeemed_in_order_of_checks(db: TestDatabase) {
        let suite = filled(db).await;
        let path = "/vouchers/voucher_redemption";
        let sound = json!({"voucher_number": "9103", "Gov_Stack_BB": "BB",
            "merchant_name": "Shop", "merchant_bank_details": "bank",
            "merchant_voucher_group": "FOOD", "override": false});
        for body in ["", "{}", "not json"] {
            assert_eq!(suite.call("POST", path, body).await.message(), 400, "{body}");
        }
        for name in ["voucher_number", "merchant_name", "override"] {
            let body = with(sound.clone(), &format!("/{name}"), None);
            assert_eq!(suite.post(path, &body).await.message(), 400, "{name}");
        }
        for (pointer, value, code) in [
            ("/override", json!("maybe"), 400), ("/Gov_Stack_BB", json!("UNHEARD"), 460),
            ("/voucher_number", json!("91x"), 461), ("/voucher_number", json!(4_711), 461),
            ("/merchant_name", json!("Nobody"), 463), ("/merchant_name", json!("Barred"), 463),
            // FUEL has no funds, which shows before that the voucher is for FOOD.
            ("/merchant_voucher_group", json!("FUEL"), 462),
            ("/voucher_number", json!(9_200), 462),
            ("/voucher_number", json!(9_107), 458), ("/voucher_number", json!(9_108), 459),
            ("/voucher_number", json!(9_102), 461), ("/voucher_number", json!(9_104), 461),
            ("/voucher_number", json!(9_109), 461),
        ] {
            let answer = suite.post(path, &with(sound.clone(), pointer, Some(value.clone()))).await;
            assert_eq!(answer.message(), code, "{pointer} {value}");
        }
        let lenient = with(sound.clone(), "/override", Some(json!("TRUE")));
        let answer = suite.post(path, &with(lenient, "/voucher_number", Some(json!(9_103)))).await;
        assert_eq!((answer.status, answer.body["result_status"].is_string()), (200, true));
        assert_eq!(suite.post(path, &sound).await.message(), 458);
    }

    async fn states_of_vouchers(db: TestDatabase) {
        let suite = filled(db).await;
        let path = "/vouchers/voucherstatuscheck";
        for (serial, status, amount) in [
            ("101", "Not Pre-Activated", "25.00"), ("102", "Pre-Activated", "25.00"),
            ("103", "Activated", "25.00"), ("104", "Suspended", "25.00"),
            ("105", "Blocked", "25.00"), ("106", "Purged", "25.00"),
            ("109", "Blocked", "25.00"), ("4711", "Not Existing", "0"),
            ("00102", "Not Existing", "0"), ("99999999999999999999999", "Not Existing", "0"),
        ] {
            let answer = suite.get(&format!("{path}/{serial}")).await;
            let expected = json!({"voucher_status": status, "voucher_amount": amount});
            assert_eq!((answer.status, answer.body), (200, expected), "{serial}");
        }
        for (serial, code) in
            [("%7B%7D", 400), ("a.b", 400), ("a-b", 456), ("12x", 456), ("107", 458), ("108", 459)]
        {
            let answer = suite.get(&format!("{path}/{serial}")).await;
            assert_eq!(answer.message(), code, "{serial}");
        }
        let wrong = suite.call("DELETE", &format!("{path}/101"), "").await;
        assert_eq!(wrong.message(), 405);
    }
}
