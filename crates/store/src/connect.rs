//! Plain connections of both engines, as the pool wants them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor};

use crate::lock::LockFile;
use crate::{Engine, StoreError};

/// A connection that the pool can open, and clean up after somebody let go of it half-way.
pub(crate) trait Driver: Sized + Send + 'static {
    /// How to open one.
    type Options: Clone + Send + Sync + 'static;

    /// The engine behind it.
    const ENGINE: Engine;

    /// Opens a connection.
    fn open(options: &Self::Options) -> impl Future<Output = Result<Self, StoreError>> + Send;

    /// Ends whatever the last user left running, and makes sure the connection still works.
    fn restore(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Closes the connection in order.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// How to open an embedded store.
#[derive(Clone)]
pub(crate) struct SqliteOptions {
    pub(crate) connect: SqliteConnectOptions,
    /// Held by all who can reach the file, so that it is let go of last.
    pub(crate) _lock: Arc<LockFile>,
}

/// An embedded connection, and the switch that stops a statement under way on it.
pub(crate) struct SqliteConn {
    pub(crate) conn: SqliteConnection,
    interrupt: Arc<AtomicBool>,
}

/// Virtual machine steps between looks at the interrupt switch: well under a millisecond.
const STEPS_BETWEEN_CHECKS: i32 = 10_000;

impl SqliteConn {
    /// Waits until the driver's thread has nothing left to do, cutting short what it does.
    pub(crate) async fn interrupt(&mut self) -> Result<(), StoreError> {
        self.interrupt.store(true, Ordering::Relaxed);
        let idle = self.conn.ping().await;
        self.interrupt.store(false, Ordering::Relaxed);
        idle.map_err(|error| StoreError::from_driver(Engine::Sqlite, error))
    }

    /// Runs text without values and forgets what it answers.
    pub(crate) async fn run(&mut self, text: &'static str) -> Result<(), StoreError> {
        let done = (&mut self.conn).execute(sqlx::query(text)).await;
        done.map(drop)
            .map_err(|error| StoreError::from_driver(Engine::Sqlite, error))
    }
}

impl Driver for SqliteConn {
    type Options = SqliteOptions;

    const ENGINE: Engine = Engine::Sqlite;

    async fn open(options: &SqliteOptions) -> Result<Self, StoreError> {
        let failed = |error| StoreError::from_driver(Engine::Sqlite, error);
        let mut conn = SqliteConnection::connect_with(&options.connect)
            .await
            .map_err(failed)?;
        let interrupt = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&interrupt);
        let mut handle = conn.lock_handle().await.map_err(failed)?;
        handle.set_progress_handler(STEPS_BETWEEN_CHECKS, move || {
            !switch.load(Ordering::Relaxed)
        });
        drop(handle);
        Ok(Self { conn, interrupt })
    }

    async fn restore(&mut self) -> Result<(), StoreError> {
        self.interrupt().await?;
        // Fails when no transaction was left open, which is the usual case.
        let _ = self.run("ROLLBACK").await;
        self.run("SELECT 1").await
    }

    async fn close(self) {
        if let Err(error) = self.conn.close().await {
            tracing::warn!(%error, "an embedded connection did not close in order");
        }
    }
}

impl Driver for PgConnection {
    type Options = PgConnectOptions;

    const ENGINE: Engine = Engine::Postgres;

    async fn open(options: &PgConnectOptions) -> Result<Self, StoreError> {
        let connected = PgConnection::connect_with(options).await;
        connected.map_err(|error| StoreError::from_driver(Engine::Postgres, error))
    }

    async fn restore(&mut self) -> Result<(), StoreError> {
        // Also reads whatever the last statement still had to say; the server's own
        // statement_timeout bounds how long that takes.
        run_postgres(self, "ROLLBACK").await
    }

    async fn close(self) {
        if let Err(error) = Connection::close(self).await {
            tracing::debug!(%error, "a server connection did not close in order");
        }
    }
}

/// Runs text without values and forgets what it answers.
pub(crate) async fn run_postgres(
    conn: &mut PgConnection,
    text: &'static str,
) -> Result<(), StoreError> {
    // The simple protocol: one round trip, nothing to prepare.
    let done = conn.execute(text).await;
    done.map(drop)
        .map_err(|error| StoreError::from_driver(Engine::Postgres, error))
}

/// What the server is told when a connection opens.
pub(crate) fn postgres_session(
    options: PgConnectOptions,
    schema: &str,
    unit_timeout: Duration,
) -> PgConnectOptions {
    // A little more than the unit's own limit, which is what callers should meet.
    let limit_ms = unit_timeout.as_millis() + 1_000;
    options
        .options([
            ("search_path", schema.to_owned()),
            ("statement_timeout", limit_ms.to_string()),
            ("idle_in_transaction_session_timeout", limit_ms.to_string()),
        ])
        .statement_cache_capacity(STATEMENTS_KEPT)
}

/// Prepared statements kept a connection: more than any block has.
pub(crate) const STATEMENTS_KEPT: usize = 512;
