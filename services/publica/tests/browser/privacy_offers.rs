//! `/privacy`: a first yes, and objections to what needs none.

use reqwest::Method;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::login::suite_with;
use crate::privacy::{
    Agreed, SETTINGS, agreement, agreement_with, allowed, person, say_yes, sign_in,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_first_yes_is_said_on_the_page_to_a_text_that_was_read() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let individual_id = person(&suite, &browser).await;
    let agreed = Agreed {
        agreement_id: agreement(&suite, "Household support").await,
        individual_id,
    };
    // What was answered, what takes no answers, and what was not published are not offered.
    let known = Agreed {
        agreement_id: agreement(&suite, "School meals").await,
        individual_id: agreed.individual_id.clone(),
    };
    say_yes(&suite, &known).await;
    for (purpose, member, value) in [
        ("Closed", "active", json!(false)),
        ("Unfinished", "lifecycle", json!("Draft")),
        ("Pensions", "lawfulBasis", json!("legal_obligation")),
    ] {
        agreement_with(&suite, purpose, |text| text[member] = value).await;
    }
    sign_in(&suite, &browser).await;
    browser.click("#offers-show").await;
    browser.wait_text("#status", "1 more is shown.").await;
    browser.wait_focus("#offers-title").await;
    let offered = browser.wait("#offers-yes-list").await;
    for words in [
        "Household support",
        "Ministry of Social Affairs",
        "household.income",
        "Bank of the State",
    ] {
        assert!(offered.contains(words), "{words} is not in {offered}");
    }
    assert!(!browser.sees("#offers-object").await);
    browser.check("privacy-offers").await;

    browser.click("#offers-yes-list button").await;
    browser
        .wait_text("dialog[open]", "household.income (Monthly income)")
        .await;
    let ticked = "return document.querySelectorAll('#text input:checked').length;";
    assert_eq!(browser.eval(ticked, json!([])).await, 0);
    browser.click("#text button.secondary").await;
    browser
        .wait_that("!document.querySelector('dialog[open]')")
        .await;
    assert!(!allowed(&suite, &agreed).await, "reading is not agreeing");
    browser.click("#offers-yes-list button").await;
    browser.click("#text button[value=yes]").await;
    browser
        .wait_text("#status", "Your yes to Household support was noted.")
        .await;
    browser.wait_focus("Household support").await;
    let item = browser.wait("#list li").await;
    for words in ["Household support", "You said yes", "Left out by you"] {
        assert!(item.contains(words), "{words} is not in {item}");
    }
    assert!(!browser.sees("#offers-yes").await, "it is answered");
    assert!(allowed(&suite, &agreed).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_objects_where_the_law_lets_them() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let individual_id = person(&suite, &browser).await;
    let agreement_id = agreement_with(&suite, "Planning of schools", |text| {
        text["lawfulBasis"] = json!("public_task");
    })
    .await;
    let agreed = Agreed {
        agreement_id,
        individual_id,
    };
    assert!(allowed(&suite, &agreed).await);
    sign_in(&suite, &browser).await;
    browser.click("#offers-show").await;
    browser
        .wait_text("#offers-object-list", "Planning of schools")
        .await;
    browser.check("privacy-objectable").await;
    browser.click("#offers-object-list button").await;
    browser
        .wait_text("dialog[open]", "Object to this use?")
        .await;
    browser.check("privacy-object").await;
    browser.click("#object button.secondary").await;
    browser
        .wait_that("!document.querySelector('dialog[open]')")
        .await;
    assert!(allowed(&suite, &agreed).await, "nothing was objected to");
    browser.click("#offers-object-list button").await;
    browser.click("#object button.danger").await;
    browser
        .wait_text(
            "#status",
            "Your objection to Planning of schools was noted.",
        )
        .await;
    browser.wait_text("#list .answer", "You objected").await;
    assert!(!allowed(&suite, &agreed).await);
    is_signed(&suite, &agreed).await;

    browser
        .click("[aria-label='Take back my objection: Planning of schools']")
        .await;
    browser
        .wait_text("#list .answer", "You do not object")
        .await;
    assert!(allowed(&suite, &agreed).await);
    browser
        .click("[aria-label='Object: Planning of schools']")
        .await;
    browser.click("#object button.danger").await;
    browser.wait_text("#list .answer", "You objected").await;
    assert!(!allowed(&suite, &agreed).await);
    browser.check("privacy-objected").await;
}

/// The objection is signed, its chain holds, and no key is left behind that could sign more.
async fn is_signed(suite: &crate::suite::Suite, agreed: &Agreed) {
    let path = format!(
        "/consent/service/individual/record/consent-record/?individualId={}",
        agreed.individual_id
    );
    let (_, answer) = suite.call(Method::GET, &path, &Value::Null).await;
    let record = &answer["consentRecords"][0];
    assert_eq!(record["state"], "signed", "{record}");
    assert_eq!(record["optIn"], false);
    let id = record["id"].as_str().unwrap();
    let path = format!("/consent/audit/consent-record/{id}/verify/");
    let (_, chain) = suite.call(Method::GET, &path, &Value::Null).await;
    assert_eq!(chain["intact"], true, "{chain}");
    let path = format!("/consent/service/individual/{}/keys/", agreed.individual_id);
    let (_, answer) = suite.call(Method::GET, &path, &Value::Null).await;
    for key in answer["keys"].as_array().unwrap() {
        assert!(key["revokedAt"].is_string(), "{key}");
    }
}
