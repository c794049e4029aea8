//! Independent tools, run on files in a folder of the test.

use std::path::PathBuf;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

/// Files for a tool.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn write_pem(&self, name: &str, certificates: &[&[u8]]) {
        let text: String = certificates.iter().map(|der| pem(der)).collect();
        self.write(name, text.as_bytes());
    }

    /// Runs a tool in the folder; arguments are separated by spaces.
    pub(crate) fn run(&self, tool: &str, arguments: &str) -> Output {
        let mut command = Command::new(tool);
        command
            .current_dir(self.0.path())
            .args(arguments.split(' '));
        command
            .output()
            .unwrap_or_else(|error| panic!("{tool}: {error}"))
    }

    /// The same, and the tool must be content.
    pub(crate) fn must(&self, tool: &str, arguments: &str) -> String {
        let output = self.run(tool, arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{tool} {arguments}: {text} {errors}"
        );
        text + &errors
    }
}

pub(crate) fn pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).unwrap());
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

/// Whether a tool is installed.
pub(crate) fn installed(tool: &str) -> bool {
    Command::new(tool).arg("-v").output().is_ok()
}
