//! Data agreements: draft, approval, publication, supersession, termination.

use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::data_agreement_service_client::DataAgreementServiceClient;
use publica_testkit::both_engines;

use crate::support::{agreement, bench, bench_with, reason};

fn create(agreement: pb::DataAgreement, publish: bool) -> pb::CreateDataAgreementRequest {
    pb::CreateDataAgreementRequest {
        data_agreement: Some(agreement),
        publish,
        request_id: String::new(),
    }
}

fn replace(agreement: pb::DataAgreement, publish: bool) -> pb::ReplaceDataAgreementRequest {
    pb::ReplaceDataAgreementRequest {
        data_agreement: Some(agreement),
        publish,
        ..pb::ReplaceDataAgreementRequest::default()
    }
}

fn get(id: &str, published: bool) -> pb::GetDataAgreementRequest {
    pb::GetDataAgreementRequest {
        data_agreement_id: id.to_owned(),
        revision_id: String::new(),
        published,
    }
}

fn publish(id: &str) -> pb::PublishDataAgreementRequest {
    pb::PublishDataAgreementRequest {
        data_agreement_id: id.to_owned(),
        ..pb::PublishDataAgreementRequest::default()
    }
}

both_engines! {
    async fn a_draft_may_be_incomplete(db: TestDatabase) {
        let bench = bench(db).await;
        let mut client = bench.agreements();
        let bare = pb::DataAgreement { purpose: "Something".into(), ..Default::default() };
        let refused = client.create_data_agreement(create(bare.clone(), true)).await;
        assert_eq!(reason(refused), "AGREEMENT_INCOMPLETE");
        let made = client.create_data_agreement(create(bare, false)).await.unwrap();
        let draft = made.into_inner().data_agreement.unwrap();
        assert_eq!(draft.lifecycle(), pb::AgreementLifecycle::Draft);
        let id = draft.data_agreement_id.as_str();
        assert_eq!(reason(client.get_data_agreement(get(id, true)).await), "AGREEMENT_NOT_FOUND");
        let refused = client.publish_data_agreement(publish(id)).await;
        assert_eq!(reason(refused), "AGREEMENT_INCOMPLETE");
        let mut full = agreement();
        id.clone_into(&mut full.data_agreement_id);
        client.replace_data_agreement(replace(full, false)).await.unwrap();
        let done = client.publish_data_agreement(publish(id)).await.unwrap().into_inner();
        assert_eq!(done.data_agreement.unwrap().version, "1.0.0");
        let shown = client.get_data_agreement(get(id, true)).await.unwrap().into_inner();
        let shown = shown.data_agreement.unwrap();
        assert_eq!(shown.lifecycle(), pb::AgreementLifecycle::Complete);
        assert_eq!(shown.policy.unwrap().jurisdiction, "NL");
    }

    async fn a_next_draft_stays_hidden_until_it_is_published(db: TestDatabase) {
        let bench = bench(db).await;
        let mut client = bench.agreements();
        let one = bench.agreement().await;
        let signer = bench.signer("1").await;
        let record = bench.signed(&signer, &one, true).await;
        let id = one.data_agreement_id.as_str();
        let mut next = one.clone();
        "Pay a larger transfer".clone_into(&mut next.purpose);
        client.replace_data_agreement(replace(next.clone(), false)).await.unwrap();
        let shown = client.get_data_agreement(get(id, true)).await.unwrap().into_inner();
        assert_eq!(shown.data_agreement.unwrap().purpose, one.purpose);
        let latest = client.get_data_agreement(get(id, false)).await.unwrap().into_inner();
        let latest = latest.data_agreement.unwrap();
        assert_eq!(latest.lifecycle(), pb::AgreementLifecycle::Draft);
        assert_eq!(latest.purpose, next.purpose);
        assert!(bench.check(&signer.id, id, &[]).await.allowed);

        let done = client.publish_data_agreement(publish(id)).await.unwrap().into_inner();
        assert_eq!(done.superseded_records, 1);
        let text = done.data_agreement.unwrap();
        assert_eq!(text.version, "2.0.0");
        let verdict = bench.check(&signer.id, id, &[]).await;
        assert_eq!(verdict.reasons().collect::<Vec<_>>(), [pb::DecisionReason::Superseded]);

        let again = bench.signed(&signer, &text, true).await;
        assert_ne!(again.consent_record_id, record.consent_record_id);
        assert!(bench.check(&signer.id, id, &[]).await.allowed);
        let all = pb::ListConsentRecordsRequest {
            individual_id: signer.id.clone(),
            ..pb::ListConsentRecordsRequest::default()
        };
        let all = bench.records().list_consent_records(all).await.unwrap().into_inner();
        let current: Vec<bool> = all.consent_records.iter().map(|one| one.current).collect();
        assert_eq!(current.iter().filter(|current| **current).count(), 1);
        assert_eq!(current.len(), 2);
    }

    async fn compatible_texts_keep_their_answers(db: TestDatabase) {
        let bench = bench(db).await;
        let mut client = bench.agreements();
        let one = bench.agreement().await;
        let signer = bench.signer("1").await;
        bench.signed(&signer, &one, true).await;
        let id = one.data_agreement_id.as_str();
        for round in 0..2 {
            let shown = client.get_data_agreement(get(id, true)).await.unwrap().into_inner();
            let mut next = shown.data_agreement.unwrap();
            next.compatible_with_version_id.clone_from(&next.version);
            next.purpose_description = format!("In other words, {round}");
            let done = client.replace_data_agreement(replace(next, true)).await.unwrap();
            assert_eq!(done.into_inner().superseded_records, 0);
            assert!(bench.check(&signer.id, id, &[]).await.allowed);
        }
        let shown = client.get_data_agreement(get(id, true)).await.unwrap().into_inner();
        let mut off = shown.data_agreement.unwrap();
        off.active = Some(false);
        let done = client.replace_data_agreement(replace(off, true)).await.unwrap().into_inner();
        assert_eq!(done.superseded_records, 0);
        assert!(bench.check(&signer.id, id, &[]).await.allowed);
        let other = bench.signer("2").await;
        let draft = pb::DraftConsentRecordRequest {
            individual_id: other.id.clone(),
            data_agreement_id: id.to_owned(),
            ..pb::DraftConsentRecordRequest::default()
        };
        let refused = bench.records().draft_consent_record(draft).await;
        assert_eq!(reason(refused), "AGREEMENT_INACTIVE");
    }

    async fn approval_is_for_one_text_by_somebody_else(db: TestDatabase) {
        let bench = bench_with(db, |config| config.require_approval = true).await;
        let mut client = bench.agreements();
        let refused = client.create_data_agreement(create(agreement(), true)).await;
        assert_eq!(reason(refused), "APPROVAL_REQUIRED");
        let made = client.create_data_agreement(create(agreement(), false)).await.unwrap();
        let draft = made.into_inner().data_agreement.unwrap();
        let id = draft.data_agreement_id.as_str();
        let refused = client.publish_data_agreement(publish(id)).await;
        assert_eq!(reason(refused), "APPROVAL_REQUIRED");
        let approval = pb::ApproveDataAgreementRequest {
            data_agreement_id: id.to_owned(),
            revision_id: draft.revision_id.clone(),
            request_id: String::new(),
        };
        let refused = client.approve_data_agreement(approval.clone()).await;
        assert_eq!(reason(refused), "APPROVER_IS_AUTHOR");
        let mut officer = DataAgreementServiceClient::new(bench.colleague());
        officer.approve_data_agreement(approval.clone()).await.unwrap();
        let mut edited = draft.clone();
        edited.purpose.push('!');
        client.replace_data_agreement(replace(edited, false)).await.unwrap();
        let refused = client.publish_data_agreement(publish(id)).await;
        assert_eq!(reason(refused), "APPROVAL_REQUIRED");
        assert_eq!(reason(officer.approve_data_agreement(approval).await), "CONFLICT");
        let latest = client.get_data_agreement(get(id, false)).await.unwrap().into_inner();
        let approval = pb::ApproveDataAgreementRequest {
            data_agreement_id: id.to_owned(),
            revision_id: latest.data_agreement.unwrap().revision_id,
            request_id: String::new(),
        };
        officer.approve_data_agreement(approval).await.unwrap();
        client.publish_data_agreement(publish(id)).await.unwrap();
    }

    async fn a_terminated_agreement_takes_and_allows_nothing(db: TestDatabase) {
        let bench = bench(db).await;
        let mut client = bench.agreements();
        let one = bench.agreement().await;
        let signer = bench.signer("1").await;
        let record = bench.signed(&signer, &one, true).await;
        let id = one.data_agreement_id.as_str();
        let end = pb::TerminateDataAgreementRequest {
            data_agreement_id: id.to_owned(),
            request_id: String::new(),
        };
        client.terminate_data_agreement(end.clone()).await.unwrap();
        assert_eq!(reason(client.terminate_data_agreement(end).await), "AGREEMENT_TERMINATED");
        let verdict = bench.check(&signer.id, id, &[]).await;
        assert_eq!(verdict.reasons().collect::<Vec<_>>(), [
            pb::DecisionReason::AgreementTerminated
        ]);
        assert!(bench.chain(&record.consent_record_id).await.intact);
        let refused = client.replace_data_agreement(replace(one.clone(), true)).await;
        assert_eq!(reason(refused), "AGREEMENT_TERMINATED");
        bench.change(&record.consent_record_id, false).await.unwrap();
        let refused = bench.change(&record.consent_record_id, true).await;
        assert_eq!(reason(refused), "AGREEMENT_TERMINATED");
    }

    async fn lists_filter(db: TestDatabase) {
        let bench = bench(db).await;
        let mut client = bench.agreements();
        let one = bench.agreement().await;
        let draft = pb::DataAgreement { purpose: "Draft".into(), ..Default::default() };
        client.create_data_agreement(create(draft, false)).await.unwrap();
        let count = async |request: pb::ListDataAgreementsRequest| {
            let mut client = bench.agreements();
            let page = client.list_data_agreements(request).await.unwrap().into_inner();
            page.data_agreements.len()
        };
        let all = pb::ListDataAgreementsRequest::default();
        assert_eq!(count(all.clone()).await, 2);
        for (request, expected) in [
            (pb::ListDataAgreementsRequest { published: true, ..all.clone() }, 1),
            (pb::ListDataAgreementsRequest { policy_id: one.policy_id, ..all.clone() }, 1),
            (pb::ListDataAgreementsRequest { purpose: one.purpose_code, ..all.clone() }, 1),
            (pb::ListDataAgreementsRequest { purpose: "None".into(), ..all.clone() }, 0),
            (pb::ListDataAgreementsRequest { active: Some(false), ..all.clone() }, 0),
            (pb::ListDataAgreementsRequest { active: Some(true), ..all.clone() }, 2),
            (
                pb::ListDataAgreementsRequest {
                    lifecycle: pb::AgreementLifecycle::Draft.into(),
                    order: pb::SortOrder::Ascending.into(),
                    ..all
                },
                1,
            ),
        ] {
            assert_eq!(count(request.clone()).await, expected, "{request:?}");
        }
    }

    async fn drafts_are_for_those_who_work_on_them(db: TestDatabase) {
        let bench = bench(db).await;
        let one = bench.agreement().await;
        let id = one.data_agreement_id.as_str();
        let mut next = one.clone();
        "Not yet".clone_into(&mut next.purpose);
        bench.agreements().replace_data_agreement(replace(next, false)).await.unwrap();
        let all = pb::ListDataAgreementsRequest::default();
        let shown = pb::ListDataAgreementsRequest { published: true, ..all.clone() };
        for link in [bench.person("somebody"), bench.block.as_caller(&["consent:policy:read"])] {
            let mut client = DataAgreementServiceClient::new(link);
            assert_eq!(reason(client.get_data_agreement(get(id, false)).await), "NOT_YOURS");
            let named = pb::GetDataAgreementRequest {
                revision_id: one.revision_id.clone(),
                ..get(id, false)
            };
            assert_eq!(reason(client.get_data_agreement(named).await), "NOT_YOURS");
            assert_eq!(reason(client.get_data_agreement(get("none", false)).await), "NOT_YOURS");
            assert_eq!(reason(client.list_data_agreements(all.clone()).await), "NOT_YOURS");
            let found = client.get_data_agreement(get(id, true)).await.unwrap().into_inner();
            assert_eq!(found.data_agreement.unwrap().purpose, one.purpose);
            let found = client.list_data_agreements(shown.clone()).await.unwrap().into_inner();
            assert_eq!(found.data_agreements[0].purpose, one.purpose);
        }
        for scope in ["agreement:read", "agreement:write", "agreement:approve", "audit:read"] {
            let link = bench.block.as_caller(&[&*format!("consent:{scope}")]);
            let mut client = DataAgreementServiceClient::new(link);
            let found = client.get_data_agreement(get(id, false)).await.unwrap().into_inner();
            assert_eq!(found.data_agreement.unwrap().purpose, "Not yet", "{scope}");
            client.list_data_agreements(all.clone()).await.unwrap();
        }
    }
}
