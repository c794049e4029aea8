//! Every method has a policy, and the policy is held.

use std::collections::BTreeMap;
use std::time::Duration;

use publica_auth::Access;
use publica_host::Block as _;
use publica_identity::Identity;
use publica_rpc::{Link, methods_of};
use publica_testkit::Database;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use crate::support::Suite;

/// Calls a method with an empty message and gives the code and reason of the answer.
async fn call(link: Link, path: &str) -> (Code, String) {
    let mut grpc = tonic::client::Grpc::new(link);
    grpc.ready().await.unwrap();
    let path: PathAndQuery = path.parse().unwrap();
    let codec = ProstCodec::<(), ()>::default();
    // A stream that is let in goes on for ever.
    let answer = grpc.unary(Request::new(()), path, codec);
    match tokio::time::timeout(Duration::from_secs(2), answer).await {
        Ok(Err(status)) => (
            status.code(),
            publica_rpc::reason(&status).unwrap_or_default(),
        ),
        _ => (Code::Ok, String::new()),
    }
}

#[test]
fn every_method_has_a_policy() {
    let policy: BTreeMap<&str, Access> = Identity::policy().iter().copied().collect();
    assert_eq!(
        policy.len(),
        Identity::policy().len(),
        "a method is listed twice"
    );
    let methods = methods_of(Identity::descriptors());
    for method in &methods {
        assert!(
            policy.contains_key(method.path.as_str()),
            "{} has no policy",
            method.path
        );
    }
    for path in policy.keys() {
        assert!(
            methods.iter().any(|method| method.path == *path),
            "{path} does not exist"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_refuse_who_may_not_call_them() {
    let suite = Suite::open(Database::sqlite()).await;
    for (path, access) in Identity::policy() {
        let (stranger, why) = call(suite.block.link.clone(), path).await;
        let (other, _) = call(suite.block.as_caller(&["identity:nothing:read"]), path).await;
        match access {
            Access::Public => {
                assert_ne!(why, "CREDENTIALS_REQUIRED", "{path} is public");
            }
            Access::Authenticated => {
                assert_eq!(stranger, Code::Unauthenticated, "{path}");
                assert_eq!(
                    other,
                    Code::PermissionDenied,
                    "{path} checks its own scopes"
                );
            }
            Access::Scope(scope) => {
                assert_eq!(stranger, Code::Unauthenticated, "{path}");
                assert_eq!(other, Code::PermissionDenied, "{path}");
                let (holder, _) = call(suite.block.as_caller(&[scope]), path).await;
                let let_in = !matches!(holder, Code::Unauthenticated | Code::PermissionDenied);
                assert!(let_in, "{path} refuses {scope}");
            }
        }
    }
}
