//! What auditors and consumers find: who is affected by a change, whether consent is there, and
//! proof without content.

use http::StatusCode;
use publica_host::Profile;
use publica_testkit::{both_engines, eventually};
use serde_json::{Value, json};

use super::{Suite, agreement, policy, sign, suite, text};

fn ids(rows: &Value) -> Vec<String> {
    rows.as_array()
        .unwrap()
        .iter()
        .map(|one| text(&one["id"]))
        .collect()
}

/// Every text in a document that stands under a member that tells a time.
fn times(value: &Value, name: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members
                .iter()
                .for_each(|(name, inner)| times(inner, name, found));
        }
        Value::Array(items) => items.iter().for_each(|item| times(item, name, found)),
        Value::String(text) if name == "timestamp" || name.ends_with("At") => {
            found.push(text.clone());
        }
        Value::String(text) if name.starts_with("valid") => found.push(text.clone()),
        _ => {}
    }
}

/// Entries of the journal with this action, once there are any.
async fn entries(suite: &Suite, action: &str) -> Vec<Value> {
    eventually(|| async {
        let log = suite.get("/audit/admin-log/?limit=1000").await.ok();
        let all = log["entries"].as_array().unwrap().iter();
        let own: Vec<Value> = all.filter(|one| one["action"] == action).cloned().collect();
        (!own.is_empty()).then_some(own)
    })
    .await
}

both_engines! {
    async fn a_changed_policy_leads_to_agreements_and_records(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let (one, two) = (suite.agreement().await, suite.agreement().await);
        let (person, key) = suite.person("712").await;
        let own = suite.signed(&person, &key, &text(&one["id"])).await;
        suite.signed(&person, &key, &text(&two["id"])).await;
        let id = text(&one["policyId"]);
        let mut next = policy();
        next["url"] = json!("https://example.com/policy/2.0");
        next["jurisdiction"] = json!("Elsewhere");
        let path = format!("/config/policy/{id}/");
        suite.call("PUT", &path, json!({ "policy": next })).await.ok();
        for path in ["/config/data-agreements/", "/audit/data-agreements/"] {
            let found = suite.get(&format!("{path}?policyId={id}")).await.ok();
            let rows = found.get("dataAgreements").unwrap();
            assert_eq!(ids(rows), [text(&one["id"])], "{path}");
        }
        let found = suite.get(&format!("/audit/consent-records/?policyId={id}")).await.ok();
        assert_eq!(ids(&found["consentRecords"]), [text(&own["consentRecord"]["id"])]);
        let none = suite.get("/audit/consent-records/?policyId=none").await.ok();
        assert_eq!(none["consentRecords"], json!([]));
    }

    async fn a_proof_tells_nothing_but_that_it_holds(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let agreement = text(&suite.agreement().await["id"]);
        let (person, key) = suite.person("canary-712").await;
        let stored = suite.signed(&person, &key, &agreement).await;
        let id = text(&stored["consentRecord"]["id"]);
        let proof = suite.get(&format!("/audit/consent-record/{id}/verify/")).await.ok();
        assert_eq!(proof["intact"], true);
        assert_eq!((&proof["revisions"], &proof["signatures"]), (&json!(1), &json!(1)));
        assert_eq!(proof["consentRecordId"], id);
        assert_eq!(proof["dataAgreementId"], agreement);
        assert_eq!(proof["headRevisionId"], stored["revision"]["id"]);
        let told = proof.to_string();
        for hidden in [person.as_str(), "canary-712", "optIn", "serializedSnapshot", "payload"] {
            assert!(!told.contains(hidden), "{hidden} in {told}");
        }
        let unknown = suite.get("/audit/consent-record/none/verify/").await;
        assert_eq!(unknown.refused(400), "object_not_found");
    }

    async fn whoever_looks_for_consent_is_told_and_noted(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let agreement = text(&suite.agreement().await["id"]);
        let (person, key) = suite.person("712").await;
        let active = format!(
            "/service/verification/consent-records/?individualId={person}&optIn=true"
        );
        let none = suite.get(&active).await.ok();
        assert_eq!(none["consentRecords"], json!([]));
        let question = json!({"individualId": person, "dataAgreementId": agreement});
        let no = suite.post("/service/verification/check/", question.clone()).await.ok();
        assert_eq!((&no["allowed"], &no["reasons"]), (&json!(false), &json!(["no_record"])));
        let stored = suite.signed(&person, &key, &agreement).await;
        let id = text(&stored["consentRecord"]["id"]);
        let found = suite.get(&active).await.ok();
        assert_eq!(ids(&found["consentRecords"]), [id.clone()]);
        assert_eq!(found["consentRecords"][0]["effectiveStatus"], "given");
        let path = format!("/service/individual/record/consent-record/{id}/");
        suite.call("PUT", &path, json!({"optIn": false})).await.ok();
        let gone = suite.get(&active).await.ok();
        assert_eq!(gone["consentRecords"], json!([]));
        // Both kinds of attempt leave their trace, whatever they found.
        assert!(!entries(&suite, "consent.data.read").await.is_empty());
        let made = entries(&suite, "consent.decision.made").await;
        assert_eq!(made[0]["outcome"], "refused", "{made:?}");
    }

    async fn documents_are_json_with_times_of_iso_8601(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let mut limited = agreement();
        limited["validityDays"] = json!(30);
        let body = json!({ "dataAgreement": limited });
        let made = suite.post("/config/data-agreement/", body).await.ok();
        let agreement = text(&made["dataAgreement"]["id"]);
        let (person, key) = suite.person("712").await;
        let stored = suite.signed(&person, &key, &agreement).await;
        let listed = suite.get("/audit/consent-records/").await.ok();
        let mut found = Vec::new();
        for document in [&made, &stored, &listed] {
            times(document, "", &mut found);
        }
        assert!(found.len() >= 8, "{found:?}");
        for time in &found {
            let bytes = time.as_bytes();
            assert!(time.ends_with('Z') && bytes[10] == b'T' && bytes[4] == b'-', "{time}");
            time.parse::<publica_types::Timestamp>().unwrap();
        }
        let answer = suite.get("/audit/consent-records/").await;
        assert_eq!(answer.headers["content-type"], "application/json; charset=utf-8");
    }

    async fn somebody_else_may_help_and_is_named(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let agreement = text(&suite.agreement().await["id"]);
        let (person, key) = suite.person("712").await;
        let path = format!(
            "/service/individual/record/data-agreement/{agreement}/?individualId={person}"
        );
        // A worker's token: the record says who assisted.
        let made = suite.post(&path, json!({})).await.ok();
        assert_eq!(made["consentRecord"]["assistedBy"], "tester");
        // What the person signed themselves, wherever they carried it, is their own.
        let second = text(&suite.agreement().await["id"]);
        let carried = suite.draft(&person, &second).await;
        let mut carried: Value = serde_json::from_str(&carried.to_string()).unwrap();
        sign(&mut carried["signature"], &key);
        let path = "/service/individual/record/consent-record/";
        let stored = suite.post(path, carried).await.ok();
        assert_eq!(stored["consentRecord"].get("assistedBy"), None);
        assert_eq!(stored["revision"]["authorizedByIndividual"]["id"], person);
    }

    async fn choices_are_drafted_and_given_at_once(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let mut optional = agreement();
        optional["dataAttributes"] = json!([{"name": "income", "sensitivity": true,
            "category": "household", "necessity": "optional"}]);
        let body = json!({ "dataAgreement": optional });
        let made = suite.post("/config/data-agreement/", body).await.ok();
        let agreement = text(&made["dataAgreement"]["id"]);
        let (person, key) = suite.person("712").await;
        let path = format!(
            "/service/individual/record/consent-record/draft/?individualId={person}\
             &dataAgreementId={agreement}"
        );
        let choices = json!([{"attribute": "income", "granted": false}]);
        for body in [
            json!({ "attributes": choices }),
            json!({ "consentRecord": { "attributes": choices } }),
        ] {
            let drafted = suite.post(&path, body).await.ok();
            assert_eq!(drafted["consentRecord"]["attributes"][0]["granted"], false);
        }
        let unknown = json!({"attributes": [{"attribute": "shoe size", "granted": true}]});
        assert_eq!(suite.post(&path, unknown).await.refused(400), "invalid_fields");
        let mut pair = suite.post(&path, json!({ "attributes": choices })).await.ok();
        sign(&mut pair["signature"], &key);
        let stored = suite.post("/service/individual/record/consent-record/", pair).await.ok();
        assert_eq!(stored["consentRecord"]["state"], "signed");
        let (other, _) = suite.person("713").await;
        let path = format!(
            "/service/individual/record/data-agreement/{agreement}/?individualId={other}"
        );
        suite.post(&path, json!({ "attributes": choices })).await.ok();
        for one in [&person, &other] {
            let question = json!({"individualId": one, "dataAgreementId": agreement,
                "attributes": ["income"]});
            let no = suite.post("/service/verification/check/", question).await.ok();
            assert_eq!(no["reasons"], json!(["attribute_not_granted"]));
        }
    }

    async fn events_are_known_or_refused(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let webhook = |event: &str| json!({"webhook": {
            "payloadUrl": "https://hooks.example.com/a", "contentType": "application/json",
            "disabled": false, "secretKey": "x", "subscribedEvents": [event]}});
        for event in ["consent.superseded", "consent.altered", "consent.record.given"] {
            suite.post("/config/webhook/", webhook(event)).await.ok();
        }
        for event in ["consent.given_up", "consent.", "consents"] {
            let refused = suite.post("/config/webhook/", webhook(event)).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{event}");
            assert_eq!(refused.refused(400), "invalid_fields", "{event}");
        }
        let made = suite.agreement().await;
        let id = text(&made["id"]);
        let (person, key) = suite.person("712").await;
        suite.signed(&person, &key, &id).await;
        let mut next = made.clone();
        next["purpose"] = json!("Another purpose");
        let path = format!("/config/data-agreement/{id}/");
        let changed = suite.call("PUT", &path, json!({ "dataAgreement": next })).await.ok();
        assert_eq!(changed["supersededRecords"], 1);
        let told = entries(&suite, "consent.records.superseded").await;
        assert_eq!(told.len(), 1, "{told:?}");
    }
}
