//! A mail server that keeps nothing but what it is asked to keep: for tests, for trying the
//! suite out on one machine, and for measurements.
//!
//! It speaks SMTP over plain connections, STARTTLS or implicit TLS, with or without
//! PIPELINING, and can be told to fail in the ways that real servers fail. Memory is bounded:
//! it counts everything, keeps the last mails and calls back for each one.

mod faults;
mod flood;
mod serve;
mod tls;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::dkim;

pub use faults::Faults;
pub use flood::flood;

/// How the sink's connections are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SinkTls {
    /// Not at all.
    #[default]
    None,
    /// STARTTLS is offered, and mail is refused before it.
    StartTls,
    /// From the first byte.
    Implicit,
}

/// One mail that the sink accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The connection it came on, counted from 1.
    pub connection: u64,
    /// Its place among the mails of that connection, counted from 1.
    pub ordinal: u64,
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients that were accepted.
    pub to: Vec<String>,
    /// The message as it came, without the doubled dots.
    pub data: Vec<u8>,
}

impl Mail {
    /// The value of a header, unfolded, by its name in any case.
    pub fn header(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.data);
        let head = text
            .split("\r\n\r\n")
            .next()
            .unwrap_or_default()
            .replace("\r\n ", " ");
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }

    /// Whether the first DKIM signature verifies with the key in a DNS record's value, for
    /// Ed25519 keys.
    pub fn is_signed_by(&self, record: &str) -> bool {
        let key = record
            .split(';')
            .find_map(|tag| tag.trim().strip_prefix("p="));
        let key = key
            .and_then(|key| STANDARD.decode(key).ok())
            .unwrap_or_default();
        dkim::verify(&self.data, &key)
    }

    /// The body as it came, still in its transfer encoding.
    pub fn body(&self) -> String {
        let text = String::from_utf8_lossy(&self.data);
        text.split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default()
    }
}

/// Called for each accepted mail, before its sender is told.
pub type OnMail = Arc<dyn Fn(&Mail) + Send + Sync>;

/// How a sink is set up.
#[derive(Clone)]
pub struct SinkOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Protection of connections.
    pub tls: SinkTls,
    /// Whether PIPELINING is offered.
    pub pipelining: bool,
    /// Whether SMTPUTF8 is offered.
    pub smtputf8: bool,
    /// How many of the last mails are kept.
    pub keep: usize,
    /// Who is told of each mail.
    pub on_mail: Option<OnMail>,
    /// How it fails.
    pub faults: Faults,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: SinkTls::None,
            pipelining: true,
            smtputf8: true,
            keep: 1_000,
            on_mail: None,
            faults: Faults::default(),
        }
    }
}

impl std::fmt::Debug for SinkOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SinkOptions")
            .field("listen", &self.listen)
            .field("tls", &self.tls)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

/// A running sink. Dropping it stops it.
#[derive(Debug)]
pub struct MailSink {
    address: SocketAddr,
    ca_pem: String,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tracker: TaskTracker,
}

/// What the sink's connections share.
pub(crate) struct Shared {
    tls: SinkTls,
    acceptor: TlsAcceptor,
    pipelining: bool,
    smtputf8: bool,
    keep: usize,
    on_mail: Option<OnMail>,
    faults: Mutex<Faults>,
    kept: Mutex<VecDeque<Mail>>,
    mails: AtomicU64,
    recipients: AtomicU64,
    connections: AtomicU64,
    greylisted: Mutex<std::collections::HashSet<String>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("mails", &self.mails)
            .finish_non_exhaustive()
    }
}

impl MailSink {
    /// Starts a sink.
    pub async fn start(options: SinkOptions) -> std::io::Result<Self> {
        let (acceptor, ca_pem) = tls::acceptor()?;
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            tls: options.tls,
            acceptor,
            pipelining: options.pipelining,
            smtputf8: options.smtputf8,
            keep: options.keep,
            on_mail: options.on_mail,
            faults: Mutex::new(options.faults),
            kept: Mutex::new(VecDeque::new()),
            mails: AtomicU64::new(0),
            recipients: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            greylisted: Mutex::default(),
        });
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        tracker.spawn(serve::listen(
            listener,
            Arc::clone(&shared),
            stop.clone(),
            tracker.clone(),
        ));
        Ok(Self {
            address,
            ca_pem,
            shared,
            stop,
            tracker,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate to trust, for `localhost` and `127.0.0.1`.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// How many mails were accepted.
    pub fn mails(&self) -> u64 {
        self.shared.mails.load(Ordering::Acquire)
    }

    /// How many recipients were accepted, over all mails.
    pub fn recipients(&self) -> u64 {
        self.shared.recipients.load(Ordering::Acquire)
    }

    /// How many connections were opened.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// The last mails, oldest first.
    pub fn kept(&self) -> Vec<Mail> {
        lock(&self.shared.kept).iter().cloned().collect()
    }

    /// The newest kept mail to an address.
    pub fn last_to(&self, address: &str) -> Option<Mail> {
        let kept = lock(&self.shared.kept);
        kept.iter()
            .rev()
            .find(|mail| mail.to.iter().any(|to| to == address))
            .cloned()
    }

    /// Changes how it fails from now on.
    pub fn set_faults(&self, faults: Faults) {
        *lock(&self.shared.faults) = faults;
    }

    /// Stops listening, breaks every connection and waits for the end of both.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Drop for MailSink {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// No code panics while it holds one of the sink's locks, so a poisoned one is sound.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
