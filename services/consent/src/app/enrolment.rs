//! Many people at once, with the keys they sign with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use publica_journal::append;
use publica_proto::consent::v1 as pb;
use publica_store::Tx;
use serde_json::json;

use super::individuals::{MAX_KEYS, check, external, identity_hash, read_key, sealed};
use super::{App, Input, Shop, Who, call, entry, root};
use crate::domain::violations::Violations;
use crate::error::{Error, Why};
use crate::store;
use crate::store::individual::{New, NewKey};

/// People in one call.
const MAX_BATCH: usize = 1_000;

impl App {
    /// Creates many people, or finds those that are known.
    pub(crate) async fn create_individuals(
        &self,
        who: &Who,
        request: pb::BatchCreateIndividualsRequest,
    ) -> Result<pb::BatchCreateIndividualsResponse, Error> {
        const RPC: &str = "/publica.consent.v1.IndividualService/BatchCreateIndividuals";
        let shop = self.shop(&who.origin.tenant).await?;
        let call = call(
            "consent.create_individuals",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let many = check_many(&request.individuals)?;
        let input: Input<Vec<Sent>> = (Arc::clone(&shop), who.clone(), many);
        publica_journal::write(&shop.db, call, input, |tx, (shop, who, many)| {
            Box::pin(create_many(tx, shop, who, many))
        })
        .await
    }
}

/// A person of a batch with the keys to register.
#[derive(Debug, Clone)]
struct Sent {
    one: pb::Individual,
    keys: Vec<(String, String)>,
}

fn check_many(sent: &[pb::IndividualWithKeys]) -> Result<Vec<Sent>, Error> {
    if sent.is_empty() || sent.len() > MAX_BATCH {
        let why = format!("must have 1 to {MAX_BATCH} members");
        return Err(Violations::one("individuals", why).into());
    }
    let mut found = Violations::new();
    let mut seen = (BTreeSet::new(), BTreeSet::new());
    let mut many = Vec::with_capacity(sent.len());
    for (n, sent) in sent.iter().enumerate() {
        let place = format!("individuals[{n}]");
        let one = sent.individual.clone().unwrap_or_default();
        if let Err(inner) = check(&one) {
            found.nest(&place, inner);
        }
        let identity = (
            one.identity_provider_id.clone(),
            one.external_id_type.clone(),
            one.external_id.clone(),
        );
        if !one.external_id.is_empty() && !seen.0.insert(identity) {
            found.push(&*place, "has the external identity of another one");
        }
        if !one.individual_id.is_empty() && !seen.1.insert(one.individual_id.clone()) {
            found.push(&*place, "has the id of another one");
        }
        if sent.jwks.len() > MAX_KEYS {
            found.push(
                format!("{place}.jwks"),
                format!("has more than {MAX_KEYS} members"),
            );
        }
        let keys: Vec<_> = sent.jwks.iter().map(|jwk| read_key(jwk)).collect();
        if keys.iter().any(Result::is_err) {
            found.push(format!("{place}.jwks"), "has a key that is no public JWK");
        }
        many.push(Sent {
            one,
            keys: keys.into_iter().flatten().collect(),
        });
    }
    Ok(found.check(many)?)
}

async fn create_many(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    many: &[Sent],
) -> Result<pb::BatchCreateIndividualsResponse, Error> {
    let now = tx.now();
    let mut people: Vec<pb::Individual> = many.iter().map(|sent| sent.one.clone()).collect();
    let fresh = name_all(tx, shop, &mut people).await?;
    let ids: Vec<&str> = fresh
        .iter()
        .map(|n| people[*n].individual_id.as_str())
        .collect();
    if !store::individual::erased(tx, &ids).await?.is_empty() {
        return Err(Why::IndividualExists.about(""));
    }
    let keys = shop.keyring.subjects(tx, &ids).await?;
    let writes: Vec<New> = fresh
        .iter()
        .zip(&keys)
        .map(|(n, key)| New {
            write: sealed(&shop.keyring, key, &people[*n]),
            notify: true,
            created: now,
        })
        .collect();
    let added = store::individual::insert_many(tx, &writes).await?;
    if added != u64::try_from(writes.len()).unwrap_or(u64::MAX) {
        return Err(Why::IndividualExists.about(""));
    }
    let keys: Vec<NewKey> = people
        .iter()
        .zip(many)
        .flat_map(|(one, sent)| {
            sent.keys.iter().map(|(key_id, jwk)| NewKey {
                individual_id: one.individual_id.clone(),
                key_id: key_id.clone(),
                jwk: jwk.clone(),
                created: now,
            })
        })
        .collect();
    store::individual::add_keys(tx, &keys).await?;
    let leaves: Vec<&str> = people
        .iter()
        .map(|one| one.individual_id.as_str())
        .collect();
    let body = json!({
        "count": people.len(),
        "new": writes.len(),
        "keys": keys.len(),
        "root": root(&leaves),
    });
    append(
        tx,
        &who.origin,
        entry("consent.individuals.created", "individuals", "", body),
    );
    Ok(pb::BatchCreateIndividualsResponse {
        individuals: people,
    })
}

/// Gives everybody their id, those who are known the one they have; the places of the others.
async fn name_all(
    tx: &mut Tx<'_>,
    shop: &Shop,
    people: &mut [pb::Individual],
) -> Result<Vec<usize>, Error> {
    let now = tx.now();
    let hashes: Vec<Option<Vec<u8>>> = people
        .iter()
        .map(|one| {
            let named = !one.external_id.is_empty();
            named.then(|| identity_hash(&shop.keyring, &external(one)))
        })
        .collect();
    let asked: Vec<&[u8]> = hashes.iter().flatten().map(Vec::as_slice).collect();
    let known = store::individual::by_identities(tx, &asked).await?;
    let known: BTreeMap<Vec<u8>, String> = known.into_iter().map(|(id, hash)| (hash, id)).collect();
    let mut fresh = Vec::new();
    for (n, one) in people.iter_mut().enumerate() {
        if let Some(id) = hashes[n].as_ref().and_then(|hash| known.get(hash)) {
            one.individual_id.clone_from(id);
        } else {
            if one.individual_id.is_empty() {
                one.individual_id = shop.id();
            }
            fresh.push(n);
        }
        one.create_time = Some(publica_rpc::timestamp(now));
        one.update_time = one.create_time;
    }
    Ok(fresh)
}
