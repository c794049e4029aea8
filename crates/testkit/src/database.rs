//! A private database for each test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use publica_store::{DatabaseConfig, Db, Engine, Migrations, NoTail, Sql, Stores, Tail};
use publica_types::{SharedClock, SystemClock, Tenant};
use tempfile::TempDir;

use crate::server::{self, Durability};

/// Makes private databases.
#[derive(Debug, Clone, Copy)]
pub struct Database;

/// A private database: its settings, and the folder that goes away with it.
#[derive(Debug)]
pub struct TestDatabase {
    config: DatabaseConfig,
    dir: TempDir,
}

/// Databases made by this process so far.
static MADE: AtomicU32 = AtomicU32::new(0);

impl Database {
    /// An embedded database in a folder of its own.
    pub fn sqlite() -> TestDatabase {
        let dir = TempDir::with_prefix("publica-test-").expect("a temporary folder");
        let config = DatabaseConfig::sqlite(&dir.path().join("store.db"));
        TestDatabase { config, dir }
    }

    /// A database of its own on the private PostgreSQL server of the tests, which is started
    /// if it is not there yet, or on the server in `PUBLICA_TEST_POSTGRES_URL`.
    pub async fn postgres() -> TestDatabase {
        Self::on_server(Durability::None).await
    }

    /// The same on a server that is as careful as one in production, for measurements.
    pub async fn durable_postgres() -> TestDatabase {
        Self::on_server(Durability::Full).await
    }

    async fn on_server(durability: Durability) -> TestDatabase {
        let server = tokio::task::spawn_blocking(move || server::running(durability)).await;
        let server = server.expect("a server");
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        server.create_database(&name).await;
        let mut config = DatabaseConfig::postgres(server.url(&name));
        config.connections = 8;
        config.migrate_on_open = Some(true);
        let dir = TempDir::with_prefix("publica-test-").expect("a temporary folder");
        TestDatabase { config, dir }
    }
}

impl TestDatabase {
    /// Settings that lead to it. Opening a store also migrates it, on both engines.
    pub fn config(&self) -> DatabaseConfig {
        self.config.clone()
    }

    /// The same for a block in production: on PostgreSQL its role owns nothing, and migrations run
    /// as the owner.
    ///
    /// # Panics
    ///
    /// If the server does not make the role.
    pub async fn production_config(&self) -> DatabaseConfig {
        let mut config = self.config();
        if self.engine() == Engine::Postgres {
            let owner = config.url.expose().clone();
            let place = owner.split('?').next().unwrap_or_default();
            let name = place.rsplit('/').next().unwrap_or_default();
            let service = server::make_role(&owner, &format!("service_of_{name}")).await;
            config.url = service.into();
            config.migrate_url = Some(owner.into());
        }
        config
    }

    /// The engine it is on.
    pub fn engine(&self) -> Engine {
        self.config.engine().expect("a URL of a known engine")
    }

    /// A folder that is removed with the database.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Opens its stores with the system's clock and no tail.
    pub async fn stores(&self, migrations: Migrations) -> Stores {
        self.stores_with(migrations, Arc::new(SystemClock), Arc::new(NoTail))
            .await
    }

    /// Opens its stores.
    pub async fn stores_with(
        &self,
        migrations: Migrations,
        clock: SharedClock,
        tail: Arc<dyn Tail>,
    ) -> Stores {
        let opened = Stores::open(self.config(), migrations, clock, tail).await;
        opened.expect("the store of a test opens")
    }

    /// Opens the default tenant's store with the system's clock and no tail.
    pub async fn db(&self, migrations: Migrations) -> Db {
        let stores = self.stores(migrations).await;
        stores
            .of(&Tenant::default())
            .await
            .expect("the default store is open")
    }
}

/// Prepares each statement on the store's engine, and fails with all that it refuses.
pub async fn prepare_all(db: &Db, statements: &[(&str, Sql)]) {
    let mut refused = Vec::new();
    for (name, sql) in statements {
        if let Err(error) = db.prepare(*sql).await {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            refused.push(format!(
                "{name}: {}",
                cause.unwrap_or_else(|| error.to_string())
            ));
        }
    }
    assert!(
        refused.is_empty(),
        "{} refuses:\n{}",
        db.engine(),
        refused.join("\n")
    );
}

/// Turns each test into two, one an engine: `name::sqlite` and `name::postgres`.
///
/// ```ignore
/// both_engines! {
///     async fn opens_an_account(db: TestDatabase) {
///         let db = db.db(migrations()).await;
///         // …
///     }
/// }
/// ```
#[macro_export]
macro_rules! both_engines {
    ($(
        $(#[$meta:meta])*
        async fn $name:ident($db:ident: $type:ty) $body:block
    )+) => {$(
        #[cfg(test)]
        mod $name {
            #[allow(unused_imports, reason = "a test may need nothing from around it")]
            use super::*;

            $(#[$meta])*
            async fn check($db: $crate::TestDatabase) $body

            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                check($crate::Database::sqlite()).await;
            }

            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                check($crate::Database::postgres().await).await;
            }
        }
    )+};
}
