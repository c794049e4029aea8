//! The services: convert, call the use case, convert back.

mod channels;
mod delivery;
mod imports;
mod inbound;
mod messages;
mod sms;
mod suppressions;
mod templates;

use publica_proto::imports::v1::import_service_server::ImportServiceServer;
use publica_proto::messaging::v1::channel_service_server::ChannelServiceServer;
use publica_proto::messaging::v1::delivery_service_server::DeliveryServiceServer;
use publica_proto::messaging::v1::inbound_service_server::InboundServiceServer;
use publica_proto::messaging::v1::message_service_server::MessageServiceServer;
use publica_proto::messaging::v1::sms_service_server::SmsServiceServer;
use publica_proto::messaging::v1::suppression_service_server::SuppressionServiceServer;
use publica_proto::messaging::v1::template_service_server::TemplateServiceServer;
use tonic::Request;
use tonic::service::Routes;

use crate::app::{App, Who};

/// Largest message of a call: a part of a batch with a thousand recipients and their values.
const MESSAGE_MAX: usize = 8 * 1024 * 1024;

/// The use cases behind all services.
#[derive(Clone)]
struct Service {
    app: App,
}

pub(crate) fn routes(app: &App) -> Routes {
    let service = Service { app: app.clone() };
    let routes = Routes::new(
        MessageServiceServer::new(service.clone()).max_decoding_message_size(MESSAGE_MAX),
    )
    .add_service(SmsServiceServer::new(service.clone()).max_decoding_message_size(MESSAGE_MAX))
    .add_service(TemplateServiceServer::new(service.clone()).max_decoding_message_size(MESSAGE_MAX))
    .add_service(SuppressionServiceServer::new(service.clone()))
    .add_service(ChannelServiceServer::new(service.clone()))
    .add_service(DeliveryServiceServer::new(service.clone()))
    .add_service(InboundServiceServer::new(service.clone()))
    .add_service(ImportServiceServer::new(service));
    app.journal().add_services(routes)
}

fn who<T>(request: &Request<T>) -> Who {
    Who {
        origin: publica_rpc::origin(request),
        caller: publica_rpc::caller(request).cloned(),
    }
}
