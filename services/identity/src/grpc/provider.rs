//! The provider itself.

use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::provider_service_server::ProviderService;
use tonic::{Request, Response, Status};

use crate::grpc::{Call, Services, answer};

#[tonic::async_trait]
impl ProviderService for Services {
    async fn get_metadata(
        &self,
        _: Request<pb::GetMetadataRequest>,
    ) -> Result<Response<pb::GetMetadataResponse>, Status> {
        answer(Ok(self.0.metadata()))
    }

    async fn get_key_set(
        &self,
        request: Request<pb::GetKeySetRequest>,
    ) -> Result<Response<pb::GetKeySetResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.ProviderService/GetKeySet");
        let result = self.0.published_keys(&call.origin).await;
        answer(result)
    }

    async fn rotate_signing_key(
        &self,
        request: Request<pb::RotateSigningKeyRequest>,
    ) -> Result<Response<pb::RotateSigningKeyResponse>, Status> {
        let call = Call::of(
            &request,
            "/publica.identity.v1.ProviderService/RotateSigningKey",
        );
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let result = self.0.rotate_signing_key(&mutation).await;
        answer(result)
    }

    async fn list_signing_keys(
        &self,
        request: Request<pb::ListSigningKeysRequest>,
    ) -> Result<Response<pb::ListSigningKeysResponse>, Status> {
        let call = Call::of(
            &request,
            "/publica.identity.v1.ProviderService/ListSigningKeys",
        );
        let request = request.into_inner();
        let result = self.0.list_signing_keys(&call.origin, &request).await;
        answer(result)
    }
}
