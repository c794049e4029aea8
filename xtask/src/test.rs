//! The one test command: what it passes is good, what it fails is not.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::{charts, deny, needs, proto, tidy};

/// Which part of the checks to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only check form: formatting, bindings, tidiness and lints.
    #[arg(long)]
    quick: bool,
}

/// Runs every check, cheapest first.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let helm = if arguments.quick {
        None
    } else {
        Some(needs::ensure()?)
    };
    step("formatting", || cargo(["fmt", "--all", "--check"]))?;
    step("bindings", || proto::run(&proto::Arguments::check()))?;
    step("tidiness", tidy::run)?;
    step("dependencies", deny::run)?;
    step("lints", || {
        let targets = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ];
        cargo(targets)
    })?;
    let Some(helm) = helm else { return Ok(()) };
    // Building the tests also builds the program, whose roles process tests start and for which
    // charts write settings. Built alone it would need other features of nearly all libraries.
    step("programs and tests", || {
        cargo(["test", "--workspace", "--no-run", "--quiet"])
    })?;
    step("charts", || charts::check(&helm, &binary()?))?;
    step("tests", || cargo(["test", "--workspace", "--no-fail-fast"]))
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("== {name}");
    let start = clock();
    work().with_context(|| format!("{name} failed"))?;
    eprintln!(
        "== {name}: good, {:.1} s",
        (clock().saturating_sub(start)).as_secs_f64()
    );
    Ok(())
}

fn clock() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "automation tells people how long it took"
    )]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}

fn cargo<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(crate::root());
    if is_ci() {
        // What is built once gains nothing from being kept for the next time, and nobody steps
        // through it; a panic tells its place without line tables.
        command.env("CARGO_INCREMENTAL", "0");
        command.env("CARGO_PROFILE_DEV_DEBUG", "0");
    }
    let status = command.status()?;
    if !status.success() {
        bail!("cargo said {status}");
    }
    Ok(())
}

/// Continuous integration says so, here as elsewhere.
fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// The program, which lies beside this automation.
fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("where builds lie")?;
    Ok(folder.join("publica"))
}
