//! Purposes, recipients, limits, tokens and revocations: what else decisions go by.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use publica_jose::{Alg, JwkSet, verify_jws};
use publica_proto::consent::v1 as pb;
use publica_proto::journal::v1::ListEntriesRequest;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_testkit::{both_engines, eventually};
use publica_types::Timestamp;
use serde_json::Value;

use crate::support::{Bench, agreement, bench, policy, question, reason};

/// A question about a purpose, whatever the agreement.
fn purpose(individual_id: &str, purpose: &str) -> pb::CheckConsentRequest {
    pb::CheckConsentRequest {
        purpose: purpose.to_owned(),
        ..question(individual_id, "", &[])
    }
}

async fn ask(bench: &Bench, question: pb::CheckConsentRequest) -> pb::CheckConsentResponse {
    bench
        .checks()
        .check_consent(question)
        .await
        .unwrap()
        .into_inner()
}

fn reasons(answer: &pb::CheckConsentResponse) -> Vec<pb::DecisionReason> {
    answer.reasons().collect()
}

/// Revocations after a cursor, and the cursor behind them.
async fn after(bench: &Bench, cursor: &str) -> (Vec<pb::Revocation>, String) {
    let request = pb::ListRevocationsRequest {
        cursor: cursor.to_owned(),
        page_size: 0,
    };
    let answer = bench
        .checks()
        .list_revocations(request)
        .await
        .unwrap()
        .into_inner();
    assert!(!answer.more);
    (answer.revocations, answer.cursor)
}

both_engines! {
    async fn a_broad_agreement_covers_special_purposes(db: TestDatabase) {
        let bench = bench(db).await;
        let mut broad = agreement();
        "https://w3id.org/dpv#ServiceProvision".clone_into(&mut broad.purpose_code);
        let broad = bench.publish(broad).await;
        let signer = bench.signer("1").await;
        bench.signed(&signer, &broad, true).await;
        for special in ["dpv:PaymentManagement", "http://www.w3.org/ns/dpv#ServiceProvision"] {
            let yes = ask(&bench, purpose(&signer.id, special)).await;
            assert!(yes.allowed, "{special} {yes:?}");
            assert_eq!(yes.data_agreement_id, broad.data_agreement_id);
        }
        for other in ["dpv:Marketing", "dpv:Purpose"] {
            let no = ask(&bench, purpose(&signer.id, other)).await;
            assert_eq!(reasons(&no), [pb::DecisionReason::AgreementUnknown], "{other}");
        }
        let mut both = question(&signer.id, &broad.data_agreement_id, &[]);
        "dpv:Marketing".clone_into(&mut both.purpose);
        let no = ask(&bench, both).await;
        assert_eq!(reasons(&no), [pb::DecisionReason::PurposeMismatch]);
    }

    async fn third_parties_get_what_policy_and_agreement_let_them(db: TestDatabase) {
        let bench = bench(db).await;
        let mut closed = agreement();
        closed.policy = Some(pb::Policy {
            third_party_data_sharing: Some(false),
            ..policy()
        });
        let closed_to_all = bench.publish(closed.clone()).await;
        closed.recipients = vec![pb::Recipient {
            recipient_id: "programme".to_owned(),
            attributes: vec!["name".to_owned()],
            country: "NL".to_owned(),
            ..pb::Recipient::default()
        }];
        let for_one = bench.publish(closed.clone()).await;
        let signer = bench.signer("1").await;
        for text in [&closed_to_all, &for_one] {
            bench.signed(&signer, text, true).await;
        }
        let by = |agreement: &pb::DataAgreement, consumer: &str| pb::CheckConsentRequest {
            consumer: consumer.to_owned(),
            ..question(&signer.id, &agreement.data_agreement_id, &["name", "income"])
        };
        let no = ask(&bench, by(&closed_to_all, "programme")).await;
        assert_eq!(reasons(&no), [pb::DecisionReason::ThirdPartyNotAllowed]);
        let controller = closed_to_all.controller.clone().unwrap().controller_id;
        assert!(ask(&bench, by(&closed_to_all, &controller)).await.allowed);
        let no = ask(&bench, by(&for_one, "somebody")).await;
        assert_eq!(reasons(&no), [pb::DecisionReason::ConsumerNotListed]);
        let part = ask(&bench, by(&for_one, "programme")).await;
        assert_eq!(reasons(&part), [pb::DecisionReason::AttributeNotGranted]);
        let some = pb::CheckConsentRequest { allow_partial: true, ..by(&for_one, "programme") };
        let some = ask(&bench, some).await;
        assert!(some.allowed);
        assert_eq!(some.granted_attributes, ["name"]);
        assert_eq!(some.denied_attributes, ["income"]);
        closed.recipients[0].attributes = vec!["shoe size".to_owned()];
        let request = pb::CreateDataAgreementRequest {
            data_agreement: Some(closed),
            ..pb::CreateDataAgreementRequest::default()
        };
        let refused = bench.agreements().create_data_agreement(request).await;
        assert_eq!(reason(refused), "INVALID_FIELDS");
    }

    async fn all_limits_must_hold(db: TestDatabase) {
        let bench = bench(db).await;
        let mut limited = agreement();
        limited.max_uses_per_day = Some(3);
        limited.use_limits = vec![pb::UseLimit {
            uses: 1,
            unit: pb::UseUnit::Hour.into(),
            span: 1,
        }];
        let limited = bench.publish(limited).await;
        let id = limited.data_agreement_id.as_str();
        let signer = bench.signer("1").await;
        bench.signed(&signer, &limited, true).await;
        for round in 0..3 {
            let calls = (0..4).map(|_| bench.check(&signer.id, id, &[]));
            let answers = futures::future::join_all(calls).await;
            let allowed: Vec<_> = answers.iter().filter(|one| one.allowed).collect();
            assert_eq!(allowed.len(), 1, "{round}");
            let left = allowed[0].obligations.unwrap().uses_left;
            assert_eq!(left, Some(0), "the hour is used up");
            assert!(allowed[0].cache_until_time.is_none());
            bench.pass(3_600);
        }
        // What the hour refused did not count against the day, but three uses did.
        let no = bench.check(&signer.id, id, &[]).await;
        assert_eq!(reasons(&no), [pb::DecisionReason::FrequencyExceeded]);
    }

    async fn decisions_are_proven_by_tokens(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let signer = bench.signer("1").await;
        bench.signed(&signer, &agreement, true).await;
        let asked = pb::CheckConsentRequest {
            want_token: true,
            ..question(&signer.id, &agreement.data_agreement_id, &["name"])
        };
        let yes = ask(&bench, asked).await;
        let keys = bench.checks().get_verification_keys(pb::GetVerificationKeysRequest {}).await;
        let keys = keys.unwrap().into_inner();
        let set = JwkSet::from_json(keys.jwks.as_bytes()).unwrap();
        let verified = verify_jws(&yes.decision_token, &set, &[Alg::EdDsa]).unwrap();
        let claims: Value = serde_json::from_slice(&verified.payload).unwrap();
        assert_eq!(claims["iss"], keys.issuer);
        assert_eq!(claims["jti"], yes.decision_id);
        assert_eq!(claims["sub"], signer.id);
        assert_eq!(claims["allowed"], true);
        assert_eq!(claims["attributes"], serde_json::json!(["name"]));
        assert_eq!(claims["exp"], claims["iat"], "nothing may be reused unless settings say so");
        let mut forged = yes.decision_token.clone();
        forged.truncate(forged.len() - 4);
        assert!(verify_jws(&forged, &set, &[Alg::EdDsa]).is_err());
    }

    async fn decisions_ahead_name_their_moment_and_their_exchange(db: TestDatabase) {
        let bench = bench(db).await;
        let mut limited = agreement();
        limited.validity_days = Some(10);
        limited.max_uses_per_day = Some(1);
        let text = bench.publish(limited).await;
        let signer = bench.signer("1").await;
        bench.signed(&signer, &text, true).await;
        let ahead = |days: u64| {
            let at = bench.clock_now().plus(std::time::Duration::from_secs(days * 86_400));
            pb::CheckConsentRequest {
                want_token: true,
                at_time: Some(publica_rpc::timestamp(at)),
                correlation_id: "exchange-7".to_owned(),
                ..question(&signer.id, &text.data_agreement_id, &["name"])
            }
        };
        // However often it is asked ahead, nothing is used.
        for _ in 0..3 {
            let yes = ask(&bench, ahead(9)).await;
            assert!(yes.allowed, "{yes:?}");
            assert_eq!(yes.at_time, ahead(9).at_time);
            assert_eq!((yes.correlation_id.as_str(), yes.cache_until_time), ("exchange-7", None));
        }
        let no = ask(&bench, ahead(10)).await;
        assert_eq!(no.reasons().collect::<Vec<_>>(), [pb::DecisionReason::Expired]);
        let keys = bench.checks().get_verification_keys(pb::GetVerificationKeysRequest {}).await;
        let set = JwkSet::from_json(keys.unwrap().into_inner().jwks.as_bytes()).unwrap();
        let verified = verify_jws(&no.decision_token, &set, &[Alg::EdDsa]).unwrap();
        let claims: Value = serde_json::from_slice(&verified.payload).unwrap();
        assert_eq!(claims["at"], ahead(10).at_time.unwrap().seconds);
        assert_eq!(claims["correlationId"], "exchange-7");
        assert_eq!(claims["allowed"], false);
        let now = ask(&bench, question(&signer.id, &text.data_agreement_id, &["name"])).await;
        assert!(now.allowed && now.at_time.is_none() && now.correlation_id.is_empty());
        let past = pb::CheckConsentRequest {
            at_time: Some(publica_rpc::timestamp(Timestamp::from_seconds(1_700_000_000))),
            ..ahead(0)
        };
        assert_eq!(reason(bench.checks().check_consent(past).await), "INVALID_FIELDS");
        let long = pb::CheckConsentRequest { correlation_id: "x".repeat(257), ..ahead(0) };
        assert_eq!(reason(bench.checks().check_consent(long).await), "INVALID_FIELDS");
        eventually(|| async {
            let mut journal = JournalServiceClient::new(bench.admin());
            let all = ListEntriesRequest { page_size: 1_000, ..Default::default() };
            let all = journal.list_entries(all).await.unwrap().into_inner().entries;
            let made = all.iter().filter(|one| one.action == "consent.decision.made");
            let bodies = made.filter_map(|one| one.body.clone());
            let bodies = bodies.map(|body| serde_json::from_slice::<Value>(&body).unwrap());
            let named = bodies.filter(|body| body["correlation_id"] == "exchange-7");
            (named.filter(|body| body["at"].is_string()).count() == 4).then_some(())
        })
        .await;
    }

    async fn whatever_takes_an_answer_back_is_a_revocation(db: TestDatabase) {
        use pb::RevocationCause as Cause;
        let bench = bench(db).await;
        let mut forgettable = agreement();
        forgettable.forgettable = Some(true);
        let agreement = bench.publish(forgettable).await;
        let id = agreement.data_agreement_id.as_str();
        let (one, two) = (bench.signer("1").await, bench.signer("2").await);
        let (none, cursor) = after(&bench, "").await;
        assert!(none.is_empty());
        let record = bench.signed(&one, &agreement, true).await;
        let (none, cursor) = after(&bench, &cursor).await;
        assert!(none.is_empty(), "a first yes takes nothing back");
        bench.change(&record.consent_record_id, false).await.unwrap();
        let (found, cursor) = after(&bench, &cursor).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].individual_id, one.id);
        assert_eq!(found[0].data_agreement_id, id);
        assert_eq!(found[0].cause(), Cause::AnswerChanged);
        bench.change(&record.consent_record_id, false).await.unwrap();
        let (none, cursor) = after(&bench, &cursor).await;
        assert!(none.is_empty(), "the same answer again");
        bench.signed(&two, &agreement, false).await;
        let (found, cursor) = after(&bench, &cursor).await;
        assert_eq!(found.len(), 1, "a no takes back what another basis allowed");
        let erase = pb::EraseConsentRecordsRequest {
            individual_id: one.id.clone(),
            request_id: String::new(),
        };
        bench.records().erase_consent_records(erase).await.unwrap();
        let (found, cursor) = after(&bench, &cursor).await;
        assert!(found.iter().any(|one| one.cause() == Cause::Erased));
        let mut next = agreement.clone();
        next.purpose.push('!');
        let replace = pb::ReplaceDataAgreementRequest {
            data_agreement: Some(next),
            publish: true,
            ..pb::ReplaceDataAgreementRequest::default()
        };
        bench.agreements().replace_data_agreement(replace).await.unwrap();
        let terminate = pb::TerminateDataAgreementRequest {
            data_agreement_id: id.to_owned(),
            request_id: String::new(),
        };
        bench.agreements().terminate_data_agreement(terminate).await.unwrap();
        let (found, _) = after(&bench, &cursor).await;
        let causes: BTreeSet<i32> = found.iter().map(|one| one.cause).collect();
        let expected = [Cause::AgreementChanged, Cause::AgreementTerminated];
        assert_eq!(causes, expected.into_iter().map(i32::from).collect());
        assert!(found.iter().all(|one| one.individual_id.is_empty()));
        let bad = pb::ListRevocationsRequest { cursor: "x".into(), page_size: 0 };
        assert_eq!(reason(bench.checks().list_revocations(bad).await), "INVALID_FIELDS");
    }

    async fn no_withdrawal_is_missed_by_who_reads_after_it(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let mut people = Vec::new();
        for n in 0..24 {
            let signer = bench.signer(&n.to_string()).await;
            let record = bench.signed(&signer, &agreement, true).await;
            people.push(record);
        }
        let (_, cursor) = after(&bench, "").await;
        // Each withdraws and reads at once; what they withdrew must be in what they read.
        let work = people.iter().map(|record| {
            let (bench, cursor) = (&bench, &cursor);
            async move {
                bench.change(&record.consent_record_id, false).await.unwrap();
                let (seen, _) = after(bench, cursor).await;
                assert!(seen.iter().any(|one| one.consent_record_id == record.consent_record_id));
            }
        });
        futures::future::join_all(work).await;
        let (all, _) = after(&bench, &cursor).await;
        let seen: BTreeSet<&str> =
            all.iter().map(|one| one.consent_record_id.as_str()).collect();
        assert_eq!(seen.len(), people.len());
        // In pages, nothing is lost or repeated.
        let (mut pages, mut place, mut more) = (Vec::new(), cursor, true);
        while more {
            let request = pb::ListRevocationsRequest { cursor: place, page_size: 5 };
            let page = bench.checks().list_revocations(request).await.unwrap().into_inner();
            (place, more) = (page.cursor, page.more);
            pages.extend(page.revocations);
        }
        assert_eq!(pages.len(), all.len());
    }

    async fn watchers_are_told_at_once(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let other = bench.agreement().await;
        let signer = bench.signer("1").await;
        let record = bench.signed(&signer, &agreement, true).await;
        let elsewhere = bench.signed(&signer, &other, true).await;
        let request = pb::WatchRevocationsRequest {
            cursor: String::new(),
            data_agreement_id: agreement.data_agreement_id.clone(),
        };
        let mut stream = bench.checks().watch_revocations(request).await.unwrap().into_inner();
        let first = stream.next().await.unwrap().unwrap();
        assert!(first.revocation.is_none());
        bench.change(&elsewhere.consent_record_id, false).await.unwrap();
        bench.change(&record.consent_record_id, false).await.unwrap();
        let told = tokio::time::timeout(std::time::Duration::from_secs(5), stream.next()).await;
        let told = told.unwrap().unwrap().unwrap();
        assert_eq!(told.revocation.unwrap().consent_record_id, record.consent_record_id);
        // From the first cursor on, the other agreement's is there as well.
        let (all, _) = after(&bench, &first.cursor).await;
        assert_eq!(all.len(), 2);
    }

    async fn all_who_follow_are_told_once_each(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let mut records = Vec::new();
        for n in 0..8 {
            let signer = bench.signer(&n.to_string()).await;
            records.push(bench.signed(&signer, &agreement, true).await.consent_record_id);
        }
        let begin = bench.checks().list_revocations(pb::ListRevocationsRequest::default()).await;
        let begin = begin.unwrap().into_inner().cursor;
        let follow = || async {
            let request = pb::WatchRevocationsRequest {
                cursor: begin.clone(),
                data_agreement_id: String::new(),
            };
            bench.checks().watch_revocations(request).await.unwrap().into_inner()
        };
        // Some begin before anything happened, some in the middle, some when all is over.
        let mut streams = vec![follow().await, follow().await];
        for (n, record) in records.iter().enumerate() {
            bench.change(record, false).await.unwrap();
            if n % 3 == 0 {
                streams.push(follow().await);
            }
        }
        streams.push(follow().await);
        for mut stream in streams {
            assert!(stream.next().await.unwrap().unwrap().revocation.is_none());
            let mut told = Vec::new();
            while told.len() < records.len() {
                let next = stream.next();
                let next = tokio::time::timeout(std::time::Duration::from_secs(5), next).await;
                let next = next.unwrap().unwrap().unwrap();
                told.push(next.revocation.unwrap().consent_record_id);
            }
            told.sort_unstable();
            let mut expected = records.clone();
            expected.sort_unstable();
            assert_eq!(told, expected);
        }
    }
}
