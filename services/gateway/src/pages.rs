//! Static pages, embedded in the binary: plain HTML, CSS and modules without a build step.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
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
    ($($path:literal $kind:ident $file:literal,)*) => {
        &[$(Asset {
            path: $path,
            content_type: $kind,
            content: include_str!(concat!("../web/", $file)),
        },)*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const JS: &str = "text/javascript; charset=utf-8";

static ASSETS: &[Asset] = assets! {
    "/" HTML "index.html",
    "/web/index.js" JS "index.js",
    "/privacy" HTML "privacy/index.html",
    "/web/privacy.js" JS "privacy/privacy.js",
    "/web/privacy-history.js" JS "privacy/history.js",
    "/web/privacy-facts.js" JS "privacy/facts.js",
    "/web/privacy-objection.js" JS "privacy/objection.js",
    "/web/privacy-offers.js" JS "privacy/offers.js",
    "/web/privacy-others.js" JS "privacy/others.js",
    "/web/privacy-text.js" JS "privacy/text.js",
    "/admin/consent" HTML "consent/index.html",
    "/web/consent.js" JS "consent/consent.js",
    "/web/consent-gaps.js" JS "consent/gaps.js",
    "/web/consent-difference.js" JS "consent/difference.js",
    "/web/consent-rows.js" JS "consent/rows.js",
    "/web/consent-webhooks.js" JS "consent/webhooks.js",
    "/admin/messaging" HTML "messaging/index.html",
    "/web/messaging.js" JS "messaging/messaging.js",
    "/web/sign_in.js" JS "sign_in.js",
    "/web/page.js" JS "page.js",
    "/web/publica.css" CSS "publica.css",
    "/web/logo.svg" SVG "logo.svg",
};

/// Nothing from elsewhere, no inline script, no framing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// What a page may ask of the device: nothing that ours need.
const PERMISSIONS: &str = "camera=(), microphone=(), geolocation=(), payment=(), usb=()";

/// The pages on the shared listener.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        router.route(asset.path, get(move || std::future::ready(serve(asset))))
    })
}

fn serve(asset: &'static Asset) -> Response {
    page(asset.content_type, asset.content)
}

/// An HTML page with the headers that every page carries.
pub fn html(content: &'static str) -> Response {
    page(HTML, content)
}

/// The shared look, for pages that are served somewhere else.
pub fn look() -> Response {
    page(CSS, include_str!("../web/publica.css"))
}

/// A module for pages that are served somewhere else.
pub fn module(content: &'static str) -> Response {
    page(JS, content)
}

/// An HTML page made for one request, which nobody keeps. Its forms may lead to `target` as
/// well, a source of a content security policy; browsers hold redirects after a form to that.
pub fn rendered(status: StatusCode, content: String, target: &str) -> Response {
    let mut response = page(HTML, content);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let policy = POLICY.replace(
        "form-action 'self'",
        format!("form-action 'self' {target}").trim_end(),
    );
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn page(content_type: &'static str, content: impl Into<Body>) -> Response {
    let content_type = HeaderValue::from_static(content_type);
    let mut response = respond::bytes_answer(StatusCode::OK, content_type, content);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert("permissions-policy", HeaderValue::from_static(PERMISSIONS));
    // A window that another site opened, or opens, cannot reach into ours.
    headers.insert(
        "cross-origin-opener-policy",
        HeaderValue::from_static("same-origin"),
    );
    // Pages change with the binary; a browser asks again.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
