//! Exporting a trail: straight from a block's store, or over gRPC as an outside client.

use std::io::{self, Write};

use publica_store::Db;

use crate::epoch::{Keeper, OpenEpoch, verifier};
use crate::error::JournalError;
use crate::journal::Journal;
use crate::note::VerifierKey;
use crate::store::entries::{self, Filter, Placed};
use crate::store::log::{self as sql, CheckpointRow, EpochRow};
use crate::trail::{EntryLine, FORMAT, Line, LogLine, Statement, VERSION};
use crate::tree::{Reader, counted};

mod client;

pub use client::{Client, ClientError, Resumed, Whole, process as over_grpc};

const BATCH: i64 = 500;
/// Checkpoints of each epoch that a complete export carries, the newest ones.
const CHECKPOINTS: i64 = 1_000;

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The file.
    #[error("the export could not be written")]
    Write(#[from] io::Error),
}

impl From<publica_store::StoreError> for ExportError {
    fn from(error: publica_store::StoreError) -> Self {
        Self::Journal(error.into())
    }
}

/// Writes the lines of one export and counts them.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    lines: u64,
}

impl<W: Write> Writer<W> {
    /// Begins an export with its header.
    pub fn new(out: W, process_id: Option<&str>) -> io::Result<Self> {
        let mut writer = Self { out, lines: 0 };
        writer.line(&Line::Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            process_id: process_id.map(str::to_owned),
            exported: None,
        })?;
        Ok(writer)
    }

    /// Goes on with an export that has this many lines already.
    pub const fn resume(out: W, lines: u64) -> Self {
        Self { out, lines }
    }

    /// Writes a line.
    pub fn line(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")?;
        self.lines += 1;
        Ok(())
    }

    /// Ends the export.
    pub fn finish(mut self) -> io::Result<W> {
        let lines = self.lines;
        self.line(&Line::End { lines })?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// A block's store on its way into an export.
struct Source<'s> {
    journal: &'s Journal,
    db: &'s Db,
    row: CheckpointRow,
    epoch: OpenEpoch,
}

/// Finds the newest checkpoint of each log, after all that was committed so far. A log that has
/// never signed anything has nothing to export.
async fn sources<'s>(logs: &[(&'s Journal, &'s Db)]) -> Result<Vec<Source<'s>>, ExportError> {
    let mut sources = Vec::with_capacity(logs.len());
    for (journal, db) in logs.iter().copied() {
        journal.catch_up(db.tenant()).await?;
        let Some(row) = sql::last_checkpoint(db).await? else {
            continue;
        };
        let epoch = journal.keeper().epoch(db, row.epoch).await?;
        sources.push(Source {
            journal,
            db,
            row,
            epoch,
        });
    }
    Ok(sources)
}

fn keys(sources: &[Source<'_>]) -> Vec<VerifierKey> {
    sources
        .iter()
        .map(|source| source.epoch.signer.verifier())
        .collect()
}

/// Exports the trail of one case from the stores of blocks into `writer`. What was committed
/// before the call is in it. Returns the number of entries.
pub async fn process<W: Write>(
    logs: &[(&Journal, &Db)],
    process_id: &str,
    writer: &mut Writer<W>,
) -> Result<u64, ExportError> {
    let sources = sources(logs).await?;
    let keys = keys(&sources);
    let mut count = 0;
    for source in &sources {
        count += trail_of(source, process_id, &keys, writer).await?;
    }
    Ok(count)
}

async fn trail_of<W: Write>(
    source: &Source<'_>,
    process_id: &str,
    keys: &[VerifierKey],
    writer: &mut Writer<W>,
) -> Result<u64, ExportError> {
    let Source { db, row, epoch, .. } = source;
    let (name, case) = (epoch.signer.name(), Some(process_id));
    let made = statement(db, name, case, row.size, keys.to_vec()).await?;
    let origin = made.origin.clone();
    writer.line(&Line::Log(log_line(source, false)))?;
    writer.line(&Line::Checkpoint {
        origin: origin.clone(),
        note: row.note.clone(),
    })?;
    let filter = Filter {
        process_id: process_id.to_owned(),
        subject_id: String::new(),
    };
    let mut reader = Reader::new(db);
    let mut from = 0;
    loop {
        let placed = entries::list(db, &filter, from, row.size, BATCH).await?;
        let Some(last) = placed.last() else { break };
        from = last.position + 1;
        for placed in placed {
            let proof = reader
                .inclusion(counted(placed.position), counted(row.size))
                .await?;
            let tree_size = Some(counted(row.size));
            writer.line(&placed_line(&origin, placed, tree_size, proof))?;
        }
    }
    writer.line(&Line::Statement {
        origin,
        note: epoch.signer.sign(&made.text()),
    })?;
    Ok(made.count)
}

/// Exports whole logs of blocks, so that not only their entries but their completeness can be
/// verified. Returns the number of entries.
pub async fn complete<W: Write>(
    logs: &[(&Journal, &Db)],
    writer: &mut Writer<W>,
) -> Result<u64, ExportError> {
    let sources = sources(logs).await?;
    let keys = keys(&sources);
    let mut count = 0;
    for source in &sources {
        count += log_of(source, &keys, writer).await?;
    }
    Ok(count)
}

async fn log_of<W: Write>(
    source: &Source<'_>,
    keys: &[VerifierKey],
    writer: &mut Writer<W>,
) -> Result<u64, ExportError> {
    let Source { db, row, epoch, .. } = source;
    let epochs = sql::epochs(db, 0, i64::from(u16::MAX)).await?;
    let origin = epoch.signer.name().to_owned();
    let mut made = Statement::new(&origin, None, counted(row.size));
    made.logs = keys.to_vec();
    writer.line(&Line::Log(log_line(source, true)))?;
    write_checkpoints(db, &origin, row.epoch, row.size, writer).await?;
    for (epoch, next) in epochs.iter().zip(epochs.iter().skip(1)) {
        if epoch.epoch >= row.epoch {
            break;
        }
        writer.line(&Line::Log(old_log_line(
            source.journal,
            db,
            epoch,
            &origin,
        )?))?;
        // What an older epoch signed beyond the start of the next was lost with the store.
        write_checkpoints(db, &epoch.origin, epoch.epoch, next.first_position, writer).await?;
    }
    let mut from = 0;
    while from < row.size {
        let placed = entries::list(db, &Filter::default(), from, row.size, BATCH).await?;
        let Some(last) = placed.last() else { break };
        from = last.position + 1;
        for placed in placed {
            let has_body = placed.entry.as_ref().is_some_and(|row| row.body.is_some());
            made.add(&placed.leaf_hash, has_body);
            writer.line(&placed_line(&origin, placed, None, Vec::new()))?;
        }
    }
    writer.line(&Line::Statement {
        origin,
        note: epoch.signer.sign(&made.text()),
    })?;
    Ok(made.count)
}

async fn write_checkpoints<W: Write>(
    db: &Db,
    origin: &str,
    epoch: i64,
    up_to: i64,
    writer: &mut Writer<W>,
) -> Result<(), ExportError> {
    let rows: Vec<CheckpointRow> = sql::checkpoints(db, epoch, up_to, CHECKPOINTS).await?;
    for row in rows.into_iter().rev() {
        writer.line(&Line::Checkpoint {
            origin: origin.to_owned(),
            note: row.note,
        })?;
    }
    Ok(())
}

fn log_line(source: &Source<'_>, complete: bool) -> LogLine {
    LogLine {
        origin: source.epoch.signer.name().to_owned(),
        block: source.journal.block().to_owned(),
        tenant: source.db.tenant().to_string(),
        epoch: source.row.epoch,
        key: source.epoch.signer.verifier().to_string(),
        complete,
        carried_by: None,
    }
}

fn old_log_line(
    journal: &Journal,
    db: &Db,
    epoch: &EpochRow,
    carried_by: &str,
) -> Result<LogLine, JournalError> {
    Ok(LogLine {
        origin: epoch.origin.clone(),
        block: journal.block().to_owned(),
        tenant: db.tenant().to_string(),
        epoch: epoch.epoch,
        key: verifier(epoch)?.to_string(),
        complete: false,
        carried_by: Some(carried_by.to_owned()),
    })
}

fn placed_line(
    origin: &str,
    placed: Placed,
    tree_size: Option<u64>,
    proof: Vec<crate::merkle::Hash>,
) -> Line {
    let (origin, position) = (origin.to_owned(), counted(placed.position));
    match placed.entry {
        Some(entry) => Line::Entry(Box::new(EntryLine {
            origin,
            position,
            tree_size,
            leaf: placed.leaf_hash,
            proof,
            entry: entry.into(),
        })),
        None => Line::Leaf {
            origin,
            position,
            entry_id: placed.entry_id,
            leaf: placed.leaf_hash,
        },
    }
}

/// Counts the entries of a case, or all of them, below a tree size, for an export that holds these
/// logs.
pub(crate) async fn statement(
    db: &Db,
    origin: &str,
    process_id: Option<&str>,
    tree_size: i64,
    logs: Vec<VerifierKey>,
) -> Result<Statement, JournalError> {
    let mut made = Statement::new(origin, process_id, counted(tree_size));
    made.logs = logs;
    let mut from = 0;
    loop {
        let leaves = entries::leaves(db, process_id, from, tree_size, BATCH).await?;
        let Some((last, ..)) = leaves.last() else {
            return Ok(made);
        };
        from = last + 1;
        for (_, leaf, has_body) in leaves {
            made.add(&leaf, has_body);
        }
    }
}

impl Keeper<'_> {
    /// An epoch with its signer, which may be an older one.
    pub(crate) async fn epoch(&self, db: &Db, number: i64) -> Result<OpenEpoch, JournalError> {
        let epochs = sql::epochs(db, number - 1, 1).await?;
        let row = epochs.first().filter(|row| row.epoch == number);
        self.signer(row.ok_or(JournalError::NotFound { what: "epoch" })?)
    }
}
