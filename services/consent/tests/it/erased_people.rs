//! People who are erased as a whole: nothing opens any more, and no evidence of others is lost.

use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::consent_record_service_client::ConsentRecordServiceClient;
use publica_proto::consent::v1::delegation_service_client::DelegationServiceClient;
use publica_proto::consent::v1::individual_service_client::IndividualServiceClient;
use publica_proto::imports::v1::ImportEntitiesRequest;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_testkit::both_engines;
use serde_json::json;

use crate::support::{Bench, Signer, agreement, bench, reason};

fn erase(individual_id: &str) -> pb::EraseIndividualRequest {
    pb::EraseIndividualRequest {
        individual_id: individual_id.to_owned(),
        request_id: String::new(),
    }
}

async fn erased(bench: &Bench, individual_id: &str) -> (bool, i64, i64) {
    let mut people = bench.individuals();
    let answer = people.erase_individual(erase(individual_id)).await.unwrap();
    let answer = answer.into_inner();
    (
        answer.erased,
        answer.records_erased,
        answer.records_retained,
    )
}

/// A published agreement whose answers may be forgotten.
async fn forgettable(bench: &Bench) -> pb::DataAgreement {
    let mut one = agreement();
    one.forgettable = Some(true);
    bench.publish(one).await
}

fn opt_in(person: &str, agreement: &pb::DataAgreement) -> pb::CreateConsentRecordRequest {
    pb::CreateConsentRecordRequest {
        individual_id: person.to_owned(),
        data_agreement_id: agreement.data_agreement_id.clone(),
        ..pb::CreateConsentRecordRequest::default()
    }
}

/// Lets one person answer for another.
async fn delegate(bench: &Bench, person: &Signer, delegate: &Signer) -> String {
    let delegation = pb::Delegation {
        individual_id: person.id.clone(),
        delegate_individual_id: delegate.id.clone(),
        relationship: pb::DelegationRelationship::PowerOfAttorney.into(),
        authority_reference: "deed 7".to_owned(),
        actions: vec![
            pb::DelegationAction::Give.into(),
            pb::DelegationAction::View.into(),
        ],
        ..pb::Delegation::default()
    };
    let request = pb::CreateDelegationRequest {
        delegation: Some(delegation),
        request_id: String::new(),
    };
    let mut client = DelegationServiceClient::new(bench.admin());
    let made = client.create_delegation(request).await.unwrap();
    made.into_inner().delegation.unwrap().delegation_id
}

async fn chain(bench: &Bench, schema: pb::Schema, id: &str) -> (bool, i64, i64) {
    let request = pb::VerifyChainRequest {
        schema: schema.into(),
        object_id: id.to_owned(),
        ..pb::VerifyChainRequest::default()
    };
    let found = bench.revisions().verify_chain(request).await.unwrap();
    let found = found.into_inner();
    (found.intact, found.revisions, found.erased)
}

both_engines! {
    async fn whoever_is_erased_leaves_nothing_that_opens(db: TestDatabase) {
        let bench = bench(db).await;
        let (one, two) = (forgettable(&bench).await, bench.agreement().await);
        let (person, other) = (bench.signer("721").await, bench.signer("722").await);
        let signed = bench.signed(&person, &one, true).await;
        bench.records().create_consent_record(opt_in(&person.id, &two)).await.unwrap();
        let over = delegate(&bench, &person, &other).await;
        let held = delegate(&bench, &other, &person).await;

        for subject in ["722", "723"] {
            let mut strange = IndividualServiceClient::new(bench.person(subject));
            let refused = strange.erase_individual(erase(&person.id)).await;
            assert_eq!(reason(refused), "NOT_YOURS", "{subject}");
        }
        let mut own = IndividualServiceClient::new(bench.person("721"));
        let done = own.erase_individual(erase(&person.id)).await.unwrap().into_inner();
        assert_eq!((done.erased, done.records_erased, done.records_retained), (true, 2, 0));
        assert_eq!(erased(&bench, &person.id).await, (true, 0, 0));
        let forget = pb::EraseConsentRecordsRequest {
            individual_id: person.id.clone(),
            request_id: String::new(),
        };
        let again = bench.records().erase_consent_records(forget).await.unwrap().into_inner();
        assert_eq!((again.erased, again.retained), (0, 0));

        // Nobody is there any more, and whatever is left proves that it was whole.
        let get = pb::GetIndividualRequest { individual_id: person.id.clone() };
        assert_eq!(reason(bench.individuals().get_individual(get).await), "INDIVIDUAL_NOT_FOUND");
        let decision = bench.check(&person.id, &one.data_agreement_id, &[]).await;
        assert_eq!(decision.reasons().collect::<Vec<_>>(), [
            pb::DecisionReason::IndividualUnknown
        ]);
        let refused = bench.records().create_consent_record(opt_in(&person.id, &one)).await;
        assert_eq!(reason(refused), "INDIVIDUAL_NOT_FOUND");
        let record = chain(&bench, pb::Schema::ConsentRecord, &signed.consent_record_id).await;
        assert_eq!(record, (true, 2, 2));
        assert_eq!(chain(&bench, pb::Schema::Delegation, &over).await, (true, 1, 1));
        // What was to be done for others has ended, and stays theirs.
        assert_eq!(chain(&bench, pb::Schema::Delegation, &held).await, (true, 2, 0));
        let get = pb::GetDelegationRequest { delegation_id: held };
        let mut delegations = DelegationServiceClient::new(bench.admin());
        let held = delegations.get_delegation(get).await.unwrap().into_inner();
        assert!(held.delegation.unwrap().revoke_time.is_some());
        let get = pb::GetDelegationRequest { delegation_id: over };
        assert_eq!(reason(delegations.get_delegation(get).await), "DELEGATION_NOT_FOUND");
    }

    async fn an_erased_id_is_not_given_again(db: TestDatabase) {
        let bench = bench(db).await;
        let person = bench.signer("731").await;
        assert_eq!(erased(&bench, &person.id).await, (true, 0, 0));
        // The same human being may come again, as somebody new.
        let again = bench.signer("731").await;
        assert_ne!(again.id, person.id);
        let taken = pb::Individual {
            individual_id: person.id.clone(),
            ..pb::Individual::default()
        };
        let create = pb::CreateIndividualRequest {
            individual: Some(taken.clone()),
            request_id: String::new(),
        };
        let made = bench.individuals().create_individual(create).await.unwrap().into_inner();
        assert_ne!(made.individual.unwrap().individual_id, person.id);
        let many = pb::BatchCreateIndividualsRequest {
            individuals: vec![pb::IndividualWithKeys {
                individual: Some(taken),
                jwks: Vec::new(),
            }],
            request_id: String::new(),
        };
        let refused = bench.individuals().batch_create_individuals(many).await;
        assert_eq!(reason(refused), "INDIVIDUAL_EXISTS");
        let line = ImportEntitiesRequest {
            kind: "consent.individual".to_owned(),
            json: json!({ "id": person.id }).to_string().into_bytes().into(),
            line: 1,
        };
        let mut imports = ImportServiceClient::new(bench.admin());
        let answer = imports.import_entities(futures::stream::iter([line])).await.unwrap();
        let answer = answer.into_inner();
        assert_eq!((answer.accepted, answer.problems[0].field.as_str()), (0, "id"));
        let list = pb::ListIndividualsRequest { include_total: true, ..Default::default() };
        let all = bench.individuals().list_individuals(list).await.unwrap().into_inner();
        assert_eq!((all.individuals.len(), all.total_size), (2, Some(2)));
        let nobody = bench.individuals().erase_individual(erase("nobody")).await;
        assert_eq!(reason(nobody), "INDIVIDUAL_NOT_FOUND");
    }

    async fn evidence_keeps_whose_it_is(db: TestDatabase) {
        let bench = bench(db).await;
        let (kept, gone) = (bench.agreement().await, forgettable(&bench).await);
        let person = bench.signer("741").await;
        let record = bench.signed(&person, &kept, true).await.consent_record_id;
        bench.signed(&person, &gone, true).await;
        for records in [1, 0] {
            assert_eq!(erased(&bench, &person.id).await, (false, records, 1));
            let get = pb::GetIndividualRequest { individual_id: person.id.clone() };
            let shown = bench.individuals().get_individual(get).await.unwrap().into_inner();
            assert_eq!(shown.individual.unwrap().external_id, "741");
            let found = bench.chain(&record).await;
            assert_eq!((found.intact, found.erased, found.signatures), (true, 0, 1));
            assert!(!bench.check(&person.id, &kept.data_agreement_id, &[]).await.allowed);
        }
    }

    async fn a_delegates_signature_outlives_the_delegate(db: TestDatabase) {
        let bench = bench(db).await;
        let kept = bench.agreement().await;
        let (person, helper) = (bench.signer("751").await, bench.signer("752").await);
        delegate(&bench, &person, &helper).await;
        let mut own = ConsentRecordServiceClient::new(bench.person("752"));
        let draft = pb::DraftConsentRecordRequest {
            individual_id: person.id.clone(),
            data_agreement_id: kept.data_agreement_id.clone(),
            ..pb::DraftConsentRecordRequest::default()
        };
        let drafted = own.draft_consent_record(draft).await.unwrap().into_inner();
        let pair = pb::SignConsentRecordRequest {
            consent_record: drafted.consent_record,
            signature: Some(helper.sign(drafted.signature.unwrap())),
            request_id: String::new(),
        };
        let stored = own.sign_consent_record(pair).await.unwrap().into_inner();
        let record = stored.consent_record.unwrap().consent_record_id;
        assert_eq!(erased(&bench, &helper.id).await, (true, 0, 0));
        let found = bench.chain(&record).await;
        assert_eq!((found.intact, found.signatures), (true, 1), "{found:?}");
        let get = pb::GetConsentRecordRequest {
            consent_record_id: record,
            ..pb::GetConsentRecordRequest::default()
        };
        let shown = bench.records().get_consent_record(get).await.unwrap().into_inner();
        assert!(shown.consent_record.unwrap().reconfirmation_due);
    }

    async fn nobody_answers_while_they_are_erased(db: TestDatabase) {
        let bench = bench(db).await;
        let text = bench.agreement().await;
        for n in 0..12 {
            let person = bench.signer(&format!("76{n}")).await;
            let mut records = bench.records();
            let answer = records.create_consent_record(opt_in(&person.id, &text));
            let (answered, gone) = tokio::join!(answer, erased(&bench, &person.id));
            assert!(gone.0 && gone.2 == 0, "{gone:?}");
            if answered.is_ok() {
                assert_eq!(gone.1, 1, "what was answered before is erased");
            } else {
                assert_eq!(reason(answered), "INDIVIDUAL_NOT_FOUND");
                assert_eq!(gone.1, 0);
            }
            let list = pb::ListConsentRecordsRequest {
                individual_id: person.id.clone(),
                ..pb::ListConsentRecordsRequest::default()
            };
            let left = bench.records().list_consent_records(list).await.unwrap().into_inner();
            assert_eq!(left.consent_records, []);
        }
    }
}
