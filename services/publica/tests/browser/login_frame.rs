//! What holds for all log-in pages: languages, errors before a sign-in, and headers.

use crate::browser::Browser;
use crate::login::{ask_for_code, enter, suite_with};
use crate::portal::Portal;
use crate::suite::Suite;
use serde_json::json;

const DIRECTION: &str = "return [document.documentElement.lang, document.documentElement.dir]";

#[tokio::test(flavor = "multi_thread")]
async fn pages_speak_the_language_that_is_asked_for() {
    let suite = suite_with("").await;
    let portal = Portal::register(&suite, "Portal").await;
    let browser = Browser::open().await;
    // The request comes first.
    browser
        .go(&portal.authorize(&suite, &[("ui_locales", "km fr-CA")]))
        .await;
    browser.wait_text("h1", "Se connecter").await;
    // Then what the browser prefers, when nothing is asked for.
    browser.prefer_language("ar, en;q=0.5").await;
    browser.go(&portal.authorize(&suite, &[])).await;
    browser.wait_text("h1", "تسجيل الدخول").await;
    assert_eq!(
        browser.eval(DIRECTION, json!([])).await,
        json!(["ar", "rtl"])
    );
    browser.check("login-arabic-identifier").await;

    let code = ask_for_code(&browser, &suite).await;
    assert_eq!(
        browser.eval(DIRECTION, json!([])).await,
        json!(["ar", "rtl"])
    );
    let told = browser.wait("main").await;
    assert!(told.contains("3 دقائق"), "{told}");
    browser.check("login-arabic-code").await;
    // A link changes the language in the middle, and the step stays.
    browser.click(".languages a[lang=fr]").await;
    browser.wait_text("h1", "Consultez vos e-mails").await;
    browser.check("login-french-code").await;
    enter(&browser, &code).await;
    browser
        .wait_text("h1", "Portal souhaite voir ceci à votre sujet")
        .await;
    assert!(browser.wait("main").await.contains("Date de naissance"));
    browser.check("login-french-consent").await;
    // The choice is remembered, and comes before what the browser prefers.
    browser.go(&portal.authorize(&suite, &[])).await;
    browser.wait_text("h1", "Se connecter").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_survives_another_language() {
    let suite = suite_with("").await;
    let portal = Portal::register(&suite, "Portal").await;
    let browser = Browser::open().await;
    browser.go(&portal.authorize(&suite, &[])).await;
    browser.fill("#individual-id", "A-10").await;
    browser.click(".languages a[lang=fr]").await;
    browser.wait_text("h1", "Se connecter").await;
    browser
        .wait_that("document.getElementById('individual-id').value === 'A-10'")
        .await;
    // It is nowhere but in the field.
    assert!(!browser.address().await.contains("A-10"));
    browser
        .wait_that("window.sessionStorage.length === 0")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_trusted_leads_nowhere() {
    let suite = suite_with("").await;
    let portal = Portal::register(&suite, "Portal").await;
    let browser = Browser::open().await;
    for (name, value) in [
        ("client_id", "nobody"),
        ("redirect_uri", "https://evil.example/\"><script>"),
    ] {
        browser
            .go(&portal.authorize(&suite, &[(name, value)]))
            .await;
        browser
            .wait_text("h1", "You cannot sign in from here")
            .await;
        let html = "return document.documentElement.outerHTML";
        let html = browser.eval(html, json!([])).await;
        let html = html.as_str().unwrap();
        assert!(!html.contains("href=\"https://evil"), "{html}");
        let refused = "a[href^='https:'], form, input, script:not([src])";
        assert!(!browser.sees(refused).await, "{html}");
    }
    browser.check("login-broken").await;
    // A fault behind a proven address goes back to it.
    let refused = portal.authorize(&suite, &[("response_type", "token")]);
    browser.go(&refused).await;
    browser.wait("#portal").await;
    let address = browser.address().await;
    let error = portal.returned(&address, "error");
    assert_eq!(error.as_deref(), Some("unsupported_response_type"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_no_known_sign_in_say_so() {
    let suite = suite_with("").await;
    let browser = Browser::open().await;
    for page in ["23456789/code", "23456789/consent", "../x/y", "x/code"] {
        browser
            .go(&suite.at(&format!("/identity/login/{page}")))
            .await;
        if page.starts_with("..") {
            browser
                .wait_text("body", "There is nothing at this path.")
                .await;
        } else {
            browser.wait_text("h1", "This took too long").await;
        }
    }
    // A form that another site sends has no token.
    let forged = suite
        .http()
        .post(suite.at("/identity/login/start"))
        .form(&[("request", "client_id=x"), ("individual-id", "A-1001")])
        .send()
        .await
        .unwrap();
    assert!(forged.text().await.unwrap().contains("This took too long"));
    assert_eq!(suite.mails(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_block_that_is_away_is_admitted() {
    let down = "[peers.identity]\nendpoint = 'http://127.0.0.1:1'\n\
                [gateway.pages]\nissuer_name = 'Office of Identity'\n\
                help = 'Call 100, from 8 to 16, or ask at any office.'\n";
    let suite = Suite::start_of(&["messaging", "gateway"], down).await;
    let browser = Browser::open().await;
    browser
        .go(&suite.at("/identity/authorize?client_id=x"))
        .await;
    browser.wait_text("h1", "This service has a problem").await;
    browser.wait_text("header", "Office of Identity").await;
    browser.wait_text("footer", "Call 100, from 8 to 16").await;
    browser.check("login-trouble").await;
    let answer = suite.fetch("/identity/authorize?client_id=x").await;
    assert_eq!(answer.status(), 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_carries_its_headers() {
    let suite = suite_with("").await;
    let portal = Portal::register(&suite, "Portal").await;
    let page = portal.authorize(&suite, &[]);
    let answer = suite.http().get(&page).send().await.unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let policy = header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self' http://127.0.0.1:",
    ] {
        assert!(policy.contains(part), "{policy} lacks {part}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("cross-origin-opener-policy"), "same-origin");
    assert!(header("permissions-policy").contains("camera=()"));
    let cookies: Vec<&str> = answer
        .headers()
        .get_all("set-cookie")
        .iter()
        .map(|cookie| cookie.to_str().unwrap())
        .collect();
    assert!(!cookies.is_empty());
    for cookie in cookies {
        assert!(cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
        assert!(cookie.contains("Path=/identity/"), "{cookie}");
    }
    for page in ["/", "/privacy"] {
        let answer = suite.fetch(page).await;
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
        assert!(policy.contains("form-action 'self';"), "{policy}");
        assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_small_and_load_nothing_from_elsewhere() {
    let suite = suite_with("").await;
    let portal = Portal::register(&suite, "Portal").await;
    let page = portal.authorize(&suite, &[]);
    // They fit the links of people far away.
    let html = suite
        .http()
        .get(&page)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let css = suite
        .fetch("/identity/login/publica.css")
        .await
        .text()
        .await
        .unwrap();
    let script = suite
        .fetch("/identity/login/login.js")
        .await
        .text()
        .await
        .unwrap();
    assert!(
        html.len() + css.len() < 40_000,
        "{} {}",
        html.len(),
        css.len()
    );
    assert!(script.len() < 15_000, "{}", script.len());
    assert!(!css.contains("http") && !script.contains("http"));
}
