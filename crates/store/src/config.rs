//! Settings of a store.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use publica_types::{Secret, Tenant};
use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;

use crate::{Engine, StoreError};

/// The `[database]` section of a block's settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `sqlite://path/to/file.db` or `postgres://user:password@host/database`. A `{tenant}` in
    /// it becomes the tenant's name; without one, other tenants than `default` get a file or a
    /// schema of their own beside it. Empty: a file in the data folder.
    pub url: Secret<String>,
    /// The same database as its owner, for migrations. PostgreSQL only.
    pub migrate_url: Option<Secret<String>>,
    /// Connections for reads. SQLite only, which has one more for writes.
    pub read_connections: u32,
    /// Connections for everything. PostgreSQL only.
    pub connections: u32,
    /// Whether opening a store also migrates it. By default SQLite does, PostgreSQL does not.
    pub migrate_on_open: Option<bool>,
    /// The longest a unit of work may take, in milliseconds.
    pub unit_timeout_ms: u64,
    /// The longest to wait for a connection or a place in the queue, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// A store of a tenant that nobody uses is closed after so many seconds.
    pub idle_close_seconds: u64,
    /// The file may grow to so many pages of 4 KiB; 0 is no limit. SQLite only.
    pub max_pages: u32,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            migrate_url: None,
            read_connections: 4,
            connections: 16,
            migrate_on_open: None,
            unit_timeout_ms: 5_000,
            acquire_timeout_ms: 5_000,
            idle_close_seconds: 600,
            max_pages: 0,
        }
    }
}

impl DatabaseConfig {
    /// An embedded store in a file.
    pub fn sqlite(path: &Path) -> Self {
        Self {
            url: format!("sqlite://{}", path.display()).into(),
            ..Self::default()
        }
    }

    /// A store on a PostgreSQL server.
    pub fn postgres(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url.into()),
            ..Self::default()
        }
    }

    /// The same settings, with an embedded store in `path` if no URL is set.
    pub fn or_sqlite(mut self, path: &Path) -> Self {
        if self.url.expose().is_empty() {
            self.url = Self::sqlite(path).url;
        }
        self
    }

    /// The engine that the URL names.
    pub fn engine(&self) -> Result<Engine, StoreError> {
        let url = self.url.expose();
        if url.starts_with("sqlite:") {
            Ok(Engine::Sqlite)
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            Ok(Engine::Postgres)
        } else {
            Err(StoreError::config(
                "url must start with sqlite:// or postgres://",
            ))
        }
    }

    /// All that is wrong with these settings, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match self.engine() {
            Err(error) => problems.push(error.to_string()),
            Ok(Engine::Sqlite) if self.migrate_url.is_some() => {
                problems.push("migrate_url is for PostgreSQL only".to_owned());
            }
            Ok(Engine::Sqlite) => {}
            Ok(Engine::Postgres) => {
                let urls = [Some(&self.url), self.migrate_url.as_ref()];
                if urls.into_iter().flatten().any(|url| {
                    // The driver's message may repeat the password, so it is not shown.
                    PgConnectOptions::from_str(&url.expose().replace("{tenant}", "t")).is_err()
                }) {
                    problems.push("url or migrate_url is not a PostgreSQL URL".to_owned());
                }
            }
        }
        let ranges = [
            ("read_connections", u64::from(self.read_connections), 1, 64),
            ("connections", u64::from(self.connections), 1, 1_000),
            ("unit_timeout_ms", self.unit_timeout_ms, 10, 600_000),
            ("acquire_timeout_ms", self.acquire_timeout_ms, 10, 600_000),
            ("idle_close_seconds", self.idle_close_seconds, 1, 86_400),
        ];
        for (name, value, low, high) in ranges {
            if value < low || value > high {
                problems.push(format!("{name} must be from {low} to {high}, not {value}"));
            }
        }
        problems
    }

    pub(crate) const fn unit_timeout(&self) -> Duration {
        Duration::from_millis(self.unit_timeout_ms)
    }

    pub(crate) const fn acquire_timeout(&self) -> Duration {
        Duration::from_millis(self.acquire_timeout_ms)
    }

    pub(crate) const fn idle_close(&self) -> Duration {
        Duration::from_secs(self.idle_close_seconds)
    }
}

/// The stores of a block: its database and the tenants that have one each.
#[derive(Debug, Clone)]
pub struct StoresConfig {
    /// Where they are.
    pub database: DatabaseConfig,
    /// Whose they are.
    pub tenants: Vec<Tenant>,
    /// Whether a server may have the same embedded stores open. The stores must exist then, and
    /// are not migrated.
    pub beside: bool,
    /// Whether a PostgreSQL store is refused whose rows that are only ever added the service's own
    /// role may change.
    pub guarded: bool,
}

impl StoresConfig {
    /// The stores of these tenants.
    pub const fn new(database: DatabaseConfig, tenants: Vec<Tenant>) -> Self {
        Self {
            database,
            tenants,
            beside: false,
            guarded: false,
        }
    }

    /// The same stores for a tool that uses them beside a server: on PostgreSQL as their owner, if
    /// that is named, who may change what the service may only add.
    pub fn beside(mut self) -> Self {
        self.beside = true;
        if let Some(owner) = self.database.migrate_url.take() {
            self.database.url = owner;
        }
        self.database.migrate_on_open = Some(false);
        self
    }

    /// The file of each tenant's embedded store, whether it exists or not; none on PostgreSQL.
    pub fn files(&self) -> Result<Vec<(Tenant, PathBuf)>, StoreError> {
        if self.database.engine()? != Engine::Sqlite {
            return Ok(Vec::new());
        }
        let of = |tenant: &Tenant| {
            let path = crate::sqlite::path_of(&self.database, tenant)?;
            Ok((tenant.clone(), path))
        };
        self.tenants.iter().map(of).collect()
    }
}

/// The store of the one tenant `default`.
impl From<DatabaseConfig> for StoresConfig {
    fn from(database: DatabaseConfig) -> Self {
        Self::new(database, vec![Tenant::default()])
    }
}
