//! Native paths: what the published interface leaves open, over the same use cases.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::client_service_client::ClientServiceClient;
use publica_proto::identity::v1::identifier_service_client::IdentifierServiceClient;
use publica_proto::identity::v1::person_service_client::PersonServiceClient;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::body::{self, BodyFault, Params, RawBody};
use crate::convert::{idempotency_key, rfc3339};
use crate::problem::Problem;
use crate::respond;
use crate::rest::identity::BATCH_LIMIT;
use crate::rest::identity::envelope::not_entered;
use crate::state::GatewayState;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Batch {
    #[serde(default)]
    source: String,
    persons: Vec<NewPerson>,
}

/// Attributes by name; `name#km` is the value in a language.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewPerson {
    #[serde(default)]
    reference: String,
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    aliases: Vec<Alias>,
    #[serde(default)]
    assurance_level: String,
    #[serde(default)]
    process_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Alias {
    kind: String,
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    #[serde(default)]
    identifier: String,
    #[serde(default)]
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewVid {
    #[serde(default)]
    policy: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewClient {
    client_id: String,
    client_name: String,
    relying_party_id: String,
    #[serde(default)]
    logo_uri: String,
    #[serde(default)]
    redirect_uris: Vec<String>,
    #[serde(default)]
    auth_context_refs: Vec<String>,
    public_key: Value,
    #[serde(default)]
    user_claims: Vec<String>,
    grant_types: Vec<String>,
    #[serde(default = "private_key_jwt")]
    client_auth_methods: Vec<String>,
    #[serde(default)]
    allowed_scopes: Vec<String>,
    #[serde(default)]
    consent_expire_minutes: i32,
}

fn private_key_jwt() -> Vec<String> {
    vec!["private_key_jwt".to_owned()]
}

/// `POST /v1/persons:batchEnrol`
pub(super) async fn batch_enrol(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let entry = match state.enter(&headers).await {
        Ok(entry) => entry,
        Err(fault) => return not_entered(&fault),
    };
    let bytes = body::read(request, BATCH_LIMIT).await;
    let batch = match bytes.and_then(|bytes| body::parse::<Batch>(&bytes)) {
        Ok(batch) => batch,
        Err(fault) => return unreadable(&fault),
    };
    let message = pb::EnrolPersonsRequest {
        request_id: idempotency_key(&headers).unwrap_or_default(),
        persons: batch.persons.into_iter().map(person_from).collect(),
        source: batch.source,
    };
    let mut service = PersonServiceClient::new(state.link("identity"))
        .max_encoding_message_size(2 * BATCH_LIMIT)
        .max_decoding_message_size(2 * BATCH_LIMIT);
    match service.enrol_persons(entry.request(message)).await {
        Ok(answer) => respond::json(StatusCode::OK, &enrolled(answer.into_inner())),
        Err(status) => Problem::of(&status).answer(),
    }
}

fn person_from(person: NewPerson) -> pb::NewPerson {
    let attribute = |(key, value): (String, String)| {
        let (name, language) = key.split_once('#').unwrap_or((&key, ""));
        pb::Attribute {
            name: name.to_owned(),
            language: language.to_owned(),
            value,
        }
    };
    let alias = |alias: Alias| pb::Alias {
        kind: alias.kind,
        value: alias.value,
    };
    pb::NewPerson {
        attributes: person.attributes.into_iter().map(attribute).collect(),
        aliases: person.aliases.into_iter().map(alias).collect(),
        assurance_level: person.assurance_level,
        reference: person.reference,
        process_id: person.process_id,
    }
}

fn enrolled(answer: pb::EnrolPersonsResponse) -> Value {
    let result = |result: &pb::EnrolmentResult| {
        let violations: Vec<Value> = result
            .violations
            .iter()
            .map(|one| json!({ "field": one.field, "description": one.description }))
            .collect();
        json!({
            "index": result.index,
            "reference": result.reference,
            "outcome": short(result.outcome().as_str_name(), "ENROLMENT_OUTCOME_"),
            "personId": result.person_id,
            "registrationId": result.registration_id,
            "vid": result.vid,
            "duplicateAliasKind": result.duplicate_alias_kind,
            "violations": violations,
        })
    };
    json!({
        "results": answer.results.iter().map(result).collect::<Vec<_>>(),
        "enrolledCount": answer.enrolled_count,
        "duplicateCount": answer.duplicate_count,
        "invalidCount": answer.invalid_count,
    })
}

/// `POST /v1/persons:search`
pub(super) async fn search(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let entry = match state.enter(&headers).await {
        Ok(entry) => entry,
        Err(fault) => return not_entered(&fault),
    };
    let search: Search = match body.parse() {
        Ok(search) => search,
        Err(fault) => return unreadable(&fault),
    };
    let message = pb::SearchPersonsRequest {
        identifier: search.identifier,
        name: search.name,
    };
    let mut service = PersonServiceClient::new(state.link("identity"));
    match service.search_persons(entry.request(message)).await {
        Ok(answer) => {
            let persons = answer.into_inner().persons;
            let persons: Vec<Value> = persons.iter().map(person_to).collect();
            respond::json(StatusCode::OK, &json!({ "persons": persons }))
        }
        Err(status) => Problem::of(&status).answer(),
    }
}

/// `GET /v1/persons/{person_id}`
pub(super) async fn person(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let entry = match state.enter(&headers).await {
        Ok(entry) => entry,
        Err(fault) => return not_entered(&fault),
    };
    let person_id = params.get("person_id").unwrap_or_default().to_owned();
    let mut service = PersonServiceClient::new(state.link("identity"));
    match service
        .get_person(entry.request(pb::GetPersonRequest { person_id }))
        .await
    {
        Ok(answer) => {
            let person = answer.into_inner().person.unwrap_or_default();
            respond::json(StatusCode::OK, &person_to(&person))
        }
        Err(status) => Problem::of(&status).answer(),
    }
}

fn person_to(person: &pb::Person) -> Value {
    let key = |one: &pb::Attribute| match one.language.as_str() {
        "" => one.name.clone(),
        language => format!("{}#{language}", one.name),
    };
    let attributes: BTreeMap<String, &str> = person
        .attributes
        .iter()
        .map(|one| (key(one), one.value.as_str()))
        .collect();
    json!({
        "personId": person.person_id,
        "state": short(person.state().as_str_name(), "PERSON_STATE_"),
        "attributes": attributes,
        "assuranceLevel": person.assurance_level,
        "registrationId": person.registration_id,
        "source": person.source,
        "createTime": rfc3339(person.create_time.as_ref()),
        "updateTime": rfc3339(person.update_time.as_ref()),
        "blockExpireTime": rfc3339(person.block_expire_time.as_ref()),
        "etag": person.etag,
    })
}

/// `POST /v1/persons/{person_id}/vids`
pub(super) async fn create_vid(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    body: RawBody,
) -> Response {
    let entry = match state.enter(&headers).await {
        Ok(entry) => entry,
        Err(fault) => return not_entered(&fault),
    };
    let asked = match body.parse::<NewVid>() {
        Ok(asked) => asked,
        Err(BodyFault::Missing) => NewVid::default(),
        Err(fault) => return unreadable(&fault),
    };
    let policy = match asked.policy.as_str() {
        "" | "PERPETUAL" => pb::VidPolicy::Perpetual,
        "TEMPORARY" => pb::VidPolicy::Temporary,
        "ONE_TIME_USE" => pb::VidPolicy::OneTimeUse,
        _ => {
            let what = "policy must be PERPETUAL, TEMPORARY or ONE_TIME_USE";
            return Problem::new(StatusCode::BAD_REQUEST, "INVALID_FIELDS", what).answer();
        }
    };
    let message = pb::CreateVidRequest {
        request_id: idempotency_key(&headers).unwrap_or_default(),
        person_id: params.get("person_id").unwrap_or_default().to_owned(),
        policy: policy.into(),
    };
    let mut service = IdentifierServiceClient::new(state.link("identity"));
    match service.create_vid(entry.request(message)).await {
        Ok(answer) => {
            let identifier = answer.into_inner().identifier.unwrap_or_default();
            let body = json!({
                "identifierId": identifier.identifier_id,
                "personId": identifier.person_id,
                "vid": identifier.value,
                "policy": short(identifier.policy().as_str_name(), "VID_POLICY_"),
                "usesLeft": identifier.uses_left,
                "expireTime": rfc3339(identifier.expire_time.as_ref()),
            });
            respond::json(StatusCode::CREATED, &body)
        }
        Err(status) => Problem::of(&status).answer(),
    }
}

/// `POST /v1/clients`
pub(super) async fn create_client(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let entry = match state.enter(&headers).await {
        Ok(entry) => entry,
        Err(fault) => return not_entered(&fault),
    };
    let new: NewClient = match body.parse() {
        Ok(new) => new,
        Err(fault) => return unreadable(&fault),
    };
    let client = pb::Client {
        client_id: new.client_id,
        client_name: new.client_name,
        relying_party_id: new.relying_party_id,
        logo_uri: new.logo_uri,
        redirect_uris: new.redirect_uris,
        acr_values: new.auth_context_refs,
        public_key_jwk: new.public_key.to_string(),
        user_claims: new.user_claims,
        grant_types: new.grant_types,
        auth_methods: new.client_auth_methods,
        allowed_scopes: new.allowed_scopes,
        consent_expire_minutes: new.consent_expire_minutes,
        ..pb::Client::default()
    };
    let message = pb::CreateClientRequest {
        request_id: idempotency_key(&headers).unwrap_or_default(),
        client: Some(client),
    };
    let mut service = ClientServiceClient::new(state.link("identity"));
    match service.create_client(entry.request(message)).await {
        Ok(answer) => {
            let client = answer.into_inner().client.unwrap_or_default();
            respond::json(StatusCode::CREATED, &client_to(&client))
        }
        Err(status) => Problem::of(&status).answer(),
    }
}

/// `GET /v1/clients/{client_id}`
pub(super) async fn client(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let entry = match state.enter(&headers).await {
        Ok(entry) => entry,
        Err(fault) => return not_entered(&fault),
    };
    let client_id = params.get("client_id").unwrap_or_default().to_owned();
    let mut service = ClientServiceClient::new(state.link("identity"));
    match service
        .get_client(entry.request(pb::GetClientRequest { client_id }))
        .await
    {
        Ok(answer) => {
            let client = answer.into_inner().client.unwrap_or_default();
            respond::json(StatusCode::OK, &client_to(&client))
        }
        Err(status) => Problem::of(&status).answer(),
    }
}

fn client_to(client: &pb::Client) -> Value {
    json!({
        "clientId": client.client_id,
        "clientName": client.client_name,
        "relyingPartyId": client.relying_party_id,
        "logoUri": client.logo_uri,
        "redirectUris": client.redirect_uris,
        "authContextRefs": client.acr_values,
        "publicKey": serde_json::from_str::<Value>(&client.public_key_jwk).unwrap_or_default(),
        "userClaims": client.user_claims,
        "grantTypes": client.grant_types,
        "clientAuthMethods": client.auth_methods,
        "allowedScopes": client.allowed_scopes,
        "status": short(client.state().as_str_name(), "CLIENT_STATE_").to_lowercase(),
        "consentExpireMinutes": client.consent_expire_minutes,
        "createTime": rfc3339(client.create_time.as_ref()),
        "updateTime": rfc3339(client.update_time.as_ref()),
    })
}

/// The name of an enum's value without the enum's own name.
fn short<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.strip_prefix(prefix).unwrap_or(name)
}

fn unreadable(fault: &BodyFault) -> Response {
    let (status, code) = match fault {
        BodyFault::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE"),
        _ => (StatusCode::BAD_REQUEST, "BODY_INVALID"),
    };
    Problem::new(status, code, fault.to_string()).answer()
}
