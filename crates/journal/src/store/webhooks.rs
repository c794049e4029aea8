//! Webhook subscriptions.

use publica_store::{Db, StoreError, Tx};
use publica_types::{Timestamp, Uuid};

publica_store::statements! {
    PUT = "INSERT INTO webhook (webhook_id, url, actions, description, disabled, sealed_secret, \
        epoch, position, time, content_type, legacy_signature, encryption_jwk) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    FIND = "SELECT webhook_id, url, actions, description, disabled, sealed_secret, \
        sealed_old_secret, old_secret_until, epoch, position, time, content_type, \
        legacy_signature, encryption_jwk FROM webhook \
        WHERE webhook_id = $1",
    LIST = "SELECT webhook_id, url, actions, description, disabled, sealed_secret, \
        sealed_old_secret, old_secret_until, epoch, position, time, content_type, \
        legacy_signature, encryption_jwk FROM webhook \
        WHERE webhook_id > $1 ORDER BY webhook_id LIMIT $2",
    CHANGE = "UPDATE webhook SET url = $2, actions = $3, description = $4, disabled = $5, \
        content_type = $6, legacy_signature = $7, encryption_jwk = $8 WHERE webhook_id = $1",
    DISABLE = "UPDATE webhook SET disabled = TRUE WHERE webhook_id = $1 AND NOT disabled",
    DELETE = "DELETE FROM webhook WHERE webhook_id = $1",
    ROTATE = "UPDATE webhook SET sealed_old_secret = sealed_secret, old_secret_until = $3, \
        sealed_secret = $2 WHERE webhook_id = $1",
    ADVANCE = "UPDATE webhook SET epoch = $4, position = $5 \
        WHERE webhook_id = $1 AND epoch = $2 AND position = $3",
}

/// A subscription.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct WebhookRow {
    pub(crate) webhook_id: Uuid,
    pub(crate) url: String,
    pub(crate) actions: String,
    pub(crate) description: String,
    pub(crate) disabled: bool,
    pub(crate) sealed_secret: Vec<u8>,
    pub(crate) sealed_old_secret: Option<Vec<u8>>,
    pub(crate) old_secret_until: Option<Timestamp>,
    pub(crate) epoch: i64,
    pub(crate) position: i64,
    pub(crate) time: Timestamp,
    /// Of the wire.
    pub(crate) content_type: i64,
    pub(crate) legacy_signature: bool,
    /// The public key that deliveries are encrypted to; empty for none.
    pub(crate) encryption_jwk: String,
}

impl WebhookRow {
    /// Actions wanted; none means all.
    pub(crate) fn wanted(&self) -> Vec<String> {
        serde_json::from_str(&self.actions).unwrap_or_default()
    }

    /// Whether an action is among those wanted.
    pub(crate) fn wants(&self, action: &str) -> bool {
        let wanted = self.wanted();
        wanted.is_empty()
            || wanted.iter().any(|wanted| match wanted.strip_suffix('*') {
                Some(prefix) => action.starts_with(prefix),
                None => action == wanted,
            })
    }
}

pub(crate) async fn put(tx: &mut Tx<'_>, row: &WebhookRow) -> Result<(), StoreError> {
    tx.query(PUT)
        .bind(row.webhook_id)
        .bind(row.url.as_str())
        .bind(row.actions.as_str())
        .bind(row.description.as_str())
        .bind(row.disabled)
        .bind(row.sealed_secret.as_slice())
        .bind(row.epoch)
        .bind(row.position)
        .bind(row.time)
        .bind(row.content_type)
        .bind(row.legacy_signature)
        .bind(row.encryption_jwk.as_str())
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn find(db: &Db, id: Uuid) -> Result<Option<WebhookRow>, StoreError> {
    db.query(FIND).bind(id).fetch_optional().await
}

pub(crate) async fn find_in(tx: &mut Tx<'_>, id: Uuid) -> Result<Option<WebhookRow>, StoreError> {
    tx.query(FIND).bind(id).fetch_optional().await
}

pub(crate) async fn list(db: &Db, after: Uuid, limit: i64) -> Result<Vec<WebhookRow>, StoreError> {
    db.query(LIST).bind(after).bind(limit).fetch_all().await
}

/// Changes what a caller may change; false if there is no such subscription.
pub(crate) async fn change(tx: &mut Tx<'_>, row: &WebhookRow) -> Result<bool, StoreError> {
    let changed = tx
        .query(CHANGE)
        .bind(row.webhook_id)
        .bind(row.url.as_str())
        .bind(row.actions.as_str())
        .bind(row.description.as_str())
        .bind(row.disabled)
        .bind(row.content_type)
        .bind(row.legacy_signature)
        .bind(row.encryption_jwk.as_str())
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Switches a subscription off; false if it was off, or is gone.
pub(crate) async fn disable(tx: &mut Tx<'_>, id: Uuid) -> Result<bool, StoreError> {
    Ok(tx.query(DISABLE).bind(id).execute().await? == 1)
}

pub(crate) async fn delete(tx: &mut Tx<'_>, id: Uuid) -> Result<bool, StoreError> {
    Ok(tx.query(DELETE).bind(id).execute().await? == 1)
}

/// Puts a new secret in use; the old one signs beside it until a time.
pub(crate) async fn rotate(
    tx: &mut Tx<'_>,
    id: Uuid,
    sealed: &[u8],
    until: Timestamp,
) -> Result<bool, StoreError> {
    Ok(tx
        .query(ROTATE)
        .bind(id)
        .bind(sealed)
        .bind(until)
        .execute()
        .await?
        == 1)
}

/// Moves the cursor; false if somebody else moved it, or the subscription is gone.
pub(crate) async fn advance(
    tx: &mut Tx<'_>,
    row: &WebhookRow,
    epoch: i64,
    position: i64,
) -> Result<bool, StoreError> {
    let moved = tx
        .query(ADVANCE)
        .bind(row.webhook_id)
        .bind(row.epoch)
        .bind(row.position)
        .bind(epoch)
        .bind(position)
        .execute()
        .await?;
    Ok(moved == 1)
}
