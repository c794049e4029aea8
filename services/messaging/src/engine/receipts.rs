//! What a message centre tells later: receipts, and what people write back.
//!
//! A receipt is stored before the centre is told that it was taken. The state of a message
//! follows from the receipts of all its parts; one that comes before the part itself is known is
//! looked at again, and every message once more when its time for receipts is over.

use std::collections::{BTreeMap, BTreeSet, VecDeque, btree_map};
use std::sync::Arc;
use std::time::Duration;

use publica_journal::Entry;
use publica_store::{StoreError, Tx};
use publica_types::{Origin, Tenant, Timestamp, Uuid, new_uuid};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::active::ActiveRequest;
use super::{Shared, plan};
use crate::callbacks;
use crate::domain::counters::{Counters, State};
use crate::domain::envelope::Common;
use crate::domain::receipt::{Fate, Told, Wish, settle, wish};
use crate::domain::uid;
use crate::smpp::{Ack, Content, Incoming};
use crate::store::inbound::{self, Correction};
use crate::store::sms::{self, NewReceipt};
use crate::store::suppression::{self, OPT_OUT, SuppressionRow};
use crate::store::{RequestId, SessionId, chunk, operation, report, request};

/// Receipts of one transaction.
const GROUP_MAX: usize = 128;
/// Receipts whose part is not known yet are looked at again for so long, so many of them.
const EARLY_FOR: Duration = Duration::from_mins(1);
const EARLY_MAX: usize = 50_000;
/// Messages that are given up waiting for in one transaction.
const OVERDUE_MAX: i64 = 128;
/// Events of one message, so that a centre that changes its mind for ever fills no store.
const EVENTS_MAX: i64 = 16;
/// A receipt so much older than its part belongs to an earlier use of the id.
const SKEW: Duration = Duration::from_mins(10);
/// Another change may come first; then the case is looked at anew.
const TRIES: u32 = 5;

/// An id of a centre: its name and the id.
type CentreId = (String, String);

/// What a group of receipts writes.
struct Settling {
    tenant: Tenant,
    session: SessionId,
    receipts: Vec<NewReceipt>,
    /// Ids whose receipts were stored before.
    again: Vec<CentreId>,
    /// Messages that wait no longer.
    overdue: Vec<(Uuid, i64, RequestId)>,
}

/// A message whose state may change.
struct Case {
    root: Uuid,
    pos: i64,
    request: RequestId,
    overdue: bool,
}

struct Desk {
    shared: Arc<Shared>,
    session: SessionId,
    early: VecDeque<(CentreId, Instant)>,
    /// Up to here, nobody waits any more.
    settled: Timestamp,
}

/// Takes in what centres bring until nothing can come any more.
pub(super) async fn run(shared: Arc<Shared>, mut inbox: mpsc::Receiver<Incoming>) {
    let span = shared.setup.receipts.unwrap_or_default();
    let mut desk = Desk {
        session: session(shared.session),
        early: VecDeque::new(),
        settled: shared.now().minus(span + Duration::from_hours(48)),
        shared,
    };
    let pause = desk.shared.setup.poll;
    let mut group = Vec::with_capacity(GROUP_MAX);
    let mut looked = Instant::now();
    loop {
        let received = tokio::time::timeout(pause, inbox.recv_many(&mut group, GROUP_MAX));
        match received.await {
            Ok(0) => break,
            Ok(_) => desk.take(std::mem::take(&mut group)).await,
            Err(_) => {}
        }
        if looked.elapsed() >= pause {
            desk.look_again().await;
            desk.give_up().await;
            looked = Instant::now();
        }
    }
}

/// Receipts count as a session of their own, for each process.
fn session(own: SessionId) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(own.as_uuid().as_u128() ^ u128::MAX))
}

impl Desk {
    async fn take(&mut self, group: Vec<Incoming>) {
        let (mut receipts, mut acks) = (Vec::new(), Vec::new());
        for incoming in group {
            match incoming.content {
                Content::Said { from, text } => self.said(&from, &text, incoming.ack).await,
                Content::Receipt(receipt) => {
                    acks.push(incoming.ack);
                    let Some(fate) = receipt.fate else { continue };
                    let ids = (self.shared.clock.as_ref(), self.shared.entropy.as_ref());
                    receipts.push(NewReceipt {
                        receipt_id: new_uuid(ids.0, ids.1),
                        centre: incoming.centre,
                        centre_id: receipt.id,
                        fate: fate.number(),
                        code: receipt.code,
                    });
                }
            }
        }
        let written = self.settle(receipts, Vec::new(), Vec::new()).await;
        for ack in acks {
            if written {
                ack.taken().await;
            } else {
                ack.later().await;
            }
        }
    }

    /// Looks at receipts that came before their part was known.
    async fn look_again(&mut self) {
        let mut waiting = std::mem::take(&mut self.early);
        waiting.retain(|(_, since)| {
            let young = since.elapsed() < EARLY_FOR;
            if !young {
                metrics::counter!("publica_messaging_unknown_receipts_total").increment(1);
            }
            young
        });
        while !waiting.is_empty() {
            let some: Vec<_> = waiting.drain(..waiting.len().min(GROUP_MAX)).collect();
            let ages: BTreeMap<CentreId, Instant> = some.iter().cloned().collect();
            let before = self.early.len();
            let ids = some.iter().map(|(id, _)| id.clone()).collect();
            if !self.settle(Vec::new(), ids, Vec::new()).await {
                self.early.extend(some);
                self.early.extend(waiting);
                return;
            }
            // What is still not known is no younger for that.
            for (id, since) in self.early.iter_mut().skip(before) {
                *since = ages.get(id).copied().unwrap_or(*since);
            }
        }
    }

    /// Settles messages whose time for receipts is over.
    async fn give_up(&mut self) {
        loop {
            let now = self.shared.now();
            let found = sms::overdue(&self.shared.db, self.settled, now, OVERDUE_MAX).await;
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(%error, "messages without receipts could not be looked for");
                    return;
                }
            };
            let full = i64::try_from(found.len()).unwrap_or(OVERDUE_MAX) == OVERDUE_MAX;
            if !found.is_empty() {
                let cases = found
                    .iter()
                    .map(|one| (one.root_id, one.pos, one.request_id));
                if !self.settle(Vec::new(), Vec::new(), cases.collect()).await {
                    return;
                }
            }
            if !full {
                // A process that is slow may still write waits that end now.
                self.settled = self.settled.max(now.minus(Duration::from_hours(1)));
                return;
            }
        }
    }

    /// Stores receipts and settles what follows from them; false if the store cannot.
    async fn settle(
        &mut self,
        receipts: Vec<NewReceipt>,
        again: Vec<CentreId>,
        overdue: Vec<(Uuid, i64, RequestId)>,
    ) -> bool {
        if receipts.is_empty() && again.is_empty() && overdue.is_empty() {
            return true;
        }
        let mut tries = 0;
        loop {
            let input = Settling {
                tenant: self.shared.db.tenant().clone(),
                session: self.session,
                receipts: receipts.clone(),
                again: again.clone(),
                overdue: overdue.clone(),
            };
            let written = self
                .shared
                .db
                .write("messaging.receipts", input, |tx, input| {
                    Box::pin(input.write(tx))
                });
            let written: Result<Vec<CentreId>, StoreError> = written.await;
            match written {
                Ok(unknown) => {
                    let now = Instant::now();
                    for id in unknown {
                        if self.early.len() < EARLY_MAX {
                            self.early.push_back((id, now));
                        }
                    }
                    return true;
                }
                // Another process settled one of them first.
                Err(StoreError::UniqueViolation { .. }) if tries < TRIES => tries += 1,
                Err(error) => {
                    tracing::warn!(%error, "receipts could not be stored");
                    return false;
                }
            }
        }
    }

    /// Somebody writes back: to get no more, or more again. Nothing else is wanted here.
    async fn said(&self, from: &str, text: &str, ack: Ack) {
        let setup = &self.shared.setup;
        let Some(wish) = wish(text, &setup.stop_words, &setup.start_words) else {
            metrics::counter!("publica_messaging_unwanted_texts_total").increment(1);
            ack.refused().await;
            return;
        };
        let number = format!("+{}", from.trim_start_matches('+'));
        let ids = (self.shared.clock.as_ref(), self.shared.entropy.as_ref());
        let row = SuppressionRow {
            suppression_id: new_uuid(ids.0, ids.1),
            address_hash: self.shared.vault.address_hash(&number),
            category: String::new(),
            reason: OPT_OUT,
            created_at: self.shared.now(),
            expires_at: None,
        };
        let input = (self.shared.db.tenant().clone(), wish, row);
        let done = self
            .shared
            .db
            .write("messaging.wish", input, |tx, (tenant, wish, row)| {
                Box::pin(fulfil(tx, tenant, *wish, row))
            });
        let done: Result<(), StoreError> = done.await;
        match done {
            Ok(()) => ack.taken().await,
            Err(error) => {
                tracing::warn!(%error, "a wish to get no more could not be stored");
                ack.later().await;
            }
        }
    }
}

async fn fulfil(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    wish: Wish,
    row: &SuppressionRow,
) -> Result<(), StoreError> {
    let origin = Origin::actor("system:delivery".to_owned()).in_tenant(tenant.clone());
    let held = suppression::alike(tx, &row.address_hash, &row.category, row.reason).await?;
    match wish {
        Wish::Stop if held.is_empty() => {
            suppression::insert(tx, row).await?;
            let entry = Entry::new("messaging.recipient.unsubscribed")
                .subject("suppression", row.suppression_id)
                .body(json!({ "channel": "sms" }));
            publica_journal::append(tx, &origin, entry);
        }
        Wish::Stop => {}
        Wish::Start => {
            for one in held {
                let id = one.suppression_id;
                suppression::lift(tx, id).await?;
                let entry = Entry::new("messaging.recipient.resubscribed")
                    .subject("suppression", id)
                    .body(json!({ "channel": "sms" }));
                publica_journal::append(tx, &origin, entry);
            }
        }
    }
    Ok(())
}

impl Settling {
    /// Gives the ids that no part has yet.
    async fn write(&self, tx: &mut Tx<'_>) -> Result<Vec<CentreId>, StoreError> {
        let mut ids: BTreeSet<CentreId> = self.again.iter().cloned().collect();
        for receipt in &self.receipts {
            sms::receipt(tx, receipt).await?;
            ids.insert((receipt.centre.clone(), receipt.centre_id.clone()));
        }
        let mut unknown = Vec::new();
        let mut cases: BTreeMap<(Uuid, i64), Case> = BTreeMap::new();
        for (centre, id) in ids {
            match sms::owner(tx, &centre, &id).await? {
                Some(row) => {
                    let case = Case {
                        root: row.root_id,
                        pos: row.pos,
                        request: row.request_id,
                        overdue: false,
                    };
                    cases.insert((case.root, case.pos), case);
                }
                None => unknown.push((centre, id)),
            }
        }
        for (root, pos, request) in &self.overdue {
            let case = Case {
                root: *root,
                pos: *pos,
                request: *request,
                overdue: true,
            };
            cases.insert((*root, *pos), case);
        }
        let mut rows: BTreeMap<RequestId, (Option<ActiveRequest>, Counters)> = BTreeMap::new();
        for case in cases.into_values() {
            let known = match rows.entry(case.request) {
                btree_map::Entry::Occupied(known) => known.into_mut(),
                btree_map::Entry::Vacant(place) => {
                    let row = request::find_in(tx, case.request).await?;
                    let active =
                        row.map(|row| ActiveRequest::new(&row, Common::default(), &self.tenant));
                    place.insert((active, Counters::default()))
                }
            };
            if let (Some(request), changes) = known {
                change(tx, &case, request, changes).await?;
            }
        }
        for (request, changes) in rows.into_values() {
            if let (Some(request), true) = (request, changes != Counters::default()) {
                self.count(tx, &request, &changes).await?;
            }
        }
        Ok(unknown)
    }

    /// Counts the changes of one request, and ends it when they were its last.
    async fn count(
        &self,
        tx: &mut Tx<'_>,
        request: &ActiveRequest,
        changes: &Counters,
    ) -> Result<(), StoreError> {
        let id = request.request_id;
        let (step, mut tally) = inbound::last_tally(tx, id, self.session.as_uuid()).await?;
        tally.add(changes);
        report::tally(tx, id, self.session, step + 1, &tally).await?;
        let mut counters = plan::start(request);
        counters.add(&request::changes(tx, id).await?);
        if counters.is_complete() {
            if request::complete(tx, id).await? {
                plan::finish(tx, request, &counters).await?;
            }
            if !operation::has_letters(tx, id).await? {
                chunk::delete_keys(tx, &[id.as_uuid()]).await?;
            }
        }
        if request.callback {
            callbacks::enqueue_state(tx, request).await?;
        }
        Ok(())
    }
}

/// Moves one message to the state that its receipts tell.
async fn change(
    tx: &mut Tx<'_>,
    case: &Case,
    request: &ActiveRequest,
    changes: &mut Counters,
) -> Result<(), StoreError> {
    let told: Vec<Told> = sms::told(tx, case.root, case.pos)
        .await?
        .into_iter()
        .map(|row| {
            let fits = row.told_at.is_some_and(|at| at.plus(SKEW) > row.sent_at);
            let fate = row.fate.filter(|_| fits).and_then(Fate::from_number);
            Told {
                part: row.part,
                parts: row.parts,
                fate,
                code: row.code.unwrap_or_default(),
            }
        })
        .collect();
    let (to, reason, code) = match settle(&told) {
        Some(settled) => settled,
        // What was taken and not refused within its time counts as delivered.
        None if case.overdue => (State::Delivered, "no_receipt", 0),
        None => return Ok(()),
    };
    let Some(after) = inbound::last_event(tx, case.root, case.pos).await? else {
        return Ok(());
    };
    let from = State::from_number(after.state);
    let moves = match (from, to) {
        // A late receipt corrects what was thought before.
        (Some(State::Processing), _) | (Some(State::Delivered), State::Bounced) => true,
        (Some(State::Bounced), State::Delivered) => !case.overdue,
        _ => false,
    };
    let (Some(from), true) = (from, moves && after.seq < EVENTS_MAX) else {
        return Ok(());
    };
    let event = Correction {
        root: case.root,
        pos: case.pos,
        after,
        state: to.number(),
        code,
        reason,
        at: tx.now(),
    };
    inbound::add_event(tx, &event).await?;
    changes.shift(from, to, 1);
    if let Some(process_id) = sms::process(tx, case.root, case.pos).await? {
        let body = json!({
            "request": request.request_uid,
            "outcome": to.name(),
            "attempt": after.attempt,
        });
        let entry = Entry::new("messaging.message.ended")
            .subject("message", uid::message_id(case.root, case.pos))
            .process(&process_id)
            .body(body);
        publica_journal::append(tx, &request.origin(), entry);
    }
    Ok(())
}
