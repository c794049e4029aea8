//! SQL, one file an aggregate. Nothing outside this module mentions a table.

pub(crate) mod catalog;
pub(crate) mod document;
pub(crate) mod file;
pub(crate) mod file_list;
pub(crate) mod register;
pub(crate) mod task;
pub(crate) mod task_list;

#[cfg(test)]
mod tests;

#[cfg(test)]
use publica_store::Sql;
use publica_store::{Db, MigrationSet, StoreError, migration_set};

/// The tables of this block.
pub(crate) static MIGRATIONS: MigrationSet =
    migration_set!("./migrations", append_only: ["service_version", "file_event"]);

/// Every statement of this block, for the test that prepares them on both engines.
#[cfg(test)]
pub(crate) const STATEMENTS: &[&[(&str, Sql)]] = &[
    ALL,
    catalog::ALL,
    document::ALL,
    file::ALL,
    file_list::of_all::ALL,
    file_list::of_applicant::ALL,
    file_list::of_service::ALL,
    register::ALL,
    task::ALL,
    task_list::of_all::ALL,
    task_list::of_assignee::ALL,
    task_list::of_file::ALL,
    task_list::of_main::ALL,
    task_list::of_open::ALL,
    task_list::of_roles::ALL,
];

/// A part of a list: so many rows after so many others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) limit: i64,
    pub(crate) offset: i64,
}

impl Window {
    /// Rows are counted so far: beyond it nobody pages, and counting would cost more than the
    /// page itself.
    pub(crate) const COUNTED: i64 = 100_000;
}

/// A count, or -1 where counting stopped.
fn counted(total: i64) -> i64 {
    if total > Window::COUNTED { -1 } else { total }
}

publica_store::statements! {
    PING = "SELECT COUNT(*) FROM service WHERE service_id = ''",
}

/// Whether the store answers and has this block's tables.
pub(crate) async fn ping(db: &Db) -> Result<(), StoreError> {
    db.query(PING).fetch_scalar::<i64>().await.map(drop)
}
