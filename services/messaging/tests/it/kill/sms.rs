//! The same for short messages: nothing is lost, and what is sent twice was under way in a slot of
//! the session that died.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use publica_host::Block as _;
use publica_messaging::smsc::{CentreOptions, Receipts, SmsCentre, Taken};
use publica_messaging::{CentreConfig, Messaging, SmsConfig};
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::send_sms_batch_request::Part;
use publica_proto::messaging::v1::sms_service_client::SmsServiceClient;
use publica_rpc::Link;
use publica_testkit::{Database, eventually};
use publica_types::Secret;

use super::{FINISHED, Order, close, counters, kill, start};
use crate::support::sum;

pub(super) const RECIPIENTS: usize = 2_000;
const WINDOW: usize = 8;

/// Where the centre is. What it took is delivered: it brings no receipt a second time.
pub(super) fn settings(port: u16) -> SmsConfig {
    SmsConfig {
        receipt_hours: 0,
        centres: vec![CentreConfig {
            host: "127.0.0.1".to_owned(),
            port,
            tls: "none".to_owned(),
            system_id: "publica".to_owned(),
            password: Secret::new("secret".to_owned()),
            window: WINDOW,
            ..CentreConfig::default()
        }],
        ..SmsConfig::default()
    }
}

pub(super) async fn accept(order: &Order) -> String {
    let block = Messaging::open(order.config(), &order.env()).await.unwrap();
    let header = api::SmsBatchHeader {
        envelope: Some(crate::sms::envelope(api::sms_envelope::Body::Text(
            "Dear everybody.".to_owned(),
        ))),
        request_id: String::new(),
    };
    let mut parts = vec![Part::Header(header)];
    for start in (0..RECIPIENTS).step_by(1_000) {
        let recipients = (start..start + 1_000).map(|n| api::SmsRecipient {
            phone: format!("+2547220{n:05}"),
            ..api::SmsRecipient::default()
        });
        let recipients = recipients.collect();
        parts.push(Part::Recipients(api::SmsRecipientList { recipients }));
    }
    let parts: Vec<_> = parts
        .into_iter()
        .map(|part| api::SendSmsBatchRequest { part: Some(part) })
        .collect();
    let answer = SmsServiceClient::new(Link::local(block.routes()))
        .send_sms_batch(tokio_stream::iter(parts))
        .await
        .unwrap();
    close(block).await;
    answer.into_inner().request_uid
}

async fn killed(folder: &Path, database: String, kills: u64) {
    let options = CentreOptions {
        receipts: Receipts::Never,
        keep: 2 * RECIPIENTS,
        ..CentreOptions::default()
    };
    let centre = SmsCentre::start(options).await.unwrap();
    let mut order = Order {
        folder: folder.to_owned(),
        database,
        port: 0,
        centre: Some(centre.address().port()),
        provider: None,
        uid: String::new(),
    };
    order.uid = accept(&order).await;
    let total = u64::try_from(RECIPIENTS).unwrap();
    for round in 1..=kills {
        let mut child = start(&order);
        let enough = total * round / (kills + 1);
        eventually(|| async { (centre.taken() >= enough).then_some(()) }).await;
        kill(&mut child);
        let now = counters(&order, &order.uid).await;
        assert_eq!(sum(&now), now.total);
        assert!(now.delivered < now.total, "there was nothing left to kill");
        assert!(u64::try_from(now.delivered).unwrap() <= centre.taken());
    }
    let mut child = start(&order);
    let said = child.stdout.take().unwrap();
    let finished = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        lines.any(|line| line.ends_with(FINISHED))
    });
    assert!(finished.await.unwrap(), "the child ended too early");
    kill(&mut child);
    let last = counters(&order, &order.uid).await;
    assert_eq!(u64::try_from(last.delivered).unwrap(), total);
    check_repeats(&centre.kept(), kills);
}

/// Everybody got it; each repeat was among the last that were under way on its connection.
fn check_repeats(taken: &[Taken], kills: u64) {
    let window = u64::try_from(WINDOW).unwrap();
    let mut last: HashMap<u64, u64> = HashMap::new();
    let mut copies: HashMap<&str, Vec<&Taken>> = HashMap::new();
    for one in taken {
        let known = last.entry(one.connection).or_default();
        *known = (*known).max(one.ordinal);
        copies.entry(&one.to).or_default().push(one);
    }
    assert_eq!(copies.len(), RECIPIENTS);
    let mut repeats = 0;
    for copies in copies.values() {
        for one in &copies[..copies.len() - 1] {
            repeats += 1;
            // Each other slot has sent at most once more since.
            let after = last[&one.connection] - one.ordinal;
            assert!(
                after < 2 * window,
                "a repeat {after} before the end of a connection"
            );
        }
    }
    assert!(repeats <= kills * window, "{repeats} repeats");
}

/// The lock of an embedded store proves that earlier processes are dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_on_sqlite() {
    let db = Database::sqlite();
    killed(db.dir(), db.config().url.expose().clone(), 2).await;
}

/// On a server their silence does, after twenty seconds; hence one kill only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_on_postgres() {
    let db = Database::postgres().await;
    killed(db.dir(), db.config().url.expose().clone(), 1).await;
}
