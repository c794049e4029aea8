//! Delivery: a batch with a template, signed with Ed25519, over TLS, to a sink in the same
//! process; the counters read while it runs; and urgent mail while a batch runs.
//!
//! The limit is our own SMTP client, without a store, against the same sink.

use std::sync::Arc;
use std::time::Duration;

use publica_messaging::sink::{Faults, Mail, MailSink, SinkOptions, SinkTls, flood};
use publica_messaging::{Messaging, MessagingConfig, RelayConfig, SigningConfig};
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::message_service_client::MessageServiceClient;
use publica_proto::messaging::v1::send_email_batch_request::Part;
use publica_rpc::Link;
use publica_store::Engine;
use publica_testkit::{Database, TestBlock, TestDatabase, TestEnv, env};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::pace::{self, Pace};
use crate::report::Report;

/// What to measure of delivery.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only this engine.
    #[arg(long, value_parser = ["sqlite", "postgres"])]
    engine: Option<String>,
    /// Recipients of the batch.
    #[arg(long, default_value_t = 100_000)]
    recipients: u32,
    /// Connections to the sink.
    #[arg(long, default_value_t = 32)]
    connections: usize,
}

const LIMIT: &str = "our SMTP client alone";
/// Pauses between reads of the counters.
const LOOK: Duration = Duration::from_millis(20);
/// Urgent messages, one after another.
const URGENT: usize = 300;

pub(crate) async fn measure(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let wanted = |engine: Engine| {
        arguments
            .engine
            .as_deref()
            .is_none_or(|wanted| wanted == engine.as_str())
    };
    if wanted(Engine::Sqlite) {
        measure_engine(&Database::sqlite(), arguments, report).await?;
    }
    if wanted(Engine::Postgres) {
        measure_engine(&Database::durable_postgres().await, arguments, report).await?;
    }
    Ok(())
}

struct World {
    sink: MailSink,
    relay: RelayConfig,
    block: TestBlock<Messaging>,
    /// Stands for the running process: dropped, it ends the block.
    _env: TestEnv,
}

/// Woken by each urgent message that arrives.
type Arrived = Arc<Notify>;

async fn world(
    database: &TestDatabase,
    arguments: &Arguments,
    arrived: &Arrived,
) -> anyhow::Result<World> {
    let arrived = Arc::clone(arrived);
    let sink = MailSink::start(SinkOptions {
        tls: SinkTls::Implicit,
        keep: 1,
        faults: Faults::default(),
        on_mail: Some(Arc::new(move |mail: &Mail| {
            if mail.to.first().is_some_and(|to| to.starts_with("urgent")) {
                arrived.notify_one();
            }
        })),
        ..SinkOptions::default()
    })
    .await?;
    let relay = RelayConfig {
        host: "localhost".to_owned(),
        port: sink.address().port(),
        tls: "implicit".to_owned(),
        ca_pem: sink.ca_pem().to_owned(),
        connections: arguments.connections,
        ..RelayConfig::default()
    };
    let mut database = database.config();
    database.connections = 16;
    let config = MessagingConfig {
        database,
        relay: relay.clone(),
        signing: vec![SigningConfig {
            domain: "gov.example".to_owned(),
            selector: "load".to_owned(),
            ..SigningConfig::default()
        }],
        ..MessagingConfig::default()
    };
    let env = env("messaging");
    let block = env.open::<Messaging>(config).await?;
    Ok(World {
        sink,
        relay,
        block,
        _env: env,
    })
}

async fn measure_engine(
    database: &TestDatabase,
    arguments: &Arguments,
    report: &mut Report,
) -> anyhow::Result<()> {
    let engine = database.engine().as_str();
    let arrived = Arrived::default();
    let world = world(database, arguments, &arrived).await?;
    let client = MessageServiceClient::new(world.block.as_caller(&["messaging:*"]));

    // One message first, for its size and to warm up.
    send_batch(&mut client.clone(), 1).await?;
    wait_for(&world.sink, 1).await;
    let message = world
        .sink
        .kept()
        .pop()
        .map(|mail| mail.data)
        .unwrap_or_default();
    let began = Instant::now();
    flood(&world.relay, message, i64::from(arguments.recipients)).await?;
    let limit = f64::from(arguments.recipients) / began.elapsed().as_secs_f64();

    let before = world.sink.mails();
    let began = Instant::now();
    let uid = send_batch(&mut client.clone(), arguments.recipients).await?;
    let status = watch(&mut client.clone(), uid).await?;
    let rate = f64::from(arguments.recipients) / began.elapsed().as_secs_f64();
    anyhow::ensure!(world.sink.mails() - before == u64::from(arguments.recipients));
    let pace = Pace { rate, ..status };
    report.add("messaging-email", engine, pace, LIMIT, limit)?;

    send_batch(&mut client.clone(), arguments.recipients).await?;
    let urgent = urgent(&mut client.clone(), &arrived).await?;
    report.add("messaging-urgent", engine, urgent, LIMIT, limit)
}

async fn send_batch(
    client: &mut MessageServiceClient<Link>,
    recipients: u32,
) -> anyhow::Result<String> {
    let header = api::BatchHeader {
        envelope: Some(envelope(api::Priority::Bulk)),
        request_id: String::new(),
    };
    let first = api::SendEmailBatchRequest {
        part: Some(Part::Header(header)),
    };
    let parts = (0..recipients).step_by(1_000).map(move |start| {
        let end = (start + 1_000).min(recipients);
        let list = (start..end).map(|number| recipient(&format!("p{number}@home.example")));
        let list = api::RecipientList {
            recipients: list.collect(),
        };
        api::SendEmailBatchRequest {
            part: Some(Part::Recipients(list)),
        }
    });
    let mut request = tonic::Request::new(tokio_stream::iter(std::iter::once(first).chain(parts)));
    request.set_timeout(Duration::from_mins(5));
    Ok(client
        .send_email_batch(request)
        .await?
        .into_inner()
        .request_uid)
}

fn envelope(priority: api::Priority) -> api::Envelope {
    let paragraph = "This line stands for the text that such a letter has, word after word. ";
    let text = format!("Dear {{{{ name }}}},\n\n{}\n", paragraph.repeat(14));
    api::Envelope {
        sender: Some(api::Sender {
            email: "noreply@gov.example".to_owned(),
            name: "Ministry".to_owned(),
            ..api::Sender::default()
        }),
        body: Some(api::envelope::Body::InlineTemplate(api::Content {
            subject: "For {{ name }}".to_owned(),
            text,
            ..api::Content::default()
        })),
        priority: priority.into(),
        ..api::Envelope::default()
    }
}

fn recipient(email: &str) -> api::Recipient {
    let parameters = [("name".to_owned(), "Somebody".to_owned())].into();
    api::Recipient {
        email: email.to_owned(),
        parameters,
        ..api::Recipient::default()
    }
}

/// Reads the counters until all is delivered; they must sum at every look.
async fn watch(client: &mut MessageServiceClient<Link>, uid: String) -> anyhow::Result<Pace> {
    let mut took = Vec::new();
    loop {
        let message = api::GetStatusRequest {
            request_uid: uid.clone(),
            ..api::GetStatusRequest::default()
        };
        let began = Instant::now();
        let status = client.get_status(message).await?.into_inner();
        took.push(u64::try_from(began.elapsed().as_micros())?);
        let counters = status.counters.unwrap_or_default();
        let sum = counters.scheduled
            + counters.processing
            + counters.deferred
            + counters.bounced
            + counters.not_sent
            + counters.delivered;
        anyhow::ensure!(
            sum == counters.total,
            "the counters do not sum: {counters:?}"
        );
        if status.completed {
            anyhow::ensure!(
                counters.delivered == counters.total,
                "not all arrived: {counters:?}"
            );
            return Ok(pace::of(took, Duration::from_secs(1)));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Urgent messages one after another, each from its call to its arrival.
async fn urgent(
    client: &mut MessageServiceClient<Link>,
    arrived: &Arrived,
) -> anyhow::Result<Pace> {
    let all = Instant::now();
    let mut took = Vec::with_capacity(URGENT);
    for number in 0..URGENT {
        let message = api::SendEmailRequest {
            envelope: Some(envelope(api::Priority::Urgent)),
            recipient: Some(recipient(&format!("urgent{number}@home.example"))),
            request_id: String::new(),
        };
        let began = Instant::now();
        client.send_email(message).await?;
        arrived.notified().await;
        took.push(u64::try_from(began.elapsed().as_micros())?);
    }
    Ok(pace::of(took, all.elapsed()))
}

async fn wait_for(sink: &MailSink, mails: u64) {
    while sink.mails() < mails {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
