//! What operators see of delivery, and do about it.

use http::StatusCode;
use publica_host::Profile;
use publica_messaging::sink::Faults;
use publica_testkit::{both_engines, eventually};
use serde_json::json;

use super::{single, suite};

both_engines! {
    async fn operators_hold_up_and_send_again(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        suite.sink.set_faults(Faults {
            refuse: vec![("anna@".to_owned(), "554 5.7.1 blocked".to_owned())],
            ..Faults::default()
        });
        let sent = suite.post("/send/email/single", &single()).await;
        let uid = sent.body["requestUid"].as_str().unwrap().to_owned();
        let at = |rest: &str| format!("/api/v1/requests/{uid}{rest}");
        eventually(|| async {
            let counts = suite.counts(&uid, "status=bounced").await;
            (counts.body == json!({"bounced": 1})).then_some(())
        })
        .await;
        let listed = suite.call("GET", "/api/v1/requests?openOnly=true", &[], "").await;
        assert_eq!(listed.body["requests"][0]["requestUid"], uid.as_str(), "{}", listed.body);
        assert_eq!(listed.body["nextPageToken"], "");
        let dead = suite.call("GET", &at("/dead-letters"), &[], "").await;
        let group = &dead.body["groups"][0];
        assert_eq!((&group["reason"], &group["messages"]),
            (&json!("refused_by_policy"), &json!(1)), "{}", dead.body);

        let refused = suite.call("POST", &at("/pause"), &[], "").await;
        assert_eq!((refused.status, refused.code()),
            (StatusCode::BAD_REQUEST, "REQUEST_FINISHED"));
        let unsound = suite.post(&at("/redrive"), &json!({"reason": "x"})).await;
        assert_eq!(unsound.status, StatusCode::BAD_REQUEST);
        let unknown = suite.post(&at("-/redrive"), &json!({})).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);

        suite.sink.set_faults(Faults::default());
        let again = suite.post(&at("/redrive"), &json!({"reasons": ["refused_by_policy"]})).await;
        assert_eq!(again.status, StatusCode::OK, "{}", again.body);
        assert_eq!((&again.body["messages"], &again.body["more"]), (&json!(1), &json!(false)));
        eventually(|| async {
            let counts = suite.counts(&uid, "status=delivered").await;
            (counts.body == json!({"delivered": 1})).then_some(())
        })
        .await;
        let resumed = suite.call("POST", &at("/resume"), &[], "").await;
        assert_eq!(resumed.body["counters"]["total"], 1, "{}", resumed.body);
        let status = suite.call("GET", &at(""), &[], "").await;
        assert_eq!(status.body["paused"], false);
    }
}
