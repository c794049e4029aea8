//! Accepts connections and serves them until told to stop.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use publica_auth::PeerCertificates;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::front::{Connection, Front};
use crate::shutdown::Stages;

const MAX_HEADER_BYTES: u32 = 64 * 1024;
const MAX_STREAMS: u32 = 256;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const HEADER_LIMIT: Duration = Duration::from_secs(15);
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(10);
/// After an error of the listening socket itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds of a listener.
#[derive(Debug, Clone)]
pub struct ServeLimits {
    /// Connections open at once; more wait in the kernel's queue.
    pub max_connections: usize,
    /// A connection this old is asked to come back, so that new replicas get their share.
    pub max_connection_age: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_connection_age: Duration::from_secs(1_800),
        }
    }
}

/// A bound socket and what it offers.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: ServeLimits,
}

impl Listener {
    /// Binds an address; port 0 takes any free port.
    pub async fn bind(address: SocketAddr, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        Ok(Self {
            tcp,
            tls,
            limits: ServeLimits::default(),
        })
    }

    /// The same listener with other bounds.
    pub fn with_limits(mut self, limits: ServeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// True if it speaks TLS.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }
}

/// Serves `front` until the stages say stop, then lets connections finish what they have begun.
pub async fn serve(listener: Listener, front: Front, stages: &Stages, tracker: &TaskTracker) {
    let free = Arc::new(Semaphore::new(listener.limits.max_connections));
    let server = Arc::new(Server {
        builder: builder(),
        front,
        tls: listener.tls,
        age: listener.limits.max_connection_age,
        stages: stages.clone(),
    });
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stages.draining() => break,
            accepted = accept(&listener.tcp, &free) => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let server = server.clone();
                connections.spawn(tracker.track_future(async move {
                    server.connection(stream, peer).await;
                    drop(permit);
                }));
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener.tcp);
    connections.close();
    connections.wait().await;
}

async fn accept(
    tcp: &TcpListener,
    free: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = free
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = tcp.accept().await?;
    Ok((stream, peer, permit))
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(MAX_HEADER_BYTES as usize)
        .pipeline_flush(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_LIMIT)
        .adaptive_window(false)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024);
    builder
}

struct Server {
    builder: Builder<TokioExecutor>,
    front: Front,
    tls: Option<TlsAcceptor>,
    age: Duration,
    stages: Stages,
}

impl Server {
    async fn connection(&self, stream: TcpStream, peer: SocketAddr) {
        // Small answers must not wait for more to come.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self
                .speak(
                    stream,
                    Connection {
                        peer,
                        certificates: None,
                    },
                )
                .await;
        };
        match tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let (_, session) = stream.get_ref();
                // What a certificate says is the business of auth; that it is valid, of TLS.
                let certificates = session
                    .peer_certificates()
                    .map(|chain| PeerCertificates(Arc::new(chain.to_vec())));
                self.speak(stream, Connection { peer, certificates }).await;
            }
            Ok(Err(error)) => tracing::debug!(error = %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn speak<S>(&self, stream: S, connection: Connection)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let front = self.front.clone();
        let service = service_fn(move |request| front.call(request, &connection));
        let mut serving = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let mut age = pin!(tokio::time::sleep(self.age));
        let mut leaving = false;
        loop {
            tokio::select! {
                ended = serving.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error = %error, "a connection ended early");
                    }
                    return;
                }
                () = self.stages.draining(), if !leaving => {
                    leaving = true;
                    serving.as_mut().graceful_shutdown();
                }
                () = age.as_mut(), if !leaving => {
                    leaving = true;
                    serving.as_mut().graceful_shutdown();
                }
                () = self.stages.cutting() => return,
            }
        }
    }
}
