//! What must not get lost: choices, proofs, drafts that are nobody's business, and the truth about
//! what somebody altered.

use http::StatusCode;
use publica_host::Profile;
use publica_store::Engine;
use publica_testkit::both_engines;
use serde_json::{Value, json};
use sqlx::Connection as _;

use super::{Suite, agreement, person_token, suite, text};

/// Changes the store behind the block's back.
async fn alter(suite: &Suite, sql: &'static str) {
    let url = suite.db.config().url.expose().clone();
    let done = match suite.db.engine() {
        Engine::Sqlite => {
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            let done = sqlx::query(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            done.rows_affected()
        }
        Engine::Postgres => {
            let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
            let own = sqlx::query("SET search_path TO consent");
            own.execute(&mut connection).await.unwrap();
            let done = sqlx::query(sql).execute(&mut connection).await.unwrap();
            done.rows_affected()
        }
    };
    assert!(done > 0);
}

/// An agreement with one datum that is needed and one that is not.
async fn optional(suite: &Suite, forgettable: bool) -> String {
    let mut one = agreement();
    one["forgettable"] = json!(forgettable);
    one["dataAttributes"] = json!([
        {"name": "name", "sensitivity": false, "category": "person", "necessity": "required"},
        {"name": "income", "sensitivity": true, "category": "household", "necessity": "optional"},
    ]);
    let body = json!({ "dataAgreement": one });
    let made = suite.post("/config/data-agreement/", body).await.ok();
    text(&made["dataAgreement"]["id"])
}

async fn granted(suite: &Suite, person: &str, agreement: &str) -> Value {
    let question = json!({"individualId": person, "dataAgreementId": agreement});
    let asked = suite.post("/service/verification/check/", question).await;
    asked.ok()["grantedAttributes"].clone()
}

both_engines! {
    async fn a_bare_yes_widens_nothing(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let agreement = optional(&suite, true).await;
        let (person, key) = suite.person("712").await;
        let stored = suite.signed(&person, &key, &agreement).await;
        let id = text(&stored["consentRecord"]["id"]);
        let path = format!("/service/individual/record/consent-record/{id}/");
        let narrow = json!({"consentRecord": {"optIn": true,
            "attributes": [{"attribute": "income", "granted": false}]}});
        suite.call("PUT", &path, narrow).await.ok();
        assert_eq!(granted(&suite, &person, &agreement).await, json!(["name"]));
        suite.call("PUT", &path, json!({"optIn": false})).await.ok();
        let again = suite.call("PUT", &path, json!({"optIn": true})).await.ok();
        assert_eq!(again["consentRecord"]["attributes"][0]["granted"], false);
        assert_eq!(granted(&suite, &person, &agreement).await, json!(["name"]));
        let form = suite.send("PUT", &path, |request| {
            let kind = "application/x-www-form-urlencoded".parse().unwrap();
            request.headers_mut().insert("content-type", kind);
            *request.body_mut() = "optIn=true".into();
        });
        form.await.ok();
        assert_eq!(granted(&suite, &person, &agreement).await, json!(["name"]));
        // Whoever sends the list means it.
        let all = json!({"consentRecord": {"optIn": true, "attributes": []}});
        suite.call("PUT", &path, all).await.ok();
        assert_eq!(granted(&suite, &person, &agreement).await, json!(["name", "income"]));
    }

    async fn what_was_signed_outlives_every_erasure(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let agreement = optional(&suite, false).await;
        let (person, key) = suite.person("712").await;
        let stored = suite.signed(&person, &key, &agreement).await;
        let id = text(&stored["consentRecord"]["id"]);
        let path = format!("/service/individual/record/consent-record/{id}/");
        suite.call("PUT", &path, json!({"optIn": false})).await.ok();
        let own = format!("/service/individual/record/?individualId={person}");
        for _ in 0..3 {
            let erased = suite.call("DELETE", &own, json!({})).await;
            assert_eq!(erased.headers["x-consent-deleted"], "0");
            assert_eq!(erased.headers["x-consent-retained"], "1");
            erased.ok();
        }
        let proof = suite.get(&format!("/audit/consent-record/{id}/verify/")).await.ok();
        assert_eq!((&proof["intact"], &proof["signatures"]), (&json!(true), &json!(1)));
    }

    async fn a_person_is_erased_as_a_whole(db: TestDatabase) {
        let mut suite = suite(db, Profile::Local).await;
        let (person, key) = suite.person("712").await;
        let gone = optional(&suite, true).await;
        suite.signed(&person, &key, &gone).await;
        let (other, key) = suite.person("713").await;
        let kept = optional(&suite, false).await;
        suite.signed(&other, &key, &kept).await;
        let path = |person: &str| format!("/service/individual/{person}/");
        for (who, erased, deleted, retained) in [
            (&person, true, "1", "0"), (&person, true, "0", "0"), (&other, false, "0", "1"),
        ] {
            let answer = suite.call("DELETE", &path(who), json!({})).await;
            assert_eq!(answer.headers["x-consent-deleted"], deleted);
            assert_eq!(answer.headers["x-consent-retained"], retained);
            assert_eq!(answer.ok(), json!({ "erased": erased }));
        }
        assert_eq!(suite.get(&path(&person)).await.refused(400), "individual_not_found");
        suite.get(&path(&other)).await.ok();
        suite.token = Some(person_token("somebody"));
        let strange = suite.call("DELETE", &path(&other), json!({})).await;
        assert_eq!(strange.refused(403), "not_yours");
    }

    async fn an_altered_revision_is_told_of(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let agreement = optional(&suite, false).await;
        let (person, key) = suite.person("712").await;
        let stored = suite.signed(&person, &key, &agreement).await;
        let (id, revision) =
            (text(&stored["consentRecord"]["id"]), text(&stored["revision"]["id"]));
        alter(&suite, "UPDATE revision SET by_individual = 'x' WHERE kind = 3").await;
        for path in [
            format!("/audit/revision/{revision}/verify/"),
            format!("/audit/consent-record/{id}/verify/"),
        ] {
            let found = suite.get(&path).await.ok();
            assert_eq!(found["intact"], false, "{path}");
            assert_eq!(found["problem"], "seal", "{path}");
            assert_eq!(found["firstBadRevisionId"], revision.as_str(), "{path}");
        }
        let unknown = suite.get("/audit/revision/none/verify/").await;
        assert_eq!(unknown.refused(400), "revision_not_found");
    }

    async fn drafts_are_nobodys_business(db: TestDatabase) {
        let mut suite = suite(db, Profile::Local).await;
        let made = suite.agreement().await;
        let id = text(&made["id"]);
        let mut next = agreement();
        next["purpose"] = json!("Something secret");
        next["lifecycle"] = json!("Draft");
        let path = format!("/config/data-agreement/{id}/");
        suite.call("PUT", &path, json!({ "dataAgreement": next })).await.ok();
        let controller = text(&made["controller"]["id"]);
        suite.token = Some(person_token("somebody"));
        for hidden in [
            path.clone(),
            format!("{path}gaps/"),
            format!("{path}attributes/"),
            "/config/data-agreements/".to_owned(),
            "/config/controllers/".to_owned(),
            format!("/config/controller/{controller}/"),
            format!("/audit/data-agreement/{id}/"),
            "/audit/data-agreements/".to_owned(),
        ] {
            let answer = suite.get(&hidden).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{hidden}");
            assert!(!answer.body.to_string().contains("secret"), "{hidden}");
            assert_eq!(answer.refused(403), "not_yours", "{hidden}");
        }
        for shown in [
            format!("/service/data-agreement/{id}/"),
            "/service/verification/data-agreements/".to_owned(),
        ] {
            let answer = suite.get(&shown).await.ok();
            assert!(answer.to_string().contains("Registration in Health App"), "{shown}");
            assert!(!answer.to_string().contains("secret"), "{shown}");
        }
    }

    async fn a_published_person_loses_nothing_to_a_change(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let body = json!({"individual": {"externalId": "7", "birthDate": "2001-02-03",
            "email": "one@people.example"}});
        let made = suite.post("/service/individual/", body).await.ok();
        let path = format!("/service/individual/{}/", text(&made["individual"]["id"]));
        let published = json!({"individual": {"id": "", "externalId": "8",
            "externalIdType": "foundational id", "identityProviderId": "IDBB"}});
        suite.call("PUT", &path, published).await.ok();
        let one = suite.get(&path).await.ok();
        assert_eq!(one["individual"]["externalId"], "8");
        assert_eq!(one["individual"]["birthDate"], "2001-02-03");
        assert_eq!(one["individual"]["email"], "one@people.example");
        let emptied = json!({"individual": {"externalId": "8", "email": ""}});
        suite.call("PUT", &path, emptied).await.ok();
        let one = suite.get(&path).await.ok();
        assert_eq!(one["individual"].get("email"), None);
        assert_eq!(one["individual"]["birthDate"], "2001-02-03");
    }
}
