//! Answers that have nothing to do with each other, all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use publica_imports::Problem;
use publica_proto::consent::v1 as pb;
use publica_rpc::Fault as _;
use publica_seal::SubjectKey;
use publica_store::Tx;
use publica_types::Timestamp;

use super::super::record_keys;
use super::super::revocations::revoke_many;
use super::super::shown::{circumstances, open_circumstances, seal_circumstances};
use super::super::signing::imported;
use super::super::texts::{Text, text_in};
use super::super::timer::pass_over;
use super::super::{Shop, Who};
use super::delegating::rests;
use super::lines::RecordLine;
use super::storing::{OTHER, Object, chain, named, refused};
use super::{Stored, told};
use crate::domain::record as rules;
use crate::domain::violations::Violations;
use crate::error::{Error, Why};
use crate::store;
use crate::store::record::Row;

/// A line of good form: its place, the record that it tells, and how far it was signed.
struct Sound<'l> {
    place: usize,
    line: &'l RecordLine,
    state: pb::RecordState,
    /// The record with the text that it answers.
    shown: pb::ConsentRecord,
}

/// A record with everything that is stored of it.
struct Ready {
    record: Row,
    /// The record's key, wrapped.
    wrapped: Vec<u8>,
    revisions: Vec<store::revision::Row>,
    signature: Option<store::signature::Row>,
}

/// What the store knows of what lines name.
#[derive(Default)]
struct Known {
    people: BTreeSet<String>,
    agreements: BTreeMap<String, store::agreement::Row>,
    /// Texts by revision, or what is wrong with it.
    texts: BTreeMap<String, Result<Arc<Text>, String>>,
    records: BTreeMap<String, Row>,
    delegations: BTreeMap<String, store::delegation::Row>,
    /// Ids of revisions that are in use.
    revisions: BTreeSet<String>,
    keys: BTreeMap<String, SubjectKey>,
    /// Who has answered which text.
    answered: BTreeSet<(String, String)>,
}

/// Stores records, each once. No two of them have an id, an answer or a revision in common.
pub(super) async fn store(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    lines: &[&RecordLine],
) -> Result<Vec<Stored>, Error> {
    let mut outcomes: Vec<Option<Stored>> = vec![None; lines.len()];
    let mut formed = Vec::with_capacity(lines.len());
    for (place, line) in lines.iter().copied().enumerate() {
        match check(line) {
            Ok(state) => formed.push((place, line, state)),
            Err(found) => outcomes[place] = Some(Stored::Refused(told(&found.into()))),
        }
    }
    let mut known = look_up(tx, shop, &formed).await?;
    let mut sound = Vec::with_capacity(formed.len());
    for (place, line, state) in formed {
        match answered(&known, line) {
            Ok(shown) => sound.push(Sound {
                place,
                line,
                state,
                shown,
            }),
            Err(problems) => outcomes[place] = Some(Stored::Refused(problems)),
        }
    }
    look_closer(tx, shop, &mut known, &sound).await?;
    let now = tx.now();
    let mut ready = Vec::with_capacity(sound.len());
    for one in sound {
        let outcome = match settled(&known, &one)? {
            Some(outcome) => Ok(outcome),
            None => prepare(shop, who, &known, &one, now).map(|made| {
                ready.push(made);
                Stored::Stored
            }),
        };
        outcomes[one.place] = Some(match outcome {
            Ok(outcome) => outcome,
            Err(error) if error.is_refusal() => Stored::Refused(told(&error)),
            Err(error) => return Err(error),
        });
    }
    write(tx, ready).await?;
    Ok(outcomes.into_iter().flatten().collect())
}

/// All that is wrong with a line by itself, or how far the record was signed.
fn check(line: &RecordLine) -> Result<pb::RecordState, Violations> {
    let mut found = Violations::new();
    found.id("id", &line.id);
    found.id("individualId", &line.individual_id);
    found.id("dataAgreementId", &line.data_agreement_id);
    found.optional_id("delegationId", &line.delegation_id);
    let state = line.record_state();
    if state.is_none() {
        found.push(
            "state",
            "is not unsigned, pending more signatures or signed",
        );
    }
    if let Err(inner) = rules::check_texts(&line.record()) {
        found.append(inner);
    }
    found.check(state.unwrap_or_default())
}

/// Reads whatever the lines name.
async fn look_up(
    tx: &mut Tx<'_>,
    shop: &Shop,
    lines: &[(usize, &RecordLine, pb::RecordState)],
) -> Result<Known, Error> {
    let mut known = Known::default();
    if lines.is_empty() {
        return Ok(known);
    }
    let names = |pick: fn(&RecordLine) -> &str| -> Vec<&str> {
        let all: BTreeSet<&str> = lines.iter().map(|(_, line, _)| pick(line)).collect();
        all.into_iter().filter(|name| !name.is_empty()).collect()
    };
    let people = names(|line| &line.individual_id);
    known.people = store::individual::known(tx, &people)
        .await?
        .into_iter()
        .collect();
    for id in names(|line| &line.data_agreement_id) {
        if let Some(row) = store::agreement::find_in(tx, id).await? {
            known.agreements.insert(id.to_owned(), row);
        }
    }
    let mut texts: BTreeSet<&str> = BTreeSet::new();
    for (_, line, _) in lines {
        texts.insert(match line.data_agreement_revision_id.as_str() {
            "" => published(&known, line),
            named => named,
        });
    }
    texts.remove("");
    let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
    for id in texts {
        let text = match text_in(tx, shop, &id).await {
            Ok(text) => Ok(text),
            Err(error) if error.is_refusal() => Err(error.public_message().into_owned()),
            Err(error) => return Err(error),
        };
        known.texts.insert(id, text);
    }
    let rows = store::record::lock_many(tx, &names(|line| &line.id)).await?;
    known.records = rows
        .into_iter()
        .map(|row| (row.record_id.clone(), row))
        .collect();
    let rows = store::delegation::find_many(tx, &names(|line| &line.delegation_id)).await?;
    known.delegations = rows
        .into_iter()
        .map(|row| (row.delegation_id.clone(), row))
        .collect();
    let ids: Vec<&str> = lines
        .iter()
        .flat_map(|(_, line, _)| named(&line.revisions))
        .collect();
    let ids = store::revision::known(tx, &ids).await?;
    known.revisions = ids.into_iter().collect();
    Ok(known)
}

/// The published text of the agreement that a line answers; empty where there is none.
fn published<'k>(known: &'k Known, line: &RecordLine) -> &'k str {
    let row = known.agreements.get(&line.data_agreement_id);
    row.map_or("", |row| row.published_revision_id.as_str())
}

/// The record that a line tells, with the text that it answers, or all that is wrong with what
/// the line names.
fn answered(known: &Known, line: &RecordLine) -> Result<pb::ConsentRecord, Vec<Problem>> {
    let mut found = Violations::new();
    if !known.people.contains(&line.individual_id) {
        found.push("individualId", "names nobody who is stored");
    }
    let mut shown = line.record();
    let named = shown.data_agreement_revision_id.as_str();
    let revision = match named {
        "" => published(known, line),
        named => named,
    };
    if !known.agreements.contains_key(&line.data_agreement_id) {
        found.push("dataAgreementId", "names no agreement that is stored");
    } else if revision.is_empty() {
        let why = "names an agreement that was never published";
        found.push("dataAgreementId", why);
    }
    match known.texts.get(revision) {
        Some(Ok(text)) if text.agreement.data_agreement_id != line.data_agreement_id => {
            found.push("dataAgreementRevisionId", "belongs to another agreement");
        }
        Some(Ok(text)) => {
            let hash = &text.revision.serialized_hash;
            shown.data_agreement_revision_id = revision.to_owned();
            shown.data_agreement_revision_hash.clone_from(hash);
            match rules::choices(&text.agreement, &shown.attributes) {
                Ok(choices) => shown.attributes = choices,
                Err(inner) => found.append(inner),
            }
        }
        Some(Err(why)) => found.push("dataAgreementRevisionId", why.as_str()),
        None => {}
    }
    found
        .check(shown)
        .map_err(|found| told(&Error::from(found)))
}

/// Reads what depends on the texts that are answered, and the keys of all people.
async fn look_closer(
    tx: &mut Tx<'_>,
    shop: &Shop,
    known: &mut Known,
    sound: &[Sound<'_>],
) -> Result<(), Error> {
    let mut texts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut people: BTreeSet<&str> = BTreeSet::new();
    for one in sound {
        let person = one.line.individual_id.as_str();
        people.insert(person);
        if !known.records.contains_key(&one.line.id) {
            let answered = one.shown.data_agreement_revision_id.as_str();
            texts.entry(answered).or_default().push(person);
        }
    }
    for (answered, people) in texts {
        for (_, person, ..) in store::record::same_many(tx, answered, &people).await? {
            known.answered.insert((answered.to_owned(), person));
        }
    }
    if !people.is_empty() {
        let people: Vec<&str> = people.into_iter().collect();
        let keys = shop.keyring.subjects(tx, &people).await?;
        let people = people.into_iter().map(str::to_owned);
        known.keys = people.zip(keys).collect();
    }
    Ok(())
}

/// What becomes of a line that has nothing new to store.
fn settled(known: &Known, one: &Sound<'_>) -> Result<Option<Stored>, Error> {
    let line = one.line;
    if let Some(row) = known.records.get(&line.id) {
        let same = same(row, one) && same_circumstances(known, row, &one.shown)?;
        return Ok(Some(if same {
            Stored::Repeated
        } else {
            refused("id", OTHER)
        }));
    }
    let answered = one.shown.data_agreement_revision_id.clone();
    let pair = (answered, line.individual_id.clone());
    let why = "has another record of this revision";
    let taken = known.answered.contains(&pair);
    Ok(taken.then(|| refused("individualId", why)))
}

/// Whether a line tells what is stored, as far as that is not sealed.
fn same(row: &Row, one: &Sound<'_>) -> bool {
    let (line, shown) = (one.line, &one.shown);
    row.individual_id == shown.individual_id
        && row.agreement_revision_id == shown.data_agreement_revision_id
        && row.opt_in == shown.opt_in
        && row.state == i64::from(one.state as i32)
        && row.delegation_id == line.delegation_id
        && row.valid_until == line.valid_until
        && line.ever_given.is_none_or(|given| given == row.ever_given)
        && line.valid_from.is_none_or(|from| from == row.valid_from)
}

/// Whether a stored record holds these choices and circumstances.
fn same_circumstances(known: &Known, row: &Row, shown: &pb::ConsentRecord) -> Result<bool, Error> {
    let stored = match (&row.sealed, known.keys.get(&row.individual_id)) {
        (Some(sealed), Some(key)) => open_circumstances(key, sealed)?,
        _ => pb::ConsentRecord::default(),
    };
    Ok(circumstances(&stored) == circumstances(shown))
}

/// Makes everything that is stored of a record. A refusal comes before anything is written.
fn prepare(
    shop: &Shop,
    who: &Who,
    known: &Known,
    one: &Sound<'_>,
    now: Timestamp,
) -> Result<Ready, Error> {
    let (line, shown) = (one.line, &one.shown);
    let key = known.keys.get(&line.individual_id);
    let key = key.ok_or_else(|| Why::IndividualNotFound.about(&*line.individual_id))?;
    let rests = rests(key, line, known.delegations.get(&line.delegation_id))?;
    let created = line.created_at.unwrap_or(now);
    let (own, wrapped) = record_keys::fresh(key);
    let object = Object {
        schema: pb::Schema::ConsentRecord,
        id: &line.id,
        data: rules::data(shown),
        body: None,
        key: Some(&own),
        created,
    };
    let revisions = chain(shop, who, &object, &line.revisions, &known.revisions)?;
    let head = revisions.last();
    let head = head.ok_or_else(|| Why::ObjectNotFound.about(&*line.id))?;
    let mut record = Row {
        record_id: line.id.clone(),
        individual_id: line.individual_id.clone(),
        agreement_id: line.data_agreement_id.clone(),
        agreement_revision_id: shown.data_agreement_revision_id.clone(),
        agreement_revision_hash: shown.data_agreement_revision_hash.clone(),
        opt_in: line.opt_in,
        ever_given: line.ever_given.unwrap_or(line.opt_in == Some(true)),
        state: i64::from(one.state as i32),
        is_current: line.current.unwrap_or(true),
        valid_from: line.valid_from.unwrap_or(created),
        valid_until: line.valid_until,
        sealed: seal_circumstances(key, shown),
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
    let signature = line
        .signature
        .as_ref()
        .map(|one| imported(shop, &own, one.signature(), &record, created));
    if let Some(signature) = &signature {
        record.signature_id.clone_from(&signature.signature_id);
    }
    Ok(Ready {
        record,
        wrapped,
        revisions,
        signature,
    })
}

/// Writes what is new, and tells of what took earlier answers back.
async fn write(tx: &mut Tx<'_>, ready: Vec<Ready>) -> Result<(), Error> {
    if ready.is_empty() {
        return Ok(());
    }
    let (mut records, mut keys) = (Vec::new(), Vec::new());
    let (mut revisions, mut signatures) = (Vec::new(), Vec::new());
    for one in ready {
        keys.push((one.record.record_id.clone(), one.wrapped));
        records.push(one.record);
        revisions.extend(one.revisions);
        signatures.extend(one.signature);
    }
    let current: Vec<&Row> = records.iter().filter(|row| row.is_current).collect();
    let retired = if current.is_empty() {
        BTreeSet::new()
    } else {
        let retired = store::record::retire_each(tx, &current).await?;
        retired.into_iter().collect()
    };
    let told: Vec<(&str, &str, &str)> = current
        .iter()
        .filter(|row| {
            let answer = (row.individual_id.clone(), row.agreement_id.clone());
            row.opt_in != Some(true) || retired.contains(&answer)
        })
        .map(|row| (&*row.individual_id, &*row.agreement_id, &*row.record_id))
        .collect();
    store::revision::insert_many(tx, &revisions).await?;
    store::record_key::insert_many(tx, &keys).await?;
    store::signature::insert_many(tx, &signatures).await?;
    let added = store::record::insert_many(tx, &records).await?;
    if added.len() != records.len() {
        // Somebody else answered meanwhile: the chunk is undone.
        return Err(Why::Conflict.about(""));
    }
    pass_over(tx, &current).await?;
    revoke_many(tx, &told).await
}
