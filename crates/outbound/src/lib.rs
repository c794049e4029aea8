//! HTTP calls to systems outside: kept out of the inside of a network, signed, bounded in time,
//! and judged alike.
//!
//! * [`check_url`] says whether a target may be called at all; [`Client`] connects only to
//!   addresses that it may reach, follows no redirect and uses no proxy.
//! * [`signature`] is what Standard Webhooks put into `webhook-signature`; [`legacy_signature`]
//!   what receivers of an earlier system look for.
//! * [`Client::ask`] makes a call whose answer is read.
//! * [`Sent::outcome`] turns an answer, or its absence, into what a job does next.
//!
//! Leaves out: queues and their storage (crate `work`), and what is said to whom.

#![warn(missing_docs)]

mod client;
mod guard;
mod question;
mod signature;

pub use client::{Call, Client, Limits, Method, Sent};
pub use guard::{Targets, check_url};
pub use question::{Answer, Question, Silence};
pub use signature::{legacy_signature, signature};
