//! The delivery engine: from the store to the next hop and back.
//!
//! A chunk is claimed by adding a step to its log, its recipients wait in lanes, connections
//! take them one by one, and one reporter makes every outcome durable before the connection
//! that had it sends another final dot. So whenever the process dies, at most one message a
//! connection is without a durable outcome, and it is the last on its connection.

mod active;
mod connection;
mod dispatch;
mod handover;
mod lanes;
mod liveness;
mod outcome;
mod plan;
mod provider;
mod receipts;
mod reporter;
mod routes;
mod sms;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::time::Duration;

use publica_store::{Db, Engine as Database, StoreError};
use publica_types::{SharedClock, SharedEntropy, Timestamp};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::counters::State;
use crate::domain::dkim::Signer;
use crate::domain::envelope::{Channel, Lane};
use crate::domain::member::Member;
use crate::domain::retry;
use crate::provider::Provider;
use crate::smpp::{Centre, Incoming};
use crate::smtp::Hop;
use crate::store::chunk::Holder;
use crate::store::{ChunkId, RequestId, SessionId};
use crate::vault::Vault;

pub(crate) use active::{ActiveChunk, ActiveRequest};
pub(crate) use plan::dead_address;
pub(crate) use routes::Share;

use lanes::{Item, Lanes};
use liveness::Liveness;
use plan::Dead;
use reporter::{Message, Reporter};
use routes::Routes;

/// Reports that may wait for the reporter.
const REPORTS_MAX: usize = 4_096;
/// A single message is taken up by the call that accepts it while fewer than these wait.
const ADOPT_BELOW: usize = 2_000;
/// A session that gave no sign of life for so long has lost what it held.
const DEAD_AFTER: Duration = Duration::from_secs(20);

/// A message centre with its sessions and the window of each.
#[derive(Debug, Clone)]
pub(crate) struct CentreLine {
    pub(crate) centre: Arc<Centre>,
    pub(crate) binds: usize,
    pub(crate) window: usize,
    pub(crate) share: Share,
}

/// A provider with the calls that are under way at a time.
#[derive(Debug, Clone)]
pub(crate) struct ProviderLine {
    pub(crate) provider: Arc<Provider>,
    pub(crate) window: usize,
    pub(crate) share: Share,
}

/// How an engine is set up.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) channel: Channel,
    /// The next hops, in order: a later one serves while those before it cannot be reached.
    pub(crate) hops: Vec<Arc<Hop>>,
    pub(crate) connections: usize,
    pub(crate) signers: Vec<Arc<Signer>>,
    pub(crate) bounce_domain: Option<String>,
    /// Without a slash at its end.
    pub(crate) unsubscribe_url: Option<String>,
    pub(crate) poll: Duration,
    pub(crate) idle: Duration,
    /// Recipients that failed can be sent to again for so long.
    pub(crate) keep_failed: Duration,
    pub(crate) centres: Vec<CentreLine>,
    pub(crate) providers: Vec<ProviderLine>,
    /// Most parts of a short message.
    pub(crate) parts: usize,
    /// Receipts are waited for so long; without, what a centre took is delivered.
    pub(crate) receipts: Option<Duration>,
    pub(crate) stop_words: Vec<String>,
    pub(crate) start_words: Vec<String>,
}

impl Setup {
    /// Whether there is a next hop.
    pub(crate) fn is_complete(&self) -> bool {
        match self.channel {
            Channel::Email => !self.hops.is_empty(),
            Channel::Sms => !self.centres.is_empty() || !self.providers.is_empty(),
        }
    }
}

/// The engine of one tenant. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine {
    shared: Arc<Shared>,
}

/// What the engine's tasks share.
pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) vault: Vault,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    pub(crate) setup: Setup,
    pub(crate) session: SessionId,
    pub(crate) lanes: Lanes,
    pub(crate) requests: active::Requests,
    pub(crate) reports: mpsc::Sender<Message>,
    pub(crate) wake: Notify,
    /// Held while pauses are read, so that an older answer never replaces a newer one.
    pub(crate) pauses: tokio::sync::Mutex<()>,
    pub(crate) liveness: Liveness,
    pub(crate) sent: AtomicI64,
    health: AtomicU8,
    inbox: std::sync::Mutex<Option<mpsc::Receiver<Message>>>,
    /// The way to the desk that takes in receipts, while there is one.
    desk: std::sync::Mutex<Option<mpsc::Sender<Incoming>>>,
}

/// Whether the next hop answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    NotConfigured = 1,
    Idle = 2,
    Up = 3,
    Down = 4,
}

/// A chunk of one that the call which accepted it has claimed.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) chunk_id: ChunkId,
    pub(crate) request: Arc<ActiveRequest>,
    /// The number under which its lane is stored.
    pub(crate) slot: i64,
    pub(crate) member: Member,
}

impl Engine {
    pub(crate) fn new(
        db: Db,
        vault: Vault,
        setup: Setup,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Self {
        let (reports, inbox) = mpsc::channel(REPORTS_MAX);
        let health = if setup.is_complete() {
            Health::Idle
        } else {
            Health::NotConfigured
        };
        let session = SessionId::new(clock.as_ref(), entropy.as_ref());
        Self {
            shared: Arc::new(Shared {
                db,
                vault,
                clock,
                entropy,
                setup,
                session,
                lanes: Lanes::default(),
                requests: active::Requests::default(),
                reports,
                wake: Notify::new(),
                pauses: tokio::sync::Mutex::default(),
                liveness: Liveness::default(),
                sent: AtomicI64::new(0),
                health: AtomicU8::new(health as u8),
                inbox: std::sync::Mutex::new(Some(inbox)),
                desk: std::sync::Mutex::new(None),
            }),
        }
    }

    /// Delivers until it is stopped, and then until the messages in hand have their outcomes.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let inbox = self
            .shared
            .inbox
            .lock()
            .map(|mut inbox| inbox.take())
            .ok()
            .flatten();
        let Some(inbox) = inbox else { return };
        let shared = &self.shared;
        while let Err(error) = shared.liveness.begin(&shared.db, shared.session).await {
            tracing::warn!(%error, "the delivery session cannot begin yet");
            let pause = tokio::time::sleep(Duration::from_millis(500));
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
        let (tracker, reported) = (TaskTracker::new(), TaskTracker::new());
        let finished = CancellationToken::new();
        let reporter = Reporter::new(Arc::clone(shared), inbox);
        reported.spawn(reporter.run(finished.clone()));
        reported.spawn(liveness::beat(Arc::clone(shared), finished.clone()));
        tracker.spawn(dispatch::run(Arc::clone(shared), stop.clone()));
        let (kept, ended) = (TaskTracker::new(), CancellationToken::new());
        match shared.setup.channel {
            Channel::Email if shared.setup.is_complete() => {
                for _ in 0..shared.setup.connections {
                    tracker.spawn(connection::run(Arc::clone(shared), stop.clone()));
                }
            }
            Channel::Email => {}
            Channel::Sms => self.keep_sessions(&tracker, &kept, &stop, &ended),
        }
        tracker.close();
        tracker.wait().await;
        // Sessions end once nobody sends through them.
        ended.cancel();
        kept.close();
        kept.wait().await;
        finished.cancel();
        reported.close();
        reported.wait().await;
    }

    /// Begins sessions with all centres, the slots that send through them and to providers, and
    /// the desk that takes in what they bring.
    fn keep_sessions(
        &self,
        slots: &TaskTracker,
        kept: &TaskTracker,
        stop: &CancellationToken,
        ended: &CancellationToken,
    ) {
        let shared = &self.shared;
        let (incoming, inbox) = mpsc::channel(REPORTS_MAX);
        let setup = &shared.setup;
        let shares = setup.centres.iter().map(|line| line.share);
        let shares = shares.chain(setup.providers.iter().map(|line| line.share));
        let routes = Arc::new(Routes::new(shares));
        for (me, line) in setup.centres.iter().enumerate() {
            for _ in 0..line.binds {
                let (centre, routes) = (Arc::clone(&line.centre), Arc::clone(&routes));
                let bind = Arc::new(sms::Bind::new(centre, line.window, routes, me));
                let keep = Arc::clone(&bind);
                kept.spawn(keep.keep(Arc::clone(shared), incoming.clone(), ended.clone()));
                for _ in 0..line.window {
                    let (shared, bind) = (Arc::clone(shared), Arc::clone(&bind));
                    slots.spawn(sms::run(shared, bind, stop.clone()));
                }
            }
        }
        for (index, line) in setup.providers.iter().enumerate() {
            let (provider, routes) = (Arc::clone(&line.provider), Arc::clone(&routes));
            let me = setup.centres.len() + index;
            let open = Arc::new(provider::Line::new(provider, routes, me));
            for _ in 0..line.window {
                let (shared, line) = (Arc::clone(shared), Arc::clone(&open));
                slots.spawn(provider::run(shared, line, stop.clone()));
            }
        }
        self.set_desk(Some(incoming.clone()));
        // Without a centre, too, the desk settles what waits for receipts no longer.
        let (ended, engine) = (ended.clone(), self.clone());
        kept.spawn(async move {
            ended.cancelled().await;
            engine.set_desk(None);
            drop(incoming);
        });
        kept.spawn(receipts::run(Arc::clone(shared), inbox));
    }

    fn set_desk(&self, desk: Option<mpsc::Sender<Incoming>>) {
        let known = self.shared.desk.lock();
        *known.unwrap_or_else(std::sync::PoisonError::into_inner) = desk;
    }

    /// Takes in what somebody brought who holds no session; false if nobody is there to.
    pub(crate) async fn bring(&self, incoming: Incoming) -> bool {
        let desk = {
            let known = self.shared.desk.lock();
            known
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .clone()
        };
        match desk {
            Some(desk) => desk.send(incoming).await.is_ok(),
            None => false,
        }
    }

    /// The session under which this engine claims chunks; it lives once [`Self::run`] runs.
    pub(crate) fn session(&self) -> SessionId {
        self.shared.session
    }

    /// Whether the call that accepts a single message may claim it as well.
    pub(crate) fn can_adopt(&self, lane: Lane) -> bool {
        self.shared.setup.is_complete()
            && self.shared.liveness.is_alive()
            && self.shared.lanes.len(lane) < ADOPT_BELOW
    }

    /// Takes over a message that was claimed with its acceptance.
    pub(crate) async fn adopt(&self, adopted: Adopted) {
        let chunk = Arc::new(ActiveChunk::single(adopted));
        let message = Message::Adopt {
            chunk: Arc::clone(&chunk),
        };
        // Without a reporter the process is ending; the next one finds the chunk.
        if self.shared.reports.send(message).await.is_ok() {
            self.shared.lanes.push(Item::new(chunk, 0));
        }
    }

    /// Looks for work now.
    pub(crate) fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// Learns which requests are held up, so that nothing more of them is sent from here.
    pub(crate) async fn refresh_pauses(&self) -> Result<(), StoreError> {
        dispatch::refresh_pauses(&self.shared).await?;
        self.wake();
        Ok(())
    }

    /// Stops what is left of a request.
    pub(crate) async fn cancel(&self, request: RequestId) -> Result<(), StoreError> {
        self.shared.requests.cancel(request);
        dispatch::claim_cancelled(&self.shared, request).await
    }

    pub(crate) fn health(&self) -> Health {
        match self.shared.health.load(Ordering::Relaxed) {
            1 => Health::NotConfigured,
            3 => Health::Up,
            4 => Health::Down,
            _ => Health::Idle,
        }
    }

    pub(crate) fn sent(&self) -> i64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn waiting(&self) -> usize {
        Lane::ALL
            .into_iter()
            .map(|lane| self.shared.lanes.len(lane))
            .sum()
    }

    pub(crate) fn signers(&self) -> &[Arc<Signer>] {
        &self.shared.setup.signers
    }

    pub(crate) fn requests(&self) -> &active::Requests {
        &self.shared.requests
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("session", &self.shared.session)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The next recipient; waits for one. What waits in the store is fetched while there is
    /// still something to send.
    pub(crate) async fn take(&self) -> Item {
        let (item, runs_low) = self.lanes.take().await;
        if runs_low {
            self.wake.notify_one();
        }
        item
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn noise(&self) -> u8 {
        let mut byte = [0];
        self.entropy.fill(&mut byte);
        byte[0]
    }

    /// What has failed but can be sent again, as it is kept for that.
    pub(crate) fn dead(&self, member: &Member, state: State, reason: &str) -> Option<Dead> {
        let kept = !self.setup.keep_failed.is_zero() && retry::may_pass(state, reason);
        kept.then(|| Dead {
            member: member.clone(),
            state,
            reason: reason.to_owned(),
        })
    }

    pub(crate) fn set_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::Relaxed);
    }

    /// Who asks for work. The lock file of an embedded store proves that earlier sessions are
    /// dead; elsewhere their beats tell.
    pub(crate) fn holder(&self) -> Holder {
        let alive = match self.db.engine() {
            Database::Sqlite => Timestamp::from_micros(i64::MAX),
            Database::Postgres => self.now().minus(DEAD_AFTER),
        };
        Holder {
            session: self.session,
            alive,
        }
    }
}
