//! Bringing people, factors and relying parties in.

use std::sync::Arc;

use publica_proto::identity::v1 as pb;
use publica_proto::imports::v1 as imports;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_testkit::{both_engines, schemas_hold};
use serde_json::{Value, json};

use crate::support::{Rewinding, Suite, prove, random};

async fn import(suite: &Suite, lines: &[Value]) -> imports::ImportEntitiesResponse {
    let entities: Vec<imports::ImportEntitiesRequest> = lines
        .iter()
        .zip(1..)
        .map(|(value, line)| imports::ImportEntitiesRequest {
            kind: value["kind"].as_str().unwrap_or_default().to_owned(),
            json: value.to_string().into(),
            line,
        })
        .collect();
    let mut service = ImportServiceClient::new(suite.admin());
    service
        .import_entities(tokio_stream::iter(entities))
        .await
        .unwrap()
        .into_inner()
}

fn person() -> Value {
    json!({
        "kind": "identity.person",
        "person_id": "018f4e3c-5f00-7000-8000-000000000001",
        "attributes": {
            "name": {"": "Amina Yusuf", "ar": "أمينة يوسف"},
            "birthdate": "1980-05-12",
        },
        "aliases": [{"kind": "national_id", "value": "A-1001"}],
        "vids": ["9372518490264815"],
        "state": "active",
    })
}

fn factor() -> Value {
    json!({
        "kind": "identity.factor",
        "factor_id": "018f4e3c-5f00-7000-8000-000000000002",
        "person_id": "018f4e3c-5f00-7000-8000-000000000001",
        "factor": "email_code",
        "target": "amina@example.org",
    })
}

both_engines! {
    async fn the_published_schemas_hold(db: TestDatabase) {
        let suite = Suite::open(db).await;
        schemas_hold(&suite.admin(), "identity", |_, _| ()).await;
    }

    async fn every_problem_of_a_line_is_told(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let mut bad = person();
        bad["state"] = json!("lost");
        bad["assurance_level"] = json!("none");
        bad["attributes"] = json!({"gender": "a\tb"});
        bad["aliases"][0]["kind"] = json!("National Id");
        let mut numbered = person();
        numbered["aliases"][0]["value"] = json!("A-1002");
        let client = json!({
            "kind": "identity.relying_party", "client_id": "", "client_name": "",
            "relying_party_id": "r", "public_key": {}, "grant_types": ["barter"],
            "auth_methods": ["none"], "state": "odd",
        });
        let answer = import(&suite, &[bad, person(), numbered, client]).await;
        assert_eq!(answer.accepted, 1, "{answer:?}");
        let problems: Vec<(u64, &str)> =
            answer.problems.iter().map(|one| (one.line, one.field.as_str())).collect();
        assert_eq!(problems, [
            (1, "state"), (1, "attributes.gender"), (1, "attributes"), (1, "assurance_level"),
            (1, "aliases[0].kind"), (3, "person_id"), (4, "state"), (4, "public_key"),
            (4, "client_id"), (4, "client_name"), (4, "grant_types"), (4, "auth_methods"),
        ]);
    }

    async fn what_is_imported_works(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let party = suite.relying_party("portal").await;
        let client = party.client();
        let imported = json!({
            "kind": "identity.relying_party",
            "client_id": "imported",
            "client_name": client.client_name,
            "relying_party_id": "imported-party",
            "logo_uri": client.logo_uri,
            "redirect_uris": client.redirect_uris,
            "acr_values": client.acr_values,
            "public_key": serde_json::from_str::<Value>(&client.public_key_jwk).unwrap(),
            "user_claims": client.user_claims,
            "grant_types": ["authorization_code"],
            "auth_methods": ["private_key_jwt"],
        });
        let lines = [person(), factor(), imported];
        let answer = import(&suite, &lines).await;
        assert_eq!((answer.accepted, answer.problems.as_slice()), (3, [].as_slice()));
        let again = import(&suite, &lines).await;
        assert_eq!((again.accepted, again.repeated), (0, 3));
        assert_eq!(suite.mailbox.count(), 0, "an import sends nothing");

        let transaction = suite.begin(&party, &random()).await;
        let code = suite.code(&transaction, "9372 5184 9026 4815").await;
        let request = prove(&transaction, "9372518490264815", &code);
        suite.sign_in().authenticate(request).await.unwrap();
    }

    async fn people_without_a_number_get_one_that_is_free(db: TestDatabase) {
        let entropy = Arc::new(Rewinding::new());
        let suite = Suite::open_drawing(db, entropy.clone(), |_| ()).await;
        for round in 0..3 {
            entropy.rewind();
            let line = json!({
                "kind": "identity.person",
                "person_id": format!("018f4e3c-5f00-7000-8000-0000000001{round:02}"),
                "attributes": {"name": "Sok Chan"},
            });
            let answer = import(&suite, &[line]).await;
            assert_eq!((answer.accepted, answer.problems.as_slice()), (1, [].as_slice()));
        }
    }

    async fn problems_name_their_line(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let mut other = person();
        other["person_id"] = json!("018f4e3c-5f00-7000-8000-000000000009");
        let mut changed = person();
        changed["attributes"]["birthdate"] = json!("1999-01-01");
        let mut odd = person();
        odd["shoe_size"] = json!(41);
        let lines = [
            person(),
            other,
            changed,
            odd,
            json!({"kind": "identity.shoe"}),
            json!({"kind": "identity.factor", "factor_id": "x"}),
        ];
        let answer = import(&suite, &lines).await;
        assert_eq!(answer.accepted, 1);
        let problems: Vec<(u64, &str)> =
            answer.problems.iter().map(|one| (one.line, one.field.as_str())).collect();
        assert_eq!(
            problems,
            [
                (2, "vids"), (2, "aliases"), (3, "person_id"), (4, "shoe_size"), (5, "kind"),
                (6, "factor_id"),
            ]
        );
        let texts: Vec<&str> =
            answer.problems.iter().map(|one| one.description.as_str()).collect();
        assert!(texts[3].contains("shoe_size"), "{texts:?}");
        assert!(!texts.concat().contains("Amina"));
        let request = pb::ListPersonsRequest::default();
        let people = suite.persons().list_persons(request).await.unwrap().into_inner().persons;
        assert_eq!(people.len(), 1);
    }
}
