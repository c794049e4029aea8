//! Measures what the blocks can do, beside a limit taken in the same run.
//!
//! Each measurement has a name, such as `publica-load store`. Its result is appended to
//! `results.json`, and `RESULTS.md` is rendered from all of them.

mod consent;
mod floors;
mod footprint;
mod gateway;
mod import;
mod journey;
mod messaging;
mod pace;
mod payments;
mod pgbench;
mod program;
mod report;
mod store;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Measures what the blocks can do, beside a limit taken in the same run.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    measurement: Measurement,
    /// Where results are appended; RESULTS.md beside it is rendered anew.
    #[arg(long, global = true, default_value = "tests/load/results.json")]
    out: PathBuf,
    /// How long each loop runs, after a second to warm up.
    #[arg(long, global = true, default_value_t = 5)]
    seconds: u64,
    /// Calls in flight.
    #[arg(long, global = true, default_value_t = 64)]
    in_flight: u32,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// A point read and a whole mutation on both engines.
    Store(store::Arguments),
    /// What the whole suite takes while nobody calls.
    Footprint,
    /// A small published read through gateway and block.
    Gateway,
    /// The main job's time and memory, with few households and with many.
    Journey(journey::Arguments),
    /// Decisions, each journalled, and signed records one by one and in bulk.
    Consent(consent::Arguments),
    /// A batch with a template, signed, over TLS, to a local sink; and urgent mail meanwhile.
    Messaging(messaging::Arguments),
    /// Lines a second of the kinds that are brought in by the million.
    Import(import::Arguments),
    /// Single transfers, and a large batch from upload to reconciliation.
    Payments(payments::Arguments),
}

/// What the product itself uses: blocks that are measured in this process run on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // Only fails if one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let load = pace::Load {
        in_flight: arguments.in_flight,
        span: Duration::from_secs(arguments.seconds),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut report = report::Report::open(arguments.out)?;
    match arguments.measurement {
        Measurement::Store(options) => {
            runtime.block_on(store::measure(&options, load, &mut report))?;
        }
        Measurement::Footprint => runtime.block_on(footprint::measure(&mut report))?,
        Measurement::Gateway => runtime.block_on(gateway::measure(load, &mut report))?,
        Measurement::Journey(options) => {
            runtime.block_on(journey::measure(&options, &mut report))?;
        }
        Measurement::Consent(options) => {
            runtime.block_on(consent::measure(&options, load, &mut report))?;
        }
        Measurement::Messaging(options) => {
            runtime.block_on(messaging::measure(&options, &mut report))?;
        }
        Measurement::Import(options) => {
            runtime.block_on(import::measure(&options, &mut report))?;
        }
        Measurement::Payments(options) => {
            runtime.block_on(payments::measure(&options, load, &mut report))?;
        }
    }
    Ok(())
}
