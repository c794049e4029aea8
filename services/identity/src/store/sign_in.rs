//! Sign-ins under way and the codes sent for them.

use publica_store::{Db, StoreError, Tx};
use publica_types::Timestamp;

use crate::domain::authorization::AuthorizationRequest;
use crate::domain::person::PersonId;
use crate::domain::sign_in::SignInState;
use crate::store::{corrupt, list};

publica_store::statements! {
    INSERT = "INSERT INTO sign_in (transaction_hash, client_id, request, state, acr, \
            accepted_claims, created, expires) VALUES ($1, $2, $3, 'new', '', '[]', $4, $5)",
    FIND = "SELECT transaction_hash, client_id, request, state, person_id, acr, auth_time, \
            accepted_claims, code_expires, created, expires FROM sign_in \
            WHERE transaction_hash = $1",
    // SQLite has one writer and no row locks.
    LOCK = {
        sqlite: "SELECT transaction_hash, client_id, request, state, person_id, acr, auth_time, \
                 accepted_claims, code_expires, created, expires FROM sign_in \
                 WHERE transaction_hash = $1",
        postgres: "SELECT transaction_hash, client_id, request, state, person_id, acr, \
                 auth_time, accepted_claims, code_expires, created, expires FROM sign_in \
                 WHERE transaction_hash = $1 FOR UPDATE",
    },
    LOCK_BY_CODE = {
        sqlite: "SELECT transaction_hash, client_id, request, state, person_id, acr, auth_time, \
                 accepted_claims, code_expires, created, expires FROM sign_in \
                 WHERE code_hash = $1",
        postgres: "SELECT transaction_hash, client_id, request, state, person_id, acr, \
                 auth_time, accepted_claims, code_expires, created, expires FROM sign_in \
                 WHERE code_hash = $1 FOR UPDATE",
    },
    PROLONG = "UPDATE sign_in SET expires = $2 WHERE transaction_hash = $1",
    AUTHENTICATE = "UPDATE sign_in SET state = 'authenticated', person_id = $2, acr = $3, \
            auth_time = $4, expires = $5 WHERE transaction_hash = $1",
    ISSUE_CODE = "UPDATE sign_in SET state = 'code_issued', accepted_claims = $2, \
            code_hash = $3, code_expires = $4 WHERE transaction_hash = $1",
    SET_STATE = "UPDATE sign_in SET state = $2 WHERE transaction_hash = $1",
    INSERT_CODE = "INSERT INTO one_time_code (transaction_hash, code_hash, person_id, expires) \
            VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    USE_CODE = "DELETE FROM one_time_code WHERE transaction_hash = $1 AND code_hash = $2 \
            AND person_id = $3 AND expires > $4",
    DELETE_CODES = "DELETE FROM one_time_code WHERE transaction_hash = $1",
}

/// A sign-in as stored.
#[derive(Debug, Clone)]
pub(crate) struct SignIn {
    pub(crate) transaction_hash: Vec<u8>,
    pub(crate) client_id: String,
    pub(crate) request: AuthorizationRequest,
    pub(crate) state: SignInState,
    pub(crate) person_id: Option<PersonId>,
    pub(crate) acr: String,
    pub(crate) auth_time: Option<Timestamp>,
    pub(crate) accepted_claims: Vec<String>,
    pub(crate) code_expires: Option<Timestamp>,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
}

#[derive(Debug, sqlx::FromRow)]
struct SignInRow {
    transaction_hash: Vec<u8>,
    client_id: String,
    request: String,
    state: String,
    person_id: Option<PersonId>,
    acr: String,
    auth_time: Option<Timestamp>,
    accepted_claims: String,
    code_expires: Option<Timestamp>,
    created: Timestamp,
    expires: Timestamp,
}

impl TryFrom<SignInRow> for SignIn {
    type Error = StoreError;

    fn try_from(row: SignInRow) -> Result<Self, StoreError> {
        Ok(Self {
            transaction_hash: row.transaction_hash,
            client_id: row.client_id,
            request: serde_json::from_str(&row.request)
                .map_err(|_| corrupt("a stored authorization request"))?,
            state: SignInState::of(&row.state).ok_or(corrupt("the state of a sign-in"))?,
            person_id: row.person_id,
            acr: row.acr,
            auth_time: row.auth_time,
            accepted_claims: list(&row.accepted_claims)?,
            code_expires: row.code_expires,
            created: row.created,
            expires: row.expires,
        })
    }
}

/// Begins a sign-in.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    transaction_hash: &[u8],
    client_id: &str,
    request: &AuthorizationRequest,
    now: Timestamp,
    expires: Timestamp,
) -> Result<(), StoreError> {
    let text = serde_json::to_string(request).map_err(|_| corrupt("an authorization request"))?;
    let query = tx
        .query(INSERT)
        .bind(transaction_hash)
        .bind(client_id)
        .bind(text);
    query.bind(now).bind(expires).execute().await.map(drop)
}

/// A sign-in, with a read of its own.
pub(crate) async fn read(db: &Db, transaction_hash: &[u8]) -> Result<Option<SignIn>, StoreError> {
    let row = db
        .query(FIND)
        .bind(transaction_hash)
        .fetch_optional::<SignInRow>()
        .await?;
    row.map(SignIn::try_from).transpose()
}

/// A sign-in that nobody else changes before this unit ends.
pub(crate) async fn lock(
    tx: &mut Tx<'_>,
    transaction_hash: &[u8],
) -> Result<Option<SignIn>, StoreError> {
    let row = tx
        .query(LOCK)
        .bind(transaction_hash)
        .fetch_optional::<SignInRow>()
        .await?;
    row.map(SignIn::try_from).transpose()
}

/// The sign-in of an authorization code, held like [`lock`].
pub(crate) async fn lock_by_code(
    tx: &mut Tx<'_>,
    code_hash: &[u8],
) -> Result<Option<SignIn>, StoreError> {
    let row = tx
        .query(LOCK_BY_CODE)
        .bind(code_hash)
        .fetch_optional::<SignInRow>()
        .await?;
    row.map(SignIn::try_from).transpose()
}

/// Moves the end of a sign-in.
pub(crate) async fn prolong(
    tx: &mut Tx<'_>,
    transaction_hash: &[u8],
    expires: Timestamp,
) -> Result<(), StoreError> {
    tx.query(PROLONG)
        .bind(transaction_hash)
        .bind(expires)
        .execute()
        .await
        .map(drop)
}

/// Records who signed in, how and when.
pub(crate) async fn authenticate(
    tx: &mut Tx<'_>,
    transaction_hash: &[u8],
    person_id: PersonId,
    acr: &str,
    now: Timestamp,
    expires: Timestamp,
) -> Result<(), StoreError> {
    let query = tx
        .query(AUTHENTICATE)
        .bind(transaction_hash)
        .bind(person_id)
        .bind(acr);
    query.bind(now).bind(expires).execute().await.map(drop)
}

/// Records the choice and the code.
pub(crate) async fn issue_code(
    tx: &mut Tx<'_>,
    transaction_hash: &[u8],
    accepted_claims: &[String],
    code_hash: &[u8],
    expires: Timestamp,
) -> Result<(), StoreError> {
    let accepted = crate::store::list_text(accepted_claims);
    let query = tx
        .query(ISSUE_CODE)
        .bind(transaction_hash)
        .bind(accepted)
        .bind(code_hash);
    query.bind(expires).execute().await.map(drop)
}

/// Moves a sign-in to a state.
pub(crate) async fn set_state(
    tx: &mut Tx<'_>,
    transaction_hash: &[u8],
    state: SignInState,
) -> Result<(), StoreError> {
    tx.query(SET_STATE)
        .bind(transaction_hash)
        .bind(state.name())
        .execute()
        .await
        .map(drop)
}

/// Keeps the hash of a one-time code.
pub(crate) async fn insert_code(
    tx: &mut Tx<'_>,
    transaction_hash: &[u8],
    code_hash: &[u8],
    person_id: PersonId,
    expires: Timestamp,
) -> Result<(), StoreError> {
    let query = tx.query(INSERT_CODE).bind(transaction_hash).bind(code_hash);
    query
        .bind(person_id)
        .bind(expires)
        .execute()
        .await
        .map(drop)
}

/// Uses up a one-time code; tells whether it was good.
pub(crate) async fn use_code(
    tx: &mut Tx<'_>,
    transaction_hash: &[u8],
    code_hash: &[u8],
    person_id: PersonId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let query = tx.query(USE_CODE).bind(transaction_hash).bind(code_hash);
    Ok(query.bind(person_id).bind(now).execute().await? == 1)
}

/// Forgets the codes of a sign-in.
pub(crate) async fn delete_codes(
    tx: &mut Tx<'_>,
    transaction_hash: &[u8],
) -> Result<(), StoreError> {
    tx.query(DELETE_CODES)
        .bind(transaction_hash)
        .execute()
        .await
        .map(drop)
}
