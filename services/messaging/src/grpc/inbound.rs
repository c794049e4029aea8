//! `InboundService`.

use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::inbound_service_server::InboundService;
use tonic::{Request, Response, Status};

use super::{Service, who};

#[tonic::async_trait]
impl InboundService for Service {
    async fn receive_mail(
        &self,
        request: Request<api::ReceiveMailRequest>,
    ) -> Result<Response<api::ReceiveMailResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app.receive_mail(&who, request.into_inner()).await?,
        ))
    }

    async fn receive_sms_report(
        &self,
        request: Request<api::ReceiveSmsReportRequest>,
    ) -> Result<Response<api::ReceiveSmsReportResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app
                .receive_sms_report(&who, &request.into_inner())
                .await?,
        ))
    }
}
