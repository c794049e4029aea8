//! The store: a point read and a whole mutation on both engines.
//!
//! A whole mutation is what a block's RPC does: two business statements, a journal entry with
//! its pending row, and the answer in the request ledger. The limit is the same work through
//! the driver's own pool, with a commit each.

mod plain;

use std::sync::Arc;

use publica_journal::{Call, Entry, JournalError, JournalTail};
use publica_seal::Keyring;
use publica_store::{Db, Engine, Gather, MigrationSet, Migrations, StoreError, Stores};
use publica_testkit::{Database, TestDatabase};
use publica_types::{
    Origin, SharedClock, SharedEntropy, SystemClock, SystemEntropy, Tenant, Uuid, new_uuid,
};

use crate::pace::{self, Load, scatter};
use crate::report::Report;

/// What to measure of the store.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only this engine.
    #[arg(long, value_parser = ["sqlite", "postgres"])]
    engine: Option<String>,
}

/// Accounts to read and change.
const ACCOUNTS: u64 = 100_000;

publica_store::statements! {
    // In bulk, once.
    FILL = {
        sqlite: "INSERT INTO load_account (account_id, holder, balance) \
            WITH RECURSIVE n (x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n WHERE x + 1 < $1) \
            SELECT x, 'holder ' || x, 0 FROM n",
        postgres: "INSERT INTO load_account (account_id, holder, balance) \
            SELECT x, 'holder ' || x, 0 FROM generate_series(0, $1::BIGINT - 1) AS n (x)",
    },
    FIND = "SELECT holder, balance FROM load_account WHERE account_id = $1",
    // Neither engine reads the other's lists.
    FIND_MANY = {
        sqlite: "SELECT a.holder, a.balance FROM json_each($1) AS k \
            LEFT JOIN load_account a ON a.account_id = k.value ORDER BY k.key",
        postgres: "SELECT a.holder, a.balance FROM UNNEST($1::BIGINT[]) \
            WITH ORDINALITY AS k (account_id, position) \
            LEFT JOIN load_account a ON a.account_id = k.account_id ORDER BY k.position",
    },
    TRANSFER = "INSERT INTO load_transfer (transfer_id, account_id, amount) VALUES ($1, $2, $3)",
    BALANCE = "UPDATE load_account SET balance = balance + $2 WHERE account_id = $1",
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

fn migrations() -> Migrations {
    static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("load/migrations/sqlite");
    static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("load/migrations/postgres");
    Migrations::new("load")
        .with(publica_store::MIGRATIONS)
        .with(publica_journal::MIGRATIONS)
        .block(MigrationSet::new("load", &SQLITE, &POSTGRES, &[]))
}

/// Measures both engines, or one.
pub(crate) async fn measure(
    arguments: &Arguments,
    load: Load,
    report: &mut Report,
) -> anyhow::Result<()> {
    let wanted = |engine: Engine| {
        arguments
            .engine
            .as_deref()
            .is_none_or(|wanted| wanted == engine.as_str())
    };
    if wanted(Engine::Sqlite) {
        measure_engine(&Database::sqlite(), load, report).await?;
    }
    if wanted(Engine::Postgres) {
        measure_engine(&Database::durable_postgres().await, load, report).await?;
    }
    Ok(())
}

async fn measure_engine(
    database: &TestDatabase,
    load: Load,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (stores, db) = open(database).await?;
    let engine = db.engine().as_str();
    fill(&db, ACCOUNTS).await?;

    let plain = plain::Plain::open(database).await?;
    let limit = plain.reads(load).await?;
    report.add(
        "store-read",
        engine,
        reads(&db, load).await?,
        plain::READS,
        limit.rate,
    )?;
    let gathered = gathered_reads(&db, load).await?;
    report.add(
        "store-read-gathered",
        engine,
        gathered,
        plain::READS,
        limit.rate,
    )?;
    let ours = mutations(&db, load).await?;
    drop(db);
    // The file has one writer at a time, so the limit is measured while ours is closed.
    stores.close().await;
    let limit = plain.mutations(load).await?;
    report.add("store-mutation", engine, ours, plain::MUTATIONS, limit.rate)?;
    plain.close().await;
    Ok(())
}

async fn open(database: &TestDatabase) -> anyhow::Result<(Stores, Db)> {
    let clock: SharedClock = Arc::new(SystemClock);
    let entropy: SharedEntropy = Arc::new(SystemEntropy);
    let keyring = Keyring::ephemeral(Arc::clone(&entropy));
    let tail = JournalTail::new("load", &keyring, Arc::clone(&clock), entropy);
    let mut config = database.config();
    config.connections = 16;
    config.unit_timeout_ms = 60_000;
    let stores = Stores::open(config, migrations(), clock, tail).await?;
    let db = stores.of(&Tenant::default()).await?;
    Ok((stores, db))
}

async fn fill(db: &Db, accounts: u64) -> anyhow::Result<()> {
    let accounts = i64::try_from(accounts)?;
    db.write("load.fill", accounts, |tx, accounts| {
        Box::pin(async move { tx.query(FILL).bind(*accounts).execute().await })
    })
    .await?;
    Ok(())
}

/// The limit of single writes: whole mutations with a commit each, through the driver's own pool.
pub(crate) const COMMITS: &str = plain::MUTATIONS;

/// [`COMMITS`] a second, in a database of its own.
pub(crate) async fn commits(load: Load) -> anyhow::Result<f64> {
    let database = Database::sqlite();
    let (stores, db) = open(&database).await?;
    fill(&db, ACCOUNTS).await?;
    drop(db);
    stores.close().await;
    let plain = plain::Plain::open(&database).await?;
    let pace = plain.mutations(load).await?;
    plain.close().await;
    Ok(pace.rate)
}

/// The limit of work in bulk: rows that the engine makes itself, inserted by one statement.
pub(crate) const ROWS: &str = "as many rows in one statement";

/// [`ROWS`] a second, in a database of its own.
pub(crate) async fn rows(engine: Engine, count: u32) -> anyhow::Result<f64> {
    let database = match engine {
        Engine::Sqlite => Database::sqlite(),
        Engine::Postgres => Database::durable_postgres().await,
    };
    let (stores, db) = open(&database).await?;
    let began = tokio::time::Instant::now();
    fill(&db, u64::from(count)).await?;
    let took = began.elapsed();
    drop(db);
    stores.close().await;
    Ok(f64::from(count) / took.as_secs_f64())
}

async fn reads(db: &Db, load: Load) -> anyhow::Result<pace::Pace> {
    let db = db.clone();
    pace::keep(load, move |number| {
        let db = db.clone();
        async move {
            let id = i64::try_from(scatter(number, ACCOUNTS))?;
            let found = db
                .query(FIND)
                .bind(id)
                .fetch_optional::<(String, i64)>()
                .await?;
            anyhow::ensure!(found.is_some(), "account {id} is missing");
            Ok(())
        }
    })
    .await
}

async fn gathered_reads(db: &Db, load: Load) -> anyhow::Result<pace::Pace> {
    type Row = (Option<String>, Option<i64>);
    let gather: Gather<i64, Row> = Gather::reads("load.find", db, |tx, ids| {
        Box::pin(async move { tx.query(FIND_MANY).bind_list(ids).fetch_all::<Row>().await })
    });
    pace::keep(load, move |number| {
        let gather = gather.clone();
        async move {
            let id = i64::try_from(scatter(number, ACCOUNTS))?;
            let found = gather.ask(id).await?;
            anyhow::ensure!(found.0.is_some(), "account {id} is missing");
            Ok(())
        }
    })
    .await
}

/// What a mutation is given.
struct Transfer {
    id: Uuid,
    account: i64,
    origin: Origin,
}

async fn mutations(db: &Db, load: Load) -> anyhow::Result<pace::Pace> {
    let db = db.clone();
    pace::keep(load, move |number| {
        let db = db.clone();
        async move { mutate(&db, number).await }
    })
    .await
}

async fn mutate(db: &Db, number: u64) -> anyhow::Result<()> {
    let id = new_uuid(&SystemClock, &SystemEntropy);
    let mut origin = Origin::actor("load").in_process("case");
    origin.request_id = Some(id.to_string());
    let call = Call {
        name: "load.transfer",
        origin: &origin,
        rpc: plain::RPC,
        request_id: origin.request_id.clone(),
        fingerprint: publica_journal::fingerprint(&id.to_string()),
    };
    let account = i64::try_from(scatter(number, ACCOUNTS))?;
    let transfer = Transfer {
        id,
        account,
        origin: origin.clone(),
    };
    let answer =
        publica_journal::write::<_, String, Failure, _>(db, call, transfer, |tx, given| {
            Box::pin(async move {
                let row = tx
                    .query(TRANSFER)
                    .bind(given.id)
                    .bind(given.account)
                    .bind(100_i64);
                row.execute().await?;
                tx.query(BALANCE)
                    .bind(given.account)
                    .bind(100_i64)
                    .execute()
                    .await?;
                let id = given.id.to_string();
                let entry = Entry::new("load.transfer.posted")
                    .subject("transfer", &id)
                    .body(serde_json::json!({ "amount_minor": 100, "account": given.account }));
                publica_journal::append(tx, &given.origin, entry);
                Ok(id)
            })
        });
    answer.await?;
    Ok(())
}
