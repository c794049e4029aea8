//! Step 8: one person's trail through all six blocks is exported as an outside client, over gRPC,
//! and verified with nothing but the file and the keys that the blocks name.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use publica_journal::export::{self, Writer};
use publica_journal::verify::{self, Pin, Verifier};
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;
use tonic::{Request, Status};

use super::context::{Context, Decided, Parties};
use super::report::{Report, Step};
use super::spool::{CHUNK, chunks};
use crate::base::new_private_file;

/// The blocks whose journals are read.
const BLOCKS: &[&str] = &[
    "identity",
    "consent",
    "registration",
    "signature",
    "payments",
    "messaging",
];

/// The one that pays, and so knows nothing of whoever was refused.
const PAYING: &str = "payments";

/// What came out.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The person's line in the file.
    pub(crate) line: u64,
    /// Blocks that have entries of the person's case, and how many must have.
    pub(crate) blocks: u64,
    pub(crate) expected: u64,
    pub(crate) entries: u64,
    pub(crate) valid: bool,
    pub(crate) export: PathBuf,
}

/// Exports and verifies the trail of one person: the last of those who were approved, or of all
/// if nobody was. Without anybody there is no trail.
pub(crate) async fn run(
    context: &Context,
    parties: &Parties,
    report: &Report,
    decided: &Path,
) -> Result<Option<Outcome>> {
    let Some(chosen) = choose(decided)? else {
        return Ok(None);
    };
    let person = &chosen.enrolled;
    let step = report.step(
        8,
        "journal",
        u64::try_from(BLOCKS.len()).unwrap_or_default(),
    );
    let export = context.folder.join("8-trail.jsonl");
    let file = new_private_file(&export)?;
    let mut writer = Writer::new(BufWriter::new(file), Some(&person.case_id))?;
    let channel = Endpoint::from_shared(context.anonymous.base().to_owned())?
        .connect()
        .await?;
    let token = parties.auditor.token().await?;
    let token: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
    let mut clients = Vec::new();
    for block in BLOCKS {
        let name: MetadataValue<Ascii> = block.parse()?;
        let token = token.clone();
        let service = InterceptedService::new(channel.clone(), move |mut call: Request<()>| {
            call.metadata_mut().insert("authorization", token.clone());
            call.metadata_mut().insert(publica_rpc::BLOCK, name.clone());
            Ok::<_, Status>(call)
        });
        clients.push(export::Client {
            block: (*block).to_owned(),
            service: JournalServiceClient::new(service),
        });
    }
    let entries = export::over_grpc(&mut clients, &person.case_id, &mut writer).await?;
    let blocks = entries.iter().filter(|count| **count > 0).count();
    let blocks = u64::try_from(blocks).unwrap_or_default();
    writer.finish()?;
    // Asked for apart from the export: an auditor has them from the blocks, never from the file.
    let mut keys = String::new();
    let mut verifier = Verifier::new();
    for client in &mut clients {
        let key = client.key().await?.context("a block has signed nothing")?;
        keys.push_str(&format!("{key}\n"));
        verifier.pin(Pin::of(key))?;
        step.advance(1);
    }
    new_private_file(&context.folder.join("8-keys.txt"))?.write_all(keys.as_bytes())?;
    let file = File::open(&export).with_context(|| export.display().to_string())?;
    verifier.read("the export", BufReader::new(file))?;
    let report = verifier.finish();
    let unpaid = BLOCKS
        .iter()
        .filter(|block| **block == PAYING && !chosen.approved);
    let outcome = Outcome {
        line: person.line,
        blocks,
        expected: u64::try_from(BLOCKS.len() - unpaid.count()).unwrap_or_default(),
        entries: report.entries(),
        valid: report.is_valid() && report.is_pinned(),
        export,
    };
    tell(step, &report, &outcome)?;
    Ok(Some(outcome))
}

fn tell(step: Step, report: &verify::Report, outcome: &Outcome) -> Result<()> {
    for finding in &report.findings {
        tracing::error!(place = finding.place, "{}", finding.message);
    }
    let proofs = if outcome.valid {
        "all proofs hold"
    } else {
        "NOT all proofs hold"
    };
    step.done(&format!(
        "the trail of line {}: {} entries in {} blocks, verified offline, {proofs}",
        outcome.line, outcome.entries, outcome.blocks
    ))?;
    Ok(())
}

/// Whose trail is shown. Everybody's case travels with their items, so anybody's would do.
fn choose(decided: &Path) -> Result<Option<Decided>> {
    let mut chosen: Option<Decided> = None;
    for chunk in chunks::<Decided>(decided, CHUNK)? {
        for file in chunk? {
            if file.approved || chosen.as_ref().is_none_or(|chosen| !chosen.approved) {
                chosen = Some(file);
            }
        }
    }
    Ok(chosen)
}
