//! Contract tests of the published paths, against the gateway with the block behind it, on both
//! stores.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails it by panicking"
)]

mod consent;
mod identity;
mod imports;
mod interception;
mod messaging;
mod payments;
mod refusals;
mod registration;
mod signature;
