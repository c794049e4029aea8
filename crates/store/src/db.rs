//! The way into one store.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use publica_types::{SharedClock, Tenant, Timestamp};
use sqlx::{Executor as _, SqlSafeStr};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::connect::{SqliteConn, run_postgres};
use crate::lock::LockFile;
use crate::pool::Pool;
use crate::postgres::{Isolation, Runner};
use crate::query::Target;
use crate::unit::{Queued, attempt};
use crate::writer::Writer;
use crate::{Engine, NoTail, Query, Sql, StoreError, Tail, Tx, measure};

/// One tenant's store of a block. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
    isolation: Isolation,
}

pub(crate) struct Inner {
    pub(crate) backend: Backend,
    pub(crate) tenant: Tenant,
    pub(crate) clock: SharedClock,
    pub(crate) tail: Arc<dyn Tail>,
    pub(crate) unit_timeout: Duration,
    pub(crate) tracker: TaskTracker,
    /// Told when the store closes, whoever still has a handle on it.
    pub(crate) stop: CancellationToken,
}

pub(crate) enum Backend {
    Sqlite {
        reads: Pool<SqliteConn>,
        writer: Writer,
        lock: Arc<LockFile>,
    },
    Postgres(Runner),
}

impl Db {
    pub(crate) fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
            isolation: Isolation::ReadCommitted,
        }
    }

    /// The engine of this store.
    pub fn engine(&self) -> Engine {
        match self.inner.backend {
            Backend::Sqlite { .. } => Engine::Sqlite,
            Backend::Postgres(_) => Engine::Postgres,
        }
    }

    /// Whose store it is.
    pub fn tenant(&self) -> &Tenant {
        &self.inner.tenant
    }

    /// The time on the clock that the store was opened with.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// The tail that the store was opened with, if it is a `T`.
    pub fn tail<T: Tail>(&self) -> Option<&T> {
        let tail: &dyn Any = &*self.inner.tail;
        tail.downcast_ref()
    }

    /// The same store, whose writes are kept apart as if they ran one after another. For
    /// invariants that span rows; on SQLite all writes are so anyway.
    pub fn serializable(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            isolation: Isolation::Serializable,
        }
    }

    /// Starts a statement that reads on its own, outside any transaction. Writes belong into
    /// [`Db::write`]; on SQLite they are refused here.
    pub fn query(&self, sql: Sql) -> Query<'_> {
        let target = match &self.inner.backend {
            Backend::Sqlite { reads, .. } => Target::SqlitePool(reads),
            Backend::Postgres(runner) => Target::PostgresPool(&runner.pool),
        };
        Query::new(sql, target)
    }

    /// Runs a unit of work: all of it is committed, and then durable, or none of it.
    ///
    /// The unit gets its input by reference and captures nothing, so that it can be run again
    /// after a conflict. It awaits the store and nothing else. It runs detached: a caller who
    /// goes away after the call was accepted changes nothing. Its answer, refusals included,
    /// comes only once everything it may rest on is durable.
    pub async fn write<I, T, E, F>(&self, name: &'static str, input: I, unit: F) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: for<'a> Fn(&'a mut Tx<'_>, &'a I) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        let span = tracing::debug_span!("db.write", unit = name);
        match &self.inner.backend {
            _ if self.inner.stop.is_cancelled() => {
                Err(E::from(StoreError::unavailable("the store is closed")))
            }
            Backend::Sqlite { writer, .. } => {
                let (queued, answer) = Queued::new(name, input, unit);
                let work = async {
                    writer.submit(Box::new(queued)).await?;
                    let gone = |_| E::from(StoreError::unavailable("the store is closed"));
                    answer.await.unwrap_or_else(|error| Err(gone(error)))
                };
                work.instrument(span).await
            }
            Backend::Postgres(runner) => {
                let (runner, isolation) = (runner.clone(), self.isolation);
                let work = async move {
                    let began = Instant::now();
                    let answer = runner.write(name, isolation, input, unit).await;
                    let outcome = if answer.is_ok() { "done" } else { "refused" };
                    measure::unit(name, Engine::Postgres, outcome, began.elapsed());
                    answer
                };
                let task = self.inner.tracker.spawn(work.instrument(span));
                task.await
                    .unwrap_or_else(|_| Err(E::from(StoreError::Panicked)))
            }
        }
    }

    /// Runs a unit of reads that all see the same state of the store.
    pub async fn read<I, T, E, F>(&self, name: &'static str, input: I, unit: F) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: for<'a> Fn(&'a mut Tx<'_>, &'a I) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        let span = tracing::debug_span!("db.read", unit = name);
        self.read_unit(&input, &unit).instrument(span).await
    }

    async fn read_unit<I, T, E, F>(&self, input: &I, unit: &F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: for<'a> Fn(&'a mut Tx<'_>, &'a I) -> BoxFuture<'a, Result<T, E>>,
    {
        let (now, limit) = (self.now(), self.inner.unit_timeout);
        // Between begin and end an early return drops the connection, which ends the
        // transaction before the connection is used again.
        match &self.inner.backend {
            Backend::Sqlite { reads, .. } => {
                let mut held = reads.take().await?;
                held.run("BEGIN").await?;
                let mut tx = Tx::sqlite(&mut held.conn, now, false);
                let value = attempt(&mut tx, unit, input, &NoTail, limit).await?;
                held.run("COMMIT").await?;
                held.done();
                Ok(value)
            }
            Backend::Postgres(runner) => {
                let mut held = runner.pool.take().await?;
                run_postgres(&mut held, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
                let mut tx = Tx::postgres(&mut held, now, false);
                let value = attempt(&mut tx, unit, input, &NoTail, limit).await?;
                run_postgres(&mut held, "COMMIT").await?;
                held.done();
                Ok(value)
            }
        }
    }

    /// Asks the engine whether it understands a statement. For the tests that prepare all.
    #[doc(hidden)]
    pub async fn prepare(&self, sql: Sql) -> Result<(), StoreError> {
        let text = SqlSafeStr::into_sql_str(sql.text(self.engine()));
        match &self.inner.backend {
            Backend::Sqlite { reads, .. } => {
                let mut held = reads.take().await?;
                let prepared = (&mut held.conn).prepare(text).await;
                held.done();
                prepared
                    .map(drop)
                    .map_err(|e| StoreError::from_driver(Engine::Sqlite, e))
            }
            Backend::Postgres(runner) => {
                let mut held = runner.pool.take().await?;
                let prepared = (&mut *held).prepare(text).await;
                held.done();
                prepared
                    .map(drop)
                    .map_err(|e| StoreError::from_driver(Engine::Postgres, e))
            }
        }
    }

    /// Runs statements one by one on one connection, without a transaction around them.
    pub(crate) async fn on_one_connection<I, T, F>(
        &self,
        input: &I,
        unit: &F,
    ) -> Result<T, StoreError>
    where
        I: ?Sized,
        F: for<'a> Fn(&'a mut Tx<'_>, &'a I) -> BoxFuture<'a, Result<T, StoreError>>,
    {
        let now = self.now();
        match &self.inner.backend {
            Backend::Sqlite { reads, .. } => {
                let mut held = reads.take().await?;
                let result = unit(&mut Tx::sqlite(&mut held.conn, now, false), input).await;
                held.done_after(&result);
                result
            }
            Backend::Postgres(runner) => {
                let mut held = runner.pool.take().await?;
                let result = unit(&mut Tx::postgres(&mut held, now, false), input).await;
                held.done_after(&result);
                result
            }
        }
    }

    pub(crate) fn tracker(&self) -> &TaskTracker {
        &self.inner.tracker
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.inner.stop
    }

    pub(crate) fn unit_timeout(&self) -> Duration {
        self.inner.unit_timeout
    }

    /// Whether nobody but the directory of stores knows this one.
    pub(crate) fn is_unused(&self) -> bool {
        Arc::strong_count(&self.inner) == 1
    }

    /// Finishes what was accepted and closes the connections. Clones of this handle that are
    /// still about are refused from now on.
    pub(crate) async fn close(self) {
        self.inner.stop.cancel();
        self.inner.tracker.close();
        match &self.inner.backend {
            Backend::Sqlite { reads, lock, .. } => {
                self.inner.tracker.wait().await;
                reads.close().await;
                lock.release();
            }
            Backend::Postgres(runner) => {
                // A unit that has begun may need a connection for another run.
                self.inner.tracker.wait().await;
                runner.pool.close().await;
            }
        }
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db")
            .field("engine", &self.engine())
            .field("tenant", &self.inner.tenant)
            .finish_non_exhaustive()
    }
}
