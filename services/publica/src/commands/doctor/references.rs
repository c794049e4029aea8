//! Compares stores: what one block says of another's entities must still be there. After a restore,
//! blocks stand at different moments. Only what is stored in clear can be compared: who a payment
//! or a consent is of is sealed.

use std::collections::BTreeMap;

use publica_store::{Db, Sql, StoreError};
use publica_types::Uuid;

use super::Findings;
use super::stores::Open;

/// Ids of one page.
const PAGE: i64 = 500;

/// A reference from one block's store to another's.
struct Reference {
    from: &'static str,
    to: &'static str,
    /// What holds the reference.
    what: &'static str,
    /// What it names.
    named: &'static str,
    /// The ids that are named, in their order after $1, at most $2, each with how many rows name
    /// it and an example of those.
    ids: Sql,
    /// Those of the ids in $1 that are not there.
    missing: Sql,
    /// Whether the other block gives UUIDs. Ids of other shapes were given by another issuer, of
    /// whom nothing is known here.
    uuids: bool,
}

publica_store::statements! {
    APPLICANTS = "SELECT applicant_id, COUNT(*), MIN(file_id) FROM application_file \
        WHERE applicant_id > $1 GROUP BY applicant_id ORDER BY applicant_id LIMIT $2",
    REGISTERED = "SELECT person_id, COUNT(*), MIN(file_id) FROM register_entry \
        WHERE person_id > $1 GROUP BY person_id ORDER BY person_id LIMIT $2",
    DOCUMENTS = "SELECT owner, COUNT(*), MIN(document_id) FROM document \
        WHERE owner > $1 GROUP BY owner ORDER BY owner LIMIT $2",
    CERTIFICATES = "SELECT owner, COUNT(*), MIN(certificate_id) FROM certificate \
        WHERE owner > $1 GROUP BY owner ORDER BY owner LIMIT $2",
    SIGNATURES = "SELECT owner, COUNT(*), MIN(signature_id) FROM signature \
        WHERE owner > $1 GROUP BY owner ORDER BY owner LIMIT $2",
    // A definition is a JSON text in bytes.
    AGREEMENTS = {
        sqlite: "SELECT agreement, COUNT(*), MIN(service_id) FROM (SELECT service_id, \
            json_extract(CAST(definition AS TEXT), '$.consentAgreement') AS agreement \
            FROM service_version JOIN service USING (service_id, version)) \
            WHERE agreement > $1 GROUP BY agreement ORDER BY agreement LIMIT $2",
        postgres: "SELECT agreement, COUNT(*), MIN(service_id) FROM (SELECT service_id, \
            CAST(convert_from(definition, 'UTF8') AS JSONB) ->> 'consentAgreement' \
            COLLATE \"C\" AS agreement \
            FROM service_version JOIN service USING (service_id, version)) AS asked \
            WHERE agreement > $1 GROUP BY agreement ORDER BY agreement LIMIT $2",
    },
    // Lists are JSON arrays on SQLite and arrays on PostgreSQL.
    NO_PERSON = {
        sqlite: "SELECT value FROM json_each($1) WHERE NOT EXISTS (SELECT 1 FROM person \
            WHERE person_id = unhex(replace(value, '-', '')))",
        postgres: "SELECT value FROM UNNEST($1::text[]) AS asked (value) WHERE NOT EXISTS \
            (SELECT 1 FROM person WHERE person_id = CAST(value AS UUID))",
    },
    NO_AGREEMENT = {
        sqlite: "SELECT value FROM json_each($1) WHERE NOT EXISTS (SELECT 1 FROM agreement \
            WHERE agreement_id = value)",
        postgres: "SELECT value FROM UNNEST($1::text[]) AS asked (value) WHERE NOT EXISTS \
            (SELECT 1 FROM agreement WHERE agreement_id = value)",
    },
}

const fn person(
    from: &'static str,
    what: &'static str,
    named: &'static str,
    ids: Sql,
) -> Reference {
    Reference {
        from,
        to: "identity",
        what,
        named,
        ids,
        missing: NO_PERSON,
        uuids: true,
    }
}

const REFERENCES: &[Reference] = &[
    person(
        "registration",
        "application files",
        "applicants",
        APPLICANTS,
    ),
    person("registration", "entries of registers", "people", REGISTERED),
    person("registration", "documents", "owners", DOCUMENTS),
    person("signature", "certificates", "owners", CERTIFICATES),
    person("signature", "signatures", "owners", SIGNATURES),
    Reference {
        from: "registration",
        to: "consent",
        what: "services",
        named: "data agreements",
        ids: AGREEMENTS,
        missing: NO_AGREEMENT,
        uuids: false,
    },
];

/// Notes each reference that does not resolve, tenant by tenant.
pub(super) async fn check(open: &[Open], findings: &mut Findings) {
    for reference in REFERENCES {
        for from in open.iter().filter(|store| store.block == reference.from) {
            let to = open
                .iter()
                .find(|store| store.block == reference.to && store.tenant == from.tenant);
            if let Some(to) = to {
                compare(reference, from, to, findings).await;
            }
        }
    }
}

async fn compare(reference: &Reference, from: &Open, to: &Open, findings: &mut Findings) {
    let Reference { what, named, .. } = reference;
    match lost(reference, &from.db, &to.db).await {
        Ok((0, _)) => findings.good(format!("{what} of {from} name {named} that {to} has")),
        Ok((lost, example)) => findings.bad(format!(
            "{lost} {what} of {from} name {named} that {to} does not have, such as {example}"
        )),
        Err(error) => findings.note(format!(
            "{what} of {from} were not compared with {to}: {error}"
        )),
    }
}

/// Counts what names something that is not there, and gives one of it.
async fn lost(reference: &Reference, from: &Db, to: &Db) -> Result<(i64, String), StoreError> {
    let (mut after, mut lost, mut example) = (String::new(), 0, String::new());
    loop {
        let query = from.query(reference.ids).bind(after.as_str()).bind(PAGE);
        let page: Vec<(String, i64, String)> = query.fetch_all().await?;
        let Some((last, ..)) = page.last() else {
            return Ok((lost, example));
        };
        after.clone_from(last);
        let asked: BTreeMap<&str, (i64, &str)> = page
            .iter()
            .filter(|(id, ..)| !reference.uuids || is_uuid(id))
            .map(|(id, count, of)| (id.as_str(), (*count, of.as_str())))
            .collect();
        let ids: Vec<&str> = asked.keys().copied().collect();
        let missing: Vec<(String,)> = to
            .query(reference.missing)
            .bind_list(&ids)
            .fetch_all()
            .await?;
        for (id,) in missing {
            if let Some((count, of)) = asked.get(id.as_str()) {
                lost += count;
                if example.is_empty() {
                    (*of).clone_into(&mut example);
                }
            }
        }
    }
}

/// In the one form in which blocks write them.
fn is_uuid(id: &str) -> bool {
    id.len() == 36 && Uuid::parse_str(id).is_ok()
}

#[cfg(test)]
mod tests;
