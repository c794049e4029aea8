//! Bringing entities in from an earlier system: state is stored and journalled a chunk at a
//! time; nothing is sent anywhere. Snapshots are kept byte for byte, so their hashes still
//! verify; the service seals them from now on.

mod delegating;
mod lines;
mod people;
mod records;
mod runs;
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
    let mut rest = entities;
    while let [one, following @ ..] = rest {
        // People and records stand in long runs; a run takes few statements, however long.
        let run = rest.iter().take_while(|one| runs::takes(one)).count();
        if run == 0 {
            all.push(store_one(tx, shop, who, one).await?);
            rest = following;
        } else {
            all.extend(runs::store(tx, shop, who, &rest[..run]).await?);
            rest = &rest[run..];
        }
    }
    let stored = entities.iter().zip(&all);
    let stored = stored.filter(|(_, outcome)| **outcome == Stored::Stored);
    let ids: Vec<&str> = stored.map(|(entity, _)| entity.id()).collect();
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

async fn store_one(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    entity: &Entity,
) -> Result<Stored, Error> {
    let stored = match entity {
        Entity::Policy(line) => storing::policy(tx, shop, who, line).await,
        Entity::Agreement(line) => storing::agreement(tx, shop, who, line).await,
        Entity::Delegation(line) => delegating::store(tx, shop, who, line).await,
        Entity::Individual(_) | Entity::Record(_) => {
            let mut all = runs::store(tx, shop, who, std::slice::from_ref(entity)).await?;
            all.pop().ok_or_else(|| Why::Conflict.about(entity.id()))
        }
    };
    match stored {
        // Somebody else wrote meanwhile, when part of this was written: the chunk is undone.
        Err(
            error @ Error::Refused {
                why: Why::Conflict, ..
            },
        ) => Err(error),
        Err(error) if error.is_refusal() => Ok(Stored::Refused(told(&error))),
        outcome => outcome,
    }
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
