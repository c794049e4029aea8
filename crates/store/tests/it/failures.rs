//! A full disk, a second process and a closed store.

use std::sync::Arc;

use publica_store::{Db, Gather, StoreError, Stores};
use publica_testkit::{Database, both_engines, eventually};
use publica_types::{SystemClock, Tenant};
use tokio::task::JoinSet;

use crate::support::{INSERT, LIST, NoteTail, count, migrations, write};

publica_store::statements! {
    THIN_OUT = "DELETE FROM note WHERE note_id % 2 = 0",
}

async fn write_large(db: &Db, id: i64) -> Result<(), StoreError> {
    db.write("tests.large", id, |tx, id| {
        Box::pin(async move {
            let body = "x".repeat(3_000);
            tx.query(INSERT)
                .bind(*id)
                .bind(body)
                .execute()
                .await
                .map(drop)
        })
    })
    .await
}

/// SQLite ends the outer transaction itself when the disk is full. Nothing that was answered
/// well may be missing, nothing refused may be there, and freed space is used again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_acknowledged() {
    let database = Database::sqlite();
    let mut config = database.config();
    config.max_pages = 200;
    let (clock, tail) = (Arc::new(SystemClock), Arc::new(NoteTail));
    let stores = Stores::open(config, migrations(), clock, tail)
        .await
        .unwrap();
    let db = stores.of(&Tenant::default()).await.unwrap();

    let mut calls = JoinSet::new();
    for id in 0..400 {
        let db = db.clone();
        calls.spawn(async move { (id, write_large(&db, id).await) });
    }
    let mut kept = Vec::new();
    for (id, answer) in calls.join_all().await {
        match answer {
            Ok(()) => kept.push(id),
            Err(error) => assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}"),
        }
    }
    kept.sort_unstable();
    assert!(
        !kept.is_empty() && kept.len() < 400,
        "{} fitted",
        kept.len()
    );
    let stored: Vec<(i64, String)> = db.query(LIST).fetch_all().await.unwrap();
    assert_eq!(stored.iter().map(|(id, _)| *id).collect::<Vec<_>>(), kept);

    let thinned = db.write("tests.thin_out", (), |tx, ()| {
        Box::pin(async move { tx.query(THIN_OUT).execute().await })
    });
    assert!(thinned.await.unwrap() > 0);
    write_large(&db, 1_000).await.unwrap();
    assert!(ALL.len() == 1);
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let database = Database::sqlite();
    let first = database.stores(migrations()).await;
    let open = || {
        let (clock, tail) = (Arc::new(SystemClock), Arc::new(NoteTail));
        Stores::open(database.config(), migrations(), clock, tail)
    };
    let error = open().await.unwrap_err();
    assert!(
        error.to_string().contains("in use by another process"),
        "{error}"
    );
    first.close().await;
    open().await.unwrap();
}

both_engines! {
    async fn closing_waits_for_nobody_with_a_handle(database: TestDatabase) {
        let stores = database.stores(migrations()).await;
        let db = stores.of(&Tenant::default()).await.unwrap();
        let gather: Gather<i64, i64> = Gather::reads("tests.double", &db, |_, keys| {
            Box::pin(async move { Ok(keys.iter().map(|key| key * 2).collect()) })
        });
        assert_eq!(gather.ask(1).await.unwrap(), 2);
        stores.close().await;
        let closed = |error: StoreError| matches!(error, StoreError::Unavailable { .. });
        assert!(closed(gather.ask(1).await.unwrap_err()));
        assert!(closed(write(&db, 1).await.unwrap_err()));
        assert!(closed(db.query(LIST).fetch_all::<(i64, String)>().await.unwrap_err()));
        // On SQLite this needs the lock, which must not be held any more.
        assert_eq!(count(&database.db(migrations()).await).await, 0);
    }

    async fn closing_finishes_what_was_accepted(database: TestDatabase) {
        let stores = database.stores(migrations()).await;
        let db = stores.of(&Tenant::default()).await.unwrap();
        let mut calls = JoinSet::new();
        for id in 0..50 {
            let db = db.clone();
            calls.spawn(async move { write(&db, id).await.is_ok() });
        }
        eventually(|| async { (count(&db).await > 0).then_some(()) }).await;
        drop(db);
        let (acknowledged, ()) = tokio::join!(
            async { calls.join_all().await.into_iter().filter(|kept| *kept).count() },
            stores.close(),
        );
        assert!(stores.of(&Tenant::default()).await.is_err());
        let db = database.db(migrations()).await;
        assert!(count(&db).await >= i64::try_from(acknowledged).unwrap());
    }
}
