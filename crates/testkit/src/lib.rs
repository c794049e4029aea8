//! What tests need and production does not.
//!
//! * [`Database`] gives each test a private store on either engine; [`both_engines!`] turns
//!   one test into two; [`prepare_all`] prepares every statement of a crate.
//! * [`MockClock`] and [`SeededEntropy`] make time and randomness repeatable.
//! * [`env()`] and [`TestEnv::open`] run a block in the test's process behind all its layers;
//!   [`token`] makes callers, [`with_token`] puts them on a link.
//! * [`schemas_hold`] holds the published schemas of imports against a block.
//! * [`MobileMoney`] and [`SmsProvider`] stand for providers outside, on their wire formats.
//! * [`eventually`] waits for a condition instead of sleeping.
//!
//! Leaves out: fixtures that belong to one block. Only ever a dev-dependency.

#![warn(missing_docs)]

mod block;
mod clock;
mod database;
mod entropy;
mod http;
mod imports;
mod mobile_money;
mod server;
mod sms_provider;
mod wait;

pub use block::{TestBlock, TestEnv, env, token, token_for, tokens, verifier, with_token};
pub use clock::MockClock;
pub use database::{Database, TestDatabase, prepare_all};
pub use entropy::SeededEntropy;
pub use imports::schemas_hold;
pub use mobile_money::{MOBILE_MONEY_KEY, MobileMoney};
pub use server::postgres_programs;
pub use sms_provider::{ProviderMessage, SMS_PROVIDER_KEY, SmsProvider, SmsProviderFaults};
pub use wait::eventually;
