//! The one test command: what it passes is good, what it fails is not.

use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::{needs, proto, tidy};

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
    step("charts", || charts(&helm))?;
    // Process tests start roles of this binary.
    step("binary", || cargo(["build", "--package", "publica"]))?;
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
        // What is built once gains nothing from being kept for the next time.
        command.env("CARGO_INCREMENTAL", "0");
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

/// Lints and renders every chart that stands in `helm/`.
fn charts(helm: &std::path::Path) -> Result<()> {
    let folder = crate::root().join("helm");
    let mut charts: Vec<_> = std::fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("Chart.yaml").is_file())
        .collect();
    charts.sort();
    // The umbrella chart depends on the others, which depend on the library.
    charts.sort_by_key(|chart| chart.ends_with("publica"));
    for chart in charts {
        let kind = std::fs::read_to_string(chart.join("Chart.yaml"))?;
        if kind.contains("type: library") {
            continue;
        }
        for action in [
            &["dependency", "build"][..],
            &["lint", "--strict"],
            &["template", "it"],
        ] {
            let output = Command::new(helm).args(action).arg(&chart).output()?;
            if !output.status.success() {
                bail!(
                    "helm {} {}: {}{}",
                    action[0],
                    chart.display(),
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
    }
    Ok(())
}
