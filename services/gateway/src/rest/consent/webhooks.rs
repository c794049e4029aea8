//! Webhooks: the block's journal delivers them, signed as Standard Webhooks describes. Secrets
//! are the subscriber's own or made by the block, and told once.

use axum::http::StatusCode;
use publica_proto::journal::v1 as journal;
use publica_proto::journal::v1::delivery::State;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::error::Fault;
use super::input::{self, Input};
use super::output;
use crate::convert::rfc3339;
use crate::respond;
use crate::state::Entry;

/// Content types of deliveries, as published.
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// What is shown of a secret after its creation.
const MASK: &str = "********";

/// How a try is called on this surface.
const PING: &str = "webhook.ping";

/// Names of events as published, and the journal's actions behind them.
const EVENTS: &[(&str, &str)] = &[
    ("consent.given", "consent.record.given"),
    ("consent.allowed", "consent.record.given"),
    ("consent.refused", "consent.record.refused"),
    ("consent.withdrawn", "consent.record.withdrawn"),
    ("consent.disallowed", "consent.record.withdrawn"),
    ("consent.signed", "consent.record.signed"),
    ("consent.erased", "consent.record.erased"),
    ("consent.superseded", "consent.records.superseded"),
    ("consent.altered", "consent.chain.altered"),
    ("agreement.published", "consent.agreement.published"),
    ("agreement.updated", "consent.agreement.updated"),
    ("agreement.terminated", "consent.agreement.terminated"),
    ("policy.updated", "consent.policy.updated"),
    ("individual.*", "consent.individual.*"),
    ("delegation.*", "consent.delegation.*"),
    ("consent.expiring", "consent.record.expiring"),
    ("consent.expired", "consent.record.expired"),
    ("consent.auto_expiry", "consent.record.expired"),
    (
        "consent.reconfirmation_due",
        "consent.record.reconfirmation_due",
    ),
];

/// How an action is called on this surface.
fn event_of(action: &str) -> &str {
    if action == "journal.webhook.pinged" {
        return PING;
    }
    let found = EVENTS.iter().find(|(_, known)| *known == action);
    found.map_or(action, |(name, _)| name)
}

fn read_webhook(input: &Input<'_>) -> journal::Webhook {
    let content_type = match input.text("contentType").to_ascii_lowercase().as_str() {
        "" | JSON => journal::ContentType::Json,
        FORM => journal::ContentType::Form,
        _ => {
            input.fault(
                "contentType",
                "must be application/json or application/x-www-form-urlencoded",
            );
            journal::ContentType::Unspecified
        }
    };
    let url = input.text("payloadUrl");
    if url.is_empty() {
        input.fault("payloadUrl", "is required");
    }
    let mut actions = Vec::new();
    for event in input.texts("subscribedEvents") {
        // Actions of the journal are taken by their own names as well.
        let known = |(name, action): &&(&str, &str)| *name == event || *action == event;
        match EVENTS.iter().find(known) {
            Some((_, action)) => actions.push((*action).to_owned()),
            None => input.fault("subscribedEvents", "names an unknown event"),
        }
    }
    journal::Webhook {
        url,
        actions,
        description: input.text("description"),
        disabled: input.flag("disabled").unwrap_or(false),
        content_type: content_type.into(),
        legacy_signature: input.flag("legacySignature").unwrap_or(false),
        encryption_jwk: input.object("encryptionKey"),
        ..journal::Webhook::default()
    }
}

/// A webhook, and the secret that the caller wants for it. Published clients must send one, so what
/// is too short to be one, like the mask that answers show, only means that the block makes it.
fn read_with_secret(input: &Input<'_>) -> (journal::Webhook, String) {
    (read_webhook(input), input.text("secretKey"))
}

/// A refusal by the block, in the names of this surface.
fn renamed(status: tonic::Status) -> Fault {
    Fault::from(status)
        .renamed("secret", "secretKey")
        .renamed("webhook.encryption_jwk", "webhook.encryptionKey")
}

fn shown(one: &journal::Webhook, secret: &str) -> Value {
    let mut body = json!({
        "id": one.webhook_id,
        "payloadUrl": one.url,
        "contentType": match one.content_type() {
            journal::ContentType::Form => FORM,
            journal::ContentType::Json | journal::ContentType::Unspecified => JSON,
        },
        "disabled": one.disabled,
        "secretKey": if secret.is_empty() { MASK } else { secret },
        "subscribedEvents": one.actions.iter().map(|one| event_of(one)).collect::<Vec<_>>(),
        "signingMode": "v1",
    });
    if one.legacy_signature {
        body["legacySignature"] = json!(true);
    }
    if let Ok(key @ Value::Object(_)) = serde_json::from_str(&one.encryption_jwk) {
        body["encryptionKey"] = key;
    }
    if !one.description.is_empty() {
        body["description"] = json!(one.description);
    }
    if let Some(time) = rfc3339(one.create_time.as_ref()) {
        body["createdAt"] = json!(time);
    }
    body
}

pub(crate) async fn create(call: Call) -> Answer {
    let entry = call.enter().await?;
    let (webhook, secret) = input::wrapped(&call.object()?, "webhook", read_with_secret)?;
    let message = journal::CreateWebhookRequest {
        webhook: Some(webhook),
        from_position: None,
        request_id: call.request_id(),
        secret,
        ignore_short_secret: true,
    };
    let answer = call
        .webhooks()
        .create_webhook(entry.request(message))
        .await
        .map_err(renamed)?
        .into_inner();
    let webhook = answer
        .webhook
        .as_ref()
        .map(|one| shown(one, &answer.secret));
    Ok(respond::json(
        StatusCode::OK,
        &json!({ "webhook": webhook }),
    ))
}

pub(crate) async fn read(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = journal::GetWebhookRequest {
        webhook_id: call.id("webhookId")?,
    };
    let answer = call
        .webhooks()
        .get_webhook(entry.request(message))
        .await?
        .into_inner();
    let webhook = answer.webhook.as_ref().map(|one| shown(one, ""));
    Ok(respond::json(
        StatusCode::OK,
        &json!({ "webhook": webhook }),
    ))
}

pub(crate) async fn replace(call: Call) -> Answer {
    let entry = call.enter().await?;
    let webhook_id = call.id("webhookId")?;
    let (webhook, secret) = input::wrapped(&call.object()?, "webhook", read_with_secret)?;
    let message = journal::UpdateWebhookRequest {
        webhook: Some(journal::Webhook {
            webhook_id,
            ..webhook
        }),
        request_id: call.request_id(),
        secret,
        ignore_short_secret: true,
    };
    let answer = call
        .webhooks()
        .update_webhook(entry.request(message))
        .await
        .map_err(renamed)?
        .into_inner();
    let webhook = answer.webhook.as_ref().map(|one| shown(one, ""));
    Ok(respond::json(
        StatusCode::OK,
        &json!({ "webhook": webhook }),
    ))
}

pub(crate) async fn delete(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = journal::DeleteWebhookRequest {
        webhook_id: call.id("webhookId")?,
        request_id: call.request_id(),
    };
    call.webhooks()
        .delete_webhook(entry.request(message))
        .await?;
    Ok(respond::json(StatusCode::OK, &json!({})))
}

pub(crate) async fn event_types(call: Call) -> Answer {
    call.enter().await?;
    let all: Vec<Value> = EVENTS
        .iter()
        .map(|(name, _)| json!({ "id": name, "name": name }))
        .collect();
    Ok(respond::json(StatusCode::OK, &json!({ "eventTypes": all })))
}

/// A new secret, told this once; the old one signs beside it for a day.
pub(crate) async fn rotate(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = journal::RotateWebhookSecretRequest {
        webhook_id: call.id("webhookId")?,
        request_id: call.request_id(),
    };
    let answer = call
        .webhooks()
        .rotate_webhook_secret(entry.request(message))
        .await?
        .into_inner();
    let secret = if answer.secret.is_empty() {
        MASK
    } else {
        &answer.secret
    };
    Ok(respond::json(
        StatusCode::OK,
        &json!({ "secretKey": secret }),
    ))
}

/// Sends a try by the way that all events take.
pub(crate) async fn ping(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = journal::PingWebhookRequest {
        webhook_id: call.id("webhookId")?,
        request_id: call.request_id(),
    };
    call.webhooks().ping_webhook(entry.request(message)).await?;
    Ok(respond::json(StatusCode::OK, &json!({ "event": PING })))
}

/// How deliveries are called that came so far.
const STATES: &[(&str, State)] = &[
    ("delivered", State::Delivered),
    ("retrying", State::Retrying),
    ("given up", State::GivenUp),
];

/// Deliveries of one webhook, the last tried first.
pub(crate) async fn deliveries(call: Call) -> Answer {
    let entry = call.enter().await?;
    let webhook_id = call.id("webhookId")?;
    let paging = call.paging()?;
    let state = match call.text("state").as_str() {
        "" => State::Unspecified,
        asked => {
            let known = STATES.iter().find(|(name, _)| *name == asked);
            let fault = || Fault::member("state", "must be delivered, retrying or given up");
            known.map(|(_, state)| *state).ok_or_else(fault)?
        }
    };
    let message = journal::ListDeliveriesRequest {
        webhook_id,
        state: state.into(),
        page_size: paging.size(),
        page_token: paging.cursor.clone(),
        skip: paging.offset,
        include_total: paging.count,
    };
    let answer = call
        .webhooks()
        .list_deliveries(entry.request(message))
        .await?
        .into_inner();
    let rows = paging.cut(answer.deliveries);
    let rows: Vec<Value> = rows.iter().map(delivery).collect();
    let page = paging.member(&answer.next_page_token, answer.total_size);
    let body = output::page("deliveries", rows, page);
    Ok(respond::json(StatusCode::OK, &body))
}

fn delivery(one: &journal::Delivery) -> Value {
    let state = STATES.iter().find(|(_, state)| *state == one.state());
    let mut body = json!({
        "id": one.delivery_id,
        "entryId": one.entry_id,
        "event": event_of(&one.action),
        "state": state.map(|(name, _)| *name).unwrap_or_default(),
        "attempts": one.attempts,
    });
    for (name, value) in [
        ("reason", Some(one.reason.clone())),
        ("firstAttemptAt", rfc3339(one.first_time.as_ref())),
        ("lastAttemptAt", rfc3339(one.last_time.as_ref())),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            body[name] = json!(value);
        }
    }
    body
}

pub(crate) async fn redeliver(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = journal::RedriveDeadLettersRequest {
        webhook_id: call.id("webhookId")?,
        delivery_ids: vec![call.id("deliveryId")?],
        request_id: call.request_id(),
    };
    let answer = call
        .webhooks()
        .redrive_dead_letters(entry.request(message))
        .await?
        .into_inner();
    let body = json!({ "redelivered": answer.redriven_count });
    Ok(respond::json(StatusCode::OK, &body))
}

/// Sends a webhook again what it wants of a stretch of time.
pub(crate) async fn replay(call: Call) -> Answer {
    let entry = call.enter().await?;
    let webhook_id = call.id("webhookId")?;
    let request_id = call.request_id();
    let message = input::whole(&call.object()?, "", |input| {
        journal::ReplayDeliveriesRequest {
            webhook_id,
            from_time: input.time("from"),
            to_time: input.time("to"),
            page_token: input.text("cursor"),
            request_id,
        }
    })?;
    let answer = call
        .webhooks()
        .replay_deliveries(entry.request(message))
        .await
        .map_err(|status| {
            let fault = Fault::from(status).renamed("from_time", "from");
            fault.renamed("to_time", "to")
        })?
        .into_inner();
    let mut body = json!({ "replayed": answer.replayed_count });
    if !answer.next_page_token.is_empty() {
        body["nextCursor"] = json!(answer.next_page_token);
    }
    Ok(respond::json(StatusCode::OK, &body))
}

/// All webhooks, newest first; there are never many.
async fn all(call: &Call, entry: &Entry) -> Result<Vec<journal::Webhook>, Fault> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let message = journal::ListWebhooksRequest {
            page_size: 1_000,
            page_token,
        };
        let answer = call
            .webhooks()
            .list_webhooks(entry.request(message))
            .await?
            .into_inner();
        all.extend(answer.webhooks);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    all.reverse();
    Ok(all)
}

pub(crate) async fn list(call: Call) -> Answer {
    let entry = call.enter().await?;
    let paging = call.paging()?;
    let all = all(&call, &entry).await?;
    let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
    let skip = usize::try_from(paging.offset).unwrap_or(usize::MAX);
    let rows: Vec<Value> = paging
        .cut(all.into_iter().skip(skip).collect())
        .iter()
        .map(|one| shown(one, ""))
        .collect();
    let shown_to = i64::from(paging.offset) + i64::try_from(rows.len()).unwrap_or(0);
    let mut page = paging.member("", paging.count.then_some(total));
    page["hasNext"] = json!(shown_to < total);
    Ok(respond::json(
        StatusCode::OK,
        &output::page("webhooks", rows, page),
    ))
}
