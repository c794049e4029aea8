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
use super::{App, Input, Shop, Who, by, call, entry, record_keys};
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
}

/// First everything is opted out of, then what may be removed is: its snapshots are cleared and
/// its key destroyed, so that hashes, links and seals still prove that there was a chain.
async fn erase(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    individual_id: &str,
) -> Result<pb::EraseConsentRecordsResponse, Error> {
    let known = store::individual::find_in(tx, individual_id).await?;
    known.ok_or_else(|| Why::IndividualNotFound.about(individual_id))?;
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
    Ok(pb::EraseConsentRecordsResponse {
        erased: i64::try_from(erased.len()).unwrap_or(i64::MAX),
        retained: i64::try_from(retained.len()).unwrap_or(i64::MAX),
    })
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
