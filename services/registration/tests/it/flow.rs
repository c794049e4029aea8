//! From submission to decision.

use publica_proto::registration::v1 as pb;
use publica_proto::registration::v1::application_service_client::ApplicationServiceClient;
use publica_proto::registration::v1::registry_service_client::RegistryServiceClient;
use publica_proto::registration::v1::statistics_service_client::StatisticsServiceClient;
use publica_proto::registration::v1::task_service_client::TaskServiceClient;
use publica_testkit::both_engines;
use serde_json::json;
use tonic::Code;

use crate::Fixture;

fn submission(applicant: &str, income: i64) -> pb::SubmitApplicationRequest {
    pb::SubmitApplicationRequest {
        service_id: "support".to_owned(),
        applicant_id: applicant.to_owned(),
        form_json: json!({"members": 3, "income": income})
            .to_string()
            .into_bytes()
            .into(),
        ..pb::SubmitApplicationRequest::default()
    }
}

async fn submit(
    fixture: &Fixture,
    request: pb::SubmitApplicationRequest,
) -> Result<pb::Application, tonic::Status> {
    let mut client = ApplicationServiceClient::new(fixture.admin());
    let answer = client.submit_application(request).await?.into_inner();
    Ok(answer.application.expect("an answer holds the file"))
}

fn decision(task: &pb::Task, outcome: pb::Outcome, text: &str) -> pb::CompleteTaskRequest {
    pb::CompleteTaskRequest {
        task_id: task.task_id.clone(),
        outcome: outcome.into(),
        text: text.to_owned(),
        ..pb::CompleteTaskRequest::default()
    }
}

both_engines! {
    async fn rules_and_people_decide(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        fixture.publish().await;
        let low = submit(&fixture, submission("p1", 50)).await.unwrap();
        assert_eq!(low.state(), pb::FileState::Approved);
        assert_eq!(low.decision_text, "Low income.");
        let high = submit(&fixture, submission("p2", 5_000)).await.unwrap();
        assert_eq!(high.state(), pb::FileState::Rejected);

        let mut files = ApplicationServiceClient::new(fixture.admin());
        let mut tasks = TaskServiceClient::new(fixture.admin());
        let middle = submit(&fixture, submission("p3", 500)).await.unwrap();
        assert_eq!(middle.state(), pb::FileState::InProcess);
        let task = middle.current_task.expect("a clerk looks at it");
        let back = decision(&task, pb::Outcome::SentBack, "Please correct the income.");
        let done = tasks.complete_task(back.clone()).await.unwrap().into_inner();
        assert_eq!(done.file_state(), pb::FileState::SentBack);
        let again = tasks.complete_task(back).await.unwrap().into_inner();
        assert_eq!(again.file_state(), pb::FileState::SentBack);
        let other = tasks.complete_task(decision(&task, pb::Outcome::Approved, "")).await;
        assert_eq!(other.unwrap_err().code(), Code::Aborted);

        let update = pb::UpdateApplicationRequest {
            file_id: middle.file_id.clone(),
            form_json: json!({"household": {"income": 400}}).to_string().into_bytes().into(),
            ..pb::UpdateApplicationRequest::default()
        };
        let file = files.update_application(update).await.unwrap().into_inner().application;
        let task = file.unwrap().current_task.expect("the clerk looks again");
        let done = tasks.complete_task(decision(&task, pb::Outcome::Approved, "")).await.unwrap();
        assert_eq!(done.into_inner().file_state(), pb::FileState::Approved);
        let request = pb::GetApplicationRequest { file_id: middle.file_id.clone() };
        let file = files.get_application(request).await.unwrap().into_inner().application.unwrap();
        let data: serde_json::Value = serde_json::from_slice(&file.form_json).unwrap();
        assert_eq!(data, json!({"household": {"members": 3, "income": 400}}));

        let mut statistics = StatisticsServiceClient::new(fixture.admin());
        let rows = statistics
            .get_statistics(pb::GetStatisticsRequest::default())
            .await
            .unwrap()
            .into_inner()
            .rows;
        assert_eq!((rows[0].approved, rows[0].sent_back, rows[0].rejected), (2, 1, 1));
        let request =
            pb::ListFileEventsRequest { file_id: middle.file_id, ..Default::default() };
        let events = files.list_file_events(request).await.unwrap().into_inner().events;
        let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["submitted", "decided", "resubmitted", "decided"]);
    }

    async fn a_repeated_request_gives_the_first_answer(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        fixture.publish().await;
        let request =
            pb::SubmitApplicationRequest { request_id: "once".into(), ..submission("p", 500) };
        let (first, second) = tokio::join!(
            submit(&fixture, request.clone()),
            submit(&fixture, request.clone()),
        );
        assert_eq!(first.unwrap().file_id, second.unwrap().file_id);
        let other =
            pb::SubmitApplicationRequest { request_id: "once".into(), ..submission("p", 501) };
        let refused = submit(&fixture, other).await.unwrap_err();
        assert_eq!(publica_rpc::reason(&refused).as_deref(), Some("REQUEST_ID_REUSED"));
        let mut files = ApplicationServiceClient::new(fixture.admin());
        let all = files.list_applications(pb::ListApplicationsRequest::default()).await.unwrap();
        assert_eq!(all.into_inner().total_size, 1);
    }

    async fn bad_input_is_named_and_changes_nothing(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        fixture.publish().await;
        let mut wrong = submission("p", -5);
        wrong.form_json = json!({"members": 99, "income": -5}).to_string().into_bytes().into();
        let refused = submit(&fixture, wrong).await.unwrap_err();
        assert_eq!(publica_rpc::reason(&refused).as_deref(), Some("SUBMISSION_INVALID"));
        let details = tonic_types::StatusExt::get_error_details(&refused);
        let fields: Vec<String> = details
            .bad_request()
            .unwrap()
            .field_violations
            .iter()
            .map(|violation| violation.field.clone())
            .collect();
        assert_eq!(fields, ["household.members", "household.income"]);
        let unknown = pb::SubmitApplicationRequest {
            service_id: "nothing".into(),
            ..submission("p", 5)
        };
        assert_eq!(submit(&fixture, unknown).await.unwrap_err().code(), Code::NotFound);
        let mut files = ApplicationServiceClient::new(fixture.admin());
        let all = files.list_applications(pb::ListApplicationsRequest::default()).await.unwrap();
        assert_eq!(all.into_inner().total_size, 0);
    }

    async fn one_of_two_operators_wins(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        fixture.publish().await;
        let file = submit(&fixture, submission("p", 500)).await.unwrap();
        let task = file.current_task.unwrap();
        let mut one = TaskServiceClient::new(fixture.link("op1", &["registration:*"]));
        let mut two = TaskServiceClient::new(fixture.link("op2", &["registration:*"]));
        let (first, second) = tokio::join!(
            one.complete_task(decision(&task, pb::Outcome::Approved, "")),
            two.complete_task(decision(&task, pb::Outcome::Rejected, "no")),
        );
        assert_eq!(usize::from(first.is_ok()) + usize::from(second.is_ok()), 1);
        let lost = first.err().or(second.err()).unwrap();
        assert_eq!(publica_rpc::reason(&lost).as_deref(), Some("TASK_ALREADY_COMPLETED"));
    }

    async fn the_register_cannot_be_read_without_a_consent_block(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        fixture.publish().await;
        submit(&fixture, submission("p", 50)).await.unwrap();
        let mut registry = RegistryServiceClient::new(fixture.admin());
        let request = pb::ReadEntryRequest {
            register: "households".into(),
            person_id: "p".into(),
            data_agreement_id: "a".into(),
            fields: vec!["household.members".into()],
        };
        let refused = registry.read_entry(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(publica_rpc::reason(&refused).as_deref(), Some("PEER_NOT_CONFIGURED"));
    }
}
