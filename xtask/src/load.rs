//! Measurements run in release builds; the tool itself is a package of the tests.

use std::process::Command;

use anyhow::{Result, bail};

/// What to measure, handed on to the tool.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Name of the measurement and its options.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Builds the tool and runs it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    // Some measurements run the program itself.
    let built = Command::new("cargo")
        .args(["build", "--release", "--package", "publica"])
        .current_dir(crate::root())
        .status()?;
    if !built.success() {
        bail!("building the program ended with {built}");
    }
    let status = Command::new("cargo")
        .args([
            "run",
            "--release",
            "--package",
            "publica-tests",
            "--bin",
            "publica-load",
            "--",
        ])
        .args(&arguments.rest)
        .current_dir(crate::root())
        .status()?;
    if !status.success() {
        bail!("the measurement ended with {status}");
    }
    Ok(())
}
