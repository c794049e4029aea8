//! What goes wrong on the way, and what becomes of it.

use std::time::Duration;

use publica_messaging::sink::{Faults, MailSink, SinkOptions, SinkTls};
use publica_proto::messaging::v1 as api;
use publica_testkit::{Database, both_engines, eventually};

use crate::support::{email, relay, world, world_with};

fn failing(faults: Faults) -> SinkOptions {
    SinkOptions {
        faults,
        ..SinkOptions::default()
    }
}

both_engines! {
    async fn a_greylisted_message_is_tried_again(db: publica_testkit::TestDatabase) {
        let world = world(db, failing(Faults { greylist: true, ..Faults::default() })).await;
        let uid = world.send(email("anna@home.example", "Patience.")).await;
        world.reaches(&uid, |counters| counters.deferred == 1).await;
        assert_eq!(world.sink.mails(), 0);
        world.advance(Duration::from_mins(8));
        world.reaches(&uid, |counters| counters.delivered == 1).await;
        let events = world.events(&uid).await;
        let seen: Vec<_> = events.iter().map(|event| (event.attempt, event.code)).collect();
        assert_eq!(seen, [(1, 451), (2, 250)]);
        assert_eq!(events[0].message_id, events[1].message_id);
    }

    async fn without_an_answer_it_is_sent_once_more(db: publica_testkit::TestDatabase) {
        let faults = Faults { break_after_data: 1, ..Faults::default() };
        let world = world(db, failing(faults)).await;
        let uid = world.send(email("anna@home.example", "Twice.")).await;
        world.reaches(&uid, |counters| counters.deferred == 1).await;
        world.advance(Duration::from_mins(8));
        world.reaches(&uid, |counters| counters.delivered == 1).await;
        assert_eq!(world.reasons(&uid).await, ["no_answer", "accepted"]);
        let [first, second] = world.sink.kept().try_into().unwrap();
        assert_eq!(first.header("Message-ID"), second.header("Message-ID"));
    }

    async fn several_addresses_are_served_once_each(db: publica_testkit::TestDatabase) {
        let refuse = vec![
            ("later".to_owned(), "451 4.3.0 not now".to_owned()),
            ("never".to_owned(), "550 5.1.1 who".to_owned()),
        ];
        let world = world(db, failing(Faults { refuse, ..Faults::default() })).await;
        let to = "now@home.example, later@home.example, never@home.example";
        let uid = world.send(email(to, "To three.")).await;
        world.reaches(&uid, |counters| counters.deferred == 1).await;
        world.sink.set_faults(Faults::default());
        world.advance(Duration::from_mins(8));
        world.reaches(&uid, |counters| counters.delivered == 1).await;
        let sent: Vec<_> = world.sink.kept().into_iter().map(|mail| mail.to).collect();
        assert_eq!(sent[0], ["now@home.example"]);
        assert!(!sent[1].contains(&"now@home.example".to_owned()), "{sent:?}");
    }

    async fn time_in_the_queue_is_bounded(db: publica_testkit::TestDatabase) {
        let faults = Faults {
            after_data: Some("452 4.3.1 no room".to_owned()),
            ..Faults::default()
        };
        let world = world(db, failing(faults)).await;
        let uid = world.send(email("anna@home.example", "Never.")).await;
        world.reaches(&uid, |counters| counters.deferred == 1).await;
        world.advance(Duration::from_hours(25));
        let counters = world.reaches(&uid, |counters| counters.not_sent == 1).await;
        assert_eq!(counters.delivered, 0);
        assert_eq!(world.reasons(&uid).await.last().unwrap(), "expired");
    }

    async fn a_planned_message_waits_and_can_be_cancelled(db: publica_testkit::TestDatabase) {
        let world = world(db, SinkOptions::default()).await;
        let mut planned = email("anna@home.example", "Later.");
        planned.envelope.as_mut().unwrap().send_time = Some(world.in_seconds(3_600));
        let kept = world.send(planned.clone()).await;
        let dropped = world.send(planned).await;
        let now = world.send(email("ben@home.example", "Now.")).await;
        world.reaches(&now, |counters| counters.delivered == 1).await;
        assert_eq!(world.counters(&kept).await.scheduled, 1);

        let message = api::CancelRequestRequest {
            request_uid: dropped.clone(),
            request_id: String::new(),
        };
        world.messages().cancel_request(message).await.unwrap();
        world.reaches(&dropped, |counters| counters.not_sent == 1).await;
        assert_eq!(world.reasons(&dropped).await, ["cancelled"]);

        world.advance(Duration::from_mins(61));
        world.reaches(&kept, |counters| counters.delivered == 1).await;
        assert_eq!(world.sink.mails(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_comes_back_gets_everything() {
    let faults = Faults {
        closed: true,
        ..Faults::default()
    };
    let world = world(Database::sqlite(), failing(faults)).await;
    let uid = world.send(email("anna@home.example", "Eventually.")).await;
    eventually(|| async { (world.sink.connections() > 1).then_some(()) }).await;
    assert_eq!(world.counters(&uid).await.processing, 1);
    world.sink.set_faults(Faults {
        break_in_head: 2,
        ..Faults::default()
    });
    world
        .reaches(&uid, |counters| counters.delivered == 1)
        .await;
    assert_eq!(world.sink.mails(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_relay_messages_wait_and_expire() {
    let world = world_with(Database::sqlite(), SinkOptions::default(), |config| {
        config.relay.host.clear();
    })
    .await;
    let uid = world.send(email("anna@home.example", "Nowhere.")).await;
    assert_eq!(world.counters(&uid).await.scheduled, 1);
    world.advance(Duration::from_hours(25));
    world.reaches(&uid, |counters| counters.not_sent == 1).await;
    assert_eq!(world.reasons(&uid).await, ["expired"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_relay_takes_over() {
    let second = MailSink::start(SinkOptions::default()).await.unwrap();
    let faults = Faults {
        closed: true,
        ..Faults::default()
    };
    let world = world_with(Database::sqlite(), failing(faults), |config| {
        config.second_relay = relay(&second, SinkTls::None);
    })
    .await;
    let uid = world.send(email("anna@home.example", "Round about.")).await;
    world
        .reaches(&uid, |counters| counters.delivered == 1)
        .await;
    assert_eq!((world.sink.mails(), second.mails()), (0, 1));
}
