//! The keys of a suite: made once, readable by their owner alone, and enough for production.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use crate::running::{publica, settings};

fn make(folder: &Path) -> Output {
    publica()
        .args(["keys", "--to"])
        .arg(folder)
        .output()
        .unwrap()
}

#[test]
fn keys_are_made_once_and_open_a_production_suite() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("made/keys");
    let made = make(&keys);
    assert!(made.status.success(), "{made:?}");
    let files = ["seal.json", "workload.jwk"].map(|name| keys.join(name));
    let said = String::from_utf8(made.stdout).unwrap();
    let listed: Vec<&Path> = said.lines().map(Path::new).collect();
    assert_eq!(listed, files);
    let contents = || files.each_ref().map(|file| std::fs::read(file).unwrap());
    let before = contents();
    for (file, content) in files.iter().zip(&before) {
        let mode = std::fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        let secret = String::from_utf8(content.clone()).unwrap();
        assert!(!said.contains(secret.trim()), "secrets are not printed");
    }

    // What is there is never written over, also if only one of the two is.
    for gone in [None, Some(&files[1])] {
        if let Some(file) = gone {
            std::fs::rename(file, file.with_extension("kept")).unwrap();
        }
        let again = make(&keys);
        assert_eq!(again.status.code(), Some(1), "{again:?}");
        let said = String::from_utf8(again.stderr).unwrap();
        assert!(said.contains("seal.json exists already"), "{said}");
        if let Some(file) = gone {
            assert!(!file.exists(), "nothing is made beside it");
            std::fs::rename(file.with_extension("kept"), file).unwrap();
        }
    }
    assert_eq!(contents(), before);

    // With them the production profile opens stores, and a token can be minted.
    let text = format!(
        "profile = 'production'\nworkload_key = '{}'\nwitness = '{}'\n[seal]\nfile = '{}'\n",
        files[1].display(),
        folder.path().join("witness").display(),
        files[0].display()
    );
    let file = settings(folder.path(), &text);
    let migrated = publica()
        .args(["migrate", "--blocks", "consent", "--config"])
        .arg(file)
        .arg("--data")
        .arg(folder.path().join("data"))
        .output()
        .unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    let minted = publica()
        .args(["token", "--scope", "*", "--minutes", "5", "--key"])
        .arg(&files[1])
        .output()
        .unwrap();
    assert!(minted.status.success(), "{minted:?}");
    assert_eq!(contents(), before);
}

#[test]
fn keys_of_two_suites_differ() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    for keys in [&one, &two] {
        assert!(make(keys).status.success());
    }
    for name in ["seal.json", "workload.jwk"] {
        let read = |keys: &Path| std::fs::read(keys.join(name)).unwrap();
        assert_ne!(read(&one), read(&two), "{name}");
    }
}
