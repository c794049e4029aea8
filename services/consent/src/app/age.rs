//! Age: who is too young to say yes alone, and when authority over a child ends.

use publica_proto::consent::v1 as pb;
use publica_seal::SubjectKey;
use publica_store::Tx;
use publica_types::Timestamp;

use super::delegations::{DELEGATION, lock_down, note};
use super::revocations::{About, revoke};
use super::{Shop, Who, individuals, time};
use crate::domain::delegation::{self, BirthDate};
use crate::domain::record::read_time;
use crate::domain::signature;
use crate::domain::violations::Violations;
use crate::error::{Error, Why};
use crate::store;
use crate::store::delegation::Row;

/// Refuses a yes of somebody who is known to be too young to say it alone.
pub(crate) fn check_age(
    shop: &Shop,
    person: &pb::Individual,
    text: &pb::DataAgreement,
) -> Result<(), Error> {
    let with_delegate = text
        .required_signatures
        .iter()
        .any(|role| role == signature::DELEGATE);
    let born = BirthDate::parse(&person.birth_date);
    let young = born.is_some_and(|born| !born.is_aged(text.minimum_age, shop.now()));
    if text.minimum_age > 0 && young && !with_delegate {
        return Err(Why::UnderAge.about(&*person.individual_id));
    }
    Ok(())
}

/// The same for a person who is only known by id.
pub(crate) async fn check_age_of(
    shop: &Shop,
    individual_id: &str,
    text: &pb::DataAgreement,
) -> Result<(), Error> {
    if text.minimum_age == 0 {
        return Ok(());
    }
    let row = store::individual::find(&shop.db, individual_id).await?;
    let row = row.ok_or_else(|| Why::IndividualNotFound.about(individual_id))?;
    check_age(shop, &individuals::open(shop, &row).await?, text)
}

/// When authority over somebody born then ends with majority.
fn majority(shop: &Shop, birth_date: &str, relationship: i32) -> Option<Timestamp> {
    if !delegation::ends_with_majority(relationship) {
        return None;
    }
    let born = BirthDate::parse(birth_date)?;
    born.age_at(i32::try_from(shop.rules.majority_age).ok()?)
}

/// When a delegation ends of itself: at majority, or when it was asked to, whichever comes first.
pub(super) fn end(
    shop: &Shop,
    birth_date: &str,
    relationship: i32,
    asked: Option<Timestamp>,
) -> Option<Timestamp> {
    match (majority(shop, birth_date, relationship), asked) {
        (Some(majority), Some(asked)) => Some(majority.min(asked)),
        (majority, asked) => majority.or(asked),
    }
}

/// When a delegation begins, and when it ends of itself.
pub(super) fn term(
    shop: &Shop,
    one: &pb::Delegation,
    birth_date: &str,
    now: Timestamp,
) -> Result<(Timestamp, Option<Timestamp>), Error> {
    let from = time("validFrom", one.valid_from_time.as_ref())?.unwrap_or(now);
    let asked = time("validUntil", one.valid_until_time.as_ref())?;
    let until = end(shop, birth_date, one.relationship, asked);
    if until.is_some_and(|until| until <= from) {
        return Err(Violations::one("validUntil", "is not after its begin").into());
    }
    Ok((from, until))
}

/// When a delegation was asked to end. What was stored without that never ends later than it does
/// now.
fn asked_end(row: &Row, key: &SubjectKey) -> Result<Option<Timestamp>, Error> {
    let kept: pb::Delegation = store::decode(&key.open(DELEGATION, &row.sealed)?)?;
    if kept.valid_from_time.is_none() {
        return Ok(row.valid_until);
    }
    Ok(kept.valid_until_time.as_ref().and_then(read_time))
}

/// Works out anew when authority over a person ends, once they turn out to be born on another day.
pub(super) async fn born_otherwise(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    key: &SubjectKey,
    birth_date: &str,
) -> Result<(), Error> {
    let now = tx.now();
    let mut waiting = 0;
    for mut row in store::delegation::over(tx, key.subject()).await? {
        let relationship = i32::try_from(row.relationship).unwrap_or_default();
        if !delegation::ends_with_majority(relationship) {
            continue;
        }
        let asked = asked_end(&row, key)?;
        let until = end(shop, birth_date, relationship, asked);
        if until == row.valid_until {
            continue;
        }
        row.valid_until = until;
        // What ended before is to be confirmed from now on, so that it is still told.
        let reconfirm = until.map(|until| until.max(now));
        let id = row.delegation_id.as_str();
        let answers = store::delegation::move_end(tx, id, until, reconfirm).await?;
        if until.is_some_and(|until| until <= now) {
            waiting += answers;
        }
        let revision = lock_down(tx, shop, who, &row, key).await?;
        note(tx, who, &row, &revision, "consent.delegation.changed");
    }
    if waiting > 0 {
        let about = About {
            individual_id: key.subject(),
            ..About::default()
        };
        revoke(tx, about, pb::RevocationCause::DelegationEnded).await?;
    }
    Ok(())
}
