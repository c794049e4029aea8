//! Key sets that are fetched: how often, and what happens when they cannot be.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use publica_auth::{Denial, IssuerConfig, Verifier};
use publica_jose::{Alg, SigningKey};
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
