//! Automation of this repository: one way in, nothing to install.

use anyhow::Result;
use clap::{Parser, Subcommand};

mod charts;
mod deny;
mod load;
mod needs;
mod proto;
mod reasons;
mod test;
mod tidy;

/// Automation of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the bindings from the definitions in proto/.
    Proto(proto::Arguments),
    /// Check the rules of the house that no compiler checks.
    Tidy,
    /// Run every check and test; what README and continuous integration call.
    Test(test::Arguments),
    /// Measure: `cargo xtask load --help` names the measurements.
    #[command(disable_help_flag = true)]
    Load(load::Arguments),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Proto(arguments) => proto::run(&arguments),
        Command::Tidy => tidy::run(),
        Command::Test(arguments) => test::run(&arguments),
        Command::Load(arguments) => load::run(&arguments),
    }
}

/// The repository's root: the folder above this package.
fn root() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
