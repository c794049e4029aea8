//! Factors of people.

use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::factor_service_server::FactorService;
use tonic::{Request, Response, Status};

use crate::grpc::{Call, Services, answer};

#[tonic::async_trait]
impl FactorService for Services {
    async fn set_factor(
        &self,
        request: Request<pb::SetFactorRequest>,
    ) -> Result<Response<pb::SetFactorResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.FactorService/SetFactor");
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let result = self.0.set_factor(&mutation, request).await;
        answer(result)
    }

    async fn list_factors(
        &self,
        request: Request<pb::ListFactorsRequest>,
    ) -> Result<Response<pb::ListFactorsResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.FactorService/ListFactors");
        let request = request.into_inner();
        let result = self.0.list_factors(&call.origin, &request).await;
        answer(result)
    }

    async fn lock_factor(
        &self,
        request: Request<pb::LockFactorRequest>,
    ) -> Result<Response<pb::LockFactorResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.FactorService/LockFactor");
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let result = self.0.lock_factor(&mutation, request).await;
        answer(result)
    }

    async fn unlock_factor(
        &self,
        request: Request<pb::UnlockFactorRequest>,
    ) -> Result<Response<pb::UnlockFactorResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.FactorService/UnlockFactor");
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let result = self.0.unlock_factor(&mutation, request).await;
        answer(result)
    }
}
