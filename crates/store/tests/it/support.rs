//! A little ledger that the tests write to.

use std::sync::Arc;

use publica_store::{BoxFuture, Db, MigrationSet, Migrations, StoreError, Tail, TailItem, Tx};
use publica_testkit::TestDatabase;
use publica_types::{SystemClock, Tenant};

/// The tables of these tests.
pub(crate) fn set() -> MigrationSet {
    static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("tests/it/migrations/sqlite");
    static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("tests/it/migrations/postgres");
    MigrationSet::new("tests", &SQLITE, &POSTGRES, &["note"])
}

pub(crate) fn migrations() -> Migrations {
    Migrations::new("sample")
        .with(publica_store::MIGRATIONS)
        .block(set())
}

publica_store::statements! {
    INSERT = "INSERT INTO note (note_id, body) VALUES ($1, $2)",
    COUNT = "SELECT COUNT(*) FROM note",
    FIND = "SELECT body FROM note WHERE note_id = $1",
    LIST = "SELECT note_id, body FROM note ORDER BY note_id",
    TOTAL = "SELECT amount FROM total WHERE total_id = $1",
    ADD = "UPDATE total SET amount = amount + $2 WHERE total_id = $1",
    SET = "UPDATE total SET amount = $2 WHERE total_id = $1",
    OPEN = "INSERT INTO total (total_id, amount) VALUES ($1, 0)",
    // PostgreSQL and SQLite each have their own way to be slow.
    SLOW = {
        sqlite: "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n \
            WHERE x < 2000000000) SELECT COUNT(*) FROM n",
        postgres: "SELECT COUNT(*) FROM pg_sleep(60)",
    },
    // As above, in the middle of a change.
    SLOW_CHANGE = {
        sqlite: "INSERT INTO total (total_id, amount) WITH RECURSIVE n (x) AS (SELECT 1 \
            UNION ALL SELECT x + 1 FROM n WHERE x < 2000000000) SELECT x, 0 FROM n",
        postgres: "INSERT INTO total (total_id, amount) SELECT 1, 0 FROM pg_sleep(60)",
    },
}

/// Writes each collected text as a note, as its last call.
pub(crate) struct NoteTail;

impl Tail for NoteTail {
    fn flush<'a>(
        &'a self,
        tx: &'a mut Tx<'_>,
        items: Vec<TailItem>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            for item in items {
                let (id, body) = *item.downcast::<(i64, String)>().expect("a note");
                tx.query(INSERT).bind(id).bind(body).execute().await?;
            }
            Ok(())
        })
    }
}

/// The default tenant's store with the tail of these tests.
pub(crate) async fn open(database: &TestDatabase) -> Db {
    let stores = database
        .stores_with(migrations(), Arc::new(SystemClock), Arc::new(NoteTail))
        .await;
    stores.of(&Tenant::default()).await.unwrap()
}

/// Writes a note and commits it.
pub(crate) async fn write(db: &Db, id: i64) -> Result<(), StoreError> {
    db.write("tests.write", id, |tx, id| {
        Box::pin(async move { insert(tx, *id).await })
    })
    .await
}

pub(crate) async fn insert(tx: &mut Tx<'_>, id: i64) -> Result<(), StoreError> {
    tx.query(INSERT)
        .bind(id)
        .bind("a note")
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn count(db: &Db) -> i64 {
    db.query(COUNT).fetch_scalar().await.unwrap()
}
