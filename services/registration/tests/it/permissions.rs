//! Every method has a row in the policy, and nothing gets in without the scope.

use publica_host::Block as _;
use publica_proto::registration::v1 as pb;
use publica_proto::registration::v1::application_service_client::ApplicationServiceClient;
use publica_proto::registration::v1::catalog_service_client::CatalogServiceClient;
use publica_proto::registration::v1::task_service_client::TaskServiceClient;
use publica_registration::Registration;
use publica_rpc::methods_of;
use publica_testkit::Database;
use tonic::Code;

use crate::Fixture;

#[test]
fn every_method_has_a_policy() {
    let listed: Vec<&str> = Registration::policy()
        .iter()
        .map(|(path, _)| *path)
        .collect();
    for method in methods_of(Registration::descriptors()) {
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
    let settings: publica_registration::RegistrationConfig =
        table["registration"].clone().try_into().unwrap();
    assert_eq!(settings.consent_consumer, "");
}

#[tokio::test]
async fn scopes_are_required() {
    let db = Database::sqlite();
    let fixture = Fixture::new(&db).await;
    let reader = fixture.link("reader", &["registration:service:read"]);
    let mut catalog = CatalogServiceClient::new(reader.clone());
    catalog
        .list_services(pb::ListServicesRequest::default())
        .await
        .unwrap();
    let refused = catalog
        .publish_service(pb::PublishServiceRequest::default())
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let mut tasks = TaskServiceClient::new(reader);
    let refused = tasks
        .complete_task(pb::CompleteTaskRequest::default())
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let mut nobody = ApplicationServiceClient::new(fixture.block.link.clone());
    let refused = nobody
        .list_applications(pb::ListApplicationsRequest::default())
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
}
