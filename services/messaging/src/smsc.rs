//! A message centre that speaks SMPP 3.4: for tests, for trying the suite out on one machine, and
//! for measurements.
//!
//! It takes binds of transceivers, gives every part an id, sends receipts before or after its
//! answer, and can be told to fail in the ways that real centres fail. Memory is bounded: it
//! counts everything and keeps the last parts.

mod serve;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::sms::{from_septets, from_ucs2};

/// When the centre tells what became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Receipts {
    /// Right after the answer.
    #[default]
    After,
    /// Before the answer.
    Before,
    /// Never by itself.
    Never,
}

/// What goes wrong. Nothing, by default.
#[derive(Debug, Clone, Default)]
pub struct CentreFaults {
    /// Connections are closed at once.
    pub closed: bool,
    /// So many submissions are answered with `ESME_RTHROTTLED`.
    pub throttle: u64,
    /// Submissions to numbers that begin so are answered with this status.
    pub refuse: Vec<(String, u32)>,
    /// So many submissions are taken, counted and kept, but their sender is never told: the
    /// connection breaks instead.
    pub break_after: u64,
    /// So many submissions are taken and never answered.
    pub silent: u64,
    /// Time taken before each answer.
    pub delay: Duration,
    /// What receipts say of numbers that begin so; `DELIVRD` for all others.
    pub fates: Vec<(String, String)>,
}

/// How the centre is set up.
#[derive(Debug, Clone)]
pub struct CentreOptions {
    /// Who may bind.
    pub system_id: String,
    /// The password.
    pub password: String,
    /// When receipts come.
    pub receipts: Receipts,
    /// Answers have ids in hexadecimal digits, receipts in decimal ones.
    pub hexadecimal: bool,
    /// How many parts are kept.
    pub keep: usize,
    /// What goes wrong.
    pub faults: CentreFaults,
}

impl Default for CentreOptions {
    fn default() -> Self {
        Self {
            system_id: "publica".to_owned(),
            password: "secret".to_owned(),
            receipts: Receipts::After,
            hexadecimal: false,
            keep: 1_000,
            faults: CentreFaults::default(),
        }
    }
}

/// One part that the centre took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The connection it came on, counted from 1.
    pub connection: u64,
    /// Its place among the parts of that connection, counted from 1.
    pub ordinal: u64,
    /// The sender.
    pub from: String,
    /// The number without its plus.
    pub to: String,
    /// `data_coding`.
    pub coding: u8,
    /// Reference, number of parts and place, where there are several.
    pub header: Option<(u8, u8, u8)>,
    /// The text of this part.
    pub text: String,
    /// `registered_delivery`.
    pub registered: u8,
    /// `validity_period`.
    pub validity: String,
    /// The id of the answer.
    pub id: u64,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    taken: AtomicU64,
    enquiries: AtomicU64,
    unbinds: AtomicU64,
    /// Parts under way at the same time on one connection, at most.
    widest: AtomicU64,
    receipts_taken: AtomicU64,
    receipts_refused: AtomicU64,
}

/// What the centre itself wants to bring to whoever is bound.
#[derive(Debug, Clone)]
enum Bring {
    Receipt { id: u64, stat: String },
    Said { from: String, text: String },
}

#[derive(Debug)]
struct Inner {
    options: CentreOptions,
    faults: Mutex<CentreFaults>,
    kept: Mutex<VecDeque<Taken>>,
    counts: Counts,
    bring: broadcast::Sender<Bring>,
}

/// A running centre; dropping it ends it.
#[derive(Debug)]
pub struct SmsCentre {
    inner: Arc<Inner>,
    address: SocketAddr,
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl SmsCentre {
    /// Starts a centre on a free port of this machine.
    pub async fn start(options: CentreOptions) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (bring, _) = broadcast::channel(1_024);
        let inner = Arc::new(Inner {
            faults: Mutex::new(options.faults.clone()),
            options,
            kept: Mutex::default(),
            counts: Counts::default(),
            bring,
        });
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let listening = serve::listen(listener, Arc::clone(&inner), stop.clone(), tracker.clone());
        tracker.spawn(listening);
        Ok(Self {
            inner,
            address,
            stop,
            tracker,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has it fail from now on.
    pub fn set_faults(&self, faults: CentreFaults) {
        *lock(&self.inner.faults) = faults;
    }

    /// The last parts that it took.
    pub fn kept(&self) -> Vec<Taken> {
        lock(&self.inner.kept).iter().cloned().collect()
    }

    /// Texts that came to a number, put together from their parts.
    pub fn texts_to(&self, number: &str) -> Vec<String> {
        let number = number.trim_start_matches('+');
        let mut whole = Vec::new();
        let mut open: BTreeMap<u8, BTreeMap<u8, String>> = BTreeMap::new();
        for taken in lock(&self.inner.kept).iter().filter(|one| one.to == number) {
            let Some((reference, total, place)) = taken.header else {
                whole.push(taken.text.clone());
                continue;
            };
            let parts = open.entry(reference).or_default();
            parts.insert(place, taken.text.clone());
            if parts.len() == usize::from(total) {
                whole.push(parts.values().map(String::as_str).collect());
                open.remove(&reference);
            }
        }
        whole
    }

    /// Parts taken so far.
    pub fn taken(&self) -> u64 {
        self.inner.counts.taken.load(Ordering::Relaxed)
    }

    /// Binds so far.
    pub fn connections(&self) -> u64 {
        self.inner.counts.connections.load(Ordering::Relaxed)
    }

    /// `enquire_link`s answered so far.
    pub fn enquiries(&self) -> u64 {
        self.inner.counts.enquiries.load(Ordering::Relaxed)
    }

    /// Sessions that ended in good order.
    pub fn unbinds(&self) -> u64 {
        self.inner.counts.unbinds.load(Ordering::Relaxed)
    }

    /// Parts that were under way at the same time on one connection, at most.
    pub fn widest(&self) -> u64 {
        self.inner.counts.widest.load(Ordering::Relaxed)
    }

    /// Receipts and texts that were taken from the centre.
    pub fn receipts_taken(&self) -> u64 {
        self.inner.counts.receipts_taken.load(Ordering::Relaxed)
    }

    /// Receipts and texts that were refused.
    pub fn receipts_refused(&self) -> u64 {
        self.inner.counts.receipts_refused.load(Ordering::Relaxed)
    }

    /// Sends a receipt for a part, such as one with `UNDELIV`.
    pub fn tell(&self, taken: &Taken, stat: &str) {
        let (id, stat) = (taken.id, stat.to_owned());
        let _ = self.inner.bring.send(Bring::Receipt { id, stat });
    }

    /// Has somebody write back.
    pub fn say(&self, from: &str, text: &str) {
        let (from, text) = (from.to_owned(), text.to_owned());
        let _ = self.inner.bring.send(Bring::Said { from, text });
    }

    /// Ends it and all its connections.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Drop for SmsCentre {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Inner {
    /// Takes one fault of a number of them.
    fn draw(&self, count: impl Fn(&mut CentreFaults) -> &mut u64) -> bool {
        let mut faults = lock(&self.faults);
        let left = count(&mut faults);
        let drawn = *left > 0;
        *left = left.saturating_sub(1);
        drawn
    }

    fn keep(&self, taken: Taken) {
        let mut kept = lock(&self.kept);
        if kept.len() >= self.options.keep {
            kept.pop_front();
        }
        if self.options.keep > 0 {
            kept.push_back(taken);
        }
    }
}

/// The text of a part in one of the two codings that this suite uses.
fn text(coding: u8, data: &[u8]) -> String {
    if coding == 8 {
        from_ucs2(data)
    } else {
        from_septets(data)
    }
}

/// No code panics while it holds a lock.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
