//! Approval, publication and termination of agreements: versions, and whose answers carry over.

use std::sync::Arc;

use publica_journal::append;
use publica_proto::consent::v1 as pb;
use publica_store::Tx;
use serde_json::json;

use super::agreements::{Order, complete, note, open_row, write, write_revision};
use super::policies::check_id;
use super::revocations::{About, revoke};
use super::texts::text_in;
use super::{App, Input, Shop, Who, call, entry, notices};
use crate::domain::notice::Kind;
use crate::domain::violations::Violations;
use crate::domain::{agreement, material};
use crate::error::{Error, Why};
use crate::store;

impl App {
    /// Approves the latest draft.
    pub(crate) async fn approve_agreement(
        &self,
        who: &Who,
        request: pb::ApproveDataAgreementRequest,
    ) -> Result<pb::ApproveDataAgreementResponse, Error> {
        const RPC: &str = "/publica.consent.v1.DataAgreementService/ApproveDataAgreement";
        check_id("data_agreement_id", &request.data_agreement_id)?;
        check_id("revision_id", &request.revision_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let call = call(
            "consent.approve_agreement",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let input = (Arc::clone(&shop), who.clone(), request);
        publica_journal::write(&shop.db, call, input, |tx, (_, who, request)| {
            Box::pin(approve(tx, who, request))
        })
        .await
    }

    /// Publishes the latest draft.
    pub(crate) async fn publish_agreement(
        &self,
        who: &Who,
        request: pb::PublishDataAgreementRequest,
    ) -> Result<pb::PublishDataAgreementResponse, Error> {
        const RPC: &str = "/publica.consent.v1.DataAgreementService/PublishDataAgreement";
        check_id("data_agreement_id", &request.data_agreement_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let call = call(
            "consent.publish_agreement",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let input = (Arc::clone(&shop), who.clone(), request);
        publica_journal::write(&shop.db, call, input, |tx, (shop, who, request)| {
            Box::pin(async move {
                let row = open_row(tx, &request.data_agreement_id, &request.etag).await?;
                let content = row.agreement()?;
                let order = Order {
                    content,
                    unversioned: false,
                    publish: true,
                    etag: String::new(),
                };
                let done = write(tx, shop, who, &row, order).await?;
                Ok::<_, Error>(pb::PublishDataAgreementResponse {
                    data_agreement: Some(done.agreement),
                    revision: Some(done.revision),
                    warnings: done.warnings,
                    superseded_records: done.superseded,
                    material_changes: done.material,
                })
            })
        })
        .await
    }

    /// Terminates an agreement.
    pub(crate) async fn terminate_agreement(
        &self,
        who: &Who,
        request: pb::TerminateDataAgreementRequest,
    ) -> Result<pb::TerminateDataAgreementResponse, Error> {
        const RPC: &str = "/publica.consent.v1.DataAgreementService/TerminateDataAgreement";
        check_id("data_agreement_id", &request.data_agreement_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let call = call(
            "consent.terminate_agreement",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let input: Input<String> = (Arc::clone(&shop), who.clone(), request.data_agreement_id);
        publica_journal::write(&shop.db, call, input, |tx, (shop, who, id)| {
            Box::pin(terminate(tx, shop, who, id))
        })
        .await
    }
}

async fn approve(
    tx: &mut Tx<'_>,
    who: &Who,
    request: &pb::ApproveDataAgreementRequest,
) -> Result<pb::ApproveDataAgreementResponse, Error> {
    let row = open_row(tx, &request.data_agreement_id, &request.revision_id).await?;
    let content = row.agreement()?;
    complete(&content)?;
    if row.author == who.origin.actor {
        return Err(Why::ApproverIsAuthor.about(&*row.agreement_id));
    }
    let now = tx.now();
    let mut stored = content.clone();
    stored.lifecycle = row.lifecycle().into();
    let mut write = row.keeping(&stored, &row.revision_id, now);
    write.approved = (&row.revision_id, &who.origin.actor);
    store::agreement::update(tx, &write).await?;
    let body = json!({ "revision_id": row.revision_id });
    let id = row.agreement_id.as_str();
    append(
        tx,
        &who.origin,
        entry("consent.agreement.approved", "agreement", id, body),
    );
    Ok(pb::ApproveDataAgreementResponse {
        data_agreement: Some(content),
    })
}

async fn terminate(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    id: &str,
) -> Result<pb::TerminateDataAgreementResponse, Error> {
    let row = open_row(tx, id, "").await?;
    let mut content = row.agreement()?;
    content.lifecycle = pb::AgreementLifecycle::Terminated.into();
    content.active = Some(false);
    let revision = write_revision(tx, shop, who, &content).await?;
    let now = tx.now();
    let write = row.keeping(&content, &revision.revision_id, now);
    store::agreement::update(tx, &write).await?;
    note(tx, who, &content, &revision, "consent.agreement.terminated");
    let about = About {
        agreement_id: id,
        ..About::default()
    };
    let (ended, revision_id) = (Kind::AgreementTerminated, &revision.revision_id);
    notices::agreement(tx, shop, &who.origin, ended, id, revision_id).await?;
    revoke(tx, about, pb::RevocationCause::AgreementTerminated).await?;
    Ok(pb::TerminateDataAgreementResponse {
        revision: Some(revision),
    })
}

/// Journals a publication; how many current answers it makes out of date.
pub(super) async fn announce(
    tx: &mut Tx<'_>,
    who: &Who,
    content: &pb::DataAgreement,
    revision: &pb::Revision,
) -> Result<i64, Error> {
    note(tx, who, content, revision, "consent.agreement.published");
    let about = About {
        agreement_id: &content.data_agreement_id,
        ..About::default()
    };
    let mut good = content.compatible_revision_ids.clone();
    good.push(revision.revision_id.clone());
    let stale = store::agreement::stale(tx, &content.data_agreement_id, &good).await?;
    revoke(tx, about, pb::RevocationCause::AgreementChanged).await?;
    if stale > 0 {
        let id = content.data_agreement_id.as_str();
        let body = json!({ "revision_id": revision.revision_id, "records": stale });
        let superseded = entry("consent.records.superseded", "agreement", id, body);
        append(tx, &who.origin, superseded);
    }
    Ok(stale)
}

/// Gives a text that is to be published its version, and finds out whose answers carry over:
/// those to the text before it, unless something that matters changes. Returns what does.
pub(super) async fn settle_version(
    tx: &mut Tx<'_>,
    shop: &Shop,
    content: &mut pb::DataAgreement,
    base: Option<&pb::DataAgreement>,
) -> Result<Vec<&'static str>, Error> {
    let named = content.compatible_with_version_id.clone();
    content.compatible_revision_ids.clear();
    let mut material = Vec::new();
    if let Some(base) = base {
        if agreement::changes_only_activity(base, content) {
            content.version.clone_from(&base.version);
            content
                .compatible_with_version_id
                .clone_from(&base.compatible_with_version_id);
            content.compatible_revision_ids = agreement::compatible_with(base);
            return Ok(material);
        }
        material = material::changes(base, content);
        if material.is_empty() {
            content.compatible_revision_ids = agreement::compatible_with(base);
        } else if named == base.version || named == base.revision_id {
            return Err(Why::ReconsentNeeded.about(material.join(", ")));
        }
        let needed = !material.is_empty();
        content.version = agreement::next_version(&base.version, &content.version, needed);
    }
    if !named.is_empty() && content.compatible_revision_ids.is_empty() {
        let earlier = text_in(tx, shop, &named).await.ok();
        let earlier =
            earlier.filter(|text| text.agreement.data_agreement_id == content.data_agreement_id);
        let earlier = earlier.ok_or_else(|| {
            Violations::one("compatibleWithVersionId", "names no published text of it")
        })?;
        let needed = material::changes(&earlier.agreement, content);
        if !needed.is_empty() {
            return Err(Why::ReconsentNeeded.about(needed.join(", ")));
        }
        content.compatible_revision_ids = agreement::compatible_with(&earlier.agreement);
    }
    Ok(material)
}
