//! Data of an earlier system.

use publica_messaging::sink::SinkOptions;
use publica_proto::imports::v1 as imports;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_proto::messaging::v1 as api;
use publica_testkit::both_engines;

use crate::support::{ALL, email, envelope, parameters, world};

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

both_engines! {
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
        assert_eq!(found, [(4, "request_uid"), (5, ""), (6, "kind")]);
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
