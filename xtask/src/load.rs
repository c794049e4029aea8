//! Measurements run in release builds; the tool itself is a package of the tests.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// What to measure, handed on to the tool.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Name of the measurement and its options.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Builds the tool, and the program that some measurements run, and starts the tool.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let built = Command::new("cargo")
        .args(["build", "--release", "--package", "publica"])
        .args(["--package", "publica-tests", "--bins"])
        .current_dir(crate::root())
        .status()?;
    if !built.success() {
        bail!("building ended with {built}");
    }
    // This automation lies in `debug`, beside `release`.
    let own = std::env::current_exe()?;
    let target = own
        .parent()
        .and_then(Path::parent)
        .context("where builds lie")?;
    let status = Command::new(target.join("release/publica-load"))
        .args(&arguments.rest)
        .current_dir(crate::root())
        .status()?;
    if !status.success() {
        bail!("the measurement ended with {status}");
    }
    Ok(())
}
