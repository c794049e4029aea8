//! `ImportService` for the kinds of this block.

use publica_imports::take_in;
use publica_proto::imports::v1 as api;
use publica_proto::imports::v1::import_service_server::ImportService;
use tonic::{Request, Response, Status, Streaming};

use super::{Service, who};

#[tonic::async_trait]
impl ImportService for Service {
    async fn import_entities(
        &self,
        request: Request<Streaming<api::ImportEntitiesRequest>>,
    ) -> Result<Response<api::ImportEntitiesResponse>, Status> {
        let import = &self.app.begin_import(&who(&request)).await?;
        let read = |kind: &str, json: &[u8]| import.read(kind, json);
        let answer = take_in(request.into_inner(), read, |lines| async move {
            Ok(import.store(lines).await?)
        });
        answer.await.map(Response::new)
    }
}
