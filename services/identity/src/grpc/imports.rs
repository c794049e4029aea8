//! Bringing data in from another system.

use publica_imports::take_in;
use publica_proto::imports::v1 as imports;
use publica_proto::imports::v1::import_service_server::ImportService;
use tonic::{Request, Response, Status, Streaming};

use crate::grpc::{Call, Services};

const RPC: &str = "/publica.imports.v1.ImportService/ImportEntities";

#[tonic::async_trait]
impl ImportService for Services {
    async fn import_entities(
        &self,
        request: Request<Streaming<imports::ImportEntitiesRequest>>,
    ) -> Result<Response<imports::ImportEntitiesResponse>, Status> {
        let call = &Call::of(&request, RPC);
        let read = |kind: &str, json: &[u8]| self.0.read_line(kind, json);
        let answer = take_in(request.into_inner(), read, |lines| async move {
            Ok(self.0.import(&call.origin, lines).await?)
        });
        answer.await.map(Response::new)
    }
}
