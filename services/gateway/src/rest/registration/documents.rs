//! Documents that applicants upload.

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use publica_proto::registration::v1 as pb;
use publica_proto::registration::v1::document_service_client::DocumentServiceClient;
use serde_json::{Value, json};

use super::UPLOAD_LIMIT;
use super::catalog::finish;
use super::error::SystemError;
use crate::body::{self, Params, QueryPairs};
use crate::convert::idempotency_key;
use crate::respond;
use crate::state::GatewayState;

/// The most documents in one call.
const MAX_FILES: usize = 20;

/// The largest document that the block takes, in bytes.
const MAX_DOCUMENT: usize = 3 * 1024 * 1024;

fn client(state: &GatewayState) -> DocumentServiceClient<publica_rpc::Link> {
    DocumentServiceClient::new(state.link("registration"))
        .max_encoding_message_size(UPLOAD_LIMIT)
        .max_decoding_message_size(UPLOAD_LIMIT)
}

struct Part {
    name: String,
    content: Bytes,
}

/// `POST /documents`
pub(super) async fn upload(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        let parts = parts(&headers, request).await?;
        if parts.is_empty() || parts.iter().any(|part| part.content.is_empty()) {
            return Err(SystemError::invalid(
                "/file",
                "a document with content is required",
            ));
        }
        if parts.iter().any(|part| part.content.len() > MAX_DOCUMENT) {
            let text = format!("a document has at most {MAX_DOCUMENT} bytes");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(SystemError::new(status, "document_too_large", text));
        }
        let key = idempotency_key(&headers);
        let mut documents: Vec<Value> = Vec::new();
        let mut ids: Vec<String> = Vec::new();
        for (at, part) in parts.into_iter().enumerate() {
            let message = pb::UploadDocumentRequest {
                request_id: key
                    .as_ref()
                    .map(|key| format!("{key}-{at}"))
                    .unwrap_or_default(),
                content: part.content,
                file_name: part.name,
            };
            let stored = client(&state)
                .upload_document(entry.request(message))
                .await?;
            let stored = stored.into_inner();
            documents.push(json!({
                "type": stored.media_type,
                "url": format!("/documents/{}", stored.document_id),
            }));
            ids.push(stored.document_id);
        }
        // The reference to several documents names them all.
        let kind = match documents.as_slice() {
            [one] => one["type"].clone(),
            _ => json!("multipart/mixed"),
        };
        let mut answer = json!({
            "code": 200,
            "type": kind,
            "url": format!("/documents/{}", ids.join(",")),
            "message": format!("{} stored", documents.len()),
        });
        if documents.len() > 1 {
            answer["documents"] = Value::Array(documents);
        }
        Ok(respond::json(StatusCode::OK, &answer))
    };
    finish(&headers, work.await)
}

async fn parts(headers: &HeaderMap, request: Request) -> Result<Vec<Part>, SystemError> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    if content_type.starts_with("multipart/form-data") {
        return multipart(&content_type, request).await;
    }
    let bytes = body::read(request, UPLOAD_LIMIT).await?;
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        return Err(SystemError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "multipart/form-data or application/x-www-form-urlencoded is expected",
        ));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| body::BodyFault::NotUtf8)?;
    let pairs = QueryPairs::parse(text);
    if pairs.all("file").count() > MAX_FILES {
        return Err(too_many());
    }
    pairs
        .all("file")
        .map(|text| {
            let content = STANDARD
                .decode(text.replace(' ', "+"))
                .map_err(|_| SystemError::invalid("/file", "base64 is expected"))?;
            Ok(Part {
                name: String::new(),
                content: content.into(),
            })
        })
        .collect()
}

async fn multipart(content_type: &str, request: Request) -> Result<Vec<Part>, SystemError> {
    let malformed = |_| SystemError::invalid("/file", "the multipart body is malformed");
    let boundary = multer::parse_boundary(content_type).map_err(malformed)?;
    let limit = u64::try_from(UPLOAD_LIMIT).unwrap_or(u64::MAX);
    let limits = multer::SizeLimit::new().whole_stream(limit);
    let mut reader = multer::Multipart::with_constraints(
        request.into_body().into_data_stream(),
        boundary,
        multer::Constraints::new().size_limit(limits),
    );
    let mut parts = Vec::new();
    while let Some(field) = reader.next_field().await.map_err(too_large_or_malformed)? {
        if field.name() != Some("file") {
            continue;
        }
        if parts.len() == MAX_FILES {
            return Err(too_many());
        }
        let encoding = field.headers().get("content-transfer-encoding");
        // A part without a file's name is a text member, which is published as base64.
        let encoded = match encoding {
            Some(value) => value.as_bytes().eq_ignore_ascii_case(b"base64"),
            None => field.file_name().is_none(),
        };
        let name = field.file_name().unwrap_or_default().to_owned();
        let mut content = field.bytes().await.map_err(too_large_or_malformed)?;
        if encoded {
            let text: Vec<u8> = content
                .iter()
                .copied()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect();
            content = STANDARD
                .decode(text)
                .map_err(|_| SystemError::invalid("/file", "base64 is expected"))?
                .into();
        }
        parts.push(Part { name, content });
    }
    Ok(parts)
}

fn too_many() -> SystemError {
    SystemError::invalid("/file", &format!("at most {MAX_FILES} documents"))
}

fn too_large_or_malformed(error: multer::Error) -> SystemError {
    match error {
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => {
            body::BodyFault::TooLarge.into()
        }
        _ => SystemError::invalid("/file", "the multipart body is malformed"),
    }
}

/// `GET /documents/{documentId}`: always a download, whatever its type. Several documents come
/// as the parts of one body.
pub(super) async fn read(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        let named = params.id("documentId");
        let ids: Vec<&str> = named.split(',').take(MAX_FILES + 1).collect();
        if ids.len() > MAX_FILES {
            return Err(SystemError::not_found("document_not_found"));
        }
        let mut found = Vec::new();
        for id in ids {
            let document_id = id.to_owned();
            let request = entry.request(pb::GetDocumentRequest { document_id });
            found.push(client(&state).get_document(request).await?.into_inner());
        }
        let (media_type, content) = match found.len() {
            1 => found
                .pop()
                .map(|one| (one.media_type, one.content))
                .unwrap_or_default(),
            _ => mixed(&state, &found),
        };
        let content_type = HeaderValue::try_from(media_type)
            .unwrap_or(HeaderValue::from_static("application/octet-stream"));
        let mut response = respond::bytes_answer(StatusCode::OK, content_type, content);
        response.headers_mut().insert(
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment"),
        );
        Ok(response)
    };
    finish(&headers, work.await)
}

/// Documents as `multipart/mixed`, and that media type.
fn mixed(state: &GatewayState, documents: &[pb::GetDocumentResponse]) -> (String, Bytes) {
    // So many random bits are in no document that was uploaded before.
    let mut bytes = [0_u8; 24];
    state.entropy().fill(&mut bytes);
    let boundary = URL_SAFE_NO_PAD.encode(bytes);
    let mut body = Vec::new();
    for document in documents {
        let head = format!(
            "--{boundary}\r\ncontent-type: {}\r\n\r\n",
            document.media_type
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&document.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/mixed; boundary={boundary}"), body.into())
}
