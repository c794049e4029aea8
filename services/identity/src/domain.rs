//! Rules and state machines, without a store, a network, a clock or randomness of their own.

pub(crate) mod attributes;
pub(crate) mod authorization;
pub(crate) mod claims;
pub(crate) mod client;
pub(crate) mod identifier;
pub(crate) mod key;
pub(crate) mod mask;
pub(crate) mod number;
pub(crate) mod person;
pub(crate) mod pkce;
pub(crate) mod sign_in;
pub(crate) mod uri;
