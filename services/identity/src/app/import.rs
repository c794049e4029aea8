//! Bringing people, factors and relying parties in from another system.
//!
//! Entities keep the ids that they had. A chunk is one unit of work with one journal entry;
//! nothing is sent to anybody.

use std::collections::{HashMap, HashSet};

use publica_journal::{Entry, merkle};
use publica_json::read_entity;
use publica_proto::identity::v1 as pb;
use publica_store::Tx;
use publica_types::{Origin, Uuid};
use serde::Deserialize;
use serde_json::json;

use crate::app::enrol::Candidate;
use crate::app::{ATTRIBUTES, App, FACTOR, IDENTIFIER, subject};
use crate::domain::attributes::Attributes;
use crate::domain::client::Client;
use crate::domain::identifier::is_email;
use crate::domain::number;
use crate::domain::person::{FactorId, IdentifierId, PersonId, PersonState};
use crate::error::Error;
use crate::store;
use crate::store::bulk::{NewIdentifierRow, NewPersonRow, Rows};
use crate::store::factor::{self, EMAIL_CODE, Factor};

/// What became of one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Imported {
    /// Stored now.
    Accepted,
    /// Stored before, with the same content.
    Repeated,
    /// Refused: the field and what is wrong with it.
    Problem(String, String),
}

fn problem(field: &str, description: &str) -> Imported {
    Imported::Problem(field.to_owned(), description.to_owned())
}

/// A person of an earlier system: `identity.person`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonLine {
    person_id: PersonId,
    /// Name to value, or name to values by language.
    attributes: HashMap<String, Values>,
    #[serde(default)]
    aliases: Vec<AliasLine>,
    /// Virtual identifiers that stay good.
    #[serde(default)]
    vids: Vec<String>,
    /// The permanent number; a new one is made if there is none.
    #[serde(default)]
    uin: Option<String>,
    #[serde(default = "active")]
    state: String,
    #[serde(default = "low")]
    assurance_level: String,
    #[serde(default)]
    registration_id: Option<String>,
    #[serde(default)]
    source: String,
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    ByLanguage(HashMap<String, String>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct AliasLine {
    kind: String,
    value: String,
}

/// A factor: `identity.factor`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FactorLine {
    factor_id: FactorId,
    person_id: PersonId,
    factor: String,
    target: String,
    #[serde(default = "active")]
    state: String,
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
}

/// A client of a relying party: `identity.relying_party`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientLine {
    client_id: String,
    client_name: String,
    relying_party_id: String,
    #[serde(default)]
    logo_uri: String,
    #[serde(default)]
    redirect_uris: Vec<String>,
    #[serde(default)]
    acr_values: Vec<String>,
    public_key: serde_json::Value,
    #[serde(default)]
    user_claims: Vec<String>,
    grant_types: Vec<String>,
    auth_methods: Vec<String>,
    #[serde(default)]
    allowed_scopes: Vec<String>,
    #[serde(default = "active")]
    state: String,
    #[serde(default)]
    consent_expire_minutes: i32,
    #[serde(default)]
    user_info_type: String,
    encryption_key: Option<serde_json::Value>,
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
}

fn active() -> String {
    "active".to_owned()
}

fn low() -> String {
    "low".to_owned()
}

/// What an import must find again to count as a repeat.
type Content = (Attributes, PersonState);

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
    fn content(&self) -> Content {
        (self.candidate.attributes.clone(), self.state)
    }

    fn lookups(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.identifiers.iter().map(|line| &line.4)
    }
}

struct Chunk {
    app: App,
    origin: Origin,
    lines: Vec<(String, Vec<u8>)>,
}

impl App {
    /// Stores a chunk of entities, in order, and tells what became of each.
    pub(crate) async fn import(
        &self,
        origin: &Origin,
        lines: Vec<(String, Vec<u8>)>,
    ) -> Result<Vec<Imported>, Error> {
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
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Imported>, Error> {
        let unknown = problem("kind", "is none of this block's kinds");
        let mut outcomes = vec![unknown; self.lines.len()];
        // People stand in long runs; each run is looked up and stored together.
        let mut people = Vec::new();
        for (at, (kind, json)) in self.lines.iter().enumerate() {
            if kind == "identity.person" {
                match read_entity::<PersonLine>(json) {
                    Ok(line) => people.push((at, line)),
                    Err((field, why)) => outcomes[at] = Imported::Problem(field, why),
                }
                continue;
            }
            self.people(tx, std::mem::take(&mut people), &mut outcomes)
                .await?;
            if let Some(outcome) = self.other(tx, kind, json).await? {
                outcomes[at] = outcome;
            }
        }
        self.people(tx, people, &mut outcomes).await?;
        let mut tree = merkle::Frontier::default();
        for ((_, json), outcome) in self.lines.iter().zip(&outcomes) {
            if *outcome == Imported::Accepted {
                tree.push(merkle::leaf_hash(json), |_, _| {});
            }
        }
        if tree.size() > 0 {
            let entry = Entry::new("identity.entities.imported")
                .body(json!({ "count": tree.size(), "root": hex::encode(tree.root()) }));
            publica_journal::append(tx, &self.origin, entry);
        }
        Ok(outcomes)
    }

    /// An entity of another kind than people; `None` if the kind is not known.
    async fn other(
        &self,
        tx: &mut Tx<'_>,
        kind: &str,
        json: &[u8],
    ) -> Result<Option<Imported>, Error> {
        let outcome = match kind {
            "identity.factor" => match read_entity(json) {
                Ok(line) => self.factor(tx, line).await?,
                Err((field, why)) => Imported::Problem(field, why),
            },
            "identity.relying_party" => match read_entity(json) {
                Ok(line) => self.client(tx, line).await?,
                Err((field, why)) => Imported::Problem(field, why),
            },
            _ => return Ok(None),
        };
        Ok(Some(outcome))
    }

    /// Stores a run of people with as many statements as there are tables.
    async fn people(
        &self,
        tx: &mut Tx<'_>,
        lines: Vec<(usize, PersonLine)>,
        outcomes: &mut [Imported],
    ) -> Result<(), Error> {
        let mut sound = Vec::with_capacity(lines.len());
        for (at, line) in lines {
            match self.checked(line) {
                Ok(new) => sound.push((at, new)),
                Err(outcome) => outcomes[at] = outcome,
            }
        }
        if sound.is_empty() {
            return Ok(());
        }
        let mut known = self.known(tx, &sound).await?;
        let lookups: Vec<Vec<u8>> = sound
            .iter()
            .flat_map(|(_, new)| new.lookups().cloned())
            .collect();
        let taken = store::identifier::find_many(tx, &lookups).await?;
        let mut taken: HashSet<Vec<u8>> = taken.into_iter().map(|found| found.lookup).collect();
        let mut fresh = Vec::new();
        for (at, new) in sound {
            outcomes[at] = match known.get(&new.person_id) {
                Some(content) if *content == new.content() => Imported::Repeated,
                Some(_) => problem("person_id", "is stored already with other content"),
                None if new.lookups().any(|lookup| !taken.insert(lookup.clone())) => {
                    problem("aliases", "hold an identifier that is in use")
                }
                None if new.numbered
                    && store::enrolment::find(tx, &new.registration_id)
                        .await?
                        .is_some() =>
                {
                    problem("registration_id", "is taken")
                }
                None => {
                    known.insert(new.person_id, new.content());
                    fresh.push(new);
                    Imported::Accepted
                }
            };
        }
        self.number(tx, &mut fresh).await?;
        self.store(tx, &fresh).await
    }

    /// Gives permanent numbers to those who came without.
    async fn number(&self, tx: &mut Tx<'_>, people: &mut [NewPerson]) -> Result<(), Error> {
        let mut bare: Vec<&mut NewPerson> = people
            .iter_mut()
            .filter(|new| new.identifiers.iter().all(|(kind, ..)| *kind != "uin"))
            .collect();
        let drawn = self.app.draw_numbers(tx, bare.len()).await?;
        for (new, numbers) in bare.iter_mut().zip(drawn) {
            let lookup = self.app.lookup(&numbers.uin);
            let lookup = lookup.ok_or(Error::Record("number"))?;
            let row = ("uin", String::new(), "", numbers.uin, lookup);
            new.identifiers.push(row);
        }
        Ok(())
    }

    /// What is stored already of these people.
    async fn known(
        &self,
        tx: &mut Tx<'_>,
        lines: &[(usize, NewPerson)],
    ) -> Result<HashMap<PersonId, Content>, Error> {
        let ids: Vec<Uuid> = lines
            .iter()
            .map(|(_, new)| new.person_id.as_uuid())
            .collect();
        let mut known = HashMap::new();
        for person in store::person::find_many(tx, &ids).await? {
            let attributes = match person.stored_state {
                PersonState::Erased => Attributes::default(),
                _ => self.app.open_attributes(tx, &person).await?,
            };
            known.insert(person.person_id, (attributes, person.stored_state));
        }
        Ok(known)
    }

    async fn store(&self, tx: &mut Tx<'_>, people: &[NewPerson]) -> Result<(), Error> {
        let subjects: Vec<String> = people.iter().map(|new| subject(new.person_id)).collect();
        let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
        let keys = self.app.keyring.subjects(tx, &subjects).await?;
        let mut rows = Rows::default();
        for (new, key) in people.iter().zip(&keys) {
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
            for (kind, alias_kind, policy, value, lookup) in &new.identifiers {
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

    /// A person whose data is sound, or what is wrong with it.
    fn checked(&self, line: PersonLine) -> Result<NewPerson, Imported> {
        let state = PersonState::of(&line.state).filter(|state| *state != PersonState::Erased);
        let state = state
            .ok_or_else(|| problem("state", "must be active, blocked, deactivated or deceased"))?;
        let candidate = self
            .candidate(&line)
            .map_err(|violation| Imported::Problem(violation.field, violation.description))?;
        let identifiers = self.identifiers(&line, &candidate)?;
        let now = self.app.now();
        let station = number::bulk_station(&*self.app.entropy);
        let generated = || number::registration_id(station, 0, now);
        Ok(NewPerson {
            person_id: line.person_id,
            state,
            candidate,
            identifiers,
            numbered: line.registration_id.is_some(),
            registration_id: line.registration_id.unwrap_or_else(generated),
            source: line.source,
        })
    }

    fn candidate(&self, line: &PersonLine) -> Result<Candidate, pb::Violation> {
        let attributes = line.attributes.iter().flat_map(|(name, values)| {
            let pairs: Vec<(String, String)> = match values {
                Values::One(value) => vec![(String::new(), value.clone())],
                Values::ByLanguage(values) => values.clone().into_iter().collect(),
            };
            pairs.into_iter().map(|(language, value)| pb::Attribute {
                name: name.clone(),
                language,
                value,
            })
        });
        let alias = |alias: &AliasLine| pb::Alias {
            kind: alias.kind.clone(),
            value: alias.value.clone(),
        };
        let person = pb::NewPerson {
            attributes: attributes.collect(),
            aliases: line.aliases.iter().map(alias).collect(),
            assurance_level: line.assurance_level.clone(),
            ..pb::NewPerson::default()
        };
        self.app.candidate(&person).map_err(|violations| {
            let first = violations.into_iter().next();
            first.unwrap_or_default()
        })
    }

    /// Every identifier that the line gives the person.
    fn identifiers(
        &self,
        line: &PersonLine,
        candidate: &Candidate,
    ) -> Result<Vec<IdentifierLine>, Imported> {
        let uin = line.uin.iter().map(|uin| ("uin", "", uin.clone()));
        let mut found = Vec::new();
        let vids = line
            .vids
            .iter()
            .map(|vid| ("vid", "perpetual", vid.clone()));
        for (kind, policy, value) in uin.chain(vids) {
            let lookup = self.app.lookup(&value);
            let lookup = lookup.ok_or_else(|| problem(kind, "is no identifier"))?;
            found.push((kind, String::new(), policy, value, lookup));
        }
        for (kind, value, lookup) in &candidate.aliases {
            found.push(("alias", kind.clone(), "", value.clone(), lookup.clone()));
        }
        Ok(found)
    }

    async fn factor(&self, tx: &mut Tx<'_>, line: FactorLine) -> Result<Imported, Error> {
        if line.factor != EMAIL_CODE || !is_email(&line.target) {
            return Ok(problem(
                "target",
                "must be the address of a factor email_code",
            ));
        }
        if !matches!(line.state.as_str(), "active" | "locked") {
            return Ok(problem("state", "must be active or locked"));
        }
        let Some(person) = store::person::find(tx, line.person_id).await? else {
            return Ok(problem("person_id", "names nobody"));
        };
        if person.stored_state == PersonState::Erased {
            return Ok(problem("person_id", "names somebody who was erased"));
        }
        let key = self.app.subject_key(tx, line.person_id).await?;
        let earlier = factor::list(tx, line.person_id).await?;
        if let Some(row) = earlier.iter().find(|row| row.kind == EMAIL_CODE) {
            let same = row.factor_id == line.factor_id
                && row.state == line.state
                && key.open_text(FACTOR, &row.sealed)? == line.target;
            return Ok(if same {
                Imported::Repeated
            } else {
                problem("factor_id", "the person has a factor of this kind")
            });
        }
        let row = Factor {
            factor_id: line.factor_id,
            person_id: line.person_id,
            kind: EMAIL_CODE.to_owned(),
            sealed: key.seal(FACTOR, line.target.as_bytes()),
            state: line.state,
            created: tx.now(),
        };
        if factor::find(tx, row.factor_id).await?.is_some() {
            return Ok(problem("factor_id", "is taken"));
        }
        factor::put(tx, &row).await?;
        Ok(Imported::Accepted)
    }

    async fn client(&self, tx: &mut Tx<'_>, line: ClientLine) -> Result<Imported, Error> {
        let active = match line.state.as_str() {
            "active" => true,
            "inactive" => false,
            _ => return Ok(problem("state", "must be active or inactive")),
        };
        let client = Client {
            client_id: line.client_id,
            client_name: line.client_name,
            relying_party_id: line.relying_party_id,
            logo_uri: line.logo_uri,
            redirect_uris: line.redirect_uris,
            acr_values: line.acr_values,
            public_key: line.public_key.to_string(),
            user_claims: line.user_claims,
            grant_types: line.grant_types,
            auth_methods: line.auth_methods,
            allowed_scopes: line.allowed_scopes,
            active,
            consent_expire_minutes: line.consent_expire_minutes,
            user_info_type: line.user_info_type,
            encryption_key: line
                .encryption_key
                .map(|key| key.to_string())
                .unwrap_or_default(),
        }
        .canonical();
        if let Some(fault) = client.first_fault(self.app.allows_http_redirects()) {
            let (field, description) = fault.describe();
            return Ok(problem(field, description));
        }
        if !client.has_sound_key() {
            return Ok(problem(
                "public_key",
                "must be a public RSA, P-256 or Ed25519 key",
            ));
        }
        if let Some(fault) = client.encryption_fault() {
            let (field, description) = fault.describe();
            return Ok(problem(field, description));
        }
        if let Some(known) = store::client::find(tx, &client.client_id).await? {
            return Ok(if known.client == client {
                Imported::Repeated
            } else {
                problem("client_id", "is stored already with other content")
            });
        }
        let now = tx.now();
        store::client::insert(tx, &client, now).await?;
        Ok(Imported::Accepted)
    }
}

/// Kind, kind of alias, policy, value, and by what it is found.
type IdentifierLine = (&'static str, String, &'static str, String, Vec<u8>);
