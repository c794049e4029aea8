//! Workers: they lease jobs, run their handlers and settle what came of it.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use publica_store::{BoxFuture, Db, StoreError, Stores};
use publica_types::{SharedClock, SharedEntropy, Tenant, Timestamp};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff::Backoff;
use crate::job::{Claimed, Outcome, Ticket};
use crate::store::{jobs, views};
use crate::wake;

/// Longest reason that is kept.
const MAX_REASON: usize = 500;

/// How often the figures for the operator are counted.
const COUNT_EVERY: Duration = Duration::from_secs(30);

/// Does one kind of work.
pub trait Handler: Send + Sync + 'static {
    /// Makes one attempt. It may be dropped half-way when its lease is lost, and a job may come
    /// again after a crash, so effects belong into one unit of work ([`Ticket::finish`]) or
    /// under a request id.
    fn run(&self, job: Claimed) -> impl Future<Output = Outcome> + Send;
}

/// [`Handler`] with its future boxed, so that handlers of all kinds fit into one list.
trait Erased: Send + Sync {
    fn run(&self, job: Claimed) -> BoxFuture<'_, Outcome>;
}

impl<H: Handler> Erased for H {
    fn run(&self, job: Claimed) -> BoxFuture<'_, Outcome> {
        Box::pin(Handler::run(self, job))
    }
}

/// How a kind of work is done.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Jobs of this kind at a time, in each process and tenant.
    pub concurrency: u32,
    /// Time after which another worker may take a job from one that went silent.
    pub lease: Duration,
    /// A job is given up after so many attempts.
    pub attempts: i64,
    /// Pauses between attempts.
    pub backoff: Backoff,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            concurrency: 8,
            lease: Duration::from_secs(30),
            attempts: 20,
            backoff: Backoff::default(),
        }
    }
}

/// Looks at least so often for what other processes enqueued.
const POLL: Duration = Duration::from_secs(1);

/// Runs handlers for the jobs of a block, in all of its tenants.
pub struct Worker {
    stores: Stores,
    clock: SharedClock,
    entropy: SharedEntropy,
    kinds: BTreeMap<&'static str, (Arc<dyn Erased>, Policy)>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("kinds", &self.kinds.keys())
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker without handlers yet.
    pub fn new(stores: Stores, clock: SharedClock, entropy: SharedEntropy) -> Self {
        Self {
            stores,
            clock,
            entropy,
            kinds: BTreeMap::new(),
        }
    }

    /// Does this kind of work with this handler.
    pub fn on(self, kind: &'static str, handler: impl Handler) -> Self {
        self.on_with(kind, handler, Policy::default())
    }

    /// Does this kind of work with this handler and policy.
    pub fn on_with(mut self, kind: &'static str, handler: impl Handler, policy: Policy) -> Self {
        self.kinds.insert(kind, (Arc::new(handler), policy));
        self
    }

    /// The randomness of this worker, for sagas that are registered with it.
    pub(crate) fn entropy(&self) -> &SharedEntropy {
        &self.entropy
    }

    /// Works until `stop`, then finishes the jobs in hand.
    pub async fn run(self, stop: CancellationToken) {
        let tracker = TaskTracker::new();
        for tenant in self.stores.tenants() {
            for (kind, (handler, policy)) in &self.kinds {
                let line = Line {
                    stores: self.stores.clone(),
                    tenant: tenant.clone(),
                    clock: Arc::clone(&self.clock),
                    entropy: Arc::clone(&self.entropy),
                    kind,
                    handler: Arc::clone(handler),
                    policy: *policy,
                    stop: stop.clone(),
                    slots: Arc::new(Semaphore::new(slots(*policy))),
                    tracker: tracker.clone(),
                };
                tracker.spawn(line.work());
            }
            tracker.spawn(count(self.stores.clone(), tenant, stop.clone()));
        }
        tracker.close();
        tracker.wait().await;
    }
}

fn slots(policy: Policy) -> usize {
    usize::try_from(policy.concurrency.max(1)).unwrap_or(1)
}

/// One kind of work in one tenant.
struct Line {
    stores: Stores,
    tenant: Tenant,
    clock: SharedClock,
    entropy: SharedEntropy,
    kind: &'static str,
    handler: Arc<dyn Erased>,
    policy: Policy,
    stop: CancellationToken,
    slots: Arc<Semaphore>,
    tracker: TaskTracker,
}

/// What to do until the next look.
enum Next {
    /// There may be more at once.
    Now,
    /// Nothing is due before this time, if anything is known.
    Wait(Option<Timestamp>),
}

impl Line {
    async fn work(self) {
        let line = Arc::new(self);
        let mut woken = wake::listen(line.kind);
        let mut looks = 0;
        while !line.stop.is_cancelled() {
            // Work enqueued after this point wakes us, whatever we see now.
            if woken.has_changed().unwrap_or(false) {
                woken.mark_unchanged();
                looks = 0;
            }
            let next = match line.round().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(kind = line.kind, %error, "jobs could not be claimed");
                    Next::Wait(None)
                }
            };
            match next {
                Next::Now => looks = 0,
                Next::Wait(due) => line.pause(due, &mut looks, &mut woken).await,
            }
        }
    }

    async fn round(self: &Arc<Self>) -> Result<Next, StoreError> {
        let Some(Ok(slot)) = self
            .stop
            .run_until_cancelled(Arc::clone(&self.slots).acquire_owned())
            .await
        else {
            return Ok(Next::Wait(None));
        };
        drop(slot);
        let db = self.stores.of(&self.tenant).await?;
        let dues = jobs::peek(&db, self.kind).await?;
        let now = self.clock.now();
        let mut claimed = false;
        for (lane, due) in (0_i64..).zip(dues) {
            let free = i64::try_from(self.slots.available_permits()).unwrap_or(i64::MAX);
            if free == 0 {
                return Ok(Next::Now);
            }
            if due.is_some_and(|due| due <= now) {
                let rows = jobs::claim(&db, self.kind, lane, free, self.policy.lease).await?;
                claimed |= !rows.is_empty();
                for row in rows {
                    self.start(&db, row)?;
                }
            }
        }
        if claimed {
            return Ok(Next::Now);
        }
        // What is due but not to be had waits for another job; its end wakes us.
        let later = dues.into_iter().flatten().filter(|due| *due > now).min();
        Ok(Next::Wait(later))
    }

    fn start(self: &Arc<Self>, db: &Db, row: jobs::ClaimRow) -> Result<(), StoreError> {
        // Claims never exceed the free slots, and only this task takes slots.
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok();
        let claimed = Claimed {
            db: db.clone(),
            origin: jobs::origin_from(&row.origin)?.in_tenant(self.tenant.clone()),
            kind: self.kind,
            key: row.key,
            payload: row.payload,
            attempt: row.attempts,
            created: row.created,
            ticket: Ticket {
                job_id: row.job_id,
                fence: row.fence,
            },
        };
        let line = Arc::clone(self);
        self.tracker.spawn(async move {
            line.attempt(claimed).await;
            drop(slot);
            wake::wake(line.kind);
        });
        Ok(())
    }

    async fn pause(
        &self,
        due: Option<Timestamp>,
        looks: &mut usize,
        woken: &mut watch::Receiver<u64>,
    ) {
        let mut pause = POLL;
        if let Some(look) = wake::LOOKS.get(*looks) {
            pause = pause.min(*look);
        }
        if let Some(due) = due {
            pause = pause.min(due.since(self.clock.now()).max(Duration::from_millis(1)));
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => *looks += 1,
            _ = woken.changed() => *looks = 0,
            () = self.stop.cancelled() => {}
        }
    }

    async fn attempt(&self, job: Claimed) {
        let began = Instant::now();
        let (db, ticket, attempt, key) = (job.db.clone(), job.ticket, job.attempt, job.key.clone());
        let run = AssertUnwindSafe(self.handler.run(job)).catch_unwind();
        tokio::pin!(run);
        let outcome = loop {
            tokio::select! {
                outcome = &mut run => break outcome.unwrap_or_else(|_| Outcome::retry("panicked")),
                () = tokio::time::sleep(self.policy.lease / 3) => {
                    match jobs::renew(&db, ticket, self.policy.lease).await {
                        Ok(true) => {}
                        Ok(false) => {
                            tracing::warn!(kind = self.kind, key, "a job was lost to another");
                            return;
                        }
                        Err(error) => {
                            tracing::warn!(kind = self.kind, %error, "a lease was not renewed");
                        }
                    }
                }
            }
        };
        let name = outcome.name();
        metrics::counter!("publica_work_attempts_total", "kind" => self.kind, "outcome" => name)
            .increment(1);
        metrics::histogram!("publica_work_attempt_seconds", "kind" => self.kind)
            .record(began.elapsed().as_secs_f64());
        if let Err(error) = self.settle(&db, ticket, attempt, outcome).await {
            // The lease runs out, and the job comes again.
            tracing::warn!(kind = self.kind, key, %error, "a job's outcome was not kept");
        }
    }

    async fn settle(
        &self,
        db: &Db,
        ticket: Ticket,
        attempt: i64,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        let outcome = match outcome {
            Outcome::Retry { reason, .. } if attempt >= self.policy.attempts => {
                let reason = format!("given up after {attempt} attempts: {reason}");
                tracing::error!(kind = self.kind, reason, "a job was given up");
                Outcome::Dead { reason }
            }
            Outcome::Retry {
                after: None,
                reason,
            } => {
                let pause = self.policy.backoff.pause(attempt, &*self.entropy);
                Outcome::Retry {
                    after: Some(pause),
                    reason,
                }
            }
            other => other,
        };
        db.write("work.settle", (ticket, outcome), |tx, (ticket, outcome)| {
            Box::pin(async move {
                match outcome {
                    Outcome::Done => jobs::done(tx, *ticket).await.map(drop),
                    Outcome::Again { after } => jobs::later(tx, *ticket, *after, None).await,
                    Outcome::Retry { after, reason } => {
                        let after = after.unwrap_or_default();
                        jobs::later(tx, *ticket, after, Some(shortened(reason))).await
                    }
                    Outcome::Dead { reason } => jobs::bury(tx, *ticket, shortened(reason)).await,
                }
            })
        })
        .await
    }
}

fn shortened(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(MAX_REASON)]
}

/// Counts now and then what waits for an operator.
async fn count(stores: Stores, tenant: Tenant, stop: CancellationToken) {
    loop {
        let counted = async {
            let db = stores.of(&tenant).await?;
            views::counts(&db).await
        };
        let block = stores.block();
        match counted.await {
            Ok(counts) => {
                let tenant = tenant.to_string();
                for (name, count) in [
                    ("publica_work_jobs_dead", counts.dead),
                    ("publica_work_sagas_stuck", counts.stuck),
                ] {
                    let count = u32::try_from(count).unwrap_or(u32::MAX);
                    metrics::gauge!(name, "block" => block, "tenant" => tenant.clone())
                        .set(f64::from(count));
                }
            }
            Err(error) => tracing::warn!(block, %error, "work could not be counted"),
        }
        let waited = stop
            .run_until_cancelled(tokio::time::sleep(COUNT_EVERY))
            .await;
        if waited.is_none() {
            return;
        }
    }
}
