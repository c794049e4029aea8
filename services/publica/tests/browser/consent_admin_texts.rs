//! `/admin/consent`: what policies and agreements say about sharing, and what receipts need.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::consent_admin::{add_data, choose, listed, open, write_policy};
use crate::suite::Suite;

/// The only policy, as the interface tells it.
async fn policy(suite: &Suite) -> Value {
    let path = "/consent/config/policies/";
    let (_, answer) = suite.call(Method::GET, path, &Value::Null).await;
    answer["policies"][0].clone()
}

/// The only agreement, as it stands.
async fn agreement(suite: &Suite) -> Value {
    let path = "/consent/config/data-agreements/";
    let (_, answer) = suite.call(Method::GET, path, &Value::Null).await;
    answer["dataAgreements"][0].clone()
}

/// Saves the policy, having chosen what it says about sharing unless that is to stay.
async fn save_policy(suite: &Suite, browser: &Browser, sharing: Option<&str>) -> Value {
    browser.click("#policy-list button").await;
    browser.wait_focus("#policy-title").await;
    if let Some(value) = sharing {
        choose(browser, "#policy-sharing", value).await;
    }
    let before = policy(suite).await["revisionId"].clone();
    browser.fill("#policy-sector", "Social").await;
    let version = format!("2.{}", sharing.map_or(0, str::len));
    browser.fill("#policy-version", &version).await;
    browser.click("#policy button[type=submit]").await;
    browser.wait_focus("#policies-title").await;
    let after = policy(suite).await;
    assert_ne!(after["revisionId"], before, "it was saved");
    after
}

/// What a consumer is told who asks about the only agreement.
async fn decision(suite: &Suite, person: &str, consumer: &str) -> Value {
    let question = json!({ "individualId": person, "consumer": consumer,
        "dataAgreementId": agreement(suite).await["id"] });
    suite.post("/consent/v1/decisions", &question).await
}

/// Writes a person down who says yes to the only agreement.
async fn person_who_agrees(suite: &Suite) -> (String, String) {
    let body = json!({ "individual": { "externalId": "1", "externalIdType": "office" } });
    let made = suite.post("/consent/config/individual/", &body).await;
    let person = made["individual"]["id"].as_str().unwrap().to_owned();
    let agreement = agreement(suite).await;
    let path = format!(
        "/consent/service/individual/record/data-agreement/{}/?individualId={person}",
        agreement["id"].as_str().unwrap()
    );
    let made = suite.post(&path, &json!({})).await;
    let record = made["consentRecord"]["id"].as_str().unwrap().to_owned();
    (person, record)
}

async fn publish(browser: &Browser) {
    browser.click("#agreement-publish").await;
    browser.wait("dialog[open]").await;
    browser.click("dialog button[value=yes]").await;
    browser.wait_text("#status", "was published").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_says_no_to_sharing_only_where_that_was_chosen() {
    let suite = Suite::start().await;
    let browser = Browser::open().await;
    open(&suite, &browser).await;
    write_policy(&browser).await;
    assert!(policy(&suite).await.get("thirdPartyDataSharing").is_none());
    let saved = save_policy(&suite, &browser, None).await;
    assert!(saved.get("thirdPartyDataSharing").is_none(), "{saved}");

    // Whoever asks may use the data of an agreement that names no recipients.
    browser.click("#agreement-new").await;
    browser
        .fill("#agreement-purpose", "Household support")
        .await;
    browser.fill("#agreement-dpia", "Assessed").await;
    add_data(&browser, 1, "household.income", "").await;
    let id = saved["id"].as_str().unwrap();
    choose(&browser, "#agreement-policy", id).await;
    publish(&browser).await;
    let (person, _) = person_who_agrees(&suite).await;
    let answer = decision(&suite, &person, "shop").await;
    assert_eq!(answer["allowed"], true, "{answer}");

    for (value, said) in [("false", json!(false)), ("true", json!(true))] {
        let saved = save_policy(&suite, &browser, Some(value)).await;
        assert_eq!(saved["thirdPartyDataSharing"], said);
        let saved = save_policy(&suite, &browser, None).await;
        assert_eq!(saved["thirdPartyDataSharing"], said, "it stays");
    }
    let saved = save_policy(&suite, &browser, Some("")).await;
    assert!(saved.get("thirdPartyDataSharing").is_none(), "{saved}");
}

/// Fills the agreement that is open with everything that receipts need.
async fn write_agreement(suite: &Suite, browser: &Browser) {
    for (field, value) in [
        ("#agreement-purpose", "Household support"),
        ("#agreement-dpia", "Assessed"),
        ("#agreement-days", "90"),
        ("#controller-name", "Ministry"),
        ("#controller-url", "https://social.example.org"),
        ("#controller-address", "1 Main Street"),
        ("#controller-contact", "Data protection officer"),
    ] {
        browser.fill(field, value).await;
    }
    add_data(browser, 1, "household.income", "Monthly income").await;
    add_data(browser, 2, "household.health", "Illness at home").await;
    browser.fill("#data-2-category", "dpv-pd:Health").await;
    choose(browser, "#data-2-necessity", "optional").await;
    browser.click("#data-2-specialCategory").await;
    browser.click("#recipient-add").await;
    browser.wait_focus("#recipient-1-id").await;
    browser.fill("#recipient-1-id", "bank").await;
    browser.fill("#recipient-1-name", "Bank of the State").await;
    browser.fill("#recipient-1-country", "XX").await;
    browser
        .fill("#recipient-1-attributes", "household.income")
        .await;
    let id = policy(suite).await["id"].as_str().unwrap().to_owned();
    choose(browser, "#agreement-policy", &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agreement_names_recipients_and_all_that_receipts_need() {
    let suite = Suite::start().await;
    let browser = Browser::open().await;
    open(&suite, &browser).await;
    let body = json!({ "policy": { "name": "Rules", "version": "1.0.0", "jurisdiction": "XX",
        "url": "https://example.org/rules", "storageLocation": "XX", "withdrawalMethod": "Here",
        "dataRetentionPeriodDays": 30, "thirdPartyDataSharing": false } });
    suite.post("/consent/config/policy/", &body).await;
    browser.reload().await;
    open(&suite, &browser).await;
    browser.click("#agreement-new").await;
    write_agreement(&suite, &browser).await;
    let lacking = listed(&browser, "kantara").await;
    assert_eq!(
        lacking,
        crate::consent_admin::names(["controller.email", "controller.phone"])
    );
    browser
        .fill("#controller-email", "privacy@social.example.org")
        .await;
    browser.fill("#controller-phone", "+1 555 0100").await;
    browser.wait_text("#gaps", "Nothing is missing").await;
    browser.check("consent-admin-recipients").await;
    publish(&browser).await;

    let text = agreement(&suite).await;
    assert_eq!(text["validityDays"], 90, "{text}");
    assert_eq!(text["controller"]["phone"], "+1 555 0100");
    let bank = json!([{ "id": "bank", "name": "Bank of the State", "country": "XX",
        "attributes": ["household.income"] }]);
    assert_eq!(text["recipients"], bank);
    let health = &text["dataAttributes"][1];
    for (member, value) in [
        ("necessity", json!("optional")),
        ("category", json!("dpv-pd:Health")),
        ("specialCategory", json!(true)),
        ("sensitivity", json!("personal")),
    ] {
        assert_eq!(health[member], value, "{member} of {health}");
    }
    let (person, record) = person_who_agrees(&suite).await;
    let answer = decision(&suite, &person, "bank").await;
    assert_eq!(answer["allowed"], true, "{answer}");
    assert_eq!(answer["grantedAttributes"], json!(["household.income"]));
    let answer = decision(&suite, &person, "shop").await;
    assert_eq!(
        answer["reasons"],
        json!(["consumer_not_listed"]),
        "{answer}"
    );
    let path = format!(
        "/consent/service/individual/record/consent-record/{record}/receipt/?format=kantara"
    );
    let (status, answer) = suite.call(Method::GET, &path, &Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let controller = &answer["receipt"]["piiControllers"][0];
    assert_eq!(controller["email"], "privacy@social.example.org");
    keeps_what_it_does_not_show(&suite, &browser).await;
}

/// A change on the page leaves members alone that it has no field for, and removes what is removed.
async fn keeps_what_it_does_not_show(suite: &Suite, browser: &Browser) {
    let mut text = agreement(suite).await;
    text["dataAttributes"][0]["restrictions"] = json!(["no copies"]);
    text["lifecycle"] = json!("Draft");
    let path = format!(
        "/consent/config/data-agreement/{}/",
        text["id"].as_str().unwrap()
    );
    let body = json!({ "dataAgreement": text });
    let (status, answer) = suite.call(Method::PUT, &path, &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    browser.reload().await;
    open(suite, browser).await;
    browser.click("#agreement-list button").await;
    browser.wait_focus("#agreement-title").await;
    browser.fill("#data-1-name", "household.earnings").await;
    browser.fill("#recipient-1-attributes", "").await;
    browser.click("[aria-label='Remove: Data 2']").await;
    browser.wait_focus("#data-add").await;
    browser.fill("#agreement-days", "soon").await;
    browser.click("#agreement-save").await;
    browser
        .wait_text("#agreement .faults", "validityDays")
        .await;
    browser.fill("#agreement-days", "").await;
    browser.click("#agreement-save").await;
    browser.wait_text("#status", "was saved.").await;
    let kept = agreement(suite).await;
    assert!(kept.get("validityDays").is_none(), "{kept}");
    assert_eq!(kept["recipients"][0]["id"], "bank");
    assert!(kept["recipients"][0].get("attributes").is_none(), "{kept}");
    let data = kept["dataAttributes"].as_array().unwrap();
    assert_eq!(data.len(), 1, "{kept}");
    assert_eq!(data[0]["name"], "household.earnings");
    assert_eq!(
        data[0]["id"], text["dataAttributes"][0]["id"],
        "a new name is no new thing"
    );
    assert_eq!(data[0]["restrictions"], json!(["no copies"]));
}
