//! `ImportService` for the kinds of this block.

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
        let mut import = self.app.begin_import(&who(&request)).await?;
        let mut entities = request.into_inner();
        while let Some(entity) = entities.message().await? {
            import.add(entity).await?;
        }
        Ok(Response::new(import.finish().await?))
    }
}
