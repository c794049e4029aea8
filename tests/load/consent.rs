//! Consent: decisions about random people among many, each journalled before its answer; signed
//! records one by one and in bulk. All calls go over TCP and through all layers of the block.
//!
//! The limit is an RPC that does nothing, over as many connections, in the same process. There is
//! no measurement of checks without their entries in the journal: no setting leaves those out.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::response::IntoResponse as _;
use futures::{StreamExt as _, TryStreamExt as _};
use publica_consent::{Consent, ConsentConfig};
use publica_jose::{Alg, Protected, SigningKey, sign_jws};
use publica_proto::consent::v1 as api;
use publica_proto::consent::v1::consent_record_service_client::ConsentRecordServiceClient;
use publica_proto::consent::v1::consent_service_client::ConsentServiceClient;
use publica_proto::consent::v1::data_agreement_service_client::DataAgreementServiceClient;
use publica_proto::consent::v1::individual_service_client::IndividualServiceClient;
use publica_proto::imports::v1::ImportEntitiesRequest;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_rpc::Link;
use publica_store::Engine;
use publica_testkit::{Database, TestBlock, TestDatabase, TestEnv, env, token, with_token};
use publica_types::SystemEntropy;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt as _;

use crate::pace::{self, Load, Pace};
use crate::report::Report;

mod apart;

/// What to measure of consent.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only this engine.
    #[arg(long, value_parser = ["sqlite", "postgres"])]
    engine: Option<String>,
    /// People with a record each.
    #[arg(long, default_value_t = 1_000_000)]
    people: u64,
    /// Records to sign one by one, and as many in bulk.
    #[arg(long, default_value_t = 20_000)]
    records: usize,
}

const LIMIT: &str = "an empty RPC";
const CONNECTIONS: usize = 8;
/// Pairs in one bulk call.
const BULK: usize = 500;
/// Pairs that are drafted at a time before the measurement.
const DRAFTS: usize = 64;

pub(crate) async fn measure(
    arguments: &Arguments,
    load: Load,
    report: &mut Report,
) -> anyhow::Result<()> {
    let wanted = |engine: Engine| {
        arguments
            .engine
            .as_deref()
            .is_none_or(|wanted| wanted == engine.as_str())
    };
    if wanted(Engine::Sqlite) {
        measure_engine(&Database::sqlite(), arguments, load, report).await?;
        apart::measure(&Database::sqlite(), arguments, load, report).await?;
    }
    if wanted(Engine::Postgres) {
        measure_engine(&Database::durable_postgres().await, arguments, load, report).await?;
        let database = Database::durable_postgres().await;
        apart::measure(&database, arguments, load, report).await?;
    }
    Ok(())
}

struct World {
    /// Ways to the block over TCP, all its layers in between.
    links: Arc<Vec<Link>>,
    agreement: String,
    /// The block and what stands for its process, where that is this one: dropped, they end it.
    _kept: Option<(TestBlock<Consent>, TestEnv)>,
}

/// Serves routes on a port of its own for as long as the set lives.
async fn serve(servers: &mut JoinSet<()>, routes: Routes) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let incoming = TcpListenerStream::new(listener);
    servers.spawn(async move {
        let served = Server::builder()
            .add_routes(routes)
            .serve_with_incoming(incoming)
            .await;
        served.expect("the server of the measurement runs");
    });
    Ok(address)
}

async fn connect(address: SocketAddr) -> anyhow::Result<Vec<Channel>> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        channels.push(endpoint.connect().await?);
    }
    Ok(channels)
}

/// The pace of an RPC that does nothing.
async fn empty(load: Load) -> anyhow::Result<Pace> {
    let mut servers = JoinSet::new();
    let (_reporter, service) = tonic_health::server::health_reporter();
    let address = serve(&mut servers, Routes::new(service)).await?;
    let channels = Arc::new(connect(address).await?);
    pace::keep(load, move |number| {
        let channel = pick(&channels, number);
        async move {
            HealthClient::new(channel)
                .check(HealthCheckRequest::default())
                .await?;
            Ok(())
        }
    })
    .await
}

fn pick<T: Clone>(all: &[T], number: u64) -> T {
    let place = usize::try_from(number).unwrap_or(0) % all.len();
    all[place].clone()
}

async fn world(database: &TestDatabase, servers: &mut JoinSet<()>) -> anyhow::Result<World> {
    let env = env("consent");
    let mut store = database.config();
    store.connections = 16;
    let config = ConsentConfig {
        database: store,
        ..ConsentConfig::default()
    };
    let block = env.open::<Consent>(config).await?;
    let link = block.link.clone();
    let router = axum::Router::new().fallback(move |request: http::Request<axum::body::Body>| {
        let link = link.clone();
        async move {
            let answer = link.oneshot(request.map(tonic::body::Body::new)).await;
            match answer {
                Ok(answer) => answer.into_response(),
                Err(_) => http::StatusCode::BAD_GATEWAY.into_response(),
            }
        }
    });
    let address = serve(servers, Routes::from(router)).await?;
    let links = links(address, &token(&["consent:*"])).await?;
    World::new(links, Some((block, env))).await
}

/// Ways to a block for the holder of a token.
async fn links(address: SocketAddr, bearer: &str) -> anyhow::Result<Vec<Link>> {
    let channels = connect(address).await?.into_iter();
    let links = channels.map(|channel| with_token(&Link::remote(channel), bearer));
    Ok(links.collect())
}

impl World {
    /// A world with a published agreement.
    async fn new(
        links: Vec<Link>,
        kept: Option<(TestBlock<Consent>, TestEnv)>,
    ) -> anyhow::Result<Self> {
        let request = api::CreateDataAgreementRequest {
            data_agreement: Some(agreement()),
            publish: true,
            request_id: String::new(),
        };
        let mut client = DataAgreementServiceClient::new(links[0].clone());
        let made = client.create_data_agreement(request).await?.into_inner();
        let agreement = made.data_agreement.unwrap_or_default().data_agreement_id;
        Ok(Self {
            links: Arc::new(links),
            agreement,
            _kept: kept,
        })
    }
}

fn agreement() -> api::DataAgreement {
    let attribute = |name: &str| api::DataAgreementAttribute {
        name: name.to_owned(),
        ..api::DataAgreementAttribute::default()
    };
    api::DataAgreement {
        purpose: "Pay an unconditional cash transfer".to_owned(),
        lawful_basis: api::LawfulBasis::Consent.into(),
        dpia: "https://example.org/dpia".to_owned(),
        active: Some(true),
        attributes: vec![
            attribute("name"),
            attribute("income"),
            attribute("household"),
        ],
        ..api::DataAgreement::default()
    }
}

async fn measure_engine(
    database: &TestDatabase,
    arguments: &Arguments,
    load: Load,
    report: &mut Report,
) -> anyhow::Result<()> {
    let engine = database.engine().as_str();
    let mut servers = JoinSet::new();
    let world = world(database, &mut servers).await?;
    import(&world, arguments.people).await?;
    let limit = empty(load).await?.rate;
    let checks = check(&world, arguments.people, load).await?;
    report.add("consent-check", engine, checks, LIMIT, limit)?;
    let pairs = pairs(&world, arguments.records, "one").await?;
    report.add(
        "consent-record",
        engine,
        sign(&world, pairs, load).await?,
        LIMIT,
        limit,
    )?;
    let pairs = self::pairs(&world, arguments.records, "bulk").await?;
    report.add(
        "consent-record-bulk",
        engine,
        sign_bulk(&world, pairs).await?,
        LIMIT,
        limit,
    )?;
    Ok(())
}

/// People with a signed record each.
async fn import(world: &World, people: u64) -> anyhow::Result<()> {
    let agreement = world.agreement.clone();
    let lines = (0..people).flat_map(move |n| {
        let person = format!(r#"{{"id":"p{n}","externalId":"{n}"}}"#);
        let record = format!(
            r#"{{"id":"r{n}","individualId":"p{n}","dataAgreementId":"{agreement}",
                "optIn":true,"state":"signed"}}"#
        );
        [("consent.individual", person), ("consent.record", record)]
    });
    let lines = lines.map(|(kind, json)| ImportEntitiesRequest {
        kind: kind.to_owned(),
        json: json.into_bytes().into(),
        line: 0,
    });
    let mut client = ImportServiceClient::new(world.links[0].clone());
    let mut request = tonic::Request::new(tokio_stream::iter(lines));
    request.set_timeout(std::time::Duration::from_secs(3_600));
    let answer = client.import_entities(request).await?.into_inner();
    anyhow::ensure!(answer.problems.is_empty(), "{:?}", answer.problems.first());
    Ok(())
}

async fn check(world: &World, people: u64, load: Load) -> anyhow::Result<Pace> {
    let (links, agreement) = (Arc::clone(&world.links), world.agreement.clone());
    pace::keep(load, move |number| {
        let mut client = ConsentServiceClient::new(pick(&links, number));
        let person = format!("p{}", pace::scatter(number, people));
        let person = api::person_reference::Person::IndividualId(person);
        let request = api::CheckConsentRequest {
            person: Some(api::PersonReference {
                person: Some(person),
            }),
            data_agreement_id: agreement.clone(),
            attributes: vec!["income".to_owned()],
            ..api::CheckConsentRequest::default()
        };
        async move {
            let answer = client.check_consent(request).await?.into_inner();
            anyhow::ensure!(answer.allowed, "{answer:?}");
            Ok(())
        }
    })
    .await
}

/// Pairs that are ready to be stored, drafted by the block and signed with P-256.
async fn pairs(
    world: &World,
    count: usize,
    prefix: &str,
) -> anyhow::Result<Vec<api::SignConsentRecordRequest>> {
    let key = SigningKey::generate(Alg::Es256, &SystemEntropy)?;
    let jwk = key.public_jwk().to_value().to_string();
    let mut people = IndividualServiceClient::new(world.links[0].clone());
    let records = ConsentRecordServiceClient::new(world.links[0].clone());
    let mut pairs = Vec::with_capacity(count);
    let numbers: Vec<usize> = (0..count).collect();
    for chunk in numbers.chunks(BULK) {
        let individuals = chunk.iter().map(|n| api::IndividualWithKeys {
            individual: Some(api::Individual {
                external_id: format!("{prefix}-{n}"),
                ..api::Individual::default()
            }),
            jwks: vec![jwk.clone()],
        });
        let request = api::BatchCreateIndividualsRequest {
            individuals: individuals.collect(),
            request_id: String::new(),
        };
        let made = people.batch_create_individuals(request).await?.into_inner();
        let drafts = made.individuals.into_iter().map(|one| {
            let request = api::DraftConsentRecordRequest {
                individual_id: one.individual_id,
                data_agreement_id: world.agreement.clone(),
                ..api::DraftConsentRecordRequest::default()
            };
            let mut records = records.clone();
            async move { records.draft_consent_record(request).await }
        });
        let mut drafts = futures::stream::iter(drafts).buffer_unordered(DRAFTS);
        while let Some(draft) = drafts.try_next().await? {
            pairs.push(signed(draft.into_inner(), &key)?);
        }
    }
    Ok(pairs)
}

fn signed(
    draft: api::DraftConsentRecordResponse,
    key: &SigningKey,
) -> anyhow::Result<api::SignConsentRecordRequest> {
    let mut signature = draft.signature.unwrap_or_default();
    let payload = signature.payload.clone();
    signature.signature = sign_jws(key, Protected::new(), payload.as_bytes())?;
    Ok(api::SignConsentRecordRequest {
        consent_record: draft.consent_record,
        signature: Some(signature),
        request_id: String::new(),
    })
}

async fn sign(
    world: &World,
    pairs: Vec<api::SignConsentRecordRequest>,
    load: Load,
) -> anyhow::Result<Pace> {
    let began = Instant::now();
    let pairs = Arc::new(pairs);
    let mut callers = JoinSet::new();
    let step = usize::try_from(load.in_flight)?;
    for caller in 0..step {
        let (pairs, links) = (Arc::clone(&pairs), Arc::clone(&world.links));
        callers.spawn(async move {
            let mut client = ConsentRecordServiceClient::new(links[caller % CONNECTIONS].clone());
            let mut took = Vec::new();
            for pair in pairs.iter().skip(caller).step_by(step) {
                let began = Instant::now();
                client.sign_consent_record(pair.clone()).await?;
                took.push(u64::try_from(began.elapsed().as_micros())?);
            }
            anyhow::Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(caller) = callers.join_next().await {
        took.extend(caller??);
    }
    Ok(pace::of(took, began.elapsed()))
}

/// The pace is of records; the times are of calls.
async fn sign_bulk(
    world: &World,
    pairs: Vec<api::SignConsentRecordRequest>,
) -> anyhow::Result<Pace> {
    let mut client = ConsentRecordServiceClient::new(world.links[0].clone());
    let count = u32::try_from(pairs.len())?;
    let began = Instant::now();
    let mut took = Vec::new();
    for chunk in pairs.chunks(BULK) {
        let call = Instant::now();
        let request = api::BatchSignConsentRecordsRequest {
            records: chunk.to_vec(),
            request_id: String::new(),
        };
        let answer = client
            .batch_sign_consent_records(request)
            .await?
            .into_inner();
        anyhow::ensure!(
            usize::try_from(answer.stored)? == chunk.len(),
            "some were refused"
        );
        took.push(u64::try_from(call.elapsed().as_micros())?);
    }
    let rate = f64::from(count) / began.elapsed().as_secs_f64();
    Ok(Pace {
        rate,
        ..pace::of(took, began.elapsed())
    })
}
