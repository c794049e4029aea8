//! Clients of relying parties.

use publica_store::{Db, StoreError, Tx};
use publica_types::Timestamp;

use crate::domain::client::Client;
use crate::store::{list, list_text};

publica_store::statements! {
    FIND = "SELECT client_id, client_name, relying_party_id, logo_uri, redirect_uris, acr_values, \
            public_key, user_claims, grant_types, auth_methods, allowed_scopes, active, \
            consent_expire_minutes, user_info_type, encryption_key, created, updated \
            FROM client WHERE client_id = $1",
    LIST = "SELECT client_id, client_name, relying_party_id, logo_uri, redirect_uris, acr_values, \
            public_key, user_claims, grant_types, auth_methods, allowed_scopes, active, \
            consent_expire_minutes, user_info_type, encryption_key, created, updated \
            FROM client WHERE client_id > $1 ORDER BY client_id LIMIT $2",
    INSERT = "INSERT INTO client (client_id, client_name, relying_party_id, logo_uri, \
            redirect_uris, acr_values, public_key, user_claims, grant_types, auth_methods, \
            allowed_scopes, active, consent_expire_minutes, user_info_type, encryption_key, \
            created, updated) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
            $14, $15, $16, $16) \
            ON CONFLICT (client_id) DO NOTHING",
    UPDATE = "UPDATE client SET client_name = $2, logo_uri = $3, redirect_uris = $4, \
            acr_values = $5, user_claims = $6, grant_types = $7, auth_methods = $8, \
            allowed_scopes = $9, active = $10, consent_expire_minutes = $11, \
            user_info_type = $12, encryption_key = $13, updated = $14 WHERE client_id = $1",
}

/// A client with its times.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) client: Client,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

#[derive(Debug, sqlx::FromRow)]
struct ClientRow {
    client_id: String,
    client_name: String,
    relying_party_id: String,
    logo_uri: String,
    redirect_uris: String,
    acr_values: String,
    public_key: String,
    user_claims: String,
    grant_types: String,
    auth_methods: String,
    allowed_scopes: String,
    active: bool,
    consent_expire_minutes: i64,
    user_info_type: String,
    encryption_key: String,
    created: Timestamp,
    updated: Timestamp,
}

impl TryFrom<ClientRow> for Stored {
    type Error = StoreError;

    fn try_from(row: ClientRow) -> Result<Self, StoreError> {
        let client = Client {
            client_id: row.client_id,
            client_name: row.client_name,
            relying_party_id: row.relying_party_id,
            logo_uri: row.logo_uri,
            redirect_uris: list(&row.redirect_uris)?,
            acr_values: list(&row.acr_values)?,
            public_key: row.public_key,
            user_claims: list(&row.user_claims)?,
            grant_types: list(&row.grant_types)?,
            auth_methods: list(&row.auth_methods)?,
            allowed_scopes: list(&row.allowed_scopes)?,
            active: row.active,
            consent_expire_minutes: i32::try_from(row.consent_expire_minutes).unwrap_or(0),
            user_info_type: row.user_info_type,
            encryption_key: row.encryption_key,
        };
        Ok(Self {
            client,
            created: row.created,
            updated: row.updated,
        })
    }
}

/// One client.
pub(crate) async fn find(tx: &mut Tx<'_>, client_id: &str) -> Result<Option<Stored>, StoreError> {
    let row = tx
        .query(FIND)
        .bind(client_id)
        .fetch_optional::<ClientRow>()
        .await?;
    row.map(Stored::try_from).transpose()
}

/// One client, with a read of its own.
pub(crate) async fn read(db: &Db, client_id: &str) -> Result<Option<Stored>, StoreError> {
    // No client is called so, and PostgreSQL takes no such text.
    if client_id.contains('\0') {
        return Ok(None);
    }
    let row = db
        .query(FIND)
        .bind(client_id)
        .fetch_optional::<ClientRow>()
        .await?;
    row.map(Stored::try_from).transpose()
}

/// Clients after `after`, by id.
pub(crate) async fn page(db: &Db, after: &str, limit: i64) -> Result<Vec<Stored>, StoreError> {
    let rows = db
        .query(LIST)
        .bind(after)
        .bind(limit)
        .fetch_all::<ClientRow>()
        .await?;
    rows.into_iter().map(Stored::try_from).collect()
}

/// Stores a client unless its id is taken; tells whether it did.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    client: &Client,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let query = tx
        .query(INSERT)
        .bind(client.client_id.as_str())
        .bind(client.client_name.as_str())
        .bind(client.relying_party_id.as_str())
        .bind(client.logo_uri.as_str())
        .bind(list_text(&client.redirect_uris))
        .bind(list_text(&client.acr_values))
        .bind(client.public_key.as_str())
        .bind(list_text(&client.user_claims))
        .bind(list_text(&client.grant_types))
        .bind(list_text(&client.auth_methods))
        .bind(list_text(&client.allowed_scopes))
        .bind(client.active)
        .bind(i64::from(client.consent_expire_minutes))
        .bind(client.user_info_type.as_str())
        .bind(client.encryption_key.as_str())
        .bind(now);
    Ok(query.execute().await? == 1)
}

/// Replaces what may change of a client; tells whether there is one.
pub(crate) async fn update(
    tx: &mut Tx<'_>,
    client: &Client,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let query = tx
        .query(UPDATE)
        .bind(client.client_id.as_str())
        .bind(client.client_name.as_str())
        .bind(client.logo_uri.as_str())
        .bind(list_text(&client.redirect_uris))
        .bind(list_text(&client.acr_values))
        .bind(list_text(&client.user_claims))
        .bind(list_text(&client.grant_types))
        .bind(list_text(&client.auth_methods))
        .bind(list_text(&client.allowed_scopes))
        .bind(client.active)
        .bind(i64::from(client.consent_expire_minutes))
        .bind(client.user_info_type.as_str())
        .bind(client.encryption_key.as_str())
        .bind(now);
    Ok(query.execute().await? == 1)
}
