//! Tokens that were issued, and assertions that were used.

use publica_store::{Db, StoreError, Tx};
use publica_types::Timestamp;

use crate::domain::person::PersonId;
use crate::store::{list, list_text};

publica_store::statements! {
    INSERT = "INSERT INTO issued_token (token_id, client_id, transaction_hash, person_id, sub, \
            scope, accepted_claims, claims_locales, issued, expires) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    FIND = "SELECT token_id, client_id, transaction_hash, person_id, sub, scope, \
            accepted_claims, claims_locales, issued, expires, revoked FROM issued_token \
            WHERE token_id = $1",
    REVOKE = "UPDATE issued_token SET revoked = $3 \
            WHERE token_id = $1 AND client_id = $2 AND revoked IS NULL",
    REVOKE_OF_SIGN_IN = "UPDATE issued_token SET revoked = $2 \
            WHERE transaction_hash = $1 AND revoked IS NULL",
    REVOKE_OF_PERSON = "UPDATE issued_token SET revoked = $2 \
            WHERE person_id = $1 AND revoked IS NULL",
    USE_ASSERTION = "INSERT INTO used_assertion (client_id, jti_hash, expires) \
            VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
}

/// A token as stored; the token itself is not.
#[derive(Debug, Clone)]
pub(crate) struct IssuedToken {
    pub(crate) token_id: String,
    pub(crate) client_id: String,
    pub(crate) transaction_hash: Option<Vec<u8>>,
    pub(crate) person_id: Option<PersonId>,
    pub(crate) sub: String,
    pub(crate) scope: String,
    pub(crate) accepted_claims: Vec<String>,
    pub(crate) claims_locales: Vec<String>,
    pub(crate) issued: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) revoked: Option<Timestamp>,
}

impl IssuedToken {
    /// Whether it may be used.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && now < self.expires
    }
}

#[derive(Debug, sqlx::FromRow)]
struct TokenRow {
    token_id: String,
    client_id: String,
    transaction_hash: Option<Vec<u8>>,
    person_id: Option<PersonId>,
    sub: String,
    scope: String,
    accepted_claims: String,
    claims_locales: String,
    issued: Timestamp,
    expires: Timestamp,
    revoked: Option<Timestamp>,
}

impl TryFrom<TokenRow> for IssuedToken {
    type Error = StoreError;

    fn try_from(row: TokenRow) -> Result<Self, StoreError> {
        Ok(Self {
            token_id: row.token_id,
            client_id: row.client_id,
            transaction_hash: row.transaction_hash,
            person_id: row.person_id,
            sub: row.sub,
            scope: row.scope,
            accepted_claims: list(&row.accepted_claims)?,
            claims_locales: list(&row.claims_locales)?,
            issued: row.issued,
            expires: row.expires,
            revoked: row.revoked,
        })
    }
}

/// Records a token that is about to be handed out.
pub(crate) async fn insert(tx: &mut Tx<'_>, token: &IssuedToken) -> Result<(), StoreError> {
    let query = tx
        .query(INSERT)
        .bind(token.token_id.as_str())
        .bind(token.client_id.as_str())
        .bind(token.transaction_hash.as_deref())
        .bind(token.person_id)
        .bind(token.sub.as_str())
        .bind(token.scope.as_str())
        .bind(list_text(&token.accepted_claims))
        .bind(list_text(&token.claims_locales))
        .bind(token.issued)
        .bind(token.expires);
    query.execute().await.map(drop)
}

/// One token by its id.
pub(crate) async fn read(db: &Db, token_id: &str) -> Result<Option<IssuedToken>, StoreError> {
    let row = db
        .query(FIND)
        .bind(token_id)
        .fetch_optional::<TokenRow>()
        .await?;
    row.map(IssuedToken::try_from).transpose()
}

/// Revokes a token of a client; tells whether there was one in use.
pub(crate) async fn revoke(
    tx: &mut Tx<'_>,
    token_id: &str,
    client_id: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let query = tx.query(REVOKE).bind(token_id).bind(client_id).bind(now);
    Ok(query.execute().await? == 1)
}

/// Revokes what came of a sign-in.
pub(crate) async fn revoke_of_sign_in(
    tx: &mut Tx<'_>,
    transaction_hash: &[u8],
    now: Timestamp,
) -> Result<u64, StoreError> {
    tx.query(REVOKE_OF_SIGN_IN)
        .bind(transaction_hash)
        .bind(now)
        .execute()
        .await
}

/// Revokes all tokens about a person.
pub(crate) async fn revoke_of_person(
    tx: &mut Tx<'_>,
    person_id: PersonId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    tx.query(REVOKE_OF_PERSON)
        .bind(person_id)
        .bind(now)
        .execute()
        .await
}

/// Remembers an assertion; tells whether it is its first use.
pub(crate) async fn use_assertion(
    tx: &mut Tx<'_>,
    client_id: &str,
    jti_hash: &[u8],
    expires: Timestamp,
) -> Result<bool, StoreError> {
    let query = tx
        .query(USE_ASSERTION)
        .bind(client_id)
        .bind(jti_hash)
        .bind(expires);
    Ok(query.execute().await? == 1)
}
