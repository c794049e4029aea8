//! Policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message as _;
use publica_proto::consent::v1 as pb;
use publica_store::{BoxFuture, Db, StoreError, Tx, statements};
use publica_types::Timestamp;

use super::{Page, decode, revision};

/// One text for both engines, but for the way they unpack the list of keys.
macro_rules! as_of {
    ($keys:literal, $n:literal, $policy:literal, $revision:literal) => {
        concat!(
            "SELECT ",
            $n,
            " AS n, p.revision_id AS current_id, p.deleted, \
             p.created AS policy_created, p.updated AS policy_updated, \
             r.revision_id, r.kind, r.object_id, r.seq, r.predecessor_id, \
             r.predecessor_sha1, r.predecessor_sha256, r.predecessor_signature, r.sha1, \
             r.sha256, r.snapshot, r.subject, r.body, r.by_individual, r.by_other, \
             r.without_id, r.seal, r.created, r.erased, \
             COALESCE((SELECT s.revision_id FROM revision s WHERE s.kind = r.kind \
             AND s.object_id = r.object_id AND s.predecessor_id = r.revision_id), '') \
             AS successor_id FROM ",
            $keys,
            " JOIN policy p ON p.policy_id = ",
            $policy,
            " JOIN revision r ON r.revision_id = CASE ",
            $revision,
            " WHEN '' THEN p.revision_id ELSE ",
            $revision,
            " END"
        )
    };
}

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
    // Policies as of a revision each, the current one where none is named.
    AS_OF = {
        sqlite: as_of!("jsonb_each($1) k", "k.key", "k.value ->> 0", "k.value ->> 1"),
        postgres: as_of!(
            "(SELECT e ->> 0 AS policy_id, e ->> 1 AS revision_id, place - 1 AS n \
             FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) \
             WITH ORDINALITY AS t (e, place)) k",
            "k.n", "k.policy_id", "k.revision_id"
        ),
    },
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

/// A policy and which of its revisions; an empty revision is the current one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) policy_id: String,
    pub(crate) revision_id: String,
}

/// A policy as of one of its revisions, or of another object's.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct AsOf {
    n: i64,
    pub(crate) current_id: String,
    pub(crate) deleted: bool,
    pub(crate) policy_created: Timestamp,
    pub(crate) policy_updated: Timestamp,
    #[sqlx(flatten)]
    pub(crate) revision: revision::Row,
}

/// Reads all keys at once, a key that many ask for only once; none where the policy or the
/// revision is not known.
pub(crate) fn as_of<'a>(
    tx: &'a mut Tx<'_>,
    keys: &'a [Key],
) -> BoxFuture<'a, Result<Vec<Option<Arc<AsOf>>>, StoreError>> {
    Box::pin(async move {
        let mut places: BTreeMap<&Key, usize> = BTreeMap::new();
        let mut list = Vec::new();
        for key in keys {
            places.entry(key).or_insert_with(|| {
                list.push([&key.policy_id, &key.revision_id]);
                list.len() - 1
            });
        }
        let list = serde_json::json!(list).to_string();
        let rows = tx.query(AS_OF).bind(list).fetch_all::<AsOf>().await?;
        let found: BTreeMap<usize, Arc<AsOf>> = rows
            .into_iter()
            .filter_map(|row| Some((usize::try_from(row.n).ok()?, Arc::new(row))))
            .collect();
        let of = |key: &Key| places.get(key).and_then(|place| found.get(place)).cloned();
        Ok(keys.iter().map(of).collect())
    })
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
