//! Rails: the way to the institutions that hold payees' accounts.
//!
//! A message has an id that follows from what it carries, so it can be asked about, and sent
//! again, under the same id after any crash. What a rail has not definitely refused may have
//! been paid.

mod simulated;

pub(crate) use simulated::Simulated;

use publica_store::{BoxFuture, StoreError};
use publica_types::{Secret, Tenant, Uuid};

/// One payment on its way.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) end_to_end_id: Uuid,
    pub(crate) address: Secret<String>,
    pub(crate) amount_minor: i64,
}

/// Payments to the customers of one institution.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) message_id: Uuid,
    pub(crate) items: Vec<Item>,
}

/// What a rail says about a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    Settled,
    Rejected {
        reason_code: String,
    },
    /// It cannot say yet.
    Unknown,
}

/// What a rail says about an item that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) end_to_end_id: Uuid,
    pub(crate) amount_minor: i64,
    pub(crate) status: Status,
}

/// Why a rail did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RailError {
    /// No acknowledgement came. The message may have arrived.
    #[error("the rail did not acknowledge the message")]
    NoAnswer,
    #[error("the rail's store failed")]
    Store(#[from] StoreError),
}

/// A way to pay.
pub(crate) trait Rail: Send + Sync {
    /// Hands over a message. A message that the rail has already has no second effect.
    fn submit<'a>(
        &'a self,
        tenant: &'a Tenant,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), RailError>>;

    /// What became of a message, in the order of its items; `None` if it never arrived.
    fn query<'a>(
        &'a self,
        tenant: &'a Tenant,
        message_id: Uuid,
    ) -> BoxFuture<'a, Result<Option<Vec<Report>>, RailError>>;

    /// What so many payments of so much together cost, in minor units.
    fn fee(&self, item_count: i64, amount_minor: i64) -> i64;

    /// What the institution's statement shows for a message: settled payments only.
    fn statement<'a>(
        &'a self,
        tenant: &'a Tenant,
        message_id: Uuid,
    ) -> BoxFuture<'a, Result<Vec<Report>, RailError>>;
}
