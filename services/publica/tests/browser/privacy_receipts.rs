//! `/privacy`: receipts, as files from the page.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use publica_testkit::eventually;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::login::suite_with;
use crate::privacy::{Agreed, SETTINGS, agree, agreement_with, say_yes, sign_in};

/// The one file in a folder whose name begins and ends so, once it is whole.
async fn file_in(folder: &Path, begin: &str, ending: &str) -> Vec<u8> {
    eventually(|| async {
        let mut files = std::fs::read_dir(folder).unwrap().map_while(Result::ok);
        let file = files.find(|file| {
            let name = file.file_name().into_string().unwrap_or_default();
            name.starts_with(begin) && name.ends_with(ending)
        })?;
        let bytes = std::fs::read(file.path()).ok()?;
        (!bytes.is_empty()).then_some(bytes)
    })
    .await
}

/// Asks for a receipt in a form about a purpose.
async fn ask(browser: &Browser, purpose: &str, form: &str) {
    let choice = format!("[aria-label='Form of the receipt: {purpose}'] option[value={form}]");
    browser.click(&choice).await;
    browser
        .click(&format!("[aria-label='Get a receipt: {purpose}']"))
        .await;
}

/// Asks for a receipt that comes as JSON; it is what its signature is about.
async fn receipt(browser: &Browser, folder: &Path, form: &str) -> Value {
    ask(browser, "Household support", form).await;
    let name = format!("consent-receipt-{form}-");
    let file = file_in(folder, &name, ".json").await;
    let file: Value = serde_json::from_slice(&file).unwrap();
    let signed: Vec<&str> = file["signedReceipt"].as_str().unwrap().split('.').collect();
    assert_eq!(signed.len(), 3, "{file}");
    let signed: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed[1]).unwrap()).unwrap();
    assert_eq!(signed, file["receipt"], "{form}");
    signed
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_come_in_the_form_that_is_wanted() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let folder = tempfile::tempdir().unwrap();
    browser.download_to(folder.path()).await;
    let agreed = agree(&suite, &browser, "Household support").await;
    sign_in(&suite, &browser).await;

    let iso = receipt(&browser, folder.path(), "iso27560").await;
    assert_eq!(iso["header"]["piiPrincipalId"], agreed.individual_id);
    assert_eq!(iso["processing"]["purpose"], "Household support");
    assert_eq!(iso["processing"]["retentionPeriod"], "P365D");

    let kantara = receipt(&browser, folder.path(), "kantara").await;
    assert_eq!(kantara["version"], "KI-CR-v1.1.0");
    assert_eq!(kantara["piiPrincipalId"], agreed.individual_id);
    let controller = &kantara["piiControllers"][0];
    assert_eq!(controller["phone"], "+1 555 0100", "{kantara}");
    assert_eq!(controller["email"], "privacy@social.example.org");
    let purpose = &kantara["services"][0]["purposes"][0];
    assert_eq!(purpose["consentType"], "EXPLICIT");
    assert_eq!(purpose["thirdPartyName"], "Bank of the State");

    let fhir = receipt(&browser, folder.path(), "fhir").await;
    assert_eq!(fhir["resourceType"], "Consent");
    assert_eq!(fhir["status"], "active");
    assert_eq!(fhir["decision"], "permit");
    assert!(
        fhir["subject"].to_string().contains(&agreed.individual_id),
        "{fhir}"
    );
    assert!(
        fhir["grantee"].to_string().contains("Bank of the State"),
        "{fhir}"
    );

    ask(&browser, "Household support", "pdf").await;
    let paper = file_in(folder.path(), "consent-receipt-pdf-", ".pdf").await;
    assert!(paper.starts_with(b"%PDF-"));
    let end = &paper[paper.len().saturating_sub(8)..];
    assert!(end.windows(5).any(|part| part == b"%%EOF"), "{end:?}");
    let problem = "return document.getElementById('problem').textContent;";
    assert_eq!(browser.eval(problem, json!([])).await, "");
    browser.check("privacy-receipt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_an_agreement_says_too_little_the_answer_itself_comes() {
    let suite = suite_with(SETTINGS).await;
    let browser = Browser::open().await;
    let folder = tempfile::tempdir().unwrap();
    browser.download_to(folder.path()).await;
    let Agreed { individual_id, .. } = agree(&suite, &browser, "Household support").await;
    // Kantara wants a telephone number.
    let agreement_id = agreement_with(&suite, "School meals", |text| {
        text["controller"].as_object_mut().unwrap().remove("phone");
    })
    .await;
    let agreed = Agreed {
        agreement_id,
        individual_id,
    };
    say_yes(&suite, &agreed).await;
    sign_in(&suite, &browser).await;
    ask(&browser, "School meals", "kantara").await;
    browser
        .wait_text("#status", "The agreement does not say enough")
        .await;
    let instead = file_in(folder.path(), "consent-record-", ".json").await;
    let instead: Value = serde_json::from_slice(&instead).unwrap();
    let record = &instead["consentRecord"];
    assert_eq!(record["optIn"], true, "{record}");
    assert_eq!(record["dataAgreementId"], agreed.agreement_id);
    assert!(record["dataAgreementRevision"]["serializedSnapshot"].is_string());
    let problem = "return document.getElementById('problem').textContent;";
    assert_eq!(browser.eval(problem, json!([])).await, "");
}
