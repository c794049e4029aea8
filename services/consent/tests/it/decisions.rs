//! Decisions: exact to the clock and to the last answer, field by field, journalled.

use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::consent_service_client::ConsentServiceClient;
use publica_proto::journal::v1::ListEntriesRequest;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_testkit::{both_engines, eventually, token_for, with_token};
use publica_types::Tenant;

use crate::support::{agreement, bench, question, reason};

fn reasons(answer: &pb::CheckConsentResponse) -> Vec<pb::DecisionReason> {
    answer.reasons().collect()
}

both_engines! {
    async fn a_withdrawal_is_seen_by_the_next_check(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let id = agreement.data_agreement_id.as_str();
        let signer = bench.signer("1").await;
        let none = bench.check(&signer.id, id, &[]).await;
        assert_eq!(reasons(&none), [pb::DecisionReason::NoRecord]);
        let unknown = bench.check("nobody", id, &[]).await;
        assert_eq!(reasons(&unknown), [pb::DecisionReason::IndividualUnknown]);
        let record = bench.signed(&signer, &agreement, true).await;
        for _ in 0..10 {
            let yes = bench.check(&signer.id, id, &["name"]).await;
            assert!(yes.allowed && yes.reasons.is_empty());
            assert_eq!(yes.granted_attributes, ["name"]);
            assert_eq!(yes.obligations.unwrap().retention_days, 365);
            bench.change(&record.consent_record_id, false).await.unwrap();
            let no = bench.check(&signer.id, id, &["name"]).await;
            assert_eq!(reasons(&no), [pb::DecisionReason::Withdrawn]);
            assert!(no.granted_attributes.is_empty());
            bench.change(&record.consent_record_id, true).await.unwrap();
        }
    }

    async fn validity_ends_to_the_second(db: TestDatabase) {
        let bench = bench(db).await;
        let mut short = agreement();
        short.validity_days = Some(1);
        let short = bench.publish(short).await;
        let id = short.data_agreement_id.as_str();
        let signer = bench.signer("1").await;
        let record = bench.signed(&signer, &short, true).await;
        bench.pass(86_399);
        assert!(bench.check(&signer.id, id, &[]).await.allowed);
        bench.pass(1);
        let over = bench.check(&signer.id, id, &[]).await;
        assert_eq!(reasons(&over), [pb::DecisionReason::Expired]);
        let get = pb::GetConsentRecordRequest {
            consent_record_id: record.consent_record_id.clone(),
            ..pb::GetConsentRecordRequest::default()
        };
        let shown = bench.records().get_consent_record(get).await.unwrap().into_inner();
        let status = shown.consent_record.unwrap().effective_status();
        assert_eq!(status, pb::EffectiveStatus::Expired);
    }

    async fn attributes_are_granted_one_by_one(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let id = agreement.data_agreement_id.as_str();
        let signer = bench.signer("1").await;
        let choice = pb::AttributeChoice { attribute: "2".to_owned(), granted: false };
        let pair = bench.pair_with(&signer, &agreement, true, vec![choice]).await;
        bench.records().sign_consent_record(pair).await.unwrap();
        assert!(bench.check(&signer.id, id, &["name"]).await.allowed);
        let part = bench.check(&signer.id, id, &["name", "income", "shoe size"]).await;
        assert_eq!(reasons(&part), [pb::DecisionReason::AttributeNotGranted]);
        assert_eq!(part.granted_attributes, ["name"]);
        assert_eq!(part.denied_attributes, ["income", "shoe size"]);
        let whole = bench.check(&signer.id, id, &[]).await;
        assert_eq!(whole.granted_attributes, ["name"]);
    }

    async fn a_purpose_finds_its_agreements(db: TestDatabase) {
        let bench = bench(db).await;
        let one = bench.agreement().await;
        let two = bench.agreement().await;
        let signer = bench.signer("712").await;
        bench.signed(&signer, &two, true).await;
        let ask = |purpose: &str, person: pb::person_reference::Person| pb::CheckConsentRequest {
            person: Some(pb::PersonReference { person: Some(person) }),
            purpose: purpose.to_owned(),
            ..pb::CheckConsentRequest::default()
        };
        let external = pb::person_reference::Person::External(pb::ExternalIdentity {
            external_id: "712".to_owned(),
            external_id_type: "foundational id".to_owned(),
            identity_provider_id: String::new(),
        });
        for purpose in [one.purpose_code.as_str(), one.purpose.as_str()] {
            let answer = bench.checks().check_consent(ask(purpose, external.clone())).await;
            let answer = answer.unwrap().into_inner();
            assert!(answer.allowed, "{answer:?}");
            assert_eq!(answer.data_agreement_id, two.data_agreement_id);
            assert_eq!(answer.individual_id, signer.id);
        }
        let none = bench.checks().check_consent(ask("Sell data", external)).await.unwrap();
        assert_eq!(reasons(&none.into_inner()), [pb::DecisionReason::AgreementUnknown]);
        let mut wrong = question(&signer.id, &two.data_agreement_id, &[]);
        wrong.purpose = "Sell data".to_owned();
        let wrong = bench.checks().check_consent(wrong).await.unwrap().into_inner();
        assert_eq!(reasons(&wrong), [pb::DecisionReason::PurposeMismatch]);
    }

    async fn only_listed_consumers_may(db: TestDatabase) {
        let bench = bench(db).await;
        let mut closed = agreement();
        closed.recipients = vec![pb::Recipient {
            recipient_id: "programme".to_owned(),
            name: "The programme".to_owned(),
            ..pb::Recipient::default()
        }];
        let closed = bench.publish(closed).await;
        let id = closed.data_agreement_id.as_str();
        let signer = bench.signer("1").await;
        bench.signed(&signer, &closed, true).await;
        let no = bench.check(&signer.id, id, &[]).await;
        assert_eq!(reasons(&no), [pb::DecisionReason::ConsumerNotListed]);
        let mut asked = question(&signer.id, id, &[]);
        asked.consumer = "programme".to_owned();
        let yes = bench.checks().check_consent(asked.clone()).await.unwrap().into_inner();
        assert!(yes.allowed);
        let scopes = ["consent:decision:check"];
        let consumer = with_token(
            &bench.block.link,
            &token_for("programme", &scopes, &Tenant::default()),
        );
        let mut consumer = ConsentServiceClient::new(consumer);
        assert!(consumer.check_consent(asked.clone()).await.unwrap().into_inner().allowed);
        asked.consumer = "tester".to_owned();
        assert_eq!(reason(consumer.check_consent(asked).await), "CONSUMER_NOT_YOURS");
    }

    async fn uses_a_day_are_counted(db: TestDatabase) {
        let bench = bench(db).await;
        let mut limited = agreement();
        limited.max_uses_per_day = Some(3);
        let limited = bench.publish(limited).await;
        let id = limited.data_agreement_id.as_str();
        let signer = bench.signer("1").await;
        bench.signed(&signer, &limited, true).await;
        let calls = (0..6).map(|_| bench.check(&signer.id, id, &[]));
        let answers = futures::future::join_all(calls).await;
        assert_eq!(answers.iter().filter(|answer| answer.allowed).count(), 3);
        let refused = answers.iter().find(|answer| !answer.allowed).unwrap();
        assert_eq!(reasons(refused), [pb::DecisionReason::FrequencyExceeded]);
        bench.pass(86_400);
        let next = bench.check(&signer.id, id, &[]).await;
        assert_eq!(next.obligations.unwrap().uses_left, Some(2));
    }

    async fn other_bases_and_signatures_are_told(db: TestDatabase) {
        let bench = bench(db).await;
        let mut task = agreement();
        task.lawful_basis = pb::LawfulBasis::PublicTask.into();
        let task = bench.publish(task).await;
        let signer = bench.signer("1").await;
        let yes = bench.check(&signer.id, &task.data_agreement_id, &[]).await;
        assert!(yes.allowed);
        assert_eq!(reasons(&yes), [pb::DecisionReason::BasisNotConsent]);
        let draft = pb::DraftConsentRecordRequest {
            individual_id: signer.id.clone(),
            data_agreement_id: task.data_agreement_id.clone(),
            ..pb::DraftConsentRecordRequest::default()
        };
        let refused = bench.records().draft_consent_record(draft).await;
        assert_eq!(reason(refused), "BASIS_NOT_CONSENT");

        let one = bench.agreement().await;
        let record = bench.signed(&signer, &one, true).await;
        let mut asked = question(&signer.id, &one.data_agreement_id, &[]);
        asked.require_signature = true;
        asked.want_token = true;
        let signed = bench.checks().check_consent(asked.clone()).await.unwrap().into_inner();
        assert!(signed.allowed);
        assert_eq!(signed.decision_token.split('.').count(), 3);
        bench.change(&record.consent_record_id, false).await.unwrap();
        bench.change(&record.consent_record_id, true).await.unwrap();
        let unsigned = bench.checks().check_consent(asked).await.unwrap().into_inner();
        assert_eq!(reasons(&unsigned), [pb::DecisionReason::Unsigned]);
    }

    async fn many_questions_share_an_answer_each(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let id = agreement.data_agreement_id.as_str();
        let mut checks = Vec::new();
        for n in 0..40 {
            let signer = bench.signer(&n.to_string()).await;
            if n % 2 == 0 {
                bench.signed(&signer, &agreement, true).await;
            }
            checks.push(question(&signer.id, id, &["name"]));
        }
        let request = pb::BatchCheckConsentRequest { checks };
        let answer = bench.checks().batch_check_consent(request).await.unwrap().into_inner();
        for (n, decision) in answer.decisions.iter().enumerate() {
            assert_eq!(decision.allowed, n % 2 == 0, "{n}");
        }
        let mut bad = question("a/b", "", &[]);
        bad.person = None;
        let bad = pb::BatchCheckConsentRequest { checks: vec![question("1", id, &[]), bad] };
        let status = bench.checks().batch_check_consent(bad).await.unwrap_err();
        assert!(status.code() == tonic::Code::InvalidArgument);
        let none = pb::BatchCheckConsentRequest::default();
        assert_eq!(reason(bench.checks().batch_check_consent(none).await), "INVALID_FIELDS");
    }

    async fn every_check_and_refusal_is_journalled(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let signer = bench.signer("1").await;
        let record = bench.signed(&signer, &agreement, true).await;
        let yes = bench.check(&signer.id, &agreement.data_agreement_id, &[]).await;
        let unknown = pb::GetPolicyRequest { policy_id: "none".into(), ..Default::default() };
        assert_eq!(reason(bench.policies().get_policy(unknown).await), "POLICY_NOT_FOUND");
        let entries = eventually(|| async {
            let mut journal = JournalServiceClient::new(bench.admin());
            let all = ListEntriesRequest { page_size: 1_000, ..Default::default() };
            let all = journal.list_entries(all).await.unwrap().into_inner().entries;
            let refused = all.iter().any(|entry| entry.action == "consent.call.refused");
            refused.then_some(all)
        })
        .await;
        let of = |action: &str| entries.iter().filter(|entry| entry.action == action).count();
        for action in [
            "consent.agreement.published",
            "consent.policy.created",
            "consent.individuals.created",
            "consent.record.given",
        ] {
            assert_eq!(of(action), 1, "{action}");
        }
        let decision = entries.iter().find(|one| one.action == "consent.decision.made").unwrap();
        let body = decision.body.clone().unwrap();
        assert!(String::from_utf8_lossy(&body).contains(&yes.decision_id));
        // The journal's proofs are proofs of revisions.
        let given = entries.iter().find(|one| one.action == "consent.record.given").unwrap();
        let body = String::from_utf8(given.body.clone().unwrap().to_vec()).unwrap();
        let head = bench.chain(&record.consent_record_id).await.head_hash_sha256;
        assert!(head.len() == 64 && body.contains(&head), "{body}");
    }
}
