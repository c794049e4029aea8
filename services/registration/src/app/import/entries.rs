//! Register entries from another system: a run of them takes as many statements as one.

use std::collections::{BTreeMap, BTreeSet};

use publica_imports::Outcome;
use publica_seal::{SealError, SubjectKey};
use publica_store::Tx;
use serde_json::{Map, Value};

use super::lines::{Entity, EntryLine, Line};
use super::{Chunk, ERASED};
use crate::app::register::FIELD;
use crate::app::subject;
use crate::error::Error;
use crate::store::register::{self, EntryRow, NewEntry};

/// By what an entry is found: register and person.
type Place<'l> = (&'l str, &'l str);
/// What an entry says: the file that it rests on, and the fields.
type Said = (String, Map<String, Value>);

/// An entry with those that follow it at once.
pub(super) fn run<'l>(first: &'l EntryLine, rest: &'l [Line]) -> Vec<&'l EntryLine> {
    let entries = rest.iter().map_while(|line| match &line.entity {
        Entity::Entry(entry) => Some(&**entry),
        _ => None,
    });
    std::iter::once(first).chain(entries).collect()
}

fn place(line: &EntryLine) -> Place<'_> {
    (&line.register, &line.person_id)
}

impl Chunk {
    /// Stores entries, each once.
    pub(super) async fn entries(
        &self,
        tx: &mut Tx<'_>,
        lines: &[&EntryLine],
    ) -> Result<Vec<Outcome>, Error> {
        let keys = self.keys(tx, lines).await?;
        // Of several lines about one place the first one is stored.
        let mut first: BTreeMap<Place<'_>, usize> = BTreeMap::new();
        for (at, line) in lines.iter().enumerate() {
            if keys.contains_key(line.person_id.as_str()) {
                first.entry(place(line)).or_insert(at);
            }
        }
        let mut fresh = Vec::with_capacity(first.len());
        for (of, at) in &first {
            let line = lines[*at];
            let plain = serde_json::to_vec(&line.fields)
                .map_err(|_| Error::Corrupt("the fields of a line"))?;
            let Some(key) = keys.get(of.1) else {
                continue;
            };
            fresh.push(NewEntry {
                register: of.0,
                person_id: of.1,
                file_id: &line.file_id,
                sealed: key.seal(FIELD, &plain),
            });
        }
        let stored = register::insert_many(tx, &fresh).await?;
        let stored: BTreeSet<(String, String)> = stored.into_iter().collect();
        let is_new = |of: Place<'_>| stored.contains(&(of.0.to_owned(), of.1.to_owned()));
        let known = self.known(tx, first.keys().copied(), is_new, &keys).await?;
        Ok(lines
            .iter()
            .enumerate()
            .map(|(at, line)| match first.get(&place(line)) {
                None => Outcome::refused("personId", ERASED),
                Some(it) if is_new(place(line)) => {
                    repeats(at == *it, said(lines[*it]) == said(line))
                }
                Some(_) => repeats(false, known.get(&place(line)) == Some(&said(line))),
            })
            .collect())
    }

    /// The keys of the people that lines name, without those who were erased.
    async fn keys<'l>(
        &self,
        tx: &mut Tx<'_>,
        lines: &[&'l EntryLine],
    ) -> Result<BTreeMap<&'l str, SubjectKey>, Error> {
        let people: BTreeSet<&str> = lines.iter().map(|line| line.person_id.as_str()).collect();
        let subjects: Vec<String> = people.iter().map(|person| subject(person)).collect();
        let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
        match self.app.keyring.subjects(tx, &subjects).await {
            Ok(keys) => Ok(people.into_iter().zip(keys).collect()),
            // Somebody was erased: one by one it shows who.
            Err(SealError::Erased) => {
                let mut keys = BTreeMap::new();
                for person in people {
                    if let Some(key) = self.key(tx, person).await? {
                        keys.insert(person, key);
                    }
                }
                Ok(keys)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What was stored before under these places.
    async fn known<'l>(
        &self,
        tx: &mut Tx<'_>,
        places: impl Iterator<Item = Place<'l>>,
        is_new: impl Fn(Place<'_>) -> bool,
        keys: &BTreeMap<&str, SubjectKey>,
    ) -> Result<BTreeMap<Place<'l>, Said>, Error> {
        let places: Vec<Place<'l>> = places.filter(|of| !is_new(*of)).collect();
        let mut known = BTreeMap::new();
        if places.is_empty() {
            return Ok(known);
        }
        let mut rows: BTreeMap<(String, String), EntryRow> = BTreeMap::new();
        for row in register::find_many(tx, &places).await? {
            rows.insert((row.register.clone(), row.person_id.clone()), row);
        }
        for of in places {
            let row = rows.remove(&(of.0.to_owned(), of.1.to_owned()));
            let (Some(row), Some(key)) = (row, keys.get(of.1)) else {
                continue;
            };
            let plain = key.open(FIELD, &row.sealed)?;
            let fields =
                serde_json::from_slice(&plain).map_err(|_| Error::Corrupt("a register entry"))?;
            known.insert(of, (row.file_id, fields));
        }
        Ok(known)
    }
}

fn said(line: &EntryLine) -> (String, Map<String, Value>) {
    (line.file_id.clone(), line.fields.clone())
}

fn repeats(new: bool, same: bool) -> Outcome {
    match (new, same) {
        (true, _) => Outcome::Stored,
        (false, true) => Outcome::Repeated,
        (false, false) => Outcome::differs("personId"),
    }
}
