//! What can be carried away: receipts, everything about one person, everything for auditors.

use std::collections::BTreeSet;

use http::StatusCode;
use publica_host::Profile;
use publica_testkit::{both_engines, token};
use serde_json::json;

use super::{agreement, person_token, suite, text};

both_engines! {
    async fn processing_is_registered_as_agreements_tell_it(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let mut one = agreement();
        one["dataAttributes"] = json!([
            {"name": "income", "sensitivity": true, "category": "household"},
            {"name": "diagnosis", "sensitivity": true, "category": "health",
                "specialCategory": true},
            {"name": "size", "sensitivity": false, "category": "household"},
        ]);
        one["recipients"] = json!([{"id": "lab", "name": "Laboratory", "country": "NL"},
            {"id": "bureau", "name": "Bureau", "country": "BE"}, {"id": "desk"}]);
        let body = json!({ "dataAgreement": one });
        let made = suite.post("/config/data-agreement/", body).await.ok();
        let mut draft = agreement();
        draft["lifecycle"] = json!("Draft");
        suite.post("/config/data-agreement/", json!({ "dataAgreement": draft })).await.ok();
        let all = suite.get("/audit/register/?count=true").await.ok();
        assert_eq!(all["pagination"]["totalItems"], 1, "drafts process nothing");
        let told = &all["processingActivities"][0];
        assert_eq!(told["dataAgreementId"], made["dataAgreement"]["id"]);
        assert_eq!(told["controller"]["name"], "Ministry");
        assert_eq!(told["dataCategories"], json!([
            {"category": "health", "attributes": ["diagnosis"], "specialCategory": true},
            {"category": "household", "attributes": ["income", "size"],
                "specialCategory": false},
        ]));
        assert_eq!(told["recipientCountries"], json!(["BE", "NL"]));
        assert_eq!((&told["retentionDays"], &told["storageLocation"]),
            (&json!(365), &json!("EU")));
        assert_eq!(told["policy"]["url"], "https://example.com/policy/1.0");
        assert_eq!((&told["lawfulBasis"], &told["impactAssessment"]),
            (&json!("consent"), &json!("done")));
        let next = suite.get("/audit/register/?offset=1").await.ok();
        assert_eq!(next["processingActivities"], json!([]));
    }

    async fn everything_can_be_carried_away(db: TestDatabase) {
        let mut suite = suite(db, Profile::Local).await;
        let mut told = agreement();
        told["controller"] = json!({"name": "Ministry", "url": "https://example.com/",
            "address": "1 Main Street", "contact": "The desk"});
        told["policy"]["withdrawalMethod"] = json!("online");
        let made = suite.post("/config/data-agreement/", json!({ "dataAgreement": told })).await;
        let agreement = text(&made.ok()["dataAgreement"]["id"]);
        let (person, key) = suite.person("712").await;
        let stored = suite.signed(&person, &key, &agreement).await;
        let id = text(&stored["consentRecord"]["id"]);
        let question = json!({"individualId": person, "dataAgreementId": agreement});
        suite.post("/service/verification/check/", question).await.ok();
        let receipt = format!("/service/individual/record/consent-record/{id}/receipt/");
        for format in ["iso27560", "fhir", "dpv"] {
            let found = suite.get(&format!("{receipt}?format={format}")).await.ok();
            assert!(found["receipt"].is_object(), "{format}");
            assert_eq!(text(&found["signedReceipt"]).split('.').count(), 3);
        }
        let pdf = suite.get(&format!("{receipt}?format=pdf")).await;
        assert_eq!(pdf.headers["content-type"], "application/pdf");
        assert_eq!(suite.get(&format!("{receipt}?format=x")).await.refused(400), "invalid_fields");
        let lines = suite.get("/audit/export/?optIn=true").await;
        assert_eq!(lines.status, StatusCode::OK);
        assert_eq!(lines.headers["content-type"], "application/x-ndjson");
        assert_eq!(lines.body["id"], id, "one record is one line");
        assert_eq!(suite.get("/audit/export/?state=x").await.refused(400), "invalid_fields");
        suite.token = Some(person_token(&person));
        let history = suite.get("/service/individual/record/history/").await.ok();
        assert_eq!(history["individualId"], person);
        let events = history["events"].as_array().unwrap().clone();
        let given = events.iter().find(|one| one["action"] == "consent.record.given");
        assert_eq!(given.unwrap()["byIndividualId"], person);
        assert_eq!(events[0]["action"], "consent.decision.made");
        assert_eq!(events[0]["allowed"], true);
        let export = suite.get("/service/individual/export/").await;
        assert!(export.headers["content-disposition"].to_str().unwrap().contains("attachment"));
        let export = export.ok();
        assert_eq!(export["individual"]["externalId"], "712");
        assert_eq!(export["consentRecords"][0]["revisions"].as_array().unwrap().len(), 1);
        assert_eq!(export["keys"].as_array().unwrap().len(), 1);
        assert!(export["events"].as_array().unwrap().len() >= 2);
        let other = suite.get("/service/individual/export/?individualId=other").await;
        assert_eq!(other.refused(403), "not_yours");
        // What the export waited for is in the log by now.
        suite.token = Some(token(&["consent:*"]));
        let log = suite.get("/audit/admin-log/?limit=1000").await.ok();
        assert!(log["entries"].as_array().unwrap().iter().any(|one| one["objectId"] == id));
        let head = suite.get("/audit/chain/head/").await.ok();
        assert!(text(&head["checkpoint"]).contains("consent"));
    }

    async fn an_export_is_whole_however_long_it_is(db: TestDatabase) {
        let mut suite = suite(db, Profile::Local).await;
        let agreement = text(&suite.agreement().await["id"]);
        let (person, key) = suite.person("712").await;
        let (other, _) = suite.person("713").await;
        suite.signed(&person, &key, &agreement).await;
        let question = json!({"individualId": person, "dataAgreementId": agreement});
        let checks = vec![question; 1_000];
        suite.post("/service/verification/check-batch/", json!({ "checks": checks })).await.ok();
        for (of, by) in [(&person, &other), (&other, &person)] {
            let delegation = json!({"delegation": {"individualId": of, "delegateIndividualId": by,
                "relationship": "power_of_attorney", "actions": ["view"]}});
            suite.post("/service/delegation/", delegation).await.ok();
        }
        suite.token = Some(person_token(&person));
        let export = suite.get("/service/individual/export/").await.ok();
        let told = export["events"].as_array().unwrap();
        let ids: BTreeSet<String> = told.iter().map(|one| text(&one["id"])).collect();
        assert_eq!(ids.len(), told.len(), "each once");
        let decisions = told.iter().filter(|one| one["action"] == "consent.decision.made");
        assert_eq!(decisions.count(), 1_000);
        let holders: Vec<_> = export["delegations"].as_array().unwrap().iter()
            .map(|one| text(&one["individualId"]))
            .collect();
        let held = suite.get("/service/delegations/?held=true").await.ok();
        let held = held["delegations"].as_array().unwrap();
        assert_eq!(held.len(), 1, "{held:?}");
        assert_eq!((&held[0]["individualId"], &held[0]["delegateIndividualId"]),
            (&json!(other), &json!(person)));
        assert_eq!(holders, [person, other]);
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/service/individual/record/history/?limit=400&cursor={cursor}");
            let page = suite.get(&path).await.ok();
            paged.extend(page["events"].as_array().unwrap().clone());
            match page["pagination"].get("nextCursor") {
                Some(next) => cursor = text(next),
                None => break,
            }
        }
        assert_eq!(&paged, told);
    }
}
