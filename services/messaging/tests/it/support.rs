//! A block with its own store, a sink to deliver to, and a clock that tests move.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use publica_messaging::sink::{MailSink, SinkOptions, SinkTls};
use publica_messaging::{Messaging, MessagingConfig, RelayConfig};
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::delivery_service_client::DeliveryServiceClient;
use publica_proto::messaging::v1::message_service_client::MessageServiceClient;
use publica_rpc::Link;
use publica_testkit::{MockClock, TestBlock, TestDatabase, TestEnv, env, eventually};
use publica_types::{Clock as _, Timestamp};

pub(crate) const ALL: &[&str] = &["messaging:*"];

/// Everything that a test needs; dropping it ends it.
pub(crate) struct World {
    pub(crate) block: TestBlock<Messaging>,
    pub(crate) sink: MailSink,
    pub(crate) clock: Arc<MockClock>,
    _env: TestEnv,
    pub(crate) db: TestDatabase,
}

/// Where the sink is, as settings.
pub(crate) fn relay(sink: &MailSink, tls: SinkTls) -> RelayConfig {
    RelayConfig {
        host: if tls == SinkTls::None {
            "127.0.0.1"
        } else {
            "localhost"
        }
        .to_owned(),
        port: sink.address().port(),
        tls: match tls {
            SinkTls::None => "none",
            SinkTls::StartTls => "starttls",
            SinkTls::Implicit => "implicit",
        }
        .to_owned(),
        ca_pem: sink.ca_pem().to_owned(),
        connections: 4,
        ..RelayConfig::default()
    }
}

/// A block that delivers to a sink.
pub(crate) async fn world(db: TestDatabase, options: SinkOptions) -> World {
    world_with(db, options, |_| {}).await
}

/// The same, with settings of the test's own.
pub(crate) async fn world_with(
    db: TestDatabase,
    options: SinkOptions,
    change: impl FnOnce(&mut MessagingConfig),
) -> World {
    let tls = options.tls;
    let sink = MailSink::start(options).await.unwrap();
    let clock = Arc::new(MockClock::at(
        "2026-03-01T09:00:00Z".parse::<Timestamp>().unwrap(),
    ));
    let env = env("messaging").with_clock(clock.clone());
    let mut config = MessagingConfig {
        database: db.config(),
        relay: relay(&sink, tls),
        poll_ms: 50,
        ..MessagingConfig::default()
    };
    change(&mut config);
    let block = env.open::<Messaging>(config).await.unwrap();
    World {
        block,
        sink,
        clock,
        _env: env,
        db,
    }
}

impl World {
    pub(crate) fn messages(&self) -> MessageServiceClient<Link> {
        MessageServiceClient::new(self.block.as_caller(ALL))
    }

    pub(crate) fn delivery(&self) -> DeliveryServiceClient<Link> {
        DeliveryServiceClient::new(self.block.as_caller(ALL))
    }

    /// Sends one message and gives its request's handle.
    pub(crate) async fn send(&self, message: api::SendEmailRequest) -> String {
        self.messages()
            .send_email(message)
            .await
            .unwrap()
            .into_inner()
            .request_uid
    }

    pub(crate) async fn counters(&self, uid: &str) -> api::Counters {
        let message = api::GetStatusRequest {
            request_uid: uid.to_owned(),
            ..api::GetStatusRequest::default()
        };
        let status = self
            .messages()
            .get_status(message)
            .await
            .unwrap()
            .into_inner();
        let counters = status.counters.unwrap();
        assert_eq!(sum(&counters), counters.total, "{counters:?}");
        counters
    }

    /// Waits until the counters of a request satisfy a condition.
    pub(crate) async fn reaches(
        &self,
        uid: &str,
        condition: impl Fn(&api::Counters) -> bool,
    ) -> api::Counters {
        let condition = &condition;
        eventually(|| async move {
            let counters = self.counters(uid).await;
            condition(&counters).then_some(counters)
        })
        .await
    }

    pub(crate) async fn events(&self, uid: &str) -> Vec<api::MessageEvent> {
        let mut events = Vec::new();
        let mut page_token = String::new();
        loop {
            let message = api::ListEventsRequest {
                request_uid: uid.to_owned(),
                page_size: 7,
                page_token,
            };
            let page = self
                .messages()
                .list_events(message)
                .await
                .unwrap()
                .into_inner();
            events.extend(page.events);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return events;
            }
        }
    }

    pub(crate) async fn reasons(&self, uid: &str) -> Vec<String> {
        self.events(uid)
            .await
            .into_iter()
            .map(|event| event.reason)
            .collect()
    }

    pub(crate) fn advance(&self, span: Duration) {
        self.clock.advance(span);
    }

    pub(crate) fn in_seconds(&self, seconds: i64) -> prost_types::Timestamp {
        let now = self.clock.now().micros().div_euclid(1_000_000);
        prost_types::Timestamp {
            seconds: now + seconds,
            nanos: 0,
        }
    }
}

pub(crate) fn sum(counters: &api::Counters) -> i64 {
    counters.scheduled
        + counters.processing
        + counters.deferred
        + counters.bounced
        + counters.not_sent
        + counters.delivered
}

pub(crate) fn content(text: &str) -> api::Content {
    api::Content {
        subject: "Your appointment".to_owned(),
        text: text.to_owned(),
        ..api::Content::default()
    }
}

pub(crate) fn envelope(body: api::envelope::Body) -> api::Envelope {
    api::Envelope {
        sender: Some(api::Sender {
            email: "noreply@gov.example".to_owned(),
            name: "Ministry of Health".to_owned(),
            ..api::Sender::default()
        }),
        body: Some(body),
        ..api::Envelope::default()
    }
}

pub(crate) fn recipient(email: &str) -> api::Recipient {
    api::Recipient {
        email: email.to_owned(),
        ..api::Recipient::default()
    }
}

/// One message of plain text.
pub(crate) fn email(to: &str, text: &str) -> api::SendEmailRequest {
    api::SendEmailRequest {
        envelope: Some(envelope(api::envelope::Body::Content(content(text)))),
        recipient: Some(recipient(to)),
        request_id: String::new(),
    }
}

pub(crate) fn parameters(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
