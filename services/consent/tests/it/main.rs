//! The block as its callers see it: through the generated clients, behind all its layers, on
//! both engines.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails it by panicking"
)]

mod agreements;
mod decisions;
mod erasure;
mod imports;
mod individuals;
mod policies;
mod policy_table;
mod records;
mod revisions;
mod settings;
mod support;
