//! What `--help` teaches, against what is written down.
//!
//! `UPDATE_GOLDEN=1 cargo test -p publica --test it help` writes the files anew.

use std::path::PathBuf;

use crate::running::publica;

#[test]
fn help_is_as_written_down() {
    for command in [
        "",
        "up",
        "journey",
        "identity",
        "signature",
        "payments",
        "messaging",
        "registration",
        "consent",
        "gateway",
        "migrate",
        "check-config",
        "import",
        "export",
        "verify",
        "verify-receipt",
        "keys",
        "keys rotate",
        "token",
        "completions",
        "backup",
        "restore",
        "doctor",
    ] {
        let mut asked = publica();
        asked.args(command.split_whitespace());
        let output = asked.arg("--help").output().unwrap();
        assert!(output.status.success(), "{command}");
        let text = String::from_utf8(output.stdout).unwrap();
        let name = if command.is_empty() {
            "publica"
        } else {
            &command.replace(' ', "-")
        };
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/it/golden")
            .join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(text, written, "{} differs", file.display());
    }
}

#[test]
fn no_command_shows_the_way() {
    let output = publica().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("publica up"), "{text}");
}
