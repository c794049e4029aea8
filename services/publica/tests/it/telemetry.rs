//! Traces on their way to a collector.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::running::{Running, publica, settings};

/// A collector that keeps what it is sent.
#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Vec<ResourceSpans>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let sent = request.into_inner().resource_spans;
        self.0.lock().unwrap().extend(sent);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Serves it for as long as the test runs; gives its address.
    async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(self.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio_util::task::TaskTracker::new().spawn(server);
        format!("http://{address}")
    }

    /// The same over TLS, with a certificate for localhost that the file vouches for.
    async fn serve_encrypted(&self, authorities: &std::path::Path) -> String {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(authorities, made.cert.pem()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
        let server = tonic::transport::Server::builder()
            .tls_config(ServerTlsConfig::new().identity(identity))
            .unwrap()
            .add_service(TraceServiceServer::new(self.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio_util::task::TaskTracker::new().spawn(server);
        format!("https://localhost:{port}")
    }

    fn spans(&self) -> Vec<Span> {
        let kept = self.0.lock().unwrap();
        let scopes = kept.iter().flat_map(|sent| &sent.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// A text that every sender says of itself.
    fn resource(&self, key: &str) -> Option<String> {
        let kept = self.0.lock().unwrap();
        let mut told = kept.iter().filter_map(|sent| sent.resource.as_ref());
        let attributes = &told.next()?.attributes;
        let found = attributes.iter().find(|attribute| attribute.key == key)?;
        match found.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.clone()),
            _ => None,
        }
    }
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const PATH: &str = "consent/service/individuals/";

#[tokio::test(flavor = "multi_thread")]
async fn spans_join_their_caller_and_leave_before_the_end() {
    // Whichever test comes first installs it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let collector = Collector::default();
    let text = format!(
        "[telemetry.otlp]\nendpoint = '{}'\nsample_ratio = 1.0\n",
        collector.serve().await
    );
    let folder = tempfile::tempdir().unwrap();
    let mut command = publica();
    command
        .args(["up", "--blocks", "consent,gateway", "--config"])
        .arg(settings(folder.path(), &text))
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .arg("--data")
        .arg(folder.path());
    let started = tokio::task::spawn_blocking(move || Running::start(&mut command));
    let mut suite = started.await.unwrap();
    let token = std::fs::read_to_string(folder.path().join("admin.token")).unwrap();
    let url = format!("http://{}/{PATH}", suite.address("gateway"));
    let http = reqwest::Client::new();
    for parent in [Some(format!("00-{TRACE}-{PARENT}-01")), None] {
        let mut request = http.get(&url).bearer_auth(&token);
        if let Some(parent) = parent {
            request = request.header("traceparent", parent);
        }
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    // Batches leave every five seconds; what is younger leaves because the suite stops.
    let ended = tokio::task::spawn_blocking(move || {
        suite.signal("TERM");
        suite.wait_for("stopped");
        suite.end().code()
    });
    assert_eq!(ended.await.unwrap(), Some(0));

    let spans = collector.spans();
    let calls: Vec<&Span> = spans
        .iter()
        .filter(|span| span.name.contains("publica.consent.v1."))
        .collect();
    let (joined, own): (Vec<&Span>, Vec<&Span>) = calls
        .into_iter()
        .partition(|span| hex::encode(&span.trace_id) == TRACE);
    let [joined] = joined.as_slice() else {
        panic!("one call came with a trace: {joined:?}");
    };
    assert_eq!(hex::encode(&joined.parent_span_id), PARENT);
    assert!(joined.end_time_unix_nano >= joined.start_time_unix_nano);
    assert!(!own.is_empty(), "the other call begins a trace of its own");
    for span in own {
        assert!(span.parent_span_id.is_empty(), "{span:?}");
        assert!(span.trace_id.iter().any(|byte| *byte != 0));
    }
    assert_eq!(
        collector.resource("service.name").as_deref(),
        Some("publica")
    );
    let version = collector.resource("service.version");
    assert_eq!(version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_reach_a_collector_over_tls_only_where_it_is_known() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for known in [true, false] {
        let collector = Collector::default();
        let folder = tempfile::tempdir().unwrap();
        let authorities = folder.path().join("collector.pem");
        let endpoint = collector.serve_encrypted(&authorities).await;
        if !known {
            let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            std::fs::write(&authorities, other.cert.pem()).unwrap();
        }
        let text = format!(
            "[telemetry.otlp]\nendpoint = '{endpoint}'\nauthorities = '{}'\nsample_ratio = 1.0\n",
            authorities.display()
        );
        let mut command = publica();
        command
            .args(["up", "--blocks", "consent,gateway", "--config"])
            .arg(settings(folder.path(), &text))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(folder.path());
        let started = tokio::task::spawn_blocking(move || Running::start(&mut command));
        let mut suite = started.await.unwrap();
        let token = std::fs::read_to_string(folder.path().join("admin.token")).unwrap();
        let url = format!("http://{}/{PATH}", suite.address("gateway"));
        let asked = reqwest::Client::new().get(&url).bearer_auth(&token);
        assert_eq!(asked.send().await.unwrap().status(), 200);
        let ended = tokio::task::spawn_blocking(move || {
            suite.signal("TERM");
            suite.end().code()
        });
        assert_eq!(ended.await.unwrap(), Some(0));
        assert_eq!(!collector.spans().is_empty(), known);
    }
}
