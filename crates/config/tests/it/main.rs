//! Settings as an operator gives them.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails it by panicking"
)]

use std::collections::BTreeMap;
use std::io::Write as _;

use publica_config::{Problems, Settings, load};
use publica_types::Secret;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Suite {
    mode: Mode,
    payments: Payments,
    peers: BTreeMap<String, Peer>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Quick,
    Careful,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Payments {
    batch: u16,
    rate: f64,
    strict: bool,
    rails: Vec<String>,
    database: Database,
}

impl Default for Payments {
    fn default() -> Self {
        let (database, rails) = (Database::default(), vec!["simulated".to_owned()]);
        Self {
            batch: 100,
            rate: 0.5,
            strict: true,
            rails,
            database,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Database {
    url: Secret<String>,
    pool: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Peer {
    endpoint: String,
}

impl Settings for Suite {
    fn check(&self, problems: &mut Problems) {
        problems.within("payments", |problems| {
            problems.require(self.payments.batch > 0, "batch", "must not be 0");
        });
    }
}

fn read(toml: &str, env: &[(&str, &str)]) -> Result<Suite, Problems> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(Some(file.path()), env, "PUBLICA")
}

fn keys(problems: &Problems) -> Vec<&str> {
    problems
        .iter()
        .map(|problem| problem.key.as_str())
        .collect()
}

#[test]
fn defaults_suffice() {
    let suite: Suite = load(None, std::iter::empty(), "PUBLICA").unwrap();
    assert_eq!(suite.payments.batch, 100);
    assert!(suite.payments.strict);
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_defaults() {
    let suite = read(
        "mode = 'careful'\n[payments]\nbatch = 7\nrate = 1\n[payments.database]\nurl = 'a'",
        &[
            ("PUBLICA_PAYMENTS__DATABASE__URL", "postgres://x"),
            ("PUBLICA_PAYMENTS__DATABASE__POOL", "8"),
            ("PUBLICA_PAYMENTS__STRICT", "false"),
            ("PUBLICA_PAYMENTS__RAILS", "one, two"),
            ("PUBLICA_PEERS__CONSENT__ENDPOINT", "https://consent:8080"),
            ("OTHER__THING", "1"),
        ],
    )
    .unwrap();
    assert_eq!(suite.mode, Mode::Careful);
    assert_eq!(suite.payments.batch, 7);
    assert!((suite.payments.rate - 1.0).abs() < f64::EPSILON);
    assert!(!suite.payments.strict);
    assert_eq!(suite.payments.rails, ["one", "two"]);
    assert_eq!(suite.payments.database.url.expose(), "postgres://x");
    assert_eq!(suite.payments.database.pool, Some(8));
    assert_eq!(suite.peers["consent"].endpoint, "https://consent:8080");
}

#[test]
fn all_problems_are_reported_at_once() {
    let problems = read(
        "mod = 'quick'\nmode = 'odd'\n[payments]\nbatch = 70000\nrails = [1]\nstrict = 'yes'\n\
         [payments.databse]\nurl = 'x'",
        &[
            ("PUBLICA_PAYMENTS__DATABASE__POOL", "many"),
            ("PUBLICA_PAYMENT__BATCH", "1"),
        ],
    )
    .unwrap_err();
    let mut found = keys(&problems);
    found.sort_unstable();
    let expected = [
        "mod",
        "mode",
        "payment",
        "payments.batch",
        "payments.database.pool",
        "payments.databse",
        "payments.rails",
        "payments.strict",
    ];
    assert_eq!(found, expected, "{problems}");
    assert!(
        problems.to_string().contains("is database meant?"),
        "{problems}"
    );
}

#[test]
fn checks_run_on_what_was_read() {
    let problems = read("[payments]\nbatch = 0", &[]).unwrap_err();
    assert_eq!(problems.to_string(), "payments.batch: must not be 0");
}

#[test]
fn a_secret_may_stand_in_a_file() {
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    secret.write_all(b"postgres://hidden\n").unwrap();
    let name = secret.path().to_str().unwrap();
    let toml = format!("[payments.database]\nurl_file = '{name}'");
    assert_eq!(
        read(&toml, &[]).unwrap().payments.database.url.expose(),
        "postgres://hidden"
    );
    let suite = read("", &[("PUBLICA_PAYMENTS__DATABASE__URL_FILE", name)]).unwrap();
    assert_eq!(suite.payments.database.url.expose(), "postgres://hidden");
    let suite = read(&toml, &[("PUBLICA_PAYMENTS__DATABASE__URL", "direct")]).unwrap();
    assert_eq!(suite.payments.database.url.expose(), "direct");
    let problems = read(&format!("{toml}\nurl = 'both'"), &[]).unwrap_err();
    assert!(
        problems.to_string().contains("directly and by file"),
        "{problems}"
    );
    let problems = read("[payments.database]\nurl_file = '/no/such'", &[]).unwrap_err();
    assert_eq!(keys(&problems), ["payments.database.url_file"]);
}

#[test]
fn a_torn_file_is_reported_without_its_content() {
    let problems = read("[payments]\nurl = 'hunter2", &[])
        .unwrap_err()
        .to_string();
    assert!(
        problems.contains("line 2") && !problems.contains("hunter2"),
        "{problems}"
    );
    let missing = load::<Suite>(Some("/no/such".as_ref()), std::iter::empty(), "PUBLICA");
    assert!(missing.unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn variables_that_a_platform_injects_are_ignored() {
    assert!(read("", &[("PUBLICA_PAYMENTS_SERVICE_HOST", "10.0.0.7")]).is_ok());
    assert!(read("", &[("PUBLICA___X", "1")]).is_err());
}

#[test]
fn settings_that_nest_without_end_are_refused() {
    let text = format!("[payments]\nrails = {}\n", "[".repeat(100_000));
    let problems = read(&text, &[]).unwrap_err();
    let what = problems.to_string();
    assert!(
        what.ends_with("line 2: leads more than 32 tables deep"),
        "{what}"
    );

    let name = format!("PUBLICA_{}", vec!["A"; 100_000].join("__"));
    let variable = std::iter::once((name.clone(), "1".to_owned()));
    let problems = load::<Suite>(None, variable, "PUBLICA").unwrap_err();
    let expected = format!("the variable {name} leads more than 32 tables deep");
    assert_eq!(problems.to_string(), expected);

    let dotted = format!("{{ {} = 1 }}", vec!["a"; 70].join("."));
    let list = format!("{}{dotted}{}", "[".repeat(30), "]".repeat(30));
    let variable = std::iter::once(("PUBLICA_PAYMENTS__RAILS".to_owned(), list));
    let problems = load::<Suite>(None, variable, "PUBLICA").unwrap_err();
    assert!(
        problems.to_string().starts_with("payments.rails: "),
        "{problems}"
    );
}
