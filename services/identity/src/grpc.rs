//! The generated traits: convert, call the app, convert back.

mod clients;
mod enrolments;
mod factors;
mod identifiers;
mod imports;
mod persons;
mod provider;
mod sign_in;
mod tokens;

use prost::Message;
use publica_journal::fingerprint;
use publica_proto::identity::v1 as pb;
use publica_proto::imports::v1::import_service_server::ImportServiceServer;
use publica_rpc::Fault as _;
use publica_types::Origin;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::app::{App, Mutation};
use crate::error::Error;

/// The largest message that a service reads: a thousand people, or a packet with evidence.
const MESSAGE_LIMIT: usize = 8 * 1024 * 1024;

/// The services of the block over its use cases.
#[derive(Clone)]
pub(crate) struct Services(App);

/// All services of the block but the journal's.
pub(crate) fn routes(app: &App) -> Routes {
    use pb::client_service_server::ClientServiceServer;
    use pb::enrolment_service_server::EnrolmentServiceServer;
    use pb::factor_service_server::FactorServiceServer;
    use pb::identifier_service_server::IdentifierServiceServer;
    use pb::person_service_server::PersonServiceServer;
    use pb::provider_service_server::ProviderServiceServer;
    use pb::sign_in_service_server::SignInServiceServer;
    use pb::token_service_server::TokenServiceServer;
    let services = Services(app.clone());
    let persons =
        PersonServiceServer::new(services.clone()).max_decoding_message_size(MESSAGE_LIMIT);
    let enrolments =
        EnrolmentServiceServer::new(services.clone()).max_decoding_message_size(MESSAGE_LIMIT);
    Routes::new(persons.max_encoding_message_size(MESSAGE_LIMIT))
        .add_service(enrolments)
        .add_service(IdentifierServiceServer::new(services.clone()))
        .add_service(FactorServiceServer::new(services.clone()))
        .add_service(ClientServiceServer::new(services.clone()))
        .add_service(SignInServiceServer::new(services.clone()))
        .add_service(TokenServiceServer::new(services.clone()))
        .add_service(ProviderServiceServer::new(services.clone()))
        .add_service(ImportServiceServer::new(services))
}

/// A call as the services see it: who makes it, and what it is called in the journal.
struct Call {
    origin: Origin,
    rpc: &'static str,
}

impl Call {
    fn of<T>(request: &Request<T>, rpc: &'static str) -> Self {
        Self {
            origin: publica_rpc::origin(request),
            rpc,
        }
    }

    fn mutation(&self, request: &impl Message, request_id: &str) -> Mutation {
        Mutation {
            origin: self.origin.clone(),
            rpc: self.rpc,
            request_id: (!request_id.is_empty()).then(|| request_id.to_owned()),
            fingerprint: fingerprint(request),
        }
    }
}

/// The answer to a call. The layers around the block journal the refusals of known callers.
fn answer<T>(result: Result<T, Error>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| {
        let reason = error.reason();
        metrics::counter!("publica_identity_refusals_total", "reason" => reason).increment(1);
        error.into()
    })
}
