//! `publica doctor`: looks for what is wrong.

mod probe;
mod references;
mod stores;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use publica_types::{Clock as _, SystemClock, Timestamp};

use crate::cli::DoctorArgs;
use crate::commands::backup::{is_store, open_store};
use crate::print;
use crate::settings::{self, Suite};

/// Less free space than this will not last long.
const LITTLE_SPACE_MIB: u64 = 512;
/// A clock before this moment is certainly wrong: the program is younger.
const PROGRAM_IS_YOUNGER: i64 = 1_767_225_600_000_000;

/// What was found, good and bad.
#[derive(Default)]
struct Findings {
    lines: Vec<(Grade, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Grade {
    Good,
    Note,
    Bad,
}

impl Findings {
    fn good(&mut self, what: impl Into<String>) {
        self.lines.push((Grade::Good, what.into()));
    }

    fn note(&mut self, what: impl Into<String>) {
        self.lines.push((Grade::Note, what.into()));
    }

    fn bad(&mut self, what: impl Into<String>) {
        self.lines.push((Grade::Bad, what.into()));
    }
}

pub(crate) async fn run(args: DoctorArgs) -> Result<u8> {
    let loaded = settings::load(args.config.as_deref(), |suite| {
        if let Some(data) = &args.data {
            suite.data.clone_from(data);
        }
    });
    let suite = match loaded {
        Ok(suite) => suite,
        Err(problems) => return Ok(settings::report(&problems)),
    };
    let mut findings = Findings::default();
    findings.good(format!("settings are sound ({} profile)", suite.profile));
    clock(&mut findings);
    files(&suite, &mut findings).await?;
    let open = stores::open(&suite, &mut findings).await;
    references::check(&open, &mut findings).await;
    stores::close(open).await;
    probe::probe(&suite, &mut findings).await;
    let bad = findings
        .lines
        .iter()
        .filter(|(grade, _)| *grade == Grade::Bad)
        .count();
    for (grade, what) in &findings.lines {
        let mark = match grade {
            Grade::Good => "ok  ",
            Grade::Note => "note",
            Grade::Bad => "BAD ",
        };
        print::line(&format!("{mark}  {what}"))?;
    }
    Ok(u8::from(bad > 0))
}

fn clock(findings: &mut Findings) {
    let now = SystemClock.now();
    if now < Timestamp::from_micros(PROGRAM_IS_YOUNGER) {
        findings.bad(format!("the clock says {now}, which is in the past"));
    } else {
        findings.good(format!("the clock says {now}"));
    }
}

async fn files(suite: &Suite, findings: &mut Findings) -> Result<()> {
    if !suite.data.is_dir() {
        findings.note(format!(
            "{} does not exist; `up` makes it",
            suite.data.display()
        ));
        return Ok(());
    }
    mode(&suite.data, findings)?;
    space(&suite.data, findings).await;
    let mut stores = 0;
    for path in below(&suite.data)? {
        if is_store(&path).unwrap_or(false) {
            stores += 1;
            store(&path, findings).await;
        } else if path.starts_with(suite.data.join("keys")) {
            mode(&path, findings)?;
        }
    }
    if stores == 0 {
        findings.note("there is no embedded store yet");
    }
    Ok(())
}

fn below(root: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Keys and stores are for their owner alone.
fn mode(path: &Path, findings: &mut Findings) -> Result<()> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        findings.good(format!("{} is private", path.display()));
    } else {
        findings.bad(format!(
            "{} can be read by others (mode {mode:03o})",
            path.display()
        ));
    }
    Ok(())
}

async fn store(path: &Path, findings: &mut Findings) {
    match checked(path).await {
        Ok(said) if said == "ok" => findings.good(format!("{} is whole", path.display())),
        Ok(said) => findings.bad(format!("{} is damaged: {said}", path.display())),
        Err(error) => findings.bad(format!("{} cannot be opened: {error:#}", path.display())),
    }
}

async fn checked(path: &Path) -> Result<String> {
    let mut store = open_store(path, false).await?;
    Ok(sqlx::query_scalar("PRAGMA quick_check")
        .fetch_one(&mut store)
        .await?)
}

/// Asks the system's own tool, since the standard library cannot.
async fn space(path: &Path, findings: &mut Findings) {
    let asked = tokio::process::Command::new("df")
        .arg("-Pm")
        .arg(path)
        .output()
        .await;
    let free = asked.ok().and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        text.lines()
            .nth(1)?
            .split_whitespace()
            .nth(3)?
            .parse::<u64>()
            .ok()
    });
    match free {
        None => findings.note("free space is unknown: df gave no answer"),
        Some(free) if free < LITTLE_SPACE_MIB => {
            findings.bad(format!(
                "only {free} MiB are free where {} is",
                path.display()
            ));
        }
        Some(free) => findings.good(format!("{free} MiB are free")),
    }
}
