//! Signed answers of many people at once: agreements are read once, signatures verified aside,
//! rows written together. Each answer is stored or refused by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use publica_journal::append;
use publica_proto::consent::v1 as pb;
use publica_rpc::Fault as _;
use publica_seal::SubjectKey;
use publica_store::Tx;
use publica_types::Timestamp;
use serde_json::json;

use super::age::check_age_of;
use super::delegations::{Matter, hold, keys_of_delegates};
use super::pairs::{Pair, settle_key, split};
use super::policies::check_id;
use super::records::{Intended, WRITE, fresh_row, intend_for};
use super::revisions::first_signed;
use super::revocations::{About, revoke};
use super::signing::{self, Good};
use super::{App, Shop, Who, call, entry, notices, record_keys, root};
use crate::domain::delegation::Act;
use crate::domain::signature;
use crate::domain::snapshot::Snapshot;
use crate::domain::violations::Violations;
use crate::error::{Error, Why};
use crate::store;
use crate::store::record::Row;

/// Pairs in one call.
const MAX_BATCH: usize = 1_000;

impl App {
    /// Stores many signed answers; each is stored or refused by itself.
    pub(crate) async fn sign_records(
        &self,
        who: &Who,
        request: pb::BatchSignConsentRecordsRequest,
    ) -> Result<pb::BatchSignConsentRecordsResponse, Error> {
        const RPC: &str = "/publica.consent.v1.ConsentRecordService/BatchSignConsentRecords";
        // Many people at once: only systems act for many.
        who.need(WRITE)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let call = call(
            "consent.sign_records",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        if request.records.is_empty() || request.records.len() > MAX_BATCH {
            let why = format!("must have 1 to {MAX_BATCH} members");
            return Err(Violations::one("records", why).into());
        }
        let pairs = Box::pin(check_batch(&shop, request.records)).await?;
        let input = (Arc::clone(&shop), who.clone(), pairs);
        publica_journal::write(&shop.db, call, input, |tx, (shop, who, pairs)| {
            Box::pin(store_batch(tx, shop, who, pairs))
        })
        .await
    }
}

/// Checks every pair of a batch: agreements are read once, signatures verified aside.
async fn check_batch(
    shop: &Arc<Shop>,
    sent: Vec<pb::SignConsentRecordRequest>,
) -> Result<Vec<Result<Pair, (String, String)>>, Error> {
    let told = |error: &Error| {
        (
            error.reason().to_owned(),
            error.public_message().into_owned(),
        )
    };
    let mut agreements: BTreeMap<String, Option<store::agreement::Row>> = BTreeMap::new();
    let mut ready: Vec<Result<Found, (String, String)>> = Vec::new();
    for one in sent {
        ready.push(match find(shop, &mut agreements, one).await {
            Ok(found) => Ok(found),
            // A store that fails fails the call; only refusals stand in the answer.
            Err(error) if !error.is_refusal() => return Err(error),
            Err(error) => Err(told(&error)),
        });
    }
    let own: Vec<(&Intended, &pb::Signature)> = ready
        .iter()
        .filter_map(|one| match one {
            Ok(Found::Own(own)) => Some((&own.0, &own.1)),
            _ => None,
        })
        .collect();
    let people: BTreeSet<&str> = own
        .iter()
        .map(|(intended, _)| intended.record.individual_id.as_str())
        .collect();
    let people: Vec<&str> = people.into_iter().collect();
    let rows = store::individual::good_keys(&shop.db, &people).await?;
    let mut keys: BTreeMap<&str, Vec<store::individual::KeyRow>> = BTreeMap::new();
    for row in &rows {
        keys.entry(&row.individual_id)
            .or_default()
            .push(row.clone());
    }
    let now = shop.now();
    let work = own.iter().map(|(intended, signature)| {
        let rows = keys.get(intended.record.individual_id.as_str());
        let keys = rows
            .map(|rows| signing::parse_keys(rows))
            .unwrap_or_default();
        ((*signature).clone(), keys)
    });
    let mut checked = signing::check_many(shop, work.collect(), now)
        .await
        .into_iter();
    Ok(ready
        .into_iter()
        .map(|one| {
            let intended = match one? {
                Found::Own(own) => own.0,
                Found::Delegated(pair) => return Ok(*pair),
            };
            let lost = signature::Misfit {
                step: "signature",
                what: "could not be verified",
            };
            let good = checked.next().unwrap_or(Err(lost));
            let pair = good.and_then(|good| pair_of(intended, good, now));
            pair.map_err(|misfit| told(&misfit.into()))
        })
        .collect())
}

/// A pair whose agreement takes it.
enum Found {
    /// Of the person; the signature is verified together with others.
    Own(Box<(Intended, pb::Signature)>),
    /// Of a delegate, and found good.
    Delegated(Box<Pair>),
}

async fn find(
    shop: &Shop,
    agreements: &mut BTreeMap<String, Option<store::agreement::Row>>,
    sent: pb::SignConsentRecordRequest,
) -> Result<Found, Error> {
    let (record, signature) = split(sent)?;
    let mut intended = intend_one(shop, agreements, record).await?;
    let act = Act::of(intended.record.opt_in);
    let (person, text) = (&intended.record.individual_id, &intended.text.agreement);
    if signature.verification_signed_as != signature::DELEGATE {
        if act == Act::Give {
            check_age_of(shop, person, text).await?;
        }
        return Ok(Found::Own(Box::new((intended, signature))));
    }
    let delegates = keys_of_delegates(shop, person, act, Matter::of(text)).await?;
    let now = shop.now();
    let (good, acting) = signing::check_delegate(signature, delegates, now)?;
    intended.acting = Some(acting);
    Ok(Found::Delegated(Box::new(pair_of(intended, good, now)?)))
}

/// An answer and its good signature, if what was signed is the answer.
fn pair_of(intended: Intended, good: Good, now: Timestamp) -> Result<Pair, signature::Misfit> {
    let text = good.signature.verification_payload.clone();
    let record = &intended.record;
    signature::check_snapshot(&text, record, signer(&intended), now)?;
    Ok(Pair {
        signed: Snapshot::of(text),
        intended,
        good,
    })
}

/// Who signed an answer.
fn signer(intended: &Intended) -> &str {
    let acting = intended.acting.as_ref();
    acting.map_or(&intended.record.individual_id, |one| &one.delegate_id)
}

async fn intend_one(
    shop: &Shop,
    agreements: &mut BTreeMap<String, Option<store::agreement::Row>>,
    record: pb::ConsentRecord,
) -> Result<Intended, Error> {
    check_id("consentRecord.individualId", &record.individual_id)?;
    check_id("consentRecord.dataAgreementId", &record.data_agreement_id)?;
    crate::domain::record::check_texts(&record)?;
    let id = record.data_agreement_id.clone();
    if !agreements.contains_key(&id) {
        let row = store::agreement::find(&shop.db, &id).await?;
        agreements.insert(id.clone(), row);
    }
    let row = agreements.get(&id).and_then(Option::as_ref);
    let row = row.ok_or_else(|| Why::AgreementNotFound.about(&*id))?;
    intend_for(shop, row, record).await
}

/// A pair of a batch with the rows that it becomes.
struct Ready {
    place: usize,
    record: Row,
    /// The record's key, wrapped.
    wrapped: Vec<u8>,
    revision: store::revision::Row,
    signature: store::signature::Row,
}

async fn store_batch(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    pairs: &[Result<Pair, (String, String)>],
) -> Result<pb::BatchSignConsentRecordsResponse, Error> {
    let mut results: Vec<pb::BatchSignResult> = pairs
        .iter()
        .map(|pair| match pair {
            Ok(_) => pb::BatchSignResult::default(),
            Err((reason, message)) => pb::BatchSignResult {
                reason: reason.clone(),
                message: message.clone(),
                ..pb::BatchSignResult::default()
            },
        })
        .collect();
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (n, pair) in pairs.iter().enumerate() {
        if let Ok(pair) = pair {
            let answered = pair.intended.record.data_agreement_revision_id.as_str();
            groups.entry(answered).or_default().push(n);
        }
    }
    let (mut stored, mut hashes) = (Vec::new(), Vec::new());
    for (answered, places) in groups {
        let ready = sort_group(tx, shop, who, pairs, answered, &places, &mut results).await?;
        let hash = |one: &Ready| (one.place, one.revision.sha256.clone());
        let made: Vec<(usize, String)> = ready.iter().map(hash).collect();
        store_group(tx, shop, who, ready, &mut results, &mut stored).await?;
        let kept = made
            .into_iter()
            .filter(|(place, _)| results[*place].reason.is_empty());
        hashes.extend(kept.map(|(_, hash)| hash));
    }
    let refused = results.iter().filter(|one| !one.reason.is_empty()).count();
    if !stored.is_empty() || refused > 0 {
        let ids: Vec<&str> = stored.iter().map(String::as_str).collect();
        let hashes: Vec<&str> = hashes.iter().map(String::as_str).collect();
        let body = json!({
            "count": ids.len(),
            "refused": refused,
            "root": root(&ids),
            "revisions_root": root(&hashes),
        });
        append(
            tx,
            &who.origin,
            entry("consent.records.signed", "consent_records", "", body),
        );
    }
    let good = results.iter().filter(|one| one.reason.is_empty()).count();
    let stored = i32::try_from(good).unwrap_or(i32::MAX);
    Ok(pb::BatchSignConsentRecordsResponse { results, stored })
}

fn refuse(result: &mut pb::BatchSignResult, why: Why) {
    let error = why.about("");
    why.reason().clone_into(&mut result.reason);
    result.message = error.public_message().into_owned();
}

/// Takes out what cannot or need not be stored; the rest as rows.
async fn sort_group(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    pairs: &[Result<Pair, (String, String)>],
    answered: &str,
    places: &[usize],
    results: &mut [pb::BatchSignResult],
) -> Result<Vec<Ready>, Error> {
    let now = tx.now();
    let of = |n: usize| pairs.get(n).and_then(|pair| pair.as_ref().ok());
    let person = |n: usize| of(n).map_or("", |pair| pair.intended.record.individual_id.as_str());
    let people: Vec<&str> = places.iter().map(|n| person(*n)).collect();
    let known: BTreeSet<String> = store::individual::known(tx, &people)
        .await?
        .into_iter()
        .collect();
    let same = store::record::same_many(tx, answered, &people).await?;
    let same: BTreeMap<String, (String, String, String)> = same
        .into_iter()
        .map(|(id, who, rev, hash)| (who, (id, rev, hash)))
        .collect();
    let mut taken = BTreeSet::new();
    let mut open = Vec::new();
    for n in places.iter().copied() {
        let (Some(pair), id) = (of(n), person(n)) else {
            continue;
        };
        if !known.contains(id) {
            refuse(&mut results[n], Why::IndividualNotFound);
        } else if let Some((record, revision, hash)) = same.get(id) {
            if *hash == pair.signed.sha256 {
                results[n].consent_record_id.clone_from(record);
                results[n].revision_id.clone_from(revision);
            } else {
                refuse(&mut results[n], Why::RecordExists);
            }
        } else if taken.insert(id) {
            open.push((n, pair));
        } else {
            refuse(&mut results[n], Why::RecordExists);
        }
    }
    let people: Vec<&str> = open.iter().map(|(n, _)| person(*n)).collect();
    let keys = shop.keyring.subjects(tx, &people).await?;
    let mut ready = Vec::with_capacity(open.len());
    for ((place, pair), key) in open.into_iter().zip(keys) {
        if let Err(error) = stands(tx, who, pair, &key).await {
            if !error.is_refusal() {
                return Err(error);
            }
            error.reason().clone_into(&mut results[place].reason);
            results[place].message = error.public_message().into_owned();
            continue;
        }
        ready.push(make(shop, place, pair, &key, now)?);
    }
    Ok(ready)
}

/// The rows that a pair becomes.
fn make(
    shop: &Shop,
    place: usize,
    pair: &Pair,
    key: &SubjectKey,
    now: Timestamp,
) -> Result<Ready, Error> {
    let acting = pair.intended.acting.as_ref();
    let mut record = fresh_row(&pair.intended, &shop.id(), key, now)?;
    let signer = signer(&pair.intended);
    let (own, wrapped) = record_keys::fresh(key);
    let revision = first_signed(shop, &own, &record.record_id, signer, &pair.signed, now)?;
    let (id, revision_id) = (&record.record_id, &revision.revision_id);
    let signature = signing::row(shop, &own, &pair.good, acting, id, revision_id, now);
    record.revision_id.clone_from(&revision.revision_id);
    record.revision_sha256.clone_from(&revision.sha256);
    record.signature_id.clone_from(&signature.signature_id);
    let roles = BTreeSet::from([signature.signed_as.clone()]);
    let required = &pair.intended.text.agreement.required_signatures;
    record.state = i64::from(signature::state(required, &roles) as i32);
    Ok(Ready {
        place,
        record,
        wrapped,
        revision,
        signature,
    })
}

/// Checks within the unit what may have changed since a pair was found good.
async fn stands(tx: &mut Tx<'_>, who: &Who, pair: &Pair, key: &SubjectKey) -> Result<(), Error> {
    let intended = &pair.intended;
    let acting = intended.acting.as_ref();
    if acting.is_some() {
        let (act, text) = (Act::of(intended.record.opt_in), &intended.text.agreement);
        hold(tx, who, key, acting, act, Matter::of(text)).await?;
    }
    if acting.is_some() || pair.good.first_use.is_some() {
        settle_key(tx, who, signer(intended), &pair.good).await?;
    }
    Ok(())
}

async fn store_group(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    ready: Vec<Ready>,
    results: &mut [pb::BatchSignResult],
    stored: &mut Vec<String>,
) -> Result<(), Error> {
    let now = tx.now();
    let Some(first) = ready.first() else {
        return Ok(());
    };
    let people: Vec<&str> = ready
        .iter()
        .map(|one| one.record.individual_id.as_str())
        .collect();
    let agreement = first.record.agreement_id.clone();
    let answered = &first.record.agreement_revision_id;
    let retired = store::record::retire_many(tx, &people, &agreement, answered, now).await?;
    let rows: Vec<Row> = ready.iter().map(|one| one.record.clone()).collect();
    let new = store::record::insert_many(tx, &rows).await?;
    let new: BTreeSet<String> = new.into_iter().collect();
    let (mut keys, mut revisions, mut signatures) = (Vec::new(), Vec::new(), Vec::new());
    for one in ready {
        let result = &mut results[one.place];
        if new.contains(&one.record.record_id) {
            result.consent_record_id.clone_from(&one.record.record_id);
            result.revision_id.clone_from(&one.record.revision_id);
            keys.push((one.record.record_id.clone(), one.wrapped));
            stored.push(one.record.record_id);
            revisions.push(one.revision);
            signatures.push(one.signature);
        } else {
            // Somebody else's answer of the same person came in between.
            refuse(result, Why::RecordExists);
        }
    }
    store::record_key::insert_many(tx, &keys).await?;
    store::revision::insert_many(tx, &revisions).await?;
    store::signature::insert_many(tx, &signatures).await?;
    for row in rows.iter().filter(|row| new.contains(&row.record_id)) {
        if !row.delegation_id.is_empty() {
            notices::answered(tx, shop, who, row).await?;
        }
    }
    if retired > 0 || rows.iter().any(|row| row.opt_in != Some(true)) {
        // One word for all of them: who keeps answers about this agreement asks again.
        let about = About {
            agreement_id: &agreement,
            ..About::default()
        };
        revoke(tx, about, pb::RevocationCause::AnswerChanged).await?;
    }
    tracing::debug!(
        stored = revisions.len(),
        actor = who.origin.actor,
        "signed a batch"
    );
    Ok(())
}
