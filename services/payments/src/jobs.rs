//! Background work: releasing batches and ending holds.

use std::sync::Arc;
use std::time::Duration;

use publica_rpc::Fault as _;
use publica_store::StoreError;
use publica_types::Origin;
use publica_work::{Backoff, Claimed, Handler, Job, Outcome, Policy, Worker, enqueue};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::callback::Deliverer;
use crate::app::release::Progress;
use crate::app::settle::patience;
use crate::domain::ids::BatchId;
use crate::error::Error;

/// Takes an approved batch from step to step until it ends.
pub(crate) const RELEASE: &str = "payments.release_batch";
/// Tells somebody an outcome.
pub(crate) const CALLBACK: &str = "payments.callback";
/// Tells a biller that a bill was paid, until it has answered.
pub(crate) const ADVICE: &str = "payments.bill_advice";
/// Ends the wait for a bank that does not answer.
pub(crate) const BANK_SILENT: &str = "payments.bank_silent";
/// Lets the lines of a statement meet what was paid.
pub(crate) const MATCH_STATEMENT: &str = "payments.match_statement";
/// Closes an accounting period.
pub(crate) const CLOSE_PERIOD: &str = "payments.close_period";
/// Brings a message out to its rail.
pub(crate) const RAIL_MESSAGE: &str = "payments.rail_message";
/// Looks for files that a rail's bank has put down.
pub(crate) const RAIL_FILES: &str = "payments.rail_files";
/// Ends holds whose time is over.
pub(crate) const EXPIRE: &str = "payments.expire_holds";

const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// A batch is not given up: an operator cancels or resumes it.
const ATTEMPTS: i64 = 10_000;
const RELEASES_AT_ONCE: u32 = 4;

struct Release(Arc<App>, CancellationToken);

impl Handler for Release {
    async fn run(&self, job: Claimed) -> Outcome {
        let Some(id) = std::str::from_utf8(&job.payload)
            .ok()
            .and_then(|id| id.parse().ok())
        else {
            return Outcome::dead("the job names no batch");
        };
        self.advance(&job, id).await
    }
}

impl Release {
    async fn advance(&self, job: &Claimed, id: BatchId) -> Outcome {
        loop {
            // Each step is committed, so stopping between two of them loses nothing.
            if self.1.is_cancelled() {
                return Outcome::Again {
                    after: Duration::ZERO,
                };
            }
            match self.0.advance(&job.db, id).await {
                Ok(Progress::More) => {}
                Ok(Progress::Finished) => return Outcome::Done,
                Ok(Progress::Waiting) => {
                    let after = patience(job.created, self.0.clock.now());
                    return Outcome::Again { after };
                }
                Err(error @ Error::Altered(_)) => {
                    tracing::error!(batch.id = %id, %error, "a batch was stopped");
                    return Outcome::dead(error.reason());
                }
                Err(error) => {
                    tracing::warn!(batch.id = %id, %error, "a batch did not get on");
                    return Outcome::retry(error.reason());
                }
            }
        }
    }
}

/// Tells others: outcomes until they are taken, advices until they are answered.
#[derive(Clone)]
struct Tell(Arc<App>, Arc<Deliverer>);

impl Handler for Tell {
    async fn run(&self, job: Claimed) -> Outcome {
        let told = match job.kind {
            ADVICE => self.1.advise(&self.0, &job).await,
            _ => self.1.deliver(&self.0, &job).await,
        };
        told.unwrap_or_else(|error| {
            tracing::warn!(%error, job.kind, "what others are told could not be prepared");
            Outcome::retry(error.reason())
        })
    }
}

struct Silence(Arc<App>);

impl Handler for Silence {
    async fn run(&self, job: Claimed) -> Outcome {
        let Ok(correlation_id) = std::str::from_utf8(&job.payload) else {
            return Outcome::dead("the job names no question");
        };
        let ended = self.0.end_silence(&job.db, &job.origin, correlation_id);
        match ended.await {
            Ok(()) => Outcome::Done,
            Err(error) => {
                tracing::warn!(%error, "the wait for a bank could not be ended");
                Outcome::retry(error.reason())
            }
        }
    }
}

struct Match(Arc<App>);

impl Handler for Match {
    async fn run(&self, job: Claimed) -> Outcome {
        let Ok(id) = std::str::from_utf8(&job.payload) else {
            return Outcome::dead("the job names no statement");
        };
        match self.0.match_statement(&job.db, &job.origin, id).await {
            Ok(()) => Outcome::Done,
            Err(error) => {
                tracing::warn!(%error, "a statement could not be matched");
                Outcome::retry(error.reason())
            }
        }
    }
}

struct Close(Arc<App>, CancellationToken);

impl Handler for Close {
    async fn run(&self, job: Claimed) -> Outcome {
        let Ok(id) = std::str::from_utf8(&job.payload) else {
            return Outcome::dead("the job names no period");
        };
        loop {
            if self.1.is_cancelled() {
                return Outcome::Again {
                    after: Duration::ZERO,
                };
            }
            match self.0.close_step(&job.db, &job.origin, id).await {
                Ok(false) => {}
                Ok(true) => return Outcome::Done,
                Err(error @ Error::Altered(_)) => {
                    tracing::error!(period.id = id, %error, "a close was stopped");
                    return Outcome::dead(error.reason());
                }
                Err(error) => {
                    tracing::warn!(%error, period.id = id, "a period could not be closed");
                    return Outcome::retry(error.reason());
                }
            }
        }
    }
}

struct BringOut(Arc<App>);

impl Handler for BringOut {
    async fn run(&self, job: Claimed) -> Outcome {
        let id = std::str::from_utf8(&job.payload).ok();
        let Some(id) = id.and_then(|id| id.parse().ok()) else {
            return Outcome::dead("the job names no message");
        };
        match self.0.bring_out(&job.db, id).await {
            Ok(false) => Outcome::Done,
            Ok(true) => Outcome::Again {
                after: patience(job.created, self.0.clock.now()),
            },
            Err(error) => {
                tracing::warn!(%error, message.id = %id, "a message was not brought out");
                Outcome::retry(error.reason())
            }
        }
    }
}

struct TakeIn(Arc<App>);

impl Handler for TakeIn {
    async fn run(&self, job: Claimed) -> Outcome {
        let settings = self.0.rails.settings().get(&job.key);
        let Some(files) = settings.and_then(|settings| settings.files.as_ref()) else {
            // The rail was taken out of the settings.
            return Outcome::Done;
        };
        match self.0.take_in(&job.db, &job.key, files).await {
            Ok(()) => Outcome::Again {
                after: files.poll(),
            },
            Err(error) => {
                tracing::warn!(%error, rail = job.key, "files could not be taken in");
                Outcome::retry(error.reason())
            }
        }
    }
}

struct Expire(Arc<App>);

impl Handler for Expire {
    async fn run(&self, job: Claimed) -> Outcome {
        loop {
            match self.0.expire_holds(&job.db).await {
                Ok(0) => {
                    return Outcome::Again {
                        after: EXPIRE_EVERY,
                    };
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "holds could not be ended");
                    return Outcome::retry(error.reason());
                }
            }
        }
    }
}

/// Works until `stop`.
pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
    let started = stop.run_until_cancelled(keep_going(&app)).await;
    if started.is_none() {
        return;
    }
    let backoff = Backoff::default();
    let policy = Policy {
        concurrency: RELEASES_AT_ONCE,
        lease: Duration::from_secs(30),
        attempts: ATTEMPTS,
        backoff,
    };
    let single = Policy {
        concurrency: 1,
        attempts: ATTEMPTS,
        ..Policy::default()
    };
    let mut worker = Worker::new(app.stores.clone(), app.clock.clone(), app.entropy.clone())
        .on_with(RELEASE, Release(app.clone(), stop.clone()), policy)
        .on_with(BANK_SILENT, Silence(app.clone()), single)
        .on_with(MATCH_STATEMENT, Match(app.clone()), single)
        .on_with(CLOSE_PERIOD, Close(app.clone(), stop.clone()), single)
        .on_with(RAIL_MESSAGE, BringOut(app.clone()), policy)
        .on_with(RAIL_FILES, TakeIn(app.clone()), single)
        .on_with(EXPIRE, Expire(app.clone()), single);
    match Deliverer::new(&app) {
        Ok(deliverer) => {
            let (deliverer, policy) = (Arc::new(deliverer), Deliverer::policy(&app));
            let tell = Tell(app.clone(), deliverer);
            worker = worker.on_with(CALLBACK, tell.clone(), policy);
            worker = worker.on_with(ADVICE, tell, policy);
        }
        // They wait until a process can deliver them.
        Err(error) => tracing::error!(error, "callbacks cannot be delivered"),
    }
    worker.run(stop).await;
}

/// Makes sure that each store has its jobs for ending holds and looking for files; there is
/// never a second one.
async fn keep_going(app: &App) {
    for tenant in app.stores.tenants() {
        let enqueued = async {
            let db = app.stores.of(&tenant).await?;
            let rails = app.rails.settings().iter();
            let by_files = rails.filter(|(_, settings)| settings.files.is_some());
            let by_files: Vec<String> = by_files.map(|(name, _)| name.clone()).collect();
            db.write("payments.keep_going", by_files, |tx, by_files| {
                Box::pin(async move {
                    let origin = Origin::system("payments.expiry");
                    enqueue(tx, &origin, Job::new(EXPIRE, "all", Vec::new())).await?;
                    let origin = Origin::system("payments.rail");
                    for name in by_files {
                        enqueue(tx, &origin, Job::new(RAIL_FILES, name, Vec::new())).await?;
                    }
                    Ok::<_, StoreError>(())
                })
            })
            .await
        };
        if let Err(error) = enqueued.await {
            tracing::warn!(%error, "background work could not be scheduled");
        }
    }
}
