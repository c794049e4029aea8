//! Certificates for keys on devices, as published.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::signature::v1 as pb;
use publica_proto::signature::v1::certificate_service_client::CertificateServiceClient;
use serde_json::{Value, json};

use super::error::SignFault;
use super::input::{Members, enter, finish, pem, request_bytes};
use super::link;
use crate::body::{Params, QueryPairs, RawBody};
use crate::convert::{idempotency_key, rfc3339};
use crate::respond;
use crate::state::GatewayState;

const SCD_TYPES: &[(&str, &str)] = &[
    ("REMOTE_SCD_APP_APPLE", "REMOTE_SCD_APP_APPLE"),
    ("REMOTE_SCD_APP_ANDROID", "REMOTE_SCD_APP_ANDROID"),
    ("REMOTE_SCD_APP_SE_APPLE", "REMOTE_SCD_APP_SE_APPLE"),
    ("REMOTE_SCD_APP_SE_ANDROID", "REMOTE_SCD_APP_SE_ANDROID"),
    ("REMOTE_SCD_SIM", "REMOTE_SCD_SIM"),
    ("REMOTE_SCD_ESIM", "REMOTE_SCD_ESIM"),
    ("REMOTE_SCD_SMARTID", "REMOTE_SCD_SMARTID"),
];

/// Filters of the list; the sheet says ACTIVATED, its items say ACTIVE.
const FILTERS: &[(&str, pb::CertificateStatus)] = &[
    ("ALL", pb::CertificateStatus::Unspecified),
    ("ACTIVATED", pb::CertificateStatus::Active),
    ("ACTIVE", pb::CertificateStatus::Active),
    ("EXPIRED", pb::CertificateStatus::Expired),
    ("REVOKED", pb::CertificateStatus::Revoked),
    ("SUSPENDED", pb::CertificateStatus::Suspended),
];

/// Changes; the sheet's enum and its example spell the second one differently.
const CHANGES: &[(&str, pb::CertificateStatus)] = &[
    ("ACTIVATE", pb::CertificateStatus::Active),
    ("ACTIVATED", pb::CertificateStatus::Active),
    ("SUSPEND", pb::CertificateStatus::Suspended),
    ("SUSPENDED", pb::CertificateStatus::Suspended),
    ("REVOKE", pb::CertificateStatus::Revoked),
    ("REVOKED", pb::CertificateStatus::Revoked),
];

fn client(state: &GatewayState) -> CertificateServiceClient<publica_rpc::Link> {
    CertificateServiceClient::new(link(state))
}

/// `POST /v1/cert/create`
pub(super) async fn create(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let work = async {
        let entry = enter(&state, &headers, "signature:certificate:write").await?;
        let members = Members::read(body)?;
        members.check_time(&state)?;
        let csr = match members.text("CSR")? {
            Some(text) => Some(
                request_bytes(text)
                    .ok_or_else(|| SignFault::malformed("CSR", "PEM or base64 is expected"))?,
            ),
            None => None,
        };
        let scd_type = members.choice("SCDType", SCD_TYPES)?;
        let remote_id = members.text("SCDRemoteId")?;
        let key_id = members.number("SCDKeyId")?;
        let pseudonym = match members.text("pseodonym")? {
            Some(text) => Some(text),
            None => members.text("pseudonym")?,
        };
        let request = pb::CreateCertificateRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            csr: csr.ok_or_else(|| SignFault::missing("CSR"))?.into(),
            scd_type: scd_type
                .ok_or_else(|| SignFault::missing("SCDType"))?
                .to_owned(),
            scd_remote_id: remote_id
                .ok_or_else(|| SignFault::missing("SCDRemoteId"))?
                .to_owned(),
            scd_key_id: key_id.ok_or_else(|| SignFault::missing("SCDKeyId"))?,
            pseudonym: pseudonym.unwrap_or_default().to_owned(),
        };
        let made = client(&state)
            .create_certificate(entry.request(request))
            .await?;
        let certificate = made.into_inner().certificate.unwrap_or_default();
        let answer = json!({
            "certificateId": certificate.certificate_id,
            "pseudonym": certificate.pseudonym,
            "certificate": pem(&certificate.certificate),
            "certificateChain": chain(&certificate),
            "responseTimestamp": state.clock().now().to_string(),
            "status": {"code": "OK", "message": "The certificate was issued."},
        });
        Ok(respond::json(StatusCode::OK, &answer))
    };
    finish(&state, &headers, work.await)
}

fn chain(certificate: &pb::Certificate) -> Vec<String> {
    certificate.chain.iter().map(|der| pem(der)).collect()
}

fn item(certificate: &pb::Certificate) -> Value {
    use pb::CertificateStatus::{Active, Expired, Revoked, Suspended};

    let code = match certificate.status() {
        Active => "ACTIVE",
        Expired => "EXPIRED",
        Suspended => "SUSPENDED",
        Revoked => "REVOKED",
        pb::CertificateStatus::Unspecified => "ERROR",
    };
    let changed = rfc3339(certificate.change_time.as_ref()).unwrap_or_default();
    let message = match certificate.status() {
        Suspended | Revoked => format!("{} since {changed}", certificate.reason),
        _ => {
            let end = rfc3339(certificate.expire_time.as_ref()).unwrap_or_default();
            format!("Valid until {end}")
        }
    };
    json!({
        "certificateId": certificate.certificate_id,
        "certificate": pem(&certificate.certificate),
        "certificateChain": chain(certificate),
        "status": {"code": code, "message": message},
    })
}

/// `GET /v1/cert/list`
pub(super) async fn list(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let work = async {
        let entry = enter(&state, &headers, "signature:certificate:read").await?;
        let asked = query.get("filter").unwrap_or("ALL");
        let status = FILTERS
            .iter()
            .find(|(name, _)| *name == asked)
            .map(|(_, status)| *status);
        let status =
            status.ok_or_else(|| SignFault::malformed("filter", "is not one of the values"))?;
        let mut items: Vec<Value> = Vec::new();
        let mut page_token = String::new();
        // The published list has no pages; a person has few devices.
        loop {
            let request = pb::ListCertificatesRequest {
                status: status.into(),
                page_size: 1_000,
                page_token,
            };
            let page = client(&state)
                .list_certificates(entry.request(request))
                .await?;
            let page = page.into_inner();
            items.extend(page.certificates.iter().map(item));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(respond::json(StatusCode::OK, &items));
            }
        }
    };
    finish(&state, &headers, work.await)
}

/// `PATCH /v1/cert/{certificateId}`
pub(super) async fn change(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
    body: RawBody,
) -> Response {
    let work = async {
        let entry = enter(&state, &headers, "signature:certificate:write").await?;
        let members = Members::read(body)?;
        members.check_time(&state)?;
        let reason = members.text("reason")?.unwrap_or_default().to_owned();
        let status = members.object("status")?;
        let code = match &status {
            Some(status) => {
                status.text("message")?;
                status.choice("code", CHANGES)?
            }
            None => None,
        };
        let request = pb::ChangeCertificateStatusRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            certificate_id: params.get("certificateId").unwrap_or_default().to_owned(),
            status: code
                .ok_or_else(|| SignFault::missing("status.code"))?
                .into(),
            reason,
        };
        let done = client(&state)
            .change_certificate_status(entry.request(request))
            .await?;
        let certificate = done.into_inner().certificate.unwrap_or_default();
        let code = match certificate.status() {
            pb::CertificateStatus::Active => "ACTIVATED",
            pb::CertificateStatus::Suspended => "SUSPENDED",
            pb::CertificateStatus::Revoked => "REVOKED",
            _ => "EXPIRED",
        };
        let answer = json!({
            "responseTimestamp": state.clock().now().to_string(),
            "status": {"code": code, "message": certificate.reason},
        });
        Ok(respond::json(StatusCode::OK, &answer))
    };
    finish(&state, &headers, work.await)
}
