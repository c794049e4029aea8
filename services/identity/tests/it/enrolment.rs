//! Enrolling people.

use std::collections::HashSet;
use std::sync::Arc;

use publica_proto::identity::v1 as pb;
use publica_proto::journal::v1::ListEntriesRequest;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_testkit::{both_engines, eventually};

use crate::support::{Enrolments, Rewinding, Suite, amina, attribute, person, reason};

fn outcomes(answer: &pb::EnrolPersonsResponse) -> Vec<pb::EnrolmentOutcome> {
    answer
        .results
        .iter()
        .map(pb::EnrolmentResult::outcome)
        .collect()
}

fn packet(id: &str, process: &str, finalize: bool) -> pb::SubmitPacketRequest {
    pb::SubmitPacketRequest {
        packet_id: id.to_owned(),
        ref_id: "10001_10002".to_owned(),
        process: process.to_owned(),
        source: "REGISTRATION_CLIENT".to_owned(),
        finalize,
        ..pb::SubmitPacketRequest::default()
    }
}

both_engines! {
    async fn each_row_is_answered_by_itself(db: TestDatabase) {
        use pb::EnrolmentOutcome::{Duplicate, Enrolled, Invalid};
        let suite = Suite::open(db).await;
        let known = suite.enrol(amina()).await;
        assert_eq!(known.outcome(), Enrolled);
        assert_eq!((known.vid.len(), known.registration_id.len()), (16, 29));

        let nameless = pb::NewPerson { attributes: Vec::new(), ..amina() };
        let persons = vec![
            person("Sok Chan", "sok@example.org", "A-1002"),
            amina(),
            // The same number, written otherwise.
            person("Sok Chan", "other@example.org", "a 1002"),
            nameless,
            person("ចាន់ សុខ", "", "A-1003"),
            person("No Mail", "not an address", "A-1004"),
        ];
        let request = pb::EnrolPersonsRequest { persons, ..Default::default() };
        let answer = suite.persons().enrol_persons(request).await.unwrap().into_inner();
        assert_eq!(
            outcomes(&answer),
            [Enrolled, Duplicate, Duplicate, Invalid, Enrolled, Invalid]
        );
        let counts = (answer.enrolled_count, answer.duplicate_count, answer.invalid_count);
        assert_eq!(counts, (2, 2, 2));
        assert_eq!(answer.results[1].person_id, known.person_id);
        assert_eq!(answer.results[2].person_id, answer.results[0].person_id);
        assert_eq!(answer.results[2].duplicate_alias_kind, "national_id");
        assert!(!answer.results[3].violations.is_empty());
    }

    async fn a_person_has_a_case_of_its_own(db: TestDatabase) {
        use pb::EnrolmentOutcome::{Duplicate, Enrolled, Invalid};
        let suite = Suite::open(db).await;
        let of_case = |case: &str, person: pb::NewPerson| pb::NewPerson {
            process_id: case.to_owned(),
            ..person
        };
        let persons = vec![
            person("Sok Chan", "", "A-1002"),
            of_case("case-1", amina()),
            // Nobody new, so nothing happened in this case.
            of_case("case-1", amina()),
            of_case("a case", person("Odd Case", "", "A-1003")),
        ];
        let request = pb::EnrolPersonsRequest { persons, ..Default::default() };
        let answer = suite.persons().enrol_persons(request).await.unwrap().into_inner();
        assert_eq!(outcomes(&answer), [Enrolled, Enrolled, Duplicate, Invalid]);
        assert_eq!(answer.results[3].violations[0].field, "process_id");
        let entries = eventually(|| async {
            let mut journal = JournalServiceClient::new(suite.admin());
            let process_id = "case-1".to_owned();
            let wanted = ListEntriesRequest { process_id, ..Default::default() };
            let found = journal.list_entries(wanted).await.unwrap().into_inner().entries;
            (!found.is_empty()).then_some(found)
        })
        .await;
        assert_eq!(entries.len(), 1, "{entries:?}");
        assert_eq!(entries[0].action, "identity.person.enrolled");
        assert_eq!(entries[0].subject_id, answer.results[1].person_id);
    }

    async fn numbers_that_are_taken_are_drawn_again(db: TestDatabase) {
        let entropy = Arc::new(Rewinding::new());
        let suite = Suite::open_drawing(db, entropy.clone(), |_| ()).await;
        let mut vids = HashSet::new();
        for round in 0..6 {
            // All that was drawn before comes again, more often each time.
            entropy.rewind();
            let persons = (0..3)
                .map(|at| person("Sok Chan", "", &format!("A-{round}{at}00")))
                .collect();
            let request = pb::EnrolPersonsRequest { persons, ..Default::default() };
            let answer = suite.persons().enrol_persons(request).await.unwrap().into_inner();
            assert_eq!(answer.enrolled_count, 3, "round {round}");
            vids.extend(answer.results.into_iter().map(|result| result.vid));
        }
        assert_eq!(vids.len(), 18);
    }

    async fn a_repeated_request_enrols_once(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let request = pb::EnrolPersonsRequest {
            request_id: "7d0e4b1e-7f3c-4d8c-9e0b-0d8a3d1f6a11".to_owned(),
            persons: vec![amina()],
            source: "census".to_owned(),
        };
        let first = suite.persons().enrol_persons(request.clone()).await.unwrap().into_inner();
        let again = suite.persons().enrol_persons(request.clone()).await.unwrap().into_inner();
        assert_eq!(first, again);
        let other = pb::EnrolPersonsRequest { source: "other".to_owned(), ..request };
        let refused = suite.persons().enrol_persons(other).await.unwrap_err();
        assert_eq!(reason(&refused), "REQUEST_ID_REUSED");
    }

    async fn a_thousand_people_fit_into_one_request(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let row = |n: usize| person(&format!("Person {n}"), "p@example.org", &format!("N-{n}"));
        let persons = (0..1_000).map(row).collect();
        let request = pb::EnrolPersonsRequest { persons, ..Default::default() };
        let answer = suite.persons().enrol_persons(request).await.unwrap().into_inner();
        assert_eq!(answer.enrolled_count, 1_000);
        let persons = (0..1_001).map(row).collect();
        let request = pb::EnrolPersonsRequest { persons, ..Default::default() };
        let refused = suite.persons().enrol_persons(request).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_FIELDS");
    }

    async fn a_packet_may_come_in_steps(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let mut enrolments = Enrolments::new(suite.admin());
        let first = pb::SubmitPacketRequest {
            attributes: vec![attribute("name", "Amina Yusuf")],
            ..packet("10001-1", "DEMO", false)
        };
        let answer = enrolments.submit_packet(first).await.unwrap().into_inner();
        assert_eq!(answer.enrolment.unwrap().state(), pb::EnrolmentState::Received);
        let last = pb::SubmitPacketRequest {
            attributes: vec![attribute("birthdate", "1980-05-12")],
            evidence_json: r#"{"biometrics":{"segment":[]}}"#.to_owned(),
            ..packet("10001-1", "BIO", true)
        };
        let answer = enrolments.submit_packet(last.clone()).await.unwrap().into_inner();
        let enrolment = answer.enrolment.clone().unwrap();
        assert!(answer.created && answer.vid.len() == 16);
        assert_eq!(enrolment.state(), pb::EnrolmentState::Registered);
        let id = enrolment.person_id.clone();
        let person = suite.persons().get_person(pb::GetPersonRequest { person_id: id }).await;
        let person = person.unwrap().into_inner().person.unwrap();
        assert_eq!(person.attributes.len(), 2);
        assert_eq!(person.registration_id, "10001-1");

        let again = enrolments.submit_packet(last.clone()).await.unwrap().into_inner();
        assert_eq!((again.created, again.vid), (true, answer.vid));
        let other = pb::SubmitPacketRequest { evidence_json: "{}".to_owned(), ..last };
        let refused = enrolments.submit_packet(other).await.unwrap_err();
        assert_eq!(reason(&refused), "PACKET_CONFLICT");
    }

    async fn an_update_changes_only_what_it_holds(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let known = suite.enrol(amina()).await;
        let mut enrolments = Enrolments::new(suite.admin());
        let update = pb::SubmitPacketRequest {
            attributes: vec![attribute("birthdate", "1981-05-12")],
            individual_id: "A-1001".to_owned(),
            ..packet("10001-2", "UPDATE", true)
        };
        let answer = enrolments.submit_packet(update).await.unwrap().into_inner();
        assert!(!answer.created);
        let request = pb::GetPersonRequest { person_id: known.person_id };
        let person = suite.persons().get_person(request).await.unwrap().into_inner();
        let attributes = person.person.unwrap().attributes;
        assert!(attributes.contains(&attribute("birthdate", "1981-05-12")));
        assert!(attributes.contains(&attribute("name", "Amina Yusuf")));

        let unknown = pb::SubmitPacketRequest {
            individual_id: "A-9999".to_owned(),
            ..packet("10001-3", "UPDATE", true)
        };
        let refused = enrolments.submit_packet(unknown).await.unwrap_err();
        assert_eq!(reason(&refused), "PERSON_NOT_FOUND");
        let request = pb::ListEnrolmentsRequest::default();
        let listed = enrolments.list_enrolments(request).await.unwrap().into_inner();
        assert_eq!(listed.enrolments.len(), 2);
    }
}
