//! Virtual identifiers and aliases.

use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::identifier_service_server::IdentifierService;
use tonic::{Request, Response, Status};

use crate::grpc::{Call, Services, answer};

#[tonic::async_trait]
impl IdentifierService for Services {
    async fn create_vid(
        &self,
        request: Request<pb::CreateVidRequest>,
    ) -> Result<Response<pb::CreateVidResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.IdentifierService/CreateVid");
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let result = self.0.create_vid(&mutation, request).await;
        answer(result)
    }

    async fn attach_alias(
        &self,
        request: Request<pb::AttachAliasRequest>,
    ) -> Result<Response<pb::AttachAliasResponse>, Status> {
        let call = Call::of(
            &request,
            "/publica.identity.v1.IdentifierService/AttachAlias",
        );
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let result = self.0.attach_alias(&mutation, request).await;
        answer(result)
    }

    async fn list_identifiers(
        &self,
        request: Request<pb::ListIdentifiersRequest>,
    ) -> Result<Response<pb::ListIdentifiersResponse>, Status> {
        let call = Call::of(
            &request,
            "/publica.identity.v1.IdentifierService/ListIdentifiers",
        );
        let request = request.into_inner();
        let result = self.0.list_identifiers(&call.origin, &request).await;
        answer(result)
    }

    async fn revoke_identifier(
        &self,
        request: Request<pb::RevokeIdentifierRequest>,
    ) -> Result<Response<pb::RevokeIdentifierResponse>, Status> {
        let call = Call::of(
            &request,
            "/publica.identity.v1.IdentifierService/RevokeIdentifier",
        );
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let result = self.0.revoke_identifier(&mutation, request).await;
        answer(result)
    }
}
