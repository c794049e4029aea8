//! What providers of short messages report, at the path that they are given.

use http::StatusCode;
use publica_host::Profile;
use publica_messaging::{HeaderConfig, ProviderConfig, ReportConfig};
use publica_testkit::{SMS_PROVIDER_KEY, SmsProvider, both_engines, eventually};
use publica_types::Secret;
use serde_json::json;

use super::suite_with;

const TOKEN: &str = "a-token-of-the-provider";

fn settings(url: &str) -> ProviderConfig {
    ProviderConfig {
        name: "hub".to_owned(),
        url: url.to_owned(),
        allow_private: true,
        json: json!({
            "to": "{{ to }}", "from": "{{ from }}", "text": "{{ text }}",
            "reference": "{{ id }}", "validity": "{{ validity_seconds | number }}",
        })
        .to_string(),
        headers: vec![HeaderConfig {
            name: "x-api-key".to_owned(),
            value: Secret::new(SMS_PROVIDER_KEY.to_owned()),
        }],
        answer_id: "/message/id".to_owned(),
        reports: Some(ReportConfig {
            header: "x-provider-token".to_owned(),
            proof: "token".to_owned(),
            secret: Secret::new(TOKEN.to_owned()),
            id: "/id".to_owned(),
            status: "/status".to_owned(),
            delivered: vec!["DELIVERED".to_owned()],
            ..ReportConfig::default()
        }),
        ..ProviderConfig::default()
    }
}

both_engines! {
    async fn reports_of_providers_come_in(db: TestDatabase) {
        let provider = SmsProvider::start().await;
        let url = provider.url().to_owned();
        let suite = suite_with(db, Profile::Local, |config| {
            config.sms.providers = vec![settings(&url)];
        })
        .await;
        let message = json!({
            "senderInfo": {"senderId": "Ministry"},
            "recipientInfo": {"phone": "+254722000111"},
            "smsContent": {"content": "Hello"},
        });
        let sent = suite.post("/send/sms/single", &message).await;
        assert_eq!(sent.status, StatusCode::OK, "{}", sent.body);
        let uid = sent.body["requestUid"].as_str().unwrap();
        eventually(|| async { (provider.sent().len() == 1).then_some(()) }).await;

        let (kind, token) = (("content-type", "application/json"), ("x-provider-token", TOKEN));
        let body = json!({"id": "P-1", "status": "DELIVERED"}).to_string();
        for (path, headers, body, code) in [
            ("/reports/sms/hub", vec![kind], body.as_str(), (401, "REPORT_REFUSED")),
            ("/reports/sms/other", vec![kind, token], body.as_str(), (401, "REPORT_REFUSED")),
            ("/reports/sms/hub", vec![kind, token], "no JSON", (400, "REPORT_UNREADABLE")),
            ("/reports/sms/hub", vec![kind, token], &"x".repeat(300_000),
                (413, "PAYLOAD_TOO_LARGE")),
        ] {
            let refused = suite.bare("POST", path, &headers, body).await;
            assert_eq!((refused.status.as_u16(), refused.code()), code, "{path}");
        }
        let read = suite.bare("GET", "/reports/sms/hub", &[], "").await;
        assert_eq!(read.status, StatusCode::METHOD_NOT_ALLOWED);
        let path = "/status/sms?status=processing,delivered";
        let before = suite.call("GET", path, &[("requestUid", uid)], "").await;
        assert_eq!(before.body, json!({"processing": 1, "delivered": 0}));

        // A provider has no account here; its token is enough.
        let taken = suite.bare("POST", "/reports/sms/hub", &[kind, token], &body).await;
        assert_eq!((taken.status, &taken.body), (StatusCode::OK, &json!({})));
        // It was durable before it was answered.
        let after = suite.call("GET", path, &[("requestUid", uid)], "").await;
        assert_eq!(after.body, json!({"processing": 0, "delivered": 1}));
    }
}
