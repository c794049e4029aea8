//! Storing imported entities, each once.

use prost::Message as _;
use publica_proto::consent::v1 as pb;
use publica_seal::SubjectKey;
use publica_store::Tx;
use publica_types::Timestamp;
use serde_json::Value;

use super::super::individuals;
use super::super::policies::{as_of_in, check_id};
use super::super::record_keys;
use super::super::records::tell;
use super::super::revisions::{Past, past};
use super::super::seals;
use super::super::shown::{circumstances, open_circumstances, seal_circumstances};
use super::super::texts::text_in;
use super::super::{Shop, Who};
use super::Stored;
use super::lines::{AgreementLine, IndividualLine, PolicyLine, RecordLine, RevisionLine};
use crate::domain::foreign;
use crate::domain::snapshot::{By, Snapshot, snapshot};
use crate::domain::violations::Violations;
use crate::domain::{agreement as rules, policy as policies, record as records};
use crate::error::{Error, Why};
use crate::store;

pub(super) fn refused(field: &str, description: &str) -> Stored {
    Stored::Refused(vec![(field.to_owned(), description.to_owned())])
}

pub(super) const OTHER: &str = "is stored with other content";

/// Stores the history of an object: the lines of the earlier system, or one revision of the
/// present content. Returns the latest revision's id, hashes and number.
pub(super) async fn history(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    object: Object<'_>,
    lines: &[RevisionLine],
) -> Result<store::revision::Row, Error> {
    let mut rows: Vec<store::revision::Row> = Vec::new();
    let own = [RevisionLine::default()];
    let lines = if lines.is_empty() { &own[..] } else { lines };
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
            return Err(Violations::one(field, "is not that of the snapshot").into());
        }
        if !line.id.is_empty() {
            check_id(&format!("revisions[{n}].id"), &line.id)?;
            if store::revision::find_in(tx, &line.id).await?.is_some() {
                let field = format!("revisions[{n}].id");
                return Err(Violations::one(field, "is in use").into());
            }
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
                body: body_of(&object, line, n + 1 == lines.len()),
                previous: rows.last(),
                at,
            },
        )?;
        rows.push(row);
    }
    // Everything was checked, so that a refusal leaves nothing behind.
    for row in &rows {
        store::revision::insert(tx, row).await?;
    }
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

pub(crate) async fn individual(
    tx: &mut Tx<'_>,
    shop: &Shop,
    line: &IndividualLine,
) -> Result<Stored, Error> {
    check_id("id", &line.id)?;
    let one = line.individual();
    individuals::check(&one)?;
    let mut keys = Vec::new();
    for jwk in &line.jwks {
        let (key_id, jwk) = individuals::read_key(&jwk.to_string())?;
        keys.push((line.id.clone(), key_id, jwk));
    }
    let key = shop.keyring.subject(tx, &line.id).await?;
    let write = individuals::sealed(&shop.keyring, &key, &one);
    if let Some(row) = store::individual::find_in(tx, &line.id).await? {
        let same = match &row.sealed {
            Some(sealed) => individuals::same_identity(&key, sealed, &one)?,
            None => [&one.external_id, &one.birth_date, &one.email]
                .iter()
                .all(|text| text.is_empty()),
        };
        return Ok(if same {
            Stored::Repeated
        } else {
            refused("id", OTHER)
        });
    }
    let created = line.created_at.unwrap_or(tx.now());
    if !store::individual::insert(tx, &write, created).await? {
        return Ok(refused("externalId", "belongs to another individual"));
    }
    store::individual::add_keys(tx, &keys, created).await?;
    if line.notifications == Some(false) {
        store::individual::set_notify(tx, &line.id, false, created).await?;
    }
    Ok(Stored::Stored)
}

/// The record that a line tells, with the text that it answers.
async fn answered_record(
    tx: &mut Tx<'_>,
    shop: &Shop,
    line: &RecordLine,
) -> Result<pb::ConsentRecord, Error> {
    let wrong = |field: &str, why: &str| Error::from(Violations::one(field, why));
    let agreement = store::agreement::find_in(tx, &line.data_agreement_id).await?;
    let agreement =
        agreement.ok_or_else(|| wrong("dataAgreementId", "names no agreement that is stored"))?;
    let mut shown = line.record();
    records::check_texts(&shown)?;
    if shown.data_agreement_revision_id.is_empty() {
        let published = &agreement.published_revision_id;
        shown.data_agreement_revision_id.clone_from(published);
    }
    if shown.data_agreement_revision_id.is_empty() {
        let why = "names an agreement that was never published";
        return Err(wrong("dataAgreementId", why));
    }
    let text = text_in(tx, shop, &shown.data_agreement_revision_id).await?;
    if text.agreement.data_agreement_id != line.data_agreement_id {
        return Err(wrong(
            "dataAgreementRevisionId",
            "belongs to another agreement",
        ));
    }
    let hash = &text.revision.serialized_hash;
    shown.data_agreement_revision_hash.clone_from(hash);
    shown.attributes = records::choices(&text.agreement, &shown.attributes)?;
    Ok(shown)
}

pub(crate) async fn record(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    line: &RecordLine,
) -> Result<Stored, Error> {
    for (field, id) in [
        ("id", &line.id),
        ("individualId", &line.individual_id),
        ("dataAgreementId", &line.data_agreement_id),
    ] {
        check_id(field, id)?;
    }
    let Some(state) = line.record_state() else {
        return Ok(refused(
            "state",
            "is not unsigned, pending more signatures or signed",
        ));
    };
    if store::individual::find_in(tx, &line.individual_id)
        .await?
        .is_none()
    {
        return Ok(refused("individualId", "names nobody who is stored"));
    }
    let shown = answered_record(tx, shop, line).await?;
    let answered = &shown.data_agreement_revision_id;
    if let Some(row) = store::record::lock(tx, &line.id).await? {
        let same = row.individual_id == shown.individual_id
            && row.agreement_revision_id == shown.data_agreement_revision_id
            && row.opt_in == shown.opt_in
            && row.state == i64::from(state as i32)
            && row.delegation_id == line.delegation_id
            && row.valid_until == line.valid_until
            && line.ever_given.is_none_or(|given| given == row.ever_given)
            && line.valid_from.is_none_or(|from| from == row.valid_from)
            && same_circumstances(tx, shop, &row, &shown).await?;
        return Ok(if same {
            Stored::Repeated
        } else {
            refused("id", OTHER)
        });
    }
    if store::record::same(tx, answered, &line.individual_id)
        .await?
        .is_some()
    {
        return Ok(refused(
            "individualId",
            "has another record of this revision",
        ));
    }
    store_record(tx, shop, who, line, &shown, state).await
}

/// Whether a stored record holds these choices and circumstances.
async fn same_circumstances(
    tx: &mut Tx<'_>,
    shop: &Shop,
    row: &store::record::Row,
    shown: &pb::ConsentRecord,
) -> Result<bool, Error> {
    let stored = match &row.sealed {
        Some(sealed) => {
            let key = shop.keyring.subject(tx, &row.individual_id).await?;
            open_circumstances(&key, sealed)?
        }
        None => pb::ConsentRecord::default(),
    };
    Ok(circumstances(&stored) == circumstances(shown))
}

async fn store_record(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    line: &RecordLine,
    shown: &pb::ConsentRecord,
    state: pb::RecordState,
) -> Result<Stored, Error> {
    let key = shop.keyring.subject(tx, &line.individual_id).await?;
    // A refusal comes before anything is written.
    let rests = super::delegating::rests(tx, shop, line).await?;
    let created = line.created_at.unwrap_or(tx.now());
    let (own, wrapped) = record_keys::fresh(&key);
    let object = Object {
        schema: pb::Schema::ConsentRecord,
        id: &line.id,
        data: records::data(shown),
        body: None,
        key: Some(&own),
        created,
    };
    let head = history(tx, shop, who, object, &line.revisions).await?;
    store::record_key::insert(tx, &line.id, wrapped).await?;
    let (person, agreement) = (&line.individual_id, &line.data_agreement_id);
    let answered = &shown.data_agreement_revision_id;
    let current = line.current.unwrap_or(true);
    let retired = if current {
        store::record::retire(tx, person, agreement, answered, created).await?
    } else {
        0
    };
    let mut row = store::record::Row {
        record_id: line.id.clone(),
        individual_id: person.clone(),
        agreement_id: agreement.clone(),
        agreement_revision_id: answered.clone(),
        agreement_revision_hash: shown.data_agreement_revision_hash.clone(),
        opt_in: line.opt_in,
        ever_given: line.ever_given.unwrap_or(line.opt_in == Some(true)),
        state: i64::from(state as i32),
        is_current: current,
        valid_from: line.valid_from.unwrap_or(created),
        valid_until: line.valid_until,
        sealed: seal_circumstances(&key, shown),
        revision_id: head.revision_id.clone(),
        revision_sha256: head.sha256.clone(),
        signature_id: String::new(),
        created,
        updated: created,
        delegation_id: rests.delegation_id,
        reconfirm_from: rests.reconfirm_from,
        delegation_void: rests.void,
        lifecycle: 0,
        published_revision_id: String::new(),
    };
    if let Some(signature) = &line.signature {
        let signed =
            super::super::signing::imported(shop, &own, signature.signature(), &row, created);
        row.signature_id.clone_from(&signed.signature_id);
        store::signature::insert(tx, &signed).await?;
    }
    if !store::record::insert(tx, &row).await? {
        return Err(Why::Conflict.about(&*line.id));
    }
    if current {
        tell(tx, &row, retired > 0).await?;
    }
    Ok(Stored::Stored)
}
