//! Bringing entities in from an earlier system: state is stored and journalled a chunk at a
//! time; nothing is sent anywhere. Snapshots are kept byte for byte, so their hashes still
//! verify; the service seals them from now on.

mod delegating;
mod lines;
mod storing;

use std::sync::Arc;

use publica_journal::append;
use publica_proto::imports::v1::{ImportEntitiesRequest, ImportEntitiesResponse, ImportProblem};
use publica_store::Tx;
use serde_json::json;
use tonic::{Status, Streaming};

use super::{App, Input, Shop, Who, entry, root};
use crate::error::{Error, Why};
use lines::{Entity, Problem};

/// Entities in one transaction.
const CHUNK: usize = 500;
/// Problems listed at most; reading on would help nobody.
const MAX_PROBLEMS: usize = 1_000;
/// The largest entity.
const MAX_JSON: usize = 1_024 * 1_024;

/// What became of one entity.
pub(crate) enum Stored {
    New,
    Repeated,
    Refused(Vec<Problem>),
}

impl App {
    /// Reads entities from the stream, in order.
    pub(crate) async fn import(
        &self,
        who: &Who,
        mut stream: Streaming<ImportEntitiesRequest>,
    ) -> Result<ImportEntitiesResponse, Status> {
        let shop = self.shop(&who.origin.tenant).await?;
        // Nobody is told of what ended before it came here.
        self.settle_due(&who.origin.tenant).await?;
        let mut answer = ImportEntitiesResponse::default();
        let mut chunk = Vec::with_capacity(CHUNK);
        while let Some(sent) = stream.message().await? {
            if sent.json.len() > MAX_JSON {
                problem(
                    &mut answer,
                    sent.line,
                    (String::new(), "is larger than 1 MiB".to_owned()),
                );
                continue;
            }
            match lines::read(&sent.kind, &sent.json) {
                Ok(entity) => chunk.push((sent.line, entity)),
                Err(found) => problem(&mut answer, sent.line, found),
            }
            if chunk.len() >= CHUNK {
                self.store_chunk(&shop, who, std::mem::take(&mut chunk), &mut answer)
                    .await?;
            }
            if answer.problems.len() >= MAX_PROBLEMS {
                break;
            }
        }
        self.store_chunk(&shop, who, chunk, &mut answer).await?;
        answer.problems.truncate(MAX_PROBLEMS);
        Ok(answer)
    }

    async fn store_chunk(
        &self,
        shop: &Arc<Shop>,
        who: &Who,
        chunk: Vec<(u64, Entity)>,
        answer: &mut ImportEntitiesResponse,
    ) -> Result<(), Error> {
        if chunk.is_empty() {
            return Ok(());
        }
        let lines: Vec<u64> = chunk.iter().map(|(line, _)| *line).collect();
        let entities: Vec<Entity> = chunk.into_iter().map(|(_, entity)| entity).collect();
        let input: Input<Vec<Entity>> = (Arc::clone(shop), who.clone(), entities);
        let stored = shop
            .db
            .write("consent.import", input, |tx, (shop, who, entities)| {
                Box::pin(store_all(tx, shop, who, entities))
            });
        for (line, stored) in lines.into_iter().zip(stored.await?) {
            match stored {
                Stored::New => answer.accepted += 1,
                Stored::Repeated => answer.repeated += 1,
                Stored::Refused(all) => {
                    for found in all {
                        problem(answer, line, found);
                    }
                }
            }
        }
        Ok(())
    }
}

fn problem(answer: &mut ImportEntitiesResponse, line: u64, found: Problem) {
    let (field, description) = found;
    answer.problems.push(ImportProblem {
        line,
        field,
        description,
    });
}

async fn store_all(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    entities: &[Entity],
) -> Result<Vec<Stored>, Error> {
    let mut all = Vec::with_capacity(entities.len());
    let mut ids: Vec<&str> = Vec::new();
    for entity in entities {
        let (id, stored) = match entity {
            Entity::Policy(line) => (&line.id, storing::policy(tx, shop, who, line).await),
            Entity::Agreement(line) => (&line.id, storing::agreement(tx, shop, who, line).await),
            Entity::Individual(line) => (&line.id, storing::individual(tx, shop, line).await),
            Entity::Delegation(line) => (&line.id, delegating::store(tx, shop, who, line).await),
            Entity::Record(line) => (&line.id, storing::record(tx, shop, who, line).await),
        };
        let stored = match stored {
            Ok(stored) => stored,
            // Somebody else wrote meanwhile, when part of this was written: the chunk is undone.
            Err(
                error @ Error::Refused {
                    why: Why::Conflict, ..
                },
            ) => return Err(error),
            Err(error) if error.is_refusal() => Stored::Refused(told(&error)),
            Err(error) => return Err(error),
        };
        if matches!(stored, Stored::New) {
            ids.push(id);
        }
        all.push(stored);
    }
    if !ids.is_empty() {
        let body = json!({ "count": ids.len(), "root": root(&ids) });
        append(
            tx,
            &who.origin,
            entry("consent.entities.imported", "import", "", body),
        );
    }
    Ok(all)
}

/// A refusal as problems: all members that are wrong, or the rule.
fn told(error: &Error) -> Vec<Problem> {
    use publica_rpc::Fault as _;
    let wrong = error.violations();
    if wrong.is_empty() {
        return vec![(String::new(), error.public_message().into_owned())];
    }
    wrong
}
