//! Bringing entities in: every state, once, with every problem named.

use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::delegation_service_client::DelegationServiceClient;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_proto::imports::v1::{ImportEntitiesRequest, ImportEntitiesResponse};
use publica_testkit::{both_engines, schemas_hold};
use serde_json::{Value, json};

use crate::support::{Bench, bench};

pub(crate) async fn import(bench: &Bench, lines: &[(&str, Value)]) -> ImportEntitiesResponse {
    let mut sent = Vec::new();
    for (line, (kind, entity)) in (1..).zip(lines) {
        sent.push(ImportEntitiesRequest {
            kind: (*kind).to_owned(),
            json: entity.to_string().into_bytes().into(),
            line,
        });
    }
    let mut client = ImportServiceClient::new(bench.admin());
    client
        .import_entities(futures::stream::iter(sent))
        .await
        .unwrap()
        .into_inner()
}

pub(crate) fn reference() -> Vec<(&'static str, Value)> {
    let snapshot = "{\n  \"schemaName\": \"ConsentRecord\",\n  \"objectId\": 1\n}";
    vec![
        (
            "consent.policy",
            json!({
                "id": "1", "name": "Ministry of Health Privacy Policy", "version": "1.0",
                "url": "https://example.com/policy/1.0", "jurisdiction": "EU",
                "dataRetentionPeriodDays": 365, "createdAt": "2023-01-01T00:00:00Z",
            }),
        ),
        (
            "consent.agreement",
            json!({
                "id": "1", "version": "1.0", "policyId": "1", "lifecycle": "Complete",
                "purpose": "Registration in Health App", "lawfulBasis": "consent",
                "dataUse": "data_source", "dpia": "done", "active": true,
                "controller": {"id": "1", "name": "Ministry of Health",
                    "url": "https://example.com/"},
                "revisions": [{"id": "2"}, {"id": "3"}],
            }),
        ),
        (
            "consent.individual",
            json!({
                "id": "1", "externalId": "12345678", "externalIdType": "foundational id",
                "identityProviderId": "IDBB",
            }),
        ),
        (
            "consent.record",
            json!({
                "id": "1", "individualId": "1", "dataAgreementId": "1",
                "dataAgreementRevisionId": "3", "optIn": true, "state": "signed",
                "revisions": [{"id": "4"}, {"id": "5", "serializedSnapshot": snapshot}],
                "signature": {"payload": "p", "signature": "s", "verificationMethod": "pgp"},
            }),
        ),
        ("consent.individual", json!({"id": "2"})),
        (
            "consent.record",
            json!({
                "id": "2", "individualId": "2", "dataAgreementId": "1", "optIn": false,
                "everGiven": true,
            }),
        ),
        (
            "consent.agreement",
            json!({"id": "2", "purpose": "A draft"}),
        ),
        (
            "consent.agreement",
            json!({
                "id": "3", "lifecycle": "Terminated", "purpose": "Over", "dpia": "x",
                "lawfulBasis": "contract",
            }),
        ),
        (
            "consent.policy",
            json!({
                "id": "2", "name": "Old", "url": "https://example.com/old", "deleted": true,
            }),
        ),
    ]
}

both_engines! {
    async fn the_published_schemas_hold(db: TestDatabase) {
        let bench = bench(db).await;
        schemas_hold(&bench.admin(), "consent", |_, _| ()).await;
    }

    async fn other_content_of_a_record_is_a_problem(db: TestDatabase) {
        let bench = bench(db).await;
        let lines = reference();
        assert_eq!(import(&bench, &lines).await.problems, []);
        let (kind, record) = &lines[3];
        let mut others = Vec::new();
        for (member, value) in [
            ("optIn", json!(false)), ("state", json!("unsigned")), ("channel", json!("desk")),
            ("assistedBy", json!("clerk")), ("validUntil", json!("2031-01-01T00:00:00Z")),
            ("everGiven", json!(false)), ("individualId", json!("2")),
        ] {
            let mut other = record.clone();
            other[member] = value;
            others.push((*kind, other));
        }
        let answer = import(&bench, &others).await;
        assert_eq!((answer.accepted, answer.repeated), (0, 0), "{answer:?}");
        let named: Vec<(u64, &str)> =
            answer.problems.iter().map(|one| (one.line, one.field.as_str())).collect();
        let expected: Vec<(u64, &str)> = (1..=7).map(|line| (line, "id")).collect();
        assert_eq!(named, expected);
        assert_eq!(import(&bench, &lines).await.repeated, 9);
    }

    async fn every_state_comes_in_once(db: TestDatabase) {
        let bench = bench(db).await;
        let lines = reference();
        let first = import(&bench, &lines).await;
        assert_eq!(first.problems, []);
        assert_eq!((first.accepted, first.repeated), (9, 0));
        let again = import(&bench, &lines).await;
        assert_eq!(again.problems, []);
        assert_eq!((again.accepted, again.repeated), (0, 9));

        assert!(bench.check("1", "1", &[]).await.allowed);
        let withdrawn = bench.check("2", "1", &[]).await;
        assert_eq!(withdrawn.reasons().collect::<Vec<_>>(), [pb::DecisionReason::Withdrawn]);
        let over = bench.check("1", "3", &[]).await;
        assert_eq!(over.reasons().collect::<Vec<_>>(), [
            pb::DecisionReason::AgreementTerminated
        ]);
        let chain = bench.chain("1").await;
        assert!(chain.intact, "{chain:?}");
        assert_eq!((chain.revisions, chain.head_revision_id.as_str()), (2, "5"));
        let get = pb::GetRevisionRequest { revision_id: "5".to_owned() };
        let kept = bench.revisions().get_revision(get).await.unwrap().into_inner();
        assert!(kept.revision.unwrap().serialized_snapshot.contains("\"objectId\": 1"));
        bench.change("1", false).await.unwrap();
        assert_eq!(bench.chain("1").await.revisions, 3);
    }

    async fn every_member_of_an_agreement_comes_in(db: TestDatabase) {
        let bench = bench(db).await;
        let answer = import(&bench, &[
            ("consent.policy", json!({"id": "p", "name": "n", "url": "https://example.com/p",
                "translations": [{"language": "nl", "name": "Beleid"}]})),
            ("consent.agreement", json!({"id": "a", "policyId": "p", "purpose": "P",
                "methodOfUse": "data_source", "dpiaSummaryUrl": "https://example.com/dpia",
                "dpiaDate": "2024-05-01", "minimumAge": 16,
                "dataSources": [{"name": "Registry", "sector": "Public", "location": "EU"}],
                "useLimits": [{"repeats": 3, "unit": "week", "value": 2}],
                "processingMethods": ["collect"], "privacyRights": ["access"],
                "receiptProfile": "iso27560"})),
        ])
        .await;
        assert_eq!(answer.problems, []);
        let get = pb::GetDataAgreementRequest {
            data_agreement_id: "a".to_owned(),
            ..pb::GetDataAgreementRequest::default()
        };
        let one = bench.agreements().get_data_agreement(get).await.unwrap().into_inner();
        let one = one.data_agreement.unwrap();
        assert_eq!(one.data_use(), pb::DataUse::DataSource);
        assert_eq!((one.dpia.as_str(), one.dpia_date.as_str()),
            ("https://example.com/dpia", "2024-05-01"));
        assert_eq!((one.minimum_age, one.receipt_profile.as_str()), (16, "iso27560"));
        assert_eq!(one.data_sources[0].name, "Registry");
        let limit = &one.use_limits[0];
        assert_eq!((limit.uses, limit.unit(), limit.span), (3, pb::UseUnit::Week, 2));
        assert_eq!((one.processing_methods, one.privacy_rights),
            (vec!["collect".to_owned()], vec!["access".to_owned()]));
        assert_eq!(one.policy.unwrap().translations[0].name, "Beleid");
    }

    async fn every_problem_is_named(db: TestDatabase) {
        let bench = bench(db).await;
        import(&bench, &reference()).await;
        let answer = import(&bench, &[
            ("consent.voucher", json!({})),
            ("consent.policy", json!({"id": "x/y", "name": "n", "url": "https://a.b"})),
            ("consent.policy", json!({"id": "9", "name": "n"})),
            ("consent.policy", json!({"id": "9", "nome": "n"})),
            ("consent.policy", json!({"id": 9})),
            ("consent.policy", json!({"id": "1", "name": "other", "url": "https://a.b"})),
            ("consent.agreement", json!({"id": "9", "lifecycle": "Complete"})),
            ("consent.agreement", json!({"id": "9", "policyId": "none"})),
            ("consent.individual", json!({"id": "9", "externalId": "12345678",
                "externalIdType": "foundational id", "identityProviderId": "IDBB"})),
            ("consent.record", json!({"id": "9", "individualId": "9", "dataAgreementId": "1"})),
            ("consent.record", json!({"id": "9", "individualId": "1", "dataAgreementId": "2"})),
            ("consent.record", json!({"id": "9", "individualId": "1", "dataAgreementId": "1",
                "dataAgreementRevisionId": "3"})),
            ("consent.policy", json!({"id": "8", "name": "n", "url": "https://a.b",
                "revisions": [{}, {"serializedSnapshot": "{}", "serializedHash": "00"}]})),
        ])
        .await;
        assert_eq!(answer.accepted, 0);
        let found: Vec<(u64, &str)> =
            answer.problems.iter().map(|one| (one.line, one.field.as_str())).collect();
        let lines: Vec<u64> = found.iter().map(|(line, _)| *line).collect();
        for line in 1..=13 {
            assert!(lines.contains(&line), "line {line} has no problem: {found:?}");
        }
        assert!(found.contains(&(1, "kind")) && found.contains(&(9, "externalId")));
        // All that is wrong with a line, not only what was found first.
        let wrong = import(&bench, &[
            ("consent.policy", json!({"id": "9", "url": "nowhere",
                "dataRetentionPeriodDays": -1})),
            ("consent.agreement", json!({"id": "9", "lawfulBasis": "habit", "dataUse": "none",
                "useLimits": [{"repeats": 1, "unit": "FORTNIGHT"}]})),
            ("consent.agreement", json!({"id": "9", "lifecycle": "Complete"})),
        ])
        .await;
        let of = |line: u64| {
            let own = wrong.problems.iter().filter(|one| one.line == line);
            own.map(|one| one.field.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(of(1), ["name", "url", "dataRetentionPeriodDays"]);
        assert_eq!(of(2), ["lawfulBasis", "dataUse", "useLimits[0].unit"]);
        assert!(of(3).contains(&"purpose") && of(3).contains(&"lawfulBasis"), "{wrong:?}");
        let get = pb::GetPolicyRequest { policy_id: "8".to_owned(), ..Default::default() };
        assert!(bench.policies().get_policy(get).await.is_err());
    }

    async fn delegations_come_in_in_every_state(db: TestDatabase) {
        let bench = bench(db).await;
        let mut lines = reference();
        lines.truncate(3);
        let child = json!({"id": "3", "birthDate": "2015-03-01", "email": "c@people.example"});
        lines.push(("consent.individual", child));
        lines.push(("consent.individual", json!({"id": "2"})));
        let one = |id: &str, more: Value| {
            let mut line = json!({"id": id, "individualId": "3", "delegateIndividualId": "2",
                "relationship": "parent", "authorityReference": "certificate 7",
                "actions": ["give", "view"], "validFrom": "2020-01-01T00:00:00Z"});
            line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ("consent.delegation", line)
        };
        lines.push(one("holds", json!({"scopeAgreements": ["1"]})));
        lines.push(one("ended", json!({"validUntil": "2021-01-01T00:00:00Z"})));
        lines.push(one("later", json!({"validFrom": "2030-01-01T00:00:00Z"})));
        lines.push(one("back", json!({"revokedAt": "2022-01-01T00:00:00Z"})));
        lines.push(one("never", json!({"revokedAt": "2022-01-01T00:00:00Z", "void": true})));
        let record = |id: &str, person: &str, delegation: &str| {
            ("consent.record", json!({"id": id, "individualId": person, "dataAgreementId": "1",
                "optIn": true, "delegationId": delegation}))
        };
        lines.push(record("r", "3", "never"));
        let first = import(&bench, &lines).await;
        assert_eq!(first.problems, []);
        let again = import(&bench, &lines).await;
        assert_eq!(again.problems, []);
        assert_eq!((again.accepted, again.repeated), (0, first.accepted));

        let request = pb::ListDelegationsRequest {
            individual_id: "3".to_owned(),
            ..pb::ListDelegationsRequest::default()
        };
        let mut client = DelegationServiceClient::new(bench.admin());
        let all = client.list_delegations(request).await.unwrap().into_inner().delegations;
        let state = |id: &str| {
            let one = all.iter().find(|one| one.delegation_id == id).unwrap();
            (one.active, one.revoke_time.is_some(), one.void)
        };
        assert_eq!(state("holds"), (true, false, false));
        assert_eq!(state("ended"), (false, false, false));
        assert_eq!(state("later"), (false, false, false));
        assert_eq!(state("back"), (false, true, false));
        assert_eq!(state("never"), (false, true, true));
        let holds = all.iter().find(|one| one.delegation_id == "holds").unwrap();
        assert_eq!(holds.authority_reference, "certificate 7");
        // Authority over a child ends with majority, whatever an earlier system wrote.
        let majority = holds.valid_until_time.as_ref().unwrap().seconds;
        assert_eq!(majority, 1_993_248_000, "2033-03-01");
        // What rests on a delegation that never held has no force.
        let decision = bench.check("3", "1", &[]).await;
        assert_eq!(decision.reasons().collect::<Vec<_>>(), [
            pb::DecisionReason::DelegationInvalid
        ]);

        let wrong = import(&bench, &[
            one("x", json!({"relationship": "neighbour"})),
            one("x", json!({"individualId": "nobody"})),
            one("x", json!({"void": true})),
            one("holds", json!({})),
            record("x", "2", "holds"),
        ])
        .await;
        let fields: Vec<&str> = wrong.problems.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(
            fields,
            ["relationship", "individualId", "revokedAt", "id", "delegationId"]
        );
        assert_eq!(wrong.accepted, 0);
    }
}
