//! Bringing in requests, templates and suppressions of an earlier system. Nothing is sent.
//!
//! A chunk is one unit of work with one journal entry.

mod lines;
mod requests;

use std::sync::Arc;

use publica_imports::Outcome;
use publica_journal::Entry;
use publica_journal::merkle::{Frontier, leaf_hash};
use publica_store::Tx;
use publica_types::{Origin, Timestamp};
use serde_json::json;

use super::{App, House, Who};
use crate::error::Error;
use crate::store::suppression::{self, SuppressionRow};
use crate::store::template::{self, TemplateRow, TemplateState};

use lines::Entity;
pub(crate) use lines::Line;
use requests::RequestLine;

/// A running import.
#[derive(Clone)]
pub(crate) struct Import {
    app: App,
    origin: Origin,
    house: Arc<House>,
}

/// Lines that are stored together.
struct Chunk {
    import: Import,
    lines: Vec<Line>,
}

/// A template with the steps that it went through.
#[derive(Debug, Clone)]
struct TemplateLine {
    row: TemplateRow,
    approved_by: Option<String>,
    retired: bool,
    told_author: bool,
}

/// A suppression, and what the line says of it.
#[derive(Debug, Clone)]
struct SuppressionLine {
    row: SuppressionRow,
    told_id: bool,
    told_created: bool,
}

impl App {
    pub(crate) async fn begin_import(&self, who: &Who) -> Result<Import, Error> {
        Ok(Import {
            app: self.clone(),
            origin: who.origin.clone(),
            house: self.house(&who.origin.tenant).await?,
        })
    }
}

impl Import {
    /// Stores lines of good form in one unit; a refused one does not disturb the others.
    pub(crate) async fn store(&self, lines: Vec<Line>) -> Result<Vec<Outcome>, Error> {
        let chunk = Chunk {
            import: self.clone(),
            lines,
        };
        self.house
            .db
            .write("messaging.import", chunk, |tx, chunk| {
                Box::pin(chunk.store(tx))
            })
            .await
    }

    fn now(&self) -> Timestamp {
        self.app.now()
    }
}

impl Chunk {
    async fn store(&self, tx: &mut Tx<'_>) -> Result<Vec<Outcome>, Error> {
        let import = &self.import;
        let mut outcomes = Vec::with_capacity(self.lines.len());
        let mut rest = self.lines.as_slice();
        while let [line, following @ ..] = rest {
            rest = following;
            match &line.entity {
                // Requests stand in long runs; each run takes as many statements as one of them.
                Entity::Request(first) => {
                    let run = requests::run(first, following);
                    rest = &following[run.len() - 1..];
                    outcomes.extend(requests::store(tx, import, &run).await?);
                }
                Entity::Template(one) => outcomes.push(store_template(tx, one).await?),
                Entity::Suppression(one) => outcomes.push(store_suppression(tx, one).await?),
            }
        }
        let mut tree = Frontier::default();
        for (line, outcome) in self.lines.iter().zip(&outcomes) {
            if *outcome == Outcome::Stored {
                tree.push(leaf_hash(line.leaf().as_bytes()), |_, _| {});
            }
        }
        if tree.size() > 0 {
            let body = json!({"count": tree.size(), "root": hex::encode(tree.root())});
            let entry = Entry::new("messaging.imported").body(body);
            publica_journal::append(tx, &import.origin, entry);
        }
        Ok(outcomes)
    }
}

async fn store_template(tx: &mut Tx<'_>, line: &TemplateLine) -> Result<Outcome, Error> {
    let TemplateLine {
        row,
        approved_by,
        retired,
        told_author,
    } = line;
    let state = match (approved_by, retired) {
        (_, true) => TemplateState::Retired,
        (Some(_), false) => TemplateState::Approved,
        (None, false) => TemplateState::Draft,
    };
    if let Some(known) = template::find_in(tx, &row.name, row.version).await? {
        let same = known.content == row.content
            && known.state == state as i64
            && (!told_author || known.author == row.author);
        return Ok(if same {
            Outcome::Repeated
        } else {
            Outcome::differs("version")
        });
    }
    template::insert(tx, row).await?;
    let steps = [
        approved_by
            .as_ref()
            .map(|actor| (TemplateState::Approved, actor)),
        retired.then_some((TemplateState::Retired, &row.author)),
    ];
    for (state, actor) in steps.into_iter().flatten() {
        template::add_step(tx, &row.name, row.version, state, actor).await?;
    }
    Ok(Outcome::Stored)
}

async fn store_suppression(tx: &mut Tx<'_>, line: &SuppressionLine) -> Result<Outcome, Error> {
    let row = &line.row;
    let alike = suppression::alike(tx, &row.address_hash, &row.category, row.reason).await?;
    if !alike.is_empty() {
        let same = |known: &SuppressionRow| {
            known.expires_at == row.expires_at
                && (!line.told_id || known.suppression_id == row.suppression_id)
                && (!line.told_created || known.created_at == row.created_at)
        };
        return Ok(if alike.iter().any(same) {
            Outcome::Repeated
        } else {
            Outcome::differs("address")
        });
    }
    if suppression::is_taken(tx, row.suppression_id).await? {
        let what = "is that of another suppression";
        return Ok(Outcome::refused("suppression_id", what));
    }
    suppression::insert(tx, row).await?;
    Ok(Outcome::Stored)
}
