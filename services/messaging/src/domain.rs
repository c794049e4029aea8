//! Rules of delivery: what may be sent, how it is written, and what an answer means.
//!
//! Nothing here knows a store, a socket, a clock or randomness.

pub(crate) mod address;
pub(crate) mod compose;
pub(crate) mod counters;
pub(crate) mod dkim;
pub(crate) mod encode;
pub(crate) mod envelope;
pub(crate) mod inbound;
pub(crate) mod member;
pub(crate) mod mime;
pub(crate) mod phone;
pub(crate) mod provider;
pub(crate) mod receipt;
pub(crate) mod reply;
pub(crate) mod retry;
pub(crate) mod sms;
pub(crate) mod template;
pub(crate) mod uid;
