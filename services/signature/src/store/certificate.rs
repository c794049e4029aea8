//! Certificates and their status.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;

statements! {
    INSERT = "INSERT INTO certificate (certificate_id, kind, owner, pseudonym, serial, key_hash, \
              not_after, state, reason, change_time, create_time, certificate, scd_type, \
              scd_key_id, sealed_remote_id) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    FIND = "SELECT certificate_id, kind, owner, pseudonym, serial, key_hash, not_after, state, \
            reason, change_time, create_time, certificate, scd_type, scd_key_id, \
            sealed_remote_id FROM certificate WHERE certificate_id = $1",
    LIST = "SELECT certificate_id, kind, owner, pseudonym, serial, key_hash, not_after, state, \
            reason, change_time, create_time, certificate, scd_type, scd_key_id, \
            sealed_remote_id FROM certificate WHERE owner = $1 AND kind <> 1 \
            AND ($2 = 0 OR ($2 = 4 AND not_after < $3 AND state <> 3) \
                 OR ($2 = state AND (state = 3 OR not_after >= $3))) \
            AND (create_time, certificate_id) > ($4, $5) \
            ORDER BY create_time, certificate_id LIMIT $6",
    ALIKE = "SELECT certificate_id, kind, owner, pseudonym, serial, key_hash, not_after, state, \
             reason, change_time, create_time, certificate, scd_type, scd_key_id, \
             sealed_remote_id FROM certificate \
             WHERE serial = $1 OR key_hash = $2 OR pseudonym = $3",
    CHANGE = "UPDATE certificate SET state = $2, reason = $3, change_time = $4 \
              WHERE certificate_id = $1 AND state = $5",
    STATUS = "SELECT state, change_time, kind, owner FROM certificate WHERE serial = $1",
    TAKEN = "SELECT COUNT(*) FROM certificate WHERE pseudonym = $1",
    LISTED = "SELECT serial, change_time, reason FROM certificate \
              WHERE state <> 1 AND kind <> 1 AND not_after >= $1 ORDER BY change_time, serial",
}

/// A certificate as stored.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub(crate) struct CertificateRow {
    pub(crate) certificate_id: String,
    pub(crate) kind: i64,
    pub(crate) owner: String,
    pub(crate) pseudonym: Option<String>,
    pub(crate) serial: Vec<u8>,
    pub(crate) key_hash: Vec<u8>,
    pub(crate) not_after: Timestamp,
    pub(crate) state: i64,
    pub(crate) reason: i64,
    pub(crate) change_time: Option<Timestamp>,
    pub(crate) create_time: Timestamp,
    pub(crate) certificate: Vec<u8>,
    pub(crate) scd_type: String,
    pub(crate) scd_key_id: i64,
    pub(crate) sealed_remote_id: Option<Vec<u8>>,
}

pub(crate) async fn insert(tx: &mut Tx<'_>, row: &CertificateRow) -> Result<(), StoreError> {
    let insert = tx
        .query(INSERT)
        .bind(&*row.certificate_id)
        .bind(row.kind)
        .bind(&*row.owner);
    let insert = insert
        .bind(row.pseudonym.as_deref())
        .bind(&*row.serial)
        .bind(&*row.key_hash);
    let insert = insert.bind(row.not_after).bind(row.state).bind(row.reason);
    let insert = insert
        .bind(row.change_time)
        .bind(row.create_time)
        .bind(&*row.certificate);
    let insert = insert.bind(&*row.scd_type).bind(row.scd_key_id);
    insert
        .bind(row.sealed_remote_id.as_deref())
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn find(db: &Db, id: &str) -> Result<Option<CertificateRow>, StoreError> {
    db.query(FIND).bind(id).fetch_optional().await
}

pub(crate) async fn find_in(
    tx: &mut Tx<'_>,
    id: &str,
) -> Result<Option<CertificateRow>, StoreError> {
    tx.query(FIND).bind(id).fetch_optional().await
}

/// Certificates that have something of this one's that only one may have, its id aside.
pub(crate) async fn alike(
    tx: &mut Tx<'_>,
    row: &CertificateRow,
) -> Result<Vec<CertificateRow>, StoreError> {
    let alike = tx.query(ALIKE).bind(&*row.serial).bind(&*row.key_hash);
    alike.bind(row.pseudonym.as_deref()).fetch_all().await
}

/// The owner's certificates with a status (0 for any), from a cursor on.
pub(crate) async fn list(
    db: &Db,
    owner: &str,
    status: i64,
    now: Timestamp,
    after: &(Timestamp, String),
    limit: i64,
) -> Result<Vec<CertificateRow>, StoreError> {
    let list = db.query(LIST).bind(owner).bind(status).bind(now);
    list.bind(after.0)
        .bind(&*after.1)
        .bind(limit)
        .fetch_all()
        .await
}

/// Changes the status; false if it was another one meanwhile.
pub(crate) async fn change(
    tx: &mut Tx<'_>,
    id: &str,
    from: i64,
    to: i64,
    reason: i64,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let change = tx.query(CHANGE).bind(id).bind(to).bind(reason);
    Ok(change.bind(now).bind(from).execute().await? == 1)
}

/// State and time of the last change of the certificate with this serial number.
/// What is known about an issued certificate: state, when that changed, kind and owner.
pub(crate) type Status = (i64, Option<Timestamp>, i64, String);

pub(crate) async fn status(db: &Db, serial: &[u8]) -> Result<Option<Status>, StoreError> {
    db.query(STATUS).bind(serial).fetch_optional().await
}

pub(crate) async fn pseudonym_taken(tx: &mut Tx<'_>, name: &str) -> Result<bool, StoreError> {
    Ok(tx.query(TAKEN).bind(name).fetch_scalar::<i64>().await? > 0)
}

/// Revoked and suspended certificates that have not ended: serial, time, reason.
pub(crate) async fn listed(
    db: &Db,
    now: Timestamp,
) -> Result<Vec<(Vec<u8>, Option<Timestamp>, i64)>, StoreError> {
    db.query(LISTED).bind(now).fetch_all().await
}
