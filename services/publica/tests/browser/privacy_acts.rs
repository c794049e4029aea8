//! `/privacy`: what a person does about new texts, answers of others, uses and receipts.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::login::suite_with;
use crate::privacy::{SETTINGS, agree, agreement, allowed, republish, sign_in};
use crate::suite::Suite;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_text_is_read_before_it_is_agreed_to() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let agreed = agree(&suite, &browser, "Household support").await;
    republish(&suite, &agreed.agreement_id, |text| {
        text["purpose"] = json!("Household and school support");
    })
    .await;
    assert!(!allowed(&suite, &agreed).await);
    sign_in(&suite, &browser).await;
    browser
        .wait_text("#list .answer", "The text has changed since you said yes")
        .await;
    browser.click("#list button").await;
    let shown = browser.wait("dialog[open]").await;
    for words in [
        "Household and school support",
        "Ministry of Social Affairs",
        "household.income (Monthly income)",
        "Data that you may add",
        "household.members (Who lives there)",
    ] {
        assert!(shown.contains(words), "{words} is not in {shown}");
    }
    let ticked = "return document.querySelectorAll('#text input:checked').length;";
    assert_eq!(
        browser.eval(ticked, json!([])).await,
        0,
        "nothing is ticked for anybody"
    );
    browser.check("privacy-new-text").await;
    browser.click("#text button.secondary").await;
    browser
        .wait_that("!document.querySelector('dialog[open]')")
        .await;
    assert!(!allowed(&suite, &agreed).await, "reading is not agreeing");

    browser.click("#list button").await;
    browser.wait("dialog[open]").await;
    browser.click("#text button[value=yes]").await;
    browser
        .wait_text(
            "#status",
            "Your yes to Household and school support was noted.",
        )
        .await;
    let item = browser.wait("#list li").await;
    for words in [
        "You said yes",
        "Household and school support",
        "Left out by you",
    ] {
        assert!(item.contains(words), "{words} is not in {item}");
    }
    assert!(allowed(&suite, &agreed).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn saying_yes_again_after_a_new_text_leads_to_that_text() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let agreed = agree(&suite, &browser, "Household support").await;
    sign_in(&suite, &browser).await;
    browser.click("#list button").await;
    browser.click("#sure button.danger").await;
    browser
        .wait_text("#list .answer", "You took your yes back")
        .await;
    republish(&suite, &agreed.agreement_id, |text| {
        text["purpose"] = json!("Something wider");
    })
    .await;
    browser.click("#list button").await;
    browser.wait_text("dialog[open]", "Something wider").await;
    browser.click("#text button[value=yes]").await;
    browser
        .wait_text("#status", "Your yes to Something wider was noted.")
        .await;
    assert!(allowed(&suite, &agreed).await);
}

/// Has somebody else answer for the person, and takes that right away again.
pub(crate) async fn answered_by_another(suite: &Suite, individual_id: &str) {
    let other = json!({ "individual": { "externalId": "carer", "externalIdType": "office" } });
    let other = suite.post("/consent/config/individual/", &other).await;
    let other = other["individual"]["id"].as_str().unwrap().to_owned();
    let delegation = json!({ "delegation": { "individualId": individual_id,
        "delegateIndividualId": other, "relationship": "carer", "actions": ["give"] } });
    let made = suite
        .post("/consent/service/delegation/", &delegation)
        .await;
    let delegation = made["delegation"]["id"].as_str().unwrap().to_owned();
    let id = agreement(suite, "School meals").await;
    let path = format!(
        "/consent/service/individual/record/data-agreement/{id}/?individualId={individual_id}\
         &delegateId={other}"
    );
    suite.post(&path, &json!({})).await;
    let path = format!("/consent/service/delegation/{delegation}/");
    let (status, answer) = suite.call(Method::DELETE, &path, &Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_answered_is_confirmed() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let agreed = agree(&suite, &browser, "Household support").await;
    answered_by_another(&suite, &agreed.individual_id).await;
    sign_in(&suite, &browser).await;
    let item = browser.wait_text("#list li", "School meals").await;
    assert!(item.contains("Somebody answered this for you"), "{item}");
    browser.check("privacy-confirmation").await;
    let confirm = "[aria-label='Confirm: School meals']";
    browser.click(&format!("#list {confirm}")).await;
    browser
        .wait_text("#status", "Your yes to School meals was noted.")
        .await;
    browser
        .wait_that(&format!("!document.querySelector(\"{confirm}\")"))
        .await;
    let own = format!(
        "/consent/service/individual/record/consent-record/?individualId={}",
        agreed.individual_id
    );
    let (_, records) = suite.call(Method::GET, &own, &Value::Null).await;
    for record in records["consentRecords"].as_array().unwrap() {
        assert!(record.get("reconfirmationDue").is_none(), "{record}");
        assert!(record.get("delegationId").is_none(), "{record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_used_the_data_is_told_with_everything_else() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let agreed = agree(&suite, &browser, "Household support").await;
    assert!(allowed(&suite, &agreed).await);
    assert!(allowed(&suite, &agreed).await);
    sign_in(&suite, &browser).await;
    browser.click("#events-show").await;
    browser.wait_text("#used", "bank: 2 times, last on").await;
    browser.wait_focus("#happened-title").await;
    let events = browser.wait("#events").await;
    for words in [
        "bank was allowed to use your data: Household support",
        "Yes was answered, written down by ",
        "You were written down here",
    ] {
        assert!(events.contains(words), "{words} is not in {events}");
    }
    browser.check("privacy-events").await;
    browser.click("#list button").await;
    browser.click("#sure button.danger").await;
    browser
        .wait_text("#list .answer", "You took your yes back")
        .await;
    assert!(!allowed(&suite, &agreed).await);
    browser.reload().await;
    sign_in(&suite, &browser).await;
    browser.click("#events-show").await;
    browser
        .wait_text(
            "#events",
            "bank was refused your data: Household support (you took",
        )
        .await;
}
