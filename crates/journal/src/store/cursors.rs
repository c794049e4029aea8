//! Cursors of relays and consumers, and the inbox of events that were handled.

use publica_store::{Db, StoreError, Tx};
use publica_types::Uuid;

publica_store::statements! {
    FIND = "SELECT epoch, position FROM journal_cursor WHERE name = $1",
    MOVE = "INSERT INTO journal_cursor (name, epoch, position, time) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch, position = excluded.position, \
        time = excluded.time",
    RECEIVE = "INSERT INTO journal_inbox (source, entry_id, time) VALUES ($1, $2, $3) \
        ON CONFLICT (source, entry_id) DO NOTHING",
}

pub(crate) async fn find(db: &Db, name: &str) -> Result<Option<(i64, i64)>, StoreError> {
    db.query(FIND).bind(name).fetch_optional().await
}

pub(crate) async fn put(
    tx: &mut Tx<'_>,
    name: &str,
    epoch: i64,
    position: i64,
) -> Result<(), StoreError> {
    let now = tx.now();
    let moved = tx
        .query(MOVE)
        .bind(name)
        .bind(epoch)
        .bind(position)
        .bind(now);
    moved.execute().await.map(drop)
}

pub(crate) async fn receive(
    tx: &mut Tx<'_>,
    source: &str,
    entry_id: Uuid,
) -> Result<bool, StoreError> {
    let now = tx.now();
    let received = tx.query(RECEIVE).bind(source).bind(entry_id).bind(now);
    Ok(received.execute().await? == 1)
}
