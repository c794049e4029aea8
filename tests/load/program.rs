//! The program itself, started as operators start it, with its release build.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::time::Instant;

/// A program that serves until it is dropped.
pub(crate) struct Program {
    child: Child,
    addresses: BTreeMap<String, String>,
    /// From the start of the process until it said that it is ready.
    pub(crate) ready_after: Duration,
}

/// The binary, which is built beside this tool.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    let tool = std::env::current_exe().context("where this tool is")?;
    let binary = tool.with_file_name("publica");
    anyhow::ensure!(
        binary.is_file(),
        "{} is not built: cargo build --release --package publica",
        binary.display()
    );
    Ok(binary)
}

/// The program, to be given arguments. It sees nothing of the environment.
pub(crate) fn publica() -> anyhow::Result<Command> {
    let mut command = Command::new(binary()?);
    command.env_clear();
    Ok(command)
}

impl Program {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn().context("starting")?;
        let stdout = child.stdout.take().context("its output")?;
        let mut program = Self {
            child,
            addresses: BTreeMap::new(),
            ready_after: Duration::ZERO,
        };
        let mut lines = BufReader::new(stdout).lines();
        for line in lines.by_ref() {
            let Ok(line) = serde_json::from_str::<Value>(&line?) else {
                continue;
            };
            let text = |member: &str| line[member].as_str().unwrap_or_default().to_owned();
            if line["msg"] == "listening" {
                program.addresses.insert(text("role"), text("address"));
            }
            if line["msg"] == "ready" {
                program.ready_after = began.elapsed();
                // Somebody has to read on, or the program would wait for it.
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return Ok(program);
            }
        }
        bail!("the program ended before it was ready")
    }

    /// Where a role listens.
    pub(crate) fn address(&self, role: &str) -> anyhow::Result<&str> {
        let address = self.addresses.get(role);
        Ok(address.with_context(|| format!("nothing listens as {role}"))?)
    }

    /// Memory that it holds now.
    pub(crate) fn resident_mib(&self) -> anyhow::Result<f64> {
        memory(self.child.id(), "VmRSS:")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line of a process's status, in MiB.
pub(crate) fn memory(pid: u32, line: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: u32 = status
        .lines()
        .find_map(|found| found.strip_prefix(line)?.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse().ok())
        .context("the status of the process")?;
    Ok((f64::from(kib) / 102.4).round() / 10.0)
}

/// The administrator's token of a suite with its data in this folder.
pub(crate) fn admin_token(data: &Path) -> anyhow::Result<String> {
    let token = std::fs::read_to_string(data.join("admin.token"))?;
    Ok(token.trim().to_owned())
}
