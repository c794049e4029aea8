use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use publica_store::{StoreError, Tx};

use super::property::meddle;
use super::*;
use crate::{Begun, Call, JournalError, fingerprint, intent, write};

/// Any message will do for an answer.
type Answer = prost_types::Duration;

#[derive(Debug, thiserror::Error)]
enum TestError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("refused")]
    Refused,
}

fn request(n: i64) -> Answer {
    Answer {
        seconds: n,
        nanos: 0,
    }
}

fn call<'o>(origin: &'o Origin, id: &str, n: i64) -> Call<'o> {
    Call {
        name: "test.write",
        origin,
        rpc: "/publica.test.v1.Test/Write",
        request_id: Some(id.to_owned()),
        fingerprint: fingerprint(&request(n)),
    }
}

/// What nobody may read in a store's files.
const SECRET: &str = "household of Amara Okafor, account UNION-60515593";

publica_store::statements! {
    ANSWERS = "SELECT answer, sealed_answer FROM request_ledger",
}

/// Answers with the number of effects so far.
async fn effect(bench: &Bench, call: Call<'_>) -> Result<Answer, TestError> {
    let origin = call.origin.clone();
    write(&bench.db, call, origin, |tx, origin| {
        Box::pin(add_one(tx, origin))
    })
    .await
}

async fn add_one(tx: &mut Tx<'_>, origin: &Origin) -> Result<Answer, TestError> {
    append(tx, origin, Entry::new("test.thing.made"));
    let count = tx.now().micros();
    Ok(Answer {
        seconds: count,
        nanos: 7,
    })
}

async fn entries(bench: &Bench) -> i64 {
    crate::store::log::pending_count(&bench.db).await.unwrap()
}

both_engines! {
    async fn a_repeat_gets_the_first_answer(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let origin = Origin::actor("clerk:1");
        let first = effect(&bench, call(&origin, "r1", 1)).await.unwrap();
        let again = effect(&bench, call(&origin, "r1", 1)).await.unwrap();
        assert_eq!(first, again);
        assert_eq!(entries(&bench).await, 1);
        let reused = effect(&bench, call(&origin, "r1", 2)).await;
        assert!(
            matches!(reused, Err(TestError::Journal(JournalError::RequestIdReused { .. }))),
            "{reused:?}"
        );
        // The id belongs to the caller: nobody else gets the answer.
        effect(&bench, call(&Origin::actor("clerk:2"), "r1", 2)).await.unwrap();
        assert_eq!(entries(&bench).await, 2);
        bench.stop().await;
    }

    async fn without_an_id_nothing_is_kept(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let origin = Origin::actor("clerk:1");
        for id in [None, Some(String::new())] {
            let call = Call { request_id: id, ..call(&origin, "", 1) };
            effect(&bench, call).await.unwrap();
        }
        assert_eq!(entries(&bench).await, 2);
        let long = effect(&bench, call(&origin, &"x".repeat(65), 1)).await;
        assert!(matches!(long, Err(TestError::Journal(JournalError::RequestIdInvalid))));
        bench.stop().await;
    }

    async fn concurrent_duplicates_have_one_effect(db: TestDatabase) {
        let bench = Arc::new(Bench::new(&db).await);
        let origin = Origin::actor("clerk:1");
        let calls = (0..24).map(|n| {
            let (bench, origin) = (Arc::clone(&bench), origin.clone());
            async move { effect(&bench, call(&origin, &format!("r{}", n % 3), 1)).await }
        });
        let answers: Vec<Answer> = futures::future::join_all(calls)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        for (n, answer) in answers.iter().enumerate() {
            assert_eq!(*answer, answers[n % 3]);
        }
        assert_eq!(entries(&bench).await, 3);
        Arc::into_inner(bench).unwrap().stop().await;
    }

    async fn a_refusal_is_not_kept(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let origin = Origin::actor("clerk:1");
        let refused: Result<Answer, TestError> =
            write(&bench.db, call(&origin, "r1", 1), (), |_, ()| {
                Box::pin(async { Err(TestError::Refused) })
            })
            .await;
        assert!(matches!(refused, Err(TestError::Refused)));
        effect(&bench, call(&origin, "r1", 1)).await.unwrap();
        assert_eq!(entries(&bench).await, 1);
        // Now the kept answer wins over the refusal.
        let replayed: Result<Answer, TestError> =
            write(&bench.db, call(&origin, "r1", 1), (), |_, ()| {
                Box::pin(async { Err(TestError::Refused) })
            })
            .await;
        assert_eq!(replayed.unwrap().nanos, 7);
        bench.stop().await;
    }

    async fn an_intent_keeps_repeats_out(db: TestDatabase) {
        static DONE: AtomicU32 = AtomicU32::new(0);
        let bench = Bench::new(&db).await;
        let origin = Origin::actor("clerk:1");
        let hold = Duration::from_mins(1);
        let Begun::Fresh(held) =
            intent::<Answer>(&bench.db, call(&origin, "r1", 1), hold).await.unwrap()
        else {
            panic!("nobody was there before");
        };
        let again = intent::<Answer>(&bench.db, call(&origin, "r1", 1), hold).await;
        assert!(matches!(again, Err(JournalError::InProgress { .. })));
        let other = intent::<Answer>(&bench.db, call(&origin, "r1", 2), hold).await;
        assert!(matches!(other, Err(JournalError::RequestIdReused { .. })));
        let written = effect(&bench, call(&origin, "r1", 1)).await;
        assert!(matches!(written, Err(TestError::Journal(JournalError::InProgress { .. }))));
        let done = held
            .complete(&bench.db, origin.clone(), |tx, origin| {
                DONE.fetch_add(1, Ordering::Relaxed);
                Box::pin(add_one(tx, origin))
            })
            .await
            .unwrap();
        let replay = intent::<Answer>(&bench.db, call(&origin, "r1", 1), hold).await.unwrap();
        assert!(matches!(replay, Begun::Done(answer) if answer == done));
        assert_eq!(effect(&bench, call(&origin, "r1", 1)).await.unwrap(), done);
        assert_eq!(entries(&bench).await, 1);
        bench.stop().await;
    }

    async fn an_intent_of_the_dead_is_taken_over(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let origin = Origin::actor("clerk:1");
        let Begun::Fresh(lost) =
            intent::<Answer>(&bench.db, call(&origin, "r1", 1), Duration::ZERO).await.unwrap()
        else {
            panic!("nobody was there before");
        };
        let Begun::Fresh(heir) =
            intent::<Answer>(&bench.db, call(&origin, "r1", 1), Duration::from_mins(1))
                .await
                .unwrap()
        else {
            panic!("the first holder is gone");
        };
        assert_eq!((lost.attempt(), heir.attempt()), (1, 2));
        let late: Result<Answer, TestError> = lost
            .complete(&bench.db, origin.clone(), |tx, origin| Box::pin(add_one(tx, origin)))
            .await;
        assert!(matches!(late, Err(TestError::Journal(JournalError::IntentLost { .. }))));
        assert_eq!(entries(&bench).await, 0);
        heir.abandon(&bench.db).await.unwrap();
        effect(&bench, call(&origin, "r1", 1)).await.unwrap();
        bench.stop().await;
    }

    async fn answers_are_sealed_where_they_lie(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let origin = Origin::actor("clerk:1");
        effect(&bench, call(&origin, "short", 1)).await.unwrap();
        let many = write(&bench.db, call(&origin, "many", 1), origin.clone(), |tx, origin| {
            Box::pin(async move {
                add_one(tx, origin).await?;
                append(tx, origin, Entry::new("test.thing.made"));
                Ok::<_, TestError>(SECRET.to_owned())
            })
        });
        assert_eq!(many.await.unwrap(), SECRET);
        let alone = write(&bench.db, call(&origin, "alone", 1), (), |_, ()| {
            Box::pin(async { Ok::<_, TestError>(SECRET.to_owned()) })
        });
        alone.await.unwrap();
        let hold = Duration::from_mins(1);
        let Begun::Fresh(held) =
            intent::<String>(&bench.db, call(&origin, "held", 1), hold).await.unwrap()
        else {
            panic!("nobody was there before");
        };
        held.complete(&bench.db, (), |_, ()| {
            Box::pin(async { Ok::<_, TestError>(SECRET.to_owned()) })
        })
        .await
        .unwrap();
        let rows: Vec<(Option<Vec<u8>>, Option<Vec<u8>>)> =
            bench.db.query(ANSWERS).fetch_all().await.unwrap();
        assert_eq!(rows.len(), 4);
        for (clear, sealed) in rows {
            assert_eq!(clear, None);
            let sealed = sealed.unwrap();
            assert!(!sealed.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
        }
        for id in ["many", "alone", "held"] {
            let again: Result<String, TestError> =
                write(&bench.db, call(&origin, id, 1), (), |_, ()| {
                    Box::pin(async { Err(TestError::Refused) })
                })
                .await;
            assert_eq!(again.unwrap(), SECRET, "{id}");
        }

        // An answer opens only where it was put.
        meddle(
            &bench,
            "UPDATE request_ledger SET sealed_answer = (SELECT sealed_answer FROM request_ledger \
             WHERE request_id = 'many') WHERE request_id = 'short'",
        )
        .await;
        let moved = effect(&bench, call(&origin, "short", 1)).await;
        assert!(matches!(moved, Err(TestError::Journal(JournalError::Damaged { .. }))));
        bench.stop().await;
    }

    async fn answers_kept_in_clear_are_dropped_but_not_their_requests(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let origin = Origin::actor("clerk:1");
        effect(&bench, call(&origin, "old", 1)).await.unwrap();
        // As the release before kept it.
        meddle(
            &bench,
            "UPDATE request_ledger SET answer = sealed_answer, sealed_answer = NULL",
        )
        .await;
        let migration = include_str!("../../migrations/sqlite/0003_sealed_answers.sql");
        let drop_them = migration.lines().find(|line| line.starts_with("UPDATE")).unwrap();
        assert!(
            include_str!("../../migrations/postgres/0003_sealed_answers.sql").contains(drop_them)
        );
        meddle(&bench, drop_them).await;
        let rows: Vec<(Option<Vec<u8>>, Option<Vec<u8>>)> =
            bench.db.query(ANSWERS).fetch_all().await.unwrap();
        assert_eq!(rows, [(None, None)]);
        let gone = effect(&bench, call(&origin, "old", 1)).await;
        assert!(
            matches!(gone, Err(TestError::Journal(JournalError::AnswerGone { .. }))),
            "{gone:?}"
        );
        let begun = intent::<Answer>(&bench.db, call(&origin, "old", 1), Duration::ZERO).await;
        assert!(matches!(begun, Err(JournalError::AnswerGone { .. })), "{begun:?}");
        assert_eq!(entries(&bench).await, 1, "no second effect");
        bench.stop().await;
    }
}
