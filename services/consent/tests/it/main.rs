//! The block as its callers see it: through the generated clients, behind all its layers, on
//! both engines.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails it by panicking"
)]

mod ages;
mod agreements;
mod changes;
mod decisions;
mod delegations;
mod erased_people;
mod erasure;
mod faults;
mod import_runs;
mod imports;
mod individuals;
mod policies;
mod policy_table;
mod receipts;
mod reconsent;
mod records;
mod revisions;
mod settings;
mod sharing;
mod support;
