//! `publica export`: a client of the blocks' journals, whose file `publica verify` checks.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use publica_journal::export::{self, Resumed, Writer};
use publica_journal::trail::{FORMAT, Line, VERSION};
use tokio::time::Instant;

use crate::base::{new_private_file, private_file};
use crate::cli::ExportArgs;
use crate::client::{Client, Journal};
use crate::{print, settings};

/// How often whoever watches is told how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: ExportArgs) -> Result<u8> {
    let named = match &args.block {
        Some(block) => std::slice::from_ref(block),
        None => args.blocks.as_slice(),
    };
    let blocks = match settings::chosen(named) {
        Ok(blocks) => blocks,
        Err(problem) => {
            print::error(&problem);
            return Ok(2);
        }
    };
    if let Some(file) = &args.output {
        ensure!(
            !file.exists(),
            "{} exists already; nothing was exported",
            file.display()
        );
    }
    let client = Client::connect(&args.client)?;
    let output = args.output.as_deref();
    let keys = match (&args.process, blocks.as_slice()) {
        (Some(process), blocks) => case(&client, process, blocks, output).await?,
        (None, [block]) => whole(&client, block, output).await?,
        (None, _) => bail!("either --process or --block says what to export"),
    };
    if let Some(file) = &args.keys {
        private_file(file, &keys)?;
    }
    Ok(0)
}

fn journal(client: &Client, block: &str) -> export::Client<Journal> {
    export::Client {
        block: block.to_owned(),
        service: client.journal(block),
    }
}

/// Exports one case from all of `blocks`; gives their keys.
async fn case(
    client: &Client,
    process: &str,
    blocks: &[&str],
    output: Option<&Path>,
) -> Result<String> {
    let mut clients: Vec<_> = blocks.iter().map(|block| journal(client, block)).collect();
    let (target, out) = Target::open(output, false)?;
    let mut writer = Writer::new(out, Some(process))?;
    let counts = export::over_grpc(&mut clients, process, &mut writer).await?;
    target.finish(writer.finish()?)?;
    for (block, count) in blocks.iter().zip(&counts) {
        print::error(&format!("{block}: {count} entries"));
    }
    let mut keys = String::new();
    for client in &mut clients {
        if let Some(key) = client.key().await? {
            keys.push_str(&format!("{key}\n"));
        }
    }
    Ok(keys)
}

/// Exports the log of a block; gives its key.
async fn whole(client: &Client, block: &str, output: Option<&Path>) -> Result<String> {
    let (target, out) = Target::open(output, true)?;
    if let Some(resumed) = &target.resumed {
        print::error(&format!("{block}: going on at entry {}", resumed.next));
    }
    let mut told = Instant::now();
    let mut watch = |done: u64, all: u64| {
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            print::error(&format!("{block}: {done} of {all} entries"));
        }
    };
    let mut journal = journal(client, block);
    let exported = journal
        .whole(out, target.resumed.as_ref(), &mut watch)
        .await;
    let exported = exported.with_context(|| target.advice())?;
    let Some((out, whole)) = exported else {
        target.discard()?;
        bail!("the log of {block} has signed nothing yet, so there is nothing to export");
    };
    target.finish(out)?;
    print::error(&format!("{block}: {} entries", whole.entries));
    Ok(format!("{}\n", whole.key))
}

/// What an export is written to.
type Out = Box<dyn Write + Send>;

/// Where an export goes: standard output, or a file that has another name until it is whole.
struct Target {
    files: Option<(PathBuf, PathBuf)>,
    resumed: Option<Resumed>,
}

impl Target {
    /// Opens it; goes on with what an interrupted export left if that is allowed.
    fn open(output: Option<&Path>, resume: bool) -> Result<(Self, Out)> {
        let Some(output) = output else {
            let target = Self {
                files: None,
                resumed: None,
            };
            return Ok((target, Box::new(BufWriter::new(std::io::stdout()))));
        };
        let mut partial = output.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let left = if resume { left(&partial)? } else { None };
        let (file, resumed) = match left {
            Some((resumed, length)) => {
                let file = OpenOptions::new().append(true).open(&partial)?;
                file.set_len(length)?;
                (file, Some(resumed))
            }
            None => {
                // Without an entry in it, nothing is lost with it.
                let _ = fs::remove_file(&partial);
                (new_private_file(&partial)?, None)
            }
        };
        let target = Self {
            files: Some((partial, output.to_owned())),
            resumed,
        };
        Ok((target, Box::new(BufWriter::new(file))))
    }

    fn advice(&self) -> String {
        match &self.files {
            Some((partial, _)) => format!(
                "{} holds what came; the same command goes on from there, or starts anew once \
                 it is removed",
                partial.display()
            ),
            None => "the export was cut".to_owned(),
        }
    }

    /// Gives the whole export its name.
    fn finish(&self, mut out: Out) -> Result<()> {
        out.flush()?;
        drop(out);
        if let Some((partial, output)) = &self.files {
            File::open(partial)?.sync_all()?;
            fs::rename(partial, output).with_context(|| output.display().to_string())?;
        }
        Ok(())
    }

    fn discard(&self) -> Result<()> {
        if let Some((partial, _)) = &self.files {
            fs::remove_file(partial)?;
        }
        Ok(())
    }
}

/// What an interrupted export holds up to its last entry, and the length of that; `None` if there
/// is no entry in it.
fn left(partial: &Path) -> Result<Option<(Resumed, u64)>> {
    let name = || partial.display().to_string();
    let file = match File::open(partial) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.with_context(name)?,
    };
    let mut reader = BufReader::new(file);
    let (mut line, mut read, mut lines) = (Vec::new(), 0, 0);
    let (mut origin, mut last) = (None, None);
    loop {
        line.clear();
        read += u64::try_from(reader.read_until(b'\n', &mut line)?)?;
        if !line.ends_with(b"\n") {
            break;
        }
        lines += 1;
        match lines {
            1 => ensure!(is_header(&line), "{} is no export", name()),
            2 => origin = log_of(&line),
            _ => {}
        }
        if [ENTRY, LEAF].iter().any(|kind| line.starts_with(kind)) {
            last = Some((line.clone(), lines, read));
        }
    }
    let (Some(origin), Some((line, lines, length))) = (origin, last) else {
        return Ok(None);
    };
    let next = match serde_json::from_slice(&line) {
        Ok(Line::Entry(entry)) => entry.position + 1,
        Ok(Line::Leaf { position, .. }) => position + 1,
        _ => bail!("{} is damaged", name()),
    };
    let resumed = Resumed {
        origin,
        next,
        lines,
    };
    Ok(Some((resumed, length)))
}

const ENTRY: &[u8] = b"{\"line\":\"entry\"";
const LEAF: &[u8] = b"{\"line\":\"leaf\"";

fn is_header(line: &[u8]) -> bool {
    matches!(
        serde_json::from_slice(line),
        Ok(Line::Header { format, version: VERSION, process_id: None, .. }) if format == FORMAT
    )
}

/// The name of the complete log that follows.
fn log_of(line: &[u8]) -> Option<String> {
    match serde_json::from_slice(line) {
        Ok(Line::Log(log)) if log.complete => Some(log.origin),
        _ => None,
    }
}
