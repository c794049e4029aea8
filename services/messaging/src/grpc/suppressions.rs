//! `SuppressionService`.

use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::suppression_service_server::SuppressionService;
use tonic::{Request, Response, Status};

use super::{Service, who};

#[tonic::async_trait]
impl SuppressionService for Service {
    async fn check_address(
        &self,
        request: Request<api::CheckAddressRequest>,
    ) -> Result<Response<api::CheckAddressResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app
                .check_address(&who, &request.into_inner().address)
                .await?,
        ))
    }

    async fn list_suppressions(
        &self,
        request: Request<api::ListSuppressionsRequest>,
    ) -> Result<Response<api::ListSuppressionsResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app
                .list_suppressions(&who, &request.into_inner())
                .await?,
        ))
    }

    async fn create_suppression(
        &self,
        request: Request<api::CreateSuppressionRequest>,
    ) -> Result<Response<api::CreateSuppressionResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app
                .create_suppression(&who, request.into_inner())
                .await?,
        ))
    }

    async fn lift_suppression(
        &self,
        request: Request<api::LiftSuppressionRequest>,
    ) -> Result<Response<api::LiftSuppressionResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app
                .lift_suppression(&who, request.into_inner())
                .await?,
        ))
    }

    async fn unsubscribe(
        &self,
        request: Request<api::UnsubscribeRequest>,
    ) -> Result<Response<api::UnsubscribeResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app
                .unsubscribe(&who, &request.into_inner().token)
                .await?,
        ))
    }
}
