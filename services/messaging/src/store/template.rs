//! Template versions and their steps, and the keys that sign mail.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;

statements! {
    INSERT = "INSERT INTO template_version (name, version, author, created_at, content) \
        VALUES ($1, $2, $3, $4, $5)",
    NEWEST = "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM template_version \
        WHERE name = $1",
    ADD_STEP = "INSERT INTO template_step (name, version, state, actor, at) \
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    FIND = "SELECT v.name, v.version, v.author, v.created_at, v.content, \
        CAST(COALESCE((SELECT MAX(s.state) FROM template_step s \
            WHERE s.name = v.name AND s.version = v.version), 1) AS BIGINT) AS state \
        FROM template_version v WHERE v.name = $1 AND v.version = $2",
    APPROVED = "SELECT v.name, v.version, v.author, v.created_at, v.content, \
        CAST(2 AS BIGINT) AS state FROM template_version v WHERE v.name = $1 AND 2 = (\
            SELECT MAX(s.state) FROM template_step s \
            WHERE s.name = v.name AND s.version = v.version) \
        ORDER BY v.version DESC LIMIT 1",
    LIST = "SELECT v.name, v.version, v.author, v.created_at, v.content, \
        CAST(COALESCE((SELECT MAX(s.state) FROM template_step s \
            WHERE s.name = v.name AND s.version = v.version), 1) AS BIGINT) AS state \
        FROM template_version v WHERE (v.name, v.version) > ($1, $2) \
        ORDER BY v.name, v.version LIMIT $3",
    FIND_SIGNING_KEY = "SELECT sealed FROM signing_key WHERE domain = $1 AND selector = $2",
    ADD_SIGNING_KEY = "INSERT INTO signing_key (domain, selector, created_at, sealed) \
        VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
}

/// Where a version stands. The numbers are stored, and the highest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TemplateState {
    Draft = 1,
    Approved = 2,
    Retired = 3,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct TemplateRow {
    pub(crate) name: String,
    pub(crate) version: i64,
    pub(crate) author: String,
    pub(crate) created_at: Timestamp,
    pub(crate) content: Vec<u8>,
    pub(crate) state: i64,
}

pub(crate) async fn insert(tx: &mut Tx<'_>, row: &TemplateRow) -> Result<(), StoreError> {
    tx.query(INSERT)
        .bind(row.name.as_str())
        .bind(row.version)
        .bind(row.author.as_str())
        .bind(row.created_at)
        .bind(row.content.as_slice())
        .execute()
        .await
        .map(|_| ())
}

pub(crate) async fn newest(tx: &mut Tx<'_>, name: &str) -> Result<i64, StoreError> {
    tx.query(NEWEST).bind(name).fetch_scalar().await
}

pub(crate) async fn add_step(
    tx: &mut Tx<'_>,
    name: &str,
    version: i64,
    state: TemplateState,
    actor: &str,
) -> Result<bool, StoreError> {
    let now = tx.now();
    tx.query(ADD_STEP)
        .bind(name)
        .bind(version)
        .bind(state as i64)
        .bind(actor)
        .bind(now)
        .execute()
        .await
        .map(|rows| rows > 0)
}

pub(crate) async fn find_in(
    tx: &mut Tx<'_>,
    name: &str,
    version: i64,
) -> Result<Option<TemplateRow>, StoreError> {
    tx.query(FIND)
        .bind(name)
        .bind(version)
        .fetch_optional()
        .await
}

/// A given version, or the newest approved one for 0.
pub(crate) async fn find(
    db: &Db,
    name: &str,
    version: i64,
) -> Result<Option<TemplateRow>, StoreError> {
    if version == 0 {
        db.query(APPROVED).bind(name).fetch_optional().await
    } else {
        db.query(FIND)
            .bind(name)
            .bind(version)
            .fetch_optional()
            .await
    }
}

pub(crate) async fn list(
    db: &Db,
    after: (&str, i64),
    limit: i64,
) -> Result<Vec<TemplateRow>, StoreError> {
    db.query(LIST)
        .bind(after.0)
        .bind(after.1)
        .bind(limit)
        .fetch_all()
        .await
}

pub(crate) async fn signing_key(
    db: &Db,
    domain: &str,
    selector: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    db.query(FIND_SIGNING_KEY)
        .bind(domain)
        .bind(selector)
        .fetch_scalar_optional()
        .await
}

pub(crate) async fn add_signing_key(
    tx: &mut Tx<'_>,
    domain: &str,
    selector: &str,
    sealed: &[u8],
) -> Result<(), StoreError> {
    let now = tx.now();
    tx.query(ADD_SIGNING_KEY)
        .bind(domain)
        .bind(selector)
        .bind(now)
        .bind(sealed)
        .execute()
        .await
        .map(|_| ())
}
