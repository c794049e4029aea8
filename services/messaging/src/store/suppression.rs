//! Addresses that must not be written to, by keyed hash.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::{Timestamp, Uuid};

statements! {
    INSERT = "INSERT INTO suppression (suppression_id, address_hash, category, reason, \
        created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
    LIFT = "INSERT INTO suppression_lift (suppression_id, at) VALUES ($1, $2) \
        ON CONFLICT DO NOTHING",
    FIND = "SELECT s.suppression_id, s.address_hash, s.category, s.reason, s.created_at, \
        s.expires_at FROM suppression s WHERE s.suppression_id = $1 AND NOT EXISTS (\
            SELECT 1 FROM suppression_lift l WHERE l.suppression_id = s.suppression_id)",
    LIST = "SELECT s.suppression_id, s.address_hash, s.category, s.reason, s.created_at, \
        s.expires_at FROM suppression s WHERE s.suppression_id > $1 \
        AND (s.expires_at IS NULL OR s.expires_at > $2) AND NOT EXISTS (\
            SELECT 1 FROM suppression_lift l WHERE l.suppression_id = s.suppression_id) \
        ORDER BY s.suppression_id LIMIT $3",
    IN_FORCE = {
        // Lists travel as JSON to one engine and as arrays to the other.
        sqlite: "SELECT s.suppression_id, s.address_hash, s.category, s.reason, s.created_at, \
            s.expires_at FROM suppression s \
            WHERE s.address_hash IN (SELECT unhex(value) FROM json_each($1)) \
            AND (s.expires_at IS NULL OR s.expires_at > $2) AND NOT EXISTS (\
                SELECT 1 FROM suppression_lift l WHERE l.suppression_id = s.suppression_id) \
            ORDER BY s.suppression_id",
        postgres: "SELECT s.suppression_id, s.address_hash, s.category, s.reason, \
            s.created_at, s.expires_at FROM suppression s \
            WHERE s.address_hash = ANY($1::BYTEA[]) \
            AND (s.expires_at IS NULL OR s.expires_at > $2) AND NOT EXISTS (\
                SELECT 1 FROM suppression_lift l WHERE l.suppression_id = s.suppression_id) \
            ORDER BY s.suppression_id",
    },
    ALIKE = "SELECT s.suppression_id, s.address_hash, s.category, s.reason, s.created_at, \
        s.expires_at FROM suppression s WHERE s.address_hash = $1 AND s.category = $2 \
        AND s.reason = $3 AND NOT EXISTS (\
            SELECT 1 FROM suppression_lift l WHERE l.suppression_id = s.suppression_id)",
    TAKEN = "SELECT COUNT(*) FROM suppression WHERE suppression_id = $1",
    ANY = "SELECT COUNT(*) FROM (SELECT 1 AS one FROM suppression LIMIT 1) s",
}

/// Reasons that the recipient gave; the numbers are stored.
pub(crate) const COMPLAINT: i64 = 2;
pub(crate) const OPT_OUT: i64 = 3;

/// One suppression.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct SuppressionRow {
    pub(crate) suppression_id: Uuid,
    pub(crate) address_hash: Vec<u8>,
    pub(crate) category: String,
    pub(crate) reason: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
}

pub(crate) async fn insert(tx: &mut Tx<'_>, row: &SuppressionRow) -> Result<(), StoreError> {
    tx.query(INSERT)
        .bind(row.suppression_id)
        .bind(row.address_hash.as_slice())
        .bind(row.category.as_str())
        .bind(row.reason)
        .bind(row.created_at)
        .bind(row.expires_at)
        .execute()
        .await
        .map(|_| ())
}

pub(crate) async fn lift(tx: &mut Tx<'_>, id: Uuid) -> Result<bool, StoreError> {
    let now = tx.now();
    tx.query(LIFT)
        .bind(id)
        .bind(now)
        .execute()
        .await
        .map(|rows| rows > 0)
}

pub(crate) async fn find(tx: &mut Tx<'_>, id: Uuid) -> Result<Option<SuppressionRow>, StoreError> {
    tx.query(FIND).bind(id).fetch_optional().await
}

pub(crate) async fn list(
    db: &Db,
    after: Uuid,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<SuppressionRow>, StoreError> {
    db.query(LIST)
        .bind(after)
        .bind(now)
        .bind(limit)
        .fetch_all()
        .await
}

/// Whether there is any suppression at all, which spares most messages the look-up.
pub(crate) async fn any(db: &Db) -> Result<bool, StoreError> {
    db.query(ANY)
        .fetch_scalar::<i64>()
        .await
        .map(|count| count > 0)
}

/// What is in force for some addresses.
pub(crate) async fn in_force(
    db: &Db,
    hashes: &[Vec<u8>],
    now: Timestamp,
) -> Result<Vec<SuppressionRow>, StoreError> {
    db.query(IN_FORCE)
        .bind_list(hashes)
        .bind(now)
        .fetch_all()
        .await
}

/// Suppressions in force of an address, with this category and reason.
pub(crate) async fn alike(
    tx: &mut Tx<'_>,
    address_hash: &[u8],
    category: &str,
    reason: i64,
) -> Result<Vec<SuppressionRow>, StoreError> {
    tx.query(ALIKE)
        .bind(address_hash)
        .bind(category)
        .bind(reason)
        .fetch_all()
        .await
}

/// Whether an address is held back for the same reason already.
pub(crate) async fn same(
    tx: &mut Tx<'_>,
    address_hash: &[u8],
    category: &str,
    reason: i64,
) -> Result<bool, StoreError> {
    let alike = alike(tx, address_hash, category, reason).await?;
    Ok(!alike.is_empty())
}

/// Whether there is, or was, a suppression with this id.
pub(crate) async fn is_taken(tx: &mut Tx<'_>, id: Uuid) -> Result<bool, StoreError> {
    Ok(tx.query(TAKEN).bind(id).fetch_scalar::<i64>().await? > 0)
}
