//! The pages themselves.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use publica_proto::identity::v1 as pb;
use publica_types::Timestamp;

use super::Visit;
use super::flow::{self, Flow};
use super::language::{Counted, Language};
use super::sheet::{Sheet, escape};
use crate::body::QueryPairs;

const IDENTIFIER: &str = include_str!("../../../../web/login/identifier.html");
const CODE: &str = include_str!("../../../../web/login/code.html");
const CONSENT: &str = include_str!("../../../../web/login/consent.html");
const LOCKED: &str = include_str!("../../../../web/login/locked.html");
const CANCEL: &str = include_str!("../../../../web/login/cancel.html");
const PLAIN: &str = include_str!("../../../../web/login/plain.html");

/// How long a page waits when no sign-in has begun: as long as the browser shows it.
const FIRST_PAGE_SECONDS: u32 = 300;

/// Problems that the page of the identifier can show, and those of the code.
const IDENTIFIER_PROBLEMS: [&str; 3] = ["identifier", "send", "service"];
const CODE_PROBLEMS: [&str; 5] = ["wrong", "format", "wait", "send", "service"];

/// Parameters of the address that are ours and not the client's.
const OURS: [&str; 2] = ["problem", "chosen"];

/// The client's request as a query, with parameters set anew.
pub(super) fn request_with(query: &QueryPairs, set: &[(&str, &str)]) -> String {
    let mut serializer = form_urlencoded::Serializer::new(String::new());
    let kept = query
        .iter()
        .filter(|(name, _)| !OURS.contains(name) && set.iter().all(|(other, _)| other != name));
    serializer.extend_pairs(kept);
    serializer.extend_pairs(set);
    serializer.finish()
}

/// Seconds until another code may be asked for.
pub(super) fn wait_seconds(flow: &Flow, now: Timestamp) -> u64 {
    let end = flow.sent.saturating_add(flow.resend_delay.into());
    u64::try_from(end.saturating_sub(now.seconds())).unwrap_or(0)
}

fn sheet(visit: &Visit, language: &'static Language) -> Sheet {
    let pages = visit.state.pages();
    let mut sheet = Sheet::new(language, &visit.root, &pages.issuer_name);
    if !pages.help.is_empty() {
        sheet.html("help", format!("<p>{}</p>", escape(&pages.help)));
    }
    sheet
}

/// Links to the same page in each language; `address` makes the address for a code.
fn languages(sheet: &mut Sheet, address: impl Fn(&str) -> String) {
    let links: Vec<String> = Language::all()
        .iter()
        .map(|one| {
            let (code, name) = (one.code, escape(&one.language));
            if code == sheet.language().code {
                format!("<li><span lang=\"{code}\" aria-current=\"true\">{name}</span></li>")
            } else {
                let address = address(code);
                let address = escape(&address);
                format!(
                    "<li><a href=\"{address}\" lang=\"{code}\" hreflang=\"{code}\">{name}</a></li>"
                )
            }
        })
        .collect();
    sheet.html("languages", links.join("\n"));
}

fn client(sheet: &mut Sheet, name: &str) {
    sheet.name("client", name);
    let words = sheet.words("asking");
    sheet.html("asking", format!("<p class=\"hint\">{words}</p>"));
}

fn hidden(fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| {
        format!(
            "<input type=\"hidden\" name=\"{name}\" value=\"{}\">",
            escape(value)
        )
    };
    fields.iter().map(field).collect()
}

fn page_time(sheet: &mut Sheet, seconds: u32) {
    sheet.count(
        "page_minutes",
        Counted::Minutes,
        u64::from(seconds.div_ceil(60)),
    );
}

/// What the pages of one sign-in have in common.
fn of_flow(visit: &Visit, flow: &Flow, step: &str) -> Sheet {
    let language = Language::of(&flow.language).unwrap_or_else(Language::first);
    let mut sheet = sheet(visit, language);
    let home = format!("{}/login/{}", visit.root, flow.id);
    languages(&mut sheet, |code| {
        format!("{home}/{step}?ui_locales={code}")
    });
    client(&mut sheet, &flow.client_name);
    sheet.text("home", &home);
    sheet.text("reference", &flow.id);
    let line = sheet.words("reference");
    sheet.html("reference_line", format!("<p>{line}</p>"));
    sheet.html("hidden", hidden(&[("form", &flow.form)]));
    let cancel = sheet.fill(CANCEL);
    sheet.html("cancel_form", cancel);
    sheet.name("typed", &flow.typed);
    page_time(&mut sheet, flow.page_seconds);
    sheet
}

/// The first page, before any sign-in has begun.
pub(super) fn start(visit: &Visit, client_name: &str, redirect_uri: &str, token: &str) -> Response {
    let mut sheet = sheet(visit, visit.language());
    let query = &visit.query;
    languages(&mut sheet, |code| {
        let request = request_with(query, &[("ui_locales", code), ("chosen", "1")]);
        format!("{}/authorize?{request}", visit.root)
    });
    client(&mut sheet, client_name);
    let request = request_with(query, &[]);
    sheet.html("hidden", hidden(&[("form", token), ("request", &request)]));
    let action = format!("{}/login/start", sheet.root());
    sheet.text("action", &action);
    page_time(&mut sheet, FIRST_PAGE_SECONDS);
    if let Some(key) = known(visit.problem(), &IDENTIFIER_PROBLEMS) {
        sheet.problem("individual-id", &key);
    }
    let target = flow::target(redirect_uri);
    sheet.page(StatusCode::OK, IDENTIFIER, "identifier_title", &target)
}

/// The key of a problem, if it is one that the page knows.
fn known(problem: Option<&str>, all: &[&str]) -> Option<String> {
    let problem = problem.filter(|problem| all.contains(problem))?;
    Some(format!("problem_{problem}"))
}

/// Who is it? Asked again within a sign-in, with what was typed.
pub(super) fn identifier(visit: &Visit, flow: &Flow) -> Response {
    let problem = known(visit.problem(), &IDENTIFIER_PROBLEMS);
    identifier_with(visit, flow, StatusCode::OK, problem)
}

fn identifier_with(
    visit: &Visit,
    flow: &Flow,
    status: StatusCode,
    problem: Option<String>,
) -> Response {
    let mut sheet = of_flow(visit, flow, "identifier");
    let action = format!("{}/login/{}/identifier", sheet.root(), flow.id);
    sheet.text("action", &action);
    sheet.text("typed_value", &flow.typed);
    if let Some(key) = problem {
        sheet.problem("individual-id", &key);
    }
    sheet.page(status, IDENTIFIER, "identifier_title", &flow.target)
}

/// The code that came by mail.
pub(super) fn code(visit: &Visit, flow: &Flow) -> Response {
    let problem = known(visit.problem(), &CODE_PROBLEMS);
    code_with(visit, flow, StatusCode::OK, problem)
}

fn code_with(visit: &Visit, flow: &Flow, status: StatusCode, problem: Option<String>) -> Response {
    let mut sheet = of_flow(visit, flow, "code");
    sheet.name("masked", &flow.masked);
    let minutes = u64::from(flow.code_lifetime.div_ceil(60));
    sheet.count("code_minutes", Counted::Minutes, minutes);
    sheet.count("digits", Counted::Digits, flow.code_length.into());
    let wait = wait_seconds(flow, visit.now()).max(1);
    sheet.count("wait_seconds", Counted::Seconds, wait);
    match problem {
        Some(key) => {
            sheet.problem("code", &key);
        }
        None if visit.query.get("sent") == Some("again") => {
            let notice = sheet.words("code_resent");
            sheet.html("notice", notice);
        }
        None => {}
    }
    sheet.page(status, CODE, "code_title", &flow.target)
}

/// A limit was met: the same page, with the status that says so.
pub(super) fn too_many(visit: &Visit, flow: &Flow, page: &str) -> Response {
    let problem = Some("problem_many".to_owned());
    let status = StatusCode::TOO_MANY_REQUESTS;
    if page == "code" && !flow.masked.is_empty() {
        code_with(visit, flow, status, problem)
    } else {
        identifier_with(visit, flow, status, problem)
    }
}

/// Codes are of no use until `end`, whether or not the person exists.
pub(super) fn locked(visit: &Visit, flow: &Flow, end: Timestamp) -> Response {
    let mut sheet = of_flow(visit, flow, "locked");
    let seconds = end.since(visit.now()).as_secs();
    let minutes = seconds.div_ceil(60).max(1);
    sheet.count("locked_minutes", Counted::Minutes, minutes);
    let end = Timestamp::from_seconds(end.seconds()).to_string();
    let clock = end.get(11..16).unwrap_or_default();
    let time = format!(
        "<time datetime=\"{}\">{} UTC</time>",
        escape(&end),
        escape(clock)
    );
    sheet.html("locked_time", time);
    let status = StatusCode::TOO_MANY_REQUESTS;
    let mut answer = sheet.page(status, LOCKED, "locked_title", &flow.target);
    answer
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    answer
}

/// What the client wants to know.
pub(super) fn consent(visit: &Visit, flow: &Flow, claims: &[pb::RequestedClaim]) -> Response {
    let mut sheet = of_flow(visit, flow, "consent");
    let language = sheet.language();
    let group = |legend: &str, inside: &str| {
        format!("<fieldset><legend>{legend}</legend>{inside}</fieldset>")
    };
    let name = |claim: &pb::RequestedClaim| escape(language.claim(&claim.name)).into_owned();
    let nothing = sheet.words("consent_nothing");
    let needed: String = claims
        .iter()
        .filter(|claim| claim.essential)
        .map(|claim| match claim.available {
            true => {
                let sent = hidden(&[("claim", &claim.name)]);
                format!("<li>{}{sent}</li>", name(claim))
            }
            false => format!("<li>{} ({nothing})</li>", name(claim)),
        })
        .collect();
    let optional: String = claims
        .iter()
        .filter(|claim| !claim.essential)
        .map(|claim| {
            let value = escape(&claim.name);
            let label = match claim.available {
                true => name(claim),
                false => format!("{} ({nothing})", name(claim)),
            };
            format!(
                "<label class=\"choice\"><input type=\"checkbox\" name=\"claim\" \
                 value=\"{value}\"> <span>{label}</span></label>"
            )
        })
        .collect();
    if !needed.is_empty() {
        let legend = sheet.words("consent_needed");
        sheet.html("needed", group(&legend, &format!("<ul>{needed}</ul>")));
    }
    if !optional.is_empty() {
        let legend = sheet.words("consent_optional");
        let hint = sheet.words("consent_optional_hint");
        let inside = format!("<p class=\"hint\">{hint}</p>{optional}");
        sheet.html("optional", group(&legend, &inside));
    }
    if claims.iter().any(|claim| !claim.available) {
        let words = sheet.words("consent_missing");
        sheet.html("missing", format!("<p class=\"hint\">{words}</p>"));
    }
    if visit.problem() == Some("service") {
        sheet.problem("main", "problem_service");
    }
    sheet.page(StatusCode::OK, CONSENT, "consent_title", &flow.target)
}

/// A page that only tells something, outside any sign-in.
pub(super) fn plain(visit: &Visit, status: StatusCode, what: &'static str) -> Response {
    let mut sheet = sheet(visit, visit.language());
    let query = &visit.query;
    languages(&mut sheet, |code| {
        let chosen = [("ui_locales", code), ("chosen", "1")];
        let request = match what {
            // Nothing of it is proven good, so nothing of it is shown, not even in a link.
            "broken" => request_with(&QueryPairs::parse(""), &chosen),
            _ => request_with(query, &chosen),
        };
        format!("{}/authorize?{request}", visit.root)
    });
    tell(&mut sheet, what);
    sheet.page(status, PLAIN, title_of(what), "")
}

/// The same within a sign-in.
pub(super) fn plain_in(visit: &Visit, flow: &Flow, what: &'static str) -> Response {
    let mut sheet = of_flow(visit, flow, what);
    tell(&mut sheet, what);
    let status = match what {
        "trouble" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    sheet.page(status, PLAIN, title_of(what), "")
}

fn tell(sheet: &mut Sheet, what: &str) {
    let first = sheet.words(&format!("{what}_first"));
    let second = sheet.words(&format!("{what}_second"));
    sheet.html("first", first);
    sheet.html("second", second);
}

fn title_of(what: &str) -> &'static str {
    match what {
        "used" => "used_title",
        "broken" => "broken_title",
        "trouble" => "trouble_title",
        _ => "over_title",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_kept_and_ours_is_not() {
        let query = QueryPairs::parse("client_id=a&state=%26x&ui_locales=fr&problem=send&chosen=1");
        assert_eq!(
            request_with(&query, &[("ui_locales", "ar")]),
            "client_id=a&state=%26x&ui_locales=ar"
        );
        assert_eq!(
            request_with(&query, &[]),
            "client_id=a&state=%26x&ui_locales=fr"
        );
    }

    #[test]
    fn another_code_takes_a_while() {
        let flow = Flow {
            sent: 100,
            resend_delay: 30,
            ..Flow::default()
        };
        assert_eq!(wait_seconds(&flow, Timestamp::from_seconds(100)), 30);
        assert_eq!(wait_seconds(&flow, Timestamp::from_seconds(129)), 1);
        assert_eq!(wait_seconds(&flow, Timestamp::from_seconds(130)), 0);
    }
}
