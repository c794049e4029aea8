//! Rows of subscriptions and deliveries as callers see them.

use publica_proto::journal::v1 as proto;
use publica_rpc::timestamp;
use publica_work::operator::JobView;

use crate::store::deliveries::DeliveryRow;
use crate::store::webhooks::WebhookRow;

pub(super) fn webhook(row: &WebhookRow) -> proto::Webhook {
    proto::Webhook {
        webhook_id: row.webhook_id.to_string(),
        url: row.url.clone(),
        actions: row.wanted(),
        description: row.description.clone(),
        disabled: row.disabled,
        create_time: Some(timestamp(row.time)),
        position: row.position,
        epoch: row.epoch,
        content_type: i32::try_from(row.content_type).unwrap_or_default(),
        legacy_signature: row.legacy_signature,
        encryption_jwk: row.encryption_jwk.clone(),
    }
}

pub(super) fn delivery(row: DeliveryRow) -> proto::Delivery {
    proto::Delivery {
        delivery_id: row.delivery_id.to_string(),
        webhook_id: row.webhook_id.to_string(),
        entry_id: row.entry_id.to_string(),
        action: row.action,
        state: i32::try_from(row.state).unwrap_or_default(),
        attempts: i32::try_from(row.attempts).unwrap_or(i32::MAX),
        reason: row.reason,
        first_time: Some(timestamp(row.first_time)),
        last_time: Some(timestamp(row.last_time)),
    }
}

pub(super) fn dead_letter(view: JobView) -> proto::DeadLetter {
    let (webhook_id, entry_id) = view.key.split_once('/').unwrap_or((&view.key, ""));
    proto::DeadLetter {
        delivery_id: view.job_id.to_string(),
        webhook_id: webhook_id.to_owned(),
        entry_id: entry_id.to_owned(),
        attempts: i32::try_from(view.attempts).unwrap_or(i32::MAX),
        reason: view.last_error.unwrap_or_default(),
        dead_time: Some(timestamp(view.time)),
    }
}
