//! The group writer of an embedded store.
//!
//! One task owns the one connection that writes. It takes the units that wait, runs each in a
//! savepoint of one transaction, and answers all of them after the one commit, so that many
//! units share the wait for the disk. Refusals are held back as well: one may rest on a
//! neighbour's row that is not durable yet.

use std::sync::Arc;
use std::time::Duration;

use publica_types::SharedClock;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connect::{Driver as _, SqliteConn, SqliteOptions};
use crate::sqlite::WalKeeper;
use crate::unit::Unit;
use crate::{StoreError, Tail, Tx, measure};

/// Units that share one commit, at most.
const GROUP_LIMIT: usize = 128;

/// Units that may wait.
const QUEUE_LIMIT: usize = 1_024;

/// The way to the writer's queue.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Box<dyn Unit>>,
    patience: Duration,
}

/// What the writer's task needs to know.
pub(crate) struct WriterSetup {
    pub(crate) options: SqliteOptions,
    pub(crate) clock: SharedClock,
    pub(crate) tail: Arc<dyn Tail>,
    pub(crate) unit_timeout: Duration,
    pub(crate) patience: Duration,
    pub(crate) wal: WalKeeper,
}

impl Writer {
    /// Starts the task, which ends when the last `Writer` is gone, or when it is told to stop
    /// and has done what was accepted before.
    pub(crate) fn start(
        conn: SqliteConn,
        setup: WriterSetup,
        stop: CancellationToken,
        tracker: &TaskTracker,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_LIMIT);
        let patience = setup.patience;
        let task = Task {
            conn: Some(conn),
            setup,
        };
        tracker.spawn(task.work(waiting, stop));
        Self { queue, patience }
    }

    /// Puts a unit in the queue. From here on it runs whether or not its caller stays.
    pub(crate) async fn submit(&self, unit: Box<dyn Unit>) -> Result<(), StoreError> {
        match self.queue.send_timeout(unit, self.patience).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                Err(StoreError::unavailable("too many writes are waiting"))
            }
            Err(mpsc::error::SendTimeoutError::Closed(_)) => {
                Err(StoreError::unavailable("the store is closed"))
            }
        }
    }
}

/// The next messages, at most `limit` of them. None once the channel has run dry after its
/// last sender is gone or `stop` was told; from then on nothing more is accepted.
pub(crate) async fn next<T>(
    waiting: &mut mpsc::Receiver<T>,
    messages: &mut Vec<T>,
    limit: usize,
    stop: &CancellationToken,
) -> usize {
    if !waiting.is_closed() {
        tokio::select! {
            biased;
            () = stop.cancelled() => waiting.close(),
            count = waiting.recv_many(messages, limit) => return count,
        }
    }
    waiting.recv_many(messages, limit).await
}

struct Task {
    conn: Option<SqliteConn>,
    setup: WriterSetup,
}

impl Task {
    async fn work(mut self, mut waiting: mpsc::Receiver<Box<dyn Unit>>, stop: CancellationToken) {
        let mut units = Vec::with_capacity(GROUP_LIMIT);
        while next(&mut waiting, &mut units, GROUP_LIMIT, &stop).await > 0 {
            measure::group(units.len());
            match self.group(&mut units).await {
                Err(Lost {
                    error: _,
                    committing: false,
                }) if units.len() > 1 => {
                    // Nothing of the group was kept. One unit spoiled it for all, and alone
                    // it only spoils its own.
                    for mut unit in units.drain(..) {
                        let kept = self.group(std::slice::from_mut(&mut unit)).await;
                        unit.deliver(kept.map_err(|lost| lost.error));
                    }
                }
                kept => {
                    let kept = kept.map_err(|lost| lost.error);
                    for unit in units.drain(..) {
                        unit.deliver(kept.clone());
                    }
                }
            }
            if let Some(conn) = &mut self.conn {
                self.setup.wal.after_commit(conn).await;
            }
        }
        if let Some(conn) = self.conn.take() {
            conn.close().await;
        }
    }

    /// Runs a group. `Ok` once all that its units did is durable; after an error nothing is,
    /// unless it was lost while committing.
    async fn group(&mut self, units: &mut [Box<dyn Unit>]) -> Result<(), Lost> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.reopen().await.map_err(Lost::before_commit)?,
        };
        let kept = self.run(&mut conn, units).await;
        match &kept {
            Ok(()) => self.conn = Some(conn),
            Err(lost) => {
                let cause = std::error::Error::source(&lost.error).map(ToString::to_string);
                tracing::error!(error = %lost.error, cause, units = units.len(),
                    "a group of writes was lost; reopening the store");
                // After a full disk or an input error the connection's own idea of its
                // transaction cannot be trusted, so it is not asked again.
                let _ = conn.run("ROLLBACK").await;
                conn.close().await;
            }
        }
        kept
    }

    async fn run(&self, conn: &mut SqliteConn, units: &mut [Box<dyn Unit>]) -> Result<(), Lost> {
        begin(conn).await.map_err(Lost::before_commit)?;
        let now = self.setup.clock.now();
        let last = units.len().saturating_sub(1);
        for (index, unit) in units.iter_mut().enumerate() {
            let limit = self.setup.unit_timeout;
            let mut tx = Tx::sqlite(&mut conn.conn, now, true);
            let keep = unit.run(&mut tx, &*self.setup.tail, limit).await;
            let failure = tx.failure().cloned();
            if matches!(failure, Some(StoreError::Timeout)) {
                tracing::warn!(
                    unit = unit.name(),
                    "a unit took too long and was rolled back"
                );
                conn.interrupt().await.map_err(Lost::before_commit)?;
            }
            // When the disk is full, SQLite itself ends the outer transaction. A savepoint
            // would then begin one of its own, so the first of these to fail fails the group.
            let (text, committing) = match (keep, index == last) {
                (true, false) => ("RELEASE unit; SAVEPOINT unit", false),
                (false, false) => ("ROLLBACK TO unit", false),
                (true, true) => ("COMMIT", true),
                (false, true) if last == 0 => ("ROLLBACK", false),
                (false, true) => ("ROLLBACK TO unit; COMMIT", true),
            };
            let ended = conn.run(text).await;
            ended.map_err(|error| Lost::because(failure, error, committing))?;
        }
        Ok(())
    }

    async fn reopen(&self) -> Result<SqliteConn, StoreError> {
        measure::reopened();
        SqliteConn::open(&self.setup.options).await
    }
}

/// Why nothing of a group was kept.
struct Lost {
    error: StoreError,
    /// Whether the commit was under way, so that its outcome is not certain.
    committing: bool,
}

impl Lost {
    const fn before_commit(error: StoreError) -> Self {
        Self {
            error,
            committing: false,
        }
    }

    /// The failure of the unit at hand is what ended the transaction, if there was one; the
    /// savepoint that was found missing is only how it showed.
    fn because(failure: Option<StoreError>, error: StoreError, committing: bool) -> Self {
        let error = match (failure, error) {
            (Some(failure @ (StoreError::Unavailable { .. } | StoreError::Timeout)), _) => failure,
            (_, error @ StoreError::Unavailable { .. }) => error,
            (_, StoreError::Database { source }) => StoreError::Unavailable {
                reason: "the transaction was ended early",
                source: Some(source),
            },
            (_, error) => error,
        };
        Self { error, committing }
    }
}

/// Begins a group. A backup or a checkpoint may hold the file for a moment.
async fn begin(conn: &mut SqliteConn) -> Result<(), StoreError> {
    const ATTEMPTS: u32 = 3;
    let mut attempt = 1;
    loop {
        match conn.run("BEGIN IMMEDIATE; SAVEPOINT unit").await {
            Err(StoreError::Conflict { .. }) if attempt < ATTEMPTS => attempt += 1,
            Err(StoreError::Conflict { source }) => {
                let reason = "the file is locked";
                return Err(StoreError::Unavailable { reason, source });
            }
            other => return other,
        }
    }
}
