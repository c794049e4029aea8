//! What a verification found.

use std::fmt;

/// More findings than this are only counted.
const MAX_FINDINGS: usize = 1_000;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A row is not the one that its leaf commits to.
    Tampered,
    /// A row, its body or a whole log is missing.
    Dropped,
    /// A checkpoint is not what the log once signed.
    Rewritten,
    /// A key is not among those that were to be trusted.
    Untrusted,
    /// A log is said to be of another block or tenant than the one that signed.
    Mislabelled,
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
            Self::Mislabelled => "mislabelled log",
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
    /// Entries whose body is missing, so that only its hash could be verified.
    pub missing_bodies: u64,
    /// Checkpoints whose signature and place hold.
    pub checkpoints: u64,
    /// Whether the file held all of its entries.
    pub complete: bool,
    /// The key that the log was verified with.
    pub key: String,
    /// Whether that key, or a checkpoint that it signed, was given apart from the file.
    pub pinned: bool,
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
    /// What is not wrong, but should be known.
    pub notes: Vec<String>,
    /// The case, when the files hold one case's trail.
    pub process_id: Option<String>,
}

impl Report {
    /// Whether nothing is wrong and there was something to verify.
    pub fn is_valid(&self) -> bool {
        self.findings.is_empty() && !self.logs.is_empty()
    }

    /// Whether all keys were given apart from the files. Without that, whoever made a file could
    /// have signed it with keys of their own.
    pub fn is_pinned(&self) -> bool {
        !self.logs.is_empty() && self.logs.iter().all(|log| log.pinned)
    }

    /// Entries whose proof holds, in all logs.
    pub fn entries(&self) -> u64 {
        self.logs.iter().map(|log| log.entries).sum()
    }

    /// Checkpoints that hold, in all logs.
    pub fn checkpoints(&self) -> u64 {
        self.logs.iter().map(|log| log.checkpoints).sum()
    }

    /// Entries whose body is missing, in all logs.
    pub fn missing_bodies(&self) -> u64 {
        self.logs.iter().map(|log| log.missing_bodies).sum()
    }

    /// Whether something of this kind was found.
    pub fn has(&self, kind: Kind) -> bool {
        self.findings.iter().any(|finding| finding.kind == kind)
    }

    /// What it comes to, in one line.
    pub fn verdict(&self) -> String {
        if self.logs.is_empty() && self.findings.is_empty() {
            return "NOT valid: there is nothing to verify".to_owned();
        }
        if !self.is_valid() {
            let count = self.findings.len() as u64 + self.more_findings;
            return format!("NOT valid: {count} findings");
        }
        if self.is_pinned() {
            return "valid, by keys that were given".to_owned();
        }
        let unpinned = self.logs.iter().filter(|log| !log.pinned).count();
        if unpinned == self.logs.len() {
            return "valid, but the keys come from the file itself".to_owned();
        }
        let all = self.logs.len();
        format!("valid, but {unpinned} of {all} keys come from the file itself")
    }

    pub(super) fn add(&mut self, kind: Kind, place: &str, message: impl Into<String>) {
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

    pub(super) fn note(&mut self, note: String) {
        if self.notes.len() < MAX_FINDINGS {
            self.notes.push(note);
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
            let from = if log.pinned {
                "given"
            } else {
                "from the file itself"
            };
            writeln!(
                f,
                "{} ({}): {extent}, {} entries and {} checkpoints hold",
                log.block, log.origin, log.entries, log.checkpoints
            )?;
            writeln!(f, "  key {from}: {}", log.key)?;
            if log.missing_bodies > 0 {
                writeln!(
                    f,
                    "  {} bodies are missing; their hashes hold",
                    log.missing_bodies
                )?;
            }
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        if self.more_findings > 0 {
            writeln!(f, "and {} more findings", self.more_findings)?;
        }
        writeln!(f, "{}", self.verdict())
    }
}
