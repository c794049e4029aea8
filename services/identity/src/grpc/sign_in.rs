//! Signing in.

use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::sign_in_service_server::SignInService;
use tonic::{Request, Response, Status};

use crate::convert::parameters;
use crate::grpc::{Call, Services, answer};

#[tonic::async_trait]
impl SignInService for Services {
    async fn check_authorization(
        &self,
        request: Request<pb::CheckAuthorizationRequest>,
    ) -> Result<Response<pb::CheckAuthorizationResponse>, Status> {
        let call = Call::of(
            &request,
            "/publica.identity.v1.SignInService/CheckAuthorization",
        );
        let request = request.into_inner();
        let parameters = parameters(request.parameters.unwrap_or_default());
        let result = self.0.check_authorization(&call.origin, &parameters).await;
        answer(result)
    }

    async fn start_sign_in(
        &self,
        request: Request<pb::StartSignInRequest>,
    ) -> Result<Response<pb::StartSignInResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.SignInService/StartSignIn");
        let request = request.into_inner();
        let parameters = parameters(request.parameters.unwrap_or_default());
        let result = self.0.start_sign_in(&call.origin, &parameters).await;
        answer(result)
    }

    async fn send_code(
        &self,
        request: Request<pb::SendCodeRequest>,
    ) -> Result<Response<pb::SendCodeResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.SignInService/SendCode");
        let request = request.into_inner();
        let result = self.0.send_code(&call.origin, request).await;
        answer(result)
    }

    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.SignInService/Authenticate");
        let request = request.into_inner();
        let result = self.0.authenticate(&call.origin, request).await;
        answer(result)
    }

    async fn get_consent_details(
        &self,
        request: Request<pb::GetConsentDetailsRequest>,
    ) -> Result<Response<pb::GetConsentDetailsResponse>, Status> {
        let call = Call::of(
            &request,
            "/publica.identity.v1.SignInService/GetConsentDetails",
        );
        let request = request.into_inner();
        let result = self.0.consent_details(&call.origin, request).await;
        answer(result)
    }

    async fn issue_code(
        &self,
        request: Request<pb::IssueCodeRequest>,
    ) -> Result<Response<pb::IssueCodeResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.SignInService/IssueCode");
        let request = request.into_inner();
        let result = self.0.issue_code(&call.origin, request).await;
        answer(result)
    }

    async fn cancel_sign_in(
        &self,
        request: Request<pb::CancelSignInRequest>,
    ) -> Result<Response<pb::CancelSignInResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.SignInService/CancelSignIn");
        let request = request.into_inner();
        let result = self.0.cancel_sign_in(&call.origin, request).await;
        answer(result)
    }
}
