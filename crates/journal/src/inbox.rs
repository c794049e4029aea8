//! Following another block's journal: where a consumer stands, and what it has handled.

use publica_store::{Db, StoreError, Tx};
use publica_types::Uuid;

use crate::store::cursors as sql;

/// Where a consumer stands in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Epoch in which the position was learnt; 0 before the first entry.
    pub epoch: i64,
    /// First position not yet handled.
    pub position: i64,
}

/// The cursor called `name`; at the start if there is none.
pub async fn cursor(db: &Db, name: &str) -> Result<Cursor, StoreError> {
    let found = sql::find(db, name).await?;
    Ok(
        found.map_or_else(Cursor::default, |(epoch, position)| Cursor {
            epoch,
            position,
        }),
    )
}

/// Moves the cursor called `name`, together with the effects of what was handled.
pub async fn move_cursor(tx: &mut Tx<'_>, name: &str, to: Cursor) -> Result<(), StoreError> {
    sql::put(tx, name, to.epoch, to.position).await
}

/// Whether the unit is the first to handle an entry of `source`. Delivery is at least once, so
/// a handler asks this first and does nothing if the answer is no.
pub async fn first_time(tx: &mut Tx<'_>, source: &str, entry_id: Uuid) -> Result<bool, StoreError> {
    sql::receive(tx, source, entry_id).await
}
