//! SQL, a file an aggregate. Nothing outside this folder mentions sqlx.

pub(crate) mod agreement;
pub(crate) mod check;
pub(crate) mod delegation;
pub(crate) mod individual;
pub(crate) mod keys;
pub(crate) mod notice;
pub(crate) mod policy;
pub(crate) mod record;
pub(crate) mod record_key;
pub(crate) mod revision;
pub(crate) mod revocation;
pub(crate) mod signature;
pub(crate) mod timer;

#[cfg(test)]
mod tests;

use publica_store::{MigrationSet, StoreError, migration_set};
use publica_types::Timestamp;

/// The tables of this block.
pub(crate) static MIGRATIONS: MigrationSet = migration_set!("./migrations");

/// Where a list goes on: after the row with this time and id.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Cursor {
    /// The row's time of creation, in microseconds.
    pub(crate) at: i64,
    /// The row's id.
    pub(crate) id: String,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// Oldest first instead of newest first.
    pub(crate) ascending: bool,
    /// Where the previous page ended.
    pub(crate) after: Option<Cursor>,
    /// At most this many.
    pub(crate) limit: i64,
    /// Leave out this many. Published lists count in offsets, so this one place has them.
    pub(crate) skip: i64,
}

/// An id that sorts behind every other.
const LAST: &str = "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~";
/// Times before and after all others that both engines can hold.
pub(crate) const FIRST_TIME: Timestamp = Timestamp::from_seconds(-60_000_000_000);
const LAST_TIME: Timestamp = Timestamp::from_seconds(250_000_000_000);

impl Page {
    /// The row that the page begins behind.
    pub(crate) fn edge(&self) -> (Timestamp, String) {
        match (&self.after, self.ascending) {
            (Some(cursor), _) => (Timestamp::from_micros(cursor.at), cursor.id.clone()),
            (None, true) => (FIRST_TIME, String::new()),
            (None, false) => (LAST_TIME, LAST.to_owned()),
        }
    }
}

/// A stretch of time, open at its end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Span {
    /// From this time on.
    pub(crate) from: Option<Timestamp>,
    /// Before this time.
    pub(crate) to: Option<Timestamp>,
}

impl Span {
    /// Both ends, the open ones far away.
    pub(crate) fn ends(self) -> (Timestamp, Timestamp) {
        (
            self.from.unwrap_or(FIRST_TIME),
            self.to.unwrap_or(LAST_TIME),
        )
    }
}

/// Reads a message from its stored bytes.
pub(crate) fn decode<M: prost::Message + Default>(bytes: &[u8]) -> Result<M, StoreError> {
    M::decode(bytes).map_err(|error| StoreError::corrupt(error.to_string()))
}

publica_store::statements! {
    PING = "SELECT COUNT(*) FROM block_key",
}

/// Whether the store answers.
pub(crate) async fn ping(db: &publica_store::Db) -> Result<(), StoreError> {
    db.query(PING).fetch_scalar::<i64>().await.map(drop)
}
