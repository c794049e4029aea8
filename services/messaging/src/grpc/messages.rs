//! `MessageService`.

use std::pin::Pin;
use std::time::Duration;

use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::message_service_server::MessageService;
use publica_proto::messaging::v1::send_email_batch_request::Part;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{Service, who};
use crate::app::Batch;
use crate::error::Error;

/// How often a watched request is looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);

type Watch = Pin<Box<dyn Stream<Item = Result<api::WatchStatusResponse, Status>> + Send>>;

#[tonic::async_trait]
impl MessageService for Service {
    async fn send_email(
        &self,
        request: Request<api::SendEmailRequest>,
    ) -> Result<Response<api::SendEmailResponse>, Status> {
        let who = who(&request);
        let response = self.app.send_email(&who, request.into_inner()).await?;
        Ok(Response::new(response))
    }

    async fn send_email_batch(
        &self,
        request: Request<Streaming<api::SendEmailBatchRequest>>,
    ) -> Result<Response<api::SendEmailBatchResponse>, Status> {
        let who = who(&request);
        let mut parts = request.into_inner();
        let Some(Part::Header(header)) = parts.message().await?.and_then(|first| first.part) else {
            return Err(Error::Stream("the first part is the header").into());
        };
        let mut batch = self.app.begin_batch(who, header).await?;
        if let Err(status) = take_in(&mut batch, &mut parts).await {
            batch.discard().await;
            return Err(status);
        }
        Ok(Response::new(batch.finish().await?))
    }

    async fn get_status(
        &self,
        request: Request<api::GetStatusRequest>,
    ) -> Result<Response<api::GetStatusResponse>, Status> {
        let who = who(&request);
        let message = request.into_inner();
        let (uid, channel) = (&message.request_uid, message.channel());
        let (counters, completed) = self.app.status(&who, uid, channel).await?;
        let paused = self.app.is_paused(&who, uid).await?;
        Ok(Response::new(api::GetStatusResponse {
            counters: Some(counters),
            completed,
            paused,
        }))
    }

    type WatchStatusStream = Watch;

    async fn watch_status(
        &self,
        request: Request<api::WatchStatusRequest>,
    ) -> Result<Response<Watch>, Status> {
        let (app, who) = (self.app.clone(), who(&request));
        let any = api::MessageChannel::Unspecified;
        let uid = request.into_inner().request_uid;
        // An unknown handle is refused at once, not in the stream.
        let mut now = app.status(&who, &uid, any).await?;
        let stream = async_stream::try_stream! {
            loop {
                let completed = now.1;
                yield api::WatchStatusResponse { counters: Some(now.0), completed };
                if completed {
                    break;
                }
                let before = now.0;
                loop {
                    tokio::time::sleep(WATCH_EVERY).await;
                    now = app.status(&who, &uid, any).await?;
                    if now.0 != before || now.1 {
                        break;
                    }
                }
            }
        };
        Ok(Response::new(Box::pin(stream)))
    }

    async fn list_events(
        &self,
        request: Request<api::ListEventsRequest>,
    ) -> Result<Response<api::ListEventsResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app.events(&who, &request.into_inner()).await?,
        ))
    }

    async fn cancel_request(
        &self,
        request: Request<api::CancelRequestRequest>,
    ) -> Result<Response<api::CancelRequestResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app.cancel(&who, request.into_inner()).await?,
        ))
    }

    async fn create_reply(
        &self,
        request: Request<api::CreateReplyRequest>,
    ) -> Result<Response<api::CreateReplyResponse>, Status> {
        let who = who(&request);
        Ok(Response::new(
            self.app.create_reply(&who, request.into_inner()).await?,
        ))
    }
}

async fn take_in(
    batch: &mut Batch,
    parts: &mut Streaming<api::SendEmailBatchRequest>,
) -> Result<(), Status> {
    while let Some(part) = parts.message().await? {
        match part.part {
            Some(Part::Recipients(list)) => batch.add(list.recipients).await?,
            Some(Part::Header(_)) => {
                return Err(Error::Stream("there is one header").into());
            }
            None => return Err(Error::Stream("a part is empty").into()),
        }
    }
    Ok(())
}
