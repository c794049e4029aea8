//! Results: one object a measurement, newest last, and a page rendered from them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use publica_types::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};

use crate::floors;
use crate::pace::Pace;

/// One measurement, beside its limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    /// `sqlite`, `postgres` or `none`.
    pub(crate) engine: String,
    pub(crate) figure: f64,
    pub(crate) unit: String,
    pub(crate) limit_name: String,
    pub(crate) limit: f64,
    /// Figure by limit.
    pub(crate) ratio: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) resident_mib: f64,
    pub(crate) machine: String,
    pub(crate) date: String,
    pub(crate) commit: String,
}

/// A figure to be added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure<'f> {
    name: &'f str,
    engine: &'f str,
    figure: f64,
    unit: &'f str,
    limit: (&'f str, f64),
    /// Microseconds that half, and 99 of 100, of the calls stayed below.
    pace: (u64, u64),
    resident_mib: Option<f64>,
}

impl<'f> Figure<'f> {
    /// A figure that needs no engine.
    pub(crate) fn new(name: &'f str, figure: f64, unit: &'f str) -> Self {
        Self {
            name,
            engine: "none",
            figure,
            unit,
            limit: ("itself", figure),
            pace: (0, 0),
            resident_mib: None,
        }
    }

    /// The same, measured on this engine.
    pub(crate) fn on(self, engine: &'f str) -> Self {
        Self { engine, ..self }
    }

    /// The same, with its limit.
    pub(crate) fn beside(self, name: &'f str, limit: f64) -> Self {
        Self {
            limit: (name, limit),
            ..self
        }
    }

    /// The same, with the memory of the process that was measured.
    pub(crate) fn resident(self, mib: f64) -> Self {
        Self {
            resident_mib: Some(mib),
            ..self
        }
    }
}

/// Three digits say enough of small figures, whole numbers of large ones.
fn rounded(figure: f64) -> f64 {
    if figure < 1_000.0 {
        (figure * 10.0).round() / 10.0
    } else {
        figure.round()
    }
}

/// The results so far, and where they are kept.
pub(crate) struct Report {
    path: PathBuf,
    results: Vec<Measured>,
    machine: String,
    commit: String,
}

impl Report {
    /// Reads what was measured before.
    pub(crate) fn open(path: PathBuf) -> anyhow::Result<Self> {
        let results = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} does not hold results", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            path,
            results,
            machine: machine(),
            commit: commit(),
        })
    }

    /// Adds the pace of calls and says so.
    pub(crate) fn add(
        &mut self,
        name: &str,
        engine: &str,
        pace: Pace,
        limit_name: &str,
        limit: f64,
    ) -> anyhow::Result<()> {
        let figure = Figure {
            pace: (pace.p50_us, pace.p99_us),
            ..Figure::new(name, pace.rate, "1/s")
        };
        self.figure(figure.on(engine).beside(limit_name, limit))
    }

    /// Adds a figure and says so.
    pub(crate) fn figure(&mut self, figure: Figure<'_>) -> anyhow::Result<()> {
        let now = SystemClock.now().to_string();
        let (limit_name, limit) = figure.limit;
        let measured = Measured {
            name: figure.name.to_owned(),
            engine: figure.engine.to_owned(),
            figure: rounded(figure.figure),
            unit: figure.unit.to_owned(),
            limit_name: limit_name.to_owned(),
            limit: rounded(limit),
            ratio: (figure.figure / limit * 100.0).round() / 100.0,
            p50_us: figure.pace.0,
            p99_us: figure.pace.1,
            resident_mib: figure.resident_mib.unwrap_or_else(resident_mib),
            machine: self.machine.clone(),
            date: now.split('.').next().unwrap_or("").to_owned(),
            commit: self.commit.clone(),
        };
        let mut times = String::new();
        if measured.p99_us > 0 {
            times = format!(" (p50 {} µs, p99 {} µs)", measured.p50_us, measured.p99_us);
        }
        let Measured {
            name,
            engine,
            figure,
            unit,
            ratio,
            limit,
            ..
        } = &measured;
        writeln!(
            std::io::stdout(),
            "{name} {engine}: {figure} {unit}{times}, {ratio:.2} x {limit_name} ({limit} {unit})",
        )?;
        self.results.push(measured);
        self.write()
    }

    /// Writes the results, one a line so that a change is easy to read, and the page.
    fn write(&self) -> anyhow::Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let lines: Vec<String> = self
            .results
            .iter()
            .map(serde_json::to_string)
            .collect::<Result<_, _>>()?;
        std::fs::write(&self.path, format!("[\n{}\n]\n", lines.join(",\n")))?;
        std::fs::write(self.path.with_file_name("RESULTS.md"), page(&self.results))?;
        Ok(())
    }
}

/// The newest result of each measurement, as a table.
fn page(results: &[Measured]) -> String {
    let newest: BTreeMap<(&str, &str, &str), &Measured> = results
        .iter()
        .map(|one| {
            (
                (
                    one.name.as_str(),
                    one.engine.as_str(),
                    one.limit_name.as_str(),
                ),
                one,
            )
        })
        .collect();
    let mut page = String::from(
        "# Measurements\n\nRendered from `results.json`: the newest result of each measurement, \
         beside a limit taken in the same run on the same machine, and its floor: what it must \
         reach.\n\n\
         | Name | Engine | Figure | Limit | Ratio | Floor | Kept | p50 | p99 | Resident | Date \
         | Commit |\n\
         |---|---|---:|---|---:|---|---|---:|---:|---:|---|---|\n",
    );
    for one in newest.values() {
        let day = one.date.split('T').next().unwrap_or("");
        let (floor, kept) = match floors::judge(one) {
            Some((floor, true)) => (floor, "yes"),
            Some((floor, false)) => (floor, "**missed**"),
            None => (String::new(), ""),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| {} | {} | {} {} | {}: {} | {:.2} | {floor} | {kept} | {} µs | {} µs \
             | {} MiB | {day} | {} |",
            one.name,
            one.engine,
            one.figure,
            one.unit,
            one.limit_name,
            one.limit,
            one.ratio,
            one.p50_us,
            one.p99_us,
            one.resident_mib,
            one.commit,
        );
    }
    let names: Vec<&str> = newest.keys().map(|(name, ..)| *name).collect();
    let unmeasured = floors::unmeasured(&names);
    if !unmeasured.is_empty() {
        let _ = writeln!(page, "\nNot measured yet: {}.", unmeasured.join(", "));
    }
    let mut machines: Vec<&str> = newest.values().map(|one| one.machine.as_str()).collect();
    machines.sort_unstable();
    machines.dedup();
    let _ = writeln!(page, "\nMachines: {}.", machines.join("; "));
    page
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or(std::env::consts::ARCH, |(_, model)| model.trim());
    format!("{cores} x {model}, {}", std::env::consts::OS)
}

fn commit() -> String {
    let output = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output();
    let output = output.ok().filter(|output| output.status.success());
    output.map_or_else(
        || "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse::<u32>().ok());
    (f64::from(kib.unwrap_or(0)) / 102.4).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(name: &str) -> (PathBuf, String) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("load")
            .join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    }

    /// `UPDATE_GOLDEN=1` writes the page anew.
    #[test]
    fn the_page_is_rendered_from_the_results() {
        let (_, results) = committed("results.json");
        let results: Vec<Measured> = serde_json::from_str(&results).unwrap();
        let rendered = page(&results);
        let (path, written) = committed("RESULTS.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, rendered).unwrap();
        } else {
            assert_eq!(rendered, written, "{} differs", path.display());
        }
    }

    #[test]
    fn floors_stand_beside_figures_and_say_where_they_are_missed() {
        let one = |name: &str, figure: f64, limit: f64, p99_us: u64| Measured {
            name: name.to_owned(),
            engine: "sqlite".to_owned(),
            figure,
            unit: "1/s".to_owned(),
            limit_name: "a limit".to_owned(),
            limit,
            ratio: figure / limit,
            p50_us: 1,
            p99_us,
            resident_mib: 1.0,
            machine: "a machine".to_owned(),
            date: "2026-01-01T00:00:00".to_owned(),
            commit: "abc".to_owned(),
        };
        let table = [
            (one("gateway", 30.0, 100.0, 1), "0.25 × the limit | yes |"),
            (
                one("gateway", 20.0, 100.0, 1),
                "0.25 × the limit | **missed** |",
            ),
            (
                one("consent-record", 2_999.0, 1.0, 1),
                "3000 1/s | **missed** |",
            ),
            (
                one("footprint-start", 90.0, 100.0, 1),
                "at most 100 1/s | yes |",
            ),
            (
                one("footprint-start", 101.0, 100.0, 1),
                "at most 100 1/s | **missed** |",
            ),
            (
                one("messaging-urgent", 1.0, 1.0, 49_999),
                "p99 below 50000 µs | yes |",
            ),
            (
                one("messaging-urgent", 1.0, 1.0, 50_000),
                "p99 below 50000 µs | **missed** |",
            ),
            (one("store-read", 1.0, 1.0, 1), "| 1.00 |  |  |"),
        ];
        for (measured, wanted) in table {
            let name = measured.name.clone();
            let page = page(&[measured]);
            assert!(page.contains(wanted), "{wanted} in {page}");
            let listed = page.split_once("Not measured yet: ").unwrap().1;
            let listed = listed.split_once(".\n").unwrap().0;
            let listed: Vec<&str> = listed.split(", ").collect();
            assert!(listed.contains(&"signature-hash"), "{page}");
            assert!(!listed.contains(&name.as_str()), "{page}");
        }
    }
}
