//! One-time signatures and the record of them, as published.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_proto::signature::v1 as pb;
use publica_proto::signature::v1::signing_service_client::SigningServiceClient;
use serde_json::{Value, json};

use super::error::SignFault;
use super::input::{Members, enter, finish, hash_bytes, pem};
use super::link;
use crate::body::{Params, QueryPairs, RawBody};
use crate::convert::{idempotency_key, parse_rfc3339, rfc3339};
use crate::respond;
use crate::state::GatewayState;

pub(super) const FORMATS: &[(&str, pb::SignatureFormat)] = &[
    ("XAdES", pb::SignatureFormat::Xades),
    ("CAdES", pb::SignatureFormat::Cades),
    ("ASIC", pb::SignatureFormat::Asic),
    ("JWS", pb::SignatureFormat::Jws),
    ("PAdES", pb::SignatureFormat::Pades),
];

pub(super) const HASHES: &[(&str, (pb::HashType, usize))] = &[
    ("SHA2-256", (pb::HashType::Sha2256, 32)),
    ("SHA2-384", (pb::HashType::Sha2384, 48)),
    ("SHA2-512", (pb::HashType::Sha2512, 64)),
    ("SHA3-256", (pb::HashType::Sha3256, 32)),
    ("SHA3-384", (pb::HashType::Sha3384, 48)),
    ("SHA3-512", (pb::HashType::Sha3512, 64)),
    ("BLAKE2B", (pb::HashType::Blake2b, 64)),
];

fn client(state: &GatewayState) -> SigningServiceClient<publica_rpc::Link> {
    SigningServiceClient::new(link(state)).max_decoding_message_size(super::MESSAGE_LIMIT)
}

/// `POST /v1/sign/onetime`
pub(super) async fn onetime(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let work = async {
        let entry = enter(&state, &headers, "signature:signature:write").await?;
        let members = Members::read(body)?;
        members.check_time(&state)?;
        let format = members.choice("format", FORMATS)?;
        let hash_type = members.choice("hashType", HASHES)?;
        let hash = match (members.text("hash")?, hash_type) {
            (Some(text), Some((_, length))) => {
                let bytes = hash_bytes(text, length);
                let fault = || SignFault::malformed("hash", "does not fit hashType");
                Some(bytes.ok_or_else(fault)?)
            }
            _ => None,
        };
        let display = members.text("dataToBeDisplayed")?.unwrap_or_default();
        let format = format.ok_or_else(|| SignFault::missing("format"))?;
        let hash_type = hash_type.ok_or_else(|| SignFault::missing("hashType"))?;
        let request = pb::SignHashRequest {
            request_id: idempotency_key(&headers).unwrap_or_default(),
            format: format.into(),
            hash_type: hash_type.0.into(),
            hash: hash.ok_or_else(|| SignFault::missing("hash"))?.into(),
            display_text: display.to_owned(),
        };
        let signed = client(&state).sign_hash(entry.request(request)).await?;
        let signature = signed.into_inner().signature.unwrap_or_default();
        Ok(respond::json(StatusCode::OK, &result(&state, &signature)))
    };
    finish(&state, &headers, work.await)
}

/// The result of signing.
fn result(state: &GatewayState, signature: &pb::Signature) -> Value {
    json!({
        "signatureId": signature.signature_id,
        "signature": STANDARD.encode(&signature.value),
        "certificate": pem(&signature.certificate),
        "certificateChain": signature.chain.iter().map(|der| pem(der)).collect::<Vec<_>>(),
        "responseTimestamp": state.clock().now().to_string(),
        "signatureTimestamp": STANDARD.encode(&signature.timestamp_token),
        "status": {"code": "OK", "message": "Signed."},
    })
}

/// `GET /v1/sign/response/{signatureId}`
pub(super) async fn response(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let work = async {
        let entry = enter(&state, &headers, "signature:signature:read").await?;
        let signature_id = params.get("signatureId").unwrap_or_default().to_owned();
        let request = pb::GetSignatureRequest { signature_id };
        let found = client(&state).get_signature(entry.request(request)).await?;
        let signature = found.into_inner().signature.unwrap_or_default();
        if signature.value.is_empty() {
            let message = "There is nothing with this id.";
            return Err(SignFault::new(
                StatusCode::NOT_FOUND,
                "signature_not_found",
                message,
            ));
        }
        Ok(respond::json(StatusCode::OK, &result(&state, &signature)))
    };
    finish(&state, &headers, work.await)
}

fn time(query: &QueryPairs, name: &str) -> Result<Option<prost_types::Timestamp>, SignFault> {
    let Some(text) = query.get(name) else {
        return Ok(None);
    };
    let fault = || SignFault::malformed(name, "an RFC 3339 time is expected");
    parse_rfc3339(text).map(Some).ok_or_else(fault)
}

/// `GET /v1/audit/log`
pub(super) async fn log(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let work = async {
        let entry = enter(&state, &headers, "signature:signature:read").await?;
        let limit = match query.get("limit") {
            Some(text) => {
                let limit = text
                    .parse::<i32>()
                    .ok()
                    .filter(|limit| (1..=1_000).contains(limit));
                limit.ok_or_else(|| SignFault::malformed("limit", "1 to 1000 is expected"))?
            }
            None => 1_000,
        };
        let request = pb::ListSignaturesRequest {
            start_time: time(&query, "start")?,
            end_time: time(&query, "end")?,
            page_size: limit,
            page_token: query.get("cursor").unwrap_or_default().to_owned(),
        };
        let found = client(&state)
            .list_signatures(entry.request(request))
            .await?
            .into_inner();
        let items: Vec<Value> = found.signatures.iter().map(log_item).collect();
        let mut response = respond::json(StatusCode::OK, &items);
        if !found.next_page_token.is_empty() {
            let mut next = form_urlencoded::Serializer::new(String::new());
            for (name, value) in query.iter().filter(|(name, _)| *name != "cursor") {
                next.append_pair(name, value);
            }
            next.append_pair("cursor", &found.next_page_token);
            let link = format!("<?{}>; rel=\"next\"", next.finish());
            if let Ok(link) = HeaderValue::try_from(link) {
                response.headers_mut().insert(header::LINK, link);
            }
        }
        Ok(response)
    };
    finish(&state, &headers, work.await)
}

fn log_item(signature: &pb::Signature) -> Value {
    let format = FORMATS
        .iter()
        .find(|(_, format)| *format == signature.format());
    let hash = HASHES
        .iter()
        .find(|(_, (kind, _))| *kind == signature.hash_type());
    let mut item = json!({
        "signatureType": "ONETIME",
        "signatureId": signature.signature_id,
        "format": format.map(|(name, _)| *name).unwrap_or_default(),
        "hashType": hash.map(|(name, _)| *name).unwrap_or_default(),
        "hash": STANDARD.encode(&signature.hash),
        "responseTimestamp": rfc3339(signature.sign_time.as_ref()).unwrap_or_default(),
        "status": {"code": "OK", "message": "Signed."},
    });
    // Auditors see that somebody signed, not with what.
    if !signature.value.is_empty() {
        item["signature"] = json!(STANDARD.encode(&signature.value));
        item["certificate"] = json!(pem(&signature.certificate));
        item["signatureTimestamp"] = json!(STANDARD.encode(&signature.timestamp_token));
    }
    item
}
