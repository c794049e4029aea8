//! Upload: from a stream of rows to chunks in the store.
//!
//! Memory holds one chunk. A chunk commits with its rows, sums and root, so an upload that was
//! cut short goes on from the last one; sending a chunk again is recognised by its content.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use aws_lc_rs::digest::{Context, SHA256};
use publica_journal::append;
use publica_proto::payments::v1 as pb;
use publica_rpc::Invalid;
use publica_seal::Keyring;
use publica_store::{Db, StoreError, Tx};
use publica_types::Origin;
use serde_json::json;

use crate::app::batch::on_wire;
use crate::app::validation::{Messages, next_message};
use crate::app::{App, callback, entry};
use crate::domain::address::Modality;
use crate::domain::batch::{Content, State, Total};
use crate::domain::ids::BatchId;
use crate::domain::instruction::{
    DUPLICATE, INSTRUCTION_ID_CHARS, OTHER_CURRENCY, Reason, Received, Sound, Verdict, check,
    instruction_leaf, refusal_leaf,
};
use crate::domain::partner::Kind;
use crate::domain::{address::within, merkle};
use crate::error::Error;
use crate::sealed::NARRATIONS;
use crate::store::batch::{self as batches, Added, BatchRow};
use crate::store::chunk::{self as sql, InstructionRow, NewChunk, RefusedRow};
use crate::store::{beneficiary, programme};

/// Under which a chunk's distinct narrations are sealed.
/// What stands for an institution where the payee gets a voucher.
pub(crate) const VOUCHER_INSTITUTION: &str = "VOUCHER";
/// Tries again when another batch took an instruction id at the same moment.
const TRIES: usize = 4;

pub(crate) fn received(instruction: pb::Instruction) -> Received {
    Received {
        instruction_id: instruction.instruction_id,
        functional_id: instruction.functional_id,
        amount: instruction.amount,
        currency: instruction.currency,
        narration: instruction.narration,
        process_id: instruction.process_id,
    }
}

/// A row with what can be said about it without the store.
#[derive(Debug, Clone)]
struct Prepared {
    ordinal: i64,
    row: Result<Paid, (String, Reason)>,
}

#[derive(Debug, Clone)]
struct Paid {
    instruction_id: String,
    payee: Vec<u8>,
    amount_minor: i64,
    narration_no: i64,
    process_id: String,
}

/// A chunk on its way into the store.
#[derive(Clone)]
struct Intake {
    origin: Origin,
    batch_id: BatchId,
    source_no: i64,
    currency: String,
    fallback: bool,
    chunk_no: i64,
    content: Vec<u8>,
    narrations: Vec<u8>,
    rows: Vec<Prepared>,
}

impl App {
    pub(crate) async fn upload_instructions(
        &self,
        origin: &Origin,
        mut stream: impl Messages<pb::UploadInstructionsRequest>,
    ) -> Result<pb::UploadInstructionsResponse, Error> {
        let missing = || Invalid::new().add("batch_id", "is required in the first message");
        let mut message = next_message(&mut stream).await?.ok_or_else(missing)?;
        let db = self.db(origin).await?;
        let batch = self.batch(&db, &message.batch_id).await?;
        let source = programme::find_source_by_no(&mut db.clone(), batch.source_no).await?;
        let source = source.ok_or(Error::corrupt("the source block of a batch is missing"))?;
        self.speak(origin, Kind::Block, &source.source_id).await?;
        let size = batch.chunk_rows;
        let mut next = message.first_ordinal;
        let aligned = next >= 0 && next % size == 0 && next <= batch.received_count;
        if !aligned {
            let full = batch.received_count / size * size;
            return Err(Error::UploadGap { next: full });
        }
        let size = usize::try_from(size).map_err(|_| Error::corrupt("chunk size"))?;
        let mut waiting: Vec<Received> = Vec::with_capacity(size);
        let complete = loop {
            for instruction in message.instructions {
                waiting.push(received(instruction));
                if waiting.len() == size {
                    let rows = std::mem::replace(&mut waiting, Vec::with_capacity(size));
                    next = self.take_chunk(&db, origin, &batch, next, rows).await?;
                }
            }
            if message.complete {
                break true;
            }
            match next_message(&mut stream).await? {
                Some(more) => message = more,
                None => break false,
            }
        };
        // Without the last message, rows short of a chunk are not kept: they come again.
        if complete {
            if !waiting.is_empty() {
                next = self.take_chunk(&db, origin, &batch, next, waiting).await?;
            }
            self.complete(&db, origin, batch.batch_id, next).await?;
        }
        let mut db = db;
        let batch = batches::find(&mut db, batch.batch_id).await?;
        let batch = batch.ok_or(Error::corrupt("a batch is missing"))?;
        Ok(pb::UploadInstructionsResponse {
            batch: Some(on_wire(&mut db, batch).await?),
        })
    }

    /// Stores rows as a chunk, and tells where the next one begins.
    async fn take_chunk(
        &self,
        db: &Db,
        origin: &Origin,
        batch: &BatchRow,
        first: i64,
        rows: Vec<Received>,
    ) -> Result<i64, Error> {
        let count = i64::try_from(rows.len()).map_err(|_| Error::corrupt("chunk size"))?;
        let paying = programme::find_programme(&mut db.clone(), batch.programme_id).await?;
        let paying = paying.ok_or(Error::corrupt("the programme of a batch is missing"))?;
        let (narrations, prepared) = self.prepare(first, &rows, &batch.currency)?;
        let intake = Intake {
            origin: origin.clone(),
            batch_id: batch.batch_id,
            source_no: batch.source_no,
            currency: batch.currency.clone(),
            fallback: !paying.fallback_group.is_empty(),
            chunk_no: first / batch.chunk_rows,
            content: content(&rows),
            narrations,
            rows: prepared,
        };
        drop(rows);
        for _ in 1..TRIES {
            let tried = db.write("payments.take_chunk", intake.clone(), |tx, intake| {
                Box::pin(take(tx, intake))
            });
            match tried.await {
                Err(Error::Store(StoreError::UniqueViolation { .. })) => {}
                other => return other.map(|()| first + count),
            }
        }
        let last = db.write("payments.take_chunk", intake, |tx, intake| {
            Box::pin(take(tx, intake))
        });
        last.await.map(|()| first + count)
    }

    fn prepare(
        &self,
        first: i64,
        rows: &[Received],
        currency: &str,
    ) -> Result<(Vec<u8>, Vec<Prepared>), Error> {
        let mut texts: BTreeMap<String, i64> = BTreeMap::new();
        let mut prepared = Vec::with_capacity(rows.len());
        for (ordinal, row) in (first..).zip(rows) {
            let sound = check(row).and_then(|sound| match sound.currency.code() == currency {
                true => Ok(sound),
                false => Err(OTHER_CURRENCY),
            });
            let row = match sound {
                Ok(sound) => Ok(self.paid(sound, &mut texts)),
                Err(reason) => Err((shown_id(&row.instruction_id), reason)),
            };
            prepared.push(Prepared { ordinal, row });
        }
        let mut ordered: Vec<(i64, String)> = texts
            .into_iter()
            .map(|(text, number)| (number, text))
            .collect();
        ordered.sort_unstable();
        let texts: Vec<String> = ordered.into_iter().map(|(_, text)| text).collect();
        let json = serde_json::to_vec(&texts).map_err(|_| Error::corrupt("narrations"))?;
        Ok((seal_narrations(&self.keyring, &json), prepared))
    }

    fn paid(&self, sound: Sound, texts: &mut BTreeMap<String, i64>) -> Paid {
        let fresh = i64::try_from(texts.len()).unwrap_or(i64::MAX);
        Paid {
            payee: self.payee(&sound.functional_id),
            instruction_id: sound.instruction_id,
            amount_minor: sound.amount_minor,
            narration_no: *texts.entry(sound.narration).or_insert(fresh),
            process_id: sound.process_id,
        }
    }

    async fn complete(
        &self,
        db: &Db,
        origin: &Origin,
        batch_id: BatchId,
        row_count: i64,
    ) -> Result<(), Error> {
        let phases = self.config.callbacks.phases.clone();
        let input = (
            origin.clone(),
            batch_id,
            row_count,
            self.keyring.clone(),
            phases,
        );
        db.write("payments.complete_batch", input, |tx, input| {
            Box::pin(async move {
                let (origin, batch_id, row_count, keyring, phases) = input;
                complete(tx, origin, *batch_id, *row_count).await?;
                let batch = batches::find(tx, *batch_id).await?;
                let batch = batch.ok_or(Error::corrupt("a batch is missing"))?;
                if batch.state()? == State::Rejected {
                    callback::tell_progress(tx, keyring, phases, &batch, true).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

fn seal_narrations(keyring: &Keyring, json: &[u8]) -> Vec<u8> {
    keyring.seal_block(&NARRATIONS, json)
}

/// A row's id as the list of refusals shows it: only one of good form says anything.
fn shown_id(id: &str) -> String {
    match within(id, INSTRUCTION_ID_CHARS) {
        true => id.to_owned(),
        false => String::new(),
    }
}

/// What was received, to tell a chunk that is sent again from another in its place.
fn content(rows: &[Received]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for row in rows {
        for field in [
            &row.instruction_id,
            &row.functional_id,
            &row.amount,
            &row.currency,
            &row.narration,
        ] {
            let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
            context.update(&length.to_be_bytes());
            context.update(field.as_bytes());
        }
        // A row without a case of its own has the hash that it had before there were any.
        if !row.process_id.is_empty() {
            context.update(b"case");
            context.update(row.process_id.as_bytes());
        }
    }
    context.finish().as_ref().to_vec()
}

/// Rows with their verdicts, as they go into the store.
struct Judged {
    instructions: Vec<InstructionRow>,
    refused: Vec<RefusedRow>,
    leaves: Vec<merkle::Hash>,
}

async fn take(tx: &mut Tx<'_>, intake: &Intake) -> Result<(), Error> {
    let batch = batches::lock(tx, intake.batch_id).await?;
    if let Some(stored) = sql::find(tx, intake.batch_id, intake.chunk_no).await? {
        return match stored.content == intake.content {
            true => Ok(()),
            false => Err(Error::ChunkChanged),
        };
    }
    let first = intake.rows.first().map_or(0, |row| row.ordinal);
    let state = batch.state()?;
    if state != State::Received {
        return Err(Error::BatchState {
            state: state.as_str(),
        });
    }
    if first != batch.received_count {
        return Err(Error::UploadGap {
            next: batch.received_count,
        });
    }
    let judged = judge(tx, intake).await?;
    sql::insert_instructions(tx, intake.batch_id, intake.source_no, &judged.instructions).await?;
    sql::insert_refused(tx, intake.batch_id, &judged.refused).await?;
    let root = merkle::root(&judged.leaves);
    let count = i64::try_from(intake.rows.len()).unwrap_or(i64::MAX);
    let chunk = NewChunk {
        chunk_no: intake.chunk_no,
        first_ordinal: first,
        row_count: count,
        content: intake.content.clone(),
        root: root.to_vec(),
        narrations: intake.narrations.clone(),
        totals: totals(&judged.instructions),
    };
    sql::insert(tx, intake.batch_id, &chunk).await?;
    let added = added(count, &chunk.totals, &judged);
    batches::add_rows(tx, intake.batch_id, &added).await?;
    let body = json!({
        "chunk": intake.chunk_no,
        "rows": count,
        "accepted": added.accepted,
        "amount_minor": added.accepted_minor,
        "refused": added.refused,
        "unresolved": added.unresolved,
        "root": hex::encode(root),
    });
    let entry = entry(
        "payments.batch.rows_received",
        "batch",
        intake.batch_id,
        body,
    );
    append(tx, &intake.origin, entry);
    append_cases(tx, intake, &judged);
    Ok(())
}

/// An entry for each instruction that has a case of its own: its place under the root that the
/// entries of the batch, from approval to settlement, are about.
fn append_cases(tx: &mut Tx<'_>, intake: &Intake, judged: &Judged) {
    let cases: BTreeMap<i64, &str> = intake
        .rows
        .iter()
        .filter_map(|row| Some((row.ordinal, row.row.as_ref().ok()?.process_id.as_str())))
        .filter(|(_, case)| !case.is_empty())
        .collect();
    for row in &judged.instructions {
        let Some(case) = cases.get(&row.ordinal) else {
            continue;
        };
        let body = json!({
            "chunk": intake.chunk_no,
            "ordinal": row.ordinal,
            "amount_minor": row.amount_minor,
            "currency": intake.currency,
        });
        let id = intake.batch_id;
        let entry = entry("payments.instruction.received", "batch", id, body);
        append(tx, &intake.origin, entry.process(*case));
    }
}

fn added(count: i64, totals: &[Total], judged: &Judged) -> Added {
    let mut added = Added {
        received: count,
        refused: i64::try_from(judged.refused.len()).unwrap_or(i64::MAX),
        ..Added::default()
    };
    for total in totals {
        if Verdict::of_code(total.verdict).funded() {
            added.accepted += total.item_count;
            added.accepted_minor += total.amount_minor;
        } else {
            added.unresolved += total.item_count;
            added.unresolved_minor += total.amount_minor;
        }
    }
    added
}

async fn judge(tx: &mut Tx<'_>, intake: &Intake) -> Result<Judged, Error> {
    let sound = || intake.rows.iter().filter_map(|row| row.row.as_ref().ok());
    let mut ids: Vec<&str> = sound().map(|paid| paid.instruction_id.as_str()).collect();
    // Neighbouring keys share pages.
    ids.sort_unstable();
    let used: HashSet<String> = sql::used(tx, intake.source_no, &ids)
        .await?
        .into_iter()
        .collect();
    let payees: BTreeSet<&[u8]> = sound().map(|paid| paid.payee.as_slice()).collect();
    let payees: Vec<Vec<u8>> = payees.into_iter().map(<[u8]>::to_vec).collect();
    let routes = beneficiary::routes(tx, intake.source_no, &payees).await?;
    let routes: BTreeMap<&[u8], &beneficiary::RouteRow> = routes
        .iter()
        .map(|route| (route.payee.as_slice(), route))
        .collect();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut judged = Judged {
        instructions: Vec::new(),
        refused: Vec::new(),
        leaves: Vec::new(),
    };
    for Prepared { ordinal, row } in &intake.rows {
        let fresh = match row {
            Ok(paid) if used.contains(&paid.instruction_id) => Err(DUPLICATE),
            Ok(paid) if !seen.insert(&paid.instruction_id) => Err(DUPLICATE),
            Ok(paid) => Ok(paid),
            Err((_, reason)) => Err(*reason),
        };
        match fresh {
            Ok(paid) => {
                let route = routes.get(paid.payee.as_slice()).copied();
                judged.accept(*ordinal, paid, route, intake);
            }
            Err(reason) => {
                let id = match row {
                    Ok(paid) => paid.instruction_id.clone(),
                    Err((id, _)) => id.clone(),
                };
                judged.refuse(*ordinal, id, reason);
            }
        }
    }
    Ok(judged)
}

impl Judged {
    fn accept(
        &mut self,
        ordinal: i64,
        paid: &Paid,
        route: Option<&beneficiary::RouteRow>,
        intake: &Intake,
    ) {
        let (verdict, institution) = verdict(route, intake.fallback);
        let id = &paid.instruction_id;
        let leaf = instruction_leaf(id, &paid.payee, paid.amount_minor, &intake.currency);
        self.leaves.push(leaf);
        self.instructions.push(InstructionRow {
            ordinal,
            instruction_id: id.clone(),
            payee: paid.payee.clone(),
            amount_minor: paid.amount_minor,
            institution,
            verdict: verdict.code(),
            narration_no: paid.narration_no,
            mapping_version: route.map_or(0, |route| route.version),
        });
    }

    fn refuse(&mut self, ordinal: i64, instruction_id: String, reason: Reason) {
        self.leaves.push(refusal_leaf(ordinal, reason.code));
        self.refused.push(RefusedRow {
            ordinal,
            instruction_id,
            reason_code: reason.code.to_owned(),
            reason: reason.text.to_owned(),
        });
    }
}

fn verdict(route: Option<&beneficiary::RouteRow>, fallback: bool) -> (Verdict, String) {
    let Some(route) = route else {
        return (Verdict::Unknown, String::new());
    };
    match Modality::parse(&route.modality) {
        None => (Verdict::Inactive, route.institution.clone()),
        Some(_) if !route.active => (Verdict::Inactive, route.institution.clone()),
        Some(Modality::Voucher) if fallback => (Verdict::Voucher, VOUCHER_INSTITUTION.to_owned()),
        Some(Modality::Voucher) => (Verdict::NoVouchers, VOUCHER_INSTITUTION.to_owned()),
        Some(_) => (Verdict::Accepted, route.institution.clone()),
    }
}

/// Sums over the rows of a chunk, by institution and verdict.
pub(crate) fn totals(rows: &[InstructionRow]) -> Vec<Total> {
    let mut sums: BTreeMap<(&str, i64), (i64, i64)> = BTreeMap::new();
    for row in rows {
        let sum = sums
            .entry((row.institution.as_str(), row.verdict))
            .or_default();
        sum.0 += 1;
        sum.1 = sum.1.saturating_add(row.amount_minor);
    }
    let total =
        |((institution, verdict), (item_count, amount_minor)): ((&str, i64), (i64, i64))| Total {
            institution: institution.to_owned(),
            verdict,
            item_count,
            amount_minor,
        };
    sums.into_iter().map(total).collect()
}

/// Ends an upload: the root over all chunks, the digest to approve, and the next state.
async fn complete(
    tx: &mut Tx<'_>,
    origin: &Origin,
    batch_id: BatchId,
    row_count: i64,
) -> Result<(), Error> {
    let batch = batches::lock(tx, batch_id).await?;
    if batch.state()? != State::Received {
        // An upload that is sent again in full has nothing left to do.
        return Ok(());
    }
    if row_count != batch.received_count {
        return Err(Error::UploadGap {
            next: batch.received_count,
        });
    }
    if batch.expected_count != 0 && batch.expected_count != batch.received_count {
        return Err(Invalid::new()
            .add("expected_count", "is not what was received")
            .into());
    }
    let digest = seal_content(tx, &batch).await?;
    let paying = programme::find_programme(tx, batch.programme_id).await?;
    let paying = paying.ok_or(Error::corrupt("the programme of a batch is missing"))?;
    let over = paying.batch_ceiling_minor > 0 && batch.accepted_minor > paying.batch_ceiling_minor;
    let (state, reason) = match (batch.accepted_count, over) {
        (0, _) => (State::Rejected, "nothing in it can be paid"),
        (_, true) => (
            State::Rejected,
            "its total is above the programme's ceiling",
        ),
        _ => (State::PendingApproval, ""),
    };
    batches::set_state(tx, &batch, state, reason).await?;
    let body = json!({
        "state": state.as_str(),
        "rows": batch.received_count,
        "accepted": batch.accepted_count,
        "amount_minor": batch.accepted_minor,
        "digest": hex::encode(digest),
    });
    append(
        tx,
        origin,
        entry("payments.batch.completed_upload", "batch", batch_id, body),
    );
    Ok(())
}

async fn seal_content(tx: &mut Tx<'_>, batch: &BatchRow) -> Result<merkle::Hash, Error> {
    let roots = hashes(sql::roots(tx, batch.batch_id).await?)?;
    let root = merkle::root(&roots);
    let digest = content_digest(tx, batch, &root).await?;
    batches::complete(tx, batch.batch_id, &root, &digest).await?;
    Ok(digest)
}

/// The digest of a batch as it is stored now, over a given root.
pub(crate) async fn content_digest(
    tx: &mut Tx<'_>,
    batch: &BatchRow,
    root: &merkle::Hash,
) -> Result<merkle::Hash, Error> {
    let source = programme::find_source_by_no(tx, batch.source_no).await?;
    let source = source.ok_or(Error::corrupt("the source block of a batch is missing"))?;
    let totals = sql::sum_totals(tx, batch.batch_id).await?;
    let programme = batch.programme_id.to_string();
    let content = Content {
        batch_id: batch.batch_id,
        source_id: &source.source_id,
        source_batch: &batch.source_batch,
        programme: &programme,
        currency: &batch.currency,
        row_count: batch.received_count,
        root,
        totals: &totals,
    };
    Ok(content.digest())
}

/// Hashes as stored.
pub(crate) fn hashes(stored: Vec<Vec<u8>>) -> Result<Vec<merkle::Hash>, Error> {
    let hash = |bytes: Vec<u8>| {
        bytes
            .try_into()
            .map_err(|_| Error::corrupt("a stored hash"))
    };
    stored.into_iter().map(hash).collect()
}
