//! Jobs: how they are enqueued, and what a handler gets and answers.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use publica_store::{Db, StoreError, Tx};
use publica_types::{Origin, Timestamp, Uuid};

use crate::store::jobs as sql;
use crate::wake;

/// Lanes 0 to 3; a smaller one goes first.
pub const LANES: i16 = 4;

/// Work to be done.
#[derive(Debug, Clone)]
pub struct Job {
    /// Kind of work, named `<block>.<what>`; a worker has a handler for it.
    pub kind: &'static str,
    /// Makes the work unique within its kind.
    pub key: String,
    /// What the handler needs to know.
    pub payload: Vec<u8>,
    /// Not before this time.
    pub due: Timestamp,
    /// Lane, 0 to 3; a smaller one goes first.
    pub lane: i16,
}

impl Job {
    /// A job that is due at once, in the middle lane.
    pub fn new(kind: &'static str, key: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            key: key.into(),
            payload: payload.into(),
            due: Timestamp::EPOCH,
            lane: 1,
        }
    }

    /// Not before this time.
    pub fn due(mut self, due: Timestamp) -> Self {
        self.due = due;
        self
    }

    /// In this lane, 0 to 3.
    pub fn lane(mut self, lane: i16) -> Self {
        self.lane = lane;
        self
    }
}

/// Adds a job to the unit. False if one of the same kind and key is waiting already: then that
/// one becomes due no later than this one would have been. If it is running, it runs once more.
pub async fn enqueue(tx: &mut Tx<'_>, origin: &Origin, job: Job) -> Result<bool, StoreError> {
    insert(tx, origin, &job, None).await
}

/// Adds a job that runs only after all of the same kind and `order_key` with a smaller number
/// are done or given up.
pub async fn enqueue_ordered(
    tx: &mut Tx<'_>,
    origin: &Origin,
    job: Job,
    order_key: &str,
    order_no: i64,
) -> Result<bool, StoreError> {
    insert(tx, origin, &job, Some((order_key, order_no))).await
}

async fn insert(
    tx: &mut Tx<'_>,
    origin: &Origin,
    job: &Job,
    order: Option<(&str, i64)>,
) -> Result<bool, StoreError> {
    let job_id = derived_id(job.kind, &job.key, tx.now());
    let inserted = sql::insert(tx, origin, job, job_id, order).await?;
    metrics::counter!("publica_work_enqueued_total", "kind" => job.kind).increment(1);
    wake::wake(job.kind);
    Ok(inserted)
}

/// An id that sorts by time and needs no randomness, since kind and key are unique.
pub(crate) fn derived_id(kind: &str, key: &str, now: Timestamp) -> Uuid {
    let text = format!("{kind}\n{key}\n{}", now.micros());
    let hash = digest(&SHA256, text.as_bytes());
    let mut tail = [0; 10];
    tail.copy_from_slice(&hash.as_ref()[..10]);
    let millis = u64::try_from(now.micros() / 1_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
}

/// A job in the hands of its handler.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The store that the job lies in.
    pub db: Db,
    /// Who asked for it, in which case.
    pub origin: Origin,
    /// Kind of work.
    pub kind: &'static str,
    /// Key within the kind.
    pub key: String,
    /// What the handler needs to know.
    pub payload: Vec<u8>,
    /// Number of this attempt, from 1.
    pub attempt: i64,
    /// When it was enqueued.
    pub created: Timestamp,
    pub(crate) ticket: Ticket,
}

impl Claimed {
    /// Identifier of the job.
    pub fn id(&self) -> Uuid {
        self.ticket.job_id
    }

    /// The right to finish the job within the unit of its effect.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }
}

/// The right to finish a claimed job within a unit of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) job_id: Uuid,
    pub(crate) fence: i64,
}

impl Ticket {
    /// Ends the job together with the unit's effects; the handler then answers
    /// [`Outcome::Done`]. Fails the unit if the job's lease was lost to another worker.
    pub async fn finish(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        if sql::done(tx, *self).await? {
            Ok(())
        } else {
            Err(StoreError::Fenced {
                name: format!("job {}", self.job_id),
            })
        }
    }

    /// Makes sure, until the unit ends, that the job is still this worker's.
    pub async fn check(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        if sql::held(tx, *self).await? {
            Ok(())
        } else {
            Err(StoreError::Fenced {
                name: format!("job {}", self.job_id),
            })
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the job is gone.
    Done,
    /// Not a failure, but to be looked at again after a while; attempts start over.
    Again {
        /// The pause.
        after: Duration,
    },
    /// Failed for now.
    Retry {
        /// The pause; `None` takes the policy's, which grows.
        after: Option<Duration>,
        /// Why, for the operator. No personal data.
        reason: String,
    },
    /// Failed for good; the job is set aside.
    Dead {
        /// Why, for the operator. No personal data.
        reason: String,
    },
}

impl Outcome {
    /// Failed for now, with a pause that grows.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry {
            after: None,
            reason: reason.into(),
        }
    }

    /// Failed for good.
    pub fn dead(reason: impl Into<String>) -> Self {
        Self::Dead {
            reason: reason.into(),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Again { .. } => "again",
            Self::Retry { .. } => "retry",
            Self::Dead { .. } => "dead",
        }
    }
}
