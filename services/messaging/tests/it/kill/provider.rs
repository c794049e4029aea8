//! The same with a provider over HTTP: nothing is lost, and what is handed over twice has the id
//! by which the provider knows a repeat.

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use publica_messaging::SmsConfig;
use publica_proto::messaging::v1 as api;
use publica_testkit::{Database, SmsProvider, eventually};

use super::sms::{RECIPIENTS, accept};
use super::{FINISHED, Order, counters, kill, start};
use crate::support::sum;

const WINDOW: usize = 8;

/// How to call it. It reports nothing, so what it took is delivered.
pub(super) fn settings(url: &str) -> SmsConfig {
    let mut provider = crate::provider::settings(url);
    provider.reports = None;
    provider.window = WINDOW;
    SmsConfig {
        providers: vec![provider],
        ..SmsConfig::default()
    }
}

async fn killed(folder: &Path, database: String, kills: u64) {
    let provider = SmsProvider::start().await;
    let mut order = Order {
        folder: folder.to_owned(),
        database,
        port: 0,
        centre: None,
        provider: Some(provider.url().to_owned()),
        uid: String::new(),
    };
    order.uid = accept(&order).await;
    let total = u64::try_from(RECIPIENTS).unwrap();
    for round in 1..=kills {
        let mut child = start(&order);
        let enough = RECIPIENTS * usize::try_from(round).unwrap() / 3;
        eventually(|| async { (provider.sent().len() >= enough).then_some(()) }).await;
        kill(&mut child);
        let now: api::Counters = counters(&order, &order.uid).await;
        assert_eq!(sum(&now), now.total);
        assert!(now.delivered < now.total, "there was nothing left to kill");
        assert!(usize::try_from(now.delivered).unwrap() <= provider.sent().len());
    }
    let mut child = start(&order);
    let said = child.stdout.take().unwrap();
    let finished = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        lines.any(|line| line.ends_with(FINISHED))
    });
    assert!(finished.await.unwrap(), "the child ended too early");
    kill(&mut child);
    let last = counters(&order, &order.uid).await;
    assert_eq!(u64::try_from(last.delivered).unwrap(), total);
    // Everybody once, by the provider's own count.
    assert_eq!(provider.sent().len(), RECIPIENTS);
    let calls = provider.calls();
    let repeats = calls.values().sum::<usize>() - calls.len();
    assert_eq!(calls.len(), RECIPIENTS);
    assert!(
        repeats <= usize::try_from(kills).unwrap() * WINDOW,
        "{repeats} repeats"
    );
    assert!(
        calls
            .values()
            .all(|count| *count <= 1 + usize::try_from(kills).unwrap())
    );
}

/// The lock of an embedded store proves that earlier processes are dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_on_sqlite() {
    let db = Database::sqlite();
    killed(db.dir(), db.config().url.expose().clone(), 2).await;
}

/// On a server their silence does, after twenty seconds; hence one kill only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_on_postgres() {
    let db = Database::postgres().await;
    killed(db.dir(), db.config().url.expose().clone(), 1).await;
}
