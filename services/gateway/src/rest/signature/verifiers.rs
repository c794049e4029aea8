//! What verifiers need: the authorities' certificates, the revocation list, and time-stamps.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use publica_proto::signature::v1 as pb;
use publica_proto::signature::v1::certificate_service_client::CertificateServiceClient;
use publica_proto::signature::v1::timestamp_authority_service_client as tsa;

use super::credentials::{finish, let_in};
use super::input::pem;
use super::link;
use crate::body::{self, Params};
use crate::problem::Problem;
use crate::respond;
use crate::state::GatewayState;

/// The longest query for a time-stamp.
const QUERY_LIMIT: usize = 64 * 1024;

/// Everybody may ask, so the gateway asks in its own name.
fn public(state: &GatewayState) -> CertificateServiceClient<publica_rpc::Link> {
    CertificateServiceClient::new(state.own_link("signature"))
}

/// `POST /tsa`
pub(super) async fn timestamp(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let work = async {
        let entry = let_in(&state, &headers).await?;
        let kind = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        if kind.is_none_or(|kind| !kind.eq_ignore_ascii_case("application/timestamp-query")) {
            let detail = "application/timestamp-query is expected";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Problem::new(status, "UNSUPPORTED_MEDIA_TYPE", detail));
        }
        let query = body::read(request, QUERY_LIMIT).await;
        let query = query.map_err(super::credentials::body_problem)?;
        let request = entry.request(pb::CreateTimestampRequest { query });
        let mut client = tsa::TimestampAuthorityServiceClient::new(link(&state));
        let reply = client.create_timestamp(request).await;
        let reply = reply
            .map_err(|status| Problem::of(&status))?
            .into_inner()
            .reply;
        let kind = HeaderValue::from_static("application/timestamp-reply");
        Ok(respond::bytes_answer(StatusCode::OK, kind, reply))
    };
    finish(work.await)
}

/// `GET /v1/crl`
pub(super) async fn revocation_list(
    State(state): State<GatewayState>,
    headers: HeaderMap,
) -> Response {
    let work = async {
        let request = state.own_request(&headers, pb::GetRevocationListRequest {});
        let found = public(&state).get_revocation_list(request).await;
        let found = found.map_err(|status| Problem::of(&status))?.into_inner();
        let kind = HeaderValue::from_static("application/pkix-crl");
        Ok(respond::bytes_answer(StatusCode::OK, kind, found.crl))
    };
    finish(work.await)
}

async fn fetch(
    state: &GatewayState,
    headers: &HeaderMap,
) -> Result<pb::ListAuthoritiesResponse, Problem> {
    let request = state.own_request(headers, pb::ListAuthoritiesRequest {});
    let found = public(state).list_authorities(request).await;
    Ok(found.map_err(|status| Problem::of(&status))?.into_inner())
}

/// `GET /v1/ca-certificates`: the root, the issuing authority, the time-stamping authority.
pub(super) async fn authorities(State(state): State<GatewayState>, headers: HeaderMap) -> Response {
    let work = async {
        let found = fetch(&state, &headers).await?;
        let text = pem(&found.root) + &pem(&found.issuing) + &pem(&found.timestamping);
        let kind = HeaderValue::from_static("application/pem-certificate-chain");
        Ok(respond::bytes_answer(StatusCode::OK, kind, text))
    };
    finish(work.await)
}

/// `GET /v1/ca-certificates/{file}`: what certificates name as their issuer's certificate.
pub(super) async fn authority(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let work = async {
        let found = fetch(&state, &headers).await?;
        let certificate = match params.get("file").unwrap_or_default() {
            "root.cer" => found.root,
            "issuing.cer" => found.issuing,
            "timestamping.cer" => found.timestamping,
            _ => {
                let detail = "There is no such authority.";
                return Err(Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", detail));
            }
        };
        let kind = HeaderValue::from_static("application/pkix-cert");
        Ok(respond::bytes_answer(StatusCode::OK, kind, certificate))
    };
    finish(work.await)
}
