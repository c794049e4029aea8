//! Tests on both engines.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use publica_store::{Db, Migrations, StoreError, Stores};
use publica_testkit::{TestDatabase, both_engines, eventually, prepare_all};
use publica_types::{Origin, SystemClock, SystemEntropy, Tenant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use publica_work::{
    Backoff, Claimed, Handler, Job, Outcome, Policy, Worker, enqueue, enqueue_ordered, operator,
};

mod sagas;

fn migrations() -> Migrations {
    Migrations::new("test")
        .with(publica_store::MIGRATIONS)
        .with(publica_work::MIGRATIONS)
}

/// A store and whatever works on it.
struct Bench {
    db: Db,
    stores: Stores,
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Bench {
    async fn new(db: &TestDatabase) -> Self {
        let stores = db.stores(migrations()).await;
        let db = stores.of(&Tenant::default()).await.unwrap();
        Self {
            db,
            stores,
            stop: CancellationToken::new(),
            tracker: TaskTracker::new(),
        }
    }

    fn worker(&self) -> Worker {
        Worker::new(
            self.stores.clone(),
            Arc::new(SystemClock),
            Arc::new(SystemEntropy),
        )
    }

    fn run(&self, worker: Worker) {
        self.tracker.spawn(worker.run(self.stop.clone()));
    }

    async fn enqueue(&self, jobs: Vec<Job>) -> Vec<bool> {
        self.db
            .write("test.enqueue", jobs, |tx, jobs| {
                Box::pin(async move {
                    let mut new = Vec::new();
                    for job in jobs {
                        new.push(enqueue(tx, &Origin::actor("a"), job.clone()).await?);
                    }
                    Ok::<_, StoreError>(new)
                })
            })
            .await
            .unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        drop(self.db);
        self.stores.close().await;
    }
}

/// Tells what it was given, and answers with outcomes in turn, then with `Done`.
struct Script {
    seen: mpsc::UnboundedSender<(String, i64)>,
    outcomes: Mutex<std::vec::IntoIter<Outcome>>,
}

impl Script {
    fn new(outcomes: Vec<Outcome>) -> (Self, mpsc::UnboundedReceiver<(String, i64)>) {
        let (seen, receiver) = mpsc::unbounded_channel();
        (
            Self {
                seen,
                outcomes: Mutex::new(outcomes.into_iter()),
            },
            receiver,
        )
    }
}

impl Handler for Script {
    async fn run(&self, job: Claimed) -> Outcome {
        let _ = self.seen.send((job.key.clone(), job.attempt));
        self.outcomes
            .lock()
            .unwrap()
            .next()
            .unwrap_or(Outcome::Done)
    }
}

async fn next(receiver: &mut mpsc::UnboundedReceiver<(String, i64)>) -> (String, i64) {
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, receiver.recv())
        .await
        .unwrap()
        .unwrap()
}

async fn queue_is_empty(db: &Db) {
    eventually(|| async {
        operator::jobs(db, Uuid::nil(), "", 10)
            .await
            .unwrap()
            .is_empty()
            .then_some(())
    })
    .await;
}

fn quick() -> Policy {
    let backoff = Backoff {
        first: Duration::from_millis(2),
        longest: Duration::from_millis(4),
    };
    Policy {
        backoff,
        attempts: 3,
        concurrency: 1,
        ..Policy::default()
    }
}

both_engines! {
    async fn every_statement_prepares(db: TestDatabase) {
        let db = db.db(migrations()).await;
        for statements in publica_work::STATEMENTS {
            prepare_all(&db, statements).await;
        }
    }

    async fn jobs_run_once_enqueued(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let (script, mut seen) = Script::new(Vec::new());
        bench.run(bench.worker().on("test.run", script));
        for n in 0..20 {
            let job = Job::new("test.run", format!("k{n}"), vec![n]);
            assert_eq!(bench.enqueue(vec![job]).await, [true]);
        }
        let mut keys = Vec::new();
        for _ in 0..20 {
            keys.push(next(&mut seen).await.0);
        }
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 20);
        queue_is_empty(&bench.db).await;
        assert!(seen.try_recv().is_err(), "each ran once");
        bench.stop().await;
    }

    async fn one_key_is_one_job(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let job = Job::new("test.key", "k", Vec::new());
        assert_eq!(bench.enqueue(vec![job.clone(), job.clone()]).await, [true, false]);
        let (script, mut seen) = Script::new(Vec::new());
        bench.run(bench.worker().on("test.key", script));
        next(&mut seen).await;
        queue_is_empty(&bench.db).await;
        assert_eq!(bench.enqueue(vec![job]).await, [true]);
        next(&mut seen).await;
        bench.stop().await;
    }

    async fn failures_are_retried_and_then_set_aside(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let failures = ["one", "two", "three"].map(Outcome::retry);
        let (script, mut seen) = Script::new(failures.to_vec());
        bench.run(bench.worker().on_with("test.fail", script, quick()));
        bench.enqueue(vec![Job::new("test.fail", "k", Vec::new())]).await;
        for attempt in 1..=3 {
            assert_eq!(next(&mut seen).await, ("k".to_owned(), attempt));
        }
        let db = &bench.db;
        let dead = eventually(|| async move {
            operator::dead_jobs(db, Uuid::nil(), "", 10).await.unwrap().pop()
        })
        .await;
        assert!(dead.last_error.unwrap().contains("after 3 attempts: three"));
        queue_is_empty(db).await;
        let redriven = bench.db.write("test.redrive", dead.job_id, |tx, id| {
            Box::pin(async move { operator::redrive(tx, *id).await })
        });
        assert_eq!(redriven.await.unwrap().attempts, 0);
        assert_eq!(next(&mut seen).await, ("k".to_owned(), 1));
        queue_is_empty(&bench.db).await;
        bench.stop().await;
    }

    async fn smaller_lanes_go_first(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        let job = |n: i16| Job::new("test.lane", format!("lane{n}"), Vec::new()).lane(n);
        bench.enqueue(vec![job(3), job(1), job(2), job(0)]).await;
        let (script, mut seen) = Script::new(Vec::new());
        bench.run(bench.worker().on_with("test.lane", script, quick()));
        for lane in 0..4 {
            assert_eq!(next(&mut seen).await.0, format!("lane{lane}"));
        }
        bench.stop().await;
    }

    async fn ordered_jobs_wait_for_each_other(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        bench.db.write("test.ordered", (), |tx, ()| {
            Box::pin(async move {
                for n in [2_i64, 0, 1] {
                    let job = Job::new("test.order", format!("k{n}"), Vec::new());
                    enqueue_ordered(tx, &Origin::actor("a"), job, "subject", n).await?;
                }
                Ok::<_, StoreError>(())
            })
        })
        .await
        .unwrap();
        let (script, mut seen) = Script::new(vec![Outcome::retry("once more")]);
        let policy = Policy { concurrency: 8, ..quick() };
        bench.run(bench.worker().on_with("test.order", script, policy));
        let mut keys = Vec::new();
        for _ in 0..4 {
            keys.push(next(&mut seen).await.0);
        }
        assert_eq!(keys, ["k0", "k0", "k1", "k2"]);
        bench.stop().await;
    }

    async fn a_silent_worker_loses_its_job(db: TestDatabase) {
        struct Silent(mpsc::UnboundedSender<Claimed>);

        impl Handler for Silent {
            async fn run(&self, job: Claimed) -> Outcome {
                let _ = self.0.send(job);
                Outcome::Again { after: Duration::ZERO }
            }
        }

        let bench = Bench::new(&db).await;
        let (sender, mut claimed) = mpsc::unbounded_channel();
        bench.enqueue(vec![Job::new("test.silent", "k", Vec::new())]).await;
        bench.run(bench.worker().on_with("test.silent", Silent(sender), quick()));
        let patience = Duration::from_secs(20);
        let first = tokio::time::timeout(patience, claimed.recv()).await.unwrap().unwrap();
        let second = tokio::time::timeout(patience, claimed.recv()).await.unwrap().unwrap();
        assert_ne!(first.ticket(), second.ticket());
        let late = bench.db.write("test.late", first.ticket(), |tx, ticket| {
            Box::pin(async move { ticket.finish(tx).await })
        });
        assert!(matches!(late.await, Err(StoreError::Fenced { .. })));
        // Claimed jobs hold the store, which waits for them when it closes.
        drop((first, second, claimed));
        bench.stop().await;
    }

    async fn a_job_asked_for_while_it_runs_runs_once_more(db: TestDatabase) {
        struct Asking(mpsc::UnboundedSender<(String, i64)>);

        impl Handler for Asking {
            async fn run(&self, job: Claimed) -> Outcome {
                let _ = self.0.send((job.key.clone(), job.attempt));
                if job.payload == b"ask" && job.attempt == 1 {
                    let again = Job::new("test.again", "k", b"ask".to_vec());
                    let asked = job.db.write("test.again", again, |tx, again| {
                        Box::pin(async move {
                            enqueue(tx, &Origin::actor("a"), again.clone()).await
                        })
                    });
                    assert!(!asked.await.unwrap());
                }
                Outcome::Done
            }
        }

        let bench = Bench::new(&db).await;
        let (sender, mut seen) = mpsc::unbounded_channel();
        bench.run(bench.worker().on("test.again", Asking(sender)));
        bench.enqueue(vec![Job::new("test.again", "k", b"ask".to_vec())]).await;
        next(&mut seen).await;
        next(&mut seen).await;
        bench.stop().await;
    }

    async fn a_panic_is_a_failure_like_others(db: TestDatabase) {
        struct Panicking(Mutex<u32>, mpsc::UnboundedSender<(String, i64)>);

        impl Handler for Panicking {
            async fn run(&self, job: Claimed) -> Outcome {
                let _ = self.1.send((job.key.clone(), job.attempt));
                let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                *count += 1;
                assert!(*count > 1, "the first attempt fails");
                Outcome::Done
            }
        }

        let bench = Bench::new(&db).await;
        let (sender, mut seen) = mpsc::unbounded_channel();
        let handler = Panicking(Mutex::new(0), sender);
        bench.run(bench.worker().on_with("test.panic", handler, quick()));
        bench.enqueue(vec![Job::new("test.panic", "k", Vec::new())]).await;
        assert_eq!(next(&mut seen).await.1, 1);
        assert_eq!(next(&mut seen).await.1, 2);
        queue_is_empty(&bench.db).await;
        bench.stop().await;
    }
}
