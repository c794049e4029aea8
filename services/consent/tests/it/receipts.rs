//! Receipts in every format, and the history of a person.

use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::consent_record_service_client::ConsentRecordServiceClient;
use publica_proto::consent::v1::delegation_service_client::DelegationServiceClient;
use publica_rpc::Link;
use publica_testkit::both_engines;
use serde_json::Value;

use crate::support::{Bench, agreement, bench, reason};

async fn receipt(
    bench: &Bench,
    record: &pb::ConsentRecord,
    format: pb::ReceiptFormat,
) -> Result<pb::GetConsentReceiptResponse, tonic::Status> {
    let request = pb::GetConsentReceiptRequest {
        consent_record_id: record.consent_record_id.clone(),
        individual_id: String::new(),
        format: format.into(),
    };
    Ok(bench
        .records()
        .get_consent_receipt(request)
        .await?
        .into_inner())
}

/// An agreement with everything that receipts need.
fn told() -> pb::DataAgreement {
    let mut told = agreement();
    "https://w3id.org/dpv#PaymentManagement".clone_into(&mut told.purpose_code);
    "Выплата пособия".clone_into(&mut told.purpose_description);
    told.recipients = vec![pb::Recipient {
        recipient_id: "tester".to_owned(),
        name: "The programme".to_owned(),
        ..pb::Recipient::default()
    }];
    let controller = told.controller.as_mut().unwrap();
    "desk@example.org".clone_into(&mut controller.email);
    "+10000000".clone_into(&mut controller.phone);
    told
}

both_engines! {
    async fn a_record_is_told_in_every_format(db: TestDatabase) {
        let bench = bench(db).await;
        let text = bench.publish(told()).await;
        let signer = bench.signer("1").await;
        let record = bench.signed(&signer, &text, true).await;
        let fhir = receipt(&bench, &record, pb::ReceiptFormat::Fhir).await.unwrap();
        assert_eq!(fhir.content_type, "application/fhir+json");
        let consent: Value = serde_json::from_str(&fhir.receipt).unwrap();
        assert_eq!(consent["resourceType"], "Consent");
        assert_eq!(consent["id"], record.consent_record_id);
        assert_eq!(consent["status"], "active");
        assert_eq!(consent["decision"], "permit");
        assert_eq!(consent["subject"]["identifier"]["value"], signer.id);
        assert_eq!(consent["verification"][0]["verified"], true);
        assert_eq!(consent["provision"][0]["purpose"][0]["code"], "PaymentManagement");
        let dpv = receipt(&bench, &record, pb::ReceiptFormat::Dpv).await.unwrap();
        let dpv: Value = serde_json::from_str(&dpv.receipt).unwrap();
        assert_eq!(dpv["dpv:hasConsentStatus"]["@type"], "dpv:ConsentGiven");
        let kantara = receipt(&bench, &record, pb::ReceiptFormat::Kantara).await.unwrap();
        assert!(kantara.receipt.contains("KI-CR-v1.1.0"));
        let pdf = receipt(&bench, &record, pb::ReceiptFormat::Pdf).await.unwrap();
        assert_eq!(pdf.content_type, "application/pdf");
        assert!(pdf.document.starts_with(b"%PDF-"));
        let inside = pdf.signed_receipt.as_bytes();
        assert!(pdf.document.windows(inside.len()).any(|window| window == inside));
        bench.change(&record.consent_record_id, false).await.unwrap();
        let fhir = receipt(&bench, &record, pb::ReceiptFormat::Fhir).await.unwrap();
        let consent: Value = serde_json::from_str(&fhir.receipt).unwrap();
        assert_eq!(consent["status"], "inactive");
        assert_eq!(consent["decision"], "deny");
    }

    async fn people_see_what_happened_and_who_asked(db: TestDatabase) {
        let bench = bench(db).await;
        let text = bench.agreement().await;
        let (signer, other) = (bench.signer("1").await, bench.signer("2").await);
        let record = bench.signed(&signer, &text, true).await;
        bench.signed(&other, &text, true).await;
        for _ in 0..3 {
            bench.check(&signer.id, &text.data_agreement_id, &["name"]).await;
        }
        bench.change(&record.consent_record_id, false).await.unwrap();
        bench.check(&signer.id, &text.data_agreement_id, &["name"]).await;
        let list = |page_size: i32, page_token: String| pb::ListConsentHistoryRequest {
            individual_id: signer.id.clone(),
            page_size,
            page_token,
        };
        let mut own = ConsentRecordServiceClient::new(bench.person("1"));
        let all = own.list_consent_history(list(0, String::new())).await.unwrap().into_inner();
        let actions: Vec<&str> = all.events.iter().map(|one| one.action.as_str()).collect();
        assert_eq!(
            actions,
            [
                "consent.decision.made",
                "consent.record.withdrawn",
                "consent.decision.made",
                "consent.decision.made",
                "consent.decision.made",
                "consent.record.given",
            ]
        );
        assert_eq!(all.events[0].allowed, Some(false));
        assert_eq!(all.events[0].reasons, ["withdrawn"]);
        assert_eq!(all.events[2].allowed, Some(true));
        assert_eq!(all.events[2].consumer, "tester");
        assert!(all.events.iter().all(|one| one.data_agreement_id == text.data_agreement_id));
        let (mut pages, mut token) = (Vec::new(), String::new());
        loop {
            let page = own.list_consent_history(list(4, token)).await.unwrap().into_inner();
            pages.extend(page.events);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(pages, all.events);
        let mut stranger = ConsentRecordServiceClient::new(bench.person("2"));
        let refused = stranger.list_consent_history(list(0, String::new())).await;
        assert_eq!(reason(refused), "NOT_YOURS");
    }

    async fn a_history_tells_who_may_act_and_on_whose_word_it_was(db: TestDatabase) {
        let bench = bench(db).await;
        let text = bench.agreement().await;
        let (person, carer) = (bench.signer("1").await, bench.signer("2").await);
        let delegation = pb::Delegation {
            individual_id: person.id.clone(),
            delegate_individual_id: carer.id.clone(),
            relationship: pb::DelegationRelationship::Carer.into(),
            actions: vec![pb::DelegationAction::Give.into()],
            ..pb::Delegation::default()
        };
        let request = pb::CreateDelegationRequest {
            delegation: Some(delegation),
            request_id: String::new(),
        };
        let mut office = DelegationServiceClient::new(bench.admin());
        let made = office.create_delegation(request).await.unwrap().into_inner();
        let delegation_id = made.delegation.unwrap().delegation_id;
        let yes = pb::CreateConsentRecordRequest {
            individual_id: person.id.clone(),
            data_agreement_id: text.data_agreement_id.clone(),
            ..pb::CreateConsentRecordRequest::default()
        };
        let mut delegate = ConsentRecordServiceClient::new(bench.person("2"));
        let record = delegate.create_consent_record(yes).await.unwrap().into_inner();
        let no = pb::ChangeConsentRecordRequest {
            consent_record_id: record.consent_record.unwrap().consent_record_id,
            opt_in: Some(false),
            ..pb::ChangeConsentRecordRequest::default()
        };
        let mut own = ConsentRecordServiceClient::new(bench.person("1"));
        own.change_consent_record(no.clone()).await.unwrap();
        let again = pb::ChangeConsentRecordRequest {
            opt_in: Some(true),
            ..no
        };
        bench.records().change_consent_record(again).await.unwrap();
        let end = pb::RevokeDelegationRequest {
            delegation_id: delegation_id.clone(),
            ..pb::RevokeDelegationRequest::default()
        };
        let mut arrangements = DelegationServiceClient::new(bench.person("1"));
        arrangements.revoke_delegation(end).await.unwrap();

        let all = history(&mut own, &person.id).await;
        assert_eq!(all.individual_id, person.id);
        let told: Vec<(&str, &str)> = all
            .events
            .iter()
            .map(|one| (one.action.as_str(), one.by_individual_id.as_str()))
            .collect();
        let expected = [
            ("consent.delegation.revoked", person.id.as_str()),
            ("consent.record.given", ""),
            ("consent.record.withdrawn", person.id.as_str()),
            ("consent.record.given", carer.id.as_str()),
            ("consent.delegation.created", ""),
        ];
        assert_eq!(told, expected);
        assert_eq!(all.events[1].actor, "tester");
        for at in [0, 4] {
            assert_eq!(all.events[at].delegation_id, delegation_id);
            assert_eq!(all.events[at].delegate_individual_id, carer.id);
        }
        // The carer sees what they may do, and nothing of what the person answers.
        let held = history(&mut delegate, &carer.id).await;
        let told: Vec<&str> = held.events.iter().map(|one| one.action.as_str()).collect();
        assert_eq!(told, ["consent.delegation.revoked", "consent.delegation.created"]);
        assert!(held.events.iter().all(|one| one.delegate_individual_id == carer.id));
        assert!(held.events.iter().all(|one| one.by_individual_id != carer.id));
    }
}

/// The whole history of a person.
async fn history(
    client: &mut ConsentRecordServiceClient<Link>,
    individual_id: &str,
) -> pb::ListConsentHistoryResponse {
    let request = pb::ListConsentHistoryRequest {
        individual_id: individual_id.to_owned(),
        ..pb::ListConsentHistoryRequest::default()
    };
    let answer = client.list_consent_history(request).await.unwrap();
    answer.into_inner()
}
