//! Schemas, tenants and the right to change rows.

use std::fs::File;
use std::str::FromStr as _;
use std::sync::Arc;

use publica_store::{DatabaseConfig, Engine, Migrations, NoTail, StoreError, Stores, StoresConfig};
use publica_testkit::{Database, both_engines, eventually};
use publica_types::{SharedClock, SystemClock, Tenant};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::support::{count, migrations, set, write};

publica_store::statements! {
    ALTER = "UPDATE schema_migration SET checksum = $1 WHERE set_name = 'tests'",
}

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

async fn open(config: impl Into<StoresConfig>, known: Migrations) -> Result<Stores, StoreError> {
    Stores::open(config, known, clock(), Arc::new(NoTail)).await
}

fn tenant(name: &str) -> Tenant {
    name.parse().unwrap()
}

both_engines! {
    async fn a_store_is_migrated_before_use(database: TestDatabase) {
        let mut config = database.config();
        config.migrate_on_open = Some(false);
        let pending = Stores::pending(config.clone(), &migrations()).await.unwrap();
        assert_eq!(pending, ["default: publica-store 0001 lease", "default: tests 0001 note"]);
        let early = open(config.clone(), migrations()).await.unwrap_err();
        assert!(matches!(early, StoreError::Schema { .. }), "{early:?}");
        let applied = Stores::migrate(config.clone(), &migrations(), &clock()).await.unwrap();
        assert_eq!(applied, pending);
        let again = Stores::migrate(config.clone(), &migrations(), &clock()).await.unwrap();
        assert!(again.is_empty(), "{again:?}");
        open(config, migrations()).await.unwrap();
    }

    async fn a_newer_store_is_refused(database: TestDatabase) {
        database.stores(migrations()).await.close().await;
        let known = Migrations::new("sample").with(publica_store::MIGRATIONS);
        let error = open(database.config(), known).await.unwrap_err();
        assert!(error.to_string().contains("unknown to this program"), "{error}");
    }

    async fn an_altered_migration_is_refused(database: TestDatabase) {
        let stores = database.stores(migrations()).await;
        let db = stores.of(&Tenant::default()).await.unwrap();
        let altered = db.write("tests.alter", (), |tx, ()| Box::pin(async move {
            tx.query(ALTER).bind(vec![1_u8]).execute().await
        }));
        assert_eq!(altered.await.unwrap(), 1);
        drop(db);
        stores.close().await;
        let error = open(database.config(), migrations()).await.unwrap_err();
        assert!(error.to_string().contains("applied with another text"), "{error}");
        assert_eq!(ALL.len(), 1);
    }

    async fn tenants_do_not_meet(database: TestDatabase) {
        let tenants = vec![Tenant::default(), tenant("north")];
        let config = StoresConfig::new(database.config(), tenants.clone());
        let stores = open(config, migrations()).await.unwrap();
        assert_eq!(stores.tenants(), tenants);
        let (south, north) =
            (stores.of(&tenants[0]).await.unwrap(), stores.of(&tenants[1]).await.unwrap());
        write(&south, 1).await.unwrap();
        assert_eq!((count(&south).await, count(&north).await), (1, 0));
        let unknown = stores.of(&tenant("east")).await.unwrap_err();
        assert!(matches!(unknown, StoreError::UnknownTenant { .. }), "{unknown:?}");
    }
}

#[tokio::test]
async fn an_idle_store_is_closed_and_opens_again() {
    let database = Database::sqlite();
    let mut config = database.config();
    config.idle_close_seconds = 1;
    let stores = open(config, migrations()).await.unwrap();
    write(&stores.of(&Tenant::default()).await.unwrap(), 1)
        .await
        .unwrap();
    let lock = database.dir().join("store.db.lock");
    eventually(|| async { File::open(&lock).unwrap().try_lock().ok() }).await;
    assert_eq!(
        count(&stores.of(&Tenant::default()).await.unwrap()).await,
        1
    );
}

#[tokio::test]
async fn a_tenant_may_stand_anywhere_in_a_file_name() {
    let database = Database::sqlite();
    let path = database.dir().join("{tenant}").join("sample.db");
    let config = StoresConfig::new(DatabaseConfig::sqlite(&path), vec![tenant("north")]);
    let stores = open(config, migrations()).await.unwrap();
    write(&stores.of(&tenant("north")).await.unwrap(), 1)
        .await
        .unwrap();
    assert!(database.dir().join("north").join("sample.db").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let database = Database::sqlite();
    database.stores(migrations()).await;
    let mode = std::fs::metadata(database.dir().join("store.db"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// The service's role may add to an append-only table, and no more.
#[tokio::test]
async fn the_service_cannot_rewrite_history() {
    publica_store::statements! {
        CHANGE = "UPDATE note SET body = 'forged'",
        REMOVE = "DELETE FROM note",
        FORGET = "DELETE FROM schema_migration",
        CHANGE_TOTAL = "UPDATE total SET amount = 1",
    }
    let database = Database::postgres().await;
    let owner = database.config().url;
    let role = format!("service_{}", std::process::id());
    let options = PgConnectOptions::from_str(owner.expose()).unwrap();
    let mut conn = PgConnection::connect_with(&options).await.unwrap();
    for text in [
        format!("DROP ROLE IF EXISTS {role}"),
        format!("CREATE ROLE {role} LOGIN PASSWORD 'only-here'"),
    ] {
        conn.execute(AssertSqlSafe(text)).await.unwrap();
    }
    let mut config = database.config();
    config.url = owner
        .expose()
        .replacen("//publica", &format!("//{role}:only-here"), 1)
        .into();
    config.migrate_url = Some(owner);
    let stores = open(config, migrations()).await.unwrap();
    let db = stores.of(&Tenant::default()).await.unwrap();
    assert_eq!(db.engine(), Engine::Postgres);
    write(&db, 1).await.unwrap();
    for sql in [CHANGE, REMOVE, FORGET] {
        let refused = db.write("tests.forge", sql, |tx, sql| {
            Box::pin(async move { tx.query(*sql).execute().await })
        });
        let error = refused.await.unwrap_err();
        assert!(matches!(error, StoreError::Database { .. }), "{error:?}");
    }
    db.query(CHANGE_TOTAL).execute().await.unwrap();
    drop(db);
    stores.close().await;
    for text in [format!("DROP OWNED BY {role}"), format!("DROP ROLE {role}")] {
        conn.execute(AssertSqlSafe(text)).await.unwrap();
    }
    assert_eq!((ALL.len(), set_name()), (4, "sample"));
}

fn set_name() -> &'static str {
    Migrations::new("sample").block(set()).block_name()
}
