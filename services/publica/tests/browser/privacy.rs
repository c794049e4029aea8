//! `/privacy`: a person's own consents.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::browser::{Browser, ENTER, ESCAPE, TAB};
use crate::login::{ask_for_code, enter, suite_with};
use crate::portal::Portal;
use crate::suite::Suite;

/// The page belongs to the same relying party as the portal, so both know a person under the
/// same pseudonym.
pub(crate) const SETTINGS: &str = "[gateway.privacy]\nrelying_party_id = 'portal'\n\
                        [identity]\nperson_audiences = ['publica']\n";

/// What the person agreed to.
pub(crate) struct Agreed {
    pub(crate) agreement_id: String,
    pub(crate) individual_id: String,
}

/// Publishes an agreement that says all that receipts need.
pub(crate) async fn agreement(suite: &Suite, purpose: &str) -> String {
    agreement_with(suite, purpose, |_| {}).await
}

/// The same, changed beforehand.
pub(crate) async fn agreement_with(
    suite: &Suite,
    purpose: &str,
    edit: impl FnOnce(&mut Value),
) -> String {
    let policy = json!({ "policy": {
        "name": "Household support rules", "version": "1.0.0",
        "url": "https://portal.example.org/privacy", "jurisdiction": "XX",
        "dataRetentionPeriodDays": 365, "storageLocation": "XX",
        "withdrawalMethod": "https://portal.example.org/withdraw",
    }});
    let policy = suite.post("/consent/config/policy/", &policy).await;
    let mut agreement = json!({ "dataAgreement": {
        "version": "1.0.0",
        "controller": {
            "name": "Ministry of Social Affairs", "url": "https://social.example.org",
            "address": "1 Main Street", "contact": "Data protection officer",
            "email": "privacy@social.example.org", "phone": "+1 555 0100",
        },
        "policyId": policy["policy"]["id"],
        "purpose": purpose,
        "purposeDescription": "Deciding on and paying monthly support to households.",
        "lawfulBasis": "consent",
        "methodOfUse": "data_source",
        "dpia": "https://social.example.org/dpia",
        "active": true,
        "forgettable": true,
        "lifecycle": "Complete",
        "recipients": [{ "id": "bank", "name": "Bank of the State" }],
        "dataAttributes": [{
            "name": "household.income", "description": "Monthly income",
            "sensitivity": "personal", "category": "household",
        }, {
            "name": "household.members", "description": "Who lives there",
            "sensitivity": "personal", "category": "household", "necessity": "optional",
        }],
    }});
    edit(&mut agreement["dataAgreement"]);
    let answer = suite
        .post("/consent/config/data-agreement/", &agreement)
        .await;
    answer["dataAgreement"]["id"].as_str().unwrap().to_owned()
}

/// Has the person sign in to the portal, which then writes them down under the pseudonym that it
/// knows.
pub(crate) async fn person(suite: &Suite, browser: &Browser) -> String {
    let portal = Portal::register(suite, "Household support").await;
    browser
        .go(&portal.authorize(suite, &[("scope", "openid")]))
        .await;
    let code = ask_for_code(browser, suite).await;
    enter(browser, &code).await;
    browser.wait("#portal").await;
    let (claims, _) = portal.redeem(suite, &browser.address().await).await;
    let individual = json!({ "individual": {
        "externalId": claims["sub"], "externalIdType": "pseudonym", "identityProviderId": "publica",
    }});
    let made = suite.post("/consent/config/individual/", &individual).await;
    made["individual"]["id"].as_str().unwrap().to_owned()
}

/// A person as the portal knows them, with a yes that it noted for them.
pub(crate) async fn agree(suite: &Suite, browser: &Browser, purpose: &str) -> Agreed {
    let agreed = Agreed {
        individual_id: person(suite, browser).await,
        agreement_id: agreement(suite, purpose).await,
    };
    say_yes(suite, &agreed).await;
    agreed
}

/// Notes a yes for the person.
pub(crate) async fn say_yes(suite: &Suite, agreed: &Agreed) {
    let path = format!(
        "/consent/service/individual/record/data-agreement/{}/?individualId={}",
        agreed.agreement_id, agreed.individual_id
    );
    suite.post(&path, &json!({})).await;
}

/// Whether the data may be used now.
pub(crate) async fn allowed(suite: &Suite, agreed: &Agreed) -> bool {
    let question = json!({
        "individualId": agreed.individual_id,
        "dataAgreementId": agreed.agreement_id,
        "attributes": ["household.income"],
        "consumer": "bank",
    });
    let decision = suite.post("/consent/v1/decisions", &question).await;
    decision["allowed"].as_bool().expect("a decision")
}

pub(crate) async fn sign_in(suite: &Suite, browser: &Browser) {
    browser.go(&suite.at("/privacy")).await;
    browser.click("#begin").await;
    browser
        .wait_text("main", "Signing in to What you agreed to")
        .await;
    let code = ask_for_code(browser, suite).await;
    enter(browser, &code).await;
    browser.wait_text("#status", "You are signed in.").await;
    // Neither code nor token is left behind.
    assert_eq!(browser.address().await, suite.at("/privacy"));
    browser
        .wait_that("window.sessionStorage.length === 0")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_what_was_agreed_and_takes_it_back() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let agreed = agree(&suite, &browser, "Household support").await;
    assert!(allowed(&suite, &agreed).await);
    browser.go(&suite.at("/privacy")).await;
    browser.wait("#begin").await;
    browser.check("privacy-entrance").await;
    sign_in(&suite, &browser).await;
    browser.wait_focus("#title").await;
    let item = browser.wait("#list li").await;
    for words in [
        "Household support",
        "You said yes",
        "Ministry of Social Affairs",
        "Data protection officer",
        "household.income",
        "Bank of the State",
        "Household support rules",
        "365 days",
    ] {
        assert!(item.contains(words), "{words} is not in {item}");
    }
    browser.click("#list summary").await;
    browser.wait_text("#list ol", ": yes, unsigned").await;
    browser.check("privacy-answers").await;

    // Keeping the yes changes nothing.
    browser.click("#list button").await;
    browser
        .wait_text("dialog[open]", "Take your yes back?")
        .await;
    browser.check("privacy-confirm").await;
    browser.click("dialog button.secondary").await;
    browser
        .wait_that("!document.querySelector('dialog[open]')")
        .await;
    assert!(allowed(&suite, &agreed).await);
    browser.click("#list button").await;
    browser.click("dialog button.danger").await;
    browser
        .wait_text("#status", "Your yes to Household support was taken back.")
        .await;
    browser
        .wait_text("#list .answer", "You took your yes back")
        .await;
    assert!(!allowed(&suite, &agreed).await, "the next check refuses");
    browser.check("privacy-withdrawn").await;

    browser.click("#list button").await;
    browser.wait_text("#list .answer", "You said yes").await;
    assert!(allowed(&suite, &agreed).await);
}

/// Publishes another text of the agreement.
pub(crate) async fn republish(suite: &Suite, agreement_id: &str, edit: impl FnOnce(&mut Value)) {
    let path = format!("/consent/config/data-agreement/{agreement_id}/");
    let (_, found) = suite.call(Method::GET, &path, &Value::Null).await;
    let mut agreement = found["dataAgreement"].clone();
    edit(&mut agreement);
    let body = json!({ "dataAgreement": agreement });
    let (status, answer) = suite.call(Method::PUT, &path, &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_is_what_was_agreed_to() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let agreed = agree(&suite, &browser, "Household support").await;
    let path = "/consent/service/individual/record/consent-record/";
    let own = format!("{path}?individualId={}", agreed.individual_id);
    let (_, records) = suite.call(Method::GET, &own, &Value::Null).await;
    let id = records["consentRecords"][0]["id"].as_str().unwrap();
    // The person leaves out what they need not give.
    let choice = json!({ "attribute": "household.members", "granted": false });
    let body = json!({ "consentRecord": { "optIn": true, "attributes": [choice] } });
    let (status, answer) = suite
        .call(Method::PUT, &format!("{path}{id}/"), &body)
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    republish(&suite, &agreed.agreement_id, |text| {
        text["purpose"] = json!("Something else");
        text["recipients"] = json!([{ "id": "shop", "name": "A shop" }]);
        text["controller"]["name"] = json!("Another ministry");
        text["controller"]["contact"] = json!("Nobody");
        text["dataAttributes"][0]["name"] = json!("household.debts");
    })
    .await;
    sign_in(&suite, &browser).await;
    let item = browser.wait("#list li").await;
    for words in [
        "Household support",
        "The text has changed since you said yes",
        "Ministry of Social Affairs",
        "Data protection officer",
        "Bank of the State",
        "household.income",
        "Left out by you",
    ] {
        assert!(item.contains(words), "{words} is not in {item}");
    }
    for words in [
        "Something else",
        "Another ministry",
        "Nobody",
        "A shop",
        "debts",
    ] {
        assert!(!item.contains(words), "{words} is in {item}");
    }
    let script = "return [...document.querySelectorAll('#list dt')]
        .find((one) => one.textContent === 'Data').nextSibling.textContent;";
    assert_eq!(browser.eval(script, json!([])).await, "household.income");
    browser.check("privacy-superseded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_alone_is_enough_and_the_dialog_keeps_the_focus() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let agreed = agree(&suite, &browser, "Household support").await;
    sign_in(&suite, &browser).await;
    browser.wait("#notify").await;
    let name = "Household support";
    let way = browser.tab_to("Take back my yes").await;
    // Controller, rules and history stand before the button.
    assert_eq!(
        way,
        [
            "Ministry of Social Affairs",
            "Household support rules",
            "Everything you answered",
            "Take back my yes",
        ]
    );
    browser.press(ENTER).await;
    browser.wait("dialog[open]").await;
    let first = browser.focus().await;
    browser.press(ESCAPE).await;
    browser.wait_focus("Take back my yes").await;
    assert_eq!(first, "Take it back");
    assert!(allowed(&suite, &agreed).await, "escape does nothing");
    browser.press(ENTER).await;
    browser.wait("dialog[open]").await;
    browser.press(TAB).await;
    assert_eq!(browser.focus().await, "Keep my yes");
    browser.press_back_tab().await;
    browser.press(ENTER).await;
    browser
        .wait_text("#list .answer", "You took your yes back")
        .await;
    browser.wait_focus(name).await;
    assert!(!allowed(&suite, &agreed).await);
    browser.tab_to("#notify").await;
    browser.press(" ").await;
    browser.wait_text("#status", "Noted.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_answered_sees_that() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    sign_in(&suite, &browser).await;
    assert_eq!(
        browser.wait("#none").await,
        "You have not answered anything yet."
    );
    browser.click("#events-show").await;
    browser
        .wait_text("#events-none", "Nothing has happened yet.")
        .await;
    assert!(!browser.sees("#used-title").await);
    browser.click("#offers-show").await;
    browser
        .wait_text("#offers-none", "There is nothing else to answer.")
        .await;
    assert!(!browser.sees("#others").await);
    browser.check("privacy-nothing").await;
    browser.click("#leave").await;
    browser.wait("#begin").await;
    assert!(!browser.sees("#answers").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_was_cancelled_or_forged_is_none() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    browser.go(&suite.at("/privacy")).await;
    browser.click("#begin").await;
    browser.click("button[value=cancel]").await;
    browser
        .wait_text("#problem", "the sign-in was cancelled")
        .await;
    browser.wait("#begin").await;
    // A code that somebody else puts into the address is not taken.
    browser.go(&suite.at("/privacy?code=abc&state=def")).await;
    browser
        .wait_text("#problem", "this sign-in was not begun in this window")
        .await;
    // And the gateway exchanges none without the verifier.
    let body = json!({ "code": "abc", "codeVerifier": "x".repeat(43) });
    let (status, answer) = suite
        .call(Method::POST, "/gateway/v1/sign-in/token", &body)
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(answer["code"], "INVALID_GRANT");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_sign_in_the_page_says_so() {
    let suite = suite_with("").await;
    let browser = Browser::open().await;
    browser.go(&suite.at("/privacy")).await;
    browser
        .wait_text("#closed", "Nobody can sign in here")
        .await;
    browser.check("privacy-closed").await;
    let offer: Value = suite
        .fetch("/gateway/v1/sign-in")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(offer, json!({ "available": false }));
    assert_eq!(suite.mails(), 0);
}
