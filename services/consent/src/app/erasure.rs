//! The right to be forgotten.

use std::sync::Arc;

use publica_journal::append;
use publica_proto::consent::v1 as pb;
use publica_store::Tx;
use serde_json::json;

use super::policies::check_id;
use super::records::{WRITE, action, note, record_revision, tell};
use super::revocations::{About, revoke};
use super::shown::{name, open_circumstances};
use super::{App, Input, Shop, Who, by, call, delegations, entry, individuals, record_keys};
use crate::error::{Error, Why};
use crate::store;

impl App {
    /// Forgets a person as far as the agreements allow.
    pub(crate) async fn erase_records(
        &self,
        who: &Who,
        mut request: pb::EraseConsentRecordsRequest,
    ) -> Result<pb::EraseConsentRecordsResponse, Error> {
        const RPC: &str = "/publica.consent.v1.ConsentRecordService/EraseConsentRecords";
        check_id("individual_id", &request.individual_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        request.individual_id = who.resolve(&shop, &request.individual_id).await?;
        let who = &who.acts_for(&shop, &request.individual_id, WRITE).await?;
        if who.delegate().is_some() {
            // A delegation is about agreements; this is about everything.
            return Err(Why::NotYours.about(""));
        }
        let call = call(
            "consent.erase_records",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let input: Input<String> = (Arc::clone(&shop), who.clone(), request.individual_id);
        publica_journal::write(&shop.db, call, input, |tx, (shop, who, id)| {
            Box::pin(erase(tx, shop, who, id))
        })
        .await
    }

    /// Erases a person with everything about them, as far as the agreements allow.
    pub(crate) async fn erase_individual(
        &self,
        who: &Who,
        mut request: pb::EraseIndividualRequest,
    ) -> Result<pb::EraseIndividualResponse, Error> {
        const RPC: &str = "/publica.consent.v1.IndividualService/EraseIndividual";
        check_id("individual_id", &request.individual_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        request.individual_id = who.resolve(&shop, &request.individual_id).await?;
        // Nobody's delegate may: a delegation is about agreements.
        let who = &who
            .acts_for(&shop, &request.individual_id, individuals::WRITE)
            .await?;
        let call = call(
            "consent.erase_individual",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let input: Input<String> = (Arc::clone(&shop), who.clone(), request.individual_id);
        let erased = publica_journal::write(&shop.db, call, input, |tx, (shop, who, id)| {
            Box::pin(erase_whole(tx, shop, who, id))
        });
        let erased = erased.await;
        // What the person answered for others is to be confirmed from now on.
        self.timer().notify_one();
        erased
    }
}

async fn erase(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    individual_id: &str,
) -> Result<pb::EraseConsentRecordsResponse, Error> {
    let known = store::individual::lock(tx, individual_id).await?;
    let gone = known.ok_or_else(|| Why::IndividualNotFound.about(individual_id))?;
    if gone {
        return Ok(pb::EraseConsentRecordsResponse::default());
    }
    let (erased, retained) = forget(tx, shop, who, individual_id).await?;
    Ok(pb::EraseConsentRecordsResponse { erased, retained })
}

/// Erases a person as a whole, unless what they signed must be kept: then that stays, opted out,
/// and with it whose it is.
async fn erase_whole(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    individual_id: &str,
) -> Result<pb::EraseIndividualResponse, Error> {
    let known = store::individual::lock(tx, individual_id).await?;
    let gone = known.ok_or_else(|| Why::IndividualNotFound.about(individual_id))?;
    if gone {
        return Ok(pb::EraseIndividualResponse {
            erased: true,
            ..pb::EraseIndividualResponse::default()
        });
    }
    let (records_erased, records_retained) = forget(tx, shop, who, individual_id).await?;
    let erased = records_retained == 0;
    if erased {
        remove(tx, shop, who, individual_id).await?;
    }
    Ok(pb::EraseIndividualResponse {
        erased,
        records_erased,
        records_retained,
    })
}

/// Removes a person who has no records. Destroying the key closes whatever it sealed, wherever a
/// copy of that is kept; hashes, links and seals of revisions stay.
async fn remove(tx: &mut Tx<'_>, shop: &Shop, who: &Who, individual_id: &str) -> Result<(), Error> {
    let now = tx.now();
    for delegation_id in store::delegation::held_by(tx, individual_id).await? {
        let ended = pb::RevokeDelegationRequest {
            delegation_id,
            ..pb::RevokeDelegationRequest::default()
        };
        delegations::end(tx, shop, who, &ended).await?;
    }
    let kind = i64::from(pb::Schema::Delegation as i32);
    for id in store::delegation::delete_over(tx, individual_id).await? {
        store::revision::erase(tx, kind, &id, now).await?;
    }
    // What delegates signed for others is verified by their keys.
    let signed_for_others = store::delegation::ever_held(tx, individual_id).await?;
    store::individual::erase(tx, individual_id, signed_for_others).await?;
    shop.keyring.erase(tx, individual_id).await?;
    let about = About {
        individual_id,
        ..About::default()
    };
    revoke(tx, about, pb::RevocationCause::Erased).await?;
    append(
        tx,
        &who.origin,
        entry(
            "consent.individual.erased",
            "individual",
            individual_id,
            json!({}),
        ),
    );
    Ok(())
}

/// First everything is opted out of, then what may be removed is: its snapshots are cleared and
/// its key destroyed, so that hashes, links and seals still prove that there was a chain. How many
/// records were erased, and how many had to be kept.
async fn forget(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    individual_id: &str,
) -> Result<(i64, i64), Error> {
    let unsigned = i64::from(pb::RecordState::Unsigned as i32);
    let kind = i64::from(pb::Schema::ConsentRecord as i32);
    let (mut erased, mut retained) = (Vec::new(), Vec::new());
    let records = store::record::of_person(tx, individual_id).await?;
    // A signature proves what was once agreed to, also after the answer was taken back.
    let signed = store::signature::signed_of_person(tx, individual_id).await?;
    for one in records {
        let proven = one.state != unsigned || signed.contains(&one.record_id);
        let removable = one.forgettable || !proven;
        if one.opt_in == Some(true) {
            opt_out(tx, shop, who, &one.record_id).await?;
        }
        if removable {
            let now = tx.now();
            store::signature::erase(tx, &one.record_id).await?;
            store::revision::erase(tx, kind, &one.record_id, now).await?;
            store::record_key::erase(tx, &one.record_id).await?;
            store::record::delete(tx, &one.record_id).await?;
            let about = About {
                individual_id,
                record_id: &one.record_id,
                ..About::default()
            };
            revoke(tx, about, pb::RevocationCause::Erased).await?;
            erased.push(one.record_id);
        } else {
            retained.push(one.record_id);
        }
    }
    for id in &erased {
        let body = json!({ "individual_id": individual_id });
        append(
            tx,
            &who.origin,
            entry("consent.record.erased", "consent_record", id, body),
        );
    }
    if !erased.is_empty() || !retained.is_empty() {
        let body = json!({
            "erased": erased.len(),
            "retained": retained,
            "reason": "signed under an agreement that is not forgettable",
        });
        let entry = entry(
            "consent.individual.forgotten",
            "individual",
            individual_id,
            body,
        );
        append(tx, &who.origin, entry);
    }
    let count = |ids: &[String]| i64::try_from(ids.len()).unwrap_or(i64::MAX);
    Ok((count(&erased), count(&retained)))
}

/// Withdraws one answer, with its revision.
async fn opt_out(tx: &mut Tx<'_>, shop: &Shop, who: &Who, record_id: &str) -> Result<(), Error> {
    let now = tx.now();
    let Some(mut row) = store::record::lock(tx, record_id).await? else {
        return Ok(());
    };
    let key = shop.keyring.subject(tx, &row.individual_id).await?;
    let own = record_keys::of(tx, &key, &row.record_id).await?;
    let mut shown = match &row.sealed {
        Some(sealed) => open_circumstances(&key, sealed)?,
        None => pb::ConsentRecord::default(),
    };
    name(&mut shown, &row);
    shown.opt_in = Some(false);
    let by = by(who, &row.individual_id);
    let revision = record_revision(tx, shop, &own, &shown, by, &row.signature_id).await?;
    row.opt_in = Some(false);
    row.state = i64::from(pb::RecordState::Unsigned as i32);
    row.revision_id = revision.revision_id;
    row.revision_sha256 = revision.serialized_hash_sha256;
    row.updated = now;
    store::record::change(tx, &row).await?;
    tell(tx, &row, true).await?;
    note(tx, who, &row, action(row.opt_in, row.ever_given));
    Ok(())
}
