//! What can go wrong between a block and its store.

use std::sync::Arc;

use crate::Engine;

/// Why the store did not do what it was asked. Cheap to clone, since one failed statement may
/// have served many callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, is full, is overloaded or is closing. A write that fails
    /// so may be tried again; under a request id that is safe even if it had been committed.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// What was missing, for the operator.
        reason: &'static str,
        /// The driver's error, if there was one.
        #[source]
        source: Option<Arc<sqlx::Error>>,
    },
    /// Still in conflict with another transaction after all retries.
    #[error("another transaction changed the same data")]
    Conflict {
        /// The driver's error.
        #[source]
        source: Option<Arc<sqlx::Error>>,
    },
    /// A row with this key is already there.
    #[error("a unique key already exists: {constraint}")]
    UniqueViolation {
        /// The constraint (PostgreSQL) or `table.column` list (SQLite).
        constraint: String,
    },
    /// A value breaks a check of its table.
    #[error("a check failed: {constraint}")]
    CheckViolation {
        /// The constraint's name.
        constraint: String,
    },
    /// A row refers to one that does not exist, or is still referred to.
    #[error("a reference does not hold: {constraint}")]
    ForeignKeyViolation {
        /// The constraint's name; empty on SQLite, which does not tell.
        constraint: String,
    },
    /// The unit took longer than it may.
    #[error("the unit of work took too long")]
    Timeout,
    /// `fetch_one` found nothing.
    #[error("no row where one was expected")]
    NoRow,
    /// The lease was lost, so the work it guarded must not go on.
    #[error("the lease {name} has a new holder")]
    Fenced {
        /// The lease.
        name: String,
    },
    /// The unit panicked; it was rolled back.
    #[error("the unit of work panicked")]
    Panicked,
    /// The code asked for something that the store does not do.
    #[error("the store was used wrongly: {reason}")]
    Misuse {
        /// What was wrong.
        reason: &'static str,
    },
    /// What is stored cannot be read.
    #[error("stored data cannot be read: {reason}")]
    Corrupt {
        /// What was found.
        reason: String,
    },
    /// The store's schema is not one that this program accepts.
    #[error("the schema of the store does not fit this program: {reason}")]
    Schema {
        /// What differs, and what to do.
        reason: String,
    },
    /// A setting is wrong.
    #[error("the database setting is wrong: {reason}")]
    Config {
        /// Which one, and why.
        reason: String,
    },
    /// No such tenant is configured.
    #[error("no tenant is called {tenant}")]
    UnknownTenant {
        /// The name that was asked for.
        tenant: String,
    },
    /// Anything else that the database refused, for the log.
    #[error("the database refused the statement")]
    Database {
        /// The driver's error.
        #[source]
        source: Arc<sqlx::Error>,
    },
}

impl StoreError {
    /// Whether a row with the same key was already there.
    pub const fn is_unique(&self) -> bool {
        matches!(self, Self::UniqueViolation { .. })
    }

    /// Whether the same call may succeed when tried again later.
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. } | Self::Conflict { .. } | Self::Timeout
        )
    }

    /// Stored data that cannot be read as what it should be.
    pub fn corrupt(reason: impl Into<String>) -> Self {
        Self::Corrupt {
            reason: reason.into(),
        }
    }

    pub(crate) const fn unavailable(reason: &'static str) -> Self {
        Self::Unavailable {
            reason,
            source: None,
        }
    }

    pub(crate) fn schema(reason: impl Into<String>) -> Self {
        Self::Schema {
            reason: reason.into(),
        }
    }

    pub(crate) fn config(reason: impl Into<String>) -> Self {
        Self::Config {
            reason: reason.into(),
        }
    }

    /// The driver's error, as what it means.
    pub(crate) fn from_driver(engine: Engine, error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::RowNotFound => Self::NoRow,
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. } => Self::Corrupt {
                reason: error.to_string(),
            },
            sqlx::Error::Encode(_) => Self::Database {
                source: Arc::new(error),
            },
            sqlx::Error::Database(ref database) => {
                let code = database.code().unwrap_or_default().into_owned();
                match engine {
                    Engine::Sqlite => Self::from_sqlite(&code, error),
                    Engine::Postgres => Self::from_postgres(&code, error),
                }
            }
            other => Self::Unavailable {
                reason: "the connection failed",
                source: Some(Arc::new(other)),
            },
        }
    }

    fn from_sqlite(code: &str, error: sqlx::Error) -> Self {
        let extended: i32 = code.parse().unwrap_or(0);
        let constraint = || {
            let message = error
                .as_database_error()
                .map_or("", |error| error.message());
            message
                .split_once(": ")
                .map_or("", |(_, columns)| columns)
                .to_owned()
        };
        match (extended & 0xff, extended) {
            // BUSY, and LOCKED: somebody else holds the file or the table.
            (5 | 6, _) => Self::Conflict {
                source: Some(Arc::new(error)),
            },
            (9, _) => Self::Timeout,
            (10, _) => unavailable("an input or output error", error),
            (13, _) => unavailable("the disk is full", error),
            (8 | 14, _) => unavailable("the file cannot be opened or written", error),
            (11 | 26, _) => Self::Corrupt {
                reason: error.to_string(),
            },
            (_, 2067 | 1555) => Self::UniqueViolation {
                constraint: constraint(),
            },
            (_, 275) => Self::CheckViolation {
                constraint: constraint(),
            },
            (_, 787) => Self::ForeignKeyViolation {
                constraint: constraint(),
            },
            _ => Self::Database {
                source: Arc::new(error),
            },
        }
    }

    fn from_postgres(code: &str, error: sqlx::Error) -> Self {
        let constraint = || {
            let database = error.as_database_error();
            database
                .and_then(|error| error.constraint())
                .unwrap_or_default()
                .to_owned()
        };
        match code {
            "40001" | "40P01" => Self::Conflict {
                source: Some(Arc::new(error)),
            },
            "23505" => Self::UniqueViolation {
                constraint: constraint(),
            },
            "23514" => Self::CheckViolation {
                constraint: constraint(),
            },
            "23503" => Self::ForeignKeyViolation {
                constraint: constraint(),
            },
            "57014" | "55P03" | "25P03" => Self::Timeout,
            "53100" => unavailable("the disk is full", error),
            _ if code.starts_with("08") || code.starts_with("53") || code.starts_with("57P") => {
                unavailable("the server cannot serve", error)
            }
            _ => Self::Database {
                source: Arc::new(error),
            },
        }
    }

    /// Whether the connection that reported this should not be used again.
    pub(crate) fn breaks_connection(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

fn unavailable(reason: &'static str, error: sqlx::Error) -> StoreError {
    StoreError::Unavailable {
        reason,
        source: Some(Arc::new(error)),
    }
}
