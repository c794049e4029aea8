//! The program as people and init systems use it.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails it by panicking"
)]

mod back;
mod data;
mod drain;
mod export;
mod help;
mod journey;
mod keys;
mod process;
mod reflection;
mod roles;
mod rotate;
mod running;
mod separate;
mod settings;
mod telemetry;
mod tenants;
mod town;
