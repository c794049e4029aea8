//! What is known about one log while its lines are read.

use std::collections::{BTreeMap, BTreeSet};

use super::{EntryLine, EntryRow, Hash, Head, Kind, LogLine, LogReport, Report, Statement};
use super::{VerifierKey, merkle};
use crate::merkle::Frontier;

/// A checkpoint that its key signed.
#[derive(Debug)]
struct Signed {
    root: Hash,
    /// Whether it was compared with the tree or with another checkpoint.
    checked: bool,
}

/// The case that an entry is of, if any.
#[derive(Debug)]
struct Case(Option<String>);

#[derive(Debug)]
pub(super) struct Log {
    line: LogLine,
    key: VerifierKey,
    pinned: bool,
    heads: BTreeMap<u64, Signed>,
    /// Sizes whose checkpoint was found wanting, so that it is not reported again.
    broken: BTreeSet<u64>,
    /// Sizes of checkpoints in the file.
    own: BTreeSet<u64>,
    /// Sizes of checkpoints that were given apart from the file.
    known: BTreeSet<u64>,
    frontier: Frontier,
    next: u64,
    /// Entries whose proof holds.
    entries: u64,
    missing_bodies: u64,
    tampered: bool,
    /// What a statement must say of the leaves that were read.
    found: (Hash, u64),
    /// The case of the first entry.
    process: Option<Case>,
    last_position: Option<u64>,
    statements: Vec<Statement>,
    /// Checkpoints of older epochs whose entries stand here, by their size.
    carries: BTreeMap<u64, Vec<Head>>,
}

impl Log {
    pub(super) fn new(line: LogLine, key: VerifierKey, pinned: bool) -> Self {
        Self {
            line,
            key,
            pinned,
            heads: BTreeMap::new(),
            broken: BTreeSet::new(),
            own: BTreeSet::new(),
            known: BTreeSet::new(),
            frontier: Frontier::default(),
            next: 0,
            entries: 0,
            missing_bodies: 0,
            tampered: false,
            found: ([0; 32], 0),
            process: None,
            last_position: None,
            statements: Vec::new(),
            carries: BTreeMap::new(),
        }
    }

    pub(super) fn line(&self) -> &LogLine {
        &self.line
    }

    pub(super) fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn report(&self, report: &mut Report, kind: Kind, message: impl Into<String>) {
        report.add(kind, &self.line.origin, message);
    }

    /// Takes a checkpoint that the auditor kept, whose signature holds: it is part of what the
    /// export must agree with.
    pub(super) fn known(&mut self, report: &mut Report, head: Head) {
        self.known.insert(head.size);
        self.head(report, &head);
    }

    /// What the log signed, as far as signatures hold.
    pub(super) fn signed(&self) -> impl Iterator<Item = (u64, Hash)> + '_ {
        self.heads.iter().map(|(size, signed)| (*size, signed.root))
    }

    /// Takes a checkpoint. One of an older epoch is returned with the origin of the log that
    /// carries its entries, to be compared with that log's tree.
    pub(super) fn checkpoint(&mut self, report: &mut Report, note: &str) -> Option<(String, Head)> {
        let head = match self.key.open(note).and_then(Head::parse) {
            Ok(head) => head,
            Err(error) => {
                if let Ok(head) = Head::peek(note) {
                    self.broken.insert(head.size);
                }
                self.report(
                    report,
                    Kind::Rewritten,
                    format!("a checkpoint fails: {error}"),
                );
                return None;
            }
        };
        if head.origin != self.line.origin {
            let message = format!("a checkpoint is signed for {} instead", head.origin);
            self.report(report, Kind::Rewritten, message);
            return None;
        }
        self.own.insert(head.size);
        self.head(report, &head);
        self.line.carried_by.clone().map(|by| (by, head))
    }

    fn head(&mut self, report: &mut Report, head: &Head) {
        match self.heads.get(&head.size) {
            Some(signed) if signed.root != head.root => {
                let size = head.size;
                self.broken.insert(size);
                let message = format!("two checkpoints of size {size} have different roots");
                self.report(report, Kind::Rewritten, message);
            }
            Some(_) => {}
            None => {
                self.heads.insert(
                    head.size,
                    Signed {
                        root: head.root,
                        checked: false,
                    },
                );
            }
        }
        self.check_size(report, head.size);
    }

    pub(super) fn consistency(&mut self, report: &mut Report, old: u64, new: u64, proof: &[Hash]) {
        let (Some(first), Some(second)) = (self.heads.get(&old), self.heads.get(&new)) else {
            if !self.broken.contains(&old) && !self.broken.contains(&new) {
                let message = format!("a proof leads from {old} to {new} without checkpoints");
                self.report(report, Kind::Malformed, message);
            }
            return;
        };
        if merkle::consistent(old, new, &first.root, &second.root, proof) {
            for size in [old, new] {
                if let Some(signed) = self.heads.get_mut(&size) {
                    signed.checked = true;
                }
            }
        } else {
            self.broken.insert(new);
            let message =
                format!("the checkpoint of size {new} does not continue the one of size {old}");
            self.report(report, Kind::Rewritten, message);
        }
    }

    pub(super) fn statement(&mut self, report: &mut Report, process: Option<&str>, note: &str) {
        let statement = match self.key.open(note).and_then(Statement::parse) {
            Ok(statement) => statement,
            Err(error) => {
                self.report(
                    report,
                    Kind::Rewritten,
                    format!("a statement fails: {error}"),
                );
                return;
            }
        };
        let whole = statement.process_id.is_none();
        let ours = statement.origin == self.line.origin && whole == self.line.complete;
        if !ours || statement.process_id.as_deref() != process {
            self.report(
                report,
                Kind::Malformed,
                "a statement is about another log or case than the header names",
            );
        }
        if ours {
            self.statements.push(statement);
        }
    }

    pub(super) fn entry(&mut self, report: &mut Report, process: Option<&str>, line: EntryLine) {
        let EntryLine {
            position,
            tree_size,
            leaf,
            proof,
            entry,
            ..
        } = line;
        let row = EntryRow::from(entry);
        let mut sound = true;
        self.missing_bodies += u64::from(row.body.is_none());
        let first = self
            .process
            .get_or_insert_with(|| Case(row.process_id.clone()));
        let of_one_case = self.line.complete || first.0 == row.process_id;
        if self.line.carried_by.is_some() {
            self.report(
                report,
                Kind::Malformed,
                "it has entries, though another log carries them",
            );
        }
        if !row.body_fits() {
            sound = false;
            let message = format!(
                "the body of entry {} at position {position} was changed",
                row.entry_id
            );
            self.report(report, Kind::Tampered, message);
        } else if row.leaf_hash() != leaf {
            sound = false;
            let message = format!("entry {} at position {position} was changed", row.entry_id);
            self.report(report, Kind::Tampered, message);
        } else if !of_one_case || (process.is_some() && process != row.process_id.as_deref()) {
            sound = false;
            let message = format!("entry {} belongs to another case", row.entry_id);
            self.report(report, Kind::Tampered, message);
        }
        if self.line.complete {
            self.leaf(report, position, &leaf);
        } else {
            if self.last_position.is_some_and(|last| position <= last) {
                sound = false;
                let message = format!("position {position} is repeated or out of order");
                self.report(report, Kind::Tampered, message);
            }
            self.last_position = Some(position);
            self.find(&leaf);
            sound &= self.proven(report, &row, position, tree_size, &leaf, &proof);
        }
        self.tampered |= !sound;
        self.entries += u64::from(sound);
    }

    /// Counts a leaf as a statement does.
    fn find(&mut self, leaf: &Hash) {
        self.found = (Statement::extend(&self.found.0, leaf), self.found.1 + 1);
    }

    fn proven(
        &mut self,
        report: &mut Report,
        row: &EntryRow,
        position: u64,
        tree_size: Option<u64>,
        leaf: &Hash,
        proof: &[Hash],
    ) -> bool {
        let size = tree_size.unwrap_or(0);
        let Some(signed) = self.heads.get_mut(&size) else {
            // A forged checkpoint has been reported, whatever size it claims.
            if self.broken.is_empty() {
                let message = format!("no checkpoint of size {size} proves entry {}", row.entry_id);
                self.report(report, Kind::Malformed, message);
            }
            return false;
        };
        let holds = merkle::root_of_inclusion(position, size, leaf, proof) == Some(signed.root);
        if holds {
            signed.checked = true;
        } else {
            let message = format!(
                "entry {} at position {position} is not what the checkpoint of size {size} \
                 commits to",
                row.entry_id
            );
            self.report(report, Kind::Tampered, message);
        }
        holds
    }

    /// Takes the next leaf of a complete log.
    pub(super) fn leaf(&mut self, report: &mut Report, position: u64, leaf: &Hash) {
        if !self.line.complete {
            return;
        }
        if position != self.next {
            // The tree cannot be rebuilt beyond a gap; report the gap and go on reading rows.
            let message = if position > self.next {
                format!("positions {} to {} are missing", self.next, position - 1)
            } else {
                format!("position {position} is repeated or out of order")
            };
            self.report(report, Kind::Dropped, message);
            self.tampered = true;
        }
        // No log has a position beyond the last number, but a line may claim one.
        self.next = position.saturating_add(1);
        self.find(leaf);
        self.frontier.push(*leaf, |_, _| {});
        self.check_size(report, self.frontier.size());
    }

    /// Compares the rebuilt tree with the checkpoint of exactly this size.
    fn check_size(&mut self, report: &mut Report, size: u64) {
        if !self.line.complete || self.frontier.size() != size || self.next != size {
            return;
        }
        let root = self.frontier.root();
        if let Some(signed) = self.heads.get_mut(&size) {
            if signed.root == root {
                signed.checked = true;
            } else if !self.broken.contains(&size) && !self.tampered {
                self.broken.insert(size);
                let message =
                    format!("the checkpoint of size {size} does not fit the leaves below it");
                self.report(report, Kind::Rewritten, message);
            }
        }
        for head in self.carries.remove(&size).unwrap_or_default() {
            if head.root != root && !self.tampered {
                let message = format!("the checkpoint of size {size} does not fit {}", head.origin);
                self.report(report, Kind::Rewritten, message);
            }
        }
    }

    /// Takes a checkpoint of an older epoch whose entries stand in this log.
    pub(super) fn carry(&mut self, head: Head) {
        self.carries.entry(head.size).or_default().push(head);
    }

    /// Ends the log. Returns the logs that it signed were exported together.
    pub(super) fn finish(
        &mut self,
        report: &mut Report,
        process: Option<&str>,
    ) -> Option<Vec<VerifierKey>> {
        self.finish_known(report);
        if self.line.carried_by.is_some() {
            return None;
        }
        let newest = self.statements.iter().max_by_key(|made| made.tree_size);
        let Some(statement) = newest.cloned() else {
            let message = "no signed statement says how many entries it has";
            self.report(report, Kind::Dropped, message);
            self.finish_complete(report, 0);
            return None;
        };
        if self.line.complete {
            self.finish_complete(report, statement.tree_size);
            let same = (statement.leaves, statement.count) == self.found;
            if !same && !self.tampered && self.next == statement.tree_size {
                let message = "the entries are not those that the signed statement counts";
                self.report(report, Kind::Tampered, message);
            }
        } else {
            self.finish_trail(report, &statement, process);
        }
        self.finish_bodies(report, &statement);
        Some(statement.logs)
    }

    pub(super) fn into_report(self) -> LogReport {
        let holds = |size: &u64, signed: &Signed| signed.checked && !self.broken.contains(size);
        let holding = self
            .heads
            .iter()
            .filter(|(size, signed)| holds(size, signed))
            .count();
        LogReport {
            entries: self.entries,
            missing_bodies: self.missing_bodies,
            checkpoints: u64::try_from(holding).unwrap_or(u64::MAX),
            complete: self.line.complete,
            key: self.key.to_string(),
            pinned: self.pinned,
            origin: self.line.origin,
            block: self.line.block,
            tenant: self.line.tenant,
        }
    }

    /// Says which of the checkpoints that were given the file does not lead to. Those beyond the
    /// end of a complete log are reported with its end.
    fn finish_known(&self, report: &mut Report) {
        if self.line.complete || self.line.carried_by.is_some() {
            return;
        }
        for size in self.known.difference(&self.own) {
            let checked = self.heads.get(size).is_some_and(|signed| signed.checked);
            let origin = &self.line.origin;
            if checked {
                continue;
            }
            if self.own.last().is_some_and(|end| end < size) {
                let message = format!(
                    "it ends before size {size}, to which the checkpoint that was given commits"
                );
                self.report(report, Kind::Dropped, message);
            } else {
                report.note(format!(
                    "the checkpoint of {origin} of size {size} that was given vouches for the key \
                     alone: the file holds no proof that leads from it"
                ));
            }
        }
    }

    fn finish_complete(&mut self, report: &mut Report, stated: u64) {
        if !self.line.complete {
            return;
        }
        let size = self.frontier.size();
        let carried = self.carries.keys().copied();
        let beyond = self.heads.keys().copied().chain(carried).chain([stated]);
        let beyond = beyond.max().filter(|beyond| *beyond > self.next);
        if let Some(beyond) = beyond {
            let message = format!(
                "the log ends at {}, but {beyond} entries were signed for",
                self.next
            );
            self.report(report, Kind::Dropped, message);
        }
        if size > 0 && self.heads.is_empty() && self.broken.is_empty() {
            self.report(
                report,
                Kind::Rewritten,
                "no checkpoint commits to the entries",
            );
        }
    }

    fn finish_trail(&mut self, report: &mut Report, statement: &Statement, process: Option<&str>) {
        let size = statement.tree_size;
        if !self.heads.contains_key(&size) && self.broken.is_empty() {
            let message = format!("no checkpoint of size {size} fits the signed statement");
            self.report(report, Kind::Malformed, message);
        }
        // Entries of another case than the header's were reported one by one.
        let of = self.process.as_ref();
        let theirs = of.is_some_and(|case| case.0 != statement.process_id);
        if theirs && process.is_none() {
            let message = "the entries are not of the case that the signed statement is about";
            self.report(report, Kind::Tampered, message);
        }
        let (leaves, count) = self.found;
        if count < statement.count {
            let message = format!(
                "{} of {} entries of the trail are missing",
                statement.count - count,
                statement.count
            );
            self.report(report, Kind::Dropped, message);
        } else if (count > statement.count || leaves != statement.leaves) && !self.tampered {
            let message = "the entries are not those that the signed statement counts";
            self.report(report, Kind::Tampered, message);
        }
    }

    /// The owner of a store may drop the bodies of old months. What was there when the export
    /// was made must be there now.
    fn finish_bodies(&self, report: &mut Report, statement: &Statement) {
        let gone = statement.count.saturating_sub(statement.bodies);
        if self.missing_bodies > gone {
            let message = format!(
                "{} bodies are missing that the log still had when it was exported",
                self.missing_bodies - gone
            );
            self.report(report, Kind::Dropped, message);
        }
    }
}
