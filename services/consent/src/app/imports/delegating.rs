//! Storing imported delegations: those that hold, and those that ended, were taken back, or never
//! held.

use publica_proto::consent::v1 as pb;
use publica_seal::SubjectKey;
use publica_store::Tx;
use publica_types::Timestamp;

use super::super::age::term;
use super::super::delegations::{authority, make_room, opened, seal};
use super::super::individuals::open_known;
use super::super::policies::check_id;
use super::super::{Shop, Who};
use super::Stored;
use super::lines::{DelegationLine, RecordLine};
use super::storing::{OTHER, Object, history, refused};
use crate::domain::delegation;
use crate::domain::violations::Violations;
use crate::error::Error;
use crate::store;
use crate::store::delegation::Row;

/// Stores a delegation, once.
pub(crate) async fn store(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    line: &DelegationLine,
) -> Result<Stored, Error> {
    check_id("id", &line.id)?;
    let one = line.delegation();
    delegation::check(&one)?;
    if line.void && line.revoked_at.is_none() {
        return Ok(refused("revokedAt", "is required of what never held"));
    }
    let person = store::individual::find_in(tx, &one.individual_id).await?;
    let Some(person) = person else {
        return Ok(refused("individualId", "names nobody who is stored"));
    };
    let delegate = store::individual::find_in(tx, &one.delegate_individual_id).await?;
    if delegate.is_none() {
        return Ok(refused(
            "delegateIndividualId",
            "names nobody who is stored",
        ));
    }
    let key = shop.keyring.subject(tx, &one.individual_id).await?;
    let known = match &person.sealed {
        Some(sealed) => open_known(&key, sealed)?,
        None => pb::KnownIdentity::default(),
    };
    let created = line.created_at.unwrap_or(tx.now());
    let (from, until) = term(shop, &one, &known.birth_date, created)?;
    let row = Row {
        delegation_id: line.id.clone(),
        individual_id: one.individual_id.clone(),
        delegate_id: one.delegate_individual_id.clone(),
        relationship: i64::from(one.relationship),
        sealed: seal(&key, &one),
        valid_from: from,
        valid_until: until,
        revoked: line.revoked_at,
        void: line.void,
        created,
    };
    if let Some(stored) = store::delegation::find_in(tx, &line.id).await? {
        return repeated(&key, line, &stored, row);
    }
    let object = Object {
        schema: pb::Schema::Delegation,
        id: &line.id,
        data: delegation::data(&opened(&row, Some(&key))?),
        body: None,
        key: Some(&key),
        created,
    };
    if row.revoked.is_none() {
        make_room(tx, &one.individual_id).await?;
    }
    if !store::delegation::insert(tx, &row).await? {
        return Ok(refused("id", OTHER));
    }
    if let Some(revoked) = line.revoked_at {
        store::delegation::revoke(tx, &line.id, revoked, line.void).await?;
    }
    history(tx, shop, who, object, &[]).await?;
    Ok(Stored::Stored)
}

/// Whether a line tells again what is stored.
fn repeated(
    key: &SubjectKey,
    line: &DelegationLine,
    stored: &Row,
    told: Row,
) -> Result<Stored, Error> {
    // Times that the line leaves out were taken from the clock.
    let meant = Row {
        valid_from: line.valid_from.unwrap_or(stored.valid_from),
        created: stored.created,
        ..told
    };
    let same = opened(stored, Some(key))? == opened(&meant, Some(key))?;
    Ok(if same {
        Stored::Repeated
    } else {
        refused("id", OTHER)
    })
}

/// On what an imported answer rests, besides the person's own word.
#[derive(Debug, Clone, Default)]
pub(super) struct Rests {
    pub(super) delegation_id: String,
    pub(super) reconfirm_from: Option<Timestamp>,
    pub(super) void: bool,
}

/// On what an imported answer rests that names a delegation, given the delegation of that name.
pub(super) fn rests(
    key: &SubjectKey,
    line: &RecordLine,
    found: Option<&Row>,
) -> Result<Rests, Error> {
    if line.delegation_id.is_empty() {
        return Ok(Rests::default());
    }
    let found = found.filter(|one| one.individual_id == line.individual_id);
    let found = found.ok_or_else(|| {
        let why = "names no delegation over the individual that is stored";
        Violations::one("delegationId", why)
    })?;
    let one = opened(found, Some(key))?;
    Ok(Rests {
        reconfirm_from: authority(found, &one).end(),
        void: found.void,
        delegation_id: found.delegation_id.clone(),
    })
}
