//! Handing short messages to a provider over HTTP: slots that each have one call under way.
//!
//! As with a message centre, a slot calls nobody before its previous outcome is durable, so what
//! a crash leaves without one is at most a message a slot.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handover::Handover;
use super::lanes::Item;
use super::outcome::{Outcome, SentPart, reconnect_pause};
use super::routes::Routes;
use super::sms::{Ready, prepare};
use super::{Health, Shared};
use crate::domain::provider::Heard;
use crate::domain::uid;
use crate::provider::{Letter, Provider, Reply};

/// The longest pause that a provider may ask for.
const PAUSE_MAX: Duration = Duration::from_mins(10);

/// A provider as its slots see it.
#[derive(Debug)]
pub(super) struct Line {
    provider: Arc<Provider>,
    routes: Arc<Routes>,
    /// Its place among the routes.
    me: usize,
    /// Nobody calls before.
    closed_until: Mutex<Option<Instant>>,
    failures: AtomicU32,
    /// Calls in a row of which nobody knows how they ended.
    unknowns: AtomicU32,
}

/// So many calls in a row without a known end are no fault of their messages.
const UNKNOWNS: u32 = 3;

struct Slot {
    shared: Arc<Shared>,
    line: Arc<Line>,
    handover: Handover,
}

enum Next {
    Report(Box<Outcome>),
    /// Nothing was taken, and nothing is wrong with the message.
    Closed(Option<Duration>),
    /// Nothing was taken, and it may be the message that the provider minds.
    Doubted,
}

impl Line {
    pub(super) fn new(provider: Arc<Provider>, routes: Arc<Routes>, me: usize) -> Self {
        // It is thought to answer until it does not.
        routes.linked(me, 1);
        Self {
            provider,
            routes,
            me,
            closed_until: Mutex::new(None),
            failures: AtomicU32::new(0),
            unknowns: AtomicU32::new(0),
        }
    }

    /// Waits until the provider may be called.
    async fn open(&self) {
        loop {
            let until = *self.closed_until();
            match until {
                None => return,
                Some(at) if at > Instant::now() => tokio::time::sleep_until(at).await,
                Some(_) => {
                    let mut until = self.closed_until();
                    if until.take().is_some() {
                        self.routes.linked(self.me, 1);
                    }
                }
            }
        }
    }

    /// Leaves the provider alone for a while; others take what waits.
    fn close(&self, after: Option<Duration>, shared: &Shared) {
        let mut until = self.closed_until();
        if until.is_some() {
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let pause = after.unwrap_or_else(|| reconnect_pause(failures));
        *until = Some(Instant::now() + pause.min(PAUSE_MAX));
        drop(until);
        self.routes.linked(self.me, -1);
        shared.set_health(Health::Down);
        tracing::warn!(provider = ?self.provider, "a provider does not take messages now");
    }

    /// Nobody knows how a call ended: when that goes on, the provider is left alone, so that not
    /// all that waits ends so.
    fn broke(&self, shared: &Shared) {
        if self.unknowns.fetch_add(1, Ordering::Relaxed) + 1 >= UNKNOWNS {
            self.close(None, shared);
        }
    }

    fn went_well(&self, shared: &Shared) {
        self.failures.store(0, Ordering::Relaxed);
        self.unknowns.store(0, Ordering::Relaxed);
        shared.set_health(Health::Up);
    }

    /// No code panics while it holds the lock.
    fn closed_until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.closed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends until it is stopped. The message in hand is finished first.
pub(super) async fn run(shared: Arc<Shared>, line: Arc<Line>, stop: CancellationToken) {
    let mut slot = Slot {
        handover: Handover::new(Arc::clone(&shared)),
        shared,
        line,
    };
    loop {
        let (shared, line) = (Arc::clone(&slot.shared), Arc::clone(&slot.line));
        let item = async {
            line.open().await;
            line.routes.take(line.me, &shared).await
        };
        match stop.run_until_cancelled(item).await {
            Some(item) => slot.handle(item, &stop).await,
            None => break,
        }
    }
    slot.handover.settle().await;
}

impl Slot {
    async fn handle(&mut self, item: Item, stop: &CancellationToken) {
        let Some(item) = self.handover.admit(item).await else {
            return;
        };
        let ready = match prepare(&self.shared, &item) {
            Ok(ready) => ready,
            Err(reason) => return self.handover.end(&item, reason).await,
        };
        let Some(item) = self.handover.alive(item, stop).await else {
            return;
        };
        // Nothing before the previous outcome is durable.
        self.handover.settle().await;
        if item.chunk.is_fenced() {
            return;
        }
        match self.send(&item, &ready).await {
            Next::Report(outcome) => {
                if !outcome.parts.is_empty() {
                    self.shared.sent.fetch_add(1, Ordering::Relaxed);
                }
                self.handover.sent(&item, *outcome).await;
            }
            Next::Closed(after) => {
                self.line.close(after, &self.shared);
                self.shared.lanes.push_front(item);
            }
            Next::Doubted => {
                self.line.close(None, &self.shared);
                self.handover.put_back(item).await;
            }
        }
    }

    async fn send(&self, item: &Item, ready: &Ready) -> Next {
        let (provider, attempt) = (&self.line.provider, self.handover.attempt(item));
        let member = item.member();
        let id = uid::message_id(item.chunk.root_id, member.pos);
        let letter = Letter {
            to: &ready.destination,
            from: &item.chunk.request.common.from,
            text: &ready.text,
            id: &id,
            parts: ready.cut.parts.len(),
            validity: ready.expires_in,
        };
        let report = |outcome| Next::Report(Box::new(outcome));
        let (status, heard, after) = match provider.submit(&letter).await {
            Reply::Unreached => return Next::Closed(None),
            Reply::Unknown => {
                self.line.broke(&self.shared);
                return report(Outcome::unknown(member.clone(), &attempt));
            }
            Reply::Answered {
                status,
                heard,
                after,
            } => (status, heard, after),
        };
        match heard {
            Heard::Closed if matches!(status, 402..=407) => return Next::Doubted,
            Heard::Closed => return Next::Closed(after),
            Heard::Unknown => {
                self.line.broke(&self.shared);
                return report(Outcome::unknown(member.clone(), &attempt));
            }
            _ => self.line.went_well(&self.shared),
        }
        report(match heard {
            Heard::Accepted { id: given } => {
                let parts = self.parts(ready, given.unwrap_or(id));
                let wait = self.shared.setup.receipts;
                let until = wait.filter(|_| provider.reports.is_some());
                Outcome::submitted(parts, until.map(|span| attempt.now.plus(span)))
            }
            Heard::Refused { reason } => {
                Outcome::refused_part(Vec::new(), u32::from(status), reason)
            }
            Heard::Later { reason } => Outcome {
                code: i64::from(status),
                ..Outcome::interrupted(member.clone(), Vec::new(), reason, &attempt)
            },
            Heard::Closed | Heard::Unknown => Outcome::unknown(member.clone(), &attempt),
        })
    }

    /// All parts under the one id of the provider. A report of it is one of each of them, those
    /// among them that a centre took in an earlier attempt.
    fn parts(&self, ready: &Ready, id: String) -> Vec<SentPart> {
        let parts = i64::try_from(ready.cut.parts.len()).unwrap_or(i64::MAX);
        let all = (1..=parts).map(|part| SentPart {
            part,
            parts,
            centre: self.line.provider.name.clone(),
            centre_id: id.clone(),
        });
        all.collect()
    }
}
