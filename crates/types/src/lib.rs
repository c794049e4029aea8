//! Values that every block shares: times, ids, money, secrets and the origin of a call.
//!
//! Parts: [`Timestamp`] with the injected [`Clock`], the injected [`Entropy`], typed ids made
//! by [`typed_id!`], [`Money`] and [`Currency`], [`Secret`], [`Origin`] and [`Tenant`].
//!
//! Leaves out: input and output, anything asynchronous, and whatever one block alone uses.
//! With the feature `sqlx` (on by default) the values can be stored in SQLite and PostgreSQL.

#![warn(missing_docs)]

mod clock;
mod entropy;
mod id;
mod money;
mod origin;
mod secret;
mod timestamp;

pub use clock::{Clock, SharedClock, SystemClock};
pub use entropy::{Entropy, SharedEntropy, SystemEntropy, new_uuid};
pub use money::{Currency, CurrencyError, Money, MoneyError};
pub use origin::{Origin, Tenant, TenantError};
pub use secret::Secret;
pub use timestamp::{Timestamp, TimestampError};
pub use uuid::Uuid;

/// What [`typed_id!`] needs from its expansion site; not for direct use.
#[doc(hidden)]
pub mod macro_support {
    pub use serde;
    #[cfg(feature = "sqlx")]
    pub use sqlx;
    pub use uuid;
}
