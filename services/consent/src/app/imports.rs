//! Bringing entities in from an earlier system: state is stored and journalled a chunk at a
//! time; nothing is sent anywhere. Snapshots are kept byte for byte, so their hashes still
//! verify; the service seals them from now on.

mod delegating;
mod lines;
mod storing;

use std::sync::Arc;

use publica_imports::{Problem, take_in};
use publica_journal::append;
use publica_proto::imports::v1::{ImportEntitiesRequest, ImportEntitiesResponse};
use publica_store::Tx;
use serde_json::json;
use tonic::{Status, Streaming};

use super::{App, Input, Shop, Who, entry, root};
use crate::error::{Error, Why};
use lines::Entity;

pub(crate) use publica_imports::Outcome as Stored;

impl App {
    /// Reads entities from the stream, in order.
    pub(crate) async fn import(
        &self,
        who: &Who,
        stream: Streaming<ImportEntitiesRequest>,
    ) -> Result<ImportEntitiesResponse, Status> {
        let shop = &self.shop(&who.origin.tenant).await?;
        // Nobody is told of what ended before it came here.
        self.settle_due(&who.origin.tenant).await?;
        let read = |kind: &str, json: &[u8]| lines::read(kind, json).map_err(|found| vec![found]);
        take_in(stream, read, |entities| async move {
            let input: Input<Vec<Entity>> = (Arc::clone(shop), who.clone(), entities);
            let stored = shop
                .db
                .write("consent.import", input, |tx, (shop, who, entities)| {
                    Box::pin(store_all(tx, shop, who, entities))
                });
            Ok(stored.await?)
        })
        .await
    }
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
        if matches!(stored, Stored::Stored) {
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
