//! How an embedded store's file is opened and kept small.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use publica_types::Tenant;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use crate::connect::{STATEMENTS_KEPT, SqliteConn, SqliteOptions};
use crate::lock::LockFile;
use crate::{DatabaseConfig, StoreError};

/// The file of a tenant: where the URL says `{tenant}`, or else beside the default one.
pub(crate) fn path_of(config: &DatabaseConfig, tenant: &Tenant) -> Result<PathBuf, StoreError> {
    let url = config.url.expose();
    let path = url
        .strip_prefix("sqlite://")
        .or_else(|| url.strip_prefix("sqlite:"));
    let path = path.filter(|path| !path.is_empty() && !path.contains([':', '?']));
    let path = path.ok_or_else(|| StoreError::config("url must be sqlite://path/to/file.db"))?;
    if path.contains("{tenant}") {
        return Ok(PathBuf::from(path.replace("{tenant}", tenant.as_str())));
    }
    let path = PathBuf::from(path);
    if *tenant == Tenant::default() {
        return Ok(path);
    }
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or("db");
    Ok(path.with_extension(format!("{tenant}.{extension}")))
}

/// Takes the store's lock and makes its file, readable by nobody else.
pub(crate) fn prepare(path: &Path) -> Result<Arc<LockFile>, StoreError> {
    let failed = |error: std::io::Error| StoreError::config(format!("{}: {error}", path.display()));
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let lock = LockFile::take(path)?;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(failed)?;
    Ok(Arc::new(lock))
}

/// Finds a store that somebody else may have open.
pub(crate) fn beside(path: &Path) -> Result<Arc<LockFile>, StoreError> {
    if path.is_file() {
        Ok(Arc::new(LockFile::none()))
    } else {
        let reason = format!("{} does not exist", path.display());
        Err(StoreError::config(reason))
    }
}

/// The connection that writes.
pub(crate) fn writer(config: &DatabaseConfig, path: &Path, lock: Arc<LockFile>) -> SqliteOptions {
    let connect = common(path)
        .journal_mode(SqliteJournalMode::Wal)
        // What was answered as stored must outlive a loss of power.
        .synchronous(SqliteSynchronous::Full)
        .pragma("secure_delete", "ON")
        .pragma("wal_autocheckpoint", "4000")
        .pragma("journal_size_limit", WAL_LIMIT.to_string());
    let connect = match config.max_pages {
        0 => connect,
        pages => connect.pragma("max_page_count", pages.to_string()),
    };
    SqliteOptions {
        connect,
        _lock: lock,
    }
}

/// The connections that read.
pub(crate) fn reader(path: &Path, lock: Arc<LockFile>) -> SqliteOptions {
    SqliteOptions {
        // The system's own cache is behind it, and there are several of these in every store.
        connect: common(path)
            .pragma("query_only", "ON")
            .pragma("cache_size", "-2000"),
        _lock: lock,
    }
}

fn common(path: &Path) -> SqliteConnectOptions {
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .pragma("temp_store", "MEMORY")
        .pragma("cache_size", "-8000")
        .pragma("soft_heap_limit", HEAP_LIMIT.to_string())
        .row_buffer_size(ROWS_AHEAD)
        .statement_cache_capacity(STATEMENTS_KEPT);
    sqlx::ConnectOptions::disable_statement_logging(connect)
}

/// Rows that the driver's thread may be ahead of who reads them: those of a gathered look-up, so
/// that it need not stop half-way.
const ROWS_AHEAD: usize = 512;

/// Bytes that all embedded stores of the process hold together before their caches give pages
/// back instead of taking more: there may be many stores, one for each block and tenant.
const HEAP_LIMIT: u64 = 24 * 1024 * 1024;

/// Bytes that the write-ahead log may reach before readers are made to step aside.
const WAL_LIMIT: u64 = 64 * 1024 * 1024;

/// Keeps the write-ahead log bounded. SQLite's own checkpoints start over at the front of the
/// log only in a moment without readers, and under constant reads there is none.
pub(crate) struct WalKeeper {
    log: PathBuf,
    commits: u32,
}

impl WalKeeper {
    const COMMITS_BETWEEN_LOOKS: u32 = 64;

    pub(crate) fn new(database: &Path) -> Self {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        Self {
            log: PathBuf::from(log),
            commits: 0,
        }
    }

    /// Looks at the log now and then, and empties it if it has grown too long.
    pub(crate) async fn after_commit(&mut self, conn: &mut SqliteConn) {
        self.commits += 1;
        if self.commits < Self::COMMITS_BETWEEN_LOOKS {
            return;
        }
        self.commits = 0;
        let length = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        if length <= WAL_LIMIT {
            return;
        }
        // Waits a moment for readers that began earlier; writers wait with it, so not long.
        let emptied = conn
            .run(
                "PRAGMA busy_timeout = 200; PRAGMA wal_checkpoint(TRUNCATE); \
                 PRAGMA busy_timeout = 5000",
            )
            .await;
        if let Err(error) = emptied {
            tracing::warn!(%error, length, "the write-ahead log could not be emptied");
        }
    }
}
