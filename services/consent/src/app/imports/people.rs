//! People who have nothing to do with each other, all at once.

use std::collections::BTreeMap;

use publica_seal::SubjectKey;
use publica_store::Tx;

use super::super::Shop;
use super::super::individuals::{self, MAX_KEYS, external, identity_hash, read_key};
use super::lines::IndividualLine;
use super::storing::{OTHER, refused};
use super::{Stored, told};
use crate::domain::violations::Violations;
use crate::error::{Error, Why};
use crate::store::individual::{self as sql, New, NewKey, Row};

/// Signing keys of a line: key id and JWK of each.
type Keys = Vec<(String, String)>;

/// Stores people, each once. No two of them have an id or an external identity in common.
pub(super) async fn store(
    tx: &mut Tx<'_>,
    shop: &Shop,
    lines: &[&IndividualLine],
) -> Result<Vec<Stored>, Error> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let mut outcomes: Vec<Option<Stored>> = vec![None; lines.len()];
    let ids: Vec<&str> = lines.iter().map(|line| line.id.as_str()).collect();
    let erased = sql::erased(tx, &ids).await?;
    let mut sound: Vec<(usize, Keys)> = Vec::with_capacity(lines.len());
    for (place, line) in lines.iter().enumerate() {
        match check(line) {
            Ok(_) if erased.contains(&line.id) => {
                outcomes[place] = Some(refused("id", "is that of somebody who was erased"));
            }
            Ok(keys) => sound.push((place, keys)),
            Err(found) => outcomes[place] = Some(Stored::Refused(told(&found.into()))),
        }
    }
    let ids: Vec<&str> = sound.iter().map(|(place, _)| ids[*place]).collect();
    let stored = sql::find_many(tx, &ids).await?;
    let stored: BTreeMap<&str, &Row> = stored
        .iter()
        .map(|row| (row.individual_id.as_str(), row))
        .collect();
    let owners = owners(tx, shop, lines, &sound).await?;
    let keys = shop.keyring.subjects(tx, &ids).await?;
    let now = tx.now();
    let (mut people, mut signing) = (Vec::new(), Vec::new());
    for ((place, jwks), key) in sound.into_iter().zip(&keys) {
        let line = lines[place];
        outcomes[place] = Some(if let Some(row) = stored.get(line.id.as_str()) {
            repeated(key, row, line)?
        } else if owners[place] {
            refused("externalId", "belongs to another individual")
        } else {
            let created = line.created_at.unwrap_or(now);
            people.push(New {
                write: individuals::sealed(&shop.keyring, key, &line.individual()),
                notify: line.notifications != Some(false),
                created,
            });
            signing.extend(jwks.into_iter().map(|(key_id, jwk)| NewKey {
                individual_id: line.id.clone(),
                key_id,
                jwk,
                created,
            }));
            Stored::Stored
        });
    }
    let added = sql::insert_many(tx, &people).await?;
    if usize::try_from(added) != Ok(people.len()) {
        // Somebody else stored one of them meanwhile.
        return Err(Why::Conflict.about(""));
    }
    sql::add_keys(tx, &signing).await?;
    Ok(outcomes.into_iter().flatten().collect())
}

/// Whether a line tells again who is stored.
fn repeated(key: &SubjectKey, row: &Row, line: &IndividualLine) -> Result<Stored, Error> {
    let one = line.individual();
    let same = match &row.sealed {
        Some(sealed) => individuals::same_identity(key, sealed, &one)?,
        None => [&one.external_id, &one.birth_date, &one.email]
            .iter()
            .all(|text| text.is_empty()),
    };
    Ok(if same {
        Stored::Repeated
    } else {
        refused("id", OTHER)
    })
}

/// All that is wrong with a line by itself, or the keys that it tells.
fn check(line: &IndividualLine) -> Result<Keys, Violations> {
    let mut found = Violations::new();
    if line.id.is_empty() {
        found.push("id", "is required");
    }
    if let Err(inner) = individuals::check(&line.individual()) {
        found.append(inner);
    }
    found.count("jwks", line.jwks.len(), MAX_KEYS);
    let mut keys = Vec::with_capacity(line.jwks.len());
    for (n, jwk) in line.jwks.iter().enumerate().take(MAX_KEYS) {
        match read_key(&jwk.to_string()) {
            Ok(key) => keys.push(key),
            Err(_) => found.push(format!("jwks[{n}]"), "is no public JWK"),
        }
    }
    found.check(keys)
}

/// By line, whether its external identity is somebody else's already.
async fn owners(
    tx: &mut Tx<'_>,
    shop: &Shop,
    lines: &[&IndividualLine],
    sound: &[(usize, Keys)],
) -> Result<Vec<bool>, Error> {
    let mut hashes: Vec<(usize, Vec<u8>)> = Vec::with_capacity(sound.len());
    for (place, _) in sound {
        let one = lines[*place].individual();
        if !one.external_id.is_empty() {
            let hash = identity_hash(&shop.keyring, &external(&one));
            hashes.push((*place, hash));
        }
    }
    let mut taken = vec![false; lines.len()];
    if hashes.is_empty() {
        return Ok(taken);
    }
    let asked: Vec<&[u8]> = hashes.iter().map(|(_, hash)| hash.as_slice()).collect();
    let known = sql::by_identities(tx, &asked).await?;
    let known: BTreeMap<Vec<u8>, String> = known.into_iter().map(|(id, hash)| (hash, id)).collect();
    for (place, hash) in hashes {
        let owner = known.get(&hash);
        taken[place] = owner.is_some_and(|owner| *owner != lines[place].id);
    }
    Ok(taken)
}
