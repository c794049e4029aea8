//! Enrolment packets.

use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::enrolment_service_server::EnrolmentService;
use tonic::{Request, Response, Status};

use crate::grpc::{Call, Services, answer};

#[tonic::async_trait]
impl EnrolmentService for Services {
    async fn submit_packet(
        &self,
        request: Request<pb::SubmitPacketRequest>,
    ) -> Result<Response<pb::SubmitPacketResponse>, Status> {
        let call = Call::of(
            &request,
            "/publica.identity.v1.EnrolmentService/SubmitPacket",
        );
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let result = self.0.submit_packet(&mutation, request).await;
        answer(result)
    }

    async fn get_enrolment(
        &self,
        request: Request<pb::GetEnrolmentRequest>,
    ) -> Result<Response<pb::GetEnrolmentResponse>, Status> {
        let call = Call::of(
            &request,
            "/publica.identity.v1.EnrolmentService/GetEnrolment",
        );
        let request = request.into_inner();
        let result = self
            .0
            .get_enrolment(&call.origin, &request.registration_id)
            .await;
        answer(result)
    }

    async fn list_enrolments(
        &self,
        request: Request<pb::ListEnrolmentsRequest>,
    ) -> Result<Response<pb::ListEnrolmentsResponse>, Status> {
        let call = Call::of(
            &request,
            "/publica.identity.v1.EnrolmentService/ListEnrolments",
        );
        let request = request.into_inner();
        let result = self.0.list_enrolments(&call.origin, &request).await;
        answer(result)
    }
}
