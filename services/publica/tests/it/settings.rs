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
fn every_sample_is_sound() {
    for sample in [
        include_str!("../../../identity/config.sample.toml"),
        include_str!("../../../signature/config.sample.toml"),
        include_str!("../../../payments/config.sample.toml"),
        include_str!("../../../messaging/config.sample.toml"),
        include_str!("../../../registration/config.sample.toml"),
        include_str!("../../../consent/config.sample.toml"),
        include_str!("../../../gateway/config.sample.toml"),
    ] {
        let (code, said) = check(sample, &[]);
        assert_eq!(code, Some(0), "{said}{sample}");
    }
}

#[test]
fn surfaces_are_held_to_the_rules_of_listeners() {
    let surface = "[gateway.surfaces.consent]\nlisten = '0.0.0.0:8888'\n";
    for (profile, sealed, wanted) in [
        (
            "local",
            "",
            "must be a loopback address in the local profile",
        ),
        (
            "conformance",
            "",
            "must be a loopback address in the conformance profile",
        ),
        (
            "production",
            "[seal]\nkeys = '{}'\n",
            "needs [tls] in the production profile",
        ),
    ] {
        let (code, said) = check(&format!("profile = '{profile}'\n{sealed}{surface}"), &[]);
        assert_eq!(code, Some(64), "{said}");
        let wanted = format!("gateway.surfaces.consent.listen: {wanted}");
        assert!(said.contains(&wanted), "{wanted} is missing in:\n{said}");
    }
    // It is served as the gateway is: with its certificates, or in the open where that may be.
    let open = "[listeners.gateway]\nlisten = '0.0.0.0:8080'\ninsecure_dev = true\n";
    let (code, said) = check(&format!("{open}{surface}"), &[]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check(&format!("profile = 'conformance'\n{open}"), &[]);
    assert_eq!(code, Some(64), "{said}");
    let wanted = "listeners.gateway.insecure_dev: is refused in the conformance profile";
    assert!(said.contains(wanted), "{said}");
}

#[test]
fn keys_are_looked_at() {
    let text = "[seal]\nfile = '/nowhere/seal.json'\nkeys = '{}'\npkcs11_module = '/lib/p.so'\n";
    let (code, said) = check(text, &[]);
    assert_eq!(code, Some(64), "{said}");
    for wanted in [
        "seal: must name one of file, keys and pkcs11_module",
        "seal.file: does not exist, and create is not set",
        "seal.pkcs11_module: a PKCS#11 module is not supported yet",
    ] {
        assert!(said.contains(wanted), "{wanted} is missing in:\n{said}");
    }
    let text = "profile = 'production'\nworkload_key = '/nowhere/key.jwk'\n[seal]\nkeys = '{}'\n";
    let (_, said) = check(text, &[]);
    assert!(
        said.contains("workload_key: names a file that does not exist"),
        "{said}"
    );
}

#[test]
fn problems_are_told_in_words_of_people() {
    let text = "[server]\ngrace_ms = 'long'\nmax_in_flight = -1\nreflection = 3\n\
                [messaging.relay]\nport = 70000\nhost = 4\n";
    let (code, said) = check(text, &[]);
    assert_eq!(code, Some(64), "{said}");
    for wanted in [
        "server.grace_ms: is a text, but must be a whole number, 0 or more",
        "server.max_in_flight: is -1, but must be a whole number, 0 or more",
        "server.reflection: is a whole number, but must be true or false",
        "messaging.relay.port: is 70000, but must be a whole number from 0 to 65535",
        "messaging.relay.host: is a whole number, but must be a text",
    ] {
        assert!(said.contains(wanted), "{wanted} is missing in:\n{said}");
    }
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
fn witnesses_are_kept_apart_from_the_stores() {
    for text in [
        "data = '/srv/publica'\nwitness = '/srv/publica/witness'",
        "data = './publica'\nwitness = 'publica/witness'",
    ] {
        let (code, said) = check(text, &[]);
        assert_eq!(code, Some(64), "{text}: {said}");
        let wanted = "witness: must name a folder outside of the data folder";
        assert!(said.contains(wanted), "{text}: {said}");
    }
    let (code, said) = check("data = '.'", &[]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check("data = '/srv/publica'\nwitness = '/srv/witness'", &[]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn production_takes_no_defaults_for_secrets() {
    let (code, said) = check(
        "profile = 'production'\n[gateway]\nanonymous_scopes = ['*']",
        &[],
    );
    assert_eq!(code, Some(64), "{said}");
    assert!(
        said.contains("seal:")
            && said.contains("witness: must name a folder")
            && said.contains("gateway.anonymous_scopes"),
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
