//! Bringing in credentials and certificates.

use publica_proto::imports::v1 as pb;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_testkit::both_engines;
use serde_json::json;

use crate::Fixture;

fn line(number: u64, kind: &str, entity: &serde_json::Value) -> pb::ImportEntitiesRequest {
    pb::ImportEntitiesRequest {
        kind: kind.into(),
        json: entity.to_string().into_bytes().into(),
        line: number,
    }
}

both_engines! {
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
            (3, "certificate"), (4, "certificate"), (5, "kind"), (6, "pseudonym"), (7, ""),
        ]);
        assert_eq!(done.problems[4].description, "invalid type, expected a string");
    }
}
