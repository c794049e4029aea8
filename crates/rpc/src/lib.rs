//! Calls between blocks, in one process or over the network alike.
//!
//! Parts: [`Link`] and [`Peers`] carry calls; [`Guard`] is what every served call passes;
//! [`Fault`], [`status_of`], [`Invalid`] and [`Refusal`] turn errors into statuses; [`origin()`]
//! and [`outgoing`] carry who calls and in which case; [`PageToken`] and [`page_size`] serve
//! lists; [`timestamp`] and [`from_timestamp`] convert times.
//!
//! Leaves out: whether a caller may do what it asks (crate `auth`), and sockets (crate `host`).

#![warn(missing_docs)]

mod context;
mod credentials;
mod deadline;
mod fault;
mod framework;
mod guard;
mod link;
mod metered;
mod methods;
mod origin;
mod page;
mod peers;
mod span;
mod switch;
mod time;

use std::time::Duration;

pub use context::{CallContext, SOUND_ID, TraceContext, TraceIds, is_sound_id, remaining};
pub use credentials::{Credentials, WorkloadCredentials};
pub use fault::{Fault, Invalid, Refusal, invalid, reason, status_of, violations};
pub use guard::{Guard, Guarded, Limits};
pub use link::Link;
pub use methods::{MethodInfo, code_name, methods_of};
pub use origin::{ACTOR, PROCESS_ID, REQUEST_ID, caller, origin, outgoing};
pub use page::{PageToken, page_size};
pub use peers::Peers;
pub use span::TARGET as SPAN_TARGET;
pub use switch::{BLOCK, Switch};
pub use time::{from_timestamp, timestamp};

/// The time given to a call that names no deadline.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
