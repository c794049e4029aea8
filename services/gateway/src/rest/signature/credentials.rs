//! Seal credentials of organisations, on the native paths.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::signature::v1 as pb;
use publica_proto::signature::v1::credential_service_client::CredentialServiceClient;
use serde::Deserialize;
use serde_json::{Value, json};

use super::input::pem;
use super::link;
use crate::body::{BodyFault, Params, QueryPairs, RawBody};
use crate::convert::{idempotency_key, rfc3339};
use crate::problem::Problem;
use crate::respond;
use crate::state::{Entry, GatewayState};

fn client(state: &GatewayState) -> CredentialServiceClient<publica_rpc::Link> {
    CredentialServiceClient::new(link(state))
}

/// Lets a caller in; the block checks the scope.
pub(super) async fn let_in(state: &GatewayState, headers: &HeaderMap) -> Result<Entry, Problem> {
    let entered = state.enter(headers).await;
    entered.map_err(|fault| {
        let status = fault.status();
        let unauthorized = status == StatusCode::UNAUTHORIZED;
        let code = if unauthorized {
            "UNAUTHENTICATED"
        } else {
            "UNAVAILABLE"
        };
        Problem::new(status, code, fault.to_string())
    })
}

pub(super) fn finish(done: Result<Response, Problem>) -> Response {
    done.unwrap_or_else(|problem| problem.answer())
}

pub(super) fn body_problem(fault: BodyFault) -> Problem {
    if fault == BodyFault::TooLarge {
        let detail = "The body is too large.";
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", detail);
    }
    Problem::new(StatusCode::BAD_REQUEST, "MALFORMED_BODY", fault.to_string())
}

pub(super) fn status_problem(status: tonic::Status) -> Problem {
    Problem::of(&status)
}

fn shape(credential: &pb::Credential) -> Value {
    let none = pb::Certificate::default();
    let certificate = credential.certificate.as_ref().unwrap_or(&none);
    let status = match certificate.status() {
        pb::CertificateStatus::Active => "ACTIVE",
        pb::CertificateStatus::Suspended => "SUSPENDED",
        pb::CertificateStatus::Revoked => "REVOKED",
        pb::CertificateStatus::Expired => "EXPIRED",
        pb::CertificateStatus::Unspecified => "UNKNOWN",
    };
    json!({
        "credentialId": credential.credential_id,
        "organization": credential.organization,
        "certificateId": certificate.certificate_id,
        "certificate": pem(&certificate.certificate),
        "certificateChain": certificate.chain.iter().map(|der| pem(der)).collect::<Vec<_>>(),
        "status": status,
        "reason": certificate.reason,
        "created": rfc3339(credential.create_time.as_ref()),
        "expires": rfc3339(certificate.expire_time.as_ref()),
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewCredential {
    organization: String,
    country: String,
    #[serde(default)]
    organization_identifier: String,
}

/// `POST /v1/credentials`
pub(super) async fn create(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let work = async {
        let entry = let_in(&state, &headers).await?;
        let new: NewCredential = body.parse().map_err(body_problem)?;
        let request = pb::CreateCredentialRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            organization: new.organization,
            country: new.country,
            organization_identifier: new.organization_identifier,
        };
        let made = client(&state)
            .create_credential(entry.request(request))
            .await;
        let made = made.map_err(status_problem)?.into_inner();
        let shape = shape(&made.credential.unwrap_or_default());
        Ok(respond::json(StatusCode::CREATED, &shape))
    };
    finish(work.await)
}

/// `GET /v1/credentials`
pub(super) async fn list(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let work = async {
        let entry = let_in(&state, &headers).await?;
        let request = pb::ListCredentialsRequest {
            page_size: 0,
            page_token: query.get("pageToken").unwrap_or_default().to_owned(),
        };
        let found = client(&state)
            .list_credentials(entry.request(request))
            .await;
        let found = found.map_err(status_problem)?.into_inner();
        let items: Vec<Value> = found.credentials.iter().map(shape).collect();
        let answer = json!({"credentials": items, "nextPageToken": found.next_page_token});
        Ok(respond::json(StatusCode::OK, &answer))
    };
    finish(work.await)
}

/// `GET /v1/credentials/{credentialId}`
pub(super) async fn read(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let work = async {
        let entry = let_in(&state, &headers).await?;
        let credential_id = params.get("credentialId").unwrap_or_default().to_owned();
        let request = entry.request(pb::GetCredentialRequest { credential_id });
        let found = client(&state)
            .get_credential(request)
            .await
            .map_err(status_problem)?;
        let credential = found.into_inner().credential.unwrap_or_default();
        Ok(respond::json(StatusCode::OK, &shape(&credential)))
    };
    finish(work.await)
}

#[derive(Debug, Deserialize)]
struct NewStatus {
    status: String,
    #[serde(default)]
    reason: String,
}

/// `PATCH /v1/credentials/{credentialId}`
pub(super) async fn change(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    body: RawBody,
) -> Response {
    let work = async {
        let entry = let_in(&state, &headers).await?;
        let new: NewStatus = body.parse().map_err(body_problem)?;
        let status = match &*new.status {
            "ACTIVE" => pb::CertificateStatus::Active,
            "SUSPENDED" => pb::CertificateStatus::Suspended,
            "REVOKED" => pb::CertificateStatus::Revoked,
            _ => pb::CertificateStatus::Unspecified,
        };
        let request = pb::ChangeCredentialStatusRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            credential_id: params.get("credentialId").unwrap_or_default().to_owned(),
            status: status.into(),
            reason: new.reason,
        };
        let done = client(&state)
            .change_credential_status(entry.request(request))
            .await;
        let done = done.map_err(status_problem)?.into_inner();
        Ok(respond::json(
            StatusCode::OK,
            &shape(&done.credential.unwrap_or_default()),
        ))
    };
    finish(work.await)
}
