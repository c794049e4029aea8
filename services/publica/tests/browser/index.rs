//! `/`: the blocks behind a gateway, their health, and the way to their interfaces.

use serde_json::{Value, json};

use crate::browser::{Browser, ENTER};
use crate::suite::Suite;

const BLOCKS: [&str; 6] = [
    "consent",
    "identity",
    "messaging",
    "payments",
    "registration",
    "signature",
];

/// Addresses of the links in a row.
const LINKS: &str = "return [...document.querySelectorAll(arguments[0] + ' a')]
    .map((one) => one.getAttribute('href'));";

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_shown_with_descriptions_that_resolve() {
    let suite = Suite::start().await;
    let browser = Browser::open().await;
    browser.go(&suite.at("/")).await;
    browser.wait_text("#status", "All blocks are up").await;
    assert_eq!(browser.wait("#profile").await, "Profile: local");
    for block in BLOCKS {
        let row = format!("#block-{block}");
        assert_eq!(browser.wait(&format!("{row} .good")).await, "up");
        let links = browser.eval(LINKS, json!([row])).await;
        let links: Vec<String> = serde_json::from_value(links).unwrap();
        let [rest, grpc] = links.as_slice() else {
            panic!("{block} has {links:?}")
        };
        let document: Value = suite.fetch(rest).await.json().await.unwrap();
        assert_eq!(document["openapi"], "3.1.0", "{document}");
        assert_eq!(document["servers"][0]["url"], format!("/{block}"));
        let told = browser.wait(&format!("{row} a")).await;
        let operations: usize = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .map(|path| path.as_object().unwrap().len())
            .sum();
        assert_eq!(told, format!("{operations} operations"));
        let services: Value = suite.fetch(grpc).await.json().await.unwrap();
        let first = &services["services"][0];
        let package = format!("publica.{block}.v1.");
        assert!(first["name"].as_str().unwrap().starts_with(&package));
        assert!(first["methods"][0]["request"].is_string(), "{first}");
        let set = suite.fetch(services["descriptors"].as_str().unwrap()).await;
        assert!(set.status().is_success());
        assert!(set.bytes().await.unwrap().len() > 1_000);
    }
    browser.check("index").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_down_is_shown_as_such_among_the_others() {
    // Nothing listens on port 1.
    let down = "[peers.consent]\nendpoint = 'http://127.0.0.1:1'\n";
    let suite = Suite::start_of(&["messaging", "gateway"], down).await;
    let browser = Browser::open().await;
    browser.go(&suite.at("/")).await;
    browser
        .wait_text("#status", "1 of 2 blocks cannot be used at the moment")
        .await;
    assert_eq!(browser.wait("#block-consent .bad").await, "not reachable");
    assert_eq!(browser.wait("#block-messaging .good").await, "up");
    browser.check("index-block-down").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_goes_everywhere_and_can_skip() {
    let suite = Suite::start().await;
    let browser = Browser::open().await;
    browser.go(&suite.at("/")).await;
    browser.wait_text("#status", "All blocks are up").await;
    assert_eq!(browser.tab_to("Skip to content").await.len(), 1);
    browser.press(ENTER).await;
    browser.wait_focus("#main").await;
    let way = browser.tab_to("#again").await;
    // Two links a block, in the order of the rows, and the button.
    assert_eq!(way.len(), 2 * BLOCKS.len() + 1, "{way:?}");
    browser.press(ENTER).await;
    browser.wait_text("#status", "All blocks are up").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_script_the_list_is_a_link_away() {
    let suite = Suite::start().await;
    let browser = Browser::open().await;
    browser.without_scripts().await;
    browser.go(&suite.at("/")).await;
    browser.click("noscript a").await;
    browser.wait_address("/gateway/v1/blocks").await;
    browser.wait_text("body", "SERVING").await;
}
