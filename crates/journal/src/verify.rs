//! Verification of exported trails, with no network and no database.
//!
//! What can be wrong is told apart: a row that was changed, a row that is missing, a checkpoint
//! that was rewritten, a log that is missing or has another key. Complete logs of any length are
//! verified in flat memory.
//!
//! A file proves what its keys signed. Whose keys they are it cannot prove: an auditor keeps them,
//! or a checkpoint, apart from the file, and gives them to the [`Verifier`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufRead};
use std::path::Path;

use crate::entry::EntryRow;
use crate::merkle::{self, Hash};
use crate::note::{Head, NoteError, VerifierKey};
use crate::trail::{EntryLine, FORMAT, Line, LogLine, Statement, VERSION};

mod log;
mod pin;
mod report;

use log::Log;
use pin::Given;
pub use pin::Pin;
pub use report::{Finding, Kind, LogReport, Report};

/// Longest line that is read; an entry's body is far smaller.
const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;
/// Logs of one file, which are compared with each other.
const MAX_FILE_LOGS: usize = 1_000;

/// Verifies one or several exports against each other and, optionally, against keys and
/// checkpoints that the auditor kept from earlier.
#[derive(Debug, Default)]
pub struct Verifier {
    report: Report,
    given: Given,
    /// What logs signed, in any file.
    heads: HashMap<String, BTreeMap<u64, Hash>>,
    /// Logs of the file that is being read.
    logs: BTreeMap<String, Log>,
    process_id: Option<String>,
}

impl Verifier {
    /// A verifier that trusts the keys in the files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Demands that a log has this key. Once a key is given, each log needs one, or a checkpoint
    /// that was given, and each log that was given a key must be there. Fails if the log was
    /// given another key before.
    pub fn pin(&mut self, pin: Pin) -> Result<(), NoteError> {
        self.given.pin(pin)
    }

    /// Compares with a checkpoint that was kept from earlier, and demands its key of its log.
    pub fn compare(&mut self, note: &str) -> Result<(), NoteError> {
        self.given.compare(note)
    }

    /// Reads one export; `name` stands for it in messages.
    pub fn read(&mut self, name: &str, from: impl BufRead) -> io::Result<()> {
        let read = self.lines(name, from);
        self.end_file(name);
        read
    }

    fn lines(&mut self, name: &str, mut from: impl BufRead) -> io::Result<()> {
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
                    let why = publica_json::shape(&error);
                    let message = format!("line {} cannot be read: {why}", count + 1);
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
        if let Some(log) = self.logs.get(&line.origin) {
            if log.key() != &key {
                self.report
                    .add(Kind::Untrusted, &line.origin, "it appears with two keys");
            } else if log.line() != &line {
                self.report
                    .add(Kind::Malformed, &line.origin, "it is introduced twice");
            }
            return;
        }
        if self.logs.len() == MAX_FILE_LOGS {
            let message = format!("it has more than {MAX_FILE_LOGS} logs");
            self.report.add(Kind::Malformed, name, message);
            return;
        }
        let said = (line.block.as_str(), line.tenant.as_str(), line.epoch);
        if pin::parts(&line.origin) != Some(said) {
            let message = format!(
                "block {}, tenant {} and epoch {} are not those in the name that signed",
                line.block, line.tenant, line.epoch
            );
            self.report.add(Kind::Mislabelled, &line.origin, message);
        }
        let (pinned, known) = self.given.meet(&key, &mut self.report);
        let origin = line.origin.clone();
        let mut log = Log::new(line, key, pinned);
        for head in known {
            log.known(&mut self.report, head);
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

    /// Ends a file: what its logs lack, and whether they are the ones that were exported.
    fn end_file(&mut self, name: &str) {
        let mut logs = std::mem::take(&mut self.logs);
        let process = self.process_id.take();
        for log in logs.values() {
            self.check_carried(&logs, log);
        }
        let mut lists = Vec::new();
        for (origin, log) in &mut logs {
            let signed = log.finish(&mut self.report, process.as_deref());
            lists.extend(signed.map(|list| (origin.clone(), list)));
            self.remember(log);
        }
        for (origin, list) in lists {
            self.check_list(name, &logs, &origin, &list);
        }
        self.report
            .logs
            .extend(logs.into_values().map(Log::into_report));
    }

    /// An older epoch has no entries of its own only if another log of the file has them all.
    fn check_carried(&mut self, logs: &BTreeMap<String, Log>, log: &Log) {
        let line = log.line();
        let Some(by) = &line.carried_by else { return };
        let carries = logs.get(by).is_some_and(|other| {
            let carrier = other.line();
            carrier.complete
                && carrier.carried_by.is_none()
                && (&carrier.block, &carrier.tenant) == (&line.block, &line.tenant)
                && carrier.epoch > line.epoch
                && other.key().public_key() == log.key().public_key()
        });
        if !carries || line.complete {
            let message = format!("{by} does not carry its entries");
            self.report.add(Kind::Malformed, &line.origin, message);
        }
    }

    /// Compares what a log signed with what it signed in other files.
    fn remember(&mut self, log: &Log) {
        let origin = &log.line().origin;
        let seen = self.heads.entry(origin.clone()).or_default();
        for (size, root) in log.signed() {
            let before = *seen.entry(size).or_insert(root);
            if before != root {
                let message =
                    format!("two checkpoints of size {size} in two files have different roots");
                self.report.add(Kind::Rewritten, origin, message);
            }
        }
    }

    /// Compares the logs of a file with those that `by` signed were exported with it.
    fn check_list(
        &mut self,
        name: &str,
        logs: &BTreeMap<String, Log>,
        by: &str,
        list: &[VerifierKey],
    ) {
        for key in list {
            match logs.get(key.name()) {
                None => {
                    let message = format!("the log {} is missing, as {by} signed", key.name());
                    self.report.add(Kind::Dropped, name, message);
                }
                Some(log) if log.key() != key => {
                    let message = format!("{by} signed that its key is {key}");
                    self.report.add(Kind::Untrusted, key.name(), message);
                }
                Some(_) => {}
            }
        }
        let listed: BTreeSet<&str> = list.iter().map(VerifierKey::name).collect();
        for (origin, log) in logs {
            let carried = log.line().carried_by.is_some();
            if !carried && !listed.contains(origin.as_str()) {
                let message = format!("it is not among the logs that {by} was exported with");
                self.report.add(Kind::Malformed, origin, message);
            }
        }
    }

    /// Ends the verification.
    pub fn finish(mut self) -> Report {
        self.given.finish(&mut self.report);
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
