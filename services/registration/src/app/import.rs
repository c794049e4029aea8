//! Bringing in services, documents, files with their tasks, and register entries from another
//! system: state only, nothing is decided and nobody is told.
//!
//! A chunk is one unit of work with one journal entry. Each kind first settles what is wrong
//! without writing, so that a refused line leaves nothing behind.

mod document;
mod entries;
mod files;
mod lines;

use std::collections::HashMap;
use std::sync::Arc;

use publica_imports::Outcome;
use publica_journal::merkle::{Frontier, leaf_hash};
use publica_journal::{Entry, append};
use publica_seal::{SealError, SubjectKey};
use publica_store::Tx;
use serde_json::json;

use crate::app::catalog::Published;
use crate::app::{App, Who, subject};
use crate::domain::definition::Definition;
use crate::error::Error;
use crate::store::catalog::{self, ServiceRow};

pub(crate) use lines::Line;
use lines::{Entity, ServiceLine};

/// Lines that are stored together.
struct Chunk {
    app: Arc<App>,
    who: Who,
    lines: Vec<Line>,
}

/// The services that the lines of a chunk have named so far.
type Services = HashMap<String, Option<(Arc<ServiceRow>, Arc<Definition>)>>;

impl App {
    /// Stores lines of good form in one unit; a refused one does not disturb the others.
    pub(crate) async fn import(
        self: &Arc<Self>,
        who: &Who,
        lines: Vec<Line>,
    ) -> Result<Vec<Outcome>, Error> {
        let db = self.db(&who.origin).await?;
        let chunk = Chunk {
            app: Arc::clone(self),
            who: who.clone(),
            lines,
        };
        db.write("registration.import", chunk, |tx, chunk| {
            Box::pin(chunk.store(tx))
        })
        .await
    }
}

impl Chunk {
    async fn store(&self, tx: &mut Tx<'_>) -> Result<Vec<Outcome>, Error> {
        let mut outcomes = Vec::with_capacity(self.lines.len());
        let mut services = Services::new();
        let mut lines = self.lines.as_slice();
        while let [line, rest @ ..] = lines {
            lines = rest;
            let outcome = match &line.entity {
                Entity::Service(one) => {
                    services.remove(&one.definition.service_id);
                    self.service(tx, one).await?
                }
                Entity::Document(one) => self.document(tx, one).await?,
                Entity::File(one) => self.file(tx, &mut services, one).await?,
                // Entries stand in long runs; each run takes as many statements as one of them.
                Entity::Entry(one) => {
                    let run = entries::run(one, rest);
                    lines = &rest[run.len() - 1..];
                    outcomes.extend(self.entries(tx, &run).await?);
                    continue;
                }
            };
            outcomes.push(outcome);
        }
        let mut tree = Frontier::default();
        for (line, outcome) in self.lines.iter().zip(&outcomes) {
            if *outcome == Outcome::Stored {
                tree.push(leaf_hash(line.leaf().as_bytes()), |_, _| {});
            }
        }
        if tree.size() > 0 {
            let body = json!({"count": tree.size(), "root": hex::encode(tree.root())});
            let entry = Entry::new("registration.entities.imported").body(body);
            append(tx, &self.who.origin, entry);
        }
        Ok(outcomes)
    }

    /// Another definition than the current one is the next version, as when it is published.
    async fn service(&self, tx: &mut Tx<'_>, line: &ServiceLine) -> Result<Outcome, Error> {
        let published = Published::new(&line.definition, &line.bytes, &self.who);
        let (_, fresh) = published.put(tx).await?;
        Ok(if fresh {
            Outcome::Stored
        } else {
            Outcome::Repeated
        })
    }

    /// A service with its definition, looked up once a chunk.
    async fn named(
        &self,
        tx: &mut Tx<'_>,
        services: &mut Services,
        service_id: &str,
    ) -> Result<Option<(Arc<ServiceRow>, Arc<Definition>)>, Error> {
        if let Some(known) = services.get(service_id) {
            return Ok(known.clone());
        }
        let found = match catalog::find_in(tx, service_id).await? {
            Some(row) => {
                let definition = self.definition(tx, &row).await?;
                Some((Arc::new(row), definition))
            }
            None => None,
        };
        services.insert(service_id.to_owned(), found.clone());
        Ok(found)
    }

    /// The compiled definition. What this unit compiles itself is kept by nobody else, since the
    /// unit may yet be undone.
    async fn definition(
        &self,
        tx: &mut Tx<'_>,
        row: &ServiceRow,
    ) -> Result<Arc<Definition>, Error> {
        let bytes = catalog::definition_in(tx, &row.service_id, row.version).await?;
        let bytes = bytes.ok_or(Error::Corrupt("a file's service version is missing"))?;
        let definition = Definition::read(&bytes)
            .map_err(|_| Error::Corrupt("a published definition is not sound"))?;
        Ok(Arc::new(definition))
    }

    /// The key of a person; none of one who was erased.
    async fn key(&self, tx: &mut Tx<'_>, person_id: &str) -> Result<Option<SubjectKey>, Error> {
        match self.app.keyring.subject(tx, &subject(person_id)).await {
            Ok(key) => Ok(Some(key)),
            Err(SealError::Erased) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

const ERASED: &str = "names somebody who was erased";
