//! Bringing in files with their tasks.

use publica_proto::imports::v1 as pb;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_testkit::both_engines;
use serde_json::{Value, json};

use crate::Fixture;

fn file(id: &str, tasks: &[&str]) -> Value {
    let task =
        |id: &&str| json!({"taskId": id, "roleId": "clerk", "created": "2026-01-01T00:00:00Z"});
    json!({
        "fileId": id, "serviceId": "support", "applicantId": "anna", "status": "PENDING",
        "registered": "2026-01-01T00:00:00Z",
        "tasks": tasks.iter().map(task).collect::<Vec<_>>(),
    })
}

fn with(mut file: Value, pointer: &str, value: Value) -> Value {
    match file.pointer_mut(pointer) {
        Some(member) => *member = value,
        None => panic!("{pointer} is not there"),
    }
    file
}

both_engines! {
    async fn what_cannot_be_stored_is_refused_by_line_and_field(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        fixture.publish().await;
        let nul = || json!("a\u{0}b");
        let files = [
            file("f1", &["t1", "t2"]),
            file("f1", &["t1", "t2"]),
            file("f2", &["t3", "t1"]),
            file("f3", &["t4", "t4"]),
            with(file("f4", &["t5"]), "/tasks/0/taskId", nul()),
            with(file("f5", &[]), "/applicantId", nul()),
            with(file("f6", &[]), "/fileId", nul()),
            with(file("f7", &[]), "/serviceId", nul()),
            with(file("f8", &[]), "/registered", json!("anna, expected b at line 2")),
            with(file("f9", &[]), "/registered", json!("9999-12-31T23:59:59-01:00")),
            with(file("f10", &[]), "/applicantId", json!(["anna, expected b at line 1"])),
            file("f11", &["t3"]),
        ];
        let lines: Vec<_> = (1..).zip(files).map(|(line, file)| pb::ImportEntitiesRequest {
            kind: "registration.application".into(),
            json: file.to_string().into_bytes().into(),
            line,
        }).collect();
        let mut client = ImportServiceClient::new(fixture.admin());
        let stream = futures::stream::iter(lines);
        let done = client.import_entities(stream).await.unwrap().into_inner();
        assert_eq!((done.accepted, done.repeated), (2, 1));
        let found: Vec<_> = done.problems.iter()
            .map(|problem| (problem.line, problem.field.as_str()))
            .collect();
        assert_eq!(found, [
            (3, "tasks"), (4, "tasks[1].taskId"), (5, "tasks[0].taskId"), (6, "applicantId"),
            (7, "fileId"), (8, "serviceId"), (9, ""), (10, ""), (11, ""),
        ]);
        for problem in &done.problems {
            assert!(!problem.description.contains("anna"), "{}", problem.description);
        }
    }
}
