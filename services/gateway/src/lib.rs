//! The gateway: published REST surfaces, native JSON, and pages. The host passes gRPC to blocks
//! on the same port.
//!
//! Parts: `rest` holds one module a block with the published shapes, errors and order of checks;
//! `state` is what handlers are given: who calls, and the way to a block; `body` reads requests
//! and `respond` and `problem` write answers; `layers` is what every call passes; `pages` and
//! `description` serve what people and tools look at first.
//!
//! Leaves out: any store, and any rule of a block. A handler converts, calls, converts back.

pub mod body;
pub mod convert;
pub mod description;
pub mod pages;
pub mod problem;
pub mod respond;
pub mod rest;
pub mod state;

mod catalog;
mod config;
mod durations;
mod gateway;
mod layers;
mod sign_in;

pub use config::{GatewayConfig, PagesConfig, PrivacyConfig, SurfaceConfig};
pub use gateway::Gateway;
pub use state::{Entry, EntryFault, GatewayState, Parts};
