//! SQL, one file an aggregate. Nothing outside this module mentions a table.

pub(crate) mod bank;
pub(crate) mod batch;
pub(crate) mod beneficiary;
pub(crate) mod bill;
pub(crate) mod callback;
pub(crate) mod chunk;
mod columns;
pub(crate) mod exception;
pub(crate) mod ledger;
pub(crate) mod outbox;
pub(crate) mod partner;
pub(crate) mod period;
pub(crate) mod programme;
pub(crate) mod rail;
pub(crate) mod reconciliation;
pub(crate) mod request;
pub(crate) mod statement;
pub(crate) mod validation;
pub(crate) mod voucher;

#[cfg(test)]
mod tests;

use publica_store::{Db, MigrationSet, Query, Sql, StoreError, Tx, migration_set};

/// The tables of this block.
pub(crate) static MIGRATIONS: MigrationSet = migration_set!(
    "./migrations",
    append_only: ["transfer", "transfer_resolution", "transfer_effective", "account_movement",
        "period_balance", "period_page", "beneficiary_history"]
);

/// Every statement of this block, for the test that prepares them on both engines.
#[cfg(test)]
pub(crate) const STATEMENTS: &[&[(&str, Sql)]] = &[
    ALL,
    bank::ALL,
    batch::ALL,
    beneficiary::ALL,
    bill::ALL,
    callback::ALL,
    chunk::ALL,
    exception::ALL,
    ledger::ALL,
    outbox::ALL,
    partner::ALL,
    period::ALL,
    programme::ALL,
    rail::ALL,
    reconciliation::ALL,
    request::ALL,
    statement::ALL,
    validation::ALL,
    voucher::ALL,
];

publica_store::statements! {
    PING = "SELECT COUNT(*) FROM voucher_group WHERE name = ''",
}

/// Whether the store answers and has this block's tables.
pub(crate) async fn ping(db: &Db) -> Result<(), StoreError> {
    db.query(PING).fetch_scalar::<i64>().await.map(drop)
}

/// Where a statement may run: in a unit of work, or on its own.
pub(crate) trait Ask: Send {
    /// Starts a statement.
    fn ask(&mut self, sql: Sql) -> Query<'_>;
}

impl Ask for Tx<'_> {
    fn ask(&mut self, sql: Sql) -> Query<'_> {
        self.query(sql)
    }
}

impl Ask for Db {
    fn ask(&mut self, sql: Sql) -> Query<'_> {
        self.query(sql)
    }
}
