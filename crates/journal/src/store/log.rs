//! The log's tables: pending rows, leaves, tiles, epochs and checkpoints.

use std::fmt::Write as _;

use publica_store::{Db, Engine, StoreError, Tx};
use publica_types::{Timestamp, Uuid};

use crate::merkle::Hash;

publica_store::statements! {
    PENDING = "SELECT entry_id, leaf_hash FROM journal_pending WHERE entry_id > $1 \
        ORDER BY entry_id LIMIT $2",
    COMMITTED = "SELECT (SELECT COUNT(*) FROM journal_pending) \
        + (SELECT COALESCE(MAX(position) + 1, 0) FROM journal_leaf)",
    EXTENT = "SELECT (SELECT COALESCE(MAX(position) + 1, 0) FROM journal_leaf), \
        (SELECT COALESCE(MAX(epoch), 0) FROM journal_epoch)",
    SIZE = "SELECT COALESCE(MAX(position) + 1, 0) FROM journal_leaf",
    // A list of pairs is one JSON text on SQLite and two arrays on PostgreSQL.
    SEQUENCE = {
        sqlite: "INSERT INTO journal_leaf (position, entry_id, leaf_hash) \
            SELECT $1 + key, unhex(value ->> 0), unhex(value ->> 1) FROM jsonb_each($2); \
            DELETE FROM journal_pending \
            WHERE entry_id IN (SELECT unhex(value ->> 0) FROM jsonb_each($2))",
        postgres: "WITH given AS (SELECT entry_id, leaf_hash, number FROM \
            UNNEST($2::UUID[], $3::BYTEA[]) WITH ORDINALITY \
            AS given (entry_id, leaf_hash, number)), \
            leaf AS (INSERT INTO journal_leaf (position, entry_id, leaf_hash) \
            SELECT $1 + number - 1, entry_id, leaf_hash FROM given) \
            DELETE FROM journal_pending WHERE entry_id IN (SELECT entry_id FROM given)",
    },
    PUT_TILE = "INSERT INTO journal_tile (level, tile, hashes) VALUES ($1, $2, $3) \
        ON CONFLICT (level, tile) DO UPDATE SET hashes = excluded.hashes",
    TILE = "SELECT hashes FROM journal_tile WHERE level = $1 AND tile = $2",
    LEAVES = "SELECT leaf_hash FROM journal_leaf WHERE position >= $1 AND position < $2 \
        ORDER BY position",
    POSITION = "SELECT position, leaf_hash FROM journal_leaf WHERE entry_id = $1",
    EPOCHS = "SELECT epoch, origin, first_position, sealed_seed, public_key, last_known, time \
        FROM journal_epoch WHERE epoch > $1 ORDER BY epoch LIMIT $2",
    LAST_EPOCH = "SELECT epoch, origin, first_position, sealed_seed, public_key, last_known, \
        time FROM journal_epoch ORDER BY epoch DESC LIMIT 1",
    KNOWS_ORIGIN = "SELECT COUNT(*) FROM journal_epoch WHERE origin = $1",
    NEXT_EPOCH_START = "SELECT MIN(first_position) FROM journal_epoch WHERE epoch > $1",
    PUT_EPOCH = "INSERT INTO journal_epoch \
        (epoch, origin, first_position, sealed_seed, public_key, last_known, time) \
        VALUES ($1, $2, $3, $4, $5, $6, $7)",
    PUT_CHECKPOINT = "INSERT INTO journal_checkpoint (epoch, size, root, note, time) \
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (epoch, size) DO NOTHING",
    LAST_CHECKPOINT = "SELECT epoch, size, root, note, time FROM journal_checkpoint \
        ORDER BY epoch DESC, size DESC LIMIT 1",
    LAST_CHECKPOINT_OF = "SELECT epoch, size, root, note, time FROM journal_checkpoint \
        WHERE epoch = $1 ORDER BY size DESC LIMIT 1",
    CHECKPOINT_OF_SIZE = "SELECT epoch, size, root, note, time FROM journal_checkpoint \
        WHERE size = $1 ORDER BY epoch DESC LIMIT 1",
    CHECKPOINTS_UP_TO = "SELECT epoch, size, root, note, time FROM journal_checkpoint \
        WHERE epoch = $1 AND size <= $2 ORDER BY size DESC LIMIT $3",
}

/// An entry without a place.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct PendingRow {
    pub(crate) entry_id: Uuid,
    pub(crate) leaf_hash: Vec<u8>,
}

/// A span of the log under one name and key.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct EpochRow {
    pub(crate) epoch: i64,
    pub(crate) origin: String,
    pub(crate) first_position: i64,
    pub(crate) sealed_seed: Vec<u8>,
    pub(crate) public_key: Vec<u8>,
    pub(crate) last_known: Option<String>,
    pub(crate) time: Timestamp,
}

/// A signed tree head.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct CheckpointRow {
    pub(crate) epoch: i64,
    pub(crate) size: i64,
    pub(crate) root: Vec<u8>,
    pub(crate) note: String,
    pub(crate) time: Timestamp,
}

/// A stored hash.
pub(crate) fn hash(bytes: &[u8]) -> Result<Hash, StoreError> {
    Hash::try_from(bytes).map_err(|_| StoreError::corrupt("a hash has the wrong length"))
}

pub(crate) async fn pending(
    tx: &mut Tx<'_>,
    after: Uuid,
    limit: i64,
) -> Result<Vec<PendingRow>, StoreError> {
    tx.query(PENDING).bind(after).bind(limit).fetch_all().await
}

/// Whether there is anything to do, without taking a writer's turn.
pub(crate) async fn has_pending(db: &Db, after: Uuid) -> Result<bool, StoreError> {
    Ok(db
        .query(PENDING)
        .bind(after)
        .bind(1_i64)
        .fetch_optional::<PendingRow>()
        .await?
        .is_some())
}

/// Entries that were committed so far, with a place or without.
pub(crate) async fn committed(db: &Db) -> Result<i64, StoreError> {
    db.query(COMMITTED).fetch_scalar().await
}

#[cfg(test)]
pub(crate) async fn pending_count(db: &Db) -> Result<i64, StoreError> {
    Ok(committed(db).await? - size(db).await?)
}

/// Number of leaves, and of the newest epoch.
pub(crate) async fn extent(db: &Db) -> Result<(i64, i64), StoreError> {
    db.query(EXTENT).fetch_one().await
}

pub(crate) async fn size(db: &Db) -> Result<i64, StoreError> {
    db.query(SIZE).fetch_scalar().await
}

pub(crate) async fn size_in(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    tx.query(SIZE).fetch_scalar().await
}

/// Gives entries their places and takes them off the list of those without.
pub(crate) async fn sequence(
    tx: &mut Tx<'_>,
    first: i64,
    rows: &[PendingRow],
) -> Result<(), StoreError> {
    let query = match tx.engine() {
        Engine::Sqlite => {
            let mut list = String::with_capacity(rows.len() * 110 + 2);
            for row in rows {
                list.push(if list.is_empty() { '[' } else { ',' });
                let (id, leaf) = (
                    hex::encode(row.entry_id.as_bytes()),
                    hex::encode(&row.leaf_hash),
                );
                // Writing to a text cannot fail.
                let _ = write!(list, "[\"{id}\",\"{leaf}\"]");
            }
            list.push(']');
            tx.query(SEQUENCE).bind(first).bind(list)
        }
        Engine::Postgres => {
            let ids: Vec<Uuid> = rows.iter().map(|row| row.entry_id).collect();
            let leaves: Vec<Vec<u8>> = rows.iter().map(|row| row.leaf_hash.clone()).collect();
            tx.query(SEQUENCE)
                .bind(first)
                .bind_list(&ids)
                .bind_list(&leaves)
        }
    };
    query.execute().await.map(drop)
}

pub(crate) async fn put_tile(
    tx: &mut Tx<'_>,
    level: i64,
    tile: i64,
    hashes: &[u8],
) -> Result<(), StoreError> {
    tx.query(PUT_TILE)
        .bind(level)
        .bind(tile)
        .bind(hashes)
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn tile(db: &Db, level: i64, tile: i64) -> Result<Option<Vec<u8>>, StoreError> {
    db.query(TILE)
        .bind(level)
        .bind(tile)
        .fetch_scalar_optional()
        .await
}

/// The leaf hashes of a range, one after another.
pub(crate) async fn leaves(db: &Db, from: i64, to: i64) -> Result<Vec<u8>, StoreError> {
    let rows: Vec<Vec<u8>> = db.query(LEAVES).bind(from).bind(to).fetch_scalars().await?;
    Ok(rows.concat())
}

pub(crate) async fn position(
    db: &Db,
    entry_id: Uuid,
) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
    db.query(POSITION).bind(entry_id).fetch_optional().await
}

pub(crate) async fn epochs(db: &Db, after: i64, limit: i64) -> Result<Vec<EpochRow>, StoreError> {
    db.query(EPOCHS).bind(after).bind(limit).fetch_all().await
}

pub(crate) async fn last_epoch(db: &Db) -> Result<Option<EpochRow>, StoreError> {
    db.query(LAST_EPOCH).fetch_optional().await
}

/// Whether the log ever had this name.
pub(crate) async fn knows_origin(db: &Db, origin: &str) -> Result<bool, StoreError> {
    let count: i64 = db.query(KNOWS_ORIGIN).bind(origin).fetch_scalar().await?;
    Ok(count > 0)
}

/// Where the earliest epoch after `epoch` began.
pub(crate) async fn next_epoch_start(db: &Db, epoch: i64) -> Result<Option<i64>, StoreError> {
    db.query(NEXT_EPOCH_START)
        .bind(epoch)
        .fetch_scalar::<Option<i64>>()
        .await
}

pub(crate) async fn put_epoch(tx: &mut Tx<'_>, row: &EpochRow) -> Result<(), StoreError> {
    tx.query(PUT_EPOCH)
        .bind(row.epoch)
        .bind(row.origin.as_str())
        .bind(row.first_position)
        .bind(row.sealed_seed.as_slice())
        .bind(row.public_key.as_slice())
        .bind(row.last_known.as_deref())
        .bind(row.time)
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn put_checkpoint(tx: &mut Tx<'_>, row: &CheckpointRow) -> Result<(), StoreError> {
    tx.query(PUT_CHECKPOINT)
        .bind(row.epoch)
        .bind(row.size)
        .bind(row.root.as_slice())
        .bind(row.note.as_str())
        .bind(row.time)
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn last_checkpoint(db: &Db) -> Result<Option<CheckpointRow>, StoreError> {
    db.query(LAST_CHECKPOINT).fetch_optional().await
}

pub(crate) async fn last_checkpoint_of(
    db: &Db,
    epoch: i64,
) -> Result<Option<CheckpointRow>, StoreError> {
    db.query(LAST_CHECKPOINT_OF)
        .bind(epoch)
        .fetch_optional()
        .await
}

pub(crate) async fn checkpoint_of_size(
    db: &Db,
    size: i64,
) -> Result<Option<CheckpointRow>, StoreError> {
    db.query(CHECKPOINT_OF_SIZE)
        .bind(size)
        .fetch_optional()
        .await
}

/// Checkpoints of an epoch, newest first.
pub(crate) async fn checkpoints(
    db: &Db,
    epoch: i64,
    up_to: i64,
    limit: i64,
) -> Result<Vec<CheckpointRow>, StoreError> {
    db.query(CHECKPOINTS_UP_TO)
        .bind(epoch)
        .bind(up_to)
        .bind(limit)
        .fetch_all()
        .await
}
