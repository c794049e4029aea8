//! People are told what concerns them: the consent block, the messaging block and a mailbox, all
//! real, in one process.

use std::collections::BTreeSet;
use std::time::Duration;

use publica_host::Profile;
use publica_messaging::sink::{MailSink, SinkOptions};
use publica_messaging::{Messaging, MessagingConfig, RelayConfig};
use publica_proto::imports::v1::ImportEntitiesRequest;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_store::Engine;
use publica_testkit::{Database, TestDatabase, TestEnv, both_engines, env, eventually};
use serde_json::{Value, json};

use super::fixtures::person_token;
use super::{Suite, suite_with, text};

const PRIVACY: &str = "https://gov.example/privacy";

/// A consent surface whose block has a messaging block for a peer.
struct Town {
    suite: Suite,
    sink: MailSink,
    _env: TestEnv,
    _db: TestDatabase,
}

async fn town(db: TestDatabase) -> Town {
    let second = match db.engine() {
        Engine::Sqlite => Database::sqlite(),
        Engine::Postgres => Database::postgres().await,
    };
    let sink = MailSink::start(SinkOptions::default()).await.unwrap();
    let own = env("messaging");
    let config = MessagingConfig {
        database: second.config(),
        relay: RelayConfig {
            host: "127.0.0.1".to_owned(),
            port: sink.address().port(),
            tls: "none".to_owned(),
            ..RelayConfig::default()
        },
        ..MessagingConfig::default()
    };
    let messaging = own.open::<Messaging>(config).await.unwrap();
    let consent = env("consent").with_peer("messaging", messaging.link.clone());
    let suite = suite_with(db, Profile::Local, consent, |config| {
        config.notices.sender = "consent@gov.example".to_owned();
        config.notices.link = PRIVACY.to_owned();
    });
    Town {
        suite: suite.await,
        sink,
        _env: own,
        _db: second,
    }
}

impl Town {
    /// The first so many mails to an address, oldest first: subject and text of each.
    async fn mails(&self, address: &str, count: usize) -> Vec<(String, String)> {
        let found = eventually(|| async {
            let kept = self.sink.kept();
            let own: Vec<_> = kept
                .iter()
                .filter(|mail| mail.to.iter().any(|to| to == address))
                .map(|mail| (mail.header("subject").unwrap(), mail.body()))
                .collect();
            (own.len() >= count).then_some(own)
        });
        let found = found.await;
        assert_eq!(found.len(), count, "{found:?}");
        found
    }

    async fn person(&self, individual: Value) -> String {
        let made = self
            .suite
            .post("/service/individual/", json!({ "individual": individual }))
            .await;
        text(&made.ok()["individual"]["id"])
    }

    /// The person says yes by their own token.
    async fn says_yes(
        &self,
        external_id: &str,
        id: &str,
        agreement: &str,
        language: &str,
    ) -> Value {
        let path = format!(
            "/service/individual/record/data-agreement/{agreement}/?individualId={id}\
             &language={language}"
        );
        let token = person_token(external_id);
        let made = self.suite.send("POST", &path, |request| {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
        });
        made.await.ok()["consentRecord"].clone()
    }
}

both_engines! {
    async fn people_are_told_when_what_they_agreed_to_changes(db: TestDatabase) {
        let town = town(db).await;
        let suite = &town.suite;
        let made = suite.agreement().await;
        let agreement = text(&made["id"]);
        let controller = text(&made["controller"]["name"]);
        // By an external id that is an address; by a contact; of whom no address is known; and
        // who wants none.
        let ana = json!({"externalId": "ana@people.example", "externalIdType": "email"});
        let ana = town.person(ana).await;
        let ben = json!({"externalId": "n-2", "externalIdType": "foundational id",
            "email": "ben@people.example"});
        let ben = town.person(ben).await;
        let cid = town.person(json!({"externalId": "n-3"})).await;
        let dan = json!({"externalId": "n-4", "email": "dan@people.example"});
        let dan = town.person(dan).await;
        town.says_yes("ana@people.example", &ana, &agreement, "fr-CA").await;
        town.says_yes("n-2", &ben, &agreement, "").await;
        town.says_yes("n-3", &cid, &agreement, "").await;
        town.says_yes("n-4", &dan, &agreement, "").await;
        let off = json!({"individualId": dan, "enabled": false});
        let path = format!("/service/individual/notifications/?individualId={dan}");
        suite.call("PUT", &path, off).await.ok();

        // A correction of the text alone is nobody's concern.
        let path = format!("/config/data-agreement/{agreement}/");
        let mut next = made.clone();
        next["purposeDescription"] = json!("The same, said better");
        suite.call("PUT", &path, json!({"dataAgreement": next})).await.ok();
        // A longer reach is.
        let more = json!({"name": "health", "sensitivity": "high", "category": "person"});
        next["dataAttributes"].as_array_mut().unwrap().push(more);
        let changed = suite.call("PUT", &path, json!({"dataAgreement": next})).await.ok();
        assert_eq!(changed["supersededRecords"], 4, "{changed}");
        let [(subject, body)] = &town.mails("ben@people.example", 1).await[..] else {
            panic!("one mail")
        };
        assert_eq!(subject, "An agreement about your data has changed");
        assert!(body.contains(&controller) && body.contains(PRIVACY), "{body}");
        for hidden in [text(&made["purpose"]), "n-2".to_owned(), ben.clone()] {
            assert!(!body.contains(&hidden), "{hidden} in {body}");
        }
        let mails = town.mails("ana@people.example", 1).await;
        let french = mails[0].1.replace("=\r\n", "");
        assert!(french.contains("a modifi=C3=A9 un accord"), "{french}");

        suite.call("DELETE", &path, json!({})).await.ok();
        let mails = town.mails("ben@people.example", 2).await;
        assert_eq!(mails[1].0, "An agreement about your data has ended");
        town.mails("ana@people.example", 2).await;
        let to = |address: &str| {
            let kept = town.sink.kept();
            kept.iter().filter(|mail| mail.to.iter().any(|to| to == address)).count()
        };
        assert_eq!(to("dan@people.example"), 0, "who wants none gets none");
        assert_eq!(town.sink.mails(), 4);
    }

    async fn people_are_told_of_what_others_do_for_them(db: TestDatabase) {
        let town = town(db).await;
        let suite = &town.suite;
        let agreement = text(&suite.agreement().await["id"]);
        let eve = json!({"externalId": "n-5", "email": "eve@people.example"});
        let eve = town.person(eve).await;
        let fay = json!({"externalId": "n-6", "email": "fay@people.example"});
        let fay = town.person(fay).await;
        let delegation = json!({"delegation": {"individualId": eve,
            "delegateIndividualId": fay, "relationship": "carer", "actions": ["give"]}});
        let made = suite.post("/service/delegation/", delegation).await.ok();
        let delegation = text(&made["delegation"]["id"]);
        let mails = town.mails("eve@people.example", 1).await;
        assert_eq!(mails[0].0, "Somebody may act for you");
        assert!(mails[0].1.contains(&delegation), "{}", mails[0].1);
        assert!(!mails[0].1.contains(&fay), "{}", mails[0].1);

        // Fay answers for Eve.
        let record = town.says_yes("n-6", &eve, &agreement, "").await;
        let mails = town.mails("eve@people.example", 2).await;
        assert_eq!(mails[1].0, "Somebody answered for you");
        assert!(mails[1].1.contains(&text(&record["id"])), "{}", mails[1].1);

        let path = format!("/service/delegation/{delegation}/");
        suite.call("DELETE", &path, json!({})).await.ok();
        // What rested on it is to be confirmed, and that the right has ended is told as well.
        let mails = town.mails("eve@people.example", 4).await;
        let mut subjects: Vec<&str> = mails[2..].iter().map(|mail| &*mail.0).collect();
        subjects.sort_unstable();
        assert_eq!(
            subjects,
            ["Please confirm what was answered for you", "Somebody may no longer act for you"]
        );
        // What people do themselves, and what an office does for somebody, differ.
        let path = format!("/service/individual/record/consent-record/{}/", text(&record["id"]));
        let token = person_token("n-5");
        let own = suite.send("PUT", &path, |request| {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
            *request.body_mut() = json!({"optIn": false}).to_string().into();
        });
        own.await.ok();
        let by_office = json!({"optIn": true});
        suite.call("PUT", &format!("{path}?individualId={eve}"), by_office).await.ok();
        let mails = town.mails("eve@people.example", 5).await;
        assert_eq!(mails[4].0, "Somebody answered for you");
        assert_eq!(town.sink.mails(), 5, "nobody else is told");
        eventually(|| async {
            let entries = suite.get("/audit/admin-log/?limit=1000").await.ok();
            let told = entries.to_string().matches("consent.notice.sent").count();
            (told == 5).then_some(())
        })
        .await;
    }

    async fn a_policy_that_matters_is_told_of_through_its_agreements(db: TestDatabase) {
        let town = town(db).await;
        let suite = &town.suite;
        let made = suite.agreement().await;
        let agreement = text(&made["id"]);
        let policy = text(&made["policy"]["id"]);
        let gil = json!({"externalId": "n-7", "email": "gil@people.example"});
        let gil = town.person(gil).await;
        town.says_yes("n-7", &gil, &agreement, "").await;
        let path = format!("/config/policy/{policy}/");
        let mut content = suite.get(&path).await.ok()["policy"].clone();
        content["industrySector"] = json!("Other");
        content["version"] = json!("2.0.0");
        suite.call("PUT", &path, json!({ "policy": content })).await.ok();
        content["jurisdiction"] = json!("Elsewhere");
        content["version"] = json!("3.0.0");
        suite.call("PUT", &path, json!({ "policy": content })).await.ok();
        let mails = town.mails("gil@people.example", 1).await;
        assert_eq!(mails[0].0, "A data policy has changed");
        assert_eq!(town.sink.mails(), 1);
    }

    async fn many_people_are_told_each_once(db: TestDatabase) {
        let town = town(db).await;
        let suite = &town.suite;
        let agreement = text(&suite.agreement().await["id"]);
        // More than are told at a time, and every tenth cannot be written to.
        let lines = (0..1_100).flat_map(|n| {
            let mut person = json!({"id": format!("p{n}"), "externalId": format!("x-{n}")});
            if n % 10 > 0 {
                person["email"] = json!(format!("p{n}@people.example"));
            }
            let record = json!({"id": format!("r{n}"), "individualId": format!("p{n}"),
                "dataAgreementId": agreement, "optIn": true, "state": "signed"});
            [("consent.individual", person), ("consent.record", record)]
        });
        let lines: Vec<ImportEntitiesRequest> = lines
            .map(|(kind, json)| ImportEntitiesRequest {
                kind: kind.to_owned(),
                json: json.to_string().into_bytes().into(),
                line: 0,
            })
            .collect();
        let link = suite.block.as_caller(&["consent:*"]);
        let mut client = ImportServiceClient::new(link);
        let mut lines = tonic::Request::new(tokio_stream::iter(lines));
        lines.set_timeout(Duration::from_secs(600));
        let done = client.import_entities(lines).await.unwrap();
        assert_eq!(done.into_inner().accepted, 2_200);
        // An import tells nobody anything.
        assert_eq!(town.sink.mails(), 0);
        let path = format!("/config/data-agreement/{agreement}/");
        suite.call("DELETE", &path, json!({})).await.ok();
        eventually(|| async { (town.sink.mails() >= 990).then_some(()) }).await;
        let log = format!("/audit/admin-log/?limit=1000&objectId={agreement}");
        let sent = eventually(|| async {
            let entries = suite.get(&log).await.ok();
            let entries = entries["entries"].as_array().unwrap().clone();
            let sent = entries.iter().filter(|one| one["action"] == "consent.notice.sent");
            let sent: Vec<Value> = sent.cloned().collect();
            (sent.len() == 3).then_some(sent)
        });
        assert_eq!(sent.await.len(), 3, "one entry a chunk");
        let kept = town.sink.kept();
        let told: BTreeSet<&String> = kept.iter().flat_map(|mail| &mail.to).collect();
        assert_eq!((told.len(), town.sink.mails()), (990, 990));
    }
}
