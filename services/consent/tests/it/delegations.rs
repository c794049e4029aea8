//! Parents, guardians and others: who may answer for whom, quorum, coming of age.

use publica_jose::{Alg, SigningKey};
use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::consent_record_service_client::ConsentRecordServiceClient;
use publica_proto::consent::v1::delegation_service_client::DelegationServiceClient;
use publica_proto::consent::v1::individual_service_client::IndividualServiceClient;
use publica_proto::journal::v1::ListEntriesRequest;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_rpc::Link;
use publica_testkit::{both_engines, eventually};
use publica_types::SystemEntropy;

use crate::support::{Bench, Signer, agreement, bench, reason};

fn delegations(link: Link) -> DelegationServiceClient<Link> {
    DelegationServiceClient::new(link)
}

fn parent_of(child: &Signer, parent: &Signer) -> pb::Delegation {
    pb::Delegation {
        individual_id: child.id.clone(),
        delegate_individual_id: parent.id.clone(),
        relationship: pb::DelegationRelationship::Parent.into(),
        authority_reference: "birth certificate 7".to_owned(),
        actions: vec![
            pb::DelegationAction::Give.into(),
            pb::DelegationAction::View.into(),
        ],
        ..pb::Delegation::default()
    }
}

async fn delegate(bench: &Bench, delegation: pb::Delegation) -> pb::Delegation {
    let request = pb::CreateDelegationRequest {
        delegation: Some(delegation),
        request_id: String::new(),
    };
    let answer = delegations(bench.admin())
        .create_delegation(request)
        .await
        .unwrap();
    answer.into_inner().delegation.unwrap()
}

/// A child with a birth date; the bench's clock stands in January 2027.
async fn child(bench: &Bench, external_id: &str, birth_date: &str) -> Signer {
    let signer = bench.signer(external_id).await;
    born(bench, &signer, external_id, birth_date).await;
    signer
}

/// Records when somebody was born.
async fn born(bench: &Bench, signer: &Signer, external_id: &str, birth_date: &str) {
    let request = pb::ReplaceIndividualRequest {
        individual: Some(pb::Individual {
            individual_id: signer.id.clone(),
            external_id: external_id.to_owned(),
            external_id_type: "foundational id".to_owned(),
            birth_date: birth_date.to_owned(),
            ..pb::Individual::default()
        }),
        ..pb::ReplaceIndividualRequest::default()
    };
    bench
        .individuals()
        .replace_individual(request)
        .await
        .unwrap();
}

fn draft(child: &Signer, agreement: &pb::DataAgreement) -> pb::DraftConsentRecordRequest {
    pb::DraftConsentRecordRequest {
        individual_id: child.id.clone(),
        data_agreement_id: agreement.data_agreement_id.clone(),
        ..pb::DraftConsentRecordRequest::default()
    }
}

/// What a delegate drafts by their own token, and signs.
async fn pair(
    bench: &Bench,
    delegate: (&str, &Signer),
    child: &Signer,
    agreement: &pb::DataAgreement,
) -> Result<pb::SignConsentRecordRequest, tonic::Status> {
    let mut own = ConsentRecordServiceClient::new(bench.person(delegate.0));
    let drafted = own
        .draft_consent_record(draft(child, agreement))
        .await?
        .into_inner();
    Ok(pb::SignConsentRecordRequest {
        consent_record: drafted.consent_record,
        signature: Some(delegate.1.sign(drafted.signature.unwrap())),
        request_id: String::new(),
    })
}

/// What somebody is told who tries what is the person's own: to see who they are, to sign for them
/// with another key, and to have everything forgotten.
async fn person_alone(bench: &Bench, person: &Signer, subject: &str) -> [String; 3] {
    let mut people = IndividualServiceClient::new(bench.person(subject));
    let get = pb::GetIndividualRequest {
        individual_id: person.id.clone(),
    };
    let key = SigningKey::generate(Alg::Es256, &SystemEntropy).unwrap();
    let key = pb::RegisterSigningKeyRequest {
        individual_id: person.id.clone(),
        jwk: key.public_jwk().to_value().to_string(),
        request_id: String::new(),
    };
    let all = pb::EraseConsentRecordsRequest {
        individual_id: person.id.clone(),
        request_id: String::new(),
    };
    let mut records = ConsentRecordServiceClient::new(bench.person(subject));
    [
        reason(people.get_individual(get).await),
        reason(people.register_signing_key(key).await),
        reason(records.erase_consent_records(all).await),
    ]
}

async fn verified(bench: &Bench, record_id: &str) -> pb::VerifyChainResponse {
    let request = pb::VerifyChainRequest {
        schema: pb::Schema::ConsentRecord.into(),
        object_id: record_id.to_owned(),
        ..pb::VerifyChainRequest::default()
    };
    bench
        .revisions()
        .verify_chain(request)
        .await
        .unwrap()
        .into_inner()
}

both_engines! {
    async fn who_is_too_young_says_no_alone_but_not_yes(db: TestDatabase) {
        let bench = bench(db).await;
        let mut for_adults = agreement();
        for_adults.minimum_age = 16;
        let text = bench.publish(for_adults).await;
        let id = text.data_agreement_id.as_str();
        let young = child(&bench, "c1", "2014-05-17").await;
        let alone = bench.pair(&young, &text, true).await;
        assert_eq!(reason(bench.records().sign_consent_record(alone).await), "UNDER_AGE");
        let unsigned = pb::CreateConsentRecordRequest {
            individual_id: young.id.clone(),
            data_agreement_id: id.to_owned(),
            ..pb::CreateConsentRecordRequest::default()
        };
        let refused = bench.records().create_consent_record(unsigned).await;
        assert_eq!(reason(refused), "UNDER_AGE");
        // A no needs no age.
        bench.signed(&young, &text, false).await;
    }

    async fn a_parent_answers_for_a_child_until_it_is_of_age(db: TestDatabase) {
        let bench = bench(db).await;
        let mut for_adults = agreement();
        for_adults.minimum_age = 16;
        let text = bench.publish(for_adults).await;
        let id = text.data_agreement_id.as_str();
        // Eighteen on the second of February 2027.
        let nearly = child(&bench, "c2", "2009-02-02").await;
        let parent = bench.signer("p").await;
        let stranger = pair(&bench, ("p", &parent), &nearly, &text).await;
        assert_eq!(reason(stranger.map(drop)), "NOT_YOURS");
        let made = delegate(&bench, parent_of(&nearly, &parent)).await;
        assert!(made.active);
        let majority = made.valid_until_time.unwrap();
        let signed = pair(&bench, ("p", &parent), &nearly, &text).await.unwrap();
        let by_other_key = pb::SignConsentRecordRequest {
            signature: Some(nearly.sign(signed.signature.clone().unwrap())),
            ..signed.clone()
        };
        let refused = bench.records().sign_consent_record(by_other_key).await;
        assert_eq!(reason(refused), "SIGNATURE_INVALID", "the child's key is not the parent's");
        let mut own = ConsentRecordServiceClient::new(bench.person("p"));
        let stored = own.sign_consent_record(signed).await.unwrap().into_inner();
        let record = stored.consent_record.unwrap();
        assert_eq!(record.delegation_id, made.delegation_id);
        assert_eq!(record.state(), pb::RecordState::Signed);
        assert_eq!(stored.revision.unwrap().authorized_by_individual_id, parent.id);
        let found = verified(&bench, &record.consent_record_id).await;
        assert!(found.intact && found.signatures == 1, "{found:?}");
        assert!(bench.check(&nearly.id, id, &[]).await.allowed);

        // The person sees what was answered for them, and may always take it back.
        let get = pb::GetConsentRecordRequest {
            consent_record_id: record.consent_record_id.clone(),
            ..pb::GetConsentRecordRequest::default()
        };
        let mut person = ConsentRecordServiceClient::new(bench.person("c2"));
        let shown = person.get_consent_record(get.clone()).await.unwrap().into_inner();
        assert!(!shown.consent_record.unwrap().reconfirmation_due);

        let now = publica_rpc::timestamp(bench.clock_now());
        let left = u64::try_from(majority.seconds - now.seconds).unwrap();
        bench.pass(left);
        let shown = person.get_consent_record(get.clone()).await.unwrap().into_inner();
        assert!(shown.consent_record.unwrap().reconfirmation_due);
        assert!(bench.check(&nearly.id, id, &[]).await.allowed, "it stands until then");
        let late = pb::ChangeConsentRecordRequest {
            consent_record_id: record.consent_record_id.clone(),
            opt_in: Some(false),
            ..pb::ChangeConsentRecordRequest::default()
        };
        assert_eq!(reason(own.change_consent_record(late).await), "NOT_YOURS");
        let told = eventually(|| async {
            let mut journal = JournalServiceClient::new(bench.admin());
            let all = ListEntriesRequest { page_size: 1_000, ..Default::default() };
            let all = journal.list_entries(all).await.unwrap().into_inner().entries;
            let due = all.iter().filter(|one| one.action == "consent.record.reconfirmation_due");
            (due.count() > 0).then_some(())
        });
        told.await;
        let confirm = pb::ChangeConsentRecordRequest {
            consent_record_id: record.consent_record_id.clone(),
            opt_in: Some(true),
            ..pb::ChangeConsentRecordRequest::default()
        };
        let confirmed = person.change_consent_record(confirm).await.unwrap().into_inner();
        let confirmed = confirmed.consent_record.unwrap();
        assert!(!confirmed.reconfirmation_due && confirmed.delegation_id.is_empty());
        assert!(verified(&bench, &record.consent_record_id).await.intact);
    }

    async fn delegates_answer_for_many_at_once(db: TestDatabase) {
        let bench = bench(db).await;
        let text = bench.agreement().await;
        let (parent, stranger) = (bench.signer("p").await, bench.signer("s").await);
        let mut records = Vec::new();
        let mut made = Vec::new();
        for n in 0..3 {
            let child = child(&bench, &format!("c{n}"), "2014-05-17").await;
            made.push(delegate(&bench, parent_of(&child, &parent)).await);
            records.push(pair(&bench, ("p", &parent), &child, &text).await.unwrap());
        }
        let own = bench.signer("own").await;
        records.push(bench.pair(&own, &text, true).await);
        // Neither another key nor authority that was taken back.
        let foreign = stranger.sign(records[1].signature.clone().unwrap());
        records[1].signature = Some(foreign);
        let revoke = pb::RevokeDelegationRequest {
            delegation_id: made[2].delegation_id.clone(),
            ..pb::RevokeDelegationRequest::default()
        };
        delegations(bench.admin()).revoke_delegation(revoke).await.unwrap();
        let request = pb::BatchSignConsentRecordsRequest { records, request_id: String::new() };
        let answer = bench.records().batch_sign_consent_records(request.clone()).await.unwrap();
        let answer = answer.into_inner();
        let reasons: Vec<&str> = answer.results.iter().map(|one| one.reason.as_str()).collect();
        assert_eq!(reasons, ["", "SIGNATURE_INVALID", "SIGNATURE_INVALID", ""]);
        let get = pb::GetConsentRecordRequest {
            consent_record_id: answer.results[0].consent_record_id.clone(),
            ..pb::GetConsentRecordRequest::default()
        };
        let shown = bench.records().get_consent_record(get).await.unwrap().into_inner();
        let record = shown.consent_record.unwrap();
        assert_eq!(record.delegation_id, made[0].delegation_id);
        assert_eq!(shown.revision.unwrap().authorized_by_individual_id, parent.id);
        let found = verified(&bench, &record.consent_record_id).await;
        assert!(found.intact && found.signatures == 1, "{found:?}");
        let id = text.data_agreement_id.as_str();
        assert!(bench.check(&made[0].individual_id, id, &[]).await.allowed);
        assert!(!bench.check(&made[1].individual_id, id, &[]).await.allowed);
        let again = bench.records().batch_sign_consent_records(request).await.unwrap();
        assert_eq!(again.into_inner().results[0], answer.results[0]);
    }

    async fn a_quorum_of_two_parents_is_needed(db: TestDatabase) {
        let bench = bench(db).await;
        let mut both = agreement();
        both.required_signatures = vec!["delegate".to_owned(), "delegate".to_owned()];
        let both = bench.publish(both).await;
        let id = both.data_agreement_id.as_str();
        let child = child(&bench, "c", "2014-05-17").await;
        let (one, two) = (bench.signer("p1").await, bench.signer("p2").await);
        delegate(&bench, parent_of(&child, &one)).await;
        let second = delegate(&bench, parent_of(&child, &two)).await;
        let first = pair(&bench, ("p1", &one), &child, &both).await.unwrap();
        let stored = bench.records().sign_consent_record(first).await.unwrap().into_inner();
        let record = stored.consent_record.unwrap();
        assert_eq!(record.state(), pb::RecordState::PendingMoreSignatures);
        let no = bench.check(&child.id, id, &[]).await;
        assert_eq!(
            no.reasons().collect::<Vec<_>>(),
            [pb::DecisionReason::PendingSignatures]
        );
        let ask = pb::DraftSignatureRequest {
            consent_record_id: record.consent_record_id.clone(),
            individual_id: String::new(),
            signature: Some(pb::Signature {
                verification_signed_as: "delegate".to_owned(),
                ..pb::Signature::default()
            }),
        };
        let mut other = ConsentRecordServiceClient::new(bench.person("p2"));
        let drafted = other.draft_signature(ask).await.unwrap().into_inner().signature.unwrap();
        let attach = |signature: pb::Signature| pb::AttachSignatureRequest {
            consent_record_id: record.consent_record_id.clone(),
            signature: Some(signature),
            ..pb::AttachSignatureRequest::default()
        };
        // The same parent twice is still one parent.
        let again = bench.records().attach_signature(attach(one.sign(drafted.clone()))).await;
        assert_eq!(reason(again), "ALREADY_SIGNED");
        let foreign = other.attach_signature(attach(one.sign(drafted.clone()))).await;
        assert_eq!(reason(foreign), "NOT_YOURS", "nobody brings another delegate's word");
        let done = other.attach_signature(attach(two.sign(drafted))).await.unwrap().into_inner();
        assert_eq!(done.consent_record.unwrap().state(), pb::RecordState::Signed);
        assert!(bench.check(&child.id, id, &[]).await.allowed);
        let found = verified(&bench, &record.consent_record_id).await;
        assert!(found.intact && found.signatures == 2, "{found:?}");
        // Without the second parent's word, whoever came first, there is no quorum any more.
        let revoke = pb::RevokeDelegationRequest {
            delegation_id: second.delegation_id,
            void: true,
            request_id: String::new(),
        };
        delegations(bench.admin()).revoke_delegation(revoke).await.unwrap();
        let no = bench.check(&child.id, id, &[]).await;
        assert_eq!(
            no.reasons().collect::<Vec<_>>(),
            [pb::DecisionReason::DelegationInvalid]
        );
        let found = verified(&bench, &record.consent_record_id).await;
        assert!(found.intact, "{found:?}");
    }

    async fn a_word_that_is_not_needed_takes_nothing_along(db: TestDatabase) {
        let bench = bench(db).await;
        let text = bench.agreement().await;
        let id = text.data_agreement_id.as_str();
        let (person, helper) = (bench.signer("1").await, bench.signer("2").await);
        let made = delegate(&bench, parent_of(&person, &helper)).await;
        let record = bench.signed(&person, &text, true).await;
        let ask = pb::DraftSignatureRequest {
            consent_record_id: record.consent_record_id.clone(),
            individual_id: String::new(),
            signature: Some(pb::Signature {
                verification_signed_as: "delegate".to_owned(),
                ..pb::Signature::default()
            }),
        };
        let mut other = ConsentRecordServiceClient::new(bench.person("2"));
        let drafted = other.draft_signature(ask).await.unwrap().into_inner().signature.unwrap();
        let attach = pb::AttachSignatureRequest {
            consent_record_id: record.consent_record_id.clone(),
            signature: Some(helper.sign(drafted)),
            ..pb::AttachSignatureRequest::default()
        };
        other.attach_signature(attach).await.unwrap();
        let revoke = pb::RevokeDelegationRequest {
            delegation_id: made.delegation_id,
            void: true,
            request_id: String::new(),
        };
        delegations(bench.admin()).revoke_delegation(revoke).await.unwrap();
        assert!(bench.check(&person.id, id, &[]).await.allowed, "the person signed it");
    }

    async fn delegates_do_what_their_delegation_says(db: TestDatabase) {
        let bench = bench(db).await;
        let (inside, outside) = (bench.agreement().await, bench.agreement().await);
        let (person, helper) = (bench.signer("1").await, bench.signer("2").await);
        let mut narrow = parent_of(&person, &helper);
        narrow.relationship = pb::DelegationRelationship::PowerOfAttorney.into();
        narrow.actions = vec![pb::DelegationAction::Withdraw.into()];
        narrow.scope_agreements = vec![inside.data_agreement_id.clone()];
        let narrow = delegate(&bench, narrow).await;
        let give = pair(&bench, ("2", &helper), &person, &inside).await;
        assert_eq!(reason(give.map(drop)), "DELEGATION_INVALID");
        let mut records = Vec::new();
        for text in [&inside, &outside] {
            records.push(bench.signed(&person, text, true).await.consent_record_id);
        }
        let withdraw = |record: &str| pb::ChangeConsentRecordRequest {
            consent_record_id: record.to_owned(),
            opt_in: Some(false),
            ..pb::ChangeConsentRecordRequest::default()
        };
        let mut own = ConsentRecordServiceClient::new(bench.person("2"));
        let refused = own.change_consent_record(withdraw(&records[1])).await;
        assert_eq!(reason(refused), "DELEGATION_INVALID");
        let done = own.change_consent_record(withdraw(&records[0])).await.unwrap().into_inner();
        assert_eq!(done.revision.unwrap().authorized_by_individual_id, helper.id);
        let list = pb::ListConsentRecordsRequest {
            individual_id: person.id.clone(),
            ..pb::ListConsentRecordsRequest::default()
        };
        assert_eq!(reason(own.list_consent_records(list).await), "NOT_YOURS", "no right to view");
        for refused in person_alone(&bench, &person, "2").await {
            assert_eq!(refused, "NOT_YOURS");
        }

        // Both see the delegation, others do not; the person takes back what they gave.
        let get = pb::GetDelegationRequest { delegation_id: narrow.delegation_id.clone() };
        for (subject, sees) in [("1", true), ("2", true), ("3", false)] {
            let answer = delegations(bench.person(subject)).get_delegation(get.clone()).await;
            assert_eq!(answer.is_ok(), sees, "{subject}");
        }
        let revoke = |void: bool| pb::RevokeDelegationRequest {
            delegation_id: narrow.delegation_id.clone(),
            void,
            request_id: String::new(),
        };
        let mut person_side = delegations(bench.person("1"));
        assert_eq!(reason(person_side.revoke_delegation(revoke(true)).await), "NOT_YOURS");
        let ended = person_side.revoke_delegation(revoke(false)).await.unwrap().into_inner();
        assert!(!ended.delegation.unwrap().active);
        let again = bench.change(&records[0], true).await.unwrap();
        assert_eq!(again.consent_record.unwrap().opt_in, Some(true));
        let refused = own.change_consent_record(withdraw(&records[0])).await;
        assert_eq!(reason(refused), "NOT_YOURS");
        let of = pb::ListDelegationsRequest {
            individual_id: person.id.clone(),
            ..pb::ListDelegationsRequest::default()
        };
        let all = delegations(bench.person("1")).list_delegations(of.clone()).await.unwrap();
        assert_eq!(all.into_inner().delegations.len(), 1);
        assert_eq!(reason(delegations(bench.person("2")).list_delegations(of).await), "NOT_YOURS");
    }

    async fn what_a_false_delegate_gave_counts_for_nothing(db: TestDatabase) {
        let bench = bench(db).await;
        let text = bench.agreement().await;
        let id = text.data_agreement_id.as_str();
        let child = child(&bench, "c", "2014-05-17").await;
        let parent = bench.signer("p").await;
        let made = delegate(&bench, parent_of(&child, &parent)).await;
        let signed = pair(&bench, ("p", &parent), &child, &text).await.unwrap();
        bench.records().sign_consent_record(signed).await.unwrap();
        assert!(bench.check(&child.id, id, &[]).await.allowed);
        let cursor = bench.checks().list_revocations(pb::ListRevocationsRequest::default()).await;
        let cursor = cursor.unwrap().into_inner().cursor;
        let revoke = pb::RevokeDelegationRequest {
            delegation_id: made.delegation_id,
            void: true,
            request_id: String::new(),
        };
        let mut dismissed = delegations(bench.person("c"));
        let refused = dismissed.revoke_delegation(revoke.clone()).await;
        assert_eq!(reason(refused), "NOT_YOURS", "a child does not dismiss its parents");
        delegations(bench.admin()).revoke_delegation(revoke).await.unwrap();
        let no = bench.check(&child.id, id, &[]).await;
        assert_eq!(
            no.reasons().collect::<Vec<_>>(),
            [pb::DecisionReason::DelegationInvalid]
        );
        let after = pb::ListRevocationsRequest { cursor, page_size: 0 };
        let after = bench.checks().list_revocations(after).await.unwrap().into_inner();
        assert_eq!(after.revocations.len(), 1);
        assert_eq!(after.revocations[0].cause(), pb::RevocationCause::DelegationEnded);
    }

    async fn nothing_rests_on_a_delegation_that_is_taken_back_meanwhile(db: TestDatabase) {
        let bench = bench(db).await;
        let text = bench.agreement().await;
        let id = text.data_agreement_id.as_str();
        let rounds = (0..16).map(|n| {
            let (bench, text) = (&bench, &text);
            async move {
                let (own, other) = (format!("h{n}"), format!("p{n}"));
                let (helper, person) = (bench.signer(&own).await, bench.signer(&other).await);
                let made = delegate(bench, parent_of(&person, &helper)).await;
                let signed = pair(bench, (&own, &helper), &person, text).await.unwrap();
                let revoke = pb::RevokeDelegationRequest {
                    delegation_id: made.delegation_id,
                    void: true,
                    request_id: String::new(),
                };
                let mut records = ConsentRecordServiceClient::new(bench.person(&own));
                let mut admin = delegations(bench.admin());
                let (answered, ended) = tokio::join!(
                    records.sign_consent_record(signed),
                    admin.revoke_delegation(revoke),
                );
                ended.unwrap();
                (person.id, answered)
            }
        });
        for (person, answered) in futures::future::join_all(rounds).await {
            // Either the answer came first and was marked, or it was refused.
            let decision = bench.check(&person, id, &[]).await;
            assert!(!decision.allowed, "{answered:?}");
            let reasons: Vec<_> = decision.reasons().collect();
            match answered {
                Ok(_) => assert_eq!(reasons, [pb::DecisionReason::DelegationInvalid]),
                Err(status) => {
                    // Which check found it first depends on when it was taken back.
                    let why = reason::<()>(Err(status));
                    let known = ["NOT_YOURS", "SIGNATURE_INVALID", "DELEGATION_INVALID"];
                    assert!(known.contains(&why.as_str()), "{why}");
                    assert_eq!(reasons, [pb::DecisionReason::NoRecord]);
                }
            }
        }
    }

    async fn ended_delegations_hide_none_that_holds(db: TestDatabase) {
        let bench = bench(db).await;
        let text = bench.agreement().await;
        let (person, helper) = (bench.signer("1").await, bench.signer("2").await);
        let mut client = delegations(bench.admin());
        let mut expected = Vec::new();
        for _ in 0..210 {
            let made = delegate(&bench, parent_of(&person, &helper)).await;
            let revoke = pb::RevokeDelegationRequest {
                delegation_id: made.delegation_id.clone(),
                ..pb::RevokeDelegationRequest::default()
            };
            client.revoke_delegation(revoke).await.unwrap();
            expected.push(made.delegation_id);
        }
        expected.push(delegate(&bench, parent_of(&person, &helper)).await.delegation_id);
        let signed = pair(&bench, ("2", &helper), &person, &text).await.unwrap();
        bench.records().sign_consent_record(signed).await.unwrap();
        for (individual_id, delegate_individual_id) in [
            (person.id.clone(), String::new()),
            (person.id.clone(), helper.id.clone()),
            (String::new(), helper.id.clone()),
        ] {
            let mut request = pb::ListDelegationsRequest {
                individual_id,
                delegate_individual_id,
                page_size: 80,
                ..pb::ListDelegationsRequest::default()
            };
            let mut found = Vec::new();
            loop {
                let page = client.list_delegations(request.clone()).await.unwrap().into_inner();
                assert!(page.delegations.len() <= 80);
                found.extend(page.delegations.into_iter().map(|one| one.delegation_id));
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    break;
                }
            }
            found.sort_unstable();
            let mut expected = expected.clone();
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
    }

    async fn unsound_delegations_are_refused(db: TestDatabase) {
        let bench = bench(db).await;
        let (one, two) = (bench.signer("1").await, bench.signer("2").await);
        let attempt = |delegation: pb::Delegation| {
            let mut client = delegations(bench.admin());
            async move {
                let delegation = Some(delegation);
                let request = pb::CreateDelegationRequest { delegation, request_id: String::new() };
                reason(client.create_delegation(request).await)
            }
        };
        let sound = parent_of(&one, &two);
        let nobody = pb::Delegation { individual_id: "nobody".to_owned(), ..sound.clone() };
        assert_eq!(attempt(nobody).await, "INDIVIDUAL_NOT_FOUND");
        let own = pb::Delegation { delegate_individual_id: one.id.clone(), ..sound.clone() };
        assert_eq!(attempt(own).await, "INVALID_FIELDS");
        let past = pb::Delegation {
            valid_until_time: Some(publica_rpc::timestamp(bench.clock_now())),
            ..sound.clone()
        };
        assert_eq!(attempt(past).await, "INVALID_FIELDS");
        for _ in 0..32 {
            delegate(&bench, sound.clone()).await;
        }
        assert_eq!(attempt(sound).await, "TOO_MANY_DELEGATIONS");
        let bad_birth = pb::CreateIndividualRequest {
            individual: Some(pb::Individual {
                birth_date: "17.05.2010".to_owned(),
                ..pb::Individual::default()
            }),
            request_id: String::new(),
        };
        assert_eq!(
            reason(bench.individuals().create_individual(bad_birth).await),
            "INVALID_FIELDS"
        );
    }
}
