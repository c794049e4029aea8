//! Data agreements: draft, approval, publication, termination.

use std::sync::Arc;

use prost::Message as _;
use publica_journal::append;
use publica_proto::consent::v1 as pb;
use publica_store::Tx;
use serde_json::json;

use super::policies::{self, belongs, check_id};
use super::publication::{announce, settle_version};
use super::revisions::{self, Change, revise};
use super::texts::{text, text_in};
use super::{App, Input, Paging, Shop, Who, call, entry, next_token, notices, seals, time};
use crate::domain::notice::Kind;
use crate::domain::policy::normalise as normalise_policy;
use crate::domain::snapshot::By;
use crate::domain::violations::Violations;
use crate::domain::{agreement, material};
use crate::error::{Error, Why};
use crate::store::agreement::{Filter, Row, Write};
use crate::store::{self, Cursor, Span};

/// What is to become of the content that was sent.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) content: pb::DataAgreement,
    /// The version was left out.
    pub(super) unversioned: bool,
    pub(super) publish: bool,
    pub(super) etag: String,
}

impl Order {
    fn of(sent: Option<pb::DataAgreement>, publish: bool, etag: String) -> Result<Self, Error> {
        let sent = sent.ok_or_else(|| Violations::one("dataAgreement", "is required"))?;
        let unversioned = sent.version.is_empty();
        let content = agreement::normalise(sent)?;
        Ok(Self {
            content,
            unversioned,
            publish,
            etag,
        })
    }
}

/// What a change amounts to.
pub(super) struct Changed {
    pub(super) agreement: pb::DataAgreement,
    pub(super) revision: pb::Revision,
    pub(super) warnings: Vec<String>,
    pub(super) superseded: i64,
    /// Members whose change needs new answers.
    pub(super) material: Vec<String>,
}

impl App {
    /// Creates an agreement.
    pub(crate) async fn create_agreement(
        &self,
        who: &Who,
        request: pb::CreateDataAgreementRequest,
    ) -> Result<pb::CreateDataAgreementResponse, Error> {
        const RPC: &str = "/publica.consent.v1.DataAgreementService/CreateDataAgreement";
        let shop = self.shop(&who.origin.tenant).await?;
        let call = call(
            "consent.create_agreement",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let order = Order::of(request.data_agreement, request.publish, String::new())?;
        let input: Input<Order> = (Arc::clone(&shop), who.clone(), order);
        publica_journal::write(&shop.db, call, input, |tx, (shop, who, order)| {
            Box::pin(async move {
                let done = create(tx, shop, who, order.clone()).await?;
                Ok::<_, Error>(pb::CreateDataAgreementResponse {
                    data_agreement: Some(done.agreement),
                    revision: Some(done.revision),
                    warnings: done.warnings,
                })
            })
        })
        .await
    }

    /// Returns an agreement: latest, published, or as of one revision.
    pub(crate) async fn get_agreement(
        &self,
        who: &Who,
        request: pb::GetDataAgreementRequest,
    ) -> Result<pb::GetDataAgreementResponse, Error> {
        check_id("data_agreement_id", &request.data_agreement_id)?;
        if !request.published {
            may_see_drafts(who)?;
        }
        let shop = self.shop(&who.origin.tenant).await?;
        let id = request.data_agreement_id.as_str();
        let row = store::agreement::find(&shop.db, id).await?;
        let row = row.ok_or_else(|| Why::AgreementNotFound.about(id))?;
        if request.published && row.published_revision_id.is_empty() {
            return Err(Why::AgreementNotFound.about(id));
        }
        let wanted = match (request.revision_id.is_empty(), request.published) {
            (false, _) => request.revision_id,
            (true, true) => row.published_revision_id.clone(),
            (true, false) => row.revision_id.clone(),
        };
        let revision = store::revision::find(&shop.db, &wanted).await?;
        let revision = revision.ok_or_else(|| Why::RevisionNotFound.about(&*wanted))?;
        belongs(&revision, pb::Schema::DataAgreement, id)?;
        let content = if wanted == row.revision_id && !request.published {
            row.agreement()?
        } else {
            let mut earlier = text(&shop, &wanted).await?.agreement.clone();
            if request.published && earlier.lifecycle() == pb::AgreementLifecycle::Draft {
                // A draft is nobody's business but its authors'.
                return Err(Why::RevisionNotFound.about(wanted));
            }
            row.stamp(&mut earlier);
            earlier
        };
        let snapshot = seals::sound_text(&shop, &revision)?;
        let told = |gaps: Vec<&'static str>| gaps.into_iter().map(str::to_owned).collect();
        Ok(pb::GetDataAgreementResponse {
            publication_gaps: told(agreement::gaps(&content)),
            iso27560_gaps: told(agreement::receipt_gaps(&content)),
            kantara_gaps: told(agreement::kantara_gaps(&content)),
            data_agreement: Some(content),
            revision: Some(revisions::present(&revision, snapshot)),
        })
    }

    /// Lists agreements.
    pub(crate) async fn list_agreements(
        &self,
        who: &Who,
        request: pb::ListDataAgreementsRequest,
    ) -> Result<pb::ListDataAgreementsResponse, Error> {
        if !request.published {
            may_see_drafts(who)?;
        }
        let shop = self.shop(&who.origin.tenant).await?;
        let arguments = (
            "agreements",
            (
                request.lifecycle,
                request.active,
                &request.policy_id,
                &request.purpose,
            ),
            request.from_time.map(|time| (time.seconds, time.nanos)),
            request.to_time.map(|time| (time.seconds, time.nanos)),
            (request.published, request.order),
        );
        let paging = Paging {
            size: request.page_size,
            token: &request.page_token,
            skip: request.skip,
            ascending: request.order == i32::from(pb::SortOrder::Ascending),
        };
        let page = paging.page(&arguments)?;
        let filter = Filter {
            lifecycle: request.lifecycle,
            active: request.active,
            policy_id: request.policy_id.clone(),
            purpose: request.purpose.clone(),
            published: request.published,
            span: Span {
                from: time("from_time", request.from_time.as_ref())?,
                to: time("to_time", request.to_time.as_ref())?,
            },
        };
        let mut rows = store::agreement::list(&shop.db, &filter, &page).await?;
        let next_page_token = next_token(&mut rows, &page, &arguments, |row| Cursor {
            at: row.created.micros(),
            id: row.agreement_id.clone(),
        });
        let total_size = if request.include_total {
            Some(store::agreement::count(&shop.db, &filter).await?)
        } else {
            None
        };
        let mut data_agreements = Vec::with_capacity(rows.len());
        for row in &rows {
            data_agreements.push(if request.published {
                let mut published = text(&shop, &row.published_revision_id)
                    .await?
                    .agreement
                    .clone();
                row.stamp(&mut published);
                published
            } else {
                row.agreement()?
            });
        }
        Ok(pb::ListDataAgreementsResponse {
            data_agreements,
            next_page_token,
            total_size,
        })
    }

    /// Compares two revisions of an agreement.
    pub(crate) async fn compare_revisions(
        &self,
        who: &Who,
        request: pb::CompareDataAgreementRevisionsRequest,
    ) -> Result<pb::CompareDataAgreementRevisionsResponse, Error> {
        check_id("data_agreement_id", &request.data_agreement_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let id = request.data_agreement_id.as_str();
        let row = store::agreement::find(&shop.db, id).await?;
        let row = row.ok_or_else(|| Why::AgreementNotFound.about(id))?;
        let or = |asked: String, default: &String| match asked.as_str() {
            "" => default.clone(),
            _ => asked,
        };
        let from = or(request.from_revision_id, &row.published_revision_id);
        let to = or(request.to_revision_id, &row.revision_id);
        let old = text(&shop, &from).await?;
        let new = text(&shop, &to).await?;
        for (one, revision) in [(&old, &from), (&new, &to)] {
            if one.agreement.data_agreement_id != id {
                return Err(Why::RevisionMismatch.about(&**revision));
            }
        }
        let found = material::differences(&old.agreement, &new.agreement);
        let material = material::changes(&old.agreement, &new.agreement);
        Ok(pb::CompareDataAgreementRevisionsResponse {
            differences: found
                .into_iter()
                .map(|one| pb::DataAgreementDifference {
                    path: one.path,
                    before: one.before,
                    after: one.after,
                })
                .collect(),
            material_changes: material.into_iter().map(str::to_owned).collect(),
            from_revision_id: from,
            to_revision_id: to,
        })
    }

    /// Replaces the content of an agreement.
    pub(crate) async fn replace_agreement(
        &self,
        who: &Who,
        request: pb::ReplaceDataAgreementRequest,
    ) -> Result<pb::ReplaceDataAgreementResponse, Error> {
        const RPC: &str = "/publica.consent.v1.DataAgreementService/ReplaceDataAgreement";
        let shop = self.shop(&who.origin.tenant).await?;
        let call = call(
            "consent.replace_agreement",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let order = Order::of(request.data_agreement, request.publish, request.etag)?;
        check_id("dataAgreement.id", &order.content.data_agreement_id)?;
        let input: Input<Order> = (Arc::clone(&shop), who.clone(), order);
        publica_journal::write(&shop.db, call, input, |tx, (shop, who, order)| {
            Box::pin(async move {
                let done = Box::pin(replace(tx, shop, who, order.clone())).await?;
                Ok::<_, Error>(pb::ReplaceDataAgreementResponse {
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
}

/// Refuses whoever may not see texts that are not published. Published ones are for everybody.
fn may_see_drafts(who: &Who) -> Result<(), Error> {
    let others = [
        "consent:agreement:write",
        "consent:agreement:approve",
        "consent:audit:read",
    ];
    if others.iter().any(|scope| who.may(scope)) {
        return Ok(());
    }
    who.need("consent:agreement:read")
}

/// The row of an agreement that may still change.
pub(super) async fn open_row(tx: &mut Tx<'_>, id: &str, etag: &str) -> Result<Row, Error> {
    let row = store::agreement::lock(tx, id).await?;
    let row = row.ok_or_else(|| Why::AgreementNotFound.about(id))?;
    if row.lifecycle() == pb::AgreementLifecycle::Terminated {
        return Err(Why::AgreementTerminated.about(id));
    }
    if !etag.is_empty() && etag != row.revision_id {
        return Err(Why::Conflict.about(id));
    }
    Ok(row)
}

async fn create(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    mut order: Order,
) -> Result<Changed, Error> {
    let id = order.content.data_agreement_id.as_str();
    if id.is_empty() || store::agreement::find_in(tx, id).await?.is_some() {
        order.content.data_agreement_id = shop.id();
    }
    if order.publish && shop.rules.require_approval {
        return Err(Why::ApprovalRequired.about(order.content.data_agreement_id));
    }
    place_policy(tx, shop, who, &mut order.content).await?;
    let mut content = order.content;
    let published = order.publish;
    content.lifecycle = if published {
        complete(&content)?;
        pb::AgreementLifecycle::Complete.into()
    } else {
        pb::AgreementLifecycle::Draft.into()
    };
    let revision = write_revision(tx, shop, who, &content).await?;
    let now = tx.now();
    let row = Write {
        agreement: &content,
        author: &who.origin.actor,
        revision_id: &revision.revision_id,
        approved: ("", ""),
        published: if published {
            (
                &revision.revision_id,
                &content.purpose,
                &content.purpose_code,
            )
        } else {
            ("", "", "")
        },
        created: now,
        now,
    };
    if !store::agreement::insert(tx, &row).await? {
        return Err(Why::AgreementExists.about(content.data_agreement_id));
    }
    note(tx, who, &content, &revision, "consent.agreement.created");
    if published {
        note(tx, who, &content, &revision, "consent.agreement.published");
        content
            .published_revision_id
            .clone_from(&revision.revision_id);
    }
    content.revision_id.clone_from(&revision.revision_id);
    (content.create_time, content.update_time) = (revision.create_time, revision.create_time);
    let warnings = agreement::warnings(&content);
    Ok(Changed {
        agreement: content,
        revision,
        warnings,
        superseded: 0,
        material: Vec::new(),
    })
}

/// Puts the policy as of its revision into the agreement, creating an inline one.
async fn place_policy(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    content: &mut pb::DataAgreement,
) -> Result<(), Error> {
    let inline = content.policy.take();
    let mut id = content.policy_id.clone();
    if let Some(policy) = inline {
        if policy.policy_id.is_empty() && id.is_empty() {
            let policy = normalise_policy(policy).map_err(|found| {
                let mut all = Violations::new();
                all.nest("policy", found);
                all
            })?;
            id = policies::create_in(tx, shop, who, policy)
                .await?
                .0
                .policy_id;
        } else if id.is_empty() {
            id = policy.policy_id;
        }
    }
    if id.is_empty() {
        content.policy_revision_id.clear();
        return Ok(());
    }
    let (policy, hash) = policies::as_of_in(tx, shop, &id, &content.policy_revision_id).await?;
    content.policy_revision_id.clone_from(&policy.revision_id);
    (content.policy_id, content.policy_revision_hash) = (id, hash);
    content.policy = Some(policy);
    Ok(())
}

pub(super) fn complete(content: &pb::DataAgreement) -> Result<(), Error> {
    let gaps = agreement::gaps(content);
    if gaps.is_empty() {
        Ok(())
    } else {
        Err(Why::AgreementIncomplete.about(gaps.join(", ")))
    }
}

pub(super) async fn write_revision(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    content: &pb::DataAgreement,
) -> Result<pb::Revision, Error> {
    let change = Change {
        schema: pb::Schema::DataAgreement,
        object_id: &content.data_agreement_id,
        data: agreement::data(content),
        by: By::Other(&who.origin.actor),
        body: Some(content.encode_to_vec()),
        subject: None,
        predecessor_signature: "",
    };
    revise(tx, shop, change).await
}

pub(super) fn note(
    tx: &mut Tx<'_>,
    who: &Who,
    content: &pb::DataAgreement,
    revision: &pb::Revision,
    action: &'static str,
) {
    let body = json!({
        "revision_id": revision.revision_id,
        "revision_sha256": revision.serialized_hash_sha256,
        "version": content.version,
    });
    append(
        tx,
        &who.origin,
        entry(action, "agreement", &content.data_agreement_id, body),
    );
}

async fn replace(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    mut order: Order,
) -> Result<Changed, Error> {
    let row = open_row(tx, &order.content.data_agreement_id, &order.etag).await?;
    let latest = row.agreement()?;
    if order.content.policy_id.is_empty() && order.content.policy.is_none() {
        // Left out is left as it is: an agreement does not lose its policy by accident.
        order.content.policy_id.clone_from(&latest.policy_id);
        order
            .content
            .policy_revision_id
            .clone_from(&latest.policy_revision_id);
    }
    place_policy(tx, shop, who, &mut order.content).await?;
    if order.unversioned {
        order.content.version.clone_from(&latest.version);
    }
    write(tx, shop, who, &row, order).await
}

/// Stores content of an existing agreement as a draft or as the published text.
pub(super) async fn write(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    row: &Row,
    order: Order,
) -> Result<Changed, Error> {
    let latest = row.agreement()?;
    let mut content = order.content;
    content.lifecycle = pb::AgreementLifecycle::Draft.into();
    let mut material = Vec::new();
    if order.publish {
        complete(&content)?;
        content.lifecycle = pb::AgreementLifecycle::Complete.into();
        let published = match row.published_revision_id.as_str() {
            "" => None,
            id => Some(text_in(tx, shop, id).await?),
        };
        let base = published.as_deref().map(|text| &text.agreement);
        material = settle_version(tx, shop, &mut content, base).await?;
    }
    if agreement::same_content(&latest, &content) {
        return unchanged(tx, row, latest).await;
    }
    let approved = row.approved_revision_id == row.revision_id;
    let same_text = agreement::changes_only_activity(&latest, &content);
    if order.publish && shop.rules.require_approval && !(approved && same_text) {
        return Err(Why::ApprovalRequired.about(&*row.agreement_id));
    }
    let revision = write_revision(tx, shop, who, &content).await?;
    let now = tx.now();
    let mut stored = content.clone();
    let mut write = row.keeping(&content, &revision.revision_id, now);
    if order.publish {
        write.published = (
            &revision.revision_id,
            &content.purpose,
            &content.purpose_code,
        );
    } else {
        // The draft is somebody's; what is published stays so.
        stored.lifecycle = row.lifecycle().into();
        write.author = &who.origin.actor;
    }
    let published_revision_id = write.published.0.to_owned();
    write.agreement = &stored;
    store::agreement::update(tx, &write).await?;
    note(tx, who, &content, &revision, "consent.agreement.updated");
    let superseded = if order.publish {
        announce(tx, who, &content, &revision).await?
    } else {
        0
    };
    if !material.is_empty() {
        let (id, revision_id) = (&content.data_agreement_id, &revision.revision_id);
        let changed = Kind::AgreementChanged;
        notices::agreement(tx, shop, &who.origin, changed, id, revision_id).await?;
    }
    content.published_revision_id = published_revision_id;
    content.revision_id.clone_from(&revision.revision_id);
    content.create_time = Some(publica_rpc::timestamp(row.created));
    content.update_time = revision.create_time;
    let warnings = agreement::warnings(&content);
    Ok(Changed {
        agreement: content,
        revision,
        warnings,
        superseded,
        material: material.into_iter().map(str::to_owned).collect(),
    })
}

async fn unchanged(
    tx: &mut Tx<'_>,
    row: &Row,
    latest: pb::DataAgreement,
) -> Result<Changed, Error> {
    let revision = store::revision::find_in(tx, &row.revision_id).await?;
    let revision = revision.ok_or_else(|| Why::RevisionNotFound.about(&*row.revision_id))?;
    let snapshot = revisions::plain(&revision)?;
    Ok(Changed {
        warnings: agreement::warnings(&latest),
        agreement: latest,
        revision: revisions::present(&revision, snapshot),
        superseded: 0,
        material: Vec::new(),
    })
}
