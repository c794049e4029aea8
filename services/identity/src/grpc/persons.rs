//! People.

use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::person_service_server::PersonService;
use tonic::{Request, Response, Status};

use crate::grpc::{Call, Services, answer};

#[tonic::async_trait]
impl PersonService for Services {
    async fn enrol_persons(
        &self,
        request: Request<pb::EnrolPersonsRequest>,
    ) -> Result<Response<pb::EnrolPersonsResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.PersonService/EnrolPersons");
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let result = self.0.enrol_persons(&mutation, request).await;
        answer(result)
    }

    async fn get_person(
        &self,
        request: Request<pb::GetPersonRequest>,
    ) -> Result<Response<pb::GetPersonResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.PersonService/GetPerson");
        let request = request.into_inner();
        let result = self.0.get_person(&call.origin, &request.person_id).await;
        answer(result)
    }

    async fn list_persons(
        &self,
        request: Request<pb::ListPersonsRequest>,
    ) -> Result<Response<pb::ListPersonsResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.PersonService/ListPersons");
        let request = request.into_inner();
        let result = self.0.list_persons(&call.origin, &request).await;
        answer(result)
    }

    async fn search_persons(
        &self,
        request: Request<pb::SearchPersonsRequest>,
    ) -> Result<Response<pb::SearchPersonsResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.PersonService/SearchPersons");
        let request = request.into_inner();
        let result = self.0.search_persons(&call.origin, &request).await;
        answer(result)
    }

    async fn update_person(
        &self,
        request: Request<pb::UpdatePersonRequest>,
    ) -> Result<Response<pb::UpdatePersonResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.PersonService/UpdatePerson");
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let result = self.0.update_person(&mutation, request).await;
        answer(result)
    }

    async fn block_person(
        &self,
        request: Request<pb::BlockPersonRequest>,
    ) -> Result<Response<pb::BlockPersonResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.PersonService/BlockPerson");
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let result = self.0.block_person(&mutation, request).await;
        answer(result)
    }

    async fn unblock_person(
        &self,
        request: Request<pb::UnblockPersonRequest>,
    ) -> Result<Response<pb::UnblockPersonResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.PersonService/UnblockPerson");
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let result = self.0.unblock_person(&mutation, request).await;
        answer(result)
    }

    async fn deactivate_person(
        &self,
        request: Request<pb::DeactivatePersonRequest>,
    ) -> Result<Response<pb::DeactivatePersonResponse>, Status> {
        let call = Call::of(
            &request,
            "/publica.identity.v1.PersonService/DeactivatePerson",
        );
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let result = self.0.deactivate_person(&mutation, request).await;
        answer(result)
    }

    async fn record_death(
        &self,
        request: Request<pb::RecordDeathRequest>,
    ) -> Result<Response<pb::RecordDeathResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.PersonService/RecordDeath");
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let result = self.0.record_death(&mutation, request).await;
        answer(result)
    }

    async fn erase_person(
        &self,
        request: Request<pb::ErasePersonRequest>,
    ) -> Result<Response<pb::ErasePersonResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.PersonService/ErasePerson");
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let result = self.0.erase_person(&mutation, request).await;
        answer(result)
    }
}
