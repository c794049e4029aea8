//! What a PostgreSQL server does by its own measure: pgbench's transfers between accounts,
//! tellers and branches (TPC-B), prepared, a commit each.

use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use publica_testkit::{Database, postgres_programs};

/// The name of the limit.
pub(crate) const TPC_B: &str = "pgbench TPC-B, 8 clients";

/// A million accounts in ten branches, which not all clients wait for at once.
const SCALE: &str = "10";

/// Transactions a second in a database of its own, on the server that tests use.
pub(crate) async fn tpc_b(span: Duration) -> anyhow::Result<f64> {
    let database = Database::durable_postgres().await;
    let config = database.config();
    let url = config.url.expose();
    let seconds = span.as_secs().max(1).to_string();
    run(&["--initialize", "--quiet", "--scale", SCALE, url])?;
    let told = run(&[
        "--client=8",
        "--jobs=2",
        "--protocol=prepared",
        "--time",
        &seconds,
        url,
    ])?;
    told.lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok())
        .with_context(|| format!("pgbench tells no rate: {told}"))
}

fn run(arguments: &[&str]) -> anyhow::Result<String> {
    let ended = Command::new(postgres_programs().join("pgbench"))
        .args(arguments)
        .output();
    let ended = ended.context("pgbench is not installed: apt-get install -y postgresql")?;
    anyhow::ensure!(
        ended.status.success(),
        "pgbench failed: {}",
        String::from_utf8_lossy(&ended.stderr)
    );
    Ok(String::from_utf8(ended.stdout)?)
}
