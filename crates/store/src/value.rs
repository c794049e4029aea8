//! What can be bound to a statement and read from a row, on both engines.

use publica_types::{Timestamp, Uuid};
use sqlx::postgres::{PgHasArrayType, PgRow};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Encode, FromRow, Postgres, Sqlite, Type};

/// A value that can be bound. Implemented by whatever both drivers can encode.
pub trait Value<'t>:
    Encode<'t, Sqlite> + Type<Sqlite> + Encode<'t, Postgres> + Type<Postgres>
{
}

impl<'t, V> Value<'t> for V where
    V: Encode<'t, Sqlite> + Type<Sqlite> + Encode<'t, Postgres> + Type<Postgres>
{
}

/// A row that can be fetched. `#[derive(sqlx::FromRow)]` implements it, as do tuples.
pub trait Record:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<R> Record for R where
    R: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

/// A single column that can be fetched.
pub trait Scalar:
    for<'r> Decode<'r, Sqlite>
    + Type<Sqlite>
    + for<'r> Decode<'r, Postgres>
    + Type<Postgres>
    + Send
    + Unpin
{
}

impl<S> Scalar for S where
    S: for<'r> Decode<'r, Sqlite>
        + Type<Sqlite>
        + for<'r> Decode<'r, Postgres>
        + Type<Postgres>
        + Send
        + Unpin
{
}

/// An item of a list bound as one value: an array for `UNNEST($1)` in PostgreSQL, a JSON array
/// for `json_each($1)` in SQLite.
///
/// JSON has neither bytes nor UUIDs: both arrive as hexadecimal digits, so read them with
/// `unhex(value)`. Times arrive as their microseconds.
pub trait ListItem: for<'t> Encode<'t, Postgres> + Type<Postgres> + PgHasArrayType {
    /// The item as JSON, or `None` for an absent one.
    fn json(&self) -> Option<serde_json::Value>;
}

macro_rules! plain_list_items {
    ($($item:ty),+) => {$(
        impl ListItem for $item {
            fn json(&self) -> Option<serde_json::Value> {
                Some(serde_json::Value::from(self.clone()))
            }
        }
    )+};
}

plain_list_items!(i16, i32, i64, String);

impl ListItem for &str {
    fn json(&self) -> Option<serde_json::Value> {
        Some(serde_json::Value::from(*self))
    }
}

impl ListItem for bool {
    fn json(&self) -> Option<serde_json::Value> {
        Some(serde_json::Value::from(i64::from(*self)))
    }
}

impl ListItem for Timestamp {
    fn json(&self) -> Option<serde_json::Value> {
        Some(serde_json::Value::from(self.micros()))
    }
}

impl ListItem for Uuid {
    fn json(&self) -> Option<serde_json::Value> {
        Some(serde_json::Value::from(hex::encode(self.as_bytes())))
    }
}

impl ListItem for Vec<u8> {
    fn json(&self) -> Option<serde_json::Value> {
        Some(serde_json::Value::from(hex::encode(self)))
    }
}

impl ListItem for &[u8] {
    fn json(&self) -> Option<serde_json::Value> {
        Some(serde_json::Value::from(hex::encode(self)))
    }
}

impl<I> ListItem for Option<I>
where
    I: ListItem,
    Option<I>: for<'t> Encode<'t, Postgres> + Type<Postgres> + PgHasArrayType,
{
    fn json(&self) -> Option<serde_json::Value> {
        self.as_ref().and_then(ListItem::json)
    }
}

/// The whole list as JSON text.
pub(crate) fn json_list<I: ListItem>(items: &[I]) -> String {
    let null = serde_json::Value::Null;
    serde_json::Value::Array(
        items
            .iter()
            .map(|item| item.json().unwrap_or_else(|| null.clone()))
            .collect(),
    )
    .to_string()
}
