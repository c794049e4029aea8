//! Tests on both engines.

use std::sync::Arc;
use std::time::Duration;

use publica_seal::Keyring;
use publica_store::{Db, Migrations, Stores, Tail};
use publica_testkit::{TestDatabase, both_engines, prepare_all};
use publica_types::{Origin, SystemClock, SystemEntropy, Tenant};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Entry, Journal, JournalConfig, JournalTail, append};

mod ledger;
mod log;
mod property;
mod restore;
mod service;

pub(crate) fn migrations() -> Migrations {
    Migrations::new("payments")
        .with(publica_store::MIGRATIONS)
        .with(publica_seal::MIGRATIONS)
        .with(crate::MIGRATIONS)
        .with(publica_work::MIGRATIONS)
}

/// A block's store with its journal, running or not.
pub(crate) struct Bench {
    pub(crate) journal: Journal,
    pub(crate) db: Db,
    pub(crate) stores: Stores,
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Bench {
    pub(crate) async fn new(db: &TestDatabase) -> Self {
        Self::with(db, keyring(), config()).await
    }

    pub(crate) async fn with(db: &TestDatabase, keyring: Keyring, config: JournalConfig) -> Self {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let tail = JournalTail::new("payments", &keyring, clock.clone(), entropy.clone());
        let hook: Arc<dyn Tail> = tail.clone();
        let stores = db.stores_with(migrations(), clock.clone(), hook).await;
        let store = stores.of(&Tenant::default()).await.unwrap();
        let journal = Journal::new(&tail, stores.clone(), clock, entropy, config);
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        Self {
            journal,
            db: store,
            stores,
            stop,
            tracker,
        }
    }

    pub(crate) fn run(&self) {
        let (journal, stop) = (self.journal.clone(), self.stop.clone());
        self.tracker.spawn(async move { journal.run(stop).await });
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        let Self {
            journal,
            db,
            stores,
            ..
        } = self;
        journal.close();
        drop((journal, db));
        stores.close().await;
    }

    /// Commits an entry of a case.
    pub(crate) async fn add(&self, n: usize, process: &str) {
        add(&self.db, n, process).await;
    }
}

pub(crate) async fn add(db: &Db, n: usize, process: &str) {
    let origin = Origin::actor("person:1").in_process(process);
    db.write("test.add", (n, origin), |tx, (n, origin)| {
        let entry = Entry::new("payments.account.opened")
            .subject("account", format!("a-{n}"))
            .body(json!({"n": n}));
        append(tx, origin, entry);
        Box::pin(async { Ok::<(), publica_store::StoreError>(()) })
    })
    .await
    .unwrap();
}

pub(crate) fn keyring() -> Keyring {
    Keyring::ephemeral(Arc::new(SystemEntropy))
}

pub(crate) fn config() -> JournalConfig {
    JournalConfig {
        checkpoint_ms: 20,
        ..JournalConfig::default()
    }
}

both_engines! {
    async fn every_statement_prepares(db: TestDatabase) {
        let db = db.db(migrations()).await;
        for statements in crate::STATEMENTS {
            prepare_all(&db, statements).await;
        }
        for column in crate::sealed::SEALED.iter().flat_map(|purpose| purpose.columns()) {
            prepare_all(&db, &column.statements()).await;
        }
    }

    async fn records_are_durable_when_the_call_returns(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let calls = (0..50).map(|n| {
            let entry = Entry::new("payments.account.read").subject("account", n);
            let journal = bench.journal.clone();
            async move { journal.record(&Origin::actor("clerk:1"), entry).await }
        });
        for done in futures::future::join_all(calls).await {
            done.unwrap();
        }
        assert_eq!(crate::store::log::pending_count(&bench.db).await.unwrap(), 50);
        bench.stop().await;
    }

    async fn a_unit_that_fails_leaves_no_entry(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let failed = bench.db.write("test.fail", (), |tx, ()| {
            append(tx, &Origin::actor("a"), Entry::new("x.y.z"));
            Box::pin(async {
                Err::<(), _>(publica_store::StoreError::Corrupt { reason: "no".into() })
            })
        });
        assert!(failed.await.is_err());
        assert_eq!(crate::store::log::pending_count(&bench.db).await.unwrap(), 0);
        bench.stop().await;
    }

    async fn many_entries_of_one_unit_keep_their_order(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        bench.db.write("test.many", (), |tx, ()| {
            for n in 0..1_203 {
                let origin = Origin::actor("a").in_process("p");
                append(tx, &origin, Entry::new("x.y.z").subject("s", n).body(json!({"n": n})));
            }
            Box::pin(async { Ok::<(), publica_store::StoreError>(()) })
        })
        .await
        .unwrap();
        bench.run();
        bench.journal.catch_up(&Tenant::default()).await.unwrap();
        let all = crate::store::entries::Filter::default();
        let placed =
            crate::store::entries::list(&bench.db, &all, 0, 5_000, 5_000).await.unwrap();
        assert_eq!(placed.len(), 1_203);
        for (n, placed) in placed.iter().enumerate() {
            let entry = placed.entry.as_ref().unwrap();
            assert_eq!(entry.subject_id, n.to_string());
            assert_eq!(entry.leaf_hash(), placed.leaf_hash);
            assert!(entry.body_fits());
        }
        bench.stop().await;
    }
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
