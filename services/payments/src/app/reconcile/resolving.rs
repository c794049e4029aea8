//! Dealing with what does not agree. Where money moves, a second person posts what the first one
//! proposed.

use publica_journal::{Outcome as Recorded, append, write};
use publica_proto::payments::v1 as pb;
use publica_rpc::Invalid;
use publica_store::Tx;
use publica_types::{Origin, Uuid};
use serde_json::json;

use super::item_on_wire;
use crate::app::release::{open, posted};
use crate::app::{App, call, check_reason, entry, parse_id, party};
use crate::domain::ids::{AccountId, BatchId, GroupId};
use crate::domain::outcome::Outcome;
use crate::domain::reconcile::{Kind, Way, item, mark, posting};
use crate::error::Error;
use crate::store::reconciliation::{self as items, Change, ItemRow};
use crate::store::{batch, chunk, ledger, programme, statement};

const NONE: i64 = 0;
const ACCEPT: i64 = 1;
const POST: i64 = 2;

impl App {
    pub(crate) async fn resolve_reconciliation_item(
        &self,
        origin: &Origin,
        request: pb::ResolveReconciliationItemRequest,
    ) -> Result<pb::ResolveReconciliationItemResponse, Error> {
        const RPC: &str = "/publica.payments.v1.ReconciliationService/ResolveReconciliationItem";
        self.confine(origin, &[]).await?;
        check_reason(&request.reason)?;
        let post = match request.resolution() {
            pb::ReconciliationResolution::Accept => false,
            pb::ReconciliationResolution::Post => true,
            pb::ReconciliationResolution::Unspecified => {
                return Err(Invalid::new().add("resolution", "is required").into());
            }
        };
        let call = call(
            "payments.resolve_item",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let id: Uuid = parse_id(&request.item_id, "reconciliation item")?;
        let db = self.db(origin).await?;
        let input = (origin.clone(), id, post, request.reason);
        write(&db, call, input, |tx, (origin, id, post, reason)| {
            Box::pin(async move {
                let row = in_state(tx, *id, item::OPEN).await?;
                let (to, resolution, action) = match post {
                    true => (item::PROPOSED, POST, "payments.reconciliation.proposed"),
                    false => (item::RESOLVED, ACCEPT, "payments.reconciliation.accepted"),
                };
                match post {
                    true => final_outcome(tx, &row).await?,
                    false => deal_with(tx, &row).await?,
                }
                let change = Change {
                    from: item::OPEN,
                    to,
                    resolution,
                    maker: party(origin).to_owned(),
                    checker: String::new(),
                    transfer_id: None,
                };
                items::set(tx, *id, &change).await?;
                let body = json!({"reason": reason});
                append(tx, origin, entry(action, "reconciliation_item", id, body));
                let item = Some(read(tx, *id).await?);
                Ok::<_, Error>(pb::ResolveReconciliationItemResponse { item })
            })
        })
        .await
    }

    pub(crate) async fn approve_reconciliation_item(
        &self,
        origin: &Origin,
        request: pb::ApproveReconciliationItemRequest,
    ) -> Result<pb::ApproveReconciliationItemResponse, Error> {
        const RPC: &str = "/publica.payments.v1.ReconciliationService/ApproveReconciliationItem";
        self.confine(origin, &[]).await?;
        let call = call(
            "payments.approve_item",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let id: Uuid = parse_id(&request.item_id, "reconciliation item")?;
        let db = self.db(origin).await?;
        let input = (origin.clone(), id, self.group());
        let done = write(&db, call, input, |tx, (origin, id, group)| {
            Box::pin(async move {
                let row = in_state(tx, *id, item::PROPOSED).await?;
                if row.maker == party(origin) {
                    return Err(Error::ApproverIsMaker);
                }
                final_outcome(tx, &row).await?;
                post(tx, origin, *group, &row).await?;
                let item = Some(read(tx, *id).await?);
                Ok::<_, Error>(pb::ApproveReconciliationItemResponse { item })
            })
        })
        .await;
        if let Err(error @ Error::ApproverIsMaker) = &done {
            let body = json!({"reason": error.to_string()});
            let action = "payments.reconciliation.approval_refused";
            let refused = entry(action, "reconciliation_item", id, body);
            // On record before the refusal leaves.
            let refused = refused.outcome(Recorded::Refused);
            self.journal.record(origin, refused).await?;
        }
        done
    }

    pub(crate) async fn decline_reconciliation_item(
        &self,
        origin: &Origin,
        request: pb::DeclineReconciliationItemRequest,
    ) -> Result<pb::DeclineReconciliationItemResponse, Error> {
        const RPC: &str = "/publica.payments.v1.ReconciliationService/DeclineReconciliationItem";
        self.confine(origin, &[]).await?;
        check_reason(&request.reason)?;
        let call = call(
            "payments.decline_item",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let id: Uuid = parse_id(&request.item_id, "reconciliation item")?;
        let db = self.db(origin).await?;
        let input = (origin.clone(), id, request.reason);
        write(&db, call, input, |tx, (origin, id, reason)| {
            Box::pin(async move {
                in_state(tx, *id, item::PROPOSED).await?;
                let change = Change {
                    from: item::PROPOSED,
                    to: item::OPEN,
                    resolution: NONE,
                    maker: String::new(),
                    checker: String::new(),
                    transfer_id: None,
                };
                items::set(tx, *id, &change).await?;
                let body = json!({"reason": reason});
                let action = "payments.reconciliation.declined";
                append(tx, origin, entry(action, "reconciliation_item", id, body));
                let item = Some(read(tx, *id).await?);
                Ok::<_, Error>(pb::DeclineReconciliationItemResponse { item })
            })
        })
        .await
    }
}

/// An item in a state, with others kept out.
async fn in_state(tx: &mut Tx<'_>, id: Uuid, state: i64) -> Result<ItemRow, Error> {
    let row = items::lock(tx, id).await?;
    let row = row.ok_or(Error::not_found("reconciliation item"))?;
    match row.state == state {
        true => Ok(row),
        false => Err(Error::ItemState),
    }
}

async fn read(tx: &mut Tx<'_>, id: Uuid) -> Result<pb::ReconciliationItem, Error> {
    let row = items::find(tx, id).await?;
    Ok(item_on_wire(
        row.ok_or(Error::corrupt("an item is missing"))?,
    ))
}

/// Where an item's payment stands: its chunk, and its place there.
struct Stands {
    batch_id: BatchId,
    chunk: chunk::ChunkRow,
    at: usize,
    funding: AccountId,
}

async fn stands(tx: &mut Tx<'_>, row: &ItemRow) -> Result<Option<Stands>, Error> {
    let (Some(batch_id), Some(ordinal)) = (row.batch_id, row.ordinal) else {
        return Ok(None);
    };
    let paid = batch::find(tx, batch_id).await?;
    let paid = paid.ok_or(Error::corrupt("the batch of an item is missing"))?;
    let found = chunk::find(tx, batch_id, ordinal / paid.chunk_rows).await?;
    let found = found.ok_or(Error::corrupt("the chunk of an item is missing"))?;
    let paying = programme::find_programme(tx, paid.programme_id).await?;
    let paying = paying.ok_or(Error::corrupt("the programme of a batch is missing"))?;
    let at = usize::try_from(ordinal - found.first_ordinal);
    Ok(Some(Stands {
        batch_id,
        at: at.map_err(|_| Error::corrupt("the place of an item"))?,
        chunk: found,
        funding: paying.funding_account_id,
    }))
}

/// Nothing is posted about a payment that may still turn out to be what the statement shows.
async fn final_outcome(tx: &mut Tx<'_>, row: &ItemRow) -> Result<(), Error> {
    if Kind::of_code(row.kind) != Some(Kind::Unexpected) {
        return Ok(());
    }
    let Some(stands) = stands(tx, row).await? else {
        return Ok(());
    };
    let outcome = stands.chunk.outcomes.get(stands.at);
    let outcome = outcome.map_or(Outcome::None, |byte| Outcome::of_byte(*byte));
    let marks = statement::marks(tx, stands.batch_id, stands.chunk.chunk_no).await?;
    let seen = marks.and_then(|marks| marks.get(stands.at).copied());
    let open = match outcome {
        Outcome::None | Outcome::Unknown => true,
        // The next statement meets them.
        Outcome::Settled => seen.unwrap_or(mark::NONE) == mark::NONE,
        _ => false,
    };
    match open {
        true => Err(Error::OutcomeOpen),
        false => Ok(()),
    }
}

/// A missing payment that was dealt with is not expected any more.
async fn deal_with(tx: &mut Tx<'_>, row: &ItemRow) -> Result<(), Error> {
    if Kind::of_code(row.kind) != Some(Kind::Missing) {
        return Ok(());
    }
    let Some(stands) = stands(tx, row).await? else {
        return Ok(());
    };
    let chunk = (stands.batch_id, stands.chunk.chunk_no);
    let marks = statement::lock_marks(tx, chunk.0, chunk.1).await?;
    let mut marks = marks.ok_or(Error::corrupt("the marks of a chunk are missing"))?;
    let place = marks.get_mut(stands.at);
    let place = place.ok_or(Error::corrupt("the place of an item"))?;
    if *place != mark::NONE {
        return Err(Error::ItemState);
    }
    *place = mark::ITEM;
    statement::drop_open(tx, chunk, &marks).await?;
    Ok(())
}

async fn post(
    tx: &mut Tx<'_>,
    origin: &Origin,
    group: GroupId,
    row: &ItemRow,
) -> Result<(), Error> {
    let kind = Kind::of_code(row.kind).ok_or(Error::corrupt("the kind of an item"))?;
    let (way, minor) = posting(kind, row.expected_minor, row.found_minor);
    let settlement = open(tx, "settlement", "", &row.currency).await?;
    let suspense = open(tx, "suspense", "", &row.currency).await?;
    let (debit, credit) = match way {
        Way::Out => (suspense, settlement),
        Way::Back => match stands(tx, row).await? {
            Some(stands) => (settlement, stands.funding),
            None => (settlement, suspense),
        },
    };
    let order = posted(debit, credit, minor, "statement reconciled");
    let made = ledger::post_all(tx, group, &[order]).await?;
    let transfer = made
        .first()
        .ok_or(Error::corrupt("a transfer is missing"))?
        .transfer_id;
    deal_with(tx, row).await?;
    let change = Change {
        from: item::PROPOSED,
        to: item::RESOLVED,
        resolution: POST,
        maker: row.maker.clone(),
        checker: party(origin).to_owned(),
        transfer_id: Some(transfer),
    };
    items::set(tx, row.item_id, &change).await?;
    let body = json!({"transfer": transfer, "amount_minor": minor, "maker": row.maker});
    let action = "payments.reconciliation.posted";
    let posted = entry(action, "reconciliation_item", row.item_id, body);
    append(tx, origin, posted);
    Ok(())
}
