//! Static pages, embedded in the binary: plain HTML, CSS and modules without a build step.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::get;

use crate::respond;

/// A file of a page.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

macro_rules! assets {
    ($($path:literal $kind:literal $file:literal,)*) => {
        &[$(Asset {
            path: $path,
            content_type: $kind,
            content: include_str!(concat!("../web/", $file)),
        },)*]
    };
}

const HTML: &str = "text/html; charset=utf-8";

static ASSETS: &[Asset] = assets! {
    "/" "text/html; charset=utf-8" "index.html",
    "/web/index.js" "text/javascript; charset=utf-8" "index.js",
    "/privacy" "text/html; charset=utf-8" "privacy/index.html",
    "/web/privacy.js" "text/javascript; charset=utf-8" "privacy/privacy.js",
    "/web/publica.css" "text/css; charset=utf-8" "publica.css",
};

/// Nothing from elsewhere, no inline script, no framing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' \
                      data: https:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// The pages on the shared listener.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        router.route(asset.path, get(move || std::future::ready(serve(asset))))
    })
}

fn serve(asset: &'static Asset) -> Response {
    page(asset.content_type, asset.content)
}

/// The look of every page, for surfaces that serve it under a path of their own.
pub fn look() -> Response {
    page(
        "text/css; charset=utf-8",
        include_str!("../web/publica.css"),
    )
}

/// An HTML page with the headers that every page carries.
pub fn html(content: &'static str) -> Response {
    page(HTML, content)
}

fn page(content_type: &'static str, content: &'static str) -> Response {
    let content_type = HeaderValue::from_static(content_type);
    let mut response = respond::bytes_answer(axum::http::StatusCode::OK, content_type, content);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    // Pages change with the binary; a browser asks again.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
