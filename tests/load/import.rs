//! Bringing data in: lines a second of the kinds that a country moves by the million, from the
//! client to the commit of the last chunk, over TCP and through all layers of the block.
//!
//! The limit is the same lines sent to a service that reads none of them, in the same process.

use std::net::SocketAddr;
use std::time::Duration;

use axum::response::IntoResponse as _;
use publica_consent::{Consent, ConsentConfig};
use publica_host::Block;
use publica_identity::{Identity, IdentityConfig};
use publica_imports::{Outcome, take_in};
use publica_messaging::{Messaging, MessagingConfig};
use publica_payments::{Config as PaymentsConfig, Payments};
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_proto::imports::v1::import_service_server::{ImportService, ImportServiceServer};
use publica_proto::imports::v1::{ImportEntitiesRequest, ImportEntitiesResponse};
use publica_registration::{Registration, RegistrationConfig};
use publica_rpc::Link;
use publica_store::{DatabaseConfig, Engine};
use publica_testkit::{Database, TestDatabase, env, token, with_token};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};
use tower::ServiceExt as _;

use crate::report::{Figure, Report};

/// What to measure of importing.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only this engine.
    #[arg(long, value_parser = ["sqlite", "postgres"])]
    engine: Option<String>,
    /// Only this kind.
    #[arg(long, value_parser = KINDS)]
    kind: Option<String>,
    /// Lines of each kind.
    #[arg(long, default_value_t = 500_000)]
    lines: u32,
}

const KINDS: [&str; 5] = [
    "identity.person",
    "payments.voucher",
    "consent.record",
    "registration.register_entry",
    "messaging.request",
];
const LIMIT: &str = "the same lines, read by nobody";
/// Lines of one call, as the command sends them.
const CALL: usize = 50_000;
const PATIENCE: Duration = Duration::from_mins(30);

pub(crate) async fn measure(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let engines = [Engine::Sqlite, Engine::Postgres];
    let wanted = |named: Option<&str>, one: &str| named.is_none_or(|it| it == one);
    for engine in engines {
        if !wanted(arguments.engine.as_deref(), engine.as_str()) {
            continue;
        }
        for kind in KINDS {
            if wanted(arguments.kind.as_deref(), kind) {
                let database = match engine {
                    Engine::Sqlite => Database::sqlite(),
                    Engine::Postgres => Database::durable_postgres().await,
                };
                measure_kind(&database, kind, arguments.lines, report).await?;
            }
        }
    }
    Ok(())
}

async fn measure_kind(
    database: &TestDatabase,
    kind: &'static str,
    count: u32,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut config = database.config();
    config.connections = 16;
    match kind {
        "identity.person" => {
            let config = IdentityConfig {
                database: config,
                issuer: "https://identity.example.org".to_owned(),
                ..IdentityConfig::default()
            };
            measure_block::<Identity>(config, database, kind, count, report).await
        }
        "payments.voucher" => {
            let config = PaymentsConfig {
                database: config,
                ..PaymentsConfig::default()
            };
            measure_block::<Payments>(config, database, kind, count, report).await
        }
        "consent.record" => {
            let config = ConsentConfig {
                database: config,
                ..ConsentConfig::default()
            };
            measure_block::<Consent>(config, database, kind, count, report).await
        }
        "messaging.request" => {
            let config = MessagingConfig {
                database: config,
                ..MessagingConfig::default()
            };
            measure_block::<Messaging>(config, database, kind, count, report).await
        }
        _ => {
            let config = registration(config);
            measure_block::<Registration>(config, database, kind, count, report).await
        }
    }
}

fn registration(database: DatabaseConfig) -> RegistrationConfig {
    RegistrationConfig {
        database,
        ..RegistrationConfig::default()
    }
}

async fn measure_block<B: Block>(
    config: B::Config,
    database: &TestDatabase,
    kind: &'static str,
    count: u32,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (block, _) = kind.split_once('.').unwrap_or_default();
    let env = env(block);
    let opened = env.open::<B>(config).await?;
    let mut servers = JoinSet::new();
    let link = serve_link(&mut servers, opened.link.clone(), block).await?;
    let idle = serve_idle(&mut servers).await?;
    send(&link, before(kind, count)).await?;
    let limit = rate(&idle, lines(kind, count), count).await?;
    let figure = rate(&link, lines(kind, count), count).await?;
    let name = format!("import-{}", kind.replace(['.', '_'], "-"));
    let figure = Figure::new(&name, figure, "lines/s");
    report.figure(figure.on(database.engine().as_str()).beside(LIMIT, limit))
}

/// What must be there before the lines that count.
fn before(kind: &str, count: u32) -> Vec<ImportEntitiesRequest> {
    match kind {
        "payments.voucher" => vec![
            line("payments.voucher_group", r#"{"name":"FOOD"}"#.to_owned()),
            line("payments.calling_block", r#"{"name":"BB"}"#.to_owned()),
        ],
        "consent.record" => {
            let agreement = r#"{"id":"a","purpose":"Pay","lawfulBasis":"consent",
                "dpia":"https://example.org/dpia","lifecycle":"Complete"}"#;
            let people = (0..count).map(|n| {
                let person = format!(r#"{{"id":"p{n}","externalId":"{n}"}}"#);
                line("consent.individual", person)
            });
            std::iter::once(line("consent.agreement", agreement.to_owned()))
                .chain(people)
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Lines as an earlier system may write them.
fn lines(kind: &str, count: u32) -> Vec<ImportEntitiesRequest> {
    let text = |n: u32| match kind {
        "identity.person" => format!(
            r#"{{"kind":"{kind}","person_id":"018f4e3c-5f00-7000-8000-{n:012x}",
            "attributes":{{"given_name":"Amina {n}","family_name":"Yusuf","birthdate":"1980-05-12",
            "gender":"female","address":"Harbour Road {n}"}},
            "aliases":[{{"kind":"national_id","value":"A-{n}"}}],"source":"civil-registry"}}"#
        ),
        "payments.voucher" => format!(
            r#"{{"kind":"{kind}","voucher_number":"{}","voucher_serial_number":"{n}",
            "Gov_Stack_BB":"BB","voucher_status":"Activated","voucher_amount":"12.50",
            "currency":"USD","voucher_group":"FOOD","expiry":"2031-12-31T00:00:00Z"}}"#,
            4_711_000_000_000_000 + u64::from(n)
        ),
        "consent.record" => format!(
            r#"{{"kind":"{kind}","id":"r{n}","individualId":"p{n}","dataAgreementId":"a",
            "optIn":true,"state":"signed"}}"#
        ),
        "messaging.request" => format!(
            r#"{{"kind":"{kind}","request_uid":"old-{n}","counters":{{"bounced":2,
            "delivered":998}},"received_time":"2024-05-01T08:00:00Z"}}"#
        ),
        _ => format!(
            r#"{{"kind":"{kind}","register":"households","personId":"p{n}","fileId":"f{n}",
            "fields":{{"household.members":{},"household.income":{}}}}}"#,
            n % 9 + 1,
            n % 5_000
        ),
    };
    (0..count).map(|n| line(kind, text(n))).collect()
}

fn line(kind: &str, json: String) -> ImportEntitiesRequest {
    ImportEntitiesRequest {
        kind: kind.to_owned(),
        json: json.into_bytes().into(),
        line: 0,
    }
}

/// Lines a second; every one of them must be stored.
async fn rate(link: &Link, lines: Vec<ImportEntitiesRequest>, count: u32) -> anyhow::Result<f64> {
    let began = Instant::now();
    let accepted = send(link, lines).await?;
    let took = began.elapsed().as_secs_f64();
    anyhow::ensure!(
        accepted == u64::from(count),
        "{accepted} of {count} came in"
    );
    Ok(f64::from(count) / took)
}

/// Sends lines in calls one after another, and counts those that were stored.
async fn send(link: &Link, lines: Vec<ImportEntitiesRequest>) -> anyhow::Result<u64> {
    let mut accepted = 0;
    let mut lines = lines.into_iter().peekable();
    while lines.peek().is_some() {
        let call: Vec<ImportEntitiesRequest> = lines.by_ref().take(CALL).collect();
        let mut request = Request::new(tokio_stream::iter(call));
        request.set_timeout(PATIENCE);
        let mut client = ImportServiceClient::new(link.clone());
        let answer = client.import_entities(request).await?.into_inner();
        anyhow::ensure!(answer.problems.is_empty(), "{:?}", answer.problems.first());
        accepted += answer.accepted;
    }
    Ok(accepted)
}

/// A way to a block over TCP, for a caller who may do everything in it.
async fn serve_link(servers: &mut JoinSet<()>, link: Link, block: &str) -> anyhow::Result<Link> {
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
    let bearer = token(&[&format!("{block}:*")]);
    Ok(with_token(&connect(address).await?, &bearer))
}

/// A way to the service that reads nothing.
async fn serve_idle(servers: &mut JoinSet<()>) -> anyhow::Result<Link> {
    let address = serve(servers, Routes::new(ImportServiceServer::new(Idle))).await?;
    connect(address).await
}

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

async fn connect(address: SocketAddr) -> anyhow::Result<Link> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    Ok(Link::remote(endpoint.connect().await?))
}

/// Takes lines in and leaves them be.
struct Idle;

#[tonic::async_trait]
impl ImportService for Idle {
    async fn import_entities(
        &self,
        request: Request<Streaming<ImportEntitiesRequest>>,
    ) -> Result<Response<ImportEntitiesResponse>, Status> {
        let read = |_: &str, _: &[u8]| Ok(());
        let answer = take_in(request.into_inner(), read, |lines: Vec<()>| async move {
            Ok(vec![Outcome::Stored; lines.len()])
        });
        answer.await.map(Response::new)
    }
}
