//! Units of work: kept whole or not at all, whatever happens in them.

use std::sync::Arc;
use std::time::Duration;

use publica_store::{Db, StoreError, Stores};
use publica_testkit::{TestDatabase, both_engines, eventually};
use publica_types::{SystemClock, Tenant};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::support::{
    ADD, COUNT, FIND, INSERT, NoteTail, OPEN, SET, SLOW, SLOW_CHANGE, TOTAL, count, insert,
    migrations, open, write,
};

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("refused by a rule")]
    Rule,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A store whose units may take no more than a fifth of a second.
async fn open_hasty(database: &TestDatabase) -> Db {
    let mut config = database.config();
    config.unit_timeout_ms = 200;
    let (clock, tail) = (Arc::new(SystemClock), Arc::new(NoteTail));
    let stores = Stores::open(config, migrations(), clock, tail)
        .await
        .unwrap();
    stores.of(&Tenant::default()).await.unwrap()
}

both_engines! {
    async fn a_refused_unit_leaves_nothing(database: TestDatabase) {
        let db = open(&database).await;
        write(&db, 1).await.unwrap();
        let refused = db.write("tests.refuse", 2, |tx, id| Box::pin(async move {
            insert(tx, *id).await?;
            Err::<(), _>(Refusal::Rule)
        }));
        assert!(matches!(refused.await, Err(Refusal::Rule)));
        assert_eq!(count(&db).await, 1);
    }

    async fn violations_are_told_apart(database: TestDatabase) {
        publica_store::statements! {
            PAGE = "INSERT INTO page (note_id) VALUES ($1)",
        }
        let db = open(&database).await;
        write(&db, 1).await.unwrap();
        let twice = write(&db, 1).await.unwrap_err();
        assert!(twice.is_unique(), "{twice:?}");
        let negative = write(&db, -1).await.unwrap_err();
        let StoreError::CheckViolation { constraint } = negative else { panic!("{negative:?}") };
        assert_eq!(constraint, "note_id_natural");
        let page = db.write("tests.page", (), |tx, ()| Box::pin(async move {
            tx.query(PAGE).bind(9_i64).execute().await
        }));
        let dangling = page.await.unwrap_err();
        assert!(matches!(dangling, StoreError::ForeignKeyViolation { .. }), "{dangling:?}");
        let missing = db.query(FIND).bind(7_i64).fetch_scalar::<String>().await.unwrap_err();
        assert!(matches!(missing, StoreError::NoRow), "{missing:?}");
        assert_eq!(ALL.len(), 1);
    }

    async fn an_overlooked_failure_still_fails_the_unit(database: TestDatabase) {
        let db = open(&database).await;
        write(&db, 1).await.unwrap();
        let overlooked = db.write("tests.overlook", (), |tx, ()| Box::pin(async move {
            insert(tx, 2).await?;
            assert!(insert(tx, 1).await.is_err());
            let again = insert(tx, 3).await.unwrap_err();
            assert!(again.is_unique(), "the first failure is repeated: {again:?}");
            Ok::<_, StoreError>(())
        }));
        assert!(overlooked.await.unwrap_err().is_unique());
        assert_eq!(count(&db).await, 1);
    }

    async fn a_panic_hurts_nobody_else(database: TestDatabase) {
        let db = open(&database).await;
        let mut calls = JoinSet::new();
        for id in 0..100 {
            let db = db.clone();
            calls.spawn(async move {
                db.write("tests.panic", id, |tx, id| Box::pin(async move {
                    insert(tx, *id).await?;
                    assert!(id % 10 != 0, "this unit was made to panic");
                    Ok::<_, StoreError>(())
                }))
                .await
            });
        }
        let answers = calls.join_all().await;
        let panicked = |answer: &&Result<_, _>| matches!(answer, Err(StoreError::Panicked));
        assert_eq!(answers.iter().filter(panicked).count(), 10);
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 90);
        assert_eq!(count(&db).await, 90);
    }

    async fn a_slow_unit_is_cut_off(database: TestDatabase) {
        let db = open_hasty(&database).await;
        let idle = db.write("tests.idle", (), |tx, ()| Box::pin(async move {
            insert(tx, 1).await?;
            std::future::pending::<()>().await;
            Ok::<_, StoreError>(())
        }));
        let busy = db.write("tests.busy", (), |tx, ()| Box::pin(async move {
            insert(tx, 2).await?;
            tx.query(SLOW).fetch_scalar::<i64>().await
        }));
        let (idle, busy) = tokio::join!(idle, busy);
        assert!(matches!(idle, Err(StoreError::Timeout)), "{idle:?}");
        assert!(busy.as_ref().is_err_and(StoreError::is_retryable), "{busy:?}");
        eventually(|| async { write(&db, 3).await.ok() }).await;
        assert_eq!(count(&db).await, 1);
    }

    async fn a_slow_change_spoils_no_other(database: TestDatabase) {
        let db = open_hasty(&database).await;
        let mut calls = JoinSet::new();
        for id in 0..60_i64 {
            let db = db.clone();
            calls.spawn(async move {
                // Cutting off a change makes SQLite end the transaction of the whole group.
                db.write("tests.slow_change", id, |tx, id| Box::pin(async move {
                    insert(tx, *id).await?;
                    if id % 30 == 7 {
                        tx.query(SLOW_CHANGE).execute().await?;
                    }
                    Ok::<_, StoreError>(())
                }))
                .await
            });
        }
        let answers = calls.join_all().await;
        let cut = answers.iter().filter_map(|answer| answer.as_ref().err());
        assert!(cut.clone().all(StoreError::is_retryable), "{answers:?}");
        assert_eq!(cut.count(), 2);
        assert_eq!(count(&db).await, 58);
    }

    async fn a_caller_who_goes_away_changes_nothing(database: TestDatabase) {
        let db = open(&database).await;
        let entered = Arc::new(Notify::new());
        let input = (Arc::clone(&entered), Arc::new(Notify::new()));
        let leave = Arc::clone(&input.1);
        let mut calls = JoinSet::new();
        let call = calls.spawn({
            let db = db.clone();
            async move {
                db.write("tests.abandoned", input, |tx, (entered, leave)| Box::pin(async move {
                    insert(tx, 1).await?;
                    entered.notify_one();
                    leave.notified().await;
                    insert(tx, 2).await
                }))
                .await
            }
        });
        entered.notified().await;
        call.abort();
        let ended = calls.join_next().await.unwrap();
        assert!(ended.unwrap_err().is_cancelled());
        leave.notify_one();
        eventually(|| async { (count(&db).await == 2).then_some(()) }).await;
    }

    async fn the_tail_is_part_of_its_unit(database: TestDatabase) {
        let db = open(&database).await;
        let told = db.write("tests.collect", 5_i64, |tx, id| Box::pin(async move {
            tx.collect((*id, "from the tail".to_owned()));
            assert_eq!(tx.collected(), 1);
            tx.query(COUNT).fetch_scalar::<i64>().await
        }));
        assert_eq!(told.await.unwrap(), 0, "written last");
        let body: String = db.query(FIND).bind(5_i64).fetch_scalar().await.unwrap();
        assert_eq!(body, "from the tail");
        let failed = db.write("tests.collect", 5_i64, |tx, id| Box::pin(async move {
            insert(tx, 6).await?;
            tx.collect((*id, "again".to_owned()));
            Ok::<_, StoreError>(())
        }));
        assert!(failed.await.unwrap_err().is_unique());
        assert_eq!(count(&db).await, 1);
    }

    async fn concurrent_changes_all_count(database: TestDatabase) {
        let db = open(&database).await.serializable();
        for id in [1_i64, 2] {
            let opened = db.write("tests.open", id, |tx, id| Box::pin(async move {
                tx.query(OPEN).bind(*id).execute().await
            }));
            opened.await.unwrap();
        }
        let mut calls = JoinSet::new();
        for round in 0..6_i64 {
            let db = db.clone();
            calls.spawn(async move {
                // Of those that met, one went through: after six tries nobody is left.
                for _ in 0..6 {
                    // Read, then write what follows from it, in an order that differs.
                    let moved = db.write("tests.move", round, |tx, round| Box::pin(async move {
                        let (from, to) = if round % 3 == 0 { (1_i64, 2_i64) } else { (2, 1) };
                        let held: i64 = tx.query(TOTAL).bind(from).fetch_scalar().await?;
                        tx.query(SET).bind(from).bind(held - 1).execute().await?;
                        tx.query(ADD).bind(to).bind(1_i64).execute().await
                    }));
                    match moved.await {
                        Err(error) if error.is_retryable() => {}
                        moved => return moved,
                    }
                }
                panic!("never went through");
            });
        }
        for moved in calls.join_all().await {
            assert_eq!(moved.unwrap(), 1);
        }
        // Two went one way, four the other; a change that was lost would show.
        for (id, total) in [(1_i64, 2_i64), (2, -2)] {
            let found: i64 = db.query(TOTAL).bind(id).fetch_scalar().await.unwrap();
            assert_eq!(found, total, "account {id}");
        }
    }

    async fn a_read_unit_sees_one_state(database: TestDatabase) {
        let db = open(&database).await;
        let input = db.clone();
        let counts = db.read("tests.look", input, |tx, db| Box::pin(async move {
            let before: i64 = tx.query(COUNT).fetch_scalar().await?;
            write(db, 1).await?;
            let after: i64 = tx.query(COUNT).fetch_scalar().await?;
            Ok::<_, StoreError>((before, after))
        }));
        assert_eq!(counts.await.unwrap(), (0, 0));
        assert_eq!(count(&db).await, 1);
        let wrote = db.read("tests.look", (), |tx, ()| Box::pin(async move {
            insert(tx, 2).await
        }));
        assert!(wrote.await.is_err(), "a read unit cannot write");
        assert_eq!(count(&db).await, 1);
    }

    async fn abandoned_reads_lose_no_connection(database: TestDatabase) {
        let db = open_hasty(&database).await;
        for _ in 0..20 {
            let slow = db.query(SLOW).fetch_scalar::<i64>();
            let cut = tokio::time::timeout(Duration::from_millis(5), slow).await;
            assert!(cut.is_err(), "a slow statement is slow");
        }
        eventually(|| async { db.query(COUNT).fetch_scalar::<i64>().await.ok() }).await;
    }

    async fn the_unit_reads_the_clock_once(database: TestDatabase) {
        let db = open(&database).await;
        let same = db.write("tests.now", (), |tx, ()| Box::pin(async move {
            let before = tx.now();
            tx.query(INSERT).bind(1_i64).bind("x").execute().await?;
            Ok::<_, StoreError>(before == tx.now())
        }));
        assert!(same.await.unwrap());
    }
}

#[tokio::test]
async fn sqlite_refuses_a_write_outside_a_unit() {
    let database = publica_testkit::Database::sqlite();
    let db = open(&database).await;
    let refused = db.query(INSERT).bind(1_i64).bind("x").execute().await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(count(&db).await, 0);
}
