//! Verification of exported trails, with no network and no database.
//!
//! What can be wrong is told apart: a row that was changed, a row that is missing, a checkpoint
//! that was rewritten. Complete logs of any length are verified in flat memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io::{self, BufRead};
use std::path::Path;

use crate::entry::EntryRow;
use crate::merkle::{self, Hash};
use crate::note::{Head, VerifierKey};
use crate::trail::{EntryLine, FORMAT, Line, LogLine, Statement, VERSION};

mod log;

use log::Log;

/// Longest line that is read; an entry's body is far smaller.
const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;
/// More findings than this are only counted.
const MAX_FINDINGS: usize = 1_000;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A row is not the one that its leaf commits to.
    Tampered,
    /// A row is missing.
    Dropped,
    /// A checkpoint is not what the log once signed.
    Rewritten,
    /// A key is not among those that were to be trusted.
    Untrusted,
    /// The file is not in the format.
    Malformed,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tampered => "tampered row",
            Self::Dropped => "dropped row",
            Self::Rewritten => "rewritten checkpoint",
            Self::Untrusted => "untrusted key",
            Self::Malformed => "malformed file",
        })
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of wrong.
    pub kind: Kind,
    /// Name of the log, or of the file where no log is concerned.
    pub place: String,
    /// The whole story in one sentence.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.kind, self.place, self.message)
    }
}

/// What was verified about one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// Name of the log.
    pub origin: String,
    /// The block.
    pub block: String,
    /// The tenant.
    pub tenant: String,
    /// Entries whose proof holds.
    pub entries: u64,
    /// Checkpoints whose signature and place hold.
    pub checkpoints: u64,
    /// Whether the file held all of its entries.
    pub complete: bool,
    /// The key that the log was verified with.
    pub key: String,
}

/// The result of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Each log found.
    pub logs: Vec<LogReport>,
    /// What is wrong, at most a thousand.
    pub findings: Vec<Finding>,
    /// How many more things are wrong.
    pub more_findings: u64,
    /// The case, when the files hold one case's trail.
    pub process_id: Option<String>,
}

impl Report {
    /// Whether nothing is wrong and there was something to verify.
    pub fn is_valid(&self) -> bool {
        self.findings.is_empty() && !self.logs.is_empty()
    }

    /// Entries whose proof holds, in all logs.
    pub fn entries(&self) -> u64 {
        self.logs.iter().map(|log| log.entries).sum()
    }

    /// Checkpoints that hold, in all logs.
    pub fn checkpoints(&self) -> u64 {
        self.logs.iter().map(|log| log.checkpoints).sum()
    }

    /// Whether something of this kind was found.
    pub fn has(&self, kind: Kind) -> bool {
        self.findings.iter().any(|finding| finding.kind == kind)
    }

    fn add(&mut self, kind: Kind, place: &str, message: impl Into<String>) {
        if self.findings.len() < MAX_FINDINGS {
            let message = message.into();
            self.findings.push(Finding {
                kind,
                place: place.to_owned(),
                message,
            });
        } else {
            self.more_findings += 1;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for log in &self.logs {
            let extent = if log.complete {
                "complete log"
            } else {
                "trail"
            };
            writeln!(
                f,
                "{} ({}): {extent}, {} entries and {} checkpoints hold",
                log.block, log.origin, log.entries, log.checkpoints
            )?;
        }
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        if self.more_findings > 0 {
            writeln!(f, "and {} more findings", self.more_findings)?;
        }
        if self.logs.is_empty() {
            writeln!(f, "nothing to verify")?;
        }
        Ok(())
    }
}

/// Verifies one or several exports against each other and, optionally, against keys and
/// checkpoints that the auditor kept from earlier.
#[derive(Debug, Default)]
pub struct Verifier {
    report: Report,
    logs: BTreeMap<String, Log>,
    /// Public keys to trust; empty trusts the keys in the files.
    trusted: BTreeSet<[u8; 32]>,
    /// Notes to compare with, by origin.
    known: HashMap<String, Vec<String>>,
    process_id: Option<String>,
}

impl Verifier {
    /// A verifier that trusts the keys in the files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts this key (and no others but those named so).
    pub fn trust(&mut self, key: &VerifierKey) {
        self.trusted.insert(*key.public_key());
    }

    /// Compares with a checkpoint that was kept from earlier.
    pub fn compare(&mut self, note: &str) -> Result<(), crate::note::NoteError> {
        let head = Head::peek(note)?;
        self.known
            .entry(head.origin)
            .or_default()
            .push(note.to_owned());
        Ok(())
    }

    /// Reads one export; `name` stands for it in messages.
    pub fn read(&mut self, name: &str, mut from: impl BufRead) -> io::Result<()> {
        let mut count = 0_u64;
        let mut ended = false;
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
            if io::Read::take(&mut from, limit).read_until(b'\n', &mut buffer)? == 0 {
                break;
            }
            if buffer.trim_ascii().is_empty() {
                continue;
            }
            let line = match serde_json::from_slice::<Line>(&buffer) {
                Ok(line) => line,
                Err(error) => {
                    let message = format!("line {} cannot be read: {error}", count + 1);
                    self.report.add(Kind::Malformed, name, message);
                    // One torn line must not hide what the others prove, but a file in some
                    // other format should not yield a finding a line.
                    if count == 0 {
                        return Ok(());
                    }
                    count += 1;
                    continue;
                }
            };
            if ended {
                self.report
                    .add(Kind::Malformed, name, "lines follow the end line");
                break;
            }
            if let Line::End { lines } = line {
                ended = true;
                if lines != count {
                    let message = format!("{count} lines where there were {lines} when exported");
                    self.report.add(Kind::Dropped, name, message);
                }
                continue;
            }
            if (count == 0) != matches!(line, Line::Header { .. }) {
                self.report.add(
                    Kind::Malformed,
                    name,
                    "the header is not the first line alone",
                );
                return Ok(());
            }
            count += 1;
            if !self.line(name, line) {
                return Ok(());
            }
        }
        if !ended {
            self.report.add(
                Kind::Dropped,
                name,
                "the file breaks off before its end line",
            );
        }
        Ok(())
    }

    /// Takes one line; false if the rest makes no sense.
    fn line(&mut self, name: &str, line: Line) -> bool {
        match line {
            Line::Header {
                format,
                version,
                process_id,
                ..
            } => {
                if format != FORMAT || version != VERSION {
                    let message = format!("format {format} {version} is not {FORMAT} {VERSION}");
                    self.report.add(Kind::Malformed, name, message);
                    return false;
                }
                self.report.process_id.clone_from(&process_id);
                self.process_id = process_id;
            }
            Line::Log(log) => self.log(name, log),
            Line::Checkpoint { origin, note } => {
                let mut carried = None;
                self.with_log(name, &origin, |log, report| {
                    carried = log.checkpoint(report, &note);
                });
                if let Some((by, head)) = carried {
                    self.with_log(name, &by, |log, _| log.carry(head));
                }
            }
            Line::Consistency {
                origin,
                old,
                new,
                proof,
            } => {
                self.with_log(name, &origin, |log, report| {
                    log.consistency(report, old, new, &proof);
                });
            }
            Line::Statement { origin, note } => {
                let process = self.process_id.clone();
                self.with_log(name, &origin, |log, report| {
                    log.statement(report, process.as_deref(), &note);
                });
            }
            Line::Entry(entry) => {
                let process = self.process_id.clone();
                let origin = entry.origin.clone();
                self.with_log(name, &origin, |log, report| {
                    log.entry(report, process.as_deref(), *entry);
                });
            }
            Line::Leaf {
                origin,
                position,
                entry_id,
                leaf,
            } => {
                self.with_log(name, &origin, |log, report| {
                    let message = format!(
                        "entry {entry_id} at position {position} has a leaf, but its row is gone"
                    );
                    report.add(Kind::Dropped, &origin, message);
                    log.leaf(report, position, &leaf);
                });
            }
            Line::End { .. } => {}
        }
        true
    }

    fn log(&mut self, name: &str, line: LogLine) {
        let key = match VerifierKey::parse(&line.key) {
            Ok(key) if key.name() == line.origin => key,
            Ok(_) => {
                self.report.add(
                    Kind::Malformed,
                    name,
                    "a log's key is named for another log",
                );
                return;
            }
            Err(error) => {
                self.report.add(Kind::Malformed, name, error.to_string());
                return;
            }
        };
        if !self.trusted.is_empty() && !self.trusted.contains(key.public_key()) {
            let message = format!("{key} is not among the trusted keys");
            self.report.add(Kind::Untrusted, &line.origin, message);
        }
        if let Some(log) = self.logs.get(&line.origin) {
            if log.key() != &key {
                self.report
                    .add(Kind::Untrusted, &line.origin, "it appears with two keys");
            }
            return;
        }
        let origin = line.origin.clone();
        let mut log = Log::new(line, key);
        for note in self.known.get(&origin).into_iter().flatten() {
            log.known(&mut self.report, note);
        }
        self.logs.insert(origin, log);
    }

    fn with_log(&mut self, name: &str, origin: &str, then: impl FnOnce(&mut Log, &mut Report)) {
        if let Some(log) = self.logs.get_mut(origin) {
            then(log, &mut self.report);
        } else {
            let message = format!("a line belongs to {origin}, which no line introduced");
            self.report.add(Kind::Malformed, name, message);
        }
    }

    /// Ends the verification.
    pub fn finish(mut self) -> Report {
        let trail = self.process_id.is_some();
        for log in self.logs.into_values() {
            let done = log.finish(&mut self.report, trail);
            self.report.logs.push(done);
        }
        self.report
    }
}

/// Verifies one export, trusting the keys in it.
pub fn trail(reader: impl BufRead) -> io::Result<Report> {
    let mut verifier = Verifier::new();
    verifier.read("the export", reader)?;
    Ok(verifier.finish())
}

/// Verifies an export file, or all `.jsonl` files of a folder against each other.
pub fn path(path: &Path, mut verifier: Verifier) -> io::Result<Report> {
    let mut files = Vec::new();
    if path.is_dir() {
        for file in std::fs::read_dir(path)? {
            let file = file?.path();
            if file
                .extension()
                .is_some_and(|extension| extension == "jsonl")
            {
                files.push(file);
            }
        }
        files.sort();
    } else {
        files.push(path.to_owned());
    }
    for file in files {
        let reader = io::BufReader::new(std::fs::File::open(&file)?);
        verifier.read(&file.display().to_string(), reader)?;
    }
    Ok(verifier.finish())
}

#[cfg(test)]
#[path = "verify/tests.rs"]
mod tests;
