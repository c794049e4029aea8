//! People: unique, sealed at rest, and nobody else's business.

use publica_jose::{Alg, SigningKey};
use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::individual_service_client::IndividualServiceClient;
use publica_proto::journal::v1::ListEntriesRequest;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_store::Engine;
use publica_testkit::{both_engines, eventually};
use publica_types::SystemEntropy;

use crate::support::{bench, reason};

fn person(external_id: &str) -> pb::Individual {
    pb::Individual {
        external_id: external_id.to_owned(),
        external_id_type: "foundational id".to_owned(),
        identity_provider_id: "IDBB".to_owned(),
        ..pb::Individual::default()
    }
}

fn create(individual: pb::Individual) -> pb::CreateIndividualRequest {
    pb::CreateIndividualRequest {
        individual: Some(individual),
        request_id: String::new(),
    }
}

both_engines! {
    async fn the_same_identity_comes_once(db: TestDatabase) {
        let bench = bench(db).await;
        let mut client = bench.individuals();
        let made = client.create_individual(create(person("712"))).await.unwrap();
        let made = made.into_inner().individual.unwrap();
        assert_eq!(reason(client.create_individual(create(person("712"))).await),
            "INDIVIDUAL_EXISTS");
        let mut other = person("712");
        other.external_id_type = "email".to_owned();
        client.create_individual(create(other)).await.unwrap();
        let find = pb::ListIndividualsRequest {
            external_id: "712".to_owned(),
            external_id_type: "foundational id".to_owned(),
            ..pb::ListIndividualsRequest::default()
        };
        let found = client.list_individuals(find).await.unwrap().into_inner();
        assert_eq!(found.individuals.len(), 1);
        assert_eq!(found.individuals[0], made);
        let kept = pb::Individual { individual_id: "chosen-1".into(), ..person("9") };
        let kept = client.create_individual(create(kept)).await.unwrap().into_inner();
        assert_eq!(kept.individual.unwrap().individual_id, "chosen-1");
        let bad = pb::Individual { individual_id: "a b".into(), ..person("10") };
        assert_eq!(reason(client.create_individual(create(bad)).await), "INVALID_FIELDS");
    }

    async fn changes_say_where_their_author_belongs(db: TestDatabase) {
        let bench = bench(db).await;
        let mut clerk = IndividualServiceClient::new(bench.of_organisation("Ministry of Health"));
        clerk.create_individual(create(person("1"))).await.unwrap();
        bench.individuals().create_individual(create(person("2"))).await.unwrap();
        let entries = eventually(|| async {
            let mut journal = JournalServiceClient::new(bench.admin());
            let all = ListEntriesRequest { page_size: 1_000, ..Default::default() };
            let all = journal.list_entries(all).await.unwrap().into_inner().entries;
            let made = all.into_iter().filter(|one| one.action == "consent.individual.created");
            let made: Vec<_> = made.map(|one| (one.actor, one.body.unwrap())).collect();
            (made.len() == 2).then_some(made)
        });
        let entries = entries.await;
        let told = |actor: &str| {
            let (_, body) = entries.iter().find(|(who, _)| who == actor).unwrap();
            serde_json::from_slice::<serde_json::Value>(body).unwrap()
        };
        assert_eq!(told("clerk")["affiliation"], "Ministry of Health");
        let (_, other) = entries.iter().find(|(who, _)| who != "clerk").unwrap();
        assert!(!String::from_utf8_lossy(other).contains("affiliation"));
    }

    async fn an_identity_can_be_replaced(db: TestDatabase) {
        let bench = bench(db).await;
        let mut client = bench.individuals();
        let one = client.create_individual(create(person("1"))).await.unwrap();
        let one = one.into_inner().individual.unwrap();
        client.create_individual(create(person("2"))).await.unwrap();
        let replace = |external_id: &str| pb::ReplaceIndividualRequest {
            individual: Some(pb::Individual {
                individual_id: one.individual_id.clone(),
                ..person(external_id)
            }),
            ..pb::ReplaceIndividualRequest::default()
        };
        assert_eq!(reason(client.replace_individual(replace("2")).await), "INDIVIDUAL_EXISTS");
        client.replace_individual(replace("3")).await.unwrap();
        let get = pb::GetIndividualRequest { individual_id: one.individual_id.clone() };
        let now = client.get_individual(get).await.unwrap().into_inner();
        assert_eq!(now.individual.unwrap().external_id, "3");
    }

    async fn what_a_change_leaves_out_is_kept(db: TestDatabase) {
        let bench = bench(db).await;
        let mut client = bench.individuals();
        let known = pb::Individual {
            birth_date: "2001-02-03".to_owned(),
            email: "one@people.example".to_owned(),
            ..person("1")
        };
        let one = client.create_individual(create(known)).await.unwrap().into_inner();
        let id = one.individual.unwrap().individual_id;
        let replace = |edit: fn(&mut pb::ReplaceIndividualRequest)| {
            let mut request = pb::ReplaceIndividualRequest {
                individual: Some(pb::Individual { individual_id: id.clone(), ..person("2") }),
                ..pb::ReplaceIndividualRequest::default()
            };
            edit(&mut request);
            request
        };
        let get = pb::GetIndividualRequest { individual_id: id.clone() };
        for (edit, birth_date, email) in [
            ((|_| ()) as fn(&mut pb::ReplaceIndividualRequest), "2001-02-03",
                "one@people.example"),
            (|asked| {
                let one = asked.individual.as_mut().unwrap();
                "two@people.example".clone_into(&mut one.email);
                asked.clear_email = true;
            }, "2001-02-03", "two@people.example"),
            (|asked| asked.clear_email = true, "2001-02-03", ""),
            (|asked| asked.clear_birth_date = true, "", ""),
        ] {
            let said = client.replace_individual(replace(edit)).await.unwrap().into_inner();
            let found = client.get_individual(get.clone()).await.unwrap().into_inner();
            for one in [said.individual.unwrap(), found.individual.unwrap()] {
                let told = (one.external_id.as_str(), &*one.birth_date, &*one.email);
                assert_eq!(told, ("2", birth_date, email));
            }
        }
    }

    async fn one_id_of_two_providers_is_two_people(db: TestDatabase) {
        let bench = bench(db).await;
        let mut client = bench.individuals();
        let mut made = Vec::new();
        for provider in ["https://other.example", "IDBB"] {
            let one = pb::Individual {
                identity_provider_id: provider.to_owned(),
                ..person("712")
            };
            let one = client.create_individual(create(one)).await.unwrap().into_inner();
            made.push(one.individual.unwrap().individual_id);
        }
        let mut own = IndividualServiceClient::new(bench.person("712"));
        let get = |id: &str| pb::GetIndividualRequest { individual_id: id.to_owned() };
        assert_eq!(reason(own.get_individual(get(&made[0])).await), "NOT_YOURS");
        own.get_individual(get(&made[1])).await.unwrap();
        let found = own.get_individual(get("712")).await.unwrap().into_inner();
        assert_eq!(found.individual.unwrap().individual_id, made[1]);
    }

    async fn a_batch_knows_who_is_known(db: TestDatabase) {
        let bench = bench(db).await;
        let mut client = bench.individuals();
        let one = client.create_individual(create(person("1"))).await.unwrap();
        let one = one.into_inner().individual.unwrap();
        let key = SigningKey::generate(Alg::EdDsa, &SystemEntropy).unwrap();
        let jwk = key.public_jwk().to_value().to_string();
        let with_keys = |external_id: &str| pb::IndividualWithKeys {
            individual: Some(person(external_id)),
            jwks: vec![jwk.clone()],
        };
        let request = pb::BatchCreateIndividualsRequest {
            individuals: (1..=50).map(|n| with_keys(&n.to_string())).collect(),
            request_id: "018f4e3c-5f00-7000-8000-000000000002".to_owned(),
        };
        let first = client.batch_create_individuals(request.clone()).await.unwrap();
        let first = first.into_inner();
        assert_eq!(first.individuals[0].individual_id, one.individual_id);
        let again = client.batch_create_individuals(request).await.unwrap().into_inner();
        assert_eq!(first, again);
        let keys = pb::ListSigningKeysRequest { individual_id: one.individual_id.clone() };
        let keys = client.list_signing_keys(keys).await.unwrap().into_inner();
        assert_eq!(keys.keys[0].key_id, key.public_jwk().thumbprint());
        let twice = pb::BatchCreateIndividualsRequest {
            individuals: vec![with_keys("60"), with_keys("60")],
            request_id: String::new(),
        };
        assert_eq!(reason(client.batch_create_individuals(twice).await), "INVALID_FIELDS");
        let page = pb::ListIndividualsRequest { page_size: 30, ..Default::default() };
        let page = client.list_individuals(page).await.unwrap().into_inner();
        assert_eq!(page.individuals.len(), 30);
        assert!(page.individuals.iter().all(|one| !one.external_id.is_empty()));
    }

    async fn people_see_themselves_alone(db: TestDatabase) {
        let bench = bench(db).await;
        let mut client = bench.individuals();
        let made = client.create_individual(create(person("712"))).await.unwrap();
        let id = made.into_inner().individual.unwrap().individual_id;
        let get = pb::GetIndividualRequest { individual_id: id.clone() };
        for own in ["712", id.as_str()] {
            let mut own = IndividualServiceClient::new(bench.person(own));
            own.get_individual(get.clone()).await.unwrap();
        }
        let mut other = IndividualServiceClient::new(bench.person("713"));
        assert_eq!(reason(other.get_individual(get).await), "NOT_YOURS");
        let unknown = pb::GetIndividualRequest { individual_id: "unknown".to_owned() };
        assert_eq!(reason(other.get_individual(unknown).await), "NOT_YOURS");
        let off = pb::SetNotificationPreferenceRequest {
            individual_id: id.clone(),
            enabled: false,
            request_id: String::new(),
        };
        assert_eq!(reason(other.set_notification_preference(off.clone()).await), "NOT_YOURS");
        let mut own = IndividualServiceClient::new(bench.person("712"));
        own.set_notification_preference(off).await.unwrap();
        let get = pb::GetNotificationPreferenceRequest { individual_id: id };
        assert!(!own.get_notification_preference(get).await.unwrap().into_inner().enabled);
    }

    async fn nothing_personal_stands_in_the_store(db: TestDatabase) {
        let bench = bench(db).await;
        let secret = "CANARY-7c1f9e";
        let mut client = bench.individuals();
        client.create_individual(create(person(secret))).await.unwrap();
        if bench.db.engine() == Engine::Sqlite {
            for entry in std::fs::read_dir(bench.db.dir()).unwrap() {
                let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
                let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!found, "the external id is readable at rest");
            }
        }
    }

    async fn revoked_keys_sign_nothing_more(db: TestDatabase) {
        let bench = bench(db).await;
        let agreement = bench.agreement().await;
        let signer = bench.signer("1").await;
        let pair = bench.pair(&signer, &agreement, true).await;
        let key_id = signer.key.public_jwk().thumbprint().to_owned();
        let revoke = pb::RevokeSigningKeyRequest {
            individual_id: signer.id.clone(),
            key_id,
            request_id: String::new(),
        };
        let mut client = bench.individuals();
        let gone = client.revoke_signing_key(revoke.clone()).await.unwrap().into_inner();
        assert!(gone.key.unwrap().revoke_time.is_some());
        assert_eq!(reason(bench.records().sign_consent_record(pair).await), "SIGNATURE_INVALID");
        let unknown = pb::RevokeSigningKeyRequest { key_id: "none".to_owned(), ..revoke };
        assert_eq!(reason(client.revoke_signing_key(unknown).await), "KEY_NOT_FOUND");
        let bad = pb::RegisterSigningKeyRequest {
            individual_id: signer.id.clone(),
            jwk: "{\"kty\":\"oct\",\"k\":\"AA\"}".to_owned(),
            request_id: String::new(),
        };
        assert_eq!(reason(client.register_signing_key(bad).await), "KEY_INVALID");
    }
}
