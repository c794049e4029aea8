//! Data of an earlier system.

use publica_messaging::sink::SinkOptions;
use publica_proto::imports::v1 as imports;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_proto::messaging::v1 as api;
use publica_testkit::{both_engines, schemas_hold};

use crate::support::{ALL, World, email, envelope, parameters, world};

fn lines(lines: &[(&str, &str)]) -> Vec<imports::ImportEntitiesRequest> {
    (1..)
        .zip(lines)
        .map(|(line, (kind, json))| imports::ImportEntitiesRequest {
            kind: (*kind).to_owned(),
            json: json.as_bytes().to_vec().into(),
            line,
        })
        .collect()
}

async fn import(world: &World, file: &[(&str, &str)]) -> imports::ImportEntitiesResponse {
    ImportServiceClient::new(world.block.as_caller(ALL))
        .import_entities(tokio_stream::iter(lines(file)))
        .await
        .unwrap()
        .into_inner()
}

both_engines! {
    async fn the_published_schemas_hold(db: publica_testkit::TestDatabase) {
        let world = world(db, SinkOptions::default()).await;
        schemas_hold(&world.block.as_caller(ALL), "messaging", |_, _| ()).await;
    }

    async fn other_content_is_a_problem(db: publica_testkit::TestDatabase) {
        let world = world(db, SinkOptions::default()).await;
        let (request, template, suppression) =
            ("messaging.request", "messaging.template", "messaging.suppression");
        let file = [
            (request, r#"{"request_uid": "u1", "counters": {"delivered": 2}, "process_id": "p",
                "callback_url": "https://a.example/", "received_time": "2024-01-01T00:00:00Z"}"#),
            (template, r#"{"name": "a", "version": 1, "author": "x", "approved_by": "y",
                "variants": [{"locale": "en", "subject": "S", "text": "T"}]}"#),
            (suppression, r#"{"address": "a@home.example", "reason": "opt_out",
                "expire_time": "2031-01-01T00:00:00Z",
                "suppression_id": "018f4e3c-5f00-7000-8000-000000000001"}"#),
        ];
        assert_eq!(import(&world, &file).await.accepted, 3);
        let again = import(&world, &file).await;
        assert_eq!((again.repeated, again.problems), (3, vec![]));
        let others = [
            (request, r#"{"request_uid": "u1", "counters": {"delivered": 3}, "process_id": "p",
                "callback_url": "https://a.example/"}"#),
            (request, r#"{"request_uid": "u1", "counters": {"delivered": 2},
                "callback_url": "https://a.example/"}"#),
            (request, r#"{"request_uid": "u1", "counters": {"delivered": 2}, "process_id": "p"}"#),
            (request, r#"{"request_uid": "u1", "counters": {"delivered": 2}, "process_id": "p",
                "callback_url": "https://a.example/", "received_time": "2024-01-02T00:00:00Z"}"#),
            (template, r#"{"name": "a", "version": 1, "author": "x",
                "variants": [{"locale": "en", "subject": "S", "text": "T"}]}"#),
            (suppression, r#"{"address": "a@home.example", "reason": "opt_out"}"#),
            (suppression, r#"{"address": "b@home.example", "reason": "opt_out",
                "suppression_id": "018f4e3c-5f00-7000-8000-000000000001"}"#),
        ];
        let answer = import(&world, &others).await;
        assert_eq!((answer.accepted, answer.repeated), (0, 0), "{answer:?}");
        let found: Vec<_> =
            answer.problems.iter().map(|one| (one.line, one.field.as_str())).collect();
        assert_eq!(found, [
            (1, "request_uid"), (2, "request_uid"), (3, "request_uid"), (4, "request_uid"),
            (5, "version"), (6, "address"), (7, "suppression_id"),
        ]);
    }

    async fn every_problem_of_a_line_is_told(db: publica_testkit::TestDatabase) {
        let world = world(db, SinkOptions::default()).await;
        let file = [
            ("messaging.request", r#"{"request_uid": "a b", "counters": {"bounced": -1,
                "delivered": 9999999999}, "callback_url": ""}"#),
            ("messaging.suppression", r#"{"address": "nowhere", "category": "a b",
                "reason": "x"}"#),
            ("messaging.template", r#"{"name": "", "version": 0, "variants": [],
                "author": "x", "approved_by": "x"}"#),
            ("messaging.request", r#"{"request_uid": "a", "counter": {}}"#),
        ];
        let answer = import(&world, &file).await;
        assert_eq!(answer.accepted, 0);
        let found: Vec<_> =
            answer.problems.iter().map(|one| (one.line, one.field.as_str())).collect();
        assert_eq!(found, [
            (1, "request_uid"), (1, "counters.bounced"), (1, "counters.delivered"),
            (1, "callback_url"), (2, "address"), (2, "category"), (2, "reason"),
            (3, "version"), (3, "approved_by"), (3, "name"), (3, "variants"), (4, "counter"),
        ]);
    }

    async fn requests_templates_and_suppressions_are_brought_in(
        db: publica_testkit::TestDatabase
    ) {
        let world = world(db, SinkOptions::default()).await;
        let file = lines(&[
            ("messaging.request", r#"{"kind": "messaging.request",
                "request_uid": "UfQK-CPju-Ea5B-6y7X-8A72-VqU5",
                "counters": {"processing": 1004, "bounced": 257, "scheduled": 3}}"#),
            ("messaging.template", r#"{"name": "tax.notice", "version": 3, "author": "old",
                "variants": [{"locale": "en", "subject": "S", "text": "T {{ x }}"}],
                "variables": ["x"], "approved_by": "other"}"#),
            ("messaging.suppression", r#"{"address": "anna@home.example", "reason": "opt_out"}"#),
            ("messaging.request", r#"{"request_uid": "no spaces allowed"}"#),
            ("messaging.request", r#"{"counters": {}}"#),
            ("payments.voucher", "{}"),
        ]);
        let mut client = ImportServiceClient::new(world.block.as_caller(ALL));
        let answer =
            client.import_entities(tokio_stream::iter(file.clone())).await.unwrap().into_inner();
        assert_eq!((answer.accepted, answer.repeated), (3, 0));
        let found: Vec<_> =
            answer.problems.iter().map(|one| (one.line, one.field.as_str())).collect();
        assert_eq!(found, [(4, "request_uid"), (5, "request_uid"), (6, "kind")]);
        let again = client.import_entities(tokio_stream::iter(file)).await.unwrap().into_inner();
        assert_eq!((again.accepted, again.repeated), (0, 3));

        let counters = world.counters("UfQK-CPju-Ea5B-6y7X-8A72-VqU5").await;
        assert_eq!((counters.processing, counters.bounced, counters.scheduled), (1_004, 257, 3));
        let suppressed = world.send(email("anna@home.example", "No.")).await;
        world.reaches(&suppressed, |counters| counters.not_sent == 1).await;
        let mut message = email("ben@home.example", "");
        let body = api::envelope::Body::Template(api::TemplateReference {
            name: "tax.notice".to_owned(),
            version: 3,
        });
        message.envelope = Some(envelope(body));
        message.recipient.as_mut().unwrap().parameters = parameters(&[("x", "1")]);
        let sent = world.send(message).await;
        world.reaches(&sent, |counters| counters.delivered == 1).await;
        assert_eq!(world.sink.mails(), 1);
    }
}
