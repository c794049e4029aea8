//! The authorities' keys and certificates.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;

statements! {
    LIST = "SELECT role, certificate, sealed_key FROM authority",
    INSERT = "INSERT INTO authority (role, certificate, sealed_key, create_time) \
              VALUES ($1, $2, $3, $4) ON CONFLICT (role) DO NOTHING",
}

/// An authority as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct AuthorityRow {
    pub(crate) role: String,
    pub(crate) certificate: Vec<u8>,
    pub(crate) sealed_key: Vec<u8>,
}

pub(crate) async fn list(db: &Db) -> Result<Vec<AuthorityRow>, StoreError> {
    db.query(LIST).fetch_all().await
}

/// Stores an authority; false if there is one in this role.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    row: &AuthorityRow,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let insert = tx.query(INSERT).bind(&*row.role).bind(&*row.certificate);
    Ok(insert.bind(&*row.sealed_key).bind(now).execute().await? == 1)
}
