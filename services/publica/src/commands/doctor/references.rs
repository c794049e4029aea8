//! Compares embedded stores: what one block says of another's entities must still be there. After
//! a restore, blocks stand at different moments.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Findings, below};
use crate::commands::backup::{is_store, open_store};

/// A reference from one block's store to another's, which is attached as `other`.
struct Reference {
    from: &'static str,
    to: &'static str,
    /// What holds the reference.
    what: &'static str,
    /// What it names.
    named: &'static str,
    /// Counts references to what is not there, and gives one of them.
    sql: &'static str,
}

/// Ids of other shapes were given by another issuer, of whom nothing is known here.
const REFERENCES: &[Reference] = &[
    Reference {
        from: "registration",
        to: "identity",
        what: "application files",
        named: "applicants",
        sql: "SELECT COUNT(*), MIN(file_id) FROM application_file \
              WHERE length(applicant_id) = 36 AND NOT EXISTS (SELECT 1 FROM other.person \
              WHERE person_id = unhex(replace(applicant_id, '-', '')))",
    },
    Reference {
        from: "registration",
        to: "identity",
        what: "entries of registers",
        named: "people",
        sql: "SELECT COUNT(*), MIN(file_id) FROM register_entry \
              WHERE length(person_id) = 36 AND NOT EXISTS (SELECT 1 FROM other.person p \
              WHERE p.person_id = unhex(replace(register_entry.person_id, '-', '')))",
    },
    Reference {
        from: "registration",
        to: "consent",
        what: "services",
        named: "data agreements",
        sql: "WITH asked AS (SELECT service_id, \
              json_extract(CAST(definition AS TEXT), '$.consentAgreement') AS agreement \
              FROM service_version JOIN service USING (service_id, version)) \
              SELECT COUNT(*), MIN(service_id) FROM asked WHERE agreement IS NOT NULL \
              AND NOT EXISTS (SELECT 1 FROM other.agreement WHERE agreement_id = agreement)",
    },
];

/// Notes each reference that does not resolve.
pub(super) async fn check(data: &Path, findings: &mut Findings) -> Result<()> {
    for reference in REFERENCES {
        let folder = data.join(reference.from);
        if !folder.is_dir() {
            continue;
        }
        for from in below(&folder)? {
            let to = counterpart(data, &from, reference);
            if is_store(&from).unwrap_or(false) && is_store(&to).unwrap_or(false) {
                compare(reference, &from, &to, findings).await;
            }
        }
    }
    Ok(())
}

/// The other block's store of the same tenant.
fn counterpart(data: &Path, from: &Path, reference: &Reference) -> PathBuf {
    let relative = from.strip_prefix(data).unwrap_or(from);
    let named = relative.to_string_lossy();
    data.join(named.replace(reference.from, reference.to))
}

async fn compare(reference: &Reference, from: &Path, to: &Path, findings: &mut Findings) {
    let Reference { what, named, .. } = reference;
    match count(reference, from, to).await {
        Ok((0, _)) => findings.good(format!(
            "{what} of {} name {named} that {} has",
            reference.from, reference.to
        )),
        Ok((lost, example)) => findings.bad(format!(
            "{lost} {what} of {} name {named} that {} does not have, such as {}",
            reference.from,
            reference.to,
            example.unwrap_or_default()
        )),
        Err(error) => findings.note(format!(
            "{what} of {} were not compared with {}: {error:#}",
            reference.from, reference.to
        )),
    }
}

async fn count(reference: &Reference, from: &Path, to: &Path) -> Result<(i64, Option<String>)> {
    let mut store = open_store(from, false).await?;
    sqlx::query("ATTACH DATABASE $1 AS other")
        .bind(to.to_string_lossy().into_owned())
        .execute(&mut store)
        .await?;
    Ok(sqlx::query_as(reference.sql).fetch_one(&mut store).await?)
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;

    async fn store(path: &Path, statements: &[&'static str]) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true);
        let mut store = options.connect().await.unwrap();
        for sql in statements {
            sqlx::query(*sql).execute(&mut store).await.unwrap();
        }
    }

    #[tokio::test]
    async fn references_to_what_is_gone_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let registration = [
            include_str!("../../../../registration/migrations/sqlite/0001_registration.sql"),
            "INSERT INTO application_file VALUES ('F1', '', '', 1, \
             '01890000-0000-7000-8000-000000000001', '', 1, 0, '', 0, 0, '', 1, '', '', x'00'), \
             ('F2', '', '', 1, '01890000-0000-7000-8000-000000000002', '', 1, 0, '', 0, 0, '', 1, \
             '', '', x'00'), \
             ('F3', '', '', 1, 'elsewhere', '', 1, 0, '', 0, 0, '', 1, '', '', x'00')",
        ];
        store(&data.join("registration/registration.db"), &registration).await;
        let identity = [
            "CREATE TABLE person (person_id BLOB NOT NULL PRIMARY KEY)",
            "INSERT INTO person VALUES (x'01890000000070008000000000000001')",
        ];
        store(&data.join("identity/identity.db"), &identity).await;
        let mut findings = Findings::default();
        check(data, &mut findings).await.unwrap();
        let said: Vec<&str> = findings
            .lines
            .iter()
            .map(|(_, what)| what.as_str())
            .collect();
        assert_eq!(
            said,
            [
                "1 application files of registration name applicants that identity does not \
                 have, such as F2",
                "entries of registers of registration name people that identity has",
            ]
        );
    }
}
