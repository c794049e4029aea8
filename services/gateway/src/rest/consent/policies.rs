//! Policies.

use axum::http::StatusCode;
use publica_proto::consent::v1 as pb;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::error::Fault;
use super::{input, output, reading};
use crate::respond;

fn shown(policy: Option<&pb::Policy>, revision: Option<&pb::Revision>) -> Value {
    output::members([
        ("policy", policy.map_or(Value::Null, output::policy)),
        ("revision", output::maybe_revision(revision)),
    ])
}

pub(crate) async fn create(call: Call) -> Answer {
    let entry = call.enter().await?;
    let policy = input::wrapped(&call.object()?, "policy", reading::policy)?;
    let request_id = call.request_id();
    let message = pb::CreatePolicyRequest {
        policy: Some(policy),
        request_id,
    };
    let answer = call
        .policies()
        .create_policy(entry.request(message))
        .await?
        .into_inner();
    let body = shown(answer.policy.as_ref(), answer.revision.as_ref());
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn read(call: Call) -> Answer {
    let entry = call.enter().await?;
    let policy_id = call.id("policyId")?;
    let revision_id = call.query_id("revisionId")?;
    let message = pb::GetPolicyRequest {
        policy_id,
        revision_id,
    };
    let answer = call
        .policies()
        .get_policy(entry.request(message))
        .await?
        .into_inner();
    let body = shown(answer.policy.as_ref(), answer.revision.as_ref());
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn replace(call: Call) -> Answer {
    let entry = call.enter().await?;
    let policy_id = call.id("policyId")?;
    let policy = input::wrapped(&call.object()?, "policy", reading::policy)?;
    let message = pb::ReplacePolicyRequest {
        policy: Some(pb::Policy {
            policy_id,
            ..policy
        }),
        etag: call.etag(),
        request_id: call.request_id(),
    };
    let answer = call
        .policies()
        .replace_policy(entry.request(message))
        .await?
        .into_inner();
    let mut body = shown(answer.policy.as_ref(), answer.revision.as_ref());
    if !answer.warnings.is_empty() {
        body["warnings"] = json!(answer.warnings);
    }
    Ok(respond::json(StatusCode::OK, &body))
}

pub(crate) async fn delete(call: Call) -> Answer {
    let entry = call.enter().await?;
    let policy_id = call.id("policyId")?;
    let message = pb::DeletePolicyRequest {
        policy_id,
        request_id: call.request_id(),
    };
    let answer = call
        .policies()
        .delete_policy(entry.request(message))
        .await?
        .into_inner();
    Ok(respond::json(
        StatusCode::OK,
        &output::deleted(answer.revision.as_ref()),
    ))
}

pub(crate) async fn revisions(call: Call) -> Answer {
    let entry = call.enter().await?;
    let policy_id = call.id("policyId")?;
    let message = pb::GetPolicyRequest {
        policy_id: policy_id.clone(),
        revision_id: String::new(),
    };
    let found = call
        .policies()
        .get_policy(entry.request(message))
        .await?
        .into_inner();
    let mut body = list_revisions(&call, &entry, pb::Schema::Policy, policy_id).await?;
    body["policy"] = json!(found.policy.as_ref().map(output::policy));
    Ok(respond::json(StatusCode::OK, &body))
}

/// A page of an object's revisions.
pub(crate) async fn list_revisions(
    call: &Call,
    entry: &crate::state::Entry,
    schema: pb::Schema,
    object_id: String,
) -> Result<Value, Fault> {
    let paging = call.paging()?;
    let message = pb::ListRevisionsRequest {
        schema: schema.into(),
        object_id,
        from_time: call.time("from")?,
        to_time: call.time("to")?,
        order: call.order()?,
        page_size: paging.size(),
        page_token: paging.cursor.clone(),
        skip: paging.offset,
    };
    let answer = call
        .revisions()
        .list_revisions(entry.request(message))
        .await?
        .into_inner();
    let page = paging.member(&answer.next_page_token, None);
    let revisions = paging.cut(answer.revisions);
    let revisions: Vec<Value> = revisions.iter().map(output::revision).collect();
    Ok(output::page("revisions", revisions, page))
}

pub(crate) async fn list(call: Call) -> Answer {
    let entry = call.enter().await?;
    let revision_id = call.query_id("revisionId")?;
    if !revision_id.is_empty() {
        return one_revision(&call, &entry, revision_id).await;
    }
    let paging = call.paging()?;
    let message = pb::ListPoliciesRequest {
        page_size: paging.size(),
        page_token: paging.cursor.clone(),
        skip: paging.offset,
        include_total: paging.count,
    };
    let answer = call
        .policies()
        .list_policies(entry.request(message))
        .await?
        .into_inner();
    let page = paging.member(&answer.next_page_token, answer.total_size);
    let policies: Vec<Value> = paging
        .cut(answer.policies)
        .iter()
        .map(output::policy)
        .collect();
    let body = output::page("policies", policies, page);
    Ok(respond::json(StatusCode::OK, &body))
}

/// The policy as of a revision, as a list of one.
async fn one_revision(call: &Call, entry: &crate::state::Entry, revision_id: String) -> Answer {
    let message = pb::GetRevisionRequest {
        revision_id: revision_id.clone(),
    };
    let found = call
        .revisions()
        .get_revision(entry.request(message))
        .await?
        .into_inner();
    let policy_id = found.revision.map(|one| one.object_id).unwrap_or_default();
    let message = pb::GetPolicyRequest {
        policy_id,
        revision_id,
    };
    let answer = call
        .policies()
        .get_policy(entry.request(message))
        .await?
        .into_inner();
    let policies: Vec<Value> = answer.policy.iter().map(output::policy).collect();
    let page = call.paging()?.member("", call.flag("count")?.map(|_| 1));
    let body = output::page("policies", policies, page);
    Ok(respond::json(StatusCode::OK, &body))
}
