//! The REST surfaces: a module a block, with the published shapes written by hand.

mod consent;
mod identity;
mod messaging;
mod payments;
mod registration;
mod signature;

use axum::Router;

use crate::description::Operation;
use crate::state::GatewayState;

/// The REST surface of one block.
#[derive(Clone, Copy)]
pub struct Surface {
    /// The block's name, which is also where it is mounted on the shared listener.
    pub block: &'static str,
    /// Its routes, from the root of the surface, with fallbacks in its own error shape.
    pub router: fn(GatewayState) -> Router,
    /// Its operations, for the description.
    pub operations: &'static [Operation],
    /// Its gRPC services, for the description.
    pub services: &'static [&'static str],
}

/// Every surface that this gateway can serve.
pub const SURFACES: &[Surface] = &[
    consent::SURFACE,
    identity::SURFACE,
    messaging::SURFACE,
    payments::SURFACE,
    registration::SURFACE,
    signature::SURFACE,
];

/// The surface of a block.
pub fn surface(block: &str) -> Option<&'static Surface> {
    SURFACES.iter().find(|surface| surface.block == block)
}
