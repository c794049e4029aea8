//! The services that every block offers over its journal and its work: convert, call, convert
//! back.

use publica_proto::journal::v1::journal_service_server::JournalServiceServer;
use publica_proto::journal::v1::webhook_service_server::WebhookServiceServer;
use publica_proto::work::v1::work_service_server::WorkServiceServer;
use publica_rpc::invalid;
use publica_types::Uuid;
use tonic::Status;

use crate::journal::Journal;

mod log;
mod webhooks;
mod work;

pub use log::LogService;
pub(crate) use log::resume;
pub use webhooks::Webhooks;
pub use work::Work;

const DEFAULT_PAGE: i32 = 100;
const MAX_PAGE: i32 = 1_000;

impl Journal {
    /// The block's `JournalService`.
    pub fn service(&self) -> JournalServiceServer<LogService> {
        JournalServiceServer::new(LogService::new(self.clone()))
    }

    /// The block's `WebhookService`.
    pub fn webhook_service(&self) -> WebhookServiceServer<Webhooks> {
        WebhookServiceServer::new(Webhooks::new(self.clone()))
    }

    /// The block's `WorkService`, over the jobs and sagas in its stores.
    pub fn work_service(&self) -> WorkServiceServer<Work> {
        WorkServiceServer::new(Work::new(self.clone()))
    }

    /// All three services, added to a block's routes.
    pub fn add_services(&self, routes: tonic::service::Routes) -> tonic::service::Routes {
        routes
            .add_service(self.service())
            .add_service(self.webhook_service())
            .add_service(self.work_service())
    }
}

/// A UUID in a request.
fn uuid(field: &str, text: &str) -> Result<Uuid, Status> {
    Uuid::parse_str(text).map_err(|_| invalid(field, "is not a UUID").into())
}

/// A reason that an operator gives for the record.
fn reason(text: &str, required: bool) -> Result<(), Status> {
    const MAX: usize = 500;
    if required && text.trim().is_empty() {
        return Err(invalid("reason", "is required").into());
    }
    if text.chars().count() > MAX {
        return Err(invalid("reason", "is longer than 500 characters").into());
    }
    Ok(())
}
