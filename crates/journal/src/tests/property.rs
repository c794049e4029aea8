//! Random concurrent appends while sequencers are cut off between and within their steps: no
//! committed entry is skipped, no proof fails, and whatever is changed afterwards is found.

use std::sync::Mutex;

use publica_store::Sql;
use publica_testkit::SeededEntropy;
use publica_types::Entropy;

use super::*;
use crate::export::{self, Writer};
use crate::sequencer::Sequencer;
use crate::store::entries::{self, Filter};
use crate::store::log as sql;
use crate::verify::{self, Kind, Report};

fn below(entropy: &dyn Entropy, limit: u64) -> u64 {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    u64::from_be_bytes(bytes) % limit
}

/// Leases that end at once, so that sequencers take over from each other all the time.
fn impatient() -> JournalConfig {
    JournalConfig {
        lease_seconds: 0,
        checkpoint_ms: 1,
        ..JournalConfig::default()
    }
}

/// A sequencer that is dropped in the middle of steps and begun anew.
async fn crashing(bench: &Bench, seed: u64, stop: &CancellationToken) {
    let entropy = SeededEntropy::new(seed);
    while !stop.is_cancelled() {
        let mut sequencer = Sequencer::new(bench.db.clone(), format!("s{seed}"));
        for _ in 0..below(&entropy, 6) {
            let patience = Duration::from_micros(below(&entropy, 8_000));
            let keeper = bench.journal.keeper();
            // An error is a lease or a position lost to the other sequencer.
            let _ = tokio::time::timeout(patience, sequencer.step(&keeper, true)).await;
        }
    }
}

async fn appending(bench: &Bench, seed: u64, acknowledged: &Mutex<Vec<String>>) {
    let entropy = SeededEntropy::new(seed);
    for round in 0..25 {
        let count = below(&entropy, 4) + 1;
        let input = (seed, round, count);
        let subjects = bench
            .db
            .write("test.append", input, |tx, (seed, round, count)| {
                let mut subjects = Vec::new();
                for n in 0..*count {
                    let subject = format!("{seed}-{round}-{n}");
                    let origin = Origin::actor("a").in_process(format!("p{}", seed % 3));
                    append(tx, &origin, Entry::new("x.y.z").subject("s", &subject));
                    subjects.push(subject);
                }
                Box::pin(async { Ok::<_, publica_store::StoreError>(subjects) })
            });
        let subjects = subjects.await.unwrap();
        acknowledged.lock().unwrap().extend(subjects);
    }
}

async fn exported(bench: &Bench) -> Report {
    let mut writer = Writer::new(Vec::new(), None).unwrap();
    export::complete(&bench.journal, &bench.db, &mut writer)
        .await
        .unwrap();
    verify::trail(writer.finish().unwrap().as_slice()).unwrap()
}

async fn exported_case(bench: &Bench, process: &str) -> Report {
    let mut writer = Writer::new(Vec::new(), Some(process)).unwrap();
    export::process(&bench.journal, &bench.db, process, &mut writer)
        .await
        .unwrap();
    verify::trail(writer.finish().unwrap().as_slice()).unwrap()
}

/// Changes the store behind the journal's back.
async fn meddle(bench: &Bench, sql: &'static str) {
    bench
        .db
        .write("test.meddle", sql, |tx, sql| {
            let sql = Sql::shared(sql);
            Box::pin(async move { tx.query(sql).execute().await })
        })
        .await
        .unwrap();
}

async fn check_intact(bench: &Bench, acknowledged: &[String]) {
    let placed = entries::list(&bench.db, &Filter::default(), 0, i64::MAX, 100_000)
        .await
        .unwrap();
    let mut subjects: Vec<String> = placed
        .iter()
        .zip(0_i64..)
        .map(|(placed, n)| {
            assert_eq!(placed.position, n, "positions have no gap");
            placed.entry.as_ref().unwrap().subject_id.clone()
        })
        .collect();
    let mut expected = acknowledged.to_vec();
    subjects.sort();
    expected.sort();
    assert_eq!(subjects, expected, "each acknowledged entry once");
    assert_eq!(sql::pending_count(&bench.db).await.unwrap(), 0);
    assert_eq!(
        sql::epochs(&bench.db, 0, 10).await.unwrap().len(),
        1,
        "the log never forked"
    );
}

async fn crash_and_check(bench: &Bench, seed: u64, acknowledged: &mut Vec<String>) {
    let done = Mutex::new(Vec::new());
    let stop = CancellationToken::new();
    let writers = async {
        let writers = (0..6).map(|n| appending(bench, seed * 100 + n, &done));
        futures::future::join_all(writers).await;
        stop.cancel();
    };
    tokio::join!(
        writers,
        crashing(bench, seed, &stop),
        crashing(bench, seed + 1, &stop)
    );
    acknowledged.extend(done.into_inner().unwrap());
    let mut sequencer = Sequencer::new(bench.db.clone(), "last".to_owned());
    let keeper = bench.journal.keeper();
    let caught_up = publica_testkit::eventually(|| async {
        let pending = sql::pending_count(&bench.db).await.unwrap();
        let size = sql::size(&bench.db).await.unwrap();
        let signed = sql::last_checkpoint(&bench.db)
            .await
            .unwrap()
            .map_or(0, |row| row.size);
        (pending == 0 && signed == size).then_some(())
    })
    .await_with(async {
        loop {
            let _ = sequencer.step(&keeper, true).await;
        }
    });
    Box::pin(caught_up).await;
    check_intact(bench, acknowledged).await;
}

/// Waits for one future while another works.
trait AwaitWith: Future + Sized {
    async fn await_with(self, work: impl Future<Output = ()>) -> Self::Output {
        tokio::select! {
            output = self => output,
            () = work => unreachable!("the work never ends"),
        }
    }
}

impl<F: Future> AwaitWith for F {}

both_engines! {
    async fn crashes_skip_nothing_and_break_no_proof(db: TestDatabase) {
        let bench = Bench::with(&db, keyring(), impatient()).await;
        let mut acknowledged = Vec::new();
        for seed in [3, 17, 40] {
            Box::pin(crash_and_check(&bench, seed, &mut acknowledged)).await;
            let report = exported(&bench).await;
            assert!(report.is_valid(), "{report}");
            assert_eq!(report.entries(), acknowledged.len() as u64);
            let report = exported_case(&bench, "p1").await;
            assert!(report.is_valid() && report.entries() > 0, "{report}");
        }
        bench.stop().await;
    }

    async fn what_is_changed_in_the_store_is_found(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        bench.run();
        for n in 0..40 {
            bench.add(n, "p").await;
        }
        bench.journal.catch_up(&Tenant::default()).await.unwrap();
        assert!(exported(&bench).await.is_valid());

        meddle(&bench, "UPDATE journal SET actor = 'somebody' WHERE subject_id = 'a-5'").await;
        for report in [exported(&bench).await, exported_case(&bench, "p").await] {
            assert!(report.has(Kind::Tampered) && report.findings.len() == 1, "{report}");
        }
        meddle(&bench, "UPDATE journal SET actor = 'person:1' WHERE subject_id = 'a-5'").await;
        assert!(exported(&bench).await.is_valid());

        meddle(&bench, "DELETE FROM journal WHERE subject_id = 'a-7'").await;
        let report = exported(&bench).await;
        assert!(report.has(Kind::Dropped) && report.findings.len() == 1, "{report}");

        meddle(
            &bench,
            "UPDATE journal_checkpoint SET note = REPLACE(note, '40', '39') WHERE size = 40",
        )
        .await;
        let report = exported(&bench).await;
        assert!(report.has(Kind::Rewritten), "{report}");
        bench.stop().await;
    }
}
