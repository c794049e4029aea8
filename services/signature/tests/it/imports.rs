//! Bringing in credentials and certificates.

use publica_proto::imports::v1 as pb;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_proto::journal::v1 as journal;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_store::Engine;
use publica_testkit::{TestDatabase, both_engines, eventually, schemas_hold};
use serde_json::json;
use sqlx::Connection as _;

use crate::Fixture;

/// A certificate that this store's authority signed and that the store does not hold.
async fn foreign(db: &TestDatabase, fixture: &Fixture) -> Vec<u8> {
    let made = fixture.credential().await.certificate.unwrap();
    let url = db.config().url.expose().clone();
    for text in ["DELETE FROM credential", "DELETE FROM certificate"] {
        let gone = match db.engine() {
            Engine::Sqlite => {
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                let done = sqlx::query(text).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                done.rows_affected()
            }
            Engine::Postgres => {
                let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
                let own = sqlx::query("SET search_path TO signature");
                own.execute(&mut connection).await.unwrap();
                let done = sqlx::query(text).execute(&mut connection).await.unwrap();
                done.rows_affected()
            }
        };
        assert!(gone > 0, "{text}");
    }
    made.certificate.to_vec()
}

fn line(number: u64, kind: &str, entity: &serde_json::Value) -> pb::ImportEntitiesRequest {
    pb::ImportEntitiesRequest {
        kind: kind.into(),
        json: entity.to_string().into_bytes().into(),
        line: number,
    }
}

both_engines! {
    async fn the_published_schemas_hold(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        let certificate = hex::encode(foreign(&db, &fixture).await);
        schemas_hold(&fixture.office(), "signature", |kind, example| {
            if kind == "signature.certificate" {
                example["certificate"] = json!(certificate);
            }
        })
        .await;
    }

    async fn other_content_is_a_problem(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        let seal = json!({
            "credentialId": "ministry", "owner": "office", "organization": "Ministry",
            "country": "XX", "organizationIdentifier": "NTRXX-1",
        });
        let mut lines = vec![line(1, "signature.credential", &seal)];
        for (at, (member, value)) in (2..).zip([
            ("country", "YY"), ("organizationIdentifier", "NTRXX-2"), ("organization", "Other"),
            ("owner", "else"),
        ]) {
            let mut other = seal.clone();
            other[member] = json!(value);
            lines.push(line(at, "signature.credential", &other));
        }
        lines.push(line(6, "signature.credential", &json!({
            "credentialId": "", "owner": "a b", "organization": " ", "country": "xx",
        })));
        lines.push(line(7, "signature.certificate", &json!({
            "certificateId": "", "owner": "p1", "certificate": "00", "status": "LOST",
            "created": "2026-01-01T00:00:00Z", "pseudonym": "",
        })));
        let mut client = ImportServiceClient::new(fixture.office());
        let done = client.import_entities(tokio_stream::iter(lines)).await.unwrap().into_inner();
        assert_eq!((done.accepted, done.repeated), (1, 0));
        let problems: Vec<(u64, &str)> =
            done.problems.iter().map(|problem| (problem.line, &*problem.field)).collect();
        assert_eq!(problems, [
            (2, "credentialId"), (3, "credentialId"), (4, "credentialId"), (5, "credentialId"),
            (6, "credentialId"), (6, "owner"), (6, "organization"), (6, "country"),
            (7, "certificateId"), (7, "status"), (7, "pseudonym"), (7, "certificate"),
        ]);
    }

    async fn a_chunk_is_one_entry_of_the_journal(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        let lines: Vec<_> = (1..=20).map(|number| {
            let seal = json!({
                "credentialId": format!("seal-{number}"), "owner": "office",
                "organization": "Ministry", "country": "XX",
            });
            line(number, "signature.credential", &seal)
        }).collect();
        let mut client = ImportServiceClient::new(fixture.office());
        let done = client.import_entities(tokio_stream::iter(lines)).await.unwrap().into_inner();
        assert_eq!((done.accepted, done.problems.as_slice()), (20, [].as_slice()));
        // What comes after it is in the journal when the import is.
        fixture.credential().await;
        let entries = eventually(|| async {
            let mut client = JournalServiceClient::new(fixture.office());
            let request = journal::ListEntriesRequest::default();
            let found = client.list_entries(request).await.unwrap().into_inner().entries;
            let made = |entry: &journal::Entry| entry.action == "signature.credential.created";
            found.iter().any(made).then_some(found)
        })
        .await;
        let of = |action: &str| entries.iter().filter(|one| one.action == action).count();
        assert_eq!(of("signature.certificate.issued"), 1);
        let about: Vec<_> =
            entries.iter().filter(|entry| entry.action.contains("imported")).collect();
        let [entry] = about.as_slice() else {
            panic!("{about:?}");
        };
        let body: serde_json::Value =
            serde_json::from_slice(entry.body.as_deref().unwrap()).unwrap();
        assert_eq!(body["count"], 20);
    }

    async fn entities_are_stored_once(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        let known = fixture.credential().await.certificate.unwrap();
        let seal = json!({
            "credentialId": "ministry", "owner": "office", "organization": "Ministry",
            "country": "XX",
        });
        let foreign = json!({
            "certificateId": "c1", "owner": "p1", "certificate": "3000", "status": "ACTIVE",
            "created": "2026-01-01T00:00:00Z",
        });
        let stored = json!({
            "certificateId": "c2", "owner": "p1", "status": "REVOKED",
            "certificate": hex::encode(&known.certificate), "created": "2026-01-01T00:00:00Z",
            "changed": "2026-02-01T00:00:00Z",
        });
        let nul = json!({
            "certificateId": "c3", "owner": "p1", "status": "ACTIVE", "pseudonym": "a\u{0}b",
            "certificate": hex::encode(&known.certificate), "created": "2026-01-01T00:00:00Z",
        });
        let personal = json!({ "certificateId": ["anna, expected x"] });
        let lines = vec![
            line(1, "signature.credential", &seal),
            line(2, "signature.credential", &seal),
            line(3, "signature.certificate", &foreign),
            line(4, "signature.certificate", &stored),
            line(5, "signature.other", &json!({})),
            line(6, "signature.certificate", &nul),
            line(7, "signature.certificate", &personal),
        ];
        let mut client = ImportServiceClient::new(fixture.office());
        let stream = tokio_stream::iter(lines);
        let done = client.import_entities(stream).await.unwrap().into_inner();
        assert_eq!((done.accepted, done.repeated), (1, 1));
        let problems: Vec<(u64, &str)> =
            done.problems.iter().map(|problem| (problem.line, &*problem.field)).collect();
        assert_eq!(problems, [
            (3, "certificate"), (4, "certificate"), (5, "kind"), (6, "pseudonym"),
            (7, "certificateId"),
        ]);
        assert_eq!(done.problems[4].description, "invalid type, expected a string");
    }
}
