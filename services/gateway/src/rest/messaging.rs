//! The messaging surface as GovStack publishes it, at the root and under `/v1`, and a few
//! native paths beside it.

mod callback;
mod error;
mod native;
mod operations;
mod reports;
mod send;
mod shapes;
mod sms;
mod status;
mod unsubscribe;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{any, get, post};

use crate::description::Operation;
use crate::rest::Surface;
use crate::state::{Entry, EntryFault, GatewayState};
use crate::{body, respond};

use error::{Code, Refusal};

/// The surface.
pub(crate) const SURFACE: Surface = Surface {
    block: "messaging",
    router,
    operations: OPERATIONS,
    services: &[
        "publica.messaging.v1.MessageService",
        "publica.messaging.v1.TemplateService",
        "publica.messaging.v1.SuppressionService",
        "publica.messaging.v1.ChannelService",
        "publica.messaging.v1.DeliveryService",
        "publica.messaging.v1.SmsService",
        "publica.messaging.v1.InboundService",
    ],
};

const OPERATIONS: &[Operation] = &[
    Operation::published("POST", "/send/email/single", "Send one e-mail"),
    Operation::published("POST", "/send/email/batch", "Send one e-mail a recipient"),
    Operation::published("POST", "/callback/email", "Take in an answer to a request"),
    Operation::published("GET", "/status/email", "Messages of a request by state"),
    Operation::native("POST", "/send/sms/single", "Send one short message"),
    Operation::native(
        "POST",
        "/send/sms/batch",
        "Send one short message a recipient",
    ),
    Operation::native("POST", "/callback/sms", "Take in an answer to a request"),
    Operation::native("GET", "/status/sms", "Messages of a request by state"),
    Operation::native(
        "POST",
        "/reports/sms/{provider}",
        "Take in what a provider of short messages reports",
    ),
    Operation::native(
        "POST",
        "/unsubscribe/{token}",
        "End messages, by the link of a mail",
    ),
    Operation::native("GET", "/api/v1/requests", "Requests, the newest first"),
    Operation::native(
        "GET",
        "/api/v1/requests/{requestUid}",
        "Messages of a request by state",
    ),
    Operation::native(
        "GET",
        "/api/v1/requests/{requestUid}/events",
        "Steps of the messages of a request",
    ),
    Operation::native(
        "POST",
        "/api/v1/requests/{requestUid}/cancel",
        "Stop what was not sent yet",
    ),
    Operation::native(
        "POST",
        "/api/v1/requests/{requestUid}/pause",
        "Hold up what was not sent yet",
    ),
    Operation::native(
        "POST",
        "/api/v1/requests/{requestUid}/resume",
        "Let a request go on",
    ),
    Operation::native(
        "GET",
        "/api/v1/requests/{requestUid}/dead-letters",
        "Failed messages that can be sent again",
    ),
    Operation::native(
        "POST",
        "/api/v1/requests/{requestUid}/redrive",
        "Send failed messages again",
    ),
];

/// Methods that a sending path has.
const POSTS: &str = "POST, OPTIONS";
/// Methods that a reading path has.
const GETS: &str = "GET, HEAD, OPTIONS";
/// A body that comes with a wrong method is read up to here, so that the connection stays
/// usable.
const DRAIN_MAX: usize = 1024 * 1024;

fn router(state: GatewayState) -> Router {
    let mut router = Router::new();
    for base in ["", "/v1"] {
        router = router
            .route(
                &format!("{base}/send/email/single"),
                posts(post(send::single)),
            )
            .route(
                &format!("{base}/send/email/batch"),
                posts(post(send::batch)),
            )
            .route(
                &format!("{base}/callback/email"),
                posts(post(callback::email)),
            )
            .route(&format!("{base}/status/email"), gets(get(status::email)))
            .route(&format!("{base}/send/sms/single"), posts(post(sms::single)))
            .route(&format!("{base}/send/sms/batch"), posts(post(sms::batch)))
            .route(&format!("{base}/callback/sms"), posts(post(callback::sms)))
            .route(&format!("{base}/status/sms"), gets(get(status::sms)))
            .route(&format!("{base}/send/{{channel}}/single"), any(not_set_up))
            .route(&format!("{base}/send/{{channel}}/batch"), any(not_set_up))
            .route(&format!("{base}/callback/{{channel}}"), any(not_set_up))
            .route(&format!("{base}/status/{{channel}}"), any(not_set_up));
    }
    router
        .route("/unsubscribe/publica.css", get(unsubscribe::look))
        .route(
            "/unsubscribe/{token}",
            get(unsubscribe::ask).post(unsubscribe::end),
        )
        .route("/reports/sms/{provider}", post(reports::receive))
        .merge(operations::router())
        .route("/api/v1/requests/{requestUid}", get(native::status))
        .route("/api/v1/requests/{requestUid}/events", get(native::events))
        .route("/api/v1/requests/{requestUid}/cancel", post(native::cancel))
        .method_not_allowed_fallback(|headers: HeaderMap, method: Method| async move {
            Refusal::method(&method, "").answer(&headers)
        })
        .fallback(|headers: HeaderMap| async move {
            Refusal::new(
                StatusCode::NOT_FOUND,
                Code::UnknownPath,
                "There is nothing here.",
            )
            .answer(&headers)
        })
        .with_state(state)
}

fn posts(
    handler: axum::routing::MethodRouter<GatewayState>,
) -> axum::routing::MethodRouter<GatewayState> {
    handler.fallback(|request: Request| other_method(request, POSTS))
}

fn gets(
    handler: axum::routing::MethodRouter<GatewayState>,
) -> axum::routing::MethodRouter<GatewayState> {
    handler.fallback(|request: Request| other_method(request, GETS))
}

/// A method that a known path does not have.
async fn other_method(request: Request, allow: &'static str) -> Response {
    if request.method() == Method::OPTIONS {
        let mut response = respond::empty(StatusCode::NO_CONTENT);
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static(allow));
        return response;
    }
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let _ = body::read(request, DRAIN_MAX).await;
    Refusal::method(&method, allow).answer(&headers)
}

/// A channel that this installation does not have.
async fn not_set_up(headers: HeaderMap) -> Response {
    Refusal::not_set_up("There is no such channel here; e-mail and short messages are.")
        .answer(&headers)
}

/// Finds out who calls. A call that names nobody is refused as this specification wants it.
async fn enter(
    state: &GatewayState,
    headers: &HeaderMap,
    allow: &'static str,
) -> Result<Entry, Refusal> {
    const KEYS: [&str; 3] = ["apikey", "api_key", "x-api-key"];
    let present = |name: &str| headers.get(name).is_some_and(|value| !value.is_empty());
    let key = KEYS.into_iter().any(present);
    if !key && !present(header::AUTHORIZATION.as_str()) {
        return Err(Refusal::input(
            Code::MissingApiKey,
            "The header apiKey is required.",
            allow,
        ));
    }
    let twice = |name: &&&str| headers.get_all(**name).iter().nth(1).is_some();
    if let Some(name) = KEYS.iter().find(twice) {
        let what = format!("The header {name} is sent more than once.");
        return Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            Code::InvalidApiKey,
            what,
        ));
    }
    let entered = if key && state.profile() == publica_host::Profile::Conformance {
        // The published suite's keys are known to nobody; whoever sends one has the role of
        // the anonymous.
        let mut bare = headers.clone();
        for name in KEYS {
            bare.remove(name);
        }
        state.enter(&bare).await
    } else {
        state.enter(headers).await
    };
    entered.map_err(|fault| match fault {
        EntryFault::Unavailable => Refusal::unavailable(),
        _ => Refusal::new(
            StatusCode::UNAUTHORIZED,
            Code::InvalidApiKey,
            "The credentials are not valid.",
        ),
    })
}

/// The handle in the header `requestUid`.
fn request_uid(headers: &HeaderMap, allow: &'static str) -> Result<String, Refusal> {
    let value = headers
        .get("requestuid")
        .and_then(|value| value.to_str().ok());
    match value.map(str::trim) {
        Some(uid) if !uid.is_empty() => Ok(uid.to_owned()),
        _ => Err(Refusal::input(
            Code::MissingRequestUid,
            "The header requestUid is required.",
            allow,
        )),
    }
}
