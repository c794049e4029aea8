//! Keys of records: each seals the snapshots and signatures of one record, so that erasing the
//! record leaves them closed wherever a copy of them stayed.

use std::collections::BTreeMap;

use publica_seal::{SealError, SubjectKey};
use publica_store::Tx;

use super::Shop;
use super::shown::key_of;
use crate::error::Error;
use crate::store::record_key::{self, Row};

/// The field under which the key of a record is wrapped by that of its person.
const RECORD_KEY: &str = "record_key";

/// A key for a record that is about to be stored, and the same wrapped.
pub(super) fn fresh(person: &SubjectKey) -> (SubjectKey, Vec<u8>) {
    person.make_inner(RECORD_KEY)
}

/// Makes and stores the key of a new record.
pub(super) async fn make(
    tx: &mut Tx<'_>,
    person: &SubjectKey,
    record_id: &str,
) -> Result<SubjectKey, Error> {
    let (key, wrapped) = fresh(person);
    record_key::insert(tx, record_id, wrapped).await?;
    Ok(key)
}

/// The key of a record: its own, or that of its person where it is older than keys of records.
/// Nothing once it was destroyed.
fn opened(person: &SubjectKey, row: Option<&Row>) -> Result<Option<SubjectKey>, Error> {
    let Some(row) = row else {
        return Ok(Some(person.clone()));
    };
    let wrapped = row.wrapped.as_deref();
    let key = wrapped.map(|wrapped| person.open_inner(RECORD_KEY, wrapped));
    Ok(key.transpose()?)
}

/// The key of a record that is there, within a unit.
pub(super) async fn of(
    tx: &mut Tx<'_>,
    person: &SubjectKey,
    record_id: &str,
) -> Result<SubjectKey, Error> {
    let row = record_key::find(tx, record_id).await?;
    let key = opened(person, row.as_ref())?;
    Ok(key.ok_or(SealError::Erased)?)
}

/// The key of a record whose person's key is at hand.
pub(super) async fn within(
    shop: &Shop,
    person: &SubjectKey,
    record_id: &str,
) -> Result<Option<SubjectKey>, Error> {
    let rows = record_key::find_many(&shop.db, &[record_id]).await?;
    opened(person, rows.first())
}

/// The key of a record, if neither it nor its person's was destroyed.
pub(super) async fn load(
    shop: &Shop,
    individual_id: &str,
    record_id: &str,
) -> Result<Option<SubjectKey>, Error> {
    match key_of(shop, individual_id).await? {
        Some(person) => within(shop, &person, record_id).await,
        None => Ok(None),
    }
}

/// Keys of many records by record, given those of their people.
pub(super) async fn load_many(
    shop: &Shop,
    people: &BTreeMap<String, SubjectKey>,
    records: &BTreeMap<&str, &str>,
) -> Result<BTreeMap<String, SubjectKey>, Error> {
    let mut keys = BTreeMap::new();
    let ids: Vec<&str> = records.keys().copied().collect();
    if ids.is_empty() {
        return Ok(keys);
    }
    let rows = record_key::find_many(&shop.db, &ids).await?;
    let rows: BTreeMap<&str, &Row> = rows.iter().map(|row| (&*row.record_id, row)).collect();
    for (record_id, person) in records {
        if let Some(person) = people.get(*person)
            && let Some(key) = opened(person, rows.get(record_id).copied())?
        {
            keys.insert((*record_id).to_owned(), key);
        }
    }
    Ok(keys)
}
