//! Single messages, from the call to the mailbox.

use publica_messaging::SigningConfig;
use publica_messaging::sink::{SinkOptions, SinkTls};
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::channel_service_client::ChannelServiceClient;
use publica_testkit::{Database, both_engines, eventually};
use tonic::Code;

use crate::support::{ALL, content, email, envelope, parameters, world, world_with};

both_engines! {
    async fn a_message_arrives_and_is_counted(db: publica_testkit::TestDatabase) {
        let world = world(db, SinkOptions::default()).await;
        let mut message = email("anna@home.example, ben@home.example", ".Dear both,\r\nhello.");
        let recipient = message.recipient.as_mut().unwrap();
        recipient.cc = "carl@home.example".to_owned();
        recipient.bcc = "dora@home.example, anna@home.example".to_owned();
        let answer = world.messages().send_email(message).await.unwrap().into_inner();
        assert_eq!(answer.request_uid.len(), 29);
        assert!(!answer.replayed);

        world.reaches(&answer.request_uid, |counters| counters.delivered == 1).await;
        let [mail] = world.sink.kept().try_into().unwrap();
        let expected = ["anna@home.example", "ben@home.example", "carl@home.example",
            "dora@home.example"];
        assert_eq!(mail.to, expected);
        assert_eq!(mail.from, "noreply@gov.example");
        assert_eq!(mail.header("From").unwrap(), "Ministry of Health <noreply@gov.example>");
        assert_eq!(mail.header("Cc").unwrap(), "carl@home.example");
        assert_eq!(mail.header("Bcc"), None);
        let message_id = format!("<{}@gov.example>", answer.message_id);
        assert_eq!(mail.header("Message-ID").unwrap(), message_id);
        assert_eq!(mail.body(), ".Dear both,\r\nhello.\r\n");

        let events = world.events(&answer.request_uid).await;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].message_id, answer.message_id);
        assert_eq!((events[0].code, events[0].reason.as_str()), (250, "accepted"));
    }

    async fn a_repeat_is_answered_and_not_sent(db: publica_testkit::TestDatabase) {
        let world = world(db, SinkOptions::default()).await;
        let request_id = "018f4e3c-5f00-7000-8000-00000000000a".to_owned();
        let message = api::SendEmailRequest { request_id, ..email("anna@home.example", "one") };
        let first = world.messages().send_email(message.clone()).await.unwrap().into_inner();
        let second = world.messages().send_email(message.clone()).await.unwrap().into_inner();
        assert_eq!(first.request_uid, second.request_uid);
        assert!(!first.replayed && second.replayed);
        let mut other = message;
        other.recipient.as_mut().unwrap().name = "Anna".to_owned();
        let refused = world.messages().send_email(other).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(publica_rpc::reason(&refused).as_deref(), Some("REQUEST_ID_REUSED"));
        world.reaches(&first.request_uid, |counters| counters.delivered == 1).await;
        assert_eq!(world.sink.mails(), 1);
    }

    async fn a_template_in_the_call_is_rendered(db: publica_testkit::TestDatabase) {
        let world = world(db, SinkOptions::default()).await;
        let mut template = content("Your code is {{ code }}.");
        template.html = "<p>{{ code }}</p>".to_owned();
        let mut message = email("anna@home.example", "");
        let body = api::envelope::Body::InlineTemplate(template);
        message.envelope = Some(api::Envelope {
            priority: api::Priority::Urgent.into(),
            ..envelope(body)
        });
        let missing = world.messages().send_email(message.clone()).await.unwrap_err();
        assert_eq!(missing.code(), Code::InvalidArgument);
        message.recipient.as_mut().unwrap().parameters = parameters(&[("code", "<123>")]);
        let uid = world.send(message).await;
        world.reaches(&uid, |counters| counters.delivered == 1).await;
        let mail = world.sink.last_to("anna@home.example").unwrap();
        assert!(mail.body().contains("Your code is <123>."), "{}", mail.body());
        assert!(mail.body().contains("<p>&lt;123&gt;</p>"), "{}", mail.body());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_goes_over_tls_and_is_signed() {
    for tls in [SinkTls::StartTls, SinkTls::Implicit] {
        let options = SinkOptions {
            tls,
            ..SinkOptions::default()
        };
        let world = world_with(Database::sqlite(), options, |config| {
            config.signing.push(SigningConfig {
                domain: "gov.example".to_owned(),
                selector: "p1".to_owned(),
                ..SigningConfig::default()
            });
        })
        .await;
        let uid = world
            .send(email("anna@home.example", "Signed.  With  spaces. \n\n\n"))
            .await;
        world
            .reaches(&uid, |counters| counters.delivered == 1)
            .await;
        let mut channels = ChannelServiceClient::new(world.block.as_caller(ALL));
        let keys = channels
            .list_signing_keys(api::ListSigningKeysRequest {})
            .await
            .unwrap();
        let [key] = keys.into_inner().keys.try_into().unwrap();
        assert_eq!(key.record_name, "p1._domainkey.gov.example");
        let mail = world.sink.last_to("anna@home.example").unwrap();
        assert!(
            mail.is_signed_by(&key.record_value),
            "{:?}",
            mail.header("DKIM-Signature")
        );
        let state = channels
            .list_channels(api::ListChannelsRequest {})
            .await
            .unwrap();
        let channel = &state.into_inner().channels[0];
        assert_eq!(channel.health(), api::ChannelHealth::Up);
        assert_eq!(channel.sent_count, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_without_pipelining_is_served_step_by_step() {
    let options = SinkOptions {
        pipelining: false,
        ..SinkOptions::default()
    };
    let world = world(Database::sqlite(), options).await;
    for round in 0..3 {
        let uid = world
            .send(email(&format!("anna{round}@home.example"), "Hello."))
            .await;
        world
            .reaches(&uid, |counters| counters.delivered == 1)
            .await;
    }
    assert_eq!(world.sink.mails(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_at_once_and_without_contacts() {
    let world = world(Database::sqlite(), SinkOptions::default()).await;
    let mut message = email("anna@home.example, nobody-at-home", "x");
    message
        .envelope
        .as_mut()
        .unwrap()
        .sender
        .as_mut()
        .unwrap()
        .name = "a\nb".to_owned();
    let refused = world.messages().send_email(message).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(
        publica_rpc::reason(&refused).as_deref(),
        Some("HEADER_INJECTION")
    );
    let shown = format!("{refused:?}");
    assert!(shown.contains("recipient.email[1]"), "{shown}");
    assert!(!shown.contains("nobody-at-home"), "{shown}");

    let mut priority = email("anna@home.example", "x");
    priority.envelope.as_mut().unwrap().priority = api::Priority::Emergency.into();
    let scopes = ["messaging:message:send"];
    let mut client =
        api::message_service_client::MessageServiceClient::new(world.block.as_caller(&scopes));
    let refused = client.send_email(priority).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let unknown = api::GetStatusRequest {
        request_uid: "AAAA-AAAA".to_owned(),
        ..api::GetStatusRequest::default()
    };
    let refused = world.messages().get_status(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(
        publica_rpc::reason(&refused).as_deref(),
        Some("UNKNOWN_REQUEST_UID")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_bind_senders() {
    let world = world_with(Database::sqlite(), SinkOptions::default(), |config| {
        config.senders.push(publica_messaging::SenderConfig {
            callers: vec!["tester".to_owned()],
            domains: vec!["gov.example".to_owned()],
            ..Default::default()
        });
    })
    .await;
    let mut message = email("anna@home.example", "x");
    world.send(message.clone()).await;
    message
        .envelope
        .as_mut()
        .unwrap()
        .sender
        .as_mut()
        .unwrap()
        .email = "noreply@other.example".to_owned();
    let refused = world.messages().send_email(message).await.unwrap_err();
    assert_eq!(
        publica_rpc::reason(&refused).as_deref(),
        Some("FORBIDDEN_SENDER")
    );
    eventually(|| async { (world.sink.mails() == 1).then_some(()) }).await;
}
