//! Consents that people gave, and their pseudonyms at relying parties.

use publica_store::{StoreError, Tx};
use publica_types::{Timestamp, Uuid};

use crate::domain::person::PersonId;
use crate::store::{list, list_text};

publica_store::statements! {
    INSERT = "INSERT INTO consent (consent_id, person_id, client_id, accepted_claims, \
            asked_claims, created, expires) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    LATEST = "SELECT accepted_claims, asked_claims FROM consent \
            WHERE person_id = $1 AND client_id = $2 AND expires > $3 \
            ORDER BY created DESC LIMIT 1",
    FIND_SUB = "SELECT sub FROM pseudonym WHERE person_id = $1 AND relying_party_id = $2",
    INSERT_SUB = "INSERT INTO pseudonym (person_id, relying_party_id, sub) VALUES ($1, $2, $3) \
            ON CONFLICT (person_id, relying_party_id) DO NOTHING",
}

/// What a person agreed to, and out of what.
#[derive(Debug, Clone)]
pub(crate) struct Consent {
    pub(crate) accepted: Vec<String>,
    pub(crate) asked: Vec<String>,
}

/// Records a consent.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    consent_id: Uuid,
    person_id: PersonId,
    client_id: &str,
    consent: &Consent,
    now: Timestamp,
    expires: Timestamp,
) -> Result<(), StoreError> {
    let query = tx
        .query(INSERT)
        .bind(consent_id)
        .bind(person_id)
        .bind(client_id)
        .bind(list_text(&consent.accepted))
        .bind(list_text(&consent.asked))
        .bind(now)
        .bind(expires);
    query.execute().await.map(drop)
}

/// The newest consent that is still remembered.
pub(crate) async fn latest(
    tx: &mut Tx<'_>,
    person_id: PersonId,
    client_id: &str,
    now: Timestamp,
) -> Result<Option<Consent>, StoreError> {
    let query = tx.query(LATEST).bind(person_id).bind(client_id).bind(now);
    let Some((accepted, asked)) = query.fetch_optional::<(String, String)>().await? else {
        return Ok(None);
    };
    Ok(Some(Consent {
        accepted: list(&accepted)?,
        asked: list(&asked)?,
    }))
}

/// The pseudonym of a person at a relying party: the one that was given before, or `derived`,
/// which is kept from now on.
pub(crate) async fn pseudonym(
    tx: &mut Tx<'_>,
    person_id: PersonId,
    relying_party_id: &str,
    derived: &str,
) -> Result<String, StoreError> {
    let find = tx.query(FIND_SUB).bind(person_id).bind(relying_party_id);
    if let Some((sub,)) = find.fetch_optional::<(String,)>().await? {
        return Ok(sub);
    }
    let insert = tx
        .query(INSERT_SUB)
        .bind(person_id)
        .bind(relying_party_id)
        .bind(derived);
    if insert.execute().await? == 1 {
        return Ok(derived.to_owned());
    }
    tx.query(FIND_SUB)
        .bind(person_id)
        .bind(relying_party_id)
        .fetch_scalar()
        .await
}
