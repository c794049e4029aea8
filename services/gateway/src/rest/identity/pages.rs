//! The log-in pages: one question a page, each a form that works without a script. A step is a
//! POST that answers with a redirect to the page of the next one.
//!
//! Parts: `language` has the texts, `sheet` puts a page together, `flow` is what a browser keeps
//! for us between two steps, `shown` are the pages.

pub(super) mod flow;
mod language;
mod sheet;
mod shown;

use std::time::Duration;

use axum::extract::{OriginalUri, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::sign_in_service_client::SignInServiceClient;
use publica_rpc::Link;
use publica_types::Timestamp;
use tonic::Status;
use tonic_types::StatusExt as _;

use self::flow::Flow;
use self::language::Language;
use super::authorize::{from_query, with_code, with_refusal};
use super::login::address;
use crate::body::{Params, QueryPairs, RawBody};
use crate::respond;
use crate::state::GatewayState;

/// What a page is made for.
pub(super) struct Visit {
    pub(super) state: GatewayState,
    pub(super) headers: HeaderMap,
    /// What addresses of these pages begin with.
    pub(super) root: String,
    pub(super) query: QueryPairs,
}

impl Visit {
    fn new(state: GatewayState, headers: HeaderMap, uri: &Uri) -> Self {
        Self {
            root: flow::root(uri),
            query: QueryPairs::parse(uri.query().unwrap_or_default()),
            state,
            headers,
        }
    }

    fn now(&self) -> Timestamp {
        self.state.clock().now()
    }

    fn service(&self) -> SignInServiceClient<Link> {
        SignInServiceClient::new(self.state.own_link("identity"))
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        self.state.own_request(&self.headers, message)
    }

    /// The language of a page that belongs to no sign-in yet.
    fn language(&self) -> &'static Language {
        let asked = self.query.get("ui_locales").unwrap_or_default();
        Language::choose(asked, flow::chosen_language(&self.headers), &self.headers)
    }

    /// The problem that an earlier step found, as its key.
    fn problem(&self) -> Option<&str> {
        self.query.get("problem")
    }

    fn see(&self, path: &str) -> Response {
        see_other(&format!("{}{path}", self.root))
    }

    fn page_of(&self, flow: &Flow, step: &str) -> Response {
        let answer = self.see(&format!("/login/{}/{step}", flow.id));
        self.keep(answer, flow)
    }

    /// Has the browser keep the flow.
    fn keep(&self, mut answer: Response, flow: &Flow) -> Response {
        if let Some(cookie) = flow.cookie(&self.state, &self.root) {
            answer.headers_mut().append(header::SET_COOKIE, cookie);
        }
        answer
    }
}

/// The first page, for a request that was found good.
pub(super) fn first(
    state: GatewayState,
    headers: HeaderMap,
    uri: &Uri,
    client_name: &str,
    redirect_uri: &str,
) -> Response {
    let visit = Visit::new(state, headers, uri);
    let token = flow::form_token(&visit.headers).unwrap_or_else(|| flow::new_token(&visit.state));
    let mut answer = shown::start(&visit, client_name, redirect_uri, &token);
    if let Some(cookie) = flow::form_cookie(&visit.state, &visit.root, &token) {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    // Asking for a language by a link is how a person chooses one.
    if visit.query.get("ui_locales").is_some() && visit.query.get("chosen").is_some() {
        choose(&visit, &mut answer, visit.language());
    }
    answer
}

/// The page for a request that cannot be trusted: nothing of it is followed or shown.
pub(super) fn broken(state: GatewayState, headers: HeaderMap, uri: &Uri) -> Response {
    shown::plain(&Visit::new(state, headers, uri), StatusCode::OK, "broken")
}

/// The page for when the block cannot be asked.
pub(super) fn trouble(state: GatewayState, headers: HeaderMap, uri: &Uri) -> Response {
    let visit = Visit::new(state, headers, uri);
    shown::plain(&visit, StatusCode::SERVICE_UNAVAILABLE, "trouble")
}

fn choose(visit: &Visit, answer: &mut Response, language: &Language) {
    let cookie = flow::language_cookie(&visit.state, &visit.root, language.code);
    if let Some(cookie) = cookie {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// `POST /login/start`: the first form.
pub(super) async fn start(
    State(state): State<GatewayState>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    extensions: Extensions,
    body: RawBody,
) -> Response {
    let mut visit = Visit::new(state, headers, &uri);
    let form = form_of(body);
    let request = form.get("request").unwrap_or_default();
    visit.query = QueryPairs::parse(request);
    let token = flow::form_token(&visit.headers);
    if token.is_none() || token.as_deref() != form.get("form") {
        return shown::plain(&visit, StatusCode::OK, "over");
    }
    let typed = form.get("individual-id").unwrap_or_default().trim();
    let cancelled = form.get("act") == Some("cancel");
    if typed.is_empty() && !cancelled {
        let query = shown::request_with(&visit.query, &[("problem", "identifier")]);
        return visit.see(&format!("/authorize?{query}"));
    }
    let message = pb::StartSignInRequest {
        parameters: Some(from_query(&visit.query)),
    };
    let begun = match visit.service().start_sign_in(visit.request(message)).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if is_away(&status) => {
            return shown::plain(&visit, StatusCode::SERVICE_UNAVAILABLE, "trouble");
        }
        Err(_) => return shown::plain(&visit, StatusCode::OK, "broken"),
    };
    let flow = begin(&visit, &begun);
    if cancelled {
        return cancel_flow(&visit, flow).await;
    }
    send(&visit, flow, typed.to_owned(), &extensions, "identifier").await
}

fn begin(visit: &Visit, begun: &pb::StartSignInResponse) -> Flow {
    let count = |number: i32| u32::try_from(number).unwrap_or_default();
    let until = publica_rpc::from_timestamp("expire_time", &begun.expire_time.unwrap_or_default());
    let page = until.map_or(Duration::ZERO, |until| until.since(visit.now()));
    Flow {
        id: flow::new_id(&visit.state),
        transaction_id: begun.transaction_id.clone(),
        form: flow::new_token(&visit.state),
        client_name: begun.client_name.clone(),
        target: flow::target(&begun.redirect_uri),
        language: visit.language().code.to_owned(),
        code_lifetime: count(begun.code_lifetime_seconds),
        code_length: count(begun.code_length),
        resend_delay: count(begun.resend_delay_seconds),
        page_seconds: u32::try_from(page.as_secs()).unwrap_or(u32::MAX),
        ..Flow::default()
    }
}

/// Asks for a code, and shows where to enter it.
async fn send(
    visit: &Visit,
    mut flow: Flow,
    typed: String,
    extensions: &Extensions,
    page: &str,
) -> Response {
    let message = pb::SendCodeRequest {
        transaction_id: flow.transaction_id.clone(),
        individual_id: typed.clone(),
        channels: vec!["email".to_owned()],
        client_address: address(extensions),
        details_hash: String::new(),
    };
    flow.typed = typed;
    match visit.service().send_code(visit.request(message)).await {
        Ok(answer) => {
            flow.masked = answer.into_inner().masked_email;
            flow.sent = visit.now().seconds();
            flow.locked_until = None;
            let again = if page == "code" {
                "code?sent=again"
            } else {
                "code"
            };
            visit.page_of(&flow, again)
        }
        Err(status) => match reason(&status).as_str() {
            "TOO_MANY_CODES" => {
                let answer = shown::too_many(visit, &flow, page);
                visit.keep(answer, &flow)
            }
            "INVALID_IDENTIFIER" => visit.page_of(&flow, "identifier?problem=identifier"),
            "INVALID_TRANSACTION" => visit.page_of(&flow, "over"),
            "SEND_OTP_FAILED" => visit.page_of(&flow, &format!("{page}?problem=send")),
            _ => visit.page_of(&flow, &format!("{page}?problem=service")),
        },
    }
}

/// `GET /login/{flow}/{step}`: the page of a step.
pub(super) async fn step(
    State(state): State<GatewayState>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let visit = Visit::new(state, headers, &uri);
    let id = params.get("flow").unwrap_or_default();
    let Some(mut flow) = Flow::open(&visit.state, &visit.headers, id) else {
        return shown::plain(&visit, StatusCode::OK, "over");
    };
    let chosen = visit.query.get("ui_locales").and_then(Language::of);
    if let Some(chosen) = chosen {
        flow.language = chosen.code.to_owned();
    }
    let mut answer = show(&visit, &flow, params.get("step").unwrap_or_default()).await;
    if let Some(chosen) = chosen {
        choose(&visit, &mut answer, chosen);
        answer = visit.keep(answer, &flow);
    }
    answer
}

async fn show(visit: &Visit, flow: &Flow, step: &str) -> Response {
    if flow.over {
        return shown::plain_in(visit, flow, "used");
    }
    let locked = flow.locked_until(visit.now());
    match (step, locked) {
        ("identifier", _) => shown::identifier(visit, flow),
        ("code" | "locked", Some(end)) => shown::locked(visit, flow, end),
        ("code", None) if !flow.masked.is_empty() => shown::code(visit, flow),
        ("locked", None) => visit.see(&format!("/login/{}/identifier", flow.id)),
        ("consent", _) => consent(visit, flow).await,
        ("code", None) => visit.see(&format!("/login/{}/identifier", flow.id)),
        _ => shown::plain_in(visit, flow, "over"),
    }
}

async fn consent(visit: &Visit, flow: &Flow) -> Response {
    let message = pb::GetConsentDetailsRequest {
        transaction_id: flow.transaction_id.clone(),
        details_hash: String::new(),
    };
    let mut service = visit.service();
    match service.get_consent_details(visit.request(message)).await {
        Ok(answer) => shown::consent(visit, flow, &answer.into_inner().claims),
        Err(status) if is_away(&status) => shown::plain_in(visit, flow, "trouble"),
        Err(_) => shown::plain_in(visit, flow, "over"),
    }
}

/// `POST /login/{flow}/{step}`: the form of a step.
pub(super) async fn act(
    State(state): State<GatewayState>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    extensions: Extensions,
    params: Params,
    body: RawBody,
) -> Response {
    let visit = Visit::new(state, headers, &uri);
    let form = form_of(body);
    let id = params.get("flow").unwrap_or_default();
    let flow = Flow::open(&visit.state, &visit.headers, id)
        .filter(|flow| form.get("form") == Some(flow.form.as_str()));
    let Some(flow) = flow else {
        return shown::plain(&visit, StatusCode::OK, "over");
    };
    if flow.over {
        return visit.page_of(&flow, "used");
    }
    match (params.get("step").unwrap_or_default(), form.get("act")) {
        ("cancel", _) | (_, Some("cancel" | "refuse")) => cancel_flow(&visit, flow).await,
        ("identifier", _) => {
            let typed = form.get("individual-id").unwrap_or_default().trim();
            if typed.is_empty() {
                return visit.page_of(&flow, "identifier?problem=identifier");
            }
            send(&visit, flow, typed.to_owned(), &extensions, "identifier").await
        }
        ("code", Some("resend")) => resend(&visit, flow, &extensions).await,
        ("code", _) => authenticate(&visit, flow, &form, &extensions).await,
        ("consent", _) => share(&visit, flow, &form).await,
        _ => visit.page_of(&flow, "over"),
    }
}

async fn resend(visit: &Visit, flow: Flow, extensions: &Extensions) -> Response {
    if shown::wait_seconds(&flow, visit.now()) > 0 {
        return visit.page_of(&flow, "code?problem=wait");
    }
    let typed = flow.typed.clone();
    send(visit, flow, typed, extensions, "code").await
}

async fn authenticate(
    visit: &Visit,
    mut flow: Flow,
    form: &QueryPairs,
    extensions: &Extensions,
) -> Response {
    let challenge = pb::AuthChallenge {
        factor_type: "OTP".to_owned(),
        challenge: form.get("code").unwrap_or_default().to_owned(),
        format: "alpha-numeric".to_owned(),
    };
    let message = pb::AuthenticateRequest {
        transaction_id: flow.transaction_id.clone(),
        individual_id: flow.typed.clone(),
        challenges: vec![challenge],
        client_address: address(extensions),
        details_hash: String::new(),
    };
    match visit.service().authenticate(visit.request(message)).await {
        Ok(answer) if answer.get_ref().consent_needed => visit.page_of(&flow, "consent"),
        Ok(_) => finish(visit, flow, Vec::new()).await,
        Err(status) => match reason(&status).as_str() {
            "AUTH_FAILED" => match frozen_until(&status) {
                Some(end) => {
                    flow.locked_until = Some(end.micros());
                    visit.page_of(&flow, "locked")
                }
                None => visit.page_of(&flow, "code?problem=wrong"),
            },
            "INVALID_CHALLENGE_FORMAT" => visit.page_of(&flow, "code?problem=format"),
            "INVALID_TRANSACTION" => visit.page_of(&flow, "over"),
            _ => visit.page_of(&flow, "code?problem=service"),
        },
    }
}

/// The claims of the form: what is needed and there, and what was ticked. The block checks both
/// against what was asked for.
async fn share(visit: &Visit, flow: Flow, form: &QueryPairs) -> Response {
    let accepted = form.all("claim").map(str::to_owned).collect();
    finish(visit, flow, accepted).await
}

async fn finish(visit: &Visit, mut flow: Flow, accepted_claims: Vec<String>) -> Response {
    let message = pb::IssueCodeRequest {
        transaction_id: flow.transaction_id.clone(),
        accepted_claims,
        permitted_scopes: Vec::new(),
        details_hash: String::new(),
    };
    match visit.service().issue_code(visit.request(message)).await {
        Ok(answer) => {
            let issued = answer.into_inner();
            flow.over = true;
            let answer = see_other(&with_code(&issued));
            visit.keep(answer, &flow)
        }
        Err(status) => match reason(&status).as_str() {
            "INVALID_TRANSACTION" => visit.page_of(&flow, "over"),
            _ => visit.page_of(&flow, "consent?problem=service"),
        },
    }
}

async fn cancel_flow(visit: &Visit, mut flow: Flow) -> Response {
    let message = pb::CancelSignInRequest {
        transaction_id: flow.transaction_id.clone(),
        details_hash: String::new(),
    };
    match visit.service().cancel_sign_in(visit.request(message)).await {
        Ok(answer) => {
            let ended = answer.into_inner();
            flow.over = true;
            let answer = see_other(&with_refusal(&ended));
            visit.keep(answer, &flow)
        }
        Err(status) if is_away(&status) => shown::plain_in(visit, &flow, "trouble"),
        Err(_) => visit.page_of(&flow, "over"),
    }
}

fn form_of(body: RawBody) -> QueryPairs {
    let bytes = body.bytes().unwrap_or_default();
    QueryPairs::parse(std::str::from_utf8(&bytes).unwrap_or_default())
}

fn reason(status: &Status) -> String {
    publica_rpc::reason(status).unwrap_or_default()
}

/// Whether asking again later may help.
fn is_away(status: &Status) -> bool {
    use tonic::Code::{
        Cancelled, DeadlineExceeded, Internal, ResourceExhausted, Unavailable, Unknown,
    };
    let code = status.code();
    [
        Cancelled,
        DeadlineExceeded,
        Internal,
        ResourceExhausted,
        Unavailable,
        Unknown,
    ]
    .contains(&code)
}

/// When codes are of use again, if the block says that they are not now.
fn frozen_until(status: &Status) -> Option<Timestamp> {
    let info = status.get_details_error_info()?;
    info.metadata.get("frozen_until")?.parse().ok()
}

fn see_other(address: &str) -> Response {
    let mut response = respond::empty(StatusCode::SEE_OTHER);
    let headers = response.headers_mut();
    if let Ok(address) = HeaderValue::try_from(address) {
        headers.insert(header::LOCATION, address);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    response
}
