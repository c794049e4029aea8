//! In production the service's role must not be able to rewrite what is only ever added.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use publica_testkit::{Database, TestDatabase};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::running::{Running, publica, settings};

/// Settings of a production suite of the payments block, with keys made for it.
fn production(folder: &Path) -> PathBuf {
    let keys = folder.join("keys");
    let made = publica()
        .args(["keys", "--to"])
        .arg(&keys)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let (root, keys) = (folder.display(), keys.display());
    let text = format!(
        "profile = 'production'\ndata = '{root}/data'\nwitness = '{root}/witness'\n\
         workload_key = '{keys}/workload.jwk'\n[seal]\nfile = '{keys}/seal.json'\n\
         [admin]\nlisten = '127.0.0.1:0'\n[listeners.payments]\nlisten = '127.0.0.1:0'\n"
    );
    settings(folder, &text)
}

/// A second role of the server, which owns nothing.
async fn service(database: &TestDatabase) -> (PgConnection, String, String) {
    let owner = database.config().url.expose().clone();
    let role = format!("payments_service_{}", std::process::id());
    let mut conn = PgConnection::connect(&owner).await.unwrap();
    for text in [
        format!("DROP ROLE IF EXISTS {role}"),
        format!("CREATE ROLE {role} LOGIN PASSWORD 'only-here'"),
    ] {
        conn.execute(AssertSqlSafe(text)).await.unwrap();
    }
    let url = owner.replacen("//publica", &format!("//{role}:only-here"), 1);
    (conn, role, url)
}

fn command(file: &Path, arguments: &[&str], url: &str, owner: Option<&str>) -> Command {
    let mut command = publica();
    command
        .args(arguments)
        .arg("--config")
        .arg(file)
        .env("PUBLICA_PAYMENTS__DATABASE__URL", url);
    if let Some(owner) = owner {
        command.env("PUBLICA_PAYMENTS__DATABASE__MIGRATE_URL", owner);
    }
    command
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8(both).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn production_needs_a_role_that_cannot_rewrite_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::postgres().await;
    let owner = database.config().url.expose().clone();
    let (mut conn, role, url) = service(&database).await;
    let place = folder.path().to_owned();
    tokio::task::spawn_blocking(move || {
        let file = production(&place);
        // One role for everything: refused at start, with what to do.
        let migrate = ["migrate", "--blocks", "payments"];
        let migrated = command(&file, &migrate, &owner, None).output().unwrap();
        assert!(migrated.status.success(), "{}", said(&migrated));
        let refused = command(&file, &["payments"], &owner, None)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let why = said(&refused);
        assert_eq!(refused.status.code(), Some(1), "{why}");
        assert!(
            why.contains("may change or delete rows of journal"),
            "{why}"
        );
        assert!(why.contains("database.migrate_url"), "{why}");

        // Two roles: it starts, signs, and stops.
        let migrated = command(&file, &migrate, &url, Some(&owner))
            .output()
            .unwrap();
        assert!(migrated.status.success(), "{}", said(&migrated));
        let mut block = Running::start(&mut command(&file, &["payments"], &url, None));

        // Keys change as the owner, since epochs are only ever added by the service.
        let seal = place.join("keys/seal.json");
        let text = std::fs::read_to_string(&seal).unwrap();
        let mut keys: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut second = keys["keys"][0].clone();
        second["id"] = "k2".into();
        keys["keys"].as_array_mut().unwrap().push(second);
        keys["active"] = "k2".into();
        std::fs::write(&seal, keys.to_string()).unwrap();
        let rotate = ["keys", "rotate", "--blocks", "payments"];
        let rotated = command(&file, &rotate, &url, Some(&owner))
            .output()
            .unwrap();
        let told = said(&rotated);
        assert!(rotated.status.success(), "{told}");
        assert!(told.contains("under k1: 0\n"), "{told}");
        assert!(!told.contains("under k2: 0\n"), "{told}");
        block.signal("TERM");
        assert_eq!(block.end().code(), Some(0));
    })
    .await
    .unwrap();
    for text in [format!("DROP OWNED BY {role}"), format!("DROP ROLE {role}")] {
        conn.execute(AssertSqlSafe(text)).await.unwrap();
    }
}
