//! People and what is known about them.

use publica_store::{Db, StoreError, Tx};
use publica_types::{Timestamp, Uuid};

use crate::domain::person::{PersonId, PersonState};
use crate::store::corrupt;

publica_store::statements! {
    FIND = "SELECT person_id, state, assurance_level, registration_id, source, attribute_version, \
            block_expires, created, updated FROM person WHERE person_id = $1",
    // A list is an array in one engine and JSON in the other.
    FIND_MANY = {
        sqlite: "SELECT p.person_id, p.state, p.assurance_level, p.registration_id, p.source, \
                 p.attribute_version, p.block_expires, p.created, p.updated \
                 FROM json_each($1) AS asked JOIN person AS p \
                 ON p.person_id = unhex(asked.value)",
        postgres: "SELECT person_id, state, assurance_level, registration_id, source, \
                 attribute_version, block_expires, created, updated FROM person \
                 WHERE person_id = ANY($1)",
    },
    // SQLite has one writer and no row locks.
    LOCK = {
        sqlite: "SELECT person_id, state, assurance_level, registration_id, source, \
                 attribute_version, block_expires, created, updated FROM person \
                 WHERE person_id = $1",
        postgres: "SELECT person_id, state, assurance_level, registration_id, source, \
                 attribute_version, block_expires, created, updated FROM person \
                 WHERE person_id = $1 FOR UPDATE",
    },
    LIST = "SELECT person_id, state, assurance_level, registration_id, source, attribute_version, \
            block_expires, created, updated FROM person \
            WHERE (created, person_id) > ($1, $2) AND ($3 = '' OR state = $3) \
            ORDER BY created, person_id LIMIT $4",
    SET_STATE = "UPDATE person SET state = $2, block_expires = $3, updated = $4 \
            WHERE person_id = $1",
    SET_VERSION = "UPDATE person SET attribute_version = $2, source = $3, updated = $4 \
            WHERE person_id = $1",
    ATTRIBUTES = "SELECT sealed FROM attribute_record WHERE person_id = $1 AND version = $2",
    INSERT_VERSION = "INSERT INTO attribute_record (person_id, version, sealed, source, evidence, \
            recorded) VALUES ($1, $2, $3, $4, $5, $6)",
    DELETE_NAME_KEYS = "DELETE FROM name_key WHERE person_id = $1",
    // A list is an array in one engine and JSON in the other.
    FIND_BY_NAME = {
        sqlite: "SELECT p.person_id, p.state, p.assurance_level, p.registration_id, p.source, \
                 p.attribute_version, p.block_expires, p.created, p.updated FROM person AS p \
                 WHERE p.person_id IN (SELECT n.person_id FROM json_each($1) AS asked \
                 JOIN name_key AS n ON n.lookup = unhex(asked.value) \
                 GROUP BY n.person_id HAVING COUNT(*) >= $2) \
                 ORDER BY p.created, p.person_id LIMIT $3",
        postgres: "SELECT p.person_id, p.state, p.assurance_level, p.registration_id, p.source, \
                 p.attribute_version, p.block_expires, p.created, p.updated FROM person AS p \
                 WHERE p.person_id IN (SELECT n.person_id FROM name_key AS n \
                 WHERE n.lookup = ANY($1) GROUP BY n.person_id HAVING COUNT(*) >= $2) \
                 ORDER BY p.created, p.person_id LIMIT $3",
    },
}

/// A person as stored.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_field_names,
    reason = "ids are named for what they name, as on the wire"
)]
pub(crate) struct Person {
    pub(crate) person_id: PersonId,
    /// As stored; a block with an end may be over.
    pub(crate) stored_state: PersonState,
    pub(crate) assurance_level: String,
    pub(crate) registration_id: String,
    pub(crate) source: String,
    pub(crate) attribute_version: i64,
    pub(crate) block_expires: Option<Timestamp>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

impl Person {
    /// Where the identity stands now.
    pub(crate) fn state(&self, now: Timestamp) -> PersonState {
        self.stored_state.at(self.block_expires, now)
    }
}

#[derive(Debug, sqlx::FromRow)]
struct PersonRow {
    person_id: PersonId,
    state: String,
    assurance_level: String,
    registration_id: String,
    source: String,
    attribute_version: i64,
    block_expires: Option<Timestamp>,
    created: Timestamp,
    updated: Timestamp,
}

impl TryFrom<PersonRow> for Person {
    type Error = StoreError;

    fn try_from(row: PersonRow) -> Result<Self, StoreError> {
        Ok(Self {
            person_id: row.person_id,
            stored_state: PersonState::of(&row.state).ok_or(corrupt("a person's state"))?,
            assurance_level: row.assurance_level,
            registration_id: row.registration_id,
            source: row.source,
            attribute_version: row.attribute_version,
            block_expires: row.block_expires,
            created: row.created,
            updated: row.updated,
        })
    }
}

fn all(rows: Vec<PersonRow>) -> Result<Vec<Person>, StoreError> {
    rows.into_iter().map(Person::try_from).collect()
}

/// One person.
pub(crate) async fn find(tx: &mut Tx<'_>, id: PersonId) -> Result<Option<Person>, StoreError> {
    let row = tx
        .query(FIND)
        .bind(id)
        .fetch_optional::<PersonRow>()
        .await?;
    row.map(Person::try_from).transpose()
}

/// Those of many people who are stored.
pub(crate) async fn find_many(tx: &mut Tx<'_>, ids: &[Uuid]) -> Result<Vec<Person>, StoreError> {
    all(tx
        .query(FIND_MANY)
        .bind_list(ids)
        .fetch_all::<PersonRow>()
        .await?)
}

/// One person, whom nobody else changes before this unit ends.
pub(crate) async fn lock(tx: &mut Tx<'_>, id: PersonId) -> Result<Option<Person>, StoreError> {
    let row = tx
        .query(LOCK)
        .bind(id)
        .fetch_optional::<PersonRow>()
        .await?;
    row.map(Person::try_from).transpose()
}

/// People after `after`, oldest first.
pub(crate) async fn list(
    db: &Db,
    after: Option<(Timestamp, PersonId)>,
    state: &str,
    limit: i64,
) -> Result<Vec<Person>, StoreError> {
    let (created, id) = after.unwrap_or((Timestamp::EPOCH, PersonId::from_uuid(Uuid::nil())));
    let query = db
        .query(LIST)
        .bind(created)
        .bind(id)
        .bind(state)
        .bind(limit);
    all(query.fetch_all::<PersonRow>().await?)
}

/// People whose name has all of these keys.
pub(crate) async fn find_by_name(
    db: &Db,
    keys: &[Vec<u8>],
    limit: i64,
) -> Result<Vec<Person>, StoreError> {
    let wanted = i64::try_from(keys.len()).unwrap_or(i64::MAX);
    let query = db
        .query(FIND_BY_NAME)
        .bind_list(keys)
        .bind(wanted)
        .bind(limit);
    all(query.fetch_all::<PersonRow>().await?)
}

/// Changes where an identity stands.
pub(crate) async fn set_state(
    tx: &mut Tx<'_>,
    id: PersonId,
    state: PersonState,
    block_expires: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let query = tx
        .query(SET_STATE)
        .bind(id)
        .bind(state.name())
        .bind(block_expires)
        .bind(now);
    query.execute().await.map(drop)
}

/// The sealed attributes of one version.
pub(crate) async fn attributes(
    tx: &mut Tx<'_>,
    id: PersonId,
    version: i64,
) -> Result<Vec<u8>, StoreError> {
    tx.query(ATTRIBUTES)
        .bind(id)
        .bind(version)
        .fetch_scalar::<Vec<u8>>()
        .await
}

/// A further version of what is known about a person.
#[derive(Debug)]
pub(crate) struct NewVersion<'a> {
    pub(crate) person_id: PersonId,
    pub(crate) version: i64,
    pub(crate) sealed: Vec<u8>,
    pub(crate) source: &'a str,
    pub(crate) evidence: &'a str,
}

/// Stores a further version and makes it the one in force.
pub(crate) async fn add_version(
    tx: &mut Tx<'_>,
    new: NewVersion<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.query(INSERT_VERSION)
        .bind(new.person_id)
        .bind(new.version)
        .bind(new.sealed)
        .bind(new.source)
        .bind(new.evidence)
        .bind(now)
        .execute()
        .await?;
    let query = tx.query(SET_VERSION).bind(new.person_id).bind(new.version);
    query.bind(new.source).bind(now).execute().await.map(drop)
}

/// Forgets by which names a person is found.
pub(crate) async fn delete_name_keys(tx: &mut Tx<'_>, id: PersonId) -> Result<(), StoreError> {
    tx.query(DELETE_NAME_KEYS)
        .bind(id)
        .execute()
        .await
        .map(drop)
}
