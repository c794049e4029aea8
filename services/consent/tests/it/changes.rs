//! New answers to records: what a yes keeps, when it renews, and which text it may answer.

use aws_lc_rs::digest::{SHA256, digest};
use publica_jose::{Protected, sign_jws};
use publica_proto::consent::v1 as pb;
use publica_testkit::both_engines;
use serde_json::{Value, json};

use crate::support::{Bench, Signer, agreement, bench, reason};

fn yes(record_id: &str) -> pb::ChangeConsentRecordRequest {
    pb::ChangeConsentRecordRequest {
        consent_record_id: record_id.to_owned(),
        opt_in: Some(true),
        ..pb::ChangeConsentRecordRequest::default()
    }
}

async fn change(bench: &Bench, request: pb::ChangeConsentRecordRequest) -> pb::ConsentRecord {
    let changed = bench.records().change_consent_record(request).await;
    changed.unwrap().into_inner().consent_record.unwrap()
}

fn without_income() -> Vec<pb::AttributeChoice> {
    vec![pb::AttributeChoice {
        attribute: "income".to_owned(),
        granted: false,
    }]
}

/// A yes to whose text the person adds a time of their own, signed.
async fn dated(
    bench: &Bench,
    signer: &Signer,
    agreement: &pb::DataAgreement,
    (member, seconds): (&str, u64),
) -> pb::SignConsentRecordRequest {
    let mut pair = bench.pair(signer, agreement, true).await;
    let time = bench
        .clock_now()
        .plus(std::time::Duration::from_secs(seconds));
    let (record, signature) = (
        pair.consent_record.as_mut().unwrap(),
        pair.signature.as_mut().unwrap(),
    );
    let told = Some(publica_rpc::timestamp(time));
    match member {
        "validFrom" => record.valid_from_time = told,
        _ => record.valid_until_time = told,
    }
    let mut snapshot: Value = serde_json::from_str(&signature.verification_payload).unwrap();
    snapshot["objectData"][member] = json!(time);
    signature.verification_payload = snapshot.to_string();
    let mut payload: Value = serde_json::from_str(&signature.payload).unwrap();
    let hash = hex::encode(digest(&SHA256, signature.verification_payload.as_bytes()));
    payload["verificationPayload"] = json!(signature.verification_payload);
    payload["verificationPayloadHash"] = json!(hash);
    signature.verification_payload_hash = hash;
    signature.payload = payload.to_string();
    let token = sign_jws(&signer.key, Protected::new(), signature.payload.as_bytes());
    signature.signature = token.unwrap();
    pair
}

/// A yes that the person ends themselves, stored.
async fn until(
    bench: &Bench,
    signer: &Signer,
    agreement: &pb::DataAgreement,
    seconds: u64,
) -> pb::ConsentRecord {
    let pair = dated(bench, signer, agreement, ("validUntil", seconds)).await;
    let stored = bench
        .records()
        .sign_consent_record(pair)
        .await
        .unwrap()
        .into_inner();
    stored.consent_record.unwrap()
}

both_engines! {
    async fn answers_of_many_begin_when_each_was_signed_to(db: TestDatabase) {
        let bench = bench(db).await;
        let text = bench.agreement().await;
        let id = text.data_agreement_id.as_str();
        let (later, now) = (bench.signer("1").await, bench.signer("2").await);
        let pair = dated(&bench, &later, &text, ("validFrom", 3_600)).await;
        let begins = pair.consent_record.as_ref().unwrap().valid_from_time;
        let request = pb::BatchSignConsentRecordsRequest {
            records: vec![pair, bench.pair(&now, &text, true).await],
            request_id: String::new(),
        };
        let stored = bench.records().batch_sign_consent_records(request).await.unwrap();
        let stored = stored.into_inner();
        assert_eq!(stored.stored, 2, "{stored:?}");
        let get = pb::GetConsentRecordRequest {
            consent_record_id: stored.results[0].consent_record_id.clone(),
            ..pb::GetConsentRecordRequest::default()
        };
        let shown = bench.records().get_consent_record(get).await.unwrap().into_inner();
        assert_eq!(shown.consent_record.unwrap().valid_from_time, begins);
        assert!(bench.chain(&stored.results[0].consent_record_id).await.intact);
        let early = bench.check(&later.id, id, &[]).await;
        assert_eq!(early.reasons().collect::<Vec<_>>(), [pb::DecisionReason::NotYetValid]);
        assert!(bench.check(&now.id, id, &[]).await.allowed);
        bench.pass(3_600);
        assert!(bench.check(&later.id, id, &[]).await.allowed);
    }

    async fn an_ended_answer_is_changed_and_not_made_anew(db: TestDatabase) {
        let bench = bench(db).await;
        let mut short = agreement();
        short.validity_days = Some(1);
        let short = bench.publish(short).await;
        let id = short.data_agreement_id.as_str();
        let signer = bench.signer("1").await;
        let create = pb::CreateConsentRecordRequest {
            individual_id: signer.id.clone(),
            data_agreement_id: id.to_owned(),
            ..pb::CreateConsentRecordRequest::default()
        };
        let made = bench.records().create_consent_record(create.clone()).await.unwrap();
        let made = made.into_inner().consent_record.unwrap().consent_record_id;
        // One record for one text and one person, whatever became of the answer.
        bench.pass(86_400);
        assert!(!bench.check(&signer.id, id, &[]).await.allowed, "it has ended");
        for opt_in in [None, Some(false)] {
            if let Some(opt_in) = opt_in {
                bench.change(&made, opt_in).await.unwrap();
            }
            let again = bench.records().create_consent_record(create.clone()).await;
            assert_eq!(reason(again), "RECORD_EXISTS");
            let pair = bench.pair(&signer, &short, true).await;
            let again = bench.records().sign_consent_record(pair).await;
            assert_eq!(reason(again), "RECORD_EXISTS");
            let renewed = change(&bench, yes(&made)).await;
            assert_eq!(renewed.consent_record_id, made);
            assert!(bench.check(&signer.id, id, &[]).await.allowed);
        }
    }

    async fn a_bare_yes_keeps_what_was_chosen(db: TestDatabase) {
        let bench = bench(db).await;
        let text = bench.agreement().await;
        let agreement_id = text.data_agreement_id.as_str();
        let signer = bench.signer("1").await;
        let pair = bench.pair_with(&signer, &text, true, without_income()).await;
        let stored = bench.records().sign_consent_record(pair).await.unwrap().into_inner();
        let id = stored.consent_record.unwrap().consent_record_id;
        let granted = async || bench.check(&signer.id, agreement_id, &[]).await.granted_attributes;
        assert_eq!(granted().await, ["name"]);
        // The same bare yes is no change at all.
        let same = change(&bench, yes(&id)).await;
        assert_eq!((same.state(), same.attributes.len()), (pb::RecordState::Signed, 1));
        bench.change(&id, false).await.unwrap();
        let again = change(&bench, yes(&id)).await;
        assert_eq!(again.attributes.len(), 1);
        assert_eq!(granted().await, ["name"]);
        let all = change(&bench, pb::ChangeConsentRecordRequest { grant_all: true, ..yes(&id) });
        assert!(all.await.attributes.is_empty());
        assert_eq!(granted().await, ["name", "income"]);
        let narrow = pb::ChangeConsentRecordRequest {
            attributes: without_income(),
            ..yes(&id)
        };
        change(&bench, narrow).await;
        assert_eq!(granted().await, ["name"]);
        let chain = bench.chain(&id).await;
        assert!(chain.intact, "{chain:?}");
        assert_eq!(chain.revisions, 5);
    }

    async fn a_yes_keeps_the_end_that_the_person_set(db: TestDatabase) {
        let bench = bench(db).await;
        let mut limited = agreement();
        limited.validity_days = Some(30);
        let text = bench.publish(limited).await;
        let signer = bench.signer("1").await;
        let record = until(&bench, &signer, &text, 3_600).await;
        let end = record.valid_until_time.unwrap();
        let id = record.consent_record_id.as_str();
        bench.pass(60);
        bench.change(id, false).await.unwrap();
        bench.pass(60);
        let again = change(&bench, yes(id)).await;
        assert_eq!(again.valid_until_time.unwrap(), end);
        assert!(bench.chain(id).await.intact);
        bench.pass(3_600);
        assert!(!bench.check(&signer.id, &text.data_agreement_id, &[]).await.allowed);
        // It has passed, so a new yes lasts as long as the agreement lets it.
        let renewed = change(&bench, yes(id)).await;
        let days = renewed.valid_until_time.unwrap().seconds
            - publica_rpc::timestamp(bench.clock_now()).seconds;
        assert_eq!(days, 30 * 86_400);
        assert!(bench.chain(id).await.intact);
    }

    async fn a_yes_that_ended_is_renewed(db: TestDatabase) {
        let bench = bench(db).await;
        let mut limited = agreement();
        limited.validity_days = Some(1);
        let text = bench.publish(limited).await;
        let agreement_id = text.data_agreement_id.as_str();
        let signer = bench.signer("1").await;
        let record = bench.signed(&signer, &text, true).await;
        let id = record.consent_record_id.as_str();
        bench.pass(86_400);
        let no = bench.check(&signer.id, agreement_id, &[]).await;
        assert_eq!(no.reasons().collect::<Vec<_>>(), [pb::DecisionReason::Expired]);
        let renewed = change(&bench, yes(id)).await;
        assert_eq!(renewed.effective_status(), pb::EffectiveStatus::Given);
        assert_ne!(renewed.revision_id, record.revision_id);
        assert!(bench.check(&signer.id, agreement_id, &[]).await.allowed);
        let again = change(&bench, yes(id)).await;
        assert_eq!(again.revision_id, renewed.revision_id, "one that holds is left as it is");
        let chain = bench.chain(id).await;
        assert!(chain.intact && chain.revisions == 2, "{chain:?}");
    }

    async fn nobody_says_yes_to_a_text_that_was_replaced(db: TestDatabase) {
        let bench = bench(db).await;
        let text = bench.agreement().await;
        let signer = bench.signer("1").await;
        let record = bench.signed(&signer, &text, true).await;
        let id = record.consent_record_id.as_str();
        let mut next = text.clone();
        "Something else altogether".clone_into(&mut next.purpose);
        let request = pb::ReplaceDataAgreementRequest {
            data_agreement: Some(next),
            publish: true,
            ..pb::ReplaceDataAgreementRequest::default()
        };
        bench.agreements().replace_data_agreement(request).await.unwrap();
        assert_eq!(reason(bench.change(id, true).await), "REVISION_SUPERSEDED");
        bench.change(id, false).await.unwrap();
        assert_eq!(reason(bench.change(id, true).await), "REVISION_SUPERSEDED");
        assert!(!bench.check(&signer.id, &text.data_agreement_id, &[]).await.allowed);
        assert_eq!(bench.chain(id).await.revisions, 2);
    }
}
