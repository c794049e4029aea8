//! The block's own keys, sealed.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;

statements! {
    FIND = "SELECT sealed FROM block_key WHERE name = $1",
    INSERT = "INSERT INTO block_key (name, sealed, created) VALUES ($1, $2, $3) \
              ON CONFLICT (name) DO NOTHING",
}

/// The sealed key of that name.
pub(crate) async fn find(db: &Db, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    db.query(FIND).bind(name).fetch_scalar_optional().await
}

/// Keeps a key unless another one was kept first.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    name: &str,
    sealed: &[u8],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let kept = tx
        .query(INSERT)
        .bind(name)
        .bind(sealed)
        .bind(now)
        .execute()
        .await?;
    Ok(kept == 1)
}
