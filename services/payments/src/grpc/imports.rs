//! The import service: lines in, problems out.

use publica_imports::take_in;
use publica_proto::imports::v1 as pb;
use publica_proto::imports::v1::import_service_server::ImportService;
use publica_rpc::{origin, status_of};
use tonic::{Request, Response, Status, Streaming};

use crate::grpc::Service;

#[tonic::async_trait]
impl ImportService for Service {
    async fn import_entities(
        &self,
        request: Request<Streaming<pb::ImportEntitiesRequest>>,
    ) -> Result<Response<pb::ImportEntitiesResponse>, Status> {
        let origin = &origin(&request);
        let db = &self.0.db(origin).await.map_err(|error| status_of(&error))?;
        let read = |kind: &str, json: &[u8]| self.0.read_line(kind, json);
        let answer = take_in(request.into_inner(), read, |lines| async move {
            let stored = self.0.import(db, origin, lines).await;
            stored.map_err(|error| status_of(&error))
        });
        answer.await.map(Response::new)
    }
}
