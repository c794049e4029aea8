//! Makes a service ask for consent before it uses personal data.
//!
//! * [`Gate`] asks the consent block about one use, and keeps positive answers if it is told to.
//!   What it keeps never outlives a withdrawal: before each use of a kept answer it reads what was
//!   revoked up to then, in one short call that all uses in flight share, so a use that begins
//!   after a withdrawal was acknowledged is refused, on whatever replica both happened.
//! * [`HttpFilter`] and [`GrpcInterceptor`] put a gate in front of a service: rules say which
//!   requests need consent, and for what; the service finds the [`Permit`] in the request.
//!
//! Whatever cannot be established is refused. Leaves out: which requests need consent (the
//! service says so), and who calls (the authentication around it).

#![warn(missing_docs)]

mod gate;
mod intercept;
mod shelf;

pub use gate::{Gate, GateConfig, GateError, Permit, Use};
pub use intercept::{Demand, GrpcInterceptor, HttpFilter, Intercepted};

/// The header that carries the id of the decision on which an answer rests, so that both sides
/// of an exchange can keep it.
pub const DECISION: &str = "x-consent-decision";
