//! Uploaded documents.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;

statements! {
    INSERT = "INSERT INTO document (document_id, owner, digest, media_type, size, create_time, \
              sealed) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (owner, digest) DO NOTHING",
    SAME = "SELECT document_id FROM document WHERE owner = $1 AND digest = $2",
    FIND = "SELECT document_id, owner, media_type, sealed FROM document WHERE document_id = $1",
    ABOUT = "SELECT owner, digest, create_time FROM document WHERE document_id = $1",
    OWNER = "SELECT owner FROM document WHERE document_id = $1",
}

/// A document to store.
#[derive(Debug, Clone)]
pub(crate) struct NewDocument {
    pub(crate) document_id: String,
    pub(crate) owner: String,
    pub(crate) digest: Vec<u8>,
    pub(crate) media_type: &'static str,
    pub(crate) size: i64,
    /// When it came to be; now, if that is not told.
    pub(crate) created: Option<Timestamp>,
}

/// A document as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct DocumentRow {
    pub(crate) document_id: String,
    pub(crate) owner: String,
    pub(crate) media_type: String,
    pub(crate) sealed: Vec<u8>,
}

/// Stores a document, or finds the same one of the same owner; returns its id.
pub(crate) async fn store(
    tx: &mut Tx<'_>,
    document: &NewDocument,
    sealed: &[u8],
) -> Result<String, StoreError> {
    let created = document.created.unwrap_or(tx.now());
    let insert = tx
        .query(INSERT)
        .bind(&*document.document_id)
        .bind(&*document.owner);
    let insert = insert
        .bind(&*document.digest)
        .bind(document.media_type)
        .bind(document.size);
    if insert.bind(created).bind(sealed).execute().await? == 1 {
        return Ok(document.document_id.clone());
    }
    let same = same(tx, &document.owner, &document.digest).await?;
    same.ok_or(StoreError::NoRow)
}

/// The id under which an owner has this content.
pub(crate) async fn same(
    tx: &mut Tx<'_>,
    owner: &str,
    digest: &[u8],
) -> Result<Option<String>, StoreError> {
    tx.query(SAME)
        .bind(owner)
        .bind(digest)
        .fetch_scalar_optional()
        .await
}

/// What can be compared with a document without opening it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct AboutRow {
    pub(crate) owner: String,
    pub(crate) digest: Vec<u8>,
    pub(crate) create_time: Timestamp,
}

pub(crate) async fn about(tx: &mut Tx<'_>, id: &str) -> Result<Option<AboutRow>, StoreError> {
    tx.query(ABOUT).bind(id).fetch_optional().await
}

pub(crate) async fn find(db: &Db, id: &str) -> Result<Option<DocumentRow>, StoreError> {
    db.query(FIND).bind(id).fetch_optional().await
}

/// Who uploaded a document.
pub(crate) async fn owner(db: &Db, id: &str) -> Result<Option<String>, StoreError> {
    db.query(OWNER).bind(id).fetch_scalar_optional().await
}
