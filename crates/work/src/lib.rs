//! Durable work on a block's own store: jobs and sagas.
//!
//! * A [`Job`] is enqueued in the transaction of the effect that asks for it ([`enqueue`]). A
//!   [`Worker`] leases it, runs its [`Handler`], and tries again with growing pauses until it is
//!   done or given up. What is given up stays until somebody sends it again or drops it.
//! * A [`Saga`] is work in several persisted steps, each under a request id of its own, which are
//!   undone if it cannot be finished ([`sagas`]).
//! * [`operator`] is the view of whoever keeps the system running.
//!
//! Leaves out: a block's steps and schedules, and any order between jobs but that of
//! [`enqueue_ordered`]. A job runs at least once, so its handler must bear repetition.

#![warn(missing_docs)]

mod backoff;
mod job;
pub mod operator;
mod saga;
pub mod sagas;
mod store;
mod wake;
mod worker;

pub use backoff::Backoff;
pub use job::{Claimed, Job, LANES, Outcome, Ticket, enqueue, enqueue_ordered};
pub use saga::{Saga, SagaState, Step, StepOutcome};
pub use worker::{Handler, Policy, Worker};

use publica_store::{MigrationSet, migration_set};

/// The tables of this crate, for [`publica_store::Migrations::with`].
pub static MIGRATIONS: MigrationSet = migration_set!("./migrations");

/// Every statement of this crate, for the test that prepares them on both engines.
#[doc(hidden)]
pub const STATEMENTS: &[&[(&str, publica_store::Sql)]] =
    &[store::jobs::ALL, store::sagas::ALL, store::views::ALL];
