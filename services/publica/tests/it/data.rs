//! Data in, out and back: import, backup, restore, doctor.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use crate::running::{Running, publica, settings};

fn suite(data: &Path) -> Running {
    let mut command = publica();
    command
        .args([
            "up",
            "--blocks",
            "messaging,gateway",
            "--listen",
            "127.0.0.1:0",
        ])
        .args(["--admin", "127.0.0.1:0", "--data"])
        .arg(data);
    Running::start(&mut command)
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn entities_are_imported_once_and_problems_name_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let suite = suite(&data);
    let file = folder.path().join("old.jsonl");
    let good = r#"{"kind":"messaging.suppression","address":"a@home.example","reason":"opt_out"}"#;
    let bad = r#"{"kind":"messaging.suppression","address":"nowhere","reason":"opt_out"}"#;
    std::fs::write(
        &file,
        format!(
            "{good}\n\n{bad}\nnot json\n{{\"kind\":\"suppression\"}}\n{{\"kind\":\"taxes.bill\"}}\n"
        ),
    )
    .unwrap();
    let import = || {
        publica()
            .arg("import")
            .arg(&file)
            .args([
                "--to",
                &format!("http://{}", suite.address("gateway")),
                "--data",
            ])
            .arg(&data)
            .output()
            .unwrap()
    };
    let output = import();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("messaging: 1 accepted, 0 repeated"), "{text}");
    for line in [3, 4, 5, 6] {
        assert!(
            text.contains(&format!("old.jsonl:{line}: ")),
            "{line} is missing in {text}"
        );
    }
    assert!(text.contains(":6: kind: names no block"), "{text}");
    assert!(text.contains("4 lines were refused"), "{text}");
    assert!(
        !text.contains("nowhere"),
        "a problem does not repeat the value: {text}"
    );
    let text = said(&import());
    assert!(text.contains("messaging: 0 accepted, 1 repeated"), "{text}");
}

#[test]
fn schemas_of_lines_are_printed() {
    let schema = |kind: &str| {
        let output = publica()
            .args(["import", "--schema", kind])
            .output()
            .unwrap();
        (output.status.success(), said(&output))
    };
    let (good, list) = schema("list");
    assert!(good, "{list}");
    let kinds: Vec<&str> = list.lines().collect();
    assert_eq!(kinds.len(), 25, "{list}");
    for kind in kinds {
        let (good, text) = schema(kind);
        assert!(good, "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["properties"]["kind"]["const"], kind);
    }
    let (good, text) = schema("payments.coin");
    assert!(!good, "{text}");
    assert!(
        text.contains("there is no kind `payments.coin`; there are identity.person, "),
        "{text}"
    );
    assert!(text.contains("consent.record"), "{text}");
}

#[test]
fn an_import_tells_every_problem_and_counts_lines() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let suite = suite(&data);
    let import = |lines: &str| {
        let file = folder.path().join("old.jsonl");
        std::fs::write(&file, lines).unwrap();
        let output = publica()
            .arg("import")
            .arg(&file)
            .args([
                "--to",
                &format!("http://{}", suite.address("gateway")),
                "--data",
            ])
            .arg(&data)
            .output()
            .unwrap();
        said(&output)
    };
    let bad = r#"{"kind":"messaging.suppression","address":"nowhere","reason":"odd"}"#;
    let text = import(&format!("{bad}\n{bad}\n"));
    for problem in ["1: address: ", "1: reason: ", "2: address: ", "2: reason: "] {
        assert!(
            text.contains(&format!("old.jsonl:{problem}")),
            "{problem} in {text}"
        );
    }
    assert!(text.contains("2 lines were refused"), "{text}");
    // Beyond what is listed, the first ones are told all the same.
    let text = import(&format!("{bad}\n").repeat(600));
    assert!(
        text.contains("ended the import: There are more than 1,000 problems"),
        "{text}"
    );
    assert!(text.contains("line 1 address: "), "{text}");
    let large = format!(
        r#"{{"kind":"messaging.suppression","address":"{}"}}"#,
        "x".repeat(1 << 20)
    );
    let text = import(&format!("{large}\n"));
    assert!(text.contains("old.jsonl:1: is longer than 1 MiB"), "{text}");
}

#[test]
fn an_import_without_rights_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let suite = suite(&data);
    let file = folder.path().join("old.jsonl");
    // Consent is not served here, messaging refuses, and neither keeps the other from its answer.
    let lines = "{\"kind\":\"messaging.suppression\"}\n{\"kind\":\"consent.policy\"}\n";
    std::fs::write(&file, lines.repeat(2)).unwrap();
    let token = publica()
        .args(["token", "--scope", "messaging:message:read", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, token.stdout).unwrap();
    let output = publica()
        .arg("import")
        .arg(&file)
        .args([
            "--to",
            &format!("http://{}", suite.address("gateway")),
            "--token-file",
        ])
        .arg(&token_file)
        .output()
        .unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("SCOPE_MISSING"), "{text}");
    for (block, first, last) in [("messaging", 1, 3), ("consent", 2, 4)] {
        let ended = format!("the block {block} ended the import: ");
        let line = text
            .lines()
            .find(|line| line.contains(&ended))
            .expect(&text);
        let lines = format!("of its lines from {first} to {last}, some may be stored");
        // A line that came after the refusal was known is told apart.
        let unsent = format!("1 more lines for {block}, from line {last} on, were not sent");
        let one = format!("of its lines from {first} to {first}, some may be stored");
        let told = line.contains(&lines) || (line.contains(&one) && text.contains(&unsent));
        assert!(told, "{text}");
    }
    assert!(text.contains("Import the file again"), "{text}");
}

#[test]
fn a_running_suite_is_backed_up_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    let running = suite(&data);
    let output = publica()
        .args(["backup", "--data"])
        .arg(&data)
        .arg("--to")
        .arg(&copy)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    drop(running);
    let back = folder.path().join("back");
    let restore = || {
        publica()
            .args(["restore", "--from"])
            .arg(&copy)
            .arg("--data")
            .arg(&back)
            .output()
            .unwrap()
    };
    let output = restore();
    assert!(output.status.success(), "{}", said(&output));
    let output = restore();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("not empty"), "{}", said(&output));
    let mut restored = suite(&back);
    restored.signal("TERM");
    restored.wait_for("stopped");
    assert_eq!(restored.end().code(), Some(0));
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut running = suite(&data);
    running.signal("TERM");
    running.end();
    let doctor = || {
        let mut command = publica();
        command
            .env("PUBLICA_ADMIN__LISTEN", "127.0.0.1:1")
            .args(["doctor", "--data"])
            .arg(&data);
        command.output().unwrap()
    };
    let output = doctor();
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("messaging.db is whole"), "{text}");

    let key = data.join("keys/workload.jwk");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = data.join("messaging/messaging.db");
    let mut bytes = std::fs::read(&store).unwrap();
    let middle = bytes.len() / 2;
    bytes[4_096..middle].fill(0xa5);
    std::fs::write(&store, bytes).unwrap();
    let output = doctor();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("can be read by others (mode 644)"), "{text}");
    assert!(
        text.contains("BAD   ") && text.contains("messaging.db"),
        "{text}"
    );
}

#[test]
fn the_doctor_probes_over_tls_and_knows_its_own_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec!["suite.example".to_owned()]).unwrap();
        let (chain, key) = (format!("{name}.pem"), format!("{name}.key"));
        std::fs::write(folder.path().join(chain), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join(key), made.signing_key.serialize_pem()).unwrap();
    };
    make("own");
    make("other");
    let root = folder.path().display();
    let text = |certificate: &str, admin: &str| {
        format!(
            "data = '{root}/data'\n[admin]\nlisten = '{admin}'\ninsecure_dev = true\n[admin.tls]\n\
             certificates = '{root}/{certificate}.pem'\nkey = '{root}/{certificate}.key'\n\
             [listeners.gateway]\nlisten = '127.0.0.1:0'\n"
        )
    };
    let own = settings(folder.path(), &text("own", "0.0.0.0:0"));
    let mut command = publica();
    command
        .args(["up", "--blocks", "messaging,gateway", "--config"])
        .arg(&own);
    let running = Running::start(&mut command);
    let admin = format!("0.0.0.0:{}", running.address("admin").port());
    for (certificate, expected) in [
        ("own", "ok    the running suite is ready"),
        ("other", "shows another certificate than"),
    ] {
        let file = settings(folder.path(), &text(certificate, &admin));
        let output = publica()
            .args(["doctor", "--config"])
            .arg(file)
            .output()
            .unwrap();
        let said = said(&output);
        assert!(said.contains(expected), "{said}");
    }
}
