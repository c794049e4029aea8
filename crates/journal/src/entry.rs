//! Journal entries: how they are composed, and the bytes that their leaves commit to.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use publica_types::{Origin, Timestamp, Uuid};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical;
use crate::merkle::{Hash, digest, leaf_hash};

/// What became of the recorded action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It took effect, or the read was answered.
    #[default]
    Done,
    /// A rule of the block refused it.
    Refused,
    /// The caller had no right to it.
    Denied,
}

impl Outcome {
    /// The stored spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Denied => "denied",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an outcome: {0}")]
pub struct OutcomeError(String);

impl FromStr for Outcome {
    type Err = OutcomeError;

    fn from_str(text: &str) -> Result<Self, OutcomeError> {
        match text {
            "done" => Ok(Self::Done),
            "refused" => Ok(Self::Refused),
            "denied" => Ok(Self::Denied),
            other => Err(OutcomeError(other.to_owned())),
        }
    }
}

/// An entry as a block composes it. Who acted, for whom and in which case come from the call's
/// origin when it is appended.
///
/// ```
/// use publica_journal::{Entry, Outcome};
///
/// let entry = Entry::new("payments.account.opened")
///     .subject("account", "018f4e3c-5f00-7000-8000-000000000001")
///     .outcome(Outcome::Done)
///     .body(serde_json::json!({"state": "open"}));
/// # let _ = entry;
/// ```
#[derive(Debug, Clone)]
pub struct Entry {
    pub(crate) action: Cow<'static, str>,
    pub(crate) outcome: Outcome,
    pub(crate) subject_kind: Cow<'static, str>,
    pub(crate) subject_id: String,
    pub(crate) process_id: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Entry {
    /// An entry about an action, named `<block>.<thing>.<what happened>`.
    pub fn new(action: impl Into<Cow<'static, str>>) -> Self {
        Self {
            action: action.into(),
            outcome: Outcome::Done,
            subject_kind: Cow::Borrowed(""),
            subject_id: String::new(),
            process_id: None,
            body: b"{}".to_vec(),
        }
    }

    /// What was acted upon: its kind and its opaque id.
    pub fn subject(mut self, kind: impl Into<Cow<'static, str>>, id: impl ToString) -> Self {
        self.subject_kind = kind.into();
        self.subject_id = id.to_string();
        self
    }

    /// What became of the action; done unless said otherwise.
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// The case, where it is another than the call's (a case that this very action opens).
    pub fn process(mut self, process_id: impl Into<String>) -> Self {
        self.process_id = Some(process_id.into());
        self
    }

    /// Further facts: opaque ids, field names, states and amounts, never personal data. Amounts
    /// are integers; a number with a fraction is kept as a string.
    pub fn body(mut self, body: Value) -> Self {
        self.body = canonical::to_vec(&body);
        self
    }

    /// The row that this becomes. The actor's organisation stands among the facts: they are what
    /// rows of all versions have room for.
    pub(crate) fn into_row(mut self, origin: &Origin, entry_id: Uuid, time: Timestamp) -> EntryRow {
        if let Some(affiliation) = given(origin.affiliation.as_ref()) {
            self.body = with_affiliation(self.body, affiliation);
        }
        EntryRow {
            entry_id,
            time,
            actor: origin.actor.clone(),
            on_behalf_of: given(origin.on_behalf_of.as_ref()),
            action: self.action.into_owned(),
            outcome: self.outcome,
            subject_kind: self.subject_kind.into_owned(),
            subject_id: self.subject_id,
            process_id: given(self.process_id.as_ref().or(origin.process_id.as_ref())),
            request_id: given(origin.request_id.as_ref()),
            trace_id: given(origin.trace_id.as_ref()),
            body_sha256: digest(&self.body),
            body: Some(self.body),
        }
    }
}

/// Adds the actor's organisation to the facts of an entry.
fn with_affiliation(body: Vec<u8>, affiliation: String) -> Vec<u8> {
    match serde_json::from_slice(&body) {
        Ok(Value::Object(mut facts)) => {
            facts.insert("affiliation".to_owned(), Value::String(affiliation));
            canonical::to_vec(&Value::Object(facts))
        }
        _ => body,
    }
}

/// Nothing and an empty text are the same on the wire, so they are the same in the leaf.
fn given(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

/// An entry as it is stored, exported and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    /// Identifier; consumers deduplicate by it.
    pub entry_id: Uuid,
    /// When it was written.
    pub time: Timestamp,
    /// Who acted.
    pub actor: String,
    /// For whom, when that is somebody else.
    pub on_behalf_of: Option<String>,
    /// What was done.
    pub action: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Kind of the thing acted upon.
    pub subject_kind: String,
    /// Opaque id of the thing acted upon.
    pub subject_id: String,
    /// The case.
    pub process_id: Option<String>,
    /// The caller's id of the request.
    pub request_id: Option<String>,
    /// The trace.
    pub trace_id: Option<String>,
    /// SHA-256 of the body, which outlives the body.
    pub body_sha256: Hash,
    /// Canonical JSON; `None` once the owner has dropped the bodies of an old month.
    pub body: Option<Vec<u8>>,
}

impl EntryRow {
    /// The bytes whose leaf hash the log holds: canonical JSON of all fields, the body by its
    /// hash, absent fields left out.
    pub fn leaf_data(&self) -> Vec<u8> {
        let body = hex::encode(self.body_sha256);
        let entry_id = self.entry_id.to_string();
        let time = self.time.to_string();
        // In the order that RFC 8785 sorts them.
        let members: [(&str, Option<&str>); 12] = [
            ("action", Some(&self.action)),
            ("actor", Some(&self.actor)),
            ("body_sha256", Some(&body)),
            ("entry_id", Some(&entry_id)),
            ("on_behalf_of", self.on_behalf_of.as_deref()),
            ("outcome", Some(self.outcome.as_str())),
            ("process_id", self.process_id.as_deref()),
            ("request_id", self.request_id.as_deref()),
            ("subject_id", Some(&self.subject_id)),
            ("subject_kind", Some(&self.subject_kind)),
            ("time", Some(&time)),
            ("trace_id", self.trace_id.as_deref()),
        ];
        let mut out = Vec::with_capacity(512);
        out.push(b'{');
        for (name, value) in members {
            let Some(value) = value else { continue };
            if out.len() > 1 {
                out.push(b',');
            }
            canonical::write_string(&mut out, name);
            out.push(b':');
            canonical::write_string(&mut out, value);
        }
        out.push(b'}');
        out
    }

    /// The hash of the entry's leaf.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.leaf_data())
    }

    /// Whether the body is the one that was hashed, where there is one.
    pub fn body_fits(&self) -> bool {
        self.body
            .as_deref()
            .is_none_or(|body| digest(body) == self.body_sha256)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn row(n: i64, process: &str) -> EntryRow {
        let origin = Origin::actor("person:7").in_process(process);
        Entry::new("payments.account.opened")
            .subject("account", format!("a-{n}"))
            .body(json!({"state": "open", "n": n}))
            .into_row(
                &origin,
                Uuid::from_u128(n.unsigned_abs().into()),
                Timestamp::from_micros(n),
            )
    }

    #[test]
    fn leaf_data_is_canonical_json() {
        let data = row(5, "p\"1").leaf_data();
        let value: Value = serde_json::from_slice(&data).unwrap();
        assert_eq!(canonical::to_vec(&value), data);
        assert_eq!(value["process_id"], "p\"1");
        assert_eq!(value["time"], "1970-01-01T00:00:00.000005Z");
        assert!(value.get("trace_id").is_none());
    }

    #[test]
    fn the_actors_organisation_is_among_the_facts() {
        let of = |affiliation: Option<&str>| {
            let origin = Origin {
                affiliation: affiliation.map(str::to_owned),
                ..Origin::actor("clerk")
            };
            let body = json!({"state": "open", "n": 1});
            let row = Entry::new("payments.account.opened").body(body);
            let row = row.into_row(&origin, Uuid::from_u128(1), Timestamp::from_micros(1));
            assert!(row.body_fits());
            String::from_utf8(row.body.unwrap()).unwrap()
        };
        assert_eq!(of(None), r#"{"n":1,"state":"open"}"#);
        assert_eq!(of(Some("")), of(None));
        assert_eq!(
            of(Some("Ministry \"A\"")),
            r#"{"affiliation":"Ministry \"A\"","n":1,"state":"open"}"#
        );
    }

    #[test]
    fn every_field_counts() {
        let original = row(1, "p");
        let mut changed: Vec<EntryRow> = Vec::new();
        for field in 0..12 {
            let mut row = original.clone();
            match field {
                0 => row.action.push('x'),
                1 => row.actor.push('x'),
                2 => row.body_sha256[0] ^= 1,
                3 => row.entry_id = Uuid::from_u128(99),
                4 => row.on_behalf_of = Some(String::new()),
                5 => row.outcome = Outcome::Denied,
                6 => row.process_id = None,
                7 => row.request_id = Some("r".into()),
                8 => row.subject_id.push('x'),
                9 => row.subject_kind.push('x'),
                10 => row.time = Timestamp::from_micros(2),
                _ => row.trace_id = Some("t".into()),
            }
            changed.push(row);
        }
        for row in changed {
            assert_ne!(row.leaf_hash(), original.leaf_hash(), "{row:?}");
        }
    }

    #[test]
    fn a_changed_body_does_not_fit() {
        let mut row = row(1, "p");
        assert!(row.body_fits());
        row.body = Some(b"{}".to_vec());
        assert!(!row.body_fits());
        row.body = None;
        assert!(row.body_fits());
    }
}
