//! Answers: JSON in UTF-8, and problem documents for the native surface.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

/// The media type of every JSON answer; published suites compare it to the letter.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// The media type of a problem document (RFC 9457).
pub const PROBLEM_JSON: HeaderValue =
    HeaderValue::from_static("application/problem+json; charset=utf-8");

/// An answer with a JSON body.
pub fn json<T: Serialize + ?Sized>(status: StatusCode, body: &T) -> Response {
    typed(status, JSON, body)
}

/// An answer with a body in another JSON media type.
pub fn typed<T: Serialize + ?Sized>(
    status: StatusCode,
    content_type: HeaderValue,
    body: &T,
) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => bytes_answer(status, content_type, bytes),
        Err(error) => {
            tracing::error!(error = %error, "an answer could not be written as JSON");
            bytes_answer(
                StatusCode::INTERNAL_SERVER_ERROR,
                PROBLEM_JSON,
                br#"{"type":"about:blank","title":"Internal Server Error","status":500}"#.to_vec(),
            )
        }
    }
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An answer from bytes that are already in their media type.
pub fn bytes_answer(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Body>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}
