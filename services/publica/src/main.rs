//! One program, many roles: the whole suite in one process, one block, the gateway, or one of
//! the tools around them. Every role is a subcommand.

mod arenas;
mod base;
mod cli;
mod client;
mod commands;
mod journey;
mod print;
mod settings;
mod welcome;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command, KeysAction};
use commands::{
    backup, check_config, completions, doctor, export, import, keys, migrate, rotate, token, up,
    verify, verify_receipt,
};

/// A call through gateway and block makes some hundred small allocations and a few of 8 KiB, which
/// the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if serves(&cli.command) {
        arenas::keep_few();
    }
    // The first provider stays; there is no other in this process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            print::error(&format!("The runtime cannot be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(cli.command));
    // What still blocks a thread, such as a read of standard input, must not hold up the end.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            print::error(&format!("publica: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether a command stays and holds stores open.
fn serves(command: &Command) -> bool {
    matches!(
        command,
        Command::Up(_)
            | Command::Journey(_)
            | Command::Identity(_)
            | Command::Signature(_)
            | Command::Payments(_)
            | Command::Messaging(_)
            | Command::Registration(_)
            | Command::Consent(_)
    )
}

async fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Up(args) => up::up(args).await,
        Command::Journey(args) => journey::run(args).await,
        Command::Identity(args) => up::role("identity", args).await,
        Command::Signature(args) => up::role("signature", args).await,
        Command::Payments(args) => up::role("payments", args).await,
        Command::Messaging(args) => up::role("messaging", args).await,
        Command::Registration(args) => up::role("registration", args).await,
        Command::Consent(args) => up::role("consent", args).await,
        Command::Gateway(args) => up::role(settings::GATEWAY, args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::CheckConfig { file } => check_config::run(&file),
        Command::Import(args) => import::run(args).await,
        Command::Export(args) => export::run(args).await,
        Command::Verify(args) => verify::run(&args),
        Command::VerifyReceipt { receipt } => verify_receipt::run(&receipt),
        Command::Keys(args) => match args.action {
            Some(KeysAction::Rotate(args)) => rotate::run(args).await,
            None => keys::run(args.to.as_deref()),
        },
        Command::Token(args) => token::run(args),
        Command::Completions { shell } => completions::run(shell),
        Command::Backup(args) => backup::backup(args).await,
        Command::Restore(args) => backup::restore(args).await,
        Command::Doctor(args) => doctor::run(args).await,
    }
}
