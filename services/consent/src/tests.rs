//! What callers see when somebody with access to the store altered it.

use std::collections::BTreeSet;
use std::sync::Arc;

use publica_auth::{Caller, CallerKind};
use publica_host::Block as _;
use publica_proto::consent::v1 as pb;
use publica_rpc::Fault as _;
use publica_store::Sql;
use publica_testkit::{both_engines, env};
use publica_types::Tenant;

use crate::app::Who;
use crate::domain::snapshot::{sha1_hex, sha256_hex};
use crate::error::Error;
use crate::{Consent, ConsentConfig};

publica_store::statements! {
    BREAK_LINK = "UPDATE revision SET predecessor_sha256 = 'forged' \
                  WHERE object_id = $1 AND seq = 2",
    CUT_OUT = "DELETE FROM revision WHERE object_id = $1 AND seq = 2",
    REWRITE = "UPDATE revision SET sha1 = $2, sha256 = $3, snapshot = $4 \
               WHERE object_id = $1 AND seq = 3",
}

fn admin() -> Who {
    let mut request = tonic::Request::new(());
    request.extensions_mut().insert(Arc::new(Caller {
        subject: "tester".to_owned(),
        issuer: None,
        client_id: None,
        affiliation: None,
        scopes: BTreeSet::from(["consent:*".to_owned()]),
        tenant: Tenant::default(),
        kind: CallerKind::Machine,
    }));
    Who::of(&request)
}

fn policy(id: &str, url: &str) -> pb::Policy {
    pb::Policy {
        policy_id: id.to_owned(),
        name: "Privacy".to_owned(),
        url: url.to_owned(),
        ..pb::Policy::default()
    }
}

/// A policy with three revisions.
async fn policy_with_history(consent: &Consent, id: &str) {
    let create = pb::CreatePolicyRequest {
        policy: Some(policy(id, "https://example.org/1")),
        request_id: String::new(),
    };
    consent.app.create_policy(&admin(), create).await.unwrap();
    for url in ["https://example.org/2", "https://example.org/3"] {
        let replace = pb::ReplacePolicyRequest {
            policy: Some(policy(id, url)),
            ..pb::ReplacePolicyRequest::default()
        };
        consent.app.replace_policy(&admin(), replace).await.unwrap();
    }
}

async fn listed(consent: &Consent, id: &str) -> Result<usize, Error> {
    let list = pb::ListRevisionsRequest {
        schema: pb::Schema::Policy.into(),
        object_id: id.to_owned(),
        ..pb::ListRevisionsRequest::default()
    };
    let found = consent.app.list_revisions(&admin(), list).await?;
    Ok(found.revisions.len())
}

async fn verified(consent: &Consent, id: &str) -> pb::VerifyChainResponse {
    let verify = pb::VerifyChainRequest {
        schema: pb::Schema::Policy.into(),
        object_id: id.to_owned(),
        ..pb::VerifyChainRequest::default()
    };
    consent.app.verify_chain(&admin(), verify).await.unwrap()
}

/// Alters the history of a policy behind the block's back.
async fn alter(consent: &Consent, id: &str, how: Sql, text: Option<&'static str>) {
    let shop = consent.app.shop(&Tenant::default()).await.unwrap();
    let input = (id.to_owned(), how, text);
    let done = shop.db.write("test.alter", input, |tx, (id, how, text)| {
        Box::pin(async move {
            let query = tx.query(*how).bind(id.as_str());
            let query = match text.map(str::as_bytes) {
                // With hashes that fit, as somebody would who knows how they are made.
                Some(text) => query.bind(sha1_hex(text)).bind(sha256_hex(text)).bind(text),
                None => query,
            };
            Ok::<u64, Error>(query.execute().await?)
        })
    });
    assert_eq!(done.await.unwrap(), 1);
}

both_engines! {
    async fn an_altered_chain_is_not_served(db: TestDatabase) {
        let env = env("consent");
        let config = ConsentConfig { database: db.config(), ..ConsentConfig::default() };
        let consent = Consent::open(config, &env).await.unwrap();
        for (id, how, text, problem) in [
            ("link", BREAK_LINK, None, "link"),
            ("gap", CUT_OUT, None, "link"),
            ("text", REWRITE, Some("{\"forged\":true}"), "seal"),
        ] {
            policy_with_history(&consent, id).await;
            assert_eq!(listed(&consent, id).await.unwrap(), 3);
            assert!(verified(&consent, id).await.intact);
            alter(&consent, id, how, text).await;
            let refused = listed(&consent, id).await.unwrap_err();
            assert_eq!(refused.reason(), "REVISION_ALTERED", "{id}");
            let found = verified(&consent, id).await;
            assert!(!found.intact);
            assert_eq!(found.problem, problem, "{id}");
        }
    }
}
