//! One statement with its values, on whichever engine it runs.

use sqlx::Arguments as _;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::sqlite::{SqliteArguments, SqliteConnection};

use crate::connect::SqliteConn;
use crate::pool::Pool;
use crate::value::json_list;
use crate::{Engine, ListItem, Record, Scalar, Sql, StoreError, Value};

/// A statement under construction: bind values in order, then execute or fetch.
#[must_use = "a statement does nothing until it is executed or fetched"]
pub struct Query<'q> {
    sql: Sql,
    arguments: Arguments,
    unsound: Option<sqlx::error::BoxDynError>,
    target: Target<'q>,
}

enum Arguments {
    Sqlite(SqliteArguments),
    Postgres(PgArguments),
}

/// Where the statement runs.
pub(crate) enum Target<'q> {
    /// In a transaction, which a failure poisons.
    SqliteTx(&'q mut SqliteConnection, &'q mut Option<StoreError>),
    /// In a transaction, which a failure poisons.
    PostgresTx(&'q mut PgConnection, &'q mut Option<StoreError>),
    /// On its own.
    SqlitePool(&'q Pool<SqliteConn>),
    /// On its own.
    PostgresPool(&'q Pool<PgConnection>),
}

/// Runs the same call on whichever connection the target gives. The call is written once and
/// compiled once an engine, so that values and rows need no common representation.
macro_rules! run {
    ($query:expr, |$conn:ident, $sql:ident, $values:ident| $call:expr) => {{
        let Query {
            sql,
            arguments,
            unsound,
            target,
        } = $query;
        if let Some(error) = unsound {
            return target.refuse(sqlx::Error::Encode(error));
        }
        match (target, arguments) {
            (Target::SqliteTx(conn, failure), Arguments::Sqlite($values)) => {
                if let Some(error) = failure {
                    return Err(error.clone());
                }
                let ($conn, $sql) = (conn, sql.text(Engine::Sqlite));
                settle(Engine::Sqlite, $call.await, failure)
            }
            (Target::PostgresTx(conn, failure), Arguments::Postgres($values)) => {
                if let Some(error) = failure {
                    return Err(error.clone());
                }
                let ($conn, $sql) = (conn, sql.text(Engine::Postgres));
                settle(Engine::Postgres, $call.await, failure)
            }
            (Target::SqlitePool(pool), Arguments::Sqlite($values)) => {
                let mut held = pool.take().await?;
                let ($conn, $sql) = (&mut held.conn, sql.text(Engine::Sqlite));
                let result = $call.await;
                let result = result.map_err(|e| StoreError::from_driver(Engine::Sqlite, e));
                held.done_after(&result);
                result
            }
            (Target::PostgresPool(pool), Arguments::Postgres($values)) => {
                let mut held = pool.take().await?;
                let ($conn, $sql) = (&mut *held, sql.text(Engine::Postgres));
                let result = $call.await;
                let result = result.map_err(|e| StoreError::from_driver(Engine::Postgres, e));
                held.done_after(&result);
                result
            }
            _ => Err(StoreError::Misuse {
                reason: "values of one engine, target of another",
            }),
        }
    }};
}

impl<'q> Query<'q> {
    pub(crate) fn new(sql: Sql, target: Target<'q>) -> Self {
        let arguments = match target {
            Target::SqliteTx(..) | Target::SqlitePool(_) => {
                Arguments::Sqlite(SqliteArguments::default())
            }
            Target::PostgresTx(..) | Target::PostgresPool(_) => {
                Arguments::Postgres(PgArguments::default())
            }
        };
        Self {
            sql,
            arguments,
            unsound: None,
            target,
        }
    }

    /// Binds the next value.
    pub fn bind<'t, V: Value<'t>>(mut self, value: V) -> Self {
        let added = match &mut self.arguments {
            Arguments::Sqlite(arguments) => arguments.add(value),
            Arguments::Postgres(arguments) => arguments.add(value),
        };
        self.note(added);
        self
    }

    /// Binds a list as the next value: an array for `UNNEST($n)` on PostgreSQL, a JSON array
    /// for `json_each($n)` on SQLite. See [`ListItem`].
    pub fn bind_list<I: ListItem>(mut self, items: &[I]) -> Self {
        let added = match &mut self.arguments {
            Arguments::Sqlite(arguments) => sqlx::Arguments::add(arguments, json_list(items)),
            Arguments::Postgres(arguments) => arguments.add(items),
        };
        self.note(added);
        self
    }

    fn note(&mut self, added: Result<(), sqlx::error::BoxDynError>) {
        if let Err(error) = added {
            self.unsound.get_or_insert(error);
        }
    }

    /// Runs the statement and tells how many rows it changed.
    pub async fn execute(self) -> Result<u64, StoreError> {
        run!(self, |conn, sql, values| async {
            let done = sqlx::query_with(sql, values).execute(conn).await;
            done.map(|done| done.rows_affected())
        })
    }

    /// Fetches the first row, if there is one.
    pub async fn fetch_optional<R: Record>(self) -> Result<Option<R>, StoreError> {
        run!(self, |conn, sql, values| {
            sqlx::query_as_with::<_, R, _>(sql, values).fetch_optional(conn)
        })
    }

    /// Fetches the first row; there must be one.
    pub async fn fetch_one<R: Record>(self) -> Result<R, StoreError> {
        self.fetch_optional().await?.ok_or(StoreError::NoRow)
    }

    /// Fetches all rows. The statement limits their number, not this call.
    pub async fn fetch_all<R: Record>(self) -> Result<Vec<R>, StoreError> {
        run!(self, |conn, sql, values| {
            sqlx::query_as_with::<_, R, _>(sql, values).fetch_all(conn)
        })
    }

    /// Fetches the first column of the first row; there must be one.
    pub async fn fetch_scalar<S: Scalar>(self) -> Result<S, StoreError> {
        self.fetch_scalar_optional().await?.ok_or(StoreError::NoRow)
    }

    /// Fetches the first column of the first row, if there is one.
    pub async fn fetch_scalar_optional<S: Scalar>(self) -> Result<Option<S>, StoreError> {
        let row = run!(self, |conn, sql, values| {
            sqlx::query_as_with::<_, (S,), _>(sql, values).fetch_optional(conn)
        })?;
        Ok(row.map(|(value,)| value))
    }

    /// Fetches the first column of all rows.
    pub async fn fetch_scalars<S: Scalar>(self) -> Result<Vec<S>, StoreError> {
        let rows = run!(self, |conn, sql, values| {
            sqlx::query_as_with::<_, (S,), _>(sql, values).fetch_all(conn)
        })?;
        Ok(rows.into_iter().map(|(value,)| value).collect())
    }
}

impl Target<'_> {
    /// A value that could not be encoded fails the statement before it is sent.
    fn refuse<T>(self, error: sqlx::Error) -> Result<T, StoreError> {
        match self {
            Self::SqliteTx(_, failure) => settle(Engine::Sqlite, Err(error), failure),
            Self::PostgresTx(_, failure) => settle(Engine::Postgres, Err(error), failure),
            Self::SqlitePool(_) => Err(StoreError::from_driver(Engine::Sqlite, error)),
            Self::PostgresPool(_) => Err(StoreError::from_driver(Engine::Postgres, error)),
        }
    }
}

/// Remembers the failure of a statement in its transaction. PostgreSQL has aborted by then;
/// SQLite would carry on, and code that did would pass its tests on one engine only.
fn settle<T>(
    engine: Engine,
    result: Result<T, sqlx::Error>,
    failure: &mut Option<StoreError>,
) -> Result<T, StoreError> {
    result.map_err(|error| {
        // A row that cannot be decoded came from a statement that did run.
        let ran = matches!(
            error,
            sqlx::Error::RowNotFound
                | sqlx::Error::Decode(_)
                | sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::ColumnIndexOutOfBounds { .. }
        );
        let error = StoreError::from_driver(engine, error);
        if !ran {
            failure.get_or_insert_with(|| error.clone());
        }
        error
    })
}
