//! Sagas: what a block defines, and how they are driven.

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use publica_store::{Db, StoreError};
use publica_types::{Origin, SharedEntropy, Timestamp, Uuid};
use serde::de::DeserializeOwned;

use crate::backoff::Backoff;
use crate::job::{Claimed, Outcome, Ticket};
use crate::store::sagas::{self as sql, Move, SagaRow};
use crate::worker::{Handler, Policy, Worker};

/// Where a saga stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SagaState {
    /// Going forward.
    Running,
    /// Undoing its steps.
    Compensating,
    /// All steps done.
    Done,
    /// Undone.
    Compensated,
    /// Cannot go on without an operator.
    Stuck,
    /// Ended by an operator.
    Abandoned,
}

impl SagaState {
    /// The stored spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Done => "done",
            Self::Compensated => "compensated",
            Self::Stuck => "stuck",
            Self::Abandoned => "abandoned",
        }
    }

    /// Whether nothing more will happen.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Compensated | Self::Abandoned)
    }
}

impl fmt::Display for SagaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SagaState {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        [
            Self::Running,
            Self::Compensating,
            Self::Done,
            Self::Compensated,
            Self::Stuck,
            Self::Abandoned,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| StoreError::corrupt(format!("no state of a saga: {text}")))
    }
}

/// Work in several steps. Each step is attempted until it is done, under a request id that stays
/// the same over its attempts, so that a peer gives the first answer again. If a step fails for
/// good, or the deadline passes, the steps that were done are undone in reverse order.
pub trait Saga: Send + Sync + 'static {
    /// Name of this kind of saga, `<block>.<what>`; distinct from all kinds of jobs.
    fn kind(&self) -> &'static str;

    /// Names of the steps in order. Add steps at the end only: a saga that is under way keeps
    /// the number of the step at which it stands.
    fn steps(&self) -> &'static [&'static str];

    /// Does a step.
    fn run(&self, step: Step) -> impl Future<Output = StepOutcome> + Send;

    /// Undoes a step that was done, or that was begun and may have had its effect without living
    /// to tell. What has no effect outside answers [`StepOutcome::done`].
    fn compensate(&self, step: Step) -> impl Future<Output = StepOutcome> + Send;

    /// Attempts of one step before it counts as failed.
    fn attempts(&self) -> i64 {
        20
    }
}

/// A step in the hands of its saga.
#[derive(Debug, Clone)]
pub struct Step {
    /// The store that the saga lies in.
    pub db: Db,
    /// Who started it, in which case.
    pub origin: Origin,
    /// The saga.
    pub saga_id: Uuid,
    /// Key of the saga within its kind.
    pub key: String,
    /// Name of the step.
    pub name: &'static str,
    /// Number of this attempt, from 1.
    pub attempt: i64,
    /// What the saga has kept so far.
    pub data: Vec<u8>,
    /// When the saga must be done.
    pub deadline: Option<Timestamp>,
    compensation: bool,
    ticket: Ticket,
}

impl Step {
    /// The saga's data, kept as JSON.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        serde_json::from_slice(&self.data)
            .map_err(|error| StoreError::corrupt(format!("data of a saga: {error}")))
    }

    /// The request id of this step, the same in all of its attempts.
    pub fn request_id(&self) -> String {
        let direction = if self.compensation { "undo" } else { "do" };
        let text = format!("{}\n{}\n{direction}", self.saga_id, self.name);
        let hash = digest(&SHA256, text.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_ref()[..16]);
        uuid::Builder::from_custom_bytes(bytes)
            .into_uuid()
            .to_string()
    }

    /// Guards a unit of work of this step against another worker ([`Ticket::check`]).
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }
}

/// How an attempt at a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepOutcome {
    /// Done; the saga goes on with this data, or with what it had.
    Done {
        /// The saga's new data.
        data: Option<Vec<u8>>,
    },
    /// Waits for something outside; not a failure. [`crate::sagas::wake`] looks sooner.
    Wait {
        /// The pause before it is looked at again.
        after: Duration,
    },
    /// Failed for now.
    Retry {
        /// Why, for the operator. No personal data.
        reason: String,
    },
    /// Failed for good: the saga is undone. When undoing fails for good, it is stuck.
    Fail {
        /// Why, for the operator. No personal data.
        reason: String,
    },
}

impl StepOutcome {
    /// Done, with the data as it was.
    pub fn done() -> Self {
        Self::Done { data: None }
    }

    /// Failed for now.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry {
            reason: reason.into(),
        }
    }

    /// Failed for good.
    pub fn fail(reason: impl Into<String>) -> Self {
        Self::Fail {
            reason: reason.into(),
        }
    }
}

impl Worker {
    /// Drives this kind of saga.
    pub fn saga(self, saga: impl Saga) -> Self {
        let policy = Policy {
            attempts: i64::MAX,
            ..Policy::default()
        };
        self.saga_with(saga, policy)
    }

    /// Drives this kind of saga with this policy, whose limit of attempts does not apply: a
    /// saga counts the attempts of each step ([`Saga::attempts`]).
    pub fn saga_with(self, saga: impl Saga, policy: Policy) -> Self {
        let kind = saga.kind();
        let policy = Policy {
            attempts: i64::MAX,
            ..policy
        };
        let entropy = Arc::clone(self.entropy());
        self.on_with(
            kind,
            Driver {
                saga,
                entropy,
                backoff: policy.backoff,
            },
            policy,
        )
    }
}

/// Drives the sagas of one kind, as the handler of the jobs that stand for them.
struct Driver<S> {
    saga: S,
    entropy: SharedEntropy,
    backoff: Backoff,
}

/// A step and the direction in which it was taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) index: i64,
    pub(crate) name: &'static str,
    pub(crate) forward: bool,
}

impl<S: Saga> Handler for Driver<S> {
    async fn run(&self, job: Claimed) -> Outcome {
        loop {
            match self.advance(&job).await {
                Ok(None) => {}
                Ok(Some(outcome)) => return outcome,
                Err(error) => return Outcome::retry(format!("the store failed: {error}")),
            }
        }
    }
}

impl<S: Saga> Driver<S> {
    /// Attempts one step; `None` if the next one can follow at once.
    async fn advance(&self, job: &Claimed) -> Result<Option<Outcome>, StoreError> {
        let Some(row) = sql::find_by_key(&job.db, self.saga.kind(), &job.key).await? else {
            return Ok(Some(Outcome::dead("there is no such saga")));
        };
        let state: SagaState = row.state.parse()?;
        if state.has_ended() || state == SagaState::Stuck {
            return Ok(Some(Outcome::Done));
        }
        let forward = state == SagaState::Running;
        let Some((index, step)) = self.step(job, &row, forward) else {
            let end = if forward {
                SagaState::Done
            } else {
                SagaState::Compensated
            };
            return self.keep(job, &row, Move::end(&row, end)).await;
        };
        if forward
            && row
                .deadline
                .is_some_and(|deadline| deadline <= job.db.now())
        {
            let turn = Move::turn(&row, "the deadline passed");
            return self.keep(job, &row, turn).await;
        }
        let place = Place {
            index,
            name: step.name,
            forward,
        };
        let outcome = if forward {
            self.saga.run(step).await
        } else {
            self.saga.compensate(step).await
        };
        self.settle(job, &row, place, outcome).await
    }

    /// The step at which the saga stands, with its number; `None` beyond the last.
    fn step(&self, job: &Claimed, row: &SagaRow, forward: bool) -> Option<(i64, Step)> {
        let steps = self.saga.steps();
        let mut index = usize::try_from(row.step).ok()?;
        if !forward {
            // All steps were done when it turned back.
            index = index.min(steps.len().checked_sub(1)?);
        }
        let name = steps.get(index)?;
        let step = Step {
            db: job.db.clone(),
            origin: job.origin.clone(),
            saga_id: row.saga_id,
            key: row.key.clone(),
            name,
            attempt: row.attempts + 1,
            data: row.data.clone(),
            deadline: row.deadline,
            compensation: !forward,
            ticket: job.ticket(),
        };
        Some((i64::try_from(index).ok()?, step))
    }

    async fn settle(
        &self,
        job: &Claimed,
        row: &SagaRow,
        place: Place,
        outcome: StepOutcome,
    ) -> Result<Option<Outcome>, StoreError> {
        let Place { name, forward, .. } = place;
        let outcome = match outcome {
            StepOutcome::Retry { reason } if row.attempts + 1 >= self.saga.attempts() => {
                StepOutcome::Fail {
                    reason: format!("too many attempts: {reason}"),
                }
            }
            other => other,
        };
        match outcome {
            StepOutcome::Done { data } => self.keep(job, row, Move::next(row, place, data)).await,
            StepOutcome::Wait { after } => {
                let after = match row.deadline.filter(|_| forward) {
                    Some(deadline) => after.min(deadline.since(job.db.now())),
                    None => after,
                };
                Ok(Some(Outcome::Again { after }))
            }
            StepOutcome::Retry { reason } => {
                let pause = self.backoff.pause(row.attempts + 1, &*self.entropy);
                self.keep(job, row, Move::again(row, &reason)).await?;
                Ok(Some(Outcome::Again { after: pause }))
            }
            StepOutcome::Fail { reason } if forward => {
                tracing::warn!(
                    kind = row.kind,
                    step = name,
                    reason,
                    "a saga is being undone"
                );
                self.keep(job, row, Move::turn(row, &reason)).await
            }
            StepOutcome::Fail { reason } => {
                tracing::error!(kind = row.kind, step = name, reason, "a saga is stuck");
                self.keep(job, row, Move::stuck(row, &reason)).await
            }
        }
    }

    /// Keeps a move. If somebody else moved the saga meanwhile (an operator), looks again.
    async fn keep(
        &self,
        job: &Claimed,
        row: &SagaRow,
        next: Move,
    ) -> Result<Option<Outcome>, StoreError> {
        let ended = next.state.has_ended() || next.state == SagaState::Stuck;
        if next.state != row.state.parse()? {
            metrics::counter!(
                "publica_work_sagas_total",
                "kind" => self.saga.kind(),
                "state" => next.state.as_str()
            )
            .increment(1);
        }
        let input = (job.ticket(), next, row.saga_id);
        job.db
            .write("work.saga", input, |tx, (ticket, next, saga_id)| {
                Box::pin(async move {
                    ticket.check(tx).await?;
                    sql::apply(tx, *saga_id, next).await
                })
            })
            .await?;
        Ok(ended.then_some(Outcome::Done))
    }
}
