//! Exporting a trail as a client of a block's `JournalService`.

use std::io::{self, Write};

use publica_proto::journal::v1 as proto;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_rpc::from_timestamp;
use publica_types::Uuid;
use tonic::Status;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{Body as HttpBody, Bytes, StdError};

use super::Writer;
use crate::entry::{EntryRow, Outcome};
use crate::merkle::Hash;
use crate::note::Head;
use crate::trail::{EntryLine, Line, LogLine};

const PAGE: i32 = 500;
/// How often a log that is behind is asked. After a process was killed, nobody gives places until
/// its lease is over, which is longer than one call may wait.
const BEHIND_MAX: u32 = 6;

/// Why an export over gRPC failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The block refused or could not be reached.
    #[error("the block refused: {0}")]
    Call(#[from] Status),
    /// The block's answer makes no sense.
    #[error("the block's answer is malformed: {0}")]
    Answer(&'static str),
    /// The file.
    #[error("the export could not be written")]
    Write(#[from] io::Error),
}

/// A block's journal as its clients see it.
#[derive(Debug, Clone)]
pub struct Client<S> {
    /// The block's name, for the export's reader.
    pub block: String,
    /// The tenant, for the export's reader.
    pub tenant: String,
    /// The way to the block; calls carry whatever credentials it adds.
    pub service: JournalServiceClient<S>,
}

/// Exports the trail of one case from a block into `writer`, which may go on to hold the trails
/// of other blocks. What was committed before the call is in it. Returns the number of entries;
/// a block without any leaves no trace in the export.
pub async fn process<S, W>(
    client: &mut Client<S>,
    process_id: &str,
    writer: &mut Writer<W>,
) -> Result<u64, ClientError>
where
    S: GrpcService<Body>,
    S::Error: Into<StdError>,
    S::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <S::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
    W: Write,
{
    let mut patience = 1..BEHIND_MAX;
    let checkpoint = loop {
        let fresh = proto::GetCheckpointRequest { fresh: true };
        match client.service.get_checkpoint(fresh).await {
            Ok(response) => break response.into_inner().checkpoint,
            Err(status) if status.code() == tonic::Code::NotFound => return Ok(0),
            Err(status) if is_behind(&status) && patience.next().is_some() => {}
            Err(status) => return Err(status.into()),
        }
    };
    let checkpoint = checkpoint.ok_or(ClientError::Answer("there is no checkpoint in it"))?;
    let statement = proto::GetTrailStatementRequest {
        process_id: process_id.to_owned(),
        tree_size: checkpoint.tree_size,
    };
    let statement = client
        .service
        .get_trail_statement(statement)
        .await?
        .into_inner();
    if statement.entry_count == 0 {
        return Ok(0);
    }
    let head = Head::peek(&checkpoint.note)
        .map_err(|_| ClientError::Answer("the checkpoint is malformed"))?;
    let origin = head.origin.clone();
    writer.line(&Line::Log(LogLine {
        origin: origin.clone(),
        block: client.block.clone(),
        tenant: client.tenant.clone(),
        epoch: checkpoint.epoch,
        key: checkpoint.verifier_key,
        complete: false,
        carried_by: None,
    }))?;
    writer.line(&Line::Checkpoint {
        origin: origin.clone(),
        note: checkpoint.note,
    })?;
    entries(client, process_id, &head, writer).await?;
    writer.line(&Line::Statement {
        origin,
        note: statement.note,
    })?;
    Ok(u64::try_from(statement.entry_count).unwrap_or(0))
}

/// Whether a log has yet to give what was written its place. The block has waited for that.
fn is_behind(status: &Status) -> bool {
    publica_rpc::reason(status).as_deref() == Some("JOURNAL_BEHIND")
}

/// Writes the case's entries with their proofs in the tree of `head`.
async fn entries<S, W>(
    client: &mut Client<S>,
    process_id: &str,
    head: &Head,
    writer: &mut Writer<W>,
) -> Result<(), ClientError>
where
    S: GrpcService<Body>,
    S::Error: Into<StdError>,
    S::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <S::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
    W: Write,
{
    let mut request = proto::ListEntriesRequest {
        page_size: PAGE,
        process_id: process_id.to_owned(),
        with_proofs: true,
        tree_size: i64::try_from(head.size).unwrap_or(i64::MAX),
        ..proto::ListEntriesRequest::default()
    };
    loop {
        let page = client
            .service
            .list_entries(request.clone())
            .await?
            .into_inner();
        for entry in page.entries {
            writer.line(&line(&head.origin, head.size, entry)?)?;
        }
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        request.page_token = page.next_page_token;
    }
}

fn hash(bytes: &[u8]) -> Result<Hash, ClientError> {
    Hash::try_from(bytes).map_err(|_| ClientError::Answer("a hash has the wrong length"))
}

fn line(origin: &str, tree_size: u64, entry: proto::Entry) -> Result<Line, ClientError> {
    let position =
        u64::try_from(entry.position).map_err(|_| ClientError::Answer("a position is negative"))?;
    let leaf = hash(&entry.leaf_hash)?;
    let proof = entry
        .inclusion_proof
        .iter()
        .map(|step| hash(step))
        .collect::<Result<_, _>>()?;
    let entry = row(entry)?.into();
    let origin = origin.to_owned();
    let tree_size = Some(tree_size);
    Ok(Line::Entry(Box::new(EntryLine {
        origin,
        position,
        tree_size,
        leaf,
        proof,
        entry,
    })))
}

/// The entry as it was hashed; what was absent came empty.
fn row(entry: proto::Entry) -> Result<EntryRow, ClientError> {
    let optional = |text: String| (!text.is_empty()).then_some(text);
    let outcome = match entry.outcome() {
        proto::Outcome::Done => Outcome::Done,
        proto::Outcome::Refused => Outcome::Refused,
        proto::Outcome::Denied => Outcome::Denied,
        proto::Outcome::Unspecified => {
            return Err(ClientError::Answer("an entry has no outcome"));
        }
    };
    let time = entry
        .create_time
        .ok_or(ClientError::Answer("an entry has no time"))?;
    Ok(EntryRow {
        entry_id: Uuid::parse_str(&entry.entry_id)
            .map_err(|_| ClientError::Answer("an entry's id is not a UUID"))?,
        time: from_timestamp("create_time", &time)
            .map_err(|_| ClientError::Answer("a time is out of range"))?,
        actor: entry.actor,
        on_behalf_of: optional(entry.on_behalf_of),
        action: entry.action,
        outcome,
        subject_kind: entry.subject_kind,
        subject_id: entry.subject_id,
        process_id: optional(entry.process_id),
        request_id: optional(entry.request_id),
        trace_id: optional(entry.trace_id),
        body_sha256: hash(&entry.body_sha256)?,
        body: entry.body.map(Into::into),
    })
}
