//! Exports of trails and of whole logs, made over gRPC and verified with nothing but the files.

use std::path::Path;
use std::process::Output;

use publica_testkit::Database;

use crate::journey::database_settings;
use crate::running::{Running, publica};

struct Suite {
    folder: tempfile::TempDir,
    running: Running,
}

impl Suite {
    fn start(settings: &[(String, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let command = |arguments: &[&str]| {
            let mut command = publica();
            command.args(arguments).arg("--data").arg(&data);
            command.envs(settings.iter().cloned());
            command
        };
        let migrated = command(&["migrate"]).output().unwrap();
        assert!(migrated.status.success(), "{migrated:?}");
        let mut up = command(&["up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let running = Running::start(&mut up);
        Self { folder, running }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Imports a row at a time into the payments block, which leaves an entry for each import.
    fn fill(&self, rows: std::ops::Range<u32>) {
        for row in rows {
            let line = format!("{{\"kind\":\"payments.calling_block\",\"name\":\"b{row}\"}}\n");
            std::fs::write(self.path().join("row.jsonl"), line).unwrap();
            let output = self.client(&["import", "row.jsonl"]);
            assert!(output.status.success(), "{output:?}");
        }
    }

    fn client(&self, arguments: &[&str]) -> Output {
        let gateway = format!("http://{}", self.running.address("gateway"));
        publica()
            .args(arguments)
            .args(["--to", &gateway, "--data", "data"])
            .current_dir(self.path())
            .output()
            .unwrap()
    }

    fn verify(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = publica();
        command.arg("verify").args(arguments);
        let output = command.current_dir(self.path()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), said)
    }
}

fn whole_logs_and_cases_are_exported(settings: &[(String, String)]) {
    let suite = Suite::start(settings);
    suite.fill(0..12);
    let whole = [
        "export",
        "--block",
        "payments",
        "--output",
        "payments.jsonl",
    ];
    let output = suite.client(&[&whole[..], &["--keys", "payments.keys"]].concat());
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let (code, said) = suite.verify(&["payments.jsonl", "--keys", "payments.keys"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("valid, by keys that were given\n"), "{said}");
    assert!(!suite.path().join("payments.jsonl.partial").exists());

    // What is there is not written over.
    let again = suite.client(&whole);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"));

    // An export that was cut in the middle of a line goes on, with what came since.
    let text = std::fs::read_to_string(suite.path().join("payments.jsonl")).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let cut = format!("{}{}", lines[..9].concat(), &lines[9][..20]);
    std::fs::write(suite.path().join("again.jsonl.partial"), cut).unwrap();
    suite.fill(12..17);
    let output = suite.client(&["export", "--block", "payments", "--output", "again.jsonl"]);
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("going on at entry "), "{told}");
    let (code, said) = suite.verify(&["again.jsonl", "--keys", "payments.keys"]);
    assert_eq!(code, Some(0), "{said}");
    let longer = std::fs::read_to_string(suite.path().join("again.jsonl")).unwrap();
    assert!(longer.lines().count() >= lines.len() + 5);
    assert!(longer.starts_with(&lines[..9].concat()));

    // One case over all blocks, here one without an entry, to standard output.
    let output = suite.client(&["export", "--process", "nothing"]);
    assert!(output.status.success(), "{output:?}");
    std::fs::write(suite.path().join("case.jsonl"), &output.stdout).unwrap();
    let (code, said) = suite.verify(&["case.jsonl", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    let logs = report["logs"].as_array().unwrap();
    assert!(
        logs.iter().any(|log| log["block"] == "payments"),
        "{report}"
    );
    assert!(logs.iter().all(|log| log["entries"] == 0), "{report}");

    is_refused_without_the_right(&suite);
}

/// Without the right to read journals there is none, and no file either.
fn is_refused_without_the_right(suite: &Suite) {
    let token = publica()
        .args([
            "token",
            "--scope",
            "payments:account:read",
            "--data",
            "data",
        ])
        .current_dir(suite.path())
        .output()
        .unwrap();
    std::fs::write(suite.path().join("weak"), token.stdout).unwrap();
    let refused = suite.client(&[
        "export",
        "--block",
        "payments",
        "--output",
        "no.jsonl",
        "--token-file",
        "weak",
    ]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(!suite.path().join("no.jsonl").exists());
}

#[test]
fn trails_are_exported_from_embedded_stores() {
    whole_logs_and_cases_are_exported(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn trails_are_exported_from_postgresql() {
    let settings = database_settings(&Database::postgres().await);
    let exported = move || whole_logs_and_cases_are_exported(&settings);
    tokio::task::spawn_blocking(exported).await.unwrap();
}

#[test]
fn what_to_export_must_be_said() {
    for arguments in [&[][..], &["--process", "p", "--block", "payments"]] {
        let output = publica().arg("export").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
    let output = publica()
        .args(["export", "--block", "taxes"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
