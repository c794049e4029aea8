//! What agreements are made of: earlier texts that they take over, attributes, organisations.

use publica_host::Profile;
use publica_testkit::both_engines;
use serde_json::json;

use super::fixtures::agreement;
use super::{suite, text};

both_engines! {
    async fn an_earlier_text_is_shown_inside_the_one_that_takes_it_over(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let made = suite.agreement().await;
        let path = format!("/config/data-agreement/{}/", text(&made["id"]));
        let plain = suite.get(&path).await.ok();
        assert!(plain["dataAgreement"].get("compatibleWithVersion").is_none());
        let mut next = made.clone();
        next["purposeDescription"] = json!("The same, said better");
        next["compatibleWithVersionId"] = made["version"].clone();
        suite.call("PUT", &path, json!({"dataAgreement": next})).await.ok();
        let read = suite.get(&path).await.ok();
        let now = &read["dataAgreement"];
        let earlier = &now["compatibleWithVersion"];
        assert_ne!(now["version"], made["version"]);
        assert_eq!(earlier["version"], made["version"]);
        assert_eq!(earlier["id"], made["id"]);
        assert_eq!(earlier["purpose"], made["purpose"]);
        assert!(earlier.get("purposeDescription").is_none());
        // One level deep: what it refers to is named by id alone.
        assert!(earlier.get("policy").is_none() && earlier.get("controller").is_none());
        assert_eq!(earlier["policyId"], made["policyId"]);
        let service = suite.get(&path.replace("config", "service")).await.ok();
        assert_eq!(service["dataAgreement"]["compatibleWithVersion"]["version"], made["version"]);
    }

    async fn an_attribute_is_added_to_the_next_draft(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let made = suite.agreement().await;
        let path = format!("/config/data-agreement/{}/", text(&made["id"]));
        let attributes = format!("{path}attributes/");
        let more = json!({"dataAttribute": {"name": "disability", "sensitivity": "high",
            "category": "health", "specialCategory": true}});
        let added = suite.post(&attributes, more.clone()).await.ok();
        assert!(!text(&added["dataAttribute"]["id"]).is_empty());
        assert_eq!(added["dataAttribute"]["specialCategory"], true);
        let all = suite.get(&attributes).await.ok();
        assert_eq!(all["dataAttributes"].as_array().unwrap().len(), 2);
        assert_eq!(suite.get(&path).await.ok()["dataAgreement"]["lifecycle"]["name"], "Draft");
        // What people are shown stays as it was published.
        let shown = suite.get(&path.replace("config", "service")).await.ok();
        assert_eq!(shown["dataAgreement"]["dataAttributes"].as_array().unwrap().len(), 1);
        // A name is unique within the agreement, and whoever comes late learns of it.
        suite.post(&attributes, more).await.refused(400);
        suite.post(&attributes, json!({})).await.refused(400);
        let late = suite.send("POST", &attributes, |request| {
            request.headers_mut().insert("if-match", "\"an-earlier-one\"".parse().unwrap());
            let other = json!({"dataAttribute": {"name": "other", "sensitivity": "low",
                "category": "person"}});
            *request.body_mut() = other.to_string().into();
        });
        assert_eq!(late.await.refused(400), "conflict");
    }

    async fn organisations_are_those_that_agreements_name(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let none = suite.get("/config/controllers/").await.ok();
        assert_eq!(none["controllers"], json!([]));
        let made = suite.agreement().await;
        let id = text(&made["controller"]["id"]);
        // Another agreement of the same organisation adds none; one of another does.
        suite.agreement().await;
        let mut other = agreement();
        other["controllerName"] = json!("Institute");
        let other = json!({ "dataAgreement": other });
        suite.post("/config/data-agreement/", other).await.ok();
        let all = suite.get("/config/controllers/?count=true&limit=1").await.ok();
        assert_eq!(all["controllers"].as_array().unwrap().len(), 1);
        assert_eq!(all["pagination"]["totalItems"], 2);
        assert_eq!(all["pagination"]["hasNext"], true);
        let one = suite.get(&format!("/config/controller/{id}/")).await.ok();
        assert_eq!(one["controller"]["name"], "Ministry");
        assert_eq!(one["controller"]["id"], id);
        let missing = suite.get("/config/controller/nobody/").await;
        assert_eq!(missing.refused(400), "controller_not_found");
    }
}
