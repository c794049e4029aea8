//! The right to be forgotten.

use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::consent_record_service_client::ConsentRecordServiceClient;
use publica_testkit::both_engines;

use crate::support::{agreement, bench, reason};

both_engines! {
    async fn what_may_go_goes_and_the_rest_is_opted_out(db: TestDatabase) {
        let bench = bench(db).await;
        let mut forgettable = agreement();
        forgettable.forgettable = Some(true);
        let forgettable = bench.publish(forgettable).await;
        let kept = bench.agreement().await;
        let unsigned = bench.agreement().await;
        let signer = bench.signer("712").await;
        let gone = bench.signed(&signer, &forgettable, true).await;
        let stays = bench.signed(&signer, &kept, true).await;
        let create = pb::CreateConsentRecordRequest {
            individual_id: signer.id.clone(),
            data_agreement_id: unsigned.data_agreement_id.clone(),
            ..pb::CreateConsentRecordRequest::default()
        };
        bench.records().create_consent_record(create).await.unwrap();

        let erase = pb::EraseConsentRecordsRequest {
            individual_id: signer.id.clone(),
            request_id: String::new(),
        };
        let mut other = ConsentRecordServiceClient::new(bench.person("713"));
        assert_eq!(reason(other.erase_consent_records(erase.clone()).await), "NOT_YOURS");
        let mut own = ConsentRecordServiceClient::new(bench.person("712"));
        let done = own.erase_consent_records(erase.clone()).await.unwrap().into_inner();
        assert_eq!((done.erased, done.retained), (2, 1));

        let list = pb::ListConsentRecordsRequest {
            individual_id: signer.id.clone(),
            ..pb::ListConsentRecordsRequest::default()
        };
        let left = bench.records().list_consent_records(list).await.unwrap().into_inner();
        assert_eq!(left.consent_records.len(), 1);
        let left = &left.consent_records[0];
        assert_eq!(left.consent_record_id, stays.consent_record_id);
        assert_eq!(left.opt_in, Some(false));
        for agreement in [&forgettable, &kept, &unsigned] {
            let id = agreement.data_agreement_id.as_str();
            assert!(!bench.check(&signer.id, id, &[]).await.allowed);
        }
        let chain = bench.chain(&gone.consent_record_id).await;
        assert!(chain.intact, "{chain:?}");
        assert_eq!((chain.revisions, chain.erased), (2, 2));
        let chain = bench.chain(&stays.consent_record_id).await;
        assert_eq!((chain.intact, chain.erased, chain.signatures), (true, 0, 1));

        // What was signed stays, however often this is asked.
        for _ in 0..2 {
            let again = own.erase_consent_records(erase.clone()).await.unwrap().into_inner();
            assert_eq!((again.erased, again.retained), (0, 1));
        }
        let chain = bench.chain(&stays.consent_record_id).await;
        assert_eq!((chain.intact, chain.erased, chain.signatures), (true, 0, 1));
        let nobody = pb::EraseConsentRecordsRequest {
            individual_id: "nobody".to_owned(),
            request_id: String::new(),
        };
        let refused = bench.records().erase_consent_records(nobody).await;
        assert_eq!(reason(refused), "INDIVIDUAL_NOT_FOUND");
    }

    async fn a_withdrawal_takes_no_evidence_along(db: TestDatabase) {
        let bench = bench(db).await;
        let (kept, unsigned) = (bench.agreement().await, bench.agreement().await);
        let signer = bench.signer("714").await;
        let signed = bench.signed(&signer, &kept, true).await;
        let create = pb::CreateConsentRecordRequest {
            individual_id: signer.id.clone(),
            data_agreement_id: unsigned.data_agreement_id.clone(),
            ..pb::CreateConsentRecordRequest::default()
        };
        let loose = bench.records().create_consent_record(create).await.unwrap().into_inner();
        let loose = loose.consent_record.unwrap().consent_record_id;
        for id in [&signed.consent_record_id, &loose] {
            let changed = bench.change(id, false).await.unwrap().consent_record.unwrap();
            assert_eq!(changed.state(), pb::RecordState::Unsigned);
        }
        let erase = pb::EraseConsentRecordsRequest {
            individual_id: signer.id.clone(),
            request_id: String::new(),
        };
        let done = bench.records().erase_consent_records(erase).await.unwrap().into_inner();
        assert_eq!((done.erased, done.retained), (1, 1));
        let chain = bench.chain(&signed.consent_record_id).await;
        assert_eq!((chain.intact, chain.erased, chain.signatures), (true, 0, 1));
        let get = pb::GetConsentRecordRequest {
            consent_record_id: signed.consent_record_id.clone(),
            ..pb::GetConsentRecordRequest::default()
        };
        bench.records().get_consent_record(get.clone()).await.unwrap();
        let get = pb::GetConsentRecordRequest { consent_record_id: loose, ..get };
        let gone = bench.records().get_consent_record(get).await;
        assert_eq!(reason(gone), "RECORD_NOT_FOUND");
    }
}
