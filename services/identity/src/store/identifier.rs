//! Identifiers and the people they name.

use publica_store::{Db, StoreError, Tx};
use publica_types::{Timestamp, Uuid};

use crate::domain::person::{IdentifierId, PersonId};

publica_store::statements! {
    FIND = "SELECT identifier_id, person_id, kind, alias_kind, policy, sealed, state, uses_left, \
            expires, created FROM identifier WHERE identifier_id = $1",
    FIND_BY_LOOKUP = "SELECT identifier_id, person_id, kind, alias_kind, policy, sealed, state, \
            uses_left, expires, created FROM identifier WHERE lookup = $1 AND state = 'active'",
    // A list is an array in one engine and JSON in the other.
    FIND_MANY = {
        sqlite: "SELECT i.lookup, i.person_id, i.alias_kind FROM json_each($1) AS asked \
                 JOIN identifier AS i ON i.lookup = unhex(asked.value) AND i.state = 'active'",
        postgres: "SELECT lookup, person_id, alias_kind FROM identifier \
                 WHERE lookup = ANY($1) AND state = 'active'",
    },
    INSERT = "INSERT INTO identifier (identifier_id, person_id, kind, alias_kind, policy, lookup, \
            sealed, state, uses_left, expires, created) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, 'active', $8, $9, $10) \
            ON CONFLICT (lookup) WHERE state = 'active' DO NOTHING",
    LIST = "SELECT identifier_id, person_id, kind, alias_kind, policy, sealed, state, uses_left, \
            expires, created FROM identifier \
            WHERE person_id = $1 AND kind <> 'uin' AND (created, identifier_id) > ($2, $3) \
            ORDER BY created, identifier_id LIMIT $4",
    COUNT_LIVE = "SELECT COUNT(*) FROM identifier WHERE person_id = $1 AND kind = 'vid' \
            AND policy = $2 AND state = 'active' AND (expires IS NULL OR expires > $3)",
    SET_STATE = "UPDATE identifier SET state = $2 WHERE identifier_id = $1 AND state = 'active'",
    REVOKE_ALL = "UPDATE identifier SET state = 'revoked' \
            WHERE person_id = $1 AND state = 'active'",
    USE_ONCE = "UPDATE identifier SET uses_left = uses_left - 1, \
            state = CASE WHEN uses_left = 1 THEN 'used' ELSE state END \
            WHERE identifier_id = $1 AND state = 'active' AND uses_left > 0",
}

/// An identifier as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
#[expect(
    clippy::struct_field_names,
    reason = "ids are named for what they name, as on the wire"
)]
pub(crate) struct Identifier {
    pub(crate) identifier_id: IdentifierId,
    pub(crate) person_id: PersonId,
    pub(crate) kind: String,
    pub(crate) alias_kind: String,
    pub(crate) policy: String,
    pub(crate) sealed: Vec<u8>,
    pub(crate) state: String,
    pub(crate) uses_left: Option<i64>,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) created: Timestamp,
}

impl Identifier {
    /// Whether it is accepted now.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.state == "active"
            && self.expires.is_none_or(|end| now < end)
            && self.uses_left.is_none_or(|left| left > 0)
    }
}

/// An alias that somebody has.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Taken {
    pub(crate) lookup: Vec<u8>,
    pub(crate) person_id: PersonId,
    pub(crate) alias_kind: String,
}

/// One identifier by its own id.
pub(crate) async fn find(
    tx: &mut Tx<'_>,
    id: IdentifierId,
) -> Result<Option<Identifier>, StoreError> {
    tx.query(FIND).bind(id).fetch_optional().await
}

/// The identifier that someone typed, if it is in use.
pub(crate) async fn find_by_lookup(
    tx: &mut Tx<'_>,
    lookup: &[u8],
) -> Result<Option<Identifier>, StoreError> {
    tx.query(FIND_BY_LOOKUP).bind(lookup).fetch_optional().await
}

/// Those of many identifiers that are in use.
pub(crate) async fn find_many(
    tx: &mut Tx<'_>,
    lookups: &[Vec<u8>],
) -> Result<Vec<Taken>, StoreError> {
    if lookups.is_empty() {
        return Ok(Vec::new());
    }
    tx.query(FIND_MANY).bind_list(lookups).fetch_all().await
}

/// An identifier to be stored.
#[derive(Debug)]
pub(crate) struct NewIdentifier<'a> {
    pub(crate) identifier_id: IdentifierId,
    pub(crate) person_id: PersonId,
    pub(crate) kind: &'a str,
    pub(crate) alias_kind: &'a str,
    pub(crate) policy: &'a str,
    pub(crate) lookup: &'a [u8],
    pub(crate) sealed: Vec<u8>,
    pub(crate) uses_left: Option<i64>,
    pub(crate) expires: Option<Timestamp>,
}

/// Stores an identifier unless it is in use already; tells whether it did.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    new: NewIdentifier<'_>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let query = tx
        .query(INSERT)
        .bind(new.identifier_id)
        .bind(new.person_id)
        .bind(new.kind)
        .bind(new.alias_kind)
        .bind(new.policy)
        .bind(new.lookup)
        .bind(new.sealed)
        .bind(new.uses_left)
        .bind(new.expires)
        .bind(now);
    Ok(query.execute().await? == 1)
}

/// A person's identifiers after `after`, oldest first.
pub(crate) async fn list(
    tx: &mut Tx<'_>,
    person_id: PersonId,
    after: Option<(Timestamp, IdentifierId)>,
    limit: i64,
) -> Result<Vec<Identifier>, StoreError> {
    let (created, id) = after.unwrap_or((Timestamp::EPOCH, IdentifierId::from_uuid(Uuid::nil())));
    tx.query(LIST)
        .bind(person_id)
        .bind(created)
        .bind(id)
        .bind(limit)
        .fetch_all()
        .await
}

/// How many virtual identifiers of a policy a person has in use.
pub(crate) async fn count_live(
    tx: &mut Tx<'_>,
    person_id: PersonId,
    policy: &str,
    now: Timestamp,
) -> Result<i64, StoreError> {
    tx.query(COUNT_LIVE)
        .bind(person_id)
        .bind(policy)
        .bind(now)
        .fetch_scalar()
        .await
}

/// Takes an identifier out of use.
pub(crate) async fn revoke(tx: &mut Tx<'_>, id: IdentifierId) -> Result<(), StoreError> {
    tx.query(SET_STATE)
        .bind(id)
        .bind("revoked")
        .execute()
        .await
        .map(drop)
}

/// Takes all identifiers of a person out of use.
pub(crate) async fn revoke_all(tx: &mut Tx<'_>, person_id: PersonId) -> Result<u64, StoreError> {
    tx.query(REVOKE_ALL).bind(person_id).execute().await
}

/// Counts one use of an identifier that is good for some; tells whether one was left.
pub(crate) async fn use_once(tx: &mut Tx<'_>, id: IdentifierId) -> Result<bool, StoreError> {
    Ok(tx.query(USE_ONCE).bind(id).execute().await? == 1)
}

/// Whose identifier it is, with a read of its own.
pub(crate) async fn owner(db: &Db, lookup: &[u8]) -> Result<Option<Identifier>, StoreError> {
    db.query(FIND_BY_LOOKUP).bind(lookup).fetch_optional().await
}
