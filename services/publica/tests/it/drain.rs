//! Stopping under load, over REST and over gRPC: whoever is answered by the rules of a load
//! balancer sees no failure, and what was acknowledged is there afterwards.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use publica_proto::consent::v1::individual_service_client::IndividualServiceClient;
use publica_proto::consent::v1::{CreateIndividualRequest, Individual};
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_proto::imports::v1::{ImportEntitiesRequest, ImportEntitiesResponse};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use crate::running::{PATIENCE, Running, get, publica, settings};
use crate::town::until;

const CLIENTS: usize = 16;
const PATH: &str = "/consent/service/individual/";

fn suite(folder: &Path) -> Running {
    let file = settings(folder, "[server]\ndrain_delay_ms = 500");
    let mut command = publica();
    command
        .args(["up", "--blocks", "consent,gateway", "--config"])
        .arg(file)
        .args([
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(folder.join("data"));
    Running::start(&mut command)
}

fn is_ready(admin: SocketAddr) -> bool {
    get(admin, "/readyz").0.starts_with("http/1.1 200")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_the_suite_stops() {
    // Whichever test comes first installs it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let suite = suite(folder.path());
    let (gateway, admin) = (suite.address("gateway"), suite.address("admin"));
    let load = Load {
        url: format!("http://{gateway}{PATH}"),
        token: token(folder.path()),
        begun: Arc::default(),
        left: Arc::default(),
        http: reqwest::Client::new(),
    };
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(load.clone().run());
    }
    for _ in 0..CLIENTS {
        clients.spawn(load.clone().run_grpc(channel(gateway).await));
    }
    let stream = Stream::begin(channel(gateway).await, &load.token).await;
    let begun = load.begun.clone();
    let slow = Slow::begin(gateway, &load.token);
    let left = load.left.clone();
    let (suite, slow) = tokio::task::spawn_blocking(move || {
        until("load", || begun.load(Ordering::Relaxed) >= 40 * CLIENTS);
        suite.signal("TERM");
        // What a load balancer does: it asks, and sends nothing more to who is not ready.
        until("not ready", || !is_ready(admin));
        left.store(true, Ordering::Relaxed);
        until("refusal", || TcpStream::connect(gateway).is_err());
        (suite, slow.end())
    })
    .await
    .unwrap();
    let mut acknowledged = vec![slow];
    acknowledged.extend(stream.end().await);
    while let Some(client) = clients.join_next().await {
        acknowledged.extend(client.unwrap());
    }
    drop(load);
    ended_well(suite).await;
    all_there(folder.path(), &acknowledged).await;
}

async fn ended_well(mut suite: Running) {
    let code = tokio::task::spawn_blocking(move || {
        let line = suite.wait_for("stopped");
        assert_eq!(line["clean"], json!(true), "{line}");
        suite.end().code()
    });
    assert_eq!(code.await.unwrap(), Some(0));
}

async fn all_there(folder: &Path, acknowledged: &[String]) {
    let suite = suite(folder);
    let token = token(folder);
    let http = reqwest::Client::new();
    for id in acknowledged {
        let url = format!("http://{}{PATH}{id}/", suite.address("gateway"));
        let answer = http.get(url).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{id}");
    }
}

fn token(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("data/admin.token")).unwrap()
}

/// Clients that keep connections open and ask all the time.
#[derive(Clone)]
struct Load {
    url: String,
    token: String,
    begun: Arc<AtomicUsize>,
    left: Arc<AtomicBool>,
    http: reqwest::Client,
}

impl Load {
    /// Returns the ids of what was acknowledged; panics at the first failure.
    async fn run(self) -> Vec<String> {
        let mut acknowledged = Vec::new();
        while !self.left.load(Ordering::Relaxed) {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            let request = self.http.post(&self.url).bearer_auth(&self.token);
            let answer = request.json(&individual(number)).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            let answer: Value = answer.json().await.unwrap();
            acknowledged.push(id(&answer));
        }
        acknowledged
    }
}

impl Load {
    /// The same over one connection of gRPC, which the gateway asks to go elsewhere as it stops.
    async fn run_grpc(self, channel: Channel) -> Vec<String> {
        let mut client = IndividualServiceClient::new(channel);
        let mut acknowledged = Vec::new();
        while !self.left.load(Ordering::Relaxed) {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            let individual = Individual {
                external_id: number.to_string(),
                external_id_type: "number".to_owned(),
                ..Individual::default()
            };
            let message = CreateIndividualRequest {
                individual: Some(individual),
                request_id: String::new(),
            };
            let answer = client
                .create_individual(bearing(message, &self.token))
                .await;
            let created = answer.unwrap().into_inner().individual.unwrap();
            acknowledged.push(created.individual_id);
        }
        acknowledged
    }
}

async fn channel(gateway: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{gateway}")).unwrap();
    endpoint.connect().await.unwrap()
}

fn bearing<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {}", token.trim()).parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
        .metadata_mut()
        .insert("x-publica-block", "consent".parse().unwrap());
    request.set_timeout(PATIENCE);
    request
}

/// A stream whose second half comes after the suite has stopped accepting connections.
struct Stream {
    entities: mpsc::Sender<ImportEntitiesRequest>,
    answer: JoinHandle<Result<ImportEntitiesResponse, tonic::Status>>,
}

impl Stream {
    const IDS: [&str; 2] = ["streamed-1", "streamed-2"];

    async fn begin(channel: Channel, token: &str) -> Self {
        let (entities, received) = mpsc::channel(1);
        let request = bearing(ReceiverStream::new(received), token);
        let mut client = ImportServiceClient::new(channel);
        let answer = tokio_util::task::TaskTracker::new().spawn(async move {
            let answer = client.import_entities(request).await;
            answer.map(tonic::Response::into_inner)
        });
        let stream = Self { entities, answer };
        stream.send(0).await;
        // A channel that holds one has room again once the first is on its way.
        drop(stream.entities.reserve().await.unwrap());
        stream
    }

    async fn send(&self, n: usize) {
        let entity = ImportEntitiesRequest {
            kind: "consent.individual".to_owned(),
            json: json!({ "id": Self::IDS[n] }).to_string().into(),
            line: 1,
        };
        self.entities.send(entity).await.unwrap();
    }

    async fn end(self) -> [String; 2] {
        self.send(1).await;
        drop(self.entities);
        let answer = self.answer.await.unwrap().unwrap();
        assert_eq!(answer.accepted, 2, "{answer:?}");
        Self::IDS.map(str::to_owned)
    }
}

fn individual(number: usize) -> Value {
    json!({"individual": {"externalId": number.to_string(), "externalIdType": "number"}})
}

fn id(answer: &Value) -> String {
    answer["individual"]["id"].as_str().unwrap().to_owned()
}

/// A request whose second half comes after the suite has stopped accepting connections.
struct Slow {
    stream: TcpStream,
    rest: String,
}

impl Slow {
    fn begin(gateway: SocketAddr, token: &str) -> Self {
        let mut stream = TcpStream::connect(gateway).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let body = json!({"individual": {"externalId": "slow", "externalIdType": "number"}});
        let mut body = body.to_string();
        let rest = body.split_off(10);
        write!(
            stream,
            "POST {PATH} HTTP/1.1\r\nHost: {gateway}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            token.trim(),
            body.len() + rest.len()
        )
        .unwrap();
        Self { stream, rest }
    }

    fn end(mut self) -> String {
        self.stream.write_all(self.rest.as_bytes()).unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(head.to_lowercase().contains("connection: close"), "{head}");
        id(&serde_json::from_str(body).unwrap())
    }
}
