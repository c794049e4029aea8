//! Tokens.

use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::token_service_server::TokenService;
use tonic::{Request, Response, Status};

use crate::grpc::{Call, Services, answer};

#[tonic::async_trait]
impl TokenService for Services {
    async fn issue_token(
        &self,
        request: Request<pb::IssueTokenRequest>,
    ) -> Result<Response<pb::IssueTokenResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.TokenService/IssueToken");
        let request = request.into_inner();
        let result = self.0.issue_token(&call.origin, request).await;
        answer(result)
    }

    async fn get_user_info(
        &self,
        request: Request<pb::GetUserInfoRequest>,
    ) -> Result<Response<pb::GetUserInfoResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.TokenService/GetUserInfo");
        let request = request.into_inner();
        let result = self.0.user_info(&call.origin, &request.access_token).await;
        answer(result)
    }

    async fn revoke_token(
        &self,
        request: Request<pb::RevokeTokenRequest>,
    ) -> Result<Response<pb::RevokeTokenResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.TokenService/RevokeToken");
        let request = request.into_inner();
        let result = self.0.revoke_token(&call.origin, request).await;
        answer(result)
    }

    async fn introspect_token(
        &self,
        request: Request<pb::IntrospectTokenRequest>,
    ) -> Result<Response<pb::IntrospectTokenResponse>, Status> {
        let call = Call::of(
            &request,
            "/publica.identity.v1.TokenService/IntrospectToken",
        );
        let request = request.into_inner();
        let result = self.0.introspect_token(&call.origin, request).await;
        answer(result)
    }
}
