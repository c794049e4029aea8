//! Delegations: who may act for whom.

use axum::http::StatusCode;
use publica_proto::consent::v1 as pb;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::error::Fault;
use super::input::{self, Input};
use super::output;
use crate::respond;
use crate::state::Entry;

fn read_delegation(input: &Input<'_>) -> pb::Delegation {
    let named = input.text("relationship").to_ascii_lowercase();
    let name = format!("DELEGATION_RELATIONSHIP_{}", named.to_ascii_uppercase());
    let known = pb::DelegationRelationship::from_str_name(&name)
        .filter(|one| *one != pb::DelegationRelationship::Unspecified);
    if known.is_none() {
        let known = (1..).map_while(|n| pb::DelegationRelationship::try_from(n).ok());
        let names: Vec<String> = known.map(output::relationship).collect();
        let text = format!("must be one of {}", names.join(", "));
        input.fault("relationship", &text);
    }
    let relationship = known.map(i32::from);
    let actions = input.texts("actions").into_iter().map(|action| {
        let known = match action.as_str() {
            "give" => pb::DelegationAction::Give,
            "withdraw" => pb::DelegationAction::Withdraw,
            "view" => pb::DelegationAction::View,
            _ => {
                input.fault("actions", "must be some of give, withdraw, view");
                pb::DelegationAction::Unspecified
            }
        };
        i32::from(known)
    });
    pb::Delegation {
        delegation_id: input.text("id"),
        individual_id: input.text("individualId"),
        delegate_individual_id: input.text("delegateIndividualId"),
        relationship: relationship.unwrap_or_default(),
        authority_reference: input.text("authorityReference"),
        authority_hash: input.text("authorityHash"),
        scope_agreements: input.texts("scopeAgreements"),
        scope_purposes: input.texts("scopePurposes"),
        actions: actions.collect(),
        valid_from_time: input.time("validFrom"),
        valid_until_time: input.time("validUntil"),
        ..pb::Delegation::default()
    }
}

fn shown(one: Option<&pb::Delegation>) -> Value {
    json!({ "delegation": one.map(output::delegation) })
}

pub(crate) async fn create(call: Call) -> Answer {
    let entry = call.enter().await?;
    let delegation = input::wrapped(&call.object()?, "delegation", read_delegation)?;
    let message = pb::CreateDelegationRequest {
        delegation: Some(delegation),
        request_id: call.request_id(),
    };
    let answer = call
        .delegations()
        .create_delegation(entry.request(message))
        .await?
        .into_inner();
    let body = shown(answer.delegation.as_ref());
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn read(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = pb::GetDelegationRequest {
        delegation_id: call.id("delegationId")?,
    };
    let answer = call
        .delegations()
        .get_delegation(entry.request(message))
        .await?
        .into_inner();
    let body = shown(answer.delegation.as_ref());
    Ok(respond::json(StatusCode::OK, &body))
}

/// Whose delegations are asked for: the person that they are over, and the delegate. Those over a
/// person; with `delegateIndividualId` alone those that somebody holds, and with `held` those
/// that the person of the call holds.
fn parties(call: &Call, entry: &Entry) -> Result<(String, String), Fault> {
    if call.flag("held")?.unwrap_or(false) {
        return Ok((String::new(), call.individual(entry)?));
    }
    let delegate_individual_id = call.query_id("delegateIndividualId")?;
    let individual_id = match call.individual(entry) {
        Ok(id) => id,
        Err(_) if !delegate_individual_id.is_empty() => String::new(),
        Err(fault) => return Err(fault),
    };
    let alone = !delegate_individual_id.is_empty() && call.query.get("individualId").is_none();
    let over = if alone { String::new() } else { individual_id };
    Ok((over, delegate_individual_id))
}

pub(crate) async fn list(call: Call) -> Answer {
    let entry = call.enter().await?;
    let (individual_id, delegate_individual_id) = parties(&call, &entry)?;
    let paging = call.paging()?;
    let message = pb::ListDelegationsRequest {
        individual_id,
        delegate_individual_id,
        page_size: paging.size(),
        page_token: paging.cursor.clone(),
        skip: paging.offset,
    };
    let answer = call
        .delegations()
        .list_delegations(entry.request(message))
        .await?
        .into_inner();
    let page = paging.member(&answer.next_page_token, None);
    let rows = paging.cut(answer.delegations);
    let rows: Vec<Value> = rows.iter().map(output::delegation).collect();
    let body = output::page("delegations", rows, page);
    Ok(respond::json(StatusCode::OK, &body))
}

/// Ends a delegation; with `void=true` it never held.
pub(crate) async fn end(call: Call) -> Answer {
    let entry = call.enter().await?;
    let message = pb::RevokeDelegationRequest {
        delegation_id: call.id("delegationId")?,
        void: call.flag("void")?.unwrap_or(false),
        request_id: call.request_id(),
    };
    let answer = call
        .delegations()
        .revoke_delegation(entry.request(message))
        .await?
        .into_inner();
    let body = shown(answer.delegation.as_ref());
    Ok(respond::json(StatusCode::OK, &body))
}

/// The delegate on whose word the caller acts: in the header or the query.
pub(crate) fn named(call: &Call) -> Result<String, Fault> {
    let header = call.headers.get("x-consentbb-delegateid");
    let header = header.map(|value| value.to_str().unwrap_or("?"));
    let query = call.query.get("delegateId").filter(|id| !id.is_empty());
    match (header, query) {
        (Some(header), Some(query)) if header != query => {
            let text = "header and query name different delegates";
            Err(Fault::bad("delegate_mismatch", text))
        }
        (header, query) => {
            let id = header.or(query).unwrap_or_default();
            if !id.is_empty() {
                super::call::check_id("delegateId", id)?;
            }
            Ok(id.to_owned())
        }
    }
}
