//! Stores that come back: what they held is there again, and their logs go on under new names.

use std::path::PathBuf;
use std::process::Output;

use publica_testkit::Database;

use crate::running::{Running, publica, settings};

/// A suite of one block that can be stopped, copied and started again.
struct Place {
    folder: tempfile::TempDir,
    file: PathBuf,
    environment: Vec<(String, String)>,
}

impl Place {
    /// With these further settings; `{}` in them is the folder.
    fn new(more: &str, environment: Vec<(String, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display().to_string();
        let text = format!(
            "data = '{root}/data'\n{}\n[admin]\nlisten = '127.0.0.1:0'\n\
             [listeners.gateway]\nlisten = '127.0.0.1:0'\n",
            more.replace("{}", &root)
        );
        let file = settings(folder.path(), &text);
        Self {
            folder,
            file,
            environment,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn publica(&self, arguments: &[&str]) -> Output {
        publica()
            .args(arguments)
            .current_dir(self.folder.path())
            .env("PUBLICA_CONFIG", &self.file)
            .envs(self.environment.iter().cloned())
            .output()
            .unwrap()
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.publica(arguments);
        let said = [&output.stdout[..], &output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    }

    fn start(&self) -> Running {
        let mut command = publica();
        command
            .args(["up", "--blocks", "messaging,gateway"])
            .env("PUBLICA_CONFIG", &self.file)
            .envs(self.environment.iter().cloned());
        Running::start(&mut command)
    }

    /// Imports one address that wants no mail; says whether it was new.
    fn import(&self, suite: &Running) -> bool {
        let line =
            r#"{"kind":"messaging.suppression","address":"a@home.example","reason":"opt_out"}"#;
        std::fs::write(self.path("one.jsonl"), line).unwrap();
        let gateway = format!("http://{}", suite.address("gateway"));
        let said = self.done(&["import", "one.jsonl", "--to", &gateway, "--data", "data"]);
        said.contains("1 accepted")
    }

    /// The names of the log's epochs, as an export of it that verifies has them.
    fn epochs(&self, suite: &Running, file: &str) -> Vec<String> {
        let gateway = format!("http://{}", suite.address("gateway"));
        let arguments = ["export", "--block", "messaging", "--to", &gateway];
        self.done(&[&arguments[..], &["--data", "data", "--output", file]].concat());
        let verified = self.done(&["verify", file]);
        assert!(verified.contains("valid"), "{verified}");
        let text = std::fs::read_to_string(self.path(file)).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let logs = lines.filter(|line: &serde_json::Value| line["line"] == "log");
        logs.map(|log| log["origin"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Place {
    /// The same once there are two: what signs the log finds the mark after the block is ready.
    fn two_epochs(&self, suite: &Running, file: &str) -> Vec<String> {
        let mut found = Vec::new();
        for _ in 0..2_000 {
            let _ = std::fs::remove_file(self.path(file));
            found = self.epochs(suite, file);
            if found.len() >= 2 {
                break;
            }
        }
        assert_eq!(found.len(), 2, "{found:?}");
        found
    }
}

fn stop(mut suite: Running) {
    suite.signal("TERM");
    assert_eq!(suite.end().code(), Some(0));
}

/// Loses everything and brings it back.
fn comes_back(place: &Place, lost: &[&str]) {
    let suite = place.start();
    assert!(place.import(&suite));
    let before = place.epochs(&suite, "before.jsonl");
    assert_eq!(before.len(), 1);
    let said = place.done(&["backup", "--to", "copy"]);
    assert!(said.contains("Backed up 1 stores"), "{said}");
    stop(suite);
    for name in lost {
        let gone = place.path(&format!("lost-{name}"));
        std::fs::rename(place.path(name), gone).unwrap();
    }
    place.done(&["restore", "--from", "copy"]);
    let suite = place.start();
    assert!(!place.import(&suite), "what was imported is there");
    let after = place.two_epochs(&suite, "after.jsonl");
    assert!(after.contains(&before[0]), "{after:?}");
    stop(suite);
}

#[test]
fn a_data_folder_comes_back_with_its_content_and_a_new_epoch() {
    comes_back(&Place::new("", Vec::new()), &["data"]);
}

/// A block's store and both keys outside the data folder.
const OUTSIDE: &str = "workload_key = '{}/keys/workload.jwk'\n[seal]\nfile = '{}/keys/seal.json'\n\
                       create = true\n[messaging.database]\nurl = 'sqlite://{}/stores/{tenant}.db'";

#[test]
fn what_stands_outside_the_data_folder_comes_back_too() {
    let place = Place::new(OUTSIDE, Vec::new());
    comes_back(&place, &["data", "keys", "stores"]);
    assert!(place.path("stores/default.db").is_file());
    let key = |folder: &str| std::fs::read(place.path(folder).join("seal.json")).unwrap();
    assert_eq!(key("keys"), key("lost-keys"));

    // It is never written over what is there.
    std::fs::rename(place.path("data"), place.path("again")).unwrap();
    let output = place.publica(&["restore", "--from", "copy"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("exists already; nothing was restored"),
        "{said}"
    );
    assert!(!place.path("data").exists());
    // Without the settings it goes where a suite without settings looks for it.
    let output = publica()
        .args(["restore", "--from"])
        .arg(place.path("copy"))
        .args(["--data"])
        .arg(place.path("other"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(place.path("other/messaging/messaging.db").is_file());
    assert!(place.path("other/keys/seal.json").is_file());
}

fn messaging_on(url: String) -> Vec<(String, String)> {
    vec![("PUBLICA_MESSAGING__DATABASE__URL".to_owned(), url)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_postgresql_brought_back_is_marked() {
    let database = Database::postgres().await;
    let environment = messaging_on(database.config().url.expose().clone());
    let marked = move || {
        let place = Place::new("", environment);
        place.done(&["migrate", "--blocks", "messaging"]);
        let said = place.done(&["restore", "--mark", "--blocks", "messaging"]);
        assert!(said.contains("nothing to mark"), "{said}");
        let suite = place.start();
        assert!(place.import(&suite));
        assert_eq!(place.epochs(&suite, "one.trail").len(), 1);
        // A backup says that it does not hold the store.
        let said = place.done(&["backup", "--to", "copy"]);
        assert!(
            said.contains("the store of messaging is on PostgreSQL"),
            "{said}"
        );
        stop(suite);
        let said = place.done(&["restore", "--mark", "--blocks", "messaging"]);
        assert!(said.contains("messaging (default): marked"), "{said}");
        for _ in 0..2 {
            let suite = place.start();
            assert!(!place.import(&suite));
            // One mark opens one epoch.
            assert_eq!(place.two_epochs(&suite, "two.trail").len(), 2);
            stop(suite);
        }
    };
    tokio::task::spawn_blocking(marked).await.unwrap();
}

#[test]
fn a_store_that_is_in_use_is_not_marked() {
    let place = Place::new("", Vec::new());
    let suite = place.start();
    let output = place.publica(&["restore", "--mark", "--blocks", "messaging"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("in use by another process"), "{said}");
    stop(suite);
    place.done(&["restore", "--mark"]);
    let output = place.publica(&["restore", "--mark", "--data", "nowhere"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
