//! Signed answers: record, revision and signature in one transaction; and signatures that are
//! added to a record later.

use std::collections::BTreeSet;
use std::sync::Arc;

use publica_journal::append;
use publica_proto::consent::v1 as pb;
use publica_seal::SubjectKey;
use publica_store::Tx;
use publica_types::Timestamp;
use serde_json::json;

use super::age::check_age_of;
use super::delegations::{Acting, Matter, hold, holding, keys_of_delegates};
use super::policies::check_id;
use super::records::{Intended, WRITE, action, fresh_row, intend, note, retire, tell};
use super::revisions::{self, first_signed};
use super::shown::{fill, name, open_circumstances, with_text};
use super::signing::{self, Good};
use super::texts::{Text, published_in, text};
use super::{App, Input, Shop, Who, call, entry, notices, record_keys};
use crate::domain::delegation::Act;
use crate::domain::signature;
use crate::domain::snapshot::Snapshot;
use crate::domain::violations::Violations;
use crate::error::{Error, Why};
use crate::store;

/// An answer with a signature that was found good.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) intended: Intended,
    pub(super) good: Good,
    pub(super) signed: Snapshot,
}

/// A signature that was found good, for a record that was there when it was checked.
#[derive(Debug, Clone)]
struct Further {
    known: store::record::Row,
    good: Good,
    acting: Option<Acting>,
    text: Arc<Text>,
}

/// What the person sent, checked as far as it goes without keys.
pub(super) fn split(
    sent: pb::SignConsentRecordRequest,
) -> Result<(pb::ConsentRecord, pb::Signature), Error> {
    let record = sent
        .consent_record
        .ok_or_else(|| missing("consentRecord"))?;
    let signature = sent.signature.ok_or_else(|| missing("signature"))?;
    if record.opt_in.is_none() {
        return Err(Violations::one("consentRecord.optIn", "is required").into());
    }
    signature::check_unreferenced(&signature)?;
    Ok((record, signature))
}

fn missing(field: &str) -> Error {
    Violations::one(field, "is required").into()
}

impl App {
    /// Stores an answer together with its signature.
    pub(crate) async fn sign_record(
        &self,
        who: &Who,
        request: pb::SignConsentRecordRequest,
    ) -> Result<pb::SignConsentRecordResponse, Error> {
        const RPC: &str = "/publica.consent.v1.ConsentRecordService/SignConsentRecord";
        let shop = self.shop(&who.origin.tenant).await?;
        let person = request
            .consent_record
            .as_ref()
            .map_or("", |one| &one.individual_id);
        check_id("consentRecord.individualId", person)?;
        let who = &who.acts_for(&shop, person, WRITE).await?;
        let call = call(
            "consent.sign_record",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let (record, sent) = split(request)?;
        let row = store::individual::find(&shop.db, &record.individual_id).await?;
        let row = row.ok_or_else(|| Why::IndividualNotFound.about(&*record.individual_id))?;
        let mut intended = intend(&shop, record).await?;
        // A key says by itself whose it is; anything else is compared with what is known of people.
        let method = signature::Method::of(&sent.verification_method)?;
        let person = if method == signature::Method::Jws {
            None
        } else {
            Some(super::individuals::open(&shop, &row).await?)
        };
        let now = shop.now();
        let agreement = Arc::clone(&intended.text);
        let act = Act::of(intended.record.opt_in);
        let signed = Signing {
            individual_id: &intended.record.individual_id,
            act,
            matter: Matter::of(&agreement.agreement),
        };
        let (good, acting) = check_signer(&shop, who, sent, person.as_ref(), signed, now).await?;
        if acting.is_none() && act == Act::Give {
            check_age_of(&shop, &intended.record.individual_id, &agreement.agreement).await?;
        }
        intended.acting = acting;
        let signer = intended.acting.as_ref().map(|one| one.delegate_id.clone());
        let signer = signer.unwrap_or_else(|| intended.record.individual_id.clone());
        let said = &good.signature.verification_payload;
        signature::check_snapshot(said, &intended.record, &signer, now)?;
        let text = Arc::clone(&intended.text);
        let signed = Snapshot::of(said.clone());
        let pair = Pair {
            intended,
            good,
            signed,
        };
        let input: Input<Pair> = (Arc::clone(&shop), who.clone(), pair);
        let written = publica_journal::write(&shop.db, call, input, |tx, (shop, who, pair)| {
            Box::pin(store_pair(tx, shop, who, pair))
        });
        let mut answer: pb::SignConsentRecordResponse = written.await?;
        answer.consent_record = with_text(answer.consent_record, &text);
        Ok(answer)
    }

    /// Writes down the signature that a record's latest revision still needs.
    pub(crate) async fn draft_signature(
        &self,
        who: &Who,
        request: pb::DraftSignatureRequest,
    ) -> Result<pb::DraftSignatureResponse, Error> {
        check_id("consent_record_id", &request.consent_record_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let id = request.consent_record_id.as_str();
        let (_, row) = self
            .own_row(&shop, who, id, &request.individual_id, WRITE)
            .await?;
        let revision = revisions::read(&shop, &row.revision_id).await?;
        let drafted = signature::draft(
            request.signature.unwrap_or_default(),
            &revision.serialized_snapshot,
            Some(&revision.revision_id),
            publica_rpc::timestamp(shop.now()),
        );
        Ok(pb::DraftSignatureResponse {
            signature: Some(drafted),
        })
    }

    /// Verifies a signature over a record's latest revision and stores it.
    pub(crate) async fn attach_signature(
        &self,
        who: &Who,
        request: pb::AttachSignatureRequest,
    ) -> Result<pb::AttachSignatureResponse, Error> {
        const RPC: &str = "/publica.consent.v1.ConsentRecordService/AttachSignature";
        check_id("consent_record_id", &request.consent_record_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let id = request.consent_record_id.as_str();
        let (who, row) = self
            .own_row(&shop, who, id, &request.individual_id, WRITE)
            .await?;
        let who = &who;
        let call = call(
            "consent.attach_signature",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let sent = request.signature.ok_or_else(|| missing("signature"))?;
        let person = store::individual::find(&shop.db, &row.individual_id).await?;
        let person = match person {
            Some(person) => Some(super::individuals::open(&shop, &person).await?),
            None => None,
        };
        let text = text(&shop, &row.agreement_revision_id).await?;
        let signed = Signing {
            individual_id: &row.individual_id,
            act: Act::of(row.opt_in),
            matter: Matter::of(&text.agreement),
        };
        let now = shop.now();
        let (good, acting) = check_signer(&shop, who, sent, person.as_ref(), signed, now).await?;
        let further = Further {
            known: row,
            good,
            acting,
            text: Arc::clone(&text),
        };
        let input: Input<Further> = (Arc::clone(&shop), who.clone(), further);
        let written = publica_journal::write(&shop.db, call, input, |tx, (shop, who, further)| {
            Box::pin(attach(tx, shop, who, further))
        });
        let mut answer: pb::AttachSignatureResponse = written.await?;
        answer.consent_record = with_text(answer.consent_record, &text);
        Ok(answer)
    }
}

/// What is signed, for whom.
struct Signing<'a> {
    individual_id: &'a str,
    act: Act,
    matter: Matter<'a>,
}

/// Checks a signature of the person or of a delegate who may, and says which.
async fn check_signer(
    shop: &Shop,
    who: &Who,
    sent: pb::Signature,
    person: Option<&pb::Individual>,
    signed: Signing<'_>,
    now: Timestamp,
) -> Result<(Good, Option<Acting>), Error> {
    let id = signed.individual_id;
    if signature::Method::of(&sent.verification_method)? == signature::Method::Detached {
        return check_detached_signer(shop, who, sent, person, signed, now).await;
    }
    if sent.verification_signed_as == signature::DELEGATE {
        let delegates = keys_of_delegates(shop, id, signed.act, signed.matter).await?;
        let (good, acting) = signing::check_delegate(sent, delegates, now)?;
        return match who.delegate() {
            Some(own) if own != acting.delegate_id => Err(Why::NotYours.about("")),
            _ => Ok((good, Some(acting))),
        };
    }
    // A delegate may bring what the person signed.
    let keys = signing::keys_of(shop, id).await?;
    let good = signing::check(shop, sent, &keys, person, now)?;
    if who.delegate().is_some() && good.first_use.is_some() {
        let what = "is not registered, and a delegate cannot introduce the person's key";
        return Err(signature::Misfit { step: "key", what }.into());
    }
    Ok((good, None))
}

/// The same of a detached signature.
async fn check_detached_signer(
    shop: &Shop,
    who: &Who,
    sent: pb::Signature,
    person: Option<&pb::Individual>,
    signed: Signing<'_>,
    now: Timestamp,
) -> Result<(Good, Option<Acting>), Error> {
    let origin = &who.origin;
    if sent.verification_signed_as != signature::DELEGATE {
        let people: Vec<&pb::Individual> = person.into_iter().collect();
        let (good, _) = signing::check_detached(shop, origin, sent, &people, now).await?;
        return Ok((good, None));
    }
    let mut delegates = Vec::new();
    for acting in holding(shop, signed.individual_id, signed.act, Some(signed.matter)).await? {
        // Nobody brings another delegate's word.
        if who.delegate().is_none_or(|own| own == acting.delegate_id)
            && let Some(row) = store::individual::find(&shop.db, &acting.delegate_id).await?
        {
            delegates.push((acting, super::individuals::open(shop, &row).await?));
        }
    }
    let people: Vec<&pb::Individual> = delegates.iter().map(|(_, one)| one).collect();
    let (good, signer) = signing::check_detached(shop, origin, sent, &people, now).await?;
    let mut all = delegates.into_iter().map(|(acting, _)| acting);
    let acting = all.find(|acting| acting.delegate_id == signer);
    let acting = acting.ok_or_else(|| Why::DelegationInvalid.about(signer))?;
    Ok((good, Some(acting)))
}

/// Registers a key that is trusted on first use, and refuses one revoked meanwhile.
pub(super) async fn settle_key(
    tx: &mut Tx<'_>,
    who: &Who,
    individual_id: &str,
    good: &Good,
) -> Result<(), Error> {
    if good.method != signature::Method::Jws {
        return Ok(());
    }
    let now = tx.now();
    if let Some((key_id, jwk)) = &good.first_use {
        if store::individual::add_key(tx, individual_id, key_id, jwk, now).await? {
            let body = json!({ "key_id": key_id, "first_use": true });
            let entry = entry("consent.key.registered", "individual", individual_id, body);
            append(tx, &who.origin, entry);
        }
        return Ok(());
    }
    let key = store::individual::key_in(tx, individual_id, &good.key_id).await?;
    if key.is_some_and(|key| key.revoked.is_none()) {
        return Ok(());
    }
    Err(signature::Misfit {
        step: "key",
        what: "was revoked",
    }
    .into())
}

async fn store_pair(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    pair: &Pair,
) -> Result<pb::SignConsentRecordResponse, Error> {
    let now = tx.now();
    let record = &pair.intended.record;
    let person = record.individual_id.as_str();
    let known = store::individual::find_in(tx, person).await?;
    known.ok_or_else(|| Why::IndividualNotFound.about(person))?;
    let answered = &record.data_agreement_revision_id;
    if let Some(same) = store::record::same(tx, answered, person).await? {
        return stored_before(tx, shop, pair, &same).await;
    }
    let acting = pair.intended.acting.as_ref();
    let key = shop.keyring.subject(tx, person).await?;
    let matter = Matter::of(&pair.intended.text.agreement);
    hold(tx, who, &key, acting, Act::of(record.opt_in), matter).await?;
    let signer = acting.map_or(person, |one| &one.delegate_id);
    settle_key(tx, who, signer, &pair.good).await?;
    let mut row = fresh_row(&pair.intended, &shop.id(), &key, now)?;
    let own = record_keys::make(tx, &key, &row.record_id).await?;
    let revision = first_signed(shop, &own, &row.record_id, signer, &pair.signed, now)?;
    let (record_id, revision_id) = (&row.record_id, &revision.revision_id);
    let signed = signing::row(shop, &own, &pair.good, acting, record_id, revision_id, now);
    row.revision_id.clone_from(&revision.revision_id);
    row.revision_sha256.clone_from(&revision.sha256);
    row.signature_id.clone_from(&signed.signature_id);
    let roles = BTreeSet::from([signed.signed_as.clone()]);
    let required = &pair.intended.text.agreement.required_signatures;
    row.state = i64::from(signature::state(required, &roles) as i32);
    let retired = retire(tx, &row, now).await?;
    if !store::record::insert(tx, &row).await? {
        return Err(Why::RecordExists.about(&*row.agreement_id));
    }
    store::revision::insert(tx, &revision).await?;
    store::signature::insert(tx, &signed).await?;
    tell(tx, &row, retired).await?;
    note(tx, who, &row, action(row.opt_in, row.ever_given));
    if acting.is_some() || !record.assisted_by.is_empty() {
        notices::answered(tx, shop, who, &row).await?;
    }
    let mut shown = record.clone();
    name(&mut shown, &row);
    fill(&mut shown, &row, Some(&pair.intended.text.agreement), now);
    let signature = signing::open(&signed, &own, &pair.signed.text)?;
    shown.signature = Some(signature.clone());
    Ok(pb::SignConsentRecordResponse {
        consent_record: Some(shown),
        revision: Some(revisions::present(&revision, pair.signed.text.clone())),
        signature: Some(signature),
    })
}

/// The very same pair again gives what is stored; any other is refused.
async fn stored_before(
    tx: &mut Tx<'_>,
    shop: &Shop,
    pair: &Pair,
    same: &(String, String, String),
) -> Result<pb::SignConsentRecordResponse, Error> {
    let (record_id, revision_id, hash) = same;
    if *hash != pair.signed.sha256 {
        return Err(Why::RecordExists.about(&*pair.intended.record.data_agreement_id));
    }
    let row = store::record::lock(tx, record_id).await?;
    let row = row.ok_or_else(|| Why::RecordNotFound.about(&**record_id))?;
    let now = tx.now();
    let key = shop.keyring.subject(tx, &row.individual_id).await?;
    let own = record_keys::of(tx, &key, record_id).await?;
    let revision = store::revision::find_in(tx, revision_id).await?;
    let revision = revision.ok_or_else(|| Why::RevisionNotFound.about(&**revision_id))?;
    let mut signatures = store::signature::of_revision_in(tx, revision_id).await?;
    let last = signatures.pop();
    let signature = match &last {
        Some(last) => Some(signing::open(last, &own, &pair.signed.text)?),
        None => None,
    };
    let mut shown = pair.intended.record.clone();
    name(&mut shown, &row);
    shown.opt_in = row.opt_in;
    fill(&mut shown, &row, Some(&pair.intended.text.agreement), now);
    shown.signature.clone_from(&signature);
    Ok(pb::SignConsentRecordResponse {
        consent_record: Some(shown),
        revision: Some(revisions::present(&revision, pair.signed.text.clone())),
        signature,
    })
}

/// Whether a signature refers to an earlier revision of the record. A reference to anything else
/// is refused.
async fn refers_elsewhere(
    tx: &mut Tx<'_>,
    good: &Good,
    row: &store::record::Row,
) -> Result<bool, Error> {
    let reference = good.signature.object_reference.as_str();
    if reference.is_empty() || reference == row.revision_id {
        return Ok(false);
    }
    let found = store::revision::find_in(tx, reference).await?;
    if found.is_some_and(|found| found.object_id == row.record_id) {
        return Ok(true);
    }
    let what = "objectReference names no revision of the record";
    Err(signature::Misfit {
        step: "payload",
        what,
    }
    .into())
}

async fn attach(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    further: &Further,
) -> Result<pb::AttachSignatureResponse, Error> {
    let now = tx.now();
    let Further {
        known, good, text, ..
    } = further;
    let (record_id, acting) = (known.record_id.as_str(), further.acting.as_ref());
    let key = shop.keyring.subject(tx, &known.individual_id).await?;
    let (act, matter) = (Act::of(known.opt_in), Matter::of(&text.agreement));
    hold(tx, who, &key, acting, act, matter).await?;
    let row = store::record::lock(tx, record_id).await?;
    let mut row = row.ok_or_else(|| Why::RecordNotFound.about(record_id))?;
    let signer = acting.map_or(&row.individual_id, |one| &one.delegate_id);
    settle_key(tx, who, signer, good).await?;
    let revision = store::revision::find_in(tx, &row.revision_id).await?;
    let revision = revision.ok_or_else(|| Why::RevisionNotFound.about(&*row.revision_id))?;
    let own = record_keys::of(tx, &key, record_id).await?;
    let snapshot = revisions::open(&revision, Some(&own))?;
    let stale = refers_elsewhere(tx, good, &row).await?;
    if good.signature.verification_payload != snapshot || stale {
        // Signed was an earlier state of the record, or something else altogether.
        return Err(Why::RevisionSuperseded.about(&*row.revision_id));
    }
    let required = &text.agreement.required_signatures;
    let needed = required.iter().any(|role| role == signature::DELEGATE);
    let mut signed = signing::row(shop, &own, good, acting, record_id, &row.revision_id, now);
    if !needed {
        // Adds to an answer that stands without it, and takes nothing along when it falls.
        signed.delegation_id.clear();
    }
    if !store::signature::insert(tx, &signed).await? {
        return Err(Why::AlreadySigned.about(signed.signed_as));
    }
    let all = store::signature::of_revision_in(tx, &row.revision_id).await?;
    let roles: BTreeSet<String> = all.into_iter().map(|one| one.signed_as).collect();
    let state = signature::state(required, &roles);
    row.state = i64::from(state as i32);
    row.signature_id.clone_from(&signed.signature_id);
    row.updated = now;
    if let Some(acting) = acting.filter(|_| needed) {
        // The answer rests on the delegate's word from now on, and on those before.
        if row.delegation_id.is_empty() {
            row.delegation_id.clone_from(&acting.delegation_id);
        }
        let ends = [row.reconfirm_from, acting.ends];
        row.reconfirm_from = ends.into_iter().flatten().min();
    }
    store::record::signed(tx, &row).await?;
    note(tx, who, &row, "consent.record.signed");
    if acting.is_some() {
        notices::answered(tx, shop, who, &row).await?;
    }
    let signature = signing::open(&signed, &own, &snapshot)?;
    let mut shown = shown_of(tx, shop, &key, &row).await?;
    shown.signature = Some(signature.clone());
    Ok(pb::AttachSignatureResponse {
        signature: Some(signature),
        consent_record: Some(shown),
        revision: Some(revisions::present(&revision, snapshot)),
    })
}

/// A record as it is shown after it was signed.
async fn shown_of(
    tx: &mut Tx<'_>,
    shop: &Shop,
    key: &SubjectKey,
    row: &store::record::Row,
) -> Result<pb::ConsentRecord, Error> {
    let mut shown = match &row.sealed {
        Some(sealed) => open_circumstances(key, sealed)?,
        None => pb::ConsentRecord::default(),
    };
    name(&mut shown, row);
    shown.opt_in = row.opt_in;
    let published = published_in(tx, shop, &row.published_revision_id).await?;
    let text = published.as_deref().map(|text| &text.agreement);
    fill(&mut shown, row, text, tx.now());
    Ok(shown)
}
