//! New texts of an agreement: whose answers carry over, and whose do not; and objections.

use publica_proto::consent::v1 as pb;
use publica_testkit::both_engines;

use crate::support::{Bench, agreement, bench, reason};

async fn published(bench: &Bench, id: &str) -> pb::DataAgreement {
    let request = pb::GetDataAgreementRequest {
        data_agreement_id: id.to_owned(),
        published: true,
        ..pb::GetDataAgreementRequest::default()
    };
    let answer = bench
        .agreements()
        .get_data_agreement(request)
        .await
        .unwrap();
    answer.into_inner().data_agreement.unwrap()
}

async fn republish(
    bench: &Bench,
    agreement: pb::DataAgreement,
) -> Result<pb::ReplaceDataAgreementResponse, tonic::Status> {
    let request = pb::ReplaceDataAgreementRequest {
        data_agreement: Some(agreement),
        publish: true,
        ..pb::ReplaceDataAgreementRequest::default()
    };
    Ok(bench
        .agreements()
        .replace_data_agreement(request)
        .await?
        .into_inner())
}

both_engines! {
    async fn only_what_matters_needs_a_new_answer(db: TestDatabase) {
        let bench = bench(db).await;
        let one = bench.agreement().await;
        let id = one.data_agreement_id.as_str();
        let signer = bench.signer("1").await;
        bench.signed(&signer, &one, true).await;
        // Better words, less data and a shorter time: nobody is asked again.
        let mut next = published(&bench, id).await;
        "In other words".clone_into(&mut next.purpose_description);
        next.attributes.truncate(1);
        next.validity_days = Some(30);
        let done = republish(&bench, next).await.unwrap();
        assert!(done.material_changes.is_empty());
        assert_eq!(done.superseded_records, 0);
        assert_eq!(done.data_agreement.unwrap().version, "1.1.0");
        let yes = bench.check(&signer.id, id, &[]).await;
        assert!(yes.allowed);
        assert_eq!(yes.granted_attributes, ["name"]);
        // More data: whoever answered before is asked again.
        let mut wider = published(&bench, id).await;
        wider.attributes.push(pb::DataAgreementAttribute {
            name: "health".to_owned(),
            necessity: "optional".to_owned(),
            ..pb::DataAgreementAttribute::default()
        });
        let mut claimed = wider.clone();
        claimed.compatible_with_version_id.clone_from(&claimed.version);
        let refused = republish(&bench, claimed).await;
        assert_eq!(reason(refused), "RECONSENT_NEEDED", "nobody can claim that it does not matter");
        let done = republish(&bench, wider).await.unwrap();
        assert_eq!(done.material_changes, ["dataAttributes"]);
        assert_eq!(done.superseded_records, 1);
        assert_eq!(done.data_agreement.unwrap().version, "2.0.0");
        let no = bench.check(&signer.id, id, &[]).await;
        assert_eq!(no.reasons().collect::<Vec<_>>(), [pb::DecisionReason::Superseded]);
        let text = published(&bench, id).await;
        bench.signed(&signer, &text, true).await;
        assert!(bench.check(&signer.id, id, &[]).await.allowed);
    }

    async fn revisions_are_compared(db: TestDatabase) {
        let bench = bench(db).await;
        let one = bench.agreement().await;
        let mut draft = one.clone();
        "Something else".clone_into(&mut draft.purpose);
        "https://example.org/notice".clone_into(&mut draft.notice_url);
        let request = pb::ReplaceDataAgreementRequest {
            data_agreement: Some(draft),
            ..pb::ReplaceDataAgreementRequest::default()
        };
        bench.agreements().replace_data_agreement(request).await.unwrap();
        let compare = pb::CompareDataAgreementRevisionsRequest {
            data_agreement_id: one.data_agreement_id.clone(),
            ..pb::CompareDataAgreementRevisionsRequest::default()
        };
        let mut client = bench.agreements();
        let found = client.compare_data_agreement_revisions(compare.clone()).await.unwrap();
        let found = found.into_inner();
        assert_eq!(found.from_revision_id, one.revision_id);
        let paths: Vec<&str> = found.differences.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(paths, ["lifecycle.name", "noticeUrl", "purpose"]);
        assert_eq!(found.differences[2].after, "\"Something else\"");
        assert_eq!(found.material_changes, ["purpose"]);
        let other = bench.agreement().await;
        let foreign = pb::CompareDataAgreementRevisionsRequest {
            to_revision_id: other.revision_id,
            ..compare
        };
        let refused = client.compare_data_agreement_revisions(foreign).await;
        assert_eq!(reason(refused), "REVISION_MISMATCH");
    }

    async fn people_object_where_the_law_lets_them(db: TestDatabase) {
        let bench = bench(db).await;
        let signer = bench.signer("1").await;
        for (basis, objects) in [
            (pb::LawfulBasis::PublicTask, true),
            (pb::LawfulBasis::LegitimateInterest, true),
            (pb::LawfulBasis::LegalObligation, false),
        ] {
            let mut text = agreement();
            text.lawful_basis = basis.into();
            let text = bench.publish(text).await;
            let id = text.data_agreement_id.as_str();
            assert!(bench.check(&signer.id, id, &[]).await.allowed, "{basis:?}");
            let draft = pb::DraftConsentRecordRequest {
                individual_id: signer.id.clone(),
                data_agreement_id: id.to_owned(),
                opt_in: Some(false),
                ..pb::DraftConsentRecordRequest::default()
            };
            let refused = bench.records().draft_consent_record(draft).await;
            assert_eq!(refused.is_ok(), objects, "{basis:?}");
            if !objects {
                assert_eq!(reason(refused), "BASIS_NOT_CONSENT");
                continue;
            }
            let record = bench.signed(&signer, &text, false).await;
            let no = bench.check(&signer.id, id, &[]).await;
            assert_eq!(no.reasons().collect::<Vec<_>>(), [pb::DecisionReason::Refused]);
            bench.change(&record.consent_record_id, true).await.unwrap();
            assert!(bench.check(&signer.id, id, &[]).await.allowed, "the objection is taken back");
        }
    }
}
