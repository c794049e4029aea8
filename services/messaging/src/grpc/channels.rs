//! `ChannelService`.

use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::channel_service_server::ChannelService;
use tonic::{Request, Response, Status};

use super::{Service, who};

#[tonic::async_trait]
impl ChannelService for Service {
    async fn list_channels(
        &self,
        request: Request<api::ListChannelsRequest>,
    ) -> Result<Response<api::ListChannelsResponse>, Status> {
        Ok(Response::new(self.app.channels(&who(&request)).await?))
    }

    async fn list_signing_keys(
        &self,
        request: Request<api::ListSigningKeysRequest>,
    ) -> Result<Response<api::ListSigningKeysResponse>, Status> {
        Ok(Response::new(self.app.signing_keys(&who(&request)).await?))
    }
}
