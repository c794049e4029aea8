//! The private PostgreSQL server of the tests.
//!
//! All test processes share one, on a Unix socket in the temporary folder. The first that
//! needs it starts it, as another user if the tests run as root, which PostgreSQL refuses. It
//! gives up durability for speed, and stops when nobody has used it for ten minutes.
//! Measurements have another one, which keeps what it commits.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr as _;
use std::sync::OnceLock;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

/// A server where tests may create databases.
#[derive(Debug)]
pub(crate) struct Server {
    /// A URL with `{name}` where the database's name goes.
    pattern: String,
}

/// Whether what the server commits survives a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It need not: tests are over by then.
    None,
    /// It does, as in production: for measurements.
    Full,
}

/// The server, started if need be. Blocks.
pub(crate) fn running(durability: Durability) -> &'static Server {
    static FAST: OnceLock<Server> = OnceLock::new();
    static DURABLE: OnceLock<Server> = OnceLock::new();
    let server = match durability {
        Durability::None => &FAST,
        Durability::Full => &DURABLE,
    };
    server.get_or_init(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "tests have no settings of their own"
        )]
        let given = std::env::var("PUBLICA_TEST_POSTGRES_URL");
        match given {
            Ok(url) => Server {
                pattern: with_name(&url),
            },
            Err(_) => start(durability),
        }
    })
}

/// Puts `{name}` in place of the database in a URL.
fn with_name(url: &str) -> String {
    let (base, query) = url
        .split_once('?')
        .map_or((url, None), |(b, q)| (b, Some(q)));
    let authority = base.find("://").map_or(0, |at| at + 3);
    let end = base[authority..]
        .find('/')
        .map_or(base.len(), |at| authority + at);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}/{{name}}{query}", &base[..end])
}

impl Server {
    pub(crate) fn url(&self, database: &str) -> String {
        self.pattern.replace("{name}", database)
    }

    /// Creates an empty database, and drops a few that ended processes left behind.
    pub(crate) async fn create_database(&self, name: &str) {
        let options = PgConnectOptions::from_str(&self.url("postgres")).expect("a valid URL");
        let mut conn = PgConnection::connect_with(&options)
            .await
            .expect("a server that answers");
        self.drop_stale(&mut conn).await;
        for text in [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name} TEMPLATE template0"),
        ] {
            // The name is made of this process's number and a counter.
            conn.execute(AssertSqlSafe(text))
                .await
                .expect("a new database");
        }
        conn.close().await.expect("an orderly end");
    }

    async fn drop_stale(&self, conn: &mut PgConnection) {
        let list = "SELECT datname::TEXT FROM pg_database WHERE datname LIKE 'test\\_%' LIMIT 64";
        let Ok(names) = sqlx::query_as::<_, (String,)>(list)
            .fetch_all(&mut *conn)
            .await
        else {
            return;
        };
        let stale = names.into_iter().filter(|(name,)| {
            let process = name
                .split('_')
                .nth(1)
                .and_then(|pid| pid.parse::<u32>().ok());
            process.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        });
        for (name,) in stale.take(4) {
            // Another process may be dropping it as well.
            let text = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            let _ = conn.execute(AssertSqlSafe(text)).await;
        }
    }
}

/// The user that the server runs as: whoever runs the tests, or somebody else if that is root.
#[derive(Clone, Copy)]
struct Account {
    other: Option<(u32, u32)>,
}

impl Account {
    fn find() -> Self {
        if number_of("-u", None) != Some(0) {
            return Self { other: None };
        }
        let found = ["postgres", "nobody"]
            .iter()
            .find_map(|name| Some((number_of("-u", Some(name))?, number_of("-g", Some(name))?)));
        let found = found.expect("root needs a user postgres or nobody to run PostgreSQL as");
        Self { other: Some(found) }
    }

    fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((user, group)) = self.other {
            command.uid(user).gid(group);
        }
        // Held-open pipes would keep a test runner waiting for the server's end.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.current_dir("/");
        command
    }

    fn own(self, path: &Path) {
        if let Some((user, group)) = self.other {
            std::os::unix::fs::chown(path, Some(user), Some(group)).expect("a folder to give away");
        }
    }
}

fn number_of(which: &str, user: Option<&str>) -> Option<u32> {
    let output = Command::new("id").arg(which).args(user).output().ok()?;
    let text = output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).ok())??;
    text.trim().parse().ok()
}

/// The folder with the programs of PostgreSQL: the newest version from 15 on. Panics, saying what
/// to install, where there is none.
pub fn postgres_programs() -> PathBuf {
    let versions = |folder: &str, prefix: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let prefix = prefix.to_owned();
        entries.filter_map(move |entry| {
            let name = entry.file_name().into_string().ok()?;
            let version: u32 = name.strip_prefix(&prefix)?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
    };
    let known = versions("/usr/lib/postgresql", "")
        .chain(versions("/usr", "pgsql-"))
        .chain(versions("/opt/homebrew/opt", "postgresql@"))
        .filter(|(version, bin)| *version >= 15 && bin.join("initdb").exists());
    if let Some((_, bin)) = known.max() {
        return bin;
    }
    let output = Command::new("pg_config").arg("--bindir").output();
    let bin = output
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok());
    let bin = bin
        .map(|bin| PathBuf::from(bin.trim()))
        .filter(|bin| bin.join("initdb").exists());
    bin.expect(
        "PostgreSQL 15 or newer must be installed (Debian: `apt-get install postgresql`), \
         or PUBLICA_TEST_POSTGRES_URL must name a server",
    )
}

fn start(durability: Durability) -> Server {
    let account = Account::find();
    let user = account
        .other
        .map_or_else(|| number_of("-u", None).unwrap_or(0), |(uid, _)| uid);
    let kind = match durability {
        Durability::None => "test",
        Durability::Full => "load",
    };
    let base = std::env::temp_dir().join(format!("publica-{kind}-postgres-{user}"));
    let socket = base.join("socket");
    let server = Server {
        pattern: format!(
            "postgres://publica@localhost/{{name}}?host={}",
            socket.display()
        ),
    };
    // One process starts it; the others wait here and then find it running.
    let gate = File::create(base.with_extension("lock")).expect("a lock file");
    gate.lock().expect("the lock of the test server");
    if UnixStream::connect(socket.join(".s.PGSQL.5432")).is_err() {
        launch(account, &base, &socket, durability);
    }
    server
}

fn launch(account: Account, base: &Path, socket: &Path, durability: Durability) {
    let bin = postgres_programs();
    let data = base.join("data");
    if base.exists() {
        std::fs::remove_dir_all(base).expect("the last server's folder goes away");
    }
    for folder in [base, socket] {
        std::fs::create_dir_all(folder).expect("a folder for the server");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder, open).expect("a folder that others may enter");
        account.own(folder);
    }
    let made = account
        .command(&bin.join("initdb"))
        .args([
            "--no-sync",
            "--auth=trust",
            "--username=publica",
            "--encoding=UTF8",
        ])
        .args(["--locale=C.UTF-8", "--pgdata"])
        .arg(&data)
        .status();
    assert!(
        made.is_ok_and(|status| status.success()),
        "initdb failed in {}",
        data.display()
    );
    let safety = match durability {
        Durability::None => "-c fsync=off -c full_page_writes=off",
        Durability::Full => "-c fsync=on -c full_page_writes=on -c synchronous_commit=on",
    };
    let options = format!(
        "-c listen_addresses='' -c unix_socket_directories='{}' {safety} \
         -c max_connections=400 -c shared_buffers=256MB -c max_wal_size=4GB \
         -c client_min_messages=error",
        socket.display()
    );
    let started = account
        .command(&bin.join("pg_ctl"))
        .args(["start", "--wait", "--silent"])
        .args([OsStr::new("--pgdata"), data.as_os_str()])
        .args([OsStr::new("--log"), base.join("log").as_os_str()])
        .args(["--options", &options])
        .status();
    let log = base.join("log");
    assert!(
        started.is_ok_and(|status| status.success()),
        "see {}",
        log.display()
    );
    watch(account, &bin, &data, socket);
}

/// Stops the server once no client was connected at ten looks, a minute apart. A later server
/// in the same place has a watcher of its own.
const WATCH: &str = r#"
idle=0
own=$(head -n 1 "$2/postmaster.pid")
is_there() { [ -n "$own" ] && [ "$(head -n 1 "$2/postmaster.pid" 2> /dev/null)" = "$own" ]; }
while is_there "$@" && [ "$idle" -lt 10 ]; do
    sleep 60
    clients=$("$1/psql" -h "$3" -U publica -d postgres -Atc "SELECT count(*) FROM \
pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()") || clients=1
    if [ "$clients" = 0 ]; then idle=$((idle + 1)); else idle=0; fi
done
if is_there "$@"; then "$1/pg_ctl" stop --pgdata "$2" --mode immediate --silent; fi
"#;

fn watch(account: Account, bin: &Path, data: &Path, socket: &Path) {
    let watcher = account
        .command(Path::new("/bin/sh"))
        .args(["-c", WATCH, "publica-test-postgres-watch"])
        .args([bin, data, socket])
        .process_group(0)
        .spawn();
    // It outlives this process on purpose.
    drop(watcher.expect("a watcher for the server"));
}

/// Makes a role that owns nothing, and gives the owner's URL with that role in it.
pub(crate) async fn make_role(owner: &str, role: &str) -> String {
    const PASSWORD: &str = "only-here";
    let options = PgConnectOptions::from_str(owner).expect("a valid URL");
    let mut conn = PgConnection::connect_with(&options)
        .await
        .expect("a server that answers");
    // A server outlives a process, and numbers of processes come again.
    let known = "SELECT COUNT(*) FROM pg_roles WHERE rolname = $1";
    let known: i64 = sqlx::query_scalar(known)
        .bind(role)
        .fetch_one(&mut conn)
        .await
        .expect("a list of roles");
    if known == 0 {
        let made = format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'");
        // The name is made of a process's number and a counter.
        conn.execute(AssertSqlSafe(made)).await.expect("a new role");
    }
    conn.close().await.expect("an orderly end");
    let (scheme, rest) = owner.split_once("://").expect("a URL");
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{role}:{PASSWORD}@{place}")
}

#[cfg(test)]
mod tests {
    use super::with_name;

    #[test]
    fn the_database_in_a_url_is_replaced() {
        for (url, pattern) in [
            ("postgres://u:p@h:5/db", "postgres://u:p@h:5/{name}"),
            ("postgres://u@h", "postgres://u@h/{name}"),
            ("postgres:///x?host=/tmp", "postgres:///{name}?host=/tmp"),
        ] {
            assert_eq!(with_name(url), pattern);
        }
    }
}
