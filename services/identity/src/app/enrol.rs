//! Enrolling people, one or a thousand at a time.

use std::collections::{HashMap, HashSet};

use publica_journal::{Entry, merkle};
use publica_proto::identity::v1 as pb;
use publica_seal::SubjectKey;
use publica_store::Tx;
use publica_types::Origin;
use serde_json::json;

use crate::app::{ATTRIBUTES, App, FACTOR, IDENTIFIER, Mutation, subject};
use crate::domain::attributes::Attributes;
use crate::domain::identifier::is_alias_kind;
use crate::domain::number;
use crate::domain::person::{FactorId, IdentifierId, PersonId, PersonState, is_assurance_level};
use crate::error::{Error, Refused};
use crate::store::bulk::{NewIdentifierRow, NewPersonRow, Rows};
use crate::store::{self, factor::EMAIL_CODE};

/// Most people in one request.
pub(crate) const MAX_BATCH: usize = 1_000;
const MAX_ALIASES: usize = 16;
const MAX_REFERENCE: usize = 128;
/// How often an enrolment is tried again when somebody else took an alias meanwhile.
const ATTEMPTS: usize = 3;
/// How often numbers that are taken are drawn again.
const NUMBER_DRAWS: usize = 32;

/// Someone to enrol whose data is sound.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) attributes: Attributes,
    /// Kind and value as typed, and by what it is found.
    pub(crate) aliases: Vec<(String, String, Vec<u8>)>,
    pub(crate) assurance_level: String,
    pub(crate) name_lookups: Vec<Vec<u8>>,
}

/// What became of one candidate.
#[derive(Debug, Clone)]
pub(crate) enum Enrolled {
    /// A new person.
    New {
        person_id: PersonId,
        registration_id: String,
        vid: String,
    },
    /// An alias of this kind is this person's already.
    Duplicate {
        person_id: PersonId,
        alias_kind: String,
    },
}

/// One enrolment on its way into the store.
struct Batch {
    app: App,
    origin: Origin,
    request: pb::EnrolPersonsRequest,
    rows: Vec<Result<Candidate, Vec<pb::Violation>>>,
}

impl App {
    /// Enrols people; see the RPC.
    pub(crate) async fn enrol_persons(
        &self,
        mutation: &Mutation,
        request: pb::EnrolPersonsRequest,
    ) -> Result<pb::EnrolPersonsResponse, Error> {
        if request.persons.is_empty() || request.persons.len() > MAX_BATCH {
            return Err(publica_rpc::invalid("persons", "must be 1 to 1,000").into());
        }
        if request.source.chars().count() > MAX_REFERENCE {
            return Err(publica_rpc::invalid("source", "is longer than 128 characters").into());
        }
        let db = self.db(&mutation.origin).await?;
        let mut attempt = 0;
        loop {
            let batch = Batch {
                app: self.clone(),
                origin: mutation.origin.clone(),
                rows: request
                    .persons
                    .iter()
                    .map(|person| self.candidate(person))
                    .collect(),
                request: request.clone(),
            };
            let call = mutation.call("identity.enrol_persons");
            let answer = publica_journal::write(&db, call, batch, |tx, batch| {
                Box::pin(async move { batch.run(tx).await })
            })
            .await;
            attempt += 1;
            match answer {
                // Somebody took one of the aliases between our look and our write; the next
                // look sees it.
                Err(Error::Store(error)) if error.is_unique() && attempt < ATTEMPTS => {}
                answer => return answer,
            }
        }
    }

    /// Checks one row of a request.
    pub(crate) fn candidate(
        &self,
        person: &pb::NewPerson,
    ) -> Result<Candidate, Vec<pb::Violation>> {
        let mut faults = Faults::default();
        let mut attributes = Attributes::default();
        for (at, attribute) in person.attributes.iter().enumerate() {
            let set = attributes.set(&attribute.name, &attribute.language, &attribute.value);
            if let Err(fault) = set {
                faults.add(format!("attributes[{at}]"), fault);
            }
        }
        if !attributes.has_a_name() {
            faults.add(
                "attributes",
                "must hold name, or given_name and family_name",
            );
        }
        if person.reference.chars().count() > MAX_REFERENCE {
            faults.add("reference", "is longer than 128 characters");
        }
        if !person.process_id.is_empty() && !publica_rpc::is_sound_id(&person.process_id) {
            faults.add("process_id", publica_rpc::SOUND_ID);
        }
        let level = if person.assurance_level.is_empty() {
            "low"
        } else {
            &person.assurance_level
        };
        if !is_assurance_level(level) {
            faults.add("assurance_level", "must be low, substantial or high");
        }
        let aliases = self.aliases(&person.aliases, &mut faults);
        let name_lookups = self.name_lookups(attributes.name_texts());
        let assurance_level = level.to_owned();
        faults.none(Candidate {
            attributes,
            aliases,
            assurance_level,
            name_lookups,
        })
    }

    fn aliases(
        &self,
        aliases: &[pb::Alias],
        faults: &mut Faults,
    ) -> Vec<(String, String, Vec<u8>)> {
        if aliases.len() > MAX_ALIASES {
            faults.add("aliases", "are more than 16");
            return Vec::new();
        }
        let mut sound = Vec::with_capacity(aliases.len());
        for (at, alias) in aliases.iter().enumerate() {
            if !is_alias_kind(&alias.kind) {
                faults.add(
                    format!("aliases[{at}].kind"),
                    "must be 1 to 32 of a-z, 0-9 and _",
                );
            } else if let Some(lookup) = self.lookup(&alias.value) {
                sound.push((alias.kind.clone(), alias.value.trim().to_owned(), lookup));
            } else {
                faults.add(format!("aliases[{at}].value"), "is no identifier");
            }
        }
        sound
    }

    /// Stores sound candidates in as many statements as there are tables, whatever their
    /// number. Aliases that are taken, in the store or by an earlier candidate, make a duplicate.
    pub(crate) async fn store_candidates(
        &self,
        tx: &mut Tx<'_>,
        candidates: &[&Candidate],
        source: &str,
        registration_id: Option<&str>,
    ) -> Result<Vec<Enrolled>, Error> {
        let lookups: Vec<Vec<u8>> = candidates
            .iter()
            .flat_map(|candidate| candidate.aliases.iter().map(|alias| alias.2.clone()))
            .collect();
        let mut taken: HashMap<Vec<u8>, (PersonId, String)> = HashMap::new();
        for found in store::identifier::find_many(tx, &lookups).await? {
            taken.insert(found.lookup, (found.person_id, found.alias_kind));
        }
        let mut numbers = self.draw_numbers(tx, candidates.len()).await?.into_iter();
        let mut answers = Vec::with_capacity(candidates.len());
        let station = number::bulk_station(&*self.entropy);
        let now = tx.now();
        let mut new = Vec::new();
        for (at, candidate) in candidates.iter().enumerate() {
            let duplicate = candidate
                .aliases
                .iter()
                .find_map(|alias| taken.get(&alias.2));
            if let Some((person_id, alias_kind)) = duplicate.cloned() {
                answers.push(Enrolled::Duplicate {
                    person_id,
                    alias_kind,
                });
                continue;
            }
            let generated = number::registration_id(station, at, now);
            let registration_id = registration_id.map_or(generated, str::to_owned);
            let person_id = PersonId::new(&*self.clock, &*self.entropy);
            let numbers = numbers.next().ok_or(Error::Record("number"))?;
            let vid = numbers.vid.clone();
            for (kind, _, lookup) in &candidate.aliases {
                taken.insert(lookup.clone(), (person_id, kind.clone()));
            }
            new.push((*candidate, person_id, registration_id.clone(), numbers));
            answers.push(Enrolled::New {
                person_id,
                registration_id,
                vid,
            });
        }
        let subjects: Vec<String> = new.iter().map(|(_, id, ..)| subject(*id)).collect();
        let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
        let keys = self.keyring.subjects(tx, &subjects).await?;
        let mut rows = Rows::default();
        for ((candidate, person_id, registration, numbers), key) in new.iter().zip(&keys) {
            let row = New {
                candidate,
                person_id: *person_id,
                registration,
                numbers,
                key,
                source,
            };
            self.add(&mut rows, &row, registration_id.is_none())?;
        }
        rows.write(tx, now).await?;
        Ok(answers)
    }

    /// Numbers for so many people that nobody has and that differ from each other. Permanent
    /// numbers are short and follow many rules, so among a hundred thousand people every large
    /// batch draws a few that are taken.
    pub(crate) async fn draw_numbers(
        &self,
        tx: &mut Tx<'_>,
        count: usize,
    ) -> Result<Vec<Numbers>, Error> {
        let mut free: Vec<Numbers> = Vec::with_capacity(count);
        let mut known = HashSet::with_capacity(2 * count);
        for _ in 0..NUMBER_DRAWS {
            if free.len() == count {
                return Ok(free);
            }
            let drawn: Vec<(Numbers, [Vec<u8>; 2])> = (free.len()..count)
                .map(|_| self.numbers())
                .collect::<Result<_, _>>()?;
            let lookups: Vec<Vec<u8>> = drawn
                .iter()
                .flat_map(|(_, lookups)| lookups.iter().cloned())
                .collect();
            let taken = store::identifier::find_many(tx, &lookups).await?;
            known.extend(taken.into_iter().map(|found| found.lookup));
            for (numbers, lookups) in drawn {
                if lookups.iter().all(|lookup| !known.contains(lookup)) {
                    known.extend(lookups);
                    free.push(numbers);
                }
            }
        }
        Err(Refused::NumbersUsedUp.into())
    }

    /// Numbers, and by what they are looked for.
    fn numbers(&self) -> Result<(Numbers, [Vec<u8>; 2]), Error> {
        let uin = number::uin(&*self.entropy);
        let vid = number::vid(&*self.entropy);
        let lookup = |value| self.lookup(value).ok_or(Error::Record("number"));
        let lookups = [lookup(&uin)?, lookup(&vid)?];
        Ok((Numbers { uin, vid }, lookups))
    }

    /// Adds the rows of one new person.
    fn add(&self, rows: &mut Rows, new: &New<'_>, enrolment: bool) -> Result<(), Error> {
        let New {
            candidate,
            person_id,
            key,
            ..
        } = new;
        let text =
            serde_json::to_vec(&candidate.attributes).map_err(|_| Error::Record("attributes"))?;
        rows.person(&NewPersonRow {
            person_id: *person_id,
            state: PersonState::Active,
            assurance_level: &candidate.assurance_level,
            registration_id: new.registration,
            source: new.source,
            sealed: &key.seal(ATTRIBUTES, &text),
            evidence: "",
            enrolment,
        });
        let own = [
            ("uin", "", "", new.numbers.uin.as_str()),
            ("vid", "", "perpetual", new.numbers.vid.as_str()),
        ];
        let aliases = candidate
            .aliases
            .iter()
            .map(|(kind, value, _)| ("alias", kind.as_str(), "", value.as_str()));
        let mut seen = HashSet::new();
        for (kind, alias_kind, policy, value) in own.into_iter().chain(aliases) {
            let Some(lookup) = self.lookup(value) else {
                continue;
            };
            if !seen.insert(lookup.clone()) {
                continue;
            }
            rows.identifier(&NewIdentifierRow {
                identifier_id: IdentifierId::new(&*self.clock, &*self.entropy),
                person_id: *person_id,
                kind,
                alias_kind,
                policy,
                lookup: &lookup,
                sealed: &key.seal(IDENTIFIER, value.as_bytes()),
            });
        }
        for lookup in &candidate.name_lookups {
            rows.name_key(lookup, *person_id);
        }
        if let Some(email) = candidate.attributes.first("email") {
            let factor_id = FactorId::new(&*self.clock, &*self.entropy);
            let sealed = key.seal(FACTOR, email.as_bytes());
            rows.factor(factor_id, *person_id, EMAIL_CODE, &sealed, "active");
        }
        Ok(())
    }
}

/// What the block calls a new person by.
pub(crate) struct Numbers {
    pub(crate) uin: String,
    pub(crate) vid: String,
}

/// A new person on the way into the rows.
struct New<'a> {
    candidate: &'a Candidate,
    person_id: PersonId,
    registration: &'a str,
    numbers: &'a Numbers,
    key: &'a SubjectKey,
    source: &'a str,
}

impl Batch {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<pb::EnrolPersonsResponse, Error> {
        let candidates: Vec<&Candidate> = self
            .rows
            .iter()
            .filter_map(|row| row.as_ref().ok())
            .collect();
        let source = &self.request.source;
        let mut enrolled = self
            .app
            .store_candidates(tx, &candidates, source, None)
            .await?
            .into_iter();
        let mut response = pb::EnrolPersonsResponse::default();
        for (index, (row, person)) in self.rows.iter().zip(&self.request.persons).enumerate() {
            let mut result = pb::EnrolmentResult {
                index: i32::try_from(index).unwrap_or(i32::MAX),
                reference: person.reference.clone(),
                ..pb::EnrolmentResult::default()
            };
            match row {
                Err(violations) => {
                    result.violations.clone_from(violations);
                    result.set_outcome(pb::EnrolmentOutcome::Invalid);
                    response.invalid_count += 1;
                }
                Ok(_) => fill(&mut result, enrolled.next(), &mut response),
            }
            response.results.push(result);
        }
        if response.enrolled_count + response.duplicate_count > 0 {
            publica_journal::append(tx, &self.origin, entry(&response));
        }
        for (result, person) in response.results.iter().zip(&self.request.persons) {
            let new = result.outcome() == pb::EnrolmentOutcome::Enrolled;
            if new && !person.process_id.is_empty() {
                let entry = Entry::new("identity.person.enrolled")
                    .subject("person", &result.person_id)
                    .process(&person.process_id);
                publica_journal::append(tx, &self.origin, entry);
            }
        }
        Ok(response)
    }
}

fn fill(
    result: &mut pb::EnrolmentResult,
    enrolled: Option<Enrolled>,
    response: &mut pb::EnrolPersonsResponse,
) {
    match enrolled {
        Some(Enrolled::New {
            person_id,
            registration_id,
            vid,
        }) => {
            result.set_outcome(pb::EnrolmentOutcome::Enrolled);
            result.person_id = person_id.to_string();
            result.registration_id = registration_id;
            result.vid = vid;
            response.enrolled_count += 1;
        }
        Some(Enrolled::Duplicate {
            person_id,
            alias_kind,
        }) => {
            result.set_outcome(pb::EnrolmentOutcome::Duplicate);
            result.person_id = person_id.to_string();
            result.duplicate_alias_kind = alias_kind;
            response.duplicate_count += 1;
        }
        None => {}
    }
}

/// The entry of one enrolment: counts, and the root over the new people, so that each of them
/// can prove to be among them.
fn entry(response: &pb::EnrolPersonsResponse) -> Entry {
    let new: Vec<&str> = response
        .results
        .iter()
        .filter(|result| result.outcome() == pb::EnrolmentOutcome::Enrolled)
        .map(|result| result.person_id.as_str())
        .collect();
    let mut tree = merkle::Frontier::default();
    for id in &new {
        tree.push(merkle::leaf_hash(id.as_bytes()), |_, _| {});
    }
    let entry = Entry::new("identity.persons.enrolled").body(json!({
        "enrolled": new.len(),
        "duplicates": response.duplicate_count,
        "invalid": response.invalid_count,
        "root": hex::encode(tree.root()),
    }));
    match new.as_slice() {
        [only] => entry.subject("person", only),
        _ => entry,
    }
}

/// Faults of a row as they are found.
#[derive(Debug, Default)]
struct Faults(Vec<pb::Violation>);

impl Faults {
    fn add(&mut self, field: impl Into<String>, description: &str) {
        self.0.push(pb::Violation {
            field: field.into(),
            description: description.to_owned(),
        });
    }

    fn none<T>(self, value: T) -> Result<T, Vec<pb::Violation>> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self.0)
        }
    }
}
