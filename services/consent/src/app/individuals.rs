//! People: external identities are sealed, and found by keyed hashes.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message as _;
use publica_jose::Jwk;
use publica_journal::append;
use publica_proto::consent::v1 as pb;
use publica_seal::{Keyring, SubjectKey};
use publica_store::Tx;
use serde_json::json;

use super::policies::check_id;
use super::{App, Input, Paging, Shop, Who, age, call, entry, next_token};
use crate::domain::delegation::BirthDate;
use crate::domain::notice;
use crate::domain::violations::{MAX_NAME, Violations};
use crate::error::{Error, Why};
use crate::store::individual::{KeyRow, Row, Write};
use crate::store::{self, Cursor};

/// The field under which an external identity is sealed.
const IDENTITY: &str = "identity";
/// Keys that a person may have at a time.
pub(super) const MAX_KEYS: usize = 8;
/// The scopes that systems need.
const READ: &str = "consent:individual:read";
pub(super) const WRITE: &str = "consent:individual:write";

/// Keyed hash of a whole external identity.
pub(crate) fn identity_hash(keyring: &Keyring, one: &pb::ExternalIdentity) -> Vec<u8> {
    let parts = [
        &one.identity_provider_id,
        &one.external_id_type,
        &one.external_id,
    ];
    let lengths = parts.map(|part| format!("{}:{part}", part.len()));
    keyring.lookup("identity", &lengths.concat())
}

fn external_hash(keyring: &Keyring, external_id: &str) -> Vec<u8> {
    keyring.lookup("external_id", external_id)
}

pub(super) fn external(one: &pb::Individual) -> pb::ExternalIdentity {
    pb::ExternalIdentity {
        external_id: one.external_id.clone(),
        external_id_type: one.external_id_type.clone(),
        identity_provider_id: one.identity_provider_id.clone(),
    }
}

/// What is kept of a person, encrypted.
fn known(one: &pb::Individual) -> pb::KnownIdentity {
    pb::KnownIdentity {
        external_id: one.external_id.clone(),
        external_id_type: one.external_id_type.clone(),
        identity_provider_id: one.identity_provider_id.clone(),
        birth_date: one.birth_date.clone(),
        email: one.email.clone(),
    }
}

/// What is known of a person, opened.
pub(super) fn open_known(key: &SubjectKey, sealed: &[u8]) -> Result<pb::KnownIdentity, Error> {
    Ok(store::decode(&key.open(IDENTITY, sealed)?)?)
}

/// People of one external id that are looked at.
const MAX_NAMESAKES: i64 = 16;

/// People with this external id, whatever its kind and provider; at most so many.
pub(crate) async fn with_external_id(
    shop: &Shop,
    external_id: &str,
) -> Result<Vec<pb::Individual>, Error> {
    let hash = external_hash(&shop.keyring, external_id);
    let page = store::Page {
        ascending: false,
        after: None,
        limit: MAX_NAMESAKES,
        skip: 0,
    };
    let rows = store::individual::list_external(&shop.db, &hash, &page).await?;
    open_all(shop, &rows).await
}

/// Checks a person as sent.
pub(crate) fn check(one: &pb::Individual) -> Result<(), Violations> {
    let mut found = Violations::new();
    found.optional_id("id", &one.individual_id);
    found.line("externalId", &one.external_id, MAX_NAME);
    found.line("externalIdType", &one.external_id_type, MAX_NAME);
    found.line("identityProviderId", &one.identity_provider_id, MAX_NAME);
    if !one.birth_date.is_empty() && BirthDate::parse(&one.birth_date).is_none() {
        found.push("birthDate", "is not a date such as 2010-05-17");
    }
    if !one.email.is_empty() && !notice::is_address(&one.email) {
        found.push("email", "is not an e-mail address");
    }
    let kind = !one.external_id_type.is_empty() || !one.identity_provider_id.is_empty();
    if one.external_id.is_empty() && kind {
        found.push(
            "externalId",
            "is required when its type or provider is given",
        );
    }
    found.check(())
}

/// What is written of a person.
pub(crate) fn sealed(keyring: &Keyring, key: &SubjectKey, one: &pb::Individual) -> Write {
    let mut write = Write {
        individual_id: one.individual_id.clone(),
        ..Write::default()
    };
    if !one.external_id.is_empty() {
        write.identity_hash = Some(identity_hash(keyring, &external(one)));
        write.external_hash = Some(external_hash(keyring, &one.external_id));
    }
    let known = known(one);
    if known != pb::KnownIdentity::default() {
        write.sealed = Some(key.seal(IDENTITY, &known.encode_to_vec()));
    }
    write
}

/// Whether a sealed identity is this person's.
pub(crate) fn same_identity(
    key: &SubjectKey,
    sealed: &[u8],
    one: &pb::Individual,
) -> Result<bool, Error> {
    Ok(open_known(key, sealed)? == known(one))
}

fn opened(row: &Row, key: Option<&SubjectKey>) -> Result<pb::Individual, Error> {
    let mut one = pb::Individual {
        individual_id: row.individual_id.clone(),
        create_time: Some(publica_rpc::timestamp(row.created)),
        update_time: Some(publica_rpc::timestamp(row.updated)),
        ..pb::Individual::default()
    };
    if let (Some(sealed), Some(key)) = (&row.sealed, key) {
        let identity = open_known(key, sealed)?;
        one.birth_date = identity.birth_date;
        one.email = identity.email;
        one.external_id = identity.external_id;
        one.external_id_type = identity.external_id_type;
        one.identity_provider_id = identity.identity_provider_id;
    }
    Ok(one)
}

/// A person, opened.
pub(crate) async fn open(shop: &Shop, row: &Row) -> Result<pb::Individual, Error> {
    let mut all = open_all(shop, std::slice::from_ref(row)).await?;
    all.pop()
        .ok_or_else(|| Why::IndividualNotFound.about(&*row.individual_id))
}

async fn open_all(shop: &Shop, rows: &[Row]) -> Result<Vec<pb::Individual>, Error> {
    let sealed = rows.iter().filter(|row| row.sealed.is_some());
    let subjects: Vec<&str> = sealed.map(|row| row.individual_id.as_str()).collect();
    let keys = if subjects.is_empty() {
        BTreeMap::new()
    } else {
        shop.keyring.load_many(&shop.db, &subjects).await?
    };
    rows.iter()
        .map(|row| opened(row, keys.get(&row.individual_id)))
        .collect()
}

/// A key as sent, checked: its id and its canonical text.
pub(crate) fn read_key(jwk: &str) -> Result<(String, String), Error> {
    let key = Jwk::from_json(jwk.as_bytes()).map_err(|_| Why::KeyInvalid.about(""))?;
    Ok((key.thumbprint().to_owned(), key.to_value().to_string()))
}

/// A key as callers see it.
fn present_key(row: KeyRow) -> pb::SigningKey {
    pb::SigningKey {
        key_id: row.key_id,
        jwk: row.jwk,
        create_time: Some(publica_rpc::timestamp(row.created)),
        revoke_time: row.revoked.map(publica_rpc::timestamp),
    }
}

impl App {
    /// Creates a person.
    pub(crate) async fn create_individual(
        &self,
        who: &Who,
        request: pb::CreateIndividualRequest,
    ) -> Result<pb::CreateIndividualResponse, Error> {
        const RPC: &str = "/publica.consent.v1.IndividualService/CreateIndividual";
        let shop = self.shop(&who.origin.tenant).await?;
        let call = call(
            "consent.create_individual",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let one = request
            .individual
            .ok_or_else(|| Violations::one("individual", "is required"))?;
        check(&one)?;
        let input: Input<pb::Individual> = (Arc::clone(&shop), who.clone(), one);
        publica_journal::write(&shop.db, call, input, |tx, (shop, who, one)| {
            Box::pin(async move {
                let individual = create(tx, shop, who, one.clone()).await?;
                Ok::<_, Error>(pb::CreateIndividualResponse {
                    individual: Some(individual),
                })
            })
        })
        .await
    }

    /// Returns a person.
    pub(crate) async fn get_individual(
        &self,
        who: &Who,
        request: pb::GetIndividualRequest,
    ) -> Result<pb::GetIndividualResponse, Error> {
        check_id("individual_id", &request.individual_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let id = &*who.resolve(&shop, &request.individual_id).await?;
        who.acts_for(&shop, id, READ).await?;
        let row = store::individual::find(&shop.db, id).await?;
        let row = row.ok_or_else(|| Why::IndividualNotFound.about(id))?;
        let individual = open(&shop, &row).await?;
        self.journal_read(who, "individual", id).await?;
        Ok(pb::GetIndividualResponse {
            individual: Some(individual),
        })
    }

    /// Lists people, or finds one by an external id.
    pub(crate) async fn list_individuals(
        &self,
        who: &Who,
        request: pb::ListIndividualsRequest,
    ) -> Result<pb::ListIndividualsResponse, Error> {
        let shop = self.shop(&who.origin.tenant).await?;
        let kind = !request.external_id_type.is_empty();
        let narrowed = kind || !request.identity_provider_id.is_empty();
        if request.external_id.is_empty() && narrowed {
            return Err(Violations::one("externalId", "is required to find by type").into());
        }
        let hash = external_hash(&shop.keyring, &request.external_id);
        let arguments = (
            "individuals",
            (!request.external_id.is_empty()).then(|| hex::encode(&hash)),
            &request.external_id_type,
            &request.identity_provider_id,
        );
        let paging = Paging {
            size: request.page_size,
            token: &request.page_token,
            skip: request.skip,
            ascending: false,
        };
        let page = paging.page(&arguments)?;
        let by_external = !request.external_id.is_empty();
        let mut rows = if by_external {
            let all = store::Page {
                skip: 0,
                ..page.clone()
            };
            store::individual::list_external(&shop.db, &hash, &all).await?
        } else {
            store::individual::list(&shop.db, &page).await?
        };
        let next_page_token = next_token(&mut rows, &page, &arguments, |row| Cursor {
            at: row.created.micros(),
            id: row.individual_id.clone(),
        });
        let mut individuals = open_all(&shop, &rows).await?;
        if by_external {
            // The hash is of the id alone; type and provider are compared once opened.
            individuals.retain(|one| {
                one.external_id == request.external_id
                    && (!kind || one.external_id_type == request.external_id_type)
                    && (request.identity_provider_id.is_empty()
                        || one.identity_provider_id == request.identity_provider_id)
            });
            let skip = usize::try_from(page.skip).unwrap_or(usize::MAX);
            individuals.drain(..skip.min(individuals.len()));
        }
        let total_size = match request.include_total {
            true if by_external => i64::try_from(individuals.len()).ok(),
            true => Some(store::individual::count(&shop.db).await?),
            false => None,
        };
        self.journal_read(who, "individuals", "").await?;
        Ok(pb::ListIndividualsResponse {
            individuals,
            next_page_token,
            total_size,
        })
    }

    /// Replaces a person's external identity.
    pub(crate) async fn replace_individual(
        &self,
        who: &Who,
        request: pb::ReplaceIndividualRequest,
    ) -> Result<pb::ReplaceIndividualResponse, Error> {
        const RPC: &str = "/publica.consent.v1.IndividualService/ReplaceIndividual";
        let shop = self.shop(&who.origin.tenant).await?;
        let call = call(
            "consent.replace_individual",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let clears = (request.clear_birth_date, request.clear_email);
        let one = request
            .individual
            .ok_or_else(|| Violations::one("individual", "is required"))?;
        check(&one)?;
        check_id("individual.individual_id", &one.individual_id)?;
        let input: Input<(pb::Individual, (bool, bool))> =
            (Arc::clone(&shop), who.clone(), (one, clears));
        let replaced = publica_journal::write(&shop.db, call, input, |tx, (shop, who, asked)| {
            Box::pin(replace(tx, shop, who, asked))
        });
        let replaced = replaced.await;
        // Answers of delegates may have to be confirmed earlier, or later.
        self.timer().notify_one();
        replaced
    }

    /// Registers a key that the person signs with.
    pub(crate) async fn register_key(
        &self,
        who: &Who,
        request: pb::RegisterSigningKeyRequest,
    ) -> Result<pb::RegisterSigningKeyResponse, Error> {
        const RPC: &str = "/publica.consent.v1.IndividualService/RegisterSigningKey";
        check_id("individual_id", &request.individual_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        who.acts_for(&shop, &request.individual_id, WRITE).await?;
        let call = call(
            "consent.register_key",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let key = read_key(&request.jwk)?;
        let input = (Arc::clone(&shop), who.clone(), (request.individual_id, key));
        publica_journal::write(
            &shop.db,
            call,
            input,
            |tx, (_, who, (id, (key_id, jwk)))| {
                Box::pin(async move {
                    let row = store::individual::find_in(tx, id).await?;
                    row.ok_or_else(|| Why::IndividualNotFound.about(&**id))?;
                    let row = add_key(tx, who, id, key_id, jwk).await?;
                    let key = Some(present_key(row));
                    Ok::<_, Error>(pb::RegisterSigningKeyResponse { key })
                })
            },
        )
        .await
    }

    /// Lists a person's keys.
    pub(crate) async fn list_keys(
        &self,
        who: &Who,
        request: pb::ListSigningKeysRequest,
    ) -> Result<pb::ListSigningKeysResponse, Error> {
        check_id("individual_id", &request.individual_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let id = request.individual_id.as_str();
        who.acts_for(&shop, id, READ).await?;
        let row = store::individual::find(&shop.db, id).await?;
        row.ok_or_else(|| Why::IndividualNotFound.about(id))?;
        let keys = store::individual::keys(&shop.db, id).await?;
        let keys = keys.into_iter().map(present_key).collect();
        Ok(pb::ListSigningKeysResponse { keys })
    }

    /// Revokes a key.
    pub(crate) async fn revoke_key(
        &self,
        who: &Who,
        request: pb::RevokeSigningKeyRequest,
    ) -> Result<pb::RevokeSigningKeyResponse, Error> {
        const RPC: &str = "/publica.consent.v1.IndividualService/RevokeSigningKey";
        check_id("individual_id", &request.individual_id)?;
        check_id("key_id", &request.key_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        who.acts_for(&shop, &request.individual_id, WRITE).await?;
        let call = call(
            "consent.revoke_key",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let input = (Arc::clone(&shop), who.clone(), request);
        publica_journal::write(&shop.db, call, input, |tx, (_, who, request)| {
            Box::pin(async move {
                let (id, key_id) = (&request.individual_id, &request.key_id);
                let now = tx.now();
                if store::individual::revoke(tx, id, key_id, now).await? {
                    let body = json!({ "key_id": key_id });
                    let entry = entry("consent.key.revoked", "individual", id, body);
                    append(tx, &who.origin, entry);
                }
                let row = store::individual::key_in(tx, id, key_id).await?;
                let row = row.ok_or_else(|| Why::KeyNotFound.about(&**key_id))?;
                Ok::<_, Error>(pb::RevokeSigningKeyResponse {
                    key: Some(present_key(row)),
                })
            })
        })
        .await
    }

    /// Returns whether a person is told of changes.
    pub(crate) async fn get_preference(
        &self,
        who: &Who,
        request: pb::GetNotificationPreferenceRequest,
    ) -> Result<pb::GetNotificationPreferenceResponse, Error> {
        check_id("individual_id", &request.individual_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let id = &*who.resolve(&shop, &request.individual_id).await?;
        who.acts_for(&shop, id, READ).await?;
        let row = store::individual::find(&shop.db, id).await?;
        let row = row.ok_or_else(|| Why::IndividualNotFound.about(id))?;
        Ok(pb::GetNotificationPreferenceResponse {
            enabled: row.notify,
        })
    }

    /// Switches change notices on or off.
    pub(crate) async fn set_preference(
        &self,
        who: &Who,
        mut request: pb::SetNotificationPreferenceRequest,
    ) -> Result<pb::SetNotificationPreferenceResponse, Error> {
        const RPC: &str = "/publica.consent.v1.IndividualService/SetNotificationPreference";
        check_id("individual_id", &request.individual_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        request.individual_id = who.resolve(&shop, &request.individual_id).await?;
        who.acts_for(&shop, &request.individual_id, WRITE).await?;
        let call = call(
            "consent.set_preference",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let input = (Arc::clone(&shop), who.clone(), request);
        publica_journal::write(&shop.db, call, input, |tx, (_, who, request)| {
            Box::pin(async move {
                let (id, enabled) = (&request.individual_id, request.enabled);
                let now = tx.now();
                if !store::individual::set_notify(tx, id, enabled, now).await? {
                    return Err(Why::IndividualNotFound.about(&**id));
                }
                let body = json!({ "enabled": enabled });
                let entry = entry("consent.preference.changed", "individual", id, body);
                append(tx, &who.origin, entry);
                Ok::<_, Error>(pb::SetNotificationPreferenceResponse { enabled })
            })
        })
        .await
    }
}

async fn create(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    mut one: pb::Individual,
) -> Result<pb::Individual, Error> {
    let id = one.individual_id.as_str();
    // Ids of those who were erased are not given again.
    if id.is_empty() || store::individual::lock(tx, id).await?.is_some() {
        one.individual_id = shop.id();
    }
    let key = shop.keyring.subject(tx, &one.individual_id).await?;
    let write = sealed(&shop.keyring, &key, &one);
    let now = tx.now();
    if !store::individual::insert(tx, &write, now).await? {
        return Err(Why::IndividualExists.about(""));
    }
    let created = entry(
        "consent.individual.created",
        "individual",
        &one.individual_id,
        json!({}),
    );
    append(tx, &who.origin, created);
    one.create_time = Some(publica_rpc::timestamp(now));
    one.update_time = one.create_time;
    Ok(one)
}

async fn replace(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    (one, (clear_birth_date, clear_email)): &(pb::Individual, (bool, bool)),
) -> Result<pb::ReplaceIndividualResponse, Error> {
    let id = one.individual_id.as_str();
    let row = store::individual::find_in(tx, id).await?;
    let row = row.ok_or_else(|| Why::IndividualNotFound.about(id))?;
    let key = shop.keyring.subject(tx, id).await?;
    let before = opened(&row, Some(&key))?;
    let mut one = one.clone();
    if one.birth_date.is_empty() && !clear_birth_date {
        one.birth_date.clone_from(&before.birth_date);
    }
    if one.email.is_empty() && !clear_email {
        one.email.clone_from(&before.email);
    }
    let write = sealed(&shop.keyring, &key, &one);
    let now = tx.now();
    if !store::individual::update(tx, &write, now).await? {
        return Err(Why::IndividualExists.about(""));
    }
    append(
        tx,
        &who.origin,
        entry("consent.individual.updated", "individual", id, json!({})),
    );
    if one.birth_date != before.birth_date {
        age::born_otherwise(tx, shop, who, &key, &one.birth_date).await?;
    }
    let mut individual = one;
    individual.create_time = Some(publica_rpc::timestamp(row.created));
    individual.update_time = Some(publica_rpc::timestamp(now));
    Ok(pb::ReplaceIndividualResponse {
        individual: Some(individual),
    })
}

async fn add_key(
    tx: &mut Tx<'_>,
    who: &Who,
    individual_id: &str,
    key_id: &str,
    jwk: &str,
) -> Result<KeyRow, Error> {
    let now = tx.now();
    let known = store::individual::keys_in(tx, individual_id).await?;
    if let Some(row) = known.iter().find(|row| row.key_id == key_id) {
        return Ok(row.clone());
    }
    if known.iter().filter(|row| row.revoked.is_none()).count() >= MAX_KEYS {
        return Err(Why::TooManyKeys.about(individual_id));
    }
    store::individual::add_key(tx, individual_id, key_id, jwk, now).await?;
    let body = json!({ "key_id": key_id });
    append(
        tx,
        &who.origin,
        entry("consent.key.registered", "individual", individual_id, body),
    );
    Ok(KeyRow {
        individual_id: individual_id.to_owned(),
        key_id: key_id.to_owned(),
        jwk: jwk.to_owned(),
        created: now,
        revoked: None,
    })
}
