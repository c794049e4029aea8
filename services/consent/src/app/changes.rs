//! New answers to records: withdrawal, and a yes again.

use std::sync::Arc;

use publica_proto::consent::v1 as pb;
use publica_seal::SubjectKey;
use publica_store::Tx;
use publica_types::Timestamp;

use super::age::check_age_of;
use super::delegations::{Acting, Matter, hold, word};
use super::policies::check_id;
use super::records::{WRITE, action, by_word, note, record_revision, tell};
use super::revisions;
use super::shown::{fill, name, open_circumstances, seal_circumstances, with_text};
use super::texts::{Text, published_in, text};
use super::{App, Input, Shop, Who, call, notices, record_keys};
use crate::domain::agreement;
use crate::domain::delegation::Act;
use crate::domain::record;
use crate::domain::violations::Violations;
use crate::error::{Error, Why};
use crate::store;
use crate::store::record::Row;

impl App {
    /// Changes an answer.
    pub(crate) async fn change_record(
        &self,
        who: &Who,
        request: pb::ChangeConsentRecordRequest,
    ) -> Result<pb::ChangeConsentRecordResponse, Error> {
        const RPC: &str = "/publica.consent.v1.ConsentRecordService/ChangeConsentRecord";
        check_id("consent_record_id", &request.consent_record_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let id = request.consent_record_id.as_str();
        let (who, row) = self
            .own_row(&shop, who, id, &request.individual_id, WRITE)
            .await?;
        let who = &who;
        if request.opt_in.is_none() {
            return Err(Violations::one("optIn", "is required").into());
        }
        if let Some(known) = &request.known {
            keep(&row, known)?;
        }
        let call = call(
            "consent.change_record",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let text = text(&shop, &row.agreement_revision_id).await?;
        let (act, matter) = (Act::of(request.opt_in), Matter::of(&text.agreement));
        let named = request.delegate_individual_id.as_str();
        let acting = word(&shop, who, &row.individual_id, named, act, matter).await?;
        if acting.is_none() && act == Act::Give {
            check_age_of(&shop, &row.individual_id, &text.agreement).await?;
        }
        let asked = Asked {
            request,
            individual_id: row.individual_id,
            text: Arc::clone(&text),
            acting,
        };
        let input: Input<Asked> = (Arc::clone(&shop), who.clone(), asked);
        let changed = publica_journal::write(&shop.db, call, input, |tx, (shop, who, asked)| {
            Box::pin(change(tx, shop, who, asked))
        });
        let mut answer: pb::ChangeConsentRecordResponse = changed.await?;
        answer.consent_record = with_text(answer.consent_record, &text);
        Ok(answer)
    }
}

/// A new answer, on the word of somebody who might give it when it was checked.
#[derive(Debug, Clone)]
struct Asked {
    request: pb::ChangeConsentRecordRequest,
    individual_id: String,
    text: Arc<Text>,
    acting: Option<Acting>,
}

/// Refuses to change anything about a record but its answer.
fn keep(row: &Row, known: &pb::ConsentRecord) -> Result<(), Error> {
    for (field, said, stored) in [
        ("id", &known.consent_record_id, &row.record_id),
        ("individualId", &known.individual_id, &row.individual_id),
        (
            "dataAgreementId",
            &known.data_agreement_id,
            &row.agreement_id,
        ),
        (
            "dataAgreementRevisionId",
            &known.data_agreement_revision_id,
            &row.agreement_revision_id,
        ),
    ] {
        if !said.is_empty() && said != stored {
            return Err(Why::ImmutableField.about(field));
        }
    }
    let hash = &known.data_agreement_revision_hash;
    if !hash.is_empty() && !hash.eq_ignore_ascii_case(&row.agreement_revision_hash) {
        return Err(Why::ImmutableField.about("dataAgreementRevisionHash"));
    }
    Ok(())
}

async fn change(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    asked: &Asked,
) -> Result<pb::ChangeConsentRecordResponse, Error> {
    let (request, text, now) = (&asked.request, &*asked.text, tx.now());
    let acting = asked.acting.as_ref();
    let key = shop.keyring.subject(tx, &asked.individual_id).await?;
    let (act, matter) = (Act::of(request.opt_in), Matter::of(&text.agreement));
    hold(tx, who, &key, acting, act, matter).await?;
    let row = store::record::lock(tx, &request.consent_record_id).await?;
    let mut row = row.ok_or_else(|| Why::RecordNotFound.about(&*request.consent_record_id))?;
    if !request.etag.is_empty() && request.etag != row.revision_id {
        return Err(Why::Conflict.about(row.record_id));
    }
    let own = record_keys::of(tx, &key, &row.record_id).await?;
    let mut shown = match &row.sealed {
        Some(sealed) => open_circumstances(&key, sealed)?,
        None => pb::ConsentRecord::default(),
    };
    let yes = request.opt_in == Some(true);
    // Saying no more than yes widens nothing: the choices stay as they are.
    let chosen = request.grant_all || !request.attributes.is_empty();
    let attributes = if yes && chosen {
        record::choices(&text.agreement, &request.attributes)?
    } else {
        shown.attributes.clone()
    };
    let published = published_in(tx, shop, &row.published_revision_id).await?;
    let published = published.as_deref().map(|text| &text.agreement);
    name(&mut shown, &row);
    // The person confirms what a delegate answered by answering the same, and renews what no
    // longer holds.
    let confirms = acting.is_none() && !row.delegation_id.is_empty() && yes;
    let renews = yes && !stands(&row, published, now);
    let same = row.opt_in == request.opt_in && shown.attributes == attributes;
    if same && !confirms && !renews {
        shown.opt_in = row.opt_in;
        fill(&mut shown, &row, published, now);
        return unchanged(tx, &row, &own, shown).await;
    }
    if yes {
        allow_yes(&row, published)?;
    }
    shown.attributes = attributes;
    shown.opt_in = request.opt_in;
    let own_end = record::own_end(&text.agreement, row.valid_from, row.valid_until);
    let own_end = own_end.filter(|end| yes && *end > now);
    shown.valid_until_time = own_end.map(publica_rpc::timestamp);
    let by = by_word(who, &row.individual_id, acting);
    let revision = record_revision(tx, shop, &own, &shown, by, &row.signature_id).await?;
    amend(&mut row, asked, own_end, now);
    row.sealed = seal_circumstances(&key, &shown);
    row.revision_id.clone_from(&revision.revision_id);
    row.revision_sha256
        .clone_from(&revision.serialized_hash_sha256);
    store::record::change(tx, &row).await?;
    tell(tx, &row, true).await?;
    note(tx, who, &row, action(row.opt_in, row.ever_given));
    if acting.is_some() || !who.is_self(&row.individual_id) {
        notices::answered(tx, shop, who, &row).await?;
    }
    fill(&mut shown, &row, published, now);
    Ok(pb::ChangeConsentRecordResponse {
        consent_record: Some(shown),
        revision: Some(revision),
    })
}

/// Writes a new answer, its time and on whose word it rests into the row.
fn amend(row: &mut Row, asked: &Asked, own_end: Option<Timestamp>, now: Timestamp) {
    let (yes, acting) = (asked.request.opt_in == Some(true), asked.acting.as_ref());
    if yes {
        row.valid_from = now;
        row.valid_until = record::valid_until(&asked.text.agreement, now, own_end);
    }
    row.opt_in = asked.request.opt_in;
    row.ever_given |= yes;
    row.delegation_id = acting
        .map(|one| one.delegation_id.clone())
        .unwrap_or_default();
    row.reconfirm_from = acting.and_then(|one| one.ends);
    row.delegation_void = false;
    row.state = i64::from(pb::RecordState::Unsigned as i32);
    row.updated = now;
}

/// The answer to the same answer again: nothing is written.
async fn unchanged(
    tx: &mut Tx<'_>,
    row: &Row,
    key: &SubjectKey,
    shown: pb::ConsentRecord,
) -> Result<pb::ChangeConsentRecordResponse, Error> {
    let revision = store::revision::find_in(tx, &row.revision_id).await?;
    let revision = revision.ok_or_else(|| Why::RevisionNotFound.about(&*row.revision_id))?;
    let text = revisions::open(&revision, Some(key))?;
    Ok(pb::ChangeConsentRecordResponse {
        consent_record: Some(shown),
        revision: Some(revisions::present(&revision, text)),
    })
}

/// Whether a yes still holds, so that saying it again changes nothing.
fn stands(row: &Row, published: Option<&pb::DataAgreement>, now: Timestamp) -> bool {
    let ended = row.valid_until.is_some_and(|until| now >= until);
    !ended && !row.delegation_void && !is_superseded(row, published)
}

/// Whether the published text does not take the answer over.
fn is_superseded(row: &Row, published: Option<&pb::DataAgreement>) -> bool {
    published.is_some_and(|text| !agreement::carries_over(text, &row.agreement_revision_id))
}

/// A no is always possible; a yes needs an agreement that takes it, and a current record.
fn allow_yes(row: &Row, published: Option<&pb::DataAgreement>) -> Result<(), Error> {
    match store::agreement::lifecycle(row.lifecycle) {
        pb::AgreementLifecycle::Complete => {}
        pb::AgreementLifecycle::Terminated => {
            return Err(Why::AgreementTerminated.about(&*row.agreement_id));
        }
        _ => return Err(Why::AgreementInactive.about(&*row.agreement_id)),
    }
    if !row.is_current {
        return Err(Why::RecordNotCurrent.about(&*row.record_id));
    }
    if published.is_none_or(|text| text.active != Some(true)) {
        return Err(Why::AgreementInactive.about(&*row.agreement_id));
    }
    if is_superseded(row, published) {
        return Err(Why::RevisionSuperseded.about(&*row.agreement_revision_id));
    }
    Ok(())
}
