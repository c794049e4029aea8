//! `WebhookService`: subscriptions, and deliveries that were given up.

use std::time::Duration;

use publica_outbound::check_url;
use publica_proto::journal::v1 as proto;
use publica_proto::journal::v1::webhook_service_server::WebhookService;
use publica_rpc::{Invalid, PageToken, page_size};
use publica_store::{BoxFuture, Db, Tx};
use publica_types::{Origin, Timestamp, Uuid, new_uuid};
use publica_work::operator;
use serde_json::json;
use tonic::{Request, Response, Status};

use super::{DEFAULT_PAGE, MAX_PAGE, uuid};
use crate::entry::Entry;
use crate::error::JournalError;
use crate::journal::Journal;
use crate::ledger::{Call, fingerprint, write};
use crate::sealed::WEBHOOK;
use crate::store::deliveries;
use crate::store::log as log_sql;
use crate::store::webhooks::{self as sql, WebhookRow};
use crate::tail::append;
use crate::webhook::{
    KIND, PINGED, encrypted, is_short, key_prefix, new_secret, read_secret, secret_text,
};

mod again;
mod shown;

use again::{Redrive, Replay, redrive, replay};
use shown::{dead_letter, delivery, webhook};

const MAX_ACTIONS: usize = 100;
const MAX_ACTION: usize = 200;
const MAX_DESCRIPTION: usize = 200;
const MAX_JWK: usize = 4_096;
const MAX_REDRIVE: usize = 1_000;
/// How long an old secret signs beside the new one.
const OVERLAP: Duration = Duration::from_hours(24);

/// The service over one block's webhooks.
#[derive(Debug)]
pub struct Webhooks {
    journal: Journal,
}

fn not_found() -> JournalError {
    JournalError::NotFound { what: "webhook" }
}

/// What the units below need.
struct Change {
    origin: Origin,
    row: WebhookRow,
}

/// Notes a change in the journal. The target's query may be confidential, so only its host is
/// named.
fn note(tx: &mut Tx<'_>, origin: &Origin, id: Uuid, action: &'static str, url: &str) {
    let host = check_url(url, true).ok();
    let host = host
        .as_ref()
        .and_then(|url| url.host_str())
        .unwrap_or_default();
    append(
        tx,
        origin,
        Entry::new(action)
            .subject("webhook", id)
            .body(json!({"host": host})),
    );
}

fn create<'a>(
    tx: &'a mut Tx<'_>,
    change: &'a Change,
) -> BoxFuture<'a, Result<proto::CreateWebhookResponse, JournalError>> {
    Box::pin(async move {
        sql::put(tx, &change.row).await?;
        let row = &change.row;
        note(
            tx,
            &change.origin,
            row.webhook_id,
            "journal.webhook.created",
            &row.url,
        );
        // The secret never enters the ledger, so the answer to a repeat has none.
        let webhook = Some(webhook(row));
        Ok(proto::CreateWebhookResponse {
            webhook,
            secret: String::new(),
        })
    })
}

fn update<'a>(
    tx: &'a mut Tx<'_>,
    change: &'a Change,
) -> BoxFuture<'a, Result<proto::UpdateWebhookResponse, JournalError>> {
    Box::pin(async move {
        let row = &change.row;
        if !sql::change(tx, row).await? {
            return Err(not_found());
        }
        if !row.sealed_secret.is_empty() {
            let until = tx.now().plus(OVERLAP);
            sql::rotate(tx, row.webhook_id, &row.sealed_secret, until).await?;
        }
        note(
            tx,
            &change.origin,
            row.webhook_id,
            "journal.webhook.updated",
            &row.url,
        );
        let row = sql::find_in(tx, row.webhook_id)
            .await?
            .ok_or_else(not_found)?;
        Ok(proto::UpdateWebhookResponse {
            webhook: Some(webhook(&row)),
        })
    })
}

fn delete<'a>(
    tx: &'a mut Tx<'_>,
    (origin, id): &'a (Origin, Uuid),
) -> BoxFuture<'a, Result<proto::DeleteWebhookResponse, JournalError>> {
    Box::pin(async move {
        if !sql::delete(tx, *id).await? {
            return Err(not_found());
        }
        operator::drop_jobs(tx, KIND, &key_prefix(*id)).await?;
        deliveries::forget(tx, *id).await?;
        note(tx, origin, *id, "journal.webhook.deleted", "");
        Ok(proto::DeleteWebhookResponse {})
    })
}

/// What rotating needs.
struct Rotation {
    origin: Origin,
    id: Uuid,
    sealed: Vec<u8>,
}

fn rotate<'a>(
    tx: &'a mut Tx<'_>,
    rotation: &'a Rotation,
) -> BoxFuture<'a, Result<proto::RotateWebhookSecretResponse, JournalError>> {
    Box::pin(async move {
        let until = tx.now().plus(OVERLAP);
        if !sql::rotate(tx, rotation.id, &rotation.sealed, until).await? {
            return Err(not_found());
        }
        note(
            tx,
            &rotation.origin,
            rotation.id,
            "journal.webhook.secret_rotated",
            "",
        );
        Ok(proto::RotateWebhookSecretResponse {
            secret: String::new(),
        })
    })
}

/// Leaves an entry that the relay sends to this subscription alone.
fn ping<'a>(
    tx: &'a mut Tx<'_>,
    (origin, id): &'a (Origin, Uuid),
) -> BoxFuture<'a, Result<proto::PingWebhookResponse, JournalError>> {
    Box::pin(async move {
        let row = sql::find_in(tx, *id).await?.ok_or_else(not_found)?;
        if row.disabled {
            let message = "the webhook is disabled";
            return Err(JournalError::State { message });
        }
        note(tx, origin, *id, PINGED, &row.url);
        Ok(proto::PingWebhookResponse {})
    })
}

impl Webhooks {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal }
    }

    async fn db<T>(&self, request: &Request<T>) -> Result<(Db, Origin), JournalError> {
        let origin = publica_rpc::origin(request);
        Ok((self.journal.db(&origin.tenant).await?, origin))
    }

    /// Checks what a caller may set.
    fn check(&self, given: &proto::Webhook) -> Result<(), Invalid> {
        let mut wrong = Invalid::new();
        let allow_private = self.journal.config().webhooks.allow_private;
        if let Err(why) = check_url(&given.url, allow_private) {
            wrong.push("webhook.url", why);
        }
        let sound = |action: &String| {
            let stem = action.strip_suffix(".*").unwrap_or(action);
            !stem.is_empty()
                && action.len() <= MAX_ACTION
                && stem
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        if given.actions.len() > MAX_ACTIONS || !given.actions.iter().all(sound) {
            wrong.push(
                "webhook.actions",
                "are at most 100 names, each perhaps ending in .*",
            );
        }
        if proto::ContentType::try_from(given.content_type).is_err() {
            wrong.push("webhook.content_type", "is not a known value");
        }
        let key = given.encryption_jwk.as_str();
        if !key.is_empty()
            && (key.len() > MAX_JWK || encrypted(key, b"", &**self.journal.entropy()).is_err())
        {
            let what = "is not a public JWK of an EC or RSA key that can be encrypted to";
            wrong.push("webhook.encryption_jwk", what);
        }
        if given.description.chars().count() > MAX_DESCRIPTION {
            wrong.push("webhook.description", "is longer than 200 characters");
        }
        wrong.check()
    }

    /// The row of a subscription as a caller gives it.
    fn row(&self, db: &Db, webhook_id: Uuid, given: proto::Webhook, sealed: Vec<u8>) -> WebhookRow {
        WebhookRow {
            webhook_id,
            url: given.url,
            actions: json!(given.actions).to_string(),
            description: given.description,
            disabled: given.disabled,
            sealed_secret: sealed,
            sealed_old_secret: None,
            old_secret_until: None,
            epoch: 0,
            position: 0,
            time: db.now(),
            content_type: i64::from(given.content_type),
            legacy_signature: given.legacy_signature,
            encryption_jwk: given.encryption_jwk,
        }
    }

    fn seal(&self, secret: &[u8]) -> Vec<u8> {
        self.journal.keyring().seal_block(&WEBHOOK, secret)
    }
}

/// The secret that a caller sends, if that is meant to be one.
fn sent_secret(text: &str, ignore_short: bool) -> Result<Option<Vec<u8>>, Invalid> {
    if text.is_empty() || (ignore_short && is_short(text)) {
        return Ok(None);
    }
    let secret = read_secret(text).map_err(|why| publica_rpc::invalid("secret", why))?;
    Ok(Some(secret))
}

fn call<'o>(
    name: &'static str,
    rpc: &'static str,
    origin: &'o Origin,
    request_id: &str,
    request: &impl prost::Message,
) -> Call<'o> {
    let request_id = Some(request_id.to_owned());
    Call {
        name,
        origin,
        rpc,
        request_id,
        fingerprint: fingerprint(request),
    }
}

#[tonic::async_trait]
impl WebhookService for Webhooks {
    async fn get_webhook(
        &self,
        request: Request<proto::GetWebhookRequest>,
    ) -> Result<Response<proto::GetWebhookResponse>, Status> {
        let (db, _) = self.db(&request).await?;
        let id = uuid("webhook_id", &request.into_inner().webhook_id)?;
        let row = sql::find(&db, id)
            .await
            .map_err(JournalError::from)?
            .ok_or_else(not_found)?;
        Ok(Response::new(proto::GetWebhookResponse {
            webhook: Some(webhook(&row)),
        }))
    }

    async fn list_webhooks(
        &self,
        request: Request<proto::ListWebhooksRequest>,
    ) -> Result<Response<proto::ListWebhooksResponse>, Status> {
        let (db, _) = self.db(&request).await?;
        let request = request.into_inner();
        let limit = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)?;
        let after = PageToken::decode::<Uuid>(&"webhooks", &request.page_token)?;
        let rows = sql::list(&db, after.unwrap_or_default(), limit).await;
        let rows = rows.map_err(JournalError::from)?;
        let full = i64::try_from(rows.len()).unwrap_or(limit) == limit;
        let next = rows.last().filter(|_| full).map(|row| row.webhook_id);
        Ok(Response::new(proto::ListWebhooksResponse {
            webhooks: rows.iter().map(webhook).collect(),
            next_page_token: next
                .map(|next| PageToken::encode(&"webhooks", &next))
                .unwrap_or_default(),
        }))
    }

    async fn create_webhook(
        &self,
        request: Request<proto::CreateWebhookRequest>,
    ) -> Result<Response<proto::CreateWebhookResponse>, Status> {
        let (db, origin) = self.db(&request).await?;
        let request = request.into_inner();
        let given = request.webhook.clone().unwrap_or_default();
        self.check(&given)?;
        let call = call(
            "journal.create_webhook",
            "/publica.journal.v1.WebhookService/CreateWebhook",
            &origin,
            &request.request_id,
            &request,
        );
        let sent = sent_secret(&request.secret, request.ignore_short_secret)?;
        let (secret, told) = if let Some(own) = sent {
            (own, request.secret.clone())
        } else {
            let made = new_secret(&**self.journal.entropy());
            (made.to_vec(), secret_text(&made))
        };
        let id = new_uuid(&**self.journal.clock(), &**self.journal.entropy());
        let mut row = self.row(&db, id, given, self.seal(&secret));
        let epoch = log_sql::last_epoch(&db).await.map_err(JournalError::from)?;
        row.epoch = epoch.map_or(0, |epoch| epoch.epoch);
        row.position = match request.from_position {
            Some(from) => from.max(0),
            None => log_sql::size(&db).await.map_err(JournalError::from)?,
        };
        let change = Change {
            origin: origin.clone(),
            row,
        };
        let mut response = write::<_, _, JournalError, _>(&db, call, change, create).await?;
        let first = response
            .webhook
            .as_ref()
            .is_some_and(|webhook| webhook.webhook_id == id.to_string());
        if first {
            response.secret = told;
        }
        Ok(Response::new(response))
    }

    async fn update_webhook(
        &self,
        request: Request<proto::UpdateWebhookRequest>,
    ) -> Result<Response<proto::UpdateWebhookResponse>, Status> {
        let (db, origin) = self.db(&request).await?;
        let request = request.into_inner();
        let given = request.webhook.clone().unwrap_or_default();
        let id = uuid("webhook.webhook_id", &given.webhook_id)?;
        self.check(&given)?;
        let call = call(
            "journal.update_webhook",
            "/publica.journal.v1.WebhookService/UpdateWebhook",
            &origin,
            &request.request_id,
            &request,
        );
        let sent = sent_secret(&request.secret, request.ignore_short_secret)?;
        let sealed = sent.map(|own| self.seal(&own)).unwrap_or_default();
        let row = self.row(&db, id, given, sealed);
        let change = Change {
            origin: origin.clone(),
            row,
        };
        let response = write::<_, _, JournalError, _>(&db, call, change, update).await?;
        Ok(Response::new(response))
    }

    async fn delete_webhook(
        &self,
        request: Request<proto::DeleteWebhookRequest>,
    ) -> Result<Response<proto::DeleteWebhookResponse>, Status> {
        let (db, origin) = self.db(&request).await?;
        let request = request.into_inner();
        let id = uuid("webhook_id", &request.webhook_id)?;
        let call = call(
            "journal.delete_webhook",
            "/publica.journal.v1.WebhookService/DeleteWebhook",
            &origin,
            &request.request_id,
            &request,
        );
        let input = (origin.clone(), id);
        let response = write::<_, _, JournalError, _>(&db, call, input, delete).await?;
        Ok(Response::new(response))
    }

    async fn rotate_webhook_secret(
        &self,
        request: Request<proto::RotateWebhookSecretRequest>,
    ) -> Result<Response<proto::RotateWebhookSecretResponse>, Status> {
        let (db, origin) = self.db(&request).await?;
        let request = request.into_inner();
        let id = uuid("webhook_id", &request.webhook_id)?;
        let call = call(
            "journal.rotate_webhook_secret",
            "/publica.journal.v1.WebhookService/RotateWebhookSecret",
            &origin,
            &request.request_id,
            &request,
        );
        let secret = new_secret(&**self.journal.entropy());
        let sealed = self.seal(&secret);
        let rotation = Rotation {
            origin: origin.clone(),
            id,
            sealed: sealed.clone(),
        };
        write::<_, _, JournalError, _>(&db, call, rotation, rotate).await?;
        // A repeat did not put this secret in use, so it must not be shown.
        let row = sql::find(&db, id).await.map_err(JournalError::from)?;
        let ours = row.is_some_and(|row| row.sealed_secret == sealed);
        let secret = if ours {
            secret_text(&secret)
        } else {
            String::new()
        };
        Ok(Response::new(proto::RotateWebhookSecretResponse { secret }))
    }

    async fn ping_webhook(
        &self,
        request: Request<proto::PingWebhookRequest>,
    ) -> Result<Response<proto::PingWebhookResponse>, Status> {
        let (db, origin) = self.db(&request).await?;
        let request = request.into_inner();
        let id = uuid("webhook_id", &request.webhook_id)?;
        let call = call(
            "journal.ping_webhook",
            "/publica.journal.v1.WebhookService/PingWebhook",
            &origin,
            &request.request_id,
            &request,
        );
        let input = (origin.clone(), id);
        let response = write::<_, _, JournalError, _>(&db, call, input, ping).await?;
        Ok(Response::new(response))
    }

    async fn list_deliveries(
        &self,
        request: Request<proto::ListDeliveriesRequest>,
    ) -> Result<Response<proto::ListDeliveriesResponse>, Status> {
        let (db, _) = self.db(&request).await?;
        let request = request.into_inner();
        let id = uuid("webhook_id", &request.webhook_id)?;
        if proto::delivery::State::try_from(request.state).is_err() {
            return Err(publica_rpc::invalid("state", "is not a known value").into());
        }
        if request.skip < 0 {
            return Err(publica_rpc::invalid("skip", "must not be negative").into());
        }
        let limit = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)?;
        let arguments = ("deliveries", id, request.state);
        let before = PageToken::decode::<(i64, Uuid)>(&arguments, &request.page_token)?;
        let before = match before {
            Some((at, entry)) => (Timestamp::from_micros(at), entry),
            None => (db.now().plus(OVERLAP), Uuid::max()),
        };
        let known = sql::find(&db, id).await.map_err(JournalError::from)?;
        known.ok_or_else(not_found)?;
        let state = i64::from(request.state);
        let skip = i64::from(request.skip);
        // One more than asked for, so that there is a next page only where it holds something.
        let rows = deliveries::list(&db, id, state, before, limit + 1, skip).await;
        let mut rows = rows.map_err(JournalError::from)?;
        let total_size = match request.include_total {
            true => Some(
                deliveries::count(&db, id, state)
                    .await
                    .map_err(JournalError::from)?,
            ),
            false => None,
        };
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > most;
        rows.truncate(most);
        let next = rows.last().filter(|_| more);
        let next = next.map(|row| (row.last_time.micros(), row.entry_id));
        Ok(Response::new(proto::ListDeliveriesResponse {
            deliveries: rows.into_iter().map(delivery).collect(),
            next_page_token: next
                .map(|next| PageToken::encode(&arguments, &next))
                .unwrap_or_default(),
            total_size,
        }))
    }

    async fn list_dead_letters(
        &self,
        request: Request<proto::ListDeadLettersRequest>,
    ) -> Result<Response<proto::ListDeadLettersResponse>, Status> {
        let (db, _) = self.db(&request).await?;
        let request = request.into_inner();
        let limit = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)?;
        let after = PageToken::decode::<Uuid>(&"dead letters", &request.page_token)?;
        let views = operator::dead_jobs(&db, after.unwrap_or_default(), KIND, limit).await;
        let views = views.map_err(JournalError::from)?;
        let full = i64::try_from(views.len()).unwrap_or(limit) == limit;
        let next = views.last().filter(|_| full).map(|view| view.job_id);
        Ok(Response::new(proto::ListDeadLettersResponse {
            dead_letters: views.into_iter().map(dead_letter).collect(),
            next_page_token: next
                .map(|next| PageToken::encode(&"dead letters", &next))
                .unwrap_or_default(),
        }))
    }

    async fn redrive_dead_letters(
        &self,
        request: Request<proto::RedriveDeadLettersRequest>,
    ) -> Result<Response<proto::RedriveDeadLettersResponse>, Status> {
        let (db, origin) = self.db(&request).await?;
        let request = request.into_inner();
        if request.delivery_ids.is_empty() || request.delivery_ids.len() > MAX_REDRIVE {
            let wrong = publica_rpc::invalid("delivery_ids", "must be 1 to 1000");
            return Err(wrong.into());
        }
        let mut ids = Vec::with_capacity(request.delivery_ids.len());
        for id in &request.delivery_ids {
            ids.push(uuid("delivery_ids", id)?);
        }
        let call = call(
            "journal.redrive_dead_letters",
            "/publica.journal.v1.WebhookService/RedriveDeadLetters",
            &origin,
            &request.request_id,
            &request,
        );
        let prefix = match request.webhook_id.as_str() {
            "" => String::new(),
            named => key_prefix(uuid("webhook_id", named)?),
        };
        let input = Redrive {
            origin: origin.clone(),
            prefix,
            ids,
        };
        let response = write::<_, _, JournalError, _>(&db, call, input, redrive).await?;
        Ok(Response::new(response))
    }

    async fn replay_deliveries(
        &self,
        request: Request<proto::ReplayDeliveriesRequest>,
    ) -> Result<Response<proto::ReplayDeliveriesResponse>, Status> {
        let (db, origin) = self.db(&request).await?;
        let request = request.into_inner();
        let id = uuid("webhook_id", &request.webhook_id)?;
        let call = call(
            "journal.replay_deliveries",
            "/publica.journal.v1.WebhookService/ReplayDeliveries",
            &origin,
            &request.request_id,
            &request,
        );
        let input = Replay::prepare(&db, &origin, id, &request).await?;
        let response = write::<_, _, JournalError, _>(&db, call, input, replay).await?;
        Ok(Response::new(response))
    }
}
