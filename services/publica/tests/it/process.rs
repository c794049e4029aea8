//! Starting, serving and stopping.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;

use crate::running::{Running, get, publica, settings, signal};

/// Whether the C library has an arena for each thread, unless told otherwise.
const FEW_ARENAS: bool = cfg!(all(target_os = "linux", target_env = "gnu"));

#[test]
fn the_suite_comes_up_serves_and_stops_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut suite = Running::start(
        publica()
            .args([
                "up",
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(&data),
    );
    let (head, body) = get(suite.address("admin"), "/readyz");
    assert!(head.starts_with("http/1.1 200"), "{head}: {body}");
    let (head, body) = get(suite.address("admin"), "/metrics");
    assert!(
        head.contains("text/plain") && body.contains("publica_build_info"),
        "{head}{body}"
    );
    let (head, _) = get(suite.address("gateway"), "/healthcheck");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(!head.contains("x-publica-profile"), "{head}");
    let token = std::fs::metadata(data.join("admin.token")).unwrap();
    assert_eq!(token.permissions().mode() & 0o777, 0o600);
    assert_eq!(
        std::fs::metadata(&data).unwrap().permissions().mode() & 0o077,
        0
    );
    if FEW_ARENAS {
        assert_eq!(suite.variable("MALLOC_ARENA_MAX").unwrap(), "2");
    }
    suite.signal("TERM");
    suite.wait_for("stopped");
    assert_eq!(suite.end().code(), Some(0));
}

#[test]
fn a_block_serves_alone_and_stops_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = settings(
        folder.path(),
        "[admin]\nlisten = '127.0.0.1:0'\n[listeners.messaging]\nlisten = '127.0.0.1:0'",
    );
    let mut block = Running::start(
        publica()
            .env("MALLOC_ARENA_MAX", "7")
            .args(["messaging", "--config"])
            .arg(file)
            .arg("--data")
            .arg(folder.path().join("data")),
    );
    let (head, body) = get(block.address("admin"), "/readyz");
    assert!(
        head.starts_with("http/1.1 200") && body.contains("messaging"),
        "{head}{body}"
    );
    let (head, _) = get(block.address("messaging"), "/");
    assert!(head.starts_with("http/1.1 415"), "{head}");
    if FEW_ARENAS {
        assert_eq!(block.variable("MALLOC_ARENA_MAX").unwrap(), "7");
    }
    block.signal("INT");
    block.wait_for("stopped");
    assert_eq!(block.end().code(), Some(0));
}

#[test]
fn the_settings_of_the_container_serve_people_outside_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = publica();
    command
        .args(["up", "--listen", "0.0.0.0:0", "--admin", "0.0.0.0:0"])
        .args(["--config", "../../deploy/compose/publica.toml", "--data"])
        .arg(folder.path());
    let suite = Running::start(&mut command);
    let port = suite.address("gateway").port();
    let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    let (head, body) = get(address, "/identity/.well-known/openid-configuration");
    assert!(head.starts_with("http/1.1 200"), "{head}{body}");
    let metadata: serde_json::Value = serde_json::from_str(&body).unwrap();
    // An address that a browser can open, unlike the one that is listened on.
    let issuer = format!("http://127.0.0.1:{port}/identity");
    assert_eq!(metadata["issuer"], issuer.as_str());
    let keys = metadata["jwks_uri"].as_str().unwrap();
    assert!(keys.starts_with(&issuer), "{keys}");
}

#[test]
fn the_conformance_profile_says_so_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = publica();
    command
        .args([
            "up",
            "--profile",
            "conformance",
            "--blocks",
            "messaging,gateway",
        ])
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--surface", "messaging=127.0.0.1:0", "--data"])
        .arg(folder.path());
    let mut spoken = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(spoken.stdout.take().unwrap()).lines();
    let mut heard = Vec::new();
    for line in lines.map_while(Result::ok) {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["profile"], "conformance", "{line}");
        heard.push(line["msg"].as_str().unwrap().to_owned());
        if line["msg"] == "ready" {
            break;
        }
    }
    signal(spoken.id(), "TERM");
    spoken.wait().unwrap();
    for message in ["listening", "opened a store", "ready"] {
        assert!(
            heard.iter().any(|line| line == message),
            "{message} in {heard:?}"
        );
    }
    let suite = Running::start(&mut command);
    for role in ["gateway", "messaging surface"] {
        let (head, body) = get(suite.address(role), "/healthcheck");
        assert!(head.contains("x-publica-profile: conformance"), "{head}");
        assert!(body.contains("conformance"), "{body}");
    }
}

#[test]
fn an_address_in_use_is_said_plainly() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let output = publica()
        .args([
            "up",
            "--blocks",
            "gateway",
            "--admin",
            "127.0.0.1:0",
            "--listen",
        ])
        .arg(taken.local_addr().unwrap().to_string())
        .arg("--data")
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("in use") && said.contains("gateway"),
        "{said}"
    );
}

#[test]
fn a_second_process_does_not_share_stores() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
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
            .arg(folder.path());
        command
    };
    let _first = Running::start(&mut start());
    let output = start().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("in use by another process"), "{said}");
}

#[test]
fn a_token_needs_the_key_of_a_suite() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("none");
    let output = publica()
        .args(["token", "--scope", "*", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!data.exists(), "asking for a token makes no folder");
}

#[test]
fn a_token_is_for_a_tenant_that_is_served_and_for_scopes_of_good_form() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("workload.jwk");
    let text = format!(
        "tenants = ['health', 'social']\nworkload_key = '{}'\ndata = '{}'\n\
         [seal]\nfile = '{}'\ncreate = true\n",
        key.display(),
        folder.path().join("data").display(),
        folder.path().join("seal.json").display(),
    );
    let file = settings(folder.path(), &text);
    let migrate = ["migrate", "--blocks", "messaging", "--config"];
    let made = publica().args(migrate).arg(&file).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let token = |arguments: &[&str]| {
        let mut command = publica();
        command
            .args(["token", "--config"])
            .arg(&file)
            .args(arguments);
        command.output().unwrap()
    };
    for (arguments, code) in [
        (["--scope", "payments:*", "--tenant", "social"], 0),
        (["--scope", "payments:*", "--tenant", "default"], 1),
        (["--scope", "payments:*", "--tenant", "Social"], 2),
        (["--scope", "", "--tenant", "social"], 2),
        (["--scope", "payments:*,", "--tenant", "social"], 2),
        (["--scope", "payments:* consent:*", "--tenant", "social"], 2),
    ] {
        let output = token(&arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        assert_eq!(output.stdout.is_empty(), code != 0, "{arguments:?}");
    }
    let said = String::from_utf8(token(&["--scope", "*"]).stderr).unwrap();
    assert!(
        said.contains("there is no tenant default; the settings name health, social"),
        "{said}"
    );
}

/// What a command said to whoever started it, once it is told to stop.
fn welcome(arguments: &[&str], data: &std::path::Path) -> (Running, String) {
    let mut command = publica();
    command
        .arg("up")
        .args(arguments)
        .args([
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(data);
    let mut running = Running::start(&mut command);
    let said = running.welcome();
    (running, said)
}

#[test]
fn whoever_starts_it_is_told_calls_that_work() {
    let folder = tempfile::tempdir().unwrap();
    let spaced = folder.path().join("my data");
    let (suite, said) = welcome(&["--blocks", "messaging,gateway"], &spaced);
    let address = suite.address("gateway");
    assert!(
        said.contains(&format!("curl http://{address}/gateway/v1/blocks")),
        "{said}"
    );
    assert!(
        said.contains(&format!("grpcurl -plaintext {address} list")),
        "{said}"
    );
    let token = format!("$(cat '{}/admin.token')", spaced.display());
    assert!(said.contains(&token), "{token} is missing in:\n{said}");
    assert!(
        said.contains("publica.journal.v1.JournalService/ListEpochs"),
        "{said}"
    );

    let alone = folder.path().join("alone");
    let (block, said) = welcome(&["--blocks", "messaging"], &alone);
    // It is the block's own address that --listen gives.
    let address = block.address("messaging");
    assert_ne!(address.port(), 7_004);
    assert!(
        said.contains(&format!("grpcurl -plaintext {address} list")),
        "{said}"
    );
    assert!(!said.contains("/gateway/v1/blocks"), "{said}");

    let (gateway, said) = welcome(&["--blocks", "gateway"], &folder.path().join("front"));
    let address = gateway.address("gateway");
    assert!(
        said.contains(&format!("curl http://{address}/gateway/v1/blocks")),
        "{said}"
    );
    assert!(!said.contains("grpcurl"), "{said}");
}

#[test]
fn one_address_is_not_for_several_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let output = publica()
        .args([
            "up",
            "--blocks",
            "payments,consent",
            "--listen",
            "127.0.0.1:0",
        ])
        .arg("--data")
        .arg(folder.path().join("data"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(!folder.path().join("data").exists());
}

#[test]
fn completions_are_for_the_shell_asked_for() {
    for shell in ["bash", "zsh", "fish"] {
        let output = publica().args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        assert!(
            String::from_utf8(output.stdout)
                .unwrap()
                .contains("check-config"),
            "{shell}"
        );
    }
}
