//! Forms of answers: the strict one, pages of every list, revisions, and what may not be changed.

use http::StatusCode;
use publica_host::Profile;
use publica_testkit::{both_engines, token};
use serde_json::{Value, json};

use super::{Suite, agreement, person_token, policy, suite, text};

/// Members that the published schemas name, by the name of what they stand under.
fn published(under: &str) -> Option<&'static [&'static str]> {
    Some(match under {
        "individual" | "individuals" | "authorizedByIndividual" => {
            &["id", "externalId", "externalIdType", "identityProviderId"]
        }
        "policy" | "policies" => &[
            "id",
            "name",
            "version",
            "url",
            "jurisdiction",
            "industrySector",
            "dataRetentionPeriodDays",
            "geographicRestriction",
            "storageLocation",
        ],
        "dataAgreement" | "dataAgreements" => &[
            "id",
            "version",
            "controller",
            "policy",
            "purpose",
            "lawfulBasis",
            "dataUse",
            "dpia",
            "active",
            "forgettable",
            "compatibleWithVersion",
            "lifecycle",
            "signature",
        ],
        "consentRecord" | "consentRecords" => &[
            "id",
            "dataAgreement",
            "dataAgreementRevision",
            "dataAgreementRevisionHash",
            "individual",
            "optIn",
            "state",
            "signature",
        ],
        "revision" | "dataAgreementRevision" => &[
            "id",
            "schemaName",
            "objectId",
            "signedWithoutObjectId",
            "serializedSnapshot",
            "serializedHash",
            "timestamp",
            "authorizedByIndividual",
            "authorizedByOther",
            "successor",
            "predecessorHash",
            "predecessorSignature",
        ],
        "signature" => &[
            "id",
            "payload",
            "signature",
            "verificationMethod",
            "verificationPayload",
            "verificationPayloadHash",
            "verificationArtifact",
            "verificationSignedBy",
            "verificationSignedAs",
            "verificationJwsHeader",
            "timestamp",
            "signedWithoutObjectReference",
            "objectType",
            "objectReference",
        ],
        "webhook" | "webhooks" => &["id", "payloadUrl", "contentType", "disabled", "secretKey"],
        "controller" => &["id", "name", "url"],
        "lifecycle" => &["id", "name"],
        _ => return None,
    })
}

/// Members that an object of this kind must have.
fn mandatory(under: &str) -> &'static [&'static str] {
    match under {
        "individual" | "individuals" | "authorizedByIndividual" => &["id"],
        "policy" | "policies" => &["id", "name", "version", "url"],
        "dataAgreement" | "dataAgreements" => &["id", "version", "purpose", "lawfulBasis", "dpia"],
        "consentRecord" | "consentRecords" => &["dataAgreementRevisionHash", "state"],
        "revision" | "dataAgreementRevision" => &[
            "id",
            "schemaName",
            "objectId",
            "serializedSnapshot",
            "serializedHash",
            "timestamp",
        ],
        "signature" => &[
            "payload",
            "signature",
            "verificationMethod",
            "verificationPayload",
            "verificationPayloadHash",
            "verificationSignedBy",
            "timestamp",
        ],
        "webhook" | "webhooks" => &["id", "payloadUrl", "contentType", "disabled", "secretKey"],
        "controller" => &["id", "name", "url"],
        "lifecycle" => &["id", "name"],
        _ => &[],
    }
}

#[track_caller]
fn assert_published(under: &str, value: &Value) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| assert_published(under, item)),
        Value::Object(members) => {
            let known = published(under);
            for (name, inner) in members {
                let known = known.is_none_or(|known| known.contains(&name.as_str()));
                assert!(known, "{under}.{name} is not published");
                if published(name).is_some() {
                    assert_published(name, inner);
                }
            }
            for name in mandatory(under) {
                assert!(
                    members.contains_key(*name),
                    "{under}.{name} is mandatory: {value}"
                );
            }
        }
        _ => {}
    }
}

impl Suite {
    /// The strict answer, whose wrappers are exactly these.
    async fn strict(&self, method: &str, path: &str, body: Value, wrappers: &[&str]) -> Value {
        let answer = self
            .send(method, path, |request| {
                let strict = "handling=strict".parse().unwrap();
                request.headers_mut().insert("prefer", strict);
                if !body.is_null() {
                    *request.body_mut() = body.to_string().into();
                }
            })
            .await;
        assert_eq!(
            answer.headers["preference-applied"], "handling=strict",
            "{path}"
        );
        let value = answer.ok();
        let mut found: Vec<&str> = value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut wanted = wrappers.to_vec();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{method} {path}");
        assert_published("", &value);
        value
    }
}

async fn strict_definitions(suite: &Suite) -> (String, String) {
    let both = &["policy", "revision"];
    let body = json!({ "policy": policy() });
    let made = suite
        .strict("POST", "/config/policy/", body.clone(), both)
        .await;
    let id = text(&made["policy"]["id"]);
    let path = format!("/config/policy/{id}/");
    suite.strict("GET", &path, Value::Null, both).await;
    suite.strict("PUT", &path, body, both).await;
    suite
        .strict("GET", &format!("/service/policy/{id}/"), Value::Null, both)
        .await;
    suite
        .strict(
            "GET",
            &format!("{path}revisions/"),
            Value::Null,
            &["policy"],
        )
        .await;
    suite
        .strict("GET", "/config/policies/", Value::Null, &["policies"])
        .await;
    suite
        .strict("DELETE", &path, Value::Null, &["revision"])
        .await;

    let both = &["dataAgreement", "revision"];
    let body = json!({ "dataAgreement": agreement() });
    let made = suite
        .strict("POST", "/config/data-agreement/", body.clone(), both)
        .await;
    assert_eq!(made["dataAgreement"]["controller"]["name"], "Ministry");
    let id = text(&made["dataAgreement"]["id"]);
    let path = format!("/config/data-agreement/{id}/");
    suite.strict("GET", &path, Value::Null, both).await;
    let service = format!("/service/data-agreement/{id}/");
    suite.strict("GET", &service, Value::Null, both).await;
    suite
        .strict(
            "GET",
            "/config/data-agreements/",
            Value::Null,
            &["dataAgreement"],
        )
        .await;
    for list in [
        "/service/verification/data-agreements/",
        "/audit/data-agreements/",
    ] {
        suite
            .strict("GET", list, Value::Null, &["dataAgreements"])
            .await;
    }
    let audit = format!("/audit/data-agreement/{id}/");
    suite
        .strict("GET", &audit, Value::Null, &["dataAgreement"])
        .await;
    let ended = suite
        .strict("POST", "/config/data-agreement/", body, both)
        .await;
    let ended = text(&ended["dataAgreement"]["id"]);
    let path = format!("/config/data-agreement/{ended}/");
    suite
        .strict("DELETE", &path, Value::Null, &["revision"])
        .await;
    (id, path)
}

async fn strict_records(suite: &Suite, agreement: &str) {
    let (person, key) = suite.person("712").await;
    let own = format!("individualId={person}");
    let base = "/service/individual/record";
    let draft = format!("{base}/consent-record/draft/?{own}&dataAgreementId={agreement}");
    let mut pair = suite
        .strict("POST", &draft, json!({}), &["consentRecord", "signature"])
        .await;
    super::sign(&mut pair["signature"], &key);
    // The published members alone are enough to come back with the pair.
    pair["consentRecord"]["individual"] = json!({ "id": person });
    let wrappers = &["consentRecord", "revision", "signature"];
    let path = format!("{base}/consent-record/");
    let stored = suite.strict("POST", &path, pair, wrappers).await;
    let id = text(&stored["consentRecord"]["id"]);
    let one = format!("{base}/consent-record/{id}/");
    let off = json!({ "consentRecord": { "optIn": false } });
    suite
        .strict("PUT", &one, off, &["consentRecord", "revision"])
        .await;
    let signing = format!("{one}signature/");
    let mut drafted = suite
        .strict("POST", &signing, json!({}), &["signature"])
        .await;
    super::sign(&mut drafted["signature"], &key);
    suite.strict("PUT", &signing, drafted, &["signature"]).await;
    let under = format!("{base}/data-agreement/{agreement}/");
    let current = format!("{under}?{own}");
    suite
        .strict("GET", &current, Value::Null, &["consentRecord"])
        .await;
    for list in [
        format!("{under}all/?{own}"),
        format!("{base}/consent-record/?{own}"),
        "/service/verification/consent-records/".to_owned(),
        "/audit/consent-records/".to_owned(),
    ] {
        suite
            .strict("GET", &list, Value::Null, &["consentRecords"])
            .await;
    }
    let checked = format!("/service/verification/consent-record/{id}/");
    suite
        .strict("GET", &checked, Value::Null, &["consentRecord", "revision"])
        .await;
    let audited = format!("/audit/consent-record/{id}/");
    suite
        .strict("GET", &audited, Value::Null, &["consentRecord"])
        .await;
    suite
        .strict("DELETE", &format!("{base}/?{own}"), Value::Null, &[])
        .await;
    let (other, _) = suite.person("713").await;
    let opt_in = format!("{under}?individualId={other}");
    suite
        .strict("POST", &opt_in, Value::Null, &["consentRecord", "revision"])
        .await;
}

/// The rows of a list's answer.
fn rows<'a>(body: &'a Value, key: &str) -> Vec<&'a str> {
    let rows = body[key]
        .as_array()
        .unwrap_or_else(|| panic!("no {key}: {body}"));
    rows.iter().map(|row| row["id"].as_str().unwrap()).collect()
}

both_engines! {
    async fn the_strict_form_holds_published_members_alone(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let (agreement, _) = strict_definitions(&suite).await;
        strict_records(&suite, &agreement).await;
        let body = json!({"individual": {"externalId": "1"}});
        let one = &["individual"];
        let made = suite.strict("POST", "/config/individual/", body.clone(), one).await;
        let id = text(&made["individual"]["id"]);
        for base in ["/config", "/service"] {
            suite.strict("GET", &format!("{base}/individual/{id}/"), Value::Null, one).await;
            let list = format!("{base}/individuals/");
            suite.strict("GET", &list, Value::Null, &["individuals"]).await;
        }
        suite.strict("PUT", &format!("/service/individual/{id}/"), body, one).await;
        let body = json!({"individual": {"externalId": "2"}});
        suite.strict("POST", "/service/individual/", body, one).await;
        let body = json!({"webhook": {"payloadUrl": "https://hooks.example.com/a",
            "contentType": "application/json", "disabled": true, "secretKey": "x"}});
        let one = &["webhook"];
        let made = suite.strict("POST", "/config/webhook/", body.clone(), one).await;
        let path = format!("/config/webhook/{}/", text(&made["webhook"]["id"]));
        suite.strict("GET", &path, Value::Null, one).await;
        suite.strict("PUT", &path, body, one).await;
        suite.strict("GET", "/config/webhooks/", Value::Null, &["webhooks"]).await;
        suite.strict("DELETE", &path, Value::Null, &[]).await;
        // Native paths and refusals keep their own shape.
        let plain = suite.send("GET", "/config/lifecycles/", |request| {
            request.headers_mut().insert("prefer", "handling=strict".parse().unwrap());
        });
        let plain = plain.await;
        assert!(!plain.headers.contains_key("preference-applied"));
        assert_eq!(plain.ok()["lifecycles"][0], json!({"id": "1", "name": "Draft"}));
        let refused = suite.send("GET", "/config/policy/none/", |request| {
            request.headers_mut().insert("prefer", "handling=strict".parse().unwrap());
        });
        assert_eq!(refused.await.refused(400), "policy_not_found");
    }

    async fn every_list_has_pages(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let mut agreements = Vec::new();
        let (person, key) = suite.person("712").await;
        for n in 0..3 {
            let id = text(&suite.agreement().await["id"]);
            suite.signed(&person, &key, &id).await;
            suite.person(&n.to_string()).await;
            let hook = json!({"webhook": {"payloadUrl": "https://hooks.example.com/a",
                "contentType": "application/json", "disabled": true, "secretKey": "x"}});
            suite.post("/config/webhook/", hook).await.ok();
            agreements.push(id);
        }
        let own = format!("individualId={person}");
        let under = format!("/service/individual/record/data-agreement/{}/all/", agreements[0]);
        for (path, key, total) in [
            ("/config/policies/?".to_owned(), "policies", 3),
            ("/config/data-agreements/?".to_owned(), "dataAgreement", 3),
            ("/config/individuals/?".to_owned(), "individuals", 4),
            ("/service/individuals/?".to_owned(), "individuals", 4),
            ("/config/webhooks/?".to_owned(), "webhooks", 3),
            ("/service/verification/data-agreements/?".to_owned(), "dataAgreements", 3),
            ("/service/verification/consent-records/?".to_owned(), "consentRecords", 3),
            ("/audit/consent-records/?".to_owned(), "consentRecords", 3),
            ("/audit/data-agreements/?".to_owned(), "dataAgreements", 3),
            (format!("/service/individual/record/consent-record/?{own}&"), "consentRecords", 3),
            (format!("{under}?{own}&"), "consentRecords", 1),
        ] {
            let all = suite.get(&format!("{path}count=true")).await.ok();
            let ids: Vec<String> = rows(&all, key).into_iter().map(str::to_owned).collect();
            assert_eq!(ids.len(), total, "{path}");
            assert_eq!(all["pagination"]["totalItems"], total, "{path}");
            assert_eq!(all["pagination"]["hasNext"], false, "{path}");
            for (offset, id) in ids.iter().enumerate() {
                let page = suite.get(&format!("{path}limit=1&offset={offset}")).await.ok();
                assert_eq!(rows(&page, key), [id], "{path} {offset}");
                assert_eq!(page["pagination"]["hasNext"], offset + 1 < total, "{path}");
                assert_eq!(page["pagination"]["hasPrevious"], offset > 0, "{path}");
            }
            let beyond = suite.get(&format!("{path}offset=99")).await.ok();
            assert!(rows(&beyond, key).is_empty(), "{path}");
            let none = suite.get(&format!("{path}limit=0")).await.ok();
            assert!(rows(&none, key).is_empty(), "{path}");
            let many = suite.get(&format!("{path}limit=100000")).await.ok();
            assert_eq!(many["pagination"]["limit"], 1_000, "{path}");
            for bad in ["limit=-1", "offset=-1", "limit=many", "offset=1.5"] {
                let answer = suite.get(&format!("{path}{bad}")).await;
                assert_eq!(answer.refused(400), "invalid_fields", "{path}");
            }
            if let Some(cursor) = suite.get(&format!("{path}limit=1")).await.ok()["pagination"]
                .get("nextCursor")
                .and_then(Value::as_str)
            {
                let next = suite.get(&format!("{path}limit=1&cursor={cursor}")).await.ok();
                assert_eq!(rows(&next, key), [&ids[1]], "{path}");
            }
        }
    }

    async fn only_the_answer_of_a_record_can_be_changed(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let agreement = text(&suite.agreement().await["id"]);
        let (person, key) = suite.person("712").await;
        let stored = suite.signed(&person, &key, &agreement).await["consentRecord"].clone();
        let id = text(&stored["id"]);
        let path = format!("/service/individual/record/consent-record/{id}/");
        for (name, value) in [
            ("id", json!("other")),
            ("individualId", json!("other")),
            ("dataAgreement", json!({"id": "other"})),
            ("dataAgreementId", json!("other")),
            ("dataAgreementRevisionId", json!("other")),
            ("dataAgreementRevisionHash", json!("00")),
        ] {
            let mut sent = json!({"optIn": false});
            sent[name] = value;
            let answer = suite.call("PUT", &path, json!({ "consentRecord": sent })).await;
            assert_eq!(answer.refused(400), "immutable_field", "{name}");
        }
        // The whole record as it was read, but for the answer, goes through.
        let mut back = stored;
        back["optIn"] = json!(false);
        let changed = suite.call("PUT", &path, json!({ "consentRecord": back })).await.ok();
        assert_eq!(changed["consentRecord"]["state"], "unsigned");
        let revision = text(&changed["revision"]["id"]);
        let same = suite.call("PUT", &path, json!({"optIn": false})).await.ok();
        assert_eq!(same["revision"]["id"], revision, "the same answer is no new revision");
        let stale = suite.send("PUT", &path, |request| {
            request.headers_mut().insert("if-match", "\"other\"".parse().unwrap());
            *request.body_mut() = json!({"optIn": true}).to_string().into();
        });
        assert_eq!(stale.await.refused(400), "conflict");
        let none = suite.call("PUT", &path, json!({"consentRecord": {}})).await;
        assert_eq!(none.refused(400), "invalid_fields");
    }

    async fn other_media_types_are_refused(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        for (kind, status) in [
            ("text/plain", 415),
            ("application/x-www-form-urlencoded", 415),
            ("application/json; charset=utf-8", 200),
            ("application/vnd.api+json", 200),
        ] {
            let answer = suite.send("POST", "/config/policy/", |request| {
                request.headers_mut().insert("content-type", kind.parse().unwrap());
                *request.body_mut() = json!({ "policy": policy() }).to_string().into();
            });
            let answer = answer.await;
            assert_eq!(answer.status.as_u16(), status, "{kind}");
            if status == 415 {
                assert_eq!(answer.refused(415), "unsupported_media_type");
            }
        }
    }

    async fn drafts_are_never_served(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let made = suite.agreement().await;
        let id = text(&made["id"]);
        let mut next = agreement();
        next["purpose"] = json!("Something else");
        next["lifecycle"] = json!("Draft");
        let path = format!("/config/data-agreement/{id}/");
        let draft = suite.call("PUT", &path, json!({ "dataAgreement": next })).await.ok();
        let revision = text(&draft["revision"]["id"]);
        let shown = suite.get(&format!("{path}?revisionId={revision}")).await.ok();
        assert_eq!(shown["dataAgreement"]["purpose"], "Something else");
        let served = format!("/service/data-agreement/{id}/?revisionId={revision}");
        assert_eq!(suite.get(&served).await.refused(400), "revision_not_found");
        let first = text(&made["revisionId"]);
        let served = format!("/service/data-agreement/{id}/?revisionId={first}");
        let served = suite.get(&served).await.ok();
        assert_eq!(served["dataAgreement"]["purpose"], "Registration in Health App");
        let gaps = suite.get(&format!("{path}gaps/")).await.ok();
        assert_eq!(gaps["publication"], json!([]));
        assert!(gaps["iso27560"].as_array().unwrap().contains(&json!("controller.address")));
        assert!(gaps["kantara"].as_array().unwrap().contains(&json!("controller.phone")));
        let stage = suite.get("/config/lifecycle/2/").await.ok();
        assert_eq!(stage["lifecycle"]["name"], "Complete");
        assert_eq!(suite.get("/config/lifecycle/9/").await.refused(400), "lifecycle_not_found");
    }

    async fn revisions_are_for_those_who_read_the_object(db: TestDatabase) {
        let mut suite = suite(db, Profile::Local).await;
        let made = suite.agreement().await;
        let (policy, agreement) = (text(&made["policyId"]), text(&made["id"]));
        let (person, key) = suite.person("712").await;
        let record = suite.signed(&person, &key, &agreement).await;
        let record = text(&record["consentRecord"]["id"]);
        let audited = suite.get(&format!("/audit/consent-records/?id={record}")).await.ok();
        assert_eq!(rows(&audited, "consentRecords"), [&record]);
        let none = suite.get("/audit/consent-records/?id=none").await.ok();
        assert!(rows(&none, "consentRecords").is_empty());
        let of_record = format!("/audit/revisions/?schemaName=ConsentRecord&objectId={record}");
        suite.token = Some(token(&["consent:policy:read", "consent:agreement:write"]));
        suite.get(&format!("/config/policy/{policy}/revisions/")).await.ok();
        suite.get(&format!("/config/data-agreement/{agreement}/revisions/")).await.ok();
        assert_eq!(suite.get(&of_record).await.refused(403), "not_yours");
        assert_eq!(suite.get("/audit/revisions/").await.refused(403), "not_yours");
        suite.token = Some(person_token(&person));
        let own = suite.get(&of_record).await.ok();
        assert_eq!(own["revisions"].as_array().unwrap().len(), 1);
        suite.token = Some(person_token("stranger"));
        assert_eq!(suite.get(&of_record).await.refused(403), "not_yours");
    }

    async fn revocations_and_keys_are_served(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let mut limited = agreement();
        limited["frequency"] = json!({"unit": "hour", "value": 2, "repeats": 5});
        limited["recipients"] = json!([{"id": "tester", "attributes": ["income"]}]);
        let body = json!({ "dataAgreement": limited });
        let made = suite.post("/config/data-agreement/", body).await.ok();
        let made = &made["dataAgreement"];
        let limits = json!([{"unit": "HOUR", "value": 2, "repeats": 5}]);
        assert_eq!(made["useLimits"], limits);
        assert_eq!(made["recipients"][0]["attributes"], json!(["income"]));
        let (person, key) = suite.person("712").await;
        let stored = suite.signed(&person, &key, &text(&made["id"])).await;
        let record = text(&stored["consentRecord"]["id"]);
        let begun = suite.get("/v1/revocations").await.ok();
        let path = format!("/service/individual/record/consent-record/{record}/");
        suite.call("PUT", &path, json!({"optIn": false})).await.ok();
        let path = format!("/v1/revocations?cursor={}&limit=10", text(&begun["cursor"]));
        let found = suite.get(&path).await.ok();
        assert_eq!(found["revocations"][0]["consentRecordId"], record);
        assert_eq!(found["revocations"][0]["cause"], "answer_changed");
        assert_eq!(found["more"], false);
        let keys = suite.get("/v1/keys").await.ok();
        assert_eq!(keys["keys"][0]["kty"], "OKP");
        let bad = suite.get("/v1/revocations?cursor=x").await;
        assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    }

    async fn webhooks_speak_of_published_events(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let hook = json!({"webhook": {"payloadUrl": "https://hooks.example.com/a",
            "contentType": "application/json", "disabled": false, "secretKey": "x",
            "subscribedEvents": ["consent.withdrawn", "agreement.published"]}});
        let made = suite.post("/config/webhook/", hook).await.ok();
        let events = json!(["consent.withdrawn", "agreement.published"]);
        assert_eq!(made["webhook"]["subscribedEvents"], events);
        let secret = text(&made["webhook"]["secretKey"]);
        let path = format!("/config/webhook/{}/", text(&made["webhook"]["id"]));
        let fresh = suite.post(&format!("{path}rotate-secret/"), json!({})).await.ok();
        assert!(text(&fresh["secretKey"]).starts_with("whsec_"));
        assert_ne!(text(&fresh["secretKey"]), secret);
        let given_up = suite.get(&format!("{path}deliveries/")).await.ok();
        assert_eq!(given_up["deliveries"], json!([]));
        let types = suite.get("/config/webhooks/event-types/").await.ok();
        let types = types["eventTypes"].as_array().unwrap().clone();
        assert!(types.iter().any(|one| one["name"] == "consent.withdrawn"));
        let unknown = suite.post(&format!("{path}deliveries/none/redeliver/"), json!({})).await;
        assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    }
}
