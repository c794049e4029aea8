//! Delegations: written down, looked up where somebody acts for somebody else, ended.

use std::sync::Arc;

use prost::Message as _;
use publica_jose::Jwk;
use publica_journal::append;
use publica_proto::consent::v1 as pb;
use publica_seal::SubjectKey;
use publica_store::Tx;
use publica_types::Timestamp;
use serde_json::json;

use super::age::term;
use super::notices::{self, For};
use super::policies::check_id;
use super::revisions::{Change, revise};
use super::revocations::{About, revoke};
use super::shown::key_of;
use super::{App, Input, Paging, Shop, Who, by, call, entry, individuals, next_token};
use crate::domain::delegation::{self, Act, Authority};
use crate::domain::notice::Kind;
use crate::domain::violations::Violations;
use crate::error::{Error, Why};
use crate::store::delegation::Row;
use crate::store::{self, Cursor};

/// The field under which a delegation is sealed.
pub(super) const DELEGATION: &str = "delegation";
/// The scopes that systems need.
pub(super) const READ: &str = "consent:delegation:read";
const WRITE: &str = "consent:delegation:write";
/// Delegations over one person that hold or may come to hold.
const MAX_DELEGATIONS: i64 = 32;

/// On whose word an answer is given, when it is not the person's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acting {
    pub(crate) delegation_id: String,
    pub(crate) delegate_id: String,
    /// When the authority ends.
    pub(crate) ends: Option<Timestamp>,
}

/// An agreement that somebody acts about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matter<'a> {
    pub(crate) agreement_id: &'a str,
    pub(crate) purpose_code: &'a str,
}

impl<'a> Matter<'a> {
    /// What a text is about.
    pub(crate) fn of(text: &'a pb::DataAgreement) -> Self {
        Self {
            agreement_id: &text.data_agreement_id,
            purpose_code: &text.purpose_code,
        }
    }
}

/// What is kept of a delegation, encrypted. Its times are those that were asked for, which are
/// needed again when the person's age turns out to be another; the begin is always there, since
/// delegations that were stored earlier keep neither.
pub(super) fn seal(key: &SubjectKey, one: &pb::Delegation) -> Vec<u8> {
    let kept = pb::Delegation {
        valid_from_time: Some(one.valid_from_time.unwrap_or_default()),
        valid_until_time: one.valid_until_time,
        authority_reference: one.authority_reference.clone(),
        authority_hash: one.authority_hash.clone(),
        scope_agreements: one.scope_agreements.clone(),
        scope_purposes: one.scope_purposes.clone(),
        actions: one.actions.clone(),
        ..pb::Delegation::default()
    };
    key.seal(DELEGATION, &kept.encode_to_vec())
}

/// Refuses one more delegation over a person who has as many as may be.
pub(super) async fn make_room(tx: &mut Tx<'_>, individual_id: &str) -> Result<(), Error> {
    if store::delegation::count(tx, individual_id).await? >= MAX_DELEGATIONS {
        return Err(Why::TooManyDelegations.about(individual_id));
    }
    Ok(())
}

pub(super) fn opened(row: &Row, key: Option<&SubjectKey>) -> Result<pb::Delegation, Error> {
    let mut one: pb::Delegation = match key {
        Some(key) => store::decode(&key.open(DELEGATION, &row.sealed)?)?,
        // The person's key was destroyed, and with it whatever the delegate might do.
        None => pb::Delegation::default(),
    };
    one.delegation_id.clone_from(&row.delegation_id);
    one.individual_id.clone_from(&row.individual_id);
    one.delegate_individual_id.clone_from(&row.delegate_id);
    one.relationship = i32::try_from(row.relationship).unwrap_or_default();
    one.valid_from_time = Some(publica_rpc::timestamp(row.valid_from));
    one.valid_until_time = row.valid_until.map(publica_rpc::timestamp);
    one.revoke_time = row.revoked.map(publica_rpc::timestamp);
    one.void = row.void;
    one.create_time = Some(publica_rpc::timestamp(row.created));
    Ok(one)
}

pub(super) fn authority<'a>(row: &Row, one: &'a pb::Delegation) -> Authority<'a> {
    Authority {
        delegation: one,
        from: row.valid_from,
        until: row.valid_until,
        revoked: row.revoked,
    }
}

fn shown(row: &Row, key: Option<&SubjectKey>, now: Timestamp) -> Result<pb::Delegation, Error> {
    let mut one = opened(row, key)?;
    one.active = authority(row, &one).holds(now);
    Ok(one)
}

/// Delegations over a person that hold now and cover an act.
pub(crate) async fn holding(
    shop: &Shop,
    individual_id: &str,
    act: Act,
    matter: Option<Matter<'_>>,
) -> Result<Vec<Acting>, Error> {
    let rows = store::delegation::open(&shop.db, individual_id).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let key = key_of(shop, individual_id).await?;
    let now = shop.now();
    let mut found = Vec::new();
    for row in rows {
        let one = opened(&row, key.as_ref())?;
        let authority = authority(&row, &one);
        let covers = match matter {
            Some(matter) => authority.covers(act, matter.agreement_id, matter.purpose_code),
            // Whether the agreement is covered is asked once it is known.
            None => {
                let view = i32::from(pb::DelegationAction::View);
                let wanted = |action: &i32| (*action == view) == (act == Act::View);
                one.actions.iter().any(wanted)
            }
        };
        if authority.holds(now) && covers {
            found.push(Acting {
                ends: authority.end(),
                delegation_id: row.delegation_id,
                delegate_id: row.delegate_id,
            });
        }
    }
    Ok(found)
}

/// The delegation by which a delegate may act about an agreement.
pub(crate) async fn acting(
    shop: &Shop,
    individual_id: &str,
    delegate_id: &str,
    act: Act,
    matter: Matter<'_>,
) -> Result<Acting, Error> {
    let found = holding(shop, individual_id, act, Some(matter)).await?;
    let mut own = found
        .into_iter()
        .filter(|one| one.delegate_id == delegate_id);
    own.next()
        .ok_or_else(|| Why::DelegationInvalid.about(delegate_id))
}

/// Whether a delegate may see the person's answers, or answer, about anything at all.
pub(crate) async fn is_delegate(
    shop: &Shop,
    individual_id: &str,
    delegate_id: &str,
    act: Act,
) -> Result<bool, Error> {
    let found = holding(shop, individual_id, act, None).await?;
    Ok(found.iter().any(|one| one.delegate_id == delegate_id))
}

/// On whose word the caller answers: the person's own, or that of a delegate who may.
pub(crate) async fn word(
    shop: &Shop,
    who: &Who,
    individual_id: &str,
    named: &str,
    act: Act,
    matter: Matter<'_>,
) -> Result<Option<Acting>, Error> {
    let delegate = match (who.delegate(), named) {
        (None, "") => return Ok(None),
        (Some(own), "") => own,
        (Some(own), named) if own == named => own,
        // Neither people nor their delegates speak for other delegates.
        (Some(_), _) => return Err(Why::NotYours.about("")),
        (None, _) if who.is_self(individual_id) => return Err(Why::NotYours.about("")),
        (None, named) => named,
    };
    let acting = acting(shop, individual_id, delegate, act, matter).await?;
    Ok(Some(acting))
}

/// Checks, within the unit that writes, that whoever speaks for the person still may. Whoever
/// takes the delegation back waits for this unit and then marks what it wrote, or came first and
/// leaves nothing to rest on. Rows of delegations are locked before rows of records, as there.
pub(crate) async fn hold(
    tx: &mut Tx<'_>,
    who: &Who,
    key: &SubjectKey,
    acting: Option<&Acting>,
    act: Act,
    matter: Matter<'_>,
) -> Result<(), Error> {
    let (delegate, act) = match (acting, who.delegate()) {
        (Some(acting), _) => (acting.delegate_id.as_str(), act),
        // Who brings what the person signed needs the least of what lets a delegate write.
        (None, Some(own)) => (own, Act::Withdraw),
        (None, None) => return Ok(()),
    };
    let now = tx.now();
    for row in store::delegation::hold(tx, key.subject(), delegate).await? {
        let one = opened(&row, Some(key))?;
        let authority = authority(&row, &one);
        let same = acting.is_none_or(|acting| acting.delegation_id == row.delegation_id);
        let covers = authority.covers(act, matter.agreement_id, matter.purpose_code);
        if same && covers && authority.holds(now) {
            return Ok(());
        }
    }
    Err(Why::DelegationInvalid.about(delegate))
}

/// Keys of all delegates who may act about an agreement, with whose they are.
pub(crate) async fn keys_of_delegates(
    shop: &Shop,
    individual_id: &str,
    act: Act,
    matter: Matter<'_>,
) -> Result<Vec<(Acting, Vec<Jwk>)>, Error> {
    let mut found = Vec::new();
    for one in holding(shop, individual_id, act, Some(matter)).await? {
        let keys = super::signing::keys_of(shop, &one.delegate_id).await?;
        found.push((one, keys));
    }
    Ok(found)
}

impl App {
    /// Writes a delegation down.
    pub(crate) async fn create_delegation(
        &self,
        who: &Who,
        request: pb::CreateDelegationRequest,
    ) -> Result<pb::CreateDelegationResponse, Error> {
        const RPC: &str = "/publica.consent.v1.DelegationService/CreateDelegation";
        let shop = self.shop(&who.origin.tenant).await?;
        let call = call(
            "consent.create_delegation",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let one = request
            .delegation
            .ok_or_else(|| Violations::one("delegation", "is required"))?;
        delegation::check(&one)?;
        for id in [&one.individual_id, &one.delegate_individual_id] {
            let row = store::individual::find(&shop.db, id).await?;
            row.ok_or_else(|| Why::IndividualNotFound.about(&**id))?;
        }
        let row = store::individual::find(&shop.db, &one.individual_id).await?;
        let row = row.ok_or_else(|| Why::IndividualNotFound.about(&*one.individual_id))?;
        let person = individuals::open(&shop, &row).await?;
        let (from, until) = term(&shop, &one, &person.birth_date, shop.now())?;
        let input: Input<(pb::Delegation, Timestamp, Option<Timestamp>)> =
            (Arc::clone(&shop), who.clone(), (one, from, until));
        publica_journal::write(&shop.db, call, input, |tx, (shop, who, asked)| {
            Box::pin(create(tx, shop, who, asked))
        })
        .await
    }

    /// Returns a delegation.
    pub(crate) async fn get_delegation(
        &self,
        who: &Who,
        request: pb::GetDelegationRequest,
    ) -> Result<pb::GetDelegationResponse, Error> {
        check_id("delegation_id", &request.delegation_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let row = self.own_delegation(&shop, who, &request.delegation_id, READ);
        let row = row.await?;
        let key = key_of(&shop, &row.individual_id).await?;
        let one = shown(&row, key.as_ref(), shop.now())?;
        self.journal_read(who, "delegation", &row.delegation_id)
            .await?;
        Ok(pb::GetDelegationResponse {
            delegation: Some(one),
        })
    }

    /// A delegation that the caller may see: systems with the scope, and both people.
    pub(super) async fn own_delegation(
        &self,
        shop: &Shop,
        who: &Who,
        delegation_id: &str,
        scope: &'static str,
    ) -> Result<Row, Error> {
        let Some(row) = store::delegation::find(&shop.db, delegation_id).await? else {
            who.need(scope)?;
            return Err(Why::DelegationNotFound.about(delegation_id));
        };
        if who.may(scope) {
            return Ok(row);
        }
        let person = who.is_person_of(shop, &row.individual_id).await?;
        if person || who.is_person_of(shop, &row.delegate_id).await? {
            return Ok(row);
        }
        Err(Why::NotYours.about(""))
    }

    /// Lists delegations of a person, or held by one.
    pub(crate) async fn list_delegations(
        &self,
        who: &Who,
        request: pb::ListDelegationsRequest,
    ) -> Result<pb::ListDelegationsResponse, Error> {
        let shop = self.shop(&who.origin.tenant).await?;
        let of_person = !request.individual_id.is_empty();
        let named = if of_person {
            &request.individual_id
        } else {
            &request.delegate_individual_id
        };
        check_id("individual_id", named)?;
        let id = who.resolve(&shop, named).await?;
        if !who.may(READ) && !who.is_person_of(&shop, &id).await? {
            return Err(Why::NotYours.about(""));
        }
        let delegate = if of_person {
            request.delegate_individual_id.as_str()
        } else {
            ""
        };
        let arguments = ("delegations", of_person, &id, delegate);
        let paging = Paging {
            size: request.page_size,
            token: &request.page_token,
            skip: request.skip,
            ascending: true,
        };
        let page = paging.page(&arguments)?;
        let mut rows = if of_person {
            store::delegation::of_person(&shop.db, &id, delegate, &page).await?
        } else {
            store::delegation::of_delegate(&shop.db, &id, &page).await?
        };
        let next_page_token = next_token(&mut rows, &page, &arguments, |row| Cursor {
            at: row.created.micros(),
            id: row.delegation_id.clone(),
        });
        let mut people: Vec<&str> = rows.iter().map(|row| row.individual_id.as_str()).collect();
        people.sort_unstable();
        people.dedup();
        let keys = if people.is_empty() {
            std::collections::BTreeMap::new()
        } else {
            shop.keyring.load_many(&shop.db, &people).await?
        };
        let now = shop.now();
        let delegations = rows
            .iter()
            .map(|row| shown(row, keys.get(&row.individual_id), now))
            .collect::<Result<Vec<_>, Error>>()?;
        self.journal_read(who, "delegations", &id).await?;
        Ok(pb::ListDelegationsResponse {
            delegations,
            next_page_token,
        })
    }

    /// Ends a delegation.
    pub(crate) async fn revoke_delegation(
        &self,
        who: &Who,
        request: pb::RevokeDelegationRequest,
    ) -> Result<pb::RevokeDelegationResponse, Error> {
        const RPC: &str = "/publica.consent.v1.DelegationService/RevokeDelegation";
        check_id("delegation_id", &request.delegation_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let row = self.own_delegation(&shop, who, &request.delegation_id, WRITE);
        let row = row.await?;
        if !who.may(WRITE) {
            // A child cannot dismiss its parents, but a delegate may lay the task down.
            let relationship = i32::try_from(row.relationship).unwrap_or_default();
            let own = delegation::given_by_person(relationship);
            let lays_down = who.is_person_of(&shop, &row.delegate_id).await?;
            if request.void || !(own || lays_down) {
                return Err(Why::NotYours.about(""));
            }
        }
        let call = call(
            "consent.revoke_delegation",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let input: Input<pb::RevokeDelegationRequest> = (Arc::clone(&shop), who.clone(), request);
        let ended = publica_journal::write(&shop.db, call, input, |tx, (shop, who, asked)| {
            Box::pin(end(tx, shop, who, asked))
        });
        let ended = ended.await;
        // Answers that rest on it are to be confirmed from now on.
        self.timer().notify_one();
        ended
    }
}

async fn create(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    (one, from, until): &(pb::Delegation, Timestamp, Option<Timestamp>),
) -> Result<pb::CreateDelegationResponse, Error> {
    let now = tx.now();
    make_room(tx, &one.individual_id).await?;
    let key = shop.keyring.subject(tx, &one.individual_id).await?;
    let mut row = Row {
        delegation_id: one.delegation_id.clone(),
        individual_id: one.individual_id.clone(),
        delegate_id: one.delegate_individual_id.clone(),
        relationship: i64::from(one.relationship),
        sealed: seal(&key, one),
        valid_from: *from,
        valid_until: *until,
        revoked: None,
        void: false,
        created: now,
    };
    let taken = store::delegation::find_in(tx, &row.delegation_id).await?;
    if row.delegation_id.is_empty() || taken.is_some() {
        row.delegation_id = shop.id();
    }
    if !store::delegation::insert(tx, &row).await? {
        return Err(Why::Conflict.about(&*row.delegation_id));
    }
    let revision = lock_down(tx, shop, who, &row, &key).await?;
    note(tx, who, &row, &revision, "consent.delegation.created");
    notify(tx, shop, who, &row, Kind::DelegationMade).await?;
    Ok(pb::CreateDelegationResponse {
        delegation: Some(shown(&row, Some(&key), now)?),
    })
}

/// Ends a delegation; nothing changes where it has ended so before.
pub(super) async fn end(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    request: &pb::RevokeDelegationRequest,
) -> Result<pb::RevokeDelegationResponse, Error> {
    let now = tx.now();
    let id = request.delegation_id.as_str();
    let ended = store::delegation::revoke(tx, id, now, request.void).await?;
    let row = store::delegation::find_in(tx, id).await?;
    let row = row.ok_or_else(|| Why::DelegationNotFound.about(id))?;
    let key = shop.keyring.subject(tx, &row.individual_id).await?;
    if ended {
        let answers = store::delegation::ended(tx, id, now, request.void).await?;
        if answers > 0 {
            let about = About {
                individual_id: &row.individual_id,
                ..About::default()
            };
            revoke(tx, about, pb::RevocationCause::DelegationEnded).await?;
        }
        let revision = lock_down(tx, shop, who, &row, &key).await?;
        note(tx, who, &row, &revision, "consent.delegation.revoked");
        notify(tx, shop, who, &row, Kind::DelegationEnded).await?;
    }
    Ok(pb::RevokeDelegationResponse {
        delegation: Some(shown(&row, Some(&key), now)?),
    })
}

/// Locks a delegation as it is now in a revision.
pub(super) async fn lock_down(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    row: &Row,
    key: &SubjectKey,
) -> Result<pb::Revision, Error> {
    let change = Change {
        schema: pb::Schema::Delegation,
        object_id: &row.delegation_id,
        data: delegation::data(&opened(row, Some(key))?),
        by: by(who, &row.individual_id),
        body: None,
        subject: Some(key),
        predecessor_signature: "",
    };
    revise(tx, shop, change).await
}

/// Tells the person what others arranged about them.
async fn notify(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    row: &Row,
    kind: Kind,
) -> Result<(), Error> {
    if who.is_self(&row.individual_id) {
        return Ok(());
    }
    let whom = For {
        individual_id: &row.individual_id,
        agreement_id: "",
        reference: &row.delegation_id,
    };
    notices::person(tx, shop, &who.origin, kind, whom, &row.delegation_id).await
}

/// Journals what became of a delegation.
pub(super) fn note(
    tx: &mut Tx<'_>,
    who: &Who,
    row: &Row,
    revision: &pb::Revision,
    action: &'static str,
) {
    let body = json!({
        "revision_id": revision.revision_id,
        "revision_sha256": revision.serialized_hash_sha256,
        "individual_id": row.individual_id,
        "delegate_id": row.delegate_id,
        "void": row.void,
    });
    append(
        tx,
        &who.origin,
        entry(action, "delegation", &row.delegation_id, body),
    );
}
