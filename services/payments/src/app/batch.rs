//! Batches: announcing, reading and deciding on them.

use publica_journal::{append, write};
use publica_proto::payments::v1 as pb;
use publica_rpc::{Invalid, PageToken, page_size};
use publica_seal::Keyring;
use publica_store::{Db, Tx};
use publica_types::{Origin, Timestamp, Uuid};
use publica_work::Job;
use serde_json::json;

use crate::app::account::next;
use crate::app::callback;
use crate::app::source::{check_number, check_source_id};
use crate::app::{App, call, check_reason, entry, parse_id, party, wire};
use crate::domain::batch::State;
use crate::domain::ids::{BatchId, GroupId, TransferId};
use crate::error::Error;
use crate::jobs::RELEASE;
use crate::store::Ask;
use crate::store::batch::{self as sql, BatchRow, NewBatch};
use crate::store::ledger::{self, Ending, Order};
use crate::store::{chunk, programme};

/// How a caller changes the state of a batch.
struct Change {
    origin: Origin,
    keyring: Keyring,
    phases: Vec<i64>,
    batch_id: BatchId,
    next: State,
    reason: String,
    group: GroupId,
}

impl App {
    pub(crate) async fn create_batch(
        &self,
        origin: &Origin,
        mut request: pb::CreateBatchRequest,
    ) -> Result<pb::CreateBatchResponse, Error> {
        let target = self.target(request.callback.take(), &request.source_id)?;
        let mut invalid = Invalid::new();
        check_source_id(&mut invalid, "source_id", &request.source_id);
        check_number(&mut invalid, "source_request", &request.source_request);
        check_number(&mut invalid, "source_batch", &request.source_batch);
        if request.expected_count < 0 {
            invalid.push("expected_count", "must not be negative");
        }
        if !matches!(request.fingerprint.len(), 0 | 32) {
            invalid.push("fingerprint", "must be empty or a SHA-256 hash");
        }
        invalid.check()?;
        let source = self.source(origin, &request.source_id).await?;
        let db = self.db(origin).await?;
        let paying = match request.programme.as_str() {
            "" => match source.programme_id {
                Some(id) => programme::find_programme(&mut db.clone(), id).await?,
                None => {
                    let code = &self.config.default_programme;
                    programme::find_programme_by(&mut db.clone(), code).await?
                }
            },
            named => programme::find_programme_by(&mut db.clone(), named).await?,
        };
        let paying = paying.ok_or(Error::ProgrammeMissing)?;
        let new = NewBatch {
            batch_id: BatchId::new(&*self.clock, &*self.entropy),
            source_no: source.source_no,
            source_request: request.source_request,
            source_batch: request.source_batch,
            programme_id: paying.programme_id,
            currency: paying.currency,
            fingerprint: request.fingerprint.to_vec(),
            maker: party(origin).to_owned(),
            process_id: origin.process_id.clone(),
            expected_count: request.expected_count,
            chunk_rows: self.config.chunk_rows,
        };
        let input = (origin.clone(), new, self.keyring.clone(), target);
        db.write("payments.create_batch", input, |tx, input| {
            Box::pin(async move {
                let (origin, new, keyring, target) = input;
                let answer = create(tx, origin, new).await?;
                if let (true, Some(target)) = (answer.created, target) {
                    callback::follow(tx, keyring, new.batch_id, target).await?;
                }
                Ok(answer)
            })
        })
        .await
    }

    pub(crate) async fn get_batch(
        &self,
        origin: &Origin,
        request: pb::GetBatchRequest,
    ) -> Result<pb::GetBatchResponse, Error> {
        let mut db = self.db(origin).await?;
        let batch = self.visible_batch(origin, &db, &request.batch_id).await?;
        let bank_reason = self.bank_reason(&db, &batch).await?;
        let mut batch = on_wire(&mut db, batch).await?;
        batch.bank_reason = bank_reason;
        Ok(pb::GetBatchResponse { batch: Some(batch) })
    }

    /// Reads a batch by the id that a caller gave.
    pub(crate) async fn batch(&self, db: &Db, batch_id: &str) -> Result<BatchRow, Error> {
        let id: BatchId = parse_id(batch_id, "batch")?;
        sql::find(&mut db.clone(), id)
            .await?
            .ok_or(Error::not_found("batch"))
    }

    pub(crate) async fn list_batches(
        &self,
        origin: &Origin,
        request: pb::ListBatchesRequest,
    ) -> Result<pb::ListBatchesResponse, Error> {
        let mut db = self.db(origin).await?;
        let limit = page_size(request.page_size, 50, 1_000)?;
        let state = i64::from(request.state);
        let before: Option<(i64, Uuid)> = PageToken::decode(&state, &request.page_token)?;
        let before = match before {
            Some((time, id)) => (Timestamp::from_micros(time), BatchId::from_uuid(id)),
            // The end of what both engines can compare with.
            None => (
                Timestamp::from_micros(253_402_300_799_000_000),
                BatchId::from_uuid(Uuid::max()),
            ),
        };
        let mut rows = sql::list(&mut db, before, state, limit + 1).await?;
        let next_page_token = next(&mut rows, limit, |row: &BatchRow| {
            PageToken::encode(&state, &(row.created_at.micros(), row.batch_id.as_uuid()))
        });
        let mut batches = Vec::with_capacity(rows.len());
        for row in self.visible(origin, rows).await? {
            batches.push(on_wire(&mut db, row).await?);
        }
        Ok(pb::ListBatchesResponse {
            batches,
            next_page_token,
        })
    }

    pub(crate) async fn approve_batch(
        &self,
        origin: &Origin,
        request: pb::ApproveBatchRequest,
    ) -> Result<pb::ApproveBatchResponse, Error> {
        const RPC: &str = "/publica.payments.v1.BatchService/ApproveBatch";
        let call = call(
            "payments.approve_batch",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let id: BatchId = parse_id(&request.batch_id, "batch")?;
        let digest = hex::decode(&request.digest).map_err(|_| Error::DigestChanged)?;
        let db = self.db(origin).await?;
        let input = (origin.clone(), id, digest);
        let done = write(&db, call, input, |tx, (origin, id, digest)| {
            Box::pin(async move {
                let batch = approve(tx, origin, *id, digest).await?;
                Ok::<_, Error>(pb::ApproveBatchResponse {
                    batch: Some(on_wire(tx, batch).await?),
                })
            })
        })
        .await;
        if let Err(error @ (Error::ApproverIsMaker | Error::DigestChanged)) = &done {
            let body = json!({"reason": error.to_string()});
            let entry = entry("payments.batch.approval_refused", "batch", id, body);
            let entry = entry.outcome(publica_journal::Outcome::Refused);
            // On record before the refusal leaves.
            self.journal.record(origin, entry).await?;
        }
        done
    }

    pub(crate) async fn decline_batch(
        &self,
        origin: &Origin,
        request: pb::DeclineBatchRequest,
    ) -> Result<pb::DeclineBatchResponse, Error> {
        const RPC: &str = "/publica.payments.v1.BatchService/DeclineBatch";
        check_reason(&request.reason)?;
        let call = call(
            "payments.decline_batch",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let change = self.change(origin, &request.batch_id, State::Declined, request.reason)?;
        let db = self.db(origin).await?;
        write(&db, call, change, |tx, change| {
            Box::pin(async move {
                let batch = decide(tx, change).await?;
                Ok::<_, Error>(pb::DeclineBatchResponse { batch: Some(batch) })
            })
        })
        .await
    }

    pub(crate) async fn cancel_batch(
        &self,
        origin: &Origin,
        request: pb::CancelBatchRequest,
    ) -> Result<pb::CancelBatchResponse, Error> {
        const RPC: &str = "/publica.payments.v1.BatchService/CancelBatch";
        check_reason(&request.reason)?;
        let call = call(
            "payments.cancel_batch",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let change = self.change(origin, &request.batch_id, State::Cancelled, request.reason)?;
        let db = self.db(origin).await?;
        write(&db, call, change, |tx, change| {
            Box::pin(async move {
                let batch = decide(tx, change).await?;
                Ok::<_, Error>(pb::CancelBatchResponse { batch: Some(batch) })
            })
        })
        .await
    }

    pub(crate) async fn pause_batch(
        &self,
        origin: &Origin,
        request: pb::PauseBatchRequest,
    ) -> Result<pb::PauseBatchResponse, Error> {
        const RPC: &str = "/publica.payments.v1.BatchService/PauseBatch";
        check_reason(&request.reason)?;
        let call = call(
            "payments.pause_batch",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let change = self.change(origin, &request.batch_id, State::Paused, request.reason)?;
        let db = self.db(origin).await?;
        write(&db, call, change, |tx, change| {
            Box::pin(async move {
                let batch = decide(tx, change).await?;
                Ok::<_, Error>(pb::PauseBatchResponse { batch: Some(batch) })
            })
        })
        .await
    }

    pub(crate) async fn resume_batch(
        &self,
        origin: &Origin,
        request: pb::ResumeBatchRequest,
    ) -> Result<pb::ResumeBatchResponse, Error> {
        const RPC: &str = "/publica.payments.v1.BatchService/ResumeBatch";
        let call = call(
            "payments.resume_batch",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let reason = String::new();
        // Where it goes on depends on where it stopped; the unit looks.
        let change = self.change(origin, &request.batch_id, State::Dispatching, reason)?;
        let db = self.db(origin).await?;
        write(&db, call, change, |tx, change| {
            Box::pin(async move {
                let batch = resume(tx, change).await?;
                Ok::<_, Error>(pb::ResumeBatchResponse { batch: Some(batch) })
            })
        })
        .await
    }

    fn change(
        &self,
        origin: &Origin,
        batch_id: &str,
        next: State,
        reason: String,
    ) -> Result<Change, Error> {
        let batch_id = parse_id(batch_id, "batch")?;
        Ok(Change {
            origin: origin.clone(),
            keyring: self.keyring.clone(),
            phases: self.config.callbacks.phases.clone(),
            batch_id,
            next,
            reason,
            group: self.group(),
        })
    }
}

async fn create(
    tx: &mut Tx<'_>,
    origin: &Origin,
    new: &NewBatch,
) -> Result<pb::CreateBatchResponse, Error> {
    let created = sql::insert(tx, new).await?;
    let row = sql::find_by_request(tx, new.source_no, &new.source_request).await?;
    let row = row.ok_or(Error::corrupt("a new batch is missing"))?;
    let same = row.fingerprint == new.fingerprint
        && row.source_batch == new.source_batch
        && row.programme_id == new.programme_id
        && row.expected_count == new.expected_count;
    if !same {
        return Err(Error::SourceRequestReused);
    }
    if created {
        let body = json!({"source_batch": row.source_batch, "programme": row.programme_id});
        append(
            tx,
            origin,
            entry("payments.batch.created", "batch", row.batch_id, body),
        );
    }
    Ok(pb::CreateBatchResponse {
        batch: Some(on_wire(tx, row).await?),
        created,
    })
}

/// A batch with its source block's id, its approvals and how many it needs.
pub(crate) async fn on_wire(ask: &mut impl Ask, row: BatchRow) -> Result<pb::Batch, Error> {
    let source = programme::find_source_by_no(ask, row.source_no).await?;
    let paying = programme::find_programme(ask, row.programme_id).await?;
    let approvals = sql::approvals(ask, &row).await?;
    let source_id = source.map(|source| source.source_id).unwrap_or_default();
    let needed = paying.map_or(1, |paying| paying.approvals_needed);
    Ok(wire::batch(row, source_id, needed, approvals))
}

async fn approve(
    tx: &mut Tx<'_>,
    origin: &Origin,
    id: BatchId,
    digest: &[u8],
) -> Result<BatchRow, Error> {
    let batch = sql::lock(tx, id).await?;
    let state = batch.state()?;
    if state != State::PendingApproval {
        return Err(Error::BatchState {
            state: state.as_str(),
        });
    }
    if batch.maker == party(origin) {
        return Err(Error::ApproverIsMaker);
    }
    if batch.digest.as_deref() != Some(digest) {
        return Err(Error::DigestChanged);
    }
    let paying = programme::find_programme(tx, batch.programme_id).await?;
    let paying = paying.ok_or(Error::corrupt("the programme of a batch is missing"))?;
    if paying.stopped {
        return Err(Error::ProgrammeStopped);
    }
    sql::approve(tx, id, digest, party(origin)).await?;
    let count = sql::approvals(tx, &batch).await?.len();
    let body = json!({"digest": hex::encode(digest), "approvals": count});
    append(
        tx,
        origin,
        entry("payments.batch.approved", "batch", id, body),
    );
    if i64::try_from(count).unwrap_or(i64::MAX) >= paying.approvals_needed {
        sql::set_state(tx, &batch, State::Approved, "").await?;
        release(tx, &batch).await?;
    }
    sql::find(tx, id)
        .await?
        .ok_or(Error::corrupt("an approved batch is missing"))
}

/// Hands the batch to background work.
pub(crate) async fn release(tx: &mut Tx<'_>, batch: &BatchRow) -> Result<(), Error> {
    let id = batch.batch_id;
    let job = Job::new(RELEASE, id.to_string(), id.to_string().into_bytes()).due(tx.now());
    publica_work::enqueue(tx, &system(batch), job).await?;
    Ok(())
}

/// Background work on a batch belongs to the case that the batch belongs to.
pub(crate) fn system(batch: &BatchRow) -> Origin {
    let origin = Origin::system("payments.batch");
    match &batch.process_id {
        Some(process) => origin.in_process(process.clone()),
        None => origin,
    }
}

async fn decide(tx: &mut Tx<'_>, change: &Change) -> Result<pb::Batch, Error> {
    let batch = sql::lock(tx, change.batch_id).await?;
    sql::set_state(tx, &batch, change.next, &change.reason).await?;
    if change.next == State::Cancelled {
        void_holds(tx, &batch, change.group).await?;
    }
    if matches!(change.next, State::Cancelled | State::Declined) {
        callback::tell_progress(tx, &change.keyring, &change.phases, &batch, true).await?;
    }
    let action = match change.next {
        State::Declined => "payments.batch.declined",
        State::Cancelled => "payments.batch.cancelled",
        _ => "payments.batch.paused",
    };
    let body = json!({"reason": change.reason});
    append(
        tx,
        &change.origin,
        entry(action, "batch", change.batch_id, body),
    );
    let batch = sql::find(tx, change.batch_id).await?;
    on_wire(tx, batch.ok_or(Error::corrupt("a batch is missing"))?).await
}

/// Gives back what was held for a batch that is not sent.
async fn void_holds(tx: &mut Tx<'_>, batch: &BatchRow, group: GroupId) -> Result<(), Error> {
    let chunks = chunk::all(tx, batch.batch_id).await?;
    let orders: Vec<Order> = chunks
        .iter()
        .filter_map(|chunk| chunk.hold_id)
        .map(|hold| Order::End {
            pending: TransferId::from_uuid(hold),
            ending: Ending::Void,
            reason: "batch cancelled".to_owned(),
        })
        .collect();
    if !orders.is_empty() {
        ledger::post_all(tx, group, &orders).await?;
    }
    Ok(())
}

async fn resume(tx: &mut Tx<'_>, change: &Change) -> Result<pb::Batch, Error> {
    let batch = sql::lock(tx, change.batch_id).await?;
    let next = match batch.state()? {
        State::FundsRefused => State::Approved,
        _ => State::Dispatching,
    };
    let paying = programme::find_programme(tx, batch.programme_id).await?;
    if paying.is_none_or(|paying| paying.stopped) {
        return Err(Error::ProgrammeStopped);
    }
    if batch.state()? == State::FundsReserved {
        return Err(Error::BatchState {
            state: State::FundsReserved.as_str(),
        });
    }
    sql::set_state(tx, &batch, next, "").await?;
    release(tx, &batch).await?;
    let body = json!({"state": next.as_str()});
    append(
        tx,
        &change.origin,
        entry("payments.batch.resumed", "batch", change.batch_id, body),
    );
    let batch = sql::find(tx, change.batch_id).await?;
    on_wire(tx, batch.ok_or(Error::corrupt("a batch is missing"))?).await
}
