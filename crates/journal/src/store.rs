//! The journal's tables: a file for each concern, SQL beside the functions that run it.

pub(crate) mod cursors;
pub(crate) mod deliveries;
pub(crate) mod entries;
pub(crate) mod ledger;
pub(crate) mod log;
pub(crate) mod tail;
pub(crate) mod webhooks;
