//! Bringing people, factors and relying parties in from another system.
//!
//! Entities keep the ids that they had. A chunk is one unit of work with one journal entry;
//! nothing is sent to anybody.

mod lines;

use std::collections::{HashMap, HashSet};

use publica_imports::Outcome;
use publica_journal::{Entry, merkle};
use publica_store::Tx;
use publica_types::{Origin, Uuid};
use serde_json::json;

use crate::app::enrol::Candidate;
use crate::app::{ATTRIBUTES, App, FACTOR, IDENTIFIER, subject};
use crate::domain::attributes::Attributes;
use crate::domain::client::Client;
use crate::domain::person::{IdentifierId, PersonId, PersonState};
use crate::error::Error;
use crate::store;
use crate::store::bulk::{NewIdentifierRow, NewPersonRow, Rows};
use crate::store::factor::{self, EMAIL_CODE, Factor};

pub(crate) use lines::Line;
use lines::{Entity, FactorLine, IdentifierLine};

/// A person on the way into the store.
struct NewPerson {
    person_id: PersonId,
    state: PersonState,
    candidate: Candidate,
    identifiers: Vec<IdentifierLine>,
    registration_id: String,
    /// Whether the earlier system gave the number; ours cannot be taken.
    numbered: bool,
    source: String,
}

impl NewPerson {
    fn lookups(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.identifiers.iter().map(|line| &line.4)
    }

    /// Whether what is stored, or stood before it, is this.
    fn is(&self, known: &Known<'_>, taken: &HashMap<Vec<u8>, PersonId>) -> bool {
        let same = match known {
            Known::Stored(attributes, person) => {
                *attributes == self.candidate.attributes
                    && person.stored_state == self.state
                    && person.assurance_level == self.candidate.assurance_level
                    && person.source == self.source
                    && (!self.numbered || person.registration_id == self.registration_id)
            }
            Known::Here(other) => {
                other.candidate.attributes == self.candidate.attributes
                    && other.state == self.state
                    && other.candidate.assurance_level == self.candidate.assurance_level
                    && other.source == self.source
                    && (!self.numbered || other.registration_id == self.registration_id)
            }
        };
        // What the person has besides, such as a number that was drawn, is no difference.
        same && self
            .lookups()
            .all(|lookup| taken.get(lookup) == Some(&self.person_id))
    }
}

/// A person whose id is in use.
enum Known<'c> {
    Stored(Attributes, store::person::Person),
    Here(&'c NewPerson),
}

struct Chunk {
    app: App,
    origin: Origin,
    lines: Vec<Line>,
}

/// A new person with the number that was drawn, if the line brings none.
type Fresh<'c> = (&'c NewPerson, Option<IdentifierLine>);

impl App {
    /// Stores lines of good form in one unit, in order, and tells what became of each.
    pub(crate) async fn import(
        &self,
        origin: &Origin,
        lines: Vec<Line>,
    ) -> Result<Vec<Outcome>, Error> {
        let chunk = Chunk {
            app: self.clone(),
            origin: origin.clone(),
            lines,
        };
        let db = self.db(origin).await?;
        db.write("identity.import", chunk, |tx, chunk| {
            Box::pin(async move { chunk.run(tx).await })
        })
        .await
    }
}

impl Chunk {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Outcome>, Error> {
        let mut outcomes = Vec::with_capacity(self.lines.len());
        // People stand in long runs; each run is looked up and stored together.
        let mut people: Vec<&NewPerson> = Vec::new();
        for line in &self.lines {
            if let Entity::Person(person) = &line.entity {
                people.push(person);
                continue;
            }
            outcomes.extend(self.people(tx, &std::mem::take(&mut people)).await?);
            outcomes.push(match &line.entity {
                Entity::Factor(one) => self.factor(tx, one).await?,
                Entity::Client(one) => self.client(tx, one).await?,
                Entity::Person(_) => continue,
            });
        }
        outcomes.extend(self.people(tx, &people).await?);
        let mut tree = merkle::Frontier::default();
        for (line, outcome) in self.lines.iter().zip(&outcomes) {
            if *outcome == Outcome::Stored {
                tree.push(line.leaf, |_, _| {});
            }
        }
        if tree.size() > 0 {
            let entry = Entry::new("identity.entities.imported")
                .body(json!({ "count": tree.size(), "root": hex::encode(tree.root()) }));
            publica_journal::append(tx, &self.origin, entry);
        }
        Ok(outcomes)
    }

    /// Stores a run of people with as many statements as there are tables.
    async fn people(&self, tx: &mut Tx<'_>, people: &[&NewPerson]) -> Result<Vec<Outcome>, Error> {
        let mut outcomes = Vec::with_capacity(people.len());
        if people.is_empty() {
            return Ok(outcomes);
        }
        let mut known = self.known(tx, people).await?;
        let lookups: Vec<Vec<u8>> = people
            .iter()
            .flat_map(|new| new.lookups().cloned())
            .collect();
        let taken = store::identifier::find_many(tx, &lookups).await?;
        let mut taken: HashMap<Vec<u8>, PersonId> = taken
            .into_iter()
            .map(|found| (found.lookup, found.person_id))
            .collect();
        let mut numbers = HashSet::new();
        let mut fresh: Vec<Fresh<'_>> = Vec::new();
        for new in people.iter().copied() {
            if let Some(known) = known.get(&new.person_id) {
                outcomes.push(if new.is(known, &taken) {
                    Outcome::Repeated
                } else {
                    Outcome::differs("person_id")
                });
                continue;
            }
            let problems = self.clashes(tx, new, &taken, &numbers).await?;
            if !problems.is_empty() {
                outcomes.push(Outcome::Refused(problems));
                continue;
            }
            let own = new.lookups().map(|lookup| (lookup.clone(), new.person_id));
            taken.extend(own);
            numbers.insert(new.registration_id.as_str());
            known.insert(new.person_id, Known::Here(new));
            fresh.push((new, None));
            outcomes.push(Outcome::Stored);
        }
        self.number(tx, &mut fresh).await?;
        self.store(tx, &fresh).await?;
        Ok(outcomes)
    }

    /// What somebody else has that the person would need.
    async fn clashes(
        &self,
        tx: &mut Tx<'_>,
        new: &NewPerson,
        taken: &HashMap<Vec<u8>, PersonId>,
        numbers: &HashSet<&str>,
    ) -> Result<Vec<publica_imports::Problem>, Error> {
        let mut problems = Vec::new();
        let mut own = HashSet::new();
        for (kind, _, _, _, lookup) in &new.identifiers {
            if taken.contains_key(lookup) || !own.insert(lookup) {
                let field = match *kind {
                    "alias" => "aliases",
                    "vid" => "vids",
                    other => other,
                };
                problems.push((field.to_owned(), "hold an identifier in use".to_owned()));
            }
        }
        if new.numbered {
            let number = new.registration_id.as_str();
            let used =
                numbers.contains(number) || store::enrolment::find(tx, number).await?.is_some();
            if used {
                problems.push(("registration_id".to_owned(), "is taken".to_owned()));
            }
        }
        Ok(problems)
    }

    /// Gives permanent numbers to those who came without.
    async fn number(&self, tx: &mut Tx<'_>, people: &mut [Fresh<'_>]) -> Result<(), Error> {
        let mut bare: Vec<&mut Fresh<'_>> = people
            .iter_mut()
            .filter(|(new, _)| new.identifiers.iter().all(|(kind, ..)| *kind != "uin"))
            .collect();
        let drawn = self.app.draw_numbers(tx, bare.len()).await?;
        for ((_, number), numbers) in bare.iter_mut().zip(drawn) {
            let lookup = self.app.lookup(&numbers.uin);
            let lookup = lookup.ok_or(Error::Record("number"))?;
            *number = Some(("uin", String::new(), "", numbers.uin, lookup));
        }
        Ok(())
    }

    /// What is stored already of these people.
    async fn known<'c>(
        &self,
        tx: &mut Tx<'_>,
        people: &[&NewPerson],
    ) -> Result<HashMap<PersonId, Known<'c>>, Error> {
        let ids: Vec<Uuid> = people.iter().map(|new| new.person_id.as_uuid()).collect();
        let mut known = HashMap::new();
        for person in store::person::find_many(tx, &ids).await? {
            let attributes = match person.stored_state {
                PersonState::Erased => Attributes::default(),
                _ => self.app.open_attributes(tx, &person).await?,
            };
            known.insert(person.person_id, Known::Stored(attributes, person));
        }
        Ok(known)
    }

    async fn store(&self, tx: &mut Tx<'_>, people: &[Fresh<'_>]) -> Result<(), Error> {
        if people.is_empty() {
            return Ok(());
        }
        let subjects: Vec<String> = people
            .iter()
            .map(|(new, _)| subject(new.person_id))
            .collect();
        let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
        let keys = self.app.keyring.subjects(tx, &subjects).await?;
        let mut rows = Rows::default();
        for ((new, number), key) in people.iter().zip(&keys) {
            let text = serde_json::to_vec(&new.candidate.attributes)
                .map_err(|_| Error::Record("attributes"))?;
            rows.person(&NewPersonRow {
                person_id: new.person_id,
                state: new.state,
                assurance_level: &new.candidate.assurance_level,
                registration_id: &new.registration_id,
                source: &new.source,
                sealed: &key.seal(ATTRIBUTES, &text),
                evidence: "import",
                enrolment: true,
            });
            for (kind, alias_kind, policy, value, lookup) in new.identifiers.iter().chain(number) {
                rows.identifier(&NewIdentifierRow {
                    identifier_id: IdentifierId::new(&*self.app.clock, &*self.app.entropy),
                    person_id: new.person_id,
                    kind,
                    alias_kind,
                    policy,
                    lookup,
                    sealed: &key.seal(IDENTIFIER, value.as_bytes()),
                });
            }
            for lookup in &new.candidate.name_lookups {
                rows.name_key(lookup, new.person_id);
            }
        }
        let now = tx.now();
        Ok(rows.write(tx, now).await?)
    }

    async fn factor(&self, tx: &mut Tx<'_>, line: &FactorLine) -> Result<Outcome, Error> {
        let Some(person) = store::person::find(tx, line.person_id).await? else {
            return Ok(Outcome::refused("person_id", "names nobody"));
        };
        if person.stored_state == PersonState::Erased {
            let what = "names somebody who was erased";
            return Ok(Outcome::refused("person_id", what));
        }
        let key = self.app.subject_key(tx, line.person_id).await?;
        let earlier = factor::list(tx, line.person_id).await?;
        if let Some(row) = earlier.iter().find(|row| row.kind == EMAIL_CODE) {
            let same = row.factor_id == line.factor_id
                && row.state == line.state
                && key.open_text(FACTOR, &row.sealed)? == line.target;
            return Ok(if same {
                Outcome::Repeated
            } else {
                Outcome::refused("factor_id", "the person has a factor of this kind")
            });
        }
        let row = Factor {
            factor_id: line.factor_id,
            person_id: line.person_id,
            kind: EMAIL_CODE.to_owned(),
            sealed: key.seal(FACTOR, line.target.as_bytes()),
            state: line.state.clone(),
            created: tx.now(),
        };
        if factor::find(tx, row.factor_id).await?.is_some() {
            return Ok(Outcome::refused("factor_id", "is taken"));
        }
        factor::put(tx, &row).await?;
        Ok(Outcome::Stored)
    }

    async fn client(&self, tx: &mut Tx<'_>, client: &Client) -> Result<Outcome, Error> {
        if let Some(known) = store::client::find(tx, &client.client_id).await? {
            return Ok(if known.client == *client {
                Outcome::Repeated
            } else {
                Outcome::differs("client_id")
            });
        }
        let now = tx.now();
        store::client::insert(tx, client, now).await?;
        Ok(Outcome::Stored)
    }
}
