//! Factors of people.

use publica_store::{StoreError, Tx};
use publica_types::Timestamp;

use crate::domain::person::{FactorId, PersonId};

publica_store::statements! {
    FIND = "SELECT factor_id, person_id, kind, sealed, state, created FROM factor \
            WHERE factor_id = $1",
    LIST = "SELECT factor_id, person_id, kind, sealed, state, created FROM factor \
            WHERE person_id = $1 ORDER BY kind",
    UPSERT = "INSERT INTO factor (factor_id, person_id, kind, sealed, state, created) \
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (person_id, kind) \
            DO UPDATE SET sealed = EXCLUDED.sealed, state = EXCLUDED.state",
    SET_STATE = "UPDATE factor SET state = $2 WHERE factor_id = $1",
    DELETE_ALL = "DELETE FROM factor WHERE person_id = $1",
}

/// The kind of a one-time code sent by e-mail.
pub(crate) const EMAIL_CODE: &str = "email_code";

/// A factor as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
#[expect(
    clippy::struct_field_names,
    reason = "ids are named for what they name, as on the wire"
)]
pub(crate) struct Factor {
    pub(crate) factor_id: FactorId,
    pub(crate) person_id: PersonId,
    pub(crate) kind: String,
    pub(crate) sealed: Vec<u8>,
    pub(crate) state: String,
    pub(crate) created: Timestamp,
}

impl Factor {
    /// Whether it may be used.
    pub(crate) fn is_active(&self) -> bool {
        self.state == "active"
    }
}

/// One factor.
pub(crate) async fn find(tx: &mut Tx<'_>, id: FactorId) -> Result<Option<Factor>, StoreError> {
    tx.query(FIND).bind(id).fetch_optional().await
}

/// All factors of a person.
pub(crate) async fn list(tx: &mut Tx<'_>, id: PersonId) -> Result<Vec<Factor>, StoreError> {
    tx.query(LIST).bind(id).fetch_all().await
}

/// Adds a factor, or replaces the one of its kind.
pub(crate) async fn put(tx: &mut Tx<'_>, factor: &Factor) -> Result<(), StoreError> {
    let query = tx
        .query(UPSERT)
        .bind(factor.factor_id)
        .bind(factor.person_id)
        .bind(factor.kind.as_str())
        .bind(factor.sealed.as_slice())
        .bind(factor.state.as_str())
        .bind(factor.created);
    query.execute().await.map(drop)
}

/// Locks or unlocks a factor.
pub(crate) async fn set_state(
    tx: &mut Tx<'_>,
    id: FactorId,
    state: &str,
) -> Result<(), StoreError> {
    tx.query(SET_STATE)
        .bind(id)
        .bind(state)
        .execute()
        .await
        .map(drop)
}

/// Removes all factors of a person.
pub(crate) async fn delete_all(tx: &mut Tx<'_>, id: PersonId) -> Result<(), StoreError> {
    tx.query(DELETE_ALL).bind(id).execute().await.map(drop)
}
