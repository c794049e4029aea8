//! Stores that are brought back by copying: the file of an embedded one, the rows of one on a
//! server. Nobody marks them, so only the witness outside tells.

use std::path::PathBuf;

use publica_store::{Engine, Sql};

use super::*;
use crate::export::{self, Writer};
use crate::note::Head;
use crate::store::log as sql;
use crate::verify::{Pin, Verifier};

/// What a copy of a store on a server holds.
const TABLES: &[(&str, &str, &str)] = &[
    (
        "CREATE TABLE saved_journal AS SELECT * FROM journal",
        "DELETE FROM journal",
        "INSERT INTO journal SELECT * FROM saved_journal",
    ),
    (
        "CREATE TABLE saved_pending AS SELECT * FROM journal_pending",
        "DELETE FROM journal_pending",
        "INSERT INTO journal_pending SELECT * FROM saved_pending",
    ),
    (
        "CREATE TABLE saved_leaf AS SELECT * FROM journal_leaf",
        "DELETE FROM journal_leaf",
        "INSERT INTO journal_leaf SELECT * FROM saved_leaf",
    ),
    (
        "CREATE TABLE saved_tile AS SELECT * FROM journal_tile",
        "DELETE FROM journal_tile",
        "INSERT INTO journal_tile SELECT * FROM saved_tile",
    ),
    (
        "CREATE TABLE saved_epoch AS SELECT * FROM journal_epoch",
        "DELETE FROM journal_epoch",
        "INSERT INTO journal_epoch SELECT * FROM saved_epoch",
    ),
    (
        "CREATE TABLE saved_checkpoint AS SELECT * FROM journal_checkpoint",
        "DELETE FROM journal_checkpoint",
        "INSERT INTO journal_checkpoint SELECT * FROM saved_checkpoint",
    ),
];

/// Where the witnesses are: never in what is copied.
fn witness(db: &TestDatabase) -> PathBuf {
    db.dir().join("witness")
}

fn files(db: &TestDatabase) -> Vec<PathBuf> {
    std::fs::read_dir(db.dir())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .collect()
}

async fn run_all(db: &TestDatabase, statements: impl Iterator<Item = &'static str>) {
    let bench = Bench::with(db, keyring(), config()).await;
    for statement in statements {
        let done = bench.db.write("test.copy", statement, |tx, statement| {
            let statement = Sql::shared(statement);
            Box::pin(async move { tx.query(statement).execute().await })
        });
        done.await.unwrap();
    }
    bench.stop().await;
}

/// Copies a store that is closed.
async fn save(db: &TestDatabase) {
    match db.engine() {
        Engine::Sqlite => {
            let copy = db.dir().join("copy");
            std::fs::create_dir(&copy).unwrap();
            for file in files(db) {
                std::fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
            }
        }
        Engine::Postgres => run_all(db, TABLES.iter().map(|(save, ..)| *save)).await,
    }
}

/// Puts the copy in the place of the store, as often as wanted.
async fn bring_back(db: &TestDatabase) {
    match db.engine() {
        Engine::Sqlite => {
            for file in files(db) {
                std::fs::remove_file(file).unwrap();
            }
            for file in std::fs::read_dir(db.dir().join("copy")).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), db.dir().join(file.file_name())).unwrap();
            }
        }
        Engine::Postgres => {
            let statements = TABLES.iter().flat_map(|(_, clear, fill)| [*clear, *fill]);
            run_all(db, statements).await;
        }
    }
}

/// Adds entries and returns the checkpoint that covers them, and the epochs then.
async fn grow(bench: &Bench, entries: std::ops::Range<usize>) -> (String, Vec<String>) {
    bench.run();
    for n in entries {
        bench.add(n, "p").await;
    }
    bench.journal.catch_up(&Tenant::default()).await.unwrap();
    let note = sql::last_checkpoint(&bench.db).await.unwrap().unwrap().note;
    let epochs = sql::epochs(&bench.db, 0, 10).await.unwrap();
    (note, epochs.into_iter().map(|row| row.origin).collect())
}

both_engines! {
    async fn a_store_brought_back_by_copying_does_not_fork_its_log(db: TestDatabase) {
        let keyring = keyring();
        let config = config().witnessed_in(&witness(&db));
        let open = || Bench::with(&db, keyring.clone(), config.clone());
        let bench = open().await;
        grow(&bench, 0..5).await;
        bench.stop().await;
        save(&db).await;

        let bench = open().await;
        let (lost, epochs) = grow(&bench, 5..9).await;
        assert_eq!(epochs.len(), 1);
        bench.stop().await;
        let lost_head = Head::peek(&lost).unwrap();
        assert_eq!(lost_head.size, 9);

        let mut names = epochs;
        let mut known = lost;
        // Brought back once, and then again, when even the newer epoch is lost.
        for round in 1..=2 {
            bring_back(&db).await;
            let bench = open().await;
            let (note, epochs) = grow(&bench, round * 100..round * 100 + 4).await;
            assert_eq!(epochs.len(), 2, "round {round}");
            assert_eq!(epochs[0], names[0]);
            assert!(!names.contains(&epochs[1]), "{} signs two trees", epochs[1]);
            let rows = sql::epochs(&bench.db, 1, 1).await.unwrap();
            assert_eq!(rows[0].last_known.as_deref(), Some(known.as_str()));
            assert_eq!(rows[0].first_position, 5);
            // Under its old name the log signs nothing that it had not signed already.
            let signed = sql::checkpoints(&bench.db, 1, i64::MAX, 100).await.unwrap();
            assert!(signed.iter().all(|row| row.size <= 5));

            let mut writer = Writer::new(Vec::new(), None).unwrap();
            export::complete(&[(&bench.journal, &bench.db)], &mut writer).await.unwrap();
            let key = crate::epoch::verifier(&rows[0]).unwrap();
            let mut verifier = Verifier::new();
            verifier.pin(Pin::of(key)).unwrap();
            verifier.read("export", writer.finish().unwrap().as_slice()).unwrap();
            let report = verifier.finish();
            assert!(report.is_valid() && report.is_pinned(), "{report}");
            names.push(epochs[1].clone());
            known = note;
            bench.stop().await;
        }
    }

    async fn a_store_that_was_not_touched_keeps_its_epoch(db: TestDatabase) {
        let keyring = keyring();
        let config = config().witnessed_in(&witness(&db));
        for round in 0..3 {
            let bench = Bench::with(&db, keyring.clone(), config.clone()).await;
            let (note, epochs) = grow(&bench, round * 10..round * 10 + 3).await;
            assert_eq!(epochs.len(), 1);
            bench.stop().await;
            let file = witness(&db).join("payments-default.checkpoint");
            assert_eq!(std::fs::read_to_string(file).unwrap(), note);
        }
    }
}
