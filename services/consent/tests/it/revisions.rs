//! Revisions: listed, filtered, and verified.

use publica_proto::consent::v1 as pb;
use publica_testkit::both_engines;

use crate::support::{bench, reason};

both_engines! {
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
                pb::VerifyChainRequest { schema: schema.into(), object_id: id.clone() };
            let found = client.verify_chain(request).await.unwrap().into_inner();
            assert!(found.intact, "{found:?}");
            let get = pb::GetRevisionRequest { revision_id: found.head_revision_id };
            client.get_revision(get).await.unwrap();
        }
        let unknown = pb::VerifyChainRequest {
            schema: pb::Schema::Policy.into(),
            object_id: "none".to_owned(),
        };
        assert_eq!(reason(client.verify_chain(unknown).await), "OBJECT_NOT_FOUND");
        let unknown = pb::GetRevisionRequest { revision_id: "none".to_owned() };
        assert_eq!(reason(client.get_revision(unknown).await), "REVISION_NOT_FOUND");
    }
}
