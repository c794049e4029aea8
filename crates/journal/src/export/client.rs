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
use crate::note::{Head, VerifierKey};
use crate::trail::{EntryLine, Line, LogLine};

const PAGE: i32 = 500;
/// How often a log that is behind is asked. After a process was killed, nobody gives places until
/// its lease is over, which is longer than one call may wait.
const BEHIND_MAX: u32 = 6;

/// Why an export over gRPC failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A block refused or could not be reached.
    #[error("the journal of {block} refused: {status}")]
    Call {
        /// The block.
        block: String,
        /// What it said.
        #[source]
        status: Status,
    },
    /// A block's answer makes no sense.
    #[error("the answer of {block} is malformed: {what}")]
    Answer {
        /// The block.
        block: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The file.
    #[error("the export could not be written")]
    Write(#[from] io::Error),
}

/// A block's journal as its clients see it.
#[derive(Debug, Clone)]
pub struct Client<S> {
    /// The block's name, for the export's reader.
    pub block: String,
    /// The way to the block; calls carry whatever credentials it adds.
    pub service: JournalServiceClient<S>,
}

/// A whole log's export that was interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// Name of the log.
    pub origin: String,
    /// The first position that is not in it.
    pub next: u64,
    /// Lines in it.
    pub lines: u64,
}

/// A whole log that was exported.
#[derive(Debug)]
pub struct Whole {
    /// Its key, for an auditor to keep apart from the export.
    pub key: VerifierKey,
    /// Entries in it.
    pub entries: u64,
}

/// What an export of one log leads to.
struct Newest {
    checkpoint: proto::Checkpoint,
    head: Head,
    key: VerifierKey,
}

impl<S> Client<S>
where
    S: GrpcService<Body>,
    S::Error: Into<StdError>,
    S::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <S::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    fn refused(&self) -> impl Fn(Status) -> ClientError + use<S> {
        let block = self.block.clone();
        move |status| ClientError::Call {
            block: block.clone(),
            status,
        }
    }

    fn malformed(&self, what: &'static str) -> ClientError {
        ClientError::Answer {
            block: self.block.clone(),
            what,
        }
    }

    /// The key of the log in its present epoch, for an auditor to keep; `None` while it has
    /// signed nothing.
    pub async fn key(&mut self) -> Result<Option<VerifierKey>, ClientError> {
        Ok(self.newest(false).await?.map(|newest| newest.key))
    }

    /// The newest checkpoint, of all that was committed before the call if it is to be `fresh`;
    /// `None` while nothing was signed.
    async fn newest(&mut self, fresh: bool) -> Result<Option<Newest>, ClientError> {
        let mut patience = 1..BEHIND_MAX;
        let checkpoint = loop {
            let request = proto::GetCheckpointRequest { fresh };
            match self.service.get_checkpoint(request).await {
                Ok(response) => break response.into_inner().checkpoint,
                Err(status) if status.code() == tonic::Code::NotFound => return Ok(None),
                Err(status) if is_behind(&status) && patience.next().is_some() => {}
                Err(status) => return Err(self.refused()(status)),
            }
        };
        let checkpoint =
            checkpoint.ok_or_else(|| self.malformed("there is no checkpoint in it"))?;
        let head = Head::peek(&checkpoint.note)
            .map_err(|_| self.malformed("the checkpoint is malformed"))?;
        let key = VerifierKey::parse(&checkpoint.verifier_key)
            .map_err(|_| self.malformed("the key is malformed"))?;
        Ok(Some(Newest {
            checkpoint,
            head,
            key,
        }))
    }

    async fn export<W: Write>(
        &mut self,
        process_id: &str,
        newest: Newest,
        logs: &[String],
        writer: &mut Writer<W>,
    ) -> Result<u64, ClientError> {
        let Newest {
            checkpoint, head, ..
        } = newest;
        let statement = proto::GetTrailStatementRequest {
            process_id: process_id.to_owned(),
            tree_size: checkpoint.tree_size,
            logs: logs.to_vec(),
            whole_log: false,
        };
        let statement = self.state(statement).await?;
        let origin = head.origin.clone();
        writer.line(&Line::Log(self.log_line(&checkpoint, false)))?;
        writer.line(&Line::Checkpoint {
            origin: origin.clone(),
            note: checkpoint.note,
        })?;
        self.entries(process_id, &head, writer).await?;
        writer.line(&Line::Statement {
            origin,
            note: statement.note,
        })?;
        Ok(u64::try_from(statement.entry_count).unwrap_or(0))
    }

    async fn state(
        &mut self,
        request: proto::GetTrailStatementRequest,
    ) -> Result<proto::GetTrailStatementResponse, ClientError> {
        let answer = self.service.get_trail_statement(request).await;
        Ok(answer.map_err(self.refused())?.into_inner())
    }

    fn log_line(&self, checkpoint: &proto::Checkpoint, complete: bool) -> LogLine {
        LogLine {
            origin: checkpoint.origin.clone(),
            block: self.block.clone(),
            tenant: tenant(&checkpoint.origin),
            epoch: checkpoint.epoch,
            key: checkpoint.verifier_key.clone(),
            complete,
            carried_by: None,
        }
    }

    /// Exports the whole log into `out`, so that its completeness can be verified too. What was
    /// committed before the call is in it. `None` while the log has signed nothing. An export that
    /// was interrupted goes on from `resumed`. `watch` is told how many of how many entries are
    /// there, after each page.
    pub async fn whole<W: Write>(
        &mut self,
        out: W,
        resumed: Option<&Resumed>,
        watch: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Option<(W, Whole)>, ClientError> {
        let Some(Newest {
            checkpoint,
            head,
            key,
        }) = self.newest(true).await?
        else {
            return Ok(None);
        };
        let origin = head.origin.as_str();
        let (mut writer, from) = match resumed {
            Some(resumed) if resumed.origin != origin => {
                let what = "the log goes on under another name; export it anew";
                return Err(self.malformed(what));
            }
            Some(resumed) => (Writer::resume(out, resumed.lines), resumed.next),
            None => {
                let mut writer = Writer::new(out, None)?;
                writer.line(&Line::Log(self.log_line(&checkpoint, true)))?;
                self.older_epochs(&checkpoint, &mut writer).await?;
                (writer, 0)
            }
        };
        self.all_entries(&head, from, &mut writer, watch).await?;
        let statement = proto::GetTrailStatementRequest {
            process_id: String::new(),
            tree_size: checkpoint.tree_size,
            logs: vec![key.to_string()],
            whole_log: true,
        };
        let statement = self.state(statement).await?;
        writer.line(&Line::Checkpoint {
            origin: origin.to_owned(),
            note: checkpoint.note,
        })?;
        writer.line(&Line::Statement {
            origin: origin.to_owned(),
            note: statement.note,
        })?;
        let whole = Whole {
            key,
            entries: u64::try_from(statement.entry_count).unwrap_or(0),
        };
        Ok(Some((writer.finish()?, whole)))
    }

    /// Writes the last checkpoints of epochs before the one of `newest`, as far as their entries
    /// were carried over.
    async fn older_epochs<W: Write>(
        &mut self,
        newest: &proto::Checkpoint,
        writer: &mut Writer<W>,
    ) -> Result<(), ClientError> {
        let mut request = proto::ListEpochsRequest::default();
        let mut older: Option<proto::Epoch> = None;
        loop {
            let answer = self.service.list_epochs(request.clone()).await;
            let page = answer.map_err(self.refused())?.into_inner();
            for epoch in page.epochs {
                if let Some(older) = older.filter(|_| epoch.epoch <= newest.epoch) {
                    self.older_epoch(older, &epoch, &newest.origin, writer)?;
                }
                older = Some(epoch);
            }
            if page.next_page_token.is_empty() {
                return Ok(());
            }
            request.page_token = page.next_page_token;
        }
    }

    fn older_epoch<W: Write>(
        &self,
        older: proto::Epoch,
        next: &proto::Epoch,
        carried_by: &str,
        writer: &mut Writer<W>,
    ) -> Result<(), ClientError> {
        let note = next.last_known_checkpoint.clone();
        // What was signed beyond the start of the next epoch was lost with the store.
        let kept = Head::peek(&note).is_ok_and(|head| {
            let size = i64::try_from(head.size).unwrap_or(i64::MAX);
            head.origin == older.origin && size <= next.first_position
        });
        writer.line(&Line::Log(LogLine {
            block: self.block.clone(),
            tenant: tenant(&older.origin),
            epoch: older.epoch,
            key: older.verifier_key,
            complete: false,
            carried_by: Some(carried_by.to_owned()),
            origin: older.origin.clone(),
        }))?;
        if kept {
            let origin = older.origin;
            writer.line(&Line::Checkpoint { origin, note })?;
        }
        Ok(())
    }

    /// Writes all entries below the size of `head`, without proofs: the tree itself is one.
    async fn all_entries<W: Write>(
        &mut self,
        head: &Head,
        from: u64,
        writer: &mut Writer<W>,
        watch: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<(), ClientError> {
        let mut next = from;
        while next < head.size {
            let request = proto::ListEntriesRequest {
                page_size: PAGE,
                from_position: i64::try_from(next).unwrap_or(i64::MAX),
                ..proto::ListEntriesRequest::default()
            };
            let answer = self.service.list_entries(request).await;
            let page = answer.map_err(self.refused())?.into_inner();
            if page.entries.is_empty() {
                return Err(self.malformed("entries are missing that it signed for"));
            }
            for entry in page.entries {
                if u64::try_from(entry.position) == Ok(head.size) {
                    break;
                }
                let line = line(&head.origin, None, entry);
                writer.line(&line.map_err(|what| self.malformed(what))?)?;
                next += 1;
            }
            watch(next, head.size);
        }
        Ok(())
    }

    /// Writes the case's entries with their proofs in the tree of `head`.
    async fn entries<W: Write>(
        &mut self,
        process_id: &str,
        head: &Head,
        writer: &mut Writer<W>,
    ) -> Result<(), ClientError> {
        let mut request = proto::ListEntriesRequest {
            page_size: PAGE,
            process_id: process_id.to_owned(),
            with_proofs: true,
            tree_size: i64::try_from(head.size).unwrap_or(i64::MAX),
            ..proto::ListEntriesRequest::default()
        };
        loop {
            let page = self
                .service
                .list_entries(request.clone())
                .await
                .map_err(self.refused())?
                .into_inner();
            for entry in page.entries {
                let line = line(&head.origin, Some(head.size), entry);
                writer.line(&line.map_err(|what| self.malformed(what))?)?;
            }
            if page.next_page_token.is_empty() {
                return Ok(());
            }
            request.page_token = page.next_page_token;
        }
    }
}

/// Exports the trail of one case from blocks into `writer`. What was committed before the call is
/// in it. Returns the number of entries of each block, in their order. A block without any
/// entries of the case signs that, too; one that has never signed anything leaves no trace.
pub async fn process<S, W>(
    clients: &mut [Client<S>],
    process_id: &str,
    writer: &mut Writer<W>,
) -> Result<Vec<u64>, ClientError>
where
    S: GrpcService<Body>,
    S::Error: Into<StdError>,
    S::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <S::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
    W: Write,
{
    let mut newest = Vec::with_capacity(clients.len());
    for client in clients.iter_mut() {
        newest.push(client.newest(true).await?);
    }
    let logs: Vec<String> = newest
        .iter()
        .flatten()
        .map(|newest| newest.key.to_string())
        .collect();
    let mut counts = Vec::with_capacity(clients.len());
    for (client, newest) in clients.iter_mut().zip(newest) {
        counts.push(match newest {
            Some(newest) => client.export(process_id, newest, &logs, writer).await?,
            None => 0,
        });
    }
    Ok(counts)
}

/// The tenant in the name of a log, for the export's reader.
fn tenant(origin: &str) -> String {
    origin.rsplit('/').nth(1).unwrap_or_default().to_owned()
}

/// Whether a log has yet to give what was written its place. The block has waited for that.
fn is_behind(status: &Status) -> bool {
    publica_rpc::reason(status).as_deref() == Some("JOURNAL_BEHIND")
}

fn hash(bytes: &[u8]) -> Result<Hash, &'static str> {
    Hash::try_from(bytes).map_err(|_| "a hash has the wrong length")
}

fn line(origin: &str, tree_size: Option<u64>, entry: proto::Entry) -> Result<Line, &'static str> {
    let position = u64::try_from(entry.position).map_err(|_| "a position is negative")?;
    let leaf = hash(&entry.leaf_hash)?;
    if tree_size.is_none() && entry.create_time.is_none() {
        let entry_id = entry_id(&entry)?;
        return Ok(Line::Leaf {
            origin: origin.to_owned(),
            position,
            entry_id,
            leaf,
        });
    }
    let proof = entry
        .inclusion_proof
        .iter()
        .map(|step| hash(step))
        .collect::<Result<_, _>>()?;
    let entry = row(entry)?.into();
    let origin = origin.to_owned();
    Ok(Line::Entry(Box::new(EntryLine {
        origin,
        position,
        tree_size,
        leaf,
        proof,
        entry,
    })))
}

fn entry_id(entry: &proto::Entry) -> Result<Uuid, &'static str> {
    Uuid::parse_str(&entry.entry_id).map_err(|_| "an entry's id is not a UUID")
}

/// The entry as it was hashed; what was absent came empty.
fn row(entry: proto::Entry) -> Result<EntryRow, &'static str> {
    let optional = |text: String| (!text.is_empty()).then_some(text);
    let outcome = match entry.outcome() {
        proto::Outcome::Done => Outcome::Done,
        proto::Outcome::Refused => Outcome::Refused,
        proto::Outcome::Denied => Outcome::Denied,
        proto::Outcome::Unspecified => {
            return Err("an entry has no outcome");
        }
    };
    let time = entry.create_time.ok_or("an entry has no time")?;
    Ok(EntryRow {
        entry_id: entry_id(&entry)?,
        time: from_timestamp("create_time", &time).map_err(|_| "a time is out of range")?,
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
