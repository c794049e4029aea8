//! The rules of axe-core, run in a page.

use std::path::Path;

use serde_json::{Value, json};

use crate::browser::Browser;

/// Where `cargo xtask test` puts it.
const SOURCE: &str = "../../target/tools/npm/node_modules/axe-core/axe.min.js";

/// Runs every rule and gives what is violated.
const RUN: &str = "const done = arguments[arguments.length - 1];
    axe.run(document, { resultTypes: ['violations'] }).then(
        (result) => done(result.violations.map((one) => ({
            rule: one.id, help: one.help,
            nodes: one.nodes.map((node) => `${node.html} (${node.failureSummary})`),
        }))),
        (error) => done([{ rule: String(error) }]),
    );";

/// Fails the test if a rule is violated.
pub(crate) async fn check(browser: &Browser, what: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(SOURCE);
    let source = std::fs::read_to_string(&file).unwrap_or_else(|_| {
        panic!(
            "{} is missing; `cargo xtask test` fetches it",
            file.display()
        )
    });
    // The driver runs it, not the page, whose own policy would forbid it.
    let script = format!("{source}\n{RUN}");
    let found = browser.eval_later(&script, json!([])).await;
    let found: Vec<Value> = serde_json::from_value(found).unwrap();
    let list = serde_json::to_string_pretty(&found).unwrap();
    assert!(found.is_empty(), "{what}: axe finds {list}");
}
