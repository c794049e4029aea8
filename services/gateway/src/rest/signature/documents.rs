//! Sealing and judging whole documents, on the native paths.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_proto::signature::v1 as pb;
use publica_proto::signature::v1::signing_service_client::SigningServiceClient;
use publica_proto::signature::v1::validation_service_client::ValidationServiceClient;
use serde::Deserialize;
use serde_json::{Value, json};

use super::credentials::{body_problem, finish, let_in, status_problem};
use super::input::{hash_bytes, pem};
use super::signing::{FORMATS, HASHES};
use super::{DOCUMENT_LIMIT, MESSAGE_LIMIT, link};
use crate::body::{self, QueryPairs};
use crate::convert::{idempotency_key, rfc3339};
use crate::problem::Problem;
use crate::respond;
use crate::state::GatewayState;

const SIGNATURE_ID: HeaderName = HeaderName::from_static("x-signature-id");
const PDF: HeaderValue = HeaderValue::from_static("application/pdf");

fn client(state: &GatewayState) -> SigningServiceClient<publica_rpc::Link> {
    SigningServiceClient::new(link(state))
        .max_encoding_message_size(MESSAGE_LIMIT)
        .max_decoding_message_size(MESSAGE_LIMIT)
}

fn bad(code: &str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, code, detail)
}

fn check_pdf(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/pdf")) {
        return Ok(());
    }
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(Problem::new(
        status,
        "UNSUPPORTED_MEDIA_TYPE",
        "application/pdf is expected",
    ))
}

/// `POST /v1/documents:sign`
pub(super) async fn sign(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
    request: Request,
) -> Response {
    let work = async {
        let entry = let_in(&state, &headers).await?;
        check_pdf(&headers)?;
        let document = body::read(request, DOCUMENT_LIMIT)
            .await
            .map_err(body_problem)?;
        let text = |name: &str| query.get(name).unwrap_or_default().to_owned();
        let request = pb::SealDocumentsRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            credential_id: text("credentialId"),
            documents: vec![document],
            reason: text("reason"),
            location: text("location"),
        };
        let done = client(&state).seal_documents(entry.request(request)).await;
        let done = done.map_err(status_problem)?.into_inner();
        let item = done.items.into_iter().next().unwrap_or_default();
        if !item.error.is_empty() {
            return Err(bad(&item.error, "The document cannot be sealed."));
        }
        let mut response = respond::bytes_answer(StatusCode::OK, PDF, item.document);
        if let Ok(id) = HeaderValue::try_from(item.signature_id) {
            response.headers_mut().insert(SIGNATURE_ID, id);
        }
        Ok(response)
    };
    finish(work.await)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    #[serde(default)]
    credential_id: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    location: String,
    documents: Vec<BatchItem>,
}

#[derive(Debug, Deserialize)]
struct BatchItem {
    #[serde(default)]
    id: String,
    content: String,
}

/// `POST /v1/documents:batchSign`
pub(super) async fn sign_batch(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let work = async {
        let entry = let_in(&state, &headers).await?;
        let bytes = body::read(request, MESSAGE_LIMIT)
            .await
            .map_err(body_problem)?;
        let batch: Batch = body::parse(&bytes).map_err(body_problem)?;
        let mut ids = Vec::with_capacity(batch.documents.len());
        let mut documents = Vec::with_capacity(batch.documents.len());
        for (at, item) in batch.documents.into_iter().enumerate() {
            let content = STANDARD.decode(item.content).map_err(|_| {
                bad(
                    "MALFORMED_BODY",
                    format!("documents[{at}].content: base64 is expected"),
                )
            })?;
            ids.push(item.id);
            documents.push(content.into());
        }
        let request = pb::SealDocumentsRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            credential_id: batch.credential_id,
            documents,
            reason: batch.reason,
            location: batch.location,
        };
        let done = client(&state).seal_documents(entry.request(request)).await;
        let done = done.map_err(status_problem)?.into_inner();
        let items: Vec<Value> = done
            .items
            .iter()
            .zip(ids)
            .map(|(item, id)| {
                let mut shape = sealed(&item.signature_id, &item.error);
                shape["id"] = json!(id);
                if item.error.is_empty() {
                    shape["content"] = json!(STANDARD.encode(&item.document));
                }
                shape
            })
            .collect();
        let answer = json!({"certificateId": done.certificate_id, "documents": items});
        Ok(respond::json(StatusCode::OK, &answer))
    };
    finish(work.await)
}

fn sealed(signature_id: &str, error: &str) -> Value {
    if error.is_empty() {
        json!({"signatureId": signature_id, "status": {"code": "OK", "message": "Sealed."}})
    } else {
        json!({"status": {"code": "ERROR", "message": error}})
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HashBatch {
    #[serde(default)]
    credential_id: String,
    format: String,
    hash_type: String,
    hashes: Vec<String>,
}

/// `POST /v1/hashes:batchSign`
pub(super) async fn sign_hashes(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let work = async {
        let entry = let_in(&state, &headers).await?;
        let bytes = body::read(request, body::BODY_LIMIT)
            .await
            .map_err(body_problem)?;
        let batch: HashBatch = body::parse(&bytes).map_err(body_problem)?;
        let format = FORMATS.iter().find(|(name, _)| *name == batch.format);
        let kind = HASHES.iter().find(|(name, _)| *name == batch.hash_type);
        let (Some((_, format)), Some((_, (kind, length)))) = (format, kind) else {
            return Err(bad(
                "MALFORMED_BODY",
                "format and hashType must be known ones",
            ));
        };
        let hashes: Option<Vec<_>> = batch
            .hashes
            .iter()
            .map(|text| hash_bytes(text, *length).map(Into::into))
            .collect();
        let request = pb::SealHashesRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            credential_id: batch.credential_id,
            format: (*format).into(),
            hash_type: (*kind).into(),
            hashes: hashes.ok_or_else(|| bad("MALFORMED_BODY", "a hash does not fit hashType"))?,
        };
        let done = client(&state).seal_hashes(entry.request(request)).await;
        let items = done.map_err(status_problem)?.into_inner().items;
        let shapes = items.iter().map(|item| {
            let mut shape = sealed(&item.signature_id, &item.error);
            if item.error.is_empty() {
                shape["signature"] = json!(STANDARD.encode(&item.value));
            }
            shape
        });
        let answer = json!({"signatures": shapes.collect::<Vec<_>>()});
        Ok(respond::json(StatusCode::OK, &answer))
    };
    finish(work.await)
}

/// `POST /v1/documents:validate`
pub(super) async fn validate(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let work = async {
        let entry = let_in(&state, &headers).await?;
        check_pdf(&headers)?;
        let document = body::read(request, DOCUMENT_LIMIT)
            .await
            .map_err(body_problem)?;
        let mut client =
            ValidationServiceClient::new(link(&state)).max_encoding_message_size(MESSAGE_LIMIT);
        let request = entry.request(pb::ValidateDocumentRequest { document });
        let found = client
            .validate_document(request)
            .await
            .map_err(status_problem)?;
        let signatures = found.into_inner().signatures;
        let passed =
            |report: &pb::SignatureReport| report.indication() == pb::Indication::TotalPassed;
        let answer = json!({
            "signatureCount": signatures.len(),
            "validSignatureCount": signatures.iter().filter(|report| passed(report)).count(),
            "signatures": signatures.iter().map(report).collect::<Vec<_>>(),
            "validationTime": state.clock().now().to_string(),
        });
        Ok(respond::json(StatusCode::OK, &answer))
    };
    finish(work.await)
}

fn report(report: &pb::SignatureReport) -> Value {
    let indication = match report.indication() {
        pb::Indication::TotalPassed => "TOTAL-PASSED",
        pb::Indication::TotalFailed => "TOTAL-FAILED",
        _ => "INDETERMINATE",
    };
    let mut shape = json!({
        "field": report.field,
        "subFilter": report.sub_filter,
        "indication": indication,
        "reasons": report.reasons,
        "intact": report.intact,
        "trusted": report.trusted,
        "coversWholeFile": report.covers_whole_file,
        "timestamped": report.timestamped,
        "level": report.level,
        "signer": report.signer,
    });
    if !report.sub_indication.is_empty() {
        shape["subIndication"] = json!(report.sub_indication);
    }
    if !report.certificate.is_empty() {
        shape["certificate"] = json!(pem(&report.certificate));
    }
    let times = [
        ("timestampTime", &report.timestamp_time),
        ("claimedTime", &report.claimed_time),
    ];
    for (name, time) in times {
        if let Some(time) = rfc3339(time.as_ref()) {
            shape[name] = json!(time);
        }
    }
    shape
}
