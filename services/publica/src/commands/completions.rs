//! `publica completions`.

use anyhow::Result;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::print;

pub(crate) fn run(shell: Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "publica", &mut script);
    print::line(String::from_utf8(script)?.trim_end())?;
    Ok(0)
}
