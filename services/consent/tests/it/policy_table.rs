//! Every method has its rule, and nobody gets past it without the scope.

use std::collections::{BTreeMap, BTreeSet};

use http::Request;
use publica_auth::Access;
use publica_consent::Consent;
use publica_host::Block as _;
use publica_rpc::{Link, methods_of};
use publica_testkit::Database;
use tower::Service as _;

use crate::support::bench;

#[test]
fn every_method_has_a_rule() {
    let methods = methods_of(Consent::descriptors());
    let listed: BTreeMap<_, _> = Consent::policy().iter().copied().collect();
    assert_eq!(
        listed.len(),
        Consent::policy().len(),
        "a method is listed twice"
    );
    let methods: BTreeSet<String> = methods.into_iter().map(|method| method.path).collect();
    let listed: BTreeSet<String> = listed.keys().map(|path| (*path).to_owned()).collect();
    assert_eq!(methods, listed);
}

/// The status that a call without a message gets.
async fn status(link: &Link, path: &str) -> tonic::Code {
    let request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::empty())
        .unwrap();
    let response = link.clone().call(request).await.unwrap();
    let status = tonic::Status::from_header_map(response.headers());
    status.map_or(tonic::Code::Ok, |status| status.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_passes_without_the_scope() {
    let bench = bench(Database::sqlite()).await;
    let (nobody, stranger) = (bench.block.link.clone(), bench.person("stranger"));
    for (path, access) in Consent::policy() {
        assert_eq!(
            status(&nobody, path).await,
            tonic::Code::Unauthenticated,
            "{path}"
        );
        if matches!(access, Access::Scope(_)) {
            assert_eq!(
                status(&stranger, path).await,
                tonic::Code::PermissionDenied,
                "{path}"
            );
        }
    }
}
