//! Revisions: listed, filtered, and verified.

use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::delegation_service_client::DelegationServiceClient;
use publica_proto::consent::v1::revision_service_client::RevisionServiceClient;
use publica_testkit::both_engines;

use crate::support::{bench, reason};

both_engines! {
    async fn chains_are_checked_by_auditors_who_may_read_nothing(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let signer = bench.signer("1").await;
        let id = bench.signed(&signer, &agreement, true).await.consent_record_id;
        let verify = pb::VerifyChainRequest {
            schema: pb::Schema::ConsentRecord.into(),
            object_id: id.clone(),
            ..pb::VerifyChainRequest::default()
        };
        let list = pb::ListRevisionsRequest {
            schema: pb::Schema::ConsentRecord.into(),
            object_id: id,
            ..pb::ListRevisionsRequest::default()
        };
        let auditor = bench.block.as_caller(&["consent:chain:verify"]);
        let mut auditor = RevisionServiceClient::new(auditor);
        assert!(auditor.verify_chain(verify.clone()).await.unwrap().into_inner().intact);
        assert_eq!(reason(auditor.list_revisions(list).await), "NOT_YOURS");
        let mut clerk = RevisionServiceClient::new(bench.block.as_caller(&["consent:record:read"]));
        assert_eq!(reason(clerk.verify_chain(verify).await), "NOT_YOURS");
    }

    async fn histories_are_listed_and_filtered(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let signer = bench.signer("1").await;
        bench.pass(5);
        let record = bench.signed(&signer, &agreement, true).await;
        for opt_in in [false, true, false] {
            bench.pass(5);
            bench.change(&record.consent_record_id, opt_in).await.unwrap();
        }
        let mut client = bench.revisions();
        let of_record = pb::ListRevisionsRequest {
            schema: pb::Schema::ConsentRecord.into(),
            object_id: record.consent_record_id.clone(),
            ..pb::ListRevisionsRequest::default()
        };
        let all = client.list_revisions(of_record.clone()).await.unwrap().into_inner();
        let sequence: Vec<i64> = all.revisions.iter().map(|one| one.sequence).collect();
        assert_eq!(sequence, [4, 3, 2, 1]);
        assert!(all.revisions[0].successor_id.is_empty());
        assert_eq!(all.revisions[1].successor_id, all.revisions[0].revision_id);
        assert!(all.revisions.iter().all(|one| one.serialized_snapshot.contains("optIn")));
        let ascending = pb::ListRevisionsRequest {
            order: pb::SortOrder::Ascending.into(),
            page_size: 3,
            ..of_record.clone()
        };
        let page = client.list_revisions(ascending.clone()).await.unwrap().into_inner();
        assert_eq!(page.revisions.len(), 3);
        let rest = pb::ListRevisionsRequest { page_token: page.next_page_token, ..ascending };
        let rest = client.list_revisions(rest).await.unwrap().into_inner();
        assert_eq!(rest.revisions[0].sequence, 4);
        let later = pb::ListRevisionsRequest {
            from_time: all.revisions[1].create_time,
            ..pb::ListRevisionsRequest::default()
        };
        let later = client.list_revisions(later).await.unwrap().into_inner();
        assert_eq!(later.revisions.len(), 2);
        let all = client.list_revisions(pb::ListRevisionsRequest::default()).await.unwrap();
        assert_eq!(all.into_inner().revisions.len(), 6);
    }

    async fn chains_of_all_kinds_verify(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let mut client = bench.revisions();
        for (schema, id) in [
            (pb::Schema::Policy, &agreement.policy_id),
            (pb::Schema::DataAgreement, &agreement.data_agreement_id),
        ] {
            let request =
                pb::VerifyChainRequest {
                    schema: schema.into(),
                    object_id: id.clone(),
                    ..pb::VerifyChainRequest::default()
                };
            let found = client.verify_chain(request).await.unwrap().into_inner();
            assert!(found.intact, "{found:?}");
            let of_revision = pb::VerifyChainRequest {
                revision_id: found.head_revision_id.clone(),
                ..pb::VerifyChainRequest::default()
            };
            let same = client.verify_chain(of_revision).await.unwrap().into_inner();
            assert_eq!(same, found);
            let get = pb::GetRevisionRequest { revision_id: found.head_revision_id };
            client.get_revision(get).await.unwrap();
        }
        let unknown = pb::VerifyChainRequest {
            schema: pb::Schema::Policy.into(),
            object_id: "none".to_owned(),
            ..pb::VerifyChainRequest::default()
        };
        assert_eq!(reason(client.verify_chain(unknown).await), "OBJECT_NOT_FOUND");
        let unknown = pb::VerifyChainRequest {
            revision_id: "none".to_owned(),
            ..pb::VerifyChainRequest::default()
        };
        assert_eq!(reason(client.verify_chain(unknown).await), "REVISION_NOT_FOUND");
        let unknown = pb::GetRevisionRequest { revision_id: "none".to_owned() };
        assert_eq!(reason(client.get_revision(unknown).await), "REVISION_NOT_FOUND");
    }

    async fn delegations_leave_a_chain_that_both_people_may_read(db: TestDatabase) {
        let bench = bench(db).await;
        let (person, carer) = (bench.signer("v-1").await, bench.signer("v-2").await);
        let mut delegations = DelegationServiceClient::new(bench.admin());
        let request = pb::CreateDelegationRequest {
            delegation: Some(pb::Delegation {
                individual_id: person.id.clone(),
                delegate_individual_id: carer.id.clone(),
                relationship: pb::DelegationRelationship::Carer.into(),
                authority_reference: "power of attorney 9".to_owned(),
                actions: vec![pb::DelegationAction::Give.into()],
                ..pb::Delegation::default()
            }),
            request_id: String::new(),
        };
        let made = delegations.create_delegation(request).await.unwrap().into_inner();
        let id = made.delegation.unwrap().delegation_id;
        let request = pb::RevokeDelegationRequest {
            delegation_id: id.clone(),
            ..pb::RevokeDelegationRequest::default()
        };
        delegations.revoke_delegation(request.clone()).await.unwrap();
        // Taking back what is taken back changes nothing.
        delegations.revoke_delegation(request).await.unwrap();
        let request = pb::VerifyChainRequest {
            schema: pb::Schema::Delegation.into(),
            object_id: id.clone(),
            ..pb::VerifyChainRequest::default()
        };
        let found = bench.revisions().verify_chain(request).await.unwrap().into_inner();
        assert!(found.intact, "{found:?}");
        assert_eq!(found.revisions, 2);
        let request = pb::ListRevisionsRequest {
            schema: pb::Schema::Delegation.into(),
            object_id: id,
            order: pb::SortOrder::Ascending.into(),
            ..pb::ListRevisionsRequest::default()
        };
        for subject in ["v-1", "v-2"] {
            let mut own = RevisionServiceClient::new(bench.person(subject));
            let listed = own.list_revisions(request.clone()).await.unwrap().into_inner();
            let texts = listed.revisions.iter().map(|one| one.serialized_snapshot.as_str());
            let texts: Vec<&str> = texts.collect();
            assert!(texts[0].contains("power of attorney 9"), "{texts:?}");
            assert!(!texts[0].contains("revokedAt") && texts[1].contains("revokedAt"));
        }
        bench.signer("v-3").await;
        let mut other = RevisionServiceClient::new(bench.person("v-3"));
        assert_eq!(reason(other.list_revisions(request).await), "NOT_YOURS");
    }
}
