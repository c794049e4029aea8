//! Policies.

use prost::Message as _;
use publica_proto::consent::v1 as pb;
use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;

use super::{Page, decode};

statements! {
    INSERT = "INSERT INTO policy (policy_id, body, revision_id, deleted, created, updated) \
              VALUES ($1, $2, $3, FALSE, $4, $4) ON CONFLICT (policy_id) DO NOTHING",
    FIND = "SELECT policy_id, body, revision_id, deleted, created, updated FROM policy \
            WHERE policy_id = $1",
    // Writers of one policy wait for each other; SQLite has one writer anyway.
    LOCK = {
        sqlite: "SELECT policy_id, body, revision_id, deleted, created, updated FROM policy \
                 WHERE policy_id = $1",
        postgres: "SELECT policy_id, body, revision_id, deleted, created, updated FROM policy \
                   WHERE policy_id = $1 FOR UPDATE",
    },
    UPDATE = "UPDATE policy SET body = $2, revision_id = $3, deleted = $4, updated = $5 \
              WHERE policy_id = $1",
    LIST = "SELECT policy_id, body, revision_id, deleted, created, updated FROM policy \
            WHERE NOT deleted AND (created, policy_id) < ($1, $2) \
            ORDER BY created DESC, policy_id DESC LIMIT $3 OFFSET $4",
    COUNT = "SELECT COUNT(*) FROM policy WHERE NOT deleted",
}

/// A policy as it is stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) policy_id: String,
    pub(crate) body: Vec<u8>,
    pub(crate) revision_id: String,
    pub(crate) deleted: bool,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

impl Row {
    /// The policy with what the server adds.
    pub(crate) fn policy(&self) -> Result<pb::Policy, StoreError> {
        let mut policy: pb::Policy = decode(&self.body)?;
        policy.policy_id.clone_from(&self.policy_id);
        policy.revision_id.clone_from(&self.revision_id);
        policy.create_time = Some(publica_rpc::timestamp(self.created));
        policy.update_time = Some(publica_rpc::timestamp(self.updated));
        Ok(policy)
    }
}

/// Stores a new policy; false when the id is in use.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    policy: &pb::Policy,
    revision_id: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let query = tx
        .query(INSERT)
        .bind(policy.policy_id.as_str())
        .bind(policy.encode_to_vec());
    Ok(query.bind(revision_id).bind(now).execute().await? == 1)
}

/// A policy, deleted ones included.
pub(crate) async fn find(db: &Db, policy_id: &str) -> Result<Option<Row>, StoreError> {
    db.query(FIND).bind(policy_id).fetch_optional().await
}

/// A policy that is about to change.
pub(crate) async fn lock(tx: &mut Tx<'_>, policy_id: &str) -> Result<Option<Row>, StoreError> {
    tx.query(LOCK).bind(policy_id).fetch_optional().await
}

/// Stores new content.
pub(crate) async fn update(
    tx: &mut Tx<'_>,
    policy: &pb::Policy,
    revision_id: &str,
    deleted: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    let query = tx
        .query(UPDATE)
        .bind(policy.policy_id.as_str())
        .bind(policy.encode_to_vec());
    query
        .bind(revision_id)
        .bind(deleted)
        .bind(now)
        .execute()
        .await?;
    Ok(())
}

/// A page of policies, newest first.
pub(crate) async fn list(db: &Db, page: &Page) -> Result<Vec<Row>, StoreError> {
    let (at, id) = page.edge();
    db.query(LIST)
        .bind(at)
        .bind(id)
        .bind(page.limit)
        .bind(page.skip)
        .fetch_all()
        .await
}

/// How many there are.
pub(crate) async fn count(db: &Db) -> Result<i64, StoreError> {
    db.query(COUNT).fetch_scalar().await
}
