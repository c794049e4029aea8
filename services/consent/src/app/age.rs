//! Age: who is too young to say yes alone, and when authority over a child ends.

use publica_proto::consent::v1 as pb;
use publica_types::Timestamp;

use super::{Shop, individuals, time};
use crate::domain::delegation::{self, BirthDate};
use crate::domain::signature;
use crate::domain::violations::Violations;
use crate::error::{Error, Why};
use crate::store;

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

/// When a delegation begins, and when it ends of itself.
pub(super) fn term(
    shop: &Shop,
    one: &pb::Delegation,
    birth_date: &str,
    now: Timestamp,
) -> Result<(Timestamp, Option<Timestamp>), Error> {
    let from = time("validFrom", one.valid_from_time.as_ref())?.unwrap_or(now);
    let asked = time("validUntil", one.valid_until_time.as_ref())?;
    let until = match (majority(shop, birth_date, one.relationship), asked) {
        (Some(majority), Some(asked)) => Some(majority.min(asked)),
        (majority, asked) => majority.or(asked),
    };
    if until.is_some_and(|until| until <= from) {
        return Err(Violations::one("validUntil", "is not after its begin").into());
    }
    Ok((from, until))
}
