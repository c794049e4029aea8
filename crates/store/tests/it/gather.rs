//! Calls that share a statement.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use publica_store::{Gather, StoreError};
use publica_testkit::both_engines;
use tokio::task::JoinSet;

use crate::support::{count, open, write};

publica_store::statements! {
    // Neither engine reads the other's lists.
    FIND_MANY = {
        sqlite: "SELECT note_id, body FROM note WHERE note_id IN (SELECT value FROM json_each($1))",
        postgres: "SELECT note_id, body FROM note WHERE note_id IN (SELECT UNNEST($1::BIGINT[]))",
    },
    // As above.
    INSERT_MANY = {
        sqlite: "INSERT INTO note (note_id, body) SELECT value, 'gathered' FROM json_each($1)",
        postgres: "INSERT INTO note (note_id, body) SELECT x, 'gathered' \
            FROM UNNEST($1::BIGINT[]) AS u (x)",
    },
}

both_engines! {
    async fn each_call_gets_its_own_answer(database: TestDatabase) {
        let db = open(&database).await;
        publica_testkit::prepare_all(&db, ALL).await;
        for id in 0..50 {
            write(&db, id).await.unwrap();
        }
        let statements = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&statements);
        let gather: Gather<i64, Option<String>> =
            Gather::reads("tests.find", &db, move |tx, ids| {
                counted.fetch_add(1, Ordering::Relaxed);
                Box::pin(async move {
                    let rows: Vec<(i64, String)> =
                        tx.query(FIND_MANY).bind_list(ids).fetch_all().await?;
                    let found: HashMap<i64, String> = rows.into_iter().collect();
                    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
                })
            });
        let mut calls = JoinSet::new();
        for id in 0..400_i64 {
            let gather = gather.clone();
            calls.spawn(async move { (id, gather.ask(id % 100).await.unwrap()) });
        }
        for (id, body) in calls.join_all().await {
            assert_eq!(body.is_some(), id % 100 < 50, "{id}");
        }
        assert!(statements.load(Ordering::Relaxed) < 400, "no two calls shared a statement");
        // What was committed before the call is seen by it.
        write(&db, 77).await.unwrap();
        assert!(gather.ask(77).await.unwrap().is_some());
    }

    async fn a_failure_reaches_each_caller_and_ends_with_them(database: TestDatabase) {
        let db = open(&database).await;
        let gather: Gather<i64, i64> = Gather::reads("tests.fragile", &db, |_, keys| {
            Box::pin(async move {
                assert!(!keys.contains(&0), "this statement was made to panic");
                // Too few answers are an error of the statement, not of its callers.
                let short = usize::from(keys.contains(&1));
                Ok(keys.iter().skip(short).map(|key| key * 2).collect())
            })
        });
        assert!(matches!(gather.ask(0).await, Err(StoreError::Panicked)));
        assert!(matches!(gather.ask(1).await, Err(StoreError::Misuse { .. })));
        assert_eq!(gather.ask(2).await.unwrap(), 4);
    }

    async fn gathered_writes_are_committed_when_answered(database: TestDatabase) {
        let db = open(&database).await;
        let gather: Gather<i64, ()> = Gather::writes("tests.insert", &db, |tx, ids| {
            Box::pin(async move {
                tx.query(INSERT_MANY).bind_list(ids).execute().await?;
                Ok(vec![(); ids.len()])
            })
        });
        let mut calls = JoinSet::new();
        for id in 0..300_i64 {
            let gather = gather.clone();
            calls.spawn(async move { gather.ask(id).await });
        }
        for answer in calls.join_all().await {
            answer.unwrap();
        }
        assert_eq!(count(&db).await, 300);
        assert!(gather.ask(7).await.unwrap_err().is_unique());
    }
}
