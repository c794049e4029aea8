//! `DeliveryService`.

use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::delivery_service_server::DeliveryService;
use tonic::{Request, Response, Status};

use super::{Service, who};

#[tonic::async_trait]
impl DeliveryService for Service {
    async fn list_requests(
        &self,
        request: Request<api::ListRequestsRequest>,
    ) -> Result<Response<api::ListRequestsResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app.requests(&who, &request.into_inner()).await?,
        ))
    }

    async fn pause_request(
        &self,
        request: Request<api::PauseRequestRequest>,
    ) -> Result<Response<api::PauseRequestResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app.pause(&who, request.into_inner()).await?,
        ))
    }

    async fn resume_request(
        &self,
        request: Request<api::ResumeRequestRequest>,
    ) -> Result<Response<api::ResumeRequestResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app.resume(&who, request.into_inner()).await?,
        ))
    }

    async fn list_dead_letters(
        &self,
        request: Request<api::ListDeadLettersRequest>,
    ) -> Result<Response<api::ListDeadLettersResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app.dead_letters(&who, &request.into_inner()).await?,
        ))
    }

    async fn redrive_request(
        &self,
        request: Request<api::RedriveRequestRequest>,
    ) -> Result<Response<api::RedriveRequestResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app.redrive(&who, request.into_inner()).await?,
        ))
    }
}
