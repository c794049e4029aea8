//! Short messages, with a message centre that speaks SMPP 3.4.

use std::collections::HashSet;
use std::time::Duration;

use publica_messaging::sink::SinkOptions;
use publica_messaging::smsc::{CentreFaults, CentreOptions, Receipts, SmsCentre};
use publica_messaging::{CentreConfig, MessagingConfig, PriceConfig};
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::send_sms_batch_request::Part;
use publica_proto::messaging::v1::sms_service_client::SmsServiceClient;
use publica_rpc::Link;
use publica_testkit::{Database, TestDatabase, both_engines, eventually};
use publica_types::Secret;
use tonic::Code;

use crate::support::{ALL, World, parameters, world_with};

pub(crate) struct Phones {
    pub(crate) world: World,
    pub(crate) centre: SmsCentre,
}

/// Where the centre is, as settings.
pub(crate) fn settings(centre: &SmsCentre) -> CentreConfig {
    CentreConfig {
        host: "127.0.0.1".to_owned(),
        port: centre.address().port(),
        tls: "none".to_owned(),
        system_id: "publica".to_owned(),
        password: Secret::new("secret".to_owned()),
        ..CentreConfig::default()
    }
}

async fn phones(db: TestDatabase, options: CentreOptions) -> Phones {
    phones_with(db, options, |_| {}).await
}

async fn phones_with(
    db: TestDatabase,
    options: CentreOptions,
    change: impl FnOnce(&mut MessagingConfig),
) -> Phones {
    let centre = SmsCentre::start(options).await.unwrap();
    let world = world_with(db, SinkOptions::default(), |config| {
        config.sms.centres = vec![settings(&centre)];
        change(config);
    })
    .await;
    Phones { world, centre }
}

fn faults(faults: CentreFaults) -> CentreOptions {
    CentreOptions {
        faults,
        ..CentreOptions::default()
    }
}

fn receipts(receipts: Receipts) -> CentreOptions {
    CentreOptions {
        receipts,
        ..CentreOptions::default()
    }
}

pub(crate) fn envelope(body: api::sms_envelope::Body) -> api::SmsEnvelope {
    api::SmsEnvelope {
        sender: Some(api::SmsSender {
            sender_id: "Ministry".to_owned(),
            ..api::SmsSender::default()
        }),
        body: Some(body),
        ..api::SmsEnvelope::default()
    }
}

fn person(number: usize) -> api::SmsRecipient {
    api::SmsRecipient {
        phone: format!("+2547220{number:05}"),
        parameters: parameters(&[("name", &format!("Person {number}"))]),
        ..api::SmsRecipient::default()
    }
}

fn sms(to: &str, text: &str) -> api::SendSmsRequest {
    api::SendSmsRequest {
        envelope: Some(envelope(api::sms_envelope::Body::Text(text.to_owned()))),
        recipient: Some(api::SmsRecipient {
            phone: to.to_owned(),
            ..api::SmsRecipient::default()
        }),
        request_id: String::new(),
    }
}

impl Phones {
    fn client(&self) -> SmsServiceClient<Link> {
        SmsServiceClient::new(self.world.block.as_caller(ALL))
    }

    async fn send(&self, message: api::SendSmsRequest) -> String {
        let sent = self.client().send_sms(message).await.unwrap();
        sent.into_inner().request_uid
    }

    async fn send_all(&self, people: Vec<api::SmsRecipient>) -> api::SendSmsBatchResponse {
        let body = api::sms_envelope::Body::InlineTemplate("Dear {{ name }}.".to_owned());
        let mut parts = vec![Part::Header(api::SmsBatchHeader {
            envelope: Some(envelope(body)),
            request_id: String::new(),
        })];
        for some in people.chunks(300) {
            let recipients = some.to_vec();
            parts.push(Part::Recipients(api::SmsRecipientList { recipients }));
        }
        let parts = parts
            .into_iter()
            .map(|part| api::SendSmsBatchRequest { part: Some(part) });
        let parts: Vec<_> = parts.collect();
        let sent = self
            .client()
            .send_sms_batch(tokio_stream::iter(parts))
            .await;
        sent.unwrap().into_inner()
    }

    async fn delivered(&self, uid: &str, count: i64) {
        self.world
            .reaches(uid, |counters| counters.delivered == count)
            .await;
    }
}

both_engines! {
    async fn a_text_arrives_and_is_confirmed(db: TestDatabase) {
        let phones = phones(db, CentreOptions::default()).await;
        let uid = phones.send(sms("+254 722-000 111", "Your code is 1234 {[€]}")).await;
        phones.delivered(&uid, 1).await;
        let taken = phones.centre.kept();
        assert_eq!(taken.len(), 1);
        assert_eq!((taken[0].to.as_str(), taken[0].from.as_str()), ("254722000111", "Ministry"));
        assert_eq!((taken[0].coding, taken[0].registered, taken[0].header), (0, 1, None));
        assert_eq!(taken[0].text, "Your code is 1234 {[€]}");
        assert!(taken[0].validity.ends_with("000R"), "{}", taken[0].validity);
        assert_eq!(phones.world.reasons(&uid).await, ["accepted", "confirmed"]);
        let status = api::GetStatusRequest {
            request_uid: uid,
            channel: api::MessageChannel::Sms.into(),
        };
        let status = phones.world.messages().get_status(status).await.unwrap().into_inner();
        assert!(status.completed);
    }

    async fn every_part_is_tracked_and_the_message_is_what_they_are(db: TestDatabase) {
        let phones = phones(db, receipts(Receipts::Never)).await;
        let text = "Очень длинное сообщение. ".repeat(6);
        let good = phones.send(sms("+254722000001", &text)).await;
        let bad = phones.send(sms("+254722000002", &text)).await;
        eventually(|| async { (phones.centre.taken() == 6).then_some(()) }).await;
        for uid in [&good, &bad] {
            phones.world.reaches(uid, |counters| counters.processing == 1).await;
        }
        assert_eq!(phones.centre.texts_to("+254722000001"), [text.as_str()]);
        let taken = phones.centre.kept();
        let of = |to: &str| taken.iter().filter(|one| one.to == to).cloned().collect::<Vec<_>>();
        let (first, second) = (of("254722000001"), of("254722000002"));
        let places: Vec<_> = first.iter().map(|one| one.header.unwrap()).collect();
        assert_eq!(places.iter().map(|one| (one.1, one.2)).collect::<Vec<_>>(),
            [(3, 1), (3, 2), (3, 3)]);
        assert_eq!(places.iter().map(|one| one.0).collect::<HashSet<_>>().len(), 1);
        // Two of three are not the message.
        phones.centre.tell(&first[0], "DELIVRD");
        phones.centre.tell(&first[2], "DELIVRD");
        phones.centre.tell(&first[1], "ENROUTE");
        phones.centre.tell(&second[0], "DELIVRD");
        phones.centre.tell(&second[1], "UNDELIV");
        phones.world.reaches(&bad, |counters| counters.bounced == 1).await;
        assert_eq!(phones.world.counters(&good).await.processing, 1);
        phones.centre.tell(&first[1], "DELIVRD");
        phones.delivered(&good, 1).await;
        assert_eq!(phones.world.reasons(&bad).await, ["accepted", "undeliverable"]);
        // A receipt that contradicts an earlier one corrects the counters.
        phones.centre.tell(&second[1], "DELIVRD");
        phones.centre.tell(&second[2], "DELIVRD");
        eventually(|| async { (phones.centre.receipts_taken() == 8).then_some(()) }).await;
    }

    async fn receipts_may_come_first(db: TestDatabase) {
        let options = CentreOptions { hexadecimal: true, ..receipts(Receipts::Before) };
        let phones = phones_with(db, options, |config| {
            config.sms.centres[0].receipt_ids = "decimal".to_owned();
        })
        .await;
        let answer = phones.send_all((0..300).map(person).collect()).await;
        phones.delivered(&answer.request_uid, 300).await;
        assert_eq!(phones.centre.taken(), 300);
    }

    async fn a_batch_is_sent_once_and_the_counters_always_sum(db: TestDatabase) {
        let phones = phones_with(db, CentreOptions { keep: 3_000, ..CentreOptions::default() },
            |config| config.sms.centres[0].window = 8).await;
        phones.centre.set_faults(CentreFaults {
            refuse: vec![("+254722000007".to_owned(), 0x0b)],
            fates: vec![("+254722000008".to_owned(), "EXPIRED".to_owned())],
            ..CentreFaults::default()
        });
        let mut people: Vec<_> = (0..1_200).map(person).collect();
        people[5].phone = "nobody".to_owned();
        people[6].parameters.clear();
        let answer = phones.send_all(people).await;
        assert_eq!((answer.message_count, answer.rejected_count), (1_200, 1));
        let uid = answer.request_uid;
        let done = phones.world.reaches(&uid, |counters| {
            counters.scheduled + counters.processing + counters.deferred == 0
        });
        let counters = done.await;
        assert_eq!((counters.delivered, counters.bounced, counters.not_sent), (1_196, 2, 2));
        let taken = phones.centre.kept();
        let to: HashSet<_> = taken.iter().map(|one| one.to.clone()).collect();
        assert_eq!((taken.len(), to.len()), (1_197, 1_197));
        assert!(phones.centre.widest() <= 8, "{}", phones.centre.widest());
        let events = phones.world.events(&uid).await;
        let reasons: HashSet<_> = events.iter().map(|event| event.reason.as_str()).collect();
        assert_eq!(reasons, HashSet::from(["accepted", "confirmed", "invalid_address",
            "missing_parameter", "no_such_number", "expired_on_the_way"]));
    }

    async fn throttling_slows_down_and_loses_nothing(db: TestDatabase) {
        let phones = phones(db, faults(CentreFaults { throttle: 6, ..CentreFaults::default() }))
            .await;
        let answer = phones.send_all((0..60).map(person).collect()).await;
        phones.delivered(&answer.request_uid, 60).await;
        assert_eq!(phones.centre.taken(), 60);
        let events = phones.world.events(&answer.request_uid).await;
        assert!(events.iter().all(|event| event.attempt == 1), "{events:?}");
    }

    async fn a_broken_session_sends_at_most_one_a_slot_again(db: TestDatabase) {
        let phones = phones(db, faults(CentreFaults { break_after: 1, ..CentreFaults::default() }))
            .await;
        let answer = phones.send_all((0..100).map(person).collect()).await;
        let uid = &answer.request_uid;
        phones.world.reaches(uid, |counters| counters.scheduled + counters.processing == 0).await;
        let deferred = phones.world.counters(uid).await.deferred;
        assert!((1..=10).contains(&deferred), "{deferred} were under way");
        phones.world.advance(Duration::from_mins(8));
        phones.delivered(uid, 100).await;
        let taken = phones.centre.taken();
        assert!((100..=110).contains(&taken), "{taken} for 100 messages");
        assert!(phones.centre.connections() >= 2);
    }

    async fn without_receipts_time_decides(db: TestDatabase) {
        let phones = phones(db, receipts(Receipts::Never)).await;
        let uid = phones.send(sms("+254722000111", "Hello")).await;
        phones.world.reaches(&uid, |counters| counters.processing == 1).await;
        eventually(|| async { (phones.centre.taken() == 1).then_some(()) }).await;
        let accepted = || async {
            (phones.world.reasons(&uid).await == ["accepted"]).then_some(())
        };
        eventually(accepted).await;
        phones.world.advance(Duration::from_hours(73));
        phones.delivered(&uid, 1).await;
        assert_eq!(phones.world.reasons(&uid).await, ["accepted", "no_receipt"]);
        // A late one is believed.
        phones.centre.tell(&phones.centre.kept()[0], "UNDELIV");
        phones.world.reaches(&uid, |counters| counters.bounced == 1).await;
    }

    async fn who_writes_stop_gets_no_more_until_start(db: TestDatabase) {
        let phones = phones(db, CentreOptions::default()).await;
        let uid = phones.send(sms("+254722000111", "News")).await;
        phones.delivered(&uid, 1).await;
        let answered = phones.centre.receipts_taken();
        phones.centre.say("+254722000111", "Stop.");
        eventually(|| async { (phones.centre.receipts_taken() > answered).then_some(()) }).await;
        let uid = phones.send(sms("+254722000111", "More news")).await;
        phones.world.reaches(&uid, |counters| counters.not_sent == 1).await;
        assert_eq!(phones.world.reasons(&uid).await, ["suppressed"]);
        let mut mandatory = sms("+254722000111", "By law");
        mandatory.envelope.as_mut().unwrap().mandatory = true;
        let uid = phones.send(mandatory).await;
        phones.delivered(&uid, 1).await;
        let answered = phones.centre.receipts_taken();
        phones.centre.say("+254722000111", "START");
        eventually(|| async { (phones.centre.receipts_taken() > answered).then_some(()) }).await;
        let uid = phones.send(sms("+254722000111", "News again")).await;
        phones.delivered(&uid, 1).await;
        // Nobody here reads anything else.
        phones.centre.say("+254722000111", "Who are you?");
        eventually(|| async { (phones.centre.receipts_refused() == 1).then_some(()) }).await;
    }

    async fn a_repeat_is_answered_and_not_sent(db: TestDatabase) {
        let phones = phones(db, CentreOptions::default()).await;
        let mut message = sms("+254722000111", "Once");
        message.request_id = "018f4e3c-5f00-7000-8000-00000000000d".to_owned();
        let first = phones.client().send_sms(message.clone()).await.unwrap().into_inner();
        let second = phones.client().send_sms(message.clone()).await.unwrap().into_inner();
        assert_eq!((first.request_uid.as_str(), second.replayed),
            (second.request_uid.as_str(), true));
        phones.delivered(&first.request_uid, 1).await;
        message.recipient.as_mut().unwrap().phone = "+254722000112".to_owned();
        let refused = phones.client().send_sms(message).await.unwrap_err();
        assert_eq!(publica_rpc::reason(&refused).as_deref(), Some("REQUEST_ID_REUSED"));
        assert_eq!(phones.centre.taken(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_says_what_is_charged() {
    let phones = phones_with(Database::sqlite(), CentreOptions::default(), |config| {
        config.sms.currency = "KES".to_owned();
        config.sms.prices = vec![PriceConfig {
            prefix: "+254".to_owned(),
            price: "0.8".to_owned(),
        }];
    })
    .await;
    let preview = |text: &str, phone: &str| api::PreviewSmsRequest {
        envelope: Some(envelope(api::sms_envelope::Body::InlineTemplate(
            text.to_owned(),
        ))),
        recipient: Some(api::SmsRecipient {
            phone: phone.to_owned(),
            ..person(1)
        }),
    };
    let long = format!("Dear {{{{ name }}}}, {}", "a".repeat(200));
    let message = preview(&long, "+254722000111");
    let told = phones
        .client()
        .preview_sms(message)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((told.alphabet.as_str(), told.parts.len()), ("GSM-7", 2));
    assert_eq!((told.unit_count, told.unit_room), (215, 306));
    assert_eq!(
        (told.price.as_str(), told.currency.as_str()),
        ("1.6", "KES")
    );
    let message = preview("Привет, {{ name }}", "");
    let told = phones
        .client()
        .preview_sms(message)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((told.alphabet.as_str(), told.parts.len()), ("UCS-2", 1));
    assert_eq!(told.price, "");
    // What is previewed is what is sent.
    let message = preview(&long, "+254722000111");
    let send = api::SendSmsRequest {
        envelope: message.envelope,
        recipient: message.recipient,
        request_id: String::new(),
    };
    let uid = phones.send(send).await;
    phones.delivered(&uid, 1).await;
    assert_eq!(phones.centre.taken(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_refused_at_the_door() {
    let phones = phones(Database::sqlite(), CentreOptions::default()).await;
    for (to, text, field) in [
        ("0722000111", "Hello", "recipient.phone"),
        ("+254722000111", "", "envelope.text"),
        ("+254722000111", &"a".repeat(1_000), "envelope.text"),
    ] {
        let refused = phones.client().send_sms(sms(to, text)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(field), "{}", refused.message());
        assert!(!refused.message().contains("722000111"));
    }
    let mut other = sms("+254722000111", "Hello");
    let sender = other.envelope.as_mut().unwrap().sender.as_mut().unwrap();
    sender.sender_id = "Ministry of Health".to_owned();
    let refused = phones.client().send_sms(other).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(phones.centre.taken(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_centre_nothing_is_taken_in() {
    let world = world_with(Database::sqlite(), SinkOptions::default(), |_| {}).await;
    let mut client = SmsServiceClient::new(world.block.as_caller(ALL));
    let refused = client.send_sms(sms("+254722000111", "Hello")).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let reason = publica_rpc::reason(&refused);
    assert_eq!(reason.as_deref(), Some("POLICY_NOT_CONFIGURED"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_bind_senders() {
    let phones = phones_with(Database::sqlite(), CentreOptions::default(), |config| {
        config.senders = vec![publica_messaging::SenderConfig {
            callers: vec!["*".to_owned()],
            sender_ids: vec!["Revenue".to_owned()],
            ..publica_messaging::SenderConfig::default()
        }];
    })
    .await;
    let refused = phones
        .client()
        .send_sms(sms("+254722000111", "Hello"))
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(
        publica_rpc::reason(&refused).as_deref(),
        Some("FORBIDDEN_SENDER")
    );
    let mut granted = sms("+254722000111", "Hello");
    let sender = granted.envelope.as_mut().unwrap().sender.as_mut().unwrap();
    sender.sender_id = "Revenue".to_owned();
    let uid = phones.send(granted).await;
    phones.delivered(&uid, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_broken_by_enquiries() {
    let phones = phones_with(Database::sqlite(), CentreOptions::default(), |config| {
        config.sms.centres[0].enquire_ms = 200;
    })
    .await;
    eventually(|| async { (phones.centre.enquiries() >= 2).then_some(()) }).await;
    assert_eq!(phones.centre.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_centre_that_never_answers_is_not_waited_for() {
    let silent = CentreFaults {
        silent: 1,
        ..CentreFaults::default()
    };
    let phones = phones_with(Database::sqlite(), faults(silent), |config| {
        config.sms.centres[0].answer_timeout_ms = 500;
    })
    .await;
    let uid = phones.send(sms("+254722000111", "Hello")).await;
    phones
        .world
        .reaches(&uid, |counters| counters.deferred == 1)
        .await;
    assert_eq!(phones.world.reasons(&uid).await, ["no_answer"]);
    phones.world.advance(Duration::from_mins(8));
    phones.delivered(&uid, 1).await;
    assert_eq!(phones.centre.taken(), 2);
}
