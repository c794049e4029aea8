//! `JournalService`: reading the journal, and proving what was read.

use publica_proto::journal::v1 as proto;
use publica_proto::journal::v1::journal_service_server::JournalService;
use publica_rpc::{PageToken, invalid, page_size, timestamp};
use publica_store::Db;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{DEFAULT_PAGE, MAX_PAGE, uuid};
use crate::entry::Outcome;
use crate::error::JournalError;
use crate::export::statement;
use crate::journal::Journal;
use crate::merkle::Hash;
use crate::note::VerifierKey;
use crate::store::entries::{self, Filter, Placed};
use crate::store::log::{self as sql, CheckpointRow, EpochRow};
use crate::trail::MAX_LOGS;
use crate::tree::{Reader, counted};

const WATCH_BATCH: i64 = 256;
/// A log's name has at most some 330 characters, its key 60 more.
const MAX_KEY_BYTES: usize = 500;

/// The service over one block's journal.
#[derive(Debug)]
pub struct LogService {
    journal: Journal,
}

impl LogService {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal }
    }

    /// The store of whoever calls.
    async fn db<T>(&self, request: &Request<T>) -> Result<Db, JournalError> {
        Ok(self
            .journal
            .db(&publica_rpc::origin(request).tenant)
            .await?)
    }
}

/// The checkpoint of a size, or the newest one for size 0.
async fn checkpoint(db: &Db, size: i64) -> Result<CheckpointRow, JournalError> {
    let missing = JournalError::NotFound { what: "checkpoint" };
    match size {
        0 => sql::last_checkpoint(db).await?.ok_or(missing),
        size => sql::checkpoint_of_size(db, size).await?.ok_or(missing),
    }
}

/// A tree size from a request; 0 means the newest checkpoint's.
async fn tree_size(db: &Db, asked: i64, smallest: i64) -> Result<i64, JournalError> {
    if asked == 0 {
        return Ok(checkpoint(db, 0).await?.size);
    }
    let largest = sql::size(db).await?;
    if asked < smallest || asked > largest {
        return Err(JournalError::TreeSize { smallest, largest });
    }
    Ok(asked)
}

fn bytes(hashes: &[Hash]) -> Vec<prost::bytes::Bytes> {
    hashes
        .iter()
        .map(|hash| prost::bytes::Bytes::copy_from_slice(hash))
        .collect()
}

fn outcome(outcome: Outcome) -> i32 {
    i32::from(match outcome {
        Outcome::Done => proto::Outcome::Done,
        Outcome::Refused => proto::Outcome::Refused,
        Outcome::Denied => proto::Outcome::Denied,
    })
}

/// An entry for the wire. One whose row is gone keeps its id and leaf.
fn entry(placed: Placed) -> proto::Entry {
    let leaf_hash = prost::bytes::Bytes::copy_from_slice(&placed.leaf_hash);
    let place = proto::Entry {
        entry_id: placed.entry_id.to_string(),
        position: placed.position,
        leaf_hash,
        ..proto::Entry::default()
    };
    let Some(row) = placed.entry else {
        return place;
    };
    proto::Entry {
        create_time: Some(timestamp(row.time)),
        actor: row.actor,
        on_behalf_of: row.on_behalf_of.unwrap_or_default(),
        action: row.action,
        outcome: outcome(row.outcome),
        subject_kind: row.subject_kind,
        subject_id: row.subject_id,
        process_id: row.process_id.unwrap_or_default(),
        request_id: row.request_id.unwrap_or_default(),
        trace_id: row.trace_id.unwrap_or_default(),
        body: row.body.map(Into::into),
        body_sha256: prost::bytes::Bytes::copy_from_slice(&row.body_sha256),
        ..place
    }
}

async fn checkpoint_message(
    db: &Db,
    row: CheckpointRow,
) -> Result<proto::Checkpoint, JournalError> {
    let epochs = sql::epochs(db, row.epoch - 1, 1).await?;
    let epoch = epochs
        .first()
        .ok_or(JournalError::NotFound { what: "epoch" })?;
    Ok(proto::Checkpoint {
        note: row.note,
        origin: epoch.origin.clone(),
        tree_size: row.size,
        root_hash: row.root.into(),
        verifier_key: crate::epoch::verifier(epoch)?.to_string(),
        epoch: row.epoch,
        create_time: Some(timestamp(row.time)),
    })
}

fn epoch_message(row: EpochRow) -> Result<proto::Epoch, JournalError> {
    Ok(proto::Epoch {
        verifier_key: crate::epoch::verifier(&row)?.to_string(),
        epoch: row.epoch,
        origin: row.origin,
        first_position: row.first_position,
        create_time: Some(timestamp(row.time)),
        last_known_checkpoint: row.last_known.unwrap_or_default(),
    })
}

/// Adds inclusion proofs in the tree of `size`.
async fn prove(db: &Db, entries: &mut [proto::Entry], size: i64) -> Result<(), JournalError> {
    let mut reader = Reader::new(db);
    for entry in entries {
        let proof = reader
            .inclusion(counted(entry.position), counted(size))
            .await?;
        entry.inclusion_proof = bytes(&proof);
    }
    Ok(())
}

impl LogService {
    async fn list(
        &self,
        db: &Db,
        request: proto::ListEntriesRequest,
    ) -> Result<proto::ListEntriesResponse, Status> {
        let limit = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)?;
        if request.from_position < 0 {
            return Err(invalid("from_position", "must not be negative").into());
        }
        let arguments = (
            &request.process_id,
            &request.subject_id,
            request.from_position,
            request.with_proofs,
            request.tree_size,
        );
        let cursor = PageToken::decode::<(i64, i64)>(&arguments, &request.page_token)?;
        let (from, known) = cursor.unwrap_or((request.from_position, request.tree_size));
        // All pages lead to the tree that the first one found, whatever came since.
        let mut proven = None;
        if request.with_proofs {
            proven = Some(checkpoint(db, known).await?);
        }
        let to = proven.as_ref().map_or(i64::MAX, |row| row.size);
        let size = proven.as_ref().map_or(0, |row| row.size);
        let filter = Filter {
            process_id: request.process_id,
            subject_id: request.subject_id,
        };
        let placed = entries::list(db, &filter, from, to, limit)
            .await
            .map_err(JournalError::from)?;
        let full = i64::try_from(placed.len()).unwrap_or(limit) == limit;
        let next = placed.last().filter(|_| full).map(|last| last.position + 1);
        let mut entries: Vec<proto::Entry> = placed.into_iter().map(entry).collect();
        let arguments = (
            &filter.process_id,
            &filter.subject_id,
            request.from_position,
            request.with_proofs,
            request.tree_size,
        );
        let next_page_token = next
            .map(|next| PageToken::encode(&arguments, &(next, size)))
            .unwrap_or_default();
        let mut checkpoint = None;
        if let Some(row) = proven {
            prove(db, &mut entries, row.size).await?;
            checkpoint = Some(checkpoint_message(db, row).await?);
        }
        Ok(proto::ListEntriesResponse {
            entries,
            next_page_token,
            checkpoint,
        })
    }

    fn follow(
        &self,
        db: Db,
        mut from: i64,
    ) -> impl Stream<Item = Result<proto::WatchResponse, Status>> + Send + use<> {
        const POLL: std::time::Duration = std::time::Duration::from_secs(1);
        let mut grown = self.journal.grown(&db);
        let stopped = self.journal.stopped();
        async_stream::try_stream! {
            loop {
                grown.mark_unchanged();
                let all = Filter::default();
                let placed = entries::list(&db, &all, from, i64::MAX, WATCH_BATCH)
                    .await
                    .map_err(JournalError::from)?;
                let epoch = sql::last_epoch(&db).await.map_err(JournalError::from)?;
                let epoch = epoch.map_or(0, |row| row.epoch);
                let full = i64::try_from(placed.len()).unwrap_or(0) == WATCH_BATCH;
                for placed in placed {
                    from = placed.position + 1;
                    yield proto::WatchResponse { entry: Some(entry(placed)), epoch };
                }
                if stopped.is_cancelled() {
                    Err(Status::unavailable("the block stops; go on from the last position"))?;
                }
                if !full {
                    // Other replicas may sequence without this process learning of it.
                    let news = tokio::time::timeout(POLL, grown.changed());
                    let _ = stopped.run_until_cancelled(news).await;
                }
            }
        }
    }
}

type WatchStream =
    std::pin::Pin<Box<dyn Stream<Item = Result<proto::WatchResponse, Status>> + Send + 'static>>;

#[tonic::async_trait]
impl JournalService for LogService {
    type WatchStream = WatchStream;

    async fn list_entries(
        &self,
        request: Request<proto::ListEntriesRequest>,
    ) -> Result<Response<proto::ListEntriesResponse>, Status> {
        let db = self.db(&request).await?;
        self.list(&db, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn watch(
        &self,
        request: Request<proto::WatchRequest>,
    ) -> Result<Response<WatchStream>, Status> {
        let db = self.db(&request).await?;
        let request = request.into_inner();
        if request.from_position < 0 || request.epoch < 0 {
            return Err(invalid("from_position", "must not be negative").into());
        }
        let from = resume(&db, request.epoch, request.from_position).await?;
        Ok(Response::new(Box::pin(self.follow(db, from))))
    }

    async fn get_checkpoint(
        &self,
        request: Request<proto::GetCheckpointRequest>,
    ) -> Result<Response<proto::GetCheckpointResponse>, Status> {
        let db = self.db(&request).await?;
        if request.into_inner().fresh {
            self.journal.catch_up(db.tenant()).await?;
        }
        let row = checkpoint(&db, 0).await?;
        let checkpoint = Some(checkpoint_message(&db, row).await?);
        Ok(Response::new(proto::GetCheckpointResponse { checkpoint }))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<proto::GetInclusionProofRequest>,
    ) -> Result<Response<proto::GetInclusionProofResponse>, Status> {
        let db = self.db(&request).await?;
        let request = request.into_inner();
        let entry_id = uuid("entry_id", &request.entry_id)?;
        let size = tree_size(&db, request.tree_size, 1).await?;
        let placed = sql::position(&db, entry_id)
            .await
            .map_err(JournalError::from)?;
        let (position, leaf) = placed.ok_or(JournalError::NotFound { what: "entry" })?;
        if position >= size {
            return Err(JournalError::NotSequenced.into());
        }
        let proof = Reader::new(&db)
            .inclusion(counted(position), counted(size))
            .await?;
        Ok(Response::new(proto::GetInclusionProofResponse {
            position,
            leaf_hash: leaf.into(),
            proof: bytes(&proof),
            tree_size: size,
        }))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<proto::GetConsistencyProofRequest>,
    ) -> Result<Response<proto::GetConsistencyProofResponse>, Status> {
        let db = self.db(&request).await?;
        let request = request.into_inner();
        let new = tree_size(&db, request.new_size, request.old_size.max(1)).await?;
        if request.old_size < 1 || request.old_size > new {
            return Err(JournalError::TreeSize {
                smallest: 1,
                largest: new,
            }
            .into());
        }
        let proof = Reader::new(&db)
            .consistency(counted(request.old_size), counted(new))
            .await?;
        Ok(Response::new(proto::GetConsistencyProofResponse {
            proof: bytes(&proof),
            new_size: new,
        }))
    }

    async fn get_trail_statement(
        &self,
        request: Request<proto::GetTrailStatementRequest>,
    ) -> Result<Response<proto::GetTrailStatementResponse>, Status> {
        let db = self.db(&request).await?;
        let request = request.into_inner();
        let case = match (request.process_id.as_str(), request.whole_log) {
            ("", false) => return Err(invalid("process_id", "is required").into()),
            ("", true) => None,
            (case, false) => Some(case),
            (_, true) => {
                let what = "must be empty where the whole log is meant";
                return Err(invalid("process_id", what).into());
            }
        };
        let row = checkpoint(&db, request.tree_size).await?;
        let epoch = self.journal.keeper().epoch(&db, row.epoch).await?;
        let logs = exported_logs(&request.logs, &epoch.signer.verifier())?;
        let name = epoch.signer.name();
        let made = statement(&db, name, case, row.size, logs).await?;
        Ok(Response::new(proto::GetTrailStatementResponse {
            note: epoch.signer.sign(&made.text()),
            entry_count: i64::try_from(made.count).unwrap_or(i64::MAX),
            tree_size: row.size,
        }))
    }

    async fn list_epochs(
        &self,
        request: Request<proto::ListEpochsRequest>,
    ) -> Result<Response<proto::ListEpochsResponse>, Status> {
        let db = self.db(&request).await?;
        let request = request.into_inner();
        let limit = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)?;
        let after = PageToken::decode::<i64>(&"epochs", &request.page_token)?.unwrap_or(0);
        let rows = sql::epochs(&db, after, limit)
            .await
            .map_err(JournalError::from)?;
        let full = i64::try_from(rows.len()).unwrap_or(limit) == limit;
        let next = rows.last().filter(|_| full).map(|row| row.epoch);
        let epochs = rows
            .into_iter()
            .map(epoch_message)
            .collect::<Result<_, _>>()?;
        let next_page_token = next
            .map(|next| PageToken::encode(&"epochs", &next))
            .unwrap_or_default();
        Ok(Response::new(proto::ListEpochsResponse {
            epochs,
            next_page_token,
        }))
    }
}

/// The logs of the export that a statement is for. The log vouches for its own key alone, but its
/// signature keeps the list as it was when the export was made.
fn exported_logs(asked: &[String], own: &VerifierKey) -> Result<Vec<VerifierKey>, Status> {
    if asked.is_empty() {
        return Ok(vec![own.clone()]);
    }
    if asked.len() > MAX_LOGS {
        return Err(invalid("logs", "must be at most 100").into());
    }
    if asked.iter().any(|key| key.len() > MAX_KEY_BYTES) {
        return Err(invalid("logs", "must have at most 500 bytes each").into());
    }
    let logs: Vec<VerifierKey> = asked
        .iter()
        .map(|key| VerifierKey::parse(key))
        .collect::<Result<_, _>>()
        .map_err(|_| invalid("logs", "must be verifier keys in the C2SP form"))?;
    if !logs.contains(own) {
        return Err(invalid("logs", "must name this log's own key").into());
    }
    Ok(logs)
}

/// Where a consumer that learnt its position in `epoch` must go on. What it saw beyond the start
/// of a newer epoch may have been lost with the store, so it is read again.
pub(crate) async fn resume(db: &Db, epoch: i64, position: i64) -> Result<i64, JournalError> {
    if epoch == 0 {
        return Ok(position);
    }
    let start = sql::next_epoch_start(db, epoch).await?;
    Ok(start.map_or(position, |start| position.min(start)))
}
