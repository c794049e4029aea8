//! Bringing in services, documents, files with their tasks, and register entries.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_proto::imports::v1 as pb;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_proto::journal::v1 as journal;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_proto::registration::v1 as api;
use publica_proto::registration::v1::catalog_service_client::CatalogServiceClient;
use publica_proto::registration::v1::document_service_client::DocumentServiceClient;
use publica_testkit::{both_engines, eventually, schemas_hold};
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

async fn import(fixture: &Fixture, lines: &[(&str, Value)]) -> pb::ImportEntitiesResponse {
    let lines: Vec<_> = (1..)
        .zip(lines)
        .map(|(line, (kind, entity))| pb::ImportEntitiesRequest {
            kind: (*kind).to_owned(),
            json: entity.to_string().into_bytes().into(),
            line,
        })
        .collect();
    ImportServiceClient::new(fixture.admin())
        .import_entities(futures::stream::iter(lines))
        .await
        .expect("the import is answered")
        .into_inner()
}

fn fields(answer: &pb::ImportEntitiesResponse) -> Vec<(u64, &str)> {
    let problems = answer.problems.iter();
    problems
        .map(|problem| (problem.line, problem.field.as_str()))
        .collect()
}

fn entry(person: &str, members: i64) -> Value {
    json!({"register": "households", "personId": person, "fileId": "f1",
        "fields": {"household.members": members}})
}

fn document(id: &str, owner: &str, content: &[u8]) -> Value {
    json!({"documentId": id, "ownerId": owner, "content": STANDARD.encode(content)})
}

/// The bodies of the journal's entries about imports, once it holds what comes after them: the
/// service is opened, for the `times`th time.
async fn journalled(fixture: &Fixture, times: usize) -> Vec<Value> {
    let open = api::SetServiceOpenRequest {
        service_id: "support".to_owned(),
        open: true,
        request_id: String::new(),
    };
    let mut catalog = CatalogServiceClient::new(fixture.admin());
    let opened = catalog.set_service_open(open).await;
    opened.expect("the service opens");
    let entries = eventually(|| async {
        let request = journal::ListEntriesRequest::default();
        let mut client = JournalServiceClient::new(fixture.admin());
        let found = client
            .list_entries(request)
            .await
            .expect("the journal is listed")
            .into_inner()
            .entries;
        let opened = found
            .iter()
            .filter(|entry| entry.action == "registration.service.opened");
        (opened.count() == times).then_some(found)
    })
    .await;
    let imports = entries
        .into_iter()
        .filter(|entry| entry.action.contains("import"));
    imports
        .map(|entry| {
            serde_json::from_slice(entry.body.as_deref().unwrap_or_default()).expect("JSON")
        })
        .collect()
}

const APPLICATION: &str = "registration.application";
const DOCUMENT: &str = "registration.document";
const ENTRY: &str = "registration.register_entry";

both_engines! {
    async fn the_published_schemas_hold(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        schemas_hold(&fixture.admin(), "registration", |_, _| ()).await;
    }

    async fn other_content_is_a_problem_and_changes_nothing(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        fixture.publish().await;
        let mut told = file("f1", &["t1"]);
        told["data"] = json!({"household": {"members": 4}});
        told["documentUrls"] = json!(["https://files.example.org/1"]);
        told["decisionText"] = json!("Because.");
        let lines = [
            (APPLICATION, told.clone()),
            (ENTRY, entry("anna", 4)),
            (DOCUMENT, document("d1", "anna", b"%PDF-1")),
        ];
        let first = import(&fixture, &lines).await;
        assert_eq!((first.accepted, first.problems.as_slice()), (3, [].as_slice()));
        let again = import(&fixture, &lines).await;
        assert_eq!((again.repeated, again.problems.as_slice()), (3, [].as_slice()));

        let mut others = Vec::new();
        for (pointer, value) in [
            ("/data", json!({"household": {"members": 5}})),
            ("/documentUrls", json!([])),
            ("/decisionText", json!("Why not.")),
            ("/registered", json!("2026-01-02T00:00:00Z")),
            ("/status", json!("APPROVED")),
            ("/tasks", json!([])),
            ("/tasks/0/taskId", json!("t9")),
            ("/tasks/0/assigneeId", json!("clerk-1")),
            ("/applicantId", json!("ben")),
        ] {
            let mut other = told.clone();
            if let Some(place) = other.pointer_mut(pointer) {
                *place = value;
            } else {
                other["tasks"][0]["assigneeId"] = value;
            }
            others.push((APPLICATION, other));
        }
        others.push((ENTRY, entry("anna", 5)));
        let mut unfounded = entry("anna", 4);
        unfounded["fileId"] = json!("f2");
        others.push((ENTRY, unfounded));
        others.push((DOCUMENT, document("d1", "anna", b"%PDF-2")));
        others.push((DOCUMENT, document("d1", "ben", b"%PDF-1")));
        others.push((DOCUMENT, document("d2", "anna", b"%PDF-1")));
        let refused = import(&fixture, &others).await;
        assert_eq!((refused.accepted, refused.repeated), (0, 0), "{refused:?}");
        let mut expected: Vec<(u64, &str)> = (1..=9).map(|line| (line, "fileId")).collect();
        expected.extend([(10, "personId"), (11, "personId"), (12, "documentId")]);
        expected.extend([(13, "documentId"), (14, "content")]);
        assert_eq!(fields(&refused), expected);
        let again = import(&fixture, &lines).await;
        assert_eq!((again.repeated, again.problems.as_slice()), (3, [].as_slice()));
    }

    async fn a_chunk_is_one_entry_of_the_journal(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        fixture.publish().await;
        let mut lines = vec![(APPLICATION, file("f1", &["t1"]))];
        lines.extend((0..40).map(|number| (ENTRY, entry(&format!("p{number}"), number))));
        // The same person twice: once more, and with something else.
        lines.push((ENTRY, entry("p7", 7)));
        lines.push((ENTRY, entry("p7", 8)));
        lines.push((DOCUMENT, document("d1", "p7", b"%PDF-1")));
        lines.push((ENTRY, entry("p40", 40)));
        let answer = import(&fixture, &lines).await;
        assert_eq!((answer.accepted, answer.repeated), (43, 1), "{answer:?}");
        assert_eq!(fields(&answer), [(43, "personId")]);
        let bodies = journalled(&fixture, 1).await;
        let [body] = bodies.as_slice() else {
            panic!("{bodies:?}");
        };
        assert_eq!(body["count"], 43);
        assert_eq!(body["root"].as_str().map(str::len), Some(64));
        // What only repeats leaves no entry.
        import(&fixture, &lines[..1]).await;
        assert_eq!(journalled(&fixture, 2).await.len(), 1);
    }

    async fn documents_come_in_as_they_are_uploaded(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        let large = [b"%PDF-1.7 ".as_slice(), &vec![b'x'; 3 * 1_024 * 1_024 - 9]].concat();
        let mut dated = document("d1", "anna", &large);
        dated["created"] = json!("2020-01-01T00:00:00Z");
        dated["contentType"] = json!("application/pdf");
        let mut lying = document("d3", "anna", b"%PDF-1");
        lying["contentType"] = json!("image/png");
        let lines = [
            (DOCUMENT, dated),
            (DOCUMENT, document("d2", "anna", b"\x7fELF\x02\x00")),
            (DOCUMENT, lying),
            (DOCUMENT, document("d4", "anna", b"")),
            (DOCUMENT, json!({"documentId": "d5", "ownerId": "anna", "content": "no base64!"})),
            (DOCUMENT, document("d6,d7", "anna / ben", b"%PDF-1")),
            (DOCUMENT, document("d8", "anna", &[&large[..], b"x"].concat())),
        ];
        let answer = import(&fixture, &lines).await;
        assert_eq!(answer.accepted, 1, "{answer:?}");
        assert_eq!(fields(&answer), [
            (2, "content"), (3, "contentType"), (4, "content"), (5, "content"),
            (6, "documentId"), (6, "ownerId"), (7, "content"),
        ]);
        let own = fixture.link("anna", &["registration:document:read"]);
        let request = api::GetDocumentRequest { document_id: "d1".to_owned() };
        let mut client = DocumentServiceClient::new(own);
        let read = client.get_document(request).await.unwrap().into_inner();
        assert_eq!(read.media_type, "application/pdf");
        assert_eq!(read.content.len(), large.len());
    }

    async fn every_problem_of_a_line_is_told(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        fixture.publish().await;
        let mut bad = file("f 1", &["t1", "t1"]);
        bad["applicantId"] = json!("");
        bad["status"] = json!("LOST");
        bad["tasks"][0]["outcome"] = json!("MAYBE");
        let mut roles = file("f2", &["t2", "t3"]);
        roles["tasks"][0]["roleId"] = json!("king");
        roles["tasks"][1]["roleId"] = json!("queen");
        let mut odd = entry("anna", 1);
        odd["feilds"] = json!({});
        let lines = [
            (APPLICATION, bad),
            (APPLICATION, roles),
            (ENTRY, json!({"register": "a/b", "personId": "", "fileId": " ", "fields": {}})),
            (ENTRY, odd),
        ];
        let answer = import(&fixture, &lines).await;
        assert_eq!((answer.accepted, answer.repeated), (0, 0));
        assert_eq!(fields(&answer), [
            (1, "fileId"), (1, "applicantId"), (1, "status"), (1, "tasks[0].outcome"),
            (1, "tasks[1].taskId"), (2, "tasks[0].roleId"), (2, "tasks[1].roleId"),
            (3, "register"), (3, "personId"), (3, "fileId"), (4, "feilds"),
        ]);
        assert_eq!(journalled(&fixture, 1).await.len(), 0);
    }

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
            (3, "tasks[1].taskId"), (4, "tasks[1].taskId"), (5, "tasks[0].taskId"),
            (6, "applicantId"), (7, "fileId"), (8, "serviceId"), (9, "registered"),
            (10, "registered"), (11, "applicantId"),
        ]);
        for problem in &done.problems {
            assert!(!problem.description.contains("anna"), "{}", problem.description);
        }
    }
}
