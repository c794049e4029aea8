//! Seal credentials.

use std::collections::BTreeSet;

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;

statements! {
    INSERT = "INSERT INTO credential (credential_id, owner, organization, certificate_id, \
              sealed_key, create_time) VALUES ($1, $2, $3, $4, $5, $6)",
    FIND = "SELECT credential_id, owner, organization, certificate_id, sealed_key, create_time \
            FROM credential WHERE credential_id = $1",
    // Lists of values come as JSON on SQLite and as an array on PostgreSQL.
    KNOWN = {
        sqlite: "SELECT credential_id FROM credential \
                 WHERE credential_id IN (SELECT value FROM json_each($1))",
        postgres: "SELECT credential_id FROM credential WHERE credential_id = ANY($1)"
    },
    LIST = "SELECT credential_id, owner, organization, certificate_id, sealed_key, create_time \
            FROM credential WHERE owner = $1 AND (create_time, credential_id) > ($2, $3) \
            ORDER BY create_time, credential_id LIMIT $4",
    ACTIVE = "SELECT credential.credential_id FROM credential JOIN certificate \
              ON certificate.certificate_id = credential.certificate_id \
              WHERE credential.owner = $1 AND certificate.state = 1 \
              AND certificate.not_after >= $2 LIMIT 2",
}

/// A credential as stored.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub(crate) struct CredentialRow {
    pub(crate) credential_id: String,
    pub(crate) owner: String,
    pub(crate) organization: String,
    pub(crate) certificate_id: String,
    pub(crate) sealed_key: Vec<u8>,
    pub(crate) create_time: Timestamp,
}

pub(crate) async fn insert(tx: &mut Tx<'_>, row: &CredentialRow) -> Result<(), StoreError> {
    let insert = tx.query(INSERT).bind(&*row.credential_id).bind(&*row.owner);
    let insert = insert.bind(&*row.organization).bind(&*row.certificate_id);
    insert
        .bind(&*row.sealed_key)
        .bind(row.create_time)
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn find(db: &Db, id: &str) -> Result<Option<CredentialRow>, StoreError> {
    db.query(FIND).bind(id).fetch_optional().await
}

pub(crate) async fn find_in(
    tx: &mut Tx<'_>,
    id: &str,
) -> Result<Option<CredentialRow>, StoreError> {
    tx.query(FIND).bind(id).fetch_optional().await
}

/// Those of some ids that credentials have.
pub(crate) async fn known(db: &Db, ids: &[&str]) -> Result<BTreeSet<String>, StoreError> {
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let known: Vec<String> = db.query(KNOWN).bind_list(ids).fetch_scalars().await?;
    Ok(known.into_iter().collect())
}

pub(crate) async fn list(
    db: &Db,
    owner: &str,
    after: &(Timestamp, String),
    limit: i64,
) -> Result<Vec<CredentialRow>, StoreError> {
    let list = db.query(LIST).bind(owner).bind(after.0).bind(&*after.1);
    list.bind(limit).fetch_all().await
}

/// Ids of at most two active credentials of an owner.
pub(crate) async fn active(
    db: &Db,
    owner: &str,
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    db.query(ACTIVE).bind(owner).bind(now).fetch_scalars().await
}
