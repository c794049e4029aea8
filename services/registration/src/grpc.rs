//! The generated services: who calls, call the app, give its answer back.

mod imports;

use std::sync::Arc;

use publica_proto::registration::v1 as pb;
use publica_proto::registration::v1::application_service_server::ApplicationService;
use publica_proto::registration::v1::catalog_service_server::CatalogService;
use publica_proto::registration::v1::document_service_server::DocumentService;
use publica_proto::registration::v1::registry_service_server::RegistryService;
use publica_proto::registration::v1::statistics_service_server::StatisticsService;
use publica_proto::registration::v1::task_service_server::TaskService;
use publica_rpc::status_of;
use tonic::{Request, Response, Status};

use crate::app::{App, Who};

/// Serves every service of the block.
#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<App>);

/// One method a line: its name and its messages.
macro_rules! methods {
    ($service:ident: $($name:ident($request:ident) -> $response:ident;)+) => {
        #[tonic::async_trait]
        impl $service for Service {
            $(
                async fn $name(
                    &self,
                    request: Request<pb::$request>,
                ) -> Result<Response<pb::$response>, Status> {
                    let who = Who::of(&request);
                    let answer = self.0.$name(&who, request.into_inner()).await;
                    answer.map(Response::new).map_err(|error| status_of(&error))
                }
            )+
        }
    };
}

methods! {
    CatalogService:
    list_services(ListServicesRequest) -> ListServicesResponse;
    get_service(GetServiceRequest) -> GetServiceResponse;
    list_e_forms(ListEFormsRequest) -> ListEFormsResponse;
    get_e_form(GetEFormRequest) -> GetEFormResponse;
    publish_service(PublishServiceRequest) -> PublishServiceResponse;
    set_service_open(SetServiceOpenRequest) -> SetServiceOpenResponse;
}

methods! {
    ApplicationService:
    submit_application(SubmitApplicationRequest) -> SubmitApplicationResponse;
    get_application(GetApplicationRequest) -> GetApplicationResponse;
    list_applications(ListApplicationsRequest) -> ListApplicationsResponse;
    update_application(UpdateApplicationRequest) -> UpdateApplicationResponse;
    withdraw_application(WithdrawApplicationRequest) -> WithdrawApplicationResponse;
    list_file_events(ListFileEventsRequest) -> ListFileEventsResponse;
}

methods! {
    TaskService:
    list_tasks(ListTasksRequest) -> ListTasksResponse;
    get_task(GetTaskRequest) -> GetTaskResponse;
    claim_task(ClaimTaskRequest) -> ClaimTaskResponse;
    complete_task(CompleteTaskRequest) -> CompleteTaskResponse;
}

methods! {
    DocumentService:
    upload_document(UploadDocumentRequest) -> UploadDocumentResponse;
    get_document(GetDocumentRequest) -> GetDocumentResponse;
}

methods! {
    StatisticsService:
    get_statistics(GetStatisticsRequest) -> GetStatisticsResponse;
}

methods! {
    RegistryService:
    read_entry(ReadEntryRequest) -> ReadEntryResponse;
}
