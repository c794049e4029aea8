//! Runs blocks: opens them, puts them behind layers and listeners, and stops them in order.
//!
//! Parts: [`Block`] and the [`Env`] it is given; [`mount`] puts the layers around it; [`Front`]
//! is what a [`Listener`] offers and [`serve`] runs it; [`Readiness`] and [`admin`] are the
//! probes; [`Stages`] and [`stop_in_order`] are the two-stage shutdown; [`ListenConfig`],
//! [`TlsConfig`] and [`ServerConfig`] are the settings.
//!
//! Leaves out: any storage, and anything a block could not be tested without.

#![warn(missing_docs)]

mod admin;
mod block;
mod config;
mod front;
mod mount;
mod peer_config;
mod serve;
mod shutdown;
mod tls;

use tonic::service::Routes;

pub use admin::{Readiness, admin};
pub use block::{Block, Env, OpenError, Profile, StorePlan};
pub use config::{ListenConfig, ServerConfig};
pub use front::Front;
pub use mount::{Mounted, mount};
pub use peer_config::{PeerConfig, PeerError};
pub use serve::{Listener, ServeLimits, serve};
pub use shutdown::{Ending, Requests, Stages, StopTimes, stop_in_order};
pub use tls::{Certificates, TlsConfig, TlsError};

/// Adds `grpc.reflection`, both versions, to the services that need no caller. It describes
/// the services in the given definitions.
pub fn reflect(
    open: Routes,
    descriptors: &[&'static [u8]],
) -> Result<Routes, tonic_reflection::server::Error> {
    let builder = || {
        descriptors.iter().fold(
            tonic_reflection::server::Builder::configure(),
            |builder, set| builder.register_encoded_file_descriptor_set(set),
        )
    };
    Ok(open
        .add_service(builder().build_v1()?)
        .add_service(builder().build_v1alpha()?))
}

/// The same in the conformance profile, which no line keeps silent about.
pub fn conformance_log_context(put: &mut dyn FnMut(&'static str, &str)) {
    put("profile", Profile::Conformance.as_str());
    log_context(put);
}

/// What log lines say of the call being served; the context source of the telemetry crate.
pub fn log_context(put: &mut dyn FnMut(&'static str, &str)) {
    publica_rpc::CallContext::with(|context| {
        put("trace_id", &context.trace.trace_id());
        put("span_id", &context.trace.span_id());
        if let Some(id) = context.request_id.as_ref().and_then(|id| id.to_str().ok()) {
            put("request_id", id);
        }
    });
}
