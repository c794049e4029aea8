//! The export format: JSON Lines with everything that proves a trail, so that it can be verified
//! with no network and no database.
//!
//! A file starts with a `header` and ends with an `end` line. Between them stand, for each log,
//! a `log` line with its key, its `checkpoint`s, `consistency` proofs between them, `entry`
//! lines, and a signed `statement` of how many entries it has and which logs stand in the file. A
//! `complete` log holds all entries from position 0; a missing row is shown by a `leaf` line.

use publica_types::{Timestamp, Uuid};
use serde::{Deserialize, Serialize};

use crate::entry::{EntryRow, Outcome};
use crate::merkle::{Hash, digest};
use crate::note::{NoteError, VerifierKey, plain_number};

/// Name of the format in the header.
pub const FORMAT: &str = "publica-trail";
/// Version of the format in the header.
pub const VERSION: u32 = 2;
/// Logs of one export, at most: their keys must fit into a signed note.
pub const MAX_LOGS: usize = 100;

/// One line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase")]
pub enum Line {
    /// First line.
    Header {
        /// [`FORMAT`].
        format: String,
        /// [`VERSION`].
        version: u32,
        /// The case, when the file holds one case's trail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        process_id: Option<String>,
        /// When the export was made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exported: Option<Timestamp>,
    },
    /// A log whose lines follow.
    Log(LogLine),
    /// A signed tree head.
    Checkpoint {
        /// Name of the log.
        origin: String,
        /// The signed note.
        note: String,
    },
    /// A proof that one tree begins with another.
    Consistency {
        /// Name of the log.
        origin: String,
        /// The smaller size.
        old: u64,
        /// The larger size.
        new: u64,
        /// The proof, in hexadecimal.
        #[serde(with = "hashes")]
        proof: Vec<Hash>,
    },
    /// A signed count of a log's entries, of one case or of all.
    Statement {
        /// Name of the log.
        origin: String,
        /// The signed note.
        note: String,
    },
    /// An entry with its leaf and, unless the log is complete, its proof.
    Entry(Box<EntryLine>),
    /// The leaf of an entry whose row is missing from the store.
    Leaf {
        /// Name of the log.
        origin: String,
        /// Place of the leaf.
        position: u64,
        /// The entry.
        entry_id: Uuid,
        /// The leaf hash, in hexadecimal.
        #[serde(with = "hash")]
        leaf: Hash,
    },
    /// Last line.
    End {
        /// Lines before this one.
        lines: u64,
    },
}

/// A log and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Name of the log, first line of its checkpoints.
    pub origin: String,
    /// The block.
    pub block: String,
    /// The tenant.
    pub tenant: String,
    /// The epoch.
    pub epoch: i64,
    /// Verifier key in the C2SP form.
    pub key: String,
    /// Whether all entries from position 0 follow.
    #[serde(default)]
    pub complete: bool,
    /// For an older epoch of a log in this file: the origin whose entries its checkpoints cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried_by: Option<String>,
}

/// An entry with what proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryLine {
    /// Name of the log.
    pub origin: String,
    /// Place of the leaf.
    pub position: u64,
    /// Size of the tree that the proof leads to; absent in a complete log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree_size: Option<u64>,
    /// The leaf hash, in hexadecimal.
    #[serde(with = "hash")]
    pub leaf: Hash,
    /// Hashes from leaf to root, in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "hashes")]
    pub proof: Vec<Hash>,
    /// The entry itself.
    pub entry: EntryFields,
}

/// The fields of an entry as they stand in an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryFields {
    entry_id: Uuid,
    time: Timestamp,
    actor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<String>,
    action: String,
    outcome: Outcome,
    subject_kind: String,
    subject_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(with = "hash")]
    body_sha256: Hash,
    /// Byte for byte as it was hashed, hence a string and not nested JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

impl From<EntryRow> for EntryFields {
    fn from(row: EntryRow) -> Self {
        Self {
            entry_id: row.entry_id,
            time: row.time,
            actor: row.actor,
            on_behalf_of: row.on_behalf_of,
            action: row.action,
            outcome: row.outcome,
            subject_kind: row.subject_kind,
            subject_id: row.subject_id,
            process_id: row.process_id,
            request_id: row.request_id,
            trace_id: row.trace_id,
            body_sha256: row.body_sha256,
            // Canonical JSON is UTF-8; a row tampered into something else must still be shown.
            body: row
                .body
                .map(|body| String::from_utf8_lossy(&body).into_owned()),
        }
    }
}

impl From<EntryFields> for EntryRow {
    fn from(fields: EntryFields) -> Self {
        Self {
            entry_id: fields.entry_id,
            time: fields.time,
            actor: fields.actor,
            on_behalf_of: fields.on_behalf_of,
            action: fields.action,
            outcome: fields.outcome,
            subject_kind: fields.subject_kind,
            subject_id: fields.subject_id,
            process_id: fields.process_id,
            request_id: fields.request_id,
            trace_id: fields.trace_id,
            body_sha256: fields.body_sha256,
            body: fields.body.map(String::into_bytes),
        }
    }
}

/// What a log signs about an export of it: how many entries there are below a tree size, and a
/// hash over their leaves, so that none can be left out unnoticed; and which logs stand in the
/// export, so that no other log can be left out of it or get another key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Name of the log.
    pub origin: String,
    /// The case; `None` when all entries are counted.
    pub process_id: Option<String>,
    /// Size of the tree.
    pub tree_size: u64,
    /// Number of entries.
    pub count: u64,
    /// Number of entries that still have their body. The owner of a store may drop those of old
    /// months.
    pub bodies: u64,
    /// Hash over the leaf hashes in order of position.
    pub leaves: Hash,
    /// The logs in the export, this one among them, at most [`MAX_LOGS`].
    pub logs: Vec<VerifierKey>,
}

const STATEMENT_KIND: &str = "publica-trail-statement/2";
/// Stands for the case when there is none; a case is in hexadecimal.
const NO_PROCESS: &str = "-";

impl Statement {
    /// A statement that counts nothing yet.
    pub fn new(origin: &str, process_id: Option<&str>, tree_size: u64) -> Self {
        Self {
            origin: origin.to_owned(),
            process_id: process_id.map(str::to_owned),
            tree_size,
            count: 0,
            bodies: 0,
            leaves: [0; 32],
            logs: Vec::new(),
        }
    }

    /// Counts the next entry.
    pub fn add(&mut self, leaf: &Hash, has_body: bool) {
        self.count += 1;
        self.bodies += u64::from(has_body);
        self.leaves = Self::extend(&self.leaves, leaf);
    }

    /// The text that is signed. The first line keeps it from being mistaken for a checkpoint.
    pub fn text(&self) -> String {
        let process = self.process_id.as_ref().map(hex::encode);
        let mut text = format!(
            "{STATEMENT_KIND}\n{}\n{}\n{}\n{}\n{}\n{}\n",
            self.origin,
            process.as_deref().unwrap_or(NO_PROCESS),
            self.tree_size,
            self.count,
            self.bodies,
            hex::encode(self.leaves)
        );
        for log in &self.logs {
            text.push_str(&log.to_string());
            text.push('\n');
        }
        text
    }

    /// Reads the signed text.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let malformed = || NoteError::Malformed("it is no trail statement");
        let lines: Vec<&str> = text.split_terminator('\n').collect();
        let [
            STATEMENT_KIND,
            origin,
            process,
            size,
            count,
            bodies,
            leaves,
            logs @ ..,
        ] = lines.as_slice()
        else {
            return Err(malformed());
        };
        if logs.len() > MAX_LOGS {
            return Err(NoteError::Malformed("it names too many logs"));
        }
        let process_id = match *process {
            NO_PROCESS => None,
            process => {
                let process = hex::decode(process).map_err(|_| malformed())?;
                Some(String::from_utf8(process).map_err(|_| malformed())?)
            }
        };
        if origin.is_empty() || origin.contains(char::is_control) {
            return Err(malformed());
        }
        let number = |text: &str| plain_number::<u64>(text).ok_or_else(malformed);
        let leaves = hex::decode(leaves)
            .ok()
            .and_then(|bytes| Hash::try_from(bytes).ok());
        Ok(Self {
            origin: (*origin).to_owned(),
            process_id,
            tree_size: number(size)?,
            count: number(count)?,
            bodies: number(bodies)?,
            leaves: leaves.ok_or_else(malformed)?,
            logs: logs
                .iter()
                .map(|log| VerifierKey::parse(log))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The hash over leaf hashes, extended one by one from `[0; 32]`.
    pub fn extend(so_far: &Hash, leaf: &Hash) -> Hash {
        let mut both = [0; 64];
        both[..32].copy_from_slice(so_far);
        both[32..].copy_from_slice(leaf);
        digest(&both)
    }
}

/// A hash as hexadecimal text.
mod hash {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::merkle::Hash;

    pub(super) fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(hash))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
        read(&String::deserialize(from)?)
    }

    pub(super) fn read<E: Error>(text: &str) -> Result<Hash, E> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash)
            .map_err(|_| E::custom("a hash is 64 hexadecimal digits"))?;
        Ok(hash)
    }
}

/// Hashes as hexadecimal texts.
mod hashes {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::merkle::Hash;

    pub(super) fn serialize<S: Serializer>(all: &[Hash], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(all.iter().map(hex::encode))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Hash>, D::Error> {
        Vec::<String>::deserialize(from)?
            .iter()
            .map(|text| super::hash::read(text))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::row;

    #[test]
    fn lines_survive_json() {
        let entry = row(1, "p");
        let line = Line::Entry(Box::new(EntryLine {
            origin: "o".into(),
            position: 3,
            tree_size: Some(8),
            leaf: entry.leaf_hash(),
            proof: vec![[1; 32], [2; 32]],
            entry: entry.clone().into(),
        }));
        let text = serde_json::to_string(&line).unwrap();
        assert!(!text.contains('\n'));
        let back: Line = serde_json::from_str(&text).unwrap();
        assert_eq!(back, line);
        let Line::Entry(back) = back else {
            panic!("not an entry")
        };
        assert_eq!(EntryRow::from(back.entry), entry);
    }

    #[test]
    fn statements_survive_text() {
        let mut statement = Statement::new("log", Some("case 7\nwith a line"), 10);
        statement.add(&[3; 32], true);
        statement.add(&[4; 32], false);
        statement.logs = vec![
            VerifierKey::new("log", [1; 32]),
            VerifierKey::new("b", [2; 32]),
        ];
        assert_eq!((statement.count, statement.bodies), (2, 1));
        assert_eq!(Statement::parse(&statement.text()).unwrap(), statement);
        let whole = Statement::new("log", None, 10);
        assert_eq!(Statement::parse(&whole.text()).unwrap(), whole);
        assert!(Statement::parse("log\n1\nAAAA\n").is_err());
        for (from, to) in [
            ("log\n", "log\r\n"),
            ("\n10\n", "\n+10\n"),
            ("\n10\n", "\n010\n"),
        ] {
            let changed = whole.text().replacen(from, to, 1);
            assert_ne!(changed, whole.text());
            assert!(Statement::parse(&changed).is_err(), "{changed:?}");
        }
        statement.logs = vec![VerifierKey::new("log", [1; 32]); MAX_LOGS + 1];
        assert!(Statement::parse(&statement.text()).is_err());
    }
}
