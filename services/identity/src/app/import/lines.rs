//! Lines of an import: their shapes, and all that can be said about them without the store.

use std::collections::HashMap;

use publica_imports::Problem;
use publica_journal::merkle::{Hash, leaf_hash};
use publica_json::read_entity;
use publica_proto::identity::v1 as pb;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::NewPerson;
use crate::app::App;
use crate::app::enrol::Candidate;
use crate::domain::client::{Client, ClientFault};
use crate::domain::identifier::is_email;
use crate::domain::number;
use crate::domain::person::{FactorId, PersonId, PersonState};
use crate::store::factor::EMAIL_CODE;

/// A line of good form.
pub(crate) struct Line {
    /// What the journal's root covers: the line itself.
    pub(super) leaf: Hash,
    pub(super) entity: Entity,
}

/// What a line tells.
pub(super) enum Entity {
    Person(Box<NewPerson>),
    Factor(Box<FactorLine>),
    Client(Box<Client>),
}

/// Kind, kind of alias, policy, value, and by what it is found.
pub(super) type IdentifierLine = (&'static str, String, &'static str, String, Vec<u8>);

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
pub(super) struct FactorLine {
    pub(super) factor_id: FactorId,
    pub(super) person_id: PersonId,
    factor: String,
    pub(super) target: String,
    #[serde(default = "active")]
    pub(super) state: String,
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

type Read<T> = Result<T, Vec<Problem>>;

fn read<T: DeserializeOwned>(json: &[u8]) -> Read<T> {
    read_entity(json).map_err(|problem| vec![problem])
}

fn sound(problems: Vec<Problem>) -> Read<()> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

fn problem(field: impl Into<String>, description: &str) -> Problem {
    (field.into(), description.to_owned())
}

impl App {
    /// Reads a line of a kind, or says all that is wrong with it.
    pub(crate) fn read_line(&self, kind: &str, json: &[u8]) -> Read<Line> {
        let entity = match kind {
            "identity.person" => Entity::Person(Box::new(self.person(read(json)?)?)),
            "identity.factor" => {
                let line: FactorLine = read(json)?;
                sound(check_factor(&line))?;
                Entity::Factor(Box::new(line))
            }
            "identity.relying_party" => Entity::Client(Box::new(self.client_line(read(json)?)?)),
            _ => return Err(vec![problem("kind", "is not a kind of this block")]),
        };
        let leaf = leaf_hash(json);
        Ok(Line { leaf, entity })
    }

    fn person(&self, line: PersonLine) -> Read<NewPerson> {
        let mut problems = Vec::new();
        let state = PersonState::of(&line.state).filter(|state| *state != PersonState::Erased);
        if state.is_none() {
            let what = "must be active, blocked, deactivated or deceased";
            problems.push(problem("state", what));
        }
        let mut identifiers = Vec::new();
        self.numbers_of(&line, &mut identifiers, &mut problems);
        let candidate = match self.imported(&line) {
            Ok(candidate) => candidate,
            Err(told) => {
                problems.extend(told);
                return Err(problems);
            }
        };
        sound(problems)?;
        for (kind, value, lookup) in &candidate.aliases {
            identifiers.push(("alias", kind.clone(), "", value.clone(), lookup.clone()));
        }
        let now = self.now();
        let station = number::bulk_station(&*self.entropy);
        let generated = || number::registration_id(station, 0, now);
        Ok(NewPerson {
            person_id: line.person_id,
            state: state.unwrap_or(PersonState::Active),
            candidate,
            identifiers,
            numbered: line.registration_id.is_some(),
            registration_id: line.registration_id.unwrap_or_else(generated),
            source: line.source,
        })
    }

    fn imported(&self, line: &PersonLine) -> Read<Candidate> {
        let mut names = Vec::new();
        let mut attributes = Vec::new();
        for (name, values) in &line.attributes {
            let mut add = |language: &str, value: &str| {
                names.push(name.as_str());
                attributes.push(pb::Attribute {
                    name: name.clone(),
                    language: language.to_owned(),
                    value: value.to_owned(),
                });
            };
            match values {
                Values::One(value) => add("", value),
                Values::ByLanguage(values) => {
                    for (language, value) in values {
                        add(language, value);
                    }
                }
            }
        }
        let alias = |alias: &AliasLine| pb::Alias {
            kind: alias.kind.clone(),
            value: alias.value.clone(),
        };
        let person = pb::NewPerson {
            attributes,
            aliases: line.aliases.iter().map(alias).collect(),
            assurance_level: line.assurance_level.clone(),
            ..pb::NewPerson::default()
        };
        self.candidate(&person).map_err(|violations| {
            let told = violations.into_iter();
            told.map(|one| (member(&one.field, &names), one.description))
                .collect()
        })
    }

    /// The numbers that the line gives the person.
    fn numbers_of(
        &self,
        line: &PersonLine,
        identifiers: &mut Vec<IdentifierLine>,
        problems: &mut Vec<Problem>,
    ) {
        let uin = line
            .uin
            .iter()
            .map(|uin| ("uin".to_owned(), "uin", "", uin));
        let vids = line.vids.iter().enumerate();
        let vids = vids.map(|(at, vid)| (format!("vids[{at}]"), "vid", "perpetual", vid));
        for (field, kind, policy, value) in uin.chain(vids) {
            match self.lookup(value) {
                Some(lookup) => {
                    identifiers.push((kind, String::new(), policy, value.clone(), lookup));
                }
                None => problems.push(problem(field, "is no identifier")),
            }
        }
    }

    fn client_line(&self, line: ClientLine) -> Read<Client> {
        let mut problems = Vec::new();
        if !matches!(line.state.as_str(), "active" | "inactive") {
            problems.push(problem("state", "must be active or inactive"));
        }
        let key = |key: serde_json::Value| key.to_string();
        let client = Client {
            client_id: line.client_id,
            client_name: line.client_name,
            relying_party_id: line.relying_party_id,
            logo_uri: line.logo_uri,
            redirect_uris: line.redirect_uris,
            acr_values: line.acr_values,
            public_key: key(line.public_key),
            user_claims: line.user_claims,
            grant_types: line.grant_types,
            auth_methods: line.auth_methods,
            allowed_scopes: line.allowed_scopes,
            active: line.state == "active",
            consent_expire_minutes: line.consent_expire_minutes,
            user_info_type: line.user_info_type,
            encryption_key: line.encryption_key.map(key).unwrap_or_default(),
        }
        .canonical();
        let mut faults = client.faults(self.allows_http_redirects());
        if client.has_sound_key() {
            faults.extend(client.encryption_fault());
        } else {
            let what = "must be a public RSA, P-256 or Ed25519 key";
            problems.push(problem("public_key", what));
        }
        problems.extend(faults.into_iter().map(|fault| {
            let (field, description) = fault.describe();
            match fault {
                // The line writes the key itself, a call its text.
                ClientFault::EncryptionKey => problem("encryption_key", description),
                _ => problem(field, description),
            }
        }));
        sound(problems)?;
        Ok(client)
    }
}

/// What a line calls a field of a call: attributes have names here, not places. A name that may
/// be anything is not repeated.
fn member(field: &str, names: &[&str]) -> String {
    let place = field
        .strip_prefix("attributes[")
        .and_then(|rest| rest.strip_suffix(']'))
        .and_then(|place| place.parse::<usize>().ok());
    let Some(place) = place else {
        return field.to_owned();
    };
    let plain = |name: &&&str| {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        (1..=64).contains(&name.len()) && name.bytes().all(sound)
    };
    match names.get(place).filter(plain) {
        Some(name) => format!("attributes.{name}"),
        None => "attributes".to_owned(),
    }
}

fn check_factor(line: &FactorLine) -> Vec<Problem> {
    let mut problems = Vec::new();
    if line.factor != EMAIL_CODE {
        problems.push(problem("factor", "must be email_code"));
    }
    if !is_email(&line.target) {
        problems.push(problem("target", "must be an e-mail address"));
    }
    if !matches!(line.state.as_str(), "active" | "locked") {
        problems.push(problem("state", "must be active or locked"));
    }
    problems
}
