//! Consent before use, across blocks: the registration block behind a gate that keeps answers,
//! and the filter and interceptor that any service can put in front.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use publica_consent::{Consent, ConsentConfig};
use publica_gate::{DECISION, Demand, Gate, GateConfig, GrpcInterceptor, HttpFilter, Permit, Use};
use publica_jose::{Alg, Protected, SigningKey, sign_jws};
use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::consent_record_service_client::ConsentRecordServiceClient;
use publica_proto::consent::v1::data_agreement_service_client::DataAgreementServiceClient;
use publica_proto::consent::v1::individual_service_client::IndividualServiceClient;
use publica_proto::imports::v1::ImportEntitiesRequest;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_proto::journal::v1::ListEntriesRequest;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_proto::registration::v1 as registry;
use publica_proto::registration::v1::registry_service_client::RegistryServiceClient;
use publica_registration::{Registration, RegistrationConfig};
use publica_rpc::Link;
use publica_testkit::{Database, TestBlock, TestDatabase, TestEnv, both_engines, env, eventually};
use publica_types::{Origin, SystemClock, SystemEntropy};
use tonic::body::Body;
use tower::{Layer as _, ServiceExt as _};

/// A consent block with an agreement and somebody who said yes.
struct Town {
    _env: TestEnv,
    block: TestBlock<Consent>,
    agreement_id: String,
    individual_id: String,
    record_id: String,
    _db: TestDatabase,
}

impl Town {
    fn admin(&self) -> Link {
        self.block.as_caller(&["consent:*"])
    }

    async fn change(&self, opt_in: bool) {
        let request = pb::ChangeConsentRecordRequest {
            consent_record_id: self.record_id.clone(),
            opt_in: Some(opt_in),
            ..pb::ChangeConsentRecordRequest::default()
        };
        let mut records = ConsentRecordServiceClient::new(self.admin());
        records.change_consent_record(request).await.unwrap();
    }

    fn wanted(&self) -> Use {
        Use {
            individual_id: self.individual_id.clone(),
            data_agreement_id: self.agreement_id.clone(),
            ..Use::default()
        }
    }

    /// A gate of a service that keeps answers for a minute.
    fn gate(&self) -> Gate {
        let link = self.block.as_caller(&["consent:decision:check"]);
        let config = GateConfig {
            consumer: String::new(),
            keep_for: Duration::from_secs(60),
        };
        Gate::new(move || link.clone(), Arc::new(SystemClock), config)
    }

    /// Decisions that the consent block made.
    async fn decisions(&self) -> usize {
        let mut journal = JournalServiceClient::new(self.admin());
        let request = ListEntriesRequest {
            page_size: 1_000,
            subject_id: self.individual_id.clone(),
            ..ListEntriesRequest::default()
        };
        let entries = journal
            .list_entries(request)
            .await
            .unwrap()
            .into_inner()
            .entries;
        let made = entries
            .iter()
            .filter(|one| one.action == "consent.decision.made");
        made.count()
    }
}

/// What the register holds of a household; the person left the second out.
const MEMBERS: &str = "household.members";
const INCOME: &str = "household.income";

fn attribute(name: &str) -> pb::DataAgreementAttribute {
    pb::DataAgreementAttribute {
        name: name.to_owned(),
        necessity: "optional".to_owned(),
        ..pb::DataAgreementAttribute::default()
    }
}

fn choice(attribute: &str, granted: bool) -> pb::AttributeChoice {
    pb::AttributeChoice {
        attribute: attribute.to_owned(),
        granted,
    }
}

/// An agreement about both fields.
fn support() -> pb::CreateDataAgreementRequest {
    pb::CreateDataAgreementRequest {
        data_agreement: Some(pb::DataAgreement {
            purpose: "Household support".to_owned(),
            lawful_basis: pb::LawfulBasis::Consent.into(),
            dpia: "done".to_owned(),
            attributes: vec![attribute(MEMBERS), attribute(INCOME)],
            ..pb::DataAgreement::default()
        }),
        publish: true,
        request_id: String::new(),
    }
}

async fn town(db: TestDatabase) -> Town {
    let env = env("consent");
    let config = ConsentConfig {
        database: db.config(),
        ..ConsentConfig::default()
    };
    let block = env.open::<Consent>(config).await.unwrap();
    let admin = block.as_caller(&["consent:*"]);
    let mut agreements = DataAgreementServiceClient::new(admin.clone());
    let made = agreements
        .create_data_agreement(support())
        .await
        .unwrap()
        .into_inner();
    let agreement_id = made.data_agreement.unwrap().data_agreement_id;
    let key = SigningKey::generate(Alg::EdDsa, &SystemEntropy).unwrap();
    let person = pb::BatchCreateIndividualsRequest {
        individuals: vec![pb::IndividualWithKeys {
            individual: Some(pb::Individual::default()),
            jwks: vec![key.public_jwk().to_value().to_string()],
        }],
        request_id: String::new(),
    };
    let mut people = IndividualServiceClient::new(admin.clone());
    let made = people
        .batch_create_individuals(person)
        .await
        .unwrap()
        .into_inner();
    let individual_id = made.individuals[0].individual_id.clone();
    let mut records = ConsentRecordServiceClient::new(admin);
    let draft = pb::DraftConsentRecordRequest {
        individual_id: individual_id.clone(),
        data_agreement_id: agreement_id.clone(),
        attributes: vec![choice(MEMBERS, true), choice(INCOME, false)],
        ..pb::DraftConsentRecordRequest::default()
    };
    let drafted = records
        .draft_consent_record(draft)
        .await
        .unwrap()
        .into_inner();
    let mut signature = drafted.signature.unwrap();
    signature.signature = sign_jws(&key, Protected::new(), signature.payload.as_bytes()).unwrap();
    let pair = pb::SignConsentRecordRequest {
        consent_record: drafted.consent_record,
        signature: Some(signature),
        request_id: String::new(),
    };
    let stored = records
        .sign_consent_record(pair)
        .await
        .unwrap()
        .into_inner();
    Town {
        _env: env,
        block,
        agreement_id,
        individual_id,
        record_id: stored.consent_record.unwrap().consent_record_id,
        _db: db,
    }
}

fn read(town: &Town) -> registry::ReadEntryRequest {
    registry::ReadEntryRequest {
        register: "households".to_owned(),
        person_id: town.individual_id.clone(),
        data_agreement_id: town.agreement_id.clone(),
        fields: vec![MEMBERS.to_owned()],
    }
}

/// Whether the register was read. It has no entry of this person, which is told to those alone
/// who may read it.
async fn was_read(
    registry: &mut RegistryServiceClient<Link>,
    request: registry::ReadEntryRequest,
) -> bool {
    let status = registry.read_entry(request).await.unwrap_err();
    match publica_rpc::reason(&status).as_deref() {
        Some("CONSENT_REQUIRED") => false,
        _ => {
            assert_eq!(status.code(), tonic::Code::NotFound, "{status}");
            true
        }
    }
}

/// Puts an entry into the register, as an import does.
async fn enter(registration: Link, town: &Town) {
    let line = serde_json::json!({
        "register": "households",
        "personId": town.individual_id,
        "fields": {MEMBERS: 4, INCOME: 900, "household.address": "Mill Lane 1"},
    });
    let line = ImportEntitiesRequest {
        kind: "registration.register_entry".to_owned(),
        json: line.to_string().into_bytes().into(),
        line: 1,
    };
    let mut imports = ImportServiceClient::new(registration);
    let request = tokio_stream::iter([line]);
    let answer = imports.import_entities(request).await.unwrap().into_inner();
    assert_eq!(answer.problems, []);
}

/// What the registration block's journal tells of reads: how each ended, and of which fields.
async fn reads(registration: Link, person_id: &str) -> Vec<(String, serde_json::Value)> {
    let mut journal = JournalServiceClient::new(registration);
    let request = ListEntriesRequest {
        page_size: 100,
        subject_id: person_id.to_owned(),
        ..ListEntriesRequest::default()
    };
    let answer = journal.list_entries(request).await.unwrap().into_inner();
    let read = answer
        .entries
        .iter()
        .filter(|one| one.action == "registration.register.read");
    read.map(|one| {
        let body: serde_json::Value = serde_json::from_slice(one.body()).unwrap();
        let outcome = one.outcome().as_str_name().to_owned();
        (outcome, body["fields"].clone())
    })
    .collect()
}

both_engines! {
    async fn the_register_gives_out_what_the_person_granted(db: TestDatabase) {
        let own = Database::sqlite();
        let config = RegistrationConfig {
            database: db.config(),
            ..RegistrationConfig::default()
        };
        let town = town(own).await;
        let env = env("registration").with_peer("consent", town.block.link.clone());
        let registration = env.open::<Registration>(config).await.unwrap();
        let link = registration.as_caller(&["registration:*"]);
        enter(link.clone(), &town).await;
        let mut client = RegistryServiceClient::new(link.clone());
        let asked = |fields: &[&str]| registry::ReadEntryRequest {
            fields: fields.iter().map(|&field| field.to_owned()).collect(),
            ..read(&town)
        };
        // The address is none of the agreement's business.
        let all = asked(&[MEMBERS, INCOME, "household.address"]);
        let found = client.read_entry(all).await.unwrap().into_inner();
        let fields: serde_json::Value = serde_json::from_slice(&found.fields_json).unwrap();
        assert_eq!(fields, serde_json::json!({MEMBERS: 4}));
        assert_eq!(found.withheld_fields, [INCOME, "household.address"]);
        assert_eq!(found.consent_record_id, town.record_id);
        for left_out in [INCOME, "household.address"] {
            let refused = client.read_entry(asked(&[left_out])).await.unwrap_err();
            assert_eq!(publica_rpc::reason(&refused).as_deref(), Some("CONSENT_REQUIRED"));
        }
        // The journal tells which fields were read, and which were not given out.
        let told = eventually(|| async {
            let all = reads(link.clone(), &town.individual_id).await;
            Some(all).filter(|all| all.len() == 3)
        });
        let denied = ("OUTCOME_DENIED".to_owned(), serde_json::json!([]));
        let read = ("OUTCOME_DONE".to_owned(), serde_json::json!([MEMBERS]));
        assert_eq!(told.await, [read, denied.clone(), denied]);
    }

    async fn the_register_is_closed_by_the_withdrawal_itself(db: TestDatabase) {
        let town = town(db).await;
        let own = env("registration").with_peer("consent", town.block.link.clone());
        let database = Database::sqlite();
        let config = RegistrationConfig {
            database: database.config(),
            consent_keep_seconds: 60,
            ..RegistrationConfig::default()
        };
        let registration = own.open::<Registration>(config).await.unwrap();
        let link = registration.as_caller(&["registration:*"]);
        let mut client = RegistryServiceClient::new(link.clone());
        for _ in 0..20 {
            assert!(was_read(&mut client, read(&town)).await);
        }
        let made = eventually(|| async { Some(town.decisions().await).filter(|made| *made > 0) });
        assert_eq!(made.await, 1, "the other reads rest on the first decision");
        for _ in 0..10 {
            town.change(false).await;
            assert!(!was_read(&mut client, read(&town)).await);
            town.change(true).await;
            assert!(was_read(&mut client, read(&town)).await);
        }
        // Readers at work all the time, while the person takes the yes back.
        let withdrawn = AtomicBool::new(false);
        let stop = AtomicBool::new(false);
        let reads = AtomicUsize::new(0);
        let readers = (0..8).map(|_| {
            let mut client = RegistryServiceClient::new(link.clone());
            let (town, withdrawn, stop, reads) = (&town, &withdrawn, &stop, &reads);
            async move {
                while !stop.load(Ordering::SeqCst) {
                    // What was acknowledged before the read began must be seen by it.
                    let closed = withdrawn.load(Ordering::SeqCst);
                    let read = was_read(&mut client, read(town)).await;
                    assert!(!(closed && read), "a kept answer outlived the withdrawal");
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let more = |count: usize| {
            let (reads, wanted) = (&reads, reads.load(Ordering::SeqCst) + count);
            eventually(move || async move {
                (reads.load(Ordering::SeqCst) >= wanted).then_some(())
            })
        };
        let person = async {
            more(32).await;
            town.change(false).await;
            withdrawn.store(true, Ordering::SeqCst);
            // Every reader has begun anew by then, and most more than once.
            more(32).await;
            stop.store(true, Ordering::SeqCst);
        };
        tokio::join!(futures::future::join_all(readers), person);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_filter_lets_pass_what_is_allowed() {
    let town = town(Database::sqlite()).await;
    let agreement = town.agreement_id.clone();
    let filter = HttpFilter::new(
        town.gate(),
        move |head| {
            if head.uri.path() == "/health" {
                return Demand::Nothing;
            }
            match head
                .headers
                .get("x-person")
                .and_then(|value| value.to_str().ok())
            {
                Some(person) => Demand::Consent(Box::new(Use {
                    individual_id: person.to_owned(),
                    data_agreement_id: agreement.clone(),
                    ..Use::default()
                })),
                None => Demand::Unclear("nobody is named"),
            }
        },
        |_| Origin::actor("clinic"),
    );
    let service = axum::Router::new()
        .route("/health", axum::routing::get(|| async { "well" }))
        .route(
            "/household",
            axum::routing::get(|request: axum::extract::Request| async move {
                Permit::of(request.extensions())
                    .unwrap()
                    .consent_record_id
                    .clone()
            }),
        )
        .layer(filter);
    let ask = |path: &str, person: Option<&str>| {
        let mut request = Request::get(path);
        if let Some(person) = person {
            request = request.header("x-person", person);
        }
        service
            .clone()
            .oneshot(request.body(axum::body::Body::empty()).unwrap())
    };
    assert_eq!(ask("/health", None).await.unwrap().status(), StatusCode::OK);
    let unclear = ask("/household", None).await.unwrap();
    assert_eq!(unclear.status(), StatusCode::BAD_REQUEST);
    let person = town.individual_id.as_str();
    for _ in 0..3 {
        let answer = ask("/household", Some(person)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.headers().contains_key(DECISION));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            body,
            town.record_id.as_bytes(),
            "the service is given the permit"
        );
    }
    town.change(false).await;
    let refused = ask("/household", Some(person)).await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        refused.headers()["content-type"],
        "application/problem+json"
    );
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["code"], "CONSENT_REQUIRED");
    assert_eq!(body["reasons"], serde_json::json!(["withdrawn"]));
}

/// A gRPC call with one message.
fn call(message: &impl prost::Message) -> Request<Body> {
    let bytes = message.encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    framed.extend(bytes);
    Request::post("/publica.registration.v1.RegistryService/ReadEntry")
        .header("content-type", "application/grpc")
        .body(Body::new(Full::from(framed)))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_interceptor_reads_whose_data_a_call_is_about() {
    let town = town(Database::sqlite()).await;
    let interceptor = GrpcInterceptor::new(
        town.gate(),
        |method| method.ends_with("/ReadEntry"),
        |_, message| match registry::ReadEntryRequest::decode(message) {
            Ok(asked) => Demand::Consent(Box::new(Use {
                individual_id: asked.person_id,
                data_agreement_id: asked.data_agreement_id,
                ..Use::default()
            })),
            Err(_) => Demand::Unclear("the message cannot be read"),
        },
        |_| Origin::actor("registry"),
    );
    // Stands for the service behind: it answers whether it was given a permit, and echoes.
    let inner = tower::service_fn(|request: Request<Body>| async move {
        let permitted = Permit::of(request.extensions()).is_some();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let response = Response::builder()
            .header("permitted", permitted.to_string())
            .body(Body::new(Full::from(body)))
            .unwrap();
        Ok::<_, Infallible>(response)
    });
    let service = interceptor.layer(inner);
    let asked = read(&town);
    let answer = service.clone().oneshot(call(&asked)).await.unwrap();
    assert_eq!(answer.headers()["permitted"], "true");
    assert!(answer.headers().contains_key(DECISION));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        &body[5..],
        asked.encode_to_vec(),
        "the message arrives as it was sent"
    );
    town.change(false).await;
    let refused = service.clone().oneshot(call(&asked)).await.unwrap();
    let status = tonic::Status::from_header_map(refused.headers()).unwrap();
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    assert_eq!(
        publica_rpc::reason(&status).as_deref(),
        Some("CONSENT_REQUIRED")
    );
    let garbage = Request::post("/publica.registration.v1.RegistryService/ReadEntry")
        .body(Body::new(Full::from(&b"\x01\0\0\0\0"[..])))
        .unwrap();
    let refused = service.clone().oneshot(garbage).await.unwrap();
    let status = tonic::Status::from_header_map(refused.headers()).unwrap();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    // Calls of other methods pass as they are: compressed, in several messages, without an end.
    let mut streamed = call(&asked);
    *streamed.uri_mut() = "/publica.imports.v1.ImportService/ImportEntities"
        .parse()
        .unwrap();
    *streamed.body_mut() = Body::new(Full::from(&b"\x01\0\0\0\x01a\x01\0\0\0\x01b"[..]));
    let answer = service.oneshot(streamed).await.unwrap();
    assert_eq!(answer.headers()["permitted"], "false");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, &b"\x01\0\0\0\x01a\x01\0\0\0\x01b"[..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_without_its_block_lets_nothing_pass() {
    let town = town(Database::sqlite()).await;
    let broken = Arc::new(AtomicBool::new(false));
    let (link, cut) = (
        town.block.as_caller(&["consent:decision:check"]),
        broken.clone(),
    );
    let nowhere = env("elsewhere").peers.link("consent");
    let config = GateConfig {
        consumer: String::new(),
        keep_for: Duration::from_secs(60),
    };
    let consent = move || {
        if cut.load(Ordering::SeqCst) {
            nowhere.clone()
        } else {
            link.clone()
        }
    };
    let gate = Gate::new(consent, Arc::new(SystemClock), config);
    let origin = Origin::actor("clinic");
    gate.check(&origin, town.wanted()).await.unwrap();
    broken.store(true, Ordering::SeqCst);
    let unknown = gate.check(&origin, town.wanted()).await.unwrap_err();
    assert!(
        matches!(unknown, publica_gate::GateError::Unknown(_)),
        "kept answers do not help"
    );
    broken.store(false, Ordering::SeqCst);
    gate.check(&origin, town.wanted()).await.unwrap();
}
