//! SQL text that both engines understand, or a text for each.

use std::fmt;

/// The database engine behind a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Embedded, one file a store.
    Sqlite,
    /// A server, for more than one replica.
    Postgres,
}

impl Engine {
    /// The engine's name in metrics and results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A statement. Values are numbered `$1`, `$2` on both engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sql {
    sqlite: &'static str,
    postgres: &'static str,
}

impl Sql {
    /// One text for both engines.
    pub const fn shared(text: &'static str) -> Self {
        Self {
            sqlite: text,
            postgres: text,
        }
    }

    /// A text for each engine. Say in a comment why one would not do.
    pub const fn split(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { sqlite, postgres }
    }

    /// The text for an engine.
    pub const fn text(self, engine: Engine) -> &'static str {
        match engine {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        }
    }
}

/// Declares statements as constants, and `ALL` with every one of them, so that none escapes
/// the test that prepares them on both engines.
///
/// ```
/// publica_store::statements! {
///     FIND = "SELECT holder FROM account WHERE account_id = $1",
///     // SKIP LOCKED is a syntax error on SQLite.
///     CLAIM = {
///         sqlite: "SELECT job_id FROM job LIMIT $1",
///         postgres: "SELECT job_id FROM job LIMIT $1 FOR UPDATE SKIP LOCKED",
///     },
/// }
/// assert_eq!(ALL.len(), 2);
/// assert_eq!(ALL[0], ("FIND", FIND));
/// ```
#[macro_export]
macro_rules! statements {
    ($($(#[$meta:meta])* $name:ident = $text:tt),+ $(,)?) => {
        $(
            $(#[$meta])*
            pub(crate) const $name: $crate::Sql = $crate::sql_text!($text);
        )+

        /// Every statement declared here, by name.
        pub(crate) const ALL: &[(&str, $crate::Sql)] = &[$((stringify!($name), $name)),+];
        // A crate without the test that reads `ALL` is no dead code.
        const _: &[(&str, $crate::Sql)] = ALL;
    };
}

/// The right-hand side of a statement; see [`statements!`].
#[doc(hidden)]
#[macro_export]
macro_rules! sql_text {
    ({ sqlite: $sqlite:expr, postgres: $postgres:expr $(,)? }) => {
        $crate::Sql::split($sqlite, $postgres)
    };
    ($text:literal) => {
        $crate::Sql::shared($text)
    };
}
