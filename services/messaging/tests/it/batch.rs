//! Batches: streamed in, delivered, counted at every instant.

use std::collections::HashSet;

use publica_messaging::sink::{Faults, SinkOptions};
use publica_proto::journal::v1::ListEntriesRequest;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::send_email_batch_request::Part;
use publica_testkit::{Database, both_engines, eventually};
use tonic::Code;

use crate::support::{ALL, World, content, envelope, parameters, recipient, world, world_with};

pub(crate) fn header(request_id: &str) -> api::BatchHeader {
    let body = api::envelope::Body::InlineTemplate(content("Dear {{ name }}."));
    api::BatchHeader {
        envelope: Some(envelope(body)),
        request_id: request_id.to_owned(),
    }
}

pub(crate) fn person(number: usize) -> api::Recipient {
    api::Recipient {
        parameters: parameters(&[("name", &format!("Person {number}"))]),
        ..recipient(&format!("person{number}@home.example"))
    }
}

pub(crate) fn parts(
    header: api::BatchHeader,
    recipients: Vec<api::Recipient>,
    size: usize,
) -> Vec<api::SendEmailBatchRequest> {
    let mut parts = vec![api::SendEmailBatchRequest {
        part: Some(Part::Header(header)),
    }];
    for some in recipients.chunks(size) {
        let list = api::RecipientList {
            recipients: some.to_vec(),
        };
        parts.push(api::SendEmailBatchRequest {
            part: Some(Part::Recipients(list)),
        });
    }
    parts
}

pub(crate) async fn send(
    world: &World,
    parts: Vec<api::SendEmailBatchRequest>,
) -> Result<api::SendEmailBatchResponse, tonic::Status> {
    let sent = world
        .messages()
        .send_email_batch(tokio_stream::iter(parts))
        .await;
    sent.map(tonic::Response::into_inner)
}

both_engines! {
    async fn a_large_batch_does_not_wait_for_the_next_look(db: publica_testkit::TestDatabase) {
        const RECIPIENTS: i64 = 5_000;
        let slow = |config: &mut publica_messaging::MessagingConfig| config.poll_ms = 60_000;
        let world = world_with(db, SinkOptions::default(), slow).await;
        let people: Vec<_> = (0..5_000).map(person).collect();
        let answer = send(&world, parts(header(""), people, 1_000)).await.unwrap();
        // Fetched look by look, this would take four minutes.
        world.reaches(&answer.request_uid, |counters| counters.delivered == RECIPIENTS).await;
    }

    async fn a_recipient_has_a_case_of_its_own(db: publica_testkit::TestDatabase) {
        let world = world(db, SinkOptions::default()).await;
        let mut people: Vec<_> = (0..5).map(person).collect();
        people[3].process_id = "case-1".to_owned();
        let answer = send(&world, parts(header(""), people, 2)).await.unwrap();
        let entries = eventually(|| async {
            let mut journal = JournalServiceClient::new(world.block.as_caller(ALL));
            let process_id = "case-1".to_owned();
            let wanted = ListEntriesRequest { process_id, ..Default::default() };
            let found = journal.list_entries(wanted).await.unwrap().into_inner().entries;
            (!found.is_empty()).then_some(found)
        })
        .await;
        assert_eq!(entries.len(), 1, "{entries:?}");
        assert_eq!(entries[0].action, "messaging.message.ended");
        let events = world.events(&answer.request_uid).await;
        assert!(events.iter().any(|event| event.message_id == entries[0].subject_id));
        let body: serde_json::Value =
            serde_json::from_slice(entries[0].body.as_deref().unwrap()).unwrap();
        assert_eq!(body["outcome"], "delivered");
        assert_eq!(body["request"], *answer.request_uid);
    }

    async fn a_message_that_is_tried_again_ends_once_in_its_case(
        db: publica_testkit::TestDatabase
    ) {
        let faults = Faults { greylist: true, ..Faults::default() };
        let options = SinkOptions { faults, ..SinkOptions::default() };
        let world = world(db, options).await;
        let mut people: Vec<_> = (0..2).map(person).collect();
        people[1].process_id = "case-1".to_owned();
        let answer = send(&world, parts(header(""), people, 2)).await.unwrap();
        world.reaches(&answer.request_uid, |counters| counters.deferred == 2).await;
        world.advance(std::time::Duration::from_mins(8));
        world.reaches(&answer.request_uid, |counters| counters.delivered == 2).await;
        let entries = eventually(|| async {
            let mut journal = JournalServiceClient::new(world.block.as_caller(ALL));
            let process_id = "case-1".to_owned();
            let wanted = ListEntriesRequest { process_id, ..Default::default() };
            let found = journal.list_entries(wanted).await.unwrap().into_inner().entries;
            (!found.is_empty()).then_some(found)
        })
        .await;
        assert_eq!(entries.len(), 1, "{entries:?}");
        let body: serde_json::Value =
            serde_json::from_slice(entries[0].body.as_deref().unwrap()).unwrap();
        assert_eq!((&body["outcome"], &body["attempt"]), (&"delivered".into(), &2.into()));
    }

    async fn everybody_gets_one_mail_and_the_counters_always_sum(
        db: publica_testkit::TestDatabase
    ) {
        let options = SinkOptions { keep: 3_000, ..SinkOptions::default() };
        let world = world(db, options).await;
        let mut people: Vec<_> = (0..1_203).map(person).collect();
        people[7].email = "nobody".to_owned();
        people[600].parameters.clear();
        let answer = send(&world, parts(header(""), people, 250)).await.unwrap();
        assert_eq!((answer.message_count, answer.rejected_count), (1_203, 1));

        let uid = answer.request_uid;
        let done = world.reaches(&uid, |counters| {
            counters.scheduled + counters.processing + counters.deferred == 0
        });
        let counters = done.await;
        assert_eq!((counters.delivered, counters.not_sent), (1_201, 2));
        let mails = world.sink.kept();
        let to: HashSet<_> = mails.iter().map(|mail| mail.to[0].clone()).collect();
        assert_eq!((mails.len(), to.len()), (1_201, 1_201));
        let one = world.sink.last_to("person42@home.example").unwrap();
        assert_eq!(one.body(), "Dear Person 42.\r\n");

        let events = world.events(&uid).await;
        assert_eq!(events.len(), 1_203);
        let ids: HashSet<_> = events.iter().map(|event| event.message_id.clone()).collect();
        assert_eq!(ids.len(), 1_203);
        let mut unsent: Vec<_> = events
            .iter()
            .filter(|event| event.state() == api::MessageState::NotSent)
            .map(|event| event.reason.as_str())
            .collect();
        // Chunks report in whichever order their connections come to them.
        unsent.sort_unstable();
        assert_eq!(unsent, ["invalid_address", "missing_parameter"]);
        // The stream of changes ends with the last one.
        let watch = api::WatchStatusRequest { request_uid: uid };
        let mut watch = world.messages().watch_status(watch).await.unwrap().into_inner();
        assert!(watch.message().await.unwrap().unwrap().completed);
        assert!(watch.message().await.unwrap().is_none());
    }

    async fn a_repeated_batch_is_answered_and_not_sent(db: publica_testkit::TestDatabase) {
        let world = world(db, SinkOptions::default()).await;
        let id = "018f4e3c-5f00-7000-8000-00000000000b";
        let people: Vec<_> = (0..40).map(person).collect();
        let first = send(&world, parts(header(id), people.clone(), 40)).await.unwrap();
        // Cut into other parts it is still the same batch.
        let second = send(&world, parts(header(id), people.clone(), 7)).await.unwrap();
        assert_eq!(first.request_uid, second.request_uid);
        assert!(second.replayed);
        let refused = send(&world, parts(header(id), people[1..].to_vec(), 40)).await;
        let reason = publica_rpc::reason(&refused.unwrap_err());
        assert_eq!(reason.as_deref(), Some("REQUEST_ID_REUSED"));
        world.reaches(&first.request_uid, |counters| counters.delivered == 40).await;
        assert_eq!(world.sink.mails(), 40);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_sends_nothing() {
    let world = world(Database::sqlite(), SinkOptions::default()).await;
    let people: Vec<_> = (0..600).map(person).collect();
    let mut broken = parts(header(""), people, 500);
    broken.push(api::SendEmailBatchRequest { part: None });
    assert_eq!(
        send(&world, broken).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let empty = send(&world, parts(header(""), Vec::new(), 1))
        .await
        .unwrap_err();
    assert_eq!(publica_rpc::reason(&empty).as_deref(), Some("EMPTY_BATCH"));
    let headless = vec![api::SendEmailBatchRequest { part: None }];
    assert_eq!(
        send(&world, headless).await.unwrap_err().code(),
        Code::InvalidArgument
    );

    let after = send(&world, parts(header(""), vec![person(1)], 1))
        .await
        .unwrap();
    world
        .reaches(&after.request_uid, |counters| counters.delivered == 1)
        .await;
    assert_eq!(world.sink.mails(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_large_a_batch_is_refused() {
    let world = world_with(Database::sqlite(), SinkOptions::default(), |config| {
        config.limits.batch_recipients = 5;
    })
    .await;
    let people: Vec<_> = (0..6).map(person).collect();
    let refused = send(&world, parts(header(""), people, 6))
        .await
        .unwrap_err();
    assert_eq!(
        publica_rpc::reason(&refused).as_deref(),
        Some("BATCH_TOO_LARGE")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_urgent_message_overtakes_a_batch() {
    let faults = Faults {
        delay: std::time::Duration::from_millis(4),
        ..Faults::default()
    };
    let options = SinkOptions {
        keep: 5_000,
        faults,
        ..SinkOptions::default()
    };
    let world = world(Database::sqlite(), options).await;
    let people: Vec<_> = (0..1_500).map(person).collect();
    let batch = send(&world, parts(header(""), people, 500)).await.unwrap();
    eventually(|| async { (world.sink.mails() > 20).then_some(()) }).await;
    let mut urgent = crate::support::email("urgent@home.example", "Now.");
    urgent.envelope.as_mut().unwrap().priority = api::Priority::Urgent.into();
    let before = world.sink.mails();
    world.send(urgent).await;
    let found = eventually(|| async { world.sink.last_to("urgent@home.example") });
    found.await;
    let mails = world.sink.kept();
    let place = mails
        .iter()
        .position(|mail| mail.to[0] == "urgent@home.example")
        .unwrap();
    let overtaken = u64::try_from(place).unwrap() - before;
    assert!(overtaken < 50, "{overtaken} of the batch went first");
    world
        .reaches(&batch.request_uid, |counters| counters.delivered == 1_500)
        .await;
}
