//! Reading and changing people, their identifiers and factors.

use publica_proto::identity::v1 as pb;
use publica_rpc::timestamp;
use publica_testkit::both_engines;
use publica_types::Clock as _;

use crate::support::{Factors, Identifiers, Suite, amina, attribute, person, reason, seconds};

async fn search(suite: &Suite, identifier: &str, name: &str) -> Vec<String> {
    let request = pb::SearchPersonsRequest {
        identifier: identifier.to_owned(),
        name: name.to_owned(),
    };
    let found = suite
        .persons()
        .search_persons(request)
        .await
        .unwrap()
        .into_inner()
        .persons;
    assert!(found.iter().all(|person| person.attributes.is_empty()));
    found.into_iter().map(|person| person.person_id).collect()
}

async fn state(suite: &Suite, id: &str) -> pb::PersonState {
    let request = pb::GetPersonRequest {
        person_id: id.to_owned(),
    };
    suite
        .persons()
        .get_person(request)
        .await
        .unwrap()
        .into_inner()
        .person
        .unwrap()
        .state()
}

both_engines! {
    async fn people_are_found_by_identifier_and_name(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let amina = suite.enrol(amina()).await;
        let sok = suite.enrol(person("សុខ ចាន់", "sok@example.org", "A-1002")).await;
        let id = |result: &pb::EnrolmentResult| vec![result.person_id.clone()];
        assert_eq!(search(&suite, &amina.vid, "").await, id(&amina));
        assert_eq!(search(&suite, " a-1001", "").await, id(&amina));
        assert_eq!(search(&suite, "", "yusuf amina").await, id(&amina));
        // Written otherwise, sounding alike.
        assert_eq!(search(&suite, "", "សុខ").await, id(&sok));
        assert!(search(&suite, "A-9999", "").await.is_empty());
        assert!(search(&suite, "", "nobody").await.is_empty());
        let both = pb::SearchPersonsRequest { identifier: "a".to_owned(), name: "b".to_owned() };
        let refused = suite.persons().search_persons(both).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_FIELDS");
    }

    async fn lists_page_without_gaps(db: TestDatabase) {
        let suite = Suite::open(db).await;
        for n in 0..5 {
            suite.clock.advance(seconds(1));
            suite.enrol(person(&format!("P {n}"), "p@example.org", &format!("N-{n}"))).await;
        }
        let mut request = pb::ListPersonsRequest { page_size: 2, ..Default::default() };
        let mut seen = Vec::new();
        loop {
            let page = suite.persons().list_persons(request.clone()).await.unwrap().into_inner();
            seen.extend(page.persons.into_iter().map(|person| person.person_id));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(seen.len(), 5);
        let mut unique = seen.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), 5);
        request.state = pb::PersonState::Blocked.into();
        let refused = suite.persons().list_persons(request).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_FIELDS");
    }

    async fn changes_keep_what_was_known(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let id = suite.enrol(amina()).await.person_id;
        let get = pb::GetPersonRequest { person_id: id.clone() };
        let before = suite.persons().get_person(get.clone()).await.unwrap().into_inner();
        let before = before.person.unwrap();
        suite.clock.advance(seconds(1));
        let update = pb::UpdatePersonRequest {
            person_id: id.clone(),
            attributes: vec![attribute("name", "Amina Hassan"), attribute("birthdate", "")],
            evidence: "marriage-77".to_owned(),
            etag: before.etag.clone(),
            ..Default::default()
        };
        suite.persons().update_person(update.clone()).await.unwrap();
        let after = suite.persons().get_person(get).await.unwrap().into_inner().person.unwrap();
        assert!(after.attributes.contains(&attribute("name", "Amina Hassan")));
        assert!(!after.attributes.iter().any(|one| one.name == "birthdate"));
        assert_eq!(search(&suite, "", "hassan").await, [id]);
        assert!(search(&suite, "", "yusuf").await.is_empty());
        let late = suite.persons().update_person(update).await.unwrap_err();
        assert_eq!(reason(&late), "ETAG_MISMATCH");
    }

    async fn states_follow_their_rules(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let id = suite.enrol(amina()).await.person_id;
        let end = suite.clock.now().plus(seconds(60));
        let block = pb::BlockPersonRequest {
            person_id: id.clone(),
            expire_time: Some(timestamp(end)),
            ..Default::default()
        };
        suite.persons().block_person(block.clone()).await.unwrap();
        assert_eq!(state(&suite, &id).await, pb::PersonState::Blocked);
        suite.clock.advance(seconds(61));
        assert_eq!(state(&suite, &id).await, pb::PersonState::Active);
        let past = suite.persons().block_person(block.clone()).await.unwrap_err();
        assert_eq!(reason(&past), "INVALID_FIELDS");
        let death = pb::RecordDeathRequest { person_id: id.clone(), ..Default::default() };
        suite.persons().record_death(death).await.unwrap();
        let block = pb::BlockPersonRequest { expire_time: None, ..block };
        let refused = suite.persons().block_person(block).await.unwrap_err();
        assert_eq!(reason(&refused), "STATE_FORBIDS");
        let nobody = pb::GetPersonRequest { person_id: "nobody".to_owned() };
        let refused = suite.persons().get_person(nobody).await.unwrap_err();
        assert_eq!(reason(&refused), "PERSON_NOT_FOUND");
    }

    async fn erasure_leaves_a_tombstone(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let enrolled = suite.enrol(amina()).await;
        let request = pb::ErasePersonRequest {
            person_id: enrolled.person_id.clone(),
            reason: "court order 12".to_owned(),
            ..Default::default()
        };
        let answer = suite.persons().erase_person(request).await.unwrap().into_inner();
        assert_eq!(answer.person.unwrap().state(), pb::PersonState::Erased);
        assert!(search(&suite, "A-1001", "").await.is_empty());
        assert!(search(&suite, "", "amina").await.is_empty());
        let get = pb::GetPersonRequest { person_id: enrolled.person_id.clone() };
        let person = suite.persons().get_person(get).await.unwrap().into_inner().person.unwrap();
        assert!(person.attributes.is_empty());
        // The number is free for somebody else.
        let again = suite.enrol(amina()).await;
        assert_ne!(again.person_id, enrolled.person_id);
        assert_eq!(again.outcome(), pb::EnrolmentOutcome::Enrolled);
    }

    async fn identifiers_come_and_go(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let id = suite.enrol(amina()).await.person_id;
        let other = suite.enrol(person("Sok Chan", "sok@example.org", "A-1002")).await.person_id;
        let mut identifiers = Identifiers::new(suite.admin());
        let vid = pb::CreateVidRequest {
            person_id: id.clone(),
            policy: pb::VidPolicy::OneTimeUse.into(),
            ..Default::default()
        };
        let made = identifiers.create_vid(vid.clone()).await.unwrap().into_inner();
        let made = made.identifier.unwrap();
        assert_eq!(made.uses_left, Some(1));
        assert_eq!(search(&suite, &made.value, "").await, std::slice::from_ref(&id));
        // Everybody has a perpetual one from the start.
        let second = pb::CreateVidRequest { policy: pb::VidPolicy::Perpetual.into(), ..vid };
        let refused = identifiers.create_vid(second).await.unwrap_err();
        assert_eq!(reason(&refused), "TOO_MANY_VIDS");
        let alias = |value: &str| pb::AttachAliasRequest {
            person_id: id.clone(),
            alias: Some(pb::Alias { kind: "passport".to_owned(), value: value.to_owned() }),
            ..Default::default()
        };
        let refused = identifiers.attach_alias(alias("A-1002")).await.unwrap_err();
        assert_eq!(reason(&refused), "IDENTIFIER_TAKEN");
        let added = identifiers.attach_alias(alias("P 77 12 34 5")).await.unwrap().into_inner();
        assert_eq!(added.identifier.unwrap().value, "******4 5");
        let revoke = pb::RevokeIdentifierRequest {
            value: "P7712345".to_owned(),
            ..Default::default()
        };
        identifiers.revoke_identifier(revoke).await.unwrap();
        assert!(search(&suite, "P7712345", "").await.is_empty());
        let list = pb::ListIdentifiersRequest { person_id: id, ..Default::default() };
        let listed = identifiers.list_identifiers(list).await.unwrap().into_inner();
        assert_eq!(listed.identifiers.len(), 4);
        assert!(listed.identifiers.iter().all(|one| one.value.len() != 10));
        assert_ne!(other, "");
    }

    async fn factors_are_replaced_and_locked(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let id = suite.enrol(amina()).await.person_id;
        let mut factors = Factors::new(suite.admin());
        let list = pb::ListFactorsRequest { person_id: id.clone() };
        let listed = factors.list_factors(list.clone()).await.unwrap().into_inner().factors;
        assert_eq!((listed.len(), listed[0].masked_target.as_str()), (1, "******org"));
        let set = pb::SetFactorRequest {
            person_id: id,
            kind: pb::FactorKind::EmailCode.into(),
            target: "amina@mail.example.net".to_owned(),
            ..Default::default()
        };
        let factor = factors.set_factor(set).await.unwrap().into_inner().factor.unwrap();
        assert_eq!(factor.factor_id, listed[0].factor_id);
        let lock =
            pb::LockFactorRequest { factor_id: factor.factor_id.clone(), ..Default::default() };
        factors.lock_factor(lock).await.unwrap();
        let listed = factors.list_factors(list).await.unwrap().into_inner().factors;
        assert_eq!(listed[0].state(), pb::FactorState::Locked);
        assert_eq!(listed[0].masked_target, "******net");
    }
}
