//! `/admin/consent`: an organisation writes its policies and agreements.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::browser::{Browser, ENTER};
use crate::suite::Suite;

pub(crate) async fn open(suite: &Suite, browser: &Browser) {
    browser.go(&suite.at("/admin/consent")).await;
    browser.fill("#token", suite.admin_token()).await;
    browser.press(ENTER).await;
    browser.wait_text("#status", "You are inside.").await;
    browser.wait_focus("#policies-title").await;
}

/// Chooses by value, as the keyboard does by letters.
pub(crate) async fn choose(browser: &Browser, field: &str, value: &str) {
    browser
        .click(&format!("{field} option[value='{value}']"))
        .await;
}

/// What the page lists as missing: `gap` for publication, the name of a receipt for advice.
pub(crate) async fn listed(browser: &Browser, kind: &str) -> BTreeSet<String> {
    let script = "return [...document.querySelectorAll(`#gaps [data-${arguments[0]}]`)]
        .map((one) => one.dataset[arguments[0]]);";
    serde_json::from_value(browser.eval(script, json!([kind])).await).unwrap()
}

async fn gaps(browser: &Browser) -> BTreeSet<String> {
    listed(browser, "gap").await
}

pub(crate) fn names<const N: usize>(all: [&str; N]) -> BTreeSet<String> {
    BTreeSet::from(all.map(str::to_owned))
}

/// Adds data to the agreement that is written, as the `at`th.
pub(crate) async fn add_data(browser: &Browser, at: usize, name: &str, about: &str) {
    browser.click("#data-add").await;
    browser.wait_focus(&format!("#data-{at}-name")).await;
    browser.fill(&format!("#data-{at}-name"), name).await;
    if !about.is_empty() {
        let field = format!("#data-{at}-description");
        browser.fill(&field, about).await;
    }
}

pub(crate) async fn write_policy(browser: &Browser) {
    browser.click("#policy-new").await;
    browser.wait_focus("#policy-title").await;
    browser
        .fill("#policy-name", "Household support rules")
        .await;
    browser
        .fill("#policy-url", "https://portal.example.org/rules")
        .await;
    browser.fill("#policy-jurisdiction", "XX").await;
    browser.fill("#policy-days", "365").await;
    browser.click("#policy button[type=submit]").await;
    browser
        .wait_text("#status", "The policy Household support rules was saved.")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agreement_is_written_found_wanting_completed_and_published() {
    let suite = Suite::start().await;
    let browser = Browser::open().await;
    browser.go(&suite.at("/admin/consent")).await;
    browser.wait("#token").await;
    browser.check("consent-admin-entrance").await;
    open(&suite, &browser).await;
    assert_eq!(
        browser.wait("#policy-none").await,
        "There is no policy yet."
    );
    write_policy(&browser).await;
    assert!(browser.wait("#policy-list").await.contains("Version 1.0.0"));

    browser.click("#agreement-new").await;
    browser.wait_focus("#agreement-title").await;
    assert_eq!(gaps(&browser).await, names(["dpia", "purpose"]));
    browser.click("#agreement-publish").await;
    browser.wait_text("#status", "2 things are missing.").await;
    browser
        .fill("#agreement-purpose", "Household support")
        .await;
    add_data(&browser, 1, "household.income", "Monthly income").await;
    add_data(&browser, 2, "household.members", "").await;
    choose(&browser, "#agreement-use", "data_source").await;
    browser.check("consent-admin-agreement").await;
    browser.click("#agreement-save").await;
    let needs = "The draft Household support was saved. Before it can be published it needs the \
                 impact assessment.";
    browser.wait_text("#status", needs).await;
    browser
        .wait_text("#agreement-list", "Draft, version 1.0.0")
        .await;

    browser.click("#agreement-list button").await;
    browser.wait_focus("#agreement-title").await;
    assert_eq!(gaps(&browser).await, names(["dpia"]));
    browser
        .fill("#agreement-dpia", "https://example.org/dpia")
        .await;
    // What receipts need is told, and does not stand in the way.
    let shown = browser.wait_text("#gaps", "This can be published.").await;
    assert!(!shown.contains("Nothing is missing"), "{shown}");
    let receipts = listed(&browser, "iso27560").await;
    assert!(receipts.is_superset(&names(["controller.name", "noticeUrl"])));
    assert!(!receipts.contains("dataAttributes"), "{receipts:?}");
    browser.check("consent-admin-advice").await;
    browser.click("#agreement-publish").await;
    browser.wait_text("dialog[open]", "Household support").await;
    browser.check("consent-admin-publish").await;
    browser.click("dialog button[value=yes]").await;
    browser
        .wait_text(
            "#status",
            "Household support was published as version 1.0.0.",
        )
        .await;
    is_published(&suite).await;
    revise_and_compare(&browser).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_completed_completes_the_agreements_under_it() {
    let suite = Suite::start().await;
    let browser = Browser::open().await;
    open(&suite, &browser).await;
    write_policy(&browser).await;
    let path = "/consent/config/policies/";
    let (_, answer) = suite.call(Method::GET, path, &Value::Null).await;
    let policy = answer["policies"][0]["id"].as_str().unwrap().to_owned();
    browser.click("#agreement-new").await;
    browser.wait_focus("#agreement-title").await;
    for (field, value) in [
        ("#agreement-purpose", "Household support"),
        ("#agreement-dpia", "https://example.org/dpia"),
        ("#controller-name", "Ministry"),
        ("#controller-url", "https://social.example.org"),
        ("#controller-address", "1 Main Street"),
        ("#controller-contact", "Data protection officer"),
        ("#controller-email", "privacy@social.example.org"),
        ("#controller-phone", "+1 555 0100"),
    ] {
        browser.fill(field, value).await;
    }
    add_data(&browser, 1, "household.income", "Monthly income").await;
    choose(&browser, "#agreement-policy", &policy).await;
    browser.click("#agreement [name=receiptProfile]").await;
    let lacking = names(["policy.storageLocation", "policy.withdrawalMethod"]);
    assert_eq!(gaps(&browser).await, lacking);
    assert!(listed(&browser, "iso27560").await.is_empty());
    // The same without the box, as advice.
    browser.click("#agreement [name=receiptProfile]").await;
    assert!(gaps(&browser).await.is_empty());
    assert_eq!(listed(&browser, "iso27560").await, lacking);
    browser.click("#agreement [name=receiptProfile]").await;
    browser.click("#agreement-save").await;
    browser
        .wait_text("#status", "The draft Household support was saved.")
        .await;

    browser.click("#policy-list button").await;
    browser.wait_focus("#policy-title").await;
    browser.fill("#policy-storage", "XX").await;
    browser
        .fill("#policy-withdrawal", "https://portal.example.org/withdraw")
        .await;
    browser.fill("#policy-version", "2.0.0").await;
    browser.click("#policy button[type=submit]").await;
    browser
        .wait_text("#status", "The policy Household support rules was saved.")
        .await;
    browser.click("#agreement-list button").await;
    browser.wait_text("#gaps", "Nothing is missing").await;
    browser.click("#agreement-publish").await;
    browser.wait_text("dialog[open]", "Household support").await;
    browser.click("dialog button[value=yes]").await;
    browser
        .wait_text(
            "#status",
            "Household support was published as version 1.0.0.",
        )
        .await;
    is_published_under(&suite, "2.0.0").await;
}

/// The published agreement rests on this version of its policy.
async fn is_published_under(suite: &Suite, version: &str) {
    let path = "/consent/service/verification/data-agreements/";
    let (_, answer) = suite.call(Method::GET, path, &Value::Null).await;
    let policy = &answer["dataAgreements"][0]["policy"];
    assert_eq!(policy["version"], version, "{answer}");
    assert_eq!(policy["storageLocation"], "XX");
}

/// Whoever asks the published interface finds the agreement.
async fn is_published(suite: &Suite) {
    let path = "/consent/service/verification/data-agreements/";
    let (status, answer) = suite.call(Method::GET, path, &Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let published = &answer["dataAgreements"][0];
    assert_eq!(published["purpose"], "Household support", "{answer}");
    assert_eq!(published["dataAttributes"][1]["name"], "household.members");
}

/// Writes another text and compares it with the one before.
async fn revise_and_compare(browser: &Browser) {
    browser.click("#agreement-list button").await;
    browser
        .fill("#agreement-about", "Paying monthly support.")
        .await;
    browser
        .fill("#agreement-dpia", "https://example.org/dpia/2")
        .await;
    browser.click("#agreement-save").await;
    browser
        .wait_text("#agreement-list", "Has changes that are not published")
        .await;
    browser.click("#agreement-list button:nth-of-type(2)").await;
    browser
        .wait_text("#compare h2", "Revisions of Household support")
        .await;
    let changed = browser.wait("#compare-rows").await;
    for words in [
        "dpia",
        "https://example.org/dpia/2",
        "Paying monthly support.",
    ] {
        assert!(changed.contains(words), "{words} is not in {changed}");
    }
    assert!(!changed.contains("household.income"), "{changed}");
    browser.check("consent-admin-compare").await;
}

/// Texts with more and fewer members, most of them lacking something.
fn unfinished() -> Vec<Value> {
    let attribute = json!([{ "name": "a", "sensitivity": "personal", "category": "x" }]);
    let whole = json!({ "name": "Ministry", "url": "https://example.org", "address": "Street",
        "contact": "Officer", "email": "officer@example.org", "phone": "+10000000" });
    vec![
        json!({ "purpose": "", "dpia": "" }),
        json!({ "purpose": " ", "dpia": " ", "lawfulBasis": "consent" }),
        json!({ "purpose": "P", "lawfulBasis": "consent", "dpia": "d",
            "controller": { "name": "Ministry" } }),
        json!({ "purpose": "P", "lawfulBasis": "consent", "dpia": "d",
            "receiptProfile": "iso27560" }),
        json!({ "purpose": "P", "lawfulBasis": "contract", "receiptProfile": "iso27560",
            "noticeUrl": "https://example.org/n", "dataAttributes": attribute,
            "controller": { "name": "Ministry", "address": "Street" } }),
        json!({ "purpose": "P", "lawfulBasis": "consent", "dpia": "d", "controller": whole,
            "dataAttributes": attribute }),
        json!({ "purpose": "P", "lawfulBasis": "consent", "dpia": "d", "controller": whole,
            "dataAttributes": attribute, "receiptProfile": "iso27560" }),
    ]
}

/// No policy, one that says the least, one that says a part, and one that says all.
async fn policies(suite: &Suite) -> Vec<Option<Value>> {
    let mut all = vec![None];
    for more in [
        json!({}),
        json!({ "storageLocation": "XX", "dataRetentionPeriodDays": 0 }),
        json!({ "storageLocation": "XX", "dataRetentionPeriodDays": 30, "jurisdiction": "XX",
            "withdrawalMethod": "By letter" }),
    ] {
        let mut policy = json!({ "name": "Rules", "version": "1.0.0",
            "url": "https://example.org/rules" });
        policy
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let body = json!({ "policy": policy });
        let made = suite.post("/consent/config/policy/", &body).await;
        all.push(Some(made["policy"].clone()));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_sees_the_same_gaps_as_the_block() {
    let suite = Suite::start().await;
    let browser = Browser::open().await;
    browser.go(&suite.at("/admin/consent")).await;
    let script = "const [agreement, policy, done] = arguments;
        import('/web/consent-gaps.js')
            .then((all) => done(all.gapsOf(agreement, policy ?? undefined)));";
    let (mut seen, mut published) = (BTreeSet::new(), 0);
    for policy in policies(&suite).await {
        for text in unfinished() {
            let found = browser.eval_later(script, json!([text, policy])).await;
            let mut draft = json!({ "version": "1.0.0", "lifecycle": "Draft" });
            for (name, value) in text.as_object().unwrap() {
                draft[name] = value.clone();
            }
            if let Some(policy) = &policy {
                draft["policyId"] = policy["id"].clone();
            }
            let body = json!({ "dataAgreement": draft });
            let made = suite.post("/consent/config/data-agreement/", &body).await;
            let id = made["dataAgreement"]["id"].as_str().unwrap();
            let path = format!("/consent/config/data-agreement/{id}/");
            let (_, block) = suite
                .call(Method::GET, &format!("{path}gaps/"), &Value::Null)
                .await;
            assert_eq!(found, block, "{text} under {policy:?}");
            seen.insert(block.to_string());
            // And publication is refused for these, and for nothing else.
            let (status, answer) = suite
                .call(Method::POST, &format!("{path}publish/"), &json!({}))
                .await;
            let complete = block["publication"] == json!([]);
            assert_eq!(status.is_success(), complete, "{text}: {answer}");
            published += usize::from(complete);
        }
    }
    assert!(published > 0, "some can be published");
    assert!(
        seen.len() > unfinished().len(),
        "policies make a difference"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changed_meanwhile_is_found_wanting_by_the_block() {
    let suite = Suite::start().await;
    let browser = Browser::open().await;
    let policy = policies(&suite).await.pop().flatten().unwrap();
    let mut agreement = unfinished().pop().unwrap();
    agreement["policyId"] = policy["id"].clone();
    agreement["lifecycle"] = json!("Draft");
    let body = json!({ "dataAgreement": agreement });
    suite.post("/consent/config/data-agreement/", &body).await;
    open(&suite, &browser).await;
    browser.click("#agreement-list button").await;
    browser.wait_text("#gaps", "Nothing is missing").await;
    let mut less = policy.clone();
    less.as_object_mut().unwrap().remove("withdrawalMethod");
    let path = format!("/consent/config/policy/{}/", policy["id"].as_str().unwrap());
    let (status, answer) = suite
        .call(Method::PUT, &path, &json!({ "policy": less }))
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    browser.click("#agreement-publish").await;
    browser.click("dialog button[value=yes]").await;
    browser.wait_text("#status", "1 thing is missing.").await;
    assert_eq!(gaps(&browser).await, names(["policy.withdrawalMethod"]));
    // What is written next rests on the policy as it is now.
    browser.fill("#agreement-about", "Paying support.").await;
    assert_eq!(gaps(&browser).await, names(["policy.withdrawalMethod"]));
    let path = "/consent/service/verification/data-agreements/";
    let (_, answer) = suite.call(Method::GET, path, &Value::Null).await;
    assert_eq!(answer["dataAgreements"], json!([]), "nothing was published");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_said_and_nothing_is_lost() {
    let suite = Suite::start().await;
    let browser = Browser::open().await;
    browser.go(&suite.at("/admin/consent")).await;
    browser.fill("#token", "nonsense").await;
    browser.click("#entrance button").await;
    browser
        .wait_text("#problem", "the sign-in has ended, or was not accepted")
        .await;
    assert!(!browser.sees("#inside").await);
    browser.check("consent-admin-refused").await;

    open(&suite, &browser).await;
    browser.click("#policy-new").await;
    browser.fill("#policy-name", "Rules").await;
    browser.fill("#policy-url", "not an address").await;
    browser.click("#policy button[type=submit]").await;
    browser.wait_text("#policy .faults", "url").await;
    browser.check("consent-admin-faults").await;
    let name = "return document.getElementById('policy-name').value";
    assert_eq!(browser.eval(name, json!([])).await, "Rules");
    browser.fill("#policy-url", "https://example.org/1").await;
    browser.click("#policy button[type=submit]").await;
    browser
        .wait_text("#status", "The policy Rules was saved.")
        .await;

    // Somebody else changes it while it is open here.
    browser.click("#policy-list button").await;
    browser.wait_focus("#policy-title").await;
    let path = "/consent/config/policies/";
    let (_, answer) = suite.call(Method::GET, path, &Value::Null).await;
    let mut policy = answer["policies"][0].clone();
    let id = policy["id"].as_str().unwrap().to_owned();
    policy["jurisdiction"] = json!("YY");
    let path = format!("/consent/config/policy/{id}/");
    let body = json!({ "policy": policy });
    let (status, answer) = suite.call(Method::PUT, &path, &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    browser.fill("#policy-jurisdiction", "ZZ").await;
    browser.click("#policy button[type=submit]").await;
    browser.wait_text("#problem", "That did not work").await;
    let (_, answer) = suite.call(Method::GET, &path, &Value::Null).await;
    assert_eq!(
        answer["policy"]["jurisdiction"], "YY",
        "the first change stands"
    );
    browser.click("#policy .close").await;
    browser.wait_focus("#policies-title").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn systems_are_tried_and_what_they_did_not_take_is_shown() {
    let inside = "[consent.journal.webhooks]\nallow_private = true\n";
    let suite = Suite::start_with(inside).await;
    let browser = Browser::open().await;
    // Nothing takes events there.
    let hook = json!({ "webhook": { "payloadUrl": suite.at("/nowhere"), "disabled": false,
        "contentType": "application/json", "secretKey": "",
        "subscribedEvents": ["consent.withdrawn"] } });
    suite.post("/consent/config/webhook/", &hook).await;
    open(&suite, &browser).await;
    browser
        .wait_text("#webhook-list", "consent.withdrawn")
        .await;
    browser.click("#webhook-list button:nth-of-type(2)").await;
    browser
        .wait_text("#delivery-none", "Nothing was sent yet.")
        .await;
    browser.click("#webhook-list button").await;
    browser
        .wait_text("#status", "A try is on its way to 127.0.0.1")
        .await;
    wait_given_up(&suite).await;
    browser.click("#webhook-list button:nth-of-type(2)").await;
    browser
        .wait_text("#delivery-rows", "Given up: the target answered 404")
        .await;
    assert!(
        browser
            .wait("#delivery-rows")
            .await
            .contains("webhook.ping")
    );
    browser.check("consent-admin-deliveries").await;
    browser.click("#delivery-rows button").await;
    browser
        .wait_text("#status", "webhook.ping is sent to 127.0.0.1")
        .await;
}

/// Waits until the only delivery of the only webhook was given up.
async fn wait_given_up(suite: &Suite) {
    let path = "/consent/config/webhooks/";
    let (_, all) = suite.call(Method::GET, path, &Value::Null).await;
    let id = all["webhooks"][0]["id"].as_str().unwrap();
    let path = format!("/consent/config/webhook/{id}/deliveries/?state=given%20up");
    publica_testkit::eventually(|| async {
        let (status, found) = suite.call(Method::GET, &path, &Value::Null).await;
        assert_eq!(status, StatusCode::OK);
        let one = found["deliveries"].as_array().unwrap().first()?;
        Some(one.clone())
    })
    .await;
}
