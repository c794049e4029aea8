//! Policies.

use publica_proto::consent::v1 as pb;
use publica_testkit::both_engines;

use crate::support::{agreement, bench, bench_with, policy, reason};

fn create(policy: pb::Policy) -> pb::CreatePolicyRequest {
    pb::CreatePolicyRequest {
        policy: Some(policy),
        request_id: String::new(),
    }
}

fn replace(policy: pb::Policy) -> pb::ReplacePolicyRequest {
    pb::ReplacePolicyRequest {
        policy: Some(policy),
        ..pb::ReplacePolicyRequest::default()
    }
}

both_engines! {
    async fn a_policy_lives_through_revisions(db: TestDatabase) {
        let bench = bench(db).await;
        let mut client = bench.policies();
        let made = client.create_policy(create(policy())).await.unwrap().into_inner();
        let (first, revision) = (made.policy.unwrap(), made.revision.unwrap());
        assert_eq!(first.version, "1.0.0");
        assert_eq!((revision.sequence, revision.predecessor_id.as_str()), (1, ""));
        bench.pass(1);

        let mut changed = first.clone();
        "https://example.org/privacy/2".clone_into(&mut changed.url);
        let done = client.replace_policy(replace(changed.clone())).await.unwrap().into_inner();
        let second = done.revision.unwrap();
        assert_eq!(second.predecessor_hash, revision.serialized_hash);
        let same = client.replace_policy(replace(changed)).await.unwrap().into_inner();
        assert_eq!(same.revision.unwrap().revision_id, second.revision_id);

        let get = |revision_id: &str| pb::GetPolicyRequest {
            policy_id: first.policy_id.clone(),
            revision_id: revision_id.to_owned(),
        };
        let latest = client.get_policy(get("")).await.unwrap().into_inner();
        assert!(latest.policy.unwrap().url.ends_with("/2"));
        let old = client.get_policy(get(&revision.revision_id)).await.unwrap().into_inner();
        assert!(old.policy.unwrap().url.ends_with("/1"));
        assert_eq!(old.revision.unwrap().successor_id, second.revision_id);
        assert_eq!(reason(client.get_policy(get("unknown")).await), "REVISION_NOT_FOUND");

        let deletion = pb::DeletePolicyRequest {
            policy_id: first.policy_id.clone(),
            request_id: String::new(),
        };
        let gone = client.delete_policy(deletion.clone()).await.unwrap().into_inner();
        assert!(gone.revision.unwrap().serialized_snapshot.contains("\"deleted\":true"));
        assert_eq!(reason(client.get_policy(get("")).await), "POLICY_NOT_FOUND");
        assert_eq!(reason(client.delete_policy(deletion).await), "POLICY_NOT_FOUND");
        let old = client.get_policy(get(&revision.revision_id)).await.unwrap().into_inner();
        assert!(old.policy.unwrap().url.ends_with("/1"));
    }

    async fn a_policy_in_use_stays(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.publish(agreement()).await;
        let deletion = pb::DeletePolicyRequest {
            policy_id: agreement.policy_id,
            request_id: String::new(),
        };
        let refused = bench.policies().delete_policy(deletion.clone()).await;
        assert_eq!(reason(refused), "POLICY_IN_USE");
        let end = pb::TerminateDataAgreementRequest {
            data_agreement_id: agreement.data_agreement_id,
            request_id: String::new(),
        };
        bench.agreements().terminate_data_agreement(end).await.unwrap();
        bench.policies().delete_policy(deletion).await.unwrap();
    }

    async fn two_writers_meet(db: TestDatabase) {
        let bench = bench(db).await;
        let mut client = bench.policies();
        let made = client.create_policy(create(policy())).await.unwrap().into_inner();
        let mut one = made.policy.unwrap();
        let etag = one.revision_id.clone();
        "Another name".clone_into(&mut one.name);
        let mut request = replace(one.clone());
        request.etag = etag;
        client.replace_policy(request.clone()).await.unwrap();
        "A third name".clone_into(&mut one.name);
        request.policy = Some(one);
        assert_eq!(reason(client.replace_policy(request).await), "CONFLICT");
    }

    async fn lists_page_by_token_and_by_offset(db: TestDatabase) {
        let bench = bench(db).await;
        let mut client = bench.policies();
        for _ in 0..5 {
            client.create_policy(create(policy())).await.unwrap();
            bench.pass(1);
        }
        let mut request = pb::ListPoliciesRequest {
            page_size: 2,
            include_total: true,
            ..pb::ListPoliciesRequest::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = client.list_policies(request.clone()).await.unwrap().into_inner();
            assert_eq!(page.total_size, Some(5));
            seen.extend(page.policies.into_iter().map(|one| one.policy_id));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(seen.len(), 5);
        request.page_token.clear();
        request.skip = 3;
        let page = client.list_policies(request.clone()).await.unwrap().into_inner();
        let tail: Vec<String> = page.policies.into_iter().map(|one| one.policy_id).collect();
        assert_eq!(tail, seen[3..]);
        request.skip = -1;
        assert_eq!(reason(client.list_policies(request).await), "INVALID_FIELDS");
    }

    async fn strict_mode_wants_a_new_url(db: TestDatabase) {
        let bench = bench_with(db, |config| config.strict_policies = true).await;
        let mut client = bench.policies();
        let made = client.create_policy(create(policy())).await.unwrap().into_inner();
        let mut one = made.policy.unwrap();
        "Another name".clone_into(&mut one.name);
        assert_eq!(reason(client.replace_policy(replace(one)).await), "POLICY_URL_REUSED");
    }

    async fn a_repeat_gives_the_first_answer(db: TestDatabase) {
        let bench = bench(db).await;
        let mut client = bench.policies();
        let mut request = create(policy());
        request.request_id = "018f4e3c-5f00-7000-8000-000000000001".to_owned();
        let first = client.create_policy(request.clone()).await.unwrap().into_inner();
        bench.pass(60);
        let again = client.create_policy(request.clone()).await.unwrap().into_inner();
        assert_eq!(first, again);
        request.policy.as_mut().unwrap().name.push('!');
        assert_eq!(reason(client.create_policy(request).await), "REQUEST_ID_REUSED");
    }
}
