//! People and their keys.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;
use serde_json::{Value, json};

use super::Page;

statements! {
    INSERT = "INSERT INTO individual (individual_id, identity_hash, external_hash, sealed, \
              notify, created, updated) VALUES ($1, $2, $3, $4, TRUE, $5, $5) \
              ON CONFLICT DO NOTHING",
    FIND = "SELECT individual_id, sealed, notify, created, updated FROM individual \
            WHERE individual_id = $1",
    UPDATE = "UPDATE individual SET identity_hash = $2, external_hash = $3, sealed = $4, \
              updated = $5 WHERE individual_id = $1",
    TAKEN = "SELECT COUNT(*) FROM individual WHERE identity_hash = $1 AND individual_id <> $2",
    LIST = "SELECT individual_id, sealed, notify, created, updated FROM individual \
            WHERE (created, individual_id) < ($1, $2) \
            ORDER BY created DESC, individual_id DESC LIMIT $3 OFFSET $4",
    LIST_EXTERNAL = "SELECT individual_id, sealed, notify, created, updated FROM individual \
            WHERE external_hash = $1 AND (created, individual_id) < ($2, $3) \
            ORDER BY created DESC, individual_id DESC LIMIT $4",
    COUNT = "SELECT COUNT(*) FROM individual",
    NOTIFY = "UPDATE individual SET notify = $2, updated = $3 WHERE individual_id = $1",
    ADD_KEY = "INSERT INTO individual_key (individual_id, key_id, jwk, created) \
               VALUES ($1, $2, $3, $4) ON CONFLICT (individual_id, key_id) DO NOTHING",
    KEYS = "SELECT individual_id, key_id, jwk, created, revoked FROM individual_key \
            WHERE individual_id = $1 ORDER BY created, key_id LIMIT 64",
    // Keys of many people at once; each engine unpacks lists in its own way.
    GOOD_KEYS = {
        sqlite: "SELECT k.individual_id, k.key_id, k.jwk, k.created, k.revoked \
            FROM individual_key k WHERE k.revoked IS NULL \
            AND k.individual_id IN (SELECT value FROM json_each($1))",
        postgres: "SELECT k.individual_id, k.key_id, k.jwk, k.created, k.revoked \
            FROM individual_key k WHERE k.revoked IS NULL \
            AND k.individual_id = ANY ($1::TEXT[])",
    },
    REVOKE = "UPDATE individual_key SET revoked = $3 \
              WHERE individual_id = $1 AND key_id = $2 AND revoked IS NULL",
    KEY = "SELECT individual_id, key_id, jwk, created, revoked FROM individual_key \
           WHERE individual_id = $1 AND key_id = $2",
    // People with these external identities; each engine unpacks lists in its own way.
    BY_IDENTITIES = {
        sqlite: "SELECT individual_id, identity_hash FROM individual \
            WHERE identity_hash IN (SELECT unhex(value) FROM json_each($1))",
        postgres: "SELECT individual_id, identity_hash FROM individual \
            WHERE identity_hash = ANY ($1::BYTEA[])",
    },
    // One text of rows for both engines: joining lists by position takes SQLite quadratic
    // time.
    INSERT_MANY = {
        sqlite: "INSERT INTO individual (individual_id, identity_hash, external_hash, sealed, \
            notify, created, updated) \
            SELECT value ->> 0, unhex(value ->> 1), unhex(value ->> 2), unhex(value ->> 3), \
            TRUE, $2, $2 FROM json_each($1) WHERE TRUE ON CONFLICT DO NOTHING",
        postgres: "INSERT INTO individual (individual_id, identity_hash, external_hash, \
            sealed, notify, created, updated) \
            SELECT e ->> 0, decode(e ->> 1, 'hex'), decode(e ->> 2, 'hex'), \
            decode(e ->> 3, 'hex'), TRUE, $2, $2 \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e \
            ON CONFLICT DO NOTHING",
    },
    ADD_KEYS = {
        sqlite: "INSERT INTO individual_key (individual_id, key_id, jwk, created) \
            SELECT value ->> 0, value ->> 1, value ->> 2, $2 FROM json_each($1) \
            WHERE TRUE ON CONFLICT (individual_id, key_id) DO NOTHING",
        postgres: "INSERT INTO individual_key (individual_id, key_id, jwk, created) \
            SELECT e ->> 0, e ->> 1, e ->> 2, $2 \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e \
            ON CONFLICT (individual_id, key_id) DO NOTHING",
    },
    // Which of these people there are.
    KNOWN = {
        sqlite: "SELECT individual_id FROM individual \
                 WHERE individual_id IN (SELECT value FROM json_each($1))",
        postgres: "SELECT individual_id FROM individual \
                   WHERE individual_id = ANY ($1::TEXT[])",
    },
}

/// A person as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) individual_id: String,
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) notify: bool,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

/// A key as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct KeyRow {
    pub(crate) individual_id: String,
    pub(crate) key_id: String,
    pub(crate) jwk: String,
    pub(crate) created: Timestamp,
    pub(crate) revoked: Option<Timestamp>,
}

/// What is written of a person.
#[derive(Debug, Clone, Default)]
pub(crate) struct Write {
    pub(crate) individual_id: String,
    pub(crate) identity_hash: Option<Vec<u8>>,
    pub(crate) external_hash: Option<Vec<u8>>,
    pub(crate) sealed: Option<Vec<u8>>,
}

/// Stores a new person; false when the id or the external identity is in use.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    write: &Write,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let added = tx
        .query(INSERT)
        .bind(write.individual_id.as_str())
        .bind(write.identity_hash.clone())
        .bind(write.external_hash.clone())
        .bind(write.sealed.clone())
        .bind(now)
        .execute()
        .await?;
    Ok(added == 1)
}

/// Ids and identity hashes of the people with these external identities.
pub(crate) async fn by_identities(
    tx: &mut Tx<'_>,
    hashes: &[&[u8]],
) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    tx.query(BY_IDENTITIES).bind_list(hashes).fetch_all().await
}

/// Stores new people; how many were new.
pub(crate) async fn insert_many(
    tx: &mut Tx<'_>,
    people: &[Write],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let list: Value = people
        .iter()
        .map(|one| {
            json!([
                one.individual_id,
                one.identity_hash.as_ref().map(hex::encode),
                one.external_hash.as_ref().map(hex::encode),
                one.sealed.as_ref().map(hex::encode),
            ])
        })
        .collect();
    tx.query(INSERT_MANY)
        .bind(list.to_string())
        .bind(now)
        .execute()
        .await
}

/// Registers keys: person, key id and JWK of each.
pub(crate) async fn add_keys(
    tx: &mut Tx<'_>,
    keys: &[(String, String, String)],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let list = json!(keys).to_string();
    tx.query(ADD_KEYS).bind(list).bind(now).execute().await
}

/// Stores new content; false when another person has the external identity.
pub(crate) async fn update(
    tx: &mut Tx<'_>,
    write: &Write,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let id = write.individual_id.as_str();
    let taken = tx.query(TAKEN).bind(write.identity_hash.clone()).bind(id);
    if taken.fetch_scalar::<i64>().await? > 0 {
        return Ok(false);
    }
    tx.query(UPDATE)
        .bind(id)
        .bind(write.identity_hash.clone())
        .bind(write.external_hash.clone())
        .bind(write.sealed.clone())
        .bind(now)
        .execute()
        .await?;
    Ok(true)
}

/// A person.
pub(crate) async fn find(db: &Db, individual_id: &str) -> Result<Option<Row>, StoreError> {
    db.query(FIND).bind(individual_id).fetch_optional().await
}

/// A person, read within a unit.
pub(crate) async fn find_in(
    tx: &mut Tx<'_>,
    individual_id: &str,
) -> Result<Option<Row>, StoreError> {
    tx.query(FIND).bind(individual_id).fetch_optional().await
}

/// A page of people, newest first.
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

/// People with this external id, newest first, whatever its kind and provider.
pub(crate) async fn list_external(
    db: &Db,
    hash: &[u8],
    page: &Page,
) -> Result<Vec<Row>, StoreError> {
    let (at, id) = page.edge();
    db.query(LIST_EXTERNAL)
        .bind(hash)
        .bind(at)
        .bind(id)
        .bind(page.limit)
        .fetch_all()
        .await
}

/// How many people there are.
pub(crate) async fn count(db: &Db) -> Result<i64, StoreError> {
    db.query(COUNT).fetch_scalar().await
}

/// Keeps whether the person is told of changes; false when there is no such person.
pub(crate) async fn set_notify(
    tx: &mut Tx<'_>,
    individual_id: &str,
    notify: bool,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let query = tx.query(NOTIFY).bind(individual_id).bind(notify).bind(now);
    Ok(query.execute().await? == 1)
}

/// Registers a key; false when it was registered before.
pub(crate) async fn add_key(
    tx: &mut Tx<'_>,
    individual_id: &str,
    key_id: &str,
    jwk: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let query = tx
        .query(ADD_KEY)
        .bind(individual_id)
        .bind(key_id)
        .bind(jwk)
        .bind(now);
    Ok(query.execute().await? == 1)
}

/// All keys of a person, oldest first.
pub(crate) async fn keys(db: &Db, individual_id: &str) -> Result<Vec<KeyRow>, StoreError> {
    db.query(KEYS).bind(individual_id).fetch_all().await
}

/// All keys of a person, read within a unit.
pub(crate) async fn keys_in(
    tx: &mut Tx<'_>,
    individual_id: &str,
) -> Result<Vec<KeyRow>, StoreError> {
    tx.query(KEYS).bind(individual_id).fetch_all().await
}

/// Keys of many people that were not revoked.
pub(crate) async fn good_keys(db: &Db, people: &[&str]) -> Result<Vec<KeyRow>, StoreError> {
    db.query(GOOD_KEYS).bind_list(people).fetch_all().await
}

/// Revokes a key; false when there is none that is good.
pub(crate) async fn revoke(
    tx: &mut Tx<'_>,
    individual_id: &str,
    key_id: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let query = tx.query(REVOKE).bind(individual_id).bind(key_id).bind(now);
    Ok(query.execute().await? == 1)
}

/// One key of a person.
pub(crate) async fn key_in(
    tx: &mut Tx<'_>,
    individual_id: &str,
    key_id: &str,
) -> Result<Option<KeyRow>, StoreError> {
    tx.query(KEY)
        .bind(individual_id)
        .bind(key_id)
        .fetch_optional()
        .await
}

/// Which of these people there are.
pub(crate) async fn known(tx: &mut Tx<'_>, people: &[&str]) -> Result<Vec<String>, StoreError> {
    tx.query(KNOWN).bind_list(people).fetch_scalars().await
}
