//! The main job, end to end, in one process on either engine.

use std::path::Path;
use std::process::{Command, Output};

use publica_testkit::{Database, TestDatabase};

pub(crate) const BLOCKS: [&str; 6] = [
    "identity",
    "signature",
    "payments",
    "messaging",
    "registration",
    "consent",
];

/// Settings that put every block's store into one database.
pub(crate) fn database_settings(database: &TestDatabase) -> Vec<(String, String)> {
    let url = database.config().url.expose().clone();
    BLOCKS
        .iter()
        .map(|block| {
            (
                format!("PUBLICA_{}__DATABASE__URL", block.to_uppercase()),
                url.clone(),
            )
        })
        .collect()
}

fn publica(arguments: &[&str], folder: &Path, settings: &[(String, String)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_publica"))
        .args(arguments)
        .current_dir(folder)
        .envs(settings.iter().cloned())
        .output()
        .unwrap()
}

fn adds_up(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("Everything adds up"), "{said}\n{complained}");
    for line in ["✓ ledger balanced", "✓ proofs valid", "✓ rail reconciled"] {
        assert!(said.contains(line), "{line} in {said}");
    }
}

#[test]
fn adds_up_on_embedded_stores_and_the_trail_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["journey", "--sign-in", "20", "--keep", "kept"];
    adds_up(&publica(&arguments, folder.path(), &[]));
    let verified = publica(&["verify", "kept/8-trail.jsonl"], folder.path(), &[]);
    assert!(verified.status.success(), "{verified:?}");
    // One changed byte of one entry is found.
    let trail = folder.path().join("kept/8-trail.jsonl");
    let text = std::fs::read_to_string(&trail).unwrap();
    std::fs::write(
        &trail,
        text.replacen("registration.file", "registration.fils", 1),
    )
    .unwrap();
    let tampered = publica(&["verify", "kept/8-trail.jsonl"], folder.path(), &[]);
    assert_eq!(tampered.status.code(), Some(1), "{tampered:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn adds_up_on_postgresql() {
    let folder = tempfile::tempdir().unwrap();
    let settings = database_settings(&Database::postgres().await);
    let migrated = publica(&["migrate"], folder.path(), &settings);
    assert!(migrated.status.success(), "{migrated:?}");
    adds_up(&publica(
        &["journey", "--sign-in", "20"],
        folder.path(),
        &settings,
    ));
}

#[test]
fn a_malformed_file_is_refused_with_every_line_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.csv");
    let header = "household_id,national_id,given_name,family_name,date_of_birth,email,language,\
                  members,monthly_income_minor,account\n";
    let rows = "H1,12x,A,B,1980-01-01,a@example.org,en,1,0,\nH2,123456\n";
    std::fs::write(&file, format!("{header}{rows}")).unwrap();
    let arguments = ["journey", "--households", "bad.csv", "--keep", "kept"];
    let output = publica(&arguments, folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(complained.contains("line 2: national_id"), "{complained}");
    assert!(
        complained.contains("line 3: 2 columns instead of 10"),
        "{complained}"
    );
    assert!(!folder.path().join("kept").exists());
}
