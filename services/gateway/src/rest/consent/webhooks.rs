//! Webhooks: the block's journal delivers them, signed as Standard Webhooks describes. Secrets
//! are made by the block and told once, when a webhook is created.

use axum::http::StatusCode;
use publica_proto::journal::v1 as journal;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::error::Fault;
use super::input::{self, Input};
use crate::convert::rfc3339;
use crate::respond;
use crate::state::Entry;

/// The only content type that deliveries have.
const JSON: &str = "application/json";
/// What is shown of a secret after its creation.
const MASK: &str = "********";

/// Given-up deliveries that are looked at for one page.
const MAX_GIVEN_UP: usize = 10_000;

/// Names of events as published, and the journal's actions behind them.
const EVENTS: &[(&str, &str)] = &[
    ("consent.given", "consent.record.given"),
    ("consent.allowed", "consent.record.given"),
    ("consent.refused", "consent.record.refused"),
    ("consent.withdrawn", "consent.record.withdrawn"),
    ("consent.disallowed", "consent.record.withdrawn"),
    ("consent.signed", "consent.record.signed"),
    ("consent.erased", "consent.record.erased"),
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
    let found = EVENTS.iter().find(|(_, known)| *known == action);
    found.map_or(action, |(name, _)| name)
}

fn read_webhook(input: &Input<'_>) -> journal::Webhook {
    let kind = input.text("contentType");
    if !kind.is_empty() && !kind.eq_ignore_ascii_case(JSON) {
        input.fault(
            "contentType",
            "must be application/json: no other is delivered",
        );
    }
    let url = input.text("payloadUrl");
    if url.is_empty() {
        input.fault("payloadUrl", "is required");
    }
    let mut actions = Vec::new();
    for event in input.texts("subscribedEvents") {
        match EVENTS.iter().find(|(name, _)| *name == event) {
            Some((_, action)) => actions.push((*action).to_owned()),
            None if event.starts_with("consent.") => actions.push(event),
            None => input.fault("subscribedEvents", "names an unknown event"),
        }
    }
    journal::Webhook {
        url,
        actions,
        description: input.text("description"),
        disabled: input.flag("disabled").unwrap_or(false),
        ..journal::Webhook::default()
    }
}

fn shown(one: &journal::Webhook, secret: &str) -> Value {
    let mut body = json!({
        "id": one.webhook_id,
        "payloadUrl": one.url,
        "contentType": JSON,
        "disabled": one.disabled,
        "secretKey": if secret.is_empty() { MASK } else { secret },
        "subscribedEvents": one.actions.iter().map(|one| event_of(one)).collect::<Vec<_>>(),
        "signingMode": "v1",
    });
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
    let webhook = input::wrapped(&call.object()?, "webhook", read_webhook)?;
    let message = journal::CreateWebhookRequest {
        webhook: Some(webhook),
        from_position: None,
        request_id: call.request_id(),
    };
    let answer = call
        .webhooks()
        .create_webhook(entry.request(message))
        .await?
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
    let webhook = input::wrapped(&call.object()?, "webhook", read_webhook)?;
    let message = journal::UpdateWebhookRequest {
        webhook: Some(journal::Webhook {
            webhook_id,
            ..webhook
        }),
        request_id: call.request_id(),
    };
    let answer = call
        .webhooks()
        .update_webhook(entry.request(message))
        .await?
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

/// Deliveries of one webhook that were given up.
pub(crate) async fn given_up(call: Call) -> Answer {
    let entry = call.enter().await?;
    let webhook_id = call.id("webhookId")?;
    let paging = call.paging()?;
    let mut found = Vec::new();
    let mut page_token = String::new();
    let mut looked = 0;
    loop {
        let message = journal::ListDeadLettersRequest {
            page_size: 1_000,
            page_token,
        };
        let answer = call
            .webhooks()
            .list_dead_letters(entry.request(message))
            .await?
            .into_inner();
        looked += answer.dead_letters.len();
        let own = answer.dead_letters.into_iter();
        found.extend(own.filter(|one| one.webhook_id == webhook_id));
        page_token = answer.next_page_token;
        if page_token.is_empty() || looked >= MAX_GIVEN_UP {
            break;
        }
    }
    let skip = usize::try_from(paging.offset).unwrap_or(usize::MAX);
    let more = found.len() > skip.saturating_add(usize::try_from(paging.limit).unwrap_or(0));
    let rows: Vec<Value> = paging
        .cut(found.into_iter().skip(skip).collect())
        .iter()
        .map(delivery)
        .collect();
    let mut page = paging.member("", None);
    page["hasNext"] = json!(more);
    let body = json!({ "deliveries": rows, "pagination": page });
    Ok(respond::json(StatusCode::OK, &body))
}

fn delivery(one: &journal::DeadLetter) -> Value {
    let mut body = json!({
        "id": one.delivery_id,
        "entryId": one.entry_id,
        "attempts": one.attempts,
        "reason": one.reason,
    });
    if let Some(time) = rfc3339(one.dead_time.as_ref()) {
        body["givenUpAt"] = json!(time);
    }
    body
}

pub(crate) async fn redeliver(call: Call) -> Answer {
    let entry = call.enter().await?;
    call.id("webhookId")?;
    let message = journal::RedriveDeadLettersRequest {
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
        &json!({ "webhooks": rows, "pagination": page }),
    ))
}
