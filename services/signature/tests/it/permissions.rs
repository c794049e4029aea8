//! Every method has a row in the policy, and nothing gets in without the scope.

use publica_host::Block as _;
use publica_proto::signature::v1 as pb;
use publica_proto::signature::v1::signing_service_client::SigningServiceClient;
use publica_rpc::methods_of;
use publica_signature::{Signature, SignatureConfig};
use publica_testkit::Database;
use tonic::Code;

use crate::Fixture;

#[test]
fn every_method_has_a_policy() {
    let listed: Vec<&str> = Signature::policy().iter().map(|(path, _)| *path).collect();
    for method in methods_of(Signature::descriptors()) {
        assert!(
            listed.contains(&method.path.as_str()),
            "{} has no policy",
            method.path
        );
    }
}

#[test]
fn the_sample_settings_are_read() {
    let sample = include_str!("../../config.sample.toml");
    let table: toml::Table = sample.parse().unwrap();
    let settings: SignatureConfig = table["signature"].clone().try_into().unwrap();
    let defaults = SignatureConfig::default();
    assert_eq!(settings.public_url, defaults.public_url);
    assert_eq!(settings.crl_minutes, defaults.crl_minutes);
}

#[tokio::test]
async fn scopes_are_required() {
    let db = Database::sqlite();
    let fixture = Fixture::new(&db).await;
    let reader = fixture.link("reader", &["signature:signature:read"]);
    let mut signing = SigningServiceClient::new(reader);
    signing
        .list_signatures(pb::ListSignaturesRequest::default())
        .await
        .unwrap();
    let refused = signing.sign_hash(pb::SignHashRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let refused = signing
        .seal_documents(pb::SealDocumentsRequest::default())
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let nobody = fixture.block.link.clone();
    let mut signing = SigningServiceClient::new(nobody.clone());
    let refused = signing
        .list_signatures(pb::ListSignaturesRequest::default())
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    // What verifiers need is public.
    let mut public = fixture.certificates(nobody);
    public
        .list_authorities(pb::ListAuthoritiesRequest {})
        .await
        .unwrap();
}
