//! What the suite takes while nobody calls: memory, the time until it is ready, and the size of
//! the program; beside the budget of each.

use std::time::Duration;

use crate::program::{Program, binary, publica};
use crate::report::{Figure, Report};

const RESIDENT_MIB: f64 = 80.0;
const READY_MS: f64 = 500.0;
const BINARY_MIB: f64 = 60.0;

/// After this, what the start needed has been given back.
const SETTLE: Duration = Duration::from_secs(5);

/// Measures all blocks in one process on empty stores: the first start, which makes them, and
/// the next.
pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for name in ["footprint-first-start", "footprint-start"] {
        let mut command = publica()?;
        command
            .args(["up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .arg("--data")
            .arg(folder.path());
        let suite = Program::start(&mut command)?;
        let ready = suite.ready_after.as_secs_f64() * 1_000.0;
        report.figure(Figure::new(name, ready, "ms").beside("budget", READY_MS))?;
        if name == "footprint-start" {
            tokio::time::sleep(SETTLE).await;
            let resident = suite.resident_mib()?;
            let figure = Figure::new("footprint-memory", resident, "MiB");
            report.figure(figure.beside("budget", RESIDENT_MIB).resident(resident))?;
        }
    }
    let size = u32::try_from(std::fs::metadata(binary()?)?.len() / 1024)?;
    let size = f64::from(size) / 1_024.0;
    report.figure(Figure::new("footprint-binary", size, "MiB").beside("budget", BINARY_MIB))
}
