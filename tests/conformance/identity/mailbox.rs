//! Stands for the messaging block: keeps the codes that it is given.

use std::sync::{Arc, Mutex};

use publica_proto::messaging::v1 as pb;
use publica_proto::messaging::v1::message_service_server::MessageService;
use publica_testkit::eventually;
use tonic::{Request, Response, Status, Streaming};

/// The codes that were sent, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Mailbox(Arc<Mutex<Vec<String>>>);

impl Mailbox {
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The first code after so many.
    pub(super) async fn wait(&self, before: usize) -> String {
        eventually(|| async { self.0.lock().unwrap().get(before).cloned() }).await
    }
}

fn absent<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the mailbox only takes e-mail"))
}

#[tonic::async_trait]
impl MessageService for Mailbox {
    async fn send_email(
        &self,
        request: Request<pb::SendEmailRequest>,
    ) -> Result<Response<pb::SendEmailResponse>, Status> {
        let recipient = request.into_inner().recipient.unwrap();
        let code = recipient.parameters.get("code").cloned().unwrap();
        self.0.lock().unwrap().push(code);
        Ok(Response::new(pb::SendEmailResponse::default()))
    }

    async fn send_email_batch(
        &self,
        _: Request<Streaming<pb::SendEmailBatchRequest>>,
    ) -> Result<Response<pb::SendEmailBatchResponse>, Status> {
        absent()
    }

    async fn get_status(
        &self,
        _: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        absent()
    }

    type WatchStatusStream = tokio_stream::Empty<Result<pb::WatchStatusResponse, Status>>;

    async fn watch_status(
        &self,
        _: Request<pb::WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        absent()
    }

    async fn list_events(
        &self,
        _: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        absent()
    }

    async fn cancel_request(
        &self,
        _: Request<pb::CancelRequestRequest>,
    ) -> Result<Response<pb::CancelRequestResponse>, Status> {
        absent()
    }

    async fn create_reply(
        &self,
        _: Request<pb::CreateReplyRequest>,
    ) -> Result<Response<pb::CreateReplyResponse>, Status> {
        absent()
    }
}
