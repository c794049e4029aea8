//! `/privacy`: what happened, on whose word it was, and what the counts cover.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::login::suite_with;
use crate::privacy::{Agreed, SETTINGS, agree, agreement_with, allowed, person, sign_in};
use crate::privacy_acts::answered_by_another;

#[tokio::test(flavor = "multi_thread")]
async fn uses_on_other_grounds_are_told_to_whoever_answered_nothing() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let agreed = Agreed {
        individual_id: person(&suite, &browser).await,
        agreement_id: agreement_with(&suite, "Paying a pension", |text| {
            text["lawfulBasis"] = json!("legal_obligation");
        })
        .await,
    };
    assert!(allowed(&suite, &agreed).await, "no answer is needed");
    sign_in(&suite, &browser).await;
    browser.wait("#none").await;
    browser.click("#events-show").await;
    let told = "bank was allowed to use your data: Paying a pension (this needs no yes of yours)";
    browser.wait_text("#events", told).await;
    browser.wait_text("#used", "bank: once, last on").await;
    browser.wait_text("#used-scope", "that there are.").await;
    assert!(!browser.sees("#events-more").await);
    browser.check("privacy-other-grounds").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_answer_and_who_did_is_told() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let agreed = agree(&suite, &browser, "Household support").await;
    answered_by_another(&suite, &agreed.individual_id).await;
    sign_in(&suite, &browser).await;
    browser
        .click("#list [aria-label='Confirm: School meals']")
        .await;
    browser.wait_text("#status", "was noted.").await;
    browser.click("#events-show").await;
    let events = browser.wait("#events").await;
    for words in [
        "Yes was answered by you: School meals",
        "Somebody may no longer answer for you (your carer), written down by ",
        "Yes was answered for you by your carer: School meals",
        "Somebody may answer for you from now on (your carer), written down by ",
    ] {
        assert!(events.contains(words), "{words} is not in {events}");
    }
    browser.check("privacy-delegates").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_say_what_they_cover() {
    const CHECKS: usize = 55;
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let agreed = agree(&suite, &browser, "Household support").await;
    let question = json!({
        "individualId": agreed.individual_id,
        "dataAgreementId": agreed.agreement_id,
        "consumer": "bank",
    });
    for _ in 0..CHECKS {
        let answer: Value = suite.post("/consent/v1/decisions", &question).await;
        assert_eq!(answer["allowed"], true, "{answer}");
    }
    sign_in(&suite, &browser).await;
    browser.click("#events-show").await;
    browser
        .wait_text(
            "#used-scope",
            "Counted in the 50 events shown here; earlier ones are not",
        )
        .await;
    browser.wait_text("#used", "bank: 50 times, last on").await;
    browser.click("#events-more").await;
    browser
        .wait_text("#used-scope", "events that there are.")
        .await;
    browser
        .wait_text("#used", &format!("bank: {CHECKS} times, last on"))
        .await;
}
