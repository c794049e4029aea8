//! Consent records: drafted, signed, changed, listed; one by one and in bulk.

use std::collections::BTreeSet;

use publica_jose::{Alg, JwkSet, Protected, SigningKey, sign_jws, verify_jws};
use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::consent_record_service_client::ConsentRecordServiceClient;
use publica_testkit::both_engines;
use publica_types::SystemEntropy;

use crate::support::{agreement, bench, bench_with, reason};

both_engines! {
    async fn a_pair_is_drafted_signed_and_stored(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let signer = bench.signer("1").await;
        let pair = bench.pair(&signer, &agreement, true).await;
        assert!(pair.consent_record.as_ref().unwrap().consent_record_id.is_empty());
        let stored = bench.records().sign_consent_record(pair.clone()).await.unwrap().into_inner();
        let (record, revision) = (stored.consent_record.unwrap(), stored.revision.unwrap());
        assert_eq!(record.state(), pb::RecordState::Signed);
        assert_eq!(record.effective_status(), pb::EffectiveStatus::Given);
        assert!(revision.signed_without_object_id);
        let signed = pair.signature.as_ref().unwrap();
        assert_eq!(revision.serialized_snapshot, signed.verification_payload);
        assert_eq!(revision.authorized_by_individual_id, signer.id);

        bench.pass(100);
        let again = bench.records().sign_consent_record(pair.clone()).await.unwrap();
        let again = again.into_inner();
        assert_eq!(again.consent_record.unwrap().create_time, record.create_time);
        let other = bench.pair(&signer, &agreement, false).await;
        assert_eq!(reason(bench.records().sign_consent_record(other).await), "RECORD_EXISTS");

        let get = pb::GetConsentRecordRequest {
            consent_record_id: record.consent_record_id.clone(),
            view: pb::RecordView::Full.into(),
            ..pb::GetConsentRecordRequest::default()
        };
        let shown = bench.records().get_consent_record(get).await.unwrap().into_inner();
        let shown = shown.consent_record.unwrap();
        let signature = shown.signature.unwrap();
        assert_eq!(signature.payload, signed.payload);
        assert_eq!(signature.verification_payload, signed.verification_payload);
        assert_eq!(signature.object_reference, revision.revision_id);
        assert_eq!(shown.data_agreement.unwrap().purpose, agreement.purpose);
        assert_eq!(
            shown.data_agreement_revision.unwrap().serialized_hash,
            shown.data_agreement_revision_hash
        );
        let chain = bench.chain(&record.consent_record_id).await;
        assert!(chain.intact, "{chain:?}");
        assert_eq!((chain.revisions, chain.signatures), (1, 1));
    }

    async fn what_is_not_signed_right_is_not_stored(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let signer = bench.signer("1").await;
        let stranger = bench.signer("2").await;
        let good = bench.pair(&signer, &agreement, true).await;
        let edit = |change: &dyn Fn(&mut pb::ConsentRecord, &mut pb::Signature)| {
            let mut pair = good.clone();
            let (record, signature) =
                (pair.consent_record.as_mut().unwrap(), pair.signature.as_mut().unwrap());
            change(record, signature);
            pair
        };
        let none = "eyJhbGciOiJub25lIn0.e30.";
        for (pair, expected) in [
            (edit(&|_, s| *s = stranger.sign(s.clone())), "SIGNATURE_INVALID"),
            (edit(&|_, s| s.signature = none.to_owned()), "SIGNATURE_INVALID"),
            (edit(&|_, s| s.signature.clear()), "SIGNATURE_INVALID"),
            (edit(&|_, s| s.verification_payload.push(' ')), "SIGNATURE_INVALID"),
            (edit(&|_, s| s.verification_method = "pgp".to_owned()), "SIGNATURE_INVALID"),
            (edit(&|_, s| s.verification_signed_as = "delegate".to_owned()), "SIGNATURE_INVALID"),
            (edit(&|r, _| r.opt_in = Some(false)), "SIGNATURE_INVALID"),
            (edit(&|r, _| r.individual_id.clone_from(&stranger.id)), "SIGNATURE_INVALID"),
            (edit(&|r, _| r.data_agreement_revision_hash = "00".to_owned()), "HASH_MISMATCH"),
            (
                edit(&|r, _| r.data_agreement_revision_id.clone_from(
                    &agreement.policy_revision_id)),
                "REVISION_MISMATCH",
            ),
            (edit(&|r, _| r.data_agreement_id = "none".to_owned()), "AGREEMENT_NOT_FOUND"),
            (edit(&|r, _| r.individual_id = "none".to_owned()), "INDIVIDUAL_NOT_FOUND"),
            (edit(&|r, _| r.individual_id = "a/b".to_owned()), "INVALID_FIELDS"),
            (edit(&|r, _| r.opt_in = None), "INVALID_FIELDS"),
        ] {
            let refused = bench.records().sign_consent_record(pair).await;
            assert_eq!(reason(refused), expected);
        }
        bench.pass(301);
        let late = bench.records().sign_consent_record(good).await;
        assert_eq!(reason(late), "SIGNATURE_INVALID");
        let all = pb::ListConsentRecordsRequest::default();
        let all = bench.records().list_consent_records(all).await.unwrap().into_inner();
        assert!(all.consent_records.is_empty());
    }

    async fn an_unsigned_yes_is_signed_later(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let signer = bench.signer("712").await;
        let mut own = ConsentRecordServiceClient::new(bench.person("712"));
        let request = pb::CreateConsentRecordRequest {
            individual_id: signer.id.clone(),
            data_agreement_id: agreement.data_agreement_id.clone(),
            ..pb::CreateConsentRecordRequest::default()
        };
        let made = own.create_consent_record(request.clone()).await.unwrap().into_inner();
        let record = made.consent_record.unwrap();
        assert_eq!(record.state(), pb::RecordState::Unsigned);
        assert_eq!(record.opt_in, Some(true));
        assert_eq!(made.revision.unwrap().authorized_by_individual_id, signer.id);
        assert_eq!(reason(own.create_consent_record(request).await), "RECORD_EXISTS");

        let draft = pb::DraftSignatureRequest {
            consent_record_id: record.consent_record_id.clone(),
            ..pb::DraftSignatureRequest::default()
        };
        let drafted = own.draft_signature(draft.clone()).await.unwrap().into_inner();
        let drafted = drafted.signature.unwrap();
        assert_eq!(drafted.object_reference, record.revision_id);
        let attach = |signature: pb::Signature| pb::AttachSignatureRequest {
            consent_record_id: record.consent_record_id.clone(),
            signature: Some(signature),
            ..pb::AttachSignatureRequest::default()
        };
        let stale = attach(signer.sign(drafted.clone()));
        bench.change(&record.consent_record_id, false).await.unwrap();
        assert_eq!(reason(own.attach_signature(stale).await), "REVISION_SUPERSEDED");
        bench.change(&record.consent_record_id, true).await.unwrap();
        let drafted = own.draft_signature(draft).await.unwrap().into_inner().signature.unwrap();
        let signed = attach(signer.sign(drafted));
        let done = own.attach_signature(signed.clone()).await.unwrap().into_inner();
        assert_eq!(done.consent_record.unwrap().state(), pb::RecordState::Signed);
        assert_eq!(reason(own.attach_signature(signed).await), "ALREADY_SIGNED");
        let chain = bench.chain(&record.consent_record_id).await;
        assert!(chain.intact, "{chain:?}");
        assert_eq!((chain.revisions, chain.signatures), (3, 1));
    }

    async fn changes_are_chained_and_unsigned(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let signer = bench.signer("1").await;
        let record = bench.signed(&signer, &agreement, true).await;
        let id = record.consent_record_id.as_str();
        bench.pass(10);
        let off = bench.change(id, false).await.unwrap();
        let (shown, revision) = (off.consent_record.unwrap(), off.revision.unwrap());
        assert_eq!(shown.state(), pb::RecordState::Unsigned);
        assert_eq!(shown.effective_status(), pb::EffectiveStatus::Withdrawn);
        assert_eq!(revision.predecessor_id, record.revision_id);
        assert!(!revision.predecessor_signature.is_empty());
        assert!(!revision.signed_without_object_id);
        let same = bench.change(id, false).await.unwrap();
        assert_eq!(same.revision.unwrap().revision_id, revision.revision_id);
        let chain = bench.chain(id).await;
        assert!(chain.intact, "{chain:?}");
        assert_eq!(chain.revisions, 2);
        let none = pb::ChangeConsentRecordRequest {
            consent_record_id: id.to_owned(),
            ..pb::ChangeConsentRecordRequest::default()
        };
        let refused = bench.records().change_consent_record(none).await;
        assert_eq!(reason(refused), "INVALID_FIELDS");
        assert_eq!(reason(bench.change("unknown", false).await), "RECORD_NOT_FOUND");
        let stale = pb::ChangeConsentRecordRequest {
            consent_record_id: id.to_owned(),
            opt_in: Some(true),
            etag: record.revision_id,
            ..pb::ChangeConsentRecordRequest::default()
        };
        assert_eq!(reason(bench.records().change_consent_record(stale).await), "CONFLICT");
    }

    async fn a_refusal_is_stored_as_one(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let signer = bench.signer("1").await;
        let record = bench.signed(&signer, &agreement, false).await;
        assert_eq!(record.opt_in, Some(false));
        assert_eq!(record.effective_status(), pb::EffectiveStatus::Refused);
        let verdict = bench.check(&signer.id, &agreement.data_agreement_id, &[]).await;
        assert_eq!(verdict.reasons().collect::<Vec<_>>(), [pb::DecisionReason::Refused]);
    }

    async fn the_same_pair_at_once_is_one_record(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let signer = bench.signer("1").await;
        let pair = bench.pair(&signer, &agreement, true).await;
        let other = bench.pair(&signer, &agreement, false).await;
        let calls = (0..16).map(|n| {
            let mut client = bench.records();
            let pair = if n % 4 == 0 { other.clone() } else { pair.clone() };
            async move { client.sign_consent_record(pair).await }
        });
        let mut ids = BTreeSet::new();
        let mut refused = 0;
        for answer in futures::future::join_all(calls).await {
            match answer {
                Ok(answer) => {
                    ids.insert(answer.into_inner().consent_record.unwrap().consent_record_id);
                }
                Err(status) => {
                    assert_eq!(reason::<()>(Err(status)), "RECORD_EXISTS");
                    refused += 1;
                }
            }
        }
        assert_eq!(ids.len(), 1);
        assert!(refused >= 4);
        let id = ids.pop_first().unwrap();
        assert_eq!(bench.chain(&id).await.revisions, 1);
    }

    async fn grants_and_withdrawals_at_once_stay_linear(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let signer = bench.signer("1").await;
        let record = bench.signed(&signer, &agreement, true).await;
        let id = record.consent_record_id.as_str();
        let calls = (0..24).map(|n| bench.change(id, n % 2 == 1));
        for answer in futures::future::join_all(calls).await {
            if let Err(status) = answer {
                assert_eq!(reason::<()>(Err(status)), "CONFLICT");
            }
        }
        let chain = bench.chain(id).await;
        assert!(chain.intact, "{chain:?}");
        let all = pb::ListConsentRecordsRequest {
            individual_id: signer.id.clone(),
            current_only: true,
            ..pb::ListConsentRecordsRequest::default()
        };
        let all = bench.records().list_consent_records(all).await.unwrap().into_inner();
        assert_eq!(all.consent_records.len(), 1);
        assert_eq!(all.consent_records[0].revision_id, chain.head_revision_id);
        let allowed = bench.check(&signer.id, &agreement.data_agreement_id, &[]).await.allowed;
        assert_eq!(Some(allowed), all.consent_records[0].opt_in);
    }

    async fn a_batch_stores_each_or_says_why(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let mut records = Vec::new();
        let mut signers = Vec::new();
        for n in 0..20 {
            let signer = bench.signer(&n.to_string()).await;
            records.push(bench.pair(&signer, &agreement, n != 7).await);
            signers.push(signer);
        }
        let twice = records[3].clone();
        let stranger = signers[5].sign(records[6].signature.clone().unwrap());
        records[6].signature = Some(stranger);
        records.push(twice);
        let mut nobody = records[2].clone();
        nobody.consent_record.as_mut().unwrap().individual_id = "nobody".to_owned();
        records.push(nobody);
        let request =
            pb::BatchSignConsentRecordsRequest { records, request_id: "batch-1".to_owned() };
        let mut client = bench.records();
        let answer = client.batch_sign_consent_records(request.clone()).await.unwrap();
        let answer = answer.into_inner();
        assert_eq!(answer.stored, 19);
        assert_eq!(answer.results[6].reason, "SIGNATURE_INVALID");
        assert_eq!(answer.results[20].reason, "RECORD_EXISTS");
        assert_eq!(answer.results[21].reason, "SIGNATURE_INVALID");
        let again = client.batch_sign_consent_records(request.clone()).await.unwrap();
        assert_eq!(again.into_inner(), answer);
        let mut renamed = request;
        renamed.request_id = "batch-2".to_owned();
        let third = client.batch_sign_consent_records(renamed).await.unwrap().into_inner();
        assert_eq!(third.results[0], answer.results[0]);
        assert_eq!(third.stored, 20);
        for n in [0, 7] {
            let chain = bench.chain(&answer.results[n].consent_record_id).await;
            assert!(chain.intact, "{chain:?}");
            assert_eq!((chain.revisions, chain.signatures), (1, 1));
        }
        let id = agreement.data_agreement_id.as_str();
        assert!(bench.check(&signers[0].id, id, &["name"]).await.allowed);
        assert!(!bench.check(&signers[7].id, id, &["name"]).await.allowed);
        assert!(!bench.check(&signers[6].id, id, &["name"]).await.allowed);
    }

    async fn both_must_sign_where_the_agreement_says_so(db: TestDatabase) {
        let bench = bench(db).await;
        let mut two = agreement();
        two.required_signatures = vec!["individual".to_owned(), "delegate".to_owned()];
        let two = bench.publish(two).await;
        let signer = bench.signer("1").await;
        let record = bench.signed(&signer, &two, true).await;
        assert_eq!(record.state(), pb::RecordState::PendingMoreSignatures);
        let verdict = bench.check(&signer.id, &two.data_agreement_id, &[]).await;
        assert_eq!(verdict.reasons().collect::<Vec<_>>(), [
            pb::DecisionReason::PendingSignatures
        ]);
    }

    async fn people_answer_for_themselves_alone(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let signer = bench.signer("712").await;
        let record = bench.signed(&signer, &agreement, true).await;
        let id = record.consent_record_id.clone();
        let mut other = ConsentRecordServiceClient::new(bench.person("713"));
        let get = pb::GetConsentRecordRequest {
            consent_record_id: id.clone(),
            ..pb::GetConsentRecordRequest::default()
        };
        assert_eq!(reason(other.get_consent_record(get.clone()).await), "NOT_YOURS");
        let list = pb::ListConsentRecordsRequest {
            individual_id: signer.id.clone(),
            ..pb::ListConsentRecordsRequest::default()
        };
        assert_eq!(reason(other.list_consent_records(list.clone()).await), "NOT_YOURS");
        let change = pb::ChangeConsentRecordRequest {
            consent_record_id: id.clone(),
            opt_in: Some(false),
            ..pb::ChangeConsentRecordRequest::default()
        };
        assert_eq!(reason(other.change_consent_record(change.clone()).await), "NOT_YOURS");
        let all = pb::ListConsentRecordsRequest::default();
        assert_eq!(reason(other.list_consent_records(all).await), "INVALID_FIELDS");
        let pair = bench.pair(&signer, &agreement, false).await;
        assert_eq!(reason(other.sign_consent_record(pair).await), "NOT_YOURS");
        let mut own = ConsentRecordServiceClient::new(bench.person("712"));
        let by_subject = pb::GetConsentRecordRequest {
            individual_id: "712".to_owned(),
            data_agreement_id: agreement.data_agreement_id.clone(),
            ..pb::GetConsentRecordRequest::default()
        };
        let found = own.get_consent_record(by_subject).await.unwrap().into_inner();
        assert_eq!(found.consent_record.unwrap().consent_record_id, id);
        own.get_consent_record(get).await.unwrap();
        assert_eq!(own.list_consent_records(list).await.unwrap().into_inner()
            .consent_records.len(), 1);
        let done = own.change_consent_record(change).await.unwrap().into_inner();
        assert_eq!(done.revision.unwrap().authorized_by_individual_id, signer.id);
    }

    async fn tokens_of_the_identity_provider_sign_too(db: TestDatabase) {
        let provider = SigningKey::generate(Alg::Es256, &SystemEntropy).unwrap();
        let mut keys = JwkSet::default();
        keys.push(provider.public_jwk().clone().with_kid(provider.kid()));
        let bench = bench_with(db, |config| {
            config.identity_providers = vec![publica_consent::ProviderConfig {
                issuer: "https://id.example".to_owned(),
                audience: "consent".to_owned(),
                jwks: keys.to_value().to_string(),
            }];
        })
        .await;
        let agreement = bench.agreement().await;
        let signer = bench.signer("712").await;
        let mut pair = bench.pair(&signer, &agreement, true).await;
        let signature = pair.signature.as_mut().unwrap();
        "oidc-token".clone_into(&mut signature.verification_method);
        signature.payload = signature.payload.replace("\"jws\"", "\"oidc-token\"");
        let digest = |text: &str| {
            hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()))
        };
        let nonce = digest(&signature.payload);
        let token = |sub: &str, nonce: &str| {
            let claims = serde_json::json!({
                "iss": "https://id.example", "aud": "consent", "sub": sub, "nonce": nonce,
                "iat": 1_800_000_000, "exp": 1_800_000_300,
            });
            let header = Protected::new().typ("JWT");
            sign_jws(&provider, header, claims.to_string().as_bytes()).unwrap()
        };
        for bad in [token("713", &nonce), token("712", "other"), "x.y.z".to_owned()] {
            let mut pair = pair.clone();
            pair.signature.as_mut().unwrap().signature = bad;
            let refused = bench.records().sign_consent_record(pair).await;
            assert_eq!(reason(refused), "SIGNATURE_INVALID");
        }
        pair.signature.as_mut().unwrap().signature = token("712", &nonce);
        let done = bench.records().sign_consent_record(pair).await.unwrap().into_inner();
        let id = done.consent_record.unwrap().consent_record_id;
        assert!(bench.chain(&id).await.intact);
    }

    async fn first_use_is_trusted_only_where_set(db: TestDatabase) {
        let bench = bench_with(db, |config| config.trust_on_first_use = true).await;
        let agreement = bench.agreement().await;
        let made = bench
            .individuals()
            .create_individual(pb::CreateIndividualRequest {
                individual: Some(pb::Individual::default()),
                request_id: String::new(),
            })
            .await
            .unwrap();
        let id = made.into_inner().individual.unwrap().individual_id;
        let key = SigningKey::generate(Alg::EdDsa, &SystemEntropy).unwrap();
        let signer = crate::support::Signer { id, key };
        let mut pair = bench.pair(&signer, &agreement, true).await;
        let signature = pair.signature.as_mut().unwrap();
        signature.verification_signed_by = signer.key.public_jwk().to_value().to_string();
        let done = bench.records().sign_consent_record(pair).await.unwrap().into_inner();
        let record = done.consent_record.unwrap().consent_record_id;
        assert!(bench.chain(&record).await.intact);
        let keys = pb::ListSigningKeysRequest { individual_id: signer.id.clone() };
        let keys = bench.individuals().list_signing_keys(keys).await.unwrap().into_inner();
        assert_eq!(keys.keys.len(), 1);
    }

    async fn receipts_are_made_and_signed(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let signer = bench.signer("1").await;
        let record = bench.signed(&signer, &agreement, true).await;
        let get = |format: pb::ReceiptFormat| pb::GetConsentReceiptRequest {
            consent_record_id: record.consent_record_id.clone(),
            format: format.into(),
            ..pb::GetConsentReceiptRequest::default()
        };
        let mut client = bench.records();
        let made = client.get_consent_receipt(get(pb::ReceiptFormat::Iso27560)).await.unwrap();
        let made = made.into_inner();
        let value: serde_json::Value = serde_json::from_str(&made.receipt).unwrap();
        assert_eq!(value["header"]["recordId"], record.consent_record_id);
        assert_eq!(value["event"]["eventState"], "given");
        let keys = bench.checks().get_verification_keys(pb::GetVerificationKeysRequest {}).await;
        let keys = JwkSet::from_json(keys.unwrap().into_inner().jwks.as_bytes()).unwrap();
        let verified = verify_jws(&made.signed_receipt, &keys, &[Alg::EdDsa]).unwrap();
        let signed: serde_json::Value = serde_json::from_slice(&verified.payload).unwrap();
        assert_eq!(signed, value, "the receipt itself is what is signed");
        let mut forged = made.signed_receipt.clone();
        forged.truncate(forged.len() - 4);
        assert!(verify_jws(&forged, &keys, &[Alg::EdDsa]).is_err());
        let refused = client.get_consent_receipt(get(pb::ReceiptFormat::Kantara)).await;
        assert_eq!(reason(refused), "RECEIPT_INCOMPLETE");
    }
}
