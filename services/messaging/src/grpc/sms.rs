//! `SmsService`.

use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::send_sms_batch_request::Part;
use publica_proto::messaging::v1::sms_service_server::SmsService;
use tonic::{Request, Response, Status, Streaming};

use super::{Service, who};
use crate::app::Batch;
use crate::error::Error;

#[tonic::async_trait]
impl SmsService for Service {
    async fn send_sms(
        &self,
        request: Request<api::SendSmsRequest>,
    ) -> Result<Response<api::SendSmsResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app.send_sms(&who, request.into_inner()).await?,
        ))
    }

    async fn send_sms_batch(
        &self,
        request: Request<Streaming<api::SendSmsBatchRequest>>,
    ) -> Result<Response<api::SendSmsBatchResponse>, Status> {
        let who = who(&request);
        let mut parts = request.into_inner();
        let Some(Part::Header(header)) = parts.message().await?.and_then(|first| first.part) else {
            return Err(Error::Stream("the first part is the header").into());
        };
        let mut batch = self.app.begin_sms_batch(who, header).await?;
        if let Err(status) = take_in(&mut batch, &mut parts).await {
            batch.discard().await;
            return Err(status);
        }
        let done = batch.finish().await?;
        Ok(Response::new(api::SendSmsBatchResponse {
            request_uid: done.request_uid,
            message_count: done.message_count,
            rejected_count: done.rejected_count,
            accept_time: done.accept_time,
            replayed: done.replayed,
        }))
    }

    async fn preview_sms(
        &self,
        request: Request<api::PreviewSmsRequest>,
    ) -> Result<Response<api::PreviewSmsResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app.preview_sms(&who, request.into_inner()).await?,
        ))
    }
}

async fn take_in(
    batch: &mut Batch,
    parts: &mut Streaming<api::SendSmsBatchRequest>,
) -> Result<(), Status> {
    while let Some(part) = parts.message().await? {
        match part.part {
            Some(Part::Recipients(list)) => batch.add_sms(list.recipients).await?,
            Some(Part::Header(_)) => {
                return Err(Error::Stream("there is one header").into());
            }
            None => return Err(Error::Stream("a part is empty").into()),
        }
    }
    Ok(())
}
