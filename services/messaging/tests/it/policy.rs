//! Every method is listed, and refuses whoever lacks its scope.

use std::collections::BTreeSet;

use publica_auth::Access;
use publica_host::Block as _;
use publica_messaging::Messaging;
use publica_messaging::sink::SinkOptions;
use publica_testkit::Database;
use tonic::Code;

use crate::support::world;

fn methods() -> BTreeSet<String> {
    let methods = publica_rpc::methods_of(Messaging::descriptors());
    methods.into_iter().map(|method| method.path).collect()
}

#[test]
fn the_policy_lists_every_method_and_no_other() {
    let listed: BTreeSet<String> = Messaging::policy()
        .iter()
        .map(|(path, _)| (*path).to_owned())
        .collect();
    assert_eq!(listed, methods());
    assert_eq!(
        listed.len(),
        Messaging::policy().len(),
        "a method is listed twice"
    );
    for (path, access) in Messaging::policy() {
        assert!(matches!(access, Access::Scope(_)), "{path} is open");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_refuses_who_lacks_its_scope() {
    let world = world(Database::sqlite(), SinkOptions::default()).await;
    for (path, _) in Messaging::policy() {
        let stranger = call(world.block.link.clone(), path).await;
        assert_eq!(stranger, Code::Unauthenticated, "{path}");
        let other = call(world.block.as_caller(&["payments:*"]), path).await;
        assert_eq!(other, Code::PermissionDenied, "{path}");
    }
}

/// Calls a method with an empty message.
async fn call(link: publica_rpc::Link, path: &'static str) -> Code {
    let mut grpc = tonic::client::Grpc::new(link);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let path = http::uri::PathAndQuery::from_static(path);
    let answer = grpc.unary(tonic::Request::new(()), path, codec).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}
