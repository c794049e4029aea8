//! Short messages, with a provider that speaks HTTP, alone and beside a message centre.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use publica_messaging::sink::SinkOptions;
use publica_messaging::smsc::{CentreOptions, SmsCentre};
use publica_messaging::{
    AnswerConfig, HeaderConfig, MessagingConfig, ProviderConfig, ReportConfig,
};
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::channel_service_client::ChannelServiceClient;
use publica_proto::messaging::v1::inbound_service_client::InboundServiceClient;
use publica_proto::messaging::v1::send_sms_batch_request::Part;
use publica_proto::messaging::v1::sms_service_client::SmsServiceClient;
use publica_testkit::{
    SMS_PROVIDER_KEY, SmsProvider, SmsProviderFaults, TestDatabase, both_engines, eventually,
};
use publica_types::Secret;
use serde_json::json;

use crate::sms::envelope;
use crate::support::{ALL, World, world_with};

const TOKEN: &str = "a-token-of-the-provider";

/// How to call the provider of the testkit.
pub(crate) fn settings(url: &str) -> ProviderConfig {
    let answer = |values: &[&str], means: &str, reason: &str| AnswerConfig {
        pointer: "/message/status".to_owned(),
        values: values.iter().map(|one| (*one).to_owned()).collect(),
        means: means.to_owned(),
        reason: reason.to_owned(),
        ..AnswerConfig::default()
    };
    ProviderConfig {
        name: "hub".to_owned(),
        url: url.to_owned(),
        allow_private: true,
        json: json!({
            "to": "{{ to }}", "from": "{{ from }}", "text": "{{ text }}",
            "reference": "{{ id }}", "validity": "{{ validity_seconds | number }}",
        })
        .to_string(),
        headers: vec![HeaderConfig {
            name: "X-Api-Key".to_owned(),
            value: Secret::new("{{ secret }}".to_owned()),
        }],
        secret: Secret::new(SMS_PROVIDER_KEY.to_owned()),
        answer_id: "/message/id".to_owned(),
        answers: vec![
            answer(&["unknown_number"], "refused", "no_such_number"),
            answer(&["blocked"], "refused", "refused_by_policy"),
            answer(&["later"], "later", "refused_for_now"),
            answer(&["perhaps"], "unknown", "refused"),
        ],
        reports: Some(ReportConfig {
            header: "X-Provider-Token".to_owned(),
            proof: "token".to_owned(),
            secret: Secret::new(TOKEN.to_owned()),
            items: "/reports".to_owned(),
            id: "/id".to_owned(),
            status: "/status".to_owned(),
            error: "/error".to_owned(),
            delivered: vec!["DELIVERED".to_owned()],
            undeliverable: vec!["FAILED".to_owned()],
            ..ReportConfig::default()
        }),
        window: 4,
        ..ProviderConfig::default()
    }
}

struct Hub {
    world: World,
    provider: SmsProvider,
}

async fn hub_with(db: TestDatabase, change: impl FnOnce(&mut MessagingConfig)) -> Hub {
    let provider = SmsProvider::start().await;
    let world = world_with(db, SinkOptions::default(), |config| {
        config.sms.providers = vec![settings(provider.url())];
        change(config);
    })
    .await;
    Hub { world, provider }
}

async fn hub(db: TestDatabase) -> Hub {
    hub_with(db, |_| {}).await
}

fn words(list: &[(&str, &str)]) -> SmsProviderFaults {
    let words = list
        .iter()
        .map(|(number, word)| ((*number).to_owned(), (*word).to_owned()));
    SmsProviderFaults {
        words: words.collect(),
        ..SmsProviderFaults::default()
    }
}

impl Hub {
    async fn send(&self, to: &str, text: &str) -> String {
        let message = api::SendSmsRequest {
            envelope: Some(envelope(api::sms_envelope::Body::Text(text.to_owned()))),
            recipient: Some(api::SmsRecipient {
                phone: to.to_owned(),
                ..api::SmsRecipient::default()
            }),
            request_id: String::new(),
        };
        let mut client = SmsServiceClient::new(self.world.block.as_caller(ALL));
        let sent = client.send_sms(message).await.unwrap();
        sent.into_inner().request_uid
    }

    async fn send_all(&self, count: usize) -> String {
        let body = api::sms_envelope::Body::Text("Dear everybody.".to_owned());
        let header = api::SmsBatchHeader {
            envelope: Some(envelope(body)),
            request_id: String::new(),
        };
        let recipients = (0..count).map(|number| api::SmsRecipient {
            phone: format!("+2547220{number:05}"),
            ..api::SmsRecipient::default()
        });
        let recipients = recipients.collect();
        let parts = [
            Part::Header(header),
            Part::Recipients(api::SmsRecipientList { recipients }),
        ];
        let parts = parts.map(|part| api::SendSmsBatchRequest { part: Some(part) });
        let mut client = SmsServiceClient::new(self.world.block.as_caller(ALL));
        let sent = client.send_sms_batch(tokio_stream::iter(parts)).await;
        sent.unwrap().into_inner().request_uid
    }

    async fn brings(&self, headers: &[(&str, &str)], body: &[u8]) -> api::ReportVerdict {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let message = api::ReceiveSmsReportRequest {
            provider: "hub".to_owned(),
            headers: headers.collect::<HashMap<_, _>>(),
            body: body.to_vec().into(),
        };
        let mut client = InboundServiceClient::new(self.world.block.as_caller(ALL));
        let taken = client.receive_sms_report(message).await.unwrap();
        taken.into_inner().verdict()
    }

    /// Reports on messages by the provider's ids.
    async fn report(&self, states: &[(&str, &str)]) {
        let reports: Vec<_> = states
            .iter()
            .map(|(id, status)| json!({"id": id, "status": status, "error": 27}))
            .collect();
        let body = json!({ "reports": reports }).to_string();
        let verdict = self
            .brings(&[("x-provider-token", TOKEN)], body.as_bytes())
            .await;
        assert_eq!(verdict, api::ReportVerdict::Taken);
    }

    /// Waits until nobody takes short messages.
    async fn is_down(&self) {
        let down = || async {
            let mut client = ChannelServiceClient::new(self.world.block.as_caller(ALL));
            let channels = client.list_channels(api::ListChannelsRequest {}).await;
            let channels = channels.unwrap().into_inner().channels;
            let sms = channels.into_iter().find(|one| one.name == "sms").unwrap();
            (sms.health() == api::ChannelHealth::Down).then_some(())
        };
        eventually(down).await;
    }

    async fn taken(&self, count: usize) {
        eventually(|| async { (self.provider.sent().len() == count).then_some(()) }).await;
    }
}

both_engines! {
    async fn a_provider_takes_a_text_as_a_whole_and_reports(db: TestDatabase) {
        let hub = hub(db).await;
        // Three parts on the air, and what would break a body that is put together as text.
        let text = "\"Очень\" длинное {сообщение}\\ & \n".repeat(5);
        let good = hub.send("+254 722-000 001", &text).await;
        hub.taken(1).await;
        let bad = hub.send("+254722000002", "Hello").await;
        hub.taken(2).await;
        let sent = hub.provider.sent();
        assert_eq!((sent[0].to.as_str(), sent[0].from.as_str()), ("+254722000001", "Ministry"));
        assert_eq!(sent[0].text, text);
        assert!((86_000..=86_400).contains(&sent[0].validity), "{}", sent[0].validity);
        assert_ne!(sent[0].reference, sent[1].reference);
        for uid in [&good, &bad] {
            hub.world.reaches(uid, |counters| counters.processing == 1).await;
        }
        hub.report(&[("P-1", "QUEUED")]).await;
        hub.report(&[("P-1", "DELIVERED"), ("P-2", "failed"), ("P-99", "DELIVERED")]).await;
        hub.world.reaches(&good, |counters| counters.delivered == 1).await;
        hub.world.reaches(&bad, |counters| counters.bounced == 1).await;
        assert_eq!(hub.world.reasons(&good).await, ["accepted", "confirmed"]);
        let events = hub.world.events(&bad).await;
        assert_eq!((events[1].reason.as_str(), events[1].code), ("undeliverable", 27));
        // The same again, and the other way, is what it is with a centre.
        hub.report(&[("P-1", "DELIVERED")]).await;
        hub.report(&[("P-2", "DELIVERED")]).await;
        assert_eq!(hub.world.reasons(&good).await, ["accepted", "confirmed"]);
        assert!(hub.provider.complaints().is_empty(), "{:?}", hub.provider.complaints());
    }

    async fn answers_mean_what_the_settings_say(db: TestDatabase) {
        let hub = hub(db).await;
        hub.provider.set_faults(words(&[
            ("+254722000001", "unknown_number"),
            ("+254722000002", "blocked"),
            ("+254722000003", "later"),
            ("+254722000004", "perhaps"),
        ]));
        let uid = hub.send_all(6).await;
        let settled = |counters: &api::Counters| {
            counters.bounced == 2 && counters.deferred == 2 && counters.processing == 2
        };
        hub.world.reaches(&uid, settled).await;
        // A message counts as processing before it is taken and after.
        let mut reasons = eventually(|| async {
            let reasons = hub.world.reasons(&uid).await;
            (reasons.len() == 6).then_some(reasons)
        })
        .await;
        reasons.sort();
        assert_eq!(reasons, ["accepted", "accepted", "no_answer", "no_such_number",
            "refused_by_policy", "refused_for_now"]);
        // What was put off goes when it is time; the id says that it is the same message.
        hub.provider.set_faults(SmsProviderFaults::default());
        hub.world.advance(Duration::from_mins(8));
        hub.world.reaches(&uid, |counters| counters.processing == 4).await;
        hub.taken(4).await;
        let calls = hub.provider.calls();
        assert_eq!((calls.len(), calls.values().sum::<usize>()), (6, 8));
    }

    async fn an_answer_that_is_lost_is_asked_for_once_more(db: TestDatabase) {
        let hub = hub(db).await;
        hub.provider.set_faults(SmsProviderFaults { cut: 1, ..SmsProviderFaults::default() });
        let uid = hub.send("+254722000001", "Hello").await;
        hub.world.reaches(&uid, |counters| counters.deferred == 1).await;
        assert_eq!(hub.world.reasons(&uid).await, ["no_answer"]);
        hub.world.advance(Duration::from_mins(8));
        hub.world.reaches(&uid, |counters| counters.processing == 1).await;
        // It knew the repeat.
        assert_eq!(hub.provider.sent().len(), 1);
        assert_eq!(hub.provider.calls().into_values().collect::<Vec<_>>(), [2]);
        hub.report(&[("P-1", "DELIVERED")]).await;
        hub.world.reaches(&uid, |counters| counters.delivered == 1).await;
    }

    async fn a_provider_that_takes_nothing_now_loses_nothing(db: TestDatabase) {
        let hub = hub(db).await;
        hub.provider.set_faults(SmsProviderFaults {
            closed: Some(429),
            retry_after: Some(1),
            ..SmsProviderFaults::default()
        });
        let uid = hub.send_all(20).await;
        hub.is_down().await;
        hub.provider.set_faults(SmsProviderFaults::default());
        hub.world.reaches(&uid, |counters| counters.processing == 20).await;
        hub.taken(20).await;
        // Nothing was wrong with any message, so that none waited for a retry of its own.
        let events = hub.world.events(&uid).await;
        assert!(events.iter().all(|event| event.attempt == 1), "{events:?}");
    }

    async fn an_outage_does_not_end_all_that_waits(db: TestDatabase) {
        let hub = hub(db).await;
        let broken = SmsProviderFaults { closed: Some(502), ..SmsProviderFaults::default() };
        hub.provider.set_faults(broken);
        let uid = hub.send_all(100).await;
        hub.is_down().await;
        hub.provider.set_faults(SmsProviderFaults::default());
        let rest = |counters: &api::Counters| {
            counters.processing + counters.deferred == 100 && counters.processing >= 50
        };
        hub.world.reaches(&uid, rest).await;
        // Few were asked about in vain, and they are asked about once more.
        hub.world.advance(Duration::from_mins(8));
        hub.world.reaches(&uid, |counters| counters.processing == 100).await;
        hub.taken(100).await;
        let reasons = hub.world.reasons(&uid).await;
        let unknown = reasons.iter().filter(|reason| *reason == "no_answer").count();
        assert!((1..50).contains(&unknown), "{unknown}");
    }

    async fn a_message_that_a_provider_minds_does_not_hold_it_for_ever(db: TestDatabase) {
        let hub = hub(db).await;
        let minds = SmsProviderFaults { closed: Some(403), ..SmsProviderFaults::default() };
        hub.provider.set_faults(minds);
        let uid = hub.send("+254722000001", "Hello").await;
        hub.world.reaches(&uid, |counters| counters.deferred == 1).await;
        hub.provider.set_faults(SmsProviderFaults::default());
        hub.world.advance(Duration::from_mins(8));
        hub.taken(1).await;
    }

    async fn reports_have_to_prove_themselves(db: TestDatabase) {
        let hub = hub(db).await;
        let uid = hub.send("+254722000001", "Hello").await;
        hub.taken(1).await;
        let body = json!({"reports": [{"id": "P-1", "status": "DELIVERED"}]}).to_string();
        let short = &TOKEN[..TOKEN.len() - 1];
        for headers in [
            vec![],
            vec![("x-provider-token", "")],
            vec![("x-provider-token", short)],
            vec![("authorization", TOKEN)],
        ] {
            let verdict = hub.brings(&headers, body.as_bytes()).await;
            assert_eq!(verdict, api::ReportVerdict::Refused, "{headers:?}");
        }
        let own = [("x-provider-token", TOKEN)];
        for unreadable in ["", "[]", "{\"reports\": 1}"] {
            let verdict = hub.brings(&own, unreadable.as_bytes()).await;
            assert_eq!(verdict, api::ReportVerdict::Unreadable, "{unreadable}");
        }
        assert_eq!(hub.world.counters(&uid).await.processing, 1);
        assert_eq!(hub.brings(&own, body.as_bytes()).await, api::ReportVerdict::Taken);
        hub.world.reaches(&uid, |counters| counters.delivered == 1).await;
    }

    async fn signed_reports_may_come_as_forms(db: TestDatabase) {
        let hub = hub_with(db, |config| {
            let reports = config.sms.providers[0].reports.as_mut().unwrap();
            reports.header = "X-Signature".to_owned();
            reports.proof = "hmac-sha256".to_owned();
            reports.prefix = "sha256=".to_owned();
            reports.items = String::new();
        })
        .await;
        let uid = hub.send("+254722000001", "Hello").await;
        hub.taken(1).await;
        let body = b"id=P-1&status=FAILED&error=9";
        let key = hmac::Key::new(hmac::HMAC_SHA256, TOKEN.as_bytes());
        let digits = hmac::sign(&key, body).as_ref().iter().map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        let form = ("content-type", "application/x-www-form-urlencoded");
        let signed = format!("sha256={digits}");
        for wrong in [digits.as_str(), TOKEN, "sha256=", "sha256=00"] {
            let verdict = hub.brings(&[form, ("x-signature", wrong)], body).await;
            assert_eq!(verdict, api::ReportVerdict::Refused, "{wrong}");
        }
        let other = b"id=P-1&status=DELIVERED";
        let other = hub.brings(&[form, ("x-signature", &signed)], other).await;
        assert_eq!(other, api::ReportVerdict::Refused);
        let own = hub.brings(&[form, ("x-signature", &signed)], body).await;
        assert_eq!(own, api::ReportVerdict::Taken);
        hub.world.reaches(&uid, |counters| counters.bounced == 1).await;
    }

    async fn a_provider_takes_over_while_the_centre_is_away(db: TestDatabase) {
        let centre = SmsCentre::start(CentreOptions::default()).await.unwrap();
        let hub = hub_with(db, |config| {
            config.sms.centres = vec![crate::sms::settings(&centre)];
            config.sms.providers[0].tier = 2;
        })
        .await;
        let first = hub.send_all(30).await;
        hub.world.reaches(&first, |counters| counters.delivered == 30).await;
        assert_eq!((centre.taken(), hub.provider.sent().len()), (30, 0));
        centre.stop().await;
        let second = hub.send_all(30).await;
        hub.world.reaches(&second, |counters| counters.processing + counters.deferred == 30).await;
        hub.world.advance(Duration::from_mins(8));
        hub.taken(30).await;
        assert_eq!(centre.taken(), 30);
    }

    async fn a_centre_takes_over_while_the_provider_is_away(db: TestDatabase) {
        let centre = SmsCentre::start(CentreOptions::default()).await.unwrap();
        let hub = hub_with(db, |config| {
            let mut backup = crate::sms::settings(&centre);
            backup.tier = 2;
            config.sms.centres = vec![backup];
        })
        .await;
        let first = hub.send_all(20).await;
        hub.taken(20).await;
        hub.world.reaches(&first, |counters| counters.processing == 20).await;
        assert_eq!(centre.taken(), 0);
        // Wrong credentials are no message's fault either.
        hub.provider.set_faults(SmsProviderFaults {
            closed: Some(401),
            retry_after: Some(600),
            ..SmsProviderFaults::default()
        });
        let second = hub.send_all(20).await;
        hub.world.reaches(&second, |counters| counters.delivered == 20).await;
        assert_eq!((centre.taken(), hub.provider.sent().len()), (20, 20));
    }

    async fn centre_and_provider_share_what_there_is(db: TestDatabase) {
        let centre = SmsCentre::start(CentreOptions::default()).await.unwrap();
        let hub = hub_with(db, |config| {
            config.sms.centres = vec![crate::sms::settings(&centre)];
            config.sms.providers[0].reports = None;
        })
        .await;
        let uid = hub.send_all(400).await;
        hub.world.reaches(&uid, |counters| counters.delivered == 400).await;
        let (one, other) = (centre.taken(), hub.provider.sent().len());
        assert_eq!(usize::try_from(one).unwrap() + other, 400);
        assert!(one > 0 && other > 0, "{one} and {other}");
    }
}
