//! A transaction, as a unit of work sees it.

use std::any::Any;

use publica_types::Timestamp;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

use crate::query::Target;
use crate::{Engine, Lease, Query, Sql, StoreError, Tail, TailItem, leases};

/// The transaction of one unit of work. It begins before the unit and ends after it; the unit
/// only uses it.
///
/// After a failed statement every further one fails with the same error, on both engines, and
/// the unit is rolled back whatever it answers. Where a row may already be there, say
/// `ON CONFLICT DO NOTHING` and look at the number of rows.
pub struct Tx<'c> {
    conn: Conn<'c>,
    now: Timestamp,
    failure: Option<StoreError>,
    items: Vec<TailItem>,
    writes: bool,
}

enum Conn<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl<'c> Tx<'c> {
    pub(crate) fn sqlite(conn: &'c mut SqliteConnection, now: Timestamp, writes: bool) -> Self {
        Self {
            conn: Conn::Sqlite(conn),
            now,
            failure: None,
            items: Vec::new(),
            writes,
        }
    }

    pub(crate) fn postgres(conn: &'c mut PgConnection, now: Timestamp, writes: bool) -> Self {
        Self {
            conn: Conn::Postgres(conn),
            now,
            failure: None,
            items: Vec::new(),
            writes,
        }
    }

    /// The engine this runs on.
    pub const fn engine(&self) -> Engine {
        match self.conn {
            Conn::Sqlite(_) => Engine::Sqlite,
            Conn::Postgres(_) => Engine::Postgres,
        }
    }

    /// The time at which this run of the unit began; the same at each call.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Starts a statement.
    pub fn query(&mut self, sql: Sql) -> Query<'_> {
        let failure = &mut self.failure;
        let target = match &mut self.conn {
            Conn::Sqlite(conn) => Target::SqliteTx(conn, failure),
            Conn::Postgres(conn) => Target::PostgresTx(conn, failure),
        };
        Query::new(sql, target)
    }

    /// Leaves an item for the [`Tail`], which writes all of them in the unit's last call.
    pub fn collect<T: Any + Send>(&mut self, item: T) {
        self.items.push(Box::new(item));
    }

    /// How many items were collected so far.
    pub fn collected(&self) -> usize {
        self.items.len()
    }

    /// Makes sure, until this transaction ends, that `lease` still has the holder it was
    /// given to. [`StoreError::Fenced`] if not.
    pub async fn fence(&mut self, lease: &Lease) -> Result<(), StoreError> {
        let held = leases::check(self, lease).await?;
        if held {
            return Ok(());
        }
        let error = StoreError::Fenced {
            name: lease.name().to_owned(),
        };
        // Fencing is of no use to code that overlooks the answer.
        self.failure.get_or_insert_with(|| error.clone());
        Err(error)
    }

    /// Fails the unit whatever it answers.
    pub(crate) fn poison(&mut self, error: StoreError) {
        self.failure.get_or_insert(error);
    }

    /// The failure that poisoned this transaction.
    pub(crate) const fn failure(&self) -> Option<&StoreError> {
        self.failure.as_ref()
    }

    /// Ends a unit that answered well: writes what it collected.
    pub(crate) async fn finish(&mut self, tail: &dyn Tail) -> Result<(), StoreError> {
        if let Some(error) = &self.failure {
            return Err(error.clone());
        }
        let items = std::mem::take(&mut self.items);
        if items.is_empty() {
            return Ok(());
        }
        if !self.writes {
            return Err(StoreError::Misuse {
                reason: "a unit that reads collects nothing",
            });
        }
        tail.flush(self, items).await?;
        match &self.failure {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}
