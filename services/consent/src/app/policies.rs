//! Policies.

use std::sync::Arc;

use prost::Message as _;
use publica_journal::append;
use publica_proto::consent::v1 as pb;
use publica_store::Tx;
use serde_json::json;

use super::revisions::{self, Change, revise};
use super::{App, Input, Paging, Shop, Who, call, entry, next_token, notices, seals};
use crate::domain::material;
use crate::domain::policy;
use crate::domain::snapshot::By;
use crate::domain::violations::{Violations, is_id};
use crate::error::{Error, Why};
use crate::store::{self, Cursor};

/// Stores a checked policy; an id in use, or none, is replaced by a fresh one.
pub(crate) async fn create_in(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    mut policy: pb::Policy,
) -> Result<(pb::Policy, pb::Revision), Error> {
    let id = policy.policy_id.as_str();
    if id.is_empty() || store::policy::lock(tx, id).await?.is_some() {
        policy.policy_id = shop.id();
    }
    let revision = write_revision(tx, shop, who, &policy).await?;
    let now = tx.now();
    if !store::policy::insert(tx, &policy, &revision.revision_id, now).await? {
        return Err(Why::PolicyExists.about(policy.policy_id));
    }
    let body = json!({
        "revision_id": revision.revision_id,
        "revision_sha256": revision.serialized_hash_sha256,
        "version": policy.version,
    });
    append(
        tx,
        &who.origin,
        entry("consent.policy.created", "policy", &policy.policy_id, body),
    );
    stamp(&mut policy, &revision);
    policy.create_time = policy.update_time;
    Ok((policy, revision))
}

async fn write_revision(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    content: &pb::Policy,
) -> Result<pb::Revision, Error> {
    let change = Change {
        schema: pb::Schema::Policy,
        object_id: &content.policy_id,
        data: policy::data(content),
        by: By::Other(&who.origin.actor),
        body: Some(content.encode_to_vec()),
        subject: None,
        predecessor_signature: "",
    };
    revise(tx, shop, change).await
}

fn stamp(policy: &mut pb::Policy, revision: &pb::Revision) {
    policy.revision_id.clone_from(&revision.revision_id);
    policy.update_time = revision.create_time;
}

/// A policy as of one of its revisions, with that revision's hash.
pub(crate) async fn as_of_in(
    tx: &mut Tx<'_>,
    shop: &Shop,
    policy_id: &str,
    revision_id: &str,
) -> Result<(pb::Policy, String), Error> {
    let row = store::policy::lock(tx, policy_id)
        .await?
        .filter(|row| !row.deleted);
    let row = row.ok_or_else(|| Why::PolicyNotFound.about(policy_id))?;
    let wanted = if revision_id.is_empty() {
        &row.revision_id
    } else {
        revision_id
    };
    let revision = store::revision::find_in(tx, wanted).await?;
    let revision = revision.ok_or_else(|| Why::RevisionNotFound.about(wanted))?;
    belongs(&revision, pb::Schema::Policy, policy_id)?;
    seals::sound(shop, &revision)?;
    let mut policy: pb::Policy = store::decode(revision.body.as_deref().unwrap_or_default())?;
    policy_id.clone_into(&mut policy.policy_id);
    policy.revision_id.clone_from(&revision.revision_id);
    Ok((policy, revision.sha1))
}

/// Which of the two is not there.
async fn missing(shop: &Shop, key: &store::policy::Key) -> Result<Error, Error> {
    let policy = store::policy::find(&shop.db, &key.policy_id).await?;
    Ok(match policy {
        Some(_) if !key.revision_id.is_empty() => Why::RevisionNotFound.about(&*key.revision_id),
        _ => Why::PolicyNotFound.about(&*key.policy_id),
    })
}

/// Refuses a revision that belongs to something else.
pub(crate) fn belongs(
    revision: &store::revision::Row,
    schema: pb::Schema,
    object_id: &str,
) -> Result<(), Error> {
    if revision.kind == i64::from(schema as i32) && revision.object_id == object_id {
        Ok(())
    } else {
        Err(Why::RevisionMismatch.about(&*revision.revision_id))
    }
}

/// Refuses what cannot be an id before the store is asked.
pub(crate) fn check_id(field: &str, id: &str) -> Result<(), Error> {
    if is_id(id) {
        return Ok(());
    }
    Err(Violations::one(field, "is not an id: 1 to 64 of A-Z a-z 0-9 . _ ~ -").into())
}

fn sent(policy: Option<pb::Policy>) -> Result<pb::Policy, Error> {
    policy.ok_or_else(|| Violations::one("policy", "is required").into())
}

impl App {
    /// Creates a policy.
    pub(crate) async fn create_policy(
        &self,
        who: &Who,
        request: pb::CreatePolicyRequest,
    ) -> Result<pb::CreatePolicyResponse, Error> {
        const RPC: &str = "/publica.consent.v1.PolicyService/CreatePolicy";
        let shop = self.shop(&who.origin.tenant).await?;
        let call = call(
            "consent.create_policy",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let content = policy::normalise(sent(request.policy)?)?;
        let input: Input<pb::Policy> = (Arc::clone(&shop), who.clone(), content);
        publica_journal::write(&shop.db, call, input, |tx, (shop, who, content)| {
            Box::pin(async move {
                let (policy, revision) = create_in(tx, shop, who, content.clone()).await?;
                Ok::<_, Error>(pb::CreatePolicyResponse {
                    policy: Some(policy),
                    revision: Some(revision),
                })
            })
        })
        .await
    }

    /// Returns a policy as it is, or as of one revision.
    pub(crate) async fn get_policy(
        &self,
        who: &Who,
        request: pb::GetPolicyRequest,
    ) -> Result<pb::GetPolicyResponse, Error> {
        check_id("policy_id", &request.policy_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let key = store::policy::Key {
            policy_id: request.policy_id,
            revision_id: request.revision_id,
        };
        let Some(found) = shop.policies.ask(key.clone()).await? else {
            return Err(missing(&shop, &key).await?);
        };
        if found.deleted && key.revision_id.is_empty() {
            return Err(Why::PolicyNotFound.about(key.policy_id));
        }
        let revision = &found.revision;
        belongs(revision, pb::Schema::Policy, &key.policy_id)?;
        let snapshot = seals::sound_text(&shop, revision)?;
        let mut policy: pb::Policy = store::decode(revision.body.as_deref().unwrap_or_default())?;
        let updated = if revision.revision_id == found.current_id {
            found.policy_updated
        } else {
            revision.created
        };
        policy.policy_id = key.policy_id;
        policy.revision_id.clone_from(&revision.revision_id);
        policy.create_time = Some(publica_rpc::timestamp(found.policy_created));
        policy.update_time = Some(publica_rpc::timestamp(updated));
        Ok(pb::GetPolicyResponse {
            policy: Some(policy),
            revision: Some(revisions::present(revision, snapshot)),
        })
    }

    /// Lists policies, newest first.
    pub(crate) async fn list_policies(
        &self,
        who: &Who,
        request: pb::ListPoliciesRequest,
    ) -> Result<pb::ListPoliciesResponse, Error> {
        let shop = self.shop(&who.origin.tenant).await?;
        let arguments = "policies";
        let paging = Paging {
            size: request.page_size,
            token: &request.page_token,
            skip: request.skip,
            ascending: false,
        };
        let page = paging.page(&arguments)?;
        let mut rows = store::policy::list(&shop.db, &page).await?;
        let next_page_token = next_token(&mut rows, &page, &arguments, |row| Cursor {
            at: row.created.micros(),
            id: row.policy_id.clone(),
        });
        let total_size = if request.include_total {
            Some(store::policy::count(&shop.db).await?)
        } else {
            None
        };
        let policies = rows
            .iter()
            .map(store::policy::Row::policy)
            .collect::<Result<_, _>>()?;
        Ok(pb::ListPoliciesResponse {
            policies,
            next_page_token,
            total_size,
        })
    }

    /// Replaces a policy's content.
    pub(crate) async fn replace_policy(
        &self,
        who: &Who,
        request: pb::ReplacePolicyRequest,
    ) -> Result<pb::ReplacePolicyResponse, Error> {
        const RPC: &str = "/publica.consent.v1.PolicyService/ReplacePolicy";
        let shop = self.shop(&who.origin.tenant).await?;
        let call = call(
            "consent.replace_policy",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let mut content = sent(request.policy)?;
        check_id("policy.policy_id", &content.policy_id)?;
        let unversioned = content.version.is_empty();
        content = policy::normalise(content)?;
        let input = (
            Arc::clone(&shop),
            who.clone(),
            (content, unversioned, request.etag),
        );
        publica_journal::write(
            &shop.db,
            call,
            input,
            |tx, (shop, who, (content, bare, etag))| {
                Box::pin(replace(tx, shop, who, content.clone(), *bare, etag))
            },
        )
        .await
    }

    /// Deletes a policy.
    pub(crate) async fn delete_policy(
        &self,
        who: &Who,
        request: pb::DeletePolicyRequest,
    ) -> Result<pb::DeletePolicyResponse, Error> {
        const RPC: &str = "/publica.consent.v1.PolicyService/DeletePolicy";
        check_id("policy_id", &request.policy_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let call = call(
            "consent.delete_policy",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let input: Input<String> = (Arc::clone(&shop), who.clone(), request.policy_id);
        publica_journal::write(&shop.db, call, input, |tx, (shop, who, id)| {
            Box::pin(delete(tx, shop, who, id))
        })
        .await
    }
}

async fn replace(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    mut content: pb::Policy,
    unversioned: bool,
    etag: &str,
) -> Result<pb::ReplacePolicyResponse, Error> {
    let id = content.policy_id.clone();
    let row = store::policy::lock(tx, &id)
        .await?
        .filter(|row| !row.deleted);
    let row = row.ok_or_else(|| Why::PolicyNotFound.about(&*id))?;
    if !etag.is_empty() && etag != row.revision_id {
        return Err(Why::Conflict.about(id));
    }
    let old = row.policy()?;
    if unversioned {
        content.version.clone_from(&old.version);
    }
    let now = tx.now();
    let warnings = policy::warnings(&old, &content);
    if !warnings.is_empty() && shop.rules.strict_policies {
        return Err(Why::PolicyUrlReused.about(id));
    }
    if policy::same_content(&old, &content) {
        let revision = store::revision::find_in(tx, &row.revision_id).await?;
        let revision = revision.ok_or_else(|| Why::RevisionNotFound.about(&*row.revision_id))?;
        let snapshot = revisions::plain(&revision)?;
        let revision = Some(revisions::present(&revision, snapshot));
        return Ok(pb::ReplacePolicyResponse {
            policy: Some(old),
            revision,
            warnings,
        });
    }
    let revision = write_revision(tx, shop, who, &content).await?;
    store::policy::update(tx, &content, &revision.revision_id, false, now).await?;
    let body = json!({
        "revision_id": revision.revision_id,
        "revision_sha256": revision.serialized_hash_sha256,
        "before": row.revision_id,
    });
    append(
        tx,
        &who.origin,
        entry("consent.policy.updated", "policy", &id, body),
    );
    if !material::policy(&old, &content).is_empty() {
        notices::policy(tx, shop, &who.origin, &id, &revision.revision_id).await?;
    }
    stamp(&mut content, &revision);
    content.create_time = old.create_time;
    Ok(pb::ReplacePolicyResponse {
        policy: Some(content),
        revision: Some(revision),
        warnings,
    })
}

async fn delete(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    id: &str,
) -> Result<pb::DeletePolicyResponse, Error> {
    let row = store::policy::lock(tx, id)
        .await?
        .filter(|row| !row.deleted);
    let row = row.ok_or_else(|| Why::PolicyNotFound.about(id))?;
    let users = store::agreement::of_policy(tx, id).await?;
    if !users.is_empty() {
        return Err(Why::PolicyInUse.about(users.join(", ")));
    }
    let change = Change {
        schema: pb::Schema::Policy,
        object_id: id,
        data: policy::tombstone(id),
        by: By::Other(&who.origin.actor),
        body: Some(row.body.clone()),
        subject: None,
        predecessor_signature: "",
    };
    let revision = revise(tx, shop, change).await?;
    let now = tx.now();
    store::policy::update(tx, &row.policy()?, &revision.revision_id, true, now).await?;
    let body = json!({
        "revision_id": revision.revision_id,
        "revision_sha256": revision.serialized_hash_sha256,
        "before": row.revision_id,
    });
    append(
        tx,
        &who.origin,
        entry("consent.policy.deleted", "policy", id, body),
    );
    Ok(pb::DeletePolicyResponse {
        revision: Some(revision),
    })
}
