//! The limit: the same statements through the driver's own pool, with a commit each.

use std::str::FromStr as _;
use std::time::Duration;

use publica_store::Engine;
use publica_testkit::TestDatabase;
use publica_types::{Clock as _, SystemClock, SystemEntropy, new_uuid};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::{ACCOUNTS, BALANCE, FIND, TRANSFER};
use crate::pace::{self, Load, Pace, scatter};

pub(super) const READS: &str = "sqlx's pool";
pub(super) const MUTATIONS: &str = "sqlx's pool, a commit each";

/// The RPC under which answers are kept.
pub(super) const RPC: &str = "/load.v1.TransferService/PostTransfer";

const ENTRY: &str = "INSERT INTO journal (entry_id, time, actor, action, outcome, subject_kind, \
    subject_id, process_id, request_id, body_sha256, body) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

const PENDING: &str = "INSERT INTO journal_pending (entry_id, leaf_hash) VALUES ($1, $2)";

const LEDGER: &str = "INSERT INTO request_ledger (caller, rpc, request_id, fingerprint, \
    sealed_answer, attempt, time) VALUES ($1, $2, $3, $4, $5, 1, $6)";

/// A database, reached without the store.
pub(super) enum Plain {
    Sqlite {
        reads: SqlitePool,
        writes: SqlitePool,
    },
    Postgres(PgPool),
}

/// Runs the statements of a whole mutation in a transaction of `$pool`. Written once, compiled
/// for each engine.
macro_rules! mutate {
    ($pool:expr, $begin:expr, $number:expr) => {{
        let (id, now) = (new_uuid(&SystemClock, &SystemEntropy), SystemClock.now());
        let account = i64::try_from(scatter($number, ACCOUNTS))?;
        let text = id.to_string();
        let hash = [7_u8; 32];
        let mut tx = $pool.begin_with($begin).await?;
        let transfer = sqlx::query(TRANSFER.text(ENGINE))
            .bind(id)
            .bind(account)
            .bind(100_i64);
        transfer.execute(&mut *tx).await?;
        let balance = sqlx::query(BALANCE.text(ENGINE))
            .bind(account)
            .bind(100_i64);
        balance.execute(&mut *tx).await?;
        let entry = sqlx::query(ENTRY).bind(id).bind(now).bind("load");
        let entry = entry
            .bind("load.transfer.posted")
            .bind("done")
            .bind("transfer");
        let entry = entry.bind(&*text).bind("case").bind(&*text).bind(&hash[..]);
        let body = format!("{{\"account\":{account},\"amount_minor\":100}}");
        entry.bind(body.as_bytes()).execute(&mut *tx).await?;
        sqlx::query(PENDING)
            .bind(id)
            .bind(&hash[..])
            .execute(&mut *tx)
            .await?;
        let ledger = sqlx::query(LEDGER)
            .bind("load")
            .bind(RPC)
            .bind(&*text)
            .bind(&hash[..]);
        ledger
            .bind(text.as_bytes())
            .bind(now)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }};
}

impl Plain {
    pub(super) async fn open(database: &TestDatabase) -> anyhow::Result<Self> {
        let config = database.config();
        let url = config.url.expose();
        let patience = Duration::from_mins(1);
        match database.engine() {
            Engine::Sqlite => {
                let options = SqliteConnectOptions::from_str(url)?
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full);
                let options = sqlx::ConnectOptions::disable_statement_logging(options);
                let pool = || SqlitePoolOptions::new().acquire_timeout(patience);
                let reads = pool()
                    .max_connections(4)
                    .connect_with(options.clone())
                    .await?;
                let writes = pool().max_connections(1).connect_with(options).await?;
                Ok(Self::Sqlite { reads, writes })
            }
            Engine::Postgres => {
                let options = PgConnectOptions::from_str(url)?.options([("search_path", "load")]);
                let options = sqlx::ConnectOptions::disable_statement_logging(options);
                let pool = PgPoolOptions::new()
                    .max_connections(16)
                    .acquire_timeout(patience);
                Ok(Self::Postgres(pool.connect_with(options).await?))
            }
        }
    }

    pub(super) async fn reads(&self, load: Load) -> anyhow::Result<Pace> {
        match self {
            Self::Sqlite { reads, .. } => {
                let pool = reads.clone();
                pace::keep(load, move |number| {
                    let pool = pool.clone();
                    async move {
                        let id = i64::try_from(scatter(number, ACCOUNTS))?;
                        let text = FIND.text(Engine::Sqlite);
                        let row = sqlx::query_as::<_, (String, i64)>(text).bind(id);
                        row.fetch_one(&pool).await?;
                        Ok(())
                    }
                })
                .await
            }
            Self::Postgres(pool) => {
                let pool = pool.clone();
                pace::keep(load, move |number| {
                    let pool = pool.clone();
                    async move {
                        let id = i64::try_from(scatter(number, ACCOUNTS))?;
                        let text = FIND.text(Engine::Postgres);
                        let row = sqlx::query_as::<_, (String, i64)>(text).bind(id);
                        row.fetch_one(&pool).await?;
                        Ok(())
                    }
                })
                .await
            }
        }
    }

    pub(super) async fn mutations(&self, load: Load) -> anyhow::Result<Pace> {
        match self {
            Self::Sqlite { writes, .. } => {
                const ENGINE: Engine = Engine::Sqlite;
                let pool = writes.clone();
                pace::keep(load, move |number| {
                    let pool = pool.clone();
                    async move { mutate!(pool, "BEGIN IMMEDIATE", number) }
                })
                .await
            }
            Self::Postgres(pool) => {
                const ENGINE: Engine = Engine::Postgres;
                let pool = pool.clone();
                pace::keep(load, move |number| {
                    let pool = pool.clone();
                    async move { mutate!(pool, "BEGIN", number) }
                })
                .await
            }
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::Sqlite { reads, writes } => {
                reads.close().await;
                writes.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}
