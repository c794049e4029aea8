//! A process that is killed while it writes: nothing acknowledged is missing, nothing is half
//! done. The test starts its own binary again as the victim.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use publica_store::{DatabaseConfig, Db, StoreError, Stores};
use publica_testkit::both_engines;
use publica_types::{SystemClock, Tenant};
use tokio::task::JoinSet;

use crate::support::{ADD, LIST, NoteTail, OPEN, TOTAL, insert, migrations};

/// Tells the victim where its store is.
const VICTIM: &str = "PUBLICA_TEST_VICTIM_URL";
const SIGKILL: i32 = 9;

/// Two statements that only make sense together, and a third through the tail.
async fn write_pair(db: &Db, id: i64) -> Result<(), StoreError> {
    db.write("tests.pair", id, |tx, id| {
        Box::pin(async move {
            insert(tx, *id * 2).await?;
            tx.query(ADD).bind(1_i64).bind(1_i64).execute().await?;
            tx.collect((*id * 2 + 1, "from the tail".to_owned()));
            Ok(())
        })
    })
    .await
}

async fn open(url: &str) -> (Stores, Db) {
    let mut config = DatabaseConfig {
        url: url.into(),
        ..DatabaseConfig::default()
    };
    config.migrate_on_open = Some(true);
    let (clock, tail) = (
        std::sync::Arc::new(SystemClock),
        std::sync::Arc::new(NoteTail),
    );
    let stores = Stores::open(config, migrations(), clock, tail)
        .await
        .unwrap();
    let db = stores.of(&Tenant::default()).await.unwrap();
    (stores, db)
}

/// Does nothing but in the process that is to be killed: writes for ever, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim() {
    let Some(url) = std::env::var_os(VICTIM) else {
        return;
    };
    let (_stores, db) = open(url.to_str().unwrap()).await;
    let mut writers = JoinSet::new();
    for writer in 0..32_i64 {
        let db = db.clone();
        writers.spawn(async move {
            for round in 0.. {
                let id = round * 32 + writer;
                write_pair(&db, id).await.unwrap();
                writeln!(std::io::stdout(), "acknowledged {id}").unwrap();
            }
        });
    }
    writers.join_all().await;
}

both_engines! {
    async fn nothing_acknowledged_is_lost(database: TestDatabase) {
        let url = database.config().url.expose().clone();
        let (stores, db) = open(&url).await;
        let opened = db.write("tests.open", (), |tx, ()| Box::pin(async move {
            tx.query(OPEN).bind(1_i64).execute().await
        }));
        opened.await.unwrap();
        drop(db);
        stores.close().await;
        let place = url.clone();
        let acknowledged = tokio::task::spawn_blocking(move || run_and_kill(&place)).await;
        let acknowledged = acknowledged.unwrap();
        assert!(acknowledged.len() >= 500, "{} acknowledged", acknowledged.len());
        let (_stores, db) = open(&url).await;
        let notes: Vec<(i64, String)> = db.query(LIST).fetch_all().await.unwrap();
        let ids: std::collections::BTreeSet<i64> = notes.iter().map(|(id, _)| *id).collect();
        for id in &acknowledged {
            assert!(ids.contains(&(id * 2)), "acknowledged {id} is missing");
        }
        for id in &ids {
            assert!(ids.contains(&(id ^ 1)), "{id} is half done");
        }
        let total: i64 = db.query(TOTAL).bind(1_i64).fetch_scalar().await.unwrap();
        assert_eq!(usize::try_from(total * 2).unwrap(), ids.len());
    }
}

/// Starts the victim, kills it in the middle of its work and gives what it acknowledged.
fn run_and_kill(url: &str) -> Vec<i64> {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::victim", "--nocapture"])
        .env(VICTIM, url)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    for line in lines.map_while(Result::ok) {
        // The harness may have begun the first line.
        let id = line
            .split_once("acknowledged ")
            .and_then(|(_, id)| id.parse::<i64>().ok());
        acknowledged.extend(id);
        if acknowledged.len() == 500 {
            victim.kill().unwrap();
        }
    }
    let ended = victim.wait().unwrap();
    // Its writers write for ever, so whenever it was killed some of them were at work.
    assert_eq!(ended.signal(), Some(SIGKILL), "the victim ended by itself");
    acknowledged
}
