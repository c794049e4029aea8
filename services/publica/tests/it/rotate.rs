//! A change of keys: everything moves to the new one while the suite runs, and the old one can go.

use std::path::Path;
use std::process::{Command, Output};

use publica_testkit::{Database, TestDatabase};
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::journey::{BLOCKS, database_settings};
use crate::running::{Running, get, publica};

/// How a value under the key `k1` begins.
const OLD: &str = "026b31";

/// What a journey seals. A column that is not among those that are moved is found by looking into
/// every column of every table.
const SEALED: [&str; 13] = [
    "identity (default) subject_key.wrapped",
    "identity (default) signing_key.sealed",
    "identity (default) journal_epoch.sealed_seed",
    "identity (default) request_ledger.sealed_answer",
    "signature (default) authority.sealed_key",
    "signature (default) credential.sealed_key",
    "payments (default) subject_key.wrapped",
    "payments (default) voucher.number_sealed",
    "payments (default) batch_chunk.narrations",
    "messaging (default) subject_key.wrapped",
    "registration (default) subject_key.wrapped",
    "consent (default) block_key.sealed",
    "consent (default) request_ledger.sealed_answer",
];

/// A suite after a journey: its folder, and settings that name its stores.
struct Town {
    folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
}

impl Town {
    fn new(settings: Vec<(String, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let town = Self { folder, settings };
        if !town.settings.is_empty() {
            let migrated = town.publica(&["migrate"]).output().unwrap();
            assert!(migrated.status.success(), "{migrated:?}");
        }
        let journey = town
            .publica(&["journey", "--sign-in", "5", "--keep", "kept"])
            .output()
            .unwrap();
        assert!(journey.status.success(), "{journey:?}");
        town
    }

    fn publica(&self, arguments: &[&str]) -> Command {
        let mut command = publica();
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .envs(self.settings.iter().cloned());
        command
    }

    fn rotate(&self, more: &[&str]) -> (Output, String) {
        let mut command = self.publica(&["keys", "rotate", "--data", "kept/data"]);
        let output = command.args(more).output().unwrap();
        let said = [&output.stdout[..], &output.stderr].concat();
        (output, String::from_utf8(said).unwrap())
    }

    fn start(&self) -> Running {
        let mut command = self.publica(&["up", "--data", "kept/data", "--listen", "127.0.0.1:0"]);
        Running::start(command.args(["--admin", "127.0.0.1:0"]))
    }

    fn change_keys(&self, change: impl FnOnce(&mut Value)) {
        let file = self.folder.path().join("kept/data/keys/seal.json");
        let mut keys: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        change(&mut keys);
        std::fs::write(&file, keys.to_string()).unwrap();
    }
}

/// Looks through every column of an embedded store for values under the old key.
async fn old_in_file(file: &Path) -> Vec<String> {
    let url = format!("sqlite://{}?mode=ro", file.display());
    let mut store = SqliteConnection::connect(&url).await.unwrap();
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c \
         WHERE t.type = 'table' AND c.type = 'BLOB'",
    )
    .fetch_all(&mut store)
    .await
    .unwrap();
    assert!(columns.len() > 20, "{columns:?}");
    let mut found = Vec::new();
    for (table, column) in columns {
        let sql = format!(
            "SELECT COUNT(*) FROM \"{table}\" \
             WHERE hex(substr(\"{column}\", 1, 3)) = upper('{OLD}')"
        );
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut store)
            .await
            .unwrap();
        if count > 0 {
            found.push(format!("{}: {table}.{column}: {count}", file.display()));
        }
    }
    found
}

/// The same in all schemas of a database.
async fn old_in_database(database: &TestDatabase) -> Vec<String> {
    let url = database.config().url.expose().clone();
    let mut store = PgConnection::connect(&url).await.unwrap();
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT table_schema::text, table_name::text, column_name::text \
         FROM information_schema.columns WHERE data_type = 'bytea' \
         AND table_schema NOT IN ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&mut store)
    .await
    .unwrap();
    assert!(columns.len() > 100, "{columns:?}");
    let mut found = Vec::new();
    for (schema, table, column) in columns {
        let sql = format!(
            "SELECT COUNT(*) FROM \"{schema}\".\"{table}\" \
             WHERE encode(substr(\"{column}\", 1, 3), 'hex') = '{OLD}'"
        );
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut store)
            .await
            .unwrap();
        if count > 0 {
            found.push(format!("{schema}.{table}.{column}: {count}"));
        }
    }
    found
}

/// Where values under the old key stand, as they lie in the stores.
async fn old(town: &Town, database: Option<&TestDatabase>) -> Vec<String> {
    if let Some(database) = database {
        return old_in_database(database).await;
    }
    let mut found = Vec::new();
    for block in BLOCKS {
        let file = format!("kept/data/{block}/{block}.db");
        found.extend(old_in_file(&town.folder.path().join(file)).await);
    }
    found
}

async fn keys_change_while_the_suite_runs(database: Option<TestDatabase>) {
    let settings = database.as_ref().map(database_settings).unwrap_or_default();
    let town = tokio::task::spawn_blocking(move || Town::new(settings));
    let town = town.await.unwrap();
    let (output, said) = town.rotate(&["--count"]);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!old(&town, database.as_ref()).await.is_empty());

    // A new key, active; the old one stays at hand.
    town.change_keys(|keys| {
        let mut second = keys["keys"][0].clone();
        second["id"] = json!("k2");
        second["key"] = json!(format!("{}=", "A".repeat(43)));
        keys["keys"].as_array_mut().unwrap().push(second);
        keys["active"] = json!("k2");
    });
    let (output, said) = town.rotate(&["--count"]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for place in SEALED {
        assert!(said.contains(&format!("  {place}: ")), "{place} in {said}");
    }
    assert!(said.contains("without --count"), "{said}");

    // Beside a server that uses the same stores.
    let mut suite = town.start();
    let (output, said) = town.rotate(&[]);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("under k1: 0\n"), "{said}");
    assert!(said.contains("Other keys may leave the key set"), "{said}");
    assert_eq!(old(&town, database.as_ref()).await, Vec::<String>::new());
    let (output, again) = town.rotate(&[]);
    assert_eq!(output.status.code(), Some(0), "{again}");
    assert!(
        again.contains("payments (default): 0 values moved"),
        "{again}"
    );
    suite.signal("TERM");
    assert_eq!(suite.end().code(), Some(0));

    // Without the old key all of it opens, and the suite signs with the keys that it had.
    let jwks = |suite: &Running| get(suite.address("gateway"), "/identity/oauth2/jwks").1;
    let before = {
        let mut suite = town.start();
        let before = jwks(&suite);
        suite.signal("TERM");
        suite.end();
        before
    };
    town.change_keys(|keys| {
        keys["keys"].as_array_mut().unwrap().remove(0);
    });
    let (output, said) = town.rotate(&["--count"]);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let suite = town.start();
    assert!(before.contains("\"kid\""), "{before}");
    assert_eq!(jwks(&suite), before);

    // With a key set that never had it, nothing does, and each store says so.
    town.change_keys(|keys| keys["keys"][0]["id"] = json!("k3"));
    town.change_keys(|keys| keys["active"] = json!("k3"));
    let (output, said) = town.rotate(&["--count"]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the key-encryption key `k2` is not configured"),
        "{said}"
    );
    assert!(said.contains("Keep every key"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_change_on_embedded_stores() {
    keys_change_while_the_suite_runs(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_change_on_postgresql() {
    keys_change_while_the_suite_runs(Some(Database::postgres().await)).await;
}

#[test]
fn a_folder_without_keys_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let output = publica()
        .args(["keys", "rotate", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!data.exists());
    let output = publica()
        .args(["keys", "rotate", "--blocks", "taxes"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64), "{output:?}");
}
