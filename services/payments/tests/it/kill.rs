//! Killed without warning, again and again, while a batch is paid: nobody is paid twice, nothing
//! is lost, and the ledger balances after each kill.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use publica_auth::{Caller, CallerKind, TokenSource};
use publica_host::{Block as _, Env, Profile};
use publica_payments::{Config, Payments};
use publica_proto::payments::v1 as api;
use publica_rpc::{Link, Peers};
use publica_seal::{Keyring, SealConfig};
use publica_store::DatabaseConfig;
use publica_testkit::{Database, TestDatabase, eventually};
use publica_types::{Clock, SharedEntropy, SystemClock, SystemEntropy, Tenant, Timestamp};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::support::{Clients, instruction, tally};

const VARIABLE: &str = "PUBLICA_PAYMENTS_KILL_TEST";
const ROWS: usize = 1_200;
const KILLS: u32 = 8;

/// What the killed process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) folder: PathBuf,
    pub(crate) database: String,
    /// How far its clock is ahead, so that the leases of those before it are over.
    pub(crate) ahead: u64,
}

/// The system's clock, set ahead.
#[derive(Debug)]
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(self.0)
    }
}

impl Order {
    pub(crate) fn config(&self) -> Config {
        let mut config = settings(DatabaseConfig {
            url: self.database.clone().into(),
            migrate_on_open: Some(true),
            ..DatabaseConfig::default()
        });
        config.rail.latency_ms = 3;
        config
    }

    pub(crate) fn env(&self) -> Env {
        let entropy: SharedEntropy = Arc::new(SystemEntropy);
        let clock = Arc::new(Ahead(Duration::from_secs(self.ahead)));
        Env {
            tokens: TokenSource::ephemeral(clock.clone(), entropy.clone()).unwrap(),
            clock,
            keyring: keyring(&self.folder),
            entropy,
            peers: Peers::new(),
            data_dir: self.folder.clone(),
            witness_dir: self.folder.join("witness"),
            profile: Profile::Local,
            tracker: TaskTracker::new(),
            tenants: vec![Tenant::default()],
        }
    }
}

pub(crate) fn settings(database: DatabaseConfig) -> Config {
    let mut config = Config {
        database,
        chunk_rows: 64,
        ..Config::default()
    };
    config.rail.latency_ms = 0;
    config.rail.reject_per_mille = 50;
    config.rail.lose_per_mille = 100;
    config
}

fn keyring(folder: &std::path::Path) -> Keyring {
    let seal = SealConfig {
        file: Some(folder.join("seal.json")),
        create: true,
        ..SealConfig::default()
    };
    Keyring::open(&seal, Arc::new(SystemEntropy)).unwrap()
}

/// The process that is killed: it pays until then. Run by itself it does nothing.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how a test tells its own second process what to do"
)]
fn pays_until_killed() {
    let Ok(order) = std::env::var(VARIABLE) else {
        return;
    };
    let order: Order = serde_json::from_str(&order).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let block = Payments::open(order.config(), &order.env()).await.unwrap();
        std::fs::write(order.folder.join(format!("ready-{}", order.ahead)), "").unwrap();
        block.run(CancellationToken::new()).await;
    });
}

/// A process that works until it is killed.
pub(crate) fn start(order: &Order) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["kill::pays_until_killed", "--exact", "--nocapture"])
        .env(VARIABLE, serde_json::to_string(order).unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The way into a block that does not run, for a caller of this name.
pub(crate) fn link(block: &Payments, subject: &str) -> Link {
    let link = Link::local(block.routes());
    let caller = Caller {
        subject: subject.to_owned(),
        issuer: None,
        client_id: None,
        affiliation: None,
        scopes: std::collections::BTreeSet::new(),
        tenant: Tenant::default(),
        kind: CallerKind::Person,
    };
    let caller = Arc::new(caller);
    Link::carried_by(move |mut request| {
        request.extensions_mut().insert(caller.clone());
        link.clone().call(request)
    })
}

/// Runs and at once stops the block, which lets go of its store.
pub(crate) async fn close(block: Payments) {
    let stop = CancellationToken::new();
    stop.cancel();
    block.run(stop).await;
}

/// Makes a batch and has it approved, with nobody to pay it yet.
async fn prepare(order: &Order) -> String {
    let block = Payments::open(order.config(), &order.env()).await.unwrap();
    let clients = Clients(link(&block, "maker"));
    clients.programme(10_000_000, true).await;
    let addresses: Vec<String> = (0..100).map(|n| format!("4{n:06}7")).collect();
    let all: Vec<(usize, &str)> = addresses
        .iter()
        .enumerate()
        .map(|(n, address)| (n, address.as_str()))
        .collect();
    clients.register("REQUEST00001", &all).await;
    let batch = clients.create_batch("REQUEST00001").await;
    let rows = (0..ROWS).map(|n| instruction(n, n % 100, "1.00")).collect();
    let batch = clients.upload(&batch.batch_id, rows).await.unwrap();
    Clients(link(&block, "approver"))
        .approve(&batch)
        .await
        .unwrap();
    close(block).await;
    batch.batch_id
}

async fn assert_sound(order: &Order) {
    let block = Payments::open(order.config(), &order.env()).await.unwrap();
    Clients(link(&block, "auditor")).assert_balanced().await;
    close(block).await;
}

async fn killed(database: TestDatabase) {
    let mut order = Order {
        folder: database.dir().to_owned(),
        database: database.config().url.expose().clone(),
        ahead: 0,
    };
    let batch_id = prepare(&order).await;
    for kill in 1..=KILLS {
        order.ahead += 60;
        let mut child = start(&order);
        let ready = order.folder.join(format!("ready-{}", order.ahead));
        eventually(|| async { ready.exists().then_some(()) }).await;
        // Kills fall on other steps each time.
        tokio::time::sleep(Duration::from_millis(u64::from(kill) * 9)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_sound(&order).await;
    }
    order.ahead += 60;
    let block = Arc::new(Payments::open(order.config(), &order.env()).await.unwrap());
    let stop = CancellationToken::new();
    let running = TaskTracker::new();
    running.spawn({
        let (block, stop) = (block.clone(), stop.clone());
        async move { block.run(stop).await }
    });
    let clients = Clients(link(&block, "auditor"));
    clients
        .reaches(&batch_id, api::BatchState::PartiallyCompleted)
        .await;
    let report = clients.report(&batch_id).await;
    let (settled, rejected) = (report.settled.unwrap(), report.replaced.unwrap());
    assert_eq!(
        settled.item_count + rejected.item_count,
        i64::try_from(ROWS).unwrap()
    );
    assert!(rejected.item_count > 0);
    assert_eq!(report.vouchers, Some(rejected));
    assert!(report.reconciled, "{:?}", report.differences);
    // What left over the rail is what was settled, to the cent: no message went twice.
    assert_eq!(
        clients.balance("settlement:USD").await,
        settled.amount_minor
    );
    assert_eq!(report.matched_count, settled.item_count);
    assert_eq!(
        clients.balance("funding:FOOD USD").await,
        rejected.amount_minor
    );
    assert_eq!(report.open, tally(0, 0));
    clients.assert_balanced().await;
    stop.cancel();
    running.close();
    running.wait().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_on_sqlite() {
    killed(Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_on_postgres() {
    killed(Database::postgres().await).await;
}
