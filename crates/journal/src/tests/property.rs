//! Random concurrent appends, some of whose callers go away, while sequencers are cut off between
//! and within their steps: no committed entry is skipped, no unit is half there, no proof fails,
//! and whatever is changed afterwards is found.
//!
//! Seeds are drawn anew in every run; a failure prints its own, and `PUBLICA_TEST_SEED` repeats it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use publica_store::Sql;
use publica_testkit::SeededEntropy;
use publica_types::Entropy;

use super::*;
use crate::export::{self, Writer};
use crate::sequencer::Sequencer;
use crate::store::entries::{self, Filter};
use crate::store::log as sql;
use crate::verify::{self, Kind, Report};

/// One round of crashes takes a second or two.
const ROUND_LIMIT: Duration = Duration::from_secs(120);
const ROUNDS: usize = 3;

/// Where the random choices of this run begin.
fn first_seed() -> u64 {
    let given = std::env::var_os("PUBLICA_TEST_SEED");
    let given = given.and_then(|text| text.to_str()?.parse().ok());
    // Leaves room for the numbers of rounds and writers.
    given.unwrap_or_else(|| below(&SystemEntropy, 1 << 40))
}

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

/// What writers know of their units, each a list of subjects.
#[derive(Default)]
struct Written {
    /// Units that were acknowledged.
    kept: Vec<Vec<String>>,
    /// Units whose caller went away first: they are there or not, but never in part.
    cut: Vec<Vec<String>>,
}

/// A unit's input, which lives for as long as the unit is at work.
struct Unit {
    subjects: Vec<String>,
    process: String,
    _at_work: Arc<()>,
}

async fn append_all(bench: &Bench, unit: Unit) -> Result<(), publica_store::StoreError> {
    let unit = bench.db.write("test.append", unit, |tx, unit| {
        for subject in &unit.subjects {
            let origin = Origin::actor("a").in_process(unit.process.as_str());
            append(tx, &origin, Entry::new("x.y.z").subject("s", subject));
        }
        Box::pin(async { Ok(()) })
    });
    unit.await
}

async fn appending(bench: &Bench, seed: u64, at_work: &Arc<()>, written: &Mutex<Written>) {
    let entropy = SeededEntropy::new(seed);
    for round in 0..25 {
        let count = below(&entropy, 4) + 1;
        let subjects: Vec<String> = (0..count).map(|n| format!("{seed}-{round}-{n}")).collect();
        let patience = match below(&entropy, 3) {
            0 => Duration::from_micros(below(&entropy, 4_000)),
            _ => ROUND_LIMIT,
        };
        let unit = Unit {
            subjects: subjects.clone(),
            process: format!("p{}", seed % 3),
            _at_work: at_work.clone(),
        };
        let ended = tokio::time::timeout(patience, append_all(bench, unit)).await;
        let mut written = written.lock().unwrap();
        match ended {
            Ok(outcome) => {
                outcome.unwrap();
                written.kept.push(subjects);
            }
            Err(_) => written.cut.push(subjects),
        }
    }
}

/// Waits until no unit is at work any more, also none whose caller went away.
async fn settled(bench: &Bench, seed: u64, at_work: Arc<()>, written: &mut Written) {
    publica_testkit::eventually(|| async { (Arc::strong_count(&at_work) == 1).then_some(()) })
        .await;
    // A unit's input may go a moment before its commit; what comes after it is committed later.
    let subjects = vec![format!("{seed}-last")];
    let last = Unit {
        subjects: subjects.clone(),
        process: "p1".to_owned(),
        _at_work: at_work,
    };
    append_all(bench, last).await.unwrap();
    written.kept.push(subjects);
}

async fn exported(bench: &Bench) -> Report {
    let mut writer = Writer::new(Vec::new(), None).unwrap();
    export::complete(&[(&bench.journal, &bench.db)], &mut writer)
        .await
        .unwrap();
    verify::trail(writer.finish().unwrap().as_slice()).unwrap()
}

async fn exported_case(bench: &Bench, process: &str) -> Report {
    let mut writer = Writer::new(Vec::new(), Some(process)).unwrap();
    export::process(&[(&bench.journal, &bench.db)], process, &mut writer)
        .await
        .unwrap();
    verify::trail(writer.finish().unwrap().as_slice()).unwrap()
}

/// Changes the store behind the journal's back.
pub(super) async fn meddle(bench: &Bench, sql: &'static str) {
    bench
        .db
        .write("test.meddle", sql, |tx, sql| {
            let sql = Sql::shared(sql);
            Box::pin(async move { tx.query(sql).execute().await })
        })
        .await
        .unwrap();
}

async fn check_intact(bench: &Bench, written: &Written) -> usize {
    let placed = entries::list(&bench.db, &Filter::default(), 0, i64::MAX, 100_000)
        .await
        .unwrap();
    let mut subjects = BTreeSet::new();
    for (placed, n) in placed.iter().zip(0_i64..) {
        assert_eq!(placed.position, n, "positions have no gap");
        let subject = placed.entry.as_ref().unwrap().subject_id.clone();
        assert!(subjects.insert(subject.clone()), "{subject} is there twice");
    }
    let mut expected = 0;
    for subject in written.kept.iter().flatten() {
        assert!(subjects.contains(subject), "acknowledged {subject} is lost");
        expected += 1;
    }
    for unit in &written.cut {
        let there = unit.iter().filter(|one| subjects.contains(*one)).count();
        assert!(there == 0 || there == unit.len(), "{unit:?} is half there");
        expected += there;
    }
    assert_eq!(subjects.len(), expected, "nobody wrote the rest");
    assert_eq!(sql::pending_count(&bench.db).await.unwrap(), 0);
    assert_eq!(
        sql::epochs(&bench.db, 0, 10).await.unwrap().len(),
        1,
        "the log never forked"
    );
    expected
}

/// Gives how many entries there are now.
async fn crash_and_check(bench: &Bench, seed: u64, written: &mut Written) -> usize {
    let (done, at_work) = (Mutex::new(Written::default()), Arc::new(()));
    let stop = CancellationToken::new();
    let writers = async {
        let writers = (0..6).map(|n| appending(bench, seed * 100 + n, &at_work, &done));
        futures::future::join_all(writers).await;
        stop.cancel();
    };
    tokio::join!(
        writers,
        crashing(bench, seed, &stop),
        crashing(bench, seed + 1, &stop)
    );
    let mut done = done.into_inner().unwrap();
    assert!(!done.cut.is_empty(), "no caller went away");
    settled(bench, seed, at_work, &mut done).await;
    written.kept.append(&mut done.kept);
    written.cut.append(&mut done.cut);
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
    check_intact(bench, written).await
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
        let (first, mut written) = (first_seed(), Written::default());
        eprintln!("PUBLICA_TEST_SEED={first}");
        for seed in (first..).step_by(10).take(ROUNDS) {
            let round = Box::pin(crash_and_check(&bench, seed, &mut written));
            let entries = tokio::time::timeout(ROUND_LIMIT, round).await;
            let entries = entries.expect("a round ends");
            let report = exported(&bench).await;
            assert!(report.is_valid(), "{report}");
            assert_eq!(report.entries(), entries as u64);
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
