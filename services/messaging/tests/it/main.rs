//! The block from outside: through the generated clients, with a mail server that keeps what it
//! was given.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod batch;
mod callbacks;
mod delivery;
mod imports;
mod inbound;
mod kill;
mod operations;
mod policy;
mod privacy;
mod provider;
mod send;
mod sms;
mod support;
mod suppressions;
mod templates;
