//! The paths of short messages: the shapes and rules of e-mail, with numbers for addresses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use publica_host::Profile;
use publica_messaging::CentreConfig;
use publica_messaging::smsc::{CentreFaults, CentreOptions, Receipts, SmsCentre};
use publica_testkit::{Database, TestDatabase, both_engines, eventually};
use publica_types::Secret;
use serde_json::{Value, json};

use super::{Answer, Suite, single as mail, suite, suite_with, token};

const JSON: (&str, &str) = ("content-type", "application/json");
/// Every state that there is.
const ALL: &str = "status=scheduled,processing,deferred,bounced,notSent,delivered";

async fn with_centre(db: TestDatabase, options: CentreOptions) -> (Suite, SmsCentre) {
    let centre = SmsCentre::start(options).await.unwrap();
    let port = centre.address().port();
    let suite = suite_with(db, Profile::Local, |config| {
        config.sms.centres = vec![CentreConfig {
            host: "127.0.0.1".to_owned(),
            port,
            tls: "none".to_owned(),
            system_id: "publica".to_owned(),
            password: Secret::new("secret".to_owned()),
            ..CentreConfig::default()
        }];
    })
    .await;
    (suite, centre)
}

fn single() -> Value {
    json!({
        "callback": {"URI": "https://example.com/callback/sms/requestUid"},
        "senderInfo": {
            "organisationName": "Ministry of Health",
            "organisationRegNr": "70000000",
            "senderId": "Ministry",
        },
        "recipientInfo": {"phone": "+254 722 000 111", "name": "Anna"},
        "smsContent": {"encoding": "UTF-8", "content": "Your code is 1234."},
        "somethingElse": [1, 2],
    })
}

fn list(recipients: &Value) -> Value {
    let mut body = single();
    body["callbackURI"] = body["callback"].take();
    body.as_object_mut().unwrap().remove("callback");
    body["recipientInfo"] = json!({"batchSmsAsBase64": STANDARD.encode(recipients.to_string())});
    body
}

fn uid(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body["requestUid"].as_str().unwrap().to_owned()
}

async fn status(suite: &Suite, channel: &str, uid: &str, query: &str) -> Answer {
    let path = format!("/status/{channel}?{query}");
    suite.call("GET", &path, &[("requestUid", uid)], "").await
}

/// Waits for a count, and sees that all of them sum to `total` on the way.
async fn reaches(suite: &Suite, uid: &str, total: i64, expected: &Value) {
    eventually(|| async {
        let counts = status(suite, "sms", uid, ALL).await;
        assert_eq!(counts.status, StatusCode::OK, "{}", counts.body);
        let members = counts.body.as_object().unwrap();
        assert_eq!(members.len(), 6);
        let sum: i64 = members.values().filter_map(Value::as_i64).sum();
        assert_eq!(sum, total, "{}", counts.body);
        let reached = expected
            .as_object()
            .unwrap()
            .iter()
            .all(|(state, count)| &members[state] == count);
        reached.then_some(())
    })
    .await;
}

both_engines! {
    async fn short_messages_are_taken_in_and_counted(db: TestDatabase) {
        let (suite, centre) = with_centre(db, CentreOptions::default()).await;
        centre.set_faults(CentreFaults {
            refuse: vec![("+254722000007".to_owned(), 0x0b)],
            fates: vec![("+254722000008".to_owned(), "UNDELIV".to_owned())],
            ..CentreFaults::default()
        });
        let one = suite.post("/send/sms/single", &single()).await;
        assert_eq!(one.header("content-type"), "application/json; charset=utf-8");
        let one_uid = uid(&one);
        assert_eq!(one.body["requestUID"], one_uid.as_str());
        assert_eq!(one_uid.split('-').map(str::len).collect::<Vec<_>>(), [4; 6]);
        reaches(&suite, &one_uid, 1, &json!({"delivered": 1})).await;
        assert_eq!(centre.texts_to("+254722000111"), ["Your code is 1234."]);
        assert_eq!(centre.kept()[0].from, "Ministry");

        let people = json!([
            {"recipientInfo": {"phone": "+254722000001"}},
            {"phoneNumber": "00254 722 000 002"},
            {"phone": "+254722000007"},
            {"phone": "+254722000008"},
            {"recipientInfo": {"phone": "nobody"}},
        ]);
        // Each path takes both shapes, at the root and under /v1.
        for path in ["/send/sms/batch", "/v1/send/sms/single"] {
            let many = suite.post(path, &list(&people)).await;
            assert_eq!(many.body["response"], "5 messages received");
            let expected = json!({"delivered": 2, "bounced": 2, "notSent": 1});
            reaches(&suite, &uid(&many), 5, &expected).await;
        }
        let alone = suite.post("/v1/send/sms/batch", &single()).await;
        reaches(&suite, &uid(&alone), 1, &json!({"delivered": 1})).await;
        let spelled = status(&suite, "sms", &one_uid, "status[]=delivered&status[]=not_sent").await;
        assert_eq!(spelled.body, json!({"delivered": 1, "not_sent": 0}));
        // The native paths know no channels.
        let path = format!("/api/v1/requests/{one_uid}/events");
        let events = suite.call("GET", &path, &[], "").await;
        assert_eq!(events.body["events"][0]["reason"], "accepted", "{}", events.body);
    }

    async fn a_message_counts_as_processing_until_its_receipt(db: TestDatabase) {
        let options = CentreOptions { receipts: Receipts::Never, ..CentreOptions::default() };
        let (suite, centre) = with_centre(db, options).await;
        let sent = uid(&suite.post("/send/sms/single", &single()).await);
        eventually(|| async { (centre.taken() == 1).then_some(()) }).await;
        reaches(&suite, &sent, 1, &json!({"processing": 1})).await;
        centre.tell(&centre.kept()[0], "DELIVRD");
        reaches(&suite, &sent, 1, &json!({"delivered": 1})).await;
    }

    async fn repeats_of_short_messages_are_answered_as_before(db: TestDatabase) {
        let (suite, centre) = with_centre(db, CentreOptions::default()).await;
        let key = [("idempotency-key", "\"caller-key-1\""), JSON];
        let body = single().to_string();
        let first = suite.call("POST", "/send/sms/single", &key, &body).await;
        let second = suite.call("POST", "/send/sms/single", &key, &body).await;
        assert_eq!(uid(&first), uid(&second));
        assert_eq!(first.header("idempotency-replayed"), "");
        assert_eq!(second.header("idempotency-replayed"), "true");
        let mut other = single();
        other["smsContent"]["content"] = json!("Another");
        let other = suite.call("POST", "/send/sms/single", &key, &other.to_string()).await;
        assert_eq!((other.status.as_u16(), other.code()), (422, "IDEMPOTENCY_MISMATCH"));
        // The transaction does as well, for a batch too.
        let mut batch = list(&json!([{"phone": "+254722000001"}, {"phone": "+254722000002"}]));
        batch["transactionId"] = json!("T-1");
        let first = uid(&suite.post("/send/sms/batch", &batch).await);
        let second = suite.post("/send/sms/batch", &batch).await;
        assert_eq!((first.as_str(), second.header("idempotency-replayed")),
            (uid(&second).as_str(), "true"));
        reaches(&suite, &first, 2, &json!({"delivered": 2})).await;
        eventually(|| async { (centre.taken() == 3).then_some(()) }).await;
    }

    async fn channels_do_not_know_each_others_requests(db: TestDatabase) {
        let (suite, _centre) = with_centre(db, CentreOptions::default()).await;
        let text = uid(&suite.post("/send/sms/single", &single()).await);
        let letter = uid(&suite.post("/send/email/single", &mail()).await);
        let body = json!({"meta": "text", "content": STANDARD.encode("I come")}).to_string();
        for (channel, own, others) in [("sms", &text, &letter), ("email", &letter, &text)] {
            let known = status(&suite, channel, own, "status=delivered").await;
            assert_eq!(known.status, StatusCode::OK, "{}", known.body);
            let unknown = status(&suite, channel, others, "status=delivered").await;
            assert_eq!((unknown.status.as_u16(), unknown.code()), (404, "UNKNOWN_REQUEST_UID"));
            let path = format!("/callback/{channel}");
            let taken = suite.call("POST", &path, &[("requestUID", own), JSON], &body).await;
            assert_eq!((taken.status, &taken.body), (StatusCode::OK, &json!({})));
            let refused = suite.call("POST", &path, &[("requestUID", others), JSON], &body).await;
            assert_eq!((refused.status.as_u16(), refused.code()), (404, "UNKNOWN_REQUEST_UID"));
        }
        for (headers, body, code) in [
            (vec![("requestUid", text.as_str()), JSON], "{\"meta\": \"m\"}", "SCHEMA_VIOLATION"),
            (vec![("requestUid", text.as_str()), JSON], "{\"content\": \"?\"}", "INVALID_BASE64"),
            (vec![("requestUid", text.as_str()), JSON], "", "MISSING_BODY"),
            (vec![JSON], body.as_str(), "MISSING_REQUEST_UID"),
        ] {
            let refused = suite.call("POST", "/v1/callback/sms", &headers, body).await;
            assert_eq!((refused.status.as_u16(), refused.code()), (405, code));
            assert_eq!(refused.header("allow"), "POST, OPTIONS");
        }
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

/// Bodies that no send path takes, and the code and place that say why.
fn invalid_inputs() -> Vec<(String, &'static str, &'static str)> {
    let encoded = |text: &str| with(&["recipientInfo"], json!({ "batchSmsAsBase64": text }));
    let deep = format!("{{\"x\": {}{}}}", "[".repeat(40), "]".repeat(40));
    let phone = |text: &str| with(&["recipientInfo", "phone"], json!(text));
    let (schema, address) = ("SCHEMA_VIOLATION", "INVALID_ADDRESS");
    let batch = "/recipientInfo/batchSmsAsBase64";
    vec![
        (String::new(), "MISSING_BODY", ""),
        ("{".to_owned(), "MALFORMED_JSON", ""),
        (deep, "MALFORMED_JSON", ""),
        ("[]".to_owned(), schema, ""),
        ("{}".to_owned(), schema, "/smsContent"),
        (with(&["senderInfo"], json!(7)), schema, "/senderInfo"),
        (
            with(&["senderInfo", "senderId"], Value::Null),
            schema,
            "/senderInfo/senderId",
        ),
        (
            with(&["senderInfo", "senderId"], json!("nobody of the ministry")),
            address,
            "/senderInfo/senderId",
        ),
        (
            with(&["recipientInfo"], Value::Null),
            schema,
            "/recipientInfo",
        ),
        (
            with(&["recipientInfo"], json!({})),
            schema,
            "/recipientInfo/phone",
        ),
        (phone("nobody"), address, "/recipientInfo/phone"),
        (phone("0722000111"), address, "/recipientInfo/phone"),
        (
            phone("+254722\r\n000111"),
            "HEADER_INJECTION",
            "/recipientInfo/phone",
        ),
        (
            with(&["smsContent", "content"], json!("")),
            schema,
            "/smsContent/content",
        ),
        (
            with(&["smsContent", "content"], json!("x".repeat(2_000))),
            schema,
            "/smsContent/content",
        ),
        (
            with(&["callback"], json!("http://10.0.0.1/")),
            "FORBIDDEN_CALLBACK_URI",
            "/callback/URI",
        ),
        (encoded("***"), "INVALID_BASE64", batch),
        (encoded(&STANDARD.encode("[]")), "EMPTY_BATCH", batch),
        (encoded(&STANDARD.encode("[3]")), schema, batch),
        (encoded(&STANDARD.encode("[")), "MALFORMED_JSON", batch),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_short_messages_are_a_405_that_names_the_methods() {
    let (suite, centre) = with_centre(Database::sqlite(), CentreOptions::default()).await;
    for path in ["/send/sms/single", "/v1/send/sms/batch"] {
        for (body, code, pointer) in &invalid_inputs() {
            let refused = suite.call("POST", path, &[JSON], body).await;
            let found = (refused.status.as_u16(), refused.code());
            assert_eq!(found, (405, *code), "{body:.200}");
            assert_eq!(refused.header("allow"), "POST, OPTIONS");
            if !pointer.is_empty() {
                let named = &refused.body["errors"][0]["pointer"];
                assert_eq!(named, pointer, "{}", refused.body);
            }
            // Nothing of what was given is repeated.
            let said = format!("{}{}", refused.body["message"], refused.body["errors"]);
            assert!(!said.contains("nobody") && !said.contains("722"), "{said}");
        }
    }
    assert_eq!(centre.taken(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_media_and_credentials_of_short_messages_are_those_of_mail() {
    let (suite, _centre) = with_centre(Database::sqlite(), CentreOptions::default()).await;
    for (path, allow) in [
        ("/send/sms/single", "POST, OPTIONS"),
        ("/v1/send/sms/batch", "POST, OPTIONS"),
        ("/callback/sms", "POST, OPTIONS"),
        ("/v1/status/sms", "GET, HEAD, OPTIONS"),
    ] {
        let reads = allow.starts_with("GET");
        let wrong = if reads { "POST" } else { "GET" };
        for method in [wrong, "DELETE", "PUT", "PATCH"] {
            let refused = suite.call(method, path, &[], "{\"a\": 1}").await;
            let found = (refused.status.as_u16(), refused.code());
            assert_eq!(found, (405, "METHOD_NOT_ALLOWED"), "{method} {path}");
            assert_eq!(refused.header("allow"), allow);
        }
        let options = suite.call("OPTIONS", path, &[], "").await;
        let found = (options.status.as_u16(), options.header("allow"));
        assert_eq!(found, (204, allow));

        let method = if reads { "GET" } else { "POST" };
        let nobody = suite.bare(method, path, &[JSON], "{}").await;
        let found = (nobody.status.as_u16(), nobody.code());
        assert_eq!(found, (405, "MISSING_API_KEY"), "{path}");
        assert_eq!(nobody.header("allow"), allow);
        let unknown = suite
            .bare(method, path, &[JSON, ("apiKey", "x")], "{}")
            .await;
        let found = (unknown.status.as_u16(), unknown.code());
        assert_eq!(found, (401, "INVALID_API_KEY"), "{path}");
    }
    let body = single().to_string();
    let xml = [("content-type", "text/xml")];
    let refused = suite.call("POST", "/send/sms/single", &xml, "<a/>").await;
    let found = (refused.status.as_u16(), refused.code());
    assert_eq!(found, (415, "UNSUPPORTED_MEDIA_TYPE"));
    let weak = format!("Bearer {}", token(&["messaging:message:read"]));
    let headers = [JSON, ("authorization", weak.as_str())];
    let refused = suite
        .bare("POST", "/send/sms/single", &headers, &body)
        .await;
    let found = (refused.status.as_u16(), refused.code());
    assert_eq!(found, (403, "FORBIDDEN_SENDER"));
    for (query, code) in [("", "MISSING_STATUS"), ("status=lost", "UNKNOWN_STATUS")] {
        let refused = status(&suite, "sms", "UfQK-CPju-Ea5B-6y7X-8A72-VqU5", query).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (405, code));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_centre_short_messages_are_not_set_up() {
    let suite = suite(Database::sqlite(), Profile::Local).await;
    for (path, body) in [
        ("/send/sms/single", single()),
        (
            "/send/sms/batch",
            list(&json!([{"phone": "+254722000111"}])),
        ),
    ] {
        let refused = suite.post(path, &body).await;
        let found = (refused.status.as_u16(), refused.code());
        assert_eq!(found, (501, "POLICY_NOT_CONFIGURED"), "{}", refused.body);
    }
}
