//! Records as callers see them: what is sealed is opened, what depends on now is worked out.

use std::collections::BTreeMap;

use prost::Message as _;
use publica_proto::consent::v1 as pb;
use publica_seal::SubjectKey;
use publica_types::Timestamp;

use super::texts::{Text, text};
use super::{Shop, record_keys, revisions, signing};
use crate::domain::record::{self, Answer, Standing};
use crate::error::Error;
use crate::store;
use crate::store::record::Row;

/// The field under which the circumstances of an answer are sealed.
const CIRCUMSTANCES: &str = "circumstances";

/// Choices and circumstances alone.
pub(crate) fn circumstances(record: &pb::ConsentRecord) -> pb::ConsentRecord {
    pb::ConsentRecord {
        attributes: record.attributes.clone(),
        collection_method: record.collection_method.clone(),
        channel: record.channel.clone(),
        language: record.language.clone(),
        assisted_by: record.assisted_by.clone(),
        ..pb::ConsentRecord::default()
    }
}

/// Choices and circumstances, sealed; nothing when there are none.
pub(crate) fn seal_circumstances(key: &SubjectKey, record: &pb::ConsentRecord) -> Option<Vec<u8>> {
    let kept = circumstances(record);
    (kept != pb::ConsentRecord::default()).then(|| key.seal(CIRCUMSTANCES, &kept.encode_to_vec()))
}

/// Choices and circumstances, opened.
pub(crate) fn open_circumstances(
    key: &SubjectKey,
    sealed: &[u8],
) -> Result<pb::ConsentRecord, Error> {
    Ok(store::decode(&key.open(CIRCUMSTANCES, sealed)?)?)
}

/// The answer that a row holds.
pub(crate) fn answer(row: &Row) -> Answer {
    Answer {
        opt_in: row.opt_in,
        state: state(row.state),
        agreement_revision_id: row.agreement_revision_id.clone(),
        valid_from: row.valid_from,
        valid_until: row.valid_until,
        ever_given: row.ever_given,
        delegation_void: row.delegation_void,
    }
}

/// The state that a stored number stands for.
pub(crate) fn state(stored: i64) -> pb::RecordState {
    i32::try_from(stored)
        .ok()
        .and_then(|n| n.try_into().ok())
        .unwrap_or_default()
}

/// A record as callers see it.
pub(crate) async fn present(
    shop: &Shop,
    row: &Row,
    key: Option<&SubjectKey>,
    full: bool,
) -> Result<pb::ConsentRecord, Error> {
    let published = match row.published_revision_id.as_str() {
        "" => None,
        id => Some(text(shop, id).await?),
    };
    let mut shown = match (key, &row.sealed) {
        (Some(key), Some(sealed)) => open_circumstances(key, sealed)?,
        _ => pb::ConsentRecord::default(),
    };
    name(&mut shown, row);
    shown.opt_in = row.opt_in;
    fill(
        &mut shown,
        row,
        published.as_deref().map(|text| &text.agreement),
        shop.now(),
    );
    if full {
        let answered = text(shop, &row.agreement_revision_id).await?;
        let mut text = answered.agreement.clone();
        text.lifecycle = store::agreement::lifecycle(row.lifecycle).into();
        shown.data_agreement = Some(text);
        shown.data_agreement_revision = Some(answered.revision.clone());
        if let Some(key) = key
            && !row.signature_id.is_empty()
            && let Some(own) = record_keys::within(shop, key, &row.record_id).await?
        {
            shown.signature = last_signature(shop, row, &own).await?;
        }
    }
    if shown.signature.is_none() && !row.signature_id.is_empty() {
        let id = row.signature_id.clone();
        shown.signature = Some(pb::Signature {
            signature_id: id,
            ..Default::default()
        });
    }
    Ok(shown)
}

async fn last_signature(
    shop: &Shop,
    row: &Row,
    key: &SubjectKey,
) -> Result<Option<pb::Signature>, Error> {
    let Some(found) = store::signature::find(&shop.db, &row.signature_id).await? else {
        return Ok(None);
    };
    let Some(revision) = store::revision::find(&shop.db, &found.revision_id).await? else {
        return Ok(None);
    };
    let text = revisions::open(&revision, Some(key))?;
    Ok(Some(signing::open(&found, key, &text)?))
}

/// The key of a record's person, if it was not destroyed.
pub(crate) async fn key_of(shop: &Shop, individual_id: &str) -> Result<Option<SubjectKey>, Error> {
    let mut keys = shop.keyring.load_many(&shop.db, &[individual_id]).await?;
    Ok(keys.remove(individual_id))
}

/// Rows as callers see them.
pub(crate) async fn present_all(
    shop: &Shop,
    rows: &[Row],
    full: bool,
) -> Result<Vec<pb::ConsentRecord>, Error> {
    let sealed = rows.iter().filter(|row| full || row.sealed.is_some());
    let mut people: Vec<&str> = sealed.map(|row| row.individual_id.as_str()).collect();
    people.sort_unstable();
    people.dedup();
    let keys: BTreeMap<String, SubjectKey> = if people.is_empty() {
        BTreeMap::new()
    } else {
        shop.keyring.load_many(&shop.db, &people).await?
    };
    let mut shown = Vec::with_capacity(rows.len());
    for row in rows {
        shown.push(present(shop, row, keys.get(&row.individual_id), full).await?);
    }
    Ok(shown)
}

/// Adds the text that was answered. It is not part of what is kept for repeats, since it can
/// be had again.
pub(crate) fn with_text(
    record: Option<pb::ConsentRecord>,
    text: &Text,
) -> Option<pb::ConsentRecord> {
    record.map(|record| pb::ConsentRecord {
        data_agreement: Some(text.agreement.clone()),
        data_agreement_revision: Some(text.revision.clone()),
        ..record
    })
}

/// Fills in what the row knows of a record.
pub(crate) fn fill(
    shown: &mut pb::ConsentRecord,
    row: &Row,
    published: Option<&pb::DataAgreement>,
    now: Timestamp,
) {
    let lifecycle = store::agreement::lifecycle(row.lifecycle);
    let standing = Standing {
        lifecycle,
        published,
    };
    shown.state = state(row.state).into();
    shown.create_time = Some(publica_rpc::timestamp(row.created));
    shown.update_time = Some(publica_rpc::timestamp(row.updated));
    shown.valid_from_time = Some(publica_rpc::timestamp(row.valid_from));
    shown.valid_until_time = row.valid_until.map(publica_rpc::timestamp);
    shown.revision_id.clone_from(&row.revision_id);
    shown.current = row.is_current;
    shown.delegation_id.clone_from(&row.delegation_id);
    let ended = row.reconfirm_from.is_some_and(|from| now >= from);
    shown.reconfirmation_due = ended && row.opt_in == Some(true) && !row.delegation_void;
    shown.effective_status = record::status(&answer(row), standing, now).into();
}

/// Says what record it is, and of what.
pub(crate) fn name(shown: &mut pb::ConsentRecord, row: &Row) {
    shown.consent_record_id.clone_from(&row.record_id);
    shown.data_agreement_id.clone_from(&row.agreement_id);
    shown
        .data_agreement_revision_id
        .clone_from(&row.agreement_revision_id);
    shown
        .data_agreement_revision_hash
        .clone_from(&row.agreement_revision_hash);
    shown.individual_id.clone_from(&row.individual_id);
}
