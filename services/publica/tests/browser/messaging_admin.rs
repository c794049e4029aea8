//! `/admin/messaging`: how far a request is, and what went wrong.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_messaging::sink::Faults;
use publica_testkit::eventually;
use serde_json::json;

use crate::browser::{Browser, ENTER};
use crate::suite::Suite;

/// Sends to so many people, among them one whose address nobody has.
async fn send(suite: &Suite, people: usize) -> String {
    let mut recipients: Vec<_> = (0..people)
        .map(|at| json!({ "email": format!("person{at}@example.org") }))
        .collect();
    recipients.push(json!({ "email": "nobody@example.org" }));
    let list = serde_json::Value::Array(recipients).to_string();
    let body = json!({
        "senderInfo": { "email": "support@social.example.org", "name": "Programme" },
        "recipientInfo": { "batchEmailAsBase64": STANDARD.encode(list) },
        "emailContent": { "title": "News", "content": "There is news." },
    });
    let answer = suite.post("/messaging/send/email/batch", &body).await;
    answer["requestUid"].as_str().unwrap().to_owned()
}

async fn show(suite: &Suite, browser: &Browser, uid: &str) {
    browser.go(&suite.at("/admin/messaging")).await;
    browser.fill("#token", suite.admin_token()).await;
    browser.fill("#uid", uid).await;
    browser.press(ENTER).await;
    browser.wait("#request").await;
}

/// Looks again until the page says certain words.
async fn look_until(browser: &Browser, words: &str) {
    eventually(|| async {
        browser.click("#refresh").await;
        let told = browser.wait("#status").await;
        told.contains(words).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_progress_and_failures_by_reason() {
    let suite = Suite::start().await;
    suite.mail_fails(Faults {
        refuse: vec![("nobody@".to_owned(), "550 5.1.1 no such mailbox".to_owned())],
        ..Faults::default()
    });
    let browser = Browser::open().await;
    browser.go(&suite.at("/admin/messaging")).await;
    browser.wait("#uid").await;
    browser.check("messaging-admin-entrance").await;
    let uid = send(&suite, 3).await;
    show(&suite, &browser, &uid).await;
    look_until(&browser, "This request is finished.").await;
    assert_eq!(
        browser.wait("#progress-words").await,
        "4 of 4 messages are finished."
    );
    let states = browser.wait("#states").await;
    assert!(states.contains("Handed over 3"), "{states}");
    assert!(
        states.contains("Refused by the receiving side 1"),
        "{states}"
    );
    let reasons = browser.wait("#reasons").await;
    assert!(reasons.contains("550 no_such_mailbox"), "{reasons}");
    assert!(!reasons.contains("nobody@"), "no addresses: {reasons}");
    assert!(
        !browser.sees("#stop").await,
        "there is nothing left to stop"
    );
    browser.check("messaging-admin-finished").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_stops_what_was_not_sent() {
    let suite = Suite::start().await;
    // Nothing can be handed over for now.
    suite.mail_fails(Faults {
        closed: true,
        ..Faults::default()
    });
    let browser = Browser::open().await;
    let uid = send(&suite, 2).await;
    show(&suite, &browser, &uid).await;
    browser
        .wait_text("#progress-words", "0 of 3 messages are finished.")
        .await;
    browser.click("#stop").await;
    browser
        .wait_text("dialog[open]", "Stop this request?")
        .await;
    browser.check("messaging-admin-stop").await;
    browser.click("dialog button.secondary").await;
    browser
        .wait_text("#progress-words", "0 of 3 messages are finished.")
        .await;
    browser.click("#stop").await;
    browser.click("dialog button.danger").await;
    browser
        .wait_text("#status", "What was not sent yet was stopped.")
        .await;
    look_until(&browser, "This request is finished.").await;
    let states = browser.wait("#states").await;
    assert!(states.contains("Not sent 3"), "{states}");
    assert_eq!(suite.mails(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_not_known_is_not_made_up() {
    let suite = Suite::start().await;
    let browser = Browser::open().await;
    browser.go(&suite.at("/admin/messaging")).await;
    browser.fill("#token", suite.admin_token()).await;
    browser
        .fill("#uid", "0195f5a1-0000-7000-8000-000000000000")
        .await;
    browser.click("#entrance button").await;
    browser.wait_text("#problem", "That did not work").await;
    assert!(!browser.sees("#request").await);
    browser.check("messaging-admin-unknown").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_holds_a_request_up_and_watches_it() {
    let suite = Suite::start().await;
    suite.mail_fails(Faults {
        delay: std::time::Duration::from_millis(150),
        ..Faults::default()
    });
    let browser = Browser::open().await;
    let uid = send(&suite, 4_000).await;
    browser.go(&suite.at("/admin/messaging")).await;
    browser.fill("#token", suite.admin_token()).await;
    browser.press(ENTER).await;
    let rows = browser.wait_text("#list-rows", &uid).await;
    assert!(rows.contains("Goes on"), "{rows}");
    browser.check("messaging-admin-list").await;
    browser.click("#list-rows button").await;
    browser.wait("#request").await;
    // The page looks again by itself, and tells how fast it goes.
    browser.wait_text("#rate-words", "messages a second.").await;
    browser.click("#pause").await;
    browser
        .wait_text("#status", "What was not sent yet is held up.")
        .await;
    browser.wait_focus("#resume").await;
    browser
        .wait_text("#paused-words", "An operator holds this request up.")
        .await;
    browser.check("messaging-admin-held-up").await;
    let before = eventually(|| async {
        let mails = suite.mails();
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        (mails == suite.mails()).then_some(mails)
    })
    .await;
    assert!(before < 4_001, "everything was sent before it was held up");
    suite.mail_fails(Faults::default());
    browser.click("#resume").await;
    browser.wait_text("#status", "The request goes on.").await;
    browser
        .wait_text("#progress-words", "4001 of 4001 messages are finished.")
        .await;
    browser
        .wait_text("#status", "This request is finished.")
        .await;
    assert_eq!(suite.mails(), 4_001);
    assert!(!browser.sees("#pause").await && !browser.sees("#resume").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sends_again_what_failed() {
    let suite = Suite::start().await;
    suite.mail_fails(Faults {
        refuse: vec![("nobody@".to_owned(), "554 5.7.1 blocked".to_owned())],
        ..Faults::default()
    });
    let browser = Browser::open().await;
    let uid = send(&suite, 2).await;
    show(&suite, &browser, &uid).await;
    look_until(&browser, "This request is finished.").await;
    let again = browser.wait("#again-rows").await;
    assert!(again.contains("refused_by_policy"), "{again}");
    browser.check("messaging-admin-again").await;
    suite.mail_fails(Faults::default());
    browser.click("#again-rows button").await;
    browser
        .wait_text("#status", "1 messages are sent again.")
        .await;
    look_until(&browser, "This request is finished.").await;
    let states = browser.wait("#states").await;
    assert!(states.contains("Handed over 3"), "{states}");
    assert!(
        !browser.sees("#again").await,
        "nothing is left to send again"
    );
    assert_eq!(suite.mails(), 3);
}
