//! Enrolling many people with a statement a table, whatever their number.
//!
//! The rows travel as one JSON text, which both engines take apart themselves; values that JSON
//! does not have (bytes, ids) travel as hexadecimal digits.

use publica_store::{StoreError, Tx};
use publica_types::{Timestamp, Uuid};
use serde_json::{Value, json};

use crate::domain::person::{FactorId, IdentifierId, PersonId, PersonState};

publica_store::statements! {
    // Only the functions that take JSON apart differ.
    INSERT_PERSONS = {
        sqlite: "INSERT INTO person (person_id, state, assurance_level, registration_id, source, \
                 attribute_version, created, updated) \
                 SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, 1, \
                 $2, $2 FROM json_each($1)",
        postgres: "INSERT INTO person (person_id, state, assurance_level, registration_id, source, \
                 attribute_version, created, updated) \
                 SELECT CAST(e ->> 0 AS UUID), e ->> 1, e ->> 2, e ->> 3, e ->> 4, 1, $2, $2 \
                 FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e",
    },
    INSERT_IDENTIFIERS = {
        sqlite: "INSERT INTO identifier (identifier_id, person_id, kind, alias_kind, policy, \
                 lookup, sealed, state, uses_left, expires, created) \
                 SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3, \
                 value ->> 4, unhex(value ->> 5), unhex(value ->> 6), 'active', value ->> 7, \
                 NULL, $2 FROM json_each($1)",
        postgres: "INSERT INTO identifier (identifier_id, person_id, kind, alias_kind, policy, \
                 lookup, sealed, state, uses_left, expires, created) \
                 SELECT CAST(e ->> 0 AS UUID), CAST(e ->> 1 AS UUID), e ->> 2, e ->> 3, e ->> 4, \
                 decode(e ->> 5, 'hex'), decode(e ->> 6, 'hex'), 'active', \
                 CAST(e ->> 7 AS BIGINT), NULL, $2 \
                 FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e",
    },
    INSERT_NAME_KEYS = {
        sqlite: "INSERT INTO name_key (lookup, person_id) \
                 SELECT unhex(value ->> 0), unhex(value ->> 1) FROM json_each($1) WHERE TRUE \
                 ON CONFLICT DO NOTHING",
        postgres: "INSERT INTO name_key (lookup, person_id) \
                 SELECT decode(e ->> 0, 'hex'), CAST(e ->> 1 AS UUID) \
                 FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e \
                 ON CONFLICT DO NOTHING",
    },
    INSERT_ATTRIBUTES = {
        sqlite: "INSERT INTO attribute_record (person_id, version, sealed, source, evidence, \
                 recorded) SELECT unhex(value ->> 0), value ->> 1, unhex(value ->> 2), \
                 value ->> 3, value ->> 4, $2 FROM json_each($1)",
        postgres: "INSERT INTO attribute_record (person_id, version, sealed, source, evidence, \
                 recorded) SELECT CAST(e ->> 0 AS UUID), CAST(e ->> 1 AS BIGINT), \
                 decode(e ->> 2, 'hex'), e ->> 3, e ->> 4, $2 \
                 FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e",
    },
    INSERT_FACTORS = {
        sqlite: "INSERT INTO factor (factor_id, person_id, kind, sealed, state, created) \
                 SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, unhex(value ->> 3), \
                 value ->> 4, $2 FROM json_each($1)",
        postgres: "INSERT INTO factor (factor_id, person_id, kind, sealed, state, created) \
                 SELECT CAST(e ->> 0 AS UUID), CAST(e ->> 1 AS UUID), e ->> 2, \
                 decode(e ->> 3, 'hex'), e ->> 4, $2 \
                 FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e",
    },
    INSERT_ENROLMENTS = {
        sqlite: "INSERT INTO enrolment (registration_id, process, source, ref_id, state, \
                 person_id, created, updated) \
                 SELECT value ->> 0, 'NEW', value ->> 1, '', 'registered', unhex(value ->> 2), \
                 $2, $2 FROM json_each($1)",
        postgres: "INSERT INTO enrolment (registration_id, process, source, ref_id, state, \
                 person_id, created, updated) \
                 SELECT e ->> 0, 'NEW', e ->> 1, '', 'registered', CAST(e ->> 2 AS UUID), $2, $2 \
                 FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e",
    },
}

/// Rows of one enrolment, gathered until they are written.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    persons: Vec<Value>,
    identifiers: Vec<Value>,
    name_keys: Vec<Value>,
    attributes: Vec<Value>,
    factors: Vec<Value>,
    enrolments: Vec<Value>,
}

/// A person to be written.
#[derive(Debug)]
pub(crate) struct NewPersonRow<'a> {
    pub(crate) person_id: PersonId,
    pub(crate) state: PersonState,
    pub(crate) assurance_level: &'a str,
    pub(crate) registration_id: &'a str,
    pub(crate) source: &'a str,
    /// Attributes, sealed.
    pub(crate) sealed: &'a [u8],
    pub(crate) evidence: &'a str,
    /// Whether the enrolment has no row of its own yet.
    pub(crate) enrolment: bool,
}

/// An identifier to be written.
#[derive(Debug)]
pub(crate) struct NewIdentifierRow<'a> {
    pub(crate) identifier_id: IdentifierId,
    pub(crate) person_id: PersonId,
    pub(crate) kind: &'a str,
    pub(crate) alias_kind: &'a str,
    pub(crate) policy: &'a str,
    pub(crate) lookup: &'a [u8],
    pub(crate) sealed: &'a [u8],
}

impl Rows {
    /// Adds a person with the first version of the attributes.
    pub(crate) fn person(&mut self, row: &NewPersonRow<'_>) {
        let id = id(row.person_id.as_uuid());
        self.persons.push(json!([
            id,
            row.state.name(),
            row.assurance_level,
            row.registration_id,
            row.source
        ]));
        self.attributes.push(json!([
            id,
            1,
            hex::encode(row.sealed),
            row.source,
            row.evidence
        ]));
        if row.enrolment {
            self.enrolments
                .push(json!([row.registration_id, row.source, id]));
        }
    }

    /// Adds an identifier.
    pub(crate) fn identifier(&mut self, row: &NewIdentifierRow<'_>) {
        self.identifiers.push(json!([
            id(row.identifier_id.as_uuid()),
            id(row.person_id.as_uuid()),
            row.kind,
            row.alias_kind,
            row.policy,
            hex::encode(row.lookup),
            hex::encode(row.sealed),
            null_or_one(row.policy),
        ]));
    }

    /// Adds a key by which the name is found.
    pub(crate) fn name_key(&mut self, lookup: &[u8], person_id: PersonId) {
        self.name_keys
            .push(json!([hex::encode(lookup), id(person_id.as_uuid())]));
    }

    /// Adds a factor.
    pub(crate) fn factor(
        &mut self,
        factor_id: FactorId,
        person_id: PersonId,
        kind: &str,
        sealed: &[u8],
        state: &str,
    ) {
        self.factors.push(json!([
            id(factor_id.as_uuid()),
            id(person_id.as_uuid()),
            kind,
            hex::encode(sealed),
            state
        ]));
    }

    /// Writes everything, with `now` as the time of all of it.
    pub(crate) async fn write(self, tx: &mut Tx<'_>, now: Timestamp) -> Result<(), StoreError> {
        for (statement, rows) in [
            (INSERT_PERSONS, self.persons),
            (INSERT_ENROLMENTS, self.enrolments),
            (INSERT_ATTRIBUTES, self.attributes),
            (INSERT_IDENTIFIERS, self.identifiers),
            (INSERT_FACTORS, self.factors),
        ] {
            if !rows.is_empty() {
                let text = Value::Array(rows).to_string();
                tx.query(statement).bind(text).bind(now).execute().await?;
            }
        }
        if !self.name_keys.is_empty() {
            let text = Value::Array(self.name_keys).to_string();
            tx.query(INSERT_NAME_KEYS).bind(text).execute().await?;
        }
        Ok(())
    }
}

fn id(uuid: Uuid) -> String {
    uuid.simple().to_string()
}

/// Uses that an identifier has from the start.
fn null_or_one(policy: &str) -> Option<i64> {
    match policy {
        "temporary" => Some(2),
        "one_time_use" => Some(1),
        _ => None,
    }
}
