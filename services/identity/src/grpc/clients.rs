//! Clients of relying parties.

use std::sync::Arc;

use publica_auth::Caller;
use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::client_service_server::ClientService;
use publica_rpc::Refusal;
use tonic::{Code, Request, Response, Status};

use crate::convert::client_from;
use crate::grpc::{Call, Services, answer};

/// Scopes that register clients: ours, and that of the published interface.
const CREATE: [&str; 2] = ["identity:client:write", "add_oidc_client"];
/// Scopes that change clients.
const UPDATE: [&str; 2] = ["identity:client:write", "update_oidc_client"];

/// The caller, if it holds one of the scopes.
fn registrar<T>(request: &Request<T>, scopes: [&str; 2]) -> Result<Arc<Caller>, Status> {
    let caller = publica_rpc::caller(request);
    let allowed = |caller: &&Arc<Caller>| scopes.iter().any(|scope| caller.allows(scope));
    caller.filter(allowed).cloned().ok_or_else(|| {
        let message = "The caller may not register clients.";
        Refusal::new(Code::PermissionDenied, "SCOPE_MISSING", message).into()
    })
}

#[tonic::async_trait]
impl ClientService for Services {
    async fn create_client(
        &self,
        request: Request<pb::CreateClientRequest>,
    ) -> Result<Response<pb::CreateClientResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.ClientService/CreateClient");
        let caller = registrar(&request, CREATE)?;
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let client = client_from(request.client.unwrap_or_default());
        let result = self.0.create_client(&mutation, &caller, client).await;
        answer(result)
    }

    async fn update_client(
        &self,
        request: Request<pb::UpdateClientRequest>,
    ) -> Result<Response<pb::UpdateClientResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.ClientService/UpdateClient");
        let caller = registrar(&request, UPDATE)?;
        let request = request.into_inner();
        let mutation = call.mutation(&request, &request.request_id);
        let client = client_from(request.client.unwrap_or_default());
        let result = self.0.update_client(&mutation, &caller, client).await;
        answer(result)
    }

    async fn get_client(
        &self,
        request: Request<pb::GetClientRequest>,
    ) -> Result<Response<pb::GetClientResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.ClientService/GetClient");
        let request = request.into_inner();
        let result = self.0.get_client(&call.origin, &request).await;
        answer(result)
    }

    async fn list_clients(
        &self,
        request: Request<pb::ListClientsRequest>,
    ) -> Result<Response<pb::ListClientsResponse>, Status> {
        let call = Call::of(&request, "/publica.identity.v1.ClientService/ListClients");
        let request = request.into_inner();
        let result = self.0.list_clients(&call.origin, &request).await;
        answer(result)
    }
}
