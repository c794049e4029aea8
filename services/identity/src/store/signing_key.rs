//! Keys that sign tokens.

use publica_store::{Db, StoreError, Tx};
use publica_types::Timestamp;

publica_store::statements! {
    PUBLISHED = "SELECT kid, algorithm, state, sealed, public_jwk, created, activated, expires \
            FROM signing_key WHERE expires > $1 ORDER BY created DESC, kid",
    LIST = "SELECT kid, algorithm, state, sealed, public_jwk, created, activated, expires \
            FROM signing_key WHERE (created, kid) < ($1, $2) \
            ORDER BY created DESC, kid DESC LIMIT $3",
    FIND_IN_STATE = "SELECT kid, algorithm, state, sealed, public_jwk, created, activated, \
            expires FROM signing_key WHERE state = $1 AND algorithm = $2",
    INSERT = "INSERT INTO signing_key (kid, algorithm, state, sealed, public_jwk, created, \
            activated, expires) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    RETIRE = "UPDATE signing_key SET state = 'retired', expires = $2 \
            WHERE kid = $1 AND state = 'active'",
    ACTIVATE = "UPDATE signing_key SET state = 'active', activated = $2 \
            WHERE kid = $1 AND state = 'next'",
}

/// A key as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct StoredKey {
    pub(crate) kid: String,
    pub(crate) algorithm: String,
    pub(crate) state: String,
    pub(crate) sealed: Vec<u8>,
    pub(crate) public_jwk: String,
    pub(crate) created: Timestamp,
    pub(crate) activated: Option<Timestamp>,
    pub(crate) expires: Timestamp,
}

/// Keys that verifiers must know now.
pub(crate) async fn published(db: &Db, now: Timestamp) -> Result<Vec<StoredKey>, StoreError> {
    db.query(PUBLISHED).bind(now).fetch_all().await
}

/// Keys before `before`, newest first.
pub(crate) async fn list(
    db: &Db,
    before: Option<(Timestamp, String)>,
    limit: i64,
) -> Result<Vec<StoredKey>, StoreError> {
    let far = Timestamp::from_seconds(253_402_300_799);
    let (created, kid) = before.unwrap_or((far, String::new()));
    db.query(LIST)
        .bind(created)
        .bind(kid)
        .bind(limit)
        .fetch_all()
        .await
}

/// The key of a state.
pub(crate) async fn in_state(
    tx: &mut Tx<'_>,
    state: &str,
    algorithm: &str,
) -> Result<Option<StoredKey>, StoreError> {
    tx.query(FIND_IN_STATE)
        .bind(state)
        .bind(algorithm)
        .fetch_optional()
        .await
}

/// Stores a key unless there is one of its state; tells whether it did.
pub(crate) async fn insert(tx: &mut Tx<'_>, key: &StoredKey) -> Result<bool, StoreError> {
    let query = tx
        .query(INSERT)
        .bind(key.kid.as_str())
        .bind(key.algorithm.as_str())
        .bind(key.state.as_str())
        .bind(key.sealed.as_slice())
        .bind(key.public_jwk.as_str())
        .bind(key.created)
        .bind(key.activated)
        .bind(key.expires);
    Ok(query.execute().await? == 1)
}

/// Lets a key only verify, until `expires`; tells whether it was the active one.
pub(crate) async fn retire(
    tx: &mut Tx<'_>,
    kid: &str,
    expires: Timestamp,
) -> Result<bool, StoreError> {
    Ok(tx.query(RETIRE).bind(kid).bind(expires).execute().await? == 1)
}

/// Lets a published key sign; tells whether it was the next one.
pub(crate) async fn activate(
    tx: &mut Tx<'_>,
    kid: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(tx.query(ACTIVATE).bind(kid).bind(now).execute().await? == 1)
}
