//! Enrolments and the packets they arrived in.

use publica_store::{Db, StoreError, Tx};
use publica_types::Timestamp;

use crate::domain::person::PersonId;

publica_store::statements! {
    FIND = "SELECT registration_id, process, source, ref_id, state, person_id, created, updated \
            FROM enrolment WHERE registration_id = $1",
    LIST = "SELECT registration_id, process, source, ref_id, state, person_id, created, updated \
            FROM enrolment WHERE (created, registration_id) > ($1, $2) \
            AND ($3 = '' OR state = $3) ORDER BY created, registration_id LIMIT $4",
    OF_PERSON = "SELECT registration_id FROM enrolment WHERE person_id = $1",
    UPSERT = "INSERT INTO enrolment (registration_id, process, source, ref_id, state, person_id, \
            created, updated) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
            ON CONFLICT (registration_id) DO UPDATE SET process = EXCLUDED.process, \
            state = EXCLUDED.state, person_id = EXCLUDED.person_id, updated = EXCLUDED.updated",
    FIND_ANSWER = "SELECT answer FROM packet WHERE registration_id = $1 AND content_hash = $2",
    PACKETS = "SELECT sealed FROM packet WHERE registration_id = $1 ORDER BY position",
    INSERT_PACKET = "INSERT INTO packet (registration_id, content_hash, process, position, \
            sealed, answer, received) VALUES ($1, $2, $3, $4, $5, $6, $7)",
}

/// An enrolment as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Enrolment {
    pub(crate) registration_id: String,
    pub(crate) process: String,
    pub(crate) source: String,
    pub(crate) ref_id: String,
    pub(crate) state: String,
    pub(crate) person_id: Option<PersonId>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

/// One enrolment.
pub(crate) async fn find(tx: &mut Tx<'_>, id: &str) -> Result<Option<Enrolment>, StoreError> {
    tx.query(FIND).bind(id).fetch_optional().await
}

/// One enrolment, with a read of its own.
pub(crate) async fn read(db: &Db, id: &str) -> Result<Option<Enrolment>, StoreError> {
    db.query(FIND).bind(id).fetch_optional().await
}

/// Enrolments after `after`, oldest first.
pub(crate) async fn list(
    db: &Db,
    after: Option<(Timestamp, String)>,
    state: &str,
    limit: i64,
) -> Result<Vec<Enrolment>, StoreError> {
    let (created, id) = after.unwrap_or((Timestamp::EPOCH, String::new()));
    db.query(LIST)
        .bind(created)
        .bind(id)
        .bind(state)
        .bind(limit)
        .fetch_all()
        .await
}

/// Numbers of the enrolments of a person.
pub(crate) async fn of_person(tx: &mut Tx<'_>, id: PersonId) -> Result<Vec<String>, StoreError> {
    tx.query(OF_PERSON).bind(id).fetch_scalars().await
}

/// Stores an enrolment as it stands now.
pub(crate) async fn put(tx: &mut Tx<'_>, enrolment: &Enrolment) -> Result<(), StoreError> {
    let query = tx
        .query(UPSERT)
        .bind(enrolment.registration_id.as_str())
        .bind(enrolment.process.as_str())
        .bind(enrolment.source.as_str())
        .bind(enrolment.ref_id.as_str())
        .bind(enrolment.state.as_str())
        .bind(enrolment.person_id)
        .bind(enrolment.created)
        .bind(enrolment.updated);
    query.execute().await.map(drop)
}

/// What a packet was answered the first time, if it came before.
pub(crate) async fn answer(
    tx: &mut Tx<'_>,
    id: &str,
    content_hash: &[u8],
) -> Result<Option<String>, StoreError> {
    let row = tx.query(FIND_ANSWER).bind(id).bind(content_hash);
    Ok(row
        .fetch_optional::<(String,)>()
        .await?
        .map(|(answer,)| answer))
}

/// The sealed packets of an enrolment, in the order in which they came.
pub(crate) async fn packets(tx: &mut Tx<'_>, id: &str) -> Result<Vec<Vec<u8>>, StoreError> {
    let rows = tx.query(PACKETS).bind(id).fetch_all::<(Vec<u8>,)>().await?;
    Ok(rows.into_iter().map(|(sealed,)| sealed).collect())
}

/// A packet to be stored.
#[derive(Debug)]
pub(crate) struct NewPacket<'a> {
    pub(crate) registration_id: &'a str,
    pub(crate) content_hash: &'a [u8],
    pub(crate) process: &'a str,
    pub(crate) position: i64,
    pub(crate) sealed: Vec<u8>,
    pub(crate) answer: String,
}

/// Stores a packet.
pub(crate) async fn insert_packet(
    tx: &mut Tx<'_>,
    new: NewPacket<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let query = tx
        .query(INSERT_PACKET)
        .bind(new.registration_id)
        .bind(new.content_hash)
        .bind(new.process)
        .bind(new.position)
        .bind(new.sealed)
        .bind(new.answer)
        .bind(now);
    query.execute().await.map(drop)
}
