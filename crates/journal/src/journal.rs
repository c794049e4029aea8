//! The handle of a block's journal, and what runs behind it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use publica_seal::Keyring;
use publica_store::{Db, Gather, StoreError, Stores};
use publica_types::{Origin, SharedClock, SharedEntropy, Tenant};
use publica_work::Worker;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::JournalConfig;
use crate::entry::Entry;
use crate::epoch::Keeper;
use crate::error::JournalError;
use crate::sequencer::{Progress, Sequencer};
use crate::store::{ledger, log as sql};
use crate::tail::{JournalTail, append};
use crate::tree::stored;
use crate::webhook::{Deliverer, KIND, relay};

/// Pauses between looks for entries after a unit announced some: a unit can only announce them
/// before it commits.
const LOOKS: [Duration; 4] = [
    Duration::from_millis(2),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
];
/// The least time between steps that found entries. Each step is a transaction of its own, for
/// which writers wait as for any other; under load many entries so share one.
const BREATH: Duration = Duration::from_millis(25);
/// How often to look for what other processes wrote.
const POLL: Duration = Duration::from_secs(1);
/// How often old answers are deleted.
const PRUNE_EVERY: Duration = Duration::from_mins(10);
const PRUNE_BATCH: i64 = 1_000;
/// How long to wait for the log to catch up.
const CATCH_UP: Duration = Duration::from_secs(8);

/// The journal of a block. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    tail: Arc<JournalTail>,
    stores: Stores,
    clock: SharedClock,
    entropy: SharedEntropy,
    config: JournalConfig,
    logs: Mutex<HashMap<Tenant, Log>>,
    /// Nobody keeps the logs any more.
    stopped: CancellationToken,
}

/// What is known of one tenant's log.
#[derive(Clone)]
struct Log {
    records: Gather<(Origin, Entry), ()>,
    signals: Arc<Signals>,
}

struct Signals {
    /// Leaves that were sequenced, as far as this process knows.
    grown: watch::Sender<i64>,
    /// Leaves that were signed, as far as this process knows.
    signed: watch::Sender<i64>,
    /// Counts requests to sign at once.
    urgent: watch::Sender<u64>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("block", &self.block())
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// The journal over stores that were opened with `tail`, whose keys it signs with.
    pub fn new(
        tail: &Arc<JournalTail>,
        stores: Stores,
        clock: SharedClock,
        entropy: SharedEntropy,
        config: JournalConfig,
    ) -> Self {
        let inner = Inner {
            tail: Arc::clone(tail),
            stores,
            clock,
            entropy,
            config,
            logs: Mutex::default(),
            stopped: CancellationToken::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The block whose journal this is.
    pub fn block(&self) -> &'static str {
        self.inner.tail.block()
    }

    /// The tail that the block's stores were opened with.
    pub fn tail(&self) -> Arc<JournalTail> {
        Arc::clone(&self.inner.tail)
    }

    /// Records a read, a check or a refusal: durable before this returns. Calls in flight share
    /// a transaction.
    pub async fn record(&self, origin: &Origin, entry: Entry) -> Result<(), JournalError> {
        let db = self.db(&origin.tenant).await?;
        Ok(self.log(&db).records.ask((origin.clone(), entry)).await?)
    }

    /// Waits until all that was committed before the call is in the tree and signed.
    pub async fn catch_up(&self, tenant: &Tenant) -> Result<(), JournalError> {
        let db = self.db(tenant).await?;
        let signals = self.log(&db).signals;
        let deadline = Instant::now() + CATCH_UP;
        let mut told = signals.signed.subscribe();
        let mut pause = Duration::from_millis(2);
        // What comes later need not be waited for.
        let wanted = sql::committed(&db).await?;
        loop {
            let signed = sql::last_checkpoint(&db).await?.map_or(0, |row| row.size);
            if signed >= wanted {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(JournalError::Behind);
            }
            signals
                .urgent
                .send_modify(|count| *count = count.wrapping_add(1));
            // Another process may be the one that signs.
            let _ = tokio::time::timeout(pause, told.changed()).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    pub(crate) async fn db(&self, tenant: &Tenant) -> Result<Db, StoreError> {
        self.inner.stores.of(tenant).await
    }

    pub(crate) fn config(&self) -> &JournalConfig {
        &self.inner.config
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        self.inner.tail.keyring()
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.inner.clock
    }

    pub(crate) fn entropy(&self) -> &SharedEntropy {
        &self.inner.entropy
    }

    pub(crate) fn keeper(&self) -> Keeper<'_> {
        Keeper {
            block: self.block(),
            config: &self.inner.config,
            keyring: self.keyring(),
            entropy: &*self.inner.entropy,
        }
    }

    /// Changes when leaves were added, as far as this process knows.
    pub(crate) fn grown(&self, db: &Db) -> watch::Receiver<i64> {
        self.log(db).signals.grown.subscribe()
    }

    fn log(&self, db: &Db) -> Log {
        let mut logs = self
            .inner
            .logs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        logs.entry(db.tenant().clone())
            .or_insert_with(|| Log::new(db))
            .clone()
    }

    /// A name for this process's leases.
    pub(crate) fn holder(&self) -> String {
        let mut random = [0; 8];
        self.inner.entropy.fill(&mut random);
        format!("{}-{}", std::process::id(), hex::encode(random))
    }

    /// Sequences, signs and delivers webhooks until `stop`, for all tenants.
    pub async fn run(&self, stop: CancellationToken) {
        let tracker = TaskTracker::new();
        for tenant in self.inner.stores.tenants() {
            let (journal, end) = (self.clone(), stop.clone());
            tracker.spawn(async move { journal.keep(tenant, end).await });
        }
        match Deliverer::new(self.clone()) {
            Ok(deliverer) => {
                let policy = deliverer.policy();
                let (clock, entropy) = (Arc::clone(self.clock()), Arc::clone(self.entropy()));
                let worker = Worker::new(self.inner.stores.clone(), clock, entropy)
                    .on_with(KIND, deliverer, policy);
                tracker.spawn(worker.run(stop.clone()));
            }
            Err(error) => {
                tracing::error!(block = self.block(), %error, "webhooks cannot be delivered");
            }
        }
        tracker.close();
        stop.cancelled().await;
        // Who follows a log is to follow it elsewhere, where it is kept on.
        self.inner.stopped.cancel();
        tracker.wait().await;
        self.close();
    }

    /// Fires once nobody keeps the logs here any more.
    pub(crate) fn stopped(&self) -> CancellationToken {
        self.inner.stopped.clone()
    }

    /// Lets go of the stores, which wait for that when they close. [`Journal::run`] ends so.
    pub fn close(&self) {
        self.inner
            .logs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Keeps one tenant's log.
    async fn keep(&self, tenant: Tenant, stop: CancellationToken) {
        let mut pause = Duration::from_millis(100);
        while !stop.is_cancelled() {
            match self.db(&tenant).await {
                Ok(db) => {
                    tokio::join!(self.sequence(&db, &stop), relay(self, &db, &stop));
                    return;
                }
                Err(error) => {
                    tracing::warn!(%tenant, %error, "the journal's store cannot be opened");
                    let _ = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                    pause = (pause * 2).min(Duration::from_secs(10));
                }
            }
        }
    }

    async fn sequence(&self, db: &Db, stop: &CancellationToken) {
        let mut written = self.inner.tail.written();
        let signals = self.log(db).signals;
        let mut urgent = signals.urgent.subscribe();
        let mut sequencer = Sequencer::new(db.clone(), self.holder());
        let keeper = self.keeper();
        let mut looks = 0;
        let mut failures = 0_u32;
        let mut pruned = Instant::now();
        let mut earliest = Instant::now();
        while !stop.is_cancelled() {
            if written.has_changed().unwrap_or(false) {
                written.mark_unchanged();
                looks = 0;
            }
            let hurry = urgent.has_changed().unwrap_or(false);
            urgent.mark_unchanged();
            let before = sequencer.size();
            let progress = sequencer.step(&keeper, hurry).await;
            signals.tell(&sequencer);
            if sequencer.size() > before {
                earliest = Instant::now() + BREATH;
            }
            let pause = match progress {
                Ok(Progress::More) => continue,
                Ok(Progress::Idle { unsigned }) => {
                    failures = 0;
                    let longest = if unsigned {
                        self.inner.config.checkpoint_every()
                    } else {
                        POLL
                    };
                    LOOKS.get(looks).copied().unwrap_or(longest).min(longest)
                }
                Ok(Progress::Elsewhere) => POLL,
                Err(error) => {
                    tracing::warn!(block = self.block(), %error, "the sequencer failed a step");
                    failures = failures.saturating_add(1);
                    (Duration::from_millis(20) * failures).min(Duration::from_secs(5))
                }
            };
            if pruned.elapsed() >= PRUNE_EVERY {
                pruned = Instant::now();
                self.prune(db).await;
            }
            let next = earliest.max(Instant::now() + pause);
            tokio::select! {
                () = tokio::time::sleep_until(next) => looks += 1,
                () = told_after(earliest, &mut written) => looks = 0,
                _ = urgent.changed() => urgent.mark_changed(),
                () = stop.cancelled() => {}
            }
        }
        // What was committed so far is signed before the process ends.
        while matches!(sequencer.step(&keeper, true).await, Ok(Progress::More)) {}
        signals.tell(&sequencer);
        sequencer.release().await;
    }

    async fn prune(&self, db: &Db) {
        const DAY: Duration = Duration::from_hours(24);
        let before = db.now().minus(DAY * self.inner.config.answers_days);
        loop {
            match ledger::prune(db, before, PRUNE_BATCH).await {
                Ok(deleted) if i64::try_from(deleted).unwrap_or(0) >= PRUNE_BATCH => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(block = self.block(), %error, "old answers were not deleted");
                    return;
                }
            }
        }
    }
}

/// Waits until entries are announced, but at least until a moment.
async fn told_after(earliest: Instant, written: &mut watch::Receiver<u64>) {
    tokio::time::sleep_until(earliest).await;
    // The journal holds the sender, and so is there.
    let _ = written.changed().await;
}

impl Log {
    fn new(db: &Db) -> Self {
        let records = Gather::writes("journal.record", db, |tx, entries: &[(Origin, Entry)]| {
            Box::pin(async move {
                for (origin, entry) in entries {
                    append(tx, origin, entry.clone());
                }
                Ok(vec![(); entries.len()])
            })
        });
        let signals = Signals {
            grown: watch::channel(0).0,
            signed: watch::channel(0).0,
            urgent: watch::channel(0).0,
        };
        Self {
            records,
            signals: Arc::new(signals),
        }
    }
}

impl Signals {
    fn tell(&self, sequencer: &Sequencer) {
        for (sender, size) in [
            (&self.grown, sequencer.size()),
            (&self.signed, sequencer.signed()),
        ] {
            let Some(size) = size.map(stored) else {
                continue;
            };
            sender.send_if_modified(|known| {
                let changed = *known != size;
                *known = size;
                changed
            });
        }
    }
}
