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
            WHERE individual_id = $1 AND erased IS NULL",
    // Whoever erases a person waits for this unit, or came first; SQLite has one writer.
    HOLD = {
        sqlite: "SELECT individual_id, sealed, notify, created, updated FROM individual \
            WHERE individual_id = $1 AND erased IS NULL",
        postgres: "SELECT individual_id, sealed, notify, created, updated FROM individual \
            WHERE individual_id = $1 AND erased IS NULL FOR KEY SHARE",
    },
    // Whether a person was erased, about to be; only a lock of the engine keeps others away.
    LOCK = {
        sqlite: "SELECT erased IS NOT NULL FROM individual WHERE individual_id = $1",
        postgres: "SELECT erased IS NOT NULL FROM individual WHERE individual_id = $1 \
            FOR UPDATE",
    },
    ERASE = "UPDATE individual SET identity_hash = NULL, external_hash = NULL, sealed = NULL, \
             notify = FALSE, updated = $2, erased = $2 WHERE individual_id = $1",
    // Each engine unpacks lists in its own way.
    ERASED = {
        sqlite: "SELECT individual_id FROM individual WHERE erased IS NOT NULL \
            AND individual_id IN (SELECT value FROM jsonb_each($1))",
        postgres: "SELECT individual_id FROM individual WHERE erased IS NOT NULL \
            AND individual_id = ANY ($1::TEXT[])",
    },
    ERASE_KEYS = "DELETE FROM individual_key WHERE individual_id = $1",
    REVOKE_KEYS = "UPDATE individual_key SET revoked = $2 \
                   WHERE individual_id = $1 AND revoked IS NULL",
    UPDATE = "UPDATE individual SET identity_hash = $2, external_hash = $3, sealed = $4, \
              updated = $5 WHERE individual_id = $1",
    TAKEN = "SELECT COUNT(*) FROM individual WHERE identity_hash = $1 AND individual_id <> $2",
    LIST = "SELECT individual_id, sealed, notify, created, updated FROM individual \
            WHERE (created, individual_id) < ($1, $2) AND erased IS NULL \
            ORDER BY created DESC, individual_id DESC LIMIT $3 OFFSET $4",
    LIST_EXTERNAL = "SELECT individual_id, sealed, notify, created, updated FROM individual \
            WHERE external_hash = $1 AND (created, individual_id) < ($2, $3) \
            ORDER BY created DESC, individual_id DESC LIMIT $4",
    COUNT = "SELECT COUNT(*) FROM individual WHERE erased IS NULL",
    NOTIFY = "UPDATE individual SET notify = $2, updated = $3 \
              WHERE individual_id = $1 AND erased IS NULL",
    ADD_KEY = "INSERT INTO individual_key (individual_id, key_id, jwk, created) \
               VALUES ($1, $2, $3, $4) ON CONFLICT (individual_id, key_id) DO NOTHING",
    KEYS = "SELECT individual_id, key_id, jwk, created, revoked FROM individual_key \
            WHERE individual_id = $1 ORDER BY created, key_id LIMIT 64",
    // Keys of many people at once; each engine unpacks lists in its own way.
    GOOD_KEYS = {
        sqlite: "SELECT k.individual_id, k.key_id, k.jwk, k.created, k.revoked \
            FROM individual_key k WHERE k.revoked IS NULL \
            AND k.individual_id IN (SELECT value FROM jsonb_each($1))",
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
            WHERE identity_hash IN (SELECT unhex(value) FROM jsonb_each($1))",
        postgres: "SELECT individual_id, identity_hash FROM individual \
            WHERE identity_hash = ANY ($1::BYTEA[])",
    },
    // One text of rows for both engines: joining lists by position takes SQLite quadratic
    // time.
    INSERT_MANY = {
        sqlite: "INSERT INTO individual (individual_id, identity_hash, external_hash, sealed, \
            notify, created, updated) \
            SELECT value ->> 0, unhex(value ->> 1), unhex(value ->> 2), unhex(value ->> 3), \
            value ->> 4, value ->> 5, value ->> 5 \
            FROM jsonb_each($1) WHERE TRUE ON CONFLICT DO NOTHING",
        postgres: "INSERT INTO individual (individual_id, identity_hash, external_hash, \
            sealed, notify, created, updated) \
            SELECT e ->> 0, decode(e ->> 1, 'hex'), decode(e ->> 2, 'hex'), \
            decode(e ->> 3, 'hex'), CAST(e ->> 4 AS BOOLEAN), \
            TIMESTAMPTZ 'epoch' + CAST(e ->> 5 AS BIGINT) * INTERVAL '1 microsecond', \
            TIMESTAMPTZ 'epoch' + CAST(e ->> 5 AS BIGINT) * INTERVAL '1 microsecond' \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e \
            ON CONFLICT DO NOTHING",
    },
    ADD_KEYS = {
        sqlite: "INSERT INTO individual_key (individual_id, key_id, jwk, created) \
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM jsonb_each($1) \
            WHERE TRUE ON CONFLICT (individual_id, key_id) DO NOTHING",
        postgres: "INSERT INTO individual_key (individual_id, key_id, jwk, created) \
            SELECT e ->> 0, e ->> 1, e ->> 2, \
            TIMESTAMPTZ 'epoch' + CAST(e ->> 3 AS BIGINT) * INTERVAL '1 microsecond' \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e \
            ON CONFLICT (individual_id, key_id) DO NOTHING",
    },
    // Each engine unpacks lists in its own way.
    FIND_MANY = {
        sqlite: "SELECT individual_id, sealed, notify, created, updated FROM individual \
                 WHERE individual_id IN (SELECT value FROM jsonb_each($1)) AND erased IS NULL",
        postgres: "SELECT individual_id, sealed, notify, created, updated FROM individual \
                   WHERE individual_id = ANY ($1::TEXT[]) AND erased IS NULL",
    },
    // Which of these people there are; as HOLD, in one order, so that nobody waits in a circle.
    KNOWN = {
        sqlite: "SELECT individual_id FROM individual \
                 WHERE individual_id IN (SELECT value FROM jsonb_each($1)) AND erased IS NULL",
        postgres: "SELECT individual_id FROM individual \
                   WHERE individual_id = ANY ($1::TEXT[]) AND erased IS NULL \
                   ORDER BY individual_id FOR KEY SHARE",
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

/// A person who is about to be stored.
#[derive(Debug, Clone)]
pub(crate) struct New {
    pub(crate) write: Write,
    /// Whether the person is told of changes.
    pub(crate) notify: bool,
    pub(crate) created: Timestamp,
}

/// Stores new people; how many were new.
pub(crate) async fn insert_many(tx: &mut Tx<'_>, people: &[New]) -> Result<u64, StoreError> {
    if people.is_empty() {
        return Ok(0);
    }
    let list: Value = people
        .iter()
        .map(|one| {
            json!([
                one.write.individual_id,
                one.write.identity_hash.as_ref().map(hex::encode),
                one.write.external_hash.as_ref().map(hex::encode),
                one.write.sealed.as_ref().map(hex::encode),
                i64::from(one.notify),
                one.created.micros(),
            ])
        })
        .collect();
    let query = tx.query(INSERT_MANY).bind(list.to_string());
    query.execute().await
}

/// A key that is about to be registered.
#[derive(Debug, Clone)]
pub(crate) struct NewKey {
    pub(crate) individual_id: String,
    pub(crate) key_id: String,
    pub(crate) jwk: String,
    pub(crate) created: Timestamp,
}

/// Registers keys that were not registered before; how many there are.
pub(crate) async fn add_keys(tx: &mut Tx<'_>, keys: &[NewKey]) -> Result<u64, StoreError> {
    if keys.is_empty() {
        return Ok(0);
    }
    let list: Value = keys
        .iter()
        .map(|one| json!([one.individual_id, one.key_id, one.jwk, one.created.micros()]))
        .collect();
    tx.query(ADD_KEYS).bind(list.to_string()).execute().await
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

/// A person, who is not erased before this unit has ended.
pub(crate) async fn find_in(
    tx: &mut Tx<'_>,
    individual_id: &str,
) -> Result<Option<Row>, StoreError> {
    tx.query(HOLD).bind(individual_id).fetch_optional().await
}

/// Whether a person was erased, held until the unit ends; nothing where there never was one.
pub(crate) async fn lock(tx: &mut Tx<'_>, individual_id: &str) -> Result<Option<bool>, StoreError> {
    let query = tx.query(LOCK).bind(individual_id);
    query.fetch_scalar_optional().await
}

/// Leaves nothing of a person but the id. The keys they signed with stay, revoked, where what
/// others answered may rest on them.
pub(crate) async fn erase(
    tx: &mut Tx<'_>,
    individual_id: &str,
    keep_keys: bool,
) -> Result<(), StoreError> {
    let now = tx.now();
    if keep_keys {
        let query = tx.query(REVOKE_KEYS).bind(individual_id).bind(now);
        query.execute().await?;
    } else {
        let query = tx.query(ERASE_KEYS).bind(individual_id);
        query.execute().await?;
    }
    let query = tx.query(ERASE).bind(individual_id).bind(now);
    query.execute().await.map(drop)
}

/// Which of these ids were those of people who were erased since.
pub(crate) async fn erased(tx: &mut Tx<'_>, people: &[&str]) -> Result<Vec<String>, StoreError> {
    tx.query(ERASED).bind_list(people).fetch_scalars().await
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

/// Those of these people who are stored.
pub(crate) async fn find_many(tx: &mut Tx<'_>, people: &[&str]) -> Result<Vec<Row>, StoreError> {
    tx.query(FIND_MANY).bind_list(people).fetch_all().await
}

/// Which of these people there are.
pub(crate) async fn known(tx: &mut Tx<'_>, people: &[&str]) -> Result<Vec<String>, StoreError> {
    tx.query(KNOWN).bind_list(people).fetch_scalars().await
}
