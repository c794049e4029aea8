//! Individuals, the keys they sign with, and what they want to be told.

use axum::http::StatusCode;
use publica_proto::consent::v1 as pb;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::error::Fault;
use super::{input, output, reading, records};
use crate::respond;

fn shown(individual: Option<&pb::Individual>) -> Value {
    json!({ "individual": individual.map(output::individual) })
}

pub(crate) async fn create(call: Call) -> Answer {
    let entry = call.enter().await?;
    let individual = input::wrapped(&call.object()?, "individual", reading::individual)?;
    let request_id = call.request_id();
    let message = pb::CreateIndividualRequest {
        individual: Some(individual),
        request_id,
    };
    let answer = call
        .people()
        .create_individual(entry.request(message))
        .await?
        .into_inner();
    Ok(respond::json(
        StatusCode::OK,
        &shown(answer.individual.as_ref()),
    ))
}

pub(crate) async fn read(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = pb::GetIndividualRequest {
        individual_id: call.id("individualId")?,
    };
    let answer = call
        .people()
        .get_individual(entry.request(message))
        .await?
        .into_inner();
    Ok(respond::json(
        StatusCode::OK,
        &shown(answer.individual.as_ref()),
    ))
}

pub(crate) async fn replace(call: Call) -> Answer {
    let entry = call.enter().await?;
    let individual_id = call.id("individualId")?;
    let body = call.object()?;
    let individual = input::wrapped(&body, "individual", reading::individual)?;
    // What is left out stays; what is sent empty goes.
    let emptied = |name: &str| {
        let sent = body.get("individual").and_then(|one| one.get(name));
        sent.and_then(Value::as_str).is_some_and(str::is_empty)
    };
    let message = pb::ReplaceIndividualRequest {
        clear_birth_date: emptied("birthDate"),
        clear_email: emptied("email"),
        individual: Some(pb::Individual {
            individual_id,
            ..individual
        }),
        request_id: call.request_id(),
    };
    let answer = call
        .people()
        .replace_individual(entry.request(message))
        .await?
        .into_inner();
    Ok(respond::json(
        StatusCode::OK,
        &shown(answer.individual.as_ref()),
    ))
}

/// Repeating it is answered alike.
pub(crate) async fn erase(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = pb::EraseIndividualRequest {
        individual_id: call.id("individualId")?,
        request_id: call.request_id(),
    };
    let answer = call
        .people()
        .erase_individual(entry.request(message))
        .await?
        .into_inner();
    let mut response = respond::json(StatusCode::OK, &json!({ "erased": answer.erased }));
    records::tell_counts(
        &mut response,
        answer.records_erased,
        answer.records_retained,
    );
    Ok(response)
}

pub(crate) async fn list(call: Call) -> Answer {
    let entry = call.enter().await?;
    let paging = call.paging()?;
    let message = pb::ListIndividualsRequest {
        external_id: call.text("externalId"),
        external_id_type: call.text("externalIdType"),
        identity_provider_id: call.text("identityProviderId"),
        page_size: paging.size(),
        page_token: paging.cursor.clone(),
        skip: paging.offset,
        include_total: paging.count,
    };
    let answer = call
        .people()
        .list_individuals(entry.request(message))
        .await?
        .into_inner();
    let page = paging.member(&answer.next_page_token, answer.total_size);
    let rows = paging.cut(answer.individuals);
    let rows: Vec<Value> = rows.iter().map(output::individual).collect();
    let body = output::page("individuals", rows, page);
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn keys(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = pb::ListSigningKeysRequest {
        individual_id: call.id("individualId")?,
    };
    let answer = call
        .people()
        .list_signing_keys(entry.request(message))
        .await?
        .into_inner();
    let keys: Vec<Value> = answer.keys.iter().map(output::key).collect();
    Ok(respond::json(StatusCode::OK, &json!({ "keys": keys })))
}

pub(crate) async fn add_key(call: Call) -> Answer {
    let entry = call.enter().await?;
    let individual_id = call.id("individualId")?;
    let body = call.object()?;
    let jwk = match body.get("jwk") {
        Some(Value::Object(jwk)) => Value::Object(jwk.clone()).to_string(),
        _ => return Err(Fault::member("jwk", "must be a public JWK")),
    };
    let request_id = call.request_id();
    let message = pb::RegisterSigningKeyRequest {
        individual_id,
        jwk,
        request_id,
    };
    let answer = call
        .people()
        .register_signing_key(entry.request(message))
        .await?
        .into_inner();
    let key = answer.key.as_ref().map(output::key);
    Ok(respond::json(StatusCode::OK, &json!({ "key": key })))
}

pub(crate) async fn revoke_key(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = pb::RevokeSigningKeyRequest {
        individual_id: call.id("individualId")?,
        key_id: call.id("keyId")?,
        request_id: call.request_id(),
    };
    let answer = call
        .people()
        .revoke_signing_key(entry.request(message))
        .await?
        .into_inner();
    let key = answer.key.as_ref().map(output::key);
    Ok(respond::json(StatusCode::OK, &json!({ "key": key })))
}

pub(crate) async fn preference(call: Call) -> Answer {
    let entry = call.enter().await?;
    let individual_id = call.individual(&entry)?;
    let message = pb::GetNotificationPreferenceRequest { individual_id };
    let request = entry.request(message);
    let answer = call
        .people()
        .get_notification_preference(request)
        .await?
        .into_inner();
    Ok(respond::json(
        StatusCode::OK,
        &json!({ "enabled": answer.enabled }),
    ))
}

pub(crate) async fn set_preference(call: Call) -> Answer {
    let entry = call.enter().await?;
    let individual_id = call.individual(&entry)?;
    let enabled = input::whole(&call.object()?, "", |input| {
        let enabled = input.flag("enabled");
        if enabled.is_none() {
            input.fault("enabled", "is required");
        }
        enabled.unwrap_or(true)
    })?;
    let request_id = call.request_id();
    let message = pb::SetNotificationPreferenceRequest {
        individual_id,
        enabled,
        request_id,
    };
    let request = entry.request(message);
    let answer = call
        .people()
        .set_notification_preference(request)
        .await?
        .into_inner();
    Ok(respond::json(
        StatusCode::OK,
        &json!({ "enabled": answer.enabled }),
    ))
}
