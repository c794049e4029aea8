//! Birth dates that are recorded or corrected after somebody was given authority over a child.

use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::consent_record_service_client::ConsentRecordServiceClient;
use publica_proto::consent::v1::delegation_service_client::DelegationServiceClient;
use publica_proto::journal::v1::ListEntriesRequest;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_testkit::{both_engines, eventually};
use publica_types::Timestamp;

use crate::support::{Bench, Signer, bench, reason};

async fn born(bench: &Bench, child: &Signer, birth_date: &str) {
    let request = pb::ReplaceIndividualRequest {
        individual: Some(pb::Individual {
            individual_id: child.id.clone(),
            external_id: "child".to_owned(),
            external_id_type: "foundational id".to_owned(),
            birth_date: birth_date.to_owned(),
            ..pb::Individual::default()
        }),
        ..pb::ReplaceIndividualRequest::default()
    };
    let done = bench.individuals().replace_individual(request).await;
    done.unwrap();
}

async fn delegate(
    bench: &Bench,
    child: &Signer,
    adult: &Signer,
    relationship: pb::DelegationRelationship,
    until: Option<&str>,
) -> String {
    let request = pb::CreateDelegationRequest {
        delegation: Some(pb::Delegation {
            individual_id: child.id.clone(),
            delegate_individual_id: adult.id.clone(),
            relationship: relationship.into(),
            actions: vec![pb::DelegationAction::Give.into()],
            valid_until_time: until.map(|at| publica_rpc::timestamp(time(at))),
            ..pb::Delegation::default()
        }),
        request_id: String::new(),
    };
    let mut client = DelegationServiceClient::new(bench.admin());
    let made = client
        .create_delegation(request)
        .await
        .unwrap()
        .into_inner();
    made.delegation.unwrap().delegation_id
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

async fn end_of(bench: &Bench, id: &str) -> Option<Timestamp> {
    let request = pb::GetDelegationRequest {
        delegation_id: id.to_owned(),
    };
    let mut client = DelegationServiceClient::new(bench.admin());
    let found = client.get_delegation(request).await.unwrap().into_inner();
    let until = found.delegation.unwrap().valid_until_time;
    until.map(|until| Timestamp::from_seconds(until.seconds))
}

async fn verified(bench: &Bench, id: &str) -> pb::VerifyChainResponse {
    let request = pb::VerifyChainRequest {
        schema: pb::Schema::Delegation.into(),
        object_id: id.to_owned(),
        ..pb::VerifyChainRequest::default()
    };
    let found = bench.revisions().verify_chain(request).await.unwrap();
    found.into_inner()
}

/// A yes that a parent gives by their own token.
async fn yes_of_parent(bench: &Bench, child: &Signer) -> String {
    let text = bench.agreement().await;
    let mut own = ConsentRecordServiceClient::new(bench.person("parent"));
    let request = pb::CreateConsentRecordRequest {
        individual_id: child.id.clone(),
        data_agreement_id: text.data_agreement_id,
        ..pb::CreateConsentRecordRequest::default()
    };
    let made = own
        .create_consent_record(request)
        .await
        .unwrap()
        .into_inner();
    made.consent_record.unwrap().consent_record_id
}

async fn is_due(bench: &Bench, record_id: &str) -> bool {
    let request = pb::GetConsentRecordRequest {
        consent_record_id: record_id.to_owned(),
        ..pb::GetConsentRecordRequest::default()
    };
    let found = bench
        .records()
        .get_consent_record(request)
        .await
        .unwrap()
        .into_inner();
    found.consent_record.unwrap().reconfirmation_due
}

both_engines! {
    async fn authority_follows_the_birth_date(db: TestDatabase) {
        use pb::DelegationRelationship::{Carer, LegalGuardian, Parent};
        let bench = bench(db).await;
        let (child, parent) = (bench.signer("child").await, bench.signer("parent").await);
        let open = delegate(&bench, &child, &parent, Parent, None).await;
        let asked = Some("2031-01-01T00:00:00Z");
        let limited = delegate(&bench, &child, &parent, LegalGuardian, asked).await;
        let carer = delegate(&bench, &child, &parent, Carer, None).await;
        assert_eq!(end_of(&bench, &open).await, None);
        for (birth_date, majority, guardian) in [
            ("2012-05-17", "2030-05-17T00:00:00Z", "2030-05-17T00:00:00Z"),
            // What was asked for comes first again.
            ("2015-05-17", "2033-05-17T00:00:00Z", "2031-01-01T00:00:00Z"),
            ("2011-05-17", "2029-05-17T00:00:00Z", "2029-05-17T00:00:00Z"),
        ] {
            born(&bench, &child, birth_date).await;
            assert_eq!(end_of(&bench, &open).await, Some(time(majority)));
            assert_eq!(end_of(&bench, &limited).await, Some(time(guardian)));
            assert_eq!(end_of(&bench, &carer).await, None, "carers are not for children alone");
        }
        let chain = verified(&bench, &open).await;
        assert!(chain.intact && chain.revisions == 4, "{chain:?}");
        let chain = verified(&bench, &carer).await;
        assert!(chain.intact && chain.revisions == 1, "{chain:?}");
    }

    async fn who_turns_out_to_be_of_age_is_asked_to_confirm(db: TestDatabase) {
        let bench = bench(db).await;
        let (child, parent) = (bench.signer("child").await, bench.signer("parent").await);
        let relationship = pb::DelegationRelationship::Parent;
        let id = delegate(&bench, &child, &parent, relationship, None).await;
        let record = yes_of_parent(&bench, &child).await;
        assert!(!is_due(&bench, &record).await);
        // Not yet of age: the answer is to be confirmed then.
        born(&bench, &child, "2009-02-02").await;
        assert!(!is_due(&bench, &record).await);
        bench.pass(60);
        // Of age for years.
        born(&bench, &child, "1999-02-02").await;
        assert!(is_due(&bench, &record).await);
        assert_eq!(end_of(&bench, &id).await, Some(time("2017-02-02T00:00:00Z")));
        let text = bench.agreement().await;
        let mut own = ConsentRecordServiceClient::new(bench.person("parent"));
        let late = pb::CreateConsentRecordRequest {
            individual_id: child.id.clone(),
            data_agreement_id: text.data_agreement_id,
            ..pb::CreateConsentRecordRequest::default()
        };
        assert_eq!(reason(own.create_consent_record(late).await), "NOT_YOURS");
        // It is told, once the timers have begun to look at all.
        eventually(|| async {
            bench.pass(1);
            born(&bench, &child, "2009-02-02").await;
            born(&bench, &child, "1999-02-02").await;
            let mut journal = JournalServiceClient::new(bench.admin());
            let all = ListEntriesRequest {
                page_size: 1_000,
                ..Default::default()
            };
            let all = journal.list_entries(all).await.unwrap().into_inner().entries;
            let due = all.iter().filter(|one| one.action == "consent.record.reconfirmation_due");
            (due.count() > 0).then_some(())
        })
        .await;
        assert!(verified(&bench, &id).await.intact);
    }
}
