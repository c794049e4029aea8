//! What operators do: hold requests up, let them go on, send again what failed.

use std::time::Duration;

use publica_messaging::sink::{Faults, SinkOptions};
use publica_proto::journal::v1::ListEntriesRequest;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_proto::messaging::v1 as api;
use publica_testkit::{Database, both_engines, eventually};
use tonic::Code;

use crate::batch::{header, parts, person, send};
use crate::support::{ALL, World, email, world, world_with};

async fn pause(world: &World, uid: &str) -> Result<api::Counters, tonic::Status> {
    let message = api::PauseRequestRequest {
        request_uid: uid.to_owned(),
        request_id: String::new(),
    };
    let answer = world.delivery().pause_request(message).await?.into_inner();
    Ok(answer.counters.unwrap())
}

async fn resume(world: &World, uid: &str) {
    let message = api::ResumeRequestRequest {
        request_uid: uid.to_owned(),
        request_id: String::new(),
    };
    world.delivery().resume_request(message).await.unwrap();
}

async fn dead_letters(world: &World, uid: &str) -> Vec<(String, api::MessageState, i64)> {
    let message = api::ListDeadLettersRequest {
        request_uid: uid.to_owned(),
    };
    let answer = world.delivery().list_dead_letters(message).await.unwrap();
    let groups = answer.into_inner().groups.into_iter();
    groups
        .map(|group| (group.reason.clone(), group.state(), group.message_count))
        .collect()
}

async fn redrive(world: &World, uid: &str, reasons: &[&str], id: &str) -> i64 {
    let message = api::RedriveRequestRequest {
        request_uid: uid.to_owned(),
        reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
        request_id: id.to_owned(),
    };
    let answer = world.delivery().redrive_request(message).await.unwrap();
    answer.into_inner().message_count
}

async fn list(world: &World, open_only: bool) -> Vec<api::RequestSummary> {
    let mut requests = Vec::new();
    let mut page_token = String::new();
    loop {
        let message = api::ListRequestsRequest {
            open_only,
            page_size: 2,
            page_token,
        };
        let page = world.delivery().list_requests(message).await.unwrap();
        let page = page.into_inner();
        requests.extend(page.requests);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return requests;
        }
    }
}

async fn actions(world: &World) -> Vec<String> {
    let mut journal = JournalServiceClient::new(world.block.as_caller(ALL));
    let entries = journal.list_entries(ListEntriesRequest::default()).await;
    let entries = entries.unwrap().into_inner().entries.into_iter();
    entries.map(|entry| entry.action).collect()
}

fn refusing(pairs: &[(&str, &str)]) -> Faults {
    let refuse = pairs
        .iter()
        .map(|(who, how)| ((*who).to_owned(), (*how).to_owned()))
        .collect();
    Faults {
        refuse,
        ..Faults::default()
    }
}

fn options(faults: Faults) -> SinkOptions {
    SinkOptions {
        faults,
        keep: 1_000,
        ..SinkOptions::default()
    }
}

both_engines! {
    async fn a_request_that_is_held_up_waits_and_goes_on(db: publica_testkit::TestDatabase) {
        let faults = Faults { delay: Duration::from_millis(10), ..Faults::default() };
        let world = world(db, options(faults)).await;
        let people: Vec<_> = (0..400).map(person).collect();
        let uid = send(&world, parts(header(""), people, 400)).await.unwrap().request_uid;
        eventually(|| async { (world.sink.mails() > 5).then_some(()) }).await;
        pause(&world, &uid).await.unwrap();
        // What the connections had in their hands still ends.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = world.sink.mails();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(world.sink.mails(), before);
        assert!(before < 400, "everything was sent before it could be held up");
        // Other requests are not held up, and a second pause changes nothing.
        let other = world.send(email("other@home.example", "Now.")).await;
        world.reaches(&other, |counters| counters.delivered == 1).await;
        assert_eq!(pause(&world, &uid).await.unwrap().total, 400);
        let listed = list(&world, true).await;
        assert_eq!(listed.len(), 1);
        assert!(listed[0].paused && listed[0].request_uid == uid);

        resume(&world, &uid).await;
        world.reaches(&uid, |counters| counters.delivered == 400).await;
        assert_eq!(world.sink.mails(), 401);
        let refused = pause(&world, &uid).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(publica_rpc::reason(&refused).as_deref(), Some("REQUEST_FINISHED"));
        let done = eventually(|| async {
            let actions = actions(&world).await;
            actions.contains(&"messaging.request.completed".to_owned()).then_some(actions)
        });
        let actions = done.await;
        let count = |name: &str| actions.iter().filter(|action| **action == name).count();
        assert_eq!(count("messaging.request.paused"), 1);
        assert_eq!(count("messaging.request.resumed"), 1);
    }

    async fn what_is_held_up_ends_with_its_time(db: publica_testkit::TestDatabase) {
        let world = world(db, SinkOptions::default()).await;
        let mut message = email("anna@home.example", "Later.");
        message.envelope.as_mut().unwrap().send_time = Some(world.in_seconds(3_600));
        let uid = world.send(message).await;
        pause(&world, &uid).await.unwrap();
        world.advance(Duration::from_hours(2));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(world.counters(&uid).await.scheduled, 1);
        world.advance(Duration::from_hours(24));
        world.reaches(&uid, |counters| counters.not_sent == 1).await;
        assert_eq!(world.reasons(&uid).await, ["expired"]);
        assert_eq!(world.sink.mails(), 0);
    }

    async fn failures_that_may_pass_are_sent_again_once(db: publica_testkit::TestDatabase) {
        let faults = refusing(&[
            ("person1@", "554 5.7.1 blocked"),
            ("person2@", "554 5.7.1 blocked"),
            ("person3@", "550 5.1.1 nobody"),
        ]);
        let world = world(db, options(faults)).await;
        let people: Vec<_> = (0..6).map(person).collect();
        let uid = send(&world, parts(header(""), people, 6)).await.unwrap().request_uid;
        world.reaches(&uid, |counters| counters.delivered == 3 && counters.bounced == 3).await;
        // Who does not exist is not written to again, and neither is who got it.
        let expected = ("refused_by_policy".to_owned(), api::MessageState::Bounced, 2);
        assert_eq!(dead_letters(&world, &uid).await, [expected]);
        assert_eq!(list(&world, true).await.len(), 1);
        assert_eq!(redrive(&world, &uid, &["expired"], "").await, 0);

        world.sink.set_faults(Faults::default());
        let id = "018f4e3c-5f00-7000-8000-00000000000c";
        assert_eq!(redrive(&world, &uid, &["refused_by_policy"], id).await, 2);
        world.reaches(&uid, |counters| counters.delivered == 5 && counters.bounced == 1).await;
        // The repeat is answered as before and sends nothing.
        assert_eq!(redrive(&world, &uid, &["refused_by_policy"], id).await, 2);
        assert_eq!(redrive(&world, &uid, &[], "").await, 0);
        assert_eq!(dead_letters(&world, &uid).await, []);
        assert_eq!(world.sink.mails(), 5);
        assert_eq!(world.sink.last_to("person1@home.example").unwrap().body(),
            "Dear Person 1.\r\n");
        let events = world.events(&uid).await;
        let again = events.iter().find(|event| event.reason == "redriven").unwrap();
        let steps: Vec<_> = events
            .iter()
            .filter(|event| event.message_id == again.message_id)
            .map(|event| (event.attempt, event.reason.as_str()))
            .collect();
        assert_eq!(steps, [(1, "refused_by_policy"), (1, "redriven"), (2, "accepted")]);
        let open = eventually(|| async {
            let open = list(&world, true).await;
            open.is_empty().then_some(open)
        });
        open.await;
        assert_eq!(list(&world, false).await.len(), 1);
    }

    async fn what_failed_can_be_sent_again_for_a_time(db: publica_testkit::TestDatabase) {
        let faults = refusing(&[("@home", "554 5.7.1 blocked")]);
        let world = world(db, options(faults)).await;
        let late = world.send(email("anna@home.example", "Late.")).await;
        let dropped = world.send(email("bert@home.example", "Dropped.")).await;
        for uid in [&late, &dropped] {
            world.reaches(uid, |counters| counters.bounced == 1).await;
            assert_eq!(dead_letters(&world, uid).await.len(), 1);
        }
        let message = api::CancelRequestRequest {
            request_uid: dropped.clone(),
            request_id: String::new(),
        };
        world.messages().cancel_request(message).await.unwrap();
        assert_eq!(redrive(&world, &dropped, &[], "").await, 0);
        world.advance(Duration::from_hours(25));
        assert_eq!(dead_letters(&world, &late).await, []);
        assert_eq!(redrive(&world, &late, &[], "").await, 0);
        world.sink.set_faults(Faults::default());
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(world.sink.mails(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_a_day_is_made_good() {
    let faults = Faults {
        closed: true,
        ..Faults::default()
    };
    let world = world(Database::sqlite(), options(faults)).await;
    let uid = world.send(email("anna@home.example", "At last.")).await;
    world.advance(Duration::from_hours(25));
    world.reaches(&uid, |counters| counters.not_sent == 1).await;
    world.sink.set_faults(Faults::default());
    assert_eq!(redrive(&world, &uid, &["expired"], "").await, 1);
    world
        .reaches(&uid, |counters| counters.delivered == 1)
        .await;
    assert_eq!(world.sink.mails(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_where_nothing_is_to_be_kept() {
    let faults = refusing(&[("@home", "554 5.7.1 blocked")]);
    let world = world_with(Database::sqlite(), options(faults), |config| {
        config.limits.keep_failed_hours = 0;
    })
    .await;
    let uid = world.send(email("anna@home.example", "Once.")).await;
    world.reaches(&uid, |counters| counters.bounced == 1).await;
    assert_eq!(dead_letters(&world, &uid).await, []);
    assert_eq!(list(&world, true).await, []);
}
