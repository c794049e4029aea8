//! Runs of lines: people and records are stored many at a time, and each as if it came alone.

use publica_jose::{Alg, SigningKey};
use publica_proto::consent::v1 as pb;
use publica_proto::imports::v1::{ImportEntitiesResponse, ImportProblem};
use publica_proto::journal::v1::ListEntriesRequest;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_testkit::{both_engines, eventually};
use publica_types::{SystemEntropy, Timestamp};
use serde_json::{Value, json};

use crate::imports::{import, reference};
use crate::support::{Bench, bench};

type Line = (&'static str, Value);

/// A line with members beside those that it must have.
fn line(kind: &'static str, mut members: Value, more: &Value) -> Line {
    let own = members.as_object_mut().unwrap();
    own.extend(more.as_object().unwrap().clone());
    (kind, members)
}

/// A person by an id that begins with `p`.
fn person(p: &str, name: &str, external: &str, more: &Value) -> Line {
    let external = format!("{p}:{external}");
    let own = json!({"id": format!("{p}-{name}"), "externalId": external});
    line("consent.individual", own, more)
}

/// A record by an id that begins with `p`.
fn record(p: &str, name: &str, who: &str, more: &Value) -> Line {
    let own = json!({"id": format!("{p}-{name}"), "individualId": format!("{p}-{who}"),
        "dataAgreementId": "1", "optIn": true, "state": "signed"});
    line("consent.record", own, more)
}

/// Revisions by ids that begin with `p`.
fn revisions(p: &str, names: &[&str]) -> Value {
    let ids: Vec<Value> = names
        .iter()
        .map(|name| json!({"id": format!("{p}-{name}")}))
        .collect();
    json!(ids)
}

/// People and records that meet in every way that lines can.
fn meeting(p: &str) -> Vec<Line> {
    let quiet = json!({"notifications": false, "createdAt": "2020-05-01T10:00:00.000007Z"});
    let key = SigningKey::generate(Alg::Es256, &SystemEntropy).unwrap();
    let keys = json!({"jwks": [key.public_jwk().to_value()]});
    let old = json!({"dataAgreementRevisionId": "2", "current": false});
    let began = json!({"channel": "desk", "validFrom": "2020-06-01T00:00:00Z"});
    let signed = json!({"optIn": false, "createdAt": "2021-01-01T00:00:00Z",
        "revisions": revisions(p, &["v1", "v2"]),
        "signature": {"payload": "p", "signature": "s", "verificationMethod": "pgp"}});
    let other = |names: &[&str]| json!({"dataAgreementId": "3", "revisions": revisions(p, names)});
    let nothing = json!({});
    vec![
        person(p, "a", "1", &quiet),
        record(p, "r1", "a", &began),
        person(p, "b", "2", &nothing),
        record(p, "r2", "b", &old),
        record(p, "r3", "b", &json!({"everGiven": true, "optIn": false})),
        // What was told before, the same and otherwise.
        record(p, "r2", "b", &old),
        record(p, "r1", "a", &json!({"optIn": false})),
        person(p, "b", "9", &nothing),
        person(p, "c", "1", &json!({"email": "c@people.example"})),
        person(p, "e", "5", &json!({"jwks": [{"kty": "oct"}, 7]})),
        // Nobody is there yet.
        record(p, "r4", "d", &nothing),
        person(p, "d", "4", &keys),
        record(p, "r4", "d", &signed),
        record(p, "r5", "a", &other(&["v1"])),
        record(p, "r6", "a", &other(&["v3", "v3"])),
        record(p, "r7", "b", &nothing),
        // An answer that takes the place of another one of the same call.
        record(p, "r8", "a", &json!({"dataAgreementRevisionId": "2"})),
        record(
            p,
            "r9",
            "nobody",
            &json!({"dataAgreementId": "none", "state": "sealed"}),
        ),
        record(p, "r9", "nobody", &json!({"dataAgreementId": "none"})),
        record(
            p,
            "r9",
            "a",
            &json!({"dataAgreementRevisionId": "none", "delegationId": "none"}),
        ),
    ]
}

/// What is stored of a person and their records.
async fn stored_of(bench: &Bench, id: &str) -> Vec<String> {
    let get = pb::GetIndividualRequest {
        individual_id: id.to_owned(),
    };
    let Ok(person) = bench.individuals().get_individual(get).await else {
        return vec![format!("{id}: nobody")];
    };
    let person = person.into_inner().individual.unwrap();
    let keys = pb::ListSigningKeysRequest {
        individual_id: id.to_owned(),
    };
    let keys = bench
        .individuals()
        .list_signing_keys(keys)
        .await
        .unwrap()
        .into_inner()
        .keys;
    let preference = pb::GetNotificationPreferenceRequest {
        individual_id: id.to_owned(),
    };
    let preference = bench
        .individuals()
        .get_notification_preference(preference)
        .await;
    let told = preference.unwrap().into_inner().enabled;
    let (external, made) = (&person.external_id, &person.create_time);
    let mut all = vec![format!("{id}: {external} {made:?} {} {told}", keys.len())];
    let list = pb::ListConsentRecordsRequest {
        individual_id: id.to_owned(),
        ..pb::ListConsentRecordsRequest::default()
    };
    let records = bench
        .records()
        .list_consent_records(list)
        .await
        .unwrap()
        .into_inner();
    let mut records = records.consent_records;
    records.sort_by(|a, b| a.consent_record_id.cmp(&b.consent_record_id));
    for one in records {
        let chain = bench.chain(&one.consent_record_id).await;
        assert!(chain.intact, "{chain:?}");
        let answer = (one.opt_in, one.effective_status(), one.state(), one.current);
        let times = (&one.create_time, &one.valid_from_time);
        all.push(format!(
            "{} {answer:?} {} {times:?} {} {}",
            one.consent_record_id, one.channel, chain.revisions, chain.signatures,
        ));
    }
    all
}

/// What is stored of people and records by ids that begin with `p`, without that.
async fn stored(bench: &Bench, p: &str, cursor: &str) -> Vec<String> {
    let mut told = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        told.extend(stored_of(bench, &format!("{p}-{name}")).await);
    }
    let all = pb::ListRevocationsRequest {
        page_size: 1_000,
        cursor: cursor.to_owned(),
    };
    let all = bench
        .checks()
        .list_revocations(all)
        .await
        .unwrap()
        .into_inner()
        .revocations;
    let own = all.iter().filter(|one| one.individual_id.starts_with(p));
    let mut own: Vec<String> = own.map(|one| one.consent_record_id.clone()).collect();
    own.sort_unstable();
    told.push(format!("revoked {own:?}"));
    let bare = |line: String| line.replace(&format!("{p}-"), "").replace(p, "");
    told.into_iter().map(bare).collect()
}

both_engines! {
    async fn a_run_of_lines_ends_as_if_each_came_alone(db: TestDatabase) {
        let bench = bench(db).await;
        assert_eq!(import(&bench, &reference()).await.problems, []);
        let now = pb::ListRevocationsRequest::default();
        let now = bench.checks().list_revocations(now).await.unwrap().into_inner();
        let cursor = now.cursor.as_str();
        let at_once = import(&bench, &meeting("xx")).await;
        let mut alone = ImportEntitiesResponse::default();
        for (line, one) in (1..).zip(meeting("yy")) {
            let answer = import(&bench, &[one]).await;
            alone.accepted += answer.accepted;
            alone.repeated += answer.repeated;
            let problems = answer.problems.into_iter();
            alone.problems.extend(problems.map(|one| ImportProblem { line, ..one }));
        }
        assert_eq!(at_once, alone);
        let fields: Vec<(u64, &str)> =
            at_once.problems.iter().map(|one| (one.line, one.field.as_str())).collect();
        assert_eq!(fields, [
            (7, "id"), (8, "id"), (9, "externalId"), (10, "jwks[0]"), (10, "jwks[1]"),
            (11, "individualId"), (14, "revisions[0].id"), (15, "revisions[1].id"),
            (16, "individualId"), (18, "state"), (19, "individualId"), (19, "dataAgreementId"),
            (20, "dataAgreementRevisionId"),
        ]);
        assert_eq!((at_once.accepted, at_once.repeated), (8, 1));
        let (once, each) = (stored(&bench, "xx", cursor).await, stored(&bench, "yy", cursor).await);
        assert_eq!(once, each);
        let told = |name: &str| once.iter().find(|line| line.starts_with(name)).unwrap();
        assert!(told("r1").contains("(Some(true), Given, Signed, false) desk"), "{once:?}");
        assert!(told("r2").contains(", Superseded, Signed, false)"), "{once:?}");
        assert!(told("r3").contains("(Some(false), Withdrawn, Signed, true)"), "{once:?}");
        assert!(told("r4").ends_with(" 2 1"), "{once:?}");
        assert!(told("a: ").ends_with("nanos: 7000 }) 0 false"), "{once:?}");
        assert!(told("d: ").ends_with("1 true"), "{once:?}");
        assert_eq!(told("revoked"), "revoked [\"r3\", \"r4\", \"r8\"]");
    }

    async fn what_ended_elsewhere_is_not_told_here(db: TestDatabase) {
        let bench = bench(db).await;
        assert_eq!(import(&bench, &reference()).await.problems, []);
        let until = |seconds: i64| {
            let now = publica_rpc::timestamp(bench.clock_now()).seconds;
            Timestamp::from_seconds(now + seconds).to_string()
        };
        let record = |id: &str, person: &str, until: String| {
            ("consent.record", json!({"id": id, "individualId": person, "dataAgreementId": "1",
                "optIn": true, "state": "signed", "createdAt": "2024-01-01T00:00:00Z",
                "validUntil": until}))
        };
        let lines = [
            ("consent.individual", json!({"id": "o"})), record("over", "o", until(-300)),
            ("consent.individual", json!({"id": "s"})), record("soon", "s", until(300)),
        ];
        assert_eq!(import(&bench, &lines).await.problems, []);
        let enough = bench.clock_now().plus(std::time::Duration::from_mins(20));
        let told = eventually(|| async {
            // Not further than needed: leases of other work run by this clock too.
            if bench.clock_now() < enough {
                bench.pass(100);
            }
            let mut journal = JournalServiceClient::new(bench.admin());
            let all = ListEntriesRequest { page_size: 1_000, ..Default::default() };
            let all = journal.list_entries(all).await.unwrap().into_inner().entries;
            let ended = all.into_iter().filter(|one| one.action == "consent.record.expired");
            let ended: Vec<String> = ended.map(|one| one.subject_id).collect();
            (!ended.is_empty()).then_some(ended)
        });
        assert_eq!(told.await, ["soon"]);
    }

    async fn a_chunk_of_many_people_comes_in_whole(db: TestDatabase) {
        let bench = bench(db).await;
        assert_eq!(import(&bench, &reference()).await.problems, []);
        let lines: Vec<(&str, Value)> = (0..600)
            .flat_map(|n| {
                let person = json!({"id": format!("p{n}"), "externalId": n.to_string()});
                let record = json!({"id": format!("r{n}"), "individualId": format!("p{n}"),
                    "dataAgreementId": "1", "optIn": n % 3 > 0, "language": "nl"});
                [("consent.individual", person), ("consent.record", record)]
            })
            .collect();
        for accepted in [1_200, 0] {
            let answer = import(&bench, &lines).await;
            assert_eq!(answer.problems, []);
            assert_eq!((answer.accepted, answer.repeated), (accepted, 1_200 - accepted));
        }
        for n in [0, 1, 499, 500, 599] {
            let decision = bench.check(&format!("p{n}"), "1", &[]).await;
            assert_eq!(decision.allowed, n % 3 > 0, "{n}");
            assert!(bench.chain(&format!("r{n}")).await.intact);
        }
    }
}
