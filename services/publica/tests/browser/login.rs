//! The log-in pages, from a relying party's request to the claims it gets.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use publica_testkit::eventually;
use serde_json::{Value, json};

use crate::browser::{Browser, ENTER, SPACE, TAB};
use crate::portal::Portal;
use crate::suite::Suite;

pub(crate) const AMINA: &str = "A-1001";
pub(crate) const MAIL: &str = "amina@example.org";

/// One claim that is needed and there, one that is there, one that nobody has.
const CLAIMS: &str = r#"{"userinfo":{"name":{"essential":true},"email":null,"phone_number":null}}"#;

/// A suite that knows Amina.
pub(crate) async fn suite_with(settings: &str) -> Suite {
    let suite = Suite::start_with(settings).await;
    suite.enrol(AMINA, "Amina Diallo", MAIL).await;
    suite
}

/// Fills in the first page, and returns the code that came by mail.
pub(crate) async fn ask_for_code(browser: &Browser, suite: &Suite) -> String {
    let before = suite.mails();
    browser.fill("#individual-id", AMINA).await;
    browser.click("button[value=continue]").await;
    browser.wait("#code").await;
    suite.code(MAIL, before).await
}

/// Enters a code.
pub(crate) async fn enter(browser: &Browser, code: &str) {
    browser.fill("#code", code).await;
    browser.click("button[value=continue]").await;
}

/// Another code than this.
fn wrong(code: &str) -> &'static str {
    if code == "111111" { "222222" } else { "111111" }
}

/// What the portal learns at the end.
async fn user_info(suite: &Suite, tokens: &Value) -> Value {
    let token = tokens["access_token"].as_str().unwrap();
    let answer = suite
        .http()
        .get(suite.at("/identity/oidc/userinfo"))
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    let jwt = answer.text().await.unwrap();
    let payload = jwt.split('.').nth(1).expect("a signed token");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// Signs in and shares what is needed and the e-mail address; the portal learns just that.
async fn signs_in(scripts: bool) {
    let suite = suite_with("").await;
    let portal = Portal::register(&suite, "Household <b>support</b>").await;
    let browser = Browser::open().await;
    if !scripts {
        browser.without_scripts().await;
    }
    browser
        .go(&portal.authorize(&suite, &[("claims", CLAIMS)]))
        .await;
    browser
        .wait_text("main", "Signing in to Household <b>support</b>")
        .await;
    assert_eq!(browser.title().await, "Sign in - Identity service");
    let name = if scripts { "login" } else { "login-plain" };
    browser.check(&format!("{name}-identifier")).await;

    let code = ask_for_code(&browser, &suite).await;
    let told = browser.wait("main").await;
    assert!(told.contains("It is good for 3 minutes"), "{told}");
    assert!(told.contains(&format!("Signing in as {AMINA}.")), "{told}");
    assert!(
        !told.contains(MAIL) && told.contains("******"),
        "masked: {told}"
    );
    assert!(!browser.address().await.contains(AMINA));
    browser.check(&format!("{name}-code")).await;

    let spaced = format!(" {} {}", &code[..3], &code[3..]);
    enter(&browser, &spaced).await;
    browser
        .wait_text("h1", "Household <b>support</b> wants to see this about you")
        .await;
    let needed = browser.wait("fieldset:nth-of-type(1)").await;
    assert!(needed.contains("Needed") && needed.contains("Full name"));
    let optional = browser.wait("fieldset:nth-of-type(2)").await;
    assert!(
        optional.contains("Phone number (we have nothing here)"),
        "{optional}"
    );
    assert!(!browser.sees("input[type=checkbox]:checked").await);
    browser.check(&format!("{name}-consent")).await;

    browser.click("input[value=email]").await;
    browser.click("button[value=share]").await;
    browser.wait("#portal").await;
    let back = browser.address().await;
    let issuer = suite.at("/identity");
    assert_eq!(portal.returned(&back, "iss"), Some(issuer));
    let (claims, tokens) = portal.redeem(&suite, &back).await;
    assert_eq!(claims["acr"], "idbb:acr:generated-code");
    let info = user_info(&suite, &tokens).await;
    assert_eq!(info["name"], "Amina Diallo");
    assert_eq!(info["email"], MAIL);
    assert_eq!(info["sub"], claims["sub"]);
    assert!(info.get("birthdate").is_none(), "{info}");

    // What is done cannot be done again.
    browser.back().await;
    browser.wait_text("h1", "This sign-in is finished").await;
    browser.check(&format!("{name}-finished")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_with_a_code_from_the_mail() {
    signs_in(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_without_a_script() {
    signs_in(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_with_the_keyboard_alone() {
    let suite = suite_with("").await;
    let portal = Portal::register(&suite, "Portal").await;
    let browser = Browser::open().await;
    browser
        .go(&portal.authorize(&suite, &[("claims", CLAIMS)]))
        .await;
    // The one field of a page has the focus, and Enter sends it.
    browser.wait_focus("#individual-id").await;
    let before = suite.mails();
    browser.press(AMINA).await;
    // A browser without a screen gives its window the focus with the first key.
    assert!(browser.focus_shows().await);
    browser.press(ENTER).await;
    browser.wait_focus("#code").await;
    let code = suite.code(MAIL, before).await;
    browser.press(&code).await;
    browser.press(ENTER).await;
    browser.wait("button[value=share]").await;
    let first = browser.tab_to("Skip to content").await;
    assert_eq!(first.len(), 1, "the skip link comes first: {first:?}");
    browser.press(ENTER).await;
    browser.wait_focus("#main").await;
    // Three boxes, in the order of the page, then the buttons.
    browser.press(TAB).await;
    browser.press(TAB).await;
    browser.press(SPACE).await;
    let ticked = "return [...document.querySelectorAll(':checked')].map((one) => one.value);";
    assert_eq!(browser.eval(ticked, json!([])).await, json!(["email"]));
    browser.press(TAB).await;
    browser.press(TAB).await;
    assert!(browser.focus_shows().await);
    browser.press(ENTER).await;
    browser.wait("#portal").await;
    let (_, tokens) = portal.redeem(&suite, &browser.address().await).await;
    let info = user_info(&suite, &tokens).await;
    assert_eq!(info["email"], MAIL);
    assert!(
        info.get("birthdate").is_none() && info["name"] == "Amina Diallo",
        "{info}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_at_the_top_and_at_the_field() {
    let suite = suite_with("[identity.code]\nresend_seconds = 600\n").await;
    let portal = Portal::register(&suite, "Portal").await;
    let browser = Browser::open().await;
    browser.go(&portal.authorize(&suite, &[])).await;
    browser.wait_focus("#individual-id").await;
    browser.press(ENTER).await;
    browser
        .wait_text(
            "#individual-id-error",
            "Enter your ID number, phone or e-mail",
        )
        .await;
    assert_eq!(browser.title().await, "Error: Sign in - Identity service");
    browser.wait_focus("#summary").await;
    browser.check("login-identifier-error").await;
    browser.click("#summary a").await;
    browser.wait_focus("#individual-id").await;

    let code = ask_for_code(&browser, &suite).await;
    enter(&browser, "12").await;
    browser
        .wait_text("#code-error", "Enter the code: 6 numbers")
        .await;
    enter(&browser, wrong(&code)).await;
    browser
        .wait_text("#code-error", "The code does not fit")
        .await;
    assert!(browser.sees("#code[aria-invalid=true]").await);
    browser.wait_focus("#summary").await;
    let left = browser.eval("return document.getElementById('code').value", json!([]));
    assert_eq!(left.await, "", "secrets are not kept");
    browser.check("login-code-error").await;
    // Another code may be had, but not at once.
    browser.click("button[value=resend]").await;
    browser.wait_text("#code-error", "Wait ").await;

    // The typed identifier follows the person, and can be changed.
    browser.click("a[href$=identifier]").await;
    browser.wait("#individual-id").await;
    let typed = "return document.getElementById('individual-id').value";
    assert_eq!(browser.eval(typed, json!([])).await, AMINA);
    browser.back().await;
    enter(&browser, &code).await;
    browser.wait("button[value=share]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_wrong_codes_close_the_way_for_a_while() {
    let suite = suite_with("").await;
    let portal = Portal::register(&suite, "Portal").await;
    let browser = Browser::open().await;
    browser.go(&portal.authorize(&suite, &[])).await;
    let code = ask_for_code(&browser, &suite).await;
    for _ in 0..4 {
        enter(&browser, wrong(&code)).await;
        browser
            .wait_text("#code-error", "The code does not fit")
            .await;
    }
    enter(&browser, wrong(&code)).await;
    browser.wait_text("h1", "Too many wrong codes").await;
    let known = browser.wait("main").await;
    assert!(known.contains("for another 30 minutes"), "{known}");
    browser.check("login-locked").await;
    let status = "return performance.getEntriesByType('navigation')[0].responseStatus";
    assert_eq!(browser.eval(status, json!([])).await, 429);

    // Somebody who does not exist meets the same page after the same number of tries.
    browser.go(&portal.authorize(&suite, &[])).await;
    browser.fill("#individual-id", "B-9999").await;
    browser.click("button[value=continue]").await;
    for _ in 0..4 {
        enter(&browser, "123456").await;
        browser
            .wait_text("#code-error", "The code does not fit")
            .await;
    }
    enter(&browser, "123456").await;
    browser.wait_text("h1", "Too many wrong codes").await;
    let unknown = browser.wait("main").await;
    assert!(unknown.contains("Codes for B-9999 cannot be used for another 30 minutes"));

    // A new sign-in does not help, and neither does the right code.
    browser.go(&portal.authorize(&suite, &[])).await;
    let code = ask_for_code(&browser, &suite).await;
    enter(&browser, &code).await;
    browser.wait_text("h1", "Too many wrong codes").await;
    browser.click("a.button").await;
    browser.wait("#individual-id").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_codes_are_not_sent() {
    let settings = "[identity.code]\nresend_seconds = 1\nmax_sends = 2\n";
    let suite = suite_with(settings).await;
    let portal = Portal::register(&suite, "Portal").await;
    let browser = Browser::open().await;
    browser.go(&portal.authorize(&suite, &[])).await;
    let first = ask_for_code(&browser, &suite).await;
    let before = suite.mails();
    // After the first second it is sent, and no sooner.
    resend_until(&browser, "[role=status]", "We sent another code").await;
    suite.code(MAIL, before).await;
    resend_until(&browser, "#code-error", "Too many codes were asked for").await;
    assert_eq!(suite.mails(), before + 1);
    // The first code is still good.
    enter(&browser, &first).await;
    browser.wait("button[value=share]").await;
}

/// Asks for another code until the page says certain words.
async fn resend_until(browser: &Browser, selector: &str, words: &str) {
    eventually(|| async {
        browser.click("button[value=resend]").await;
        browser.wait("#code").await;
        let main = browser.wait("main").await;
        (browser.sees(selector).await && main.contains(words)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_took_too_long_is_over() {
    // Long enough for a slow machine to come to the last page.
    let suite = suite_with("[identity.sign_in]\nstep_seconds = 40\n").await;
    let portal = Portal::register(&suite, "Portal").await;
    let browser = Browser::open().await;
    browser.go(&portal.authorize(&suite, &[])).await;
    let code = ask_for_code(&browser, &suite).await;
    enter(&browser, &code).await;
    browser.wait("button[value=share]").await;
    eventually(|| async {
        browser.reload().await;
        (browser.wait("h1").await == "This took too long").then_some(())
    })
    .await;
    let told = browser.wait("main").await;
    assert!(told.contains("Nothing was shared"), "{told}");
    browser.check("login-over").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_can_cancel_on_every_page() {
    let suite = suite_with("").await;
    let portal = Portal::register(&suite, "Portal").await;
    let browser = Browser::open().await;
    let refused = |address: String| {
        assert_eq!(
            portal.returned(&address, "error").as_deref(),
            Some("access_denied")
        );
        assert!(portal.returned(&address, "code").is_none());
    };
    browser.go(&portal.authorize(&suite, &[])).await;
    assert_eq!(
        browser.wait("button[value=cancel]").await,
        "Cancel and return to Portal"
    );
    browser.click("button[value=cancel]").await;
    browser.wait("#portal").await;
    refused(browser.address().await);

    browser.go(&portal.authorize(&suite, &[])).await;
    ask_for_code(&browser, &suite).await;
    browser.click("form[action$=cancel] button").await;
    browser.wait("#portal").await;
    refused(browser.address().await);

    browser.go(&portal.authorize(&suite, &[])).await;
    let code = ask_for_code(&browser, &suite).await;
    enter(&browser, &code).await;
    browser.click("button[value=refuse]").await;
    browser.wait("#portal").await;
    refused(browser.address().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_back_button_and_a_second_tab_do_no_harm() {
    let suite = suite_with("").await;
    let one = Portal::register(&suite, "First portal").await;
    let two = Portal::register(&suite, "Second portal").await;
    let browser = Browser::open().await;
    browser.go(&one.authorize(&suite, &[])).await;
    let code = ask_for_code(&browser, &suite).await;
    let first = browser.address().await;
    // Back shows the earlier step, from where one can go on again.
    browser.back().await;
    browser
        .wait_text("main", "Signing in to First portal")
        .await;
    browser.wait("#individual-id").await;
    // Meanwhile another sign-in goes as far.
    browser.go(&two.authorize(&suite, &[])).await;
    ask_for_code(&browser, &suite).await;
    browser
        .wait_text("main", "Signing in to Second portal")
        .await;
    // The first one is where it was.
    browser.go(&first).await;
    browser
        .wait_text("main", "Signing in to First portal")
        .await;
    enter(&browser, &code).await;
    browser.click("button[value=share]").await;
    browser.wait("#portal").await;
    one.redeem(&suite, &browser.address().await).await;
    // Its pages are closed now.
    browser.go(&first).await;
    browser.wait_text("h1", "This sign-in is finished").await;
}
