//! The stores of a block, one a tenant.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use publica_types::{SharedClock, Tenant};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connect::{Driver as _, SqliteConn, postgres_session};
use crate::db::{Backend, Inner as DbInner};
use crate::migrate::{self, Grants};
use crate::pool::Pool;
use crate::postgres::Runner;
use crate::sqlite::{self, WalKeeper};
use crate::writer::{Writer, WriterSetup};
use crate::{DatabaseConfig, Db, Engine, Migrations, StoreError, StoresConfig, Tail};

/// A block's stores. Each opens when it is first asked for and closes when it has been idle.
/// Cheap to clone.
#[derive(Clone)]
pub struct Stores {
    inner: Arc<Inner>,
}

struct Inner {
    config: StoresConfig,
    engine: Engine,
    migrations: Migrations,
    clock: SharedClock,
    tail: Arc<dyn Tail>,
    slots: BTreeMap<Tenant, Slot>,
    stop: CancellationToken,
    tracker: TaskTracker,
}

#[derive(Default)]
struct Slot {
    /// Read at each call, so not behind a lock that can be held across an await.
    open: RwLock<Option<(Db, Instant)>>,
    /// Held while opening or closing.
    change: tokio::sync::Mutex<()>,
}

impl Slot {
    fn get(&self) -> Option<(Db, Instant)> {
        self.open
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, db: Option<(Db, Instant)>) -> Option<(Db, Instant)> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *open, db)
    }
}

impl Stores {
    /// Opens the first tenant's store, to learn at start whether it can be, and gets ready to
    /// open the others.
    pub async fn open(
        config: impl Into<StoresConfig>,
        migrations: Migrations,
        clock: SharedClock,
        tail: Arc<dyn Tail>,
    ) -> Result<Self, StoreError> {
        let config: StoresConfig = config.into();
        let engine = checked(&config)?;
        let slots = config
            .tenants
            .iter()
            .map(|tenant| (tenant.clone(), Slot::default()));
        let inner = Arc::new(Inner {
            engine,
            slots: slots.collect(),
            config,
            migrations,
            clock,
            tail,
            stop: CancellationToken::new(),
            tracker: TaskTracker::new(),
        });
        let stores = Self { inner };
        if let Some(first) = stores.inner.config.tenants.first() {
            stores.of(first).await?;
        }
        stores
            .inner
            .tracker
            .spawn(close_idle(Arc::downgrade(&stores.inner)));
        Ok(stores)
    }

    /// The store of a tenant.
    pub async fn of(&self, tenant: &Tenant) -> Result<Db, StoreError> {
        let unknown = || StoreError::UnknownTenant {
            tenant: tenant.to_string(),
        };
        let slot = self.inner.slots.get(tenant).ok_or_else(unknown)?;
        if let Some((db, _)) = slot.get() {
            return Ok(db);
        }
        let _changing = slot.change.lock().await;
        if let Some((db, _)) = slot.get() {
            return Ok(db);
        }
        if self.inner.stop.is_cancelled() {
            return Err(StoreError::unavailable("the store is closed"));
        }
        // In a box, since every call's future would otherwise have room for it.
        let db = Box::pin(self.inner.open_tenant(tenant)).await?;
        slot.set(Some((db.clone(), Instant::now())));
        Ok(db)
    }

    /// The tenants that have a store.
    pub fn tenants(&self) -> Vec<Tenant> {
        self.inner.slots.keys().cloned().collect()
    }

    /// The engine of these stores.
    pub fn engine(&self) -> Engine {
        self.inner.engine
    }

    /// The block whose stores these are.
    pub fn block(&self) -> &'static str {
        self.inner.migrations.block_name()
    }

    /// Applies what migrations the tenants' stores lack, as their owner; the titles of those
    /// that were applied.
    pub async fn migrate(
        config: impl Into<StoresConfig>,
        migrations: &Migrations,
        clock: &SharedClock,
    ) -> Result<Vec<String>, StoreError> {
        let config: StoresConfig = config.into();
        let engine = checked(&config)?;
        let mut applied = Vec::new();
        for tenant in &config.tenants {
            let titles = match engine {
                Engine::Sqlite => {
                    let mut conn = open_file(&config.database, tenant).await?;
                    let done = migrate::sqlite::run(&mut conn.conn, migrations, clock.now()).await;
                    conn.close().await;
                    done?
                }
                Engine::Postgres => {
                    let place = Place::of(&config.database, migrations, tenant)?;
                    place.migrate(migrations, clock).await?
                }
            };
            applied.extend(titles.into_iter().map(|title| format!("{tenant}: {title}")));
        }
        Ok(applied)
    }

    /// The titles of the migrations that the tenants' stores lack.
    pub async fn pending(
        config: impl Into<StoresConfig>,
        migrations: &Migrations,
    ) -> Result<Vec<String>, StoreError> {
        let config: StoresConfig = config.into();
        let engine = checked(&config)?;
        let mut pending = Vec::new();
        for tenant in &config.tenants {
            let titles = match engine {
                Engine::Sqlite => {
                    let mut conn = open_file(&config.database, tenant).await?;
                    let found = migrate::sqlite::pending(&mut conn.conn, migrations).await;
                    conn.close().await;
                    found?
                }
                Engine::Postgres => {
                    let place = Place::of(&config.database, migrations, tenant)?;
                    let mut conn = PgConnection::open(&place.service).await?;
                    migrate::postgres::pending(&mut conn, migrations).await?
                }
            };
            pending.extend(titles.into_iter().map(|title| format!("{tenant}: {title}")));
        }
        Ok(pending)
    }

    /// Refuses new work, finishes what was accepted and closes every store.
    pub async fn close(&self) {
        self.inner.stop.cancel();
        for slot in self.inner.slots.values() {
            let _changing = slot.change.lock().await;
            if let Some((db, _)) = slot.set(None) {
                db.close().await;
            }
        }
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
    }
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores")
            .field("block", &self.block())
            .field("engine", &self.inner.engine)
            .finish_non_exhaustive()
    }
}

fn checked(config: &StoresConfig) -> Result<Engine, StoreError> {
    let problems = config.database.problems();
    if !problems.is_empty() {
        return Err(StoreError::config(problems.join("; ")));
    }
    if config.tenants.is_empty() {
        return Err(StoreError::config("there must be a tenant"));
    }
    config.database.engine()
}

/// Closes stores that nobody has a handle on and that were last used long ago.
async fn close_idle(stores: Weak<Inner>) {
    let Some((stop, idle)) = stores
        .upgrade()
        .map(|inner| (inner.stop.clone(), inner.config.database.idle_close()))
    else {
        return;
    };
    loop {
        if stop
            .run_until_cancelled(tokio::time::sleep(idle / 2))
            .await
            .is_none()
        {
            return;
        }
        let Some(inner) = stores.upgrade() else {
            return;
        };
        for slot in inner.slots.values() {
            let _changing = slot.change.lock().await;
            slot.close_if_idle(idle).await;
        }
    }
}

impl Slot {
    async fn close_if_idle(&self, idle: std::time::Duration) {
        let taken = {
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            match open.as_mut() {
                Some((db, used)) if !db.is_unused() => {
                    *used = Instant::now();
                    None
                }
                Some((_, used)) if used.elapsed() >= idle => open.take(),
                _ => None,
            }
        };
        if let Some((db, _)) = taken {
            db.close().await;
        }
    }
}

async fn open_file(config: &DatabaseConfig, tenant: &Tenant) -> Result<SqliteConn, StoreError> {
    let path = sqlite::path_of(config, tenant)?;
    let lock = sqlite::prepare(&path)?;
    SqliteConn::open(&sqlite::writer(config, &path, lock)).await
}

impl Inner {
    async fn open_tenant(&self, tenant: &Tenant) -> Result<Db, StoreError> {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let backend = match self.engine {
            Engine::Sqlite => self.open_sqlite(tenant, &tracker, &stop).await?,
            Engine::Postgres => self.open_postgres(tenant, &tracker).await?,
        };
        tracing::info!(block = self.migrations.block_name(), %tenant, engine = %self.engine,
            "opened a store");
        Ok(Db::new(DbInner {
            backend,
            tenant: tenant.clone(),
            clock: Arc::clone(&self.clock),
            tail: Arc::clone(&self.tail),
            unit_timeout: self.config.database.unit_timeout(),
            tracker,
            stop,
        }))
    }

    async fn open_sqlite(
        &self,
        tenant: &Tenant,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Backend, StoreError> {
        let config = &self.config.database;
        let path = sqlite::path_of(config, tenant)?;
        let lock = if self.config.beside {
            sqlite::beside(&path)?
        } else {
            sqlite::prepare(&path)?
        };
        let options = sqlite::writer(config, &path, Arc::clone(&lock));
        let mut conn = SqliteConn::open(&options).await?;
        if config.migrate_on_open.unwrap_or(true) {
            migrate::sqlite::run(&mut conn.conn, &self.migrations, self.clock.now()).await?;
        } else {
            none_pending(migrate::sqlite::pending(&mut conn.conn, &self.migrations).await?)?;
        }
        let setup = WriterSetup {
            options,
            clock: Arc::clone(&self.clock),
            tail: Arc::clone(&self.tail),
            unit_timeout: config.unit_timeout(),
            patience: config.acquire_timeout(),
            wal: WalKeeper::new(&path),
        };
        let writer = Writer::start(conn, setup, stop.clone(), tracker);
        let reads = Pool::new(
            sqlite::reader(&path, Arc::clone(&lock)),
            config.read_connections,
            config.acquire_timeout(),
            tracker.clone(),
        );
        Ok(Backend::Sqlite {
            reads,
            writer,
            lock,
        })
    }

    async fn open_postgres(
        &self,
        tenant: &Tenant,
        tracker: &TaskTracker,
    ) -> Result<Backend, StoreError> {
        let config = &self.config.database;
        let place = Place::of(config, &self.migrations, tenant)?;
        if config.migrate_on_open.unwrap_or(false) {
            place.migrate(&self.migrations, &self.clock).await?;
        }
        let pool = Pool::<PgConnection>::new(
            place.service,
            config.connections,
            config.acquire_timeout(),
            tracker.clone(),
        );
        let mut held = pool.take().await?;
        none_pending(migrate::postgres::pending(&mut held, &self.migrations).await?)?;
        if self.config.guarded {
            migrate::postgres::guarded(&mut held, &self.migrations).await?;
        }
        held.done();
        Ok(Backend::Postgres(Runner {
            pool,
            clock: Arc::clone(&self.clock),
            tail: Arc::clone(&self.tail),
            unit_timeout: config.unit_timeout(),
        }))
    }
}

fn none_pending(pending: Vec<String>) -> Result<(), StoreError> {
    if pending.is_empty() {
        return Ok(());
    }
    Err(StoreError::schema(format!(
        "run `publica migrate` first; not applied: {}",
        pending.join(", ")
    )))
}

/// Where a tenant's store is on a server.
struct Place {
    schema: String,
    service: PgConnectOptions,
    owner: PgConnectOptions,
}

impl Place {
    /// A schema named after the block, so that blocks and tenants can share a database.
    fn of(
        config: &DatabaseConfig,
        migrations: &Migrations,
        tenant: &Tenant,
    ) -> Result<Self, StoreError> {
        let block = migrations.block_name();
        let own_database = config.url.expose().contains("{tenant}");
        let schema = if own_database || *tenant == Tenant::default() {
            block.to_owned()
        } else {
            format!("{block}_{tenant}")
        };
        let options = |url: &str| {
            let parsed = PgConnectOptions::from_str(&url.replace("{tenant}", tenant.as_str()));
            let parsed = parsed.map_err(|_| StoreError::config("not a PostgreSQL URL"))?;
            let parsed = parsed.application_name(&format!("publica-{block}"));
            let parsed = sqlx::ConnectOptions::disable_statement_logging(parsed);
            Ok(postgres_session(parsed, &schema, config.unit_timeout()))
        };
        let service = options(config.url.expose())?;
        let owner = match &config.migrate_url {
            // A migration may take its time.
            Some(url) => options(url.expose())?.options([("statement_timeout", "0")]),
            None => service.clone().options([("statement_timeout", "0")]),
        };
        Ok(Self {
            schema,
            service,
            owner,
        })
    }

    async fn migrate(
        &self,
        migrations: &Migrations,
        clock: &SharedClock,
    ) -> Result<Vec<String>, StoreError> {
        let grants = Grants {
            schema: &self.schema,
            role: self.service.get_username(),
        };
        let mut conn = PgConnection::open(&self.owner).await?;
        let applied = migrate::postgres::run(&mut conn, migrations, &grants, clock.now()).await;
        crate::connect::Driver::close(conn).await;
        applied
    }
}
