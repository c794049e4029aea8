//! Rules: what is valid, what a snapshot holds, when a signature fits, who may do what with
//! whose data. Nothing here reads a clock, a store or the network.

pub(crate) mod agreement;
pub(crate) mod decision;
pub(crate) mod delegation;
pub(crate) mod foreign;
pub(crate) mod limit;
pub(crate) mod material;
pub(crate) mod notice;
pub(crate) mod policy;
pub(crate) mod purpose;
pub(crate) mod receipt;
pub(crate) mod record;
pub(crate) mod signature;
pub(crate) mod snapshot;
pub(crate) mod violations;
