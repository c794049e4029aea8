//! The block as its callers see it: real stores, generated clients, all layers.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod clients;
mod enrolment;
mod imports;
mod keys;
mod persons;
mod policy;
mod sign_in;
mod support;
mod tokens;
