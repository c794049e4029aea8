//! `publica import`: a client of the blocks' import services.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::BufRead;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use publica_imports::{MOST_BYTES, SCHEMAS, kinds, most_bytes, schema};
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_proto::imports::v1::{ImportEntitiesRequest, ImportEntitiesResponse};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::Request;

use crate::cli::ImportArgs;
use crate::client::Client;
use crate::print;
use crate::settings::BLOCKS;

/// Lines sent in one call; a call's answer is how far an interrupted import surely came.
const LINES_PER_CALL: usize = 50_000;
const CALL_LIMIT: Duration = Duration::from_secs(1_800);
/// Lines in flight to one block.
const QUEUE: usize = 1_024;
const MAX_PROBLEMS_SHOWN: usize = 1_000;

pub(crate) async fn run(args: ImportArgs) -> Result<u8> {
    if let Some(kind) = &args.schema {
        return print_schema(kind);
    }
    let Some(file) = &args.file else {
        bail!("a file is needed");
    };
    let client = Client::connect(&args.client)?;
    let name = file.display().to_string();
    let mut input: Box<dyn BufRead + Send> = if name == "-" {
        Box::new(std::io::BufReader::new(std::io::stdin()))
    } else {
        let file = std::fs::File::open(file).with_context(|| format!("opening {name}"))?;
        Box::new(std::io::BufReader::with_capacity(256 * 1024, file))
    };
    let mut import = Import::new(client);
    let read = import.read(&mut *input).await;
    // Whatever ended the reading, what was sent is answered for.
    import.finish().await;
    let code = import.report(&name)?;
    read.map(|()| code)
}

/// The schema of a kind, or every kind there is.
fn print_schema(kind: &str) -> Result<u8> {
    if kind == "list" {
        for schema in SCHEMAS {
            print::line(schema.kind)?;
        }
        return Ok(0);
    }
    let Some(schema) = schema(kind) else {
        bail!("there is no kind `{kind}`; there are {}", kinds());
    };
    print::line(schema.text.trim_end())?;
    Ok(0)
}

/// What is needed of a line here; the block reads the rest.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    kind: std::borrow::Cow<'a, str>,
}

struct Import {
    client: Client,
    calls: BTreeMap<String, Call>,
    tracker: TaskTracker,
    tally: BTreeMap<String, Tally>,
    problems: Vec<(u64, String, String)>,
    /// Lines that were refused, and problems found in them.
    refused: u64,
    found: u64,
    /// What a block told of the problems of a call that it gave up.
    told: Vec<String>,
    /// Blocks that ended a call otherwise than with its tally, by name.
    failed: BTreeMap<String, Failure>,
}

/// What a block was sent in vain.
struct Failure {
    why: String,
    /// The first and the last line of the call that failed. How many of them are stored nobody
    /// knows.
    in_flight: (u64, u64),
    /// The first line that was not sent any more, and how many there are.
    unsent: Option<(u64, u64)>,
}

#[derive(Default)]
struct Tally {
    accepted: u64,
    repeated: u64,
}

/// One stream to a block.
struct Call {
    lines: mpsc::Sender<ImportEntitiesRequest>,
    answer: JoinHandle<Result<ImportEntitiesResponse, tonic::Status>>,
    sent: usize,
    /// The first and the last line.
    lines_sent: (u64, u64),
}

impl Import {
    fn new(client: Client) -> Self {
        Self {
            client,
            calls: BTreeMap::new(),
            tracker: TaskTracker::new(),
            tally: BTreeMap::new(),
            problems: Vec::new(),
            refused: 0,
            found: 0,
            told: Vec::new(),
            failed: BTreeMap::new(),
        }
    }

    async fn read(&mut self, input: &mut (dyn BufRead + Send)) -> Result<()> {
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            line.clear();
            // One byte more than allowed shows that a line is too long without reading it all.
            let limit = u64::try_from(MOST_BYTES + 2)?;
            let read = std::io::Read::take(&mut *input, limit).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(());
            }
            number += 1;
            if !line.ends_with(b"\n") && line.len() > MOST_BYTES {
                skip_line(input)?;
                self.refuse(number, "", "is longer than 5 MiB");
                continue;
            }
            let json = line.trim_ascii();
            if !json.is_empty() {
                self.line(number, json).await?;
            }
        }
    }

    async fn line(&mut self, number: u64, json: &[u8]) -> Result<()> {
        let Ok(Head { kind }) = serde_json::from_slice(json) else {
            self.refuse(
                number,
                "kind",
                "the line is no JSON object with a text `kind`",
            );
            return Ok(());
        };
        let Some((block, _)) = kind.split_once('.') else {
            self.refuse(
                number,
                "kind",
                "must be BLOCK.ENTITY, such as payments.voucher",
            );
            return Ok(());
        };
        if !BLOCKS.contains(&block) {
            let what = format!("names no block; there are {}", BLOCKS.join(", "));
            self.refuse(number, "kind", &what);
            return Ok(());
        }
        let most = most_bytes(&kind);
        if json.len() > most {
            // Sent, a line beyond what a message may hold would end the call.
            let what = format!("is longer than {} MiB", most / (1024 * 1024));
            self.refuse(number, "", &what);
            return Ok(());
        }
        let (block, kind) = (block.to_owned(), kind.into_owned());
        let request = ImportEntitiesRequest {
            kind,
            json: json.to_vec().into(),
            line: number,
        };
        if self
            .calls
            .get(&block)
            .is_some_and(|call| call.sent >= LINES_PER_CALL)
        {
            self.end(&block).await;
        }
        if let Some(failure) = self.failed.get_mut(&block) {
            let (_, count) = failure.unsent.get_or_insert((number, 0));
            *count += 1;
            return Ok(());
        }
        let call = match self.calls.entry(block.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                entry.insert(begin(&self.client, &self.tracker, &block, number))
            }
        };
        call.sent += 1;
        call.lines_sent.1 = number;
        if call.lines.send(request).await.is_err() {
            // The block ended the call before the stream did; its answer says why.
            self.end(&block).await;
        }
        Ok(())
    }

    /// Ends the call to a block and notes its answer.
    async fn end(&mut self, block: &str) {
        let Some(call) = self.calls.remove(block) else {
            return;
        };
        drop(call.lines);
        let answer = match call.answer.await {
            Ok(answer) => answer,
            Err(error) => Err(tonic::Status::internal(error.to_string())),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(status) => {
                for (place, description) in publica_rpc::violations(&status) {
                    self.told.push(format!("{place}: {description}"));
                }
                let failure = Failure {
                    why: explain(&status),
                    in_flight: call.lines_sent,
                    unsent: None,
                };
                self.failed.insert(block.to_owned(), failure);
                return;
            }
        };
        let tally = self.tally.entry(block.to_owned()).or_default();
        tally.accepted += answer.accepted;
        tally.repeated += answer.repeated;
        let mut last = None;
        for problem in answer.problems {
            // The problems of a line stand together.
            if last != Some(problem.line) {
                self.refused += 1;
            }
            last = Some(problem.line);
            self.problem(problem.line, &problem.field, &problem.description);
        }
    }

    async fn finish(&mut self) {
        let blocks: Vec<String> = self.calls.keys().cloned().collect();
        for block in blocks {
            self.end(&block).await;
        }
    }

    /// Refuses a line for one reason.
    fn refuse(&mut self, line: u64, field: &str, description: &str) {
        self.refused += 1;
        self.problem(line, field, description);
    }

    fn problem(&mut self, line: u64, field: &str, description: &str) {
        self.found += 1;
        if self.problems.len() < MAX_PROBLEMS_SHOWN {
            self.problems
                .push((line, field.to_owned(), description.to_owned()));
        }
    }

    fn report(mut self, name: &str) -> Result<u8> {
        self.problems.sort();
        for (line, field, description) in &self.problems {
            let field = if field.is_empty() {
                String::new()
            } else {
                format!("{field}: ")
            };
            print::error(&format!("{name}:{line}: {field}{description}"));
        }
        for (block, tally) in &self.tally {
            print::line(&format!(
                "{block}: {} accepted, {} repeated",
                tally.accepted, tally.repeated
            ))?;
        }
        let shown = u64::try_from(self.problems.len()).unwrap_or(u64::MAX);
        if self.found > shown {
            print::error(&format!("… and {} more", self.found - shown));
        }
        for problem in &self.told {
            print::error(&format!("{name}: {problem}"));
        }
        if self.refused > 0 {
            print::error(&format!("{} lines were refused", self.refused));
        }
        for (block, failure) in &self.failed {
            let (first, last) = failure.in_flight;
            print::error(&format!(
                "{name}: the block {block} ended the import: {}; of its lines from {first} to \
                 {last}, some may be stored",
                failure.why
            ));
            if let Some((from, count)) = failure.unsent {
                print::error(&format!(
                    "{name}: {count} more lines for {block}, from line {from} on, were not sent"
                ));
            }
        }
        if !self.failed.is_empty() {
            print::error("Import the file again: what is stored counts as repeated.");
        }
        Ok(u8::from(self.refused > 0 || !self.failed.is_empty()))
    }
}

fn begin(client: &Client, tracker: &TaskTracker, block: &str, line: u64) -> Call {
    let (lines, stream) = mpsc::channel(QUEUE);
    let mut request = Request::new(ReceiverStream::new(stream));
    request.set_timeout(CALL_LIMIT);
    client.address(&mut request, block);
    let mut service = ImportServiceClient::new(client.channel());
    let answer = tracker.spawn(async move {
        service
            .import_entities(request)
            .await
            .map(tonic::Response::into_inner)
    });
    Call {
        lines,
        answer,
        sent: 0,
        lines_sent: (line, line),
    }
}

fn skip_line(input: &mut (dyn BufRead + Send)) -> Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            input.consume(end + 1);
            return Ok(());
        }
        let length = buffer.len();
        input.consume(length);
    }
}

fn explain(status: &tonic::Status) -> String {
    let reason = publica_rpc::reason(status).unwrap_or_default();
    format!("{} {reason}", status.message()).trim().to_owned()
}
