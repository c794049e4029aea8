//! Key sets that are fetched: how often, and what happens when they cannot be.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use publica_auth::{Denial, IssuerConfig, Verifier};
use publica_jose::{Alg, SigningKey};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Hand, ISSUER, ask, claims, key, open, set_of, token, trusting};

/// An issuer's key endpoint that counts its readers.
#[derive(Debug, Clone)]
struct Endpoint(Arc<Mutex<Published>>);

#[derive(Debug)]
struct Published {
    body: String,
    max_age: u32,
    up: bool,
    reads: usize,
}

impl Endpoint {
    fn publish(&self, keys: &[&SigningKey]) {
        self.0.lock().unwrap().body = set_of(keys).to_value().to_string();
    }

    fn up(&self, up: bool) {
        self.0.lock().unwrap().up = up;
    }

    fn reads(&self) -> usize {
        self.0.lock().unwrap().reads
    }
}

async fn serve(State(endpoint): State<Endpoint>) -> Response {
    let mut published = endpoint.0.lock().unwrap();
    published.reads += 1;
    if !published.up {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let cache = format!("public, max-age={}", published.max_age);
    ([(header::CACHE_CONTROL, cache)], published.body.clone()).into_response()
}

struct Bench {
    clock: Hand,
    endpoint: Endpoint,
    verifier: Verifier,
    stop: CancellationToken,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn bench(max_age: u32, first: &[&SigningKey]) -> Bench {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let body = set_of(first).to_value().to_string();
    let published = Published {
        body,
        max_age,
        up: true,
        reads: 0,
    };
    let endpoint = Endpoint(Arc::new(Mutex::new(published)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new()
        .route("/jwks", get(serve))
        .with_state(endpoint.clone());
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    TaskTracker::new().spawn(async move {
        axum::serve(listener, app)
            .with_graceful_shutdown(stopped)
            .await
            .unwrap();
    });
    let issuer = IssuerConfig {
        issuer: ISSUER.to_owned(),
        jwks_url: Some(format!("http://{address}/jwks")),
        ..IssuerConfig::default()
    };
    let clock = Hand::new();
    let verifier = open(&trusting(issuer), None, &clock);
    Bench {
        clock,
        endpoint,
        verifier,
        stop,
    }
}

impl Bench {
    async fn good(&self, key: &SigningKey) -> bool {
        ask(&self.verifier, &token(key, &claims(&self.clock)))
            .await
            .is_ok()
    }
}

#[tokio::test]
async fn a_set_is_read_once_in_its_time() {
    let one = key(Alg::EdDsa);
    for (max_age, seconds) in [(0, 300), (1_000, 1_000), (10_000_000, 86_400)] {
        let bench = bench(max_age, &[&one]).await;
        assert_eq!(bench.endpoint.reads(), 0);
        assert!(bench.good(&one).await);
        bench.clock.forward(seconds - 1);
        assert!(bench.good(&one).await);
        assert_eq!(bench.endpoint.reads(), 1, "{max_age}");
        bench.clock.forward(1);
        assert!(bench.good(&one).await);
        assert_eq!(bench.endpoint.reads(), 2, "{max_age}");
    }
}

#[tokio::test]
async fn an_unknown_key_reads_again_but_rarely() {
    let (one, two) = (key(Alg::EdDsa), key(Alg::Es256));
    let bench = bench(3_600, &[&one]).await;
    assert!(bench.good(&one).await);
    for _ in 0..5 {
        assert!(!bench.good(&two).await);
    }
    assert_eq!(bench.endpoint.reads(), 1);
    bench.clock.forward(30);
    bench.endpoint.publish(&[&one, &two]);
    assert!(bench.good(&two).await);
    assert!(bench.good(&one).await);
    assert_eq!(bench.endpoint.reads(), 2);
}

#[tokio::test]
async fn withdrawn_keys_stop_working_even_for_known_tokens() {
    let (one, two) = (key(Alg::EdDsa), key(Alg::EdDsa));
    let bench = bench(300, &[&one]).await;
    let known = token(&one, &claims(&bench.clock));
    assert!(ask(&bench.verifier, &known).await.is_ok());
    bench.endpoint.publish(&[&two]);
    bench.clock.forward(300);
    assert!(bench.good(&two).await);
    assert!(ask(&bench.verifier, &known).await.is_err());
}

#[tokio::test]
async fn the_last_good_set_outlives_its_issuer() {
    let one = key(Alg::EdDsa);
    let bench = bench(300, &[&one]).await;
    bench.endpoint.up(false);
    let fresh = token(&one, &claims(&bench.clock));
    assert_eq!(
        ask(&bench.verifier, &fresh).await,
        Err(Denial::KeysUnavailable)
    );
    assert_eq!(
        ask(&bench.verifier, &fresh).await,
        Err(Denial::KeysUnavailable)
    );
    assert_eq!(bench.endpoint.reads(), 1);
    bench.endpoint.up(true);
    // Nobody waits long for the first set.
    bench.clock.forward(2);
    assert!(bench.good(&one).await);
    bench.endpoint.up(false);
    for _ in 0..3 {
        bench.clock.forward(86_400);
        assert!(bench.good(&one).await);
    }
    bench.endpoint.publish(&[]);
    bench.endpoint.up(true);
    bench.clock.forward(86_400);
    assert!(
        bench.good(&one).await,
        "an empty set does not replace a good one"
    );
}

#[tokio::test]
async fn calls_in_flight_share_a_fetch() {
    let one = key(Alg::EdDsa);
    let bench = bench(300, &[&one]).await;
    let callers = (0..20).map(|_| bench.good(&one));
    let outcomes = futures::future::join_all(callers).await;
    assert!(outcomes.into_iter().all(|good| good));
    assert_eq!(bench.endpoint.reads(), 1);
}

#[tokio::test]
async fn the_background_fetches_before_anybody_asks() {
    let one = key(Alg::EdDsa);
    let bench = bench(300, &[&one]).await;
    let stop = CancellationToken::new();
    let run = bench.verifier.run(stop.clone());
    let watch = async {
        while bench.endpoint.reads() == 0 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    tokio::join!(run, watch);
    assert!(bench.good(&one).await);
    assert_eq!(bench.endpoint.reads(), 1);
}

#[tokio::test]
async fn files_are_read_again_too() {
    let (one, two) = (key(Alg::EdDsa), key(Alg::EdDsa));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let write = |keys: &[&SigningKey]| {
        std::fs::write(&path, set_of(keys).to_value().to_string()).unwrap();
    };
    write(&[&one]);
    let issuer = IssuerConfig {
        issuer: ISSUER.to_owned(),
        jwks_file: Some(path.clone()),
        ..IssuerConfig::default()
    };
    let clock = Hand::new();
    let verifier = open(&trusting(issuer), None, &clock);
    assert!(ask(&verifier, &token(&one, &claims(&clock))).await.is_ok());
    write(&[&two]);
    clock.forward(30);
    assert!(ask(&verifier, &token(&two, &claims(&clock))).await.is_ok());
    assert!(ask(&verifier, &token(&one, &claims(&clock))).await.is_err());
}

/// A key endpoint that speaks TLS with a certificate of an authority of its own, as inside a
/// private network; returns its address and the authority's certificate.
async fn private_endpoint(body: String) -> (String, String) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&ca_key).unwrap().pem();
    let own_key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let own = CertificateParams::new(names).unwrap();
    let own = own.signed_by(&own_key, &Issuer::new(ca, ca_key)).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    TaskTracker::new().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Whoever does not trust the certificate goes away.
            if let Ok(mut stream) = acceptor.accept(stream).await {
                answer(&mut stream, &body).await;
            }
        }
    });
    (format!("https://localhost:{port}/jwks"), authority)
}

async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), body: &str) {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(stream.read_u8().await.unwrap());
    }
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length:";
    let text = format!("{head} {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.unwrap();
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn keys_inside_a_private_network_come_by_its_own_authority() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let one = key(Alg::EdDsa);
    let (url, authority) = private_endpoint(set_of(&[&one]).to_value().to_string()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, authority).unwrap();
    let issuer = |authorities: Option<&std::path::Path>| {
        trusting(IssuerConfig {
            issuer: ISSUER.to_owned(),
            jwks_url: Some(url.clone()),
            jwks_authorities: authorities.map(Into::into),
            ..IssuerConfig::default()
        })
    };
    let clock = Hand::new();
    let verifier = open(&issuer(Some(&path)), None, &clock);
    assert!(ask(&verifier, &token(&one, &claims(&clock))).await.is_ok());
    let verifier = open(&issuer(None), None, &clock);
    let refused = ask(&verifier, &token(&one, &claims(&clock))).await;
    assert_eq!(refused.unwrap_err(), Denial::KeysUnavailable);
    for content in [None, Some("no certificate")] {
        let path = folder.path().join("other.pem");
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let opened = Verifier::open(&issuer(Some(&path)), None, Arc::new(clock.clone()));
        let said = opened.err().unwrap().to_string();
        assert!(said.contains("other.pem"), "{said}");
    }
}
