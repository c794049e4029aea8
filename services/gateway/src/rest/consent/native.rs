//! Native paths: decisions, and what is done for many people at once. Errors are problem
//! documents (RFC 9457).

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::consent_record_service_client::ConsentRecordServiceClient;
use publica_proto::consent::v1::consent_service_client::ConsentServiceClient;
use publica_proto::consent::v1::individual_service_client::IndividualServiceClient;
use serde_json::{Map, Value, json};

use super::error::Fault;
use super::{input, output, reading};
use crate::body::{QueryPairs, read};
use crate::convert::idempotency_key;
use crate::problem::Problem;
use crate::respond;
use crate::state::{Entry, GatewayState};

/// The largest body: a thousand signed records of ordinary size.
const BODY_LIMIT: usize = 16 * 1_024 * 1_024;

/// A refusal of the gateway or of the block.
enum Refusal {
    Gateway(Fault),
    Block(tonic::Status),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Gateway(fault)
    }
}

impl From<tonic::Status> for Refusal {
    fn from(status: tonic::Status) -> Self {
        Self::Block(status)
    }
}

impl Refusal {
    fn answer(self) -> Response {
        match self {
            Self::Gateway(fault) => fault.problem().answer(),
            Self::Block(status) => Problem::of(&status).answer(),
        }
    }
}

async fn open(
    state: &GatewayState,
    request: Request,
) -> Result<(Entry, HeaderMap, Map<String, Value>), Refusal> {
    let headers = request.headers().clone();
    let entry = state.enter(&headers).await.map_err(Fault::from)?;
    let bytes = read(request, BODY_LIMIT).await.map_err(Fault::from)?;
    Ok((entry, headers, input::object(&bytes)?))
}

/// One question, or several under `checks`.
pub(crate) async fn decide(State(state): State<GatewayState>, request: Request) -> Response {
    let decided = async {
        let (entry, _, body) = open(&state, request).await?;
        let mut client = ConsentServiceClient::new(state.link("consent"));
        if body.contains_key("checks") {
            let checks = input::whole(&body, "", |input| {
                input
                    .children("checks")
                    .iter()
                    .map(reading::question)
                    .collect()
            })?;
            let message = pb::BatchCheckConsentRequest { checks };
            let answer = client
                .batch_check_consent(entry.request(message))
                .await?
                .into_inner();
            let all: Vec<Value> = answer.decisions.iter().map(output::decision).collect();
            return Ok::<_, Refusal>(json!({ "decisions": all }));
        }
        let question = input::whole(&body, "", reading::question)?;
        let answer = client
            .check_consent(entry.request(question))
            .await?
            .into_inner();
        Ok(output::decision(&answer))
    };
    match decided.await {
        Ok(body) => respond::json(StatusCode::OK, &body),
        Err(refusal) => refusal.answer(),
    }
}

/// What was revoked after `cursor`; without one, where the record ends now.
pub(crate) async fn revocations(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let listed = async {
        let entry = state.enter(&headers).await.map_err(Fault::from)?;
        let limit = query.get("limit").unwrap_or_default();
        let page_size = if limit.is_empty() {
            0
        } else {
            limit
                .parse()
                .map_err(|_| Fault::member("limit", "must be an integer"))?
        };
        let message = pb::ListRevocationsRequest {
            cursor: query.get("cursor").unwrap_or_default().to_owned(),
            page_size,
        };
        let mut client = ConsentServiceClient::new(state.link("consent"));
        let answer = client
            .list_revocations(entry.request(message))
            .await?
            .into_inner();
        let all: Vec<Value> = answer.revocations.iter().map(output::revocation).collect();
        Ok::<_, Refusal>(json!({
            "revocations": all,
            "cursor": answer.cursor,
            "more": answer.more,
        }))
    };
    match listed.await {
        Ok(body) => respond::json(StatusCode::OK, &body),
        Err(refusal) => refusal.answer(),
    }
}

/// A JWK set with which decision tokens, receipts and seals are verified.
pub(crate) async fn keys(State(state): State<GatewayState>, headers: HeaderMap) -> Response {
    let told = async {
        let entry = state.enter(&headers).await.map_err(Fault::from)?;
        let mut client = ConsentServiceClient::new(state.link("consent"));
        let request = entry.request(pb::GetVerificationKeysRequest {});
        let answer = client.get_verification_keys(request).await?.into_inner();
        Ok::<Value, Refusal>(serde_json::from_str(&answer.jwks).unwrap_or_default())
    };
    match told.await {
        Ok(body) => respond::json(StatusCode::OK, &body),
        Err(refusal) => refusal.answer(),
    }
}

/// People with their keys: `{"individuals":[{"individual":{…},"jwks":[{…}]}]}`.
pub(crate) async fn create_individuals(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let created = async {
        let (entry, headers, body) = open(&state, request).await?;
        let individuals = input::whole(&body, "", |input| {
            let all = input.children("individuals");
            all.iter().map(individual_with_keys).collect::<Vec<_>>()
        })?;
        let request_id = idempotency_key(&headers).unwrap_or_default();
        let message = pb::BatchCreateIndividualsRequest {
            individuals,
            request_id,
        };
        let mut client = IndividualServiceClient::new(state.link("consent"));
        let answer = client
            .batch_create_individuals(entry.request(message))
            .await?
            .into_inner();
        let all: Vec<Value> = answer.individuals.iter().map(output::individual).collect();
        Ok::<_, Refusal>(json!({ "individuals": all }))
    };
    match created.await {
        Ok(body) => respond::json(StatusCode::OK, &body),
        Err(refusal) => refusal.answer(),
    }
}

fn individual_with_keys(input: &input::Input<'_>) -> pb::IndividualWithKeys {
    let nested = input.child("individual");
    let individual = reading::individual(nested.as_ref().unwrap_or(input));
    pb::IndividualWithKeys {
        individual: Some(individual),
        jwks: input.objects("jwks"),
    }
}

/// Signed pairs: `{"records":[{"consentRecord":{…},"signature":{…}}]}`. Each is stored or
/// refused by itself.
pub(crate) async fn sign_records(State(state): State<GatewayState>, request: Request) -> Response {
    let signed = async {
        let (entry, headers, body) = open(&state, request).await?;
        let records = input::whole(&body, "", |input| {
            let all = input.children("records");
            all.iter().map(pair).collect::<Vec<_>>()
        })?;
        let request_id = idempotency_key(&headers).unwrap_or_default();
        let message = pb::BatchSignConsentRecordsRequest {
            records,
            request_id,
        };
        let mut client = ConsentRecordServiceClient::new(state.link("consent"));
        let answer = client
            .batch_sign_consent_records(entry.request(message))
            .await?;
        let answer = answer.into_inner();
        let results: Vec<Value> = answer.results.iter().map(result).collect();
        Ok::<_, Refusal>(json!({ "results": results, "stored": answer.stored }))
    };
    match signed.await {
        Ok(body) => respond::json(StatusCode::OK, &body),
        Err(refusal) => refusal.answer(),
    }
}

fn pair(input: &input::Input<'_>) -> pb::SignConsentRecordRequest {
    pb::SignConsentRecordRequest {
        consent_record: input.child("consentRecord").as_ref().map(reading::record),
        signature: input.child("signature").as_ref().map(reading::signature),
        request_id: String::new(),
    }
}

fn result(one: &pb::BatchSignResult) -> Value {
    if one.reason.is_empty() {
        json!({ "consentRecordId": one.consent_record_id, "revisionId": one.revision_id })
    } else {
        json!({ "code": one.reason, "detail": one.message })
    }
}
