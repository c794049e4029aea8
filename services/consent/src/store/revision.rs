//! Revisions: rows are only added; erasure clears the snapshot and leaves hashes and links.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;
use serde_json::{Value, json};

use super::{Page, Span};

statements! {
    INSERT = "INSERT INTO revision (revision_id, kind, object_id, seq, predecessor_id, \
              predecessor_sha1, predecessor_sha256, predecessor_signature, sha1, sha256, \
              snapshot, subject, body, by_individual, by_other, without_id, seal, created) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
              $17, $18)",
    // Many at once. One text of rows for both engines: joining lists by position takes SQLite
    // quadratic time.
    INSERT_MANY = {
        sqlite: "INSERT INTO revision (revision_id, kind, object_id, seq, predecessor_id, \
            predecessor_sha1, predecessor_sha256, predecessor_signature, sha1, sha256, \
            snapshot, subject, body, by_individual, by_other, without_id, seal, created) \
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, \
            value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9, \
            unhex(value ->> 10), value ->> 11, unhex(value ->> 12), value ->> 13, \
            value ->> 14, value ->> 15, value ->> 16, value ->> 17 FROM jsonb_each($1)",
        postgres: "INSERT INTO revision (revision_id, kind, object_id, seq, predecessor_id, \
            predecessor_sha1, predecessor_sha256, predecessor_signature, sha1, sha256, \
            snapshot, subject, body, by_individual, by_other, without_id, seal, created) \
            SELECT e ->> 0, CAST(e ->> 1 AS BIGINT), e ->> 2, CAST(e ->> 3 AS BIGINT), \
            e ->> 4, e ->> 5, e ->> 6, e ->> 7, e ->> 8, e ->> 9, decode(e ->> 10, 'hex'), \
            e ->> 11, decode(e ->> 12, 'hex'), e ->> 13, e ->> 14, \
            CAST(e ->> 15 AS BOOLEAN), e ->> 16, \
            TIMESTAMPTZ 'epoch' + CAST(e ->> 17 AS BIGINT) * INTERVAL '1 microsecond' \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e",
    },
    // Which of these there are; each engine unpacks lists in its own way.
    KNOWN = {
        sqlite: "SELECT revision_id FROM revision \
            WHERE revision_id IN (SELECT value FROM jsonb_each($1))",
        postgres: "SELECT revision_id FROM revision WHERE revision_id = ANY ($1::TEXT[])",
    },
    FIND = "SELECT r.revision_id, r.kind, r.object_id, r.seq, r.predecessor_id, \
            r.predecessor_sha1, r.predecessor_sha256, r.predecessor_signature, r.sha1, \
            r.sha256, r.snapshot, r.subject, r.body, r.by_individual, r.by_other, \
            r.without_id, r.seal, r.created, r.erased, \
            COALESCE((SELECT s.revision_id FROM revision s WHERE s.kind = r.kind \
            AND s.object_id = r.object_id AND s.predecessor_id = r.revision_id), '') \
            AS successor_id FROM revision r WHERE r.revision_id = $1",
    LIST = "SELECT r.revision_id, r.kind, r.object_id, r.seq, r.predecessor_id, \
            r.predecessor_sha1, r.predecessor_sha256, r.predecessor_signature, r.sha1, \
            r.sha256, r.snapshot, r.subject, r.body, r.by_individual, r.by_other, \
            r.without_id, r.seal, r.created, r.erased, \
            COALESCE((SELECT s.revision_id FROM revision s WHERE s.kind = r.kind \
            AND s.object_id = r.object_id AND s.predecessor_id = r.revision_id), '') \
            AS successor_id FROM revision r \
            WHERE (r.created, r.revision_id) < ($1, $2) AND r.created >= $3 \
            AND r.created < $4 AND ($5 = 0 OR r.kind = $5) \
            ORDER BY r.created DESC, r.revision_id DESC LIMIT $6 OFFSET $7",
    LIST_ASCENDING = "SELECT r.revision_id, r.kind, r.object_id, r.seq, r.predecessor_id, \
            r.predecessor_sha1, r.predecessor_sha256, r.predecessor_signature, r.sha1, \
            r.sha256, r.snapshot, r.subject, r.body, r.by_individual, r.by_other, \
            r.without_id, r.seal, r.created, r.erased, \
            COALESCE((SELECT s.revision_id FROM revision s WHERE s.kind = r.kind \
            AND s.object_id = r.object_id AND s.predecessor_id = r.revision_id), '') \
            AS successor_id FROM revision r \
            WHERE (r.created, r.revision_id) > ($1, $2) AND r.created >= $3 \
            AND r.created < $4 AND ($5 = 0 OR r.kind = $5) \
            ORDER BY r.created, r.revision_id LIMIT $6 OFFSET $7",
    CHAIN = "SELECT r.revision_id, r.kind, r.object_id, r.seq, r.predecessor_id, \
            r.predecessor_sha1, r.predecessor_sha256, r.predecessor_signature, r.sha1, \
            r.sha256, r.snapshot, r.subject, r.body, r.by_individual, r.by_other, \
            r.without_id, r.seal, r.created, r.erased, \
            COALESCE((SELECT s.revision_id FROM revision s WHERE s.kind = r.kind \
            AND s.object_id = r.object_id AND s.predecessor_id = r.revision_id), '') \
            AS successor_id FROM revision r \
            WHERE r.kind = $1 AND r.object_id = $2 AND r.seq > $3 ORDER BY r.seq LIMIT $4",
    HEAD = "SELECT revision_id, seq, sha1, sha256 FROM revision \
            WHERE kind = $1 AND object_id = $2 ORDER BY seq DESC LIMIT 1",
    ERASE = "UPDATE revision SET snapshot = NULL, erased = $3 \
             WHERE kind = $1 AND object_id = $2 AND erased IS NULL",
}

/// A revision as it is stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) revision_id: String,
    pub(crate) kind: i64,
    pub(crate) object_id: String,
    pub(crate) seq: i64,
    pub(crate) predecessor_id: String,
    pub(crate) predecessor_sha1: String,
    pub(crate) predecessor_sha256: String,
    pub(crate) predecessor_signature: String,
    pub(crate) sha1: String,
    pub(crate) sha256: String,
    pub(crate) snapshot: Option<Vec<u8>>,
    pub(crate) subject: Option<String>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) by_individual: String,
    pub(crate) by_other: String,
    pub(crate) without_id: bool,
    pub(crate) seal: String,
    pub(crate) created: Timestamp,
    pub(crate) erased: Option<Timestamp>,
    pub(crate) successor_id: String,
}

/// The latest revision of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Head {
    pub(crate) revision_id: String,
    pub(crate) seq: i64,
    pub(crate) sha1: String,
    pub(crate) sha256: String,
}

/// Adds a revision. A fork of the history is a unique violation.
pub(crate) async fn insert(tx: &mut Tx<'_>, row: &Row) -> Result<(), StoreError> {
    tx.query(INSERT)
        .bind(row.revision_id.as_str())
        .bind(row.kind)
        .bind(row.object_id.as_str())
        .bind(row.seq)
        .bind(row.predecessor_id.as_str())
        .bind(row.predecessor_sha1.as_str())
        .bind(row.predecessor_sha256.as_str())
        .bind(row.predecessor_signature.as_str())
        .bind(row.sha1.as_str())
        .bind(row.sha256.as_str())
        .bind(row.snapshot.clone())
        .bind(row.subject.as_deref())
        .bind(row.body.clone())
        .bind(row.by_individual.as_str())
        .bind(row.by_other.as_str())
        .bind(row.without_id)
        .bind(row.seal.as_str())
        .bind(row.created)
        .execute()
        .await?;
    Ok(())
}

/// Adds many revisions.
pub(crate) async fn insert_many(tx: &mut Tx<'_>, rows: &[Row]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let list: Value = rows
        .iter()
        .map(|row| {
            json!([
                row.revision_id,
                row.kind,
                row.object_id,
                row.seq,
                row.predecessor_id,
                row.predecessor_sha1,
                row.predecessor_sha256,
                row.predecessor_signature,
                row.sha1,
                row.sha256,
                row.snapshot.as_ref().map(hex::encode),
                row.subject,
                row.body.as_ref().map(hex::encode),
                row.by_individual,
                row.by_other,
                i64::from(row.without_id),
                row.seal,
                row.created.micros(),
            ])
        })
        .collect();
    let query = tx.query(INSERT_MANY).bind(list.to_string());
    query.execute().await.map(drop)
}

/// Which of these ids are in use.
pub(crate) async fn known(tx: &mut Tx<'_>, ids: &[&str]) -> Result<Vec<String>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    tx.query(KNOWN).bind_list(ids).fetch_scalars().await
}

/// A revision.
pub(crate) async fn find(db: &Db, revision_id: &str) -> Result<Option<Row>, StoreError> {
    db.query(FIND).bind(revision_id).fetch_optional().await
}

/// A revision, read within a unit.
pub(crate) async fn find_in(tx: &mut Tx<'_>, revision_id: &str) -> Result<Option<Row>, StoreError> {
    tx.query(FIND).bind(revision_id).fetch_optional().await
}

/// A page of revisions of all objects, or of one kind.
pub(crate) async fn list(
    db: &Db,
    kind: i64,
    span: Span,
    page: &Page,
) -> Result<Vec<Row>, StoreError> {
    let ((at, id), (from, to)) = (page.edge(), span.ends());
    let sql = if page.ascending { LIST_ASCENDING } else { LIST };
    db.query(sql)
        .bind(at)
        .bind(id)
        .bind(from)
        .bind(to)
        .bind(kind)
        .bind(page.limit)
        .bind(page.skip)
        .fetch_all()
        .await
}

/// Revisions of one object from a place in its chain on, oldest first.
pub(crate) async fn chain(
    db: &Db,
    kind: i64,
    object_id: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<Row>, StoreError> {
    db.query(CHAIN)
        .bind(kind)
        .bind(object_id)
        .bind(after)
        .bind(limit)
        .fetch_all()
        .await
}

/// The latest revision of an object.
pub(crate) async fn head(
    tx: &mut Tx<'_>,
    kind: i64,
    object_id: &str,
) -> Result<Option<Head>, StoreError> {
    tx.query(HEAD)
        .bind(kind)
        .bind(object_id)
        .fetch_optional()
        .await
}

/// Clears all snapshots of an object.
pub(crate) async fn erase(
    tx: &mut Tx<'_>,
    kind: i64,
    object_id: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    tx.query(ERASE)
        .bind(kind)
        .bind(object_id)
        .bind(now)
        .execute()
        .await
}
