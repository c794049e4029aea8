//! Lets the lines of a statement meet what was paid, chunk by chunk.
//!
//! Memory holds one chunk. What a unit writes follows from what it read, so a run that was cut
//! short begins again and finds its own work done.

use std::collections::BTreeMap;

use publica_journal::append;
use publica_store::{Db, StoreError, Tx};
use publica_types::{Origin, Uuid};
use serde_json::json;

use crate::app::settle::place;
use crate::app::{App, entry};
use crate::domain::batch::chunk::DONE;
use crate::domain::ids::{BatchId, named};
use crate::domain::instruction::Verdict as Intake;
use crate::domain::outcome::Outcome;
use crate::domain::reconcile::{Kind, Line, Paid, Verdict, item, judge, mark};
use crate::error::Error;
use crate::store::batch as batches;
use crate::store::chunk::{self as chunks, ChunkRow, InstructionRow};
use crate::store::reconciliation::{self as items, Change, ItemRow, NewItem};
use crate::store::statement::{self as sql, LineRow, SentChunk, StatementRow};

/// Lines without a payment in one unit of work.
const AT_ONCE: i64 = 500;

/// What meeting a chunk changes, in one unit.
struct Met {
    statement: StatementRow,
    chunk: SentChunk,
    /// As it was read, and as it is then.
    before: Option<Vec<u8>>,
    marks: Vec<u8>,
    open_count: i64,
    /// Lines of the statement that agree, with the places of their payments.
    matched: Vec<(i64, i64)>,
    /// Items that agree by now.
    closed: Vec<ItemRow>,
    opened: Vec<NewItem>,
}

/// The id of an item follows from what it is about, so that a repeat finds it there.
fn item_id(statement_id: &str, new: &NewItem) -> Uuid {
    let name = match (new.line_no, new.payment) {
        // A statement may be called like a batch.
        (Some(line_no), _) => format!("line:{statement_id}:{line_no}"),
        (None, Some((batch, ordinal))) => format!("payment:{batch}:{ordinal}"),
        (None, None) => statement_id.to_owned(),
    };
    named("reconciliation", name.as_bytes())
}

impl App {
    /// Matches a statement; a repeat changes nothing.
    pub(crate) async fn match_statement(
        &self,
        db: &Db,
        origin: &Origin,
        statement_id: &str,
    ) -> Result<(), Error> {
        let statement = sql::find(&mut db.clone(), statement_id).await?;
        let statement = statement.ok_or(Error::corrupt("a statement is missing"))?;
        if statement.state != sql::MATCHING {
            return Ok(());
        }
        let mut place = (BatchId::from_uuid(Uuid::nil()), -1);
        while let Some(chunk) = sql::next_chunk(&mut db.clone(), &statement.currency, place).await?
        {
            place = (chunk.batch_id, chunk.chunk_no);
            self.catch_up(db, place).await?;
            let met = self.meet(db, &statement, chunk).await?;
            db.write("payments.match_chunk", met, |tx, met| {
                Box::pin(write(tx, met))
            })
            .await?;
        }
        loop {
            let id = statement.statement_id.as_str();
            let left = sql::new_lines(&mut db.clone(), id, AT_ONCE).await?;
            if left.is_empty() {
                break;
            }
            let input = (statement.clone(), left);
            db.write("payments.match_rest", input, |tx, (statement, left)| {
                Box::pin(write_rest(tx, statement, left))
            })
            .await?;
        }
        let input = (origin.clone(), statement);
        db.write("payments.match_end", input, |tx, (origin, statement)| {
            Box::pin(async move {
                let id = statement.statement_id.as_str();
                let count = items::opened_by(tx, id).await?;
                if sql::finish(tx, id, count).await? {
                    let body = json!({"items": count});
                    let done = entry("payments.statement.matched", "statement", id, body);
                    append(tx, origin, done);
                }
                Ok::<_, Error>(())
            })
        })
        .await
    }

    /// Has outcomes recorded that the rail knows by now: a statement may tell of them, too.
    async fn catch_up(&self, db: &Db, (batch_id, chunk_no): (BatchId, i64)) -> Result<(), Error> {
        let row = chunks::find(&mut db.clone(), batch_id, chunk_no).await?;
        let unknown = Outcome::Unknown.byte();
        if row.is_none_or(|row| row.state != DONE || !row.outcomes.contains(&unknown)) {
            return Ok(());
        }
        let batch = batches::find(&mut db.clone(), batch_id).await?;
        let batch = batch.ok_or(Error::corrupt("the batch of a chunk is missing"))?;
        match self.ask_again(db, &batch).await {
            // A rail that does not answer keeps nothing else from being matched.
            Ok(_) | Err(Error::RailSilent) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What the lines about a chunk's payments turn out to be.
    async fn meet(
        &self,
        db: &Db,
        statement: &StatementRow,
        chunk: SentChunk,
    ) -> Result<Met, Error> {
        let mut db = db.clone();
        let batch_id = chunk.batch_id;
        let row = chunks::find(&mut db, batch_id, chunk.chunk_no).await?;
        let row = row.ok_or(Error::corrupt("a chunk is missing"))?;
        let rows = chunks::rows(&mut db, batch_id, row.first_ordinal, row.end()).await?;
        let sent: Vec<(Uuid, InstructionRow)> = rows
            .into_iter()
            .filter(|instruction| Intake::of_code(instruction.verdict) == Intake::Accepted)
            .map(|row| (self.end_to_end_id(batch_id, row.ordinal), row))
            .collect();
        let before = sql::marks(&mut db, batch_id, chunk.chunk_no).await?;
        let length = usize::try_from(row.row_count).map_err(|_| Error::corrupt("a chunk"))?;
        let mut lines = self.lines(&mut db, statement, &sent).await?;
        let missing = items::missing(&mut db, batch_id, row.first_ordinal, row.end()).await?;
        let mut missing: BTreeMap<i64, ItemRow> = missing
            .into_iter()
            .filter_map(|item| Some((item.ordinal?, item)))
            .collect();
        let mut met = Met {
            statement: statement.clone(),
            marks: before.clone().unwrap_or_else(|| vec![mark::NONE; length]),
            before,
            chunk,
            open_count: 0,
            matched: Vec::new(),
            closed: Vec::new(),
            opened: Vec::new(),
        };
        for (id, instruction) in sent {
            let lines = lines.remove(&id).unwrap_or_default();
            let missing = missing.remove(&instruction.ordinal);
            met.meet(&row, &instruction, lines, missing)?;
        }
        Ok(met)
    }

    /// The lines about payments by end-to-end id: those of the statement, and those of earlier
    /// ones that are open because nothing was known of the payment.
    async fn lines(
        &self,
        db: &mut Db,
        statement: &StatementRow,
        sent: &[(Uuid, InstructionRow)],
    ) -> Result<BTreeMap<Uuid, Vec<(LineRow, Option<ItemRow>)>>, Error> {
        let ids: Vec<Uuid> = sent.iter().map(|(id, _)| *id).collect();
        let mut lines: BTreeMap<Uuid, Vec<(LineRow, Option<ItemRow>)>> = BTreeMap::new();
        for line in sql::lines_of(db, &ids).await? {
            let known = match line.state {
                sql::NEW if line.statement_id == statement.statement_id => None,
                sql::ITEM => {
                    let item = items::of_line(db, &line.statement_id, line.line_no).await?;
                    let open = |row: &ItemRow| {
                        row.kind == Kind::Unexpected.code() && row.state == item::OPEN
                    };
                    match item.filter(open) {
                        Some(item) => Some(item),
                        None => continue,
                    }
                }
                _ => continue,
            };
            if let Some(id) = line.end_to_end {
                lines.entry(id).or_default().push((line, known));
            }
        }
        Ok(lines)
    }
}

impl Met {
    fn meet(
        &mut self,
        chunk: &ChunkRow,
        instruction: &InstructionRow,
        lines: Vec<(LineRow, Option<ItemRow>)>,
        missing: Option<ItemRow>,
    ) -> Result<(), Error> {
        let at = place(chunk, instruction).ok_or(Error::corrupt("a place in a chunk"))?;
        let outcome = chunk
            .outcomes
            .get(at)
            .map_or(Outcome::None, |byte| Outcome::of_byte(*byte));
        let seen_mark = self.marks.get_mut(at).ok_or(Error::corrupt("marks"))?;
        let paid = Paid {
            amount_minor: instruction.amount_minor,
            settled: outcome == Outcome::Settled,
            mark: *seen_mark,
        };
        let seen: Vec<Line> = lines
            .iter()
            .map(|(line, known)| Line {
                debit: line.direction == sql::DEBIT,
                amount_minor: line.amount_minor,
                known: known.is_some(),
            })
            .collect();
        let (verdicts, after) = judge(paid, &seen);
        *seen_mark = after;
        let payment = (self.chunk.batch_id, instruction.ordinal);
        for (verdict, (line, known)) in verdicts.into_iter().zip(lines) {
            match (verdict, known) {
                (Verdict::Matched, None) => {
                    self.matched.push((line.line_no, instruction.ordinal));
                }
                (Verdict::Matched, Some(item)) => self.closed.push(item),
                (Verdict::Item(kind), _) => self.opened.push(NewItem {
                    kind: kind.code(),
                    expected_minor: match kind {
                        Kind::Differing => instruction.amount_minor,
                        _ => 0,
                    },
                    found_minor: line.amount_minor,
                    payment: Some(payment),
                    line_no: Some(line.line_no),
                    since: line.booked_at,
                }),
                (Verdict::Left, _) => {}
            }
        }
        let settled_at = self.chunk.settled_at;
        let due = settled_at.filter(|at| {
            paid.settled && *at >= self.statement.from_at && *at < self.statement.to_at
        });
        match (after, missing, due) {
            // It has come after all.
            (mark::MATCHED | mark::ITEM, Some(item), _) => self.closed.push(item),
            (mark::NONE, None, Some(since)) => self.opened.push(NewItem {
                kind: Kind::Missing.code(),
                expected_minor: instruction.amount_minor,
                found_minor: 0,
                payment: Some(payment),
                line_no: None,
                since,
            }),
            _ => {}
        }
        let may_come = matches!(outcome, Outcome::None | Outcome::Unknown | Outcome::Settled);
        if after == mark::NONE && may_come {
            self.open_count += 1;
        }
        Ok(())
    }
}

async fn write(tx: &mut Tx<'_>, met: &Met) -> Result<(), Error> {
    let chunk = (met.chunk.batch_id, met.chunk.chunk_no);
    if sql::lock_marks(tx, chunk.0, chunk.1).await? != met.before {
        // Somebody dealt with an item meanwhile.
        return Err(Error::Store(StoreError::Conflict { source: None }));
    }
    sql::put_marks(tx, chunk, &met.marks, met.open_count).await?;
    let id = met.statement.statement_id.as_str();
    sql::set_matched(tx, id, chunk.0, &met.matched).await?;
    let unsettled = |known: &&ItemRow| known.state == item::OPEN || known.state == item::PROPOSED;
    for known in met.closed.iter().filter(unsettled) {
        let change = Change {
            from: known.state,
            to: item::MATCHED_LATER,
            resolution: known.resolution,
            maker: known.maker.clone(),
            checker: String::new(),
            transfer_id: None,
        };
        if !items::set(tx, known.item_id, &change).await? {
            // Somebody decided on it since it was read; the next try reads it again.
            return Err(StoreError::Conflict { source: None }.into());
        }
        if let (Some(line_no), Some(ordinal)) = (known.line_no, known.ordinal) {
            let line = (known.statement_id.as_str(), line_no);
            let payment = Some((met.chunk.batch_id, ordinal));
            sql::set_line(tx, line, sql::MATCHED, payment).await?;
        }
    }
    for new in &met.opened {
        open(tx, &met.statement, new).await?;
    }
    Ok(())
}

/// Opens an item, and says so of its line.
async fn open(tx: &mut Tx<'_>, statement: &StatementRow, new: &NewItem) -> Result<(), Error> {
    let id = statement.statement_id.as_str();
    items::insert(tx, item_id(id, new), (id, &statement.currency), new).await?;
    if let Some(line_no) = new.line_no {
        sql::set_line(tx, (id, line_no), sql::ITEM, new.payment).await?;
    }
    Ok(())
}

/// Opens items for lines that no open payment fits. An earlier line about the same payment may
/// tell which it was.
async fn write_rest(
    tx: &mut Tx<'_>,
    statement: &StatementRow,
    left: &[LineRow],
) -> Result<(), Error> {
    let ids: Vec<Uuid> = left.iter().filter_map(|line| line.end_to_end).collect();
    let mut payments: BTreeMap<Uuid, (BatchId, i64)> = BTreeMap::new();
    for line in sql::lines_of(tx, &ids).await? {
        if let (Some(id), Some(batch), Some(ordinal)) =
            (line.end_to_end, line.batch_id, line.ordinal)
        {
            payments.insert(id, (BatchId::from_uuid(batch), ordinal));
        }
    }
    for line in left {
        let kind = match line.direction {
            sql::CREDIT => Kind::Returned,
            _ => Kind::Unexpected,
        };
        let new = NewItem {
            kind: kind.code(),
            expected_minor: 0,
            found_minor: line.amount_minor,
            payment: line.end_to_end.and_then(|id| payments.get(&id).copied()),
            line_no: Some(line.line_no),
            since: line.booked_at,
        };
        open(tx, statement, &new).await?;
    }
    Ok(())
}
