//! Step 8: one person's trail through all six blocks is exported as an outside client, over gRPC,
//! and verified with nothing but the file.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use publica_journal::export::{self, Writer};
use publica_journal::verify;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;
use tonic::{Request, Status};

use super::context::{Context, Decided, Parties};
use super::report::Report;
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
    let mut blocks = 0;
    for block in BLOCKS {
        let name: MetadataValue<Ascii> = block.parse()?;
        let token = token.clone();
        let service = InterceptedService::new(channel.clone(), move |mut call: Request<()>| {
            call.metadata_mut().insert("authorization", token.clone());
            call.metadata_mut().insert(publica_rpc::BLOCK, name.clone());
            Ok::<_, Status>(call)
        });
        let mut client = export::Client {
            block: (*block).to_owned(),
            tenant: "default".to_owned(),
            service: JournalServiceClient::new(service),
        };
        let entries = export::over_grpc(&mut client, &person.case_id, &mut writer)
            .await
            .with_context(|| format!("the journal of {block}"))?;
        blocks += u64::from(entries > 0);
        step.advance(1);
    }
    writer.finish()?;
    let file = File::open(&export).with_context(|| export.display().to_string())?;
    let report = verify::trail(BufReader::new(file))?;
    let unpaid = BLOCKS
        .iter()
        .filter(|block| **block == PAYING && !chosen.approved);
    let outcome = Outcome {
        line: person.line,
        blocks,
        expected: u64::try_from(BLOCKS.len() - unpaid.count()).unwrap_or_default(),
        entries: report.entries(),
        valid: report.is_valid(),
        export,
    };
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
    Ok(Some(outcome))
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
