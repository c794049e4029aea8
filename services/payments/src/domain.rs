//! Rules and state machines. Nothing here reads a clock, a store or a socket.

pub(crate) mod address;
pub(crate) mod batch;
pub(crate) mod currency;
pub(crate) mod guess;
pub(crate) mod ids;
pub(crate) mod instruction;
pub(crate) mod iso20022;
pub(crate) mod ledger;
pub(crate) mod merkle;
pub(crate) mod mobile_money;
pub(crate) mod oauth;
pub(crate) mod outcome;
pub(crate) mod partner;
pub(crate) mod period;
pub(crate) mod reconcile;
pub(crate) mod siv;
pub(crate) mod voucher;
