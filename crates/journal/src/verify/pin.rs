//! What an auditor knows apart from the files: keys of logs and checkpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::{Kind, Report};
use crate::note::{Head, NoteError, VerifierKey, plain_number};

/// The key that a log must have.
///
/// Read from `ORIGIN=KEY`, or from `KEY` alone, where KEY is in the C2SP form
/// `name+id+base64`, whose name is an origin. The epoch at the end of an origin may be left out:
/// a log keeps its key over its epochs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    log: String,
    key: VerifierKey,
}

impl Pin {
    /// Trusts a key for the log that it is named for.
    pub fn of(key: VerifierKey) -> Self {
        let log = stem(key.name()).to_owned();
        Self { log, key }
    }

    /// Reads a file of pins, one a line; empty lines and those that begin with `#` are skipped.
    /// The error names the line.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        text.lines()
            .zip(1..)
            .map(|(line, number)| (line.trim(), number))
            .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
            .map(|(line, number)| {
                line.parse()
                    .map_err(|error: NoteError| format!("line {number}: {error}"))
            })
            .collect()
    }
}

impl FromStr for Pin {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        // Base64 ends with equals signs, names hold none.
        let named = text
            .split_once('=')
            .filter(|(origin, key)| !origin.contains('+') && !key.is_empty());
        let Some((origin, key)) = named else {
            return VerifierKey::parse(text).map(Self::of);
        };
        let pin = Self::of(VerifierKey::parse(key)?);
        if pin.log != stem(origin) {
            return Err(NoteError::Key("it is named for another log"));
        }
        Ok(pin)
    }
}

/// The name of a log without its epoch.
fn stem(origin: &str) -> &str {
    let epoch = |last: &str| {
        last.split_once('-').is_some_and(|(number, random)| {
            number.bytes().all(|byte| byte.is_ascii_digit())
                && !number.is_empty()
                && random.len() == 8
                && random.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    match origin.rsplit_once('/') {
        Some((stem, last)) if epoch(last) => stem,
        _ => origin,
    }
}

/// Block, tenant and epoch, as a log's name ends with them.
pub(super) fn parts(origin: &str) -> Option<(&str, &str, i64)> {
    let mut parts = origin.rsplitn(4, '/');
    let (epoch, tenant, block) = (parts.next()?, parts.next()?, parts.next()?);
    let number = epoch.split_once('-').map_or(epoch, |(number, _)| number);
    Some((block, tenant, plain_number(number)?))
}

/// A checkpoint that was given.
#[derive(Debug)]
struct Known {
    head: Head,
    note: String,
    /// Whether a log of its name was found.
    met: bool,
}

/// All that was given, and what of it was met in the files.
#[derive(Debug, Default)]
pub(super) struct Given {
    keys: BTreeMap<String, VerifierKey>,
    known: Vec<Known>,
    seen: BTreeSet<String>,
}

impl Given {
    pub(super) fn pin(&mut self, pin: Pin) -> Result<(), NoteError> {
        let Pin { log, key } = pin;
        match self.keys.get(&log) {
            Some(other) if other.public_key() != key.public_key() => {
                Err(NoteError::Key("its log was given another key already"))
            }
            _ => {
                self.keys.insert(log, key);
                Ok(())
            }
        }
    }

    pub(super) fn compare(&mut self, note: &str) -> Result<(), NoteError> {
        let head = Head::peek(note)?;
        let note = note.to_owned();
        self.known.push(Known {
            head,
            note,
            met: false,
        });
        Ok(())
    }

    /// Meets a log of a file: whether its key is one that was given, and the checkpoints that
    /// its tree is to be compared with.
    pub(super) fn meet(&mut self, key: &VerifierKey, report: &mut Report) -> (bool, Vec<Head>) {
        let origin = key.name();
        let log = stem(origin);
        self.seen.insert(log.to_owned());
        let mut pinned = false;
        let mut heads = Vec::new();
        let same = |known: &&mut Known| stem(&known.head.origin) == log;
        for known in self.known.iter_mut().filter(same) {
            // A log keeps its key over its epochs, so an older checkpoint vouches for the key.
            let named = VerifierKey::new(known.head.origin.clone(), *key.public_key());
            if named.open(&known.note).is_err() {
                let message = format!("{key} did not sign the checkpoint that was given");
                report.add(Kind::Untrusted, origin, message);
                continue;
            }
            pinned = true;
            if known.head.origin == origin {
                known.met = true;
                heads.push(known.head.clone());
            }
        }
        match self.keys.get(log) {
            Some(given) if given.public_key() == key.public_key() => pinned = true,
            Some(given) => {
                pinned = false;
                let message = format!("{key} is not the key that was given, {given}");
                report.add(Kind::Untrusted, origin, message);
            }
            None if !self.keys.is_empty() && !pinned => {
                let message = format!("{key} is not among the keys that were given");
                report.add(Kind::Untrusted, origin, message);
            }
            None => {}
        }
        (pinned, heads)
    }

    /// Reports what was given and never met.
    pub(super) fn finish(self, report: &mut Report) {
        for (log, key) in &self.keys {
            if !self.seen.contains(log) {
                let message = format!("the log whose key was given is missing, {key}");
                report.add(Kind::Dropped, log, message);
            }
        }
        for known in self.known.into_iter().filter(|known| !known.met) {
            let origin = known.head.origin;
            if self.seen.contains(stem(&origin)) {
                report.note(format!(
                    "the checkpoint of {origin} that was given is of another epoch; it vouches \
                     for the key alone"
                ));
            } else {
                let message = "the log whose checkpoint was given is missing";
                report.add(Kind::Dropped, &origin, message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_with_and_without_an_origin() {
        let key = VerifierKey::new("town.example/payments/default/2-00c0ffee", [7; 32]);
        let plain: Pin = key.to_string().parse().unwrap();
        assert_eq!(plain.log, "town.example/payments/default");
        for origin in [
            "town.example/payments/default",
            "town.example/payments/default/2-00c0ffee",
            "town.example/payments/default/1-11111111",
        ] {
            let named: Pin = format!("{origin}={key}").parse().unwrap();
            assert_eq!(named, plain, "{origin}");
        }
        for bad in [
            "",
            "town.example/payments/default=",
            "town.example/payments/default=AAAA",
            &format!("town.example/consent/default={key}"),
        ] {
            assert!(bad.parse::<Pin>().is_err(), "{bad}");
        }
        let list = format!("# kept since March\n\n{key}\n");
        assert_eq!(Pin::list(&list).unwrap(), [plain]);
        let wrong = Pin::list(&format!("{key}\nnonsense\n")).unwrap_err();
        assert!(wrong.starts_with("line 2: "), "{wrong}");
    }

    #[test]
    fn names_of_logs_fall_into_parts() {
        assert_eq!(
            parts("town.example/a/payments/default/12-00c0ffee"),
            Some(("payments", "default", 12))
        );
        assert_eq!(parts("payments/default/x"), None);
        assert_eq!(stem("a/payments/t1/1"), "a/payments/t1/1");
    }
}
