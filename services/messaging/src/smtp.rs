//! The SMTP client (RFC 5321, RFC 2920).
//!
//! What this block rests on is knowing, for each message, on which side of the final dot a
//! connection broke: before it, the message was never sent; after it, and until an answer has
//! been read, nobody can tell. Hence a client of our own, which also writes a message in few
//! packets and never waits for a delayed acknowledgement.

mod connection;
mod hop;

pub(crate) use connection::{Body, Connection, Head, Transaction};
pub(crate) use hop::{Hop, HopError, Io, TlsMode, connector};
