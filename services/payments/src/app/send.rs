//! Sending a chunk: where its money goes is decided once, when the intent is recorded. Whatever
//! happens to mappings afterwards, and however often the sending is taken up again, the same
//! payments go to the same addresses under the same ids.

use std::collections::{BTreeMap, BTreeSet};

use publica_journal::append;
use publica_store::Db;
use publica_types::{Secret, Uuid};
use serde_json::json;

use crate::app::batch::system;
use crate::app::intake::{content_digest, hashes, totals};
use crate::app::release::leaves;
use crate::app::{App, beneficiary, entry};
use crate::domain::batch::chunk;
use crate::domain::ids::{BatchId, with_version};
use crate::domain::instruction::{CHANGED_MAPPING, INACTIVE_MAPPING, NO_RAIL, Reason, Verdict};
use crate::domain::merkle;
use crate::domain::outcome::Outcome;
use crate::error::Error;
use crate::rail::{Item, Message};
use crate::store::batch::BatchRow;
use crate::store::beneficiary as mapper;
use crate::store::chunk::{self as sql, ChunkRow, InstructionRow};
use crate::store::exception::{self, ExceptionRow};

/// The attempt that message ids are made for. A chunk is never sent under a second one, since
/// nothing short of a definite refusal would allow it.
const ATTEMPT: u32 = 1;

/// A message, and the payments that belong into it but cannot be made any more because their
/// payee was forgotten after the intent.
struct Part {
    message: Message,
    gone: Vec<ExceptionRow>,
}

/// An intent to send: to be recorded before anything leaves.
struct Intent {
    batch: BatchRow,
    chunk_no: i64,
    hash: Vec<u8>,
    messages: usize,
    items: usize,
    /// Ordinals and versions of mappings that changed after intake.
    resolved: Vec<(i64, i64)>,
    /// Rows that cannot be paid any more.
    rejected: Vec<ExceptionRow>,
}

impl App {
    /// Sends a chunk that is posted, or goes on with one whose intent is on record.
    pub(crate) async fn send_chunk(
        &self,
        db: &Db,
        batch: &BatchRow,
        row: &ChunkRow,
    ) -> Result<(), Error> {
        let rows = self.approved_rows(db, batch, row).await?;
        let parts = match row.state {
            chunk::POSTED => {
                let (parts, intent) = self.resolve(db, batch, row, rows).await?;
                self.record_intent(db, intent).await?;
                parts
            }
            // Found with an intent and without an end: some of it may have been sent.
            _ => self.recall(db, batch, row, rows).await?,
        };
        self.send(db, batch, row, parts).await
    }

    /// The rows of a chunk that go over a rail, if they are still what approvers signed for.
    async fn approved_rows(
        &self,
        db: &Db,
        batch: &BatchRow,
        row: &ChunkRow,
    ) -> Result<Vec<InstructionRow>, Error> {
        let (from, to) = (row.first_ordinal, row.end());
        let mut rows = sql::rows(&mut db.clone(), batch.batch_id, from, to).await?;
        let leaves = leaves(db, batch, row, &rows).await?;
        if leaves.len() != usize::try_from(to - from).unwrap_or(0)
            || merkle::root(&leaves).as_slice() != row.root
        {
            return Err(Error::Altered("rows"));
        }
        // Sums are part of the digest, and money moved by them; verdicts are not in the leaves.
        if totals(&rows) != sql::totals(&mut db.clone(), batch.batch_id, row.chunk_no).await? {
            return Err(Error::Altered("sums"));
        }
        db.read("payments.verify_digest", batch.clone(), |tx, batch| {
            Box::pin(async move {
                let roots = hashes(sql::roots(tx, batch.batch_id).await?)?;
                let root = merkle::root(&roots);
                let digest = content_digest(tx, batch, &root).await?;
                match batch.digest.as_deref() == Some(&digest) {
                    true => Ok(()),
                    false => Err(Error::Altered("digest")),
                }
            })
        })
        .await?;
        rows.retain(|row| Verdict::of_code(row.verdict) == Verdict::Accepted);
        Ok(rows)
    }

    /// Decides where the money of a chunk goes: to the mappings as they are now.
    async fn resolve(
        &self,
        db: &Db,
        batch: &BatchRow,
        row: &ChunkRow,
        rows: Vec<InstructionRow>,
    ) -> Result<(Vec<Part>, Intent), Error> {
        let payees: Vec<Vec<u8>> = rows.iter().map(|row| row.payee.clone()).collect();
        let mappings = mapper::find_many(&mut db.clone(), batch.source_no, &payees).await?;
        let open = beneficiary::addresses(&self.keyring, db, batch.source_no, &mappings).await?;
        let mappings: BTreeMap<&[u8], &mapper::BeneficiaryRow> = mappings
            .iter()
            .map(|row| (row.payee.as_slice(), row))
            .collect();
        let (mut resolved, mut rejected) = (Vec::new(), Vec::new());
        let (mut versions, mut paid) = (BTreeMap::new(), Vec::new());
        for row in &rows {
            let mapping = mappings.get(row.payee.as_slice()).copied();
            let address = open.get(&row.payee);
            versions.insert(row.ordinal, row.mapping_version);
            let payable = match self.rails.serves(&row.institution) {
                true => still_payable(row, mapping, address),
                false => Err(NO_RAIL),
            };
            match payable {
                Ok((version, address)) => {
                    if version != row.mapping_version {
                        resolved.push((row.ordinal, version));
                        versions.insert(row.ordinal, version);
                    }
                    paid.push((row.clone(), Some(address.clone())));
                }
                // Never pay an old address silently.
                Err(reason) => rejected.push(refusal(row, reason.code)),
            }
        }
        let parts = self.parts(batch, row.chunk_no, paid)?;
        let intent = Intent {
            batch: batch.clone(),
            chunk_no: row.chunk_no,
            hash: self.intent_hash(batch, row.chunk_no, &rows, &versions),
            messages: parts.len(),
            items: parts.iter().map(|part| part.message.items.len()).sum(),
            resolved,
            rejected,
        };
        Ok((parts, intent))
    }

    /// The messages that an intent was recorded for, with the addresses of that time.
    async fn recall(
        &self,
        db: &Db,
        batch: &BatchRow,
        row: &ChunkRow,
        rows: Vec<InstructionRow>,
    ) -> Result<Vec<Part>, Error> {
        let (from, to) = (row.first_ordinal, row.end());
        let resolved = sql::resolved(&mut db.clone(), batch.batch_id, from, to).await?;
        let version = |row: &InstructionRow| {
            let later = resolved.get(&row.ordinal);
            later.copied().unwrap_or(row.mapping_version)
        };
        let versions = rows.iter().map(|row| (row.ordinal, version(row))).collect();
        let hash = self.intent_hash(batch, row.chunk_no, &rows, &versions);
        if row.intent.as_deref() != Some(hash.as_slice()) {
            return Err(Error::Altered("intent"));
        }
        let known = exception::exceptions(&mut db.clone(), batch.batch_id, from, to).await?;
        let known: BTreeSet<i64> = known.into_iter().map(|row| row.ordinal).collect();
        let wanted: Vec<(Vec<u8>, i64)> = rows
            .iter()
            .filter(|row| !known.contains(&row.ordinal))
            .map(|row| (row.payee.clone(), version(row)))
            .collect();
        let open = self.addresses_at(db, batch.source_no, &wanted).await?;
        let paid = rows.into_iter().filter(|row| !known.contains(&row.ordinal));
        let paid = paid.map(|row| {
            let address = open.get(&(row.payee.clone(), version(&row))).cloned();
            (row, address)
        });
        self.parts(batch, row.chunk_no, paid.collect())
    }

    /// Addresses by payee and version; those of payees who were forgotten are left out.
    async fn addresses_at(
        &self,
        db: &Db,
        source_no: i64,
        wanted: &[(Vec<u8>, i64)],
    ) -> Result<BTreeMap<(Vec<u8>, i64), String>, Error> {
        let payees: BTreeSet<&[u8]> = wanted.iter().map(|(payee, _)| payee.as_slice()).collect();
        let payees: Vec<Vec<u8>> = payees.into_iter().map(<[u8]>::to_vec).collect();
        let mut mappings = mapper::find_many(&mut db.clone(), source_no, &payees).await?;
        let wanted: BTreeSet<(&[u8], i64)> = wanted
            .iter()
            .map(|(payee, version)| (payee.as_slice(), *version))
            .collect();
        let moved: Vec<mapper::BeneficiaryRow> = mappings
            .iter()
            .filter(|row| !wanted.contains(&(row.payee.as_slice(), row.version)))
            .cloned()
            .collect();
        mappings.retain(|row| wanted.contains(&(row.payee.as_slice(), row.version)));
        let payees: Vec<Vec<u8>> = moved.iter().map(|row| row.payee.clone()).collect();
        let mut earlier = BTreeMap::new();
        if !payees.is_empty() {
            for row in mapper::history(&mut db.clone(), source_no, &payees).await? {
                if wanted.contains(&(row.payee.as_slice(), row.version)) {
                    earlier.insert(row.payee.clone(), row);
                }
            }
        }
        for mut row in moved {
            if let Some(earlier) = earlier.remove(&row.payee) {
                (row.version, row.address) = (earlier.version, earlier.address);
                mappings.push(row);
            }
        }
        let mut open = beneficiary::addresses(&self.keyring, db, source_no, &mappings).await?;
        let addressed = mappings.into_iter().filter_map(|row| {
            let address = open.remove(&row.payee)?;
            Some(((row.payee, row.version), address))
        });
        Ok(addressed.collect())
    }

    /// One message an institution.
    fn parts(
        &self,
        batch: &BatchRow,
        chunk_no: i64,
        paid: Vec<(InstructionRow, Option<String>)>,
    ) -> Result<Vec<Part>, Error> {
        let currency = batch.currency.parse();
        let currency = currency.map_err(|_| Error::corrupt("batch currency"))?;
        let mut parts: BTreeMap<String, (Vec<Item>, Vec<ExceptionRow>)> = BTreeMap::new();
        for (row, address) in paid {
            let part = parts.entry(row.institution.clone()).or_default();
            match address {
                Some(address) => part.0.push(Item {
                    end_to_end_id: self.end_to_end_id(batch.batch_id, row.ordinal),
                    address: Secret::new(address),
                    amount_minor: row.amount_minor,
                }),
                None => part.1.push(refusal(&row, INACTIVE_MAPPING.code)),
            }
        }
        let part = |(institution, (items, gone)): (String, (Vec<Item>, Vec<ExceptionRow>))| {
            let message_id = self.message_id(batch.batch_id, chunk_no, &institution);
            let message = Message {
                message_id,
                batch_id: batch.batch_id,
                institution,
                currency,
                items,
            };
            Part { message, gone }
        };
        Ok(parts.into_iter().map(part).collect())
    }

    /// A keyed hash over what an intent covers: each row that was to go over a rail, with the
    /// version of its mapping.
    fn intent_hash(
        &self,
        batch: &BatchRow,
        chunk_no: i64,
        rows: &[InstructionRow],
        versions: &BTreeMap<i64, i64>,
    ) -> Vec<u8> {
        let leaf = |row: &InstructionRow| {
            let version = versions.get(&row.ordinal).copied().unwrap_or_default();
            merkle::leaf(&[
                &row.ordinal.to_be_bytes(),
                &row.payee,
                &row.amount_minor.to_be_bytes(),
                row.institution.as_bytes(),
                &version.to_be_bytes(),
            ])
        };
        let leaves: Vec<merkle::Hash> = rows.iter().map(leaf).collect();
        let root = hex::encode(merkle::root(&leaves));
        let name = format!("{}:{chunk_no}:{root}", batch.batch_id);
        self.keyring.lookup("payments.send_intent", &name)
    }

    async fn record_intent(&self, db: &Db, intent: Intent) -> Result<(), Error> {
        db.write("payments.record_intent", intent, |tx, intent| {
            Box::pin(async move {
                let (id, chunk_no) = (intent.batch.batch_id, intent.chunk_no);
                sql::advance(tx, id, chunk_no, chunk::POSTED, chunk::INTENT).await?;
                sql::set_intent(tx, id, chunk_no, &intent.hash, &intent.resolved).await?;
                exception::put_exceptions(tx, id, &intent.rejected).await?;
                let body = json!({
                    "chunk": chunk_no,
                    "messages": intent.messages,
                    "items": intent.items,
                    "resolved_again": intent.resolved.len(),
                    "rejected": intent.rejected.len(),
                });
                let origin = system(&intent.batch);
                append(
                    tx,
                    &origin,
                    entry("payments.batch.intended", "batch", id, body),
                );
                Ok(())
            })
        })
        .await
    }

    /// Hands over what the rail does not have yet.
    async fn send(
        &self,
        db: &Db,
        batch: &BatchRow,
        row: &ChunkRow,
        parts: Vec<Part>,
    ) -> Result<(), Error> {
        let tenant = db.tenant().clone();
        let taken_up = row.state != chunk::POSTED;
        let (messages, mut count) = (parts.len(), 0);
        for part in parts {
            let message = part.message;
            let id = message.message_id;
            count += message.items.len();
            if taken_up {
                let asked = self.rails.query(&tenant, id).await?;
                if asked.is_some() {
                    count += part.gone.len();
                    continue;
                }
                self.record_gone(db, batch, row.chunk_no, part.gone).await?;
            }
            if message.items.is_empty() {
                continue;
            }
            if let Err(error) = self.rails.submit(&tenant, &message).await {
                // Without an acknowledgement only the rail knows; it must be asked.
                let arrived = self.rails.query(&tenant, id).await?;
                if arrived.is_none() {
                    return Err(error.into());
                }
            }
        }
        let input = (batch.clone(), row.chunk_no, messages, count);
        db.write(
            "payments.record_sent",
            input,
            |tx, (batch, chunk_no, messages, items)| {
                Box::pin(async move {
                    sql::advance(tx, batch.batch_id, *chunk_no, chunk::INTENT, chunk::SENT).await?;
                    let body = json!({"chunk": chunk_no, "messages": messages, "items": items});
                    append(
                        tx,
                        &system(batch),
                        entry("payments.batch.sent", "batch", batch.batch_id, body),
                    );
                    Ok(())
                })
            },
        )
        .await
    }

    /// Payments of a message that never arrived, to payees who were forgotten meanwhile.
    async fn record_gone(
        &self,
        db: &Db,
        batch: &BatchRow,
        chunk_no: i64,
        gone: Vec<ExceptionRow>,
    ) -> Result<(), Error> {
        if gone.is_empty() {
            return Ok(());
        }
        let input = (batch.clone(), chunk_no, gone);
        db.write(
            "payments.record_gone",
            input,
            |tx, (batch, chunk_no, gone)| {
                Box::pin(async move {
                    exception::put_exceptions(tx, batch.batch_id, gone).await?;
                    let body = json!({"chunk": chunk_no, "rejected": gone.len()});
                    let id = batch.batch_id;
                    let entry = entry("payments.batch.payees_gone", "batch", id, body);
                    append(tx, &system(batch), entry);
                    Ok(())
                })
            },
        )
        .await
    }

    /// The id of a payment on its rail; it follows from the instruction, so it needs no storage
    /// and is the same after any restart. Rails want version 4.
    pub(crate) fn end_to_end_id(&self, batch: BatchId, ordinal: i64) -> Uuid {
        self.derived("payments.rail_item", &format!("{batch}:{ordinal}"))
    }

    /// The id of a message on its rail.
    pub(crate) fn message_id(&self, batch: BatchId, chunk_no: i64, institution: &str) -> Uuid {
        let name = format!("{batch}:{chunk_no}:{institution}:{ATTEMPT}");
        self.derived("payments.rail_message", &name)
    }

    fn derived(&self, field: &'static str, name: &str) -> Uuid {
        let hash = self.keyring.lookup(field, name);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Uuid::from_bytes(with_version(bytes, 4))
    }
}

/// The version and address that an instruction is paid to, if it can be.
fn still_payable<'a>(
    row: &InstructionRow,
    mapping: Option<&mapper::BeneficiaryRow>,
    address: Option<&'a String>,
) -> Result<(i64, &'a String), Reason> {
    match (mapping, address) {
        (Some(mapping), Some(address)) if mapping.active => {
            match mapping.institution == row.institution {
                true => Ok((mapping.version, address)),
                // Its money is on another institution's account.
                false => Err(CHANGED_MAPPING),
            }
        }
        _ => Err(INACTIVE_MAPPING),
    }
}

fn refusal(row: &InstructionRow, reason_code: &str) -> ExceptionRow {
    ExceptionRow {
        ordinal: row.ordinal,
        state: i64::from(Outcome::Rejected.byte()),
        reason_code: reason_code.to_owned(),
        institution: row.institution.clone(),
        amount_minor: row.amount_minor,
    }
}
