//! The block from outside: through the generated clients, over all its layers.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails it by panicking"
)]

mod batches;
mod bulk;
mod files;
mod imports;
mod kill;
mod ledger;
mod mapper;
mod mobile;
mod periods;
mod policy;
mod privacy;
mod resume;
mod statements;
mod support;
mod vouchers;
