//! The import service: lines in, problems out.

use publica_imports::take_in;
use publica_proto::imports::v1 as pb;
use publica_proto::imports::v1::import_service_server::ImportService;
use publica_rpc::status_of;
use tonic::{Request, Response, Status, Streaming};

use crate::app::Who;
use crate::app::import::Line;
use crate::grpc::Service;

#[tonic::async_trait]
impl ImportService for Service {
    async fn import_entities(
        &self,
        request: Request<Streaming<pb::ImportEntitiesRequest>>,
    ) -> Result<Response<pb::ImportEntitiesResponse>, Status> {
        let who = &Who::of(&request);
        let answer = take_in(request.into_inner(), Line::read, |lines| async move {
            let stored = self.0.import(who, lines).await;
            stored.map_err(|error| status_of(&error))
        });
        answer.await.map(Response::new)
    }
}
