//! Killed without warning, again and again, in the middle of a batch.
//!
//! Nothing is lost; nothing is sent twice but the last message of a connection that died with
//! the process; the counters sum at all times and are exact in the end.

mod provider;
mod sms;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use publica_auth::TokenSource;
use publica_host::{Block as _, Env, Profile};
use publica_messaging::sink::{Mail, MailSink, SinkOptions, SinkTls};
use publica_messaging::{Messaging, MessagingConfig, RelayConfig};
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::message_service_client::MessageServiceClient;
use publica_proto::messaging::v1::send_email_batch_request::Part;
use publica_rpc::{Link, Peers};
use publica_seal::{Keyring, SealConfig};
use publica_store::DatabaseConfig;
use publica_testkit::{Database, eventually};
use publica_types::{SharedEntropy, SystemClock, SystemEntropy, Tenant};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::{content, envelope, recipient, sum};

const VARIABLE: &str = "PUBLICA_MESSAGING_KILL_TEST";
/// What the child says once everything is delivered.
const FINISHED: &str = "all delivered";
const SIGKILL: i32 = 9;
const RECIPIENTS: usize = 6_000;
const CONNECTIONS: usize = 8;

/// What the killed process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    folder: PathBuf,
    database: String,
    port: u16,
    /// Where the message centre is, if short messages are sent; no mail is then.
    centre: Option<u16>,
    /// What to call, if a provider of short messages is there in its place.
    provider: Option<String>,
    /// The handle of the batch.
    uid: String,
}

impl Order {
    fn config(&self) -> MessagingConfig {
        let mut database = DatabaseConfig {
            url: self.database.clone().into(),
            ..Default::default()
        };
        database.migrate_on_open = Some(true);
        let mut config = MessagingConfig {
            database,
            relay: RelayConfig {
                host: "127.0.0.1".to_owned(),
                port: self.port,
                tls: "none".to_owned(),
                connections: CONNECTIONS,
                ..RelayConfig::default()
            },
            poll_ms: 20,
            ..MessagingConfig::default()
        };
        if let Some(port) = self.centre {
            config.relay.host.clear();
            config.sms = sms::settings(port);
        }
        if let Some(url) = &self.provider {
            config.relay.host.clear();
            config.sms = provider::settings(url);
        }
        config
    }

    fn env(&self) -> Env {
        let entropy: SharedEntropy = Arc::new(SystemEntropy);
        let clock = Arc::new(SystemClock);
        let seal = SealConfig {
            file: Some(self.folder.join("seal.json")),
            create: true,
            ..SealConfig::default()
        };
        Env {
            tokens: TokenSource::ephemeral(clock.clone(), entropy.clone()).unwrap(),
            clock,
            keyring: Keyring::open(&seal, entropy.clone()).unwrap(),
            entropy,
            peers: Peers::new(),
            data_dir: self.folder.clone(),
            witness_dir: self.folder.join("witness"),
            profile: Profile::Local,
            tracker: TaskTracker::new(),
            tenants: vec![Tenant::default()],
        }
    }
}

/// The process that is killed: it delivers until then. Run by itself it does nothing.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how a test tells its own second process what to do"
)]
fn delivers_until_killed() {
    let Ok(order) = std::env::var(VARIABLE) else {
        return;
    };
    let order: Order = serde_json::from_str(&order).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let block = Messaging::open(order.config(), &order.env()).await.unwrap();
        let told = async {
            eventually(|| async {
                let now = status(&block, &order.uid).await;
                (now.delivered == now.total).then_some(())
            })
            .await;
            writeln!(std::io::stdout(), "{FINISHED}").unwrap();
            std::future::pending::<()>().await;
        };
        tokio::join!(block.run(CancellationToken::new()), told);
    });
}

/// Ends the child as a power cut would, in the middle of whatever it does.
fn kill(child: &mut Child) {
    child.kill().unwrap();
    let ended = child.wait().unwrap();
    assert_eq!(ended.signal(), Some(SIGKILL), "the child ended by itself");
}

fn start(order: &Order) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["kill::delivers_until_killed", "--exact", "--nocapture"])
        .env(VARIABLE, serde_json::to_string(order).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A client of a block that is open here for a moment.
fn client(block: &Messaging) -> MessageServiceClient<Link> {
    MessageServiceClient::new(Link::local(block.routes()))
}

async fn accept(order: &Order) -> String {
    let mut config = order.config();
    config.relay.host.clear();
    let block = Messaging::open(config, &order.env()).await.unwrap();
    let body = api::envelope::Body::Content(content("Dear everybody."));
    let header = api::BatchHeader {
        envelope: Some(envelope(body)),
        request_id: String::new(),
    };
    let mut parts = vec![api::SendEmailBatchRequest {
        part: Some(Part::Header(header)),
    }];
    for start in (0..RECIPIENTS).step_by(1_000) {
        let recipients = (start..start + 1_000)
            .map(|n| recipient(&format!("p{n}@home.example")))
            .collect();
        let list = api::RecipientList { recipients };
        parts.push(api::SendEmailBatchRequest {
            part: Some(Part::Recipients(list)),
        });
    }
    let answer = client(&block)
        .send_email_batch(tokio_stream::iter(parts))
        .await
        .unwrap();
    close(block).await;
    answer.into_inner().request_uid
}

/// Runs and at once stops the block, which closes its store.
async fn close(block: Messaging) {
    let stop = CancellationToken::new();
    stop.cancel();
    block.run(stop).await;
}

async fn counters(order: &Order, uid: &str) -> api::Counters {
    let mut config = order.config();
    config.relay.host.clear();
    let block = Messaging::open(config, &order.env()).await.unwrap();
    let counters = status(&block, uid).await;
    close(block).await;
    counters
}

async fn status(block: &Messaging, uid: &str) -> api::Counters {
    let message = api::GetStatusRequest {
        request_uid: uid.to_owned(),
        ..api::GetStatusRequest::default()
    };
    let status = client(block).get_status(message).await.unwrap();
    status.into_inner().counters.unwrap()
}

async fn killed(folder: &Path, database: String, kills: u64) {
    let seen: Arc<Mutex<Vec<(String, u64, u64)>>> = Arc::default();
    let note = seen.clone();
    let options = SinkOptions {
        keep: 0,
        tls: SinkTls::None,
        on_mail: Some(Arc::new(move |mail: &Mail| {
            note.lock()
                .unwrap()
                .push((mail.to[0].clone(), mail.connection, mail.ordinal));
        })),
        ..SinkOptions::default()
    };
    let sink = MailSink::start(options).await.unwrap();
    let port = sink.address().port();
    let mut order = Order {
        folder: folder.to_owned(),
        database,
        port,
        centre: None,
        provider: None,
        uid: String::new(),
    };
    let uid = accept(&order).await;
    order.uid.clone_from(&uid);

    let total = u64::try_from(RECIPIENTS).unwrap();
    for round in 1..=kills {
        let mut child = start(&order);
        let enough = total * round / (kills + 1);
        eventually(|| async { (sink.mails() >= enough).then_some(()) }).await;
        kill(&mut child);
        let now = counters(&order, &uid).await;
        assert_eq!(sum(&now), now.total);
        assert!(now.delivered < now.total, "there was nothing left to kill");
        // What has been reported as delivered has been delivered.
        assert!(u64::try_from(now.delivered).unwrap() <= sink.mails());
    }
    let mut child = start(&order);
    // It says so once its last report is committed.
    let said = child.stdout.take().unwrap();
    let finished = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        lines.any(|line| line.ends_with(FINISHED))
    });
    assert!(finished.await.unwrap(), "the child ended too early");
    kill(&mut child);
    let all: HashSet<String> = {
        let seen = seen.lock().unwrap();
        seen.iter().map(|(to, ..)| to.clone()).collect()
    };
    assert_eq!(all.len(), RECIPIENTS);

    let last = counters(&order, &uid).await;
    assert_eq!(
        (last.delivered, last.total),
        (last.total, i64::try_from(RECIPIENTS).unwrap())
    );
    check_repeats(&seen.lock().unwrap(), kills);
}

/// Each repeat must be of a message that was the last on its connection.
fn check_repeats(seen: &[(String, u64, u64)], kills: u64) {
    let mut last: HashMap<u64, u64> = HashMap::new();
    for (_, connection, ordinal) in seen {
        let known = last.entry(*connection).or_default();
        *known = (*known).max(*ordinal);
    }
    let mut by_recipient: HashMap<&str, Vec<(u64, u64)>> = HashMap::new();
    for (to, connection, ordinal) in seen {
        by_recipient
            .entry(to)
            .or_default()
            .push((*connection, *ordinal));
    }
    let mut repeats = 0;
    for copies in by_recipient.values() {
        for (connection, ordinal) in &copies[..copies.len() - 1] {
            repeats += 1;
            assert_eq!(
                last[connection], *ordinal,
                "a repeat in the middle of a connection"
            );
        }
    }
    let most = usize::try_from(kills).unwrap() * CONNECTIONS;
    assert!(repeats <= most, "{repeats} repeats");
}

/// The lock of an embedded store proves that earlier processes are dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_on_sqlite() {
    let db = Database::sqlite();
    killed(db.dir(), db.config().url.expose().clone(), 3).await;
}

/// On a server their silence does, after twenty seconds; hence one kill only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_on_postgres() {
    let db = Database::postgres().await;
    killed(db.dir(), db.config().url.expose().clone(), 1).await;
}
