//! Bringing in credentials and certificates. An imported credential gets a new key here, since
//! keys of another system cannot be had; an imported certificate keeps its status.

use publica_journal::{Entry, append};
use publica_rpc::Fault as _;
use publica_store::{Db, Tx};
use publica_types::{Origin, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::app::certificate::{ACTIVE, DEVICE, REVOKED, SUSPENDED, store_issued};
use crate::app::credential::{check_name, organization_name};
use crate::app::{App, Who};
use crate::domain::crl::reason_code;
use crate::domain::key::sha256;
use crate::domain::x509::{Certificate, issued_by};
use crate::error::Error;
use crate::store::certificate::{self, CertificateRow};
use crate::store::credential::{self, CredentialRow};

/// Why an entity was refused.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) field: String,
    pub(crate) description: String,
}

fn problem(field: &str, description: impl Into<String>) -> Problem {
    Problem {
        field: field.to_owned(),
        description: description.into(),
    }
}

/// What became of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Stored,
    Repeated,
}

enum Trouble {
    Refused(Problem),
    Failed(Error),
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl<E: Into<Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImportedCredential {
    credential_id: String,
    owner: String,
    organization: String,
    country: String,
    #[serde(default)]
    organization_identifier: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImportedCertificate {
    certificate_id: String,
    owner: String,
    /// Hexadecimal DER of a certificate that the issuing authority of this store signed.
    certificate: String,
    #[serde(default)]
    pseudonym: Option<String>,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    changed: Option<Timestamp>,
    created: Timestamp,
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    publica_json::read_entity(json).map_err(|(field, description)| Problem { field, description })
}

fn check_id(field: &str, id: &str) -> Result<(), Problem> {
    let sound = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    sound
        .then_some(())
        .ok_or_else(|| problem(field, "must have 1 to 64 visible characters"))
}

impl App {
    /// Stores one entity of a kind that this block owns.
    pub(crate) async fn import_entity(
        &self,
        db: &Db,
        who: &Who,
        kind: &str,
        json: &[u8],
    ) -> Result<Result<Done, Problem>, Error> {
        let done = match kind {
            "signature.credential" => self.import_credential(db, who, json).await,
            "signature.certificate" => self.import_certificate(db, who, json).await,
            _ => return Ok(Err(problem("kind", "this block has no such kind"))),
        };
        match done {
            Ok(done) => Ok(Ok(done)),
            Err(Trouble::Refused(problem)) => Ok(Err(problem)),
            Err(Trouble::Failed(error)) => Err(error),
        }
    }

    async fn import_credential(&self, db: &Db, who: &Who, json: &[u8]) -> Result<Done, Trouble> {
        let imported: ImportedCredential = read(json)?;
        check_id("credentialId", &imported.credential_id)?;
        check_id("owner", &imported.owner)?;
        let (country, name) = (&*imported.country, &*imported.organization);
        let identifier = &*imported.organization_identifier;
        let invalid = check_name(country, name, identifier);
        if let Some((field, description)) = invalid.violations().into_iter().next() {
            return Err(problem(&field, description).into());
        }
        if let Some(known) = credential::find(db, &imported.credential_id).await? {
            let same = known.owner == imported.owner && known.organization == *name;
            let differs = || problem("", "is stored with other content");
            return same
                .then_some(Done::Repeated)
                .ok_or_else(|| differs().into());
        }
        let authorities = self.authorities(db).await?;
        let subject = organization_name(country, name, identifier);
        let (row, certificate) =
            self.new_credential(&authorities, &imported.owner, name, &subject)?;
        let row = CredentialRow {
            credential_id: imported.credential_id,
            ..row
        };
        let input = (row, certificate, who.origin.clone());
        db.write(
            "signature.import_credential",
            input,
            |tx, (row, certificate, origin)| {
                Box::pin(async move {
                    store_issued(tx, certificate, origin).await?;
                    credential::insert(tx, row).await?;
                    imported_entry(tx, origin, "credential", &row.credential_id);
                    Ok::<_, Error>(())
                })
            },
        )
        .await?;
        Ok(Done::Stored)
    }

    async fn import_certificate(&self, db: &Db, who: &Who, json: &[u8]) -> Result<Done, Trouble> {
        let imported: ImportedCertificate = read(json)?;
        check_id("certificateId", &imported.certificate_id)?;
        check_id("owner", &imported.owner)?;
        let authorities = self.authorities(db).await?;
        let row = certificate_row(imported)?;
        let known = Certificate::read(&row.certificate).map_err(|_| unreadable())?;
        if !issued_by(&known, &authorities.issuing) {
            return Err(problem("certificate", "was not issued by this authority").into());
        }
        if let Some(known) = certificate::find(db, &row.certificate_id).await? {
            let differs = || problem("", "is stored with other content");
            return (known == row)
                .then_some(Done::Repeated)
                .ok_or_else(|| differs().into());
        }
        let input = (row, who.origin.clone());
        let stored = db.write(
            "signature.import_certificate",
            input,
            |tx, (row, origin)| {
                Box::pin(async move {
                    certificate::insert(tx, row).await?;
                    imported_entry(tx, origin, "certificate", &row.certificate_id);
                    Ok::<_, Error>(())
                })
            },
        );
        match stored.await {
            Ok(()) => Ok(Done::Stored),
            Err(Error::Store(error)) if error.is_unique() => {
                let taken = "its serial number, key or pseudonym is stored already";
                Err(problem("certificate", taken).into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn unreadable() -> Problem {
    problem("certificate", "is not a certificate")
}

fn certificate_row(imported: ImportedCertificate) -> Result<CertificateRow, Problem> {
    let der = hex::decode(&imported.certificate).map_err(|_| unreadable())?;
    let known = Certificate::read(&der).map_err(|_| unreadable())?;
    let state = match &*imported.status {
        "ACTIVE" => ACTIVE,
        "SUSPENDED" => SUSPENDED,
        "REVOKED" => REVOKED,
        _ => return Err(problem("status", "must be ACTIVE, SUSPENDED or REVOKED")),
    };
    if state != ACTIVE && imported.changed.is_none() {
        return Err(problem("changed", "is required with this status"));
    }
    if let Some(pseudonym) = &imported.pseudonym {
        let sound = (1..=64).contains(&pseudonym.chars().count())
            && !pseudonym.chars().any(char::is_control);
        if !sound {
            let what = "must have 1 to 64 characters, and no control characters";
            return Err(problem("pseudonym", what));
        }
    }
    let reason = match (state, &*imported.reason) {
        (ACTIVE, _) => Some(0),
        (SUSPENDED, _) => Some(6),
        (_, "") => Some(0),
        (_, name) => reason_code(name),
    };
    Ok(CertificateRow {
        certificate_id: imported.certificate_id,
        kind: DEVICE,
        owner: imported.owner,
        pseudonym: imported.pseudonym,
        serial: known.serial.clone(),
        key_hash: sha256(&known.spki()),
        not_after: known.not_after,
        state,
        reason: reason
            .ok_or_else(|| problem("reason", "is not a reason"))?
            .into(),
        change_time: imported.changed.filter(|_| state != ACTIVE),
        create_time: imported.created,
        certificate: der,
        scd_type: String::new(),
        scd_key_id: 0,
        sealed_remote_id: None,
    })
}

fn imported_entry(tx: &mut Tx<'_>, origin: &Origin, kind: &'static str, id: &str) {
    append(
        tx,
        origin,
        Entry::new(format!("signature.{kind}.imported")).subject(kind, id),
    );
}
