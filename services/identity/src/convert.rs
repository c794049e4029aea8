//! Between what the wire carries and what the block works with.

use publica_proto::identity::v1 as pb;
use publica_rpc::timestamp;
use publica_types::Timestamp;

use crate::domain::authorization::Parameters;
use crate::domain::client::Client;
use crate::domain::mask::mask;
use crate::domain::person::PersonState;
use crate::domain::sign_in::Counter;
use crate::store;

/// The wire's name of a state.
pub(crate) fn person_state(state: PersonState) -> pb::PersonState {
    match state {
        PersonState::Active => pb::PersonState::Active,
        PersonState::Blocked => pb::PersonState::Blocked,
        PersonState::Deactivated => pb::PersonState::Deactivated,
        PersonState::Deceased => pb::PersonState::Deceased,
        PersonState::Erased => pb::PersonState::Erased,
    }
}

/// A person without attributes, as it stands at `now`.
pub(crate) fn person(person: &store::person::Person, now: Timestamp) -> pb::Person {
    let state = person.state(now);
    let block_end = person
        .block_expires
        .filter(|_| state == PersonState::Blocked);
    pb::Person {
        person_id: person.person_id.to_string(),
        state: person_state(state).into(),
        attributes: Vec::new(),
        assurance_level: person.assurance_level.clone(),
        registration_id: person.registration_id.clone(),
        source: person.source.clone(),
        create_time: Some(timestamp(person.created)),
        update_time: Some(timestamp(person.updated)),
        block_expire_time: block_end.map(timestamp),
        etag: person.updated.micros().to_string(),
    }
}

/// The wire's name of a virtual identifier's rule.
pub(crate) fn vid_policy(policy: &str) -> pb::VidPolicy {
    match policy {
        "perpetual" => pb::VidPolicy::Perpetual,
        "temporary" => pb::VidPolicy::Temporary,
        "one_time_use" => pb::VidPolicy::OneTimeUse,
        _ => pb::VidPolicy::Unspecified,
    }
}

/// An identifier; an alias shows no more than its ending.
pub(crate) fn identifier(
    row: &store::identifier::Identifier,
    value: &str,
    now: Timestamp,
) -> pb::Identifier {
    let vid = row.kind == "vid";
    let state = match row.state.as_str() {
        "active" if row.expires.is_some_and(|end| end <= now) => pb::IdentifierState::Expired,
        "active" => pb::IdentifierState::Active,
        "used" => pb::IdentifierState::Used,
        _ => pb::IdentifierState::Revoked,
    };
    let kind = if vid {
        pb::IdentifierKind::Vid
    } else {
        pb::IdentifierKind::Alias
    };
    pb::Identifier {
        identifier_id: row.identifier_id.to_string(),
        person_id: row.person_id.to_string(),
        kind: kind.into(),
        alias_kind: row.alias_kind.clone(),
        value: if vid { value.to_owned() } else { mask(value) },
        policy: vid_policy(&row.policy).into(),
        state: state.into(),
        uses_left: row.uses_left.and_then(|left| i32::try_from(left).ok()),
        expire_time: row.expires.map(timestamp),
        create_time: Some(timestamp(row.created)),
    }
}

/// A factor with its failures.
pub(crate) fn factor(
    row: &store::factor::Factor,
    target: &str,
    counter: Option<Counter>,
    now: Timestamp,
) -> pb::Factor {
    let state = if row.is_active() {
        pb::FactorState::Active
    } else {
        pb::FactorState::Locked
    };
    let failures = counter.map_or(0, |counter| counter.count);
    let frozen = counter.filter(|counter| counter.is_frozen(now));
    pb::Factor {
        factor_id: row.factor_id.to_string(),
        person_id: row.person_id.to_string(),
        kind: pb::FactorKind::EmailCode.into(),
        masked_target: mask(target),
        state: state.into(),
        failure_count: i32::try_from(failures).unwrap_or(i32::MAX),
        freeze_expire_time: frozen
            .and_then(|counter| counter.frozen_until)
            .map(timestamp),
        create_time: Some(timestamp(row.created)),
    }
}

/// The wire's name of an enrolment's state, and back.
const ENROLMENT_STATES: [(&str, pb::EnrolmentState); 3] = [
    ("received", pb::EnrolmentState::Received),
    ("registered", pb::EnrolmentState::Registered),
    ("duplicate", pb::EnrolmentState::Duplicate),
];

/// The stored name of an enrolment's state; empty for unspecified.
pub(crate) fn enrolment_state_name(state: pb::EnrolmentState) -> &'static str {
    ENROLMENT_STATES
        .iter()
        .find(|(_, known)| *known == state)
        .map_or("", |(name, _)| name)
}

/// An enrolment.
pub(crate) fn enrolment(row: &store::enrolment::Enrolment) -> pb::Enrolment {
    let state = ENROLMENT_STATES.iter().find(|(name, _)| *name == row.state);
    pb::Enrolment {
        registration_id: row.registration_id.clone(),
        process: row.process.clone(),
        source: row.source.clone(),
        ref_id: row.ref_id.clone(),
        state: state
            .map_or(pb::EnrolmentState::Unspecified, |(_, state)| *state)
            .into(),
        person_id: row.person_id.map(|id| id.to_string()).unwrap_or_default(),
        create_time: Some(timestamp(row.created)),
        update_time: Some(timestamp(row.updated)),
    }
}

/// A client from the wire.
pub(crate) fn client_from(client: pb::Client) -> Client {
    let active = client.state() != pb::ClientState::Inactive;
    Client {
        client_id: client.client_id,
        client_name: client.client_name,
        relying_party_id: client.relying_party_id,
        logo_uri: client.logo_uri,
        redirect_uris: client.redirect_uris,
        acr_values: client.acr_values,
        public_key: client.public_key_jwk,
        user_claims: client.user_claims,
        grant_types: client.grant_types,
        auth_methods: client.auth_methods,
        allowed_scopes: client.allowed_scopes,
        active,
        consent_expire_minutes: client.consent_expire_minutes,
        user_info_type: client.user_info_type,
        encryption_key: client.encryption_key_jwk,
    }
    .canonical()
}

/// A client for the wire.
pub(crate) fn client(stored: &store::client::Stored) -> pb::Client {
    let client = stored.client.clone();
    let state = if client.active {
        pb::ClientState::Active
    } else {
        pb::ClientState::Inactive
    };
    pb::Client {
        client_id: client.client_id,
        client_name: client.client_name,
        relying_party_id: client.relying_party_id,
        logo_uri: client.logo_uri,
        redirect_uris: client.redirect_uris,
        acr_values: client.acr_values,
        public_key_jwk: client.public_key,
        user_claims: client.user_claims,
        grant_types: client.grant_types,
        auth_methods: client.auth_methods,
        allowed_scopes: client.allowed_scopes,
        state: state.into(),
        create_time: Some(timestamp(stored.created)),
        update_time: Some(timestamp(stored.updated)),
        consent_expire_minutes: client.consent_expire_minutes,
        user_info_type: client.user_info_type,
        encryption_key_jwk: client.encryption_key,
    }
}

/// Authorization parameters from the wire.
pub(crate) fn parameters(parameters: pb::AuthorizationParameters) -> Parameters {
    Parameters {
        client_id: parameters.client_id,
        redirect_uri: parameters.redirect_uri,
        response_type: parameters.response_type,
        scope: parameters.scope,
        state: parameters.state,
        nonce: parameters.nonce,
        display: parameters.display,
        prompt: parameters.prompt,
        max_age: parameters.max_age,
        acr_values: parameters.acr_values,
        claims_locales: parameters.claims_locales,
        claims: parameters.claims,
        code_challenge: parameters.code_challenge,
        code_challenge_method: parameters.code_challenge_method,
        repeated: parameters.repeated_parameters,
        refused: parameters.refused_parameters,
    }
}

/// A signing key without its private part.
pub(crate) fn signing_key(key: &store::signing_key::StoredKey) -> pb::SigningKey {
    let state = match key.state.as_str() {
        "next" => pb::SigningKeyState::Next,
        "active" => pb::SigningKeyState::Active,
        _ => pb::SigningKeyState::Retired,
    };
    pb::SigningKey {
        kid: key.kid.clone(),
        algorithm: key.algorithm.clone(),
        state: state.into(),
        create_time: Some(timestamp(key.created)),
        expire_time: Some(timestamp(key.expires)),
    }
}
