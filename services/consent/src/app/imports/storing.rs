//! Storing imported entities, each once.

use std::collections::BTreeSet;

use prost::Message as _;
use publica_proto::consent::v1 as pb;
use publica_seal::SubjectKey;
use publica_store::Tx;
use publica_types::Timestamp;
use serde_json::Value;

use super::super::policies::{as_of_in, check_id};
use super::super::revisions::{Past, past};
use super::super::seals;
use super::super::{Shop, Who};
use super::Stored;
use super::lines::{AgreementLine, PolicyLine, RevisionLine};
use crate::domain::foreign;
use crate::domain::snapshot::{By, Snapshot, snapshot};
use crate::domain::violations::Violations;
use crate::domain::{agreement as rules, policy as policies};
use crate::error::{Error, Why};
use crate::store;

pub(super) fn refused(field: &str, description: &str) -> Stored {
    Stored::Refused(vec![(field.to_owned(), description.to_owned())])
}

pub(super) const OTHER: &str = "is stored with other content";

/// The history of an object: the lines of the earlier system, or one revision of the present
/// content, each sealed from now on. `taken` are ids among those of the lines that are in use.
pub(super) fn chain(
    shop: &Shop,
    who: &Who,
    object: &Object<'_>,
    lines: &[RevisionLine],
    taken: &BTreeSet<String>,
) -> Result<Vec<store::revision::Row>, Error> {
    let own = [RevisionLine::default()];
    let lines = if lines.is_empty() { &own[..] } else { lines };
    let mut found = Violations::new();
    let mut rows: Vec<store::revision::Row> = Vec::with_capacity(lines.len());
    let mut seen = BTreeSet::new();
    for (n, line) in lines.iter().enumerate() {
        let at = line.timestamp.unwrap_or(object.created);
        let by_individual = line.authorized_by_individual.as_str();
        let other = line.authorized_by_other.as_str();
        let by = match (by_individual.is_empty(), other.is_empty()) {
            (false, _) => By::Individual(by_individual),
            (true, false) => By::Other(other),
            (true, true) => By::Other(&who.origin.actor),
        };
        let locked = if line.serialized_snapshot.is_empty() {
            snapshot(object.schema, Some(object.id), object.data.clone(), at, by)
        } else {
            Snapshot::of(line.serialized_snapshot.clone())
        };
        let hash = line.serialized_hash.as_str();
        if !hash.is_empty() && hash != locked.sha1 && hash != locked.sha256 {
            let field = format!("revisions[{n}].serializedHash");
            found.push(field, "is not that of the snapshot");
        }
        let field = format!("revisions[{n}].id");
        found.optional_id(&field, &line.id);
        if !line.id.is_empty() && (taken.contains(&line.id) || !seen.insert(&line.id)) {
            found.push(field, "is in use");
        }
        if !found.is_empty() {
            continue;
        }
        let row = past(
            shop,
            Past {
                revision_id: &line.id,
                schema: object.schema,
                object_id: object.id,
                locked: &locked,
                by,
                without_id: line.signed_without_object_id,
                foreign: !line.serialized_snapshot.is_empty(),
                key: object.key,
                body: body_of(object, line, n + 1 == lines.len()),
                previous: rows.last(),
                at,
            },
        )?;
        rows.push(row);
    }
    Ok(found.check(rows)?)
}

/// The ids that the lines of a history give its revisions.
pub(super) fn named(lines: &[RevisionLine]) -> impl Iterator<Item = &str> {
    let ids = lines.iter().map(|line| line.id.as_str());
    ids.filter(|id| !id.is_empty())
}

/// Stores the history of an object. Returns the latest revision's id, hashes and number.
pub(super) async fn history(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    object: Object<'_>,
    lines: &[RevisionLine],
) -> Result<store::revision::Row, Error> {
    let asked: Vec<&str> = named(lines).collect();
    let taken = store::revision::known(tx, &asked).await?;
    let taken = taken.into_iter().collect();
    // Everything is checked before, so that a refusal leaves nothing behind.
    let mut rows = chain(shop, who, &object, lines, &taken)?;
    store::revision::insert_many(tx, &rows).await?;
    rows.pop()
        .ok_or_else(|| Why::ObjectNotFound.about(object.id))
}

/// The content as it is read back as of one line: that of its own snapshot, as far as it is
/// understood, and the present content of the latest line and of those without a snapshot.
fn body_of(object: &Object<'_>, line: &RevisionLine, latest: bool) -> Option<Vec<u8>> {
    if latest || line.serialized_snapshot.is_empty() {
        return object.body.clone();
    }
    let said = seals::object_data(&line.serialized_snapshot);
    match object.schema {
        pb::Schema::Policy => foreign::policy(&said, object.id).map(|one| one.encode_to_vec()),
        pb::Schema::DataAgreement => {
            foreign::agreement(&said, object.id).map(|one| one.encode_to_vec())
        }
        _ => None,
    }
}

/// Whose history is stored.
pub(super) struct Object<'a> {
    pub(super) schema: pb::Schema,
    pub(super) id: &'a str,
    pub(super) data: Value,
    pub(super) body: Option<Vec<u8>>,
    pub(super) key: Option<&'a SubjectKey>,
    pub(super) created: Timestamp,
}

pub(crate) async fn policy(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    line: &PolicyLine,
) -> Result<Stored, Error> {
    check_id("id", &line.id)?;
    let content = policies::normalise(line.policy())?;
    if let Some(row) = store::policy::lock(tx, &line.id).await? {
        let same = policies::same_content(&row.policy()?, &content) && row.deleted == line.deleted;
        return Ok(if same {
            Stored::Repeated
        } else {
            refused("id", OTHER)
        });
    }
    let created = line.created_at.unwrap_or(tx.now());
    let object = Object {
        schema: pb::Schema::Policy,
        id: &line.id,
        data: policies::data(&content),
        body: Some(content.encode_to_vec()),
        key: None,
        created,
    };
    let head = history(tx, shop, who, object, &line.revisions).await?;
    store::policy::insert(tx, &content, &head.revision_id, created).await?;
    if line.deleted {
        store::policy::update(tx, &content, &head.revision_id, true, created).await?;
    }
    Ok(Stored::Stored)
}

pub(crate) async fn agreement(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    line: &AgreementLine,
) -> Result<Stored, Error> {
    check_id("id", &line.id)?;
    let told = line.agreement()?;
    let mut content = rules::normalise(told.clone())?;
    content.lifecycle = told.lifecycle;
    let draft = content.lifecycle == i32::from(pb::AgreementLifecycle::Draft);
    if content.lifecycle == i32::from(pb::AgreementLifecycle::Terminated) {
        content.active = Some(false);
    }
    if !content.policy_id.is_empty() {
        let (policy, hash) =
            as_of_in(tx, shop, &content.policy_id, &content.policy_revision_id).await?;
        content.policy_revision_id.clone_from(&policy.revision_id);
        content.policy_revision_hash = hash;
        content.policy = Some(policy);
    }
    let gaps = rules::gaps(&content);
    if !draft && !gaps.is_empty() {
        let why = "is required of an agreement that is not a draft";
        let all = gaps.iter().map(|gap| ((*gap).to_owned(), why.to_owned()));
        return Ok(Stored::Refused(all.collect()));
    }
    if let Some(row) = store::agreement::lock(tx, &line.id).await? {
        let same = rules::same_content(&row.agreement()?, &content);
        return Ok(if same {
            Stored::Repeated
        } else {
            refused("id", OTHER)
        });
    }
    let created = line.created_at.unwrap_or(tx.now());
    let object = Object {
        schema: pb::Schema::DataAgreement,
        id: &line.id,
        data: rules::data(&content),
        body: Some(content.encode_to_vec()),
        key: None,
        created,
    };
    let head = history(tx, shop, who, object, &line.revisions).await?;
    let published = if draft {
        ("", "", "")
    } else {
        (
            &*head.revision_id,
            &*content.purpose,
            &*content.purpose_code,
        )
    };
    let write = store::agreement::Write {
        agreement: &content,
        author: &who.origin.actor,
        revision_id: &head.revision_id,
        approved: ("", ""),
        published,
        created,
        now: created,
    };
    store::agreement::insert(tx, &write).await?;
    Ok(Stored::Stored)
}
