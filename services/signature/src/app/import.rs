//! Bringing in credentials and certificates. An imported credential gets a new key here, since
//! keys of another system cannot be had; an imported certificate keeps its status.
//!
//! A chunk is one unit of work with one journal entry.

mod lines;

use std::collections::HashMap;
use std::sync::Arc;

use publica_imports::Outcome;
use publica_journal::merkle::{Frontier, leaf_hash};
use publica_journal::{Entry, append};
use publica_store::{Db, Tx};
use publica_types::Origin;
use serde_json::json;

use crate::app::authority::Authorities;
use crate::app::credential::organization_name;
use crate::app::{App, Who};
use crate::domain::key::sha256;
use crate::domain::x509::{Certificate, issued_by};
use crate::error::Error;
use crate::store::certificate::{self, CertificateRow};
use crate::store::credential::{self, CredentialRow};

pub(crate) use lines::Line;
use lines::{CertificateLine, CredentialLine};

/// Lines that are stored together.
struct Chunk {
    origin: Origin,
    authorities: Arc<Authorities>,
    lines: Vec<Line>,
    /// Keys and certificates of the credentials that were not stored when the chunk was read.
    made: HashMap<String, Made>,
}

type Made = (CredentialRow, CertificateRow);

impl App {
    /// Stores lines of good form in one unit; a refused one does not disturb the others.
    pub(crate) async fn import(&self, who: &Who, lines: Vec<Line>) -> Result<Vec<Outcome>, Error> {
        let db = self.db(&who.origin).await?;
        let authorities = self.authorities(&db).await?;
        let made = self.make(&db, &authorities, &lines).await?;
        let chunk = Chunk {
            origin: who.origin.clone(),
            authorities,
            lines,
            made,
        };
        db.write("signature.import", chunk, |tx, chunk| {
            Box::pin(chunk.store(tx))
        })
        .await
    }

    /// Makes keys before the unit, which others wait for.
    async fn make(
        &self,
        db: &Db,
        authorities: &Authorities,
        lines: &[Line],
    ) -> Result<HashMap<String, Made>, Error> {
        let credentials = || lines.iter().filter_map(Line::credential);
        let ids: Vec<&str> = credentials().map(|line| &*line.credential_id).collect();
        let known = credential::known(db, &ids).await?;
        let mut made = HashMap::new();
        for line in credentials() {
            let id = &line.credential_id;
            if known.contains(id) || made.contains_key(id) {
                continue;
            }
            let (row, certificate) =
                self.new_credential(authorities, &line.owner, &line.organization, &name(line))?;
            let row = CredentialRow {
                credential_id: id.clone(),
                ..row
            };
            made.insert(id.clone(), (row, certificate));
        }
        Ok(made)
    }
}

impl Chunk {
    async fn store(&self, tx: &mut Tx<'_>) -> Result<Vec<Outcome>, Error> {
        let mut outcomes = Vec::with_capacity(self.lines.len());
        let mut tree = Frontier::default();
        for line in &self.lines {
            let (outcome, thumbprint) = match line {
                Line::Credential(one) => self.credential(tx, one).await?,
                Line::Certificate(one) => self.certificate(tx, one).await?,
            };
            if outcome == Outcome::Stored {
                // The root covers which certificate an entity stands for.
                let leaf = format!("{} {} {thumbprint}", line.kind(), line.id());
                tree.push(leaf_hash(leaf.as_bytes()), |_, _| {});
            }
            outcomes.push(outcome);
        }
        if tree.size() > 0 {
            let body = json!({"count": tree.size(), "root": hex::encode(tree.root())});
            let entry = Entry::new("signature.entities.imported").body(body);
            append(tx, &self.origin, entry);
        }
        Ok(outcomes)
    }

    async fn credential(
        &self,
        tx: &mut Tx<'_>,
        line: &CredentialLine,
    ) -> Result<(Outcome, String), Error> {
        if let Some(known) = credential::find_in(tx, &line.credential_id).await? {
            let same = known.owner == line.owner && self.is_named(tx, &known, line).await?;
            return Ok(seen(same, "credentialId"));
        }
        let made = self.made.get(&line.credential_id);
        let (row, certificate) = made.ok_or(Error::Corrupt("a credential is missing"))?;
        certificate::insert(tx, certificate).await?;
        credential::insert(tx, row).await?;
        Ok((Outcome::Stored, thumbprint(certificate)))
    }

    /// Whether a seal's certificate names the organisation as the line does, country and
    /// identifier included.
    async fn is_named(
        &self,
        tx: &mut Tx<'_>,
        known: &CredentialRow,
        line: &CredentialLine,
    ) -> Result<bool, Error> {
        let row = certificate::find_in(tx, &known.certificate_id).await?;
        let row = row.ok_or(Error::Corrupt("a credential's certificate"))?;
        let read = Certificate::read(&row.certificate)
            .map_err(|_| Error::Corrupt("a credential's certificate"))?;
        Ok(read.subject == name(line))
    }

    async fn certificate(
        &self,
        tx: &mut Tx<'_>,
        line: &CertificateLine,
    ) -> Result<(Outcome, String), Error> {
        let refused = |field: &str, what: &str| (Outcome::refused(field, what), String::new());
        let row = &line.row;
        if !issued_by(&line.read, &self.authorities.issuing) {
            return Ok(refused("certificate", "was not issued by this authority"));
        }
        if let Some(known) = certificate::find_in(tx, &row.certificate_id).await? {
            return Ok(seen(known == *row, "certificateId"));
        }
        let taken = certificate::alike(tx, row).await?;
        if taken
            .iter()
            .any(|one| one.serial == row.serial || one.key_hash == row.key_hash)
        {
            let what = "its serial number or key is stored already";
            return Ok(refused("certificate", what));
        }
        if !taken.is_empty() {
            return Ok(refused("pseudonym", "is that of another certificate"));
        }
        certificate::insert(tx, row).await?;
        Ok((Outcome::Stored, thumbprint(row)))
    }
}

/// The name that a seal's certificate carries.
fn name(line: &CredentialLine) -> Vec<u8> {
    organization_name(
        &line.country,
        &line.organization,
        &line.organization_identifier,
    )
}

fn thumbprint(row: &CertificateRow) -> String {
    hex::encode(sha256(&row.certificate))
}

/// What becomes of an entity whose id is known.
fn seen(same: bool, id: &str) -> (Outcome, String) {
    let outcome = if same {
        Outcome::Repeated
    } else {
        Outcome::differs(id)
    };
    (outcome, String::new())
}
