//! Settings that cannot be used.

use std::process::Output;

use crate::running::{publica, settings};

fn check(text: &str, env: &[(&str, &str)]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = settings(folder.path(), text);
    let output = publica()
        .arg("check-config")
        .arg(file)
        .envs(env.iter().copied())
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "a check makes no files"
    );
    told(&output)
}

fn told(output: &Output) -> (Option<i32>, String) {
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

#[test]
fn the_sample_is_sound() {
    let (code, said) = check(include_str!("../../config.sample.toml"), &[]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn all_problems_are_told_at_once() {
    let text = "profil = 'local'\n[server]\nmax_in_flight = 0\n[listeners.elsewhere]\n\
                [gateway.surfaces.nothing]\nlisten = '127.0.0.1:1'\n[messaging]\nodd = 1\n";
    let (code, said) = check(text, &[("PUBLICA_SERVER__GRACE_MS", "long")]);
    assert_eq!(code, Some(64), "{said}");
    for wanted in [
        "profil: is no known setting; is profile meant?",
        "server.max_in_flight: must not be 0",
        "server.grace_ms:",
        "listeners.elsewhere: is the name of no role",
        "messaging.odd: is no known setting",
    ] {
        assert!(said.contains(wanted), "{wanted} is missing in:\n{said}");
    }
}

#[test]
fn production_takes_no_defaults_for_secrets() {
    let (code, said) = check(
        "profile = 'production'\n[gateway]\nanonymous_scopes = ['*']",
        &[],
    );
    assert_eq!(code, Some(64), "{said}");
    assert!(
        said.contains("seal:") && said.contains("gateway.anonymous_scopes"),
        "{said}"
    );
    let (code, said) = check(
        "profile = 'production'\n[listeners.gateway]\nlisten = '0.0.0.0:443'",
        &[],
    );
    assert_eq!(code, Some(64), "{said}");
    assert!(
        said.contains("listeners.gateway.listen: needs [tls]"),
        "{said}"
    );
}

#[test]
fn conformance_stays_on_this_machine_and_alone() {
    let text = "profile = 'conformance'\n[listeners.gateway]\nlisten = '0.0.0.0:80'\n\
                [peers.consent]\nendpoint = 'http://consent:1'\n";
    let (code, said) = check(text, &[]);
    assert_eq!(code, Some(64), "{said}");
    assert!(
        said.contains("loopback") && said.contains("peers:"),
        "{said}"
    );
}

#[test]
fn a_wrong_block_is_named() {
    let output = publica()
        .args(["up", "--blocks", "taxes"])
        .output()
        .unwrap();
    let (code, said) = told(&output);
    assert_eq!(code, Some(64));
    assert!(said.contains("there is no block taxes"), "{said}");
}

#[test]
fn a_secret_is_never_repeated() {
    let text = "[messaging.database]\nurl = 'mysql://app:hunter2@db/x'\n";
    let (_, said) = check(text, &[]);
    assert!(!said.contains("hunter2"), "{said}");
}
