//! `/privacy`: what a person may see and answer for others.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::login::suite_with;
use crate::privacy::{Agreed, SETTINGS, agreement, allowed, person, republish, sign_in};
use crate::suite::Suite;

/// Writes a child down and makes the person its guardian, who may do this about these agreements.
async fn child_of(suite: &Suite, guardian: &str, actions: &[&str], scope: &[&str]) -> String {
    let child = json!({ "individual": { "externalId": "child", "externalIdType": "office" } });
    let child = suite.post("/consent/config/individual/", &child).await;
    let child = child["individual"]["id"].as_str().unwrap().to_owned();
    let delegation = json!({ "delegation": { "individualId": child,
        "delegateIndividualId": guardian, "relationship": "legal_guardian",
        "authorityReference": "Court file 7", "actions": actions, "scopeAgreements": scope } });
    suite
        .post("/consent/service/delegation/", &delegation)
        .await;
    child
}

/// The only record of a child, as it stands.
async fn record(suite: &Suite, child: &str) -> Value {
    let path = format!("/consent/service/individual/record/consent-record/?individualId={child}");
    let (status, answer) = suite.call(Method::GET, &path, &Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let all = answer["consentRecords"].as_array().unwrap();
    assert_eq!(all.len(), 1, "{answer}");
    all[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guardian_answers_for_a_child() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let guardian = person(&suite, &browser).await;
    let child = child_of(&suite, &guardian, &["give", "view"], &[]).await;
    let agreed = Agreed {
        agreement_id: agreement(&suite, "School meals").await,
        individual_id: child.clone(),
    };
    sign_in(&suite, &browser).await;
    let shown = browser.wait("#others-list").await;
    for words in [
        "Court file 7, as their legal guardian",
        "say yes, see the answers",
        "all agreements",
        &child,
    ] {
        assert!(shown.contains(words), "{words} is not in {shown}");
    }
    browser.click("#others-list .show").await;
    browser
        .wait_text("#others-list .rows .answer", "Not answered")
        .await;
    browser.check("privacy-others").await;

    browser.click("#others-list .rows button").await;
    browser.wait_text("dialog[open]", "School meals").await;
    browser.click("#text button[value=yes]").await;
    browser
        .wait_text("#status", "The yes to School meals was noted for them.")
        .await;
    browser
        .wait_text("#others-list .rows .answer", "Yes was answered")
        .await;
    assert!(allowed(&suite, &agreed).await);
    let stored = record(&suite, &child).await;
    assert!(stored["delegationId"].is_string(), "{stored}");
    browser.check("privacy-others-answered").await;

    browser.click("#others-list .rows button").await;
    browser
        .wait_text("dialog[open]", "Take this yes back?")
        .await;
    browser.check("privacy-others-confirm").await;
    browser.click("#sure-other button.danger").await;
    browser
        .wait_text(
            "#status",
            "The yes to School meals was taken back for them.",
        )
        .await;
    assert!(!allowed(&suite, &agreed).await);
    browser.click("#others-list .rows button").await;
    browser
        .wait_text("#others-list .rows .answer", "Yes was answered")
        .await;
    assert!(allowed(&suite, &agreed).await);

    a_new_text_is_read_first(&suite, &browser, &agreed).await;
    // It is the child's answer, and not the guardian's own.
    assert!(browser.sees("#none").await);
}

/// A text that was replaced is read before it is agreed to, here as well.
async fn a_new_text_is_read_first(suite: &Suite, browser: &Browser, agreed: &Agreed) {
    republish(suite, &agreed.agreement_id, |text| {
        text["purpose"] = json!("School meals and buses");
    })
    .await;
    browser.reload().await;
    sign_in(suite, browser).await;
    browser.click("#others-list .show").await;
    browser
        .click("[aria-label='Read the text: School meals']")
        .await;
    browser
        .wait_text("dialog[open]", "School meals and buses")
        .await;
    browser.click("#text button[value=yes]").await;
    browser
        .wait_text(
            "#status",
            "The yes to School meals and buses was noted for them.",
        )
        .await;
    assert!(allowed(suite, agreed).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_sees_and_answers_what_the_delegation_is_about() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let delegate = person(&suite, &browser).await;
    let inside = agreement(&suite, "School meals").await;
    let outside = agreement(&suite, "Paying a pension").await;
    let child = child_of(&suite, &delegate, &["view", "withdraw"], &[&inside]).await;
    for id in [&inside, &outside] {
        let path =
            format!("/consent/service/individual/record/data-agreement/{id}/?individualId={child}");
        suite.post(&path, &json!({})).await;
    }
    sign_in(&suite, &browser).await;
    browser
        .wait_text("#others-list", "certain agreements only")
        .await;
    browser.click("#others-list .show").await;
    let rows = browser
        .wait_text("#others-list .rows", "Yes was answered")
        .await;
    assert!(rows.contains("School meals"), "{rows}");
    assert!(!rows.contains("Paying a pension"), "{rows}");
    browser.click("#others-list .rows button").await;
    browser.click("#sure-other button.danger").await;
    browser
        .wait_text("#others-list .rows .answer", "The yes was taken back")
        .await;
    // Who may only take back cannot give again.
    assert!(!browser.sees("#others-list .rows button").await);
    let agreed = |agreement_id: &str| Agreed {
        agreement_id: agreement_id.to_owned(),
        individual_id: child.clone(),
    };
    assert!(!allowed(&suite, &agreed(&inside)).await);
    assert!(allowed(&suite, &agreed(&outside)).await);
}
